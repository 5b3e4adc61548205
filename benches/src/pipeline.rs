//! The whole pipeline on a real folder: queue, matcher, journal, acknowledgement. In process, without HTTP.
//!
//! One run, in this order: half of the control; each closed loop on a fresh exchange; the open loops, one rate after the
//! other, on another; the other half of the control. Every exchange is stopped and recovered from its journal. A run
//! fails when a command is refused or not acknowledged, when the ledger does not sum to zero, or when the recovered
//! state is another.

use crate::control::Control;
use crate::flow::Flow;
use crate::generate::Shape;
use crate::open_loop;
use crate::output::{self, grouped, microseconds};
use anyhow::{Context, ensure};
use gollem_engine::Command;
use gollem_sequencer::{Answers, Port, Sequencer, Stages, SubmitError};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Commands that may wait for their answers.
const WINDOW: usize = 65_536;
/// Commands sent at once where they are sent together.
const TOGETHER: usize = 64;
/// How long a sender that is ahead leaves the processor to others.
const AHEAD_PAUSE: Duration = Duration::from_micros(100);
/// Open loop before the first that is measured.
const WARM_UP_SECONDS: usize = 1;
const SEED: u64 = 42;

/// Measures the durable pipeline in process: submit, match, write, sync, acknowledge.
///
/// Commands are the order flow that the engine is measured with (`gollem-bench engine`, shape `exchange`).
///
/// Closed loop: one thread sends as fast as 65,536 unanswered commands allow, first one command at a time, then 64 at
/// once; durable commands a second, journal bytes a command, and where the time went. Open loop, at each rate: commands
/// are due on a fixed schedule, and each one's time runs from when it was due to when its acknowledgement was received,
/// so a stall counts against every command it delayed. A second of it at the first rate goes before and is not measured:
/// the journal, just opened, still fills its next segment with zeros. Control: the median of 200 writes of 4 KiB with
/// fdatasync in the same folder, half before and half after, and the same with O_DIRECT and O_DSYNC. HTTP is not part.
///
/// Figures are only comparable within one run: compare them with the control, not with another machine or day.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Commands of each closed loop
    #[arg(long, value_name = "N", default_value_t = 8_000_000,
        value_parser = clap::value_parser!(u32).range(1..=20_000_000))]
    commands: u32,
    /// Commands a second of each open loop, separated by commas
    #[arg(long, value_name = "RATES", value_delimiter = ',', default_value = "1000,10000,100000,500000",
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
    /// Commands sent at once.
    together: usize,
    commands: usize,
    window: usize,
    durable_commands_per_s: u64,
    bytes_per_command: f64,
    group_commands_p50: u64,
    stages: Vec<Stage>,
}

#[derive(Debug, Serialize)]
struct Stage {
    stage: &'static str,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
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
    ack_p99_per_fdatasync: f64,
}

/// Runs the benchmark and returns what to print.
///
/// # Errors
/// When the disk refuses or the result is wrong; see the module.
pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    let dir = tempfile::Builder::new().prefix("gollem-bench-").tempdir_in(&options.dir);
    let dir = dir.with_context(|| format!("cannot make a folder in {}", options.dir.display()))?;
    let open_commands = options.rates.iter().map(|&rate| rate as usize * options.seconds as usize).sum::<usize>()
        + options.rates.first().map_or(0, |&rate| rate as usize * WARM_UP_SECONDS);
    crate::say(format_args!("making the order flow"));
    let flow = Flow::new(Shape::Exchange, SEED, (options.commands as usize).max(open_commands))?;
    let mut control = Control::new(dir.path())?;
    control.half()?;
    let mut closed = Vec::new();
    for together in [1, TOGETHER] {
        crate::say(format_args!("closed loop, {together} at once"));
        closed.push(closed_loop(&flow, options.commands as usize, together, dir.path())?);
    }
    let times = open_loops(&flow, &options.rates, options.seconds, dir.path())?;
    control.half()?;
    let opens: Vec<Open> =
        options.rates.iter().zip(&times).map(|(&rate, times)| Open::new(rate, times, control.p50_ns())).collect();
    dir.close().context("cannot remove the temporary folder")?;
    if options.json {
        let closed = closed.iter().map(output::line);
        return closed.chain(opens.iter().map(output::line)).collect();
    }
    let mut text = "the durable pipeline, in process; compare within this run only\n".to_owned();
    text += &closed.iter().map(Closed::rows).collect::<String>();
    text += &control.rows();
    text += &opens.iter().map(Open::row).collect::<String>();
    Ok(text)
}

