//! Prepares the next segment before it is needed, on a thread of its own.
//!
//! Invariants: at most one segment is prepared at a time, under the name `next.tmp`; it is full of zeros and synced
//! when it is handed over; the thread has ended before the writer's lock is released. Nothing of the log is touched, so
//! what fails here loses nothing, and what was begun is removed at once, which gives its space back.
//!
//! The thread reserves the space first, and then writes the zeros: a sync of a group is about half as long where zeros were
//! written before as where space was only reserved, since the file system has nothing to note. When the segment is needed
//! before all of it is written, it is handed over as it is: reserved space reads as zeros, too.
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

/// Zeros written and synced at once by the thread. The disk serves a group's sync after what is queued before it: with
/// 64 MiB in one go a sync took 40 ms at the 99th percentile, with so much at a time 2 ms.
const GENTLE_BYTES: u64 = 128 * 1024;

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
    pace: Arc<Pace>,
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
        let pace = Arc::new(Pace::gently());
        let own_pace = Arc::clone(&pace);
        let thread = std::thread::Builder::new().name("journal-prepare".to_owned()).spawn(move || {
            while ordered.recv().is_ok() {
                if done.send(prepare(&storage, bytes, &own_pace)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Ahead { orders, made, pace, thread })
    }

    /// Orders the next segment; the one taken before must have got its own name.
    pub(crate) fn order(&mut self) {
        if let (Some(ahead), State::Unordered) = (&self.ahead, &self.state) {
            ahead.pace.hurry.store(false, Ordering::Relaxed);
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
            ahead.pace.hurry.store(true, Ordering::Relaxed);
            let made = ahead.made.recv().unwrap_or_else(|error| Err(gone(error)));
            self.note(made);
        }
        match std::mem::replace(&mut self.state, State::Unordered) {
            State::Ready(file) => Ok(file),
            State::Failed(error) => Err(Unprepared::Unsynced(error)),
            // The thread waits for its next order, so nobody else touches the file.
            State::Unordered | State::Ordered => {
                let made = prepare(&self.storage, self.bytes, &Pace::at_once());
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
        if let Some(Ahead { orders, made, pace, thread }) = self.ahead.take() {
            pace.stop.store(true, Ordering::Relaxed);
            drop((orders, made));
            // A panic of the thread has been reported where the segment was taken, or concerns nobody any more.
            thread.join().ok();
        }
    }
}

/// How a segment is made.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// A little at a time, and not to the end if somebody waits for it.
    gentle: bool,
    /// Somebody waits for the segment.
    hurry: AtomicBool,
    /// Give up.
    stop: AtomicBool,
}

impl Pace {
    /// In one go: whoever makes it waits for it.
    pub(crate) fn at_once() -> Self {
        Self::default()
    }

    /// For the thread.
    fn gently() -> Self {
        Self { gentle: true, ..Self::default() }
    }
}

/// Makes the zero-filled file `next.tmp`, or leaves none if it cannot be made; gives up with an error once it is to stop.
/// If what was begun cannot be removed, that is the error, and the next attempt begins by emptying it.
pub(crate) fn prepare<S: Storage>(storage: &S, bytes: u64, pace: &Pace) -> Result<S::File, Unprepared> {
    let file = zeroed(storage, bytes, pace).map_err(|unprepared| {
        let Unprepared::Unmade(error) = unprepared else { return unprepared };
        let error = remove_if_there(storage, NEXT_NAME).err().unwrap_or(error);
        if is_full(&error) { Unprepared::NoSpace(error) } else { Unprepared::Unmade(error) }
    })?;
    file.sync_all().map_err(Unprepared::Unsynced)?;
    crash_point!("prepare.synced");
    Ok(file)
}

/// The file with all its bytes, zero but for what the disk does to them; the last of them not synced.
fn zeroed<S: Storage>(storage: &S, bytes: u64, pace: &Pace) -> Result<S::File, Unprepared> {
    let file = storage.create(NEXT_NAME).map_err(Unprepared::Unmade)?;
    crash_point!("prepare.created");
    if !pace.gentle {
        write_zeros(&file, 0, bytes).map_err(Unprepared::Unmade)?;
        return Ok(file);
    }
    file.allocate(bytes).map_err(Unprepared::Unmade)?;
    crash_point!("prepare.allocated");
    file.sync_all().map_err(Unprepared::Unsynced)?;
    let mut at = 0;
    while at < bytes && !pace.hurry.load(Ordering::Relaxed) {
        if pace.stop.load(Ordering::Relaxed) {
            return Err(Unprepared::Unmade(io::Error::other("stopped")));
        }
        let to = bytes.min(at + GENTLE_BYTES);
        write_zeros(&file, at, to).map_err(Unprepared::Unmade)?;
        file.sync_data().map_err(Unprepared::Unsynced)?;
        at = to;
    }
    Ok(file)
}
