//! Views of the event stream in RocksDB: money, orders, contracts, depth, trades, candles, scorecards, usage.
//!
//! Invariants: a view changes by folding events and in no other way; the watermark (the last input a view
//! reflects) is written in the same batch as the data; an input at or below it is dropped, a gap above it is never
//! skipped but filled from the journal. So a view's folder can be deleted at any time and is rebuilt.
//!
//! Deliberately absent: rules of the market, and anything a view would know that events do not say.
//!
//! | module | idea |
//! |---|---|
//! | `rows`, `keys` | what is stored, and under which key |
//! | `fold` | events to rows |
//! | `table` | rows being changed, in memory |
//! | `store` | RocksDB: families, batches with their watermark, the hash of everything |
//! | `reader` | all queries on one snapshot |
//! | `queries`, `words` | every question and its JSON |
//! | `receipt` | what a settled contract came to, as text that is signed |
//! | `source` | every input in order from a pipeline in this process: its feed, or its journal |
//! | `projector`, `view` | the thread that folds them; what queries and metrics see of it |
//! | `kafka` | publishing them, and folding views from what was published |
//! | `server` | the HTTP server of `gollem-projector` |

pub mod calendar;
mod fold;
pub mod kafka;
mod keys;
mod progress;
mod projector;
pub mod queries;
mod reader;
mod receipt;
mod rows;
pub mod server;
mod source;
mod store;
mod table;
mod view;
pub mod words;

pub use fold::{Fold, add_to_balance};
pub use projector::{Projection, Projector, ProjectorError};
pub use reader::{INDEX_MINUTES, IndexPrice, Page, Reader, Totals, Used};
pub use receipt::{Receipt, ReceiptError, Said, word};
pub use rows::{
    BreakerRow, CANDLE_SECONDS, CandleRow, ContractRow, ContractStatus, Delays, Delivered, DeliveryRow, InstrumentRow,
    LevelRow, LockRow, Measured, ModelDayRow, OrderRow, OrderStatus, PayoutRow, PayoutStatus, Place, PoliciesRow,
    ScorecardRow, TradeRow, TransactionRow, UsageRow,
};
pub use source::{Inputs, InputsError, Take, Turn};
#[cfg(feature = "sim")]
pub use store::DumpedRow;
pub use store::{ContentHash, StoreError, Views};
pub use view::View;
