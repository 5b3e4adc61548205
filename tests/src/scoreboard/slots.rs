//! Row 8: the process dies or the power goes at any call of a snapshot's writing, and either slot is damaged.
//!
//! At each call the disk is copied, with and without a power cut. The copy must offer the newest snapshot that was
//! finished, or the one being written, as they were written; recovery from it, from the other slot if the first is
//! damaged, or from the beginning if both are, gives the same records. A crash alone never makes a damaged slot.

use std::convert::Infallible;
use std::io::Read;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use gollem_journal::sim::{Fault, Random, SimStorage};
use gollem_journal::{Opened, Position, SnapshotStore, Tail, TailStop, lock_in};

use super::Run;
use super::disk::{Call, WatchedDisk, Watcher, lock};
use super::fixed::files_of;
use super::model::{Kept, Model, SMALL, below, open};
use crate::outcome::Outcome;

const SLOTS: [&str; 2] = ["snapshot.0", "snapshot.1"];

pub(crate) fn run(run: &Run) -> Outcome {
    run.each(live)
}

/// A snapshot as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    position: Position,
    note: Vec<u8>,
    body: Vec<u8>,
}

/// What must be found.
#[derive(Clone, Debug, Default)]
struct Expected {
    model: Model,
    /// Oldest first; the last one may be in the making.
    snapshots: Vec<Written>,
    finished: usize,
}

/// Kills and cuts the power of copies while a snapshot is written.
#[derive(Debug, Default)]
struct Kills {
    expected: Mutex<Expected>,
    watching: Mutex<bool>,
    first_failure: Mutex<Option<String>>,
    kills: AtomicU64,
}

impl Kills {
    fn kill(&self, disk: &SimStorage, call: Call) {
        if !*lock(&self.watching) {
            return;
        }
        let expected = lock(&self.expected).clone();
        for way in 0..3 {
            let number = self.kills.fetch_add(1, Ordering::Relaxed);
            let fork = disk.fork();
            match way {
                0 => fork.power_cycle(None),
                1 => fork.power_cycle(Some(number)),
                _ => {}
            }
            if let Err(what) = expected.check(&fork, expected.finished, 0..=0) {
                let how = ["power cut, nothing kept", "power cut, a subset kept", "killed"][way];
                lock(&self.first_failure).get_or_insert(format!("{how} at {call:?}: {what}"));
            }
        }
    }
}

impl Watcher for Kills {
    fn before(&self, disk: &SimStorage, call: Call) -> Option<Fault> {
        self.kill(disk, call);
        None
    }

    fn after(&self, disk: &SimStorage, call: Call) {
        self.kill(disk, call);
    }
}

impl Expected {
    /// Recovers, from snapshot number `least` or a newer one; so many slots are reported or found damaged.
    fn check(&self, disk: &SimStorage, least: usize, damaged: RangeInclusive<usize>) -> Result<(), String> {
        let (from, found, bad) = recover(disk, self.model.acked)?;
        if !damaged.contains(&bad) {
            return Err(format!("{bad} slots are found damaged, {damaged:?} are"));
        }
        let newest = from.as_ref().map_or(Ok(0), |from| {
            let place = self.snapshots.iter().position(|written| written == from);
            place.map(|place| place + 1).ok_or(format!("a snapshot of {:?} that nobody wrote", from.position))
        })?;
        if newest < least {
            return Err(format!("recovered from snapshot {newest}, {least} is there"));
        }
        let after = from.map_or(0, |from| usize::try_from(from.position.seq).unwrap_or(0));
        if found != self.model.records[after..] {
            return Err(format!(
                "{} records after seq {after}, {} were written",
                found.len(),
                self.model.records.len()
            ));
        }
        Ok(())
    }
}

/// What a start does: the newest snapshot that can be read whole, then the records after it; and how many slots are bad.
fn recover(disk: &SimStorage, witnessed: u64) -> Result<(Option<Written>, Vec<Kept>, usize), String> {
    let locked = lock_in(disk.clone()).map_err(|error| error.to_string())?;
    let starts = locked.starts().map_err(|error| error.to_string())?;
    let (mut from, mut bad) = (None, starts.damaged.len());
    for candidate in &starts.candidates {
        let mut body = Vec::new();
        let read = locked.snapshots().read(candidate).and_then(|mut from| from.read_to_end(&mut body));
        if read.is_ok() {
            from = Some(Written { position: candidate.position, note: candidate.note.clone(), body });
            break;
        }
        bad += 1;
    }
    let after = from.as_ref().map_or(Position::START, |from| from.position);
    let mut found = Vec::new();
    let opened = locked.open(&SMALL, after, witnessed, &mut |record| {
        found.push((record.seq, record.time_ns, record.payload.to_vec()));
        Ok::<(), Infallible>(())
    });
    opened.map_err(|error| format!("does not open after seq {}: {error}", after.seq))?;
    Ok((from, found, bad))
}

