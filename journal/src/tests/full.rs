//! Promise: a full disk stops no commit into the active segment. A commit that needs the next segment says so, touches
//! nothing of the log and can be repeated; once there is space the same group becomes durable without a restart. A lack
//! of space in any call on a file of the log stops the writer like any other failure.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::faults::{assert_poisoned, workload};
use super::{Model, SMALL, append_works, big, open, scan};
use crate::format::SEGMENT_HEADER_BYTES;
use crate::sim::{Chances, Fault, Random, SimStorage};
use crate::storage::Storage;
use crate::{Group, Next, Opened, Options, Room, SEGMENT_BYTES_MIN, WriteError, open_in};

const SEGMENT: usize = SEGMENT_BYTES_MIN as usize;
/// What the tests keep free in the active segment for what was taken before the disk was full.
const RESERVE: u64 = 256 * 1024;
/// How long the thread that prepares segments may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many random histories are lived.
const LIVES: u64 = 40;
/// A preparation on a disk without a free byte: create, write, remove.
const FAILED_ATTEMPT_CALLS: u64 = 3;

/// The files of the log and their bytes.
fn log_files(storage: &SimStorage) -> BTreeMap<String, Vec<u8>> {
    let names = storage.list().unwrap().into_iter().filter(|name| name != "next.tmp");
    names.map(|name| (name.clone(), storage.get(&name).unwrap())).collect()
}

/// Asserts that the commit finds no space for the next segment and leaves everything as it was.
fn assert_no_space(storage: &SimStorage, opened: &mut Opened<SimStorage>, group: &mut Group, context: &str) {
    let (before, durable, syncs) = (log_files(storage), opened.writer.durable_seq(), storage.syncs());
    let error = opened.writer.commit(group).unwrap_err();
    assert!(matches!(error, WriteError::NoSpace { .. }) && error.is_retryable(), "{context}: {error}");
    assert_eq!(opened.writer.durable_seq(), durable, "{context}");
    assert_eq!(storage.syncs(), syncs, "{context}: nothing was synced");
    assert!(log_files(storage) == before, "{context}: no file of the log is touched");
    assert_eq!(storage.get("next.tmp"), None, "{context}: what was begun is removed");
}

/// The run of the other tests, which commits a group again for which there was no space. Returns how often there was
/// none, or nothing if the writer stopped.
fn run(storage: &SimStorage, model: &mut Model, context: &str) -> Option<u64> {
    let mut refused = 0;
    for groups in [vec![vec![10, 600], big(), vec![40], big(), vec![7, 7, 7]], vec![vec![1, 2, 3], big(), vec![900, 1]]]
    {
        let (mut opened, _) = open(storage).ok()?;
        for sizes in groups {
            let mut group = model.group(&mut opened, &sizes);
            let before = log_files(storage);
            match model.commit_group(&mut opened, &mut group) {
                Ok(_) => {}
                Err(error) if error.is_retryable() => {
                    refused += 1;
                    assert!(log_files(storage) == before, "{context}: no file of the log is touched");
                    assert_eq!(storage.get("next.tmp"), None, "{context}: what was begun is removed");
                    model.commit_group(&mut opened, &mut group).unwrap_or_else(|error| panic!("{context}: {error}"));
                }
                Err(_) => {
                    assert_poisoned(storage, &mut opened, context);
                    return None;
                }
            }
        }
        opened.writer.close().ok()?;
    }
    Some(refused)
}

#[test]
fn no_space_at_any_call_is_survived_where_a_segment_is_prepared_and_stops_the_writer_elsewhere() {
    let sound = SimStorage::new();
    assert_eq!(workload(&sound, &mut Model::default()), Some(()));
    let rotations = scan(&sound).unwrap().0.segments - 1;
    for fault in [Fault::Error(ErrorKind::StorageFull), Fault::Error(ErrorKind::QuotaExceeded), Fault::Short(300)] {
        let mut survived = 0;
        for call in 0..sound.calls() {
            let context = format!("{fault:?} at call {call}");
            let storage = SimStorage::new();
            storage.plan(call, fault);
            let mut model = Model::default();
            let refused = run(&storage, &mut model, &context);
            assert_ne!(refused, Some(0), "{context} is not hidden");
            survived += refused.unwrap_or(0);
            storage.power_cycle(Some(call).filter(|call| call % 2 == 0));
            append_works(&storage, &model, &context);
        }
        // Of a preparation: its creation and two writes.
        assert_eq!(survived, 3 * rotations, "{fault:?}");
    }
}

