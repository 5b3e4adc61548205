//! What a journal must hold: a list of groups that were given to it, and how far it has acknowledged them.
//!
//! Payloads are random, so that a record that comes back in a wrong place or version differs from the one that belongs
//! there.

use std::convert::Infallible;

use gollem_journal::sim::{Random, SimStorage};
use gollem_journal::{
    Encoder, Group, OpenError, Opened, Options, Recovery, SEGMENT_BYTES_MIN, ScanError, ScanOptions, Storage,
    WriteError, open_in, scan_in,
};

/// The smallest segments, made when they are needed: the calls on the disk are the same each time.
pub(crate) const SMALL: Options = Options { segment_bytes: SEGMENT_BYTES_MIN, prepare_ahead: false };

/// Name of the first segment.
pub(crate) const FIRST: &str = "00000000000000000001.log";
/// Name of the mark of a clean stop.
pub(crate) const MARK: &str = "clean";
/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER: usize = 64;
/// Bytes of a record's header.
pub(crate) const RECORD_HEADER: usize = 32;

/// One record: sequence, time, payload.
pub(crate) type Kept = (u64, u64, Vec<u8>);

/// Bytes that a record with a payload of this length takes.
pub(crate) fn record_bytes(payload: usize) -> usize {
    RECORD_HEADER + payload.next_multiple_of(8)
}

/// What was given to a journal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) records: Vec<Kept>,
    /// Last sequence of each group.
    pub(crate) ends: Vec<u64>,
    /// Last sequence that is known to be durable: acknowledged, or given out by a recovery.
    pub(crate) acked: u64,
}

impl Model {
    /// Puts one group of random payloads of these sizes into the model and returns it for writing.
    pub(crate) fn group(
        &mut self,
        encoder: &mut Encoder,
        sizes: &[usize],
        random: &mut Random,
    ) -> Result<Group, String> {
        let mut group = Group::new();
        for &size in sizes {
            let time_ns = self.records.last().map_or(1_000, |record| record.1) + random.below(3);
            let payload = payload(size, random);
            let pushed = encoder.push(&mut group, time_ns, |bytes| bytes.extend_from_slice(&payload));
            let seq = pushed.map_err(|error| format!("not encoded: {error}"))?;
            self.records.push((seq, time_ns, payload));
        }
        encoder.seal(&mut group);
        self.ends.push(group.last_seq());
        Ok(group)
    }

    /// Gives one group to the journal and remembers that it was acknowledged, if it was.
    pub(crate) fn commit<S: Storage>(
        &mut self,
        opened: &mut Opened<S>,
        sizes: &[usize],
        random: &mut Random,
    ) -> Result<Result<(), WriteError>, String> {
        let mut group = self.group(&mut opened.encoder, sizes, random)?;
        Ok(opened.writer.commit(&mut group).map(|durable| self.acked = durable.seq()))
    }

    /// Checks that `found` is a prefix of whole groups with everything acknowledged.
    pub(crate) fn check(&self, found: &[Kept]) -> Result<(), String> {
        let last = found.len() as u64;
        if self.records.get(..found.len()) != Some(found) {
            let differs = self.records.iter().zip(found).take_while(|(given, found)| given == found).count();
            return Err(format!("record {} is not the one that was written", differs + 1));
        }
        if last < self.acked {
            return Err(format!("{last} records found, {} were acknowledged", self.acked));
        }
        if last != 0 && !self.ends.contains(&last) {
            return Err(format!("part of a group is visible: it does not end at {last}"));
        }
        Ok(())
    }

    /// Goes on from what a recovery found, which counts as acknowledged from now on: it has been given to a reader.
    pub(crate) fn recovered(&mut self, found: &[Kept]) -> Result<(), String> {
        self.check(found)?;
        let last = found.len() as u64;
        self.records.truncate(found.len());
        self.ends.retain(|&end| end <= last);
        self.acked = last;
        Ok(())
    }
}

/// Bytes that are not zero, as any bytes of a file may be but the zeros that a writer puts ahead.
fn payload(size: usize, random: &mut Random) -> Vec<u8> {
    (0..size.div_ceil(8))
        .flat_map(|_| (random.below(u64::MAX) | 0x0101_0101_0101_0101).to_le_bytes())
        .take(size)
        .collect()
}

/// Sizes of a group: mostly small, seldom one that nearly fills a segment.
pub(crate) fn sizes(random: &mut Random) -> Vec<usize> {
    if random.below(6) == 0 {
        return vec![60_000; 17];
    }
    let most = [40, 200, 1_500][below(random, 3)];
    (0..1 + random.below(6)).map(|_| 1 + below(random, most)).collect()
}

/// An index below `limit`.
pub(crate) fn below(random: &mut Random, limit: usize) -> usize {
    usize::try_from(random.below(limit as u64)).unwrap_or(0)
}

/// Opens the journal; what it recovered comes along.
pub(crate) fn open<S: Storage>(storage: &S, witnessed: u64) -> Result<(Opened<S>, Vec<Kept>), OpenError> {
    let mut kept = Vec::new();
    let opened = open_in(storage.clone(), &SMALL, witnessed, &mut |record| {
        kept.push((record.seq, record.time_ns, record.payload.to_vec()));
        Ok::<(), Infallible>(())
    })?;
    Ok((opened, kept))
}

/// Reads the journal.
pub(crate) fn scan<S: Storage>(storage: &S, witnessed: u64) -> Result<(Recovery, Vec<Kept>), ScanError> {
    let mut kept = Vec::new();
    let report = scan_in(storage, ScanOptions { witnessed, ..ScanOptions::default() }, &mut |record| {
        kept.push((record.seq, record.time_ns, record.payload.to_vec()));
        Ok::<(), Infallible>(())
    })?;
    Ok((report, kept))
}

/// Opens the journal, checks what is there, writes a group, and checks after a power cut that all of it stayed.
pub(crate) fn goes_on(disk: &SimStorage, model: &Model) -> Result<(), String> {
    let mut model = model.clone();
    let mut random = Random(model.acked);
    let (mut opened, found) = open(disk, model.acked).map_err(|error| format!("does not open: {error}"))?;
    model.recovered(&found)?;
    let written = model.commit(&mut opened, &[5, 77], &mut random)?;
    written.map_err(|error| format!("does not go on: {error}"))?;
    drop(opened);
    disk.power_cycle(None);
    let (report, found) = scan(disk, model.acked).map_err(|error| format!("is not read after going on: {error}"))?;
    model.check(&found).map_err(|what| format!("after going on: {what}"))?;
    if report.torn_bytes == 0 { Ok(()) } else { Err("a torn tail after a recovery".to_owned()) }
}
