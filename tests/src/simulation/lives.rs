//! How the node dies and starts again, and what a start must find.

use std::io::ErrorKind;
use std::path::PathBuf;

use gollem_engine::Capacity;
use gollem_journal::sim::{Chances, Fault, SEGMENT_BYTES, SimStorage};
use gollem_projections::Projection;
use gollem_sequencer::sim::Node;
use gollem_sequencer::{Feed, FollowerOptions, Options, Pinning, StartError, TimeSource};

use super::world::{Life, World};

/// Inputs that a slow feed gathers before it drops some.
const BACKLOG_INPUTS: usize = 8;

impl World<'_> {
    pub(super) fn cut_power(&mut self) -> Result<(), String> {
        self.summary.power_cuts += 1;
        self.die()?;
        self.power_cycle()?;
        self.start()
    }

    pub(super) fn power_cycle(&mut self) -> Result<(), String> {
        let kept = if self.one_in(3) { None } else { Some(self.random.below(u64::MAX)) };
        self.disk.power_cycle(kept);
        self.power_at = None;
        // What RocksDB had not written back is folded again.
        if let Some(views) = self.views
            && !self.plan.retention
            && self.random.below(2) == 0
        {
            views.clear().map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The process dies and is started again; the page cache survives.
    pub(super) fn restart(&mut self) -> Result<(), String> {
        self.die()?;
        self.start()
    }

    pub(super) fn die(&mut self) -> Result<(), String> {
        (self.node, self.feed, self.projection) = (None, None, None);
        // Answers that were under way when it died.
        let count = self.clients.collect(&mut self.random)?;
        if count > 0 && self.life.failed.is_some() {
            return Err("an answer came after the journal had failed".to_owned());
        }
        Ok(())
    }

    pub(super) fn start(&mut self) -> Result<(), String> {
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
                self.power_cycle()?;
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
    pub(super) fn heal(&mut self) {
        self.disk.set_chances(0, Chances::default());
        // A call that is never made.
        self.disk.plan(u64::MAX, Fault::PowerCut);
        self.power_at = None;
        self.life.may_fail = false;
    }

    pub(super) fn open(&mut self) -> Result<Node<SimStorage>, StartError> {
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
        // As the gateway does it: the views catch up later, but the journal must reach what they have seen.
        let watermark = views.watermark().map_err(|error| StartError::Thread(std::io::Error::other(error)))?;
        Node::open(self.disk.clone(), &options, watermark, Some(feed), None)
    }

    /// What a start found is all that was acknowledged, and durable by now.
    pub(super) fn recovered(&mut self) -> Result<(), String> {
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
        if found.snapshot_seq > 0 {
            self.summary.from_snapshots += 1;
            self.truth.restored();
        }
        if !self.plan.flips && !found.passed_over.is_empty() {
            return Err(format!("snapshots were passed over: {:?}", found.passed_over));
        }
        Ok(())
    }

    pub(super) fn follow(&mut self) -> Result<(), String> {
        let options = FollowerOptions { snapshot_every_bytes: self.plan.snapshot_every_bytes, heads: None };
        let disk = self.disk.clone();
        self.node()?.follow(disk, options)?;
        if let (Some(views), Some(feed)) = (self.views, self.feed.clone()) {
            let status = self.node()?.status();
            let projection = Projection::new(views, feed, status, self.disk.clone());
            self.projection = Some(projection.map_err(|error| error.to_string())?);
        }
        Ok(())
    }
}
