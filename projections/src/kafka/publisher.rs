//! The thread that publishes: it follows the pipeline as a view does, and sends what it gets to the topics.
//!
//! Protocol:
//! - At most [`IN_FLIGHT_INPUTS`] inputs are sent and not yet acknowledged, over all topics. So with E the last input in
//!   `gollem.events`, everything at or below E - [`IN_FLIGHT_INPUTS`] is in every topic.
//! - A start, and whatever goes wrong, begins with a look at the last record of each partition. From E -
//!   [`IN_FLIGHT_INPUTS`] on, each partition is sent what is above its own last position, and nothing else.
//! - The look is repeated until two agree, so that what a producer before had sent has arrived. Nothing is sent before the
//!   journal was seen to hold the last published input.
//! - The producer is idempotent and never gives up: what it sends arrives in order and once.
//!
//! The thread has the lowest priority and a feed of its own. A broker that is slow or gone lets it fall behind, and then it
//! reads the journal: the pipeline keeps nothing for it but a bounded backlog.
//!
//! Known limit: a producer that was killed while the broker stood still for longer than the looks take may still be heard
//! after them. Consumers drop such repeated records by their positions, as they must anyway.

use super::ends::{Ends, look};
use super::in_flight::{InFlight, Told};
use super::record::{Encoder, Record, SCHEMA_VERSION};
use super::topics::{LEDGER, ensure};
use super::{KafkaError, Stop, client};
use crate::source::{Inputs, Turn};
use crossbeam_channel::Receiver;
use gollem_engine::{Event, Symbol, Timestamp};
use gollem_journal::FileStorage;
use gollem_sequencer::{Released, Status};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Most inputs that are sent and not yet acknowledged: what a restart looks through again. An answer takes some
/// milliseconds, in which about a thousand are sent.
pub const IN_FLIGHT_INPUTS: u64 = 2_048;

/// How long records wait for others to travel with them.
const LINGER_MS: &str = "5";
/// How long the thread waits for inputs before it looks at what was acknowledged.
const QUIET: Duration = Duration::from_millis(20);
/// Time between two looks at the topics' ends.
const SETTLE: Duration = Duration::from_millis(300);
/// Longest pause after something went wrong; the first is a hundredth of it.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// How long a stop goes on publishing what there is, and waits for what is on its way.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// How often a broker that seemed away is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Where and what to publish.
#[derive(Clone, Debug)]
pub struct PublisherOptions {
    /// Brokers to begin with: `HOST:PORT`, several with commas.
    pub brokers: String,
    /// Copies of each topic that is created.
    pub replication: i32,
    /// Names of the instruments that are listed, in the order of their numbers.
    pub symbols: Vec<Symbol>,
}

/// The running thread.
#[derive(Debug)]
pub struct Publisher {
    thread: JoinHandle<()>,
    stop: Arc<Stop>,
    view: PublisherView,
}

/// How far publishing is; clone it freely.
#[derive(Clone, Debug, Default)]
pub struct PublisherView(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    published_seq: AtomicU64,
    records: AtomicU64,
    restarts: AtomicU64,
    gaps: AtomicU64,
    is_up: AtomicBool,
}

impl PublisherView {
    /// Everything up to this input was acknowledged in every topic; 0 while it is not known.
    pub fn published_seq(&self) -> u64 {
        self.0.published_seq.load(Ordering::Acquire)
    }

    /// Records acknowledged since the start.
    pub fn records(&self) -> u64 {
        self.0.records.load(Ordering::Relaxed)
    }

    /// How often publishing had to begin anew.
    pub fn restarts(&self) -> u64 {
        self.0.restarts.load(Ordering::Relaxed)
    }

    /// How often the publisher fell so far behind that it read the journal.
    pub fn gaps(&self) -> u64 {
        self.0.gaps.load(Ordering::Relaxed)
    }

    /// Whether the broker takes records, as far as is known.
    pub fn is_up(&self) -> bool {
        self.0.is_up.load(Ordering::Relaxed)
    }

    /// Inputs at or below this one are not needed for publishing any more.
    pub fn passed(&self) -> u64 {
        self.published_seq().saturating_sub(IN_FLIGHT_INPUTS)
    }
}

impl Publisher {
    /// Starts the thread, for the pipeline that has that feed, that status and that journal. It needs no broker to start,
    /// and ends by itself when the feed's sender is gone.
    ///
    /// # Errors
    /// When the thread cannot start.
    pub fn start(
        options: PublisherOptions,
        feed: Receiver<Arc<Released>>,
        status: Status,
        journal_dir: &Path,
    ) -> std::io::Result<Publisher> {
        let (stop, view) = (Arc::new(Stop::default()), PublisherView::default());
        let inputs = Inputs::new("kafka", feed, status, FileStorage::new(journal_dir), 0);
        let encoder = Encoder::new(options.symbols.clone());
        let mut publishing = Publishing { options, inputs, encoder, stop: Arc::clone(&stop), view: view.clone() };
        let thread = Builder::new().name("publisher".to_owned()).spawn(move || {
            if let Err(error) = rustix::process::setpriority_process(None, 19) {
                tracing::warn!(%error, "the publisher could not be given the lowest priority");
            }
            publishing.run();
        })?;
        Ok(Publisher { thread, stop, view })
    }

