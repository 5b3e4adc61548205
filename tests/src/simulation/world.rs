//! One node on one simulated disk with its clock, its clients and its troubles, turned step by step.
//!
//! Invariants: whatever is random comes from the run's seed, and nothing here waits or reads a real clock. Each check
//! compares the node with [`Truth`], which is read from a copy of the disk as a power cut would leave it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use gollem_engine::{Capacity, Timestamp};
use gollem_journal::sim::{Chances, Fault, Random, SEGMENT_BYTES, SimStorage};
use gollem_journal::{Slot, SnapshotStore, remove_segments_before};
use gollem_projections::{Fold, Projection, Views};
use gollem_sequencer::sim::Node;
use gollem_sequencer::{
    Feed, FollowerOptions, Health, Observer, Options, Pinning, Released, StartError, SubmitError, TimeSource,
};

use super::Summary;
use super::clients::Clients;
use super::clock::Clock;
use super::plan::{Plan, index};
use super::truth::{Told, Truth};
use super::workload::workload;

const HOUR_S: u64 = 3_600;
const SECOND_NS: i64 = 1_000_000_000;
/// Longest time that a part's turn takes.
const TURN_NS_MAX: u64 = 400_000;
/// Inputs that a slow feed gathers before it drops some.
const BACKLOG_INPUTS: usize = 8;
/// Turns of every part after which a healthy node has come to rest.
const REST_TURNS: usize = 2_000;

/// What is known of the present life of the node.
#[derive(Debug, Default)]
struct Life {
    /// A write or sync failed: nothing may be answered any more. It dies after so many steps.
    failed: Option<u64>,
    /// Something on the disk may fail.
    may_fail: bool,
    /// The follower is gone with a reason.
    follower_gone: bool,
    /// No segment may be removed any more.
    kept: bool,
}

/// Everything there is.
pub(super) struct World<'a> {
    pub(super) plan: Plan,
    random: Random,
    pub(super) disk: SimStorage,
    clock: Clock,
    pub(super) truth: Truth,
    clients: Clients,
    node: Option<Node<SimStorage>>,
    feed: Option<Receiver<Arc<Released>>>,
    projection: Option<Projection<'a, SimStorage>>,
    views: Option<&'a Views>,
    /// What came out of the feed and was not yet compared with the truth.
    fed: Vec<Told>,
    fed_seq: u64,
    life: Life,
    /// The power goes at the disk's call of this number.
    power_at: Option<u64>,
    /// The disk may get full.
    limited: bool,
    strobe: u64,
    frozen: bool,
    pub(super) steps: u64,
    digest: DefaultHasher,
    pub(super) summary: Summary,
}

