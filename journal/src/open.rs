//! Opens a journal for writing: lock, look where to begin, recover, repair, go on.
//!
//! Invariants: nothing but the lock file is changed before the whole log was read and accepted; the mark of the last
//! clean stop is durably gone before a segment is changed; everything recovered is durable before the writer is handed
//! out. A crash at any call here leaves a journal that opens again with the same records.

use std::io;
use std::path::Path;

use crate::Seq;
use crate::crash_point;
use crate::encoder::Encoder;
use crate::error::{OpenError, ScanError, WriteError};
use crate::format::{
    GROUP_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_BYTES_UNIT, SegmentHeader, segment_name,
};
use crate::mark::{MARK_NAME, MARK_TEMP_NAME};
use crate::position::Position;
use crate::prepare::{Pace, Preparer, prepare};
use crate::reader::read_full;
use crate::recovery::{Starts, starts};
use crate::scan::{Record, Recovery, ScanOptions};
use crate::segment::{NEXT_NAME, Segment, write_zeros};
use crate::snapshot::{SNAPSHOT_TEMP_NAME, SnapshotStore};
use crate::storage::{FileStorage, Storage, StorageFile};
use crate::walk::{LogEnd, list_segments, walk};
use crate::writer::{Start, Writer};

/// How a journal is written; its segments may have been written with other options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of a segment: a multiple of 4096 from [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`].
    pub segment_bytes: u64,
    /// Whether a thread prepares the next segment ahead. Without it the commit that needs a segment makes it, which
    /// takes long but makes the order of all calls the same each time: for simulation.
    pub prepare_ahead: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 * 1024 * 1024, prepare_ahead: true }
    }
}

impl Options {
    /// The size of a segment, if it is one.
    fn check<V>(&self) -> Result<u64, OpenError<V>> {
        let bytes = self.segment_bytes;
        #[cfg(any(test, feature = "sim"))]
        if bytes == crate::sim::SEGMENT_BYTES {
            return Ok(bytes);
        }
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) || !bytes.is_multiple_of(SEGMENT_BYTES_UNIT) {
            return Err(OpenError::SegmentBytes { bytes, min: SEGMENT_BYTES_MIN, max: SEGMENT_BYTES_MAX });
        }
        Ok(bytes)
    }
}

/// A journal ready for writing.
#[derive(Debug)]
pub struct Opened<S: Storage = FileStorage> {
    /// Makes groups durable.
    pub writer: Writer<S>,
    /// Encodes groups, positioned after the last durable record.
    pub encoder: Encoder,
    /// What was found.
    pub report: Recovery,
}

/// A journal that nobody else writes: nothing of it has been read or changed yet. Dropping it gives up the lock.
#[derive(Debug)]
pub struct Locked<S: Storage = FileStorage> {
    storage: S,
    lock: S::Lock,
}

/// Takes the writer's lock on the journal in `dir`, creating the folder if there is none.
///
/// # Errors
///
/// [`OpenError::Locked`], or the folder or the lock file cannot be made.
pub fn lock(dir: &Path) -> Result<Locked, OpenError> {
    lock_in(FileStorage::new(dir))
}

/// [`lock`] on any storage.
///
/// # Errors
///
/// As [`lock`].
pub fn lock_in<S: Storage>(storage: S) -> Result<Locked<S>, OpenError> {
    take_lock(storage)
}

