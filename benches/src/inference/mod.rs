//! Inference through the market: what a call costs beyond the same call straight to the model, measured in the same run at
//! the same rate, beside a bare proxy as the least that anything in between can cost.
//!
//! | module | idea |
//! |---|---|
//! | `load` | the client: open and closed loop |
//! | `scene` | the servers: mock model, bare proxy, exchange |
//! | `pass_through` | the bare proxy |
//! | `rivals` | other people's gateways |
//! | `overhead` | what the exchange itself says it took |
//! | `report` | the figures, as a table and as JSON |
//! | `soak` | many calls, and whether memory stays |
//!
//! For each rate, delay and shape of answer a new exchange is started; then all ways take turns, a second each, so that
//! what else goes on on the machine meets all of them. Client, model, proxy and exchange are processes on this one machine.

mod load;
mod overhead;
mod pass_through;
mod report;
mod rivals;
mod scene;
mod soak;

use crate::say;
use anyhow::{Context, ensure};
use load::{Call, Load, Shape, Times};
pub(crate) use pass_through::{PassThrough, pass_through};
use report::{Report, Run, Used};
use rivals::Rival;
use scene::{Market, Models, plain_calls};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Rates that are measured, in calls a second.
const RATES: [u32; 4] = [500, 1_000, 2_000, 5_000];
/// Rates beside rivals, which are slower.
const RIVAL_RATES: [u32; 2] = [100, 500];
/// Calls on each way before anything is measured: so long, so many at once besides those that the delay keeps open.
const WARM_UP: Duration = Duration::from_millis(200);
const WARM_UP_CLIENTS: usize = 8;

/// Measures calls through the market: what they take beyond the same calls straight to the model.
///
/// Open loop: calls are due on a fixed schedule, and each one's time runs from when it was due to the last byte of its
/// answer (`first`: to the first byte of its body), so that a stall counts against every call that was due meanwhile. `added`
/// is against the direct calls of the same run at the same percentile. The pass-through is a bare hyper proxy: what any
/// gateway takes at the least. Authentication, matching, holds, metering, settlement and the journal are always on.
///
/// `overhead` is what the exchange itself says that it took (`gollem_gateway_overhead_seconds` of its /metrics): it holds
/// neither the client's nor the model's time, and counts the short warm-up in. Closed loop: each client makes its next call
/// as soon as the last is answered. Memory is the exchange's resident set before and after the measured calls, CPU the
/// processor time of all its threads for each of them, which a noisy machine changes less than it does the times.
///
/// Client, model and exchange share this machine. Needs `gollem` and `gollem-provider` of the same build: make build.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Calls a second; repeat or separate by commas for several [default: 500,1000,2000,5000; with --rivals 100,500]
    #[arg(long, value_name = "R", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Vec<u32>,
    /// Seconds of each measurement
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Milliseconds that the model takes to its first token, one or several
    #[arg(long, value_name = "MS", value_delimiter = ',', default_values_t = [0, 50],
        value_parser = clap::value_parser!(u32).range(0..=10_000))]
    delay: Vec<u32>,
    /// Answers in one piece only
    #[arg(long, conflicts_with = "streamed")]
    plain: bool,
    /// Streamed answers only
    #[arg(long)]
    streamed: bool,
    /// Clients of the closed loop; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    clients: u32,
    /// Measures other people's gateways too, which are installed on first use (needs Python 3, npm and the network)
    #[arg(long)]
    rivals: bool,
    /// Instead of all this: so many calls of the closed loop through the exchange alone, and its memory after each tenth
    #[arg(long, value_name = "CALLS", conflicts_with_all = ["rate", "seconds", "rivals"],
        value_parser = clap::value_parser!(u64).range(1_000..))]
    soak: Option<u64>,
    /// Existing folder on the disk of the journal; a temporary folder is made in it and removed afterwards
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Prints one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// One combination of what is varied.
#[derive(Clone, Copy, Debug)]
struct Case {
    rate: u32,
    delay_ms: u32,
    shape: Shape,
}

/// A way to the model.
struct Way {
    name: String,
    calls: Vec<Arc<Call>>,
    times: Times,
}

/// Runs the benchmark and returns what to print.
///
/// # Errors
/// When a server does not start. Calls that fail are counted.
pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    let dir = tempfile::Builder::new().prefix("gollem-bench-").tempdir_in(&options.dir);
    let dir = dir.with_context(|| format!("cannot make a folder in {}", options.dir.display()))?;
    let (load, mut report) = (Load::new()?, Report::default());
    if let Some(calls) = options.soak {
        return soak::run(calls, options, &load, dir.path());
    }
    let installed = if options.rivals { rivals::install(&mut report.notes) } else { Vec::new() };
    for &delay_ms in &options.delay {
        let models = Models::start(delay_ms, dir.path())?;
        let rivals = rivals::start(&installed, models.direct, dir.path(), &load, &mut report.notes);
        for shape in options.shapes() {
            for rate in options.rates() {
                let case = Case { rate, delay_ms, shape };
                report.runs.extend(open_loop(case, &models, &rivals, &load, options, dir.path())?);
            }
            if options.clients > 0 && Some(&delay_ms) == options.delay.first() {
                let case = Case { rate: 0, delay_ms, shape };
                report.runs.extend(closed_loop(case, &models, &rivals, &load, options, dir.path())?);
            }
        }
    }
    dir.close().context("cannot remove the temporary folder")?;
    ensure!(report.headline().is_some(), "no call through the exchange was answered: {:?}", report.first_error());
    if options.json { report.json() } else { Ok(report.table()) }
}

