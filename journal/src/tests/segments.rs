//! Promise: segments and records that are lost, swapped, repeated, misplaced or half made are found, and a mark of a
//! clean stop excuses nothing.

use super::{FIRST, big, four_segments, journal, open, open_witnessed, scan};
use crate::format::{RecordHeader, SEGMENT_BYTES_MIN, segment_name};
use crate::sim::SimStorage;
use crate::{Damage, OpenError, Options, ScanError, open_in};

fn assert_corrupt(storage: &SimStorage, context: &str) -> Damage {
    let before: Vec<_> = [FIRST, "clean"].map(|name| storage.get(name)).to_vec();
    let opened = open(storage).map(|(opened, _)| opened.report);
    assert!(matches!(opened, Err(OpenError::Read(ScanError::Corrupt { .. }))), "{context}: {opened:?}");
    assert_eq!([FIRST, "clean"].map(|name| storage.get(name)).to_vec(), before, "{context}: changed");
    match scan(storage).map(|(report, _)| report) {
        Err(ScanError::Corrupt { damage, .. }) => damage,
        other => panic!("{context}: {other:?}"),
    }
}

#[test]
fn several_segments_are_read_in_order() {
    for clean in [true, false] {
        let (storage, model, _) = four_segments(clean);
        let (report, found) = scan(&storage).unwrap();
        assert_eq!(found, model.records);
        assert_eq!((report.segments, report.clean, report.torn_bytes), (4, clean, 0));
        let logical: u64 =
            4 * 64 + found.iter().map(|record| 32 + record.2.len().next_multiple_of(8) as u64).sum::<u64>();
        assert_eq!(report.bytes, logical);
        let (opened, _) = open(&storage).unwrap();
        assert_eq!(opened.writer.bytes_written(), logical);
    }
}

#[test]
fn a_deleted_segment_is_refused() {
    for deleted in 1..4 {
        let (storage, _, names) = four_segments(true);
        storage.delete(&names[deleted]);
        assert_corrupt(&storage, &names[deleted]);
    }
}

#[test]
fn segments_missing_at_the_beginning_are_refused_with_their_range() {
    for deleted in 1..4 {
        let (storage, _, names) = four_segments(true);
        names[..deleted].iter().for_each(|name| storage.delete(name));
        let last = [18, 35, 52][deleted - 1];
        let error = open(&storage).unwrap_err();
        let range = |error: &ScanError| match error {
            ScanError::Missing { first_seq, last_seq, .. } => Some((*first_seq, *last_seq)),
            _ => None,
        };
        assert!(matches!(&error, OpenError::Read(error) if range(error) == Some((1, last))), "{error}");
        assert!(error.to_string().ends_with(&format!("lacks seq 1 to {last}, which may be in the archive")), "{error}");
        assert_eq!(range(&scan(&storage).unwrap_err()), Some((1, last)));
        assert!(storage.get("clean").is_some(), "nothing is changed");
    }
}

#[test]
fn a_deleted_last_segment_after_an_unclean_stop_is_found_by_its_witness() {
    let (storage, model, names) = four_segments(false);
    storage.delete(&names[3]);
    let last = model.records.len() as u64;
    let error = open_witnessed(&storage, last).unwrap_err();
    assert!(matches!(error, OpenError::Read(ScanError::BelowWitness { .. })), "{error}");
}

#[test]
fn swapped_duplicated_and_renamed_segments_are_refused() {
    let (sound, _, names) = four_segments(false);
    for (a, b) in [(0, 1), (1, 2), (0, 3)] {
        let storage = sound.fork();
        let (first, second) = (sound.get(&names[a]).unwrap(), sound.get(&names[b]).unwrap());
        storage.put(&names[a], &second);
        storage.put(&names[b], &first);
        assert!(matches!(assert_corrupt(&storage, "swapped"), Damage::HeaderSeq { .. }));
    }
    let storage = sound.fork();
    storage.put(&segment_name(60), &sound.get(&names[1]).unwrap());
    assert!(matches!(
        assert_corrupt(&storage, "duplicated"),
        Damage::SegmentMissing { found: 60 } | Damage::HeaderSeq { .. }
    ));
    let storage = sound.fork();
    storage.put("backup.log", &sound.get(&names[3]).unwrap());
    storage.delete(&names[3]);
    assert_eq!(assert_corrupt(&storage, "renamed"), Damage::SegmentName);
}

#[test]
fn a_segment_of_another_journal_does_not_continue_the_chain() {
    let (storage, _, names) = four_segments(false);
    let big = big();
    let (other, _) = journal(&[&[8], &big, &big, &[1]], false);
    storage.put(&names[1], &other.get(&names[1]).unwrap());
    assert_eq!(assert_corrupt(&storage, "foreign segment"), Damage::HeaderChain);
}

#[test]
fn an_empty_short_or_zeroed_last_segment_is_refused_because_no_crash_leaves_one() {
    let (storage, _, names) = four_segments(false);
    for bytes in [vec![], vec![0; 63], vec![0; 4096]] {
        storage.put(&names[3], &bytes);
        assert_corrupt(&storage, &format!("{} bytes", bytes.len()));
    }
}

