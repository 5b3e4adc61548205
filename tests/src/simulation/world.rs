//! One node on one simulated disk with its clock, its clients and its troubles, turned step by step.
//!
//! Invariants: whatever is random comes from the run's seed, and nothing here waits or reads a real clock. Each check
//! compares the node with [`Truth`], which is read from a copy of the disk as a power cut would leave it.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use gollem_engine::Timestamp;
use gollem_journal::sim::{Random, SimStorage};
use gollem_projections::{Projection, Views};
use gollem_sequencer::sim::Node;
use gollem_sequencer::{Health, Released, SubmitError};

use super::Summary;
use super::clients::Clients;
use super::clock::Clock;
use super::plan::Plan;
use super::truth::{Told, Truth};
use super::workload::workload;

/// Longest time that a part's turn takes.
const TURN_NS_MAX: u64 = 400_000;
/// Turns of every part after which a healthy node has come to rest.
const REST_TURNS: usize = 2_000;

/// What is known of the present life of the node.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// A write or sync failed: nothing may be answered any more. It dies after so many steps.
    pub(super) failed: Option<u64>,
    /// Something on the disk may fail.
    pub(super) may_fail: bool,
    /// The follower is gone with a reason.
    pub(super) follower_gone: bool,
    /// No segment may be removed any more.
    pub(super) kept: bool,
}

/// Everything there is.
pub(super) struct World<'a> {
    pub(super) plan: Plan,
    pub(super) random: Random,
    pub(super) disk: SimStorage,
    pub(super) clock: Clock,
    pub(super) truth: Truth,
    pub(super) clients: Clients,
    pub(super) node: Option<Node<SimStorage>>,
    pub(super) feed: Option<Receiver<Arc<Released>>>,
    pub(super) projection: Option<Projection<'a, SimStorage>>,
    pub(super) views: Option<&'a Views>,
    /// What came out of the feed and was not yet compared with the truth.
    pub(super) fed: Vec<Told>,
    pub(super) fed_seq: u64,
    pub(super) life: Life,
    /// The power goes at the disk's call of this number.
    pub(super) power_at: Option<u64>,
    /// The disk may get full.
    pub(super) limited: bool,
    pub(super) strobe: u64,
    pub(super) frozen: bool,
    /// Kept outside, so that it outlives a panic.
    pub(super) steps: &'a Cell<u64>,
    pub(super) digest: DefaultHasher,
    pub(super) summary: Summary,
}

impl<'a> World<'a> {
    pub(super) fn new(seed: u64, plan: Plan, random: Random, views: Option<&'a Views>, steps: &'a Cell<u64>) -> Self {
        let clients = Clients::new(workload(seed, plan.commands));
        Self {
            plan,
            random,
            disk: SimStorage::new(),
            clock: Clock::new(),
            truth: Truth::new(),
            clients,
            node: None,
            feed: None,
            projection: None,
            views,
            fed: Vec::new(),
            fed_seq: 0,
            life: Life::default(),
            power_at: None,
            limited: false,
            strobe: 0,
            frozen: false,
            steps,
            digest: DefaultHasher::new(),
            summary: Summary::default(),
        }
    }

