//! The segment being written: zero-filling, taking its name, appending, and its end at a clean stop.
//!
//! Invariants: a file gets its segment name only after its zeros and its header are synced; bytes after `end` are zero;
//! an append is one write and one sync. No call is tried twice: the writer poisons itself on the first error. The zeros
//! are why an append needs no space: a full disk stops only the next segment (`prepare`).

use std::io;

use crate::crash_point;
use crate::error::WriteError;
use crate::format::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use crate::storage::{Storage, StorageFile};

/// Name of a segment that is prepared but not yet part of the log.
pub(crate) const NEXT_NAME: &str = "next.tmp";
/// Zeros are written in blocks of this size.
const ZEROS_BYTES: usize = 1024 * 1024;

/// The segment that takes the next group.
#[derive(Debug)]
pub(crate) struct Segment<S: Storage> {
    pub(crate) file: S::File,
    pub(crate) first_seq: u64,
    /// Offset after the last group.
    pub(crate) end: u64,
    /// Bytes of the file, zeros included.
    pub(crate) capacity: u64,
}

impl<S: Storage> Segment<S> {
    /// Turns the prepared `file` (zeros, synced) into the segment of the log that `header` describes.
    pub(crate) fn begin(storage: &S, file: S::File, header: SegmentHeader, capacity: u64) -> Result<Self, WriteError> {
        let name = segment_name(header.first_seq);
        let fail = |action, name: &str| {
            let path = storage.path(name);
            move |source| WriteError::new(action, path, 0, source)
        };
        crash_point!("rotate.begin");
        file.write_all_at(&header.encode(), 0).map_err(fail("write", NEXT_NAME))?;
        crash_point!("rotate.header-written");
        file.sync_data().map_err(fail("sync", NEXT_NAME))?;
        crash_point!("rotate.header-synced");
        storage.rename(NEXT_NAME, &name).map_err(fail("rename to", &name))?;
        crash_point!("rotate.renamed");
        storage.sync_dir().map_err(fail("sync the folder of", &name))?;
        crash_point!("rotate.folder-synced");
        Ok(Self { file, first_seq: header.first_seq, end: SEGMENT_HEADER_BYTES as u64, capacity })
    }

    /// Bytes left after the last group.
    pub(crate) fn room(&self) -> u64 {
        self.capacity - self.end
    }

    /// Whether `bytes` more fit.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        bytes as u64 <= self.room()
    }

    /// Writes `bytes` after the last group and syncs them.
    ///
    /// Through the page cache and not with `O_DIRECT | O_DSYNC`: that writes whole blocks, so it would pad every lone
    /// command to 4 KiB, or write the durable sectors of the last block again, which a torn write could then damage. The
    /// little time it saves on small groups is not worth either; large groups take the same.
    pub(crate) fn append(&mut self, storage: &S, bytes: &[u8]) -> Result<(), WriteError> {
        crash_point!("append.begin");
        self.file.write_all_at(bytes, self.end).map_err(self.fail(storage, "write"))?;
        crash_point!("append.written");
        self.file.sync_data().map_err(self.fail(storage, "sync"))?;
        crash_point!("append.synced");
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Cuts the zeros off, for a clean stop.
    pub(crate) fn trim(&self, storage: &S) -> Result<(), WriteError> {
        self.file.set_len(self.end).map_err(self.fail(storage, "cut"))?;
        crash_point!("close.trimmed");
        self.file.sync_all().map_err(self.fail(storage, "sync"))?;
        crash_point!("close.trim-synced");
        Ok(())
    }

    fn fail(&self, storage: &S, action: &'static str) -> impl FnOnce(io::Error) -> WriteError {
        let (path, offset) = (storage.path(&segment_name(self.first_seq)), self.end);
        move |source| WriteError::new(action, path, offset, source)
    }
}

/// Writes zeros over `from..to`.
pub(crate) fn write_zeros<F: StorageFile>(file: &F, from: u64, to: u64) -> io::Result<()> {
    let most = usize::try_from(to.saturating_sub(from)).unwrap_or(ZEROS_BYTES);
    let zeros = vec![0; most.min(ZEROS_BYTES)];
    let mut at = from;
    while at < to {
        let count = (to - at).min(ZEROS_BYTES as u64);
        file.write_all_at(&zeros[..usize::try_from(count).unwrap_or(ZEROS_BYTES)], at)?;
        at += count;
    }
    Ok(())
}
