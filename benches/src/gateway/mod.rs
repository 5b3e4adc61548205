//! The exchange as its users meet it: the real binary over loopback, orders over REST and WebSocket, market data, idle
//! connections. The pipeline's own
//! acknowledgement, in process at the same rate, is part of the run: what is above it is the gateway's.
//!
//! Sender and exchange share the machine; figures compare within one run.

mod fan_out;
mod http;
mod idle;
mod orders;
mod rest;
mod socket;
pub(crate) mod venue;

use crate::output::{self, grouped, microseconds};
use crate::pipeline;
use anyhow::Context;
use hdrhistogram::Histogram;
use rest::Traders;
use serde::Serialize;
use std::path::PathBuf;
use venue::Venue;

/// Commands before anything is measured.
const WARM_UP: usize = 2_000;

/// Measures the exchange over HTTP: the real binary, orders over REST and WebSocket, acknowledged when durable.
///
/// Closed loop: each connection sends its next command as soon as the last is answered. Open loop: commands are due on a
/// fixed schedule, and each one's time runs from when it was due. Each command is an order that rests or its cancel, each
/// connection an account. The pipeline alone, in process at the same rate, is measured in the same run. WebSocket: orders
/// with up to 512 unanswered a socket. Market data: from when an order was due to when each subscriber had it. Idle: what the
/// exchange's memory grows by when that many connections have asked once and stay open.
///
/// Needs the `gollem` binary of the same build: make build.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Commands of the closed loop
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    commands: u32,
    /// Connections of the closed loop
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// Commands a second of the open loop
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Connections of the open loop
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    open_connections: u32,
    /// Length of the open loop
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Commands over WebSocket
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    socket_commands: u32,
    /// WebSockets that they are sent over
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    sockets: u32,
    /// Subscribers of the book; 0 leaves them out
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    subscribers: u32,
    /// Orders a second that change the book they read
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    updates: u32,
    /// Connections that do nothing; 0 leaves them out
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=50_000))]
    idle: u32,
    /// Existing folder on the disk to measure; a temporary folder is made in it and removed afterwards
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Prints one JSON object a measurement instead of a table
    #[arg(long)]
    json: bool,
}

/// The names are the keys of the JSON objects.
#[derive(Debug, Serialize)]
struct Loop {
    bench: &'static str,
    measurement: &'static str,
    connections: u32,
    commands: u64,
    /// Of the open loop: how many were due; of the closed one: how many were answered.
    commands_per_s: u64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
}

#[derive(Debug, Serialize)]
struct Pipelined {
    bench: &'static str,
    measurement: &'static str,
    sockets: u32,
    commands: u32,
    commands_per_s: u64,
}

#[derive(Debug, Serialize)]
struct FanOut {
    bench: &'static str,
    measurement: &'static str,
    subscribers: u32,
    updates_per_s: u32,
    seen: u64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
}

#[derive(Debug, Serialize)]
struct Idle {
    bench: &'static str,
    measurement: &'static str,
    connections: u32,
    grown_mib: f64,
    bytes_per_connection: u64,
}

