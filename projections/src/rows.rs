//! What the views store. Rows are bincode `legacy()`; a folder written by another version of these types is
//! recognised by `LAYOUT` and rebuilt.

use bincode::{Decode, Encode};
use gollem_engine::{
    Amount, CloseReason, InstrumentId, InstrumentSpec, InstrumentState, Order, Price, Quantity, Side, Timestamp,
    Transfer,
};

/// Raised whenever a row's type or a key's form changes.
pub(crate) const LAYOUT: u32 = 2;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum OrderStatus {
    /// Rests in the book.
    Open,
    /// Left the market.
    Closed(CloseReason),
}

/// An order with what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OrderRow {
    /// The order; price, quantity and `remaining` are kept up to date.
    pub order: Order,
    /// Where it stands.
    pub status: OrderStatus,
    /// Units matched, including those that came back unused.
    pub filled: Quantity,
    /// What its fills cost or brought, in atoms.
    pub value: Amount,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// One movement of an account's money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
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

/// Totals of a price level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LevelRow {
    /// Bid or ask.
    pub side: Side,
    /// Atoms a unit.
    pub price: Price,
    /// Units resting.
    pub quantity: Quantity,
    /// Orders resting.
    pub orders: u32,
}

/// A listed instrument.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct InstrumentRow {
    /// Its number.
    pub id: InstrumentId,
    /// Its contract specification; the reference price is kept up to date.
    pub spec: InstrumentSpec,
    /// Whether it takes orders.
    pub state: InstrumentState,
}
