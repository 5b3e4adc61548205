//! Makes groups durable: one write and one sync each.
//!
//! Invariants: groups are committed in the order they were encoded, without a gap; a [`Durable`] exists only after a
//! successful sync; the first failure of a call on a file of the log is the last call that touches a file. The writer
//! never waits for a reader; whether to stop the process after a failure is its owner's decision.
//!
//! The writer retries no call on a file of the log. Only the next segment, which holds nothing yet, is made anew if it
//! could not be made (`prepare`); its header, its name and the folder's sync at the rotation are tried once.
//!
//! A full disk stops nothing at once: the rest of the active segment is there already. [`Writer::room`] says how much
//! that is, so that the owner can stop taking commands while what it has taken still fits. If it takes more than that,
//! [`WriteError::NoSpace`] says so before anything is touched, and the same group is committed again later.

use std::fmt;

use crate::crash_point;
use crate::error::WriteError;
use crate::format::{SegmentHeader, segment_name};
use crate::group::Group;
use crate::mark::{MARK_NAME, Mark};
use crate::prepare::{Next, Preparer, Unprepared};
use crate::segment::{NEXT_NAME, Segment};
use crate::storage::{FileStorage, Storage, remove_if_there};

/// Proof that everything up to [`seq`](Durable::seq) survived a successful sync. Only a [`Writer`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Durable {
    seq: u64,
}

impl Durable {
    /// The last durable sequence.
    #[must_use]
    pub fn seq(self) -> u64 {
        self.seq
    }

    /// Whether the record with this sequence is durable.
    #[must_use]
    pub fn covers(self, seq: u64) -> bool {
        seq <= self.seq
    }
}

/// What a writer can take before it needs space on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes left in the active segment. A group of at most so many needs no space.
    pub bytes: u64,
    /// Where the segment after it stands.
    pub next: Next,
}

/// The only writer of a journal, made by [`crate::open()`]. Dropping it without [`close`](Writer::close) is an unclean
/// stop: what was committed stays durable.
pub struct Writer<S: Storage = FileStorage> {
    storage: S,
    active: Segment<S>,
    segment_bytes: u64,
    chain: u32,
    durable_seq: u64,
    bytes_written: u64,
    poisoned: bool,
    /// Before the lock, so that its thread has ended when the lock is released.
    preparer: Preparer<S>,
    _lock: S::Lock,
}

/// What a writer starts from.
pub(crate) struct Start<S: Storage> {
    pub(crate) storage: S,
    pub(crate) active: Segment<S>,
    pub(crate) segment_bytes: u64,
    pub(crate) chain: u32,
    pub(crate) durable_seq: u64,
    pub(crate) bytes_written: u64,
    pub(crate) preparer: Preparer<S>,
    pub(crate) lock: S::Lock,
}

impl<S: Storage> Writer<S> {
    pub(crate) fn new(start: Start<S>) -> Self {
        let Start { storage, active, segment_bytes, chain, durable_seq, bytes_written, mut preparer, lock } = start;
        preparer.order();
        Self {
            storage,
            active,
            segment_bytes,
            chain,
            durable_seq,
            bytes_written,
            poisoned: false,
            preparer,
            _lock: lock,
        }
    }

