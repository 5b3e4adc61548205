//! Power cuts under the whole data folder: journal, views and identity store lie on a disk that forgets what was not
//! synced.
//!
//! The power goes at any changing call of the process: in traffic, while it recovers from a kill, while it founds the
//! exchange. What the disk kept is then all there is: nothing unsynced, or by the seed some sectors and names of it. The log must be sound, the server start
//! (a view or a key that is ahead of the log would stop it), both have the same state, and everything acknowledged be
//! there exactly once.

use super::binaries::Binaries;
use super::image::Kept;
use super::mount::{Disk, NoDisk};
use super::server::{Plan, Server, same_state};
use super::traffic::{Market, fill};
use super::{Checked, doing, ensure, outcome, skipped};
use crate::outcome::Outcome;
use gollem_journal::sim::Random;
use std::time::Duration;
use tempfile::TempDir;

/// Cuts of one disk; then another begins, where the founding of the exchange is broken off one call later.
const CUTS_PER_DISK: u64 = 5;
/// Changing calls until a cut are below a power of two up to this one: the first calls of a start or of a round of
/// traffic are worth as many cuts as all that follow.
const CALLS_LOG2_MAX: u64 = 10;
/// Connections that fill segments in some rounds of traffic, so that the log goes on in another one under the cut.
const FILLERS: usize = 8;
/// How long traffic may take to make that many calls; then the power goes all the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// Cuts the power `cuts` times.
pub fn check(cuts: u64, seed: u64) -> Outcome {
    let mut random = Random(seed);
    let mut cases = 0;
    for disks in 0.. {
        let left = cuts - cases;
        if left == 0 {
            break;
        }
        let disk = match Disk::mount() {
            Ok(disk) => disk,
            Err(NoDisk::NotHere(why)) => return skipped(why),
            Err(NoDisk::Failed(why)) => return outcome(cases, seed, Err(why)),
        };
        let ended = Bench::found(disk, disks / 2, disks % 2 == 0, &mut random)
            .and_then(|bench| bench.cut_again_and_again(CUTS_PER_DISK.min(left), &mut random, &mut cases));
        if ended.is_err() {
            return outcome(cases, seed, ended);
        }
    }
    outcome(cases, seed, Ok(()))
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
    /// Founds an exchange on a disk where that was begun before and broken off at this call: by a kill or by a cut.
    fn found(mut disk: Disk, calls: u64, killed: bool, random: &mut Random) -> Checked<Bench> {
        let log = tempfile::tempdir().map_err(doing("a folder for the log"))?;
        let plan = Plan::new(Binaries::ordinary()?, disk.path().join("data"), log.path().join("log"));
        let kept = if killed { Kept::Everything } else { kept(random) };
        disk.cut_after(calls);
        let mut server = plan.spawn(None)?;
        if server.ready()? {
            disk.wait_for_cut(Duration::ZERO);
        }
        server.kill()?;
        disk.power_on(kept)?;
        let server = plan.start().map_err(doing(format!("founding cut at call {calls}, kept {kept:?}")))?;
        let market = Market::found(&server)?;
        Ok(Bench { server: Some(server), plan, market, disk, _log: log })
    }

    fn cut_again_and_again(mut self, cuts: u64, random: &mut Random, cases: &mut u64) -> Checked<()> {
        for _ in 0..cuts {
            if random.below(2) == 0 {
                self.cut_in_traffic(random)?
            } else {
                self.cut_in_start(random)?
            }
            *cases += 1;
        }
        self.close()
    }

    fn cut_in_traffic(&mut self, random: &mut Random) -> Checked<()> {
        let (calls, kept) = (calls(random), kept(random));
        self.traffic_until_cut(calls, random)?;
        self.recover(kept).map_err(doing(format!("power cut at call {calls} of traffic, kept {kept:?}")))
    }

    /// The process is killed at one call, and while the next one recovers, the power goes at another.
    fn cut_in_start(&mut self, random: &mut Random) -> Checked<()> {
        let (killed, calls, kept) = (calls(random), calls(random), kept(random));
        self.traffic_until_cut(killed, random)?;
        self.disk.power_on(Kept::Everything)?;
        self.disk.cut_after(calls);
        let mut server = self.plan.spawn(None)?;
        if server.ready()? {
            self.server = Some(server);
            self.traffic_until_cut(calls, random)?;
        } else {
            server.kill()?;
        }
        let case = format!("kill at call {killed} of traffic, power cut at call {calls} of the start, kept {kept:?}");
        self.recover(kept).map_err(doing(case))
    }

    /// Everybody acts until the disk goes off at that call, or soon after, and the process with it.
    fn traffic_until_cut(&mut self, calls: u64, random: &mut Random) -> Checked<()> {
        let server = self.server.take().ok_or("no server runs")?;
        self.disk.cut_after(calls);
        let traffic = self.market.start(&server, random, true)?;
        let fillers = fill(&server, if random.below(4) == 0 { FILLERS } else { 0 })?;
        self.disk.wait_for_cut(PATIENCE);
        server.kill()?;
        fillers.into_iter().try_for_each(|filler| filler.join().map_err(|_| "a client panicked"))?;
        self.market.remember(traffic)
    }

    /// What the disk kept is sound, and a new server has it all.
    fn recover(&mut self, kept: Kept) -> Checked<()> {
        self.disk.power_on(kept)?;
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

/// Changing calls until a cut.
fn calls(random: &mut Random) -> u64 {
    let log2 = random.below(CALLS_LOG2_MAX + 1);
    random.below(1 << log2)
}

/// What a cut leaves.
fn kept(random: &mut Random) -> Kept {
    if random.below(2) == 0 { Kept::Synced } else { Kept::Some(random.below(u64::MAX)) }
}
