//! A full disk refuses commands at the door, loses nothing, and is got over without a restart.

use crate::support::options;
use gollem_engine::Command;
use gollem_journal::sim::SimStorage;
use gollem_sequencer::{Health, Sequencer, Status, SubmitError};
use std::time::Duration;

/// Waits until the health is that.
fn wait_for(status: &Status, health: Health) {
    for _ in 0..10_000 {
        if status.health() == health {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("{health:?} never came: {:?}", status.health());
}

/// Sends commands until the door is shut; returns the last that was acknowledged.
fn until_refused(sequencer: &Sequencer) -> u64 {
    let (ingress, mut acknowledged) = (sequencer.ingress(), 0);
    loop {
        let together = ingress.submit_together(vec![Command::OpenAccount; 64]);
        match together.and_then(|pending| pending.wait()) {
            Ok(ack) => acknowledged = ack.seq,
            Err(error) => {
                assert_eq!(error, SubmitError::Unavailable);
                return acknowledged;
            }
        }
    }
}

#[test]
fn commands_are_refused_while_the_disk_is_full_and_accepted_again_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, options) = (SimStorage::new(), options(dir.path()));
    // Room for two segments and a half.
    storage.set_capacity(options.journal.segment_bytes as usize * 5 / 2);
    let sequencer = Sequencer::start_in(storage.clone(), &options, 0, None, None).unwrap();
    let (status, ingress) = (sequencer.status(), sequencer.ingress());
    let acknowledged = until_refused(&sequencer);
    wait_for(&status, Health::DiskFull);
    assert!(acknowledged > 0 && status.durable_seq() >= acknowledged);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let asked = runtime.block_on(ingress.inspect(|engine| engine.last_seq())).expect("reads go on");
    assert_eq!(asked, status.durable_seq(), "what was let in fitted into the reserve");
    storage.set_capacity(usize::MAX);
    wait_for(&status, Health::Running);
    let ack = ingress.submit(Command::OpenAccount).unwrap().wait().unwrap();
    assert_eq!(ack.seq, asked + 1);
    let stopped = sequencer.stop().unwrap();
    storage.power_cycle(None);
    let again = Sequencer::start_in(storage, &options, ack.seq, None, None).unwrap().stop().unwrap();
    assert_eq!(again.engine.state_hash(), stopped.engine.state_hash());
}

#[test]
fn a_stop_on_a_full_disk_ends_and_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, options) = (SimStorage::new(), options(dir.path()));
    storage.set_capacity(options.journal.segment_bytes as usize * 5 / 2);
    let sequencer = Sequencer::start_in(storage.clone(), &options, 0, None, None).unwrap();
    let acknowledged = until_refused(&sequencer);
    drop(sequencer.stop());
    storage.set_capacity(usize::MAX);
    storage.power_cycle(None);
    let again = Sequencer::start_in(storage, &options, acknowledged, None, None).unwrap();
    assert!(again.found().journal.last_seq >= acknowledged);
    again.stop().unwrap();
}