    /// The whole run.
    pub(super) fn run(&mut self) -> Result<(), String> {
        self.start()?;
        let steps = 40 * self.plan.commands as u64;
        while self.steps.get() < steps && !self.clients.are_done() {
            self.step()?;
        }
        self.rest()?;
        self.end()
    }

    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.random.below(times) == 0
    }

    pub(super) fn node(&mut self) -> Result<&mut Node<SimStorage>, String> {
        self.node.as_mut().ok_or_else(|| "there is no node".to_owned())
    }

    pub(super) fn note(&mut self, what: impl Hash) {
        what.hash(&mut self.digest);
    }

    /// Somebody does something.
    fn step(&mut self) -> Result<(), String> {
        self.steps.set(self.steps.get() + 1);
        let mut left = self.random.below(self.plan.weights.iter().sum());
        let weights = self.plan.weights.iter();
        let part = weights.take_while(|weight| left.checked_sub(**weight).map(|rest| left = rest).is_some()).count();
        match part {
            0 => self.send()?,
            1 => self.collect()?,
            2 => self.turn_matcher()?,
            3 => self.turn_committer()?,
            4 => self.turn_follower()?,
            _ => self.turn_views()?,
        }
        self.note((part, self.disk.calls(), self.clock.shown_ns()));
        let took = self.random.below(TURN_NS_MAX);
        self.clock.pass(took);
        self.trouble()
    }

    fn send(&mut self) -> Result<(), String> {
        if self.clients.unanswered() >= self.plan.window {
            return Ok(());
        }
        let (ingress, health) = {
            let node = self.node()?;
            (node.ingress(), node.status().health())
        };
        match self.clients.send(&ingress, &mut self.truth, &mut self.random) {
            Ok(None) => Ok(()),
            Ok(Some(_)) if health == Health::DiskFull => {
                Err("a command was accepted although the disk is full".to_owned())
            }
            Ok(Some(after_ns)) => {
                self.clock.pass(after_ns);
                Ok(())
            }
            Err(SubmitError::Overloaded) => Err("the queue is full below its limit".to_owned()),
            Err(SubmitError::Unavailable) => {
                self.summary.refused += 1;
                Ok(())
            }
        }
    }

    pub(super) fn collect(&mut self) -> Result<(), String> {
        let count = self.clients.collect(&mut self.random)?;
        if count > 0 && self.life.failed.is_some() {
            return Err("an answer came after the journal had failed".to_owned());
        }
        let seqs: Vec<u64> = self.clients.heard.iter().map(|told| told.seq).collect();
        self.note(seqs);
        if count > 0 && self.one_in(6) { self.prove() } else { Ok(()) }
    }

    fn turn_matcher(&mut self) -> Result<(), String> {
        let worked = self.node()?.turn_matcher();
        self.note(worked);
        Ok(())
    }

    fn turn_committer(&mut self) -> Result<(), String> {
        if self.life.failed.is_some() {
            return Ok(());
        }
        if let Err(error) = self.node()?.turn_committer() {
            // What was answered before may still be on its way.
            self.collect()?;
            if self.node()?.status().health() != Health::JournalFailed {
                return Err("the journal failed, and the node does not say so".to_owned());
            }
            self.life.failed = Some(self.steps.get() + self.random.below(30));
            self.summary.journal_failures += 1;
            if !self.life.may_fail && !self.power_is_off() {
                return Err(format!("the journal failed on a sound disk: {error}"));
            }
        }
        Ok(())
    }

    fn turn_follower(&mut self) -> Result<(), String> {
        let node = self.node()?;
        let turned = node.turn_follower();
        let snapshots = node.follower().map_or(0, |(status, _)| status.snapshots);
        let durable = node.status().durable_seq();
        let ahead = node.follower().is_some_and(|(status, _)| status.seq > durable);
        self.note(snapshots);
        if ahead {
            return Err("the follower is ahead of what is durable".to_owned());
        }
        if let Err(why) = turned {
            self.life.follower_gone = true;
            if !self.life.may_fail && !self.power_is_off() {
                return Err(format!("the follower stopped on a sound disk: {why}"));
            }
        }
        Ok(())
    }

    fn turn_views(&mut self) -> Result<(), String> {
        let status = self.node()?.status();
        let Some(feed) = &self.feed else { return Ok(()) };
        if let Some(projection) = &mut self.projection {
            let gaps = projection.gaps();
            // Nothing is waited for; what has to come from the journal is all read before anything else happens.
            loop {
                let turned = projection.turn(Duration::ZERO);
                turned.map_err(|error| format!("the views stand still: {error}"))?;
                if !projection.is_behind() {
                    break;
                }
            }
            self.summary.gaps += projection.gaps() - gaps;
            if projection.watermark() > status.durable_seq() {
                return Err("the views are ahead of what is durable".to_owned());
            }
        } else if let Ok(batch) = feed.try_recv() {
            for (input, events) in batch.iter() {
                self.summary.gaps += u64::from(input.seq > self.fed_seq + 1);
                if input.seq <= self.fed_seq || input.seq > status.durable_seq() {
                    return Err(format!("the feed tells of input {} after {}", input.seq, self.fed_seq));
                }
                self.fed_seq = input.seq;
                self.fed.push(Told { seq: input.seq, at: input.at, events: events.to_vec() });
            }
        }
        Ok(())
    }

    /// Everything that anyone was told is on the disk when nothing unsynced is kept, and was told as it happened.
    pub(super) fn prove(&mut self) -> Result<(), String> {
        let durable_seq = self.node()?.status().durable_seq();
        self.read_truth(durable_seq)?;
        for told in std::mem::take(&mut self.clients.heard) {
            self.truth.check("a client", &told)?;
        }
        for told in std::mem::take(&mut self.fed) {
            self.truth.check("the feed", &told)?;
        }
        let truth = self.truth.seq();
        let state = self.truth.state_hash();
        if let Some((_, engine)) = self.node()?.follower()
            && engine.last_seq() == truth
            && engine.state_hash() != state
        {
            return Err(format!("the follower's state at input {truth} is another"));
        }
        Ok(())
    }

    pub(super) fn read_truth(&mut self, until: u64) -> Result<(), String> {
        if until < self.truth.seq() {
            return Err(format!("the journal went back from input {} to {until}", self.truth.seq()));
        }
        if until > self.truth.seq() {
            self.truth.read(&self.disk.durable(), until, Timestamp(self.clock.highest_ns()))?;
        }
        Ok(())
    }

    pub(super) fn power_is_off(&self) -> bool {
        self.power_at.is_some_and(|at| self.disk.calls() > at)
    }

    /// Everything works again: what was sent is answered, and everyone catches up.
    fn rest(&mut self) -> Result<(), String> {
        self.give_space();
        let must_restart = self.life.failed.is_some() || self.life.follower_gone;
        if must_restart || self.life.may_fail {
            self.plan.recovery = false;
            self.plan.chances = [0; 3];
            self.restart()?;
        }
        self.heal();
        self.plan.window = self.plan.window.max(1);
        for _ in 0..REST_TURNS {
            self.steps.set(self.steps.get() + 1);
            let waiting = self.clients.unanswered();
            self.send()?;
            self.turn_matcher()?;
            self.turn_committer()?;
            self.turn_matcher()?;
            self.turn_committer()?;
            self.collect()?;
            self.turn_views()?;
            self.turn_views()?;
            self.turn_follower()?;
            if waiting == 0 && self.clients.are_done() && self.at_rest()? {
                return Ok(());
            }
        }
        let (unanswered, health) = (self.clients.unanswered(), self.node()?.status().health());
        Err(format!("does not come to rest: {unanswered} commands unanswered, {health:?}"))
    }

    /// Whether everyone has seen everything, and nothing is overdue.
    fn at_rest(&mut self) -> Result<bool, String> {
        let now = Timestamp(self.clock.shown_ns());
        let views = self.projection.as_ref().map(Projection::watermark);
        let node = self.node()?;
        let last = node.engine().last_seq();
        let overdue = node.engine().next_deadline().is_some_and(|deadline| deadline <= now);
        let followed = node.follower().is_some_and(|(status, _)| status.seq == last);
        Ok(!overdue && followed && node.status().durable_seq() == last && views.is_none_or(|seq| seq == last))
    }

    /// The last comparisons, a clean stop, and a start after it.
    fn end(&mut self) -> Result<(), String> {
        self.prove()?;
        let last = self.truth.seq();
        let state = self.truth.state_hash();
        let node = self.node()?;
        if node.engine().last_seq() != last || node.engine().state_hash() != state {
            return Err("the node's state is not that of the replay".to_owned());
        }
        let follower = node.follower().map(|(status, engine)| (status, engine.state_hash()));
        let Some((status, hash)) = follower else { return Err("the follower is gone".to_owned()) };
        if hash != state {
            return Err("the follower's state is not that of the replay".to_owned());
        }
        self.summary.snapshots += status.snapshots;
        if let Some(node) = self.node.take() {
            let engine = node.stop().map_err(|error| format!("does not stop: {error}"))?;
            if engine.state_hash() != state {
                return Err("the state changed while it stopped".to_owned());
            }
        }
        let opened = self.open().map_err(|error| format!("does not start after a clean stop: {error}"))?;
        if !opened.found().journal.clean || opened.engine().state_hash() != state {
            return Err("a clean stop was not clean".to_owned());
        }
        drop(opened);
        self.note((format!("{state:?}"), last, self.disk.calls(), self.disk.syncs()));
        let files = self.disk.files();
        self.note(files);
        self.summary.digest = self.digest.finish();
        self.summary.simulated_ns = self.clock.passed_ns();
        self.summary.steps = self.steps.get();
        self.summary.inputs = last;
        self.summary.answered = self.clients.answered;
        self.summary.resent = self.clients.resent;
        Ok(())
    }
}
