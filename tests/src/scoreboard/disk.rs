//! A simulated disk whose calls are watched: a watcher sees each changing call before and after it, and may let it fail.
//!
//! The disk itself, with what a power cut keeps, is the journal's [`SimStorage`]. Deliberately absent: reordered calls,
//! and anything that happens between two calls.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gollem_journal::sim::{Fault, SimFile, SimLock, SimStorage};
use gollem_journal::{Storage, StorageFile};

/// Locks a watcher's state, also after a case has panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Creating, renaming, removing or cutting a file.
    Change,
    /// Writing so many bytes.
    Write(usize),
    /// Syncing a file or the folder.
    Sync,
}

/// What looks on.
pub(crate) trait Watcher: Send + Sync + 'static {
    /// Called before each changing call; what it returns happens instead of the call.
    fn before(&self, disk: &SimStorage, call: Call) -> Option<Fault>;
    /// Called after each changing call that did not fail.
    fn after(&self, _disk: &SimStorage, _call: Call) {}
    /// Called before each read of so many bytes: how many may be read, or the error.
    fn read(&self, bytes: usize) -> io::Result<usize> {
        Ok(bytes)
    }
}

/// The folder; clones are the same.
pub(crate) struct WatchedDisk<W> {
    pub(crate) disk: SimStorage,
    pub(crate) watcher: Arc<W>,
}

/// An open file of it.
pub(crate) struct WatchedFile<W> {
    file: SimFile,
    disk: WatchedDisk<W>,
}

impl<W: Watcher> WatchedDisk<W> {
    pub(crate) fn new(watcher: W) -> Self {
        Self { disk: SimStorage::new(), watcher: Arc::new(watcher) }
    }

    fn watch<T>(&self, call: Call, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if let Some(fault) = self.watcher.before(&self.disk, call) {
            // The simulated disk knows what a failing call leaves behind.
            self.disk.plan(self.disk.calls(), fault);
        }
        let made = make()?;
        self.watcher.after(&self.disk, call);
        Ok(made)
    }

    fn file(&self, file: SimFile) -> WatchedFile<W> {
        WatchedFile { file, disk: self.clone() }
    }
}

impl<W> Clone for WatchedDisk<W> {
    fn clone(&self) -> Self {
        Self { disk: self.disk.clone(), watcher: Arc::clone(&self.watcher) }
    }
}

impl<W> fmt::Debug for WatchedFile<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl<W: Watcher> Storage for WatchedDisk<W> {
    type File = WatchedFile<W>;
    type Lock = SimLock;

    fn create_dir(&self) -> io::Result<()> {
        self.disk.create_dir()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str, write: bool) -> io::Result<Self::File> {
        self.disk.open(name, write).map(|file| self.file(file))
    }

    fn create(&self, name: &str) -> io::Result<Self::File> {
        self.watch(Call::Change, || self.disk.create(name)).map(|file| self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.watch(Call::Change, || self.disk.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.watch(Call::Change, || self.disk.remove(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.watch(Call::Sync, || self.disk.sync_dir())
    }

    fn lock(&self) -> io::Result<Option<Self::Lock>> {
        self.disk.lock()
    }
}

impl<W: Watcher> StorageFile for WatchedFile<W> {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.disk.watcher.read(buffer.len())?;
        self.file.read_at(&mut buffer[..bytes], offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.disk.watch(Call::Write(bytes.len()), || self.file.write_at(bytes, offset))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.watch(Call::Change, || self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.watch(Call::Sync, || self.file.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.watch(Call::Sync, || self.file.sync_all())
    }
}
