//! A reusable buffer of records that become durable together.
//!
//! Invariants: a group holds consecutive records; it never exceeds [`GROUP_BYTES_MAX`]; once sealed it takes no more
//! records until it is cleared. Only the [`crate::Encoder`] writes into it; it does no I/O.

use crate::format::{GROUP_BYTES_MAX, RECORD_BYTES_MAX, RECORD_HEADER_BYTES, RecordHeader};

/// Records that become durable together: filled by [`crate::Encoder`], made durable by [`crate::Writer::commit`].
///
/// Keep it and [`clear`](Group::clear) it: its buffer is then allocated once.
#[derive(Debug, Default)]
pub struct Group {
    /// Encoded records; the last one lacks `prev`, `flags` and `crc` until it is sealed.
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: u32,
    pub(crate) first_seq: u64,
    /// Offset in `bytes` of the last record.
    pub(crate) last_at: usize,
    /// Offset after the last record; equal to the buffer's length unless a payload's writer panicked.
    pub(crate) end: usize,
    /// Checksum of the record before the first, and of the last: what links groups.
    pub(crate) chain_before: u32,
    pub(crate) chain_after: u32,
    pub(crate) sealed: bool,
}

impl Group {
    /// An empty group.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the records and keeps the buffer.
    pub fn clear(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        *self = Self { bytes, ..Self::default() };
    }

    /// Whether the group holds no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// How many records the group holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records as usize
    }

    /// Encoded bytes, headers and padding included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.end
    }

    /// Sequence of the first record; 0 if the group is empty.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Sequence of the last record; 0 if the group is empty.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        if self.is_empty() { 0 } else { self.first_seq + u64::from(self.records) - 1 }
    }

    /// Time stamp and payload of the last record; `None` if the group is empty.
    #[must_use]
    pub fn last_record(&self) -> Option<(u64, &[u8])> {
        let record = self.bytes.get(self.last_at..self.end).filter(|_| !self.is_empty())?;
        let header = RecordHeader::decode(record);
        let payload = &record[RECORD_HEADER_BYTES..];
        Some((header.time_ns, &payload[..usize::from(header.len)]))
    }

    /// Whether the largest payload might not fit any more: seal and commit the group before the next push.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.end + RECORD_BYTES_MAX > GROUP_BYTES_MAX
    }

    /// Whether [`crate::Encoder::seal`] has ended the group.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }
}
