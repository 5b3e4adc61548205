//! What can go wrong, one variant for each thing an operator would do about it.
//!
//! Offsets are bytes from the start of the named file. Nothing here is retried by this crate: a segment that could not be
//! prepared ahead has been made a second time before it becomes an error.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::storage::is_full;

/// A record that cannot be encoded; the group is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The caller must send less.
    #[error("payload of {bytes} bytes exceeds the maximum of {max}")]
    PayloadTooLarge {
        /// Bytes of the payload.
        bytes: usize,
        /// Most bytes allowed.
        max: usize,
    },
    /// A payload holds at least one byte.
    #[error("payload is empty")]
    Empty,
    /// The group must be committed first; [`crate::Group::is_full`] says so beforehand.
    #[error("group would grow to {bytes} bytes, the maximum is {max}")]
    GroupFull {
        /// Bytes the group would have.
        bytes: usize,
        /// Most bytes allowed.
        max: usize,
    },
}

/// A group that is not durable. After any of these but [`NoSpace`](WriteError::NoSpace) the writer takes nothing more:
/// restart from the journal.
#[derive(Debug, Error)]
pub enum WriteError {
    /// There is no space for the next segment, and no file of the log was touched: free space, then commit the same
    /// group again.
    #[error("no space for the next segment {}", path.display())]
    NoSpace {
        /// The file of the next segment.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full: free space, then restart.
    #[error("no space to {action} {} at offset {offset}", path.display())]
    Full {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The disk failed: look at it before the restart.
    #[error("cannot {action} {} at offset {offset}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier call failed; nothing was tried. The earlier error says what to do.
    #[error("journal writer stopped at its first failure and takes nothing more")]
    Poisoned,
}

impl WriteError {
    /// Whether the writer goes on, and the same group may be committed again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }

    /// Wraps a failure of `action` on `path`.
    pub(crate) fn new(action: &'static str, path: PathBuf, offset: u64, source: io::Error) -> Self {
        if is_full(&source) {
            Self::Full { action, path, offset, source }
        } else {
            Self::Io { action, path, offset, source }
        }
    }
}

/// What is wrong with the bytes at the place an error names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// A `.log` file whose name is not twenty digits.
    #[error("file name is not that of a segment")]
    SegmentName,
    /// The segment that should come here does not exist.
    #[error("segment is missing, the next one found starts at seq {found}")]
    SegmentMissing {
        /// First sequence of the segment that was found instead; 0 if there is none.
        found: u64,
    },
    /// The file ends inside the segment header.
    #[error("segment header is cut short")]
    HeaderShort,
    /// The file does not start as a segment does.
    #[error("segment header has the wrong magic")]
    HeaderMagic,
    /// A version this program does not know.
    #[error("segment has unknown version {found}")]
    HeaderVersion {
        /// The version found.
        found: u32,
    },
    /// The segment header does not match its checksum.
    #[error("segment header does not match its checksum")]
    HeaderChecksum,
    /// Reserved bytes of the segment header are not zero.
    #[error("segment header has nonzero reserved bytes")]
    HeaderReserved,
    /// The header names another first sequence than the file name.
    #[error("segment header says seq {found}, the file name another")]
    HeaderSeq {
        /// First sequence in the header.
        found: u64,
    },
    /// The header does not continue the chain.
    #[error("segment does not continue the chain of the one before")]
    HeaderChain,
    /// The file ends inside a record.
    #[error("record is cut short by the end of the file")]
    RecordShort,
    /// A payload length that no writer writes.
    #[error("record has impossible payload length {found}")]
    RecordLength {
        /// The length found.
        found: u16,
    },
    /// The record does not match its checksum.
    #[error("record does not match its checksum")]
    RecordChecksum,
    /// A kind this program does not know.
    #[error("record has unknown kind {found}")]
    RecordKind {
        /// The kind found.
        found: u8,
    },
    /// Flags that must be zero are not.
    #[error("record has unknown flags {found:#04x}")]
    RecordFlags {
        /// The flags found.
        found: u8,
    },
    /// The record has another sequence than the place it is at.
    #[error("record has seq {found}")]
    RecordSeq {
        /// The sequence found.
        found: u64,
    },
    /// The record does not continue the chain.
    #[error("record does not continue the chain of the one before")]
    RecordChain,
    /// The record has another position within its group.
    #[error("record has index {found} in its group")]
    RecordIndex {
        /// The index found.
        found: u32,
    },
    /// The record's time is below the one before.
    #[error("record has time {found} ns, below the one before")]
    RecordTime {
        /// The time found.
        found: u64,
    },
    /// The bytes after the payload are not zero.
    #[error("record has nonzero padding")]
    RecordPadding,
    /// The group stops before a record that ends it.
    #[error("group of records has no end")]
    GroupUnended,
    /// The group is longer than a writer writes.
    #[error("group of records is longer than the maximum")]
    GroupTooLong,
    /// Bytes after the last group are not zero.
    #[error("bytes after the last group are not zero")]
    TailNotZero,
    /// The position to read from is not the end of a group of this log.
    #[error("position after seq {seq} is not that of this log")]
    PositionDiffers {
        /// Sequence of the position.
        seq: u64,
    },
    /// The mark of a clean stop is not whole.
    #[error("mark of the clean stop is damaged")]
    MarkDamaged,
    /// The log is not as the mark of a clean stop says.
    #[error("log ends here, but the mark of the clean stop says at seq {seq}, offset {length}")]
    MarkDiffers {
        /// Last sequence by the mark.
        seq: u64,
        /// Length of the last segment by the mark.
        length: u64,
    },
}

/// A journal that cannot be read to its end. `V` is the error of the caller's visitor.
#[derive(Debug, Error)]
pub enum ScanError<V = Infallible> {
    /// The disk or the rights on it: look at the system's words.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that were durable are damaged. Restore from a copy; nothing has been changed.
    #[error("corrupt journal: {} at offset {offset}, where seq {expected_seq} belongs: {damage}{}",
        path.display(), next_words(*.next_valid_seq))]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The sequence that should be found there.
        expected_seq: u64,
        /// What is wrong.
        damage: Damage,
        /// A later sequence that is still there, which shows that the damaged one had been durable.
        next_valid_seq: Option<u64>,
    },
    /// Segments at the log's beginning are gone, as they are once they were archived: fetch them from the archive, or
    /// read from a later position. What is here may be sound.
    #[error("journal {} lacks seq {first_seq} to {last_seq}, which may be in the archive", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
        /// First missing sequence.
        first_seq: u64,
        /// Last missing sequence.
        last_seq: u64,
    },
    /// Someone has seen a later sequence than the log holds. Restore from a copy, or find out who saw it.
    #[error("journal {} ends at seq {last_seq}, below seq {witnessed} that was seen outside", path.display())]
    BelowWitness {
        /// The folder.
        path: PathBuf,
        /// Last durable sequence of the log.
        last_seq: u64,
        /// Highest sequence seen outside.
        witnessed: u64,
    },
    /// The caller's visitor stopped the reading.
    #[error("record refused by its reader: {0}")]
    Visit(V),
}

