//! The whole pipeline (matcher, committer, journal, engine) on the simulated disk, for rows 2 and 6.
//!
//! Before each sync the committer stands still, and all answers that a caller can have by then are collected. What was
//! answered must be in the surviving journal with the same events. The threads decide which commands share a group, so a
//! seed repeats the commands and the faults but not the groups.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use gollem_engine::Event;
use gollem_journal::sim::{Fault, Random, SimStorage};
use gollem_journal::{ScanOptions, Storage, scan_in};
use gollem_sequencer::{Health, Observer, Options, PendingAck, Pinning, Replica, Sequencer, SubmitError};

use super::disk::{Call, WatchedDisk, Watcher, lock};
use super::model::SMALL;
use super::states::commands;

const COMMANDS: usize = 60;

/// What callers hold, and what goes wrong on the disk.
#[derive(Debug, Default)]
struct Callers {
    waiting: Mutex<Vec<PendingAck>>,
    answered: Mutex<BTreeMap<u64, Vec<Event>>>,
    first_failure: Mutex<Option<String>>,
    cuts: AtomicU64,
    syncs: AtomicU64,
    /// Power is cut at each sync.
    cuts_power: bool,
    /// This sync fails, and all after it; 0 if none does.
    fails_at: AtomicU64,
}

impl Callers {
    /// Collects the answers that have come.
    fn collect(&self) {
        let mut answered = lock(&self.answered);
        lock(&self.waiting).retain_mut(|pending| {
            let polled = Pin::new(pending).poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(Ok(ack)) = polled {
                answered.insert(ack.seq, ack.events().to_vec());
                return false;
            }
            polled.is_pending()
        });
    }

    fn fail(&self, what: String) {
        lock(&self.first_failure).get_or_insert(what);
    }

    fn cut(&self, disk: &SimStorage) {
        let answered = lock(&self.answered).clone();
        for keep in [false, true] {
            let number = self.cuts.fetch_add(1, Ordering::Relaxed);
            let fork = disk.fork();
            fork.power_cycle(keep.then_some(number));
            let checked = check(&fork, &answered)
                .and_then(|()| if number.is_multiple_of(16) { restarts(fork, &answered) } else { Ok(()) });
            if let Err(what) = checked {
                self.fail(format!("power cut {number} under the pipeline: {what}"));
            }
        }
    }
}

impl Watcher for Callers {
    fn before(&self, disk: &SimStorage, call: Call) -> Option<Fault> {
        if call != Call::Sync {
            return None;
        }
        self.collect();
        if self.cuts_power {
            self.cut(disk);
        }
        let number = self.syncs.fetch_add(1, Ordering::Relaxed) + 1;
        let fails_at = self.fails_at.load(Ordering::Relaxed);
        if fails_at == 0 || number < fails_at {
            return None;
        }
        if number > fails_at {
            self.fail("a sync was tried after the one that failed".to_owned());
        }
        Some(Fault::Error(ErrorKind::Other))
    }
}

fn options() -> Options {
    Options { journal: SMALL, pinning: Pinning::Off, ..Options::new(PathBuf::from("sim")) }
}

fn start<S: Storage>(storage: S, witnessed: u64, told: &mut BTreeMap<u64, Vec<Event>>) -> Result<Sequencer, String> {
    let mut observe = |seq, _, events: &[Event]| drop(told.insert(seq, events.to_vec()));
    let observer = Observer { after: 0, tell: &mut observe };
    let started = Sequencer::start_in(storage, &options(), witnessed, None, Some(observer));
    started.map_err(|error| format!("does not start: {error}"))
}

/// What the journal says happened, and the state at its end.
fn replay<S: Storage>(storage: &S, witnessed: u64) -> Result<(BTreeMap<u64, Vec<Event>>, Replica), String> {
    let mut told = BTreeMap::new();
    let mut replica = Replica::default();
    scan_in(storage, ScanOptions { witnessed, ..ScanOptions::default() }, &mut |record| {
        replica.apply(&record).map(|events| drop(told.insert(record.seq, events.to_vec())))
    })
    .map_err(|error| format!("is not read: {error}"))?;
    Ok((told, replica))
}

