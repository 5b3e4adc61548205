//! Writes records into a group's buffer; owned by the thread that orders inputs.
//!
//! Invariants: sequence numbers have no gap, time never goes back, each record carries the checksum of the one before.
//! A record's checksum is computed once, when the next record or the seal says whether it is the last of its group.
//! The encoder does no I/O, and allocates nothing once the group's buffer has grown.

use crate::error::EncodeError;
use crate::format::{
    FLAG_LAST, GROUP_BYTES_MAX, KIND_INPUT, PAYLOAD_BYTES_MAX, RECORD_HEADER_BYTES, RecordHeader, padded,
};
use crate::group::Group;
use crate::position::Position;

/// Encodes records of one group into a byte buffer, and holds the next sequence and the chain.
#[derive(Debug)]
pub struct Encoder {
    next_seq: u64,
    time_ns: u64,
    /// Checksum of the last finished record.
    chain: u32,
    /// Whether a group has records that are not sealed yet.
    open: bool,
}

impl Encoder {
    /// An encoder for what follows `end`, the end of the log.
    pub(crate) fn new(end: &Position) -> Self {
        Self { next_seq: end.seq + 1, time_ns: end.time_ns, chain: end.chain, open: false }
    }

    /// The sequence that the next push gets.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Appends one record whose payload `write` appends to the buffer it is given, and returns its sequence.
    ///
    /// # Errors
    ///
    /// The payload is empty or too large, or the group has no room: group and encoder are as before.
    ///
    /// # Panics
    ///
    /// If `time_ns` is below the record before, the group is sealed, or another group was begun and not sealed: each
    /// would make a journal that recovery refuses.
    pub fn push(
        &mut self,
        group: &mut Group,
        time_ns: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<u64, EncodeError> {
        assert!(time_ns >= self.time_ns, "time never goes back: {time_ns} after {}", self.time_ns);
        assert!(!group.sealed, "a sealed group takes no more records");
        let continues = if group.is_empty() { !self.open } else { group.last_seq() + 1 == self.next_seq };
        assert!(continues, "one group is filled at a time, and sealed before the next is begun");

        let at = group.end;
        group.bytes.truncate(at);
        group.bytes.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        write(&mut group.bytes);
        let len = group.bytes.len().saturating_sub(at + RECORD_HEADER_BYTES);
        let len = match check_payload(at, len) {
            Ok(len) => len,
            Err(error) => {
                group.bytes.truncate(at);
                return Err(error);
            }
        };
        group.bytes.resize(at + RECORD_HEADER_BYTES + padded(usize::from(len)), 0);

        if group.is_empty() {
            group.first_seq = self.next_seq;
            group.chain_before = self.chain;
        } else {
            self.finish_last(group, 0);
        }
        let seq = self.next_seq;
        let (index, kind) = (group.records, KIND_INPUT);
        let header = RecordHeader { crc: 0, prev: 0, index, len, kind, flags: 0, seq, time_ns };
        group.bytes[at..at + RECORD_HEADER_BYTES].copy_from_slice(&header.encode());
        group.records += 1;
        group.last_at = at;
        group.end = group.bytes.len();
        self.next_seq += 1;
        self.time_ns = time_ns;
        self.open = true;
        Ok(seq)
    }

    /// Marks the last record of the group as its end; the group can then be committed.
    ///
    /// # Panics
    ///
    /// If the group is empty, sealed already, or not the one being filled.
    pub fn seal(&mut self, group: &mut Group) {
        assert!(!group.is_empty() && !group.sealed, "a group is sealed once, and holds a record");
        assert!(group.last_seq() + 1 == self.next_seq, "the group sealed is the one being filled");
        group.bytes.truncate(group.end);
        self.finish_last(group, FLAG_LAST);
        group.chain_after = self.chain;
        group.sealed = true;
        self.open = false;
    }

    /// Writes what the last record still lacks, and moves the chain over it.
    fn finish_last(&mut self, group: &mut Group, flags: u8) {
        let record = &mut group.bytes[group.last_at..group.end];
        record[4..8].copy_from_slice(&self.chain.to_le_bytes());
        record[15] = flags;
        let len = usize::from(crate::format::u16_at(record, 12));
        self.chain = RecordHeader::checksum(record, len);
        record[0..4].copy_from_slice(&self.chain.to_le_bytes());
    }
}

/// The length of a payload that may be appended at `at`.
fn check_payload(at: usize, len: usize) -> Result<u16, EncodeError> {
    if len == 0 {
        return Err(EncodeError::Empty);
    }
    let too_large = EncodeError::PayloadTooLarge { bytes: len, max: PAYLOAD_BYTES_MAX };
    if len > PAYLOAD_BYTES_MAX {
        return Err(too_large);
    }
    let bytes = at + RECORD_HEADER_BYTES + padded(len);
    if bytes > GROUP_BYTES_MAX {
        return Err(EncodeError::GroupFull { bytes, max: GROUP_BYTES_MAX });
    }
    u16::try_from(len).map_err(|_| too_large)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(encoder: &mut Encoder, group: &mut Group, len: usize) -> Result<u64, EncodeError> {
        encoder.push(group, 5, |bytes| bytes.resize(bytes.len() + len, 7))
    }

    #[test]
    fn a_refused_payload_leaves_group_and_encoder_unchanged() {
        let (mut encoder, mut group) = (Encoder::new(&Position::START), Group::new());
        assert_eq!(put(&mut encoder, &mut group, 0), Err(EncodeError::Empty));
        assert_eq!(put(&mut encoder, &mut group, 9), Ok(1));
        let before = group.bytes.clone();
        let refused = Err(EncodeError::PayloadTooLarge { bytes: 60_001, max: 60_000 });
        assert_eq!(put(&mut encoder, &mut group, 60_001), refused);
        assert_eq!((group.bytes.clone(), group.len(), encoder.next_seq()), (before, 1, 2));
        assert_eq!(put(&mut encoder, &mut group, 60_000), Ok(2));
    }

    #[test]
    fn a_group_that_is_not_full_takes_the_largest_payload_and_none_exceeds_the_limit() {
        let (mut encoder, mut group) = (Encoder::new(&Position::START), Group::new());
        while !group.is_full() {
            put(&mut encoder, &mut group, PAYLOAD_BYTES_MAX).expect("not full");
        }
        while put(&mut encoder, &mut group, 1).is_ok() {}
        assert!(group.bytes() <= GROUP_BYTES_MAX && group.bytes() + 40 > GROUP_BYTES_MAX);
    }

    #[test]
    fn a_reused_group_does_not_allocate() {
        let (mut encoder, mut group) = (Encoder::new(&Position::START), Group::new());
        let mut buffers = Vec::new();
        for _ in 0..3 {
            group.clear();
            (0..100).for_each(|_| assert!(put(&mut encoder, &mut group, 33).is_ok()));
            encoder.seal(&mut group);
            buffers.push((group.bytes.as_ptr(), group.bytes.capacity()));
        }
        assert!(buffers.iter().all(|buffer| *buffer == buffers[0]));
    }

    #[test]
    #[should_panic(expected = "time never goes back")]
    fn time_that_goes_back_is_a_bug() {
        let (mut encoder, mut group) = (Encoder::new(&Position { time_ns: 6, ..Position::START }), Group::new());
        put(&mut encoder, &mut group, 1).ok();
    }

    #[test]
    #[should_panic(expected = "one group is filled at a time")]
    fn a_second_group_before_the_seal_is_a_bug() {
        let (mut encoder, mut group) = (Encoder::new(&Position::START), Group::new());
        put(&mut encoder, &mut group, 1).ok();
        put(&mut encoder, &mut Group::new(), 1).ok();
    }
}
