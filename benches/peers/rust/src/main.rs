//! Measures one other Rust order book over an order file and prints one JSON line.
//!
//! The measuring is the very code that measures our engines: `measure` and the order file's reader come from the
//! benches. Only what a rival trades is not held against the file here, since some of them cannot follow every
//! operation: the line says what it traded, and `gollem-bench peers` compares.

#[expect(dead_code, reason = "shared with gollem-bench, which uses all of it")]
#[path = "../../../src/measure.rs"]
mod measure;
#[expect(dead_code, reason = "shared with gollem-bench, which uses all of it")]
#[path = "../../../src/output.rs"]
mod output;
#[expect(dead_code, reason = "shared with gollem-bench, which uses all of it")]
#[path = "../../../src/workload.rs"]
mod workload;

mod known;
mod lobster_book;
mod matchcore_book;
mod orderbook_rs_book;

use clap::Parser;
use lobster_book::Lobster;
use matchcore_book::Matchcore;
use measure::{Passes, Plan, Subject};
use orderbook_rs_book::OrderBookRs;
use std::io::{self, Write};
use std::path::PathBuf;
use workload::Work;

/// One engine, one order file, one line.
#[derive(Debug, Parser)]
struct Options {
    /// The engine's name
    engine: String,
    /// The order file
    file: PathBuf,
    /// The workload's name
    workload: String,
    /// Measured operations at most; the warm-up shrinks with them
    #[arg(long, default_value_t = u64::MAX)]
    limit_ops: u64,
    #[command(flatten)]
    plan: Plan,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    match options.engine.as_str() {
        Lobster::NAME => run::<Lobster>(&options, lobster_book::NOTE),
        Matchcore::NAME => run::<Matchcore>(&options, matchcore_book::NOTE),
        OrderBookRs::NAME => run::<OrderBookRs>(&options, orderbook_rs_book::NOTE),
        other => anyhow::bail!("there is no engine {other}"),
    }
}

fn run<S: Subject>(options: &Options, note: &str) -> anyhow::Result<()> {
    let mut work = Work::read(&options.file)?;
    work.limit(options.limit_ops);
    work.header.answer = measure::replay::<S>(&work.header, &work.ops)?;
    for mut measurement in measure::measure(&[Passes::of::<S>()], &options.workload, &work, options.plan)? {
        measurement.note = note.to_owned();
        io::stdout().write_all(output::line(&measurement)?.as_bytes())?;
    }
    Ok(())
}
