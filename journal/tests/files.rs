//! The journal through its public interface on the real file system: round trip over segments, the lock, the golden
//! file, and a reader beside a writer. Faults of the disk are tested on the simulated one, inside the crate.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::convert::Infallible;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gollem_journal::{
    FileStorage, Group, OpenError, Opened, Options, Position, Recovery, SEGMENT_BYTES_MIN, ScanError, ScanOptions,
    Slot, SnapshotStore, Tail, TailStop, lock, open, remove_segments_before, scan, segments,
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
fn the_golden_snapshot_is_written_and_read_as_it_was() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let dir = tempfile::tempdir().unwrap();
    let mut store = SnapshotStore::new(FileStorage::new(dir.path()));
    // After the last record of the golden journal.
    let position = Position { seq: 4, time_ns: 4_000, chain: 0xD81F_C0A9 };
    let written = store.write(position, b"a note", &mut |out| out.write_all(b"the body")).unwrap();
    let bytes = fs::read(dir.path().join("snapshot.0")).unwrap();
    let path = golden.join("snapshot.0");
    if std::env::var_os("GOLDEN_WRITE").is_some() {
        fs::write(&path, &bytes).unwrap();
    }
    assert_eq!(bytes, fs::read(&path).unwrap(), "{}", path.display());
    let store = SnapshotStore::new(FileStorage::new(&golden));
    assert_eq!(store.list().unwrap(), [Slot::Sound(written.clone()), Slot::Empty]);
    let mut body = String::new();
    store.read(&written).unwrap().read_to_string(&mut body).unwrap();
    assert_eq!((written.position, written.note.as_slice(), body.as_str()), (position, &b"a note"[..], "the body"));
    let options = ScanOptions { after: written.position, ..ScanOptions::default() };
    let (report, found) = scan_at(&golden, options).unwrap();
    assert_eq!((report.last_seq, report.clean, found.len()), (4, true, 0));
}

/// A follower takes a snapshot at each segment's end and drops what is before the one before; the writer never waits.
#[test]
fn a_follower_beside_a_writer_sees_each_record_once_and_its_snapshots_and_what_is_kept_give_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut opened, _) = open_at(dir.path());
    let (durable, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let sum = |sum: u64, seq: u64, payload: &[u8]| sum.wrapping_mul(31).wrapping_add(seq ^ u64::from(payload[0]));
    let mut expected = 0;
    let snapshots = std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let storage = FileStorage::new(dir.path());
            let mut store = SnapshotStore::new(storage.clone());
            let mut tail = Tail::new(storage.clone(), Position::START);
            let (mut state, mut last, mut snapshots) = (0, 0, Vec::new());
            loop {
                let at_end = done.load(Ordering::Acquire);
                let until = durable.load(Ordering::Acquire);
                let stop = tail.read(until, &mut |record| {
                    assert_eq!(record.seq, last + 1);
                    last = record.seq;
                    state = sum(state, record.seq, record.payload);
                    Ok::<(), Infallible>(())
                });
                match stop.unwrap() {
                    TailStop::SegmentEnd => {
                        let position = tail.position();
                        assert_eq!(position.seq, last);
                        store.write(position, &[], &mut |out| out.write_all(&state.to_le_bytes())).unwrap();
                        snapshots.push(position);
                        if let [.., before, _] = snapshots[..] {
                            remove_segments_before(&storage, before.seq + 1).unwrap();
                        }
                    }
                    TailStop::Reached if at_end => return snapshots,
                    TailStop::Reached => std::thread::yield_now(),
                }
            }
        });
        let mut group = Group::new();
        for round in 0..600_u64 {
            let payloads: Vec<Vec<u8>> = (0..=round % 7)
                .map(|at| {
                    vec![u8::try_from(round % 251).unwrap(); usize::try_from(1 + (round * 131 + at) % 4_000).unwrap()]
                })
                .collect();
            for (seq, payload) in (opened.encoder.next_seq()..).zip(&payloads) {
                expected = sum(expected, seq, payload);
            }
            durable.store(commit(&mut opened, &mut group, &payloads), Ordering::Release);
        }
        done.store(true, Ordering::Release);
        follower.join().unwrap()
    });
    let last_seq = opened.writer.durable_seq();
    drop(opened);
    assert!(snapshots.len() >= 3, "{} snapshots", snapshots.len());
    assert!(segments(&FileStorage::new(dir.path())).unwrap()[0].first_seq > 1, "old segments are gone");
    let locked = lock(dir.path()).unwrap();
    let starts = locked.starts().unwrap();
    let positions: Vec<Position> = starts.candidates.iter().map(|checkpoint| checkpoint.position).collect();
    assert_eq!(positions, [snapshots[snapshots.len() - 1], snapshots[snapshots.len() - 2]]);
    let mut body = [0; 8];
    locked.snapshots().read(&starts.candidates[1]).unwrap().read_exact(&mut body).unwrap();
    let mut state = u64::from_le_bytes(body);
    let opened = locked.open(&OPTIONS, positions[1], last_seq, &mut |record| {
        state = sum(state, record.seq, record.payload);
        Ok::<(), Infallible>(())
    });
    assert_eq!((opened.unwrap().report.last_seq, state), (last_seq, expected));
    let error = scan_at(dir.path(), ScanOptions::default()).unwrap_err();
    assert!(matches!(error, ScanError::Missing { first_seq: 1, .. }), "{error}");
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
