//! Whole-node simulation: journal, sequencer, engine, follower and views in one thread, on a simulated disk and clock,
//! with a schedule and with faults that all come from one seed.
//!
//! # What it holds
//!
//! | module | idea |
//! |---|---|
//! | `plan` | what a seed decides: which faults there are, how fast each part is |
//! | `workload` | the commands |
//! | `clients` | who sends them, and again what was not answered |
//! | `clock` | a clock that can be wrong |
//! | `truth` | what really happened, read from what is durable and replayed from the first input on |
//! | `views` | the views of a run, in memory |
//! | `check` | many seeds, for the scoreboard |
//! | `world` | the node, turned step by step, and what must hold |
//! | `troubles`, `lives` | faults; how the node dies, starts again, and what it must find |
//!
//! # Invariants
//!
//! - The parts are the real ones ([`gollem_sequencer::sim`], [`gollem_projections::Projection`]); only threads, disk and clock
//!   are not.
//! - Equal seeds give bit-equal runs: [`Summary::digest`] takes in each step, each call on the disk and its last bytes.
//!
//! # What it does not do
//!
//! No network, no HTTP, no signed tree heads. Segments are made when they are needed, not ahead: the thread that does so has
//! tests of its own. The witness is that of the gateway: the views, if there are any.

mod check;
mod clients;
mod clock;
mod lives;
mod plan;
#[cfg(test)]
mod tests;
mod troubles;
mod truth;
mod views;
mod workload;
mod world;

use std::cell::Cell;
use std::fmt;
use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};

use gollem_journal::sim::Random;

pub use check::check;
pub use plan::Faults;
use plan::Plan;
use world::World;

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Of everything that happened.
    pub digest: u64,
    /// Time that passed on the machine, in nanoseconds.
    pub simulated_ns: u64,
    /// Turns of a part.
    pub steps: u64,
    /// Inputs in the journal at the end.
    pub inputs: u64,
    /// Inputs answered.
    pub answered: u64,
    /// Commands sent again.
    pub resent: u64,
    /// Commands refused because the node was not available.
    pub refused: u64,
    /// Starts of the node.
    pub starts: u64,
    /// Deaths of the process.
    pub crashes: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// Starts that failed or were cut short.
    pub recoveries_cut: u64,
    /// Starts from a snapshot.
    pub from_snapshots: u64,
    /// Lives of the node that ended with a failed write or sync.
    pub journal_failures: u64,
    /// Times the disk got full or nearly so.
    pub full_disks: u64,
    /// Bits flipped in snapshots.
    pub flips: u64,
    /// Times the clock was disturbed.
    pub clock_faults: u64,
    /// Gaps in the feed.
    pub gaps: u64,
    /// Snapshots taken in the last life.
    pub snapshots: u64,
    /// Segments removed.
    pub segments_removed: u64,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.digest ^= other.digest;
        self.simulated_ns += other.simulated_ns;
        self.steps += other.steps;
        self.inputs += other.inputs;
        self.answered += other.answered;
        self.resent += other.resent;
        self.refused += other.refused;
        self.starts += other.starts;
        self.crashes += other.crashes;
        self.power_cuts += other.power_cuts;
        self.recoveries_cut += other.recoveries_cut;
        self.from_snapshots += other.from_snapshots;
        self.journal_failures += other.journal_failures;
        self.full_disks += other.full_disks;
        self.flips += other.flips;
        self.clock_faults += other.clock_faults;
        self.gaps += other.gaps;
        self.snapshots += other.snapshots;
        self.segments_removed += other.segments_removed;
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The run's seed.
    pub seed: u64,
    /// The step after which it showed.
    pub step: u64,
    /// What it was.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, step {}: {}", self.seed, self.step, self.what)
    }
}

/// One run.
///
/// # Errors
/// The first promise that was broken. A panic anywhere is one.
pub fn run(faults: Faults, seed: u64) -> Result<Summary, Failure> {
    let mut random = Random(seed);
    let plan = Plan::new(faults, &mut random);
    let steps = Cell::new(0);
    let result = catch_unwind(AssertUnwindSafe(|| {
        views::with(plan.views, |views| {
            let mut world = World::new(seed, plan, random, views, &steps);
            world.run().and_then(|()| views::compare(views, world.truth.told())).map(|()| world.summary)
        })
    }));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(format!("panicked: {}", text.or_else(|| panic.downcast_ref().copied()).unwrap_or("without words")))
    });
    result.map_err(|what| Failure { seed, step: steps.get(), what })
}
