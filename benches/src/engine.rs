//! The engine alone, on one thread and without a disk: commands a second, and the service time of each command.
//!
//! Two passes over the same inputs, each on a fresh engine. The first reads the clock twice in all; the second reads it
//! around each command, and what reading it costs is subtracted. Both must reach the state the generator reached.

use crate::book;
use crate::calls::{self, Workload};
use crate::measure::{self, Plan};
use crate::output::{self, grouped};
use anyhow::ensure;
use gollem_engine::{Engine, Events};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Measures the engine alone: one thread, no disk, no queue.
///
/// Prints commands a second of one pass without a look at the clock, then percentiles of the time each command takes
/// from a second pass; the median cost of reading the clock is subtracted from each. Workload `calls`: one instrument,
/// 64 accounts, about 1,000 resting orders; about 70% calls with their deliveries, 24% quotes and cancels, 6%
/// purchases, payouts and refused commands. The commands are generated beforehand.
///
/// With `--workload`, order files are replayed instead, by every engine of this program in turns: the bare book, which
/// does nothing but match, shows what the machine allows. An engine whose trades are not those the file expects is
/// refused.
///
/// Figures are only comparable within one run, or between runs on the same idle machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Commands to measure, after about 1,100 of setup
    #[arg(long, value_name = "N", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u32).range(1..=50_000_000))]
    commands: u32,
    /// Seed of the generator: the same seed gives the same commands and the same state hash
    #[arg(long, value_name = "S", default_value_t = 42)]
    seed: u64,
    /// Prints JSON objects, one a line, instead of a table
    #[arg(long)]
    json: bool,
    /// Replays this order file in the format `LOBWORK1`; can be given several times
    #[arg(long, value_name = "FILE", conflicts_with_all = ["commands", "seed"])]
    workload: Vec<PathBuf>,
    #[command(flatten)]
    plan: Plan,
}

/// The result; the names are the keys of the JSON object.
#[derive(Debug, Serialize)]
struct Measurement {
    bench: &'static str,
    engine: &'static str,
    workload: &'static str,
    seed: u64,
    commands: usize,
    commands_per_s: u64,
    p50_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    clock_ns: u64,
    trades: u64,
    mix: calls::Mix,
    state_hash: String,
}

/// Runs the benchmark and returns what to print.
///
/// # Errors
/// When a pass ends in another state than the generator did, or money was made or lost.
pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    if !options.workload.is_empty() {
        return book::run(&options.workload, options.plan, options.json);
    }
    let workload = calls::generate(options.seed, options.commands as usize)?;
    let took = whole_pass(&workload)?;
    let clock = measure::clock_cost();
    let times = timed_pass(&workload, clock)?;
    let measurement = Measurement {
        bench: "engine",
        engine: "gollem",
        workload: "calls",
        seed: options.seed,
        commands: workload.inputs.len(),
        commands_per_s: output::per_second(workload.inputs.len(), took),
        p50_ns: times.value_at_quantile(0.5),
        p99_ns: times.value_at_quantile(0.99),
        p999_ns: times.value_at_quantile(0.999),
        clock_ns: output::nanoseconds(clock),
        trades: workload.mix.trades,
        mix: workload.mix,
        state_hash: workload.state_hash.to_string(),
    };
    if options.json { output::line(&measurement) } else { Ok(measurement.table(workload.setup.len())) }
}

/// An engine with accounts, funds and a filled book.
fn prepared(workload: &Workload) -> Engine {
    let mut engine = Engine::new();
    for input in &workload.setup {
        engine.apply(input, &mut Events::new());
    }
    engine
}

/// All commands at once.
fn whole_pass(workload: &Workload) -> anyhow::Result<Duration> {
    let (mut engine, mut events) = (prepared(workload), Events::new());
    let started = Instant::now();
    for input in &workload.inputs {
        events.clear();
        engine.apply(input, &mut events);
        black_box(&events);
    }
    let took = started.elapsed();
    check(&engine, workload)?;
    Ok(took)
}

/// Each command by itself.
fn timed_pass(workload: &Workload, clock: Duration) -> anyhow::Result<Histogram<u64>> {
    let (mut engine, mut events) = (prepared(workload), Events::new());
    let mut times = output::histogram()?;
    for input in &workload.inputs {
        events.clear();
        let started = Instant::now();
        engine.apply(input, &mut events);
        let took = started.elapsed();
        black_box(&events);
        output::record(&mut times, took.saturating_sub(clock));
    }
    check(&engine, workload)?;
    Ok(times)
}

fn check(engine: &Engine, workload: &Workload) -> anyhow::Result<()> {
    ensure!(engine.state_hash() == workload.state_hash, "the same inputs gave another state: the engine has a bug");
    ensure!(engine.ledger_sum() == 0, "the ledger does not sum to zero: the engine has a bug");
    Ok(())
}

impl Measurement {
    fn table(&self, setup: usize) -> String {
        let commands = self.commands as u64;
        let mix = &self.mix;
        let shares = [
            ("calls", mix.calls),
            ("deliveries", mix.deliveries),
            ("quotes", mix.quotes),
            ("cancels", mix.cancels),
            ("purchases", mix.purchases),
            ("payouts", mix.payouts),
            ("refused", mix.refused),
        ];
        let shares = shares.map(|(name, count)| format!("{name} {}%", (count * 100 + commands / 2) / commands));
        let times = format!(
            "p50 {} ns, p99 {} ns, p99.9 {} ns (clock's {} ns subtracted)",
            grouped(self.p50_ns),
            grouped(self.p99_ns),
            grouped(self.p999_ns),
            self.clock_ns
        );
        let mut table = "the engine alone: one thread, no disk\n".to_owned();
        table +=
            &output::row("workload", format!("{}, seed {}, after {setup} commands of setup", self.workload, self.seed));
        table += &output::row("mix", shares.join(", "));
        table += &output::row("commands", grouped(commands));
        table += &output::row("commands/s", grouped(self.commands_per_s));
        table += &output::row("service time", times);
        table += &output::row("trades", grouped(self.trades));
        table += &output::row("state hash", &self.state_hash);
        table
    }
}
