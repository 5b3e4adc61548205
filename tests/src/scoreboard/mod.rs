//! The reliability scoreboard: each row is a promise, a way to attack it, and a count of attacks.
//!
//! # What it holds
//!
//! | module | row |
//! |---|---|
//! | `power` | 2: the power fails before or after any sync |
//! | `torn` | 3: any part of the last group reaches the disk |
//! | `flips` | 4: any bit flips |
//! | `large` | 4b: random bits of a large journal flip |
//! | `places` | 5: records and segments are lost, stale, moved, swapped, repeated, deleted |
//! | `syncs` | 6: a sync fails |
//! | `errors` | 7a: full disk, failing and short calls |
//! | `slots` | 8: a snapshot's writing is cut short, its slots are damaged |
//! | `states` | 10: snapshot and tail against the full replay |
//! | [`simulation`] | 13, 14: the whole node from one seed |
//! | `attacker` | 24: the journal is rewritten with every checksum right |
//! | [`real`] | 1, 2b, 7b, 15 to 23: kills, power cuts, a full disk, resends, Kafka, views, sockets, broken bodies, floods, access, limits, secrets, against the real binaries |
//! | `fuzz` | 19b: changed commands, journals, snapshots, tree heads, events |
//! | `planted` | 25: each check is run against a bug it must find |
//!
//! # Invariants
//!
//! - A check knows the public API of the crates and the documented bytes on disk, nothing else. It holds a model of its
//!   own of what must be there.
//! - A case is made from one number, its seed; a run with that seed begins with that case. Only the pipeline's threads
//!   decide more than the seed: which commands share a group.
//! - A panic in a case is a failure of that case.

mod attacker;
mod cases;
mod disk;
mod errors;
pub(crate) mod fixed;
mod flips;
mod large;
mod model;
mod pipeline;
mod places;
mod planted;
mod power;
mod report;
mod slots;
pub(crate) mod states;
mod syncs;
mod torn;

use crate::outcome::Outcome;
use crate::{fuzz, real, simulation};

pub use report::{Line, machine, markdown, table};

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its number on the scoreboard; a letter where a row has several checks.
    pub row: &'static str,
    /// What happens to the system.
    pub fault: &'static str,
    /// What a pass means.
    pub promise: &'static str,
    /// What is counted as a case.
    pub unit: &'static str,
    /// Cases for a change that is proposed.
    pub cases_pr: u64,
    /// Cases for a release.
    pub cases_full: u64,
    /// Runs the cases.
    pub run: fn(&Run) -> Outcome,
}

/// How a row is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The row, for the line that repeats a failure.
    pub row: &'static str,
    /// Seed of the first case; the others follow.
    pub seed: u64,
    /// How many cases, at least.
    pub cases: u64,
    /// Whether this is the full volume.
    pub full: bool,
}

