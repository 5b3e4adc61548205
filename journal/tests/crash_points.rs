//! Promise: a process killed at any crash point of the journal, the first time it passes there or a later one, loses
//! nothing it had acknowledged; whoever opens the journal next finds whole groups only, and goes on. Every point fires.
//!
//! The test starts itself again as the process that is killed, which says on its standard output what was acknowledged.

#![cfg(feature = "crash-points")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::convert::Infallible;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use gollem_journal::crash::CRASH_POINTS;
use gollem_journal::{
    FileStorage, Group, HeadLog, HeadSigner, Opened, Options, Position, Recovery, SEGMENT_BYTES_MIN, SnapshotStore,
    Tail, Tree, arm_crash_points, crash_point, lock, remove_segments_before, starts_in,
};

const DIR: &str = "GOLLEM_TEST_CRASH_DIR";
const TARGET: &str = "GOLLEM_CRASH_AT";
const ACKNOWLEDGED: &str = "acknowledged ";
const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;
/// Points of another crate than the journal.
const OTHER_POINTS: &[&str] = &["test.done"];
/// Records of every group.
const GROUP: u64 = 3;

/// The newest snapshot's position and its note, which is the tree; the start without one.
fn newest(dir: &Path) -> (Position, Tree) {
    let starts = starts_in(&FileStorage::new(dir)).unwrap();
    assert!(starts.damaged.is_empty(), "a crash damages no snapshot: {:?}", starts.damaged);
    let newest = starts.candidates.first();
    newest.map_or((Position::START, Tree::new()), |found| (found.position, Tree::decode(&found.note).unwrap()))
}

/// Opens the journal after the newest snapshot and checks that it holds whole groups, each record where it belongs.
fn open_checked(dir: &Path, prepare_ahead: bool) -> (Opened, u64) {
    let options = Options { segment_bytes: SEGMENT_BYTES_MIN, prepare_ahead };
    let locked = lock(dir).unwrap();
    let (after, tree) = newest(dir);
    assert_eq!(tree.size(), after.seq, "snapshot and note are of the same moment");
    let mut last = after.seq;
    let opened = locked.open(&options, after, 0, &mut |record| {
        last += 1;
        assert_eq!((record.seq, &record.payload[..8]), (last, last.to_le_bytes().as_slice()));
        Ok::<(), Infallible>(())
    });
    assert_eq!(last % GROUP, 0, "only whole groups");
    (opened.unwrap(), last)
}

fn commit(opened: &mut Opened, payload_bytes: usize) -> u64 {
    let mut group = Group::new();
    for _ in 0..GROUP {
        let seq = opened.encoder.next_seq();
        let mut payload = seq.to_le_bytes().to_vec();
        payload.resize(payload_bytes, 7);
        opened.encoder.push(&mut group, seq, |bytes| bytes.extend_from_slice(&payload)).unwrap();
    }
    opened.encoder.seal(&mut group);
    opened.writer.commit(&group).unwrap().seq()
}

/// What a background thread does: follows the journal to `seq`, signs the tree, takes a snapshot, drops old segments.
fn follow(dir: &Path, seq: u64) {
    let storage = FileStorage::new(dir);
    let (after, mut tree) = newest(dir);
    let (mut tail, mut time_ns) = (Tail::new(storage.clone(), after), 0);
    while tail.position().seq < seq {
        let visited = tail.read(seq, &mut |record| {
            tree.push_record(record.seq, record.time_ns, record.payload);
            time_ns = record.time_ns;
            Ok::<(), Infallible>(())
        });
        visited.unwrap();
    }
    let signer = HeadSigner::load_or_create(&dir.with_extension("key"), "test").unwrap();
    HeadLog::open(dir).unwrap().append(&signer.sign(&tree, time_ns)).unwrap();
    let mut snapshots = SnapshotStore::new(storage.clone());
    snapshots.write(tail.position(), &tree.encode(), &mut |body| body.write_all(b"state")).unwrap();
    remove_segments_before(&storage, after.seq + 1).unwrap();
}

/// The life of a journal that passes every point at least twice: an unclean stop, rotations, clean stops.
#[test]
fn the_process_that_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    arm_crash_points!(OTHER_POINTS);
    for round in 0..4 {
        let (mut opened, _) = open_checked(Path::new(&dir), round % 2 == 0);
        for payload_bytes in [9, 60_000, 60_000, 60_000, 60_000, 60_000, 60_000, 100] {
            let seq = commit(&mut opened, payload_bytes);
            writeln!(std::io::stdout(), "\n{ACKNOWLEDGED}{seq}").unwrap();
        }
        follow(Path::new(&dir), opened.writer.durable_seq());
        if round < 2 {
            drop(opened);
        } else {
            opened.writer.close().unwrap();
        }
    }
    crash_point!("test.done");
}

fn run(dir: &Path, target: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_is_killed", "--nocapture"])
        .env(DIR, dir)
        .env(TARGET, target)
        .output()
        .unwrap()
}

/// The last acknowledged sequence that the process could still say.
fn acknowledged(output: &Output) -> u64 {
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().filter_map(|line| line.strip_prefix(ACKNOWLEDGED)?.parse().ok()).max().unwrap_or(0)
}

#[test]
fn a_process_killed_at_any_point_loses_nothing_acknowledged() {
    for point in CRASH_POINTS {
        for time in [1, 2] {
            let target = format!("{point}:{time}");
            let dir = tempfile::tempdir().unwrap();
            let output = run(dir.path(), &target);
            assert_eq!(output.status.signal(), Some(SIGKILL), "{target} is not passed: {output:?}");
            let (mut opened, found) = open_checked(dir.path(), false);
            let said = acknowledged(&output);
            assert!(found >= said, "{target}: {said} were acknowledged, {found} are there");
            assert!(found <= said + GROUP, "{target}: one group at most was under way");
            assert_eq!(commit(&mut opened, 50), found + GROUP, "{target}");
            opened.writer.close().unwrap();
            let (opened, found_again) = open_checked(dir.path(), false);
            let Recovery { clean, torn_bytes, .. } = opened.report;
            assert_eq!((found_again, clean, torn_bytes), (found + GROUP, true, 0), "{target}");
        }
    }
}

#[test]
fn a_point_of_another_crate_is_known_once_its_list_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), OTHER_POINTS[0]);
    assert_eq!(output.status.signal(), Some(SIGKILL), "{output:?}");
    assert_eq!(open_checked(dir.path(), false).1, acknowledged(&output));
}

#[test]
fn a_misspelt_point_stops_the_process_with_a_message_before_it_touches_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    for (target, why) in [
        ("append.writen", "no crash point is named \"append.writen\""),
        ("append.written:0", "\"0\" is not a number of times, which starts at 1"),
    ] {
        let output = run(dir.path(), target);
        assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&format!("GOLLEM_CRASH_AT={target}: {why}")), "{said}");
        assert!(!dir.path().join("00000000000000000001.log").exists());
    }
}
