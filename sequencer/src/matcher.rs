//! The matcher thread: takes commands in order, stamps, encodes and applies them, and hands whole
//! batches to the committer whenever the disk is idle.

use crate::batch::Batch;
use crate::clock::Clock;
use crate::ingress::{Commands, Door, Intake, Message, Reply};
use crate::poison::Poison;
use crossbeam_channel::{Receiver, Sender, TryRecvError, after, never, select};
use gollem_engine::{Command, Engine, Input, Timestamp};
use gollem_journal::{Encoder, Seq, crash_point};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages taken without a look at the clock or the disk: some microseconds' work.
const AT_ONCE: usize = 32;

/// Everything the matcher thread owns. Two batches exist in all: holding both means that the disk is idle.
#[derive(Debug)]
pub(crate) struct Matcher {
    pub(crate) engine: Engine,
    pub(crate) encoder: Encoder,
    pub(crate) clock: Clock,
    pub(crate) intake: Intake,
    /// Deadlines wait while it is shut: they, too, take room on the disk.
    pub(crate) door: Arc<Door>,
    pub(crate) to_committer: Sender<Batch>,
    pub(crate) from_committer: Receiver<Batch>,
    /// Gathers what arrives.
    pub(crate) open: Batch,
    /// The other batch, unless the committer has it.
    pub(crate) spare: Option<Batch>,
    pub(crate) stopping: bool,
    /// How long it looks for commands before it sleeps.
    pub(crate) spin: Duration,
    /// The input that the engine is applying; 0 between inputs.
    pub(crate) applying: Seq,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Something was done.
    Worked,
    /// There was nothing to do.
    Idle,
    /// There will be nothing to do any more.
    Over,
}

impl Matcher {
    /// Runs until it is told to stop or the committer is gone.
    pub(crate) fn run(&mut self) {
        loop {
            match self.turn() {
                Turn::Worked => {}
                Turn::Idle if self.spin() || self.wait() => {}
                Turn::Idle | Turn::Over => return,
            }
        }
    }

    /// Does what can be done without waiting.
    pub(crate) fn turn(&mut self) -> Turn {
        let taken = self.take_waiting();
        self.fire_deadlines();
        if self.spare.is_none() {
            self.spare = self.from_committer.try_recv().ok();
        }
        if !self.open.is_empty()
            && let Some(empty) = self.spare.take()
        {
            return if self.hand_over(empty) { Turn::Worked } else { Turn::Over };
        }
        if self.stopping && self.open.is_empty() {
            return Turn::Over;
        }
        if taken == 0 { Turn::Idle } else { Turn::Worked }
    }

    /// Takes some of what is queued, as long as the open batch has room; returns how many messages.
    fn take_waiting(&mut self) -> usize {
        self.clock.stamp();
        for taken in 0..AT_ONCE {
            if self.stopping || self.open.is_full() {
                return taken;
            }
            match self.intake.queue.try_recv() {
                Ok(mut message) => self.take(&mut message),
                Err(TryRecvError::Empty) => return taken,
                Err(TryRecvError::Disconnected) => self.stopping = true,
            }
        }
        AT_ONCE
    }

    #[inline]
    fn take(&mut self, message: &mut Message) {
        match message {
            Message::Commands { commands, reply, submitted } => {
                let first = self.open.len();
                let timed = submitted.map(|submitted| (submitted, Instant::now()));
                match commands {
                    Commands::One(input) => self.apply(input, timed),
                    Commands::Several(commands) => self.apply_all(commands, timed),
                }
                if let Reply::Twice(foresight, _) = reply
                    && let Some(foresight) = foresight.take()
                    && self.open.len() > first
                {
                    self.open.foretell(&self.engine, foresight);
                }
                self.open.await_from(first, std::mem::replace(reply, Reply::Nobody));
            }
            Message::Inspect(question) => {
                // The questions are about the state's hash: from here on it costs only what changes.
                self.engine.checkpoint();
                if let Some(question) = question.take() {
                    question(&self.engine);
                }
            }
            Message::Stop => self.stopping = true,
        }
    }

    /// Applies commands that were sent together. The first stands for all of them where times are concerned.
    fn apply_all(&mut self, commands: &mut Vec<Command>, mut timed: Option<(Instant, Instant)>) {
        for command in commands.drain(..) {
            self.apply(&mut Input { seq: 0, at: Timestamp(0), command }, timed.take());
        }
    }

    /// Stamps the input, encodes and applies it.
    #[inline]
    fn apply(&mut self, input: &mut Input, timed: Option<(Instant, Instant)>) {
        (input.seq, input.at) = (self.encoder.next_seq(), self.clock.last());
        self.applying = input.seq;
        let applied = match timed {
            None => self.open.apply(&mut self.engine, &mut self.encoder, input),
            Some(times) => self.open.apply_timed(&mut self.engine, &mut self.encoder, input, times),
        };
        if let Err(error) = applied {
            // The caller sees its reply dropped, which means unavailable.
            tracing::error!(%error, command = ?input.command, "a command does not fit a journal record");
        }
        self.applying = 0;
    }

    /// The input that the engine was applying when it panicked, if it was applying one. It is not durable: its group was
    /// never handed over.
    pub(crate) fn poison(&self, message: String) -> Option<Poison> {
        let (time_ns, payload) = self.open.last_record().filter(|_| self.applying != 0)?;
        Some(Poison { seq: self.applying, time_ns, durable: false, message, payload: payload.to_vec() })
    }

    /// Lets a deadline that is due take effect, as an input like any other.
    fn fire_deadlines(&mut self) {
        let due = self.engine.next_deadline().is_some_and(|deadline| deadline <= self.clock.last());
        if due && !self.stopping && !self.open.is_full() && self.door.is_open() {
            self.apply(&mut Input { seq: 0, at: Timestamp(0), command: Command::Tick }, None);
        }
    }

    /// Gives the open batch to the idle committer. False when the committer is gone.
    fn hand_over(&mut self, empty: Batch) -> bool {
        self.open.seal(&mut self.encoder);
        crash_point!("matcher.sealed");
        let full = std::mem::replace(&mut self.open, empty);
        self.to_committer.send(full).is_ok()
    }

    /// Looks for a command for a while before it sleeps: to be woken takes longer than most commands. True when one came.
    fn spin(&mut self) -> bool {
        if self.spin.is_zero() || self.stopping || self.open.is_full() {
            return false;
        }
        let started = Instant::now();
        while started.elapsed() < self.spin {
            if !self.intake.queue.is_empty() || (self.spare.is_none() && !self.from_committer.is_empty()) {
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }

    /// Sleeps until a command arrives, the disk is idle again or a deadline is due. False when the
    /// committer is gone.
    fn wait(&mut self) -> bool {
        let full = self.open.is_full() || self.stopping;
        let ingress = if full { never() } else { self.intake.queue.clone() };
        let returned = if self.spare.is_some() { never() } else { self.from_committer.clone() };
        let timer = self.until_deadline().filter(|_| !full).map_or_else(never, after);
        select! {
            recv(ingress) -> message => match message {
                Ok(mut message) => {
                    self.clock.stamp();
                    self.take(&mut message);
                }
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

    /// How long until the next deadline, if there is one. While the door is shut it is looked at again soon.
    fn until_deadline(&mut self) -> Option<Duration> {
        let deadline = self.engine.next_deadline()?;
        let left = Duration::from_nanos(deadline.0.saturating_sub(self.clock.stamp().0));
        let shut = Duration::from_millis(if self.door.is_open() { 0 } else { 50 });
        Some(left.max(shut))
    }
}
