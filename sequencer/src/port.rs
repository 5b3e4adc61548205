//! A way in for those who send many commands: no allocation a command, and answers in order, as many at a time as
//! became durable together.
//!
//! Invariant: a port has at most its window of unanswered messages, so the queue of its answers always has room and the
//! committer never waits for a slow reader.

use crate::batch::TOGETHER_MAX;
use crate::ingress::{Commands, Ingress, Message, Reply, SubmitError};
use crate::released::Ack;
use crate::stages::SAMPLED;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use gollem_engine::Command;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Where each open port's answers go, by number; `None` once the pipeline is gone.
#[derive(Debug)]
pub(crate) struct Ports(Mutex<Option<Registered>>);

#[derive(Debug, Default)]
struct Registered {
    answers: BTreeMap<u64, Sender<Ack>>,
    next: u64,
}

impl Default for Ports {
    fn default() -> Ports {
        Ports(Mutex::new(Some(Registered::default())))
    }
}

impl Ports {
    pub(crate) fn open(self: &Arc<Ports>, ingress: Ingress, window: usize) -> Result<(Port, Answers), SubmitError> {
        let window = window.max(1);
        let (answers, queue) = bounded(window);
        let number = {
            let mut ports = self.lock();
            let ports = ports.as_mut().ok_or(SubmitError::Unavailable)?;
            ports.next += 1;
            ports.answers.insert(ports.next, answers);
            ports.next
        };
        let shared = Arc::new(Shared { number, answered: AtomicU64::new(0), ports: Arc::clone(self) });
        let port = Port { ingress, window: window as u64, sent: 0, untimed: 0, shared: Arc::clone(&shared) };
        Ok((port, Answers { queue, shared }))
    }

    /// Gives the answer to a port, if there is one of that number.
    pub(crate) fn answer(&self, number: u64, ack: Ack) {
        if let Some(answers) = self.lock().as_ref().and_then(|ports| ports.answers.get(&number)) {
            // There is room by the port's window; a reader that is gone wants none.
            drop(answers.try_send(ack));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Registered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by the committer: when it goes, nobody waits at a port for answers that will not come.
#[derive(Debug)]
pub(crate) struct OpenPorts(pub(crate) Arc<Ports>);

impl Deref for OpenPorts {
    type Target = Ports;

    fn deref(&self) -> &Ports {
        &self.0
    }
}

impl Drop for OpenPorts {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

/// What both ends of a port share; the port is forgotten when both are gone.
#[derive(Debug)]
struct Shared {
    number: u64,
    /// Inputs answered and taken out.
    answered: AtomicU64,
    ports: Arc<Ports>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(ports) = self.ports.lock().as_mut() {
            ports.answers.remove(&self.number);
        }
    }
}

/// The sending end.
#[derive(Debug)]
pub struct Port {
    ingress: Ingress,
    window: u64,
    /// Inputs sent, and those since the last timed one.
    sent: u64,
    untimed: u64,
    shared: Arc<Shared>,
}

impl Port {
    /// Queues a command.
    ///
    /// # Errors
    /// [`SubmitError::Overloaded`] when as many as the window are unanswered or the queue is full: take answers out, then
    /// send it again. [`SubmitError::Unavailable`] as for [`Ingress::submit`].
    #[inline]
    pub fn submit(&mut self, command: Command) -> Result<(), SubmitError> {
        self.send(Commands::One(command), 1)
    }

    /// Queues up to 64 commands that become durable together.
    ///
    /// # Errors
    /// As [`Port::submit`]; none is queued then.
    ///
    /// # Panics
    /// Without a command, or with more than 64.
    pub fn submit_together(&mut self, commands: Vec<Command>) -> Result<(), SubmitError> {
        assert!((1..=TOGETHER_MAX).contains(&commands.len()), "from 1 to {TOGETHER_MAX} commands at once");
        let count = commands.len() as u64;
        self.send(Commands::Several(commands), count)
    }

    #[inline]
    fn send(&mut self, commands: Commands, count: u64) -> Result<(), SubmitError> {
        if self.sent + count > self.shared.answered.load(Ordering::Acquire) + self.window {
            return Err(SubmitError::Overloaded);
        }
        let submitted = (self.untimed >= SAMPLED).then(Instant::now);
        self.ingress.send(Message::Commands { commands, reply: Reply::Port(self.shared.number), submitted })?;
        self.sent += count;
        self.untimed = if submitted.is_some() { 0 } else { self.untimed + count };
        Ok(())
    }

    /// Commands that are not answered, or whose answers were not taken out.
    pub fn unanswered(&self) -> u64 {
        self.sent - self.shared.answered.load(Ordering::Acquire)
    }
}

/// The end where answers come out, in the order in which the commands were sent.
#[derive(Debug)]
pub struct Answers {
    queue: Receiver<Ack>,
    shared: Arc<Shared>,
}

impl Answers {
    /// Waits for answers, on the calling thread.
    ///
    /// # Errors
    /// [`SubmitError::Unavailable`] when the pipeline is gone: what is unanswered may or may not have taken effect.
    pub fn wait(&self) -> Result<Ack, SubmitError> {
        let ack = self.queue.recv().map_err(|_| SubmitError::Unavailable)?;
        self.count(&ack);
        Ok(ack)
    }

    /// Answers that have come, if any.
    ///
    /// # Errors
    /// As [`Answers::wait`].
    pub fn try_take(&self) -> Result<Option<Ack>, SubmitError> {
        match self.queue.try_recv() {
            Ok(ack) => {
                self.count(&ack);
                Ok(Some(ack))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(SubmitError::Unavailable),
        }
    }

    fn count(&self, ack: &Ack) {
        self.shared.answered.fetch_add(ack.inputs_len() as u64, Ordering::Release);
    }
}
