//! Nothing leaves before it is durable, nothing acknowledged is lost, overload is refused at the door.

use crate::support::{commands, options};
use gollem_engine::{Command, Engine, Event, RejectReason};
use gollem_journal::sim::{Fault, SimStorage};
use gollem_sequencer::{Feed, Health, Replica, Sequencer, SubmitError};
use std::io;
use std::path::Path;
use std::sync::mpsc;

fn start(dir: &Path) -> Sequencer {
    Sequencer::start(&options(dir), 0, None, None).expect("it starts")
}

/// The journal's own account of what happened.
fn replay(dir: &Path) -> Engine {
    let mut replica = Replica::default();
    let scanned = gollem_journal::scan(&dir.join("journal"), gollem_journal::ScanOptions::default(), &mut |record| {
        replica.apply(&record).map(|_| ())
    });
    scanned.expect("a sound journal");
    replica.into_engine()
}

#[test]
fn an_answer_comes_after_its_input_is_durable_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let sequencer = start(dir.path());
    let (ingress, status) = (sequencer.ingress(), sequencer.status());
    let pending: Vec<_> = commands(2_000).into_iter().map(|command| ingress.submit(command).unwrap()).collect();
    for (expected, pending) in (1..).zip(pending) {
        let ack = pending.wait().unwrap();
        assert_eq!(ack.seq, expected);
        assert!(ack.seq <= status.durable_seq(), "answered before it was durable");
    }
    sequencer.stop().unwrap();
}

#[test]
fn a_foresight_says_what_the_answer_will() {
    let dir = tempfile::tempdir().unwrap();
    let sequencer = start(dir.path());
    let (foresight, ack) = sequencer.ingress().foresee(Command::OpenAccount).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let foreseen = runtime.block_on(foresight).unwrap();
    let ack = ack.wait().unwrap();
    assert_eq!((foreseen.at, foreseen.events.as_slice()), (ack.at, ack.events()));
    assert!(foreseen.contract.is_none(), "nothing was traded");
    let trade = commands(400).into_iter().find_map(|command| {
        let (foresight, ack) = sequencer.ingress().foresee(command).unwrap();
        let foreseen = runtime.block_on(foresight).unwrap();
        assert_eq!(foreseen.events.as_slice(), ack.wait().unwrap().events());
        let traded = foreseen.events.iter().rev().find_map(|event| match event {
            Event::Traded(trade) => Some(*trade),
            _ => None,
        });
        traded.map(|trade| (trade, foreseen.contract))
    });
    let (trade, contract) = trade.expect("some of them trade");
    let contract = contract.expect("it is open");
    assert_eq!((contract.provider, contract.price, contract.buyer), (trade.provider, trade.price, trade.buyer));
    sequencer.stop().unwrap();
}

#[test]
fn live_run_recovery_and_replay_agree_on_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut hashes = Vec::new();
    for round in 0..3 {
        let sequencer = start(dir.path());
        let skip = if round == 0 { 0 } else { 4 }; // The market is opened once.
        for command in commands(500).into_iter().skip(skip) {
            drop(sequencer.ingress().submit(command).unwrap());
        }
        let stopped = sequencer.stop().unwrap();
        assert_eq!(stopped.engine.ledger_sum(), 0);
        assert_eq!(stopped.engine.state_hash(), replay(dir.path()).state_hash(), "round {round}");
        hashes.push(stopped.engine.state_hash().to_string());
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 3, "each round changed the state");
    let recovered = start(dir.path()).stop().unwrap();
    assert_eq!(recovered.engine.state_hash().to_string(), hashes[2], "recovery alone changes nothing");
}

#[test]
fn stopping_answers_everything_that_was_queued() {
    let dir = tempfile::tempdir().unwrap();
    let sequencer = start(dir.path());
    let ingress = sequencer.ingress();
    let pending: Vec<_> = commands(1_000).into_iter().map(|command| ingress.submit(command).unwrap()).collect();
    sequencer.stop().unwrap();
    for pending in pending {
        pending.wait().expect("queued before the stop");
    }
    let late = ingress.submit(commands(0).remove(0));
    assert!(matches!(late, Err(SubmitError::Unavailable)), "nothing is accepted afterwards");
}

