//! The `gollem` command.

#![expect(clippy::print_stderr, reason = "what goes wrong before there is a log belongs on standard error")]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    let started = cli::Cli::of_this_process().and_then(|cli| Ok((cli.log()?, cli)));
    let (log, cli) = match started {
        Ok(started) => started,
        Err(error) => {
            eprintln!("gollem: {error:#}");
            return ExitCode::from(2);
        }
    };
    let ended = match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    };
    drop(log);
    ended
}
