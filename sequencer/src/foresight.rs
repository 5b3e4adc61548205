//! What a command did, told to its sender before it is durable.
//!
//! For work that may turn out to have been for nothing, such as asking a provider while the journal syncs: the disk's time
//! then costs nobody any. Whoever has it tells nothing of it to anyone before the command's [`crate::Ack`] has come.

use gollem_engine::{Contract, Engine, Event, Timestamp};

/// What a command did. If the machine fails before the command is durable, it did nothing.
#[derive(Clone, Debug)]
pub struct Foresight {
    /// Its time.
    pub at: Timestamp,
    /// Everything that was done, in order.
    pub events: Vec<Event>,
    /// The contract that it traded last, if it is still open.
    pub contract: Option<Contract>,
}

impl Foresight {
    pub(crate) fn new(engine: &Engine, at: Timestamp, events: &[Event]) -> Foresight {
        let traded = events.iter().rev().find_map(|event| match event {
            Event::Traded(trade) => Some(trade.contract),
            _ => None,
        });
        Foresight { at, events: events.to_vec(), contract: traded.and_then(|id| engine.contract(id)).copied() }
    }
}
