//! Durable inputs and their events on the way to the views.
//!
//! The queue is bounded and never blocks the committer. While it is full, batches gather in a backlog; when that is
//! full too they are dropped, and the reader, which sees the gap in sequence numbers, reads the journal instead.

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

    fn append(&mut self, next: FeedBatch) {
        let shift = self.events.len();
        let shifted = |applied: AppliedInput| AppliedInput { events_end: applied.events_end + shift, ..applied };
        self.inputs.extend(next.inputs.into_iter().map(shifted));
        self.events.extend(next.events);
    }

    /// Sequence number of the first input; 0 when there is none.
    pub fn first_seq(&self) -> u64 {
        self.inputs.first().map_or(0, |applied| applied.seq)
    }
}

/// The sending end, held by the committer.
#[derive(Debug)]
pub struct Feed {
    queue: Sender<FeedBatch>,
    backlog: Option<FeedBatch>,
    backlog_inputs_max: usize,
}

impl Feed {
    /// A feed that queues at most `batches_max` batches, and gathers about `backlog_inputs_max` inputs (a batch more at
    /// the most) while the queue is full.
    pub fn new(batches_max: usize, backlog_inputs_max: usize) -> (Feed, Receiver<FeedBatch>) {
        let (queue, receiver) = bounded(batches_max);
        (Feed { queue, backlog: None, backlog_inputs_max }, receiver)
    }

    /// Queues the batch behind the backlog.
    pub(crate) fn offer(&mut self, batch: FeedBatch) {
        match &mut self.backlog {
            None => self.backlog = Some(batch),
            Some(backlog) if backlog.inputs.len() < self.backlog_inputs_max => backlog.append(batch),
            // Too far behind: from here on there is a gap, and the journal fills it.
            Some(_) => {}
        }
        self.offer_backlog();
    }

    /// Whether something waits for room in the queue.
    pub(crate) fn has_backlog(&self) -> bool {
        self.backlog.is_some()
    }

    /// Queues the backlog if there is room now. Without a reader it is dropped.
    pub(crate) fn offer_backlog(&mut self) {
        if let Some(batch) = self.backlog.take()
            && let Err(TrySendError::Full(batch)) = self.queue.try_send(batch)
        {
            self.backlog = Some(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_engine::AccountId;

    fn batch(seq: u64) -> FeedBatch {
        let opened = |id| Event::AccountOpened { account: AccountId(id) };
        let inputs = vec![AppliedInput { seq, at: Timestamp(seq), events_end: 2 }];
        FeedBatch { inputs, events: vec![opened(2 * seq as u32), opened(2 * seq as u32 + 1)] }
    }

    #[test]
    fn what_a_full_queue_had_no_room_for_comes_later_in_order_and_whole() {
        let (mut feed, reader) = Feed::new(1, 100);
        for seq in 1..=4 {
            feed.offer(batch(seq));
        }
        assert!(feed.has_backlog());
        let first = reader.recv().unwrap();
        feed.offer_backlog();
        assert!(!feed.has_backlog());
        let rest = reader.recv().unwrap();
        let told: Vec<(u64, Vec<Event>)> =
            first.iter().chain(rest.iter()).map(|(applied, events)| (applied.seq, events.to_vec())).collect();
        let expected: Vec<(u64, Vec<Event>)> = (1..=4).map(|seq| (seq, batch(seq).events)).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn beyond_the_backlog_batches_are_dropped_and_leave_a_gap() {
        let (mut feed, reader) = Feed::new(1, 2);
        for seq in 1..=5 {
            feed.offer(batch(seq));
        }
        assert_eq!(reader.recv().unwrap().first_seq(), 1);
        feed.offer_backlog();
        let kept: Vec<u64> = reader.recv().unwrap().iter().map(|(applied, _)| applied.seq).collect();
        assert_eq!(kept, [2, 3]);
    }
}
