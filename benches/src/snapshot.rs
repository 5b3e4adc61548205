//! Snapshots: how long a large exchange takes to write its state into a file, durably, and to load it again.
//!
//! One market whose book holds all orders, evenly over 10,000 prices, none of which trade. Accounts place them in turns,
//! so that an account's orders lie far apart in the book: odd accounts sell, even ones buy and have bought credits for it.
//! One order of ten asks or promises something of its own and waits in an index. The engine has never taken its state
//! hash, so that writing has to take it of everything: the worst there is.
//!
//! Time is the wall clock's, since the disk counts. What is loaded must have the state that was written.

use crate::market::{self, FUNDS};
use crate::output::{self, grouped};
use crate::random::Random;
use anyhow::{Context, ensure};
use gollem_engine::{
    AccountId, Command, Constraints, Engine, Event, Events, Input, Preference, Terms, Timestamp, limits,
};
use serde::Serialize;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Prices on each side, and the lowest ask among all.
const REACH_TICKS: u64 = 5_000;
const MIDDLE_TICKS: u64 = 60_000;
/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

/// Measures writing a large state into a file and loading it.
///
/// Writing ends when the file is synced; loading comes from the page cache and ends with an engine whose state hash was
/// compared. Both are repeated, and their medians are printed with the best; each writes a new file.
///
/// Figures are only comparable within one run, or between runs on the same idle machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Open orders, at most 10,000 an account
    #[arg(long, value_name = "N", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u32).range(1..=limits::OPEN_ORDERS_MAX as i64))]
    orders: u32,
    /// Accounts
    #[arg(long, value_name = "N", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u32).range(1..=limits::ACCOUNTS_MAX as i64))]
    accounts: u32,
    /// Seed of the orders
    #[arg(long, value_name = "S", default_value_t = 42)]
    seed: u64,
    /// How often to write and load
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repetitions: u32,
    /// Existing folder for the file; a temporary folder is made in it and removed afterwards
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Prints one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// The result; the names are the keys of the JSON object.
#[derive(Debug, Serialize)]
struct Measurement {
    bench: &'static str,
    orders: u32,
    accounts: u32,
    seed: u64,
    bytes: u64,
    bytes_per_order: f64,
    bytes_per_account: f64,
    /// The medians, and the best.
    write_s: f64,
    load_s: f64,
    best_write_s: f64,
    best_load_s: f64,
    state_hash: String,
}

/// Runs the benchmark and returns what to print.
///
/// # Errors
/// When the disk refuses, or another state is loaded than was written.
pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    let dir = tempfile::Builder::new().prefix("gollem-bench-").tempdir_in(&options.dir);
    let dir = dir.with_context(|| format!("cannot make a folder in {}", options.dir.display()))?;
    let engine = build(options)?;
    let state_hash = engine.state_hash();
    let (mut writes, mut loads, mut bytes) = (Vec::new(), Vec::new(), 0);
    for repetition in 0..options.repetitions {
        let path = dir.path().join(format!("{repetition}.snapshot"));
        writes.push(write(&engine, &path).with_context(|| format!("cannot write {}", path.display()))?);
        bytes = path.metadata().context("the snapshot's length cannot be read")?.len();
        let (loaded, took) = load(&path)?;
        loads.push(took);
        let (state, orders) = (loaded.state_hash(), loaded.open_orders());
        ensure!(state == state_hash, "state {state_hash} was written and {state} was loaded");
        ensure!(orders == options.orders as usize, "{} orders were written and {orders} loaded", options.orders);
        std::fs::remove_file(&path).context("cannot remove a snapshot")?;
    }
    dir.close().context("cannot remove the temporary folder")?;
    let per = |count: u32| (bytes as f64 / f64::from(count) * 10.0).round() / 10.0;
    let ((write_s, best_write_s), (load_s, best_load_s)) = (seconds(writes), seconds(loads));
    let measurement = Measurement {
        bench: "snapshot",
        orders: options.orders,
        accounts: options.accounts,
        seed: options.seed,
        bytes,
        bytes_per_order: per(options.orders),
        bytes_per_account: per(options.accounts),
        write_s,
        load_s,
        best_write_s,
        best_load_s,
        state_hash: state_hash.to_string(),
    };
    if options.json { output::line(&measurement) } else { Ok(measurement.table()) }
}