/// Every row, in the scoreboard's order.
pub const CHECKS: &[Check] = &[
    Check {
        row: "1",
        fault: "SIGKILL of the real binary at random times and at every crash point",
        promise: "nothing acknowledged is lost, nothing applied twice, the state is that of an offline replay",
        unit: "kills",
        cases_pr: 50,
        cases_full: 1_000,
        run: kills,
    },
    Check {
        row: "2",
        fault: "power cut before or after any sync; the disk keeps nothing or any subset of unsynced sectors",
        promise: "nothing acknowledged is lost, nothing is there twice, the state is that of the surviving log",
        unit: "cuts",
        cases_pr: 200,
        cases_full: 100_000,
        run: power::run,
    },
    Check {
        row: "2b",
        fault: "power cut under the real binary, on a mounted disk that forgets what was not synced",
        promise: "as row 1",
        unit: "cuts",
        cases_pr: 20,
        cases_full: 100,
        run: |run| real::power::check(run.cases, run.seed),
    },
    Check {
        row: "3",
        fault: "last group cut at every byte, and every subset of its sectors kept",
        promise: "the last durable sequence exactly, no part of a group visible",
        unit: "groups",
        cases_pr: 20,
        cases_full: 200,
        run: torn::run,
    },
    Check {
        row: "4",
        fault: "every bit of 1 MiB of journal, of its marks and of snapshots flipped",
        promise: "refused with file, offset and sequence; at most the last group after an unclean stop is cut, and reported",
        unit: "bits",
        cases_pr: flips::BITS / 64,
        cases_full: flips::BITS,
        run: flips::run,
    },
    Check {
        row: "4b",
        fault: "random bits of a journal of 10 GiB flipped (64 MiB in the small volume)",
        promise: "refused with file and an offset at or before the bit",
        unit: "bits",
        cases_pr: 200,
        cases_full: 10_000,
        run: large::run,
    },
    Check {
        row: "5",
        fault: "records and segments misdirected, lost, stale, repeated, swapped or deleted",
        promise: "all are refused, and the refusal changes nothing",
        unit: "changes",
        cases_pr: 100 * places::KINDS,
        cases_full: 1_000 * places::KINDS,
        run: places::run,
    },
    Check {
        row: "6",
        fault: "sync number N fails, once or from then on",
        promise: "no acknowledgement from then on, no second sync; after a restart everything acknowledged is there",
        unit: "failed syncs",
        cases_pr: 50 * syncs::WAYS,
        cases_full: 500 * syncs::WAYS,
        run: syncs::run,
    },
    Check {
        row: "7a",
        fault: "1% of calls fail, 5% of writes stop short, the disk fills up, calls are interrupted",
        promise: "nothing acknowledged is lost, reads go on, writing resumes without a restart when there is space",
        unit: "groups",
        cases_pr: 1_000,
        cases_full: 100_000,
        run: errors::run,
    },
    Check {
        row: "7b",
        fault: "the real binary's disk is really full",
        promise: "commands are refused, reads go on, nothing is damaged, commands are taken again when there is space; \
                  an account that could not be stored leaves nothing behind",
        unit: "full disks",
        cases_pr: 2,
        cases_full: 20,
        run: |run| real::full_disk::check(run.cases, run.seed),
    },
    Check {
        row: "8",
        fault: "the process or the power ends at any call of a snapshot's writing; either slot or both damaged",
        promise: "an older snapshot and a longer replay, or the whole replay; never a mix",
        unit: "kills",
        cases_pr: 100,
        cases_full: 10_000,
        run: slots::run,
    },
    Check {
        row: "10",
        fault: "start from a snapshot taken at a random input",
        promise: "state hash and events of the tail equal those of a full replay",
        unit: "snapshots",
        cases_pr: 50,
        cases_full: 1_000,
        run: states::run,
    },
    Check {
        row: "13",
        fault: "the whole node on a simulated disk, clock and scheduler: crashes, power cuts, failing, short and full disks, clock steps, slow readers",
        promise: "nothing acknowledged is lost or applied twice, recovery, follower, replay and views agree, and a seed runs the same again",
        unit: "seeds",
        cases_pr: 1_000,
        cases_full: 100_000,
        run: |run| simulation::check(simulation::Faults::Swarm, run.cases, run.seed),
    },
    Check {
        row: "14",
        fault: "the clock steps by an hour, strobes by a second, freezes",
        promise: "stamps never go back, nothing ends early, and a replay is unchanged",
        unit: "seeds",
        cases_pr: 100,
        cases_full: 10_000,
        run: |run| simulation::check(simulation::Faults::Clock, run.cases, run.seed),
    },
    Check {
        row: "15",
        fault: "answers of the real binary are lost and requests sent again",
        promise: "one effect for each client id, and every resend gets the first answer",
        unit: "requests",
        cases_pr: 10_000,
        cases_full: 1_000_000,
        run: |run| real::resend::check(run.cases, run.seed),
    },
    Check {
        row: "16",
        fault: "SIGKILL of a real Kafka broker, of the exchange that publishes and of the projector, in mid-batch",
        promise: "the projector's views at any input are those of the journal at that input",
        unit: "kills",
        cases_pr: 10,
        cases_full: 200,
        run: |run| real::kafka::check(run.cases, run.seed),
    },
    Check {
        row: "17",
        fault: "SIGKILL of the exchange; the end of the views' own log cut off; the views deleted",
        promise: "data and watermark of the views agree; what is built again is what the journal says, byte by byte",
        unit: "kills",
        cases_pr: 50,
        cases_full: 1_000,
        run: |run| real::views::check(run.cases, run.seed),
    },
    Check {
        row: "18",
        fault: "the Kafka broker, or the projector, stands still while thousands of requests are made",
        promise: "each request is answered; afterwards the projector's views are those of the journal",
        unit: "pauses",
        cases_pr: 2,
        cases_full: 100,
        run: |run| real::kafka::check_pauses(run.cases, run.seed),
    },
    Check {
        row: "18b",
        fault: "WebSocket clients stop reading while a book changes thousands of times a second",
        promise: "at most 1 MiB is held for each, it is let go within 5 s; who reads misses nothing, every order is answered",
        unit: "clients",
        cases_pr: 1,
        cases_full: 100,
        run: |run| real::sockets::check(run.cases, run.seed),
    },
    Check {
        row: "19a",
        fault: "broken and random JSON bodies against every route of the real binary that takes one",
        promise: "each is answered within a second, no panic, no 5xx but a 503 that says why, the state is that of a replay",
        unit: "bodies",
        cases_pr: 5_000,
        cases_full: 1_000_000,
        run: |run| real::bodies::check(run.cases, run.seed),
    },
    Check {
        row: "19b",
        fault: "sound commands, journals, snapshots, tree heads and events of Kafka are changed in their bytes, half of them \
                with every checksum made right, and read",
        promise: "no panic, nothing takes a second or 64 MiB; what is read at all is as good as what the program writes itself",
        unit: "inputs",
        cases_pr: 150_000,
        cases_full: 1_000_000_000,
        run: fuzz::run,
    },
    Check {
        row: "19c",
        fault: "WebSocket requests, their frames and upgrades, and the headers of signatures and keys are changed on their way to \
                the real binary",
        promise: "each is answered or its connection ended within a second, no panic, no 5xx but a 503 that says why, at most \
                  64 MiB more; the state is that of a replay",
        unit: "messages",
        cases_pr: 20_000,
        cases_full: 1_000_000,
        run: |run| real::frames::check(run.cases, run.seed),
    },
    Check {
        row: "20",
        fault: "10,000 idle connections, slow headers, new connections all the while, bodies too large, too deep or packed",
        promise: "orders on a kept connection go on, p99 at most twice or 100 ms; slow headers are cut; memory and descriptors return",
        unit: "floods",
        cases_pr: 1,
        cases_full: 30,
        run: |run| real::flood::check(run.cases, run.seed),
    },
    Check {
        row: "21",
        fault: "every route that is not for anyone is called with no key, a revoked, expired or far one, for another account, \
                or signed for something else, early, late or again",
        promise: "each call is refused, with its own code",
        unit: "calls",
        cases_pr: 500,
        cases_full: 500,
        run: |run| real::access::check(run.seed),
    },
    Check {
        row: "22",
        fault: "one key asks ten times what it may, in windows by turns with others in which it does not",
        promise: "what is accepted is its limit within a hundredth; its cancels pass; of another key all passes, with a p99 \
                  (the windows' median) of at most twice that without the flood or 20 ms, in the full volume 1.1 times or 1 ms",
        unit: "keys",
        cases_pr: 1,
        cases_full: 20,
        run: |run| real::limits::check(run.cases, run.full, run.seed),
    },
    Check {
        row: "23",
        fault: "secrets are used in every way, with everything logged, and then searched for",
        promise: "none is in the log, the journal, the views, the identity store or an error",
        unit: "secrets",
        cases_pr: 1,
        cases_full: 1,
        run: |run| real::secrets::check(run.seed),
    },
    Check {
        row: "24",
        fault: "a record is rewritten, moved, added or removed, and every checksum after it made right",
        promise: "a head signed before shows it; random proofs verify for true records only",
        unit: "attacks",
        cases_pr: 10,
        cases_full: 1_000,
        run: attacker::run,
    },
    Check {
        row: "25",
        fault: "a bug is planted in a copy of the program",
        promise: "the row that is there for it fails, and passes without it",
        unit: "bugs",
        cases_pr: planted::COUNT,
        cases_full: planted::COUNT,
        run: planted::run,
    },
];

fn kills(run: &Run) -> Outcome {
    match real::kill::crash_points() {
        Ok(points) => {
            let points: Vec<&str> = points.iter().map(String::as_str).collect();
            real::kill::check(run.cases, &points, run.seed)
        }
        Err(what) => Outcome { failures: vec![what], ..Outcome::default() },
    }
}
