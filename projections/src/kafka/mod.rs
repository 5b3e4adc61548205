//! Kafka: publishing everything that happens, and building views from it elsewhere.
//!
//! | module | idea |
//! |---|---|
//! | `topics` | the topics, and creating them |
//! | `record` | what is written into them |
//! | `ends` | where the topics end: the publisher's memory |
//! | `in_flight` | what was sent and not yet acknowledged |
//! | `publisher` | the thread that follows the pipeline and publishes |
//! | `assembly` | inputs put together from records, in order and without a gap |
//! | `consumer` | the thread that folds views from `gollem.events` |
//!
//! Invariants: a record's position (input, event, leg) never goes back within a partition; a consumer drops what is at or
//! below the last position it took and is stopped by a gap. Exactly once rests on that alone: not on transactions, not on
//! committed offsets.

mod assembly;
mod consumer;
mod ends;
mod in_flight;
mod publisher;
mod record;
mod topics;

pub use consumer::{Consumer, ConsumerOptions};
pub use publisher::{IN_FLIGHT_INPUTS, Publisher, PublisherOptions, PublisherView};
pub use record::{
    DepthRecord, EventRecord, Ledger, LedgerRecord, PayoutRecord, PayoutState, Position, SCHEMA_VERSION, TradeRecord,
    schemas,
};
pub use topics::{DEPTH, EVENTS, LEDGER, PAYOUTS, TOPICS, TRADES, Topic};

use crate::source::InputsError;
use crate::store::StoreError;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::types::RDKafkaErrorCode;
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Why publishing, or reading what was published, does not go on. Most of it is tried again by itself.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The broker does not answer, or says no.
    #[error(transparent)]
    Client(#[from] rdkafka::error::KafkaError),
    /// The producer gave up on a record, so what was sent is uncertain.
    #[error("a record was not delivered: {0}")]
    Undelivered(String),
    /// A topic cannot be created: look at the broker's words, or create it by hand.
    #[error("cannot create topic {topic}: {code}")]
    Create {
        /// Which topic.
        topic: String,
        /// What the broker said.
        code: RDKafkaErrorCode,
    },
    /// A topic exists with other partitions. Delete all, or use another broker: keys would be in two places.
    #[error(
        "topic {topic} has {found} partitions instead of {expected}: delete all gollem.* topics, which are then published anew, or use another broker"
    )]
    Partitions {
        /// Which topic.
        topic: &'static str,
        /// How many it has.
        found: usize,
        /// How many it must have.
        expected: i32,
    },
    /// A topic was deleted while others were not. Delete all: alone it would be made anew without its beginning.
    #[error(
        "topic {topic} is gone, but gollem.events is there: delete all gollem.* topics, which are then published anew"
    )]
    Lost {
        /// Which topic.
        topic: &'static str,
    },
    /// The views were built from another exchange's events.
    #[error(
        "input {seq} in gollem.events is another than in the views: they are another exchange's; delete their folder, or name another with --data"
    )]
    ForeignViews {
        /// Which input.
        seq: u64,
    },
    /// A topic does not exist: has anything been published?
    #[error("there is no topic {topic}: nothing was published to this broker yet")]
    NoTopic {
        /// Which topic.
        topic: &'static str,
    },
    /// Somebody else writes into a topic.
    #[error("record {offset} of {topic} [{partition}] is none of ours: {why}")]
    Stray {
        /// Which topic.
        topic: &'static str,
        /// Which of its partitions.
        partition: i32,
        /// Which record.
        offset: i64,
        /// What is wrong with it.
        why: String,
    },
    /// The topics hold more than the journal. Either they belong to another exchange, or the journal lost inputs.
    #[error(
        "gollem.events ends at input {published}, the journal at {durable}: the topics are another exchange's, or the journal lost what was published"
    )]
    AheadOfJournal {
        /// The last input in the topic.
        published: u64,
        /// The last durable input.
        durable: u64,
    },
    /// The topics hold another history than the journal.
    #[error("input {seq} in gollem.events is another than in the journal: the topics are another exchange's")]
    Foreign {
        /// Which input.
        seq: u64,
    },
    /// An event names an instrument that was never listed.
    #[error("instrument {0} was never listed")]
    UnknownInstrument(u32),
    /// A record cannot be written as JSON.
    #[error("a record of {topic} cannot be written: {source}")]
    Json {
        /// Which topic.
        topic: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The views cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal cannot be read.
    #[error("{0}")]
    Journal(String),
    /// A thread cannot be started.
    #[error("a thread cannot be started: {0}")]
    Thread(io::Error),
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
}

impl From<InputsError<KafkaError>> for KafkaError {
    fn from(error: InputsError<KafkaError>) -> KafkaError {
        match error {
            InputsError::Taken(error) => error,
            error => KafkaError::Journal(error.to_string()),
        }
    }
}

/// A client whose words go to the log for those who look for them: that a broker is away is said elsewhere, and once.
#[derive(Debug)]
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

/// What every client has in common.
fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", "gollem")
        // A broker that comes back is found within a second.
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.nagle.disable", "true");
    config
}

/// Asks a thread to stop.
#[derive(Debug, Default)]
struct Stop(OnceLock<Instant>);

impl Stop {
    fn ask(&self) {
        self.0.get_or_init(Instant::now);
    }

    fn is_asked(&self) -> bool {
        self.0.get().is_some()
    }

    /// Whether it was asked so long ago.
    fn is_asked_since(&self, patience: Duration) -> bool {
        self.0.get().is_some_and(|asked| asked.elapsed() >= patience)
    }

    /// Waits, unless it is asked. Whoever asks unparks the thread.
    fn pause(&self, time: Duration) {
        if !self.is_asked() {
            std::thread::park_timeout(time);
        }
    }
}