#[test]
fn a_rotation_that_crashed_before_its_first_group_is_a_normal_end() {
    let (storage, model, names) = four_segments(false);
    let header = storage.get(&names[3]).unwrap()[..64].to_vec();
    storage.put(&names[3], &[header, vec![0; 4096]].concat());
    storage.put("next.tmp", b"unfinished");
    let (report, found) = scan(&storage).unwrap();
    assert_eq!((found.as_slice(), report.torn_bytes), (&model.records[..52], 0));
    let (_opened, _) = open(&storage).unwrap();
    assert_eq!(storage.get("next.tmp"), None, "stray files are removed");
}

#[test]
fn a_repeated_record_is_refused_though_its_checksum_is_right() {
    let (storage, _) = journal(&[&[9], &[20], &[33]], false);
    let mut bytes = storage.get(FIRST).unwrap();
    let record = bytes[64..64 + 48].to_vec();
    let end = 64 + 48 + 56 + 72;
    bytes[end..end + 48].copy_from_slice(&record);
    storage.put(FIRST, &bytes);
    assert_eq!(assert_corrupt(&storage, "repeated"), Damage::RecordSeq { found: 1 });
}

#[test]
fn a_record_of_another_journal_does_not_continue_the_chain() {
    let (storage, _) = journal(&[&[9], &[24]], false);
    let (other, _) = journal(&[&[10], &[24]], false);
    let mut bytes = storage.get(FIRST).unwrap();
    bytes[64 + 48..].copy_from_slice(&other.get(FIRST).unwrap()[64 + 48..]);
    storage.put(FIRST, &bytes);
    assert_eq!(assert_corrupt(&storage, "foreign record"), Damage::RecordChain);
}

#[test]
fn a_record_of_a_newer_program_is_refused_and_never_cut() {
    for (at, value) in [(14, 2), (15, 3)] {
        let (storage, _) = journal(&[&[9], &[24]], false);
        let mut bytes = storage.get(FIRST).unwrap();
        let record = &mut bytes[64 + 48..];
        record[at] = value;
        let crc = RecordHeader::checksum(record, 24);
        record[0..4].copy_from_slice(&crc.to_le_bytes());
        storage.put(FIRST, &bytes);
        let damage = assert_corrupt(&storage, "newer");
        assert!(matches!(damage, Damage::RecordKind { found: 2 } | Damage::RecordFlags { found: 3 }), "{damage}");
    }
}

#[test]
fn a_clean_mark_excuses_no_missing_or_added_byte() {
    let (sound, _) = journal(&[&[9], &[20, 30]], true);
    let bytes = sound.get(FIRST).unwrap();
    for cut in 64..bytes.len() {
        let storage = sound.fork();
        storage.put(FIRST, &bytes[..cut]);
        assert_corrupt(&storage, &format!("cut at {cut}"));
    }
    let storage = sound.fork();
    storage.put(FIRST, &[bytes.as_slice(), &[0]].concat());
    assert!(matches!(assert_corrupt(&storage, "a zero added"), Damage::MarkDiffers { .. }));
    let storage = sound.fork();
    storage.delete(FIRST);
    assert_corrupt(&storage, "no segment");
    let storage = sound.fork();
    storage.put("clean", b"");
    assert_eq!(assert_corrupt(&storage, "empty mark"), Damage::MarkDamaged);
}

#[test]
fn a_clean_stop_and_a_reopen_keep_everything_and_the_mark_goes() {
    let (storage, mut model) = journal(&[&[9], &[20, 30]], true);
    let (mut opened, found) = open(&storage).unwrap();
    assert!(opened.report.clean);
    assert_eq!((found, storage.get("clean")), (model.records.clone(), None));
    assert_eq!(storage.get(FIRST).unwrap().len() as u64, SEGMENT_BYTES_MIN, "filled with zeros again");
    model.commit(&mut opened, &[1, 2]).unwrap();
    opened.writer.close().unwrap();
    assert_eq!(scan(&storage).unwrap().1, model.records);
}

#[test]
fn an_empty_journal_below_its_witness_and_a_wrong_segment_size_are_refused() {
    let storage = SimStorage::new();
    assert!(matches!(
        open_witnessed(&storage, 1).unwrap_err(),
        OpenError::Read(ScanError::BelowWitness { last_seq: 0, .. })
    ));
    for segment_bytes in [0, SEGMENT_BYTES_MIN - 4096, SEGMENT_BYTES_MIN + 1, u64::MAX] {
        let options = Options { segment_bytes, prepare_ahead: false };
        let opened = open_in(storage.clone(), &options, 0, &mut |_| Ok::<(), String>(()));
        assert!(matches!(opened, Err(OpenError::SegmentBytes { .. })), "{segment_bytes}");
    }
    assert_eq!(storage.calls(), 0, "refusals touch nothing");
}

#[test]
fn the_visitor_stops_the_reading() {
    let (storage, _) = journal(&[&[9], &[20, 30]], true);
    let opened = open_in(storage, &super::SMALL, 0, &mut |record| {
        if record.seq < 2 { Ok(()) } else { Err("no") }
    });
    assert!(matches!(opened, Err(OpenError::Read(ScanError::Visit("no")))));
}
