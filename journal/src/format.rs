//! The bytes on disk: segment header and record header, with their limits.
//!
//! All numbers are little-endian, all checksums are CRC32C, everything starts at a multiple of 8.
//!
//! # Segment file `{first_seq:020}.log`
//!
//! | offset | bytes | field | meaning |
//! |---|---|---|---|
//! | 0 | 8 | magic | `GOLLEMJ1` |
//! | 8 | 4 | version | 1 |
//! | 12 | 4 | crc | checksum of the other 60 header bytes |
//! | 16 | 8 | first_seq | sequence of the first record, as in the file name |
//! | 24 | 4 | chain | `crc` of the record before the first; 0 in the first segment |
//! | 28 | 36 | reserved | zero |
//! | 64 | | groups of records | then zeros to the end of the file |
//!
//! A segment is written as zeros first, so that a later `fdatasync` finds no changed metadata. Its header is written and
//! synced before the file gets its name: a named segment without a valid header is therefore never the work of a crash.
//!
//! # Record
//!
//! | offset | bytes | field | meaning |
//! |---|---|---|---|
//! | 0 | 4 | crc | checksum of bytes 4..32 and the payload |
//! | 4 | 4 | prev | `crc` of the record before: the chain |
//! | 8 | 4 | index | position within the group, from 0; `seq - index` is the group's first sequence |
//! | 12 | 2 | len | payload bytes, 1 to 60,000 |
//! | 14 | 1 | kind | 1 = input |
//! | 15 | 1 | flags | bit 0 = last record of its group; the others are zero |
//! | 16 | 8 | seq | 1, 2, 3, … without gaps |
//! | 24 | 8 | time_ns | never below the record before |
//! | 32 | len | payload | |
//! | 32 + len | 0..=7 | padding | zeros, to a multiple of 8 |
//!
//! `prev` is stored although a reader knows it, so that a record can be checked by itself: recovery needs that to see
//! whether anything valid follows damage.

/// First bytes of each segment.
pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"GOLLEMJ1";
/// Version of the segment format.
pub(crate) const VERSION: u32 = 1;
/// Bytes of a segment header, as the offset of the first record.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
/// Bytes of a record header.
pub(crate) const RECORD_HEADER_BYTES: usize = 32;
/// Most bytes of a payload: fits the 16-bit length, and bounds what a flipped length can make a reader read.
pub const PAYLOAD_BYTES_MAX: usize = 60_000;
/// Most bytes of an encoded record.
pub(crate) const RECORD_BYTES_MAX: usize = RECORD_HEADER_BYTES + padded(PAYLOAD_BYTES_MAX);
/// Most bytes of an encoded group: what can be lost at a torn tail, and what one sync has to wait for.
pub const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// Fewest bytes of a segment: any group fits an empty one.
pub const SEGMENT_BYTES_MIN: u64 = 1024 * 1024 + 4096;
/// Most bytes of a segment.
pub const SEGMENT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Segments are a whole number of pages.
pub(crate) const SEGMENT_BYTES_UNIT: u64 = 4096;
/// Offset of a record's flags.
pub(crate) const FLAGS_AT: usize = 15;
/// The kind of an input.
pub(crate) const KIND_INPUT: u8 = 1;
/// Flag of the last record of a group.
pub(crate) const FLAG_LAST: u8 = 1;

const _: () = assert!(PAYLOAD_BYTES_MAX <= 0xFFFF, "a payload length fits 16 bits");
const _: () = assert!(RECORD_BYTES_MAX * 8 <= GROUP_BYTES_MAX, "a group holds many of the largest records");
const _: () = assert!(
    GROUP_BYTES_MAX as u64 + SEGMENT_HEADER_BYTES as u64 <= SEGMENT_BYTES_MIN,
    "the largest group fits the smallest segment"
);
const _: () = assert!(
    SEGMENT_BYTES_MIN.is_multiple_of(SEGMENT_BYTES_UNIT) && SEGMENT_BYTES_MAX.is_multiple_of(SEGMENT_BYTES_UNIT)
);
const _: () = assert!(SEGMENT_HEADER_BYTES.is_multiple_of(8) && RECORD_HEADER_BYTES.is_multiple_of(8));
const _: () = assert!(GROUP_BYTES_MAX / (RECORD_HEADER_BYTES + 8) < u32::MAX as usize, "an index fits 32 bits");
const _: () = assert!(size_of::<RecordHeader>() == RECORD_HEADER_BYTES, "the fields fill the header without a hole");
const _: () = assert!(size_of::<usize>() == 8, "offsets are 64 bits");

