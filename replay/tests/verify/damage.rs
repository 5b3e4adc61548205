//! Journals with damage exit with 1 and say where; wrong arguments exit with 2, unreadable files with 3.

use crate::market::{Exchange, SETUP, THREE_SEGMENTS, build, commands};
use crate::{replay, verify};
use gollem_journal::{ScanError, ScanOptions, scan};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

/// Checks that the journal is found damaged with a message for people that holds all of `words`; returns the JSON.
fn check_damaged(dir: &Path, words: &[&str]) -> Value {
    let run = replay(&["verify", dir.to_str().unwrap()]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{}", run.stderr);
    for word in words {
        assert!(run.stderr.contains(word), "{word:?} in {}", run.stderr);
    }
    assert!(run.stderr.contains("what to do: "), "{}", run.stderr);
    let run = verify(dir);
    assert_eq!(run.code, 1);
    let json = run.json();
    assert_eq!(json["sound"], json!(false));
    json
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|name| name == "log")).collect();
    paths.sort();
    paths
}

#[test]
fn a_flipped_bit_is_found_with_file_offset_and_sequence() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path(), 5_000);
    let segment = segments(dir.path()).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    fs::write(&segment, bytes).unwrap();

    let error = scan(dir.path(), ScanOptions::default(), &mut |_| Ok::<(), Infallible>(())).unwrap_err();
    let ScanError::Corrupt { path, offset, expected_seq, .. } = error else {
        panic!("the journal finds the same damage: {error}");
    };
    assert!((at as u64 - 400..=at as u64).contains(&offset), "offset {offset} is that of the record around {at}");
    let words = [path.to_str().unwrap(), &format!("offset {offset}"), &format!("seq {expected_seq}"), "from a copy"];
    let json = check_damaged(dir.path(), &words);
    assert_eq!(json["file"], json!(segment));
    assert_eq!((&json["offset"], &json["seq"]), (&json!(offset), &json!(expected_seq)));
    assert!(json["last_seq"].as_u64().unwrap() < expected_seq, "{json}");
    assert!(json["error"].as_str().unwrap().starts_with("record "), "{json}");
}

#[test]
fn a_deleted_segment_is_found_wherever_it_was() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path(), THREE_SEGMENTS);
    let all = segments(dir.path());
    assert!(all.len() >= 3);
    for (at, segment) in all.iter().enumerate() {
        let bytes = fs::read(segment).unwrap();
        fs::remove_file(segment).unwrap();
        let last = at + 1 == all.len();
        let (words, file) = match at {
            0 => ("may be in the archive", None),
            _ if last => ("mark of the clean stop", Some(&all[at - 1])),
            _ => ("segment is missing", Some(segment)),
        };
        let json = check_damaged(dir.path(), &[words]);
        assert_eq!(json["file"], json!(file), "{json}");
        fs::write(segment, bytes).unwrap();
    }
    assert_eq!(verify(dir.path()).code, 0, "with every segment back the journal is sound again");
}

#[test]
fn a_record_that_is_no_command_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let mut exchange = Exchange::new(&journal);
    exchange.commit(&commands(50));
    let seq = exchange.commit_bytes(b"not a command");
    exchange.close();
    let json = check_damaged(dir.path(), &["not a command of this version", "seq 51", "another version"]);
    assert_eq!((&json["seq"], &json["last_seq"]), (&json!(seq), &json!(50)));
    assert_eq!(json["file"], json!(segments(&journal)[0]));
}

#[test]
fn a_wrong_argument_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    for (path, words) in [
        (none.as_path(), "does not exist"),
        (file.as_path(), "is not a folder"),
        (dir.path(), "holds neither journal segments nor a folder named journal"),
    ] {
        let run = replay(&["verify", path.to_str().unwrap()]);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""));
        assert!(run.stderr.contains(words) && run.stderr.contains(path.to_str().unwrap()), "{}", run.stderr);
        let run = verify(path);
        assert_eq!((run.code, &run.json()["sound"]), (2, &json!(false)));
    }
    for arguments in [&[][..], &["verify"], &["verify", "a", "b"], &["repair", "a"]] {
        let run = replay(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(run.stderr.contains("Usage: gollem-replay"), "{}", run.stderr);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_neither_sound_nor_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let segment = dir.path().join(format!("{:020}.log", 1));
    fs::create_dir(&segment).unwrap(); // Reading a folder as a file fails for every user.
    let run = replay(&["verify", dir.path().to_str().unwrap()]);
    assert_eq!((run.code, run.stdout.as_str()), (3, ""));
    assert!(run.stderr.contains(segment.to_str().unwrap()), "{}", run.stderr);
    let json = verify(dir.path()).json();
    assert_eq!((&json["file"], &json["seq"]), (&json!(segment), &Value::Null));
}

#[test]
fn damage_after_the_setup_leaves_the_sound_part_known() {
    let dir = tempfile::tempdir().unwrap();
    let mut exchange = Exchange::new(dir.path());
    exchange.commit(&commands(usize::try_from(SETUP).unwrap()));
    let at = usize::try_from(exchange.bytes()).unwrap();
    exchange.commit(&commands(3));
    exchange.close();
    let segment = segments(dir.path()).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let json = check_damaged(dir.path(), &["sound through: seq 13"]);
    assert_eq!((&json["offset"], &json["seq"]), (&json!(at), &json!(SETUP + 1)));
}
