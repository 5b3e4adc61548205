//! The command line: what can be asked, and the frame every command runs in.

#![expect(clippy::print_stdout, reason = "a command's answer belongs on standard output")]

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use gollem_gateway::demo::{self, DemoOptions, Speed};
use gollem_gateway::{Exchange, ExchangeOptions, Server, TreeKey};
use gollem_sequencer::Pinning;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;
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
    /// MiB of a journal segment.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=4096))]
    segment_mib: u32,
    /// MiB of journal between two snapshots, at the least; one is taken at the end of a segment.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    snapshot_mib: u32,
    /// File of the key that signs the journal's tree heads, outside the data folder, made when missing; or off
    /// [default: gollem/tree-head.key in the user's configuration folder].
    #[arg(long, value_name = "FILE|off", env = "GOLLEM_TREE_KEY")]
    tree_key: Option<PathBuf>,
    /// Copy closed journal segments to file:///FOLDER or s3://BUCKET/PREFIX (credentials from AWS_* variables).
    #[arg(long, value_name = "URL")]
    archive: Option<String>,
    /// Drop segments that are archived and that neither snapshots nor views need.
    #[arg(long, requires = "archive")]
    drop_archived: bool,
    /// Seconds between two signed tree heads, at the least.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    tree_interval: u32,
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
    /// Where the key of tree heads is, unless none is wanted or there is no place for one.
    fn tree_key(&self) -> Option<TreeKey> {
        let every = Duration::from_secs(u64::from(self.tree_interval));
        let path = match &self.tree_key {
            Some(path) if path.as_os_str() == "off" => return None,
            Some(path) => path.clone(),
            None => configuration_folder().or_else(|| {
                tracing::warn!("no tree heads are signed: neither --tree-key nor a home folder says where the key is");
                None
            })?,
        };
        Some(TreeKey { path, every })
    }

    async fn run(self) -> anyhow::Result<()> {
        let stop = stop_signal()?;
        let listener = bind(&self.listen).await?;
        let defaults = ExchangeOptions::new(self.data.clone());
        let journal = gollem_journal::Options { segment_bytes: u64::from(self.segment_mib) << 20, ..defaults.journal };
        let options = ExchangeOptions {
            dev: self.dev,
            pinning: self.pin,
            journal,
            snapshot_every_bytes: u64::from(self.snapshot_mib) << 20,
            tree_key: self.tree_key(),
            archive: self.archive.clone(),
            drop_archived: self.drop_archived,
            ..defaults
        };
        let exchange = Exchange::open(&options).await?;
        let found = exchange.found();
        tracing::info!(
            inputs = found.journal.last_seq,
            from_snapshot = found.snapshot_seq,
            torn_bytes = found.journal.torn_bytes,
            clean_stop = found.journal.clean,
            data = %self.data.display(),
            "recovered"
        );
        if let Some(key) = exchange.new_admin_key() {
            println!("admin key (shown once, store it now): {}", key.reveal());
        }
        let server = Server::start(listener, exchange.app())?;
        println!("listening on http://{}", server.address());
        tokio::select! {
            asked = stop => {
                asked?;
                tracing::info!("stopping: finishing what is in flight");
            }
            () = exchange.broken() => tracing::error!("stopping: a thread of the pipeline panicked"),
        }
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

/// Where the key of tree heads is by default.
fn configuration_folder() -> Option<PathBuf> {
    let given = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = given("XDG_CONFIG_HOME").or_else(|| given("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("gollem").join("tree-head.key"))
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