/// `len` rounded up to a multiple of 8.
#[inline]
pub(crate) const fn padded(len: usize) -> usize {
    len.next_multiple_of(8)
}

/// The name of the segment that starts at `first_seq`.
pub(crate) fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:020}.log")
}

/// The first sequence in a segment's name; `None` if it is not a segment's name.
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[inline]
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) first_seq: u64,
    pub(crate) chain: u32,
}

/// Why bytes are not a segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Magic,
    Version(u32),
    Checksum,
    Reserved,
}

impl SegmentHeader {
    pub(crate) fn encode(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.chain.to_le_bytes());
        let crc = split_crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, BadHeader> {
        if bytes[0..8] != SEGMENT_MAGIC {
            return Err(BadHeader::Magic);
        }
        if u32_at(bytes, 12) != split_crc(bytes) {
            return Err(BadHeader::Checksum);
        }
        // After the checksum: an intact header of another version is not damage but a newer program's.
        if u32_at(bytes, 8) != VERSION {
            return Err(BadHeader::Version(u32_at(bytes, 8)));
        }
        if bytes[28..].iter().any(|&byte| byte != 0) {
            return Err(BadHeader::Reserved);
        }
        Ok(Self { first_seq: u64_at(bytes, 16), chain: u32_at(bytes, 24) })
    }
}

/// Checksum of a block whose own checksum sits at 12..16.
pub(crate) fn split_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

/// The header of a record; in memory in the order of the disk, so that the compiler checks its size.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) crc: u32,
    pub(crate) prev: u32,
    pub(crate) index: u32,
    pub(crate) len: u16,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) seq: u64,
    pub(crate) time_ns: u64,
}

impl RecordHeader {
    #[inline]
    pub(crate) fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.crc.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.prev.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.index.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.len.to_le_bytes());
        bytes[14] = self.kind;
        bytes[15] = self.flags;
        bytes[16..24].copy_from_slice(&self.seq.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes
    }

    /// Reads the fields of the first 32 `bytes`; checks nothing.
    #[inline(always)]
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        Self {
            crc: u32_at(bytes, 0),
            prev: u32_at(bytes, 4),
            index: u32_at(bytes, 8),
            len: u16_at(bytes, 12),
            kind: bytes[14],
            flags: bytes[15],
            seq: u64_at(bytes, 16),
            time_ns: u64_at(bytes, 24),
        }
    }

    /// The checksum that the record at the start of `bytes` with payload length `len` should carry.
    #[inline]
    pub(crate) fn checksum(bytes: &[u8], len: usize) -> u32 {
        crc32c::crc32c(&bytes[4..RECORD_HEADER_BYTES + len])
    }

    /// Whether the payload length is one that a writer can have written.
    #[inline]
    pub(crate) fn len_ok(&self) -> bool {
        (1..=PAYLOAD_BYTES_MAX).contains(&usize::from(self.len))
    }

    /// Bytes of the whole record, padding included.
    #[inline]
    pub(crate) fn record_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + padded(usize::from(self.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_decode_to_what_was_encoded() {
        let segment = SegmentHeader { first_seq: 77, chain: 0xDEAD_BEEF };
        assert_eq!(SegmentHeader::decode(&segment.encode()), Ok(segment));
        let record =
            RecordHeader { crc: 1, prev: 2, index: 3, len: 4, kind: 5, flags: 6, seq: 7 << 40, time_ns: 8 << 50 };
        assert_eq!(RecordHeader::decode(&record.encode()), record);
    }

    #[test]
    fn every_flipped_bit_of_a_segment_header_is_refused() {
        let header = SegmentHeader { first_seq: 1, chain: 0 }.encode();
        for bit in 0..SEGMENT_HEADER_BYTES * 8 {
            let mut flipped = header;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_reserved_byte_is_refused_even_with_a_right_checksum() {
        let mut header = SegmentHeader { first_seq: 1, chain: 0 }.encode();
        header[40] = 1;
        let crc = split_crc(&header);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&header), Err(BadHeader::Reserved));
    }

    #[test]
    fn only_twenty_digits_name_a_segment() {
        assert_eq!(parse_segment_name(&segment_name(1)), Some(1));
        assert_eq!(parse_segment_name(&segment_name(u64::MAX)), Some(u64::MAX));
        for name in ["1.log", "+0000000000000000001.log", "00000000000000000001", "99999999999999999999.log", "x.log"] {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
    }
}
