//! The command line: what can be asked, and the frame every command runs in.

#![expect(clippy::print_stdout, reason = "a command's answer belongs on standard output")]

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use gollem_gateway::demo::{self, DemoOptions, Speed};
use gollem_gateway::{Exchange, ExchangeOptions, Server};
use gollem_sequencer::Pinning;
use std::io::IsTerminal;
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// GoLLeM: an exchange where LLM inference is traded.
#[derive(Debug, Parser)]
#[command(name = "gollem", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the exchange in a data folder until Ctrl-C.
    Serve(Serve),
    /// Open an exchange with real prices behind mock providers and play real requests through it.
    Demo(Demo),
}

#[derive(Debug, Args)]
struct Serve {
    /// Data folder; created when missing.
    #[arg(long, value_name = "DIR", default_value = "gollem-data")]
    data: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Development mode: grant credits without a payment processor, allow providers on private addresses.
    #[arg(long)]
    dev: bool,
    /// Core for the matcher thread: auto, off, or its number.
    #[arg(long, value_name = "CORE", default_value = "auto", value_parser = parse_pinning)]
    pin: Pinning,
    /// Bytes of a journal segment, a multiple of 4096. Each is filled with zeros ahead of its use.
    #[arg(long, value_name = "BYTES", default_value_t = gollem_journal::Options::default().segment_bytes)]
    segment_bytes: u64,
}

#[derive(Debug, Args)]
struct Demo {
    /// Data folder [default: a fresh one under demo-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Play only the first N requests of the trace.
    #[arg(long, value_name = "N")]
    requests: Option<usize>,
    /// How many times faster than recorded to play, or max.
    #[arg(long, value_name = "X|max", default_value = "60", value_parser = parse_speed)]
    speed: Speed,
    /// Exit after the summary instead of serving on.
    #[arg(long)]
    exit: bool,
    /// Write the summary as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Core for the matcher thread: auto, off, or its number.
    #[arg(long, value_name = "CORE", default_value = "auto", value_parser = parse_pinning)]
    pin: Pinning,
}

fn parse_pinning(text: &str) -> Result<Pinning, String> {
    match text {
        "auto" => Ok(Pinning::Auto),
        "off" => Ok(Pinning::Off),
        core => core.parse().map(Pinning::Core).map_err(|_| "expected auto, off or the number of a core".into()),
    }
}

fn parse_speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times = text.parse::<f64>().ok().filter(|times| (0.001..=1e6).contains(times));
    times.map(Speed::Times).ok_or_else(|| "expected max or a number between 0.001 and 1000000".into())
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_from_env("GOLLEM_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        log.with_ansi(std::io::stderr().is_terminal()).init();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            match self.command {
                Command::Serve(serve) => serve.run().await,
                Command::Demo(demo) => demo.run().await,
            }
        })
    }
}

impl Serve {
    async fn run(self) -> anyhow::Result<()> {
        let stop = stop_signal()?;
        let listener = bind(&self.listen).await?;
        let defaults = ExchangeOptions::new(self.data.clone());
        let options =
            ExchangeOptions { dev: self.dev, pinning: self.pin, segment_bytes: self.segment_bytes, ..defaults };
        let exchange = Exchange::open(&options).await?;
        let recovery = exchange.recovery();
        tracing::info!(
            inputs = recovery.last_seq,
            torn_bytes = recovery.torn_bytes,
            clean_stop = recovery.clean,
            data = %self.data.display(),
            "recovered"
        );
        if let Some(key) = exchange.new_admin_key() {
            println!("admin key (shown once, store it now): {}", key.reveal());
        }
        let server = Server::start(listener, exchange.app())?;
        println!("listening on http://{}", server.address());
        stop.await?;
        tracing::info!("stopping: finishing what is in flight");
        server.stop().await;
        let closed = exchange.close().await?;
        tracing::info!(inputs = closed.inputs, state_hash = %closed.state_hash, "stopped");
        Ok(())
    }
}

impl Demo {
    async fn run(self) -> anyhow::Result<()> {
        let stop = stop_signal()?;
        let listener = bind(&self.listen).await?;
        let options = DemoOptions {
            data: self.data.unwrap_or_else(demo::fresh_folder),
            requests: self.requests,
            speed: self.speed,
            exit: self.exit,
            json: self.json,
            pinning: self.pin,
        };
        demo::run(options, listener, stop).await
    }
}

async fn bind(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another with --listen HOST:PORT"))
}

/// Resolves at Ctrl-C or a polite kill, from now on: the signals are caught before this returns.
fn stop_signal() -> anyhow::Result<impl Future<Output = anyhow::Result<()>>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
