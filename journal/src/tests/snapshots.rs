//! Promise: a snapshot is there whole or not at all. Whatever fails while one is written, the newest one from before is
//! still there; whatever is damaged later is noticed, and the other slot or the journal gives the same state.

use std::convert::Infallible;
use std::io::{ErrorKind, Read};

use super::{SMALL, four_segments, open, position_at};
use crate::format::segment_name;
use crate::sim::{Fault, SimStorage};
use crate::{
    Checkpoint, NOTE_BYTES_MAX, OpenError, Position, ScanError, Slot, SnapshotDamage, SnapshotStore, WriteError,
    lock_in, remove_segments_before,
};

const SLOTS: [&str; 2] = ["snapshot.0", "snapshot.1"];

fn position(seq: u64) -> Position {
    Position { seq, time_ns: seq * 10, chain: 77 }
}

/// A body that only the snapshot at `seq` has.
fn body(seq: u64, bytes: usize) -> Vec<u8> {
    super::payload(seq, bytes)
}

fn write(storage: &SimStorage, seq: u64, bytes: usize) -> Result<Checkpoint, WriteError> {
    let body = body(seq, bytes);
    SnapshotStore::new(storage.clone()).write(position(seq), &seq.to_le_bytes(), &mut |out| {
        // In pieces, as an encoder writes.
        body.chunks(700).try_for_each(|piece| out.write_all(piece))
    })
}

fn read(storage: &SimStorage, checkpoint: &Checkpoint) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    SnapshotStore::new(storage.clone()).read(checkpoint)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn slots(storage: &SimStorage) -> [Slot; 2] {
    SnapshotStore::new(storage.clone()).list().unwrap()
}

/// The sequences of the slots, each checked to be whole; 0 for an empty one.
fn whole(storage: &SimStorage, bytes: usize, context: &str) -> [u64; 2] {
    slots(storage).map(|slot| match slot {
        Slot::Empty => 0,
        Slot::Sound(checkpoint) => {
            let seq = checkpoint.position.seq;
            assert_eq!(checkpoint.position, position(seq), "{context}");
            assert_eq!(checkpoint.note, seq.to_le_bytes(), "{context}");
            assert_eq!(read(storage, &checkpoint).unwrap(), body(seq, bytes), "{context}");
            seq
        }
        Slot::Damaged(damaged) => panic!("{context}: {damaged:?}"),
    })
}

#[test]
fn bodies_and_notes_of_any_size_come_back() {
    let storage = SimStorage::new();
    let mut store = SnapshotStore::new(storage.clone());
    assert_eq!(store.list().unwrap(), [Slot::Empty, Slot::Empty]);
    let mib = 1024 * 1024;
    for (seq, bytes) in [0, 1, 63, mib - 1, mib, mib + 1, 2 * mib, 3 * mib + 17].into_iter().enumerate() {
        let note = vec![9; [0, 1, 7, 8, 9, 3_000, NOTE_BYTES_MAX - 1, NOTE_BYTES_MAX][seq]];
        let seq = seq as u64 + 1;
        let body = body(seq, bytes);
        let written = store.write(position(seq), &note, &mut |out| out.write_all(&body)).unwrap();
        assert_eq!((written.position, &written.note, written.body_bytes), (position(seq), &note, bytes as u64));
        assert_eq!(store.list().unwrap()[written.slot], Slot::Sound(written.clone()));
        assert_eq!(read(&storage, &written).unwrap(), body);
        // As a decoder reads: never past the end.
        let mut exact = vec![0; bytes];
        let mut reader = store.read(&written).unwrap();
        exact.chunks_mut(1_013).for_each(|piece| reader.read_exact(piece).unwrap());
        assert_eq!(exact, body);
        storage.power_cycle(None);
        assert_eq!(read(&storage, &written).unwrap(), body, "durable when it is acknowledged");
    }
    assert_eq!(storage.get("snapshot.tmp"), None);
}