impl Options {
    fn rates(&self) -> Vec<u32> {
        match (self.rate.is_empty(), self.rivals) {
            (false, _) => self.rate.clone(),
            (true, true) => RIVAL_RATES.to_vec(),
            (true, false) => RATES.to_vec(),
        }
    }

    fn shapes(&self) -> Vec<Shape> {
        let all = [(Shape::Plain, !self.streamed), (Shape::Streamed, !self.plain)];
        all.into_iter().filter_map(|(shape, wanted)| wanted.then_some(shape)).collect()
    }
}

/// All ways to the model, and the exchange of one of them.
fn ways(case: Case, models: &Models, rivals: &[Rival], dir: &Path) -> anyhow::Result<(Vec<Way>, Market)> {
    let market = Market::open(models.direct, case.shape, dir)?;
    let mut calls = vec![
        ("direct".to_owned(), plain_calls(models.direct, case.shape)?),
        ("pass-through".to_owned(), plain_calls(models.pass_through, case.shape)?),
        ("gollem".to_owned(), market.calls.clone()),
    ];
    for rival in rivals {
        calls.push((rival.name.to_owned(), rival.calls(case.shape)?));
    }
    let way = |(name, calls)| anyhow::Ok(Way { name, calls, times: Times::new()? });
    Ok((calls.into_iter().map(way).collect::<anyhow::Result<_>>()?, market))
}

/// Opens connections and gets everything going, without counting.
fn warm_up(ways: &[Way], case: Case, load: &Load) -> anyhow::Result<()> {
    let open = u64::from(case.rate) * u64::from(case.delay_ms) / 1_000;
    let clients = WARM_UP_CLIENTS + usize::try_from(open)?;
    for way in ways {
        load.closed(&way.calls, clients, WARM_UP, &mut Times::new()?);
    }
    Ok(())
}

fn open_loop(
    case: Case,
    models: &Models,
    rivals: &[Rival],
    load: &Load,
    options: &Options,
    dir: &Path,
) -> anyhow::Result<Vec<Run>> {
    let Case { rate, delay_ms, shape } = case;
    say(format_args!("{rate} {} calls a second, {delay_ms} ms to the first token", shape.name()));
    let (mut ways, market) = ways(case, models, rivals, dir)?;
    warm_up(&ways, case, load)?;
    let before = Used::by(&market)?;
    for _ in 0..options.seconds {
        for way in &mut ways {
            load.open(&way.calls, rate, rate as usize, &mut way.times);
        }
    }
    let mut runs: Vec<Run> = ways.iter().map(|way| Run::new(case, &way.name, &way.times, &ways[0].times)).collect();
    finish(&mut runs, &market, before, load)?;
    Ok(runs)
}

fn closed_loop(
    case: Case,
    models: &Models,
    rivals: &[Rival],
    load: &Load,
    options: &Options,
    dir: &Path,
) -> anyhow::Result<Vec<Run>> {
    let Case { delay_ms, shape, .. } = case;
    say(format_args!("{} clients, {} calls, {delay_ms} ms to the first token", options.clients, shape.name()));
    let (mut ways, market) = ways(case, models, rivals, dir)?;
    warm_up(&ways, case, load)?;
    let before = Used::by(&market)?;
    let (lasting, mut rates) = (Duration::from_secs(options.seconds.into()), Vec::new());
    for way in &mut ways {
        rates.push(load.closed(&way.calls, options.clients as usize, lasting, &mut way.times));
    }
    let mut runs: Vec<Run> = ways.iter().map(|way| Run::new(case, &way.name, &way.times, &ways[0].times)).collect();
    for (run, rate) in runs.iter_mut().zip(rates) {
        run.closed(options.clients, rate);
    }
    finish(&mut runs, &market, before, load)?;
    Ok(runs)
}

/// Adds what is known of the exchange alone.
fn finish(runs: &mut [Run], market: &Market, before: Used, load: &Load) -> anyhow::Result<()> {
    let page = load.get(&format!("http://{}/metrics", market.venue.address)).context("the exchange's metrics")?;
    let after = Used::by(market)?;
    for run in runs.iter_mut().filter(|run| run.is_gollem()) {
        run.exchange(overhead::read(&page), before, after);
    }
    Ok(())
}
