//! When each token is due, counted from the arrival of the request.
//!
//! The schedule is absolute: a late token does not move the later ones, so the rate holds over an answer however coarse
//! the timers are. Pure arithmetic; whoever waits asks the clock.

use std::time::Duration;

const NANOS_PER_S: u128 = 1_000_000_000;

/// Due times of the tokens of one answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) first_token: Duration,
    /// 0 means that all tokens are due with the first.
    pub(crate) tokens_per_s: u32,
}

impl Schedule {
    /// When token `index` is due; the first is token 0.
    pub(crate) fn due_at(self, index: u32) -> Duration {
        self.first_token.saturating_add(self.span(index))
    }

    /// When an answer of `tokens` tokens is complete, if it is handed over in one piece.
    pub(crate) fn complete_at(self, tokens: u32) -> Duration {
        self.due_at(tokens)
    }

    /// How many tokens are due once `elapsed` has passed: the number of indexes whose [`due_at`](Self::due_at) is not
    /// later.
    pub(crate) fn due_by(self, elapsed: Duration) -> u32 {
        let Some(after_first) = elapsed.checked_sub(self.first_token) else {
            return 0;
        };
        if self.tokens_per_s == 0 {
            return u32::MAX;
        }
        // Due times are whole nanoseconds, rounded down: index k is due when k * 1e9 < (elapsed + 1 ns) * rate.
        let bound = (after_first.as_nanos() + 1) * u128::from(self.tokens_per_s);
        u32::try_from((bound - 1) / NANOS_PER_S + 1).unwrap_or(u32::MAX)
    }

    /// Time that `tokens` tokens take at the rate, rounded down to a nanosecond.
    fn span(self, tokens: u32) -> Duration {
        if self.tokens_per_s == 0 {
            return Duration::ZERO;
        }
        let nanos = u128::from(tokens) * NANOS_PER_S / u128::from(self.tokens_per_s);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_by_and_due_at_agree_to_the_nanosecond() {
        let nanosecond = Duration::from_nanos(1);
        for tokens_per_s in [1, 3, 7, 60, 999, 1_000_000, u32::MAX] {
            let schedule = Schedule { first_token: Duration::from_millis(5), tokens_per_s };
            for index in (0..1_000).chain([999_999, 1_048_576]) {
                let due = schedule.due_at(index);
                assert!(schedule.due_by(due) > index, "{index} at {tokens_per_s}/s is due at {due:?}");
                assert!(schedule.due_by(due - nanosecond) <= index, "{index} at {tokens_per_s}/s was due earlier");
            }
        }
    }

    #[test]
    fn nothing_is_due_before_the_first_token_and_everything_with_it_at_no_rate() {
        let schedule = Schedule { first_token: Duration::from_millis(5), tokens_per_s: 0 };
        assert_eq!(schedule.due_by(Duration::from_micros(4_999)), 0);
        assert_eq!(schedule.due_by(Duration::from_millis(5)), u32::MAX);
        assert_eq!(schedule.complete_at(1_000), Duration::from_millis(5));
    }

    #[test]
    fn whole_answer_takes_first_token_and_all_tokens() {
        let schedule = Schedule { first_token: Duration::from_millis(200), tokens_per_s: 50 };
        assert_eq!(schedule.due_at(0), Duration::from_millis(200));
        assert_eq!(schedule.complete_at(100), Duration::from_millis(2_200));
    }
}
