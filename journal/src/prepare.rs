//! Prepares the next segment before it is needed, on a thread of its own.
//!
//! Invariants: at most one segment is prepared at a time, under the name `next.tmp`; it is full of zeros and synced
//! when it is handed over; the thread has ended before the writer's lock is released. Nothing of the log is touched, so
//! what fails here loses nothing, and what was begun is removed at once, which gives its space back.
//!
//! A failure may be hours old when the segment is taken, so what failed may work by then:
//!
//! | what failed | until the segment is taken | when it is taken | if it fails again |
//! |---|---|---|---|
//! | creating or writing, for lack of space or quota | made anew as often as [`retry`](Preparer::retry) is called | made there and then | the taking may be repeated, any number of times |
//! | creating or writing, for another reason | left alone | made there and then, once | the taking fails for good |
//! | the sync, for whatever reason | left alone | fails for good: a disk that drops pages is not tried again | |
//!
//! Without the thread the segment is made when it is taken; a failure for lack of space may be repeated, others may not.
//!
//! Deliberately absent: a clock. An attempt may write a whole segment before it finds the disk full, so whoever calls
//! [`retry`](Preparer::retry) chooses a pace.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::crash_point;
use crate::segment::{NEXT_NAME, write_zeros};
use crate::storage::{Storage, StorageFile, is_full, remove_if_there};

/// Makes zero-filled files.
#[derive(Debug)]
pub(crate) struct Preparer<S: Storage> {
    storage: S,
    bytes: u64,
    state: State<S::File>,
    /// Whether the last attempt that ended found no space.
    full: bool,
    ahead: Option<Ahead<S::File>>,
}

/// What the writer knows of the next segment.
#[derive(Debug)]
enum State<F> {
    /// Nobody makes it: it is made when it is taken.
    Unordered,
    /// The thread makes it or has made it.
    Ordered,
    Ready(F),
    /// It will never be ready.
    Failed(io::Error),
}

/// Where the next segment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is there: going on in it needs no space.
    Ready,
    /// It is being made, or will be when it is needed. A failure that is not for lack of space shows only then.
    Preparing,
    /// The last attempt to make it found no space. So it stays until an attempt succeeds.
    Full,
}

/// The thread, and one segment on order or ready.
#[derive(Debug)]
struct Ahead<F> {
    orders: SyncSender<()>,
    made: Receiver<Result<F, Unprepared>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// A segment that is not ready.
#[derive(Debug)]
pub(crate) enum Unprepared {
    /// There was no space to create or write it. Nothing of it is left.
    NoSpace(io::Error),
    /// It was not created or not written: nothing in it is durable or needed, and a fresh file may take its place.
    Unmade(io::Error),
    /// It was written but not synced: final.
    Unsynced(io::Error),
}

impl From<Unprepared> for io::Error {
    fn from(unprepared: Unprepared) -> Self {
        match unprepared {
            Unprepared::NoSpace(error) | Unprepared::Unmade(error) | Unprepared::Unsynced(error) => error,
        }
    }
}

impl<S: Storage> Preparer<S> {
    /// Starts the thread if `ahead`; otherwise segments are made when they are taken.
    pub(crate) fn start(storage: S, bytes: u64, ahead: bool) -> io::Result<Self> {
        let ahead = if ahead { Some(Self::spawn(storage.clone(), bytes)?) } else { None };
        Ok(Self { storage, bytes, state: State::Unordered, full: false, ahead })
    }

