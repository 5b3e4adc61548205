//! `gollem-bench pareto`: what it costs to find and to take an ask when asks differ in price, latency and throughput.
//!
//! | module | idea |
//! |---|---|
//! | `cases` | the books and the bids that meet them |
//! | `exchange` | an engine full of asks, through its public interface |
//! | `phases` | what is measured, one command at a time |
//! | `check` | the right answers, by looking at every open order |
//!
//! Each book is built once. A sample of its answers is checked before and after it is measured; nothing is printed when
//! one is wrong. Every command is timed by itself on one pinned thread; what reading the clock costs is subtracted.
//! Deliveries, which keep the number of contracts small, are made outside of the measured time.

pub(crate) mod cases;
mod check;
mod exchange;
mod phases;
#[cfg(test)]
mod tests;

use crate::measure;
use crate::output::{self, grouped};
use crate::random::Random;
use anyhow::{Context, ensure};
use cases::{Case, Share};
use check::{PREFERENCES, Rows};
use exchange::{Ask, Exchange};
use gollem_engine::{NewOrder, Preference};
use phases::Tally;
use serde::Serialize;
use std::time::Duration;

/// The part of the finds that is made by each preference but price.
const PREFERENCE_PART: usize = 20;

/// Measures Pareto matching: finding, taking, placing and cancelling asks that differ in price, latency and throughput.
///
/// For each book and size: `find` asks which ask a bid would take, by each of the four preferences; `match` is an
/// immediate bid for one ask, `match-fok` one that is filled or killed; `cancel` takes a random ask out and `place`
/// puts one in, so that the book keeps its size; `best` posts and cancels an ask that dominates all others. `10%` is a
/// bid that a tenth of the asks could serve. Service times of single commands, the loop closed; commands a second are
/// of the time inside the engine. Bids come from 64 pairs of constraints for each share, so much of what they read is
/// in the caches.
///
/// A sample of all answers is compared with a search through all open orders. The default takes a minute or two.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many asks rest, separated by commas
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "1000,100000,1000000",
        value_parser = clap::value_parser!(u32).range(100..=3_900_000))]
    asks: Vec<u32>,
    /// Only this book; can be given several times
    #[arg(long, value_enum, value_name = "NAME")]
    case: Vec<Case>,
    /// Commands of each kind; of the slowest kinds fewer
    #[arg(long, value_name = "N", default_value_t = 20_000,
        value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    commands: u32,
    /// Seed of the generator: the same seed gives the same asks, bids and hashes
    #[arg(long, value_name = "S", default_value_t = 42)]
    seed: u64,
    /// Prints JSON objects, one a line, instead of a table
    #[arg(long)]
    json: bool,
}

/// The result; the names are the keys of the JSON object.
#[derive(Clone, Debug, Serialize)]
struct Measurement {
    engine: &'static str,
    workload: String,
    seed: u64,
    asks: usize,
    /// Of a million asks, how many a bid could take when the book was built.
    feasible_per_million: u64,
    commands: u64,
    commands_per_s: u64,
    p50_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    max_ns: u64,
    clock_ns: u64,
    trades: u64,
    quantity: u64,
    hash: String,
    #[serde(skip)]
    bids: &'static str,
    #[serde(skip)]
    kind: &'static str,
}

/// Runs the benchmark and returns what to print.
///
/// # Errors
/// When the engine finds or takes another ask than the best.
pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    let all = || measure::pinned(|| books(options));
    let mut text = String::new();
    for book in all()? {
        if options.json {
            for measurement in &book {
                text += &output::line(measurement)?;
            }
        } else {
            text += &table(&book);
        }
    }
    Ok(text)
}

fn books(options: &Options) -> anyhow::Result<Vec<Vec<Measurement>>> {
    let clock = measure::clock_cost();
    let cases = if options.case.is_empty() { Case::ALL.as_slice() } else { options.case.as_slice() };
    let mut books = Vec::new();
    for &asks in &options.asks {
        for &case in cases {
            let plan =
                Plan { case, asks: asks as usize, commands: options.commands as usize, seed: options.seed, clock };
            books.push(plan.measure().with_context(|| format!("book {} of {asks} asks", case.name()))?);
        }
    }
    Ok(books)
}

/// One book to measure.
#[derive(Clone, Copy, Debug)]
struct Plan {
    case: Case,
    asks: usize,
    commands: usize,
    seed: u64,
    clock: Duration,
}

/// The bids of a share.
#[derive(Debug)]
struct Flow {
    share: Share,
    bids: Vec<NewOrder>,
    feasible_per_million: u64,
}