/// An exchange with that many accounts and open orders.
fn build(options: &Options) -> anyhow::Result<Engine> {
    let mut filling = Filling { engine: Engine::new(), events: Events::new() };
    let listing = market::setup()?.into_iter().next().context("the setup lists the instrument first")?;
    filling.apply(listing)?;
    for account in 1..=options.accounts {
        filling.apply(Command::OpenAccount)?;
        if is_buyer(account) {
            filling.apply(market::purchase(AccountId(account), u64::from(account), FUNDS))?;
        }
    }
    let mut random = Random::new(options.seed);
    for order in 0..options.orders {
        filling.apply(resting(order % options.accounts + 1, &mut random))?;
    }
    let Filling { engine, .. } = filling;
    let open = engine.open_orders();
    ensure!(open == options.orders as usize, "{open} orders are open instead of {}", options.orders);
    Ok(engine)
}

/// An engine that gets input after input.
#[derive(Debug)]
struct Filling {
    engine: Engine,
    events: Events,
}

impl Filling {
    fn apply(&mut self, command: Command) -> anyhow::Result<()> {
        let seq = self.engine.last_seq() + 1;
        self.events.clear();
        self.engine.apply(&Input { seq, at: Timestamp(seq), command }, &mut self.events);
        let refused = self.events.iter().find(|event| matches!(event, Event::Rejected(_)));
        ensure!(refused.is_none(), "input {seq} was refused: {refused:?}");
        Ok(())
    }
}

fn is_buyer(account: u32) -> bool {
    account.is_multiple_of(2)
}

/// An order that trades with none of the others.
fn resting(account: u32, random: &mut Random) -> Command {
    let (away, quantity) = (random.below(REACH_TICKS), random.between(1, 10));
    let special = random.below(10) == 0;
    let (latency_ms, throughput_tps) = (random.between_u32(100, 900), random.between_u32(10, 90));
    if is_buyer(account) {
        let max_latency_ms = special.then_some(latency_ms);
        let constraints = Constraints { max_latency_ms, ..Constraints::default() };
        let terms = Terms::Bid { constraints, preference: Preference::Price, single: false };
        return market::quote(AccountId(account), MIDDLE_TICKS - 1 - away, quantity, terms);
    }
    let terms = if special { market::ask(latency_ms, throughput_tps) } else { market::ask(400, 60) };
    market::quote(AccountId(account), MIDDLE_TICKS + away, quantity, terms)
}

fn write(engine: &Engine, path: &Path) -> std::io::Result<Duration> {
    let started = Instant::now();
    let mut file = File::create(path)?;
    engine.write_snapshot(&mut file)?;
    file.sync_all()?;
    Ok(started.elapsed())
}

fn load(path: &Path) -> anyhow::Result<(Engine, Duration)> {
    let started = Instant::now();
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let engine = Engine::read_snapshot(&mut BufReader::with_capacity(READ_BYTES, file))?;
    Ok((engine, started.elapsed()))
}

/// Median and best in seconds.
fn seconds(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let rounded = |took: &Duration| (took.as_secs_f64() * 10_000.0).round() / 10_000.0;
    (rounded(&times[times.len() / 2]), rounded(&times[0]))
}

impl Measurement {
    fn table(&self) -> String {
        let size = format!(
            "{} MB, {} bytes an order, {} an account",
            grouped(self.bytes / 1_000_000),
            self.bytes_per_order,
            self.bytes_per_account
        );
        let state = format!("{} open orders, {} accounts", grouped(self.orders.into()), grouped(self.accounts.into()));
        let times = |median: f64, best: f64| format!("{median} s, best {best} s");
        "a snapshot of a large exchange; compare within this run only\n".to_owned()
            + &output::row("state", state)
            + &output::row("file", size)
            + &output::row("write and sync", times(self.write_s, self.best_write_s))
            + &output::row("load, page cache warm", times(self.load_s, self.best_load_s))
            + &output::row("state hash", &self.state_hash)
    }
}
