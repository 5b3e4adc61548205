//! The way in: a bounded queue that refuses at once when it is full.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use gollem_engine::{Command, Engine, Event, Timestamp};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// The answer to a command, sent after the command is durable.
#[derive(Clone, Debug)]
pub struct Ack {
    /// The input's place in the sequence.
    pub seq: u64,
    /// The input's time.
    pub at: Timestamp,
    /// Everything it did.
    pub events: Vec<Event>,
}

/// Why a command got no answer. It may be sent again: orders by client id and purchases by reference
/// have one effect however often they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full: come back later.
    #[error("the exchange is overloaded")]
    Overloaded,
    /// The exchange is stopping, or its journal failed. Whether the command took effect is unknown.
    #[error("the exchange does not accept commands")]
    Unavailable,
}

/// What the matcher thread can be asked.
pub(crate) enum Message {
    Command { command: Command, reply: oneshot::Sender<Ack> },
    Inspect(Box<dyn FnOnce(&Engine) + Send>),
    Stop,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Command { command, .. } => f.debug_tuple("Command").field(command).finish(),
            Message::Inspect(_) => f.write_str("Inspect"),
            Message::Stop => f.write_str("Stop"),
        }
    }
}

/// The matcher's end of the queue. When it goes, for whatever reason, nobody is left waiting for an answer: a
/// bounded crossbeam channel keeps its messages until the last *sender* is gone, so they are dropped here.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) queue: Receiver<Message>,
    closed: Arc<AtomicBool>,
}

impl Drop for Intake {
    fn drop(&mut self) {
        // First the flag, then the messages: whoever queues one after this reads the flag and does not wait.
        self.closed.store(true, Ordering::SeqCst);
        self.queue.try_iter().for_each(drop);
    }
}

/// A handle to submit commands; clone it freely.
#[derive(Clone, Debug)]
pub struct Ingress {
    queue: Sender<Message>,
    closed: Arc<AtomicBool>,
}

impl Ingress {
    /// A queue for that many messages.
    pub(crate) fn new(messages_max: usize) -> (Ingress, Intake) {
        let (sender, receiver) = bounded(messages_max);
        let closed = Arc::new(AtomicBool::new(false));
        (Ingress { queue: sender, closed: Arc::clone(&closed) }, Intake { queue: receiver, closed })
    }

    /// Queues a command. The command takes effect whether or not the answer is awaited.
    ///
    /// # Errors
    /// [`SubmitError::Overloaded`] when the queue is full, [`SubmitError::Unavailable`] when nobody reads it.
    pub fn submit(&self, command: Command) -> Result<PendingAck, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Command { command, reply })?;
        Ok(PendingAck(answer))
    }

    /// Queues a command and waits until it is durable.
    ///
    /// # Errors
    /// As [`Ingress::submit`], and [`SubmitError::Unavailable`] when the journal fails meanwhile.
    pub async fn execute(&self, command: Command) -> Result<Ack, SubmitError> {
        self.submit(command)?.await
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
        self.send(Message::Inspect(Box::new(ask)))?;
        answer.await.map_err(|_| SubmitError::Unavailable)
    }

    fn send(&self, message: Message) -> Result<(), SubmitError> {
        self.queue.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => SubmitError::Overloaded,
            TrySendError::Disconnected(_) => SubmitError::Unavailable,
        })?;
        if self.closed.load(Ordering::SeqCst) { Err(SubmitError::Unavailable) } else { Ok(()) }
    }

    /// Asks the matcher to stop after what is queued; waits for room in the queue.
    pub(crate) fn stop(&self) {
        // Disconnected means that it has stopped already.
        drop(self.queue.send(Message::Stop));
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
}