/// One exchange, from its setup to the check of what it leaves.
struct Run {
    options: gollem_sequencer::Options,
    sequencer: Sequencer,
    port: Port,
    answers: Answers,
    sent: u64,
}

impl Run {
    /// Opens an exchange in a folder of its own and sends the flow's setup.
    fn start(flow: &Flow, dir: &Path) -> anyhow::Result<Run> {
        let options = gollem_sequencer::Options::new(dir.join("journal"));
        let sequencer = Sequencer::start(&options, 0, None, None).context("cannot start the pipeline")?;
        let (port, answers) = sequencer.ingress().port(WINDOW).context("the pipeline has stopped")?;
        let mut run = Run { options, sequencer, port, answers, sent: 0 };
        run.send_all(&flow.setup, 1)?;
        Ok(run)
    }

    /// Sends the commands as fast as the window allows; every one is acknowledged when it returns.
    fn send_all(&mut self, commands: &[Command], together: usize) -> anyhow::Result<Duration> {
        let Run { port, answers, sent, .. } = self;
        let count = commands.len();
        *sent += count as u64;
        let started = Instant::now();
        thread::scope(|scope| {
            let reader = scope.spawn(|| open_loop::take_answers(answers, count, |_| {}));
            send(port, commands, together)?;
            reader.join().map_err(|_| anyhow::anyhow!("the reading thread panicked"))?
        })?;
        Ok(started.elapsed())
    }

    /// Stops the exchange and recovers it from nothing but its journal.
    fn finish(self) -> anyhow::Result<()> {
        let stopped = self.sequencer.stop().context("the pipeline did not stop cleanly")?;
        let sum = stopped.engine.ledger_sum();
        ensure!(sum == 0, "the ledger sums to {sum} atoms, not to zero");
        let (sent, last_seq) = (self.sent, stopped.engine.last_seq());
        ensure!(last_seq == sent, "{sent} commands were acknowledged, but {last_seq} inputs are in the journal");
        let again = Sequencer::start(&self.options, last_seq, None, None).context("cannot recover")?;
        let again = again.stop().context("the recovered pipeline did not stop cleanly")?;
        ensure!(again.engine.state_hash() == stopped.engine.state_hash(), "the journal gives another state");
        std::fs::remove_dir_all(&self.options.journal_dir).context("cannot remove the journal")
    }
}

/// Sends everything, leaving the processor to the pipeline while it is behind.
fn send(port: &mut Port, commands: &[Command], together: usize) -> anyhow::Result<()> {
    for chunk in commands.chunks(together) {
        loop {
            let sent = match chunk {
                [command] => port.submit(command.clone()),
                chunk => port.submit_together(chunk.to_vec()),
            };
            match sent {
                Err(SubmitError::Overloaded) => thread::park_timeout(AHEAD_PAUSE),
                sent => break sent.context("a command was not accepted")?,
            }
        }
    }
    Ok(())
}

fn closed_loop(flow: &Flow, count: usize, together: usize, dir: &Path) -> anyhow::Result<Closed> {
    let mut run = Run::start(flow, dir)?;
    let status = run.sequencer.status();
    let bytes_before = status.journal_bytes();
    let took = run.send_all(&flow.commands[..count], together)?;
    let bytes = status.journal_bytes() - bytes_before;
    let stages = status.stages();
    run.finish()?;
    Ok(Closed {
        bench: "pipeline",
        measurement: "closed",
        together,
        commands: count,
        window: WINDOW,
        durable_commands_per_s: output::per_second(count, took),
        bytes_per_command: (bytes as f64 / count as f64 * 10.0).round() / 10.0,
        group_commands_p50: stages.group_inputs.value_at_quantile(0.5),
        stages: Stage::all(&stages),
    })
}

