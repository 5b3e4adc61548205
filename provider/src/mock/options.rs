//! What a mock model server imitates.

use std::time::Duration;

use super::fault::Fault;

/// How a [`Mock`](super::Mock) behaves; write the fields that matter and take the rest from `default()`.
///
/// The fields `*_rate_ppm` are requests in a million that meet a [`Fault`]. A request meets one at most: together they
/// are at most a million.
#[derive(Debug, Clone)]
pub struct MockOptions {
    /// Time from the arrival of a request to its first token.
    pub first_token: Duration,
    /// Tokens a second and request after the first one; 0 means all at once.
    pub tokens_per_s: u32,
    /// [`Fault::Fail`]: answered 500 before any token.
    pub failure_rate_ppm: u32,
    /// [`Fault::Refuse`]: answered 429 with `Retry-After`.
    pub refuse_rate_ppm: u32,
    /// [`Fault::Drop`]: the connection closes before any byte of the answer.
    pub drop_rate_ppm: u32,
    /// [`Fault::Die`]: cut off in the middle of the answer.
    pub die_rate_ppm: u32,
    /// [`Fault::Stall`]: never a first byte.
    pub stall_rate_ppm: u32,
    /// [`Fault::Garbage`]: 200 with bytes that mean nothing.
    pub garbage_rate_ppm: u32,
    /// [`Fault::EndlessLine`]: one line of 100 MB.
    pub endless_line_rate_ppm: u32,
    /// [`Fault::Endless`]: tokens beyond the limit, without end.
    pub endless_rate_ppm: u32,
    /// [`Fault::Drip`]: one byte a 100 ms.
    pub drip_rate_ppm: u32,
    /// By how many percent the usage claims more tokens than were served, rounded up.
    pub overstate_pct: u32,
    /// Decides which requests meet which fault and which words come back.
    pub seed: u64,
    /// Tokens of an answer when the request sets no limit.
    pub default_tokens: u32,
    /// Names of the models it serves; empty means that any name will do.
    pub models: Vec<String>,
}

impl Default for MockOptions {
    /// 200 ms to the first token, then 60 a second, no faults, 128 tokens to an answer, any model.
    fn default() -> Self {
        MockOptions {
            first_token: Duration::from_millis(200),
            tokens_per_s: 60,
            failure_rate_ppm: 0,
            refuse_rate_ppm: 0,
            drop_rate_ppm: 0,
            die_rate_ppm: 0,
            stall_rate_ppm: 0,
            garbage_rate_ppm: 0,
            endless_line_rate_ppm: 0,
            endless_rate_ppm: 0,
            drip_rate_ppm: 0,
            overstate_pct: 0,
            seed: 1,
            default_tokens: 128,
            models: Vec::new(),
        }
    }
}

impl MockOptions {
    /// Requests in a million that meet this fault.
    pub fn share_ppm(&self, fault: Fault) -> u32 {
        match fault {
            Fault::Fail => self.failure_rate_ppm,
            Fault::Refuse => self.refuse_rate_ppm,
            Fault::Drop => self.drop_rate_ppm,
            Fault::Die => self.die_rate_ppm,
            Fault::Stall => self.stall_rate_ppm,
            Fault::Garbage => self.garbage_rate_ppm,
            Fault::EndlessLine => self.endless_line_rate_ppm,
            Fault::Endless => self.endless_rate_ppm,
            Fault::Drip => self.drip_rate_ppm,
        }
    }

    /// The same with another share of this fault, in millionths.
    #[must_use]
    pub fn with_share(mut self, fault: Fault, ppm: u32) -> Self {
        *match fault {
            Fault::Fail => &mut self.failure_rate_ppm,
            Fault::Refuse => &mut self.refuse_rate_ppm,
            Fault::Drop => &mut self.drop_rate_ppm,
            Fault::Die => &mut self.die_rate_ppm,
            Fault::Stall => &mut self.stall_rate_ppm,
            Fault::Garbage => &mut self.garbage_rate_ppm,
            Fault::EndlessLine => &mut self.endless_line_rate_ppm,
            Fault::Endless => &mut self.endless_rate_ppm,
            Fault::Drip => &mut self.drip_rate_ppm,
        } = ppm;
        self
    }

    /// Whether a request may name this model.
    pub(crate) fn serves(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|served| served == model)
    }
}
