//! What limits are counted with, in whole numbers and without a clock: the time, in microseconds since any moment, comes with
//! each question and never goes back.

/// So much at once, and so much each `per_us`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Most at once.
    pub(crate) burst: u64,
    /// How much comes back each `per_us`.
    pub(crate) refill: u64,
    /// Microseconds.
    pub(crate) per_us: u64,
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// The most there can be.
    pub(crate) limit: u64,
    /// What can be taken now.
    pub(crate) remaining: u64,
    /// Microseconds until all of it is back.
    pub(crate) reset_us: u64,
}

/// A token bucket. A fresh one is full.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// What was taken and has not come back, in parts of which a whole one has `per_us`.
    debt: u64,
    at_us: u64,
}

impl Bucket {
    fn settle(&mut self, rate: Rate, now_us: u64) {
        let back = now_us.saturating_sub(self.at_us).saturating_mul(rate.refill);
        self.debt = self.debt.saturating_sub(back);
        self.at_us = self.at_us.max(now_us);
    }

    /// Microseconds until `cost` can be taken; 0 when it can be now, `None` when it never can.
    pub(crate) fn wait_us(&mut self, rate: Rate, cost: u64, now_us: u64) -> Option<u64> {
        self.settle(rate, now_us);
        let room = rate.burst.checked_sub(cost)?.saturating_mul(rate.per_us);
        Some(self.debt.saturating_sub(room).div_ceil(rate.refill))
    }

    /// Takes `cost`, whatever there is.
    pub(crate) fn take(&mut self, rate: Rate, cost: u64) {
        self.debt = self.debt.saturating_add(cost.saturating_mul(rate.per_us));
    }

    /// Puts back what was taken and not used.
    pub(crate) fn put_back(&mut self, rate: Rate, amount: u64) {
        self.debt = self.debt.saturating_sub(amount.saturating_mul(rate.per_us));
    }

    pub(crate) fn left(&mut self, rate: Rate, now_us: u64) -> Left {
        self.settle(rate, now_us);
        let taken = self.debt.div_ceil(rate.per_us);
        let reset_us = self.debt.div_ceil(rate.refill);
        Left { limit: rate.burst, remaining: rate.burst.saturating_sub(taken), reset_us }
    }

    /// When it is as good as a fresh one.
    pub(crate) fn quiet_at_us(&self, rate: Rate) -> u64 {
        self.at_us.saturating_add(self.debt.div_ceil(rate.refill))
    }
}

/// Counts up to a limit in a span of time that begins with the first count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    began_us: u64,
    counted: u64,
}

impl Window {
    fn settle(&mut self, length_us: u64, now_us: u64) {
        if self.counted == 0 || now_us >= self.began_us + length_us {
            *self = Window { began_us: now_us, counted: 0 };
        }
    }

    /// Microseconds until `cost` more fit below `limit`; 0 when they do now.
    pub(crate) fn wait_us(&mut self, limit: u64, length_us: u64, cost: u64, now_us: u64) -> u64 {
        self.settle(length_us, now_us);
        if self.counted + cost <= limit { 0 } else { self.began_us + length_us - now_us }
    }

    pub(crate) fn take(&mut self, cost: u64) {
        self.counted += cost;
    }

    pub(crate) fn left(&mut self, limit: u64, length_us: u64, now_us: u64) -> Left {
        self.settle(length_us, now_us);
        let reset_us = if self.counted == 0 { 0 } else { self.began_us + length_us - now_us };
        Left { limit, remaining: limit.saturating_sub(self.counted), reset_us }
    }

    /// When it is as good as a fresh one.
    pub(crate) fn quiet_at_us(&self, length_us: u64) -> u64 {
        if self.counted == 0 { 0 } else { self.began_us + length_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;
    const RATE: Rate = Rate { burst: 20, refill: 10, per_us: 60 * SECOND };

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_its_rate_for_ever_exactly() {
        let (mut bucket, mut taken) = (Bucket::default(), 0_u64);
        for now_us in (0..3_600 * SECOND).step_by(777_777) {
            if bucket.wait_us(RATE, 1, now_us) == Some(0) {
                bucket.take(RATE, 1);
                taken += 1;
            }
        }
        assert_eq!(taken, 20 + 600 - 1, "an hour's refill after the burst; the last second's comes a moment later");
    }

    #[test]
    fn the_wait_a_bucket_tells_is_exactly_long_enough() {
        let mut bucket = Bucket::default();
        bucket.take(RATE, 20);
        let wait = bucket.wait_us(RATE, 1, 0).unwrap();
        assert_eq!(wait, 6 * SECOND);
        assert_eq!(bucket.wait_us(RATE, 1, wait - 1), Some(1));
        assert_eq!(bucket.wait_us(RATE, 1, wait), Some(0));
        assert_eq!(bucket.wait_us(RATE, 21, wait), None, "more than it holds is never there");
        assert_eq!(bucket.left(RATE, wait), Left { limit: 20, remaining: 1, reset_us: 114 * SECOND });
        bucket.put_back(RATE, 19);
        assert_eq!(bucket.quiet_at_us(RATE), wait);
    }

    #[test]
    fn time_that_goes_back_gives_nothing() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.wait_us(RATE, 1, 100 * SECOND), Some(0));
        bucket.take(RATE, 20);
        assert_eq!(bucket.wait_us(RATE, 1, 0), Some(6 * SECOND));
    }

    #[test]
    fn a_window_begins_with_its_first_count_and_ends_after_its_length() {
        let (mut window, hour) = (Window::default(), 3_600 * SECOND);
        assert_eq!(window.wait_us(100, hour, 100, 50), 0);
        window.take(100);
        assert_eq!(window.wait_us(100, hour, 1, 60), hour - 10);
        assert_eq!(window.left(100, hour, 60), Left { limit: 100, remaining: 0, reset_us: hour - 10 });
        assert_eq!(window.wait_us(100, hour, 1, hour + 50), 0);
    }
}
