//! What segments there are, and dropping old ones.
//!
//! Invariants: segments go from the oldest to the newest, and the folder is synced after each, so that whatever is left
//! after a crash has no gap; the last segment stays, because the writer is in it.
//!
//! Whether a segment may go is its caller's decision: it should be archived, and a sound snapshot should stand for what it
//! holds. Reading from before the first segment is then refused with [`crate::ScanError::Missing`].

use std::io;

use crate::Seq;
use crate::crash_point;
use crate::error::{OpenError, ScanError, WriteError};
use crate::format::segment_name;
use crate::storage::{Storage, StorageFile};
use crate::walk::{io_error, list_segments};

/// One segment of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its file's name.
    pub name: String,
    /// Sequence of its first record.
    pub first_seq: Seq,
    /// Sequence of its last record, known from the segment after it; `None` for the last segment.
    pub last_seq: Option<Seq>,
    /// Bytes of the file, with the zeros after its records.
    pub bytes: u64,
}

/// The segments of a journal, oldest first, by their names and sizes; nothing in them is read.
///
/// # Errors
///
/// The folder or a file cannot be looked at, or a `.log` file is no segment.
pub fn segments<S: Storage>(storage: &S) -> Result<Vec<SegmentInfo>, ScanError> {
    let first_seqs = list_segments(storage)?;
    let info = |(index, &first_seq): (usize, &Seq)| {
        let name = segment_name(first_seq);
        let size = storage.open(&name, false).and_then(|file| file.size());
        let bytes = size.map_err(io_error(storage, "read the size of", &name))?;
        let last_seq = first_seqs.get(index + 1).map(|&next| next - 1);
        Ok(SegmentInfo { name, first_seq, last_seq, bytes })
    };
    first_seqs.iter().enumerate().map(info).collect()
}

/// Removes the segments that hold only records below `seq`, oldest first, and returns those removed. A writer may be at
/// work meanwhile.
///
/// # Errors
///
/// A segment, and all after it, may still be there. The call may be made again, unless it was a sync that failed.
pub fn remove_segments_before<S: Storage>(storage: &S, seq: Seq) -> Result<Vec<SegmentInfo>, OpenError> {
    let mut removed = segments(storage)?;
    let kept = removed.iter().position(|segment| segment.last_seq.is_none_or(|last_seq| last_seq >= seq));
    removed.truncate(kept.unwrap_or(0));
    for segment in &removed {
        let fail = |action, name: &str| {
            let path = storage.path(name);
            move |source: io::Error| WriteError::new(action, path, 0, source)
        };
        storage.remove(&segment.name).map_err(fail("remove", &segment.name))?;
        crash_point!("retention.removed");
        storage.sync_dir().map_err(fail("sync", ""))?;
    }
    Ok(removed)
}
