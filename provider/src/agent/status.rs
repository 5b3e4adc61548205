//! What the agent knows of itself, for whoever asks: written by its loop, read by the proxy's handlers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::{
    gpu::Gpu,
    load::{Ended, Load, Quantiles},
    price::Price,
};

/// The quote that rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quote {
    /// Its order's id.
    pub(crate) order: String,
    pub(crate) price: Price,
    /// Units that could still be taken when it was last looked at.
    pub(crate) remaining: u64,
}

/// What the account has earned, as the gateway says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Earnings {
    /// Credits, a decimal string.
    pub(crate) credits: String,
    /// Whether they are enough for a payout.
    pub(crate) payout_eligible: bool,
    /// From which amount on they are, a decimal string.
    pub(crate) threshold_usd: String,
}

/// The latest of everything.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) quote: Option<Quote>,
    pub(crate) quotes_placed: u64,
    pub(crate) reprices: u64,
    pub(crate) model_server_up: bool,
    pub(crate) earnings: Option<Earnings>,
    /// The GPUs, or why there are none to tell of.
    pub(crate) gpus: Option<Result<Vec<Gpu>, String>>,
}

/// The notice board.
#[derive(Debug)]
pub(crate) struct Board {
    model: String,
    facts: Mutex<Facts>,
}

impl Board {
    pub(crate) fn new(model: &str) -> Self {
        Board { model: model.to_owned(), facts: Mutex::default() }
    }

    /// To read, or to write what is new. Not to be held while waiting.
    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// The body of `GET /status`.
    pub(crate) fn status(&self, load: &Load) -> Value {
        let facts = self.facts();
        let (first_token_us, tokens_per_s) = load.quantiles();
        json!({
            "model": self.model,
            "state": if load.is_draining() { "draining" } else if facts.quote.is_some() { "quoting" } else { "idle" },
            "quote": facts.quote.as_ref().map(|quote| json!({
                "order": quote.order,
                "price": quote.price.to_string(),
                "price_usd_per_million": quote.price.usd_per_million().to_string(),
                "remaining": quote.remaining,
            })),
            "quotes_placed": facts.quotes_placed,
            "reprices": facts.reprices,
            "model_server": if facts.model_server_up { "up" } else { "down" },
            "load": {"running": load.running(), "max_concurrent": load.max(), "percent": load.percent()},
            "requests": Ended::ALL.map(|ended| (ended.name(), load.counted(ended)))
                .into_iter().map(|(name, count)| (name.to_owned(), Value::from(count)))
                .collect::<serde_json::Map<_, _>>(),
            "tokens": load.tokens(),
            "latency": {
                "first_token_ms": first_token_us.map(|values| percentiles(values, |micros| micros.div_ceil(1_000))),
                "tokens_per_s": tokens_per_s.map(|values| percentiles(values, |rate| rate)),
            },
            "gpus": facts.gpus.as_ref().and_then(|gpus| gpus.as_ref().ok()).map(|gpus| {
                gpus.iter().map(gpu).collect::<Vec<_>>()
            }),
            "gpus_missing": facts.gpus.as_ref().and_then(|gpus| gpus.as_ref().err()),
            "earned": facts.earnings.as_ref().map(|earnings| &earnings.credits),
            "payout": facts.earnings.as_ref().map(|earnings| json!({
                "eligible": earnings.payout_eligible, "threshold_usd": earnings.threshold_usd,
            })),
        })
    }
}

/// `{"p50": …, "p90": …, "p99": …}`.
fn percentiles(values: Quantiles, unit: fn(u64) -> u64) -> Value {
    values.into_iter().map(|(per_mille, value)| (format!("p{}", per_mille / 10), Value::from(unit(value)))).collect()
}

fn gpu(gpu: &Gpu) -> Value {
    json!({
        "name": gpu.name,
        "utilization_pct": gpu.utilization_pct,
        "vram_used_bytes": gpu.vram_used_bytes,
        "vram_total_bytes": gpu.vram_total_bytes,
    })
}
