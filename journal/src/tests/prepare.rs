//! Promise: a segment that could not be created or written ahead is made when it is needed, and the journal goes on; if
//! that fails too, or if a sync failed, the writer stops as after any other failure. Only a lack of space stops nothing:
//! see `full`.

use std::convert::Infallible;
use std::io::ErrorKind;

use super::{Model, SMALL, append_works, big, open, scan};
use crate::sim::{Fault, SimStorage};
use crate::{Next, Opened, Options, WriteError, open_in};

/// Calls of a preparation, counted from its first.
const CREATE: u64 = 0;
const WRITE: u64 = 1;
/// A segment is filled by two writes.
const SYNC: u64 = 3;
/// A preparation that is not made is removed.
const REMOVE: u64 = 1;

const BROKEN: Fault = Fault::Error(ErrorKind::Other);

/// A new journal whose next segment failed to be prepared at `call`, hours ago.
fn failed_ahead(call: u64, fault: Fault) -> (SimStorage, Opened<SimStorage>, Model) {
    let sound = SimStorage::new();
    drop(open(&sound).unwrap());
    // Opening is the same up to here; then the thread begins.
    let fails_at = sound.calls() + call;
    let storage = SimStorage::new();
    storage.plan(fails_at, fault);
    let options = Options { prepare_ahead: true, ..SMALL };
    let opened = open_in(storage.clone(), &options, 0, &mut |_| Ok::<(), Infallible>(())).unwrap();
    let ends_at = if call == SYNC { fails_at } else { fails_at + REMOVE };
    while storage.calls() <= ends_at {
        std::thread::yield_now();
    }
    (storage, opened, Model::default())
}

/// Fills the first segment, so that the next group needs another.
fn fill(opened: &mut Opened<SimStorage>, model: &mut Model) {
    model.commit(opened, &[10]).unwrap();
    model.commit(opened, &big()).unwrap();
}

#[test]
fn a_segment_that_failed_to_be_made_ahead_is_made_when_it_is_needed() {
    for (call, fault) in [(CREATE, BROKEN), (WRITE, BROKEN), (WRITE, Fault::Short(300))] {
        let context = format!("{fault:?} at call {call}");
        let (storage, mut opened, mut model) = failed_ahead(call, fault);
        assert_eq!(storage.get("next.tmp"), None, "{context}: what was begun is removed");
        fill(&mut opened, &mut model);
        // Twice: the thread works on as before.
        model.commit(&mut opened, &big()).unwrap_or_else(|error| panic!("{context}: {error}"));
        model.commit(&mut opened, &big()).unwrap_or_else(|error| panic!("{context}: {error}"));
        opened.writer.close().unwrap();
        assert_eq!(storage.get("next.tmp"), None, "{context}");
        storage.power_cycle(None);
        let (report, found) = scan(&storage).unwrap();
        assert_eq!((report.segments, report.clean, found.as_slice()), (3, true, model.records.as_slice()), "{context}");
        append_works(&storage, &model, &context);
    }
}

#[test]
fn a_segment_that_fails_to_be_made_twice_stops_the_writer() {
    for ahead in [BROKEN, Fault::Short(300)] {
        for (call, then) in [(CREATE, CREATE), (CREATE, WRITE), (WRITE, CREATE), (WRITE, WRITE)] {
            let context = format!("{ahead:?} at call {call}, then {BROKEN:?} at {then}");
            let (storage, mut opened, mut model) = failed_ahead(call, ahead);
            fill(&mut opened, &mut model);
            storage.plan(storage.calls() + then, BROKEN);
            assert_eq!(assert_stops(&storage, opened, &mut model, &context), then + 1 + REMOVE, "{context}");
        }
    }
}

#[test]
fn what_was_begun_and_cannot_be_removed_is_the_failure_that_counts() {
    let (storage, mut opened, mut model) = failed_ahead(WRITE, BROKEN);
    fill(&mut opened, &mut model);
    // The disk is full at the second write of the zeros, and the removal after it fails.
    storage.set_capacity(storage.used() + 1_050_000);
    storage.plan(storage.calls() + SYNC + 1, BROKEN);
    assert_eq!(assert_stops(&storage, opened, &mut model, "removal"), SYNC + 1 + REMOVE);
}

#[test]
fn a_segment_whose_sync_failed_ahead_is_not_tried_again() {
    for fault in [BROKEN, Fault::Error(ErrorKind::StorageFull), Fault::Error(ErrorKind::QuotaExceeded)] {
        let (storage, mut opened, mut model) = failed_ahead(SYNC, fault);
        assert_ne!(opened.writer.room().next, Next::Full, "space would not help");
        fill(&mut opened, &mut model);
        assert_eq!(assert_stops(&storage, opened, &mut model, "sync"), 0, "nothing is tried");
    }
}

/// The next group needs a segment that cannot be had: the writer takes nothing more, and a restart goes on.
/// Returns how many calls were made before it gave up.
fn assert_stops(storage: &SimStorage, mut opened: Opened<SimStorage>, model: &mut Model, context: &str) -> u64 {
    let before = storage.calls();
    let error = model.commit(&mut opened, &big()).unwrap_err();
    let stops = matches!(error, WriteError::Io { action: "prepare", .. } | WriteError::Full { action: "prepare", .. });
    assert!(stops && !error.is_retryable(), "{context}: {error}");
    let calls = storage.calls();
    assert!(matches!(model.commit(&mut opened, &[1]), Err(WriteError::Poisoned)), "{context}");
    opened.writer.room();
    assert!(matches!(opened.writer.close(), Err(WriteError::Poisoned)), "{context}");
    assert_eq!(storage.calls(), calls, "{context}: no call after the failure");
    storage.set_capacity(usize::MAX);
    append_works(storage, model, context);
    calls - before
}
