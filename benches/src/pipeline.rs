//! The whole pipeline on a real folder: queue, matcher, journal, acknowledgement. In process, without HTTP.
//!
//! One run, in this order: half of the control, setup, closed loop, a second of open loop that is not measured, open
//! loop at each rate, clean stop, a second start that recovers everything from the journal, the other half of the
//! control. A run fails when a command is refused or
//! not acknowledged, when the ledger does not sum to zero, or when the recovered state is another.

use crate::control::Control;
use crate::cycle::Cycle;
use crate::output::{self, grouped, microseconds};
use crate::{market, open_loop};
use anyhow::{Context, ensure};
use gollem_engine::{Command, StateHash};
use gollem_sequencer::{Ingress, PendingAck, Sequencer, SubmitError};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Commands of the closed loop that may wait for their answers.
const WINDOW: usize = 4_096;
/// Open loop before the first that is measured.
const WARM_UP_SECONDS: usize = 1;
const SEED: u64 = 42;

/// Measures the durable pipeline in process: submit, match, write, sync, acknowledge.
///
/// Closed loop: up to 4,096 commands wait for their answers at any time; durable commands a second and journal bytes a
/// command. Open loop, at each rate: commands are due on a fixed schedule, and each one's time runs from when it was
/// due to when its acknowledgement was received, so a stall counts against every command it delayed. A second of it at
/// the first rate goes before and is not measured: the journal, just opened, still fills its next segment with zeros,
/// which slows the disk again after each 64 MiB. Control: the
/// median of 200 writes of 4 KiB with fdatasync in the same folder, half before and half after. Commands: ask, matching
/// call, delivery, over and over; 64 accounts, one instrument. HTTP is not part of it.
///
/// Figures are only comparable within one run: compare them with the control, not with another machine or day.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Commands of the closed loop
    #[arg(long, value_name = "N", default_value_t = 200_000,
        value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    commands: u32,
    /// Commands a second of each open loop, separated by commas
    #[arg(long, value_name = "RATES", value_delimiter = ',', default_value = "1000,10000",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rates: Vec<u32>,
    /// Length of each open loop
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Existing folder on the disk to measure; a temporary folder is made in it and removed afterwards
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Prints one JSON object a measurement instead of a table
    #[arg(long)]
    json: bool,
}

/// The names are the keys of the JSON objects.
#[derive(Debug, Serialize)]
struct Closed {
    bench: &'static str,
    measurement: &'static str,
    commands: usize,
    window: usize,
    durable_commands_per_s: u64,
    bytes_per_command: f64,
}

#[derive(Debug, Serialize)]
struct Open {
    bench: &'static str,
    measurement: &'static str,
    rate: u32,
    commands: u64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    fdatasync_p50_us: f64,
    ack_p50_per_fdatasync: f64,
}

/// Runs the benchmark and returns what to print.
///
/// # Errors
/// When the disk refuses or the result is wrong; see the module.
pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    let dir = tempfile::Builder::new().prefix("gollem-bench-").tempdir_in(&options.dir);
    let dir = dir.with_context(|| format!("cannot make a folder in {}", options.dir.display()))?;
    let mut control = Control::new(dir.path())?;
    control.half()?;
    let (closed, times) = measure(options, dir.path())?;
    control.half()?;
    let fdatasync_ns = control.p50_ns();
    let opens: Vec<Open> =
        options.rates.iter().zip(&times).map(|(&rate, times)| Open::new(rate, times, fdatasync_ns)).collect();
    dir.close().context("cannot remove the temporary folder")?;
    if options.json {
        let mut text = output::line(&closed)?;
        for open in &opens {
            text += &output::line(open)?;
        }
        return Ok(text);
    }
    let mut text = "the durable pipeline, in process; compare within this run only\n".to_owned();
    text += &closed.rows();
    text += &output::row("4 KiB + fdatasync", format!("p50 {} us", microseconds(fdatasync_ns)));
    for open in &opens {
        text += &open.row();
    }
    Ok(text)
}