impl<'a> World<'a> {
    pub(super) fn new(seed: u64, plan: Plan, random: Random, views: Option<&'a Views>) -> Self {
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
            steps: 0,
            digest: DefaultHasher::new(),
            summary: Summary::default(),
        }
    }

    /// The whole run.
    pub(super) fn run(&mut self) -> Result<(), String> {
        self.start()?;
        let steps = 40 * self.plan.commands as u64;
        while self.steps < steps && !self.clients.are_done() {
            self.step()?;
        }
        self.rest()?;
        self.end()
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.random.below(times) == 0
    }

    fn node(&mut self) -> Result<&mut Node<SimStorage>, String> {
        self.node.as_mut().ok_or_else(|| "there is no node".to_owned())
    }

    fn note(&mut self, what: impl Hash) {
        what.hash(&mut self.digest);
    }

    /// Somebody does something.
    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
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

    fn collect(&mut self) -> Result<(), String> {
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
            self.life.failed = Some(self.steps + self.random.below(30));
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
        let received = feed.try_recv().map_err(|error| match error {
            TryRecvError::Empty => RecvTimeoutError::Timeout,
            TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
        });
        if let Some(projection) = &mut self.projection {
            let before = projection.watermark();
            self.summary.gaps += u64::from(received.as_ref().is_ok_and(|batch| batch.first_seq() > before + 1));
            projection.turn(received, feed, &status).map_err(|error| format!("the views stand still: {error}"))?;
            if projection.watermark() > status.durable_seq() {
                return Err("the views are ahead of what is durable".to_owned());
            }
        } else if let Ok(batch) = received {
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
    fn prove(&mut self) -> Result<(), String> {
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

    fn read_truth(&mut self, until: u64) -> Result<(), String> {
        if until < self.truth.seq() {
            return Err(format!("the journal went back from input {} to {until}", self.truth.seq()));
        }
        if until > self.truth.seq() {
            self.truth.read(&self.disk.durable(), until, Timestamp(self.clock.highest_ns()))?;
        }
        Ok(())
    }

    fn power_is_off(&self) -> bool {
        self.power_at.is_some_and(|at| self.disk.calls() > at)
    }

    /// What goes wrong between two steps.
    fn trouble(&mut self) -> Result<(), String> {
        if self.strobe > 0 {
            self.strobe -= 1;
            self.clock.step(if self.strobe.is_multiple_of(2) { SECOND_NS } else { -SECOND_NS });
        }
        if self.power_is_off() {
            return self.cut_power();
        }
        if self.life.failed.is_some_and(|dies_at| dies_at <= self.steps) {
            return self.restart();
        }
        if self.plan.retention && self.one_in(64) {
            self.retain()?;
        }
        if self.one_in(self.plan.fault_every) { self.fault() } else { Ok(()) }
    }

    fn fault(&mut self) -> Result<(), String> {
        let Plan { crash, power, full, flips, clock, chances, .. } = self.plan;
        let enabled = [crash, power, power, full, flips, clock, chances[0] > 0];
        let kinds: Vec<usize> = (0..enabled.len()).filter(|&kind| enabled[kind]).collect();
        let Some(&kind) = kinds.get(index(&mut self.random, kinds.len())) else { return Ok(()) };
        self.note(kind);
        match kind {
            0 => {
                self.summary.crashes += 1;
                return self.restart();
            }
            1 => return self.cut_power(),
            2 => {
                let at = self.disk.calls() + self.random.below(40);
                self.power_at = Some(at);
                self.disk.plan(at, Fault::PowerCut);
            }
            3 => self.fill_or_empty(),
            4 => self.flip(),
            5 => self.disturb_clock(),
            _ if self.power_at.is_none() => {
                let at = self.disk.calls() + self.random.below(20);
                let short = Fault::Short(index(&mut self.random, 3_000));
                let fault = if self.one_in(2) { short } else { Fault::Error(ErrorKind::Other) };
                self.disk.plan(at, fault);
                self.life.may_fail = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn fill_or_empty(&mut self) {
        if self.one_in(3) {
            self.give_space();
        } else {
            let free = index(&mut self.random, 40_000);
            self.disk.set_capacity(self.disk.used() + free);
            self.limited = true;
            self.summary.full_disks += 1;
        }
    }

    fn give_space(&mut self) {
        self.disk.set_capacity(usize::MAX);
        self.limited = false;
    }

    fn flip(&mut self) {
        let name = ["snapshot.0", "snapshot.1"][index(&mut self.random, 2)];
        if let Some(mut bytes) = self.disk.get(name)
            && !bytes.is_empty()
        {
            let at = index(&mut self.random, bytes.len());
            bytes[at] ^= 1 << self.random.below(8);
            self.disk.put(name, &bytes);
            self.summary.flips += 1;
        }
    }

    fn disturb_clock(&mut self) {
        self.summary.clock_faults += 1;
        match self.random.below(4) {
            0 => self.strobe = 1 + self.random.below(40),
            1 => {
                self.frozen = !self.frozen;
                self.clock.set_frozen(self.frozen);
            }
            _ => {
                let seconds = self.random.below(2 * HOUR_S + 1).cast_signed() - HOUR_S.cast_signed();
                self.clock.step(seconds * SECOND_NS);
            }
        }
    }

    /// Segments go that neither the snapshots nor the views need any more.
    fn retain(&mut self) -> Result<(), String> {
        if self.life.kept {
            return Ok(());
        }
        self.prove()?;
        let slots = SnapshotStore::new(self.disk.clone()).list().map_err(|error| error.to_string())?;
        let mut needed = self.projection.as_ref().map_or(u64::MAX, Projection::watermark);
        for slot in slots {
            needed = needed.min(match slot {
                Slot::Sound(checkpoint) => checkpoint.position.seq,
                Slot::Empty | Slot::Damaged(_) => 0,
            });
        }
        needed = self.node()?.follower().map_or(0, |(status, _)| needed.min(status.seq));
        match remove_segments_before(&self.disk, needed.saturating_add(1)) {
            Ok(removed) => self.summary.segments_removed += removed.len() as u64,
            Err(error) if !self.life.may_fail && !self.power_is_off() => return Err(error.to_string()),
            Err(_) => self.life.kept = true,
        }
        Ok(())
    }

    fn cut_power(&mut self) -> Result<(), String> {
        self.summary.power_cuts += 1;
        self.die()?;
        self.power_cycle();
        self.start()
    }

    fn power_cycle(&mut self) {
        let kept = if self.one_in(3) { None } else { Some(self.random.below(u64::MAX)) };
        self.disk.power_cycle(kept);
        self.power_at = None;
        // What RocksDB had not written back is folded again.
        if let Some(views) = self.views
            && !self.plan.retention
            && self.random.below(2) == 0
        {
            drop(views.clear());
        }
    }

    /// The process dies and is started again; the page cache survives.
    fn restart(&mut self) -> Result<(), String> {
        self.die()?;
        self.start()
    }

    fn die(&mut self) -> Result<(), String> {
        (self.node, self.feed, self.projection) = (None, None, None);
        // Answers that were under way when it died.
        let count = self.clients.collect(&mut self.random)?;
        if count > 0 && self.life.failed.is_some() {
            return Err("an answer came after the journal had failed".to_owned());
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), String> {
        self.summary.starts += 1;
        let mut fails = if self.plan.recovery { self.random.below(3) } else { 0 };
        loop {
            self.life = Life { may_fail: self.life.may_fail, ..Life::default() };
            if fails > 0 {
                fails -= 1;
                let at = self.disk.calls() + self.random.below(20);
                if self.one_in(2) {
                    self.power_at = Some(at);
                    self.disk.plan(at, Fault::PowerCut);
                } else {
                    self.disk.plan(at, Fault::Error(ErrorKind::Other));
                    self.life.may_fail = true;
                }
            } else {
                self.heal();
            }
            let opened = self.open();
            if self.power_is_off() {
                drop(opened);
                self.summary.recoveries_cut += 1;
                self.power_cycle();
                continue;
            }
            match opened {
                Ok(node) => {
                    self.node = Some(node);
                    break;
                }
                Err(_) if fails > 0 || self.life.may_fail || self.limited => {
                    self.summary.recoveries_cut += 1;
                    self.give_space();
                    fails = 0;
                    self.life.may_fail = false;
                }
                Err(error) => return Err(format!("does not start: {error}")),
            }
        }
        self.recovered()?;
        let [error, partial, interrupted] = self.plan.chances;
        let error = if self.one_in(2) { error } else { 0 };
        let seed = self.random.below(u64::MAX);
        self.disk.set_chances(seed, Chances { error, partial, interrupted });
        self.life.may_fail |= error > 0;
        self.follow()
    }

    /// The disk works again.
    fn heal(&mut self) {
        self.disk.set_chances(0, Chances::default());
        // A call that is never made.
        self.disk.plan(u64::MAX, Fault::PowerCut);
        self.power_at = None;
        self.life.may_fail = false;
    }

    fn open(&mut self) -> Result<Node<SimStorage>, StartError> {
        let journal = gollem_journal::Options { segment_bytes: SEGMENT_BYTES, prepare_ahead: false };
        let options = Options {
            journal,
            queue_commands_max: 256,
            pinning: Pinning::Off,
            time: TimeSource::Given(self.clock.source()),
            capacity: Capacity::default(),
            ..Options::new(PathBuf::from("sim"))
        };
        let (feed, reader) = Feed::new(self.plan.feed_batches, BACKLOG_INPUTS);
        self.feed = Some(reader);
        let Some(views) = self.views else {
            return Node::open(self.disk.clone(), &options, 0, Some(feed), None);
        };
        // As the gateway does it: what was recovered is folded before the first command.
        let mut fold = Fold::new(views).map_err(|error| StartError::Thread(std::io::Error::other(error)))?;
        let watermark = fold.watermark();
        let mut told = Ok(());
        let mut tell = |seq, at, events: &[_]| {
            if told.is_ok() {
                told = fold.apply(seq, at, events);
            }
        };
        let observer = Observer { after: watermark, tell: &mut tell };
        let node = Node::open(self.disk.clone(), &options, watermark, Some(feed), Some(observer))?;
        told.and_then(|()| fold.flush()).map_err(|error| StartError::Thread(std::io::Error::other(error)))?;
        Ok(node)
    }

    /// What a start found is all that was acknowledged, and durable by now.
    fn recovered(&mut self) -> Result<(), String> {
        let node = self.node()?;
        let (found, engine_seq) = (node.found().clone(), node.engine().last_seq());
        let (state, sum) = (node.engine().state_hash(), node.engine().ledger_sum());
        let last_seq = found.journal.last_seq;
        self.note((last_seq, found.snapshot_seq, found.journal.torn_bytes));
        self.read_truth(last_seq)?;
        self.truth.died();
        for told in std::mem::take(&mut self.clients.heard) {
            self.truth.check("a client", &told)?;
        }
        for told in std::mem::take(&mut self.fed) {
            self.truth.check("the feed", &told)?;
        }
        self.fed_seq = last_seq;
        if engine_seq != last_seq || state != self.truth.state_hash() || sum != 0 {
            return Err(format!("recovered another state at input {last_seq}, from {}", found.snapshot_seq));
        }
        self.summary.from_snapshots += u64::from(found.snapshot_seq > 0);
        if !self.plan.flips && !found.passed_over.is_empty() {
            return Err(format!("snapshots were passed over: {:?}", found.passed_over));
        }
        Ok(())
    }

    fn follow(&mut self) -> Result<(), String> {
        let options = FollowerOptions { snapshot_every_bytes: self.plan.snapshot_every_bytes, heads: None };
        let disk = self.disk.clone();
        self.node()?.follow(disk, options)?;
        if let Some(views) = self.views {
            let projection = Projection::new(views, self.disk.clone());
            self.projection = Some(projection.map_err(|error| error.to_string())?);
        }
        Ok(())
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
            self.steps += 1;
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
        self.summary.steps = self.steps;
        self.summary.inputs = last;
        self.summary.answered = self.clients.answered;
        self.summary.resent = self.clients.resent;
        Ok(())
    }
}