/// Times from due to acknowledged at one rate, on an exchange of its own in `dir`.
///
/// # Errors
/// When the disk refuses or the result is wrong.
pub(crate) fn open_loop_alone(rate: u32, seconds: u32, dir: &Path) -> anyhow::Result<Histogram<u64>> {
    let flow = Flow::new(Shape::Exchange, SEED, rate as usize * (seconds as usize + WARM_UP_SECONDS))?;
    let times = open_loops(&flow, &[rate], seconds, dir)?;
    times.into_iter().next().context("one rate gives one measurement")
}

/// All open loops on one exchange.
fn open_loops(flow: &Flow, rates: &[u32], seconds: u32, dir: &Path) -> anyhow::Result<Vec<Histogram<u64>>> {
    let Some(&first) = rates.first() else {
        return Ok(Vec::new());
    };
    let mut run = Run::start(flow, dir)?;
    let mut commands = flow.commands.as_slice();
    let mut measure = |rate: u32, seconds: usize| {
        crate::say(format_args!("open loop, {rate} a second for {seconds} s"));
        let (now, later) = commands.split_at(rate as usize * seconds);
        commands = later;
        run.sent += now.len() as u64;
        open_loop::measure(&mut run.port, &run.answers, now, rate)
    };
    measure(first, WARM_UP_SECONDS)?;
    let times: anyhow::Result<Vec<_>> = rates.iter().map(|&rate| measure(rate, seconds as usize)).collect();
    let times = times?;
    run.finish()?;
    Ok(times)
}

impl Stage {
    fn all(stages: &Stages) -> Vec<Stage> {
        let stage = |(stage, times): (&'static str, &Histogram<u64>)| {
            let at = |quantile| microseconds(times.value_at_quantile(quantile));
            Stage { stage, p50_us: at(0.5), p99_us: at(0.99), p999_us: at(0.999) }
        };
        stages.named().into_iter().map(stage).collect()
    }
}

impl Closed {
    fn rows(&self) -> String {
        let how = if self.together == 1 { "one at a time".to_owned() } else { format!("{} at once", self.together) };
        let loop_of = format!(
            "{} commands {how}, up to {} unanswered",
            grouped(self.commands as u64),
            grouped(self.window as u64)
        );
        let mut rows = output::row("closed loop", loop_of)
            + &output::row("durable commands/s", grouped(self.durable_commands_per_s))
            + &output::row("journal bytes/command", self.bytes_per_command.to_string())
            + &output::row("commands/group", format!("p50 {}", grouped(self.group_commands_p50)));
        for Stage { stage, p50_us, p99_us, p999_us } in &self.stages {
            rows +=
                &output::row(&format!("  {stage}"), format!("p50 {p50_us} us, p99 {p99_us} us, p99.9 {p999_us} us"));
        }
        rows
    }
}

impl Open {
    fn new(rate: u32, times: &Histogram<u64>, fdatasync_ns: u64) -> Open {
        let ratio = |quantile| {
            let times_as_long = times.value_at_quantile(quantile) as f64 / fdatasync_ns.max(1) as f64;
            (times_as_long * 100.0).round() / 100.0
        };
        Open {
            bench: "pipeline",
            measurement: "open",
            rate,
            commands: times.len(),
            p50_us: microseconds(times.value_at_quantile(0.5)),
            p99_us: microseconds(times.value_at_quantile(0.99)),
            p999_us: microseconds(times.value_at_quantile(0.999)),
            max_us: microseconds(times.max()),
            fdatasync_p50_us: microseconds(fdatasync_ns),
            ack_p50_per_fdatasync: ratio(0.5),
            ack_p99_per_fdatasync: ratio(0.99),
        }
    }

    fn row(&self) -> String {
        let label = format!("open loop, {}/s", grouped(u64::from(self.rate)));
        let times = format!(
            "p50 {} us ({} x fdatasync), p99 {} us ({} x), p99.9 {} us, max {} us",
            self.p50_us, self.ack_p50_per_fdatasync, self.p99_us, self.ack_p99_per_fdatasync, self.p999_us, self.max_us
        );
        output::row(&label, times)
    }
}
