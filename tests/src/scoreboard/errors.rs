//! Row 7a: calls fail and writes stop short at random, the disk is full for a while, reads are interrupted and short.
//!
//! A journal lives through it, restarting after each failure, with a power cut now and then. Nothing acknowledged is
//! lost at any restart and nothing is ever called corrupt. While the disk is full the journal can be read, what fits the
//! space set aside is taken, and what does not is taken without a restart when there is space again.

use std::io;
use std::io::ErrorKind;
use std::sync::{Mutex, MutexGuard};

use gollem_journal::sim::{Fault, Random, SimStorage};
use gollem_journal::{Group, OpenError, Opened, ScanError, WriteError};

use super::Run;
use super::disk::{Call, WatchedDisk, Watcher, lock};
use super::model::{Model, below, goes_on, open, scan, sizes};
use crate::outcome::Outcome;

/// Groups that a case tries to write.
const GROUPS: u64 = 100;

pub(crate) fn run(run: &Run) -> Outcome {
    run.each(|seed| live(seed).map(|()| GROUPS))
}

/// How the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Sound,
    /// Reads are interrupted and short, nothing else.
    Slow,
    /// Calls fail, too.
    Failing,
}

/// Decides what fails.
#[derive(Debug)]
struct Moods(Mutex<(Mood, Random)>);

impl Moods {
    fn inner(&self) -> MutexGuard<'_, (Mood, Random)> {
        lock(&self.0)
    }

    fn set(&self, mood: Mood) {
        self.inner().0 = mood;
    }
}

impl Watcher for Moods {
    fn before(&self, _disk: &SimStorage, call: Call) -> Option<Fault> {
        let (mood, random) = &mut *self.inner();
        if *mood != Mood::Failing {
            return None;
        }
        match (random.below(1_000), call) {
            (0..6, _) => Some(Fault::Error(ErrorKind::Other)),
            // What was promised space has none, as on a thin volume.
            (6..10, Call::Write(bytes)) => Some(Fault::Short(below(random, bytes))),
            (10..60, Call::Write(bytes)) => Some(Fault::Partial(1 + below(random, bytes))),
            (60..80, Call::Write(_)) => Some(Fault::Error(ErrorKind::Interrupted)),
            _ => None,
        }
    }

    fn read(&self, bytes: usize) -> io::Result<usize> {
        let (mood, random) = &mut *self.inner();
        match (random.below(100), *mood) {
            (_, Mood::Sound) => Ok(bytes),
            (0, Mood::Failing) => Err(ErrorKind::Other.into()),
            (1..5, _) => Err(ErrorKind::Interrupted.into()),
            (5..15, _) => Ok(bytes.min(1 + below(random, 4_096))),
            _ => Ok(bytes),
        }
    }
}

type Disk = WatchedDisk<Moods>;

fn live(seed: u64) -> Result<(), String> {
    let mut random = Random(seed);
    let disk = WatchedDisk::new(Moods(Mutex::new((Mood::Failing, Random(!seed)))));
    let mut model = Model::default();
    let mut groups = 0;
    while groups < GROUPS {
        groups += 1;
        disk.watcher.set(Mood::Failing);
        if let Some(opened) = reopen(&disk, &mut model)? {
            write_until_it_fails(&disk, &mut model, opened, &mut groups, &mut random)?;
        }
        if random.below(4) == 0 {
            disk.disk.power_cycle(Some(random.below(u64::MAX)));
        }
    }
    disk.watcher.set(Mood::Sound);
    goes_on(&disk.disk, &model)
}

fn write_until_it_fails(
    disk: &Disk,
    model: &mut Model,
    mut opened: Opened<Disk>,
    groups: &mut u64,
    random: &mut Random,
) -> Result<(), String> {
    while *groups < GROUPS {
        *groups += 1;
        let full = random.below(8) == 0;
        if full {
            disk.watcher.set(Mood::Slow);
            disk.disk.set_capacity(disk.disk.used() + below(random, 500_000));
        }
        let mut group = model.group(&mut opened.encoder, &sizes(random), random)?;
        let mut written = opened.writer.commit(&mut group).map(|durable| model.acked = durable.seq());
        if let Err(error) = &written {
            read_on(disk, model).map_err(|what| format!("after {error}: {what}"))?;
            if full {
                waits_for_space(disk, &mut opened, &mut group, error)?;
            }
        }
        disk.disk.set_capacity(usize::MAX);
        if written.as_ref().is_err_and(WriteError::is_retryable) {
            let again = opened.writer.commit(&mut group).map(|durable| model.acked = durable.seq());
            written = Ok(again.map_err(|error| format!("space is there again, and still {error}"))?);
        }
        disk.watcher.set(Mood::Failing);
        if let Err(error) = written {
            return stays_stopped(model, &mut opened, &error);
        }
    }
    Ok(())
}

/// A full disk only delays the group: each try says so and touches nothing of the log.
fn waits_for_space(
    disk: &Disk,
    opened: &mut Opened<Disk>,
    group: &mut Group,
    error: &WriteError,
) -> Result<(), String> {
    let used = disk.disk.used();
    let again = opened.writer.commit(group).err();
    let waits = error.is_retryable() && again.as_ref().is_some_and(WriteError::is_retryable);
    if waits && disk.disk.used() == used {
        Ok(())
    } else {
        Err(format!("a full disk ends in {error}, then {again:?}, {used} and then {} bytes used", disk.disk.used()))
    }
}

/// Opens the journal, unless the disk fails meanwhile.
fn reopen(disk: &Disk, model: &mut Model) -> Result<Option<Opened<Disk>>, String> {
    match open(disk, model.acked) {
        Ok((opened, found)) => model.recovered(&found).map(|()| Some(opened)),
        Err(OpenError::Write(_) | OpenError::Read(ScanError::Io { .. })) => Ok(None),
        Err(error) => Err(format!("a failing disk is taken for a damaged one: {error}")),
    }
}

/// What is acknowledged can be read although nothing can be written.
fn read_on(disk: &Disk, model: &Model) -> Result<(), String> {
    disk.watcher.set(Mood::Slow);
    let (_, found) = scan(disk, model.acked).map_err(|trouble| format!("not read: {trouble}"))?;
    model.check(&found)
}

/// After any other failure the writer takes nothing more.
fn stays_stopped(model: &Model, opened: &mut Opened<Disk>, error: &WriteError) -> Result<(), String> {
    let mut later = model.clone();
    match later.commit(opened, &[20], &mut Random(1))? {
        Err(WriteError::Poisoned) => Ok(()),
        other => Err(format!("after {error} a group ends in {other:?}")),
    }
}