#[test]
fn a_full_queue_refuses_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let options = gollem_sequencer::Options { queue_commands_max: 2, ..options(dir.path()) };
    let sequencer = Sequencer::start(&options, 0, None, None).unwrap();
    let ingress = sequencer.ingress();
    let (entered, is_in) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let blocker = {
        let ingress = ingress.clone();
        std::thread::spawn(move || {
            let question = move |_: &Engine| {
                entered.send(()).unwrap();
                released.recv().unwrap_err(); // Holds the matcher until the sender is dropped.
            };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(ingress.inspect(question)).unwrap();
        })
    };
    is_in.recv().unwrap();
    let mut all = commands(8).into_iter();
    let first = ingress.submit(all.next().unwrap()).unwrap();
    let second = ingress.submit(all.next().unwrap()).unwrap();
    assert!(matches!(ingress.submit(all.next().unwrap()), Err(SubmitError::Overloaded)));
    drop(release);
    assert_eq!((first.wait().unwrap().seq, second.wait().unwrap().seq), (1, 2), "what was queued is served");
    blocker.join().unwrap();
    sequencer.stop().unwrap();
}

#[test]
fn a_refused_command_is_answered_with_its_reason_and_journaled() {
    let dir = tempfile::tempdir().unwrap();
    let sequencer = start(dir.path());
    let order = commands(1).pop().unwrap();
    let ack = sequencer.ingress().submit(order).unwrap().wait().unwrap();
    assert_eq!(ack.events(), [Event::Rejected(RejectReason::UnknownAccount)]);
    sequencer.stop().unwrap();
    assert_eq!(replay(dir.path()).last_seq(), 1);
}

/// For every storage call N: the disk fails at N, once, and works again afterwards.
#[test]
fn after_the_first_failed_sync_nothing_more_is_acknowledged_and_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap(); // Named in messages only.
    let no_ahead = gollem_journal::Options { prepare_ahead: false, ..options(dir.path()).journal };
    let options = gollem_sequencer::Options { journal: no_ahead, ..options(dir.path()) };
    let mut failures = 0;
    for call in 0..60 {
        let storage = SimStorage::new();
        let opened = Sequencer::start_in(storage.clone(), &options, 0, None, None).unwrap();
        storage.plan(storage.calls() + call, Fault::Error(io::ErrorKind::Other));
        let mut acknowledged = 0;
        let mut failed = false;
        for command in commands(20) {
            match opened.ingress().submit(command).and_then(|pending| pending.wait()) {
                Ok(ack) => {
                    assert!(!failed, "call {call}: acknowledged after a failure");
                    acknowledged = ack.seq;
                }
                Err(error) => {
                    assert_eq!(error, SubmitError::Unavailable);
                    failed = true;
                }
            }
        }
        if failed {
            failures += 1;
            assert_eq!(opened.status().health(), Health::JournalFailed, "call {call}");
        }
        drop(opened.stop());
        storage.power_cycle(None); // Whatever was not synced is gone.
        let reopened = Sequencer::start_in(storage, &options, acknowledged, None, None);
        let recovered = reopened.unwrap_or_else(|error| panic!("call {call}: {error}"));
        assert!(recovered.found().journal.last_seq >= acknowledged, "call {call}: an acknowledged input was lost");
        recovered.stop().unwrap();
    }
    assert!(failures > 20, "the faults must hit the run, not its aftermath: {failures}");
}

#[test]
fn a_panic_in_the_matcher_is_seen_as_not_running_and_leaves_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let sequencer = start(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let asked = runtime.block_on(sequencer.ingress().inspect(|_| panic!("planted")));
    assert_eq!(asked, Err::<(), _>(SubmitError::Unavailable));
    let late = sequencer.ingress().submit(commands(0).remove(0)).and_then(|pending| pending.wait());
    assert_eq!(late.expect_err("nobody matches"), SubmitError::Unavailable);
    let status = sequencer.status();
    assert!(sequencer.stop().is_err(), "a panic is no clean stop");
    assert_eq!(status.health(), Health::Panicked);
}

#[test]
fn a_slow_reader_never_holds_up_the_pipeline() {
    let dir = tempfile::tempdir().unwrap();
    let (feed, reader) = Feed::new(1, 10);
    let sequencer = Sequencer::start(&options(dir.path()), 0, Some(feed), None).unwrap();
    for command in commands(200) {
        sequencer.ingress().submit(command).unwrap().wait().expect("acknowledged although nobody reads");
    }
    sequencer.stop().unwrap();
    assert_eq!(reader.try_iter().count(), 1, "the queue is bounded; the rest is in the journal");
}