    /// How far it is.
    pub fn view(&self) -> PublisherView {
        self.view.clone()
    }

    /// Publishes what there is, for two seconds at the most, and ends; the pipeline must be gone. What is left is published
    /// after the next start.
    pub fn stop(self) {
        self.stop.ask();
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the publisher panicked");
        }
    }
}

/// What the thread owns.
#[derive(Debug)]
struct Publishing {
    options: PublisherOptions,
    inputs: Inputs,
    /// Knows the instruments of all that it ever encoded, so it outlives producers.
    encoder: Encoder,
    stop: Arc<Stop>,
    view: PublisherView,
}

impl Publishing {
    fn run(&mut self) {
        let mut said = String::new();
        let mut failures = 0_u32;
        loop {
            let began = Instant::now();
            let ended = self.publish();
            self.view.0.is_up.store(false, Ordering::Relaxed);
            match ended {
                Ok(()) | Err(KafkaError::Stopped) => return,
                Err(error) => {
                    let why = error.to_string();
                    if why != said {
                        tracing::error!(
                            error = why,
                            "Kafka: publishing is interrupted; the exchange goes on, and publishing will when it can"
                        );
                        said = why;
                    }
                }
            }
            self.view.0.restarts.fetch_add(1, Ordering::Relaxed);
            failures = if began.elapsed() > BACKOFF_MAX { 0 } else { (failures + 1).min(100) };
            self.stop.pause(BACKOFF_MAX * failures / 100);
            if self.stop.is_asked() {
                return;
            }
        }
    }

    /// Publishes until the pipeline or the broker is gone.
    fn publish(&mut self) -> Result<(), KafkaError> {
        let flight = Arc::new(InFlight::default());
        let producer = producer(&self.options.brokers, Told(Arc::clone(&flight)))?;
        ensure(producer.client(), &self.options.brokers, self.options.replication)?;
        let ends = self.settled()?;
        let (last, durable) = (ends.seq(), self.inputs.durable_seq());
        if last > durable {
            return Err(KafkaError::AheadOfJournal { published: last, durable });
        }
        self.recognise(&ends)?;
        let from = last.saturating_sub(IN_FLIGHT_INPUTS);
        tracing::info!(brokers = self.options.brokers, from, last, "Kafka: publishing");
        self.inputs.seek(from);
        let mut sender = Sender {
            producer,
            flight,
            ends,
            encoder: &mut self.encoder,
            stop: Arc::clone(&self.stop),
            view: self.view.clone(),
            asked: Instant::now(),
        };
        sender.flight.set_connected(true);
        loop {
            let turn = self.inputs.turn(QUIET, &mut |seq, at, events| sender.input(seq, at, events));
            let turn = turn?;
            self.view.0.gaps.store(self.inputs.gaps(), Ordering::Relaxed);
            sender.look_around(self.inputs.position())?;
            if turn == Turn::Ended || self.stop.is_asked_since(STOP_PATIENCE) {
                return sender.finish(self.inputs.position());
            }
        }
    }

    /// Makes sure that the topics are this journal's, before anything is sent: their last input has the same time in both.
    fn recognise(&mut self, ends: &Ends) -> Result<(), KafkaError> {
        let Some((last, at_ns)) = ends.last_event else { return Ok(()) };
        let mut found = None;
        self.inputs.seek(last.seq.saturating_sub(1));
        while self.inputs.position() < last.seq {
            let turn = self.inputs.turn(QUIET, &mut |seq, at, _| {
                found = found.or(Some(at.0).filter(|_| seq == last.seq));
                Ok::<(), KafkaError>(())
            });
            if turn? == Turn::Ended {
                return Err(KafkaError::Stopped);
            }
        }
        if found == Some(at_ns) { Ok(()) } else { Err(KafkaError::Foreign { seq: last.seq }) }
    }

    /// Where the topics end, once that stands still.
    fn settled(&self) -> Result<Ends, KafkaError> {
        let mut ends = look(&self.options.brokers)?;
        loop {
            self.stop.pause(SETTLE);
            if self.stop.is_asked() {
                return Err(KafkaError::Stopped);
            }
            let again = look(&self.options.brokers)?;
            if again == ends {
                return Ok(ends);
            }
            ends = again;
        }
    }
}

fn producer(brokers: &str, told: Told) -> Result<BaseProducer<Told>, KafkaError> {
    let mut config = client(brokers);
    config
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", LINGER_MS)
        .set("message.timeout.ms", "0")
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", "262144")
        .set("batch.num.messages", "10000");
    Ok(config.create_with_context(told)?)
}

