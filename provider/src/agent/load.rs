//! How much the model server has to do, and how fast it does it.
//!
//! A request holds a [`Slot`] from its admission to the end of its answer; there are `max` of them, and whoever finds
//! none is told so at once. Draining lets nobody in any more and waits for the slots to come back.
//!
//! Percentiles are of the last five to ten minutes: two windows, of which the older is thrown away.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// How long a window of measurements is filled.
const WINDOW: Duration = Duration::from_secs(300);

/// Significant digits of a measurement.
const DIGITS: u8 = 3;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Answered to the end.
    Completed,
    /// The model server gave an error, or none could be had of it, or it broke off.
    Failed,
    /// The client left before the end.
    Left,
    /// Turned away with 429: all slots were taken.
    Busy,
    /// Turned away with 503: the agent is stopping.
    Draining,
}

impl Ended {
    pub(crate) const ALL: [Ended; 5] = [Ended::Completed, Ended::Failed, Ended::Left, Ended::Busy, Ended::Draining];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Ended::Completed => "completed",
            Ended::Failed => "failed",
            Ended::Left => "left",
            Ended::Busy => "busy",
            Ended::Draining => "draining",
        }
    }
}

/// The place of one running request.
pub(crate) type Slot = OwnedSemaphorePermit;

/// Load and speed of one model server.
pub(crate) struct Load {
    max: u32,
    slots: Arc<Semaphore>,
    draining: AtomicBool,
    ended: [AtomicU64; Ended::ALL.len()],
    tokens: AtomicU64,
    speed: Mutex<Speed>,
}

/// Quantiles of a measurement, in per mille, and their values.
pub(crate) type Quantiles = [(u32, u64); 3];

impl Load {
    /// `max` is at least 1.
    pub(crate) fn new(max: u32) -> Arc<Self> {
        Arc::new(Load {
            max,
            slots: Arc::new(Semaphore::new(max as usize)),
            draining: AtomicBool::new(false),
            ended: Default::default(),
            tokens: AtomicU64::new(0),
            speed: Mutex::new(Speed::new()),
        })
    }

    /// A slot for a request, or why it is turned away.
    pub(crate) fn admit(&self) -> Result<Slot, Ended> {
        if self.draining.load(Ordering::Acquire) {
            return Err(Ended::Draining);
        }
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_| Ended::Busy)
    }

    /// Lets nobody in any more.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Returns when nothing runs.
    pub(crate) async fn idle(&self) {
        // The semaphore is never closed, so this waits for all slots.
        self.slots.acquire_many(self.max).await.ok();
    }

    pub(crate) fn max(&self) -> u32 {
        self.max
    }

    /// Requests that run.
    pub(crate) fn running(&self) -> u32 {
        let free = u32::try_from(self.slots.available_permits()).unwrap_or(u32::MAX);
        self.max.saturating_sub(free)
    }

    /// Requests that run, in percent of the most that may.
    pub(crate) fn percent(&self) -> u32 {
        self.running() * 100 / self.max
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn count(&self, ended: Ended) {
        self.ended[ended as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counted(&self, ended: Ended) -> u64 {
        self.ended[ended as usize].load(Ordering::Relaxed)
    }

    /// Counts the tokens of an answer.
    pub(crate) fn count_tokens(&self, tokens: u64) {
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    pub(crate) fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// A stream began: the time to its first byte.
    pub(crate) fn first_token(&self, after: Duration) {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.speed().current(Instant::now()).first_token_us.saturating_record(micros);
    }

    /// A stream ended: its tokens a second after the first.
    pub(crate) fn rate(&self, tokens_per_s: u64) {
        self.speed().current(Instant::now()).tokens_per_s.saturating_record(tokens_per_s);
    }

    /// Microseconds to the first token, and tokens a second; `None` while nothing was measured.
    pub(crate) fn quantiles(&self) -> (Option<Quantiles>, Option<Quantiles>) {
        let mut speed = self.speed();
        speed.current(Instant::now());
        (speed.quantiles(|window| &window.first_token_us), speed.quantiles(|window| &window.tokens_per_s))
    }

    fn speed(&self) -> std::sync::MutexGuard<'_, Speed> {
        self.speed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Load").field("max", &self.max).field("running", &self.running()).finish_non_exhaustive()
    }
}

/// Measurements of one window.
struct Window {
    first_token_us: Histogram<u64>,
    tokens_per_s: Histogram<u64>,
}

struct Speed {
    now: Window,
    before: Window,
    since: Instant,
}

impl Speed {
    fn new() -> Self {
        Speed { now: Window::new(), before: Window::new(), since: Instant::now() }
    }

    /// The window to measure into, a fresh one if its time has come.
    fn current(&mut self, now: Instant) -> &mut Window {
        let age = now.saturating_duration_since(self.since);
        if age >= WINDOW {
            let full = std::mem::replace(&mut self.now, Window::new());
            self.before = if age < 2 * WINDOW { full } else { Window::new() };
            self.since = now;
        }
        &mut self.now
    }

    /// Of a measurement in both windows.
    fn quantiles(&self, pick: fn(&Window) -> &Histogram<u64>) -> Option<Quantiles> {
        let mut both = pick(&self.now).clone();
        both.add(pick(&self.before)).ok(); // Fails only if the ranges differ, which they do not.
        let value = |per_mille: u32| (per_mille, both.value_at_quantile(f64::from(per_mille) / 1_000.0));
        (!both.is_empty()).then(|| [500, 900, 990].map(value))
    }
}

impl Window {
    fn new() -> Self {
        // An hour in microseconds; a million tokens a second.
        Window { first_token_us: histogram(3_600_000_000), tokens_per_s: histogram(1_000_000) }
    }
}

#[expect(clippy::expect_used, reason = "the bounds are constants of this file that the library accepts")]
fn histogram(highest: u64) -> Histogram<u64> {
    Histogram::new_with_max(highest, DIGITS).expect("1 to highest at three digits is a range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn slots_are_as_many_as_they_are_and_come_back() {
        let load = Load::new(2);
        let (first, second) = (load.admit().unwrap(), load.admit().unwrap());
        assert_eq!(load.admit().unwrap_err(), Ended::Busy);
        assert_eq!((load.running(), load.percent()), (2, 100));
        drop(first);
        assert_eq!(load.percent(), 50);
        load.drain();
        assert_eq!(load.admit().unwrap_err(), Ended::Draining);
        let waiting = tokio::time::timeout(Duration::from_millis(20), load.idle());
        assert!(waiting.await.is_err(), "one still runs");
        drop(second);
        load.idle().await;
    }

    #[test]
    fn percentiles_forget_what_is_older_than_two_windows() {
        let mut speed = Speed::new();
        let start = speed.since;
        let of_first_tokens = |speed: &Speed| speed.quantiles(|window| &window.first_token_us);
        assert_eq!(of_first_tokens(&speed), None);
        (1..=100).for_each(|micros| speed.current(start).first_token_us.saturating_record(micros));
        let expected = Some([(500, 50), (900, 90), (990, 99)]);
        assert_eq!(of_first_tokens(&speed), expected);
        speed.current(start + WINDOW);
        assert_eq!(of_first_tokens(&speed), expected, "the window before counts");
        speed.current(start + 2 * WINDOW);
        assert_eq!(of_first_tokens(&speed), None);
        speed.current(start + 2 * WINDOW).first_token_us.saturating_record(1);
        speed.current(start + 9 * WINDOW);
        assert_eq!(of_first_tokens(&speed), None, "however long nobody looked");
    }
}
