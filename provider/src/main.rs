//! `gollem-provider`: the provider's commands.
//!
//! Reads the command line, starts the runtime and the log, and turns the outcome into an exit code. Standard output
//! carries only what a script reads; the log goes to standard error.

mod cli;
mod signals;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;
use gollem_provider::{
    agent,
    mock::{Mock, MockOptions},
};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// How long the mock lets answers under way finish once it has to stop.
const MOCK_GRACE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let filter = EnvFilter::try_from_env("GOLLEM_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn start(cli: cli::Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    match cli.command {
        cli::Command::Mock(args) => runtime.block_on(mock(args.listen, args.options()?)),
        cli::Command::Agent(args) => runtime.block_on(quote(args)),
    }
}

async fn mock(listen: SocketAddr, options: MockOptions) -> anyhow::Result<()> {
    let stop = signals::stop_signal().context("cannot watch for signals")?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    tracing::info!(?options, "mock model server");
    let mock = Mock::start(listener, options).await;
    announce(mock.address());
    stop.await;
    tracing::info!(stats = ?mock.stats(), "stopping");
    mock.drain(MOCK_GRACE).await;
    Ok(())
}

async fn quote(args: cli::AgentArgs) -> anyhow::Result<()> {
    let stop = signals::stop_signal().context("cannot watch for signals")?;
    let listener = match args.listen {
        Some(listen) => {
            let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
            announce(listener.local_addr()?);
            Some(listener)
        }
        None => None,
    };
    agent::run(args.options(listener)?, stop).await?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the one line that scripts wait for to learn the address")]
fn announce(address: SocketAddr) {
    println!("listening on http://{address}");
}

#[expect(clippy::print_stderr, reason = "the log filter must not hide why the program ended")]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