    /// Writes a sealed group and syncs it.
    ///
    /// # Errors
    ///
    /// The group is not durable.
    ///
    /// [`WriteError::NoSpace`]: no file of the log was touched and the writer goes on; the same group may be committed
    /// again, any number of times. Each try may write a whole segment before it finds the disk full.
    ///
    /// Any other: after a restart the group may be there whole or not at all. The writer is poisoned: every later call
    /// returns [`WriteError::Poisoned`] without touching a file.
    ///
    /// # Panics
    ///
    /// If the group is not sealed or does not follow the last committed one.
    pub fn commit(&mut self, group: &Group) -> Result<Durable, WriteError> {
        if self.poisoned {
            return Err(WriteError::Poisoned);
        }
        assert!(group.sealed && !group.is_empty(), "a group is sealed before it is committed");
        let follows = group.first_seq() == self.durable_seq + 1 && group.chain_before == self.chain;
        assert!(follows, "groups are committed in the order they were encoded");
        assert!(group.bytes.len() == group.end, "a sealed group holds its records and nothing else");

        // Before the attempt: a failed sync may have dropped the pages, so what follows it must never be tried.
        self.poisoned = true;
        let written = self.write(&group.bytes);
        self.poisoned = written.as_ref().is_err_and(|error| !error.is_retryable());
        written?;

        self.chain = group.chain_after;
        self.durable_seq = group.last_seq();
        self.bytes_written += group.bytes.len() as u64;
        Ok(Durable { seq: self.durable_seq })
    }

    /// What can be committed before space is needed. Never waits and writes nothing itself; while [`Next::Full`] it has
    /// the next segment tried again by its thread, so call it as often as that is worth trying. A journal that prepares
    /// nothing ahead ([`crate::Options::prepare_ahead`]) learns of a full disk, and of its end, by committing.
    pub fn room(&mut self) -> Room {
        let next = self.preparer.poll();
        if !self.poisoned {
            self.preparer.retry();
        }
        Room { bytes: self.active.room(), next }
    }

    /// The last sequence known to be durable; 0 before the first.
    #[must_use]
    pub fn durable_seq(&self) -> u64 {
        self.durable_seq
    }

    /// Logical bytes of the whole journal: segment headers and records, without the zeros after them.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    /// Stops cleanly: cuts the zeros off the last segment and leaves the mark of a clean stop.
    ///
    /// # Errors
    ///
    /// The stop is not clean, which loses nothing that was committed. A poisoned writer leaves no mark.
    pub fn close(self) -> Result<(), WriteError> {
        let Self { storage, active, chain, durable_seq, poisoned, preparer, _lock, .. } = self;
        if poisoned {
            return Err(WriteError::Poisoned);
        }
        // Its thread may be writing the file that is removed here.
        drop(preparer);
        crash_point!("close.begin");
        let fail = |action, name: &str, offset| {
            let path = storage.path(name);
            move |source| WriteError::new(action, path, offset, source)
        };
        remove_if_there(&storage, NEXT_NAME).map_err(fail("remove", NEXT_NAME, 0))?;
        crash_point!("close.next-removed");
        active.trim(&storage)?;
        let mark = Mark { last_seq: durable_seq, first_seq: active.first_seq, length: active.end, chain };
        mark.write(&storage).map_err(fail("write", MARK_NAME, 0))
    }

    /// Appends to the active segment, or to a new one if there is no room.
    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if !self.active.fits(bytes.len()) {
            self.rotate()?;
        }
        self.active.append(&self.storage, bytes)
    }

    /// Goes on in a new segment; the old one keeps its unused zeros. The segment may have failed to be prepared hours
    /// ago, which counts only if it fails again now.
    fn rotate(&mut self) -> Result<(), WriteError> {
        let path = || self.storage.path(NEXT_NAME);
        let file = self.preparer.take().map_err(|unprepared| match unprepared {
            Unprepared::NoSpace(source) => WriteError::NoSpace { path: path(), source },
            Unprepared::Unmade(source) | Unprepared::Unsynced(source) => WriteError::new("prepare", path(), 0, source),
        })?;
        let header = SegmentHeader { first_seq: self.durable_seq + 1, chain: self.chain };
        self.active = Segment::begin(&self.storage, file, header, self.segment_bytes)?;
        self.bytes_written += self.active.end;
        self.preparer.order();
        Ok(())
    }
}

impl<S: Storage> fmt::Debug for Writer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("segment", &segment_name(self.active.first_seq))
            .field("end", &self.active.end)
            .field("durable_seq", &self.durable_seq)
            .field("poisoned", &self.poisoned)
            .finish_non_exhaustive()
    }
}
