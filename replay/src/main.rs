//! `gollem-replay`: rebuilds an exchange from its journal and says whether the journal is sound.
//!
//! | module | idea |
//! |---|---|
//! | `locate` | where in a folder the journal lies |
//! | `verify` | reads, applies and checks every input |
//! | `poison` | the input that stopped an exchange |
//! | `restore` | brings segments back from an archive |
//! | `failure` | what can be wrong, and what to do about it |
//! | `report` | the answer, as a table or as JSON |
//! | `progress`, `utc` | what a person sees meanwhile; times as text |
//!
//! Invariants: nothing is written to the folder, no lock is taken, and the exchange may run meanwhile. Results go to
//! standard output, everything else to standard error.
//!
//! Deliberately absent: repair. What to do about damage is decided by a person, on a copy.

mod failure;
mod locate;
mod poison;
mod progress;
mod report;
mod restore;
mod utc;
mod verify;

use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::Report;
use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "gollem-replay", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Rebuilds the state from the journal and checks everything that can be checked.
    ///
    /// Checks every checksum and every link of the chain, applies every input, checks that the ledger sums to zero
    /// (each 10,000 inputs and at the end) and prints the hash of the state. Two journals with the same inputs give
    /// the same hash. Nothing is changed, and the exchange may run meanwhile: an incomplete group at the end is then
    /// no damage.
    ///
    /// Exit codes: 0 sound, 1 damaged, 2 wrong usage or no journal there, 3 not readable.
    Verify {
        /// The exchange's data folder, or its journal folder itself
        dir: PathBuf,
        /// Prints one JSON object instead of a table, and no progress
        #[arg(long)]
        json: bool,
    },
    /// Shows the input that stopped an exchange, when its start says that there is one.
    Poison {
        /// The exchange's data folder, or its journal folder itself
        dir: PathBuf,
        /// Lets the exchange start without the input, if that never became durable
        #[arg(long)]
        discard: bool,
    },
    /// Brings the segments that a journal lacks back from its archive. Files that are there are left alone.
    Restore {
        /// The exchange's data folder, or its journal folder itself
        dir: PathBuf,
        /// The archive: file:///FOLDER or s3://BUCKET/PREFIX (credentials from AWS_* variables)
        #[arg(long, value_name = "URL")]
        from: String,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Action::Verify { dir, json } => run(&dir, json),
        Action::Poison { dir, discard } => {
            said(locate::journal_in(&dir).and_then(|journal| poison::poison(&journal, discard)))
        }
        Action::Restore { dir, from } => said(restore::restore(&locate::journal_for(&dir), &from)),
    };
    let code = match done {
        Ok(()) => 0,
        Err(failure) => {
            // Nobody is left to tell when standard error is closed; the exit code still says it.
            writeln!(io::stderr(), "gollem-replay: {}", failure.words()).ok();
            failure.exit_code()
        }
    };
    ExitCode::from(code)
}

/// Prints an answer.
fn said(answer: Result<String, Failure>) -> Result<(), Failure> {
    let written = io::stdout().write_all(answer?.as_bytes());
    written.map_err(|source| Failure::Unreadable { action: "write to", path: PathBuf::from("standard output"), source })
}

/// Verifies and prints the result. With `json` a failure, too, is one object on standard output.
fn run(dir: &Path, json: bool) -> Result<(), Failure> {
    let verified = verify(dir, json);
    let text = match &verified {
        Ok((journal, report)) if !json => report.table(journal),
        Ok((_, report)) => report.json(),
        Err(failure) if json => failure.json(),
        Err(_) => String::new(),
    };
    let written = io::stdout().write_all(text.as_bytes());
    verified?;
    written.map_err(|source| Failure::Unreadable { action: "write to", path: PathBuf::from("standard output"), source })
}

fn verify(dir: &Path, quiet: bool) -> Result<(PathBuf, Report), Failure> {
    let journal = locate::journal_in(dir)?;
    let mut progress = if quiet { Progress::quiet() } else { Progress::start() };
    let verified = verify::verify(&journal, &mut progress);
    progress.finish();
    Ok((journal, verified?))
}
