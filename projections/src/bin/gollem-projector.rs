//! `gollem-projector`: the exchange's views in another process, built from Kafka, with the same queries.

#![expect(clippy::print_stdout, reason = "a command's answer belongs on standard output")]

use anyhow::Context;
use clap::Parser;
use gollem_projections::Views;
use gollem_projections::kafka::{Consumer, ConsumerOptions};
use gollem_projections::server::{Served, Server};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Builds the exchange's views from Kafka and serves queries on them, until Ctrl-C.
///
/// What is not public is served to those who send `Authorization: Bearer` and what the environment variable
/// GOLLEM_PROJECTOR_TOKEN holds; to nobody without it.
#[derive(Debug, Parser)]
#[command(name = "gollem-projector", version)]
struct Cli {
    /// The Kafka broker that `gollem serve --kafka` publishes to; several with commas.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: String,
    /// Folder of the views; created when missing, rebuilt when deleted.
    #[arg(long, value_name = "DIR", default_value = "gollem-projector-data")]
    data: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8081")]
    listen: String,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("GOLLEM_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(std::io::stderr().is_terminal()).init();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(cli: Cli) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let listener = TcpListener::bind(&cli.listen)
        .await
        .with_context(|| format!("cannot listen on {}: choose another with --listen HOST:PORT", cli.listen))?;
    std::fs::create_dir_all(&cli.data).with_context(|| format!("cannot create {}", cli.data.display()))?;
    let views = Arc::new(Views::open(&cli.data)?);
    let consumer = Consumer::start(ConsumerOptions { brokers: cli.kafka }, views)?;
    let token = std::env::var("GOLLEM_PROJECTOR_TOKEN").ok().filter(|token| !token.is_empty());
    let served = Served { view: consumer.view(), is_up: consumer.is_up(), token };
    let server = Server::start(listener, served)?;
    println!("listening on http://{}", server.address());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    server.stop().await;
    consumer.stop();
    Ok(())
}
