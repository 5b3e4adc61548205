//! Contracts, deliveries, and what was used.

use super::{Credits, Micros, Time};
use serde_json::Value;
use utoipa::ToSchema;

/// A contract as one of its parties sees it.
#[derive(ToSchema)]
pub(crate) struct Contract {
    #[schema(pattern = "^ctr_[0-9]+$")]
    id: String,
    /// `buyer` or `provider`.
    role: String,
    order: String,
    key: Option<u32>,
    instrument: String,
    price: Credits,
    quantity: u64,
    delivered: u64,
    escrow: Option<Credits>,
    paid: Option<Credits>,
    earned: Option<Credits>,
    latency_ms: u32,
    throughput_tps: u32,
    /// `open`, `settled` or `expired`.
    status: String,
    created_at: Time,
    created_at_us: Micros,
    expires_at: Time,
    expires_at_us: Micros,
    ended_at: Option<Time>,
    ended_at_us: Option<Micros>,
}

#[derive(ToSchema)]
pub(crate) struct Contracts {
    contracts: Vec<Contract>,
    #[schema(required = true)]
    next_before: Option<String>,
}

/// A settled delivery as one of the parties sees it.
#[derive(ToSchema)]
pub(crate) struct Delivery {
    id: String,
    contract: String,
    role: String,
    instrument: String,
    quantity: u64,
    paid: Option<Credits>,
    earned: Option<Credits>,
    fee: Credits,
    rebate: Credits,
    input_tokens: u32,
    cached_input_tokens: u32,
    output_tokens: u32,
    latency_ms: Option<u32>,
    throughput_tps: Option<u32>,
    /// `completed`, `abandoned`, `failed` or `overstated`.
    outcome: String,
    at: Time,
    at_us: Micros,
}

#[derive(ToSchema)]
pub(crate) struct Deliveries {
    deliveries: Vec<Delivery>,
    #[schema(required = true)]
    next_before: Option<String>,
}

/// What a contract came to, for good. Of several deliveries units, tokens and money are sums, `first_token_ms` is the
/// longest and `throughput_tps` the least.
#[derive(ToSchema)]
pub(crate) struct Receipt {
    /// The name of the key that signs it, which is the origin of the journal's tree heads.
    #[schema(required = true)]
    journal: Option<String>,
    #[schema(pattern = "^ctr_[0-9]+$")]
    contract: String,
    buyer: String,
    provider: String,
    model: String,
    price: Credits,
    contracted_units: u64,
    delivered_units: u64,
    deliveries: u64,
    /// `completed`, `abandoned`, `failed`, or `mixed` of several deliveries; null where nothing was reported.
    #[schema(required = true)]
    outcome: Option<String>,
    input_tokens: u64,
    cached_input_tokens: u64,
    output_tokens: u64,
    #[schema(required = true)]
    first_token_ms: Option<u32>,
    /// What the ask promised; null for no promise.
    #[schema(required = true)]
    promised_first_token_ms: Option<u32>,
    #[schema(required = true)]
    throughput_tps: Option<u32>,
    #[schema(required = true)]
    promised_throughput_tps: Option<u32>,
    /// What the buyer paid, fees included, the rebate taken off: `earned` and both fees.
    paid: Credits,
    /// What returned to the buyer because a promise was broken.
    rebate: Credits,
    /// What the provider earned, the rebate taken off.
    earned: Credits,
    provider_fee: Credits,
    buyer_fee: Credits,
    /// `settled` or `expired`.
    ended: String,
    matched_at: Time,
    matched_at_us: Micros,
    settled_at: Time,
    settled_at_us: Micros,
    /// The journal's input that made the contract.
    trade_seq: u64,
    /// The journal's input that ended it.
    settlement_seq: u64,
    /// All of this as a signed note, for `gollem-replay receipt`; null where the exchange runs without a key.
    #[schema(required = true)]
    note: Option<String>,
}

#[derive(ToSchema)]
pub(crate) struct Usage {
    usage: Vec<Value>,
    total: Value,
    #[schema(required = true)]
    next_before: Option<String>,
}

#[derive(ToSchema)]
pub(crate) struct UsageFile {
    usage: Vec<Value>,
}

#[derive(ToSchema)]
pub(crate) struct Analytics {
    days: u32,
    total: Value,
    models: Vec<Value>,
    keys: Vec<Value>,
    projection: Value,
    savings_credits: Credits,
    savings_against: String,
    anomalies: Vec<Value>,
}
