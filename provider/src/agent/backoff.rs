//! How long to wait before a call is made again.
//!
//! Doubling from [`FIRST`] to [`MAX`], with jitter so that many agents do not come back at one moment. Pure: the
//! jitter is a hash of a seed and a counter.

use std::time::Duration;

use crate::hash;

const FIRST: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(10);

/// Longest wait a server can ask for; longer ones are cut to it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// The waits of one agent.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    seed: u64,
    drawn: u64,
}

impl Backoff {
    pub(crate) fn new(seed: u64) -> Self {
        Backoff { seed, drawn: 0 }
    }

    /// The wait after `failures` failures in a row, at least 1. Never shorter than what the server asks for, up to
    /// [`RETRY_AFTER_MAX`].
    pub(crate) fn wait(&mut self, failures: u32, retry_after: Option<Duration>) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let ceiling = FIRST.saturating_mul(1 << doublings).min(MAX);
        let own = ceiling / 2 + self.jitter(ceiling / 2);
        match retry_after {
            None => own,
            Some(asked) => {
                let asked = asked.min(RETRY_AFTER_MAX);
                own.max(asked + self.jitter(asked / 4))
            }
        }
    }

    fn jitter(&mut self, bound: Duration) -> Duration {
        self.drawn += 1;
        let bound_us = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(hash::draw_below(self.seed, self.drawn, bound_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_stay_within_their_bounds() {
        let mut backoff = Backoff::new(1);
        for failures in 1..40 {
            let ceiling = FIRST.saturating_mul(1 << (failures - 1).min(16)).min(MAX);
            let wait = backoff.wait(failures, None);
            assert!(ceiling / 2 <= wait && wait <= ceiling, "after {failures} failures: {wait:?}");
        }
    }

    #[test]
    fn server_is_never_asked_again_before_it_says() {
        let mut backoff = Backoff::new(2);
        for seconds in 0..60 {
            let asked = Duration::from_secs(seconds);
            assert!(backoff.wait(1, Some(asked)) >= asked);
        }
        assert!(backoff.wait(1, Some(Duration::from_secs(1_000_000))) <= RETRY_AFTER_MAX * 5 / 4);
    }

    #[test]
    fn agents_with_different_seeds_come_back_at_different_times() {
        assert_ne!(Backoff::new(1).wait(5, None), Backoff::new(2).wait(5, None));
        assert_eq!(Backoff::new(1).wait(5, None), Backoff::new(1).wait(5, None));
    }
}
