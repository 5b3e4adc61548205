//! What a mock model server imitates.

use std::time::Duration;

/// How a [`Mock`](super::Mock) behaves; write the fields that matter and take the rest from `default()`.
#[derive(Debug, Clone)]
pub struct MockOptions {
    /// Time from the arrival of a request to its first token.
    pub first_token: Duration,
    /// Tokens a second and request after the first one; 0 means all at once.
    pub tokens_per_s: u32,
    /// Requests in a million that are answered 500 before any token.
    pub failure_rate_ppm: u32,
    /// Decides which requests fail and which words come back.
    pub seed: u64,
    /// Tokens of an answer when the request sets no limit.
    pub default_tokens: u32,
    /// Names of the models it serves; empty means that any name will do.
    pub models: Vec<String>,
}

impl Default for MockOptions {
    /// 200 ms to the first token, then 60 a second, no failures, 128 tokens to an answer, any model.
    fn default() -> Self {
        MockOptions {
            first_token: Duration::from_millis(200),
            tokens_per_s: 60,
            failure_rate_ppm: 0,
            seed: 1,
            default_tokens: 128,
            models: Vec::new(),
        }
    }
}

impl MockOptions {
    /// Whether a request may name this model.
    pub(crate) fn serves(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|served| served == model)
    }
}