impl Plan {
    fn measure(self) -> anyhow::Result<Vec<Measurement>> {
        let mut random = Random::new(self.seed ^ self.asks as u64);
        let asks: Vec<Ask> = (0..self.asks).map(|number| self.case.ask(&mut random, number)).collect();
        let mut exchange = Exchange::new(&asks)?;
        let rows = Rows::of(exchange.engine());
        let mut flows = Vec::new();
        for &share in self.case.shares() {
            let constraints = self.case.bids(&mut random, &asks, share);
            let bids: Vec<NewOrder> =
                constraints.into_iter().map(|constraints| exchange.bid(constraints, Preference::Price)).collect();
            rows.check_finds(exchange.engine(), &bids)?;
            let feasible_per_million = rows.feasible_per_million(&bids);
            flows.push(Flow { share, bids, feasible_per_million });
        }
        drop(rows);
        let mut measurements = Vec::new();
        for flow in &flows {
            measurements.extend(self.flow(&mut exchange, flow, &mut random)?);
        }
        if self.case.posts_best() {
            let tallies = phases::best_posts(&mut exchange, self.part(4), self.clock, &mut random)?;
            measurements.extend(tallies.map(|tally| self.measurement(&tally, "best", 0)));
        }
        self.check(&mut exchange, &flows)?;
        Ok(measurements)
    }

    /// Everything that is measured with the bids of one share.
    fn flow(self, exchange: &mut Exchange, flow: &Flow, random: &mut Random) -> anyhow::Result<Vec<Measurement>> {
        let part = self.case.part();
        let mut tallies = Vec::new();
        for preference in PREFERENCES {
            let part = if preference.1 == Preference::Price { part } else { part * PREFERENCE_PART };
            tallies.push(phases::finds(exchange, &flow.bids, preference, self.part(part), self.clock)?);
        }
        tallies.extend(phases::trades(exchange, self.case, &flow.bids, self.part(part), self.clock, random)?);
        tallies.push(phases::fills_or_kills(exchange, &flow.bids, self.part(part), self.clock)?);
        let named = |tally: &Tally| self.measurement(tally, flow.share.name, flow.feasible_per_million);
        Ok(tallies.iter().map(named).collect())
    }

    fn part(self, part: usize) -> usize {
        (self.commands / part).max(10)
    }

    /// Checks the book that is left when all is done.
    fn check(self, exchange: &mut Exchange, flows: &[Flow]) -> anyhow::Result<()> {
        let mut rows = Rows::of(exchange.engine());
        for flow in flows {
            rows.check_finds(exchange.engine(), &flow.bids)?;
            rows.check_trades(exchange, &flow.bids)?;
        }
        ensure!(exchange.engine().ledger_sum() == 0, "the ledger does not sum to zero: the engine has a bug");
        Ok(())
    }

    fn measurement(self, tally: &Tally, bids: &'static str, feasible_per_million: u64) -> Measurement {
        let (times, name) = (&tally.times, self.case.name());
        Measurement {
            engine: "gollem",
            workload: format!("pareto-{name}-{}-{bids}-{}", self.asks, tally.kind),
            seed: self.seed,
            asks: self.asks,
            feasible_per_million,
            commands: times.len(),
            commands_per_s: output::per_second(usize::try_from(times.len()).unwrap_or(usize::MAX), tally.took),
            p50_ns: times.value_at_quantile(0.5),
            p99_ns: times.value_at_quantile(0.99),
            p999_ns: times.value_at_quantile(0.999),
            max_ns: times.max(),
            clock_ns: output::nanoseconds(self.clock),
            trades: tally.trades,
            quantity: tally.quantity,
            hash: format!("{:016x}", tally.hash),
            bids,
            kind: tally.kind,
        }
    }
}

fn table(book: &[Measurement]) -> String {
    let Some(first) = book.first() else { return String::new() };
    let name = first.workload.split(&format!("-{}-", first.asks)).next().unwrap_or_default();
    let mut table = format!("{name}: {} asks, seed {}\n", grouped(first.asks as u64), first.seed);
    table += &format!(
        "  {:<6}{:<16}{:>9}{:>13}{:>12}{:>12}{:>12}{:>12}{:>9}\n",
        "bids", "what", "commands", "a second", "p50 ns", "p99 ns", "p99.9", "max", "trades"
    );
    for row in book {
        let numbers = [row.p50_ns, row.p99_ns, row.p999_ns].map(grouped);
        table += &format!(
            "  {:<6}{:<16}{:>9}{:>13}{:>12}{:>12}{:>12}{:>12}{:>9}\n",
            row.bids,
            row.kind,
            grouped(row.commands),
            grouped(row.commands_per_s),
            numbers[0],
            numbers[1],
            numbers[2],
            grouped(row.max_ns),
            grouped(row.trades),
        );
    }
    table + &output::row("clock", format!("its {} ns are subtracted", first.clock_ns))
}
