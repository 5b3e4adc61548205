//! Prepares the next segment before it is needed, on a thread of its own.
//!
//! Invariants: at most one segment is prepared at a time, under the name `next.tmp`; it is full of zeros and synced
//! when it is handed over; the thread has ended before the writer's lock is released.
//!
//! A failure shows when the segment is taken, not before: until then nobody needs it. That may be hours later, so what
//! failed may work by then:
//!
//! | what failed ahead | when the segment is taken |
//! |---|---|
//! | creating or writing: no descriptor, no space | a fresh file is made there and then, once; if that fails too, so does the taking |
//! | the sync | the taking fails: a disk that drops pages is not tried again |
//!
//! Without the thread, the segment is made when it is taken, and a failure is of that moment: it is not tried again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::segment::{NEXT_NAME, write_zeros};
use crate::storage::{Storage, StorageFile};

/// Makes zero-filled files.
#[derive(Debug)]
pub(crate) struct Preparer<S: Storage> {
    storage: S,
    bytes: u64,
    ahead: Option<Ahead<S::File>>,
}

/// The thread, and one segment on order or ready.
#[derive(Debug)]
struct Ahead<F> {
    orders: SyncSender<()>,
    ready: Receiver<Result<F, Unprepared>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// A segment that is not ready.
#[derive(Debug)]
pub(crate) enum Unprepared {
    /// It was not created or not written: nothing in it is durable or needed, and a fresh file may take its place.
    Unmade(io::Error),
    /// It was written but not synced: final.
    Unsynced(io::Error),
}

impl From<Unprepared> for io::Error {
    fn from(unprepared: Unprepared) -> Self {
        match unprepared {
            Unprepared::Unmade(error) | Unprepared::Unsynced(error) => error,
        }
    }
}

impl<S: Storage> Preparer<S> {
    /// Starts the thread if `ahead`; otherwise segments are made when they are taken.
    pub(crate) fn start(storage: S, bytes: u64, ahead: bool) -> io::Result<Self> {
        let ahead = if ahead { Some(Self::spawn(storage.clone(), bytes)?) } else { None };
        Ok(Self { storage, bytes, ahead })
    }

    fn spawn(storage: S, bytes: u64) -> io::Result<Ahead<S::File>> {
        // One order and one segment at most are under way.
        let (orders, ordered) = sync_channel::<()>(1);
        let (done, ready) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("journal-prepare".to_owned()).spawn(move || {
            while ordered.recv().is_ok() {
                if done.send(prepare(&storage, bytes, &stopped)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Ahead { orders, ready, stop, thread })
    }

    /// Orders the next segment; the one taken before must have got its own name.
    pub(crate) fn order(&self) {
        if let Some(ahead) = &self.ahead {
            // Fails only if the thread is gone, which taking the segment then reports.
            ahead.orders.try_send(()).ok();
        }
    }

    /// The ordered segment, waiting for it if need be; made again if it could not be made ahead.
    pub(crate) fn take(&self) -> io::Result<S::File> {
        let Some(ahead) = &self.ahead else {
            return self.make();
        };
        let gone = |_| io::Error::other("the thread that prepares segments is gone");
        match ahead.ready.recv().map_err(gone)? {
            Ok(file) => Ok(file),
            Err(Unprepared::Unsynced(error)) => Err(error),
            // The thread waits for its next order, so nobody else touches the file.
            Err(Unprepared::Unmade(_)) => {
                self.remove_unmade()?;
                self.make()
            }
        }
    }

    fn make(&self) -> io::Result<S::File> {
        Ok(prepare(&self.storage, self.bytes, &AtomicBool::new(false))?)
    }

    /// Gives back the space of what was begun, and keeps the next file from being the same one.
    fn remove_unmade(&self) -> io::Result<()> {
        match self.storage.remove(NEXT_NAME) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl<S: Storage> Drop for Preparer<S> {
    fn drop(&mut self) {
        if let Some(Ahead { orders, ready, stop, thread }) = self.ahead.take() {
            stop.store(true, Ordering::Relaxed);
            drop((orders, ready));
            // A panic of the thread has been reported where the segment was taken, or concerns nobody any more.
            thread.join().ok();
        }
    }
}

/// Makes the zero-filled file `next.tmp`; gives up with an error once `stop` is set.
pub(crate) fn prepare<S: Storage>(storage: &S, bytes: u64, stop: &AtomicBool) -> Result<S::File, Unprepared> {
    let file = storage.create(NEXT_NAME).map_err(Unprepared::Unmade)?;
    write_zeros(&file, 0, bytes, stop).map_err(Unprepared::Unmade)?;
    file.sync_all().map_err(Unprepared::Unsynced)?;
    Ok(file)
}
