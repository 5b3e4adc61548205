//! `kill -9` again and again on one data folder, in the middle of traffic: at any moment of its first 60 ms, and at every
//! named crash point of the journal and the sequencer.
//!
//! After each kill the log as it lies is replayed, the server started, and both must have the same state. Everything
//! acknowledged is there exactly once, the rest once or not at all.

use super::binaries::Binaries;
use super::server::{Plan, Server, same_state};
use super::traffic::{Market, fill};
use super::{Checked, doing, ensure, outcome, pass};
use crate::outcome::Outcome;
use gollem_journal::sim::Random;
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;
use tempfile::TempDir;

/// The latest moment of a kill after traffic started.
const KILL_US_MAX: u64 = 60_000;
/// Kills of one data folder. Each restart replays it all, so the folder does not grow forever.
const KILLS_PER_FOLDER: u64 = 50;
/// Most points lie in the way of every start, group or stop.
const SOON: Wait = Wait { patience: Duration::from_millis(300), fillers: 0 };
/// Those of a new segment come once a mebibyte.
const LATER: Wait = Wait { patience: Duration::from_secs(30), fillers: 8 };
/// A point that only an exchange with an archive passes; the journal's own test kills there.
const WITH_AN_ARCHIVE: &str = "retention.removed";
/// Points that only an exchange with a payment processor passes; the end-to-end tests of payments kill there.
const OF_PAYMENTS: &str = "payments.";
/// Passes of a crash point that may be waited for, after its first was tried.
const PASSES_MAX: u64 = 20;

/// How long a crash point may take to be passed by traffic before a polite stop is tried.
#[derive(Clone, Copy, Debug)]
struct Wait {
    patience: Duration,
    /// Connections that fill segments meanwhile.
    fillers: usize,
}

/// Kills the server `kills` times: first at each of `points`, then in turn at random times and at random passes of
/// random points. The points are those of a binary built with the feature `crash-points`, which is built when there are
/// any.
pub fn check(kills: u64, points: &[&str], seed: u64) -> Outcome {
    let mut run = Run { random: Random(seed), cases: 0, missed: BTreeSet::new() };
    let ended = run.kills(kills, points);
    let mut outcome = outcome(run.cases, seed, ended);
    outcome.failures.extend(run.missed.iter().map(|point| format!("the crash point {point} was never passed")));
    outcome
}

/// Every crash point that the traffic here passes, as a binary that has them tells when it is asked for one that it has
/// not.
///
/// # Errors
/// The binary cannot be built, or tells something else.
pub fn crash_points() -> Result<Vec<String>, String> {
    let mut points = all_points()?;
    points.retain(|name| name != WITH_AN_ARCHIVE && !name.starts_with(OF_PAYMENTS));
    Ok(points)
}

/// Those that only an exchange with a payment processor passes. The binary that has them is built then: it lies beside
/// the ordinary ones as `gollem-with-crash-points`.
///
/// # Errors
/// As [`crash_points`].
pub fn payment_points() -> Result<Vec<String>, String> {
    let mut points = all_points()?;
    points.retain(|name| name.starts_with(OF_PAYMENTS));
    Ok(points)
}

fn all_points() -> Checked<Vec<String>> {
    let folder = tempfile::tempdir().map_err(doing("a data folder"))?;
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let plan = Plan::new(Binaries::with_crash_points()?, data, log);
    let mut server = plan.spawn(Some("none"))?;
    ensure(!server.ready()?, || "gollem starts without the crash point that it was told".to_owned())?;
    let told = server.told();
    let names = told.trim_end().split_once("only: ").ok_or_else(|| format!("gollem names no crash points: {told}"))?.1;
    Ok(names.split(", ").map(str::to_owned).collect())
}

struct Run {
    random: Random,
    cases: u64,
    missed: BTreeSet<String>,
}

impl Run {
    fn kills(&mut self, kills: u64, points: &[&str]) -> Checked<()> {
        let binaries = if points.is_empty() { Binaries::ordinary() } else { Binaries::with_crash_points() }?;
        while self.cases < kills {
            let mut folder = Folder::found(binaries.clone())?;
            for _ in 0..KILLS_PER_FOLDER.min(kills - self.cases) {
                match self.next_point(points) {
                    Some((point, 1)) => self.kill_at_first_pass(&mut folder, point)?,
                    Some((point, pass)) => {
                        // Some points are passed but once.
                        let killed = folder.kill_at(&format!("{point}:{pass}"), SOON, &mut self.random)?;
                        self.cases += u64::from(killed);
                        continue;
                    }
                    None => folder.kill_at_random(&mut self.random)?,
                }
                self.cases += 1;
            }
            folder.close()?;
        }
        Ok(())
    }

