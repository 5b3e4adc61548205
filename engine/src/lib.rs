//! The deterministic core of GoLLeM: order books, contracts and the ledger behind one function,
//! [`Engine::apply`], which turns an input into events.
//!
//! Holds: every rule of the market and every credit. Same inputs, same events, same
//! [`Engine::state_hash`], on every machine.
//!
//! Deliberately absent: I/O, clocks, randomness, floats, threads, hash-ordered iteration, JSON.
//! Time enters only as the stamp of an [`Input`]. Nothing here returns an error for a bad command:
//! a refusal is an [`Event::Rejected`] with its reason.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::wildcard_enum_match_arm, clippy::iter_over_hash_type)]

mod book;
mod command;
mod contract;
mod engine;
mod event;
mod ids;
mod instrument;
mod ledger;
pub mod limits;
mod money;
mod order;
mod payout;
mod trading;

pub use command::{Command, DecodeError, DeliveryReport, Input, NewOrder, Outcome};
pub use contract::Contract;
pub use engine::{Engine, StateHash};
pub use event::{CloseReason, Event, Expiry, Miss, OrderAnswer, RejectReason, Trade};
pub use ids::{AccountId, ClientOrderId, ContractId, InstrumentId, OrderId, PayoutId, Reference, Timestamp};
pub use instrument::{InstrumentField, InstrumentSpec, Symbol, TokenWeights};
pub use ledger::{Balance, LedgerAccount, Transfer, TransferCode};
pub use money::{ATOMS_PER_CENT, ATOMS_PER_CREDIT, Amount, Price, Quantity};
pub use order::{Attributes, Constraints, GpuClass, Order, Region, Side, Terms, TimeInForce};
pub use payout::Payout;

/// Unwraps a fact the engine itself maintains.
///
/// # Panics
/// When the fact does not hold: that is a bug, and stopping is the only safe answer.
#[expect(clippy::expect_used, reason = "the one place where a broken invariant stops the process")]
fn invariant<T>(value: Option<T>, rule: &str) -> T {
    value.expect(rule)
}
