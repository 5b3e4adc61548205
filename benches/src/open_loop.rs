//! Commands on a fixed schedule, whatever the pipeline does, and how long each waits for its acknowledgement.
//!
//! A command's wait starts when it was due, not when it could be sent: a stall that delays the sender counts against
//! every command that was due meanwhile (no coordinated omission). One thread sends, one waits for the answers, which
//! come in the order of the commands. The sender sleeps until shortly before a command is due and spins the rest, so
//! the scheduler's wake-up time is not mistaken for the pipeline's.

use crate::output;
use anyhow::{Context, bail, ensure};
use gollem_engine::{Command, Event};
use gollem_sequencer::{Ack, Ingress, PendingAck, SubmitError};
use hdrhistogram::Histogram;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// The sender spins this long before a command is due: about what a wake-up takes. More would take a whole core from the
/// pipeline at 10,000 commands a second.
const SPIN: Duration = Duration::from_micros(50);

/// A command that was sent: when it was due, and its answer to come.
type Sent = (Instant, PendingAck);

/// Sends the commands at `rate` a second and returns the times from due to acknowledged.
///
/// # Errors
/// When a command is refused or not acknowledged.
pub(crate) fn measure(ingress: &Ingress, commands: Vec<Command>, rate: u32) -> anyhow::Result<Histogram<u64>> {
    let (queue, sent) = sync_channel(commands.len());
    thread::scope(|scope| {
        let waiter = scope.spawn(|| wait(sent));
        let sending = send(ingress, commands, rate, &queue);
        drop(queue);
        let times = waiter.join().map_err(|_| anyhow::anyhow!("the waiting thread panicked"))?;
        sending?;
        times
    })
}

fn send(ingress: &Ingress, commands: Vec<Command>, rate: u32, queue: &SyncSender<Sent>) -> anyhow::Result<()> {
    let start = Instant::now() + Duration::from_millis(1);
    for (command, number) in commands.into_iter().zip(0_u64..) {
        let due = start + Duration::from_nanos(number * 1_000_000_000 / u64::from(rate));
        wait_until(due);
        let answer = submit(ingress, command)?;
        if queue.send((due, answer)).is_err() {
            bail!("the waiting thread has stopped");
        }
    }
    Ok(())
}

/// Sends the command, again and again while the queue is full: its order matters to those after it.
fn submit(ingress: &Ingress, command: Command) -> anyhow::Result<PendingAck> {
    loop {
        match ingress.submit(command.clone()) {
            Err(SubmitError::Overloaded) => thread::yield_now(),
            answer => return answer.context("a command was not accepted"),
        }
    }
}

fn wait_until(due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if left > SPIN {
            thread::park_timeout(left - SPIN);
        } else {
            std::hint::spin_loop();
        }
    }
}

fn wait(sent: Receiver<Sent>) -> anyhow::Result<Histogram<u64>> {
    let mut times = output::histogram()?;
    for (due, answer) in sent {
        let ack = answer.wait().context("a command was not acknowledged")?;
        output::record(&mut times, due.elapsed());
        check(&ack)?;
    }
    Ok(times)
}

/// Every command of the workload takes effect; a refusal would mean that something else was measured.
pub(crate) fn check(ack: &Ack) -> anyhow::Result<()> {
    let refused = ack.events.iter().find(|event| matches!(event, Event::Rejected(_)));
    ensure!(refused.is_none(), "command {} was refused: {refused:?}", ack.seq);
    Ok(())
}
