//! Providers' records and quotes.

use super::{Credits, Micros, Time};
use serde_json::Value;
use utoipa::ToSchema;

/// A provider's record on one instrument. What it earned is told to itself alone.
#[derive(ToSchema)]
pub(crate) struct Scorecard {
    instrument: String,
    deliveries: u64,
    completed: u64,
    abandoned: u64,
    failed: u64,
    overstated: u64,
    success_rate: Option<String>,
    breaches: u64,
    units: Value,
    latency_ms: Measure,
    throughput_tps: Measure,
    breaker: Breaker,
    breaker_history: Vec<Breaker>,
    earned: Option<Credits>,
    rebates: Option<Credits>,
    fees: Option<Credits>,
}

/// What was promised, what was measured, and the reading that counts for asks now.
#[derive(ToSchema)]
pub(crate) struct Measure {
    promised: Option<u64>,
    measured: Option<u64>,
    deliveries: u64,
    effective: Option<u32>,
}

/// A circuit breaker: `closed`, `open` until a time, or `half_open` with so many contracts to try.
#[derive(ToSchema)]
pub(crate) struct Breaker {
    state: String,
    until: Option<Time>,
    until_us: Option<Micros>,
    probes: Option<u32>,
    /// Of a provider's breakers: on which instrument.
    instrument: Option<String>,
    /// Of a change: by which input, and when.
    seq: Option<u64>,
    at: Option<Time>,
    at_us: Option<Micros>,
}

#[derive(ToSchema)]
pub(crate) struct Scorecards {
    account: String,
    instruments: Vec<Scorecard>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ProviderCircuit {
    provider_id: String,
    instruments: Vec<Breaker>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ProviderRateLimit {
    provider_id: String,
    unit: String,
    instruments: Vec<QuoteLimit>,
}

/// Units that a provider offered, and what is left of them to be bought now.
#[derive(ToSchema)]
pub(crate) struct QuoteLimit {
    instrument: String,
    limit: u64,
    remaining: u64,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ProviderLatency {
    provider_id: String,
    instruments: Vec<MeasuredOn>,
}

#[derive(ToSchema)]
pub(crate) struct MeasuredOn {
    instrument: String,
    latency_ms: Measure,
    throughput_tps: Measure,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ProviderQuotes {
    provider_id: String,
    /// `online` or `offline`.
    status: String,
    models: Vec<ModelQuotes>,
}

#[derive(ToSchema)]
pub(crate) struct ModelQuotes {
    model: String,
    /// `online`, or `suspended` while the breaker keeps all of them out of the book.
    status: String,
    quotes: Vec<ProviderQuote>,
}

#[derive(ToSchema)]
pub(crate) struct ProviderQuote {
    order: String,
    price: Credits,
    capacity: u64,
    latency_ms: u32,
    throughput_tps: u32,
    gpu: String,
}

#[derive(ToSchema)]
pub(crate) struct Quoted {
    model: String,
    status: String,
    order: Option<String>,
    price: Option<Credits>,
    capacity: Option<u64>,
    withdrawn: u64,
    seq: Option<u64>,
}

#[derive(ToSchema)]
pub(crate) struct Registered {
    endpoint: String,
}
