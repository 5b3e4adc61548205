//! What a seed decides before a run begins. A seed enables a random subset of the faults: all at once hide each other.

use gollem_journal::sim::Random;

/// Which faults a run may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// A random subset of all.
    Swarm,
    /// Only the clock's, and more of them.
    Clock,
}

/// A run's settings.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) commands: usize,
    /// How often the parts have their turns, relative to each other: clients, answers, matcher, committer, follower, views.
    pub(super) weights: [u64; 6],
    /// Most unanswered commands.
    pub(super) window: usize,
    pub(super) feed_batches: usize,
    pub(super) snapshot_every_bytes: u64,
    /// One step in so many has a fault.
    pub(super) fault_every: u64,
    pub(super) crash: bool,
    pub(super) power: bool,
    pub(super) recovery: bool,
    pub(super) full: bool,
    pub(super) flips: bool,
    pub(super) clock: bool,
    pub(super) retention: bool,
    /// Views in a real store, rather than the feed read by itself.
    pub(super) views: bool,
    /// Calls in a thousand that fail, stop short, are interrupted.
    pub(super) chances: [u64; 3],
}

impl Plan {
    pub(super) fn new(faults: Faults, random: &mut Random) -> Self {
        let mut one_in = |times| random.below(times) == 0;
        let swarm = faults == Faults::Swarm;
        let [crash, power, recovery, full, clock] = [2, 2, 2, 4, 3].map(|times| one_in(times) && swarm);
        let [errors, partial, interrupted] = [6, 4, 4].map(|times| one_in(times) && swarm);
        let (flips, retention, views) = (one_in(4) && swarm, one_in(3), one_in(12));
        let chance = |enabled: bool, most, random: &mut Random| if enabled { 1 + random.below(most) } else { 0 };
        let chances = [chance(errors, 8, random), chance(partial, 100, random), chance(interrupted, 100, random)];
        Self {
            commands: 100 + index(random, 300),
            weights: [0; 6].map(|_| 1 + random.below(8)),
            window: 1 + index(random, 32),
            feed_batches: 1 + index(random, 8),
            snapshot_every_bytes: 2_000 + random.below(20_000),
            fault_every: if swarm { 50 + random.below(100) * random.below(10) } else { 8 },
            crash,
            power,
            recovery,
            full,
            flips: flips && !retention,
            clock: clock || !swarm,
            retention,
            views,
            chances,
        }
    }
}

/// A random index below `limit`.
pub(super) fn index(random: &mut Random, limit: usize) -> usize {
    usize::try_from(random.below(limit.max(1) as u64)).unwrap_or(0)
}
