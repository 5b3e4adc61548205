//! Promise: the first failed call is the last, nothing unsynced is acknowledged, and a restart finds every acknowledged
//! group, whichever call failed and how.

use std::io::ErrorKind;

use super::{Model, append_works, big, open, scan};
use crate::sim::{Chances, Fault, SimStorage};
use crate::storage::Storage;
use crate::{Group, Opened, WriteError};

#[test]
fn a_sync_that_fails_once_is_not_tried_again_and_the_restart_keeps_what_it_reads() {
    let storage = SimStorage::new();
    let mut model = Model::default();
    let (mut opened, _) = open(&storage).unwrap();
    model.commit(&mut opened, &[10]).unwrap();
    // A commit is one write and one sync.
    storage.plan(storage.calls() + 1, Fault::Error(ErrorKind::Other));
    let (syncs, calls) = (storage.syncs(), storage.calls());
    assert!(matches!(model.commit(&mut opened, &[5_000]), Err(WriteError::Io { action: "sync", .. })));
    assert!(matches!(model.commit(&mut opened, &[30]), Err(WriteError::Poisoned)));
    assert_eq!((storage.syncs() - syncs, storage.calls() - calls), (1, 2), "one write, one sync, then nothing");
    assert_eq!(opened.writer.durable_seq(), 1);
    assert!(matches!(opened.writer.close(), Err(WriteError::Poisoned)));
    assert_eq!(storage.get("clean"), None);

    // The page cache still shows the group; once recovered it must survive, although that sync dropped its pages.
    let (opened, found) = open(&storage).unwrap();
    assert_eq!(found.len(), 2);
    model.records.truncate(2);
    model.acked = 2;
    drop(opened);
    storage.power_cycle(None);
    assert_eq!(scan(&storage).unwrap().1, model.records, "what recovery gave out is durable");
    append_works(&storage, &model, "after the power cut");
}

#[test]
fn a_clean_stop_survives_a_power_cut() {
    let storage = SimStorage::new();
    let mut model = Model::default();
    let (mut opened, _) = open(&storage).unwrap();
    model.commit(&mut opened, &[10]).unwrap();
    opened.writer.close().unwrap();
    storage.power_cycle(None);
    let (report, found) = scan(&storage).unwrap();
    assert_eq!((report.clean, found), (true, model.records));
}

#[test]
fn a_full_disk_stops_the_writer_at_any_byte_of_a_group_and_the_restart_yields_the_group_before() {
    for kept in 0..192 {
        let storage = SimStorage::new();
        let mut model = Model::default();
        let (mut opened, _) = open(&storage).unwrap();
        model.commit(&mut opened, &[10, 11]).unwrap();
        storage.plan(storage.calls(), Fault::Short(kept));
        let error = model.commit(&mut opened, &[20, 30, 40]).unwrap_err();
        assert!(matches!(error, WriteError::Full { action: "write", .. }), "{error}");
        assert!(matches!(model.commit(&mut opened, &[1]), Err(WriteError::Poisoned)));
        drop(opened);
        let (opened, found) = open(&storage).unwrap();
        assert_eq!(found, model.records[..2], "{kept} bytes kept");
        assert_eq!(opened.report.torn_bytes > 0, kept > 0, "{kept} bytes kept");
        drop(opened);
        append_works(&storage, &model, &format!("{kept} bytes kept"));
    }
}

/// Asserts that the writer takes nothing more, and makes no call any more: no second sync above all.
pub(crate) fn assert_poisoned(storage: &SimStorage, opened: &mut Opened<SimStorage>, context: &str) {
    let (calls, syncs) = (storage.calls(), storage.syncs());
    let mut group = Group::new();
    opened.encoder.push(&mut group, u64::MAX, |bytes| bytes.push(1)).unwrap();
    opened.encoder.seal(&mut group);
    for _ in 0..3 {
        assert!(matches!(opened.writer.commit(&group), Err(WriteError::Poisoned)), "{context}");
        opened.writer.room();
    }
    assert_eq!((storage.calls(), storage.syncs()), (calls, syncs), "{context}: nothing is tried after the failure");
}

/// Opens, commits and closes twice, with rotations; stops at the first error.
pub(crate) fn workload(storage: &SimStorage, model: &mut Model) -> Option<()> {
    let big = big();
    for groups in [&[&[10, 600][..], &big, &[40], &big, &[7, 7, 7]][..], &[&[1, 2, 3], &big, &[900, 1]]] {
        let (mut opened, _) = open(storage).ok()?;
        for sizes in groups {
            if let Err(error) = model.commit(&mut opened, sizes) {
                if !error.is_retryable() {
                    assert_poisoned(storage, &mut opened, "workload");
                }
                return None;
            }
        }
        opened.writer.close().ok()?;
    }
    Some(())
}

#[test]
fn an_error_at_any_call_loses_nothing_acknowledged() {
    let sound = SimStorage::new();
    assert_eq!(workload(&sound, &mut Model::default()), Some(()));
    for call in 0..sound.calls() {
        for fault in [Fault::Error(ErrorKind::Other), Fault::Short(300)] {
            let failed = SimStorage::new();
            failed.plan(call, fault);
            let mut model = Model::default();
            assert_eq!(workload(&failed, &mut model), None, "call {call} does not hide {fault:?}");
            for power_cut in [None, Some(None), Some(Some(call))] {
                let storage = failed.fork();
                if let Some(seed) = power_cut {
                    storage.power_cycle(seed);
                }
                append_works(&storage, &model, &format!("{fault:?} at call {call}, power cut: {power_cut:?}"));
            }
        }
    }
}

#[test]
fn a_write_that_is_interrupted_or_stops_half_way_goes_on() {
    let sound = SimStorage::new();
    assert_eq!(workload(&sound, &mut Model::default()), Some(()));
    for seed in 0..10 {
        let storage = SimStorage::new();
        storage.set_chances(seed, Chances { error: 0, partial: 300, interrupted: 400 });
        assert_eq!(workload(&storage, &mut Model::default()), Some(()), "seed {seed}");
        assert!(storage.calls() > sound.calls() + 10, "seed {seed}: {} calls", storage.calls());
        storage.power_cycle(None);
        for name in sound.list().unwrap() {
            assert!(storage.get(&name) == sound.get(&name), "seed {seed}: {name} differs");
        }
    }
}