fn open_with(storage: &SimStorage, prepare_ahead: bool) -> Opened<SimStorage> {
    let options = Options { prepare_ahead, ..SMALL };
    open_in(storage.clone(), &options, 0, &mut |_| Ok::<(), Infallible>(())).unwrap()
}

/// The room once the thread has done what it was told.
fn settled(opened: &mut Opened<SimStorage>, next: Next) -> Room {
    wait_for(&format!("{next:?}"), || opened.writer.room().next == next);
    opened.writer.room()
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "{what} does not come");
        std::thread::yield_now();
    }
}

#[test]
fn commands_go_on_to_the_reserve_of_a_full_disk_and_beyond_it_once_there_is_space() {
    let storage = SimStorage::new();
    // Space for two segments and half of the third.
    storage.set_capacity(2 * SEGMENT + SEGMENT / 2);
    let (mut opened, mut model) = (open_with(&storage, true), Model::default());
    assert_eq!(settled(&mut opened, Next::Ready).bytes, SEGMENT_BYTES_MIN - SEGMENT_HEADER_BYTES as u64);
    model.commit(&mut opened, &big()).unwrap();
    // The owner's rule: a command is taken unless the disk is full and the reserve is reached.
    let (mut room, mut taken) = (opened.writer.room(), 0);
    while room.next != Next::Full || room.bytes >= RESERVE {
        model.commit(&mut opened, &[50_000]).unwrap();
        taken += 50_000;
        room = if taken < 100_000 { settled(&mut opened, Next::Full) } else { opened.writer.room() };
    }
    assert!(taken >= SEGMENT_BYTES_MIN - RESERVE - 50_000, "{taken} bytes were taken on the full disk");
    // What was taken before still fits.
    for sizes in [&[4_000][..], &[60_000, 60_000, 60_000], &[1]] {
        let before = std::mem::replace(&mut room, settled(&mut opened, Next::Full)).bytes;
        model.commit(&mut opened, sizes).unwrap();
        assert!(opened.writer.room().bytes < before);
    }

    // More was taken than fits: the group waits, as often as it is tried.
    room = opened.writer.room();
    let durable = model.records.len();
    let mut group = model.group(&mut opened, &[60_000, 60_000]);
    assert!(group.bytes() as u64 > room.bytes);
    for attempt in 0..3 {
        assert_no_space(&storage, &mut opened, &mut group, &format!("attempt {attempt}"));
        assert_eq!(opened.writer.room(), room);
    }
    assert_eq!(scan(&storage).unwrap().1, model.records[..durable], "readers go on");

    storage.set_capacity(3 * SEGMENT);
    settled(&mut opened, Next::Ready);
    model.commit_group(&mut opened, &mut group).unwrap();
    // The disk is full again, which the clean stop does not mind.
    settled(&mut opened, Next::Full);
    model.commit(&mut opened, &[5]).unwrap();
    opened.writer.close().unwrap();
    storage.power_cycle(None);
    let (report, found) = scan(&storage).unwrap();
    assert_eq!((report.segments, report.clean, found.as_slice()), (3, true, model.records.as_slice()));
    append_works(&storage, &model, "after the clean stop");
}

/// A new journal whose next segment found no space, which nobody has asked for yet.
fn full_from_the_start() -> (SimStorage, Opened<SimStorage>, Model) {
    let sound = SimStorage::new();
    drop(open(&sound).unwrap());
    let storage = SimStorage::new();
    storage.set_capacity(SEGMENT);
    let opened = open_with(&storage, true);
    // The first attempt begins with the writer.
    wait_for("the first attempt", || storage.calls() >= sound.calls() + FAILED_ATTEMPT_CALLS);
    (storage, opened, Model::default())
}

#[test]
fn a_segment_is_tried_again_when_the_owner_asks_and_not_otherwise() {
    let (storage, mut opened, mut model) = full_from_the_start();
    let mut calls = storage.calls();
    // Nobody asks how it went: only the commits make calls.
    for _ in 0..50 {
        model.commit(&mut opened, &[10]).unwrap();
        calls += 2;
        assert_eq!(storage.calls(), calls);
    }
    let mut asked = 0;
    wait_for("the fifth attempt", || {
        asked += u64::from(opened.writer.room().next == Next::Full);
        storage.calls() >= calls + 5 * FAILED_ATTEMPT_CALLS
    });
    assert!(asked >= 5, "one attempt at most each time: {asked} times for five attempts");
    storage.set_capacity(2 * SEGMENT);
    settled(&mut opened, Next::Ready);
    model.commit(&mut opened, &big()).unwrap();
    model.commit(&mut opened, &[1]).unwrap();
    drop(opened);
    append_works(&storage, &model, "after the retries");
}

