//! `gollem-bench peers`: our engines and other people's over the same order files, on the same core, in turns.
//!
//! | module | idea |
//! |---|---|
//! | `rivals` | which other engines there are, how their adapters are built and run |
//! | `table` | all figures and their ratios as one table |
//!
//! The rivals are ordinary dependencies of small adapters below `benches/peers`, which are built here on first use. An
//! adapter prints the same JSON line that our engines get. What each traded is compared with what had to be traded: our
//! own engines are refused when it differs, a rival's row says so.

pub(crate) mod rivals;
mod table;

use crate::bare::Bare;
use crate::generate::{self, Shape, Volume};
use crate::measure::{self, Measurement, Plan};
use crate::output;
use crate::workload::{Answer, Work};
use crate::{book, say};
use anyhow::Context;
use rivals::{Adapters, RIVALS, Rival};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// The order files of the reference set, which `--files` is expected to hold.
const REFERENCE_SET: [&str; 4] = ["ec1k", "steady2k", "churn", "deep1m"];
/// Rivals are slow, so their service times are taken from at most so many passes.
const RIVAL_LATENCY_PASSES: u32 = 2;

/// Measures this project's engines and other people's side by side.
///
/// Everything runs on one pinned thread of the same core over the same order files. The adapters of the others are
/// built first; this needs the network once, Maven and Java 17 for exchange-core, and cargo for the Rust books. What
/// cannot be built is skipped and the reason said. Takes about five minutes; only ratios within one run mean anything.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Folder with order files NAME.bin; without it the project's own shapes are generated and kept
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
    /// Names of order files, or of shapes without `--files` [default: all]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    workloads: Vec<String>,
    /// Prints one JSON object a measurement instead of a table
    #[arg(long)]
    json: bool,
    /// Seed of the generated files
    #[arg(long, value_name = "S", default_value_t = 42)]
    seed: u64,
    /// Measures at most so many operations of each file, after a warm-up of at most a fifth of them
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true,
        value_parser = clap::value_parser!(u64).range(1_000..))]
    limit_ops: u64,
    #[command(flatten)]
    plan: Plan,
}

/// One engine on one workload.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    measurement: Measurement,
    /// Whether it traded what a correct book trades.
    same_trades: bool,
}

/// All engines on one workload.
#[derive(Debug)]
struct Group {
    rows: Vec<Row>,
    /// Who was not measured, and why.
    skipped: Vec<String>,
}

/// Runs everything and returns what to print.
///
/// # Errors
/// When a file cannot be used, or one of our engines does not trade what it says.
pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    let files = order_files(options)?;
    let adapters = Adapters::build();
    let mut groups = Vec::new();
    for file in &files {
        groups.push(group(file, &adapters, options)?);
    }
    if !options.json {
        return Ok(table::table(&groups));
    }
    groups.iter().flat_map(|group| &group.rows).map(output::line).collect()
}

fn group(file: &Path, adapters: &Adapters, options: &Options) -> anyhow::Result<Group> {
    let name = book::name(file);
    say(format_args!("{name}: our engines"));
    let mut work = Work::read(file)?;
    if options.limit_ops < work.header.measured {
        limit(&mut work, options.limit_ops)?;
    }
    let ours = measure::measure(&book::subjects(), &name, &work, options.plan)?;
    let ours = ours.into_iter().map(|measurement| Row { measurement, same_trades: true });
    let mut group = Group { rows: ours.collect(), skipped: Vec::new() };
    for rival in RIVALS {
        say(format_args!("{name}: {}", rival.name));
        match measured(rival, file, &work, adapters, options) {
            Ok(row) => group.rows.push(row),
            Err(error) => {
                say(format_args!("{name}: {} is skipped: {error:#}", rival.name));
                group.skipped.push(format!("{}: {error:#}", rival.name));
            }
        }
    }
    Ok(group)
}

fn measured(rival: &Rival, file: &Path, work: &Work, adapters: &Adapters, options: &Options) -> anyhow::Result<Row> {
    let plan = Plan { latency_passes: options.plan.latency_passes.min(RIVAL_LATENCY_PASSES), ..options.plan };
    let limit_ops = options.limit_ops.min(rival.ops_max);
    rival.takes(work)?;
    let mut measurement = adapters.run(rival, file, limit_ops, plan)?;
    if limit_ops < work.header.measured {
        measurement.note = format!("first {} operations; {}", output::grouped(limit_ops), measurement.note);
    }
    let expected = expected(work, limit_ops)?;
    Ok(Row { same_trades: measurement.traded(expected), measurement })
}

/// What a correct book trades when at most so many operations are measured.
fn expected(work: &Work, limit_ops: u64) -> anyhow::Result<Answer> {
    if limit_ops >= work.header.measured {
        return Ok(work.header.answer);
    }
    let mut work = work.clone();
    limit(&mut work, limit_ops)?;
    Ok(work.header.answer)
}

/// Cuts the file; the bare book, which answers the whole file rightly, says what the rest must trade.
fn limit(work: &mut Work, ops: u64) -> anyhow::Result<()> {
    work.limit(ops);
    work.header.answer = measure::replay::<Bare>(&work.header, &work.ops)?;
    Ok(())
}

/// The files to replay; generates those that are missing when they are our own.
fn order_files(options: &Options) -> anyhow::Result<Vec<PathBuf>> {
    if let Some(dir) = &options.files {
        let all = REFERENCE_SET.map(str::to_owned).to_vec();
        let names = if options.workloads.is_empty() { all } else { options.workloads.clone() };
        return Ok(names.iter().map(|name| dir.join(format!("{name}.bin"))).collect());
    }
    let wanted = |shape: &Shape| options.workloads.is_empty() || options.workloads.iter().any(|it| it == shape.name());
    for name in &options.workloads {
        let known = Shape::ALL.iter().any(|shape| shape.name() == name);
        anyhow::ensure!(known, "there is no shape {name}; order files of that name need --files");
    }
    Shape::ALL.into_iter().filter(wanted).map(|shape| own_file(shape, options.seed)).collect()
}

fn own_file(shape: Shape, seed: u64) -> anyhow::Result<PathBuf> {
    let dir = rivals::target().join("files").join(format!("seed-{seed}"));
    let path = dir.join(format!("{}.bin", shape.name()));
    if !path.exists() {
        say(format_args!("{}: generated once, then kept", path.display()));
        fs::create_dir_all(&dir).with_context(|| format!("cannot make folder {}", dir.display()))?;
        let unfinished = path.with_extension("unfinished");
        generate::work(shape, seed, Volume::DEFAULT)?.write(&unfinished)?;
        fs::rename(&unfinished, &path).with_context(|| format!("cannot name {}", path.display()))?;
    }
    Ok(path)
}