#[test]
fn the_newest_sound_snapshot_is_never_written_over() {
    let storage = SimStorage::new();
    for (seq, expected) in [(10, 0), (20, 1), (30, 0), (40, 1), (50, 0)] {
        assert_eq!(write(&storage, seq, 100).unwrap().slot, expected);
    }
    // The newest, in slot 0, is damaged: it goes first. Then the order goes on.
    let mut bytes = storage.get(SLOTS[0]).unwrap();
    bytes[20] ^= 1;
    storage.put(SLOTS[0], &bytes);
    assert_eq!(write(&storage, 60, 100).unwrap().slot, 0);
    assert_eq!(whole(&storage, 100, ""), [60, 40]);
    storage.delete(SLOTS[1]);
    assert_eq!(write(&storage, 70, 100).unwrap().slot, 1);
    // One that is older than both takes the place of the older.
    assert_eq!(write(&storage, 5, 100).unwrap().slot, 0);
    assert_eq!(whole(&storage, 100, ""), [5, 70]);
}

#[test]
fn whatever_fails_while_a_snapshot_is_written_the_slots_hold_the_old_or_the_new() {
    for before in [&[][..], &[10], &[10, 20], &[10, 20, 30]] {
        let sound = SimStorage::new();
        before.iter().for_each(|&seq| assert!(write(&sound, seq, 3_000).is_ok()));
        let sound = sound.fork();
        let old = whole(&sound, 3_000, "before");
        let calls = {
            let storage = sound.fork();
            write(&storage, 40, 3_000).unwrap();
            storage.calls() - sound.calls()
        };
        assert!(calls >= 6, "create, write, write, sync, rename, sync");
        let new = if old[0] > old[1] { [old[0], 40] } else { [40, old[1]] };
        let faults = [Fault::Error(ErrorKind::Other), Fault::Short(50), Fault::Short(3_000), Fault::PowerCut];
        for call in 0..calls {
            for (fault, seed) in faults.into_iter().flat_map(|fault| (0..6).map(move |seed| (fault, seed))) {
                let context = format!("{fault:?} at call {call} after {before:?}, seed {seed}");
                let storage = sound.fork();
                storage.plan(storage.calls() + call, fault);
                assert!(write(&storage, 40, 3_000).is_err(), "{context}: hidden");
                if seed > 0 {
                    storage.power_cycle((seed > 1).then_some(seed));
                } else if fault == Fault::PowerCut {
                    continue;
                }
                let found = whole(&storage, 3_000, &context);
                assert!(found == old || found == new, "{context}: {found:?}, was {old:?}");
                let next = write(&storage, 50, 3_000).unwrap_or_else(|error| panic!("{context}: {error}"));
                assert_eq!(next.position.seq, 50);
                assert!(whole(&storage, 3_000, &context).contains(found.iter().max().unwrap()), "{context}");
            }
        }
    }
}

#[test]
fn a_sync_that_failed_is_never_tried_again_and_a_failed_snapshot_gives_its_space_back() {
    let sound = SimStorage::new();
    let calls = {
        let storage = sound.fork();
        write(&storage, 40, 3_000).unwrap();
        storage.calls()
    };
    for call in 0..calls {
        let storage = sound.fork();
        storage.plan(call, Fault::Error(ErrorKind::Other));
        let mut store = SnapshotStore::new(storage.clone());
        let mut try_write = || store.write(position(1), b"", &mut |out| out.write_all(&body(1, 3_000)));
        let error = try_write().unwrap_err();
        assert_eq!(storage.get("snapshot.tmp"), None, "call {call}");
        let is_sync = matches!(error, WriteError::Io { action: "sync", .. });
        let before = storage.calls();
        let again = try_write();
        assert_eq!(matches!(again, Err(WriteError::Poisoned)), is_sync, "call {call}: {error}");
        assert_eq!(storage.calls() == before, is_sync, "call {call}: {error}");
    }
}

#[test]
fn an_error_of_the_one_who_writes_the_body_leaves_the_slots_as_they_were() {
    let storage = SimStorage::new();
    write(&storage, 10, 500).unwrap();
    let mut store = SnapshotStore::new(storage.clone());
    let refused = store.write(position(20), b"", &mut |out| {
        out.write_all(b"some")?;
        Err(ErrorKind::Other.into())
    });
    assert!(matches!(refused, Err(WriteError::Io { action: "write", .. })));
    assert_eq!((whole(&storage, 500, ""), storage.get("snapshot.tmp")), ([10, 0], None));
    assert!(store.write(position(20), b"", &mut |out| out.write_all(b"whole")).is_ok(), "no sync has failed");
}