/// Runs the benchmark and returns what to print.
///
/// # Errors
/// When the exchange does not start, or refuses a command.
pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    let dir = tempfile::Builder::new().prefix("gollem-bench-").tempdir_in(&options.dir);
    let dir = dir.with_context(|| format!("cannot make a folder in {}", options.dir.display()))?;
    crate::say(format_args!("the pipeline alone, {} a second for {} s", options.rate, options.seconds));
    let alone = pipeline::open_loop_alone(options.rate, options.seconds, dir.path())?;
    crate::say(format_args!("starting the exchange"));
    let venue = Venue::start(dir.path())?;
    let mut traders = Traders::open(&venue, options.connections.max(options.open_connections) as usize)?;
    traders.first(options.connections).closed(WARM_UP)?;
    crate::say(format_args!("closed loop, {} commands on {} connections", options.commands, options.connections));
    let (per_s, closed) = traders.first(options.connections).closed(options.commands as usize)?;
    crate::say(format_args!("open loop, {} a second for {} s", options.rate, options.seconds));
    let open = traders.first(options.open_connections).open_loop(options.rate, options.seconds)?;
    let rate = u64::from(options.rate);
    let loops = [
        Loop::new("rest_closed", options.connections, per_s, &closed),
        Loop::new("rest_open", options.open_connections, rate, &open),
        Loop::new("pipeline_alone", 0, rate, &alone),
    ];
    crate::say(format_args!("{} commands over {} WebSockets", options.socket_commands, options.sockets));
    let pipelined = Pipelined {
        bench: "gateway",
        measurement: "websocket_pipelined",
        sockets: options.sockets,
        commands: options.socket_commands,
        commands_per_s: orders::pipelined(&venue, options.sockets as usize, options.socket_commands as usize)?,
    };
    let fan_out = (options.subscribers > 0).then(|| measure_fan_out(&venue, options)).transpose()?;
    let idle = (options.idle > 0).then(|| measure_idle(&venue, options.idle)).transpose()?;
    drop(venue);
    dir.close().context("cannot remove the temporary folder")?;
    if options.json {
        let market = std::iter::once(output::line(&pipelined)).chain(fan_out.iter().map(output::line));
        return loops.iter().map(output::line).chain(market).chain(idle.iter().map(output::line)).collect();
    }
    let mut text = "the exchange over HTTP, the real binary; compare within this run only\n".to_owned();
    text += &loops.iter().map(Loop::row).collect::<String>();
    let [_, open, alone] = &loops;
    text += &output::row("the gateway's part", format!("p50 {:.1} us", open.p50_us - alone.p50_us));
    text += &pipelined.row();
    text += &fan_out.iter().map(FanOut::row).collect::<String>();
    text += &idle.iter().map(Idle::row).collect::<String>();
    Ok(text)
}

fn measure_fan_out(venue: &Venue, options: &Options) -> anyhow::Result<FanOut> {
    let Options { subscribers, updates, seconds, .. } = *options;
    crate::say(format_args!("{updates} updates a second to {subscribers} subscribers for {seconds} s"));
    let times = fan_out::measure(venue, subscribers as usize, updates, seconds)?;
    let at = |quantile| microseconds(times.value_at_quantile(quantile));
    Ok(FanOut {
        bench: "gateway",
        measurement: "market_data",
        subscribers,
        updates_per_s: updates,
        seen: times.len(),
        p50_us: at(0.5),
        p99_us: at(0.99),
        p999_us: at(0.999),
    })
}

fn measure_idle(venue: &Venue, connections: u32) -> anyhow::Result<Idle> {
    crate::say(format_args!("{connections} idle connections"));
    let grown = idle::measure(venue, connections as usize)?;
    Ok(Idle {
        bench: "gateway",
        measurement: "idle",
        connections,
        grown_mib: (grown as f64 / f64::from(1 << 20) * 10.0).round() / 10.0,
        bytes_per_connection: grown / u64::from(connections),
    })
}

impl Loop {
    fn new(measurement: &'static str, connections: u32, commands_per_s: u64, times: &Histogram<u64>) -> Loop {
        let at = |quantile| microseconds(times.value_at_quantile(quantile));
        Loop {
            bench: "gateway",
            measurement,
            connections,
            commands: times.len(),
            commands_per_s,
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: microseconds(times.max()),
        }
    }

    fn row(&self) -> String {
        let label = match self.measurement {
            "rest_closed" => format!("REST, {} connections", self.connections),
            "rest_open" => "REST, on schedule".to_owned(),
            _ => "the pipeline alone".to_owned(),
        };
        let times = format!(
            "p50 {} us, p99 {} us, p99.9 {} us, max {} us",
            self.p50_us, self.p99_us, self.p999_us, self.max_us
        );
        output::row(&label, format!("{} commands/s, {times}", grouped(self.commands_per_s)))
    }
}

impl Pipelined {
    fn row(&self) -> String {
        let label = format!("WebSocket, {} sockets", self.sockets);
        output::row(&label, format!("{} commands/s, up to 512 unanswered each", grouped(self.commands_per_s)))
    }
}

impl FanOut {
    fn row(&self) -> String {
        let FanOut { subscribers, updates_per_s, p50_us, p99_us, p999_us, .. } = self;
        let whom = format!("{updates_per_s} updates/s to {subscribers} subscribers");
        output::row("market data", format!("{whom}: p50 {p50_us} us, p99 {p99_us} us, p99.9 {p999_us} us"))
    }
}

impl Idle {
    fn row(&self) -> String {
        let each = grouped(self.bytes_per_connection);
        output::row(
            "idle",
            format!("{} connections: {} MiB, {each} bytes each", grouped(self.connections.into()), self.grown_mib),
        )
    }
}
