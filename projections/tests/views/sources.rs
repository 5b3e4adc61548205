//! Inputs reach a view in order and once, whether the feed brings them or the journal.

use crate::agreement::{options, play};
use crate::check::check;
use crate::market::{Market, OPENING};
use gollem_engine::Command;
use gollem_journal::FileStorage;
use gollem_projections::{Inputs, InputsError, Projector, Turn, Views};
use gollem_sequencer::{Feed, Follower, FollowerOptions, Sequencer};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_millis(50);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

#[test]
fn a_reader_that_refuses_an_input_gets_it_again_and_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (feed, reader) = Feed::new(4, 100);
    let options = options(dir.path());
    let sequencer = Sequencer::start(&options, 0, Some(feed), None).unwrap();
    play(&mut Market::new(42), &sequencer, 600);
    let journal = FileStorage::new(&options.journal_dir);
    let mut inputs = Inputs::new("test", reader, sequencer.status(), journal, 0);
    let durable = sequencer.stop().unwrap().engine.last_seq();
    let (mut taken, mut refused) = (Vec::new(), 0_u64);
    loop {
        let turned = inputs.turn(PATIENCE, &mut |seq, _, _| {
            refused += 1;
            if refused.is_multiple_of(97) {
                return Err(seq);
            }
            taken.push(seq);
            Ok(())
        });
        match turned {
            Ok(Turn::GoesOn) => {}
            Ok(Turn::Ended) => break,
            Err(InputsError::Taken(seq)) => assert_eq!(seq, inputs.position() + 1),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > durable, "some were refused");
    assert_eq!(taken, (1..=durable).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_goes_back_gets_the_same_again() {
    let dir = tempfile::tempdir().unwrap();
    let (feed, reader) = Feed::new(1 << 10, 0);
    let options = options(dir.path());
    let sequencer = Sequencer::start(&options, 0, Some(feed), None).unwrap();
    play(&mut Market::new(42), &sequencer, 300);
    let journal = FileStorage::new(&options.journal_dir);
    let mut inputs = Inputs::new("test", reader, sequencer.status(), journal, 0);
    sequencer.stop().unwrap();
    let read = |inputs: &mut Inputs| {
        let mut taken = Vec::new();
        let mut take = |seq, at, events: &[_]| -> Result<(), ()> {
            taken.push((seq, at, events.to_vec()));
            Ok(())
        };
        while inputs.turn(PATIENCE, &mut take).unwrap() == Turn::GoesOn {}
        taken
    };
    let all = read(&mut inputs);
    inputs.seek(120);
    assert_eq!(read(&mut inputs), all[120..]);
}

#[test]
fn a_deleted_view_is_rebuilt_from_snapshot_and_journal_while_the_exchange_serves() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.journal.segment_bytes = 2 << 20;
    let mut market = Market::new(42);
    let sequencer = Sequencer::start(&options, 0, None, None).unwrap();
    play(&mut market, &sequencer, OPENING + 2_000);
    sequencer.stop().unwrap();
    let (feed, reader) = Feed::new(1 << 10, 1 << 20);
    let sequencer = Sequencer::start(&options, 0, Some(feed), None).unwrap();
    let views = Arc::new(Views::open(&dir.path().join("views")).unwrap());
    let status = sequencer.status();
    let projector = Projector::start(Arc::clone(&views), reader, status.clone(), options.journal_dir).unwrap();
    play(&mut market, &sequencer, 500);
    let view = projector.view();
    assert!(runtime().block_on(view.reached(status.durable_seq(), Duration::from_secs(60))));
    let stopped = sequencer.stop().unwrap();
    projector.join();
    check(&views, &stopped.engine);
    assert_eq!(view.gaps(), 0, "what was there before the start is no gap");
}

#[test]
fn a_journal_whose_beginning_is_archived_stops_the_view_and_says_how_to_bring_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.journal.segment_bytes = 2 << 20;
    let (feed, reader) = Feed::new(1, 0);
    let sequencer = Sequencer::start(&options, 0, Some(feed), None).unwrap();
    let status = sequencer.status();
    let following = FollowerOptions { snapshot_every_bytes: 1, ..FollowerOptions::default() };
    let follower = Follower::start(&options.journal_dir, following, status.clone()).unwrap();
    while follower.view().status().snapshots < 2 {
        let sent: Vec<_> = (0..4_000).map(|_| sequencer.ingress().submit(Command::OpenAccount).unwrap()).collect();
        sent.into_iter().for_each(|ack| drop(ack.wait().unwrap()));
    }
    follower.stop();
    let journal = FileStorage::new(&options.journal_dir);
    let removed = gollem_journal::remove_segments_before(&journal, status.durable_seq()).unwrap();
    assert!(!removed.is_empty());
    let mut inputs = Inputs::new("test", reader, status, journal, 0);
    let error = inputs.turn(PATIENCE, &mut |_, _, _| Ok::<(), std::io::Error>(())).unwrap_err();
    let words = error.to_string();
    assert!(matches!(error, InputsError::Archived { first_seq: 1, .. }), "{words}");
    assert!(words.contains("gollem-replay restore") && words.contains("--from"), "{words}");
    sequencer.stop().unwrap();
}
