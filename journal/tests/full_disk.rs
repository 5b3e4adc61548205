//! Promise: on a file system that is really full, commits go on into the active segment, a commit that needs the next one
//! says so without harm, and once space is freed the same group becomes durable in the same process. A restart while the
//! disk is full works too.
//!
//! Needs the right to mount a small tmpfs, which root has; otherwise the test says that it is skipped.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::yield_now;
use std::time::{Duration, Instant};

use gollem_journal::{Group, Next, Opened, Options, Recovery, SEGMENT_BYTES_MIN, ScanOptions, WriteError, open, scan};

/// Room for three segments, but not for four.
const DISK_MIB: u64 = 4;
/// How long the thread that prepares segments may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of each payload.
const PAYLOAD: usize = 20_000;

/// A tmpfs of its own, unmounted at the end.
#[derive(Debug)]
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts it, or says why not.
    fn mount() -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={DISK_MIB}m");
        let mut mount = Command::new("mount");
        let output = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        let output = output.map_err(|error| format!("mount does not run: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            return Err(format!("a tmpfs cannot be mounted: {said}"));
        }
        Ok(Self { dir })
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    /// Takes every byte that is left, into the file that [`free`](SmallDisk::free) removes.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.dir.path().join("filler")).unwrap();
        let mut block = vec![1; 64 * 1024];
        while !block.is_empty() {
            match file.write(&block) {
                Ok(count) => assert!(count > 0),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StorageFull);
                    block.truncate(block.len() / 2);
                }
            }
        }
    }

    fn free(&self) {
        fs::remove_file(self.dir.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg(self.dir.path()).status().unwrap();
    }
}

fn open_at(dir: &Path, prepare_ahead: bool) -> (Opened, u64) {
    let options = Options { segment_bytes: SEGMENT_BYTES_MIN, prepare_ahead };
    let mut found = 0;
    let opened = open(dir, &options, 0, &mut |record| {
        found += 1;
        assert_eq!((record.seq, record.payload), (found, payload(found).as_slice()));
        Ok::<(), Infallible>(())
    });
    (opened.unwrap(), found)
}

fn scan_at(dir: &Path) -> Recovery {
    let mut found = 0;
    let report = scan(dir, ScanOptions::default(), &mut |record| {
        found += 1;
        assert_eq!((record.seq, record.payload), (found, payload(found).as_slice()));
        Ok::<(), Infallible>(())
    });
    report.unwrap()
}

fn payload(seq: u64) -> Vec<u8> {
    seq.to_le_bytes().repeat(PAYLOAD / 8)
}

/// A sealed group of the next record.
fn group(opened: &mut Opened) -> Group {
    let mut group = Group::new();
    let seq = opened.encoder.next_seq();
    opened.encoder.push(&mut group, seq, |bytes| bytes.extend_from_slice(&payload(seq))).unwrap();
    opened.encoder.seal(&mut group);
    group
}

/// Waits for the thread that prepares segments.
fn settle(opened: &mut Opened, next: Next) {
    let begin = Instant::now();
    while opened.writer.room().next != next {
        assert!(begin.elapsed() < PATIENCE, "the next segment is not {next:?}: {:?}", opened.writer.room());
        yield_now();
    }
}

/// Commits until a group finds no space, and gives that group back.
fn commit_until_full(opened: &mut Opened) -> Group {
    loop {
        let mut group = group(opened);
        match opened.writer.commit(&mut group) {
            Ok(durable) => assert_eq!(durable.seq(), group.last_seq()),
            Err(error) => {
                assert!(matches!(error, WriteError::NoSpace { .. }) && error.is_retryable(), "{error}");
                assert_eq!(opened.writer.durable_seq() + 1, group.first_seq());
                return group;
            }
        }
    }
}

#[test]
fn a_full_file_system_is_survived_without_a_restart_and_with_one() {
    for prepare_ahead in [true, false] {
        let disk = match SmallDisk::mount() {
            Ok(disk) => disk,
            Err(why) => {
                // Past the test harness, which shows what a passing test prints to nobody.
                writeln!(std::io::stderr(), "skipped: the test on a really full disk: {why}").unwrap();
                return;
            }
        };
        survive(&disk, prepare_ahead);
    }
}

fn survive(disk: &SmallDisk, prepare_ahead: bool) {
    let dir = disk.journal();
    let (mut opened, _) = open_at(&dir, prepare_ahead);
    if prepare_ahead {
        settle(&mut opened, Next::Ready);
    }
    disk.fill();
    let mut waiting = commit_until_full(&mut opened);
    let durable = opened.writer.durable_seq();
    let segments = if prepare_ahead { 2 } else { 1 };
    assert!(durable >= segments * (SEGMENT_BYTES_MIN / (PAYLOAD as u64 + 100)), "{durable} groups fitted");
    for _ in 0..3 {
        assert!(matches!(opened.writer.commit(&mut waiting), Err(WriteError::NoSpace { .. })));
        assert_eq!(opened.writer.room().next, Next::Full);
    }
    let report = scan_at(&dir);
    assert_eq!((report.last_seq, report.segments, report.torn_bytes), (durable, segments, 0), "readers go on");

    disk.free();
    if prepare_ahead {
        settle(&mut opened, Next::Ready);
    }
    assert_eq!(opened.writer.commit(&mut waiting).unwrap().seq(), durable + 1);

    // The process dies on the full disk: the next one needs no space to go on.
    if prepare_ahead {
        settle(&mut opened, Next::Full);
    }
    let last = opened.writer.durable_seq();
    drop(opened);
    disk.fill();
    let (mut opened, found) = open_at(&dir, prepare_ahead);
    assert_eq!(found, last);
    let mut next = group(&mut opened);
    assert_eq!(opened.writer.commit(&mut next).unwrap().seq(), last + 1);
    // A clean stop gives the unused zeros back, which is room enough for its mark.
    opened.writer.close().unwrap();
    let report = scan_at(&dir);
    assert_eq!((report.clean, report.last_seq), (true, last + 1));
}
