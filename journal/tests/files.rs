//! The journal through its public interface on the real file system: round trip over segments, the lock, the golden
//! file, and a reader beside a writer. Faults of the disk are tested on the simulated one, inside the crate.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gollem_journal::{
    Group, OpenError, Opened, Options, Recovery, SEGMENT_BYTES_MIN, ScanError, ScanOptions, open, scan,
};

const OPTIONS: Options = Options { segment_bytes: SEGMENT_BYTES_MIN, prepare_ahead: true };

type Kept = (u64, u64, Vec<u8>);

fn open_at(dir: &Path) -> (Opened, Vec<Kept>) {
    let mut kept = Vec::new();
    let opened = open(dir, &OPTIONS, 0, &mut |record| {
        kept.push((record.seq, record.time_ns, record.payload.to_vec()));
        Ok::<(), Infallible>(())
    });
    (opened.unwrap(), kept)
}

fn scan_at(dir: &Path, options: ScanOptions) -> Result<(Recovery, Vec<Kept>), ScanError> {
    let mut kept = Vec::new();
    let report = scan(dir, options, &mut |record| {
        kept.push((record.seq, record.time_ns, record.payload.to_vec()));
        Ok::<(), Infallible>(())
    })?;
    Ok((report, kept))
}

fn commit(opened: &mut Opened, group: &mut Group, payloads: &[Vec<u8>]) -> u64 {
    group.clear();
    for payload in payloads {
        let time_ns = opened.encoder.next_seq() * 1_000;
        opened.encoder.push(group, time_ns, |bytes| bytes.extend_from_slice(payload)).unwrap();
    }
    opened.encoder.seal(group);
    opened.writer.commit(group).unwrap().seq()
}

#[test]
fn groups_of_many_sizes_come_back_over_several_segments_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("made/by/open");
    let (mut group, mut expected) = (Group::new(), Vec::<Kept>::new());
    for run in 0..3_u64 {
        let (mut opened, found) = open_at(&dir);
        assert_eq!(found, expected);
        for count in [1, 700, 3, 40] {
            let payloads: Vec<Vec<u8>> =
                (0..count).map(|at| vec![1; 1 + (at * 7919 + usize::try_from(run).unwrap()) % 2_500]).collect();
            for payload in &payloads {
                let seq = expected.len() as u64 + 1;
                expected.push((seq, seq * 1_000, payload.clone()));
            }
            assert_eq!(commit(&mut opened, &mut group, &payloads), expected.len() as u64);
        }
        let logical = opened.writer.bytes_written();
        // The middle run is killed, the others stop cleanly.
        if run == 1 {
            drop(opened);
        } else {
            opened.writer.close().unwrap();
        }
        let (report, found) = scan_at(&dir, ScanOptions::default()).unwrap();
        assert_eq!(found, expected);
        assert_eq!((report.bytes, report.clean, report.torn_bytes), (logical, run != 1, 0));
        assert_eq!((report.records, report.last_seq), (expected.len() as u64, expected.len() as u64));
    }
    let (report, found) = scan_at(&dir, ScanOptions { until: Some(5), ..ScanOptions::default() }).unwrap();
    assert_eq!((found.as_slice(), report.last_seq), (&expected[..5], 5));
    assert!(scan_at(&dir, ScanOptions::default()).unwrap().0.segments >= 3);
}

#[test]
fn a_second_writer_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = open_at(dir.path());
    let second = open(dir.path(), &OPTIONS, 0, &mut |_| Ok::<(), Infallible>(()));
    assert!(matches!(second, Err(OpenError::Locked { .. })), "{second:?}");
    drop(first);
    open_at(dir.path()).0.writer.close().unwrap();
}

#[test]
fn a_folder_that_does_not_exist_is_an_error_for_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    let error = scan_at(&dir.path().join("none"), ScanOptions::default()).unwrap_err();
    assert!(matches!(error, ScanError::Io { action: "list", .. }), "{error}");
}

/// The bytes of format version 1. If this fails the format has changed: that needs a new version, not a new file.
#[test]
fn the_golden_files_are_written_and_read_as_they_were() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let dir = tempfile::tempdir().unwrap();
    let (mut opened, _) = open_at(dir.path());
    let mut group = Group::new();
    commit(&mut opened, &mut group, &[b"first".to_vec(), b"8 bytes.".to_vec(), vec![0xFF; 33]]);
    commit(&mut opened, &mut group, &[b"alone".to_vec()]);
    opened.writer.close().unwrap();
    for name in ["00000000000000000001.log", "clean"] {
        let written = fs::read(dir.path().join(name)).unwrap();
        let path = golden.join(name);
        if std::env::var_os("GOLDEN_WRITE").is_some() {
            fs::write(&path, &written).unwrap();
        }
        assert_eq!(written, fs::read(&path).unwrap(), "{}", path.display());
    }
    let (report, found) = scan_at(&golden, ScanOptions { witnessed: 4, ..ScanOptions::default() }).unwrap();
    assert_eq!((report.records, report.clean, report.last_time_ns), (4, true, 4_000));
    let payloads: Vec<&[u8]> = found.iter().map(|record| record.2.as_slice()).collect();
    assert_eq!(payloads, [b"first".as_slice(), b"8 bytes.", &[0xFF; 33], b"alone"]);
}

#[test]
fn a_reader_beside_a_writer_sees_a_prefix_of_whole_groups_that_reaches_the_durable_watermark() {
    let dir = tempfile::tempdir().unwrap();
    let (mut opened, _) = open_at(dir.path());
    let (durable, done) = (AtomicU64::new(0), AtomicBool::new(false));
    // Each payload holds the last sequence of its group, so that a reader can tell a whole group.
    let scans = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut scans = 0_u64;
            while !done.load(Ordering::Acquire) {
                let before = durable.load(Ordering::Acquire);
                let options = ScanOptions { witnessed: before, ..ScanOptions::default() };
                let (report, found) = scan_at(dir.path(), options).unwrap();
                assert!(report.last_seq >= before);
                let last = found.last().map_or(0, |record| u64::from_le_bytes(record.2[..8].try_into().unwrap()));
                assert_eq!(last, report.last_seq, "a group is seen whole");
                let options = ScanOptions { until: Some(before), witnessed: before, ..ScanOptions::default() };
                assert_eq!(scan_at(dir.path(), options).unwrap().0.last_seq, before);
                scans += 1;
            }
            scans
        });
        let mut group = Group::new();
        for round in 0..400_u64 {
            let count = 1 + round % 9;
            let last = opened.encoder.next_seq() + count - 1;
            let mut payload = last.to_le_bytes().to_vec();
            payload.resize(1 + 8 + usize::try_from(round * 131 % 3_000).unwrap(), 7);
            let payloads = vec![payload; usize::try_from(count).unwrap()];
            durable.store(commit(&mut opened, &mut group, &payloads), Ordering::Release);
        }
        opened.writer.close().unwrap();
        done.store(true, Ordering::Release);
        reader.join().unwrap()
    });
    assert!(scans > 0, "the reader ran beside the writer");
    assert!(scan_at(dir.path(), ScanOptions::default()).unwrap().0.clean);
}
