//! Durable inputs and their events on the way to the views.
//!
//! The queue is bounded and never blocks the committer. While it is full, batches gather in a backlog; when that is
//! full too they are dropped, and the reader, which sees the gap in sequence numbers, reads the journal instead.

use crate::released::Released;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::collections::VecDeque;
use std::sync::Arc;

/// The sending end, held by the committer.
#[derive(Debug)]
pub struct Feed {
    queue: Sender<Arc<Released>>,
    backlog: VecDeque<Arc<Released>>,
    backlog_inputs: usize,
    backlog_inputs_max: usize,
    /// The next reader's.
    next: Option<Box<Feed>>,
}

impl Feed {
    /// A feed that queues at most `batches_max` batches, and gathers about `backlog_inputs_max` inputs (a batch more at
    /// the most) while the queue is full.
    pub fn new(batches_max: usize, backlog_inputs_max: usize) -> (Feed, Receiver<Arc<Released>>) {
        let (queue, receiver) = bounded(batches_max);
        let feed = Feed { queue, backlog: VecDeque::new(), backlog_inputs: 0, backlog_inputs_max, next: None };
        (feed, receiver)
    }

    /// The same batches to one more reader, whose pace is its own affair.
    pub fn with(self, other: Feed) -> Feed {
        let next = match self.next {
            Some(next) => next.with(other),
            None => other,
        };
        Feed { next: Some(Box::new(next)), ..self }
    }

    /// Queues the batch behind the backlog.
    pub(crate) fn offer(&mut self, batch: Arc<Released>) {
        if let Some(next) = &mut self.next {
            next.offer(Arc::clone(&batch));
        }
        // Beyond the backlog there is a gap from here on, and the journal fills it.
        if self.backlog_inputs < self.backlog_inputs_max || self.backlog.is_empty() {
            self.backlog_inputs += batch.len();
            self.backlog.push_back(batch);
        }
        self.offer_own_backlog();
    }

    /// Whether something waits for room in the queue.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty() || self.next.as_ref().is_some_and(|next| next.has_backlog())
    }

    /// Queues what there is room for now. Without a reader it is dropped.
    pub(crate) fn offer_backlog(&mut self) {
        if let Some(next) = &mut self.next {
            next.offer_backlog();
        }
        self.offer_own_backlog();
    }

    fn offer_own_backlog(&mut self) {
        while let Some(batch) = self.backlog.pop_front() {
            let inputs = batch.len();
            if let Err(TrySendError::Full(batch)) = self.queue.try_send(batch) {
                self.backlog.push_front(batch);
                return;
            }
            self.backlog_inputs -= inputs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_engine::{AccountId, Event, Timestamp};

    fn batch(seq: u64) -> Arc<Released> {
        let mut released = Released::default();
        released.events.push(Event::AccountOpened { account: AccountId(seq as u32) });
        released.add(seq, Timestamp(seq));
        Arc::new(released)
    }

    fn seqs(reader: &Receiver<Arc<Released>>) -> Vec<u64> {
        reader.try_iter().map(|batch| batch.first_seq()).collect()
    }

    #[test]
    fn what_a_full_queue_had_no_room_for_comes_later_in_order() {
        let (mut feed, reader) = Feed::new(1, 100);
        for seq in 1..=4 {
            feed.offer(batch(seq));
        }
        let mut told = Vec::new();
        while feed.has_backlog() {
            told.extend(seqs(&reader));
            feed.offer_backlog();
        }
        told.extend(seqs(&reader));
        assert_eq!(told, [1, 2, 3, 4]);
    }

    #[test]
    fn a_reader_that_is_slow_or_gone_costs_the_others_nothing() {
        let ((slow, stuck), (gone, nobody), (quick, reader)) = (Feed::new(1, 2), Feed::new(1, 2), Feed::new(9, 0));
        drop(nobody);
        let mut feed = slow.with(gone).with(quick);
        for seq in 1..=5 {
            feed.offer(batch(seq));
        }
        assert_eq!((seqs(&reader), seqs(&stuck)), (vec![1, 2, 3, 4, 5], vec![1]));
        assert!(feed.has_backlog());
        feed.offer_backlog();
        assert_eq!(seqs(&stuck), [2]);
    }

    #[test]
    fn beyond_the_backlog_batches_are_dropped_and_leave_a_gap() {
        let (mut feed, reader) = Feed::new(1, 2);
        for seq in 1..=5 {
            feed.offer(batch(seq));
        }
        assert_eq!(seqs(&reader), [1]);
        feed.offer_backlog();
        assert_eq!(seqs(&reader), [2]);
        feed.offer(batch(6));
        assert_eq!(seqs(&reader), [3]);
        feed.offer_backlog();
        assert_eq!(seqs(&reader), [6], "4 and 5 are in the journal only");
    }
}
