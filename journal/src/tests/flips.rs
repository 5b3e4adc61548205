//! Promise: no flipped bit is accepted silently. Refused with file, offset and sequence; the only allowed cut is the
//! last group of a journal that was not stopped cleanly, and it is reported.

use super::{FIRST, big, journal, scan};
use crate::ScanError;
use crate::sim::SimStorage;

/// Flips each bit of `range` in `file` and checks what a scan says of it.
fn for_each_flip(
    storage: &SimStorage,
    file: &str,
    bits: impl Iterator<Item = usize>,
    check: impl Fn(usize, Result<(crate::Recovery, Vec<super::Kept>), ScanError>),
) {
    let mut bytes = storage.get(file).unwrap();
    for bit in bits {
        bytes[bit / 8] ^= 1 << (bit % 8);
        storage.put(file, &bytes);
        check(bit, scan(storage));
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    storage.put(file, &bytes);
    assert!(scan(storage).is_ok(), "the sound journal is accepted");
}

fn assert_refused(file: &str, bit: usize, result: Result<(crate::Recovery, Vec<super::Kept>), ScanError>) {
    match result {
        Err(ScanError::Corrupt { path, offset, .. }) => {
            assert!(path.ends_with(file), "bit {bit}: {}", path.display());
            assert!(offset <= bit as u64 / 8, "bit {bit}: reported at {offset}, after the damage");
            assert!(offset + 700 > bit as u64 / 8, "bit {bit}: reported at {offset}, far before the damage");
        }
        other => panic!("bit {bit} of {file}: {other:?}"),
    }
}

#[test]
fn every_flipped_bit_of_a_cleanly_closed_journal_is_refused() {
    let (storage, _) = journal(&[&[9, 100, 8], &[1], &[40, 300, 7], &[600], &[13, 14, 15]], true);
    let bits = storage.get(FIRST).unwrap().len() * 8;
    for_each_flip(&storage, FIRST, 0..bits, |bit, result| assert_refused(FIRST, bit, result));
}

#[test]
fn every_flipped_bit_of_the_clean_mark_is_refused() {
    let (storage, _) = journal(&[&[9]], true);
    let bits = storage.get("clean").unwrap().len() * 8;
    for_each_flip(&storage, "clean", 0..bits, |bit, result| assert_refused("clean", bit, result));
}

#[test]
fn after_an_unclean_stop_a_flip_before_the_last_group_is_refused_and_one_inside_it_is_at_most_cut() {
    let (two, _) = journal(&[&[9, 100, 8], &[1]], true);
    let start = two.get(FIRST).unwrap().len();
    let (storage, model) = journal(&[&[9, 100, 8], &[1], &[40, 300, 7]], true);
    storage.delete("clean");
    let bytes = storage.get(FIRST).unwrap();
    storage.put(FIRST, &[bytes.clone(), vec![0; 512]].concat());
    for_each_flip(&storage, FIRST, 0..bytes.len() * 8 + 4096, |bit, result| {
        if bit / 8 < start || result.is_err() {
            return assert_refused(FIRST, bit, result);
        }
        let (report, found) = result.unwrap();
        assert!(report.torn_bytes > 0, "bit {bit}: a cut is reported");
        let kept = if bit / 8 < bytes.len() { 4 } else { 7 };
        assert_eq!(found, model.records[..kept], "bit {bit}");
    });
}

#[test]
fn a_flip_in_an_earlier_segment_is_refused_in_its_records_and_in_its_unused_rest() {
    let big = big();
    let (storage, _) = journal(&[&[9], &[400, 20], &big, &big, &[5]], false);
    let second = "00000000000000000021.log";
    assert!(storage.get(second).is_some());
    let bits = storage.get(FIRST).unwrap().len() * 8;
    // Headers and small records bit by bit, the rest sampled.
    let sample = (0..700 * 8).step_by(7).chain((0..bits).step_by(bits / 40 + 1)).chain([bits - 1]);
    let bytes = storage.get(FIRST).unwrap();
    for bit in sample {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        storage.put(FIRST, &flipped);
        match scan(&storage) {
            Err(ScanError::Corrupt { path, next_valid_seq, .. }) => {
                assert!(path.ends_with(FIRST), "bit {bit}");
                assert!(next_valid_seq.is_some(), "bit {bit}: a later record is named");
            }
            other => panic!("bit {bit}: {:?}", other.map(|(report, _)| report)),
        }
    }
    storage.put(FIRST, &bytes);
    for_each_flip(&storage, second, 0..64 * 8, |bit, result| assert_refused(second, bit, result));
}
