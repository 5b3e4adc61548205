//! Promise: dropping old segments takes exactly those it may, and whatever call fails or however the power goes, what is
//! left is the end of the log without a gap.

use std::io::ErrorKind;

use super::{Model, four_segments, open, position_at, scan_after};
use crate::format::SEGMENT_BYTES_MIN;
use crate::sim::{Fault, SimStorage};
use crate::{OpenError, WriteError, remove_segments_before, segments};

fn first_seqs(storage: &SimStorage) -> Vec<u64> {
    segments(storage).unwrap().iter().map(|segment| segment.first_seq).collect()
}

#[test]
fn segments_are_listed_by_name_with_what_the_next_one_tells() {
    let (storage, _, names) = four_segments(false);
    let found = segments(&storage).unwrap();
    assert_eq!(found.iter().map(|segment| segment.name.clone()).collect::<Vec<_>>(), names);
    let seqs: Vec<_> = found.iter().map(|segment| (segment.first_seq, segment.last_seq)).collect();
    assert_eq!(seqs, [(1, Some(18)), (19, Some(35)), (36, Some(52)), (53, None)]);
    assert!(found.iter().all(|segment| segment.bytes == SEGMENT_BYTES_MIN));
    assert_eq!(segments(&SimStorage::new()).unwrap(), []);
    storage.put("backup.log", b"");
    assert!(segments(&storage).is_err(), "a renamed segment may hide a gap");
}

#[test]
fn exactly_the_segments_below_a_sequence_go_and_never_the_last() {
    let (sound, _, _) = four_segments(false);
    for seq in (0..=60).chain([u64::MAX]) {
        let storage = sound.fork();
        let removed = remove_segments_before(&storage, seq).unwrap();
        let expected = [1, 19, 36, 53]
            .iter()
            .filter(|&&first| {
                seq > [18, 35, 52, u64::MAX][match first {
                    1 => 0,
                    19 => 1,
                    36 => 2,
                    _ => 3,
                }]
            })
            .count();
        assert_eq!(removed.len(), expected, "below {seq}");
        assert_eq!(first_seqs(&storage), [1, 19, 36, 53][expected..], "below {seq}");
        storage.power_cycle(None);
        assert_eq!(first_seqs(&storage), [1, 19, 36, 53][expected..], "durably");
    }
    assert_eq!(remove_segments_before(&SimStorage::new(), 9).unwrap(), []);
}

#[test]
fn whatever_fails_the_end_of_the_log_is_left_without_a_gap() {
    let (sound, model, _) = four_segments(false);
    let after = position_at(&sound, 52);
    let calls = {
        let storage = sound.fork();
        let before = storage.calls();
        assert_eq!(remove_segments_before(&storage, 53).unwrap().len(), 3);
        storage.calls() - before
    };
    assert_eq!(calls, 6, "a removal and a sync each");
    for call in 0..calls {
        for fault in [Fault::Error(ErrorKind::Other), Fault::PowerCut] {
            for seed in [None, Some(1), Some(2), Some(3)] {
                let storage = sound.fork();
                storage.plan(storage.calls() + call, fault);
                let error = remove_segments_before(&storage, 53).unwrap_err();
                assert!(matches!(error, OpenError::Write(WriteError::Io { .. })), "{error}");
                storage.power_cycle(seed);
                let left = first_seqs(&storage);
                assert!([1, 19, 36, 53].ends_with(&left) && !left.is_empty(), "{fault:?} at {call}: {left:?}");
                assert_eq!(scan_after(&storage, after).unwrap().1, model.records[52..]);
                remove_segments_before(&storage, 53).unwrap();
                assert_eq!(first_seqs(&storage), [53]);
            }
        }
    }
}

#[test]
fn a_writer_goes_on_while_old_segments_go() {
    let storage = SimStorage::new();
    let mut model = Model::default();
    let (mut opened, _) = open(&storage).unwrap();
    for _ in 0..6 {
        model.commit(&mut opened, &super::big()).unwrap();
        remove_segments_before(&storage, opened.writer.durable_seq()).unwrap();
        assert_eq!(segments(&storage).unwrap().len(), 1);
    }
    opened.writer.close().unwrap();
    assert_eq!(first_seqs(&storage), [86]);
    remove_segments_before(&storage, u64::MAX).unwrap();
    assert_eq!(first_seqs(&storage), [86]);
    assert!(open(&storage).is_err(), "the beginning is gone");
}
