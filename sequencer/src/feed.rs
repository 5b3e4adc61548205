//! Durable inputs and their events on the way to the views.
//!
//! The queue is bounded and never blocks the committer: when a reader is too slow the batch is not
//! queued, and the reader, which sees the gap in sequence numbers, reads the journal instead.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use gollem_engine::{Event, Timestamp};

/// An applied input and where its events end in its batch.
#[derive(Clone, Copy, Debug)]
pub struct AppliedInput {
    /// Its place in the sequence.
    pub seq: u64,
    /// Its time.
    pub at: Timestamp,
    pub(crate) events_end: usize,
}

/// Inputs that became durable together, in order.
#[derive(Debug)]
pub struct FeedBatch {
    pub(crate) inputs: Vec<AppliedInput>,
    pub(crate) events: Vec<Event>,
}

impl FeedBatch {
    /// Each input with its events.
    pub fn iter(&self) -> impl Iterator<Item = (&AppliedInput, &[Event])> {
        let mut start = 0;
        self.inputs.iter().map(move |applied| {
            let events = &self.events[start..applied.events_end];
            start = applied.events_end;
            (applied, events)
        })
    }

    /// Sequence number of the first input; 0 when there is none.
    pub fn first_seq(&self) -> u64 {
        self.inputs.first().map_or(0, |applied| applied.seq)
    }
}

/// The sending end, held by the committer.
#[derive(Debug)]
pub struct Feed(Sender<FeedBatch>);

impl Feed {
    /// A feed that holds at most `batches_max` batches.
    pub fn new(batches_max: usize) -> (Feed, Receiver<FeedBatch>) {
        let (sender, receiver) = bounded(batches_max);
        (Feed(sender), receiver)
    }

    /// Queues the batch, or drops it when the reader is behind or gone: the journal has it.
    pub(crate) fn offer(&self, batch: FeedBatch) {
        match self.0.try_send(batch) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}
