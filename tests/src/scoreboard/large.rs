//! Row 4b: random bits of a journal that does not fit a cache, on the real file system.
//!
//! The journal is written once and closed. A flip is looked for by reading from the beginning of its segment to the first
//! record of the next one, as a recovery from a snapshot would. Where there is no room for the journal the row is skipped.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use gollem_journal::sim::Random;
use gollem_journal::{
    FileStorage, GROUP_BYTES_MAX, Group, Options, Position, ScanError, ScanOptions, SegmentInfo, Tail, open, scan,
    segments,
};

use super::Run;
use super::disk::lock;
use super::model::below;
use crate::outcome::Outcome;

const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;
const JOURNAL_BYTES_FULL: u64 = 10 * 1024 * 1024 * 1024;
const PAYLOAD_BYTES_MAX: usize = 4_000;

pub(crate) fn run(run: &Run) -> Outcome {
    let made = tempfile::tempdir().map_err(|error| error.to_string()).and_then(|dir| {
        write(dir.path(), if run.full { JOURNAL_BYTES_FULL } else { JOURNAL_BYTES }, run.seed)?;
        let places = places(dir.path())?;
        Ok((dir, places))
    });
    match made {
        Ok((dir, places)) => run.each(|seed| flip(dir.path(), &places, seed).map(|()| 1)),
        Err(why) => Outcome { skipped: Some(why), ..Outcome::default() },
    }
}

/// A segment, the place before it, and who flips a bit in it.
struct Place {
    segment: SegmentInfo,
    before: Position,
    turn: Mutex<()>,
}

fn write(dir: &Path, bytes: u64, seed: u64) -> Result<(), String> {
    let options = Options { segment_bytes: SEGMENT_BYTES, prepare_ahead: true };
    let visit = &mut |_: gollem_journal::Record<'_>| Ok::<(), String>(());
    let mut opened = open(dir, &options, 0, visit).map_err(|error| error.to_string())?;
    let mut random = Random(seed);
    let pattern: Vec<u8> = (0..PAYLOAD_BYTES_MAX).map(|_| random.below(256).to_le_bytes()[0]).collect();
    let mut group = Group::new();
    while opened.writer.bytes_written() < bytes {
        group.clear();
        while group.bytes() < GROUP_BYTES_MAX / 2 {
            let payload = &pattern[below(&mut random, PAYLOAD_BYTES_MAX)..];
            let pushed = opened.encoder.push(&mut group, 0, |bytes| bytes.extend_from_slice(payload));
            pushed.map_err(|error| error.to_string())?;
        }
        opened.encoder.seal(&mut group);
        opened.writer.commit(&mut group).map_err(|error| error.to_string())?;
    }
    opened.writer.close().map_err(|error| error.to_string())
}

fn places(dir: &Path) -> Result<Vec<Place>, String> {
    let storage = FileStorage::new(dir);
    let mut tail = Tail::new(storage.clone(), Position::START);
    let mut places = Vec::new();
    for segment in segments(&storage).map_err(|error| error.to_string())? {
        let until = segment.last_seq.map_or(segment.first_seq, |last_seq| last_seq + 1);
        places.push(Place { segment, before: tail.position(), turn: Mutex::new(()) });
        // It comes back at the boundary to the next segment.
        tail.read(until, &mut |_| Ok::<(), String>(())).map_err(|error| error.to_string())?;
    }
    Ok(places)
}

fn flip(dir: &Path, places: &[Place], seed: u64) -> Result<(), String> {
    let mut random = Random(seed);
    let index = below(&mut random, places.len());
    let Place { segment, before, turn } = &places[index];
    let next = places.get(index + 1);
    // In the order of the segments, so that two flips never wait for each other.
    let _turns = (lock(turn), next.map(|next| lock(&next.turn)));
    let (byte, bit) = (random.below(segment.bytes), random.below(8));
    let file = OpenOptions::new().read(true).write(true).open(dir.join(&segment.name));
    let file = file.map_err(|error| error.to_string())?;
    let mut bytes = [0];
    file.read_exact_at(&mut bytes, byte).map_err(|error| error.to_string())?;
    file.write_all_at(&[bytes[0] ^ (1 << bit)], byte).map_err(|error| error.to_string())?;
    let options = ScanOptions { after: *before, until: next.map(|next| next.segment.first_seq), witnessed: 0 };
    let read = scan(dir, options, &mut |_| Ok::<(), String>(()));
    file.write_all_at(&bytes, byte).map_err(|error| error.to_string())?;
    match read {
        Err(ScanError::Corrupt { path, offset, .. }) if path.ends_with(&segment.name) && offset <= byte => Ok(()),
        other => Err(format!("bit {bit} of byte {byte} of {} flipped: {other:?}", segment.name)),
    }
}