/// What is wrong with a snapshot's file. An older snapshot or the journal itself takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SnapshotDamage {
    /// The file ends inside the header or the note.
    #[error("snapshot header is cut short")]
    HeaderShort,
    /// The file does not start as a snapshot does.
    #[error("snapshot header has the wrong magic")]
    HeaderMagic,
    /// A version this program does not know.
    #[error("snapshot has unknown version {found}")]
    HeaderVersion {
        /// The version found.
        found: u32,
    },
    /// The header does not match its checksum.
    #[error("snapshot header does not match its checksum")]
    HeaderChecksum,
    /// Reserved bytes of the header are not zero.
    #[error("snapshot header has nonzero reserved bytes")]
    HeaderReserved,
    /// The note is longer than one can be.
    #[error("snapshot has a note of {found} bytes")]
    NoteLength {
        /// The length found.
        found: u16,
    },
    /// The note or its padding does not match its checksum.
    #[error("snapshot's note does not match its checksum")]
    NoteChecksum,
    /// The file has another length than its header says.
    #[error("snapshot has {found} bytes, its header says {expected}")]
    FileLength {
        /// Bytes of the file.
        found: u64,
        /// Bytes by the header.
        expected: u64,
    },
}

/// A journal that cannot be opened for writing; apart from the lock file nothing has been changed by a refusal.
#[derive(Debug, Error)]
pub enum OpenError<V = Infallible> {
    /// Another process writes this journal: stop it first.
    #[error("journal is locked by another writer: {}", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The configured segment size is out of range: correct it.
    #[error("segment size of {bytes} bytes is not a multiple of 4096 from {min} to {max}")]
    SegmentBytes {
        /// The configured size.
        bytes: u64,
        /// Fewest bytes.
        min: u64,
        /// Most bytes.
        max: u64,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ScanError<V>),
    /// The journal was read but could not be made ready for writing; opening again starts over.
    #[error(transparent)]
    Write(#[from] WriteError),
}

fn next_words(next_valid_seq: Option<u64>) -> String {
    next_valid_seq.map_or_else(String::new, |seq| format!("; seq {seq} after it is valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corruption_names_file_offset_sequence_and_damage() {
        let error: ScanError = ScanError::Corrupt {
            path: PathBuf::from("j/1.log"),
            offset: 96,
            expected_seq: 2,
            damage: Damage::RecordChecksum,
            next_valid_seq: Some(5),
        };
        let words = "corrupt journal: j/1.log at offset 96, where seq 2 belongs: \
            record does not match its checksum; seq 5 after it is valid";
        assert_eq!(error.to_string(), words);
    }
}