/// The place after the last durable record.
fn position<W: Watcher>(disk: &WatchedDisk<W>, model: &Model) -> Result<Position, String> {
    let mut tail = Tail::new(disk.clone(), Position::START);
    while tail.read(model.acked, &mut |_| Ok::<(), Infallible>(())).map_err(|error| error.to_string())?
        != TailStop::Reached
    {}
    Ok(tail.position())
}

fn snapshot(
    disk: &WatchedDisk<Kills>,
    store: &mut SnapshotStore<WatchedDisk<Kills>>,
    random: &mut Random,
) -> Result<(), String> {
    let kills = &disk.watcher;
    let position = position(disk, &lock(&kills.expected).model)?;
    let bytes =
        |random: &mut Random, most| (0..below(random, most)).map(|_| random.below(256).to_le_bytes()[0]).collect();
    let (note, body): (Vec<u8>, Vec<u8>) = (bytes(random, 80), bytes(random, 3_000));
    lock(&kills.expected).snapshots.push(Written { position, note: note.clone(), body: body.clone() });
    *lock(&kills.watching) = true;
    let written = store.write(position, &note, &mut |out| out.write_all(&body));
    *lock(&kills.watching) = false;
    written.map_err(|error| format!("not written: {error}"))?;
    let mut expected = lock(&kills.expected);
    expected.finished = expected.snapshots.len();
    Ok(())
}

fn groups(opened: &mut Opened<WatchedDisk<Kills>>, kills: &Kills, random: &mut Random) -> Result<(), String> {
    for _ in 0..1 + random.below(3) {
        let sizes = [1 + below(random, 300); 2];
        lock(&kills.expected).model.commit(opened, &sizes, random)?.map_err(|error| format!("not written: {error}"))?;
    }
    Ok(())
}

/// Snapshots between groups, with kills, then damaged slots; returns how many kills and damages there were.
fn live(seed: u64) -> Result<u64, String> {
    let mut random = Random(seed);
    let disk = WatchedDisk::new(Kills::default());
    let kills = &disk.watcher;
    let (mut opened, _) = open(&disk, 0).map_err(|error| format!("does not open: {error}"))?;
    let mut store = SnapshotStore::new(disk.clone());
    for _ in 0..3 + random.below(3) {
        groups(&mut opened, kills, &mut random)?;
        snapshot(&disk, &mut store, &mut random)?;
    }
    groups(&mut opened, kills, &mut random)?;
    drop(opened);
    if let Some(what) = lock(&kills.first_failure).take() {
        return Err(what);
    }
    let expected = lock(&kills.expected).clone();
    let damages = damage_all(&disk.disk, &expected, &mut random)?;
    Ok(kills.kills.load(Ordering::Relaxed) + damages)
}

/// Damages the newer slot, the older one, and both.
fn damage_all(disk: &SimStorage, expected: &Expected, random: &mut Random) -> Result<u64, String> {
    let newest = expected.finished;
    // Snapshots take turns in the slots.
    let (newer, older) = (SLOTS[(newest - 1) % 2], SLOTS[newest % 2]);
    // Who reads the newer one first does not look at the body of the older one.
    let ways = [(vec![newer], newest - 1, 1..=1), (vec![older], newest, 0..=1), (vec![newer, older], 0, 2..=2)];
    for (slots, least, damaged) in ways {
        let fork = disk.fork();
        slots.iter().for_each(|slot| damage(&fork, slot, random));
        expected.check(&fork, least, damaged).map_err(|what| format!("{slots:?} damaged: {what}"))?;
    }
    Ok(3)
}

/// A flipped bit, a missing end, or zeros.
fn damage(disk: &SimStorage, slot: &str, random: &mut Random) {
    let mut bytes = files_of(disk).remove(slot).unwrap_or_default();
    match random.below(4) {
        0 => bytes.truncate(below(random, bytes.len())),
        1 => bytes.fill(0),
        _ => {
            let bit = below(random, bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
    disk.put(slot, &bytes);
}
