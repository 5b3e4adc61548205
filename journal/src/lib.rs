//! A segmented, checksummed, chained append-only log of opaque payloads in one folder.
//!
//! # What it holds
//!
//! | module | idea |
//! |---|---|
//! | `format` | the bytes of segments and records |
//! | `group`, `encoder` | records that become durable together, and how they are written into a buffer |
//! | `writer`, `segment`, `prepare` | one write and one sync a group; rotation; segments zero-filled ahead |
//! | `decode`, `reader`, `walk`, `scan` | reading with every check, in whole groups |
//! | `recovery` | torn or corrupt: one table, one pure function |
//! | `open` | lock, recover, repair, hand out writer and encoder |
//! | `mark` | the file that says the last stop was clean |
//! | `storage`, `sim` | the calls made on a disk, and a simulated disk that breaks |
//!
//! # Invariants
//!
//! - One writer, by an exclusive lock file; any number of readers, without the lock.
//! - Groups are written one at a time, each synced before the next is written, and none spans two segments.
//! - The first failed write or sync is the last: the writer poisons itself. Only a segment prepared ahead, of which
//!   nothing is in the log yet, may fail to be made once.
//! - A torn tail is cut, anything else that is wrong is refused with file, offset and sequence.
//!
//! # What it does not do
//!
//! It knows nothing of what a payload means, keeps no index, compresses nothing, deletes nothing and never asks what
//! time it is. CRC32C finds accidents, not attackers: who can write the disk can recompute every checksum.
//!
//! One limit is inherent in a single copy: bit rot inside the very last group after an unclean stop looks the same as
//! a torn write. The `witnessed` sequence given to [`open()`] narrows it, a clean stop closes it.

mod decode;
mod encoder;
mod error;
mod format;
mod group;
mod mark;
mod open;
mod prepare;
mod reader;
mod recovery;
mod scan;
mod segment;
mod storage;
pub mod tree;
mod tree_head;
mod walk;
mod writer;

pub use encoder::Encoder;
pub use error::{Damage, EncodeError, OpenError, ScanError, WriteError};
pub use format::{GROUP_BYTES_MAX, PAYLOAD_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub use group::Group;
pub use open::{Opened, Options, open, open_in};
pub use scan::{Record, Recovery, ScanOptions, scan, scan_in};
pub use storage::{FileStorage, Storage, StorageFile};
pub use tree::Tree;
pub use tree_head::{
    HEADS_NAME, HeadLog, HeadLogError, HeadSigner, HeadsRead, KeyFileError, NOTE_BYTES_MAX, NoteError, TreeHead,
    VerifierKey, key_is_outside, read_heads, read_heads_in,
};
pub use writer::{Durable, Writer};

/// Sequence number of an input, 1-based; 0 means "before the first".
pub type Seq = u64;

#[cfg(any(test, feature = "sim"))]
pub mod sim;

#[cfg(test)]
mod tests;