#[test]
fn a_writer_that_has_stopped_has_no_segment_tried_again() {
    let (storage, mut opened, mut model) = full_from_the_start();
    storage.plan(storage.calls(), Fault::Error(ErrorKind::Other));
    assert!(matches!(model.commit(&mut opened, &[10]), Err(WriteError::Io { action: "write", .. })));
    let calls = storage.calls();
    settled(&mut opened, Next::Full);
    // The thread ends with what it was told, if it was told anything.
    drop(opened);
    assert_eq!(storage.calls(), calls);
}

#[test]
fn a_journal_that_prepares_nothing_ahead_learns_of_a_full_disk_and_of_its_end_by_committing() {
    let storage = SimStorage::new();
    storage.set_capacity(SEGMENT + SEGMENT / 2);
    let (mut opened, mut model) = (open_with(&storage, false), Model::default());
    model.commit(&mut opened, &big()).unwrap();
    let bytes = opened.writer.room().bytes;
    assert_eq!(opened.writer.room().next, Next::Preparing);
    let mut group = model.group(&mut opened, &big());
    for attempt in 0..3 {
        assert_no_space(&storage, &mut opened, &mut group, &format!("attempt {attempt}"));
        let calls = storage.calls();
        assert_eq!(opened.writer.room(), Room { bytes, next: Next::Full });
        assert_eq!(storage.calls(), calls, "asking makes no attempt");
    }
    storage.set_capacity(2 * SEGMENT);
    model.commit_group(&mut opened, &mut group).unwrap();
    assert_eq!(opened.writer.room().next, Next::Preparing);
    // The disk is full again: a clean stop and a restart need less than it has.
    let mut group = model.group(&mut opened, &big());
    assert_no_space(&storage, &mut opened, &mut group, "again");
    opened.writer.close().unwrap();
    let (report, found) = scan(&storage).unwrap();
    assert_eq!((report.clean, report.last_seq, found.len()), (true, model.acked, 34));
    append_works(&storage, &model, "after the stop");
}

/// A life on a disk that is small, grows at times, fails by chance and loses its power.
#[test]
fn a_disk_that_is_often_full_and_fails_by_chance_loses_nothing_acknowledged() {
    let (mut refused, mut stopped, mut went_on) = (0, 0, 0);
    for seed in 0..LIVES {
        let mut random = Random(seed);
        let (storage, mut model) = (SimStorage::new(), Model::default());
        let mut capacity = 2 * SEGMENT;
        for life in 0..4 {
            let context = format!("seed {seed}, life {life}");
            storage.set_capacity(capacity);
            storage.set_chances(seed * 31 + life, Chances { error: 10, partial: 50, interrupted: 100 });
            let Ok((mut opened, found)) = open(&storage) else {
                capacity += SEGMENT / 2;
                storage.power_cycle(Some(seed));
                continue;
            };
            model.check_prefix(&found, &context);
            // What was recovered has been given to a reader: it must stay.
            model.acked = found.len() as u64;
            for _ in 0..12 {
                let sizes = vec![
                    1 + usize::try_from(random.below(60_000)).unwrap();
                    1 + usize::try_from(random.below(12)).unwrap()
                ];
                let mut group = model.group(&mut opened, &sizes);
                let mut result = model.commit_group(&mut opened, &mut group);
                while let Err(WriteError::NoSpace { .. }) = result {
                    refused += 1;
                    capacity += SEGMENT / 2;
                    storage.set_capacity(capacity);
                    result = model.commit_group(&mut opened, &mut group);
                    went_on += u64::from(result.is_ok());
                }
                if result.is_err() {
                    stopped += 1;
                    assert_poisoned(&storage, &mut opened, &context);
                    break;
                }
            }
            drop(opened);
            if random.below(2) == 0 {
                storage.power_cycle(Some(random.below(u64::MAX)).filter(|seed| seed % 3 > 0));
            }
        }
        storage.set_capacity(usize::MAX);
        storage.power_cycle(Some(seed));
        append_works(&storage, &model, &format!("seed {seed}"));
    }
    assert!(refused > LIVES && went_on > LIVES / 2 && stopped > LIVES / 2, "{refused}, {went_on}, {stopped}");
}
