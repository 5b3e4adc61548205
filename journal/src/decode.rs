//! Decodes one group from bytes in memory, with every check; pure.
//!
//! Invariant: a group is accepted whole or not at all, and only at the place where sequence, chain and time say it
//! belongs. This module reads no file and decides nothing about torn or corrupt.

use crate::error::Damage;
use crate::format::{
    FLAG_LAST, GROUP_BYTES_MAX, KIND_INPUT, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader,
};
use crate::position::Position;
use crate::scan::Record;

/// What the bytes at the place of the next group are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// A complete group of so many bytes.
    Whole { bytes: usize, after: Position },
    /// Zeros, or the end of the file.
    Nothing,
    /// Anything else; `at` is relative to the start of the group.
    Bad(Blemish),
}

/// The first thing wrong in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blemish {
    pub(crate) at: usize,
    pub(crate) expected_seq: u64,
    pub(crate) damage: Damage,
    /// Whether the record matches its own checksum: it was written like that, or damaged beside the checksum; an
    /// interrupted write over zeros does not do this.
    pub(crate) self_valid: bool,
}

/// Decodes the group at the start of `bytes`, which reach to the end of the file or hold the largest group.
pub(crate) fn decode_group(bytes: &[u8], before: &Position) -> Decoded {
    let bytes = &bytes[..bytes.len().min(GROUP_BYTES_MAX)];
    let (mut at, mut index, mut cursor) = (0, 0, *before);
    loop {
        let rest = &bytes[at..];
        if index == 0 && is_zero(&rest[..rest.len().min(RECORD_HEADER_BYTES)]) {
            return Decoded::Nothing;
        }
        let limit = bytes.len() == GROUP_BYTES_MAX;
        match decode_record(rest, &cursor, index, limit) {
            Ok(header) => {
                at += header.record_bytes();
                index += 1;
                cursor = Position { seq: header.seq, chain: header.crc, time_ns: header.time_ns };
                if header.flags & FLAG_LAST != 0 {
                    return Decoded::Whole { bytes: at, after: cursor };
                }
            }
            Err((damage, self_valid)) => {
                return Decoded::Bad(Blemish { at, expected_seq: cursor.next_seq(), damage, self_valid });
            }
        }
    }
}

/// The record at the start of `rest`, or what is wrong with it and whether its own checksum holds nevertheless.
fn decode_record(rest: &[u8], before: &Position, index: u32, limit: bool) -> Result<RecordHeader, (Damage, bool)> {
    let short = if limit { Damage::GroupTooLong } else { Damage::RecordShort };
    if rest.len() < RECORD_HEADER_BYTES {
        return Err((if is_zero(rest) { Damage::GroupUnended } else { short }, false));
    }
    let header = RecordHeader::decode(rest);
    let len = usize::from(header.len);
    if !header.len_ok() {
        let zeros = is_zero(&rest[..RECORD_HEADER_BYTES]);
        return Err((if zeros { Damage::GroupUnended } else { Damage::RecordLength { found: header.len } }, false));
    }
    if rest.len() < header.record_bytes() {
        return Err((short, false));
    }
    if header.crc != RecordHeader::checksum(rest, len) {
        return Err((Damage::RecordChecksum, false));
    }
    let damage = if header.kind != KIND_INPUT {
        Damage::RecordKind { found: header.kind }
    } else if header.flags & !FLAG_LAST != 0 {
        Damage::RecordFlags { found: header.flags }
    } else if before.seq.checked_add(1) != Some(header.seq) {
        Damage::RecordSeq { found: header.seq }
    } else if header.prev != before.chain {
        Damage::RecordChain
    } else if header.index != index {
        Damage::RecordIndex { found: header.index }
    } else if header.time_ns < before.time_ns {
        Damage::RecordTime { found: header.time_ns }
    } else if !is_zero(&rest[RECORD_HEADER_BYTES + len..header.record_bytes()]) {
        Damage::RecordPadding
    } else {
        return Ok(header);
    };
    Err((damage, true))
}

/// The records of a group that [`decode_group`] found whole.
pub(crate) fn records(mut group: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        if group.is_empty() {
            return None;
        }
        let header = RecordHeader::decode(group);
        let (record, rest) = group.split_at(header.record_bytes());
        group = rest;
        let payload = &record[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + usize::from(header.len)];
        Some(Record { seq: header.seq, time_ns: header.time_ns, payload })
    })
}

/// The header at the start of `bytes` if a record begins there that matches its own checksum, wherever it belongs.
pub(crate) fn self_valid_record(bytes: &[u8]) -> Option<RecordHeader> {
    if bytes.len() < RECORD_HEADER_BYTES || bytes[14] != KIND_INPUT || bytes[15] & !FLAG_LAST != 0 {
        return None;
    }
    let header = RecordHeader::decode(bytes);
    let len = usize::from(header.len);
    let whole =
        header.len_ok() && bytes.len() >= RECORD_HEADER_BYTES + len && header.crc == RecordHeader::checksum(bytes, len);
    whole.then_some(header)
}

/// Checks the header at the start of the segment named after `first_seq` and gives its chain, which must be `chain` where
/// that is known.
pub(crate) fn check_header(bytes: &[u8], first_seq: u64, chain: Option<u32>) -> Result<u32, Damage> {
    let Some(bytes) = bytes.first_chunk::<SEGMENT_HEADER_BYTES>() else {
        return Err(Damage::HeaderShort);
    };
    let header = SegmentHeader::decode(bytes)?;
    if header.first_seq != first_seq {
        return Err(Damage::HeaderSeq { found: header.first_seq });
    }
    if chain.is_some_and(|chain| header.chain != chain) {
        return Err(Damage::HeaderChain);
    }
    Ok(header.chain)
}

impl From<crate::format::BadHeader> for Damage {
    fn from(bad: crate::format::BadHeader) -> Self {
        use crate::format::BadHeader;
        match bad {
            BadHeader::Magic => Self::HeaderMagic,
            BadHeader::Version(found) => Self::HeaderVersion { found },
            BadHeader::Checksum => Self::HeaderChecksum,
            BadHeader::Reserved => Self::HeaderReserved,
        }
    }
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}
