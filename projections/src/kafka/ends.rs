//! Where the topics end. The publisher keeps no note of its own: what is in the topics is what was published.

use super::record::Position;
use super::topics::{BROKER_PATIENCE, EVENTS, TOPICS, Topic};
use super::{KafkaError, Quiet, client};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Instant;

impl ConsumerContext for Quiet {}

/// The last position in each partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    positions: BTreeMap<(&'static str, i32), Position>,
    /// The last record of `gollem.events`: its position, and its input's time.
    pub(super) last_event: Option<(Position, u64)>,
}

impl Ends {
    /// Whether the partition has a record of that position already.
    pub(super) fn has(&self, topic: &Topic, partition: i32, position: Position) -> bool {
        self.positions.get(&(topic.name, partition)).is_some_and(|last| position <= *last)
    }

    /// The last input in `gollem.events`; 0 when it is empty.
    pub(super) fn seq(&self) -> u64 {
        self.last_event.map_or(0, |(position, _)| position.seq)
    }
}

/// Reads the last record of every partition.
///
/// # Errors
/// When the broker does not answer, or a last record is none of ours.
pub(super) fn look(brokers: &str) -> Result<Ends, KafkaError> {
    let mut config = client(brokers);
    config.set("group.id", "gollem-ends").set("enable.auto.commit", "false").set("fetch.wait.max.ms", "10");
    let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet)?;
    let mut wanted = TopicPartitionList::new();
    for topic in TOPICS {
        for partition in 0..topic.partitions {
            let (low, high) = consumer.fetch_watermarks(topic.name, partition, BROKER_PATIENCE)?;
            if high > low {
                wanted.add_partition_offset(topic.name, partition, Offset::Offset(high - 1))?;
            }
        }
    }
    let mut ends = Ends::default();
    if wanted.count() > 0 {
        consumer.assign(&wanted)?;
    }
    let deadline = Instant::now() + BROKER_PATIENCE;
    while ends.positions.len() < wanted.count() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(silent());
        }
        // Nothing may come early, too, when the client had something else to do.
        if let Some(message) = consumer.poll(left) {
            ends.note(&message?)?;
        }
    }
    Ok(ends)
}

/// That the broker gave no answer in time.
fn silent() -> KafkaError {
    KafkaError::Client(rdkafka::error::KafkaError::MessageConsumption(
        rdkafka::types::RDKafkaErrorCode::OperationTimedOut,
    ))
}

impl Ends {
    fn note(&mut self, message: &BorrowedMessage<'_>) -> Result<(), KafkaError> {
        let topic = TOPICS.iter().find(|topic| topic.name == message.topic());
        let Some(topic) = topic else { return Ok(()) };
        let stray = |why: String| KafkaError::Stray {
            topic: topic.name,
            partition: message.partition(),
            offset: message.offset(),
            why,
        };
        let position = position_of(message).ok_or_else(|| stray("it has no position in its headers".to_owned()))?;
        self.positions.insert((topic.name, message.partition()), position);
        if topic.name == EVENTS.name {
            let value = message.payload().unwrap_or_default();
            let stamp: Stamp = serde_json::from_slice(value).map_err(|error| stray(error.to_string()))?;
            self.last_event = Some((position, stamp.at_ns));
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Stamp {
    at_ns: u64,
}

/// The position in a record's headers.
fn position_of(message: &BorrowedMessage<'_>) -> Option<Position> {
    let headers = message.headers()?;
    let number = |name: &str| -> Option<u64> {
        let header = headers.iter().find(|header| header.key == name)?;
        std::str::from_utf8(header.value?).ok()?.parse().ok()
    };
    let leg = u8::try_from(number("leg").unwrap_or(0)).ok()?;
    Some(Position { seq: number("seq")?, index: u32::try_from(number("index")?).ok()?, leg })
}