    /// The crash point of this case and its pass; `None` for a random time.
    fn next_point<'a>(&mut self, points: &[&'a str]) -> Option<(&'a str, u64)> {
        let case = usize::try_from(self.cases).unwrap_or(usize::MAX);
        if let Some(first) = points.get(case) {
            return Some((first, 1));
        }
        if points.is_empty() || self.random.below(2) == 0 {
            return None;
        }
        let any = usize::try_from(self.random.below(points.len() as u64)).unwrap_or(0);
        Some((points[any], 2 + self.random.below(PASSES_MAX)))
    }

    fn kill_at_first_pass(&mut self, folder: &mut Folder, point: &str) -> Checked<()> {
        let killed_at = || format!("killed at {point}");
        if folder.kill_at(point, SOON, &mut self.random).map_err(doing(killed_at()))? {
            return Ok(());
        }
        // In a folder of its own, since what fills a segment has to be replayed at each restart.
        let mut own = Folder::found(folder.plan.binaries.clone())?;
        if !own.kill_at(point, LATER, &mut self.random).map_err(doing(killed_at()))? {
            self.missed.insert(point.to_owned());
        }
        own.close()
    }
}

/// A data folder and who acts on it.
struct Folder {
    plan: Plan,
    market: Market,
    /// `None` only between a kill and the restart.
    server: Option<Server>,
    _temporary: TempDir,
}

impl Folder {
    fn found(binaries: Binaries) -> Checked<Folder> {
        let temporary = tempfile::tempdir().map_err(doing("a data folder"))?;
        let plan = Plan::new(binaries, temporary.path().join("data"), temporary.path().join("log"));
        let server = plan.start()?;
        let market = Market::found(&server)?;
        Ok(Folder { plan, market, server: Some(server), _temporary: temporary })
    }

    fn kill_at_random(&mut self, random: &mut Random) -> Checked<()> {
        let server = self.server.take().ok_or("no server runs")?;
        let after = Duration::from_micros(random.below(KILL_US_MAX + 1));
        let traffic = self.market.start(&server, random, false)?;
        pass(after);
        server.kill()?;
        self.market.remember(traffic)?;
        self.recover().map_err(doing(format!("killed after {after:?}")))
    }

    /// Lets a server kill itself at a crash point; false when it never came by, not even at a polite stop.
    fn kill_at(&mut self, crash_at: &str, wait: Wait, random: &mut Random) -> Checked<bool> {
        self.server.take().ok_or("no server runs")?.kill()?;
        let mut server = self.plan.spawn(Some(crash_at))?;
        if server.ready()? {
            let traffic = self.market.start(&server, random, true)?;
            let fillers = fill(&server, wait.fillers)?;
            if !server.ends_within(wait.patience) {
                server.terminate()?;
            }
            self.market.remember(traffic)?;
            fillers.into_iter().for_each(|filler| drop(filler.join()));
        }
        let log = server.told();
        let status = server.ended()?;
        ensure(status.success() || killed(status), || format!("gollem ended with {status} at {crash_at}: {log}"))?;
        self.recover()?;
        Ok(killed(status))
    }

    /// What the kill left is sound, and a new server has it all.
    fn recover(&mut self) -> Checked<()> {
        let audit = self.plan.verify()?;
        let server = self.plan.start()?;
        same_state(&server.admin()?.get("/v1/admin/state")?, &audit)?;
        self.market.check(&server)?;
        self.server = Some(server);
        Ok(())
    }

    /// Looks at everything once more, before and after a polite stop.
    fn close(mut self) -> Checked<()> {
        let server = self.server.take().ok_or("no server runs")?;
        self.market.check_all(&server)?;
        let state = server.admin()?.get("/v1/admin/state")?;
        same_state(&state, &self.plan.verify()?)?;
        server.stop()?;
        same_state(&state, &self.plan.verify()?)?;
        ensure(self.market.effects() > 0, || "nothing took effect in all the rounds".to_owned())
    }
}

fn killed(status: ExitStatus) -> bool {
    status.signal() == Some(rustix::process::Signal::KILL.as_raw())
}
