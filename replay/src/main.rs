//! `gollem-replay`: rebuilds an exchange from its journal and says whether the journal is sound.
//!
//! | module | idea |
//! |---|---|
//! | `locate` | where in a folder the journal lies |
//! | `verify` | reads, applies and checks every input |
//! | `poison` | the input that stopped an exchange |
//! | `restore` | brings segments back from an archive |
//! | `views` | what the views must be at an input |
//! | `receipt`, `retold` | a receipt held against the journal; what the journal says of a contract |
//! | `failure` | what can be wrong, and what to do about it |
//! | `report` | the answer, as a table or as JSON |
//! | `progress` | what a person sees meanwhile |
//!
//! Invariants: nothing is written to the folder, no lock is taken, and the exchange may run meanwhile. Results go to
//! standard output, everything else to standard error.
//!
//! Deliberately absent: repair. What to do about damage is decided by a person, on a copy.

mod failure;
mod locate;
mod poison;
mod progress;
mod receipt;
mod report;
mod restore;
mod retold;
mod verify;
mod views;

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
    /// Prints what the views must be at an input: the hash that `GET /v1/views` of an exchange or projector shows there.
    ///
    /// Folds the whole journal anew in a temporary folder. Nothing is changed, and the exchange may run meanwhile.
    Views {
        /// The exchange's data folder, or its journal folder itself
        dir: PathBuf,
        /// The input; the last one unless given
        #[arg(long, value_name = "SEQ")]
        at: Option<u64>,
        /// Prints one JSON object, and no progress
        #[arg(long)]
        json: bool,
    },
    /// Checks a receipt of a contract: its signature, and every field against the journal.
    ///
    /// Replays the journal up to the settlement and compares what the engine says then. Nothing is changed, and the
    /// exchange may run meanwhile. Without a key the signature is not looked at, and the report says so.
    ///
    /// Exit codes: 0 right, 1 wrong (or the journal is damaged), 2 wrong usage, no receipt, or one of an input that the
    /// journal does not have, 3 not readable.
    Receipt {
        /// The receipt: the answer of GET /v1/receipts/ID, or the note in it alone
        file: PathBuf,
        /// The exchange's data folder, or its journal folder itself
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The public key of the journal's owner, as GET /v1/journal/key tells it: NAME+HASH+KEY
        #[arg(long, value_name = "PUBLIC")]
        key: Option<String>,
        /// Prints one JSON object instead of a table, and no progress
        #[arg(long)]
        json: bool,
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
        Action::Views { dir, at, json } => said(views(&dir, at, json)),
        Action::Receipt { file, data, key, json } => receipt(&file, &data, key.as_deref(), json),
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

/// Prints the report, and says that the receipt is wrong if it is.
fn receipt(file: &Path, data: &Path, key: Option<&str>, json: bool) -> Result<(), Failure> {
    let journal = locate::journal_in(data)?;
    let mut progress = if json { Progress::quiet() } else { Progress::start() };
    let checked = receipt::check(file, &journal, key, &mut progress);
    progress.finish();
    let checked = checked?;
    said(Ok(if json { checked.json() } else { checked.table() }))?;
    checked.verdict()
}

fn views(dir: &Path, at: Option<u64>, json: bool) -> Result<String, Failure> {
    let journal = locate::journal_in(dir)?;
    let mut progress = if json { Progress::quiet() } else { Progress::start() };
    let hashed = views::views(&journal, at, &mut progress);
    progress.finish();
    hashed.map(|hashed| if json { hashed.json() } else { hashed.table() })
}

fn verify(dir: &Path, quiet: bool) -> Result<(PathBuf, Report), Failure> {
    let journal = locate::journal_in(dir)?;
    let mut progress = if quiet { Progress::quiet() } else { Progress::start() };
    let verified = verify::verify(&journal, &mut progress);
    progress.finish();
    Ok((journal, verified?))
}
