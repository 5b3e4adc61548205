//! The promise: what an archive in a folder says it holds is the segment byte for byte, whatever broke off or was changed,
//! and a journal fetched back from it is a journal.

#![cfg(feature = "archive")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gollem_journal::{Archive, ArchiveError, Archived};
use support::{read_journal, segments, write_journal};

const RECORDS: u64 = 5_000;

/// A journal of several segments and an empty archive.
struct Setting {
    journal: tempfile::TempDir,
    folder: tempfile::TempDir,
    archive: Archive,
}

fn setting() -> Setting {
    let (journal, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_journal(journal.path(), RECORDS);
    let archive = Archive::open(&format!("file://{}", folder.path().display())).unwrap();
    Setting { journal, folder, archive }
}

impl Setting {
    /// All segments but the last, which is not closed.
    fn closed(&self) -> Vec<PathBuf> {
        let mut segments = segments(self.journal.path());
        segments.pop();
        assert!(segments.len() >= 2, "{} closed segments", segments.len());
        segments
    }

    fn copy_of(&self, segment: &Path) -> PathBuf {
        self.folder.path().join(segment.file_name().unwrap())
    }

    fn sum_of(&self, segment: &Path) -> PathBuf {
        self.copy_of(segment).with_extension("log.sha256")
    }
}

fn first_seq(segment: &Path) -> u64 {
    segment.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn segments_come_back_byte_for_byte_and_the_folder_fetched_is_a_journal() {
    let set = setting();
    for segment in set.closed() {
        let bytes = fs::metadata(&segment).unwrap().len();
        let archived = set.archive.put_segment(&segment).unwrap();
        assert_eq!(archived, Archived { first_seq: first_seq(&segment), bytes, already: false });
        assert_eq!(fs::read(set.copy_of(&segment)).unwrap(), fs::read(&segment).unwrap());
    }
    let listed: Vec<u64> = set.archive.list().unwrap().iter().map(|segment| segment.first_seq).collect();
    assert_eq!(listed, set.closed().iter().map(|segment| first_seq(segment)).collect::<Vec<_>>());

    let before = read_journal(set.journal.path());
    let empty = tempfile::tempdir().unwrap();
    let restored = empty.path().join("made/by/fetch");
    assert_eq!(set.archive.fetch_missing(&restored).unwrap(), listed);
    let after = read_journal(&restored);
    let last_closed = usize::try_from(first_seq(segments(set.journal.path()).last().unwrap())).unwrap() - 1;
    assert_eq!(after, before[..last_closed]);
    assert_eq!(fs::read_dir(&restored).unwrap().count(), listed.len(), "nothing but the segments");
    assert_eq!(set.archive.fetch_missing(&restored).unwrap(), [0_u64; 0]);

    // A hole in the original is filled, and it is a journal again, with what was never archived.
    fs::remove_file(&set.closed()[1]).unwrap();
    assert_eq!(set.archive.fetch_missing(set.journal.path()).unwrap(), [listed[1]]);
    assert_eq!(read_journal(set.journal.path()), before);
}

#[test]
fn the_hash_is_one_that_sha256sum_checks() {
    let set = setting();
    let segment = &set.closed()[0];
    set.archive.put_segment(segment).unwrap();
    let sum = fs::read_to_string(set.sum_of(segment)).unwrap();
    let mut check = Command::new("sha256sum");
    let checked = check.arg("-c").arg(set.sum_of(segment)).current_dir(set.folder.path()).output().unwrap();
    assert!(checked.status.success(), "{sum}: {}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn archiving_again_does_nothing_and_other_bytes_are_refused() {
    let set = setting();
    let segment = &set.closed()[0];
    set.archive.put_segment(segment).unwrap();
    let modified = fs::metadata(set.copy_of(segment)).unwrap().modified().unwrap();
    assert!(set.archive.put_segment(segment).unwrap().already);
    assert_eq!(fs::metadata(set.copy_of(segment)).unwrap().modified().unwrap(), modified);

    let copy = fs::read(set.copy_of(segment)).unwrap();
    flip(segment, 5_000);
    let found = set.archive.put_segment(segment);
    assert!(matches!(found, Err(ArchiveError::Differs { .. })), "{found:?}");
    assert_eq!(fs::read(set.copy_of(segment)).unwrap(), copy);
}

#[test]
fn an_upload_that_broke_off_is_no_copy_and_is_completed_by_the_next() {
    let set = setting();
    let segment = &set.closed()[0];
    let bytes = fs::read(segment).unwrap();
    for kept in [0, 1, 64, bytes.len() / 2, bytes.len() - 1, bytes.len()] {
        // What is there without a hash, however much it is.
        fs::write(set.copy_of(segment), &bytes[..kept]).unwrap();
        assert!(set.archive.list().unwrap().is_empty());
        let fetched = tempfile::tempdir().unwrap();
        let found = set.archive.fetch(1, fetched.path());
        assert!(matches!(found, Err(ArchiveError::Missing { .. })), "{found:?}");
        assert_eq!(fs::read_dir(fetched.path()).unwrap().count(), 0);

        assert!(!set.archive.put_segment(segment).unwrap().already);
        assert_eq!(fs::read(set.copy_of(segment)).unwrap(), bytes);
        assert_eq!(set.archive.list().unwrap().len(), 1);
        fs::remove_file(set.sum_of(segment)).unwrap();
    }
}

#[test]
fn an_upload_that_fails_leaves_no_hash() {
    let set = setting();
    let segment = &set.closed()[0];
    // A folder in the way lets everything succeed but the last step, which gives the copy its name.
    fs::create_dir_all(set.copy_of(segment).join("in the way")).unwrap();
    let found = set.archive.put_segment(segment);
    assert!(matches!(found, Err(ArchiveError::Store { .. })), "{found:?}");
    assert!(!set.sum_of(segment).exists());
    assert!(set.archive.list().unwrap().is_empty());
    fs::remove_dir_all(set.copy_of(segment)).unwrap();
    assert!(!set.archive.put_segment(segment).unwrap().already);
}

#[test]
fn what_is_not_the_beginning_of_the_segment_is_not_overwritten() {
    let set = setting();
    let segment = &set.closed()[0];
    let bytes = fs::read(segment).unwrap();
    let mut changed = bytes.clone();
    changed[bytes.len() - 1] ^= 1;
    for other in [b"other".to_vec(), changed, [bytes, vec![0]].concat()] {
        fs::write(set.copy_of(segment), &other).unwrap();
        let found = set.archive.put_segment(segment);
        assert!(matches!(found, Err(ArchiveError::Differs { .. })), "{found:?}");
        assert_eq!(fs::read(set.copy_of(segment)).unwrap(), other);
        assert!(!set.sum_of(segment).exists());
    }
}

#[test]
fn a_changed_byte_in_the_archive_is_found_before_a_file_appears() {
    let set = setting();
    let segment = &set.closed()[0];
    set.archive.put_segment(segment).unwrap();
    let (copy, sum) = (fs::read(set.copy_of(segment)).unwrap(), fs::read(set.sum_of(segment)).unwrap());
    let fetched = tempfile::tempdir().unwrap();
    let refused = |what: &str| {
        let found = set.archive.fetch(1, fetched.path());
        assert!(matches!(found, Err(ArchiveError::Damaged { .. })), "{what}: {found:?}");
        assert_eq!(fs::read_dir(fetched.path()).unwrap().count(), 0, "{what}");
    };
    for at in [0, 100, copy.len() / 2, copy.len() - 1] {
        flip(&set.copy_of(segment), at);
        refused(&format!("byte {at}"));
        fs::write(set.copy_of(segment), &copy).unwrap();
    }
    for short in [&copy[..copy.len() - 1], &[]] {
        fs::write(set.copy_of(segment), short).unwrap();
        refused("cut short");
        let found = set.archive.put_segment(segment);
        assert!(matches!(found, Err(ArchiveError::Damaged { .. })), "{found:?}");
    }
    fs::write(set.copy_of(segment), &copy).unwrap();
    for at in 0..sum.len() {
        flip(&set.sum_of(segment), at);
        refused(&format!("byte {at} of the hash"));
        assert!(set.archive.put_segment(segment).is_err());
        fs::write(set.sum_of(segment), &sum).unwrap();
    }
    fs::write(set.sum_of(segment), vec![b'0'; 100_000]).unwrap();
    refused("a very long hash");
    fs::write(set.sum_of(segment), &sum).unwrap();
    assert_eq!(fs::read(set.archive.fetch(1, fetched.path()).unwrap()).unwrap(), copy);
}

#[test]
fn a_copy_that_vanished_is_archived_again() {
    let set = setting();
    let segment = &set.closed()[0];
    set.archive.put_segment(segment).unwrap();
    fs::remove_file(set.copy_of(segment)).unwrap();
    assert!(matches!(set.archive.fetch(1, set.folder.path()), Err(ArchiveError::Missing { .. })));
    assert!(!set.archive.put_segment(segment).unwrap().already);
    assert_eq!(fs::read(set.copy_of(segment)).unwrap(), fs::read(segment).unwrap());
}

#[test]
fn fetching_replaces_no_file() {
    let set = setting();
    let segment = &set.closed()[0];
    set.archive.put_segment(segment).unwrap();
    assert_eq!(set.archive.fetch(1, set.journal.path()).unwrap(), *segment);
    flip(segment, 500);
    let changed = fs::read(segment).unwrap();
    assert!(matches!(set.archive.fetch(1, set.journal.path()), Err(ArchiveError::Differs { .. })));
    assert_eq!(fs::read(segment).unwrap(), changed);
}

#[test]
fn what_is_no_segment_is_refused() {
    let set = setting();
    let segment = &set.closed()[1];
    let dir = tempfile::tempdir().unwrap();
    let bytes = fs::read(segment).unwrap();
    let check = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let found = set.archive.put_segment(&path);
        assert!(matches!(found, Err(ArchiveError::NotSegment { .. })), "{name}: {found:?}");
    };
    check("lock", &bytes);
    check("tree-heads.txt", &bytes);
    check("00000000000000000001.log", &bytes);
    check(segment.file_name().unwrap().to_str().unwrap(), &bytes[..63]);
    check(segment.file_name().unwrap().to_str().unwrap(), &[0; 4096]);
    let missing = set.archive.put_segment(&dir.path().join("00000000000000000009.log"));
    assert!(matches!(missing, Err(ArchiveError::File { .. })), "{missing:?}");
    assert_eq!(fs::read_dir(set.folder.path()).unwrap().count(), 0);
}

#[test]
fn an_address_that_cannot_work_is_refused_and_a_password_is_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let missing = format!("file://{}/missing", dir.path().display());
    for url in ["", "no address", "/folder", "http://host/", "s3:///prefix", missing.as_str()] {
        let found = Archive::open(url);
        assert!(matches!(found, Err(ArchiveError::Url { .. })), "{url}: {found:?}");
    }
    for url in ["s3://key:hushhush@bucket/prefix", "s3://bucket/prefix?secret=hushhush", "file:///tmp#hushhush"] {
        let error = Archive::open(url).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hushhush"), "{error:?}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_reported_with_its_object() {
    let set = setting();
    let segment = &set.closed()[0];
    fs::remove_dir(set.folder.path()).unwrap();
    fs::write(set.folder.path(), "a file where the folder was").unwrap();
    let error = set.archive.put_segment(segment).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ArchiveError::Store { .. }), "{error:?}");
    assert!(text.contains("00000000000000000001.log") && text.contains("file://"), "{text}");
}
