//! What goes wrong between two steps, and what an operator does: segments are removed when nobody needs them.

use std::io::ErrorKind;

use gollem_journal::sim::Fault;
use gollem_journal::{Slot, SnapshotStore, remove_segments_before};
use gollem_projections::Projection;

use super::plan::{Plan, index};
use super::world::World;

const HOUR_S: u64 = 3_600;
const SECOND_NS: i64 = 1_000_000_000;

impl World<'_> {
    /// What goes wrong between two steps.
    pub(super) fn trouble(&mut self) -> Result<(), String> {
        if self.strobe > 0 {
            self.strobe -= 1;
            self.clock.step(if self.strobe.is_multiple_of(2) { SECOND_NS } else { -SECOND_NS });
        }
        if self.power_is_off() {
            return self.cut_power();
        }
        if self.life.failed.is_some_and(|dies_at| dies_at <= self.steps.get()) {
            return self.restart();
        }
        if self.plan.retention && self.one_in(64) {
            self.retain()?;
        }
        if self.one_in(self.plan.fault_every) { self.fault() } else { Ok(()) }
    }

    pub(super) fn fault(&mut self) -> Result<(), String> {
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

    pub(super) fn fill_or_empty(&mut self) {
        if self.one_in(3) {
            self.give_space();
        } else {
            let free = index(&mut self.random, 40_000);
            self.disk.set_capacity(self.disk.used() + free);
            self.limited = true;
            self.summary.full_disks += 1;
        }
    }

    pub(super) fn give_space(&mut self) {
        self.disk.set_capacity(usize::MAX);
        self.limited = false;
    }

    pub(super) fn flip(&mut self) {
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

    pub(super) fn disturb_clock(&mut self) {
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
    pub(super) fn retain(&mut self) -> Result<(), String> {
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
}
