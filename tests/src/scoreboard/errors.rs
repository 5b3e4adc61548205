//! Row 7a: calls fail and stop short at random, the disk fills up for a while, reads are interrupted and short.
//!
//! A journal lives through it, restarting after each failure, with a power cut now and then. Nothing acknowledged is
//! lost at any restart, nothing is ever called corrupt, and while the disk is full the journal can be read.

use std::io;
use std::io::ErrorKind;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gollem_journal::sim::{Fault, Random, SimStorage};
use gollem_journal::{OpenError, Opened, ScanError, WriteError};

use super::Run;
use super::disk::{Call, WatchedDisk, Watcher};
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
    /// 1% of calls fail, 5% of writes stop short.
    Failing,
    /// Nothing new fits.
    Full,
}

/// Decides what fails.
#[derive(Debug)]
struct Moods(Mutex<(Mood, Random)>);

impl Moods {
    fn inner(&self) -> MutexGuard<'_, (Mood, Random)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, mood: Mood) {
        self.inner().0 = mood;
    }
}

impl Watcher for Moods {
    fn before(&self, _disk: &SimStorage, call: Call) -> Option<Fault> {
        let (mood, random) = &mut *self.inner();
        match (*mood, call) {
            (Mood::Sound, _) | (Mood::Full, Call::Sync | Call::Change) => None,
            (Mood::Full, Call::Write(bytes)) => Some(Fault::Short(below(random, bytes))),
            (Mood::Failing, Call::Write(bytes)) if random.below(100) < 5 => Some(Fault::Short(below(random, bytes))),
            (Mood::Failing, _) if random.below(100) == 0 => {
                Some(Fault::Error([ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::Interrupted][below(random, 3)]))
            }
            (Mood::Failing, _) => None,
        }
    }

    fn read(&self, bytes: usize) -> io::Result<usize> {
        let (mood, random) = &mut *self.inner();
        if *mood == Mood::Sound {
            return Ok(bytes);
        }
        match random.below(100) {
            0 if *mood == Mood::Failing => Err(ErrorKind::Other.into()),
            1..5 => Err(ErrorKind::Interrupted.into()),
            5..15 => Ok(bytes.min(1 + below(random, 4_096))),
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
        if let Some(mut opened) = reopen(&disk, &mut model)? {
            while groups < GROUPS {
                groups += 1;
                if random.below(20) == 0 {
                    disk.watcher.set(Mood::Full);
                }
                let written = model.commit(&mut opened, &sizes(&mut random), &mut random)?;
                if let Err(error) = written {
                    fails(&disk, &model, &mut opened, &error)?;
                    break;
                }
                disk.watcher.set(Mood::Failing);
            }
        } else {
            groups += 1;
        }
        disk.watcher.set(Mood::Failing);
        if random.below(4) == 0 {
            disk.disk.power_cycle(Some(random.below(u64::MAX)));
        }
    }
    disk.watcher.set(Mood::Sound);
    goes_on(&disk.disk, &model)
}

/// Opens the journal, unless the disk fails meanwhile.
fn reopen(disk: &Disk, model: &mut Model) -> Result<Option<Opened<Disk>>, String> {
    match open(disk, model.acked) {
        Ok((opened, found)) => model.recovered(&found).map(|()| Some(opened)),
        Err(OpenError::Write(_) | OpenError::Read(ScanError::Io { .. })) => Ok(None),
        Err(error) => Err(format!("a failing disk is taken for a damaged one: {error}")),
    }
}

/// The writer takes nothing more, and what is acknowledged can be read although nothing can be written.
fn fails(disk: &Disk, model: &Model, opened: &mut Opened<Disk>, error: &WriteError) -> Result<(), String> {
    let mut later = model.clone();
    if later.commit(opened, &[20], &mut Random(1))?.is_ok() {
        return Err(format!("acknowledged after {error}"));
    }
    let failing = *disk.watcher.inner();
    disk.watcher.set(Mood::Full);
    let read = scan(disk, model.acked).map_err(|trouble| format!("not read after {error}: {trouble}"));
    disk.watcher.set(failing.0);
    model.check(&read?.1)
}
