//! What was delivered of a model.

use bincode::{Decode, Encode};
use gollem_engine::{Outcome, Tokens};
use std::collections::BTreeMap;

/// What was delivered of a model on a UTC day, or on several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ModelDayRow {
    /// Deliveries that served what was asked.
    pub completed: u64,
    /// Deliveries whose client left.
    pub abandoned: u64,
    /// Deliveries that failed.
    pub failed: u64,
    /// Prompt tokens.
    pub input: u64,
    /// Of these, tokens that a cache knew.
    pub cached_input: u64,
    /// Generated tokens.
    pub output: u64,
    /// Units delivered.
    pub units: u128,
    /// What buyers paid for them in atoms, after rebates.
    pub spent: i128,
    /// Milliseconds to the first token, where it was measured.
    pub first_token_ms: Delays,
}

impl ModelDayRow {
    /// Counts a delivery in: its tokens, and how it ended.
    pub(crate) fn deliver(&mut self, outcome: Outcome, tokens: &Tokens, first_token_ms: Option<u32>) {
        match outcome {
            Outcome::Completed => self.completed += 1,
            Outcome::Abandoned => self.abandoned += 1,
            Outcome::Failed | Outcome::Overstated => self.failed += 1,
        }
        self.input += u64::from(tokens.input);
        self.cached_input += u64::from(tokens.cached_input);
        self.output += u64::from(tokens.output);
        if let Some(ms) = first_token_ms {
            self.first_token_ms.add(ms);
        }
    }

    /// Adds another day.
    pub(crate) fn add(&mut self, day: &ModelDayRow) {
        self.completed += day.completed;
        self.abandoned += day.abandoned;
        self.failed += day.failed;
        self.input += day.input;
        self.cached_input += day.cached_input;
        self.output += day.output;
        self.units += day.units;
        self.spent += day.spent;
        for (step, count) in &day.first_token_ms.0 {
            *self.first_token_ms.0.entry(*step).or_default() += count;
        }
    }
}

/// How many delays there were, by steps: each millisecond below 16, then eight steps to a doubling. So a delay that is told
/// is longer than the one that was measured by an eighth at most, and never shorter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Delays(BTreeMap<u8, u64>);

impl Delays {
    fn add(&mut self, ms: u32) {
        *self.0.entry(step(ms)).or_default() += 1;
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The delay that this many of a hundred did not exceed, in milliseconds; none of none.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let wanted = (u128::from(self.count()) * u128::from(percent)).div_ceil(100).max(1);
        let mut seen = 0_u128;
        for (step, count) in &self.0 {
            seen += u128::from(*count);
            if seen >= wanted {
                return Some(longest(*step));
            }
        }
        None
    }
}

/// The step of a delay.
fn step(ms: u32) -> u8 {
    let doublings = ms.checked_ilog2().unwrap_or(0);
    if doublings < 4 {
        return ms as u8; // Below 16.
    }
    (16 + (doublings - 4) * 8 + (ms >> (doublings - 3)) % 8) as u8 // At most 239.
}

/// The longest delay of a step.
fn longest(step: u8) -> u64 {
    let step = u64::from(step);
    if step < 16 {
        return step;
    }
    let (doublings, eighth) = ((step - 16) / 8 + 4, step % 8);
    ((8 + eighth + 1) << (doublings - 3)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_holds_its_delays_and_is_an_eighth_wide_at_most() {
        let mut before = 0;
        for ms in (0..5_000).chain([1 << 20, (1 << 24) - 1, 1 << 24, u32::MAX - 1, u32::MAX]) {
            let longest = longest(step(ms));
            assert!(longest >= u64::from(ms) && longest <= u64::from(ms) + u64::from(ms) / 8, "{ms}: {longest}");
            assert!(longest >= before, "{ms}");
            before = longest;
        }
    }

    #[test]
    fn percentiles_are_those_of_the_delays() {
        let mut delays = Delays::default();
        assert_eq!(delays.percentile(50), None);
        for ms in 1..=10 {
            delays.add(ms);
        }
        assert_eq!((delays.count(), delays.percentile(0), delays.percentile(50)), (10, Some(1), Some(5)));
        assert_eq!(
            (delays.percentile(90), delays.percentile(91), delays.percentile(100)),
            (Some(9), Some(10), Some(10))
        );
        delays.add(1_000);
        assert_eq!(delays.percentile(99), Some(1_023));
    }
}
