//! Commands on a fixed schedule, whatever the pipeline does, and how long each waits for its acknowledgement.
//!
//! A command's wait starts when it was due, not when it could be sent: a stall that delays the sender counts against
//! every command that was due meanwhile (no coordinated omission). One thread sends, one waits for the answers, which
//! come in the order of the commands. The sender sleeps until shortly before a command is due and then yields until it
//! is, so the scheduler's wake-up time is not mistaken for the pipeline's, and the pipeline can use the core.

use crate::output;
use anyhow::{Context, ensure};
use gollem_engine::{Command, Event};
use gollem_sequencer::{Ack, Answers, Port, SubmitError};
use hdrhistogram::Histogram;
use std::thread;
use std::time::{Duration, Instant};

/// The sender sleeps no more when a command is due this soon: about what a wake-up takes.
const AWAKE: Duration = Duration::from_micros(50);

/// When commands are due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    start: Instant,
    rate: u32,
}

impl Schedule {
    /// `rate` commands a second, the first after `lead`.
    pub(crate) fn starting_in(lead: Duration, rate: u32) -> Schedule {
        Schedule { start: Instant::now() + lead, rate }
    }

    /// When command `number`, counted from zero, is due.
    pub(crate) fn due(self, number: usize) -> Instant {
        self.start + Duration::from_nanos(number as u64 * 1_000_000_000 / u64::from(self.rate))
    }

    /// Returns when that command is due, at once if it was due before.
    pub(crate) fn wait_for(self, number: usize) {
        let due = self.due(number);
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if left > AWAKE {
                thread::park_timeout(left - AWAKE);
            } else {
                thread::yield_now();
            }
        }
    }
}

/// Sends the commands at `rate` a second and returns the times from due to acknowledged.
///
/// # Errors
/// When a command is refused or not acknowledged.
pub(crate) fn measure(
    port: &mut Port,
    answers: &Answers,
    commands: &[Command],
    rate: u32,
) -> anyhow::Result<Histogram<u64>> {
    let schedule = Schedule::starting_in(Duration::from_millis(1), rate);
    thread::scope(|scope| {
        let waiter = scope.spawn(move || wait(answers, schedule, commands.len()));
        send(port, commands, schedule)?;
        waiter.join().map_err(|_| anyhow::anyhow!("the waiting thread panicked"))?
    })
}

fn send(port: &mut Port, commands: &[Command], schedule: Schedule) -> anyhow::Result<()> {
    for (number, command) in commands.iter().enumerate() {
        schedule.wait_for(number);
        // Again and again while the queue is full: its order matters to those after it.
        loop {
            match port.submit(command.clone()) {
                Err(SubmitError::Overloaded) => thread::yield_now(),
                sent => break sent.context("a command was not accepted")?,
            }
        }
    }
    Ok(())
}

fn wait(answers: &Answers, schedule: Schedule, count: usize) -> anyhow::Result<Histogram<u64>> {
    let (mut times, mut number) = (output::histogram()?, 0);
    take_answers(answers, count, |ack| {
        let now = Instant::now();
        for _ in 0..ack.inputs_len() {
            output::record(&mut times, now.saturating_duration_since(schedule.due(number)));
            number += 1;
        }
    })?;
    Ok(times)
}

/// Takes the answers to `count` commands.
///
/// # Errors
/// When one is missing, or says that a command was refused: then something else was measured.
pub(crate) fn take_answers(answers: &Answers, count: usize, mut take: impl FnMut(&Ack)) -> anyhow::Result<()> {
    let mut taken = 0;
    while taken < count {
        let ack = answers.wait().context("a command was not acknowledged")?;
        taken += ack.inputs_len();
        take(&ack);
        let refused = ack.events().iter().find(|event| matches!(event, Event::Rejected(_)));
        ensure!(refused.is_none(), "a command up to {} was refused: {refused:?}", ack.seq);
    }
    Ok(())
}
