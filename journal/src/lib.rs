//! A segmented, checksummed, chained append-only log of opaque payloads in one folder.
//!
//! # What it holds
//!
//! | module | idea |
//! |---|---|
//! | `format` | the bytes of segments and records |
//! | `group`, `encoder` | records that become durable together, and how they are written into a buffer |
//! | `writer`, `segment`, `prepare` | one write and one sync a group; rotation; segments zero-filled ahead |
//! | `position` | a place in the log, named by the record before it |
//! | `decode`, `reader`, `walk`, `scan` | reading from a position with every check, in whole groups |
//! | `tail` | following a log that is being written |
//! | `recovery` | where to begin, and torn or corrupt: one table, pure functions |
//! | `open` | lock, look where to begin, recover, repair, hand out writer and encoder |
//! | `snapshot` | two slots for snapshots beside the log |
//! | `retention` | which segments there are, and dropping old ones |
//! | `mark` | the file that says the last stop was clean |
//! | [`tree`] | the Merkle tree over the records, and proofs |
//! | `tree_head` | signed heads of the tree: the note, the key, the file they are kept in |
//! | `archive` | closed segments in a folder or in S3 (feature `archive`) |
//! | `storage`, `sim` | the calls made on a disk, and a simulated disk that breaks |
//! | `crash` | named places at which a test kills the process |
//!
//! `docs/journal-format.md` describes all files byte by byte for readers in other languages.
//!
//! # Invariants
//!
//! - One writer, by an exclusive lock file; any number of readers, without the lock.
//! - Groups are written one at a time, each synced before the next is written, and none spans two segments.
//! - The first failed write or sync is the last: the writer poisons itself. Only the next segment, of which nothing is in
//!   the log yet, may fail to be made: for lack of space any number of times, otherwise once.
//! - A torn tail is cut, anything else that is wrong is refused with file, offset and sequence.
//! - A snapshot is an aid, never the truth: one that is damaged is replaced by the other or by the log.
//!
//! # What it does not do
//!
//! It knows nothing of what a payload or a snapshot means, keeps no index, compresses nothing, deletes only what it is told
//! to and never asks what time it is. CRC32C finds accidents, not attackers: who can write the disk can recompute every
//! checksum. Against those there is the tree, if its signed heads are kept elsewhere.
//!
//! One limit is inherent in a single copy: bit rot inside the very last group after an unclean stop looks the same as
//! a torn write. The `witnessed` sequence given to [`open()`] narrows it, a clean stop closes it.

#[cfg(feature = "archive")]
mod archive;
pub mod crash;
mod decode;
mod encoder;
mod error;
mod format;
mod group;
mod mark;
mod open;
mod position;
mod prepare;
mod reader;
mod recovery;
mod retention;
mod scan;
mod segment;
mod snapshot;
mod storage;
mod tail;
pub mod tree;
mod tree_head;
mod walk;
mod writer;

#[cfg(feature = "archive")]
pub use archive::{Archive, ArchiveError, Archived, ArchivedSegment};
pub use encoder::Encoder;
pub use error::{Damage, EncodeError, OpenError, ScanError, SnapshotDamage, WriteError};
pub use format::{GROUP_BYTES_MAX, PAYLOAD_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub use group::Group;
pub use open::{Locked, Opened, Options, lock, lock_in, open, open_in, starts_in};
pub use position::Position;
pub use prepare::Next;
pub use recovery::Starts;
pub use retention::{SegmentInfo, remove_segments_before, segments};
pub use scan::{Record, Recovery, ScanOptions, scan, scan_in};
pub use snapshot::{Checkpoint, DamagedSlot, NOTE_BYTES_MAX, Slot, SnapshotBody, SnapshotStore};
pub use storage::{FileStorage, Storage, StorageFile};
pub use tail::{Tail, TailStop};
pub use tree::Tree;
pub use tree_head::{
    HEADS_NAME, HeadLog, HeadLogError, HeadSigner, HeadsRead, KeyFileError, NOTE_BYTES_MAX as HEAD_NOTE_BYTES_MAX,
    NoteError, TreeHead, VerifierKey, key_is_outside, read_heads, read_heads_in, statement_text,
};
pub use writer::{Durable, Room, Writer};

/// Sequence number of an input, 1-based; 0 means "before the first".
pub type Seq = u64;

#[cfg(any(test, feature = "sim"))]
pub mod sim;

#[cfg(test)]
mod tests;
