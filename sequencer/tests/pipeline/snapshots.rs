//! A follower's snapshots and tree heads beside a pipeline at work, and starts from them.

use crate::support::{commands, options};
use gollem_engine::Command;
use gollem_journal::{FileStorage, HeadSigner, Slot, SnapshotStore, Tree, TreeHead};
use gollem_sequencer::{Follower, FollowerOptions, Heads, Observer, Options, Sequencer};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Orders, which make the state, and then commands that change nothing, for several segments of journal.
const ORDERS: u64 = 2_000;
const TICKS: usize = 200_000;
/// The last input.
const LAST: u64 = 4 + ORDERS + TICKS as u64;

/// Plays the commands on a fresh exchange with a follower; returns its options and final state.
fn played(dir: &Path, heads: Option<Heads>) -> (Options, String) {
    let options = options(dir);
    let sequencer = Sequencer::start(&options, 0, None, None).unwrap();
    let following = FollowerOptions { snapshot_every_bytes: 1, heads };
    let follower = Follower::start(&options.journal_dir, following, sequencer.status()).unwrap();
    let (mut port, answers) = sequencer.ingress().port(4_096).unwrap();
    let all: Vec<Command> = commands(ORDERS).into_iter().chain(vec![Command::Tick; TICKS]).collect();
    for together in all.chunks(64) {
        while port.submit_together(together.to_vec()).is_err() {
            answers.wait().unwrap();
        }
    }
    while port.unanswered() > 0 {
        answers.wait().unwrap();
    }
    let last = sequencer.status().durable_seq();
    assert_eq!(last, LAST);
    let view = follower.view();
    while view.status().seq < last {
        std::thread::park_timeout(Duration::from_millis(5));
        assert_eq!(view.status().failure, None);
    }
    assert!(view.status().snapshots >= 2, "both slots are in use: {:?}", view.status());
    let stopped = sequencer.stop().unwrap();
    follower.stop();
    (options, stopped.engine.state_hash().to_string())
}

/// Starts from what is there: the snapshot started from, those passed over, and the state.
fn started(options: &Options) -> (u64, usize, String) {
    let sequencer = Sequencer::start(options, 0, None, None).unwrap();
    let found = sequencer.found().clone();
    let stopped = sequencer.stop().unwrap();
    assert_eq!(stopped.engine.ledger_sum(), 0);
    (found.snapshot_seq, found.passed_over.len(), stopped.engine.state_hash().to_string())
}

/// Positions of both slots, the older first, with the slots' files.
fn slots(options: &Options) -> [(u64, std::path::PathBuf); 2] {
    let listed = SnapshotStore::new(FileStorage::new(&options.journal_dir)).list().unwrap();
    let mut found = listed.map(|slot| match slot {
        Slot::Sound(found) => (found.position.seq, options.journal_dir.join(format!("snapshot.{}", found.slot))),
        other => panic!("{other:?}"),
    });
    found.sort();
    found
}

fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    let at = usize::try_from(at).unwrap().min(bytes.len() - 1);
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_start_takes_the_newest_sound_snapshot_then_the_older_then_the_whole_journal_and_the_state_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (options, state) = played(dir.path(), None);
    let [(older, older_file), (newer, newer_file)] = slots(&options);
    assert!(0 < older && older < newer);
    assert_eq!(started(&options), (newer, 0, state.clone()));
    flip(&newer_file, u64::MAX); // In its body, which only reading it shows.
    assert_eq!(started(&options), (older, 1, state.clone()));
    flip(&older_file, 20); // In its header.
    assert_eq!(started(&options), (0, 2, state));
}

#[test]
fn an_observer_that_is_behind_the_snapshot_is_still_told_everything_it_has_not_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = played(dir.path(), None);
    let [(older, _), (newer, _)] = slots(&options);
    for after in [0, older - 1, older, newer - 1, newer, LAST] {
        let mut told = Vec::new();
        let mut tell = |seq, _, _: &[gollem_engine::Event]| told.push(seq);
        let observer = Observer { after, tell: &mut tell };
        let sequencer = Sequencer::start(&options, after, None, Some(observer)).unwrap();
        let from = sequencer.found().snapshot_seq;
        sequencer.stop().unwrap();
        let best = [newer, older, 0].into_iter().find(|&seq| seq <= after).unwrap();
        assert_eq!(from, best, "after {after}");
        assert!(told.iter().copied().eq(from + 1..=LAST), "after {after}: from {from}");
    }
}

#[test]
fn the_last_signed_head_covers_the_whole_journal_and_a_changed_record_does_not_match_it() {
    let dir = tempfile::tempdir().unwrap();
    let signer = HeadSigner::load_or_create(&dir.path().join("tree.key"), "test/journal").unwrap();
    let key = signer.public_key().to_string().parse().unwrap();
    let (options, _) = played(dir.path(), Some(Heads { signer: Arc::new(signer), every: Duration::from_millis(1) }));
    let read = gollem_journal::read_heads(&options.journal_dir, &mut |_, _| {}).unwrap();
    let (_, note) = read.latest.expect("heads were signed");
    let head = TreeHead::verify(&note, &key).unwrap();
    let (mut tree, mut changed) = (Tree::new(), Tree::new());
    let scanned = gollem_journal::scan(&options.journal_dir, Default::default(), &mut |record| {
        tree.push_record(record.seq, record.time_ns, record.payload);
        let time_ns = record.time_ns + u64::from(record.seq == 7);
        changed.push_record(record.seq, time_ns, record.payload);
        Ok::<(), std::convert::Infallible>(())
    });
    assert_eq!(scanned.unwrap().last_seq, head.size);
    assert_eq!(head.root, tree.root());
    assert_ne!(head.root, changed.root());
}
