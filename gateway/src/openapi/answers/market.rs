//! Instruments, books, tapes, candles and indices.

use super::{Credits, Dollars, Micros, OrderSide, Time};
use serde_json::Value;
use utoipa::ToSchema;

/// A contract specification.
#[derive(ToSchema)]
pub(crate) struct Instrument {
    symbol: String,
    /// `open`, `cancel_only` or `halted`.
    state: String,
    unit: String,
    weights: Value,
    tick: Credits,
    price_max: Credits,
    reference_price: Credits,
    price_band_bps: u32,
    lot: u64,
    quantity_min: u64,
    quantity_max: u64,
    maker_fee_bps: u16,
    taker_fee_bps: u16,
    delivery_fee_bps: u16,
    tolerance_bps: u16,
    rebate_bps: u16,
    contract_ttl_s: u64,
}

#[derive(ToSchema)]
pub(crate) struct Instruments {
    instruments: Vec<Instrument>,
}

/// A price level; with `level=3` an order, which has its id, latency and throughput instead of how many orders there are.
#[derive(ToSchema)]
pub(crate) struct Level {
    price: Credits,
    quantity: u64,
    orders: Option<u32>,
    order: Option<String>,
    latency_ms: Option<u32>,
    throughput_tps: Option<u32>,
}

#[derive(ToSchema)]
pub(crate) struct Book {
    instrument: String,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

/// A trade on the tape.
#[derive(ToSchema)]
pub(crate) struct PublicTrade {
    id: String,
    at: Time,
    at_us: Micros,
    price: Credits,
    quantity: u64,
    taker: OrderSide,
}

#[derive(ToSchema)]
pub(crate) struct Trades {
    instrument: String,
    trades: Vec<PublicTrade>,
    #[schema(required = true)]
    next_before: Option<String>,
}

#[derive(ToSchema)]
pub(crate) struct Candle {
    start: Time,
    start_us: Micros,
    open: Credits,
    high: Credits,
    low: Credits,
    close: Credits,
    /// A number, or a string beyond 64 bits.
    units: Value,
    credits: Credits,
    trades: u64,
}

#[derive(ToSchema)]
pub(crate) struct Candles {
    instrument: String,
    interval: String,
    candles: Vec<Candle>,
    #[schema(required = true)]
    next_to: Option<u64>,
}

/// What a million tokens cost.
#[derive(ToSchema)]
pub(crate) struct Index {
    model: String,
    credits_per_million: Option<Credits>,
    usd_per_million: Option<Dollars>,
    usd_per_million_input: Option<Dollars>,
    usd_per_million_cached_input: Option<Dollars>,
    usd_per_million_output: Option<Dollars>,
    /// `volume_weighted` or `last_trade`.
    method: Option<String>,
    window_minutes: u64,
    trades: u64,
    units: Value,
}

#[derive(ToSchema)]
pub(crate) struct Indices {
    index: Vec<Index>,
}

#[derive(ToSchema)]
pub(crate) struct BookStatus {
    instrument: String,
    best_bid: Option<Credits>,
    bid_quantity: u64,
    bids: u32,
    best_ask: Option<Credits>,
    ask_quantity: u64,
    asks: u32,
}

#[derive(ToSchema)]
pub(crate) struct BooksStatus {
    status: String,
    instruments: Vec<BookStatus>,
}

/// A model: what OpenAI's and Anthropic's clients know of one, and what it costs here now. Promises are of its cheapest asks,
/// at most a hundred.
#[derive(ToSchema)]
pub(crate) struct Model {
    id: String,
    object: String,
    /// When it was listed, in seconds since the epoch.
    created: u64,
    owned_by: String,
    r#type: String,
    display_name: String,
    /// The same, as RFC 3339 has it.
    created_at: Time,
    lifecycle: String,
    /// Whether it takes calls: its market is open.
    open: bool,
    /// Of the best ask.
    credits_per_unit: Option<Credits>,
    usd_per_million_input: Option<Dollars>,
    usd_per_million_cached_input: Option<Dollars>,
    usd_per_million_output: Option<Dollars>,
    /// Lowest promise.
    latency_ms: Option<u32>,
    /// Highest promise.
    throughput_tps: Option<u32>,
    providers: usize,
}

#[derive(ToSchema)]
pub(crate) struct Models {
    object: String,
    data: Vec<Model>,
    has_more: bool,
    first_id: Option<String>,
    last_id: Option<String>,
}

/// What was delivered of a model on the last days, the current one included.
#[derive(ToSchema)]
pub(crate) struct ModelStats {
    model: String,
    days: u32,
    calls: u64,
    completed: u64,
    abandoned: u64,
    failed: u64,
    input_tokens: u64,
    cached_input_tokens: u64,
    output_tokens: u64,
    units: Value,
    credits: Credits,
    first_token_ms: FirstTokens,
}

/// Milliseconds to the first token of streamed calls, each rounded up by at most an eighth.
#[derive(ToSchema)]
pub(crate) struct FirstTokens {
    calls: u64,
    p50: Option<u64>,
    p90: Option<u64>,
    p99: Option<u64>,
}

#[derive(ToSchema)]
pub(crate) struct ModelsStats {
    models: Vec<ModelStats>,
}

/// A model that fits, by the ask that would serve the call.
#[derive(ToSchema)]
pub(crate) struct Recommendation {
    model: String,
    order: String,
    provider: String,
    credits_per_unit: Credits,
    units: u64,
    /// What the call would cost, fees included.
    cost: Credits,
    cost_usd: Dollars,
    latency_ms: u32,
    throughput_tps: u32,
}

/// A model that does not, and the first reason.
#[derive(ToSchema)]
pub(crate) struct Excluded {
    model: String,
    /// `instrument_not_open`, `no_asks`, `price`, `latency`, `throughput` or `capacity`.
    code: String,
    reason: String,
}

#[derive(ToSchema)]
pub(crate) struct Recommended {
    preference: String,
    input_tokens: u64,
    output_tokens: u64,
    models: Vec<Recommendation>,
    excluded: Vec<Excluded>,
}
