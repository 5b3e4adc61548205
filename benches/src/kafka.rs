//! Kafka: how fast everything is published, and how long after a command was due its events can be read.
//!
//! Both through the real parts: a journal, the publisher, a broker. For the rate, a journal that is there is published from
//! its beginning: reading it, applying it once more, encoding, sending, and the broker's acknowledgement of the last
//! record. For the lag, commands are sent on a fixed schedule, and a consumer of `gollem.events` notes when each record
//! came. A record's lag begins when its command was due, not when it could be sent (no coordinated omission).

use crate::calls::{self, Workload};
use crate::output::{self, grouped, microseconds, row};
use anyhow::{Context, ensure};
use gollem_engine::{Command, Engine};
use gollem_projections::kafka::{EVENTS, Publisher, PublisherOptions};
use gollem_sequencer::{Feed, Options, PendingAck, Sequencer, SubmitError};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;
use std::collections::VecDeque;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Commands that are published for the rate.
const COMMANDS: usize = 300_000;
/// Events a second at which the lag is measured.
const LAG_EVENTS_PER_S: u64 = 10_000;
/// How long it is.
const LAG_SECONDS: u64 = 20;
/// How long the broker may take for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// The result; the names are keys of the JSON object.
#[derive(Debug, Serialize)]
pub(crate) struct Measurement {
    published_events_per_s: u64,
    published_records_per_s: u64,
    lag_events_per_s: u64,
    lag_p50_us: f64,
    lag_p99_us: f64,
    lag_p999_us: f64,
    lag_max_us: f64,
}

/// Measures with the broker there, which must not hold anything of an exchange yet.
///
/// # Errors
/// When the broker does not answer in time or holds records already.
pub(crate) fn measure(brokers: &str, seed: u64, dir: &Path) -> anyhow::Result<Measurement> {
    let workload = calls::generate(seed, COMMANDS + COMMANDS / 2)?;
    let options = Options::new(dir.join("journal"));
    let (first, rest) = workload.inputs.split_at(COMMANDS);
    let events = fill(&options, &workload, first.len())?;
    let (feed, reader) = Feed::new(1_024, 20_000);
    let sequencer = Sequencer::start(&options, 0, Some(feed), None)?;
    let symbols = ask(&sequencer, |engine| engine.instruments().map(|(_, spec)| spec.symbol).collect())?;
    let publishing = PublisherOptions { brokers: brokers.to_owned(), replication: 1, symbols };
    let publisher = Publisher::start(publishing, reader, sequencer.status(), &options.journal_dir)?;
    let (published_events_per_s, published_records_per_s) = rate(&publisher, &sequencer, events)?;
    let inputs = sequencer.status().durable_seq();
    let commands_per_s = LAG_EVENTS_PER_S * inputs / events.max(1);
    let commands: Vec<Command> =
        rest.iter().take((commands_per_s * LAG_SECONDS) as usize).map(|input| input.command.clone()).collect();
    let lags = lag(brokers, &sequencer, commands, commands_per_s)?;
    sequencer.stop()?;
    publisher.stop();
    let at = |quantile| microseconds(lags.value_at_quantile(quantile));
    Ok(Measurement {
        published_events_per_s,
        published_records_per_s,
        lag_events_per_s: LAG_EVENTS_PER_S,
        lag_p50_us: at(0.5),
        lag_p99_us: at(0.99),
        lag_p999_us: at(0.999),
        lag_max_us: microseconds(lags.max()),
    })
}

/// Writes a journal, and returns how many events its inputs have.
fn fill(options: &Options, workload: &Workload, count: usize) -> anyhow::Result<u64> {
    let sequencer = Sequencer::start(options, 0, None, None)?;
    let commands = workload.setup.iter().chain(workload.inputs.iter().take(count)).map(|input| &input.command);
    let (mut pending, mut events) = (VecDeque::new(), 0);
    for command in commands {
        pending.push_back(submit(&sequencer, command)?);
        if pending.len() > 4_000 {
            events += answered(pending.pop_front())?;
        }
    }
    while !pending.is_empty() {
        events += answered(pending.pop_front())?;
    }
    sequencer.stop()?;
    Ok(events)
}

fn submit(sequencer: &Sequencer, command: &Command) -> anyhow::Result<PendingAck> {
    loop {
        match sequencer.ingress().submit(command.clone()) {
            Err(SubmitError::Overloaded) => thread::yield_now(),
            sent => break sent.context("a command was not accepted"),
        }
    }
}

/// How many events the answer has; an input that did nothing is one record too.
fn answered(pending: Option<PendingAck>) -> anyhow::Result<u64> {
    let Some(pending) = pending else { return Ok(0) };
    Ok(pending.wait().context("a command was not acknowledged")?.events().len().max(1) as u64)
}

