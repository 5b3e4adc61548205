//! What the tests on real files share: a journal made by its own writer.

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use gollem_journal::{Group, Options, SEGMENT_BYTES_MIN, ScanOptions, open, scan};

/// One record as a test keeps it: sequence, time stamp, payload.
pub(crate) type Kept = (u64, u64, Vec<u8>);

/// Appends `records` records in groups of many sizes, over several segments, and stops without a mark.
pub(crate) fn write_journal(dir: &Path, records: u64) {
    let options = Options { segment_bytes: SEGMENT_BYTES_MIN, prepare_ahead: false };
    let mut opened = open(dir, &options, 0, &mut |_| Ok::<(), Infallible>(())).unwrap();
    let mut group = Group::new();
    for at in 0..records {
        let seq = opened.encoder.next_seq();
        let payload: Vec<u8> = (0..200 + seq % 777).map(|byte| (seq * 31 + byte).to_le_bytes()[0]).collect();
        opened.encoder.push(&mut group, seq * 1_000, |bytes| bytes.extend_from_slice(&payload)).unwrap();
        if seq.is_multiple_of(37) || at + 1 == records {
            opened.encoder.seal(&mut group);
            opened.writer.commit(&group).unwrap();
            group.clear();
        }
    }
}

/// All records, as scanning finds them.
pub(crate) fn read_journal(dir: &Path) -> Vec<Kept> {
    let mut kept = Vec::new();
    let keep = &mut |record: gollem_journal::Record<'_>| {
        kept.push((record.seq, record.time_ns, record.payload.to_vec()));
        Ok::<(), Infallible>(())
    };
    scan(dir, ScanOptions::default(), keep).unwrap();
    kept
}

/// The segment files, in order.
pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    segments.sort();
    segments
}
