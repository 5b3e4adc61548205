//! Promise: reading from a position gives exactly the records after it, whatever lies before it; and segments after it
//! that are lost, swapped, repeated or another journal's are found as they are from the beginning.

use std::convert::Infallible;

use super::{Model, append_works, big, four_segments, journal, open_after, position_at, scan, scan_after};
use crate::format::segment_name;
use crate::sim::SimStorage;
use crate::{Damage, OpenError, Position, ScanError, ScanOptions, scan_in};

fn damage(error: &ScanError) -> Option<Damage> {
    match error {
        ScanError::Corrupt { damage, .. } => Some(*damage),
        _ => None,
    }
}

fn is_below(error: &ScanError, at: u64) -> bool {
    matches!(error, ScanError::BelowWitness { last_seq, .. } if *last_seq == at)
}

#[test]
fn reading_from_the_end_of_any_group_gives_exactly_what_comes_after_it() {
    let big = big();
    for clean in [true, false] {
        let (sound, model) = journal(&[&[9, 100], &[1], &big, &[40; 30], &[7], &big, &[2, 3], &[5]], clean);
        let ends: Vec<u64> = [0].into_iter().chain(model.ends.iter().copied()).collect();
        for &end in &ends {
            let after = position_at(&sound, end);
            let expected = &model.records[usize::try_from(end).unwrap()..];
            let (report, found) = scan_after(&sound, after).unwrap();
            assert_eq!(found, expected, "after {end}");
            assert_eq!((report.records, report.clean), (expected.len() as u64, clean));
            let last = model.records.last().unwrap();
            assert_eq!((report.last_seq, report.last_time_ns), (last.0, last.1), "after {end}");

            let storage = sound.fork();
            let (mut opened, found) = open_after(&storage, after).unwrap();
            assert_eq!((found.as_slice(), opened.writer.durable_seq()), (expected, last.0), "after {end}");
            let mut longer = Model { records: model.records.clone(), ..Model::default() };
            longer.commit(&mut opened, &[11, 12]).unwrap();
            drop(opened);
            assert_eq!(scan(&storage).unwrap().1, longer.records, "after {end}");
        }
    }
}

#[test]
fn a_reading_stops_at_its_end_also_when_that_is_not_after_its_position() {
    let (storage, _, _) = four_segments(true);
    for (after, until, expected) in [(18, 35, 17), (18, 20, 2), (18, 18, 0), (18, 3, 0), (1, 1, 0)] {
        let options = ScanOptions { after: position_at(&storage, after), until: Some(until), witnessed: 0 };
        let report = scan_in(&storage, options, &mut |_| Ok::<(), Infallible>(())).unwrap();
        assert_eq!((report.records, report.last_seq), (expected, after.max(until)), "{after} to {until}");
    }
}

