//! Row 4: no flipped bit is accepted silently.
//!
//! One MiB of journal in 64 journals of 16 KiB, so that reading one costs little: every bit of each, and of the mark of
//! its clean stop, is flipped by itself. Every other journal was not stopped cleanly: there, and only in its last group,
//! a flip may be taken for a torn write, which is reported. Every bit of a snapshot beside it is flipped, too.

use std::io::Read;

use gollem_journal::sim::{Random, SimStorage};
use gollem_journal::{Position, ScanError, Slot, SnapshotStore};

use super::Run;
use super::fixed::{FixedDisk, files_of};
use super::model::{FIRST, MARK, Model, SEGMENT_HEADER, below, open, record_bytes, scan};
use crate::outcome::Outcome;

const JOURNALS: u64 = 64;
const JOURNAL_BYTES: usize = 16 * 1024;
const SNAPSHOT: &str = "snapshot.0";
/// Bits of all journals.
pub(crate) const BITS: u64 = JOURNALS * JOURNAL_BYTES as u64 * 8;

pub(crate) fn run(run: &Run) -> Outcome {
    // All journals are visited at any volume, with fewer bits of each.
    let step = usize::try_from(BITS.div_ceil(run.cases)).unwrap_or(1);
    run.each(|seed| flip(seed, step))
}

/// A journal of exactly [`JOURNAL_BYTES`], closed, and where its records start.
fn journal(random: &mut Random) -> Result<(SimStorage, Model, Vec<usize>), String> {
    let disk = SimStorage::new();
    let mut model = Model::default();
    let (mut opened, _) = open(&disk, 0).map_err(|error| error.to_string())?;
    let (mut starts, mut end) = (Vec::new(), SEGMENT_HEADER);
    while end < JOURNAL_BYTES {
        let mut sizes = Vec::new();
        for _ in 0..1 + random.below(5) {
            let left = JOURNAL_BYTES - end;
            let size = 1 + below(random, 400);
            // The last record takes what is left, if that is not too little for another.
            let fits = record_bytes(size) + record_bytes(1) <= left;
            let size = if fits { size } else { left.saturating_sub(record_bytes(0)) };
            if size == 0 {
                break;
            }
            sizes.push(size);
            starts.push(end);
            end += record_bytes(size);
        }
        model.commit(&mut opened, &sizes, random)?.map_err(|error| error.to_string())?;
    }
    opened.writer.close().map_err(|error| error.to_string())?;
    Ok((disk, model, starts))
}

fn flip(seed: u64, step: usize) -> Result<u64, String> {
    let mut random = Random(seed);
    let (disk, model, starts) = journal(&mut random)?;
    let mut files = files_of(&disk);
    let clean = seed.is_multiple_of(2);
    if !clean {
        files.remove(MARK);
    }
    let mut bits = 0;
    let fixed = FixedDisk::new(files);
    // Another offset with each journal, so that all bits of a byte have their turn at any step.
    for bit in (below(&mut random, step)..JOURNAL_BYTES * 8).step_by(step) {
        with_flip(&fixed, FIRST, bit, || check(&fixed, &model, &starts, bit / 8, clean))?;
        bits += 1;
    }
    let mark_bits = fixed.files().get(MARK).map_or(0, Vec::len) * 8;
    for bit in 0..mark_bits {
        with_flip(&fixed, MARK, bit, || match scan(&fixed, 0).map(|(report, _)| report) {
            Err(ScanError::Corrupt { path, .. }) if path.ends_with(MARK) => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
    }
    flip_snapshot(&fixed, &mut random)?;
    match scan(&fixed, model.acked) {
        Ok((report, found)) if report.clean == clean => model.check(&found)?,
        other => return Err(format!("without a flip: {other:?}")),
    }
    // The marks and snapshots come on top of the volume.
    Ok(bits)
}

/// Each bit of a snapshot: its slot is reported, or its body is not given out.
fn flip_snapshot(disk: &FixedDisk, random: &mut Random) -> Result<(), String> {
    let made = SimStorage::new();
    let body: Vec<u8> = (0..100).map(|_| random.below(256).to_le_bytes()[0]).collect();
    let position = Position { seq: 1 + random.below(1 << 40), time_ns: random.below(1 << 60), chain: 7 };
    let written = SnapshotStore::new(made.clone()).write(position, &body[..21], &mut |out| out.write_all(&body));
    written.map_err(|error| error.to_string())?;
    let bytes = made.get(SNAPSHOT).unwrap_or_default();
    let bits = bytes.len() * 8;
    disk.files().insert(SNAPSHOT.to_owned(), bytes);
    let store = SnapshotStore::new(disk.clone());
    for bit in 0..bits {
        with_flip(disk, SNAPSHOT, bit, || match &store.list().map_err(|error| error.to_string())?[0] {
            Slot::Damaged(_) => Ok(()),
            Slot::Empty => Err("no longer seen".to_owned()),
            Slot::Sound(checkpoint) => {
                let read = store.read(checkpoint).and_then(|mut from| from.read_to_end(&mut Vec::new()));
                if read.is_err() { Ok(()) } else { Err("given out".to_owned()) }
            }
        })?;
    }
    disk.files().remove(SNAPSHOT);
    Ok(())
}

fn with_flip(
    disk: &FixedDisk,
    file: &str,
    bit: usize,
    check: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let turn = || {
        if let Some(bytes) = disk.files().get_mut(file) {
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    };
    turn();
    let checked = check();
    turn();
    checked.map_err(|what| format!("bit {bit} of {file} flipped: {what}"))
}

/// The flip at `byte` is refused at the record it is in; or taken for torn, where that is allowed.
fn check(disk: &FixedDisk, model: &Model, starts: &[usize], byte: usize, clean: bool) -> Result<(), String> {
    // Records before the damage; 0 for the segment's header.
    let hit = starts.partition_point(|&start| start <= byte);
    let (start, seq) = (if hit == 0 { 0 } else { starts[hit - 1] }, hit.max(1) as u64);
    let last_group = model.ends.iter().rev().nth(1).copied().unwrap_or(0);
    match scan(disk, 0) {
        Err(ScanError::Corrupt { path, offset, expected_seq, .. }) => {
            let exact = path.ends_with(FIRST) && offset == start as u64 && expected_seq == seq;
            let words = format!("refused at offset {offset}, seq {expected_seq}; it is at {start}, seq {seq}");
            if exact { Ok(()) } else { Err(words) }
        }
        Ok((report, found)) if !clean && seq > last_group => {
            let before = usize::try_from(last_group).unwrap_or(0);
            let cut = found == model.records[..before] && report.torn_bytes > 0;
            if cut { Ok(()) } else { Err(format!("taken for {report:?}")) }
        }
        other => Err(format!("accepted: {:?}", other.map(|(report, _)| report))),
    }
}
