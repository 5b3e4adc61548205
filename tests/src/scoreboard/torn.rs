//! Row 3: whatever part of the last group reached the disk, the journal ends at the group before, and shows nothing of
//! the last one.
//!
//! A case is a journal with a last group of at most ten sectors. It is cut at every byte of that group, and every subset
//! of the group's sectors is kept over zeros. All are read, some are opened and written to.

use gollem_journal::sim::{Random, SimStorage};
use gollem_journal::{OpenError, ScanError};

use super::Run;
use super::fixed::{Files, FixedDisk, disk_of};
use super::model::{FIRST, Model, SEGMENT_HEADER, below, goes_on, open, record_bytes, scan};
use crate::outcome::Outcome;

const SECTOR: usize = 512;
const SECTORS_MAX: usize = 10;
/// Opening costs a hundred times what reading does.
const OPENED_ONE_IN: usize = 128;

pub(crate) fn run(run: &Run) -> Outcome {
    run.each(|seed| tear(seed).map(|()| 1))
}

/// A journal whose last group starts at the offset returned; the model's acknowledgement is before it.
fn journal(random: &mut Random) -> Result<(Vec<u8>, usize, Model), String> {
    let disk = SimStorage::new();
    let mut model = Model::default();
    let (mut opened, _) = open(&disk, 0).map_err(|error| error.to_string())?;
    let mut start = SEGMENT_HEADER;
    for _ in 0..1 + random.below(3) {
        let sizes: Vec<usize> = (0..1 + random.below(4)).map(|_| 1 + below(random, 300)).collect();
        model.commit(&mut opened, &sizes, random)?.map_err(|error| error.to_string())?;
        start += sizes.iter().map(|&size| record_bytes(size)).sum::<usize>();
    }
    // Its sectors are counted from the sector it starts in.
    let most = SECTORS_MAX * SECTOR - start % SECTOR;
    let mut sizes = Vec::new();
    let mut left = most.min(100 + below(random, most));
    while left >= record_bytes(1) {
        let size = 1 + below(random, (left - record_bytes(0)).min(1_200));
        sizes.push(size);
        left = left.saturating_sub(record_bytes(size));
    }
    let before = model.acked;
    model.commit(&mut opened, &sizes, random)?.map_err(|error| error.to_string())?;
    opened.writer.close().map_err(|error| error.to_string())?;
    model.acked = before;
    Ok((disk.get(FIRST).unwrap_or_default(), start, model))
}

fn tear(seed: u64) -> Result<(), String> {
    let (bytes, start, model) = journal(&mut Random(seed))?;
    for cut in start..bytes.len() {
        let opened = cut % OPENED_ONE_IN == 0;
        check(&bytes[..cut], start, &model, opened).map_err(|what| format!("cut at {cut}: {what}"))?;
    }
    let sectors: Vec<usize> = (start / SECTOR..bytes.len().div_ceil(SECTOR)).collect();
    for subset in 0..(1_usize << sectors.len()) - 1 {
        let mut torn = vec![0; bytes.len() + SECTOR];
        torn[..start].copy_from_slice(&bytes[..start]);
        for (_, sector) in sectors.iter().enumerate().filter(|(bit, _)| subset & (1 << bit) != 0) {
            let range = (sector * SECTOR).max(start)..((sector + 1) * SECTOR).min(bytes.len());
            torn[range.clone()].copy_from_slice(&bytes[range]);
        }
        // A sector of padding alone is not missed.
        if torn.starts_with(&bytes) {
            continue;
        }
        let opened = subset % OPENED_ONE_IN == 1;
        check(&torn, start, &model, opened).map_err(|what| format!("sectors {subset:#b}: {what}"))?;
    }
    Ok(())
}

/// From `start` on there is not the whole last group; what there is of it is reported.
fn check(bytes: &[u8], start: usize, model: &Model, opened: bool) -> Result<(), String> {
    let nothing = bytes[start..].iter().all(|&byte| byte == 0);
    let files = Files::from([(FIRST.to_owned(), bytes.to_vec())]);
    let last = model.acked;
    let disk = FixedDisk::new(files);
    let (report, found) = scan(&disk, last).map_err(|error| format!("refused: {error}"))?;
    model.check(&found)?;
    if found.len() as u64 != last {
        return Err(format!("{} records visible, {last} were durable", found.len()));
    }
    if (report.torn_bytes == 0) != nothing || report.clean {
        return Err(format!("reported as {report:?}"));
    }
    if opened {
        let files = disk.files().clone();
        let refused = open(&disk_of(&files), last + 1).map(|(opened, _)| opened.report);
        if !matches!(refused, Err(OpenError::Read(ScanError::BelowWitness { .. }))) {
            return Err(format!("its end was seen outside, and it opens: {refused:?}"));
        }
        goes_on(&disk_of(&files), model)?;
    }
    Ok(())
}
