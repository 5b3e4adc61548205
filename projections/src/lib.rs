//! Views of the event stream: balances, transactions, orders, depth and instruments in RocksDB.
//!
//! Invariants: a view changes by folding events and in no other way; the watermark (the last input a view
//! reflects) is written in the same batch as the data; an input at or below it is dropped, a gap above it is never
//! skipped but filled from the journal. So a view's folder can be deleted at any time and is rebuilt.
//!
//! Deliberately absent: rules of the market, and anything a view would know that events do not say.

mod fold;
mod projector;
mod rows;
mod store;

pub use fold::Fold;
pub use projector::{CatchUpError, Projection, Projector, ProjectorError, View};
pub use rows::{InstrumentRow, LevelRow, OrderRow, OrderStatus, TransactionRow};
#[cfg(feature = "sim")]
pub use store::DumpedRow;
pub use store::{StoreError, Views};