/// Asks the engine.
fn ask<T: Send + 'static>(
    sequencer: &Sequencer,
    question: impl FnOnce(&Engine) -> T + Send + 'static,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(sequencer.ingress().inspect(question))?)
}

/// Events and records a second, from the first acknowledgement to that of everything.
fn rate(publisher: &Publisher, sequencer: &Sequencer, events: u64) -> anyhow::Result<(u64, u64)> {
    let (view, deadline) = (publisher.view(), Instant::now() + PATIENCE);
    let mut began = None;
    while view.published_seq() < sequencer.status().durable_seq() {
        ensure!(Instant::now() < deadline, "the broker does not take everything; does it hold another exchange's?");
        if began.is_none() && view.records() > 0 {
            began = Some((Instant::now(), view.records()));
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    let (began, before) = began.context("the broker holds all of this already: use one that is empty")?;
    let (took, records) = (began.elapsed(), view.records());
    let records_per_s = output::per_second((records - before) as usize, took);
    Ok((records_per_s * events / records.max(1), records_per_s))
}

/// Sends the commands on schedule, and returns how long after it was due each record could be read.
fn lag(
    brokers: &str,
    sequencer: &Sequencer,
    commands: Vec<Command>,
    commands_per_s: u64,
) -> anyhow::Result<hdrhistogram::Histogram<u64>> {
    let consumer = consumer_at_end(brokers)?;
    let count = commands.len();
    let (arrivals, sent) = thread::scope(|scope| {
        let reading = scope.spawn(|| read(&consumer, sequencer, count));
        let start = Instant::now() + Duration::from_millis(100);
        let (mut pending, mut sent) = (VecDeque::new(), Vec::with_capacity(count));
        for (number, command) in commands.iter().enumerate() {
            let due = start + Duration::from_nanos(number as u64 * 1_000_000_000 / commands_per_s);
            while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                thread::park_timeout(left);
            }
            pending.push_back((due, submit(sequencer, command)?));
        }
        for (due, pending) in pending {
            sent.push((pending.wait()?.seq, due));
        }
        let arrivals = reading.join().map_err(|_| anyhow::anyhow!("the reading thread panicked"))??;
        anyhow::Ok((arrivals, sent))
    })?;
    let mut lags = output::histogram()?;
    let mut next = sent.iter().peekable();
    for (seq, at) in arrivals {
        while next.next_if(|(sent, _)| *sent < seq).is_some() {}
        // Inputs in between are the exchange's own ticks.
        if let Some((_, due)) = next.peek().filter(|(sent, _)| *sent == seq) {
            output::record(&mut lags, at.saturating_duration_since(*due));
        }
    }
    ensure!(lags.len() >= count as u64, "some records did not come");
    Ok(lags)
}

fn consumer_at_end(brokers: &str) -> anyhow::Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "gollem-bench")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "100")
        .create()?;
    let (_, high) = consumer.fetch_watermarks(EVENTS.name, 0, PATIENCE)?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(EVENTS.name, 0, Offset::Offset(high))?;
    consumer.assign(&partitions)?;
    Ok(consumer)
}

/// When each record came, by its input, until all of `count` further inputs are there.
fn read(consumer: &BaseConsumer, sequencer: &Sequencer, count: usize) -> anyhow::Result<Vec<(u64, Instant)>> {
    let (mut arrivals, until) = (Vec::new(), sequencer.status().durable_seq() + count as u64);
    let (mut last, deadline) = (0, Instant::now() + PATIENCE);
    while last < until {
        ensure!(Instant::now() < deadline, "records stop at input {last} of {until}");
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let (message, now) = (message?, Instant::now());
        let headers = message.headers().context("a record without headers")?;
        let seq = headers.iter().find(|header| header.key == "seq").and_then(|header| header.value);
        last = std::str::from_utf8(seq.context("a record without seq")?)?.parse()?;
        arrivals.push((last, now));
    }
    // The rest of the last input may still come; what is there is enough.
    Ok(arrivals)
}

impl Measurement {
    /// Rows of a table.
    pub(crate) fn rows(&self) -> String {
        let mut text = row("published events/s", grouped(self.published_events_per_s));
        text += &row("published records/s", grouped(self.published_records_per_s));
        let lag = format!(
            "p50 {:.1}  p99 {:.1}  p99.9 {:.1}  max {:.1} ms",
            self.lag_p50_us / 1e3,
            self.lag_p99_us / 1e3,
            self.lag_p999_us / 1e3,
            self.lag_max_us / 1e3
        );
        text += &row(&format!("lag at {} events/s", grouped(self.lag_events_per_s)), lag);
        text
    }
}
