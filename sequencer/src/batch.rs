//! Inputs that become durable together, with what must not leave before they are.

use crate::feed::{AppliedInput, FeedBatch};
use crate::ingress::Ack;
use gollem_engine::{Engine, Events, Input};
use gollem_journal::{Durable, EncodeError, Encoder, Group};
use tokio::sync::oneshot;

/// Where an input's answer goes, if anyone waits for it.
pub(crate) type Reply = Option<oneshot::Sender<Ack>>;

/// A group of records, their events and the replies that wait for them. Events and replies come out
/// through [`Batch::release`] alone.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    group: Group,
    inputs: Vec<AppliedInput>,
    events: Events,
    replies: Vec<Reply>,
}

impl Batch {
    /// Encodes the input, applies it and keeps what came of it.
    ///
    /// # Errors
    /// When the journal cannot hold the command; nothing has changed then.
    pub(crate) fn apply(
        &mut self,
        engine: &mut Engine,
        encoder: &mut Encoder,
        input: &Input,
        reply: Reply,
    ) -> Result<(), EncodeError> {
        let seq = encoder.push(&mut self.group, input.at.0, |bytes| input.command.encode(bytes))?;
        assert_eq!(seq, input.seq, "journal and engine count the same inputs");
        engine.apply(input, &mut self.events);
        self.inputs.push(AppliedInput { seq, at: input.at, events_end: self.events.len() });
        self.replies.push(reply);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.group.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.group.is_full()
    }

    /// Closes the group for writing.
    pub(crate) fn seal(&mut self, encoder: &mut Encoder) {
        encoder.seal(&mut self.group);
    }

    /// The bytes to write.
    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    /// Empties the batch: answers whoever waits and returns the events for the views.
    pub(crate) fn release(&mut self, proof: Durable) -> FeedBatch {
        assert!(proof.covers(self.group.last_seq()), "nothing leaves before its input is durable");
        self.group.clear();
        let batch = FeedBatch { inputs: std::mem::take(&mut self.inputs), events: self.events.take() };
        for ((applied, events), reply) in batch.iter().zip(self.replies.drain(..)) {
            if let Some(reply) = reply {
                // A caller that stopped waiting loses nothing: the input is in the journal.
                drop(reply.send(Ack { seq: applied.seq, at: applied.at, events: events.to_vec() }));
            }
        }
        batch
    }
}