#[test]
fn every_flipped_bit_of_a_header_or_note_is_noticed_and_the_other_slot_is_untouched() {
    let sound = SimStorage::new();
    write(&sound, 10, 300).unwrap();
    write(&sound, 20, 300).unwrap();
    for (slot, name) in SLOTS.into_iter().enumerate() {
        let mut bytes = sound.get(name).unwrap();
        for bit in 0..(64 + 8) * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            sound.put(name, &bytes);
            let found = slots(&sound);
            let Slot::Damaged(damaged) = &found[slot] else { panic!("bit {bit} of {name}: {:?}", found[slot]) };
            assert!(damaged.path.ends_with(name));
            let Slot::Sound(other) = &found[1 - slot] else { panic!("bit {bit} of {name}: the other is lost") };
            assert_eq!(read(&sound, other).unwrap(), body(other.position.seq, 300));
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        sound.put(name, &bytes);
    }
    assert_eq!(whole(&sound, 300, "restored"), [10, 20]);
}

#[test]
fn every_flipped_bit_of_a_body_is_found_before_its_last_byte_is_lent() {
    let storage = SimStorage::new();
    let checkpoint = write(&storage, 10, 300).unwrap();
    let mut bytes = storage.get(SLOTS[0]).unwrap();
    for bit in (64 + 8) * 8..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        storage.put(SLOTS[0], &bytes);
        assert_eq!(slots(&storage)[0], Slot::Sound(checkpoint.clone()), "the body is not read to list it");
        assert_eq!(read(&storage, &checkpoint).unwrap_err().kind(), ErrorKind::InvalidData, "bit {bit}");
        let mut exact = [0; 300];
        let mut reader = SnapshotStore::new(storage.clone()).read(&checkpoint).unwrap();
        assert_eq!(reader.read_exact(&mut exact).unwrap_err().kind(), ErrorKind::InvalidData, "bit {bit}");
        assert_eq!(reader.read(&mut exact).unwrap_err().kind(), ErrorKind::InvalidData, "and again");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    // The first piece of a long body is lent before the last was seen, the last never.
    let checkpoint = write(&storage, 20, 2_500_000).unwrap();
    let mut bytes = storage.get(SLOTS[1]).unwrap();
    bytes[100] ^= 1;
    storage.put(SLOTS[1], &bytes);
    let mut exact = vec![0; 2_500_000];
    let mut reader = SnapshotStore::new(storage).read(&checkpoint).unwrap();
    assert_eq!(reader.read_exact(&mut exact).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn a_snapshot_of_any_other_length_is_damaged() {
    let storage = SimStorage::new();
    let checkpoint = write(&storage, 10, 300).unwrap();
    let bytes = storage.get(SLOTS[0]).unwrap();
    for len in 0..bytes.len() {
        storage.put(SLOTS[0], &bytes[..len]);
        let Slot::Damaged(damaged) = &slots(&storage)[0] else { panic!("cut at {len}") };
        match damaged.damage {
            SnapshotDamage::HeaderShort => assert!(len < 72, "cut at {len}"),
            SnapshotDamage::FileLength { found, expected } => assert_eq!((found, expected), (len as u64, 372)),
            damage => panic!("cut at {len}: {damage}"),
        }
        assert_eq!(read(&storage, &checkpoint).unwrap_err().kind(), ErrorKind::InvalidData, "cut since it was listed");
    }
    storage.put(SLOTS[0], &[&bytes[..], &[0]].concat());
    assert!(matches!(&slots(&storage)[0], Slot::Damaged(_)), "a byte added");
}

#[test]
fn a_slot_that_was_written_anew_since_it_was_listed_is_not_read_as_the_old_one() {
    let storage = SimStorage::new();
    let old = write(&storage, 10, 300).unwrap();
    write(&storage, 20, 300).unwrap();
    assert_eq!(write(&storage, 30, 300).unwrap().slot, old.slot);
    let opened = SnapshotStore::new(storage).read(&old);
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::InvalidData, "before a byte of it is lent");
}

/// A state: how many records went in, and what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    seq: u64,
    hash: u64,
}

