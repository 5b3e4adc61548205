//! Row 6: a sync fails, once or from then on.
//!
//! A failed sync loses what was unsynced while it is still read back, as on Linux. Whoever met it must acknowledge
//! nothing more and sync nothing more; a restart, with or without a power cut before it, must find everything
//! acknowledged, and what it finds must stay.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gollem_journal::sim::{Fault, Random, SimStorage};

use super::Run;
use super::disk::{Call, WatchedDisk, Watcher};
use super::model::{Model, below, goes_on, open};
use super::pipeline;
use crate::outcome::Outcome;

/// Cases of each sync: once or from then on, with or without a power cut, and the whole pipeline.
pub(crate) const WAYS: u64 = 5;
/// Syncs that fail in turn.
const SYNCS: u64 = 500;
/// Syncs of the pipeline that fail in turn: few, since each command waits for its answer.
const PIPELINE_SYNCS: u64 = 40;

pub(crate) fn run(run: &Run) -> Outcome {
    run.each(|seed| {
        for (forever, cut) in [(false, false), (false, true), (true, false), (true, true)] {
            let context =
                |what| format!("sync {} fails, from then on {forever}, power cut {cut}: {what}", seed % SYNCS);
            fail(seed, forever, cut).map_err(context)?;
        }
        pipeline::fail_sync(seed, seed % PIPELINE_SYNCS).map_err(|what| format!("the pipeline: {what}"))?;
        Ok(WAYS)
    })
}

/// Lets one sync fail, and counts those that are tried afterwards.
#[derive(Debug)]
struct FailingSync {
    number: u64,
    forever: bool,
    syncs: AtomicU64,
    over: AtomicBool,
}

impl FailingSync {
    fn failed(&self) -> bool {
        self.syncs.load(Ordering::Relaxed) > self.number
    }

    /// Syncs tried after the one that failed.
    fn tried_again(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed).saturating_sub(self.number + 1)
    }
}

impl Watcher for FailingSync {
    fn before(&self, _disk: &SimStorage, call: Call) -> Option<Fault> {
        if call != Call::Sync || self.over.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.syncs.fetch_add(1, Ordering::Relaxed);
        let fails = number == self.number || self.forever && number > self.number;
        fails.then_some(Fault::Error(ErrorKind::Other))
    }
}

fn fail(seed: u64, forever: bool, cut: bool) -> Result<(), String> {
    let (syncs, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let disk = WatchedDisk::new(FailingSync { number: seed % SYNCS, forever, syncs, over });
    let mut model = Model::default();
    let mut random = Random(seed);
    while !disk.watcher.failed() {
        live(&disk, &mut model, &mut random)?;
    }
    let tried_again = disk.watcher.tried_again();
    if tried_again > 0 {
        return Err(format!("{tried_again} syncs were tried after the one that failed"));
    }
    disk.watcher.over.store(true, Ordering::Relaxed);
    if cut {
        disk.disk.power_cycle(Some(seed));
    }
    goes_on(&disk.disk, &model)
}

/// One opening, up to its stop or the failure.
fn live(disk: &WatchedDisk<FailingSync>, model: &mut Model, random: &mut Random) -> Result<(), String> {
    let failed = || disk.watcher.failed();
    let (mut opened, found) = match open(disk, model.acked) {
        Ok(opened) => opened,
        Err(_) if failed() => return Ok(()),
        Err(error) => return Err(format!("does not open: {error}")),
    };
    if failed() {
        return Err("opened although a sync failed".to_owned());
    }
    model.recovered(&found)?;
    for _ in 0..1 + random.below(40) {
        let sizes = if random.below(30) == 0 { vec![60_000; 17] } else { vec![1 + below(random, 300); 3] };
        match (model.commit(&mut opened, &sizes, random)?, failed()) {
            (Ok(()), false) => {}
            (Ok(()), true) => return Err("acknowledged although its sync failed".to_owned()),
            (Err(error), false) => return Err(format!("not written: {error}")),
            (Err(_), true) => return stays_stopped(opened, model, random),
        }
    }
    if random.below(3) == 0 {
        return Ok(());
    }
    match (opened.writer.close(), failed()) {
        (Ok(()), false) | (Err(_), true) => Ok(()),
        (Ok(()), true) => Err("closed although a sync failed".to_owned()),
        (Err(error), false) => Err(format!("does not close: {error}")),
    }
}

/// A writer that met the failure acknowledges nothing more and leaves no mark.
fn stays_stopped(
    mut opened: gollem_journal::Opened<WatchedDisk<FailingSync>>,
    model: &mut Model,
    random: &mut Random,
) -> Result<(), String> {
    // The later group goes into a copy: it may never be seen.
    let mut later = model.clone();
    if later.commit(&mut opened, &[20], random)?.is_ok() {
        return Err("a group after the failure was acknowledged".to_owned());
    }
    if opened.writer.close().is_ok() {
        return Err("closed as if nothing had happened".to_owned());
    }
    Ok(())
}
