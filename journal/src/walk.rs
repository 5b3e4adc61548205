//! Reads a journal from a position to its end, visiting the records of complete groups in order.
//!
//! Invariants: a record is visited only after its whole group passed every check; nothing is changed on the disk; a
//! writer may be at work meanwhile, and the visited records are then a prefix of whole groups.
//! Where the reading begins and what damage means is decided in `recovery`; this module gathers the evidence for it.

use std::fmt;
use std::io;

use crate::Seq;
use crate::decode::{Blemish, Decoded, check_header, records};
use crate::error::{Damage, ScanError};
use crate::format::{RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, padded, parse_segment_name, segment_name};
use crate::mark::{self, MARK_NAME, Mark, Stop};
use crate::position::Position;
use crate::reader::{Fresh, Remains, SegmentReader};
use crate::recovery::{Beginning, Evidence, Fault, Verdict, begin, decide};
use crate::scan::{Record, Recovery, ScanOptions};
use crate::storage::Storage;

/// Where the log ends, for whoever goes on writing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogEnd {
    pub(crate) first_seq: u64,
    /// Offset in the last segment after its last complete group.
    pub(crate) end: u64,
    /// Offset of that group, if the segment has one.
    pub(crate) last_group_at: Option<u64>,
    pub(crate) file_bytes: u64,
    /// Offset after the last byte of a torn group; `end` if there is none.
    pub(crate) nonzero_end: u64,
    pub(crate) cursor: Position,
}

/// The caller's function, given each record.
pub(crate) type Visit<'a, V> = &'a mut dyn FnMut(Record<'_>) -> Result<(), V>;

/// Reads what comes after a position; the log's end is `None` if the folder has no segment or the reading stopped at
/// `until`.
pub(crate) fn walk<S: Storage, V>(
    storage: &S,
    options: ScanOptions,
    visit: Visit<'_, V>,
) -> Result<(Recovery, Option<LogEnd>), ScanError<V>> {
    // Before the list: a mark that is still the same at the end then covers all that was read.
    let stop = mark::read(storage).map_err(io_error(storage, "read", MARK_NAME))?;
    let after = options.after;
    let report = Recovery { last_seq: after.seq, last_time_ns: after.time_ns, ..Recovery::default() };
    let mut walk = Walk { storage, options, stop, visit, report, cursor: after };
    if stop == Stop::Damaged {
        let place = Place { name: MARK_NAME, offset: 0, expected_seq: 0, damage: Damage::MarkDamaged };
        return Err(walk.structure(place, None));
    }
    let first_seqs = list_segments(storage)?;
    let first_seqs = match begin(&first_seqs, after.seq) {
        Beginning::Nowhere => {
            walk.end_of_nothing()?;
            return Ok((walk.report, None));
        }
        Beginning::Missing { first_seq, last_seq } => {
            return Err(ScanError::Missing { path: storage.path(""), first_seq, last_seq });
        }
        Beginning::Boundary { index } => &first_seqs[index..],
        Beginning::Within { index } => {
            walk.cursor = before_segment(first_seqs[index]);
            &first_seqs[index..]
        }
    };
    let mut end = None;
    for (index, &first_seq) in first_seqs.iter().enumerate() {
        if walk.reached() {
            return Ok((walk.report, None));
        }
        end = walk.segment(first_seq, first_seqs.get(index + 1).copied())?;
    }
    Ok((walk.report, end))
}

/// First sequences of all segments, in order.
pub(crate) fn list_segments<S: Storage, V>(storage: &S) -> Result<Vec<Seq>, ScanError<V>> {
    let names = storage.list().map_err(io_error(storage, "list", ""))?;
    let mut first_seqs = Vec::new();
    // A `.log` file of another name may be a segment someone renamed: ignoring it could hide the log's end.
    for name in names.iter().filter(|name| name.ends_with(".log")) {
        let first_seq = parse_segment_name(name).filter(|&first_seq| first_seq > 0);
        first_seqs.push(first_seq.ok_or_else(|| ScanError::Corrupt {
            path: storage.path(name),
            offset: 0,
            expected_seq: 1,
            damage: Damage::SegmentName,
            next_valid_seq: None,
        })?);
    }
    first_seqs.sort_unstable();
    Ok(first_seqs)
}

/// Before a segment whose predecessor is not read: its header says what the chain is, and the record at the position
/// read from proves it.
pub(crate) fn before_segment(first_seq: Seq) -> Position {
    Position { seq: first_seq.saturating_sub(1), ..Position::START }
}

struct Walk<'a, S, V> {
    storage: &'a S,
    options: ScanOptions,
    stop: Stop,
    visit: Visit<'a, V>,
    report: Recovery,
    cursor: Position,
}