/// Opens the journal in `dir` for writing, creating it if there is none. Gives every durable record to `visit` in order
/// and cuts a torn tail. `witnessed` is the highest sequence seen outside, 0 if unknown.
///
/// # Errors
///
/// See [`OpenError`].
pub fn open<V>(
    dir: &Path,
    options: &Options,
    witnessed: Seq,
    visit: &mut dyn FnMut(Record<'_>) -> Result<(), V>,
) -> Result<Opened, OpenError<V>> {
    open_in(FileStorage::new(dir), options, witnessed, visit)
}

/// [`open`] on any storage.
///
/// # Errors
///
/// See [`OpenError`].
pub fn open_in<S: Storage, V>(
    storage: S,
    options: &Options,
    witnessed: Seq,
    visit: &mut dyn FnMut(Record<'_>) -> Result<(), V>,
) -> Result<Opened<S>, OpenError<V>> {
    // Before the folder is created.
    options.check()?;
    take_lock(storage)?.open(options, Position::START, witnessed, visit)
}

/// [`Locked::starts`] beside a writer that may be at work.
///
/// # Errors
///
/// As [`Locked::starts`].
pub fn starts_in<S: Storage>(storage: &S) -> Result<Starts, OpenError> {
    let first_seqs = list_segments(storage)?;
    let slots = SnapshotStore::new(storage.clone()).list();
    let slots = slots.map_err(read_error(storage, "read the snapshots in", ""))?;
    Ok(starts(slots, first_seqs.first().copied()))
}

fn take_lock<S: Storage, V>(storage: S) -> Result<Locked<S>, OpenError<V>> {
    storage.create_dir().map_err(read_error(&storage, "create", ""))?;
    let lock = storage.lock().map_err(read_error(&storage, "lock", "lock"))?;
    let lock = lock.ok_or_else(|| OpenError::Locked { path: storage.path("lock") })?;
    Ok(Locked { storage, lock })
}

impl<S: Storage> Locked<S> {
    /// The snapshots beside the journal.
    pub fn snapshots(&self) -> SnapshotStore<S> {
        SnapshotStore::new(self.storage.clone())
    }

    /// Which snapshots can be recovered from, and in which order to try them.
    ///
    /// # Errors
    ///
    /// The folder or a slot cannot be read, or holds a `.log` file that is no segment.
    pub fn starts(&self) -> Result<Starts, OpenError> {
        starts_in(&self.storage)
    }

    /// Opens the journal for writing, creating it if there is none. Gives every durable record after `after` to `visit`
    /// in order and cuts a torn tail. `witnessed` is the highest sequence seen outside, 0 if unknown; `after` and each
    /// sound snapshot are witnesses, too.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open<V>(
        self,
        options: &Options,
        after: Position,
        witnessed: Seq,
        visit: &mut dyn FnMut(Record<'_>) -> Result<(), V>,
    ) -> Result<Opened<S>, OpenError<V>> {
        let bytes = options.check()?;
        let seen = self.snapshots().newest_seq().map_err(read_error(&self.storage, "read the snapshots in", ""))?;
        let Self { storage, lock } = self;
        crash_point!("open.locked");
        settle(&storage)?;
        let scan = ScanOptions { after, until: None, witnessed: witnessed.max(seen) };
        let (mut report, end) = walk(&storage, scan, visit)?;

        crash_point!("open.read");
        remove_leftovers(&storage)?;
        crash_point!("open.leftovers-synced");
        let active = if let Some(end) = &end {
            resume(&storage, end, report.clean, bytes)?
        } else {
            let file = prepare(&storage, bytes, &Pace::at_once());
            let file = file.map_err(io::Error::from).map_err(write_error(&storage, "prepare", NEXT_NAME, 0))?;
            let segment = Segment::begin(&storage, file, SegmentHeader { first_seq: 1, chain: 0 }, bytes)?;
            report.segments = 1;
            report.bytes = segment.end;
            segment
        };
        let end = end.map_or(Position::START, |end| end.cursor);
        let preparer = Preparer::start(storage.clone(), bytes, options.prepare_ahead);
        let preparer = preparer.map_err(read_error(&storage, "start the thread that prepares", NEXT_NAME))?;
        let writer = Writer::new(Start {
            storage,
            active,
            segment_bytes: bytes,
            chain: end.chain,
            durable_seq: end.seq,
            bytes_written: report.bytes,
            preparer,
            lock,
        });
        Ok(Opened { writer, encoder: Encoder::new(&end), report })
    }
}

/// Makes durable what a killed process left in the page cache: whoever is told of it may make that durable elsewhere, and
/// must not be ahead of the log after a power cut.
fn settle<S: Storage, V>(storage: &S) -> Result<(), OpenError<V>> {
    let first_seqs = list_segments(storage)?;
    let Some(&last) = first_seqs.last() else { return Ok(()) };
    let name = segment_name(last);
    let synced = storage.open(&name, false).and_then(|file| file.sync_data());
    synced.map_err(write_error(storage, "sync", &name, 0)).map_err(OpenError::Write)
}

/// Removes the mark and unfinished files, and makes the folder durable as it was read: a crash may have come between
/// the rename of a segment and the sync of the folder.
fn remove_leftovers<S: Storage>(storage: &S) -> Result<(), WriteError> {
    for name in [MARK_NAME, MARK_TEMP_NAME, NEXT_NAME, SNAPSHOT_TEMP_NAME] {
        match storage.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(write_error(storage, "remove", name, 0)(error));
            }
            _ => {}
        }
        crash_point!("open.leftover-removed");
    }
    storage.sync_dir().map_err(write_error(storage, "sync", "", 0))
}

/// Makes the last segment ready for the next group.
fn resume<S: Storage>(storage: &S, end: &LogEnd, clean: bool, bytes: u64) -> Result<Segment<S>, WriteError> {
    let name = segment_name(end.first_seq);
    let fail = |action| write_error(storage, action, &name, end.end);
    let file = storage.open(&name, true).map_err(fail("open"))?;
    if !clean {
        // The last group and the zeros after it may be in the page cache only, and marked clean by a sync that failed
        // before the restart. Writing the same bytes again makes them dirty, so that the sync below counts.
        if let Some(at) = end.last_group_at {
            rewrite(&file, at, end.end).map_err(fail("write again"))?;
            crash_point!("open.group-rewritten");
        }
        // A torn group lies within the bytes of the largest one; other nonzero bytes may lie anywhere.
        let zero_to = end.file_bytes.min(end.end + GROUP_BYTES_MAX as u64).max(end.nonzero_end);
        write_zeros(&file, end.end, zero_to).map_err(fail("cut the torn tail of"))?;
        crash_point!("open.tail-zeroed");
    }
    let capacity = bytes.max(end.file_bytes);
    write_zeros(&file, end.file_bytes, capacity).map_err(fail("fill with zeros"))?;
    crash_point!("open.extended");
    file.sync_all().map_err(fail("sync"))?;
    crash_point!("open.synced");
    Ok(Segment { file, first_seq: end.first_seq, end: end.end, capacity })
}

fn rewrite<F: StorageFile>(file: &F, from: u64, to: u64) -> io::Result<()> {
    let len = usize::try_from(to - from).unwrap_or(GROUP_BYTES_MAX);
    assert!(len <= GROUP_BYTES_MAX, "a group was checked against its maximum when it was read");
    let mut group = vec![0; len];
    if read_full(file, &mut group, from)? != len {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    file.write_all_at(&group, from)
}

fn read_error<S: Storage, V>(
    storage: &S,
    action: &'static str,
    name: &str,
) -> impl FnOnce(io::Error) -> OpenError<V> + use<S, V> {
    let path = storage.path(name);
    move |source| OpenError::Read(ScanError::Io { action, path, source })
}

fn write_error<S: Storage>(
    storage: &S,
    action: &'static str,
    name: &str,
    offset: u64,
) -> impl FnOnce(io::Error) -> WriteError + use<S> {
    let path = storage.path(name);
    move |source| WriteError::new(action, path, offset, source)
}
