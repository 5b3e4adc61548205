//! How the exchange is doing.

use serde_json::Value;
use utoipa::ToSchema;

#[derive(ToSchema)]
pub(crate) struct Health {
    status: String,
    durable_seq: u64,
    view_seq: u64,
    view_lag: u64,
}

#[derive(ToSchema)]
pub(crate) struct Alive {
    status: String,
}

#[derive(ToSchema)]
pub(crate) struct Ready {
    status: String,
    /// Each check by name.
    checks: Value,
}

#[derive(ToSchema)]
pub(crate) struct State {
    last_seq: u64,
    ledger_sum: i64,
    state_hash: String,
    journal_bytes: u64,
}

#[derive(ToSchema)]
pub(crate) struct Views {
    seq: u64,
    hash: String,
}