impl State {
    fn apply(&mut self, seq: u64, payload: &[u8]) {
        assert_eq!(seq, self.seq + 1, "no gap and no repetition");
        self.seq = seq;
        for &byte in payload {
            self.hash = self.hash.wrapping_mul(31).wrapping_add(u64::from(byte));
        }
    }

    fn to_body(self) -> [u8; 16] {
        (u128::from(self.seq) << 64 | u128::from(self.hash)).to_le_bytes()
    }

    fn from_body(bytes: [u8; 16]) -> Self {
        let both = u128::from_le_bytes(bytes);
        Self { seq: (both >> 64) as u64, hash: both as u64 }
    }
}

/// Takes a snapshot of the journal's records up to a boundary.
fn take(storage: &SimStorage, records: &[super::Kept], seq: u64) -> Result<Checkpoint, WriteError> {
    let at = position_at(storage, seq);
    let mut state = State::default();
    records.iter().take_while(|record| record.0 <= seq).for_each(|record| state.apply(record.0, &record.2));
    SnapshotStore::new(storage.clone()).write(at, b"note", &mut |out| out.write_all(&state.to_body()))
}

/// Recovers as an owner of the journal does: lock, look, load, open. Says which position it began at and how many slots
/// were found wrong.
fn recover(storage: &SimStorage) -> Result<(State, Position, usize), OpenError> {
    let locked = lock_in(storage.clone())?;
    let starts = locked.starts()?;
    let (mut state, mut after, mut wrong) = (State::default(), Position::START, starts.damaged.len());
    for candidate in &starts.candidates {
        let mut body = [0; 16];
        let read = locked.snapshots().read(candidate).and_then(|mut reader| reader.read_exact(&mut body));
        if read.is_ok() {
            (state, after) = (State::from_body(body), candidate.position);
            assert_eq!(candidate.note, b"note");
            break;
        }
        wrong += 1;
    }
    let opened = locked.open(&SMALL, after, 0, &mut |record| {
        state.apply(record.seq, record.payload);
        Ok::<(), Infallible>(())
    })?;
    assert_eq!(opened.report.last_seq, state.seq);
    assert_eq!(opened.encoder.next_seq(), state.seq + 1);
    Ok((state, after, wrong))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Empty,
    HeaderWrong,
    BodyWrong,
    Sound,
}

const CONDITIONS: [Condition; 4] = [Condition::Empty, Condition::HeaderWrong, Condition::BodyWrong, Condition::Sound];

fn damage(storage: &SimStorage, slot: usize, condition: Condition) {
    let mut bytes = storage.get(SLOTS[slot]).unwrap();
    let last = bytes.len() - 1;
    match condition {
        Condition::Empty => return storage.delete(SLOTS[slot]),
        Condition::HeaderWrong => bytes[17] ^= 4,
        Condition::BodyWrong => bytes[last] ^= 4,
        Condition::Sound => {}
    }
    storage.put(SLOTS[slot], &bytes);
}

