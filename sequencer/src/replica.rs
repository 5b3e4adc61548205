//! A second engine that follows the journal: recovery, the audit tool and slow views all use it.

use gollem_engine::{Capacity, Command, DecodeError, Engine, Event, Events, Input, Timestamp};
use gollem_journal::Record;

/// An engine rebuilt record by record.
#[derive(Debug)]
pub struct Replica {
    engine: Engine,
    events: Events,
}

/// A durable record that is not an input of this version: a newer version wrote it. Use that version.
#[derive(Debug, thiserror::Error)]
#[error("record {seq} cannot be applied: {source}")]
pub struct ReplayError {
    /// Which record.
    pub seq: u64,
    source: DecodeError,
}

impl Default for Replica {
    fn default() -> Replica {
        Replica { engine: Engine::new(), events: Events::new() }
    }
}

impl Replica {
    /// A replica with memory set aside, for an engine that will go on.
    pub fn with_capacity(capacity: Capacity) -> Replica {
        Replica { engine: Engine::with_capacity(capacity), events: Events::new() }
    }

    /// A replica that goes on from that state.
    pub fn new(engine: Engine) -> Replica {
        Replica { engine, events: Events::new() }
    }

    /// Applies the next record and returns its events.
    ///
    /// # Errors
    /// When the payload is not a command of this version.
    pub fn apply(&mut self, record: &Record<'_>) -> Result<&[Event], ReplayError> {
        let command = Command::decode(record.payload).map_err(|source| ReplayError { seq: record.seq, source })?;
        self.events.clear();
        self.engine.apply(&Input { seq: record.seq, at: Timestamp(record.time_ns), command }, &mut self.events);
        Ok(&self.events)
    }

    /// The events of the record applied last.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The state so far.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Gives the state away.
    pub fn into_engine(self) -> Engine {
        self.engine
    }
}