#[test]
fn what_lies_before_a_boundary_is_not_read() {
    let (sound, model, names) = four_segments(true);
    for (before, boundary) in [(1, 18), (2, 35), (3, 52)] {
        let after = position_at(&sound, boundary);
        for wrong in [Some(&b"anything"[..]), None] {
            let storage = sound.fork();
            for name in &names[..before] {
                storage.delete(name);
                wrong.into_iter().for_each(|bytes| storage.put(name, bytes));
            }
            let expected = &model.records[usize::try_from(boundary).unwrap()..];
            let (report, found) = scan_after(&storage, after).unwrap();
            assert_eq!((found.as_slice(), report.segments), (expected, 4 - before as u64));
            let (_opened, found) = open_after(&storage, after).unwrap();
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn a_position_that_is_not_of_this_log_is_refused() {
    let (storage, _, _) = four_segments(false);
    let (boundary, within) = (position_at(&storage, 18), position_at(&storage, 1));
    let differs = |seq| Some(Damage::PositionDiffers { seq });
    for (after, expected) in [
        (Position { chain: boundary.chain ^ 1, ..boundary }, Some(Damage::HeaderChain)),
        (Position { time_ns: u64::MAX, ..boundary }, Some(Damage::RecordTime { found: 1_009 })),
        (Position { chain: within.chain ^ 1, ..within }, differs(1)),
        (Position { time_ns: within.time_ns + 1, ..within }, differs(1)),
        (Position { seq: 2, ..within }, differs(2)),
        (Position { seq: 20, ..boundary }, differs(20)),
    ] {
        let before: Vec<_> = [1, 19, 36, 53].map(|seq| storage.get(&segment_name(seq))).to_vec();
        let error = scan_after(&storage, after).unwrap_err();
        assert_eq!(damage(&error), expected, "{after:?}: {error}");
        let error = open_after(&storage, after).unwrap_err();
        assert!(matches!(&error, OpenError::Read(error) if damage(error) == expected), "{after:?}: {error}");
        assert_eq!([1, 19, 36, 53].map(|seq| storage.get(&segment_name(seq))).to_vec(), before, "nothing is changed");
    }
}

#[test]
fn a_log_that_ends_below_the_position_is_refused_and_one_that_ends_at_it_goes_on() {
    let (sound, model, names) = four_segments(false);
    for (boundary, kept) in [(18, 1), (35, 2), (52, 3)] {
        let (at, beyond) = (position_at(&sound, boundary), position_at(&sound, 71));
        let storage = sound.fork();
        names[kept..].iter().for_each(|name| storage.delete(name));
        let error = scan_after(&storage, beyond).unwrap_err();
        assert!(is_below(&error, boundary), "{error}");
        let error = open_after(&storage, beyond).unwrap_err();
        assert!(matches!(&error, OpenError::Read(error) if is_below(error, boundary)), "{error}");
        // A snapshot may have become durable while the next segment's name had not.
        assert_eq!(open_after(&storage, at).unwrap().1, []);
        let mut model = model.clone();
        model.records.truncate(usize::try_from(boundary).unwrap());
        model.acked = boundary;
        append_works(&storage, &model, "at the end");
    }
    let storage = SimStorage::new();
    let error = open_after(&storage, position_at(&sound, 18)).unwrap_err();
    assert!(matches!(&error, OpenError::Read(error) if is_below(error, 0)), "{error}");
}

#[test]
fn a_torn_tail_after_a_position_is_cut_as_it_is_from_the_beginning() {
    let (sound, mut model, names) = four_segments(true);
    sound.delete("clean");
    let whole = sound.get(&names[3]).unwrap();
    model.records.truncate(69);
    model.acked = 69;
    // The last group is two records of 40 bytes; without any the segment holds its header and the group before.
    for torn in [whole.len() - 1, whole.len() - 41, whole.len() - 79, whole.len() - 80] {
        for after in [18, 52, 69] {
            let storage = sound.fork();
            storage.put(&names[3], &whole[..torn]);
            let (opened, found) = open_after(&storage, position_at(&sound, after)).unwrap();
            assert_eq!(found, model.records[usize::try_from(after).unwrap()..], "cut at {torn}");
            assert_eq!(opened.report.torn_bytes > 0, torn > whole.len() - 80, "cut at {torn}");
            drop(opened);
            append_works(&storage, &model, "cut");
        }
    }
    // A rotation that crashed before its first group.
    let storage = sound.fork();
    storage.put(&names[3], &[&whole[..64], &[0; 4096]].concat());
    let (opened, found) = open_after(&storage, position_at(&sound, 52)).unwrap();
    assert_eq!((found.len(), opened.report.torn_bytes, opened.encoder.next_seq()), (0, 0, 53));
}

/// Every way to lose, swap, repeat or replace whole segments; gives those changed, and how.
fn structural_faults(names: &[String], other: &SimStorage) -> Vec<(Vec<usize>, Change)> {
    let mut faults: Vec<(Vec<usize>, Change)> = Vec::new();
    for (a, name) in names.iter().cloned().enumerate() {
        let (lost, stale, foreign) = (name.clone(), name.clone(), name.clone());
        faults.push((vec![a], Box::new(move |storage| storage.delete(&lost))));
        // As it was when it was made.
        faults.push((
            vec![a],
            Box::new(move |storage| {
                let mut bytes = storage.get(&stale).unwrap();
                bytes[64..].fill(0);
                storage.put(&stale, &bytes);
            }),
        ));
        let bytes = other.get(&name).unwrap();
        faults.push((vec![a], Box::new(move |storage| storage.put(&foreign, &bytes))));
        for (b, from) in names.iter().cloned().enumerate().filter(|&(b, _)| b != a) {
            let (first, second) = (name.clone(), from.clone());
            if a < b {
                faults.push((
                    vec![a, b],
                    Box::new(move |storage| {
                        let [bytes_a, bytes_b] = [&first, &second].map(|name| storage.get(name).unwrap());
                        storage.put(&first, &bytes_b);
                        storage.put(&second, &bytes_a);
                    }),
                ));
            }
            let repeated = name.clone();
            faults.push((vec![a], Box::new(move |storage| storage.put(&repeated, &storage.get(&from).unwrap()))));
        }
    }
    assert_eq!(faults.len(), 3 * 4 + 6 + 12);
    faults
}

type Change = Box<dyn Fn(&SimStorage)>;

#[test]
fn segments_that_were_lost_swapped_repeated_or_replaced_are_refused_from_any_position() {
    let (sound, model, names) = four_segments(true);
    let big = big();
    let (other, _) = journal(&[&[8], &big, &big, &big, &big, &[3, 4]], true);
    let faults = structural_faults(&names, &other);
    for (after, first_read) in [(0, 0), (1, 0), (18, 1), (35, 2), (52, 3)] {
        let (from, expected) = (position_at(&sound, after), &model.records[usize::try_from(after).unwrap()..]);
        for (changed, change) in &faults {
            let storage = sound.fork();
            change(&storage);
            let result = scan_after(&storage, from);
            if changed.iter().all(|&at| at < first_read) {
                assert_eq!(result.unwrap().1, expected, "what comes after {after} is whole");
            } else {
                let error = result.unwrap_err();
                let found = matches!(error, ScanError::Corrupt { .. } | ScanError::Missing { .. });
                assert!(found, "after {after}, segments {changed:?} changed: {error}");
            }
        }
    }
}
