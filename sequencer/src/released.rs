//! Inputs that became durable together, and everything they did: told to all who wait, copied for none.
//!
//! Invariants: inputs are consecutive; a [`Released`] is shared only after its inputs are durable. Its memory is used
//! again once nobody holds it, so that a steady flow allocates nothing.

use gollem_engine::{Event, Events, Timestamp};
use std::fmt;
use std::sync::Arc;

/// Batches whose memory is kept for later ones.
const KEPT: usize = 8;

/// One input among those of a [`Released`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppliedInput {
    /// Its place in the sequence.
    pub seq: u64,
    /// Its time.
    pub at: Timestamp,
}

/// When an input was stamped, and where its events end.
#[derive(Clone, Copy, Debug)]
struct Applied {
    at: Timestamp,
    events_end: usize,
}

/// Consecutive inputs with their events.
#[derive(Debug, Default)]
pub struct Released {
    first_seq: u64,
    inputs: Vec<Applied>,
    pub(crate) events: Events,
}

impl Released {
    /// Counts the input whose events were just written.
    #[inline]
    pub(crate) fn add(&mut self, seq: u64, at: Timestamp) {
        if self.inputs.is_empty() {
            self.first_seq = seq;
        }
        self.inputs.push(Applied { at, events_end: self.events.len() });
    }

    fn clear(&mut self) {
        self.first_seq = 0;
        self.inputs.clear();
        self.events.clear();
    }

    /// How many inputs there are.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// Sequence number of the first input; 0 when there is none.
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Each input with its events, in order.
    pub fn iter(&self) -> impl Iterator<Item = (AppliedInput, &[Event])> {
        self.range(0, self.inputs.len())
    }

    /// The newest input with its events.
    pub(crate) fn last(&self) -> Option<(AppliedInput, &[Event])> {
        self.range(self.inputs.len().checked_sub(1)?, 1).next()
    }

    /// The same for `count` inputs from the one at place `first` on.
    fn range(&self, first: usize, count: usize) -> impl Iterator<Item = (AppliedInput, &[Event])> {
        let mut start = self.events_start(first);
        let places = (first..).zip(&self.inputs[first..first + count]);
        places.map(move |(place, applied)| {
            let events = &self.events[start..applied.events_end];
            start = applied.events_end;
            (AppliedInput { seq: self.first_seq + place as u64, at: applied.at }, events)
        })
    }

    fn events_start(&self, place: usize) -> usize {
        place.checked_sub(1).map_or(0, |before| self.inputs[before].events_end)
    }
}

/// The answer to what was sent: one command, or several that were sent together or through one port in a row. It comes
/// after they are durable.
#[derive(Clone)]
pub struct Ack {
    /// The place in the sequence, of the last input if there are several.
    pub seq: u64,
    /// The time of the same input.
    pub at: Timestamp,
    first: usize,
    count: usize,
    released: Arc<Released>,
}

impl Ack {
    /// The answer to `count` inputs, not 0, from the one at place `first` on.
    pub(crate) fn new(released: &Arc<Released>, first: usize, count: usize) -> Ack {
        let last = first + count - 1;
        let (seq, at) = (released.first_seq + last as u64, released.inputs[last].at);
        Ack { seq, at, first, count, released: Arc::clone(released) }
    }

    /// An answer by itself, for tests of those who read answers.
    pub fn alone(seq: u64, at: Timestamp, events: &[Event]) -> Ack {
        let mut released = Released::default();
        events.iter().for_each(|event| released.events.push(*event));
        released.add(seq, at);
        Ack::new(&Arc::new(released), 0, 1)
    }

    /// Everything that was done, in order.
    pub fn events(&self) -> &[Event] {
        let end = self.released.inputs[self.first + self.count - 1].events_end;
        &self.released.events[self.released.events_start(self.first)..end]
    }

    /// How many inputs are answered.
    pub fn inputs_len(&self) -> usize {
        self.count
    }

    /// Each input with what it did, in order.
    pub fn inputs(&self) -> impl Iterator<Item = (AppliedInput, &[Event])> {
        self.released.range(self.first, self.count)
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ack").field("seq", &self.seq).field("at", &self.at).field("events", &self.events()).finish()
    }
}

/// Memory of batches that nobody reads any more.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    kept: Vec<Arc<Released>>,
}

impl Pool {
    /// Shares what is in `released` and leaves it empty, with memory from an earlier batch where there is some.
    pub(crate) fn share(&mut self, released: &mut Released) -> Arc<Released> {
        for kept in &mut self.kept {
            if let Some(free) = Arc::get_mut(kept) {
                std::mem::swap(free, released);
                released.clear();
                return Arc::clone(kept);
            }
        }
        let shared = Arc::new(std::mem::take(released));
        if self.kept.len() < KEPT {
            self.kept.push(Arc::clone(&shared));
        }
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_engine::AccountId;

    fn opened(id: u32) -> Event {
        Event::AccountOpened { account: AccountId(id) }
    }

    /// Inputs from `first_seq` on, the n-th of which did n things.
    fn fill(released: &mut Released, first_seq: u64, inputs: u64) {
        for at in 0..inputs {
            (0..at).for_each(|event| released.events.push(opened((first_seq + at * 10 + event) as u32)));
            released.add(first_seq + at, Timestamp(at));
        }
    }

    #[test]
    fn an_answer_holds_the_events_of_its_own_inputs_only() {
        let mut released = Released::default();
        fill(&mut released, 5, 4);
        let released = Arc::new(released);
        let counts: Vec<(u64, usize)> = released.iter().map(|(input, events)| (input.seq, events.len())).collect();
        assert_eq!(counts, [(5, 0), (6, 1), (7, 2), (8, 3)]);
        let ack = Ack::new(&released, 1, 2);
        assert_eq!((ack.seq, ack.at, ack.inputs_len()), (7, Timestamp(2), 2));
        assert_eq!(ack.events(), [opened(15), opened(25), opened(26)]);
        let each: Vec<Vec<Event>> = ack.inputs().map(|(_, events)| events.to_vec()).collect();
        assert_eq!(each, [vec![opened(15)], vec![opened(25), opened(26)]]);
        assert!(Ack::new(&released, 0, 1).events().is_empty());
        assert_eq!(Ack::alone(3, Timestamp(4), &[opened(1)]).events(), [opened(1)]);
    }

    #[test]
    fn memory_is_used_again_only_when_nobody_reads_it() {
        let (mut pool, mut batch) = (Pool::default(), Released::default());
        fill(&mut batch, 1, 3);
        let memory = batch.events.as_ptr();
        let first = pool.share(&mut batch);
        fill(&mut batch, 4, 3);
        let second = pool.share(&mut batch);
        assert_eq!((first.first_seq(), second.first_seq()), (1, 4), "the first is still being read");
        drop(first);
        fill(&mut batch, 7, 1);
        let third = pool.share(&mut batch);
        assert_eq!((third.first_seq(), third.len(), second.len()), (7, 1, 3));
        assert!(batch.is_empty() && batch.events.as_ptr() == memory, "the first one's memory is used again");
    }
}