    fn spawn(storage: S, bytes: u64) -> io::Result<Ahead<S::File>> {
        // One order and one segment at most are under way.
        let (orders, ordered) = sync_channel::<()>(1);
        let (done, made) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("journal-prepare".to_owned()).spawn(move || {
            while ordered.recv().is_ok() {
                if done.send(prepare(&storage, bytes, &stopped)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Ahead { orders, made, stop, thread })
    }

    /// Orders the next segment; the one taken before must have got its own name.
    pub(crate) fn order(&mut self) {
        if let (Some(ahead), State::Unordered) = (&self.ahead, &self.state) {
            // Fails only if the thread is gone, which taking the segment then reports.
            ahead.orders.try_send(()).ok();
            self.state = State::Ordered;
        }
    }

    /// Where the next segment stands now, without waiting for the thread.
    pub(crate) fn poll(&mut self) -> Next {
        if let (Some(ahead), State::Ordered) = (&self.ahead, &self.state)
            && let Ok(made) = ahead.made.try_recv()
        {
            self.note(made);
        }
        match self.state {
            State::Ready(_) => Next::Ready,
            State::Unordered | State::Ordered | State::Failed(_) if self.full => Next::Full,
            State::Unordered | State::Ordered | State::Failed(_) => Next::Preparing,
        }
    }

    /// Orders the next segment again if the last attempt found no space.
    pub(crate) fn retry(&mut self) {
        if self.full {
            self.order();
        }
    }

    /// The next segment, waiting for it if need be; made here and now if the thread has not made it.
    pub(crate) fn take(&mut self) -> Result<S::File, Unprepared> {
        if let (Some(ahead), State::Ordered) = (&self.ahead, &self.state) {
            let gone = |_| Unprepared::Unsynced(io::Error::other("the thread that prepares segments is gone"));
            let made = ahead.made.recv().unwrap_or_else(|error| Err(gone(error)));
            self.note(made);
        }
        match std::mem::replace(&mut self.state, State::Unordered) {
            State::Ready(file) => Ok(file),
            State::Failed(error) => Err(Unprepared::Unsynced(error)),
            // The thread waits for its next order, so nobody else touches the file.
            State::Unordered | State::Ordered => {
                let made = prepare(&self.storage, self.bytes, &AtomicBool::new(false));
                self.full = matches!(made, Err(Unprepared::NoSpace(_)));
                made
            }
        }
    }

    /// Remembers how the thread's attempt ended.
    fn note(&mut self, made: Result<S::File, Unprepared>) {
        self.full = matches!(made, Err(Unprepared::NoSpace(_)));
        self.state = match made {
            Ok(file) => State::Ready(file),
            Err(Unprepared::NoSpace(_) | Unprepared::Unmade(_)) => State::Unordered,
            Err(Unprepared::Unsynced(error)) => State::Failed(error),
        };
    }
}

impl<S: Storage> Drop for Preparer<S> {
    fn drop(&mut self) {
        if let Some(Ahead { orders, made, stop, thread }) = self.ahead.take() {
            stop.store(true, Ordering::Relaxed);
            drop((orders, made));
            // A panic of the thread has been reported where the segment was taken, or concerns nobody any more.
            thread.join().ok();
        }
    }
}

/// Makes the zero-filled file `next.tmp`, or leaves none if it cannot be made; gives up with an error once `stop` is
/// set. If what was begun cannot be removed, that is the error, and the next attempt begins by emptying it.
pub(crate) fn prepare<S: Storage>(storage: &S, bytes: u64, stop: &AtomicBool) -> Result<S::File, Unprepared> {
    let file = zeroed(storage, bytes, stop).map_err(|error| {
        let error = remove_if_there(storage, NEXT_NAME).err().unwrap_or(error);
        if is_full(&error) { Unprepared::NoSpace(error) } else { Unprepared::Unmade(error) }
    })?;
    file.sync_all().map_err(Unprepared::Unsynced)?;
    crash_point!("prepare.synced");
    Ok(file)
}

fn zeroed<S: Storage>(storage: &S, bytes: u64, stop: &AtomicBool) -> io::Result<S::File> {
    let file = storage.create(NEXT_NAME)?;
    crash_point!("prepare.created");
    write_zeros(&file, 0, bytes / 2, stop)?;
    crash_point!("prepare.half-zeroed");
    write_zeros(&file, bytes / 2, bytes, stop)?;
    crash_point!("prepare.zeroed");
    Ok(file)
}
