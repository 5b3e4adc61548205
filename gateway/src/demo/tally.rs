//! What the played requests came to.

use gollem_engine::{Quantity, TokenWeights};
use hdrhistogram::Histogram;
use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The weights the demo's instruments are listed with.
const WEIGHTS: TokenWeights = TokenWeights { input: 1_000, cached_input: 250, output: 4_000 };

/// Longest latency told apart, in microseconds.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Counts and sums over the requests answered so far.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) fills: u64,
    /// By the error's code.
    pub(super) refusals: BTreeMap<String, u64>,
    /// Units served by model.
    pub(super) units: BTreeMap<String, u64>,
    /// What the fills cost, in credits.
    pub(super) spent_credits: Decimal,
    /// Whole requests as the client saw them, in microseconds.
    pub(super) latency_us: Option<Histogram<u64>>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            requests: 0,
            fills: 0,
            refusals: BTreeMap::new(),
            units: BTreeMap::new(),
            spent_credits: Decimal::ZERO,
            latency_us: Histogram::new_with_max(LATENCY_US_MAX, 3).ok(),
        }
    }
}

impl Tally {
    /// Counts an answer of the exchange.
    pub(super) fn answer(&mut self, model: &str, ok: bool, body: &Value, latency: Duration) {
        if !ok {
            let code = body.pointer("/error/code").and_then(Value::as_str).unwrap_or("unknown");
            self.refuse(code);
            return;
        }
        self.requests += 1;
        self.fills += 1;
        let tokens = |name: &str| body.pointer(&format!("/usage/{name}")).and_then(Value::as_u64).unwrap_or(0);
        let Quantity(units) =
            WEIGHTS.units(tokens("prompt_tokens"), 0, tokens("completion_tokens")).unwrap_or_default();
        *self.units.entry(model.to_owned()).or_default() += units;
        let cost = body.pointer("/usage/cost").and_then(|cost| Decimal::from_str_exact(cost.as_str()?).ok());
        self.spent_credits += cost.unwrap_or_default();
        if let Some(histogram) = &mut self.latency_us {
            histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// Counts a request that was not served.
    pub(super) fn refuse(&mut self, code: &str) {
        self.requests += 1;
        *self.refusals.entry(code.to_owned()).or_default() += 1;
    }

    /// Requests not served.
    pub(super) fn refused(&self) -> u64 {
        self.refusals.values().sum()
    }
}
