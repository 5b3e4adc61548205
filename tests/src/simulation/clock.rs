//! The machine's clock: what it shows, and what really passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const START_NS: u64 = 20_000 * 86_400 * 1_000_000_000;

/// A clock that can be wrong.
#[derive(Debug)]
pub(super) struct Clock {
    shown: Arc<AtomicU64>,
    passed_ns: u64,
    /// What it shows is so much off.
    offset_ns: i64,
    frozen: bool,
    highest_ns: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            shown: Arc::new(AtomicU64::new(START_NS)),
            passed_ns: 0,
            offset_ns: 0,
            frozen: false,
            highest_ns: START_NS,
        }
    }

    /// What the node reads.
    pub(super) fn source(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shown)
    }

    pub(super) fn shown_ns(&self) -> u64 {
        self.shown.load(Ordering::Relaxed)
    }

    /// The highest time it has ever shown.
    pub(super) fn highest_ns(&self) -> u64 {
        self.highest_ns
    }

    /// How much time has really passed.
    pub(super) fn passed_ns(&self) -> u64 {
        self.passed_ns
    }

    pub(super) fn pass(&mut self, ns: u64) {
        self.passed_ns += ns;
        self.show();
    }

    /// Somebody sets it.
    pub(super) fn step(&mut self, by_ns: i64) {
        self.offset_ns += by_ns;
        self.show();
    }

    pub(super) fn set_frozen(&mut self, frozen: bool) {
        self.frozen = frozen;
        self.show();
    }

    fn show(&mut self) {
        if !self.frozen {
            let shown = (START_NS + self.passed_ns).saturating_add_signed(self.offset_ns);
            self.shown.store(shown, Ordering::Relaxed);
            self.highest_ns = self.highest_ns.max(shown);
        }
    }
}
