//! What a person sees of a long catch-up: a line in the log now and then, with how far it is and how long it will take.

use std::time::{Duration, Instant};

/// The least time between two lines; a catch-up that takes less says nothing.
const EVERY: Duration = Duration::from_secs(3);

/// A catch-up that is going on.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    unit: &'static str,
    from: u64,
    started: Instant,
    said: Instant,
}

impl Progress {
    /// One of `what`, which counts in `unit` and stands at `from`.
    pub(crate) fn begin(what: &'static str, unit: &'static str, from: u64) -> Progress {
        let now = Instant::now();
        Progress { what, unit, from, started: now, said: now }
    }

    /// That it stands at `at` of `until`: says so, if it is time.
    pub(crate) fn at(&mut self, at: u64, until: u64) {
        if self.said.elapsed() < EVERY {
            return;
        }
        self.said = Instant::now();
        let Pace { percent, per_s, left_s } = pace(self.from, at, until, self.started.elapsed());
        let Progress { what, unit, .. } = self;
        tracing::info!("{what}: catching up, {percent}% ({at} of {until} {unit}), {per_s}/s, {left_s} s left");
    }

    /// That it is done at `at`: says so if it took long.
    pub(crate) fn done(&self, at: u64) {
        let took = self.started.elapsed();
        if took >= EVERY {
            let Pace { per_s, .. } = pace(self.from, at, at, took);
            let Progress { what, unit, .. } = self;
            tracing::info!("{what}: caught up at {at} {unit} in {} s, {per_s}/s", took.as_secs());
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Pace {
    percent: u64,
    /// Units a second.
    per_s: u64,
    left_s: u64,
}

/// The pace of going from one place to another in so long, and what it means for the rest.
fn pace(from: u64, at: u64, until: u64, took: Duration) -> Pace {
    let done = at.saturating_sub(from);
    let per_s = done.saturating_mul(1_000) / u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let left_s = until.saturating_sub(at).div_ceil(per_s.max(1));
    Pace { percent: at.saturating_mul(100) / until.max(1), per_s, left_s }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_what_the_rest_takes_at_the_pace_so_far() {
        let pace = pace(200, 700, 1_000, Duration::from_secs(5));
        assert_eq!(pace, Pace { percent: 70, per_s: 100, left_s: 3 });
    }

    #[test]
    fn nothing_done_yet_is_no_division_by_zero() {
        assert_eq!(pace(0, 0, 0, Duration::ZERO), Pace { percent: 0, per_s: 0, left_s: 0 });
    }
}
