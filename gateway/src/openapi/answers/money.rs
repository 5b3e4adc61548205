//! Accounts, balances, payouts and spending.

use super::{Credits, Dollars, Micros, Time};
use serde_json::Value;
use utoipa::ToSchema;

#[derive(ToSchema)]
pub(crate) struct Payout {
    #[schema(pattern = "^pay_[0-9]+$")]
    id: String,
    amount_usd: Dollars,
    /// `requested`, `sent`, `confirmed`, `failed`, or `returned` after it had been confirmed.
    status: String,
    requested_at: Time,
    requested_at_us: Micros,
    sent_at: Option<Time>,
    sent_at_us: Option<Micros>,
    ended_at: Option<Time>,
    ended_at_us: Option<Micros>,
}

#[derive(ToSchema)]
pub(crate) struct Payouts {
    payouts: Vec<Payout>,
    #[schema(required = true)]
    next_before: Option<String>,
    earned: Credits,
    payable_usd: Dollars,
    eligible: bool,
    threshold_usd: Dollars,
    automatic: bool,
    monthly: bool,
}

#[derive(ToSchema)]
pub(crate) struct PayoutMoved {
    id: String,
    amount_usd: Option<Dollars>,
    status: String,
    seq: u64,
}

#[derive(ToSchema)]
pub(crate) struct PayoutPolicySet {
    automatic: bool,
    monthly: bool,
    seq: u64,
}

#[derive(ToSchema)]
pub(crate) struct Balance {
    account: String,
    available: Credits,
    held: Credits,
    escrow: Credits,
    earned: Credits,
    payout_pending: Credits,
    owed: Credits,
    /// What the account could still reserve.
    remaining: Credits,
    overage_used: Credits,
    overage_cap: Credits,
    auto_renew: bool,
    unit: String,
}

#[derive(ToSchema)]
pub(crate) struct Transaction {
    id: String,
    seq: u64,
    at: Time,
    at_us: Micros,
    kind: String,
    debit: String,
    credit: String,
    amount: Credits,
}

#[derive(ToSchema)]
pub(crate) struct Transactions {
    transactions: Vec<Transaction>,
    #[schema(required = true)]
    next_before: Option<String>,
}

/// A spending window: what was spent in it, and with what is reserved.
#[derive(ToSchema)]
pub(crate) struct Window {
    minutes: u16,
    spent: Credits,
    committed: Credits,
    limit: Option<Credits>,
    remaining: Option<Credits>,
}

#[derive(ToSchema)]
pub(crate) struct Spending {
    windows: Vec<Window>,
    reserved: Credits,
    keys: Vec<Value>,
}

#[derive(ToSchema)]
pub(crate) struct AccountOpened {
    account: String,
    name: String,
    scopes: Vec<String>,
    /// Shown here and never again.
    api_key: String,
}

#[derive(ToSchema)]
pub(crate) struct Account {
    account: String,
    name: String,
    available: Credits,
    owed: Credits,
    credit_policy: Value,
    payout_policy: Value,
    endpoint: Option<String>,
    seq: u64,
    at: Time,
    at_us: Micros,
}

#[derive(ToSchema)]
pub(crate) struct Purchased {
    account: String,
    credits: Credits,
    reference: String,
    seq: u64,
    repeated: bool,
}