/// Runs both loops on one pipeline and checks what they leave.
fn measure(options: &Options, dir: &Path) -> anyhow::Result<(Closed, Vec<Histogram<u64>>)> {
    let journal = gollem_sequencer::Options::new(dir.join("journal"));
    let sequencer = Sequencer::start(&journal, 0, None, &mut |_, _, _| {}).context("cannot start the pipeline")?;
    let (ingress, status) = (sequencer.ingress(), sequencer.status());
    let mut cycle = Cycle::new(SEED);
    let setup = market::setup()?;
    let mut sent = setup.len() as u64;
    closed_loop(&ingress, setup)?;

    let commands = cycle.take(options.commands as usize);
    let (count, bytes_before) = (commands.len(), status.journal_bytes());
    let took = closed_loop(&ingress, commands)?;
    sent += count as u64;
    let bytes = status.journal_bytes() - bytes_before;
    let mut times = Vec::new();
    if let Some(&rate) = options.rates.first() {
        open_loop::measure(&ingress, cycle.take(rate as usize * WARM_UP_SECONDS), rate)?;
        sent += (rate as usize * WARM_UP_SECONDS) as u64;
    }
    for &rate in &options.rates {
        let count = rate as usize * options.seconds as usize;
        times.push(open_loop::measure(&ingress, cycle.take(count), rate)?);
        sent += count as u64;
    }

    let stopped = sequencer.stop().context("the pipeline did not stop cleanly")?;
    let sum = stopped.engine.ledger_sum();
    ensure!(sum == 0, "the ledger sums to {sum} atoms, not to zero");
    let last_seq = stopped.engine.last_seq();
    ensure!(last_seq == sent, "{sent} commands were acknowledged, but {last_seq} inputs are in the journal");
    ensure!(recovered(&journal, last_seq)? == stopped.engine.state_hash(), "the journal gives another state");
    let closed = Closed {
        bench: "pipeline",
        measurement: "closed",
        commands: count,
        window: WINDOW,
        durable_commands_per_s: output::per_second(count, took),
        bytes_per_command: (bytes as f64 / count as f64 * 10.0).round() / 10.0,
    };
    Ok((closed, times))
}

/// Sends the commands as fast as the window allows; every one is acknowledged when it returns.
fn closed_loop(ingress: &Ingress, commands: Vec<Command>) -> anyhow::Result<Duration> {
    let mut window = VecDeque::with_capacity(WINDOW);
    let started = Instant::now();
    for command in commands {
        if window.len() == WINDOW {
            wait_oldest(&mut window)?;
        }
        let answer = loop {
            match ingress.submit(command.clone()) {
                Err(SubmitError::Overloaded) => wait_oldest(&mut window)?,
                answer => break answer.context("a command was not accepted")?,
            }
        };
        window.push_back(answer);
    }
    while !window.is_empty() {
        wait_oldest(&mut window)?;
    }
    Ok(started.elapsed())
}

fn wait_oldest(window: &mut VecDeque<PendingAck>) -> anyhow::Result<()> {
    let oldest = window.pop_front().context("the queue is full although nothing waits in it")?;
    open_loop::check(&oldest.wait().context("a command was not acknowledged")?)
}

/// The state after a second start, which has nothing but the journal.
fn recovered(journal: &gollem_sequencer::Options, witnessed: u64) -> anyhow::Result<StateHash> {
    let sequencer = Sequencer::start(journal, witnessed, None, &mut |_, _, _| {}).context("cannot recover")?;
    let stopped = sequencer.stop().context("the recovered pipeline did not stop cleanly")?;
    Ok(stopped.engine.state_hash())
}

impl Closed {
    fn rows(&self) -> String {
        let window =
            format!("{} commands, up to {} unanswered", grouped(self.commands as u64), grouped(self.window as u64));
        output::row("closed loop", window)
            + &output::row("durable commands/s", grouped(self.durable_commands_per_s))
            + &output::row("journal bytes/command", self.bytes_per_command.to_string())
    }
}

impl Open {
    fn new(rate: u32, times: &Histogram<u64>, fdatasync_ns: u64) -> Open {
        let p50_ns = times.value_at_quantile(0.5);
        Open {
            bench: "pipeline",
            measurement: "open",
            rate,
            commands: times.len(),
            p50_us: microseconds(p50_ns),
            p99_us: microseconds(times.value_at_quantile(0.99)),
            p999_us: microseconds(times.value_at_quantile(0.999)),
            max_us: microseconds(times.max()),
            fdatasync_p50_us: microseconds(fdatasync_ns),
            ack_p50_per_fdatasync: (p50_ns as f64 / fdatasync_ns.max(1) as f64 * 100.0).round() / 100.0,
        }
    }

    fn row(&self) -> String {
        let label = format!("open loop, {}/s", grouped(u64::from(self.rate)));
        let times = format!(
            "p50 {} us ({} x fdatasync), p99 {} us, p99.9 {} us, max {} us",
            self.p50_us, self.ack_p50_per_fdatasync, self.p99_us, self.p999_us, self.max_us
        );
        output::row(&label, times)
    }
}