/// Where something is wrong.
#[derive(Clone, Copy)]
struct Place<'a> {
    name: &'a str,
    offset: u64,
    expected_seq: u64,
    damage: Damage,
}

impl<S: Storage, V> Walk<'_, S, V> {
    fn reached(&self) -> bool {
        self.options.until.is_some_and(|until| self.cursor.seq >= until)
    }

    /// Reads one segment; `None` if the reading stopped at `until`.
    fn segment(&mut self, first_seq: u64, later_seq: Option<u64>) -> Result<Option<LogEnd>, ScanError<V>> {
        let expected_seq = self.cursor.next_seq();
        let name = segment_name(expected_seq);
        if first_seq != expected_seq {
            let damage = Damage::SegmentMissing { found: first_seq };
            return Err(self.structure(Place { name: &name, offset: 0, expected_seq, damage }, Some(first_seq)));
        }
        let file = self.storage.open(&name, false).map_err(io_error(self.storage, "open", &name))?;
        let mut reader = SegmentReader::new(file);
        let header = reader.header().map_err(io_error(self.storage, "read", &name))?;
        let chain = (self.cursor.seq >= self.options.after.seq).then_some(self.cursor.chain);
        self.cursor.chain = check_header(header, first_seq, chain)
            .map_err(|damage| self.structure(Place { name: &name, offset: 0, expected_seq, damage }, later_seq))?;
        self.report.segments += 1;
        self.report.bytes += SEGMENT_HEADER_BYTES as u64;
        let (mut offset, mut last_group_at) = (SEGMENT_HEADER_BYTES as u64, None);
        let mut fresh = Fresh::No;
        loop {
            if self.reached() {
                return Ok(None);
            }
            let read = reader.group(offset, &self.cursor, fresh).map_err(io_error(self.storage, "read", &name))?;
            if let (Decoded::Whole { bytes, after }, group) = read {
                let passed = self.options.after.is_passed(&self.cursor, &after).map_err(|damage| {
                    let place = Place { name: &name, offset, expected_seq: self.cursor.next_seq(), damage };
                    self.structure(place, later_seq)
                })?;
                last_group_at = Some(offset);
                offset += bytes as u64;
                if passed {
                    self.visit_group(group)?;
                }
                self.cursor = after;
                fresh = Fresh::No;
                continue;
            }
            // A writer may have moved on while we looked: only what is still wrong after the search is wrong.
            let remains =
                reader.remains(offset, self.cursor.next_seq()).map_err(io_error(self.storage, "read", &name))?;
            let again = reader.group(offset, &self.cursor, Fresh::Yes);
            let (decoded, _) = again.map_err(io_error(self.storage, "read", &name))?;
            if matches!(decoded, Decoded::Whole { .. }) {
                continue;
            }
            let file_bytes = reader.size().map_err(io_error(self.storage, "read the size of", &name))?;
            let nonzero_end = remains.nonzero_end;
            let end = LogEnd { first_seq, end: offset, last_group_at, file_bytes, nonzero_end, cursor: self.cursor };
            self.end_of_segment(&name, &end, &remains, decoded, later_seq)?;
            return Ok(Some(end));
        }
    }

    fn visit_group(&mut self, group: &[u8]) -> Result<(), ScanError<V>> {
        let until = self.options.until.unwrap_or(u64::MAX);
        for record in records(group).take_while(|record| record.seq <= until) {
            (self.visit)(record).map_err(ScanError::Visit)?;
            self.report.records += 1;
            self.report.last_seq = record.seq;
            self.report.last_time_ns = record.time_ns;
            self.report.bytes += (RECORD_HEADER_BYTES + padded(record.payload.len())) as u64;
        }
        Ok(())
    }

    /// Judges what follows the last complete group of a segment.
    fn end_of_segment(
        &mut self,
        name: &str,
        end: &LogEnd,
        remains: &Remains,
        decoded: Decoded,
        later_seq: Option<u64>,
    ) -> Result<(), ScanError<V>> {
        let expected_seq = self.cursor.next_seq();
        let (fault, mut place) = match (decoded, remains.first_nonzero) {
            (Decoded::Bad(Blemish { at, expected_seq, damage, self_valid }), _) => {
                let fault = if self_valid { Fault::Inconsistent } else { Fault::Broken };
                (Some(fault), Place { name, offset: end.end + at as u64, expected_seq, damage })
            }
            (Decoded::Nothing | Decoded::Whole { .. }, Some(offset)) => {
                (Some(Fault::Broken), Place { name, offset, expected_seq, damage: Damage::TailNotZero })
            }
            (Decoded::Nothing | Decoded::Whole { .. }, None) => {
                (None, Place { name, offset: end.end, expected_seq, damage: Damage::TailNotZero })
            }
        };
        let mark = if later_seq.is_none() { self.mark_still_there()? } else { None };
        if let (Some(mark), None) = (mark, fault) {
            place.damage = Damage::MarkDiffers { seq: mark.last_seq, length: mark.length };
        }
        let evidence = Evidence {
            last_seq: self.cursor.seq,
            fault,
            foreign_seq: remains.foreign_seq,
            later_seq,
            mark_agrees: mark.map(|mark| fault.is_none() && agrees(&mark, end)),
            witnessed: self.witnessed(),
        };
        match self.judge(&evidence, place)? {
            Verdict::Torn => self.report.torn_bytes = remains.nonzero_end.saturating_sub(end.end),
            Verdict::End => self.report.clean = mark.is_some(),
            Verdict::NextSegment | Verdict::BelowWitness | Verdict::Corrupt { .. } => {}
        }
        Ok(())
    }

    /// Who has a position has seen what is before it.
    fn witnessed(&self) -> Seq {
        self.options.witnessed.max(self.options.after.seq)
    }

    /// Judges a folder without segments.
    fn end_of_nothing(&self) -> Result<(), ScanError<V>> {
        let name = segment_name(1);
        let place = Place { name: &name, offset: 0, expected_seq: 1, damage: Damage::SegmentMissing { found: 0 } };
        let mark = self.mark_still_there()?;
        let evidence = Evidence {
            last_seq: 0,
            fault: None,
            foreign_seq: None,
            later_seq: None,
            // Even a log without records is closed with its first segment.
            mark_agrees: mark.map(|_| false),
            witnessed: self.witnessed(),
        };
        self.judge(&evidence, place).map(|_| ())
    }

    /// The mark, unless a writer has opened or closed the journal while it was read.
    fn mark_still_there(&self) -> Result<Option<Mark>, ScanError<V>> {
        let Stop::Clean(mark) = self.stop else {
            return Ok(None);
        };
        let now = mark::read(self.storage).map_err(io_error(self.storage, "read", MARK_NAME))?;
        Ok((now == self.stop).then_some(mark))
    }

    fn structure(&self, place: Place<'_>, later_seq: Option<u64>) -> ScanError<V> {
        let evidence = Evidence {
            last_seq: self.cursor.seq,
            fault: Some(Fault::Structure),
            foreign_seq: None,
            later_seq,
            mark_agrees: None,
            witnessed: self.witnessed(),
        };
        let next_valid_seq = match decide(&evidence) {
            Verdict::Corrupt { next_valid_seq } => next_valid_seq,
            Verdict::NextSegment | Verdict::BelowWitness | Verdict::Torn | Verdict::End => None,
        };
        self.corrupt(place, next_valid_seq)
    }

    fn judge(&self, evidence: &Evidence, place: Place<'_>) -> Result<Verdict, ScanError<V>> {
        match decide(evidence) {
            Verdict::Corrupt { next_valid_seq } => Err(self.corrupt(place, next_valid_seq)),
            Verdict::BelowWitness => Err(ScanError::BelowWitness {
                path: self.storage.path(""),
                last_seq: evidence.last_seq,
                witnessed: evidence.witnessed,
            }),
            verdict @ (Verdict::NextSegment | Verdict::Torn | Verdict::End) => Ok(verdict),
        }
    }

    fn corrupt(&self, place: Place<'_>, next_valid_seq: Option<u64>) -> ScanError<V> {
        let Place { name, offset, expected_seq, damage } = place;
        ScanError::Corrupt { path: self.storage.path(name), offset, expected_seq, damage, next_valid_seq }
    }
}

impl<S: fmt::Debug, V> fmt::Debug for Walk<'_, S, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk").field("report", &self.report).finish_non_exhaustive()
    }
}

fn agrees(mark: &Mark, end: &LogEnd) -> bool {
    let found = Mark { last_seq: end.cursor.seq, first_seq: end.first_seq, length: end.end, chain: end.cursor.chain };
    *mark == found && end.file_bytes == end.end
}

pub(crate) fn io_error<'a, S: Storage, V>(
    storage: &'a S,
    action: &'static str,
    name: &'a str,
) -> impl FnOnce(io::Error) -> ScanError<V> + 'a {
    move |source| ScanError::Io { action, path: storage.path(name), source }
}
