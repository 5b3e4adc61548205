//! Row 2: the power fails before or after any sync, and the disk keeps nothing or any subset of what was not synced.
//!
//! At each sync of a random life of a journal (openings, groups, rotations, clean and unclean stops) the disk is copied,
//! the power of the copy is cut, and the copy must open with everything acknowledged so far, in whole groups, and go on.
//! Meanwhile a reader follows the journal up to what is durable, and sees just that.
//! One copy in eight loses power again while it recovers. One seed in eight does this to the whole pipeline instead.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use gollem_journal::sim::{Fault, Random, SimStorage};
use gollem_journal::{Position, Record, Tail, TailStop};

use super::Run;
use super::disk::{Call, WatchedDisk, Watcher, lock};
use super::model::{Kept, Model, goes_on, open, sizes};
use super::pipeline;
use crate::outcome::Outcome;

pub(crate) fn run(run: &Run) -> Outcome {
    run.each(|seed| if seed.is_multiple_of(8) { pipeline::cut_power(seed) } else { cut_power(seed) })
}

/// Cuts the power of copies.
#[derive(Debug, Default)]
struct Cuts {
    model: Mutex<Model>,
    first_failure: Mutex<Option<String>>,
    cuts: AtomicU64,
    /// Follows the journal since it was opened, with what it has seen.
    follower: Mutex<Option<(Tail<SimStorage>, Vec<Kept>)>>,
}

impl Cuts {
    fn model(&self) -> MutexGuard<'_, Model> {
        lock(&self.model)
    }

    /// Begins to follow, from the start.
    fn follow(&self, disk: &SimStorage) {
        *lock(&self.follower) = Some((Tail::new(disk.clone(), Position::START), Vec::new()));
    }

    fn fail(&self, what: String) {
        lock(&self.first_failure).get_or_insert(what);
    }

    fn read_on(&self, model: &Model) {
        let mut follower = lock(&self.follower);
        let Some((tail, seen)) = follower.as_mut() else { return };
        let mut visit = |record: Record<'_>| {
            seen.push((record.seq, record.time_ns, record.payload.to_vec()));
            Ok::<(), Infallible>(())
        };
        loop {
            match tail.read(model.acked, &mut visit) {
                Ok(TailStop::SegmentEnd) => {}
                Ok(TailStop::Reached) => break,
                Err(error) => return self.fail(format!("a follower stops below {}: {error}", model.acked)),
            }
        }
        if model.records.get(..seen.len()) != Some(seen) || seen.len() as u64 != model.acked {
            self.fail(format!("a follower saw {} records, {} are durable", seen.len(), model.acked));
        }
    }

    fn cut(&self, disk: &SimStorage, when: &str) {
        let model = self.model().clone();
        self.read_on(&model);
        for keep in [false, true] {
            let number = self.cuts.fetch_add(1, Ordering::Relaxed);
            let subset = keep.then_some(number.wrapping_mul(0x9E37_79B9) ^ model.acked);
            if let Err(what) = survives(&disk.fork(), &model, subset, number.is_multiple_of(8)) {
                let kept = if keep { "a subset" } else { "nothing" };
                self.fail(format!("power cut {number}, {when} a sync, {kept} kept: {what}"));
            }
        }
    }
}

impl Watcher for Cuts {
    fn before(&self, disk: &SimStorage, call: Call) -> Option<Fault> {
        if call == Call::Sync {
            self.cut(disk, "before");
        }
        None
    }

    fn after(&self, disk: &SimStorage, call: Call) {
        if call == Call::Sync {
            self.cut(disk, "after");
        }
    }
}

fn survives(disk: &SimStorage, model: &Model, subset: Option<u64>, again: bool) -> Result<(), String> {
    disk.power_cycle(subset);
    if again {
        let at = Random(subset.unwrap_or(model.acked)).below(10);
        disk.plan(disk.calls() + at, Fault::PowerCut);
        // It may get past the call: then it has recovered, and what it found must stay.
        let mut model = model.clone();
        if let Ok((opened, found)) = open(disk, model.acked) {
            model.recovered(&found).map_err(|what| format!("power to fail again at call {at}: {what}"))?;
            drop(opened);
        }
        disk.power_cycle(subset);
        return goes_on(disk, &model)
            .map_err(|what| format!("power failed again at call {at} of the recovery: {what}"));
    }
    goes_on(disk, model)
}

/// One life of a journal; returns how many cuts it went through.
fn cut_power(seed: u64) -> Result<u64, String> {
    let mut random = Random(seed);
    let disk = WatchedDisk::new(Cuts::default());
    let cuts = &disk.watcher;
    for _ in 0..2 + random.below(2) {
        let (mut opened, found) = open(&disk, 0).map_err(|error| format!("does not open: {error}"))?;
        cuts.model().recovered(&found)?;
        cuts.follow(&disk.disk);
        for _ in 0..1 + random.below(4) {
            let mut group = cuts.model().group(&mut opened.encoder, &sizes(&mut random), &mut random)?;
            let durable = opened.writer.commit(&mut group).map_err(|error| format!("not written: {error}"))?;
            cuts.model().acked = durable.seq();
        }
        match random.below(3) {
            0 => drop(opened),
            1 => {
                drop(opened);
                *lock(&cuts.follower) = None;
                disk.disk.power_cycle(Some(seed));
            }
            _ => opened.writer.close().map_err(|error| format!("does not close: {error}"))?,
        }
    }
    let failure = lock(&cuts.first_failure).take();
    failure.map_or_else(|| Ok(cuts.cuts.load(Ordering::Relaxed)), Err)
}
