//! What queries and metrics see of views that somebody keeps up to date: the store, the position it reflects, and whether
//! something is wrong.

use crate::store::{StoreError, Views};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The views for queries, with the position they reflect.
#[derive(Clone, Debug)]
pub struct View {
    /// The store.
    pub store: Arc<Views>,
    watermark: watch::Receiver<u64>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    gaps: AtomicU64,
    dropped: AtomicU64,
    stopped: AtomicBool,
    catching_up: AtomicBool,
    /// Who waits for a position.
    waiting: AtomicUsize,
    /// The keeper's thread, where it rests between two writes.
    resting: OnceLock<Thread>,
}

/// Somebody who waits for a position.
struct Waiting<'a>(&'a State);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl View {
    /// The last input the views reflect.
    pub fn watermark(&self) -> u64 {
        *self.watermark.borrow()
    }

    /// Waits until the views reflect input `seq`, at most for `patience`. False when they still do not.
    pub async fn reached(&self, seq: u64, patience: Duration) -> bool {
        if self.watermark() >= seq {
            return true;
        }
        self.state.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&self.state);
        self.state.resting.get().inspect(|keeper| keeper.unpark());
        let mut watermark = self.watermark.clone();
        let waited = tokio::time::timeout(patience, watermark.wait_for(|at| *at >= seq)).await;
        matches!(waited, Ok(Ok(_)))
    }

    /// How often inputs were missing where they should have come.
    pub fn gaps(&self) -> u64 {
        self.state.gaps.load(Ordering::Relaxed)
    }

    /// Records that came a second time and were dropped.
    pub fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
    }

    /// Whether the views stand still: the log says why.
    pub fn is_stopped(&self) -> bool {
        self.state.stopped.load(Ordering::Acquire)
    }

    /// Whether the views are on their way to what was there when their keeper began.
    pub fn is_catching_up(&self) -> bool {
        self.state.catching_up.load(Ordering::Acquire)
    }
}

/// The side of whoever keeps the views up to date.
#[derive(Debug)]
pub(crate) struct Keeper {
    watermark: watch::Sender<u64>,
    state: Arc<State>,
}

impl Keeper {
    /// Both sides of these views.
    pub(crate) fn of(store: &Arc<Views>) -> Result<(Keeper, View), StoreError> {
        let (sender, watermark) = watch::channel(store.watermark()?);
        let state = Arc::new(State::default());
        let view = View { store: Arc::clone(store), watermark, state: Arc::clone(&state) };
        Ok((Keeper { watermark: sender, state }, view))
    }

    /// The views were written up to here.
    pub(crate) fn reached(&self, watermark: u64) {
        self.watermark.send_if_modified(|at| std::mem::replace(at, watermark) != watermark);
    }

    /// Leaves inputs some time to gather, so that they are written together, unless somebody waits for one of them. Always of
    /// the same thread.
    pub(crate) fn rest(&self, time: Duration) {
        self.state.resting.get_or_init(std::thread::current);
        let until = Instant::now() + time;
        while self.state.waiting.load(Ordering::SeqCst) == 0
            && let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        {
            std::thread::park_timeout(left);
        }
    }

    pub(crate) fn set_gaps(&self, gaps: u64) {
        self.state.gaps.store(gaps, Ordering::Relaxed);
    }

    pub(crate) fn add_gap(&self) {
        self.state.gaps.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_dropped(&self) {
        self.state.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_catching_up(&self, catching_up: bool) {
        self.state.catching_up.store(catching_up, Ordering::Release);
    }

    pub(crate) fn set_stopped(&self, stopped: bool) {
        self.state.stopped.store(stopped, Ordering::Release);
    }
}

/// Nobody keeps the views up to date any more: neither after an end nor after a panic.
impl Drop for Keeper {
    fn drop(&mut self) {
        self.set_stopped(true);
    }
}
