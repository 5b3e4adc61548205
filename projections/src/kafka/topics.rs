//! The topics: how each is laid out, and creating those that are missing.
//!
//! None is compacted: every record is a fact, and keys repeat.

use super::{KafkaError, Quiet, client};
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::Client;
use rdkafka::types::RDKafkaErrorCode;
use std::time::Duration;

/// How long a broker may take to answer a question about itself: a stop may have to wait for that.
pub(super) const BROKER_PATIENCE: Duration = Duration::from_secs(3);
/// How long it may take to create the topics.
const CREATE_PATIENCE: Duration = Duration::from_secs(15);

/// One topic.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// Into how many partitions its keys are spread. Order holds within one.
    pub partitions: i32,
    /// How long records are kept, in milliseconds; -1 for ever.
    pub retention_ms: i64,
}

/// A week.
const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

const fn topic(name: &'static str, partitions: i32, retention_ms: i64) -> Topic {
    Topic { name, partitions, retention_ms }
}

/// Every event, in one order: the source of views. Keyed by instrument or account where an event has one.
pub const EVENTS: Topic = topic("gollem.events", 1, -1);
/// Trades, by instrument.
pub const TRADES: Topic = topic("gollem.trades", 4, -1);
/// New totals of price levels, by instrument.
pub const DEPTH: Topic = topic("gollem.depth", 4, WEEK_MS);
/// Both legs of every transfer, by account.
pub const LEDGER: Topic = topic("gollem.ledger", 4, -1);
/// What becomes of payouts, by account.
pub const PAYOUTS: Topic = topic("gollem.payouts", 1, -1);

/// All of them.
pub const TOPICS: [&Topic; 5] = [&EVENTS, &TRADES, &DEPTH, &LEDGER, &PAYOUTS];

impl Topic {
    /// The partition of a key, as Java's default partitioner finds it.
    pub fn partition_of(&self, key: &[u8]) -> i32 {
        let partitions = self.partitions.unsigned_abs();
        let partition = (murmur2(key) & 0x7fff_ffff) % partitions.max(1);
        partition.cast_signed()
    }

    fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", self.retention_ms.to_string()),
            ("retention.bytes", "-1".to_owned()),
            // Stamps never go back: after a clock that ran ahead they lie in the broker's future for a while.
            ("message.timestamp.after.max.ms", i64::MAX.to_string()),
        ]
    }
}

/// Kafka's hash of keys.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ (bytes.len() as u32);
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// Creates the topics that are missing, with so many copies, and makes sure that the others have the partitions they must
/// have: a key's records would else be in two places.
///
/// # Errors
/// When the broker does not answer or refuses, a topic has other partitions, or was deleted while the others were not.
pub(super) fn ensure<C: ClientContext>(asked: &Client<C>, brokers: &str, replication: i32) -> Result<(), KafkaError> {
    // Asked for all topics: a question for one by name may create it.
    let known = asked.fetch_metadata(None, BROKER_PATIENCE)?;
    let mut missing = Vec::new();
    for topic in TOPICS {
        match known.topics().iter().find(|found| found.name() == topic.name) {
            None => missing.push(topic),
            Some(found) if found.partitions().len() != topic.partitions.unsigned_abs() as usize => {
                return Err(KafkaError::Partitions {
                    topic: topic.name,
                    found: found.partitions().len(),
                    expected: topic.partitions,
                });
            }
            Some(_) => {}
        }
    }
    let Some(lost) = missing.first() else { return Ok(()) };
    // Where the events end says what is in the other topics: one that is made anew beside them would lack its beginning.
    if !missing.iter().any(|topic| topic.name == EVENTS.name)
        && asked.fetch_watermarks(EVENTS.name, 0, BROKER_PATIENCE)?.1 > 0
    {
        return Err(KafkaError::Lost { topic: lost.name });
    }
    create(brokers, &missing, replication)
}

fn create(brokers: &str, missing: &[&'static Topic], replication: i32) -> Result<(), KafkaError> {
    let admin: AdminClient<Quiet> = client(brokers).create_with_context(Quiet)?;
    let settings: Vec<_> = missing.iter().map(|topic| topic.settings()).collect();
    let wanted: Vec<_> = missing
        .iter()
        .zip(&settings)
        .map(|(topic, settings)| {
            let new = NewTopic::new(topic.name, topic.partitions, TopicReplication::Fixed(replication));
            settings.iter().fold(new, |new, (name, value)| new.set(name, value))
        })
        .collect();
    let options = AdminOptions::new().request_timeout(Some(CREATE_PATIENCE)).operation_timeout(Some(CREATE_PATIENCE));
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(KafkaError::Thread)?;
    for created in runtime.block_on(admin.create_topics(&wanted, &options))? {
        match created {
            Ok(name) => tracing::info!(topic = name, "created in Kafka"),
            // Someone else was faster; the next look says whether it is as it must be.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(KafkaError::Create { topic, code }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_java() {
        // From the tests of Kafka's own client (UtilsTest.testMurmur2).
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        assert_eq!(murmur2(b"abc").cast_signed(), 479_470_107);
    }

    #[test]
    fn every_partition_gets_some_account() {
        let mut found = [false; 4];
        for account in 1..50 {
            found[LEDGER.partition_of(format!("acc_{account}").as_bytes()) as usize] = true;
        }
        assert_eq!(found, [true; 4]);
        assert_eq!(EVENTS.partition_of(b"anything"), 0);
    }
}