#[test]
fn every_condition_of_both_slots_gives_the_state_of_a_full_replay_or_a_refusal() {
    let (sound, model, _) = four_segments(false);
    let full = recover(&sound.fork()).unwrap().0;
    assert_eq!(full.seq, 71);
    assert_eq!(take(&sound, &model.records, 18).unwrap().slot, 0);
    assert_eq!(take(&sound, &model.records, 52).unwrap().slot, 1);
    for older in CONDITIONS {
        for newer in CONDITIONS {
            // The first segment that is there: all, those after the older snapshot, those after the newer one.
            for first_seq in [1, 19, 53] {
                let context = format!("older {older:?}, newer {newer:?}, log from {first_seq}");
                let storage = sound.fork();
                damage(&storage, 0, older);
                damage(&storage, 1, newer);
                remove_segments_before(&storage, first_seq).unwrap();
                let usable = [(newer, 52), (older, 18), (Condition::Sound, 0)];
                let begin =
                    usable.iter().find(|&&(condition, at)| condition == Condition::Sound && first_seq <= at + 1);
                match (recover(&storage), begin) {
                    (Ok((state, after, wrong)), Some(&(_, at))) => {
                        assert_eq!((state, after.seq), (full, at), "{context}");
                        let tried = if at == 52 { vec![newer] } else { vec![newer, older] };
                        let header = |slot: &&Condition| **slot == Condition::HeaderWrong;
                        let headers = [older, newer].iter().filter(header).count();
                        let bodies = tried.iter().filter(|&&slot| slot == Condition::BodyWrong).count();
                        assert!(wrong == headers + bodies || first_seq > 19, "{context}: {wrong} reported");
                    }
                    (Err(OpenError::Read(ScanError::Missing { first_seq: from, last_seq, .. })), None) => {
                        assert_eq!((from, last_seq), (1, first_seq - 1), "{context}");
                    }
                    (result, begin) => panic!("{context}: {result:?}, should begin at {begin:?}"),
                }
            }
        }
    }
}

#[test]
fn a_snapshot_is_a_witness_of_the_log_even_if_it_is_not_read() {
    let (sound, model, names) = four_segments(false);
    take(&sound, &model.records, 52).unwrap();
    let below = |error: &OpenError| {
        matches!(error, OpenError::Read(ScanError::BelowWitness { last_seq: 35, witnessed: 52, .. }))
    };
    sound.delete(&names[3]);
    sound.delete(&names[2]);
    let error = recover(&sound.fork()).unwrap_err();
    assert!(below(&error), "{error}");
    let error = open(&sound.fork()).unwrap_err();
    assert!(below(&error), "from the beginning: {error}");
    damage(&sound, 0, Condition::BodyWrong);
    let error = recover(&sound.fork()).unwrap_err();
    assert!(below(&error), "with a body that is wrong: {error}");
    names.iter().for_each(|name| sound.delete(name));
    let error = recover(&sound.fork()).unwrap_err();
    let none: OpenError = OpenError::Read(ScanError::BelowWitness { path: "sim/".into(), last_seq: 0, witnessed: 52 });
    assert_eq!(error.to_string(), none.to_string(), "a journal that is gone is not begun anew");
}

#[test]
fn a_snapshot_of_another_journal_is_refused() {
    let (sound, model, names) = four_segments(false);
    let big = super::big();
    let (other, _) = super::journal(&[&[8], &big, &big], false);
    take(&sound, &model.records, 18).unwrap();
    other.put(SLOTS[0], &sound.get(SLOTS[0]).unwrap());
    let error = recover(&other).unwrap_err();
    assert!(matches!(error, OpenError::Read(ScanError::Corrupt { .. })), "{error}");
    assert_eq!(names[1], segment_name(19));
}

#[test]
fn a_kill_or_power_cut_at_any_call_of_a_snapshot_changes_no_recovered_state() {
    let (sound, model, _) = four_segments(false);
    let full = recover(&sound.fork()).unwrap().0;
    for before in [&[][..], &[18], &[18, 35]] {
        let storage = sound.fork();
        before.iter().for_each(|&seq| assert!(take(&storage, &model.records, seq).is_ok()));
        let begun = storage.fork();
        let first = begun.calls();
        take(&begun, &model.records, 52).unwrap();
        for call in first..begun.calls() {
            for seed in [None, Some(1), Some(2), Some(3)] {
                let storage = storage.fork();
                storage.plan(call, Fault::PowerCut);
                let taken = take(&storage, &model.records, 52);
                storage.power_cycle(seed);
                let (state, after, wrong) = recover(&storage).unwrap();
                assert_eq!((state, wrong), (full, 0), "call {call}, seed {seed:?}");
                let newest = before.last().copied().unwrap_or(0);
                assert!(after.seq == newest && taken.is_err() || after.seq == 52, "from {}, had {newest}", after.seq);
                assert_eq!(storage.get("snapshot.tmp"), None, "what was begun is removed");
            }
        }
    }
}
