//! Power cuts under the whole data folder: journal, views and identity store lie on a disk that forgets what was not
//! synced.
//!
//! The power goes at any changing call of the process, in traffic or while it starts. What the disk kept is then all
//! there is: nothing unsynced, or by the seed some sectors and names of it. The log must be sound, the server start
//! (a view or a key that is ahead of the log would stop it), both have the same state, and everything acknowledged be
//! there exactly once.

use super::binaries::Binaries;
use super::mount::{Disk, NoDisk};
use super::server::{Plan, Server, same_state};
use super::traffic::Market;
use super::{Checked, doing, ensure, outcome, skipped};
use crate::outcome::Outcome;
use gollem_journal::sim::Random;
use std::time::Duration;
use tempfile::TempDir;

/// Cuts of one disk; then it begins anew, since what an exchange founds is worth cutting too.
const CUTS_PER_DISK: u64 = 10;
/// Changing calls until a cut in traffic, and in a start.
const TRAFFIC_CALLS_MAX: u64 = 300;
const START_CALLS_MAX: u64 = 200;
/// How long traffic may take to make that many calls; then the power goes all the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// Cuts the power `cuts` times.
pub fn check(cuts: u64, seed: u64) -> Outcome {
    let mut random = Random(seed);
    let mut cases = 0;
    while cases < cuts {
        let disk = match Disk::mount() {
            Ok(disk) => disk,
            Err(NoDisk::NotHere(why)) => return skipped(why),
            Err(NoDisk::Failed(why)) => return outcome(cases, seed, Err(why)),
        };
        let ended = cut_again_and_again(disk, CUTS_PER_DISK.min(cuts - cases), &mut random, &mut cases);
        if ended.is_err() {
            return outcome(cases, seed, ended);
        }
    }
    outcome(cases, seed, Ok(()))
}

fn cut_again_and_again(disk: Disk, cuts: u64, random: &mut Random, cases: &mut u64) -> Checked<()> {
    let mut bench = Bench::found(disk)?;
    for _ in 0..cuts {
        let seed = (random.below(2) == 1).then(|| random.below(u64::MAX));
        if random.below(3) == 0 {
            bench.cut_in_start(random.below(START_CALLS_MAX), seed, random)?;
        } else {
            bench.cut_in_traffic(random.below(TRAFFIC_CALLS_MAX), seed, random)?;
        }
        *cases += 1;
    }
    bench.close()
}

/// An exchange that lives on a disk.
struct Bench {
    /// Before the disk, so that nobody has a file of it open when it goes. `None` only while the power is off.
    server: Option<Server>,
    plan: Plan,
    market: Market,
    disk: Disk,
    _log: TempDir,
}

impl Bench {
    fn found(disk: Disk) -> Checked<Bench> {
        let log = tempfile::tempdir().map_err(doing("a folder for the log"))?;
        let binaries = Binaries::ordinary()?;
        let plan = Plan { binaries, data: disk.path().join("data"), log: log.path().join("log") };
        let server = plan.start()?;
        let market = Market::found(&server)?;
        Ok(Bench { server: Some(server), plan, market, disk, _log: log })
    }

    fn cut_in_traffic(&mut self, calls: u64, seed: Option<u64>, random: &mut Random) -> Checked<()> {
        let server = self.server.take().ok_or("no server runs")?;
        self.disk.cut_after(calls);
        let traffic = self.market.start(&server, random, true)?;
        self.disk.wait_for_cut(PATIENCE);
        server.kill()?;
        self.market.remember(traffic)?;
        self.recover(seed).map_err(doing(format!("power cut at call {calls} of traffic, kept by {seed:?}")))
    }

    /// The process is killed, and while the next one recovers, the power goes too.
    fn cut_in_start(&mut self, calls: u64, seed: Option<u64>, random: &mut Random) -> Checked<()> {
        let server = self.server.take().ok_or("no server runs")?;
        let traffic = self.market.start(&server, random, false)?;
        server.kill()?;
        self.market.remember(traffic)?;
        self.disk.cut_after(calls);
        let mut server = self.plan.spawn(None)?;
        if server.ready()? {
            let traffic = self.market.start(&server, random, true)?;
            self.disk.wait_for_cut(PATIENCE);
            server.kill()?;
            self.market.remember(traffic)?;
        } else {
            server.kill()?;
        }
        self.recover(seed).map_err(doing(format!("power cut at call {calls} of a start, kept by {seed:?}")))
    }

    /// What the disk kept is sound, and a new server has it all.
    fn recover(&mut self, seed: Option<u64>) -> Checked<()> {
        self.disk.power_on(seed)?;
        let audit = self.plan.verify()?;
        let server = self.plan.start()?;
        same_state(&server.admin()?.get("/v1/admin/state")?, &audit)?;
        self.market.check(&server)?;
        self.server = Some(server);
        Ok(())
    }

    fn close(mut self) -> Checked<()> {
        let server = self.server.take().ok_or("no server runs")?;
        self.market.check_all(&server)?;
        server.stop()?;
        ensure(self.market.effects() > 0, || "nothing took effect in all the rounds".to_owned())
    }
}
