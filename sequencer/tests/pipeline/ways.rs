//! The ways in and out: ports, commands sent together, witnesses, and what is measured on the way.

use crate::support::{commands, options};
use gollem_engine::{Command, Event, RejectReason};
use gollem_sequencer::{Options, Sequencer, SubmitError, Witness};
use std::path::Path;
use std::time::Duration;

fn start(dir: &Path) -> Sequencer {
    Sequencer::start(&options(dir), 0, None, None).expect("it starts")
}

#[test]
fn a_port_answers_every_command_once_in_the_order_in_which_they_were_sent() {
    let dir = tempfile::tempdir().unwrap();
    let sequencer = start(dir.path());
    let (mut port, answers) = sequencer.ingress().port(10_000).unwrap();
    let (mut other, other_answers) = sequencer.ingress().port(10_000).unwrap();
    let all = commands(1_000);
    let count = all.len();
    for command in all {
        port.submit(command).unwrap();
        other.submit(Command::OpenAccount).unwrap();
    }
    let mut seqs = Vec::new();
    while seqs.len() < count {
        let ack = answers.wait().unwrap();
        assert_eq!(ack.inputs().count(), ack.inputs_len());
        seqs.extend(ack.inputs().map(|(input, _)| input.seq));
    }
    let own: Vec<u64> = (0..count as u64).map(|sent| 2 * sent + 1).collect();
    assert_eq!(seqs, own, "every second input is this port's");
    let mut opened = 0;
    while opened < count {
        let ack = other_answers.wait().unwrap();
        opened += ack.events().iter().filter(|event| matches!(event, Event::AccountOpened { .. })).count();
    }
    assert_eq!((opened, port.unanswered(), other.unanswered()), (count, 0, 0));
    sequencer.stop().unwrap();
}

#[test]
fn a_port_refuses_beyond_its_window_until_answers_are_taken_out() {
    let dir = tempfile::tempdir().unwrap();
    let sequencer = start(dir.path());
    let (mut port, answers) = sequencer.ingress().port(3).unwrap();
    for _ in 0..3 {
        port.submit(Command::OpenAccount).unwrap();
    }
    assert_eq!(port.submit(Command::OpenAccount), Err(SubmitError::Overloaded));
    assert_eq!(port.submit_together(vec![Command::Tick; 3]), Err(SubmitError::Overloaded));
    let taken = answers.wait().unwrap().inputs_len();
    for _ in 0..taken {
        port.submit(Command::OpenAccount).unwrap();
    }
    sequencer.stop().unwrap();
}

#[test]
fn whoever_waits_at_a_port_learns_that_the_pipeline_has_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let sequencer = start(dir.path());
    let ingress = sequencer.ingress();
    let (mut port, answers) = ingress.port(8).unwrap();
    port.submit(Command::OpenAccount).unwrap();
    sequencer.stop().unwrap();
    assert_eq!(answers.wait().unwrap().seq, 1, "what was queued before the stop is answered");
    assert_eq!(answers.wait().unwrap_err(), SubmitError::Unavailable);
    assert_eq!(port.submit(Command::OpenAccount), Err(SubmitError::Unavailable));
    assert!(matches!(ingress.port(8), Err(SubmitError::Unavailable)));
}

#[test]
fn commands_sent_together_are_answered_together_each_with_its_own_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let sequencer = start(dir.path());
    let order = commands(1).pop().unwrap();
    let together = vec![Command::OpenAccount, order, Command::OpenAccount];
    let ack = sequencer.ingress().submit_together(together).unwrap().wait().unwrap();
    let outcomes: Vec<(u64, &[Event])> = ack.inputs().map(|(input, events)| (input.seq, events)).collect();
    assert_eq!(outcomes.len(), 3);
    assert!(matches!(outcomes[0], (1, [Event::AccountOpened { .. }])));
    assert_eq!(outcomes[1], (2, [Event::Rejected(RejectReason::UnknownInstrument)].as_slice()));
    assert!(matches!(outcomes[2], (3, [Event::AccountOpened { .. }])));
    sequencer.stop().unwrap();
}

#[test]
fn nothing_leaves_before_every_witness_has_confirmed_it() {
    let dir = tempfile::tempdir().unwrap();
    let (near, far) = (Witness::new(), Witness::new());
    let witnesses = vec![near.clone(), far.clone()];
    let options = Options { witnesses, ..options(dir.path()) };
    let sequencer = Sequencer::start(&options, 0, None, None).unwrap();
    let mut waiting = sequencer.ingress().submit(Command::OpenAccount).unwrap();
    near.confirm(9);
    let (journal, mut on_disk) = (options.journal_dir.clone(), 0);
    while on_disk < 1 {
        let scanned = gollem_journal::scan::<std::convert::Infallible>(&journal, Default::default(), &mut |_| Ok(()));
        on_disk = scanned.unwrap().last_seq;
    }
    assert!(waiting.try_take().unwrap().is_none(), "the far witness has not seen it");
    assert_eq!(sequencer.status().durable_seq(), 0);
    far.confirm(1);
    assert_eq!(waiting.wait().unwrap().seq, 1);
    assert_eq!(sequencer.status().durable_seq(), 1);
    sequencer.stop().unwrap();
}

#[test]
fn the_time_that_commands_spend_in_each_stage_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let sequencer = start(dir.path());
    for command in commands(50) {
        sequencer.ingress().submit(command).unwrap().wait().unwrap();
    }
    let status = sequencer.status();
    sequencer.stop().unwrap();
    let stages = status.stages();
    for (stage, times) in stages.named() {
        assert_eq!(times.len(), 54, "{stage}: each command was timed, in a group of its own");
        let longest = Duration::from_nanos(times.max());
        assert!(longest > Duration::ZERO && longest < Duration::from_secs(60), "{stage}: {longest:?}");
    }
    assert!(stages.total.mean() >= stages.sync.mean(), "an answer waits for its sync");
}
