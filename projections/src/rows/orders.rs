//! Orders, locked quotes and contracts.

use bincode::{Decode, Encode};
use gollem_engine::{
    AccountId, Amount, CloseReason, ContractId, Event, Expiry, InstrumentId, KeyId, Order, OrderId, Outcome, Price,
    Quantity, Side, Timestamp, Tokens,
};

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum OrderStatus {
    /// Rests in the book.
    Open,
    /// Left the market.
    Closed(CloseReason),
}

/// When an order joined the back of its level's queue: of two at one price the lesser goes first. Input, event, and
/// which of those that one event moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Place {
    /// The input.
    pub seq: u64,
    /// Which of its events.
    pub index: u32,
    /// Which of the orders that the event moved.
    pub nth: u32,
}

/// An order with what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OrderRow {
    /// The order; price, quantity and `remaining` are kept up to date.
    pub order: Order,
    /// Where it stands.
    pub status: OrderStatus,
    /// Where it queues. None for one that is closed, or parked while its provider's breaker is not closed.
    pub place: Option<Place>,
    /// Units matched, including those that came back unused.
    pub filled: Quantity,
    /// What its fills cost or brought, in atoms.
    pub value: Amount,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl OrderRow {
    /// An order that was just accepted.
    pub fn accepted(order: &Order, at: Timestamp) -> OrderRow {
        OrderRow {
            order: *order,
            status: OrderStatus::Open,
            place: None,
            filled: Quantity(0),
            value: Amount::ZERO,
            created_at: at,
            updated_at: at,
        }
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.status == OrderStatus::Open
    }
}

/// A locked quote that is neither used nor released yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LockRow {
    /// Its number: the bid's, if it is used.
    pub id: OrderId,
    /// The API key that it was locked with; 0 for none in particular.
    pub key: KeyId,
    /// Who would deliver.
    pub provider: AccountId,
    /// Of what.
    pub instrument: InstrumentId,
    /// The ask.
    pub ask: OrderId,
    /// Atoms a unit.
    pub price: Price,
    /// Units.
    pub quantity: Quantity,
    /// What is reserved for them, the buyer's fee included.
    pub escrow: Amount,
    /// When it was locked.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// Whether a contract can still be drawn on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ContractStatus {
    /// It can.
    Open,
    /// It ended.
    Closed {
        /// Why.
        reason: Expiry,
        /// When.
        at: Timestamp,
        /// The input that ended it.
        seq: u64,
    },
}

/// What the deliveries of a contract come to, besides units and what each side has of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Delivered {
    /// Deliveries that served what was asked.
    pub completed: u32,
    /// Deliveries whose client left.
    pub abandoned: u32,
    /// Deliveries that failed.
    pub failed: u32,
    /// Deliveries that served, but for which more was claimed than was counted.
    pub overstated: u32,
    /// Prompt tokens, cached ones included.
    pub input_tokens: u64,
    /// Prompt tokens that came from the provider's cache.
    pub cached_input_tokens: u64,
    /// Generated tokens.
    pub output_tokens: u64,
    /// What the platform kept of the provider's part.
    pub provider_fee: Amount,
    /// What the platform took from the buyer on top.
    pub buyer_fee: Amount,
    /// What returned to the buyer because promises were broken.
    pub rebate: Amount,
    /// Measured milliseconds to the first token: the longest.
    pub first_token_ms: Option<u32>,
    /// Measured tokens a second: the fewest.
    pub throughput_tps: Option<u32>,
}

impl Delivered {
    /// Counts an [`Event::Delivered`] in, and no other event. None where it adds up to more than there can be.
    pub fn add(&mut self, event: &Event) -> Option<()> {
        let Event::Delivered { fee, buyer_fee, rebate, first_token_ms, throughput_tps, outcome, tokens, .. } = event
        else {
            return Some(());
        };
        let count = match outcome {
            Outcome::Completed => &mut self.completed,
            Outcome::Abandoned => &mut self.abandoned,
            Outcome::Failed => &mut self.failed,
            Outcome::Overstated => &mut self.overstated,
        };
        *count = count.checked_add(1)?;
        self.input_tokens = self.input_tokens.checked_add(tokens.input.into())?;
        self.cached_input_tokens = self.cached_input_tokens.checked_add(tokens.cached_input.into())?;
        self.output_tokens = self.output_tokens.checked_add(tokens.output.into())?;
        self.provider_fee.0 = self.provider_fee.0.checked_add(fee.0)?;
        self.buyer_fee.0 = self.buyer_fee.0.checked_add(buyer_fee.0)?;
        self.rebate.0 = self.rebate.0.checked_add(rebate.0)?;
        self.first_token_ms = self.first_token_ms.max(*first_token_ms);
        self.throughput_tps = self.throughput_tps.into_iter().chain(*throughput_tps).min();
        Some(())
    }
}

/// A contract with what was delivered on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ContractRow {
    /// Its number.
    pub id: ContractId,
    /// Who pays.
    pub buyer: AccountId,
    /// The buyer's API key that placed the bid; 0 for none in particular.
    pub key: KeyId,
    /// Who delivers.
    pub provider: AccountId,
    /// Of what.
    pub instrument: InstrumentId,
    /// The bid.
    pub bid: OrderId,
    /// The ask.
    pub ask: OrderId,
    /// The side that arrived; the other was resting.
    pub taker: Side,
    /// Atoms a unit.
    pub price: Price,
    /// Units traded.
    pub quantity: Quantity,
    /// Units delivered so far.
    pub delivered: Quantity,
    /// What those deliveries come to.
    pub sums: Delivered,
    /// What is reserved for what is not delivered, the buyer's fee included.
    pub escrow: Amount,
    /// What the provider earned, rebates taken off.
    pub earned: Amount,
    /// What the buyer paid, fees included, rebates taken off.
    pub paid: Amount,
    /// Milliseconds to the first token that the ask promised; 0 for no promise.
    pub latency_ms: u32,
    /// Tokens a second that it promised; 0 for no promise.
    pub throughput_tps: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// By which input.
    pub created_seq: u64,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub status: ContractStatus,
}

/// One settled delivery of a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DeliveryRow {
    /// The input that settled it.
    pub seq: u64,
    /// Which of its events.
    pub index: u32,
    /// When.
    pub at: Timestamp,
    /// Of which contract.
    pub contract: ContractId,
    /// Who paid.
    pub buyer: AccountId,
    /// Of what.
    pub instrument: InstrumentId,
    /// Units delivered.
    pub quantity: Quantity,
    /// What the provider earned, before the rebate.
    pub earned: Amount,
    /// What the platform kept of the provider's part.
    pub fee: Amount,
    /// What the platform took from the buyer on top.
    pub buyer_fee: Amount,
    /// What returned to the buyer because a promise was broken.
    pub rebate: Amount,
    /// Measured time to the first token in milliseconds.
    pub first_token_ms: Option<u32>,
    /// Measured tokens a second.
    pub throughput_tps: Option<u32>,
    /// How it ended.
    pub outcome: Outcome,
    /// What the units were counted from.
    pub tokens: Tokens,
}
