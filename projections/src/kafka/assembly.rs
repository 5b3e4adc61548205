//! Inputs put together again from the records of `gollem.events`.
//!
//! Invariant: an input comes out once, whole, and after the one before it, whatever is repeated, missing or out of order in
//! what goes in.

use super::record::EventRecord;
use gollem_engine::{Event, Timestamp};

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was taken before.
    Repeated,
    /// It is part of an input, of which more must come.
    Part,
    /// It completes an input.
    Input {
        /// Which.
        seq: u64,
        /// When it came.
        at: Timestamp,
        /// What it did.
        events: Vec<Event>,
    },
    /// Something is missing before it.
    Gap,
    /// It contradicts itself, or the records before it.
    Nonsense,
}

/// The input that comes next, as far as it is there.
#[derive(Debug)]
pub(super) struct Assembly {
    /// The last whole input.
    seq: u64,
    /// The beginning of the next.
    events: Vec<Event>,
}

impl Assembly {
    /// Goes on after that input.
    pub(super) fn after(seq: u64) -> Assembly {
        Assembly { seq, events: Vec::new() }
    }

    /// The record that must come next: input and event.
    pub(super) fn expected(&self) -> (u64, u32) {
        (self.seq + 1, self.events.len() as u32)
    }

    /// Forgets the beginning of an input: its records will come again.
    pub(super) fn begin_again(&mut self) {
        self.events.clear();
    }

    pub(super) fn take(&mut self, record: EventRecord) -> Taken {
        let EventRecord { seq, index, events, at_ns, event } = record;
        let (next_seq, next_index) = self.expected();
        if seq <= self.seq || (seq == next_seq && index < next_index) {
            return Taken::Repeated;
        }
        if (seq, index) != (next_seq, next_index) {
            return Taken::Gap;
        }
        let complete = match event {
            Some(event) if index < events => {
                self.events.push(event);
                index + 1 == events
            }
            None if (index, events) == (0, 0) => true,
            _ => return Taken::Nonsense,
        };
        if !complete {
            return Taken::Part;
        }
        self.seq = seq;
        Taken::Input { seq, at: Timestamp(at_ns), events: std::mem::take(&mut self.events) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_engine::AccountId;

    fn record(seq: u64, index: u32, events: u32) -> EventRecord {
        let event = (events > 0).then_some(Event::AccountOpened { account: AccountId(index) });
        EventRecord { seq, index, events, at_ns: seq, event }
    }

    #[test]
    fn an_input_comes_out_once_it_is_whole() {
        let mut assembly = Assembly::after(4);
        assert_eq!(assembly.take(record(5, 0, 2)), Taken::Part);
        assert_eq!(assembly.take(record(5, 0, 2)), Taken::Repeated);
        let Taken::Input { seq: 5, events, .. } = assembly.take(record(5, 1, 2)) else { panic!() };
        assert_eq!(events.len(), 2);
        assert_eq!(assembly.take(record(6, 0, 0)), Taken::Input { seq: 6, at: Timestamp(6), events: Vec::new() });
        assert_eq!(assembly.take(record(4, 0, 1)), Taken::Repeated);
        assert_eq!(assembly.expected(), (7, 0));
    }

    #[test]
    fn whatever_is_missing_is_a_gap_and_changes_nothing() {
        let mut assembly = Assembly::after(4);
        for (seq, index) in [(6, 0), (5, 1), (7, 3)] {
            assert_eq!(assembly.take(record(seq, index, 4)), Taken::Gap, "{seq} {index}");
        }
        assert_eq!(assembly.take(record(5, 0, 3)), Taken::Part);
        assert_eq!(assembly.take(record(5, 2, 3)), Taken::Gap);
        assert_eq!(assembly.expected(), (5, 1));
        assembly.begin_again();
        assert_eq!(assembly.expected(), (5, 0));
    }

    #[test]
    fn a_record_that_contradicts_itself_is_no_input() {
        let mut assembly = Assembly::after(4);
        let hollow = EventRecord { event: None, ..record(5, 0, 1) };
        let beyond = EventRecord { events: 0, ..record(5, 0, 1) };
        assert_eq!([assembly.take(hollow), assembly.take(beyond)], [Taken::Nonsense, Taken::Nonsense]);
    }
}
