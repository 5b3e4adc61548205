//! What the views store. Rows are bincode `legacy()`; a folder written by another version of these types is
//! recognised by `LAYOUT` and rebuilt. What is in a row's key is not in its bytes again, unless readers want both.

mod accounts;
mod market;
mod models;
mod orders;
mod providers;

pub use accounts::{PayoutRow, PayoutStatus, PoliciesRow, TransactionRow, UsageRow};
pub use market::{CANDLE_SECONDS, CandleRow, InstrumentRow, LevelRow, TradeRow};
pub use models::{Delays, ModelDayRow};
pub use orders::{ContractRow, ContractStatus, Delivered, DeliveryRow, LockRow, OrderRow, OrderStatus, Place};
pub use providers::{BreakerRow, Measured, ScorecardRow};

pub(crate) use accounts::Movement;

/// Raised whenever a row's type or a key's form changes.
pub(crate) const LAYOUT: u32 = 6;
