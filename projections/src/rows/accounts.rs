//! What belongs to an account: its lines in the ledger, what it may spend and how it is paid.

use bincode::{Decode, Encode};
use gollem_engine::limits::GUARD_RAIL_MINUTES;
use gollem_engine::{Amount, CreditPolicy, PayoutId, PayoutPolicy, Timestamp, Transfer};

/// One movement of an account's money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionRow {
    /// The input that moved it.
    pub seq: u64,
    /// Which of the input's events.
    pub index: u32,
    /// When.
    pub at: Timestamp,
    /// What moved.
    pub transfer: Transfer,
}

/// A [`TransactionRow`] as it is stored: its position is its key.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(crate) struct Movement {
    pub(crate) at: Timestamp,
    pub(crate) transfer: Transfer,
}

/// What an account may spend and how it is paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct PoliciesRow {
    /// How far it may spend beyond its credits.
    pub credit: CreditPolicy,
    /// When its earnings are paid out without being asked for.
    pub payout: PayoutPolicy,
    /// The limit of each window of [`GUARD_RAIL_MINUTES`].
    pub guard_rails: [Option<Amount>; GUARD_RAIL_MINUTES.len()],
}

/// How far a payout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum PayoutStatus {
    /// It waits to be sent.
    Requested,
    /// The processor took it on.
    Sent,
    /// It reached the provider.
    Confirmed,
    /// It failed; the earnings returned.
    Failed,
    /// It was confirmed and came back later; it is earned again.
    Returned,
}

/// A payout to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PayoutRow {
    /// Its number.
    pub id: PayoutId,
    /// Whole cents.
    pub amount: Amount,
    /// How far it is.
    pub status: PayoutStatus,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// When it was sent, if it was marked so.
    pub sent_at: Option<Timestamp>,
    /// When it was confirmed, failed or came back: the latest of them.
    pub ended_at: Option<Timestamp>,
}

/// What an account used on a day (UTC) with one API key on one instrument. A request is one settled delivery, and counts
/// on the day of its settlement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct UsageRow {
    /// Settled deliveries.
    pub requests: u64,
    /// Prompt tokens, cached ones included.
    pub input: u64,
    /// Prompt tokens that providers served from their caches.
    pub cached_input: u64,
    /// Generated tokens.
    pub output: u64,
    /// Normalised tokens.
    pub units: u128,
    /// What they cost in atoms: fees included, rebates taken off.
    pub spent: i128,
    /// What the units would have cost in atoms at the instrument's reference price of that time, without fees.
    pub reference: i128,
}

impl UsageRow {
    /// What was saved against the reference price, in atoms; below zero when it cost more.
    pub fn savings(&self) -> i128 {
        self.reference - self.spent
    }

    /// Adds another row's figures.
    pub fn add(&mut self, other: &UsageRow) {
        self.requests += other.requests;
        self.input += other.input;
        self.cached_input += other.cached_input;
        self.output += other.output;
        self.units += other.units;
        self.spent += other.spent;
        self.reference += other.reference;
    }
}
