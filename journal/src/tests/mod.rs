//! Tests of the whole crate on the simulated disk, one file a subject, and what they share.
//!
//! Payloads are functions of sequence and length, so a record that comes back wrong is seen wherever it comes from.

mod faults;
mod flips;
mod full;
mod positions;
mod power;
mod prepare;
mod property;
mod retention;
mod segments;
mod snapshots;
mod tail;
mod torn;

use std::convert::Infallible;

use crate::format::{SEGMENT_BYTES_MIN, segment_name};
use crate::sim::SimStorage;
use crate::{
    Durable, Group, OpenError, Opened, Options, Position, Recovery, ScanError, ScanOptions, Tail, TailStop, WriteError,
    lock_in, open_in, scan_in,
};

pub(crate) const SMALL: Options = Options { segment_bytes: SEGMENT_BYTES_MIN, prepare_ahead: false };
pub(crate) const FIRST: &str = "00000000000000000001.log";

/// One record as a test keeps it.
pub(crate) type Kept = (u64, u64, Vec<u8>);

/// What a test has given to the journal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) records: Vec<Kept>,
    /// Last sequence of each group, durable or not.
    pub(crate) ends: Vec<u64>,
    /// Last sequence that a successful commit acknowledged.
    pub(crate) acked: u64,
}

impl Model {
    /// Commits one group of payloads with these sizes.
    pub(crate) fn commit(&mut self, opened: &mut Opened<SimStorage>, sizes: &[usize]) -> Result<Durable, WriteError> {
        let group = self.group(opened, sizes);
        self.commit_group(opened, &group)
    }

    /// Encodes one group of payloads with these sizes.
    pub(crate) fn group(&mut self, opened: &mut Opened<SimStorage>, sizes: &[usize]) -> Group {
        let next = opened.encoder.next_seq();
        self.records.retain(|record| record.0 < next);
        self.ends.retain(|&end| end < next);
        let mut group = Group::new();
        for &size in sizes {
            let (seq, time_ns) = (opened.encoder.next_seq(), 1_000 + opened.encoder.next_seq() / 2);
            let payload = payload(seq, size);
            let pushed = opened.encoder.push(&mut group, time_ns, |bytes| bytes.extend_from_slice(&payload));
            assert_eq!(pushed, Ok(seq));
            self.records.push((seq, time_ns, payload));
        }
        opened.encoder.seal(&mut group);
        self.ends.push(group.last_seq());
        group
    }

    /// Commits a group that [`group`](Model::group) made.
    pub(crate) fn commit_group(
        &mut self,
        opened: &mut Opened<SimStorage>,
        group: &Group,
    ) -> Result<Durable, WriteError> {
        let durable = opened.writer.commit(group)?;
        assert_eq!(durable.seq(), group.last_seq());
        assert!(durable.covers(group.last_seq()) && !durable.covers(group.last_seq() + 1));
        self.acked = durable.seq();
        Ok(durable)
    }

    /// Checks that `found` is a prefix of whole groups that holds everything acknowledged.
    pub(crate) fn check_prefix(&self, found: &[Kept], context: &str) {
        assert_eq!(found, &self.records[..found.len()], "{context}: records differ");
        let last = found.len() as u64;
        assert!(last == 0 || self.ends.contains(&last), "{context}: {last} is not the end of a group");
        assert!(last >= self.acked, "{context}: {last} is below the acknowledged {}", self.acked);
    }
}

pub(crate) fn payload(seq: u64, size: usize) -> Vec<u8> {
    let pattern: Vec<u8> = (0..61).map(|at| seq.wrapping_mul(31).wrapping_add(at).to_le_bytes()[0] | 1).collect();
    let mut payload = pattern.repeat(size / pattern.len() + 1);
    payload.truncate(size);
    payload
}

pub(crate) fn open(storage: &SimStorage) -> Result<(Opened<SimStorage>, Vec<Kept>), OpenError> {
    open_witnessed(storage, 0)
}

pub(crate) fn open_witnessed(
    storage: &SimStorage,
    witnessed: u64,
) -> Result<(Opened<SimStorage>, Vec<Kept>), OpenError> {
    let mut kept = Vec::new();
    let opened = open_in(storage.clone(), &SMALL, witnessed, &mut |record| {
        kept.push((record.seq, record.time_ns, record.payload.to_vec()));
        Ok::<(), Infallible>(())
    })?;
    Ok((opened, kept))
}

/// Opens what comes after a position.
pub(crate) fn open_after(storage: &SimStorage, after: Position) -> Result<(Opened<SimStorage>, Vec<Kept>), OpenError> {
    let mut kept = Vec::new();
    let opened = lock_in(storage.clone())?.open(&SMALL, after, 0, &mut |record| {
        kept.push((record.seq, record.time_ns, record.payload.to_vec()));
        Ok::<(), Infallible>(())
    })?;
    Ok((opened, kept))
}

pub(crate) fn scan(storage: &SimStorage) -> Result<(Recovery, Vec<Kept>), ScanError> {
    scan_after(storage, Position::START)
}

pub(crate) fn scan_after(storage: &SimStorage, after: Position) -> Result<(Recovery, Vec<Kept>), ScanError> {
    let mut kept = Vec::new();
    let report = scan_in(storage, ScanOptions { after, ..ScanOptions::default() }, &mut |record| {
        kept.push((record.seq, record.time_ns, record.payload.to_vec()));
        Ok::<(), Infallible>(())
    })?;
    Ok((report, kept))
}

/// The position at record `seq`, the last of its group.
pub(crate) fn position_at(storage: &SimStorage, seq: u64) -> Position {
    let mut tail = Tail::new(storage.clone(), Position::START);
    while tail.read(seq, &mut |_| Ok::<(), Infallible>(())).unwrap() == TailStop::SegmentEnd {}
    assert_eq!(tail.position().seq, seq, "the end of a group");
    tail.position()
}

/// Four segments, of which the last is small.
pub(crate) fn four_segments(clean: bool) -> (SimStorage, Model, Vec<String>) {
    let big = big();
    let (storage, model) = journal(&[&[7], &big, &big, &big, &big, &[3, 4]], clean);
    let names = [1, 19, 36, 53].map(segment_name).to_vec();
    names.iter().for_each(|name| assert!(storage.get(name).is_some(), "{name}"));
    (storage, model, names)
}

/// A journal with these groups, stopped cleanly or not.
pub(crate) fn journal(groups: &[&[usize]], clean: bool) -> (SimStorage, Model) {
    let storage = SimStorage::new();
    let mut model = Model::default();
    let (mut opened, _) = open(&storage).unwrap();
    for sizes in groups {
        model.commit(&mut opened, sizes).unwrap();
    }
    if clean {
        opened.writer.close().unwrap();
    }
    (storage.fork(), model)
}

/// Sizes of a group that nearly fills the smallest segment.
pub(crate) fn big() -> Vec<usize> {
    vec![60_000; 17]
}

/// Opens, appends a group, and checks that everything is there after another restart.
pub(crate) fn append_works(storage: &SimStorage, model: &Model, context: &str) {
    let mut model = model.clone();
    let (mut opened, found) = open(storage).unwrap_or_else(|error| panic!("{context}: {error}"));
    model.check_prefix(&found, context);
    model.commit(&mut opened, &[5, 77]).unwrap();
    drop(opened);
    let (report, found) = scan(storage).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(found, model.records, "{context}");
    assert_eq!(report.torn_bytes, 0, "{context}");
}
