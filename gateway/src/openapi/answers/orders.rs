//! Orders, what they traded and hold, and quotes.

use super::{Credits, ErrorDetail, Micros, OrderSide, Time};
use utoipa::ToSchema;

/// An order as its owner sees it.
#[derive(ToSchema)]
pub(crate) struct Order {
    #[schema(pattern = "^ord_[0-9]+$")]
    id: String,
    account: String,
    instrument: String,
    side: OrderSide,
    price: Credits,
    quantity: u64,
    filled: u64,
    remaining: u64,
    value: Credits,
    time_in_force: String,
    expires_at: Option<Time>,
    expires_at_us: Option<Micros>,
    post_only: bool,
    cancel_on_disconnect: bool,
    self_trade: String,
    /// `open`, `partially_filled`, `filled`, `canceled` or `expired`.
    status: String,
    /// Why it is closed without being filled.
    reason: Option<String>,
    created_at: Time,
    created_at_us: Micros,
    updated_at: Time,
    updated_at_us: Micros,
    /// When the answer is about a command: the input that did it.
    seq: Option<u64>,
    /// When it was placed or replaced: what it traded at once.
    fills: Option<Vec<OwnFill>>,
    /// The first answer again.
    repeated: Option<bool>,
    client_order_id: Option<String>,
}

/// A fill in the answer to the order that traded.
#[derive(ToSchema)]
pub(crate) struct OwnFill {
    contract: String,
    price: Credits,
    quantity: u64,
    expires_at: Time,
    expires_at_us: Micros,
}

#[derive(ToSchema)]
pub(crate) struct Orders {
    orders: Vec<Order>,
    #[schema(required = true)]
    next_before: Option<String>,
}

/// The outcomes of a batch, in the order of its actions.
#[derive(ToSchema)]
pub(crate) struct Outcomes {
    #[schema(max_items = 50)]
    results: Vec<BatchOutcome>,
    #[schema(required = true)]
    seq: Option<u64>,
}

/// The order, or why there is none.
#[derive(ToSchema)]
pub(crate) struct BatchOutcome {
    /// As the status of a request of its own.
    status: u16,
    order: Option<Order>,
    error: Option<ErrorDetail>,
}

#[derive(ToSchema)]
pub(crate) struct Cancelled {
    cancelled: u32,
    seq: u64,
}

#[derive(ToSchema)]
pub(crate) struct TimerSet {
    #[schema(required = true)]
    after_ms: Option<u64>,
    /// When it fires.
    #[schema(required = true)]
    at: Option<Time>,
    #[schema(required = true)]
    at_us: Option<Micros>,
    seq: u64,
}

/// What one of an account's orders traded.
#[derive(ToSchema)]
pub(crate) struct Fill {
    contract: String,
    order: String,
    instrument: String,
    side: OrderSide,
    /// `maker` or `taker`.
    liquidity: String,
    price: Credits,
    quantity: u64,
    value: Credits,
    at: Time,
    at_us: Micros,
}

#[derive(ToSchema)]
pub(crate) struct Fills {
    fills: Vec<Fill>,
    #[schema(required = true)]
    next_before: Option<String>,
}

/// An open bid and what it holds.
#[derive(ToSchema)]
pub(crate) struct Hold {
    order: String,
    instrument: String,
    price: Credits,
    remaining: u64,
    held: Credits,
}

/// An open lock and what is reserved for it.
#[derive(ToSchema)]
pub(crate) struct HeldLock {
    order: String,
    instrument: String,
    price: Credits,
    quantity: u64,
    escrow: Credits,
    expires_at: Time,
    expires_at_us: Micros,
}

#[derive(ToSchema)]
pub(crate) struct Holds {
    holds: Vec<Hold>,
    held: Credits,
    locks: Vec<HeldLock>,
    #[schema(required = true)]
    next_before: Option<String>,
}

/// An ask of the frontier, and what the part of the quantity that it can take would cost.
#[derive(ToSchema)]
pub(crate) struct QuotedAsk {
    order: String,
    provider: String,
    price: Credits,
    latency_ms: u32,
    throughput_tps: u32,
    gpu: String,
    region: String,
    precision: String,
    remaining: u64,
    quantity: u64,
    value: Credits,
    fee: Credits,
    total: Credits,
}

/// An ask that would not be taken first, and the first rule that says so.
#[derive(ToSchema)]
pub(crate) struct ExplainedAsk {
    order: String,
    provider: String,
    price: Credits,
    latency_ms: u32,
    throughput_tps: u32,
    gpu: String,
    region: String,
    precision: String,
    remaining: u64,
    verdict: String,
    reason: String,
}

/// The asks that no other dominates, in the order in which they would be taken.
#[derive(ToSchema)]
pub(crate) struct Quote {
    instrument: String,
    quantity: u64,
    single: bool,
    /// Which would be taken first.
    #[schema(required = true)]
    chosen: Option<String>,
    #[schema(max_items = 100)]
    asks: Vec<QuotedAsk>,
    /// Whether there are no others.
    complete: bool,
    #[schema(max_items = 100)]
    explained: Option<Vec<ExplainedAsk>>,
    /// What was set aside, if a lock was asked for.
    lock: Option<QuoteLock>,
    seq: u64,
}

/// Units set aside: buy them before they return.
#[derive(ToSchema)]
pub(crate) struct QuoteLock {
    /// The id of the order, if the lock is used.
    id: String,
    ask: String,
    provider: String,
    price: Credits,
    quantity: u64,
    escrow: Credits,
    expires_at: Time,
    expires_at_us: Micros,
    seq: u64,
}

#[derive(ToSchema)]
pub(crate) struct Released {
    id: String,
    refund: Credits,
    seq: u64,
}