fn compare(answered: &BTreeMap<u64, Vec<Event>>, told: &BTreeMap<u64, Vec<Event>>) -> Result<(), String> {
    match answered.iter().find(|(seq, events)| told.get(seq) != Some(events)) {
        None => Ok(()),
        Some((seq, _)) if !told.contains_key(seq) => Err(format!("input {seq} was answered and is lost")),
        Some((seq, _)) => Err(format!("input {seq} was answered with other events")),
    }
}

fn check(disk: &SimStorage, answered: &BTreeMap<u64, Vec<Event>>) -> Result<(), String> {
    let last = answered.last_key_value().map_or(0, |(&seq, _)| seq);
    compare(answered, &replay(disk, last)?.0)
}

/// A new pipeline on the surviving disk tells the same, and ends in the state of the journal.
fn restarts(disk: SimStorage, answered: &BTreeMap<u64, Vec<Event>>) -> Result<(), String> {
    let last = answered.last_key_value().map_or(0, |(&seq, _)| seq);
    let mut told = BTreeMap::new();
    let sequencer = start(disk.clone(), last, &mut told)?;
    compare(answered, &told)?;
    let stopped = sequencer.stop().map_err(|error| format!("does not stop: {error}"))?;
    let (_, replica) = replay(&disk, last)?;
    if stopped.engine.state_hash() == replica.engine().state_hash() {
        Ok(())
    } else {
        Err("the state after the restart is not that of the journal".to_owned())
    }
}

/// Sends the commands in bursts; each burst is answered before the next.
fn send(sequencer: &Sequencer, callers: &Callers, seed: u64) {
    let ingress = sequencer.ingress();
    let mut random = Random(seed);
    let mut burst = 0;
    for (_, command) in commands(seed, COMMANDS) {
        if burst == 0 {
            burst = random.below(6);
            // The last of the burst before it; the ones before that are answered by then.
            let last = lock(&callers.waiting).pop();
            if let Some(Ok(ack)) = last.map(PendingAck::wait) {
                lock(&callers.answered).insert(ack.seq, ack.events().to_vec());
            }
        } else {
            burst -= 1;
        }
        // Both under the lock, so that no answer comes before it is waited for.
        let mut waiting = lock(&callers.waiting);
        if let Ok(pending) = ingress.submit(command) {
            waiting.push(pending);
        }
    }
}

/// Row 2: returns how many cuts were made.
pub(crate) fn cut_power(seed: u64) -> Result<u64, String> {
    let disk = WatchedDisk::new(Callers { cuts_power: true, ..Callers::default() });
    let sequencer = start(disk.clone(), 0, &mut BTreeMap::new())?;
    send(&sequencer, &disk.watcher, seed);
    sequencer.stop().map_err(|error| format!("does not stop: {error}"))?;
    disk.watcher.collect();
    if let Some(what) = lock(&disk.watcher.first_failure).take() {
        return Err(what);
    }
    restarts(disk.disk.fork(), &lock(&disk.watcher.answered))?;
    Ok(disk.watcher.cuts.load(Ordering::Relaxed))
}

/// Row 6: the sync that comes `number` syncs after the start fails.
pub(crate) fn fail_sync(seed: u64, number: u64) -> Result<(), String> {
    let disk = WatchedDisk::new(Callers::default());
    let callers = Arc::clone(&disk.watcher);
    let sequencer = start(disk.clone(), 0, &mut BTreeMap::new())?;
    let fails_at = callers.syncs.load(Ordering::Relaxed) + 1 + number;
    callers.fails_at.store(fails_at, Ordering::Relaxed);
    send(&sequencer, &callers, seed);
    let (status, ingress) = (sequencer.status(), sequencer.ingress());
    let stopped = sequencer.stop();
    callers.collect();
    if let Some(what) = lock(&callers.first_failure).take() {
        return Err(what);
    }
    let failed = callers.syncs.load(Ordering::Relaxed) >= fails_at;
    if failed && (stopped.is_ok() || status.health() == Health::Running) {
        return Err(format!("a failed sync goes unnoticed: {:?}", status.health()));
    }
    let refused = commands(seed, 1).pop().map(|(_, command)| ingress.submit(command).err());
    if refused != Some(Some(SubmitError::Unavailable)) {
        return Err(format!("commands are still taken: {refused:?}"));
    }
    // Answers up to the failure are durable; a later one, or one of its own group, would be lost here.
    disk.disk.power_cycle(None);
    let answered = lock(&callers.answered).clone();
    check(&disk.disk, &answered)?;
    restarts(disk.disk.fork(), &answered)
}
