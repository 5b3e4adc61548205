//! Reading a journal without writing to it: what goes in and what comes out.
//!
//! Invariant: takes no lock and changes nothing, so it may run beside a writer. It holds no checks of its own: `walk`
//! does the reading, for scanning and for opening alike.

use std::path::Path;

use crate::error::ScanError;
use crate::position::Position;
use crate::storage::{FileStorage, Storage};
use crate::walk::walk;

/// One durable record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its sequence, from 1 without gaps.
    pub seq: u64,
    /// Its time stamp, never below the record before.
    pub time_ns: u64,
    /// What was appended, unchanged.
    pub payload: &'a [u8],
}

/// What a reading of the journal found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records visited.
    pub records: u64,
    /// Sequence of the last one; that of the position read from if there is none.
    pub last_seq: u64,
    /// Time stamp of the last one; that of the position read from if there is none.
    pub last_time_ns: u64,
    /// Logical bytes read: segment headers and visited records, without zeros after them.
    pub bytes: u64,
    /// Segments read.
    pub segments: u64,
    /// Bytes after the last complete group that an interrupted write left; `open` has cut them.
    pub torn_bytes: u64,
    /// Whether the journal was at rest: it ends exactly as the mark of a clean stop says.
    pub clean: bool,
}

/// What to read, and how far the journal must reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// Visit what comes after this position. Segments that end before it are not read, and one that begins right after
    /// it must continue its chain; a position within a segment costs reading that segment from its beginning.
    pub after: Position,
    /// Stop after this sequence, without a look at what follows it: a live journal is read up to what is durable.
    pub until: Option<u64>,
    /// Highest sequence seen outside; a log that ends below it, or below `after`, is refused. 0 if unknown.
    pub witnessed: u64,
}

/// Reads the journal in `dir`, giving each durable record after a position to `visit` in order. Takes no lock and changes nothing; the
/// folder may be written meanwhile, and an incomplete tail is then reported, not an error.
///
/// # Errors
///
/// See [`ScanError`]; records before the trouble have been visited.
pub fn scan<V>(
    dir: &Path,
    options: ScanOptions,
    visit: &mut dyn FnMut(Record<'_>) -> Result<(), V>,
) -> Result<Recovery, ScanError<V>> {
    scan_in(&FileStorage::new(dir), options, visit)
}

/// [`scan`] on any storage.
///
/// # Errors
///
/// See [`ScanError`].
pub fn scan_in<S: Storage, V>(
    storage: &S,
    options: ScanOptions,
    visit: &mut dyn FnMut(Record<'_>) -> Result<(), V>,
) -> Result<Recovery, ScanError<V>> {
    Ok(walk(storage, options, visit)?.0)
}
