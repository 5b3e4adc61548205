//! Faults against the real binary `gollem serve`: what it acknowledged is there exactly once after a kill, a power cut,
//! a full disk and a lost answer, and `gollem-replay verify` rebuilds the same state from what is left.
//!
//! | module | fault |
//! |---|---|
//! | `kill` | SIGKILL at any moment and at every named crash point |
//! | `power` | the disk forgets what was not synced |
//! | `full_disk` | no space left, and space again |
//! | `bodies` | bodies that are broken, for every route that takes one |
//! | `frames` | WebSocket requests and frames, upgrades and signatures that were changed |
//! | `resend` | answers lost, requests sent again |
//! | `sockets` | WebSocket clients stop reading while books change |
//! | `views` | the views after a kill, with the end of their log cut off, deleted |
//! | `flood` | connections and requests that want to bring it down |
//! | `access` | whoever may not, on every route, in every way |
//! | `limits` | a key that asks ten times what it may |
//! | `secrets` | none of them, searched in all that is written |
//! | `kafka` | broker, exchange and projector killed while they publish and project |
//!
//! A check knows the public API, the two binaries and the data folder as the auditor reads it, nothing else. Every
//! random choice comes from its seed, but not the moment at which the system lets a thread run: a seed repeats the
//! attempt, not each interleaving. A check tells what broke as text and ends at the first broken promise, because what
//! follows on the same data folder would only repeat it.
//!
//! | helper | idea |
//! |---|---|
//! | `binaries` | building and finding the binaries |
//! | `broker` | a real Kafka broker |
//! | `server` | one process: started, killed, audited |
//! | `http` | a client that may drop its connection at any byte |
//! | `traffic` | who acts during a fault, and what must be there after it |
//! | `image`, `mount` | a disk in memory that forgets, as a FUSE file system |

pub mod access;
pub mod bodies;
pub mod broker;
pub mod flood;
pub mod frames;
pub mod full_disk;
pub mod kafka;
pub mod kill;
pub mod limits;
pub mod power;
pub mod resend;
pub mod secrets;
pub mod sockets;
pub mod views;

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

/// The one place where time itself is the fault: a kill at any moment.
#[expect(clippy::disallowed_methods, reason = "the kill comes after a time, not after an event")]
fn pass(time: Duration) {
    std::thread::sleep(time);
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
