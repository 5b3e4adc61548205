//! The matcher thread: takes commands in order, stamps, encodes and applies them, and hands whole
//! batches to the committer whenever the disk is idle.

use crate::batch::{Batch, Reply};
use crate::clock::Clock;
use crate::ingress::{Intake, Message};
use crossbeam_channel::{Receiver, Sender, TryRecvError, after, never, select};
use gollem_engine::{Command, Engine, Input};
use gollem_journal::Encoder;
use std::time::Duration;

/// Everything the matcher thread owns. Two batches exist in all: holding both means that the disk is idle.
#[derive(Debug)]
pub(crate) struct Matcher {
    pub(crate) engine: Engine,
    pub(crate) encoder: Encoder,
    pub(crate) clock: Clock,
    pub(crate) intake: Intake,
    pub(crate) to_committer: Sender<Batch>,
    pub(crate) from_committer: Receiver<Batch>,
    /// Gathers what arrives.
    pub(crate) open: Batch,
    /// The other batch, unless the committer has it.
    pub(crate) spare: Option<Batch>,
    pub(crate) stopping: bool,
}

impl Matcher {
    /// Runs until it is told to stop or the committer is gone; returns the final state.
    pub(crate) fn run(mut self) -> Engine {
        loop {
            self.take_waiting();
            self.fire_deadlines();
            if self.spare.is_none() {
                self.spare = self.from_committer.try_recv().ok();
            }
            if !self.open.is_empty()
                && let Some(empty) = self.spare.take()
            {
                if !self.hand_over(empty) {
                    break;
                }
                continue;
            }
            if self.stopping && self.open.is_empty() {
                break;
            }
            if !self.wait() {
                break;
            }
        }
        self.engine
    }

    /// Takes what is queued without waiting, as long as the open batch has room.
    fn take_waiting(&mut self) {
        while !self.stopping && !self.open.is_full() {
            match self.intake.queue.try_recv() {
                Ok(message) => self.take(message),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.stopping = true,
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Command { command, reply } => self.apply(command, Some(reply)),
            Message::Inspect(question) => {
                // The questions are about the state's hash: from here on it costs only what changes.
                self.engine.checkpoint();
                question(&self.engine);
            }
            Message::Stop => self.stopping = true,
        }
    }

    fn apply(&mut self, command: Command, reply: Reply) {
        let input = Input { seq: self.encoder.next_seq(), at: self.clock.stamp(), command };
        if let Err(error) = self.open.apply(&mut self.engine, &mut self.encoder, &input, reply) {
            // The caller sees its reply dropped, which means unavailable.
            tracing::error!(%error, command = ?input.command, "a command does not fit a journal record");
        }
    }

    /// Lets a deadline that is due take effect, as an input like any other.
    fn fire_deadlines(&mut self) {
        let due = self.engine.next_deadline().is_some_and(|deadline| deadline <= self.clock.stamp());
        if due && !self.stopping && !self.open.is_full() {
            self.apply(Command::Tick, None);
        }
    }

    /// Gives the open batch to the idle committer. False when the committer is gone.
    fn hand_over(&mut self, empty: Batch) -> bool {
        self.open.seal(&mut self.encoder);
        let full = std::mem::replace(&mut self.open, empty);
        self.to_committer.send(full).is_ok()
    }

    /// Sleeps until a command arrives, the disk is idle again or a deadline is due. False when the
    /// committer is gone.
    fn wait(&mut self) -> bool {
        let full = self.open.is_full() || self.stopping;
        let ingress = if full { never() } else { self.intake.queue.clone() };
        let returned = if self.spare.is_some() { never() } else { self.from_committer.clone() };
        let deadline = self.engine.next_deadline().filter(|_| !full);
        let timer =
            deadline.map_or_else(never, |at| after(Duration::from_nanos(at.0.saturating_sub(self.clock.stamp().0))));
        select! {
            recv(ingress) -> message => match message {
                Ok(message) => self.take(message),
                Err(_) => self.stopping = true,
            },
            recv(returned) -> batch => match batch {
                Ok(batch) => self.spare = Some(batch),
                Err(_) => return false,
            },
            recv(timer) -> _ => {}
        }
        true
    }
}
