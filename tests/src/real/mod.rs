//! Faults against the real binary `gollem serve`: what it acknowledged is there exactly once after a kill, a power cut,
//! a full disk and a lost answer, and `gollem-replay verify` rebuilds the same state from what is left.
//!
//! | module | fault |
//! |---|---|
//! | `kill` | SIGKILL at any moment and at every named crash point |
//! | `power` | the disk forgets what was not synced |
//! | `full_disk` | no space left, and space again |
//! | `resend` | answers lost, requests sent again |
//!
//! A check knows the public API, the two binaries and the data folder as the auditor reads it, nothing else. Every
//! random choice comes from its seed, but not the moment at which the system lets a thread run: a seed repeats the
//! attempt, not each interleaving. A check tells what broke as text and ends at the first broken promise, because what
//! follows on the same data folder would only repeat it.
//!
//! | helper | idea |
//! |---|---|
//! | `binaries` | building and finding the binaries |
//! | `server` | one process: started, killed, audited |
//! | `http` | a client that may drop its connection at any byte |
//! | `traffic` | who acts during a fault, and what must be there after it |
//! | `image`, `mount` | a disk in memory that forgets, as a FUSE file system |

pub mod full_disk;
pub mod kill;
pub mod power;
pub mod resend;

mod binaries;
mod http;
mod image;
mod mount;
mod server;
mod traffic;

use crate::outcome::Outcome;
use std::fmt::Display;
use std::time::Duration;

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A result whose error is what a failure says.
type Checked<T> = Result<T, String>;

/// Puts what was tried before what went wrong.
fn doing<E: Display>(what: impl Display) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}

/// Fails with `broken` unless the promise holds.
fn ensure(holds: bool, broken: impl FnOnce() -> String) -> Checked<()> {
    if holds { Ok(()) } else { Err(broken()) }
}

/// The outcome of `cases` attempts that ended so.
fn outcome(cases: u64, seed: u64, ended: Checked<()>) -> Outcome {
    let failures = ended.err().map(|failure| format!("{failure} (seed {seed}, case {cases})"));
    Outcome { cases, failures: failures.into_iter().collect(), skipped: None }
}

/// The outcome where this machine cannot give what the check needs.
fn skipped(why: String) -> Outcome {
    Outcome { skipped: Some(why), ..Outcome::default() }
}
