//! The way in: a bounded queue that refuses at once when it is full, and a door that can be shut.
//!
//! [`Ingress`] answers each command by itself. [`Port`](crate::Port) is for those who send many: its answers come in order,
//! as many at a time as became durable together.

use crate::batch::TOGETHER_MAX;
use crate::foresight::Foresight;
use crate::port::{Answers, Port, Ports};
use crate::released::Ack;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use gollem_engine::{Command, Engine, Input, Timestamp};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::oneshot;

/// Why a command got no answer. It may be sent again: orders by client id and purchases by reference
/// have one effect however often they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full: come back later.
    #[error("the exchange is overloaded")]
    Overloaded,
    /// The exchange is stopping, its disk is full, or its journal failed. Whether the command took effect is unknown.
    #[error("the exchange does not accept commands")]
    Unavailable,
}

/// Who waits for the answer.
#[derive(Debug)]
pub(crate) enum Reply {
    Once(oneshot::Sender<Ack>),
    /// The same, after the first has been told what is to come; it is taken out then.
    Twice(Option<oneshot::Sender<Foresight>>, oneshot::Sender<Ack>),
    Port(u64),
    Nobody,
}

/// What is sent at once. A single command travels as an input whose place and time are filled in where it lies: moving
/// it once more would cost as much as encoding it.
#[derive(Debug)]
pub(crate) enum Commands {
    One(Input),
    /// At most [`TOGETHER_MAX`].
    Several(Vec<Command>),
}

/// A question about the engine, which brings its own way to be answered.
pub(crate) type Question = Box<dyn FnOnce(&Engine) + Send>;

/// What the matcher thread can be asked.
pub(crate) enum Message {
    /// `submitted` is there when the command's way is timed.
    Commands {
        commands: Commands,
        reply: Reply,
        submitted: Option<Instant>,
    },
    /// Taken out when it is answered.
    Inspect(Option<Question>),
    Stop,
}

impl Commands {
    #[inline]
    pub(crate) fn one(command: Command) -> Commands {
        Commands::One(Input { seq: 0, at: Timestamp(0), command })
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Commands { commands, .. } => commands.fmt(f),
            Message::Inspect(_) => f.write_str("Inspect"),
            Message::Stop => f.write_str("Stop"),
        }
    }
}

/// Whether commands are let in.
#[derive(Debug, Default)]
pub(crate) struct Door(AtomicU8);

const OPEN: u8 = 0;
const SHUT: u8 = 1;
const CLOSED: u8 = 2;

impl Door {
    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst) == OPEN
    }

    /// Shuts the door for a while, or opens it again, unless it is closed for good.
    pub(crate) fn set_open(&self, open: bool) {
        let (from, to) = if open { (SHUT, OPEN) } else { (OPEN, SHUT) };
        let _before = self.0.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
    }

    fn close(&self) {
        self.0.store(CLOSED, Ordering::SeqCst);
    }

    fn is_closed(&self) -> bool {
        self.0.load(Ordering::SeqCst) == CLOSED
    }
}

/// The matcher's end of the queue. When it goes, for whatever reason, nobody is left waiting for an answer: a
/// bounded crossbeam channel keeps its messages until the last *sender* is gone, so they are dropped here.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) queue: Receiver<Message>,
    door: Arc<Door>,
}

impl Drop for Intake {
    fn drop(&mut self) {
        // First the door, then the messages: whoever queues one after this sees the door closed and does not wait.
        self.door.close();
        self.queue.try_iter().for_each(drop);
    }
}

/// A handle to submit commands; clone it freely.
#[derive(Clone, Debug)]
pub struct Ingress {
    queue: Sender<Message>,
    door: Arc<Door>,
    ports: Arc<Ports>,
}

impl Ingress {
    /// A queue for that many messages.
    pub(crate) fn new(messages_max: usize) -> (Ingress, Intake) {
        let (sender, receiver) = bounded(messages_max);
        let door = Arc::new(Door::default());
        let ingress = Ingress { queue: sender, door: Arc::clone(&door), ports: Arc::default() };
        (ingress, Intake { queue: receiver, door })
    }

    /// Queues a command. The command takes effect whether or not the answer is awaited.
    ///
    /// # Errors
    /// [`SubmitError::Overloaded`] when the queue is full, [`SubmitError::Unavailable`] when nobody reads it or the disk
    /// is full.
    pub fn submit(&self, command: Command) -> Result<PendingAck, SubmitError> {
        self.submit_commands(Commands::one(command))
    }

    /// [`Ingress::submit`] for who can use what the command will have done before it is durable. There is no foresight if
    /// the command could not be applied; the answer says why.
    ///
    /// # Errors
    /// As [`Ingress::submit`].
    pub fn foresee(&self, command: Command) -> Result<(PendingForesight, PendingAck), SubmitError> {
        let (first, foresight) = oneshot::channel();
        let (reply, answer) = oneshot::channel();
        let (commands, reply) = (Commands::one(command), Reply::Twice(Some(first), reply));
        self.send(Message::Commands { commands, reply, submitted: Some(Instant::now()) })?;
        Ok((PendingForesight(foresight), PendingAck(answer)))
    }

