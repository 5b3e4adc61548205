//! Views: how fast events are folded into RocksDB, all views together.
//!
//! An engine applies the flow `calls` a chunk at a time, outside of what is measured; then the chunk's events are folded and
//! written. The thread is pinned before the store is opened, so that RocksDB's own threads share its core, and time is the
//! processor time of the whole process less that of the engine: what one core gives. The wall's time stands beside it. Views that differ from the
//! engine at the end are a failure.

use crate::calls::{self, Workload};
use crate::kafka;
use crate::measure;
use crate::output::{self, grouped, row};
use anyhow::{Context, ensure};
use gollem_engine::{Engine, Event, Events, Input, InstrumentId, Side, Timestamp};
use gollem_projections::{Fold, Views};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Measures how fast events become views: all of them, into RocksDB, on one core.
///
/// Workload `calls` of `engine`: about 70% calls with their deliveries, 24% quotes and cancels, 6% purchases, payouts and
/// refused commands, a microsecond apart. Views are written after so many inputs as the projector does when it catches up.
///
/// Figures are only comparable within one run, or between runs on the same idle machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Commands whose events are folded, after about 1,100 of setup
    #[arg(long, value_name = "N", default_value_t = 400_000,
        value_parser = clap::value_parser!(u32).range(1..=20_000_000))]
    commands: u32,
    /// Seed of the flow
    #[arg(long, value_name = "S", default_value_t = 42)]
    seed: u64,
    /// Inputs between two writes
    #[arg(long, value_name = "N", default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    together: u32,
    /// Existing folder for the views; a temporary folder is made in it and removed afterwards
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Also measures publishing to the Kafka broker there, which must be empty (scripts/kafka.sh start --data ...)
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Prints a JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// The result; the names are the keys of the JSON object.
#[derive(Debug, Serialize)]
struct Measurement {
    bench: &'static str,
    workload: &'static str,
    seed: u64,
    commands: usize,
    together: u32,
    events: u64,
    events_per_s: u64,
    wall_events_per_s: u64,
    ns_per_event: u64,
    content_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kafka: Option<kafka::Measurement>,
}

/// Runs the benchmark and returns what to print.
///
/// # Errors
/// When the disk refuses, or the views differ from the engine.
pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    let workload = calls::generate(options.seed, options.commands as usize)?;
    let dir = tempfile::Builder::new().prefix("gollem-bench-").tempdir_in(&options.dir);
    let dir = dir.with_context(|| format!("cannot make a folder in {}", options.dir.display()))?;
    let mut measurement = measure::pinned(|| measured(options, &workload, &dir.path().join("views")))?;
    if let Some(brokers) = &options.kafka {
        measurement.kafka = Some(kafka::measure(brokers, options.seed, dir.path())?);
    }
    dir.close().context("cannot remove the temporary folder")?;
    if options.json { output::line(&measurement) } else { Ok(measurement.table()) }
}

/// What a chunk of inputs did.
#[derive(Debug, Default)]
struct Chunk {
    events: Vec<Event>,
    /// Position, time, and where its events end.
    inputs: Vec<(u64, Timestamp, usize)>,
}

impl Chunk {
    fn of(engine: &mut Engine, inputs: &[Input]) -> Chunk {
        let (mut chunk, mut events) = (Chunk::default(), Events::new());
        for input in inputs {
            events.clear();
            engine.apply(input, &mut events);
            chunk.events.extend_from_slice(&events);
            chunk.inputs.push((input.seq, input.at, chunk.events.len()));
        }
        chunk
    }

    fn fold(&self, fold: &mut Fold<'_>) -> anyhow::Result<()> {
        let mut from = 0;
        for (seq, at, to) in &self.inputs {
            fold.apply(*seq, *at, &self.events[from..*to])?;
            from = *to;
        }
        Ok(fold.flush()?)
    }
}

fn measured(options: &Options, workload: &Workload, dir: &Path) -> anyhow::Result<Measurement> {
    let views = Views::open(dir)?;
    let mut fold = Fold::new(&views)?;
    let mut engine = Engine::new();
    Chunk::of(&mut engine, &workload.setup).fold(&mut fold)?;
    let (started, started_wall) = (process_time()?, Instant::now());
    let (mut making, mut events) = (Duration::ZERO, 0);
    for inputs in workload.inputs.chunks(options.together as usize) {
        let began = measure::thread_time()?;
        let chunk = Chunk::of(&mut engine, inputs);
        making += measure::thread_time()?.saturating_sub(began);
        chunk.fold(&mut fold)?;
        events += chunk.events.len();
    }
    let processor = process_time()?.saturating_sub(started + making);
    let wall = started_wall.elapsed().saturating_sub(making);
    check(&views, &engine)?;
    Ok(Measurement {
        bench: "projections",
        workload: "calls",
        seed: options.seed,
        commands: workload.inputs.len(),
        together: options.together,
        events: events as u64,
        events_per_s: output::per_second(events, processor),
        wall_events_per_s: output::per_second(events, wall),
        ns_per_event: output::nanoseconds(processor) / events.max(1) as u64,
        content_hash: views.content_hash()?.1.to_string(),
        kafka: None,
    })
}

/// Processor time of all threads of this process.
fn process_time() -> anyhow::Result<Duration> {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).context("processor time is not negative")
}

/// The views show the engine's depth and balances.
fn check(views: &Views, engine: &Engine) -> anyhow::Result<()> {
    let reader = views.read()?;
    ensure!(reader.seq() == engine.last_seq(), "the views stop at {}", reader.seq());
    for side in [Side::Bid, Side::Ask] {
        let levels = reader.levels(InstrumentId(1), side, usize::MAX)?;
        let levels: Vec<_> = levels.iter().map(|level| (level.price, level.quantity, level.orders)).collect();
        ensure!(levels == engine.levels(InstrumentId(1), side), "the views' {side:?} depth is not the engine's");
    }
    for account in (1..=engine.accounts()).filter_map(|number| u32::try_from(number).ok()) {
        let account = gollem_engine::AccountId(account);
        ensure!(
            engine.balance(account) == Some(&reader.balance(account)?),
            "the views' {account:?} has another balance"
        );
    }
    Ok(())
}

impl Measurement {
    fn table(&self) -> String {
        let mut text = String::from("projections: all views into RocksDB, one core; compare within this run only\n");
        text += &row("workload", format!("{}, {} commands, seed {}", self.workload, self.commands, self.seed));
        text += &row("written together", format!("{} inputs", grouped(self.together.into())));
        text += &row("events", grouped(self.events));
        text += &row("events/s", format!("{} ({} ns each)", grouped(self.events_per_s), self.ns_per_event));
        text += &row("events/s by the wall", grouped(self.wall_events_per_s));
        text += &row("content hash", &self.content_hash);
        if let Some(kafka) = &self.kafka {
            text += &kafka.rows();
        }
        text
    }
}
