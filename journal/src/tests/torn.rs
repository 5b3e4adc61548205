//! Promise: whatever a crash leaves of the last group, recovery yields exactly the last complete group, nothing of the
//! one after it, and the journal goes on from there. Does not test: damage before the last group (`flips`).

use super::{FIRST, Model, append_works, journal, open, open_witnessed, scan};
use crate::{OpenError, ScanError};

/// Three groups whose last has the offsets returned, in a file without zeros after them.
fn three_groups() -> (crate::sim::SimStorage, Model, Vec<u8>, usize) {
    let (two, _) = journal(&[&[9, 100, 8], &[1]], true);
    let start = two.get(FIRST).unwrap().len();
    let (storage, model) = journal(&[&[9, 100, 8], &[1], &[40, 300, 7, 64, 501]], true);
    let bytes = storage.get(FIRST).unwrap();
    storage.delete("clean");
    (storage, model, bytes, start)
}

#[test]
fn a_journal_cut_at_any_byte_of_its_last_group_yields_the_last_complete_group() {
    let (storage, mut model, bytes, start) = three_groups();
    model.acked = 4;
    for cut in start..bytes.len() {
        let context = format!("cut at {cut}");
        storage.put(FIRST, &bytes[..cut]);
        let (report, found) = scan(&storage).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(found, model.records[..4], "{context}");
        assert!(report.torn_bytes <= (cut - start) as u64 && !report.clean, "{context}");
        assert_eq!(report.torn_bytes == 0, cut == start, "{context}");
        let (opened, found) = open(&storage).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!((found, opened.report), (model.records[..4].to_vec(), report), "{context}");
        drop(opened);
        if cut % 16 == 0 {
            append_works(&storage, &model, &context);
        }
    }
}

#[test]
fn a_log_cut_below_what_was_seen_outside_is_refused() {
    let (storage, _, bytes, start) = three_groups();
    for cut in [start, start + 1, bytes.len() - 1] {
        storage.put(FIRST, &bytes[..cut]);
        assert!(open_witnessed(&storage, 4).is_ok());
        storage.put(FIRST, &bytes[..cut]);
        let error = open_witnessed(&storage, 5).unwrap_err();
        assert!(matches!(error, OpenError::Read(ScanError::BelowWitness { last_seq: 4, witnessed: 5, .. })), "{error}");
        assert_eq!(storage.get(FIRST).unwrap(), &bytes[..cut], "a refusal changes nothing");
    }
}

#[test]
fn any_subset_of_the_sectors_of_the_last_group_yields_it_whole_or_not_at_all() {
    let sizes = [700, 40, 512, 1, 900, 333, 1000, 8];
    let (before, _) = journal(&[&[9, 100, 8]], true);
    let start = before.get(FIRST).unwrap().len();
    let (storage, mut model) = journal(&[&[9, 100, 8], &sizes], true);
    storage.delete("clean");
    let bytes = storage.get(FIRST).unwrap();
    let sectors: Vec<usize> = (start / 512..bytes.len().div_ceil(512)).collect();
    assert!((8..=10).contains(&sectors.len()), "{} sectors", sectors.len());
    model.acked = 3;
    for subset in 0..1_usize << sectors.len() {
        let mut torn = vec![0; bytes.len() + 4096];
        torn[..start].copy_from_slice(&bytes[..start]);
        for (bit, sector) in sectors.iter().enumerate() {
            if subset & (1 << bit) != 0 {
                let range = (sector * 512).max(start)..((sector + 1) * 512).min(bytes.len());
                torn[range.clone()].copy_from_slice(&bytes[range]);
            }
        }
        storage.put(FIRST, &torn);
        let context = format!("sectors {subset:#b}");
        let (report, found) = scan(&storage).unwrap_or_else(|error| panic!("{context}: {error}"));
        let whole = subset + 1 == 1 << sectors.len();
        assert_eq!(found.len(), if whole { 11 } else { 3 }, "{context}");
        assert_eq!(report.torn_bytes > 0, !whole && subset != 0, "{context}");
        if subset % 8 == 0 {
            append_works(&storage, &model, &context);
        }
    }
}

#[test]
fn a_cut_leaves_zeros_so_that_an_older_tail_never_comes_back() {
    let (storage, mut model, bytes, start) = three_groups();
    let mut torn = bytes.clone();
    torn[start + 40] ^= 1;
    storage.put(FIRST, &torn);
    model.acked = 4;
    let (opened, found) = open(&storage).unwrap();
    let torn_bytes = (bytes.len() - 3 - start) as u64;
    assert_eq!((found.len(), opened.report.torn_bytes), (4, torn_bytes), "all but the padding");
    assert!(storage.get(FIRST).unwrap()[start..].iter().all(|&byte| byte == 0));
}