    /// Queues up to 64 commands that become durable together and are answered together. Each takes effect or is refused
    /// by itself.
    ///
    /// # Errors
    /// As [`Ingress::submit`]; none is queued then.
    ///
    /// # Panics
    /// Without a command, or with more than 64.
    pub fn submit_together(&self, commands: Vec<Command>) -> Result<PendingAck, SubmitError> {
        assert!((1..=TOGETHER_MAX).contains(&commands.len()), "from 1 to {TOGETHER_MAX} commands at once");
        self.submit_commands(Commands::Several(commands))
    }

    fn submit_commands(&self, commands: Commands) -> Result<PendingAck, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Commands { commands, reply: Reply::Once(reply), submitted: Some(Instant::now()) })?;
        Ok(PendingAck(answer))
    }

    /// Queues a command and waits until it is durable.
    ///
    /// # Errors
    /// As [`Ingress::submit`], and [`SubmitError::Unavailable`] when the journal fails meanwhile.
    pub async fn execute(&self, command: Command) -> Result<Ack, SubmitError> {
        self.submit(command)?.await
    }

    /// A port with at most `window` unanswered messages, and the end where its answers come out.
    ///
    /// # Errors
    /// [`SubmitError::Unavailable`] when the exchange has stopped.
    pub fn port(&self, window: usize) -> Result<(Port, Answers), SubmitError> {
        self.ports.open(self.clone(), window)
    }

    /// Runs `question` on the engine between two inputs and returns its answer. The matcher waits for it, so it
    /// is for rare questions (a state hash), and the state it sees may be ahead of the disk.
    ///
    /// # Errors
    /// As [`Ingress::submit`].
    pub async fn inspect<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, SubmitError> {
        let (reply, answer) = oneshot::channel();
        let ask = move |engine: &Engine| drop(reply.send(question(engine)));
        self.send_past_the_door(Message::Inspect(Some(Box::new(ask))))?;
        answer.await.map_err(|_| SubmitError::Unavailable)
    }

    /// Queues a message, if the door is open.
    pub(crate) fn send(&self, message: Message) -> Result<(), SubmitError> {
        if !self.door.is_open() {
            return Err(SubmitError::Unavailable);
        }
        self.send_past_the_door(message)
    }

    /// Queues what changes nothing, also while the door is shut for commands.
    fn send_past_the_door(&self, message: Message) -> Result<(), SubmitError> {
        self.queue.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => SubmitError::Overloaded,
            TrySendError::Disconnected(_) => SubmitError::Unavailable,
        })?;
        if self.door.is_closed() { Err(SubmitError::Unavailable) } else { Ok(()) }
    }

    /// Asks the matcher to stop after what is queued; waits for room in the queue.
    pub(crate) fn stop(&self) {
        // Disconnected means that it has stopped already.
        drop(self.queue.send(Message::Stop));
    }

    pub(crate) fn door(&self) -> Arc<Door> {
        Arc::clone(&self.door)
    }

    pub(crate) fn ports(&self) -> Arc<Ports> {
        Arc::clone(&self.ports)
    }
}

/// The foresight to come.
#[derive(Debug)]
pub struct PendingForesight(oneshot::Receiver<Foresight>);

impl Future for PendingForesight {
    type Output = Result<Foresight, SubmitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|_| SubmitError::Unavailable)
    }
}

/// The answer to come.
#[derive(Debug)]
pub struct PendingAck(oneshot::Receiver<Ack>);

impl PendingAck {
    /// Waits on the calling thread; not for use in async code.
    ///
    /// # Errors
    /// [`SubmitError::Unavailable`] when the journal failed or the exchange stopped first.
    pub fn wait(self) -> Result<Ack, SubmitError> {
        self.0.blocking_recv().map_err(|_| SubmitError::Unavailable)
    }

    /// The answer if it has come.
    ///
    /// # Errors
    /// As [`PendingAck::wait`].
    pub fn try_take(&mut self) -> Result<Option<Ack>, SubmitError> {
        match self.0.try_recv() {
            Ok(ack) => Ok(Some(ack)),
            Err(oneshot::error::TryRecvError::Empty) => Ok(None),
            Err(oneshot::error::TryRecvError::Closed) => Err(SubmitError::Unavailable),
        }
    }
}

impl Future for PendingAck {
    type Output = Result<Ack, SubmitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|_| SubmitError::Unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_matcher_that_is_gone() {
        let (ingress, intake) = Ingress::new(2);
        let queued = ingress.submit(Command::OpenAccount).unwrap();
        drop(intake);
        assert_eq!(queued.wait().expect_err("dropped"), SubmitError::Unavailable);
        assert!(matches!(ingress.submit(Command::OpenAccount), Err(SubmitError::Unavailable)));
    }

    #[test]
    fn a_shut_door_refuses_commands_until_it_opens_and_a_closed_one_for_ever() {
        let (ingress, intake) = Ingress::new(8);
        ingress.door().set_open(false);
        assert!(matches!(ingress.submit(Command::OpenAccount), Err(SubmitError::Unavailable)));
        ingress.door().set_open(true);
        assert!(ingress.submit(Command::OpenAccount).is_ok());
        drop(intake);
        ingress.door().set_open(true);
        assert!(matches!(ingress.submit(Command::OpenAccount), Err(SubmitError::Unavailable)));
    }
}