/// One producer's life.
struct Sender<'a> {
    producer: BaseProducer<Told>,
    flight: Arc<InFlight>,
    ends: Ends,
    encoder: &'a mut Encoder,
    stop: Arc<Stop>,
    view: PublisherView,
    /// When a broker that seemed away was asked last.
    asked: Instant,
}

impl Sender<'_> {
    /// Sends an input's records, once there is room in flight.
    fn input(&mut self, seq: u64, at: Timestamp, events: &[Event]) -> Result<(), KafkaError> {
        while self.flight.len() as u64 >= IN_FLIGHT_INPUTS {
            self.wait()?;
        }
        self.flight.begin(seq);
        let Sender { producer, flight, ends, encoder, stop, .. } = self;
        encoder.encode(seq, at, events, &mut |record| {
            if ends.has(record.topic, record.partition, record.position) {
                return Ok(());
            }
            send(producer, flight, record, stop)?;
            flight.sent();
            Ok(())
        })?;
        self.flight.complete(seq);
        Ok(())
    }

    /// Hears what was acknowledged; fails when something went wrong or it is time to stop.
    fn wait(&mut self) -> Result<(), KafkaError> {
        self.producer.poll(Duration::from_millis(1));
        self.tell();
        if self.stop.is_asked_since(STOP_PATIENCE) {
            return Err(KafkaError::Stopped);
        }
        self.flight.failure().map_or(Ok(()), |why| Err(KafkaError::Undelivered(why)))
    }

    /// Between two turns: hears what there is to hear.
    fn look_around(&mut self, position: u64) -> Result<(), KafkaError> {
        self.producer.poll(Duration::ZERO);
        self.published(position);
        self.tell();
        // When nothing is sent, nothing tells that the broker is back.
        if !self.flight.is_connected() && self.flight.len() == 0 && self.asked.elapsed() >= ASK_EVERY {
            let answered = self.producer.client().fetch_metadata(None, ASK_EVERY).is_ok();
            self.flight.set_connected(answered);
            self.asked = Instant::now();
        }
        self.flight.failure().map_or(Ok(()), |why| Err(KafkaError::Undelivered(why)))
    }

    /// Lets what is on its way arrive.
    fn finish(&mut self, position: u64) -> Result<(), KafkaError> {
        self.stop.ask();
        while self.flight.len() > 0 && !self.stop.is_asked_since(STOP_PATIENCE) {
            self.producer.poll(Duration::from_millis(5));
        }
        self.published(position);
        self.tell();
        Ok(())
    }

    /// Everything before the first input in flight is published; all that was taken, if none is.
    fn published(&self, position: u64) {
        let seq = self.flight.first().map_or(position, |first| first - 1);
        self.view.0.published_seq.store(seq, Ordering::Release);
    }

    fn tell(&self) {
        self.view.0.records.fetch_add(self.flight.take_records(), Ordering::Relaxed);
        self.view.0.is_up.store(self.flight.is_connected(), Ordering::Relaxed);
    }
}

/// Hands a record to the producer, waiting for room in its queue.
fn send(producer: &BaseProducer<Told>, flight: &InFlight, record: &Record<'_>, stop: &Stop) -> Result<(), KafkaError> {
    let mut digits = [Digits::default(), Digits::default()];
    digits[0].write(record.position.seq);
    digits[1].write(record.position.index.into());
    let header = |key, value| Header { key, value: Some(value) };
    let mut headers = OwnedHeaders::new_with_capacity(5)
        .insert(header("seq", digits[0].bytes()))
        .insert(header("index", digits[1].bytes()))
        .insert(header("kind", record.kind.as_bytes()))
        .insert(header("schema", SCHEMA_VERSION.as_bytes()));
    if record.topic.name == LEDGER.name {
        let leg: &[u8] = if record.position.leg == 0 { b"0" } else { b"1" };
        headers = headers.insert(header("leg", leg));
    }
    let at_ms = i64::try_from(record.at.0 / 1_000_000).unwrap_or(i64::MAX);
    let mut message = BaseRecord::with_opaque_to(record.topic.name, record.position.seq as usize)
        .partition(record.partition)
        .payload(record.value)
        .timestamp(at_ms)
        .headers(headers);
    if !record.key.is_empty() {
        message = message.key(record.key);
    }
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => message = back,
            Err((error, _)) => return Err(error.into()),
        }
        producer.poll(Duration::from_millis(1));
        if stop.is_asked_since(STOP_PATIENCE) {
            return Err(KafkaError::Stopped);
        }
        if let Some(why) = flight.failure() {
            return Err(KafkaError::Undelivered(why));
        }
    }
}

/// A number in decimal text.
#[derive(Default)]
struct Digits {
    bytes: [u8; 20],
    len: usize,
}

impl Digits {
    fn write(&mut self, number: u64) {
        let mut rest = self.bytes.as_mut_slice();
        // Twenty digits hold any number.
        write!(rest, "{number}").ok();
        self.len = 20 - rest.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
