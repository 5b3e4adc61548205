//! Where the engine writes what inputs did.

use crate::{Event, RejectReason, invariant};
use std::fmt;
use std::ops::Deref;

/// What fills memory for events that are not written yet.
const BLANK: Event = Event::Rejected(RejectReason::UnknownAccount);

/// Events to make room for when there is none.
const AT_LEAST: usize = 16;

/// Events in order: to read, a slice.
///
/// Not a vector, because what is passed to [`Vec::push`] is made on the stack first, where it must survive a failing
/// allocation, and copied from there. Here an event is written where it belongs, over what was there before
/// [`Events::clear`].
#[derive(Default)]
pub struct Events {
    /// Memory for events: those up to `len` count.
    memory: Vec<Event>,
    len: usize,
}

impl Events {
    /// No events.
    pub const fn new() -> Events {
        Events { memory: Vec::new(), len: 0 }
    }

    /// No events, and memory for so many.
    pub fn with_capacity(events: usize) -> Events {
        Events { memory: vec![BLANK; events], len: 0 }
    }

    /// Forgets all events and keeps their memory.
    #[inline]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Takes all events out; their memory stays.
    pub fn take(&mut self) -> Vec<Event> {
        let taken = self.to_vec();
        self.clear();
        taken
    }

    /// Appends an event.
    #[inline]
    pub fn push(&mut self, event: Event) {
        self.tell(|| event);
    }

    /// The same for an event that is made in place.
    #[inline(always)]
    pub(crate) fn tell(&mut self, event: impl FnOnce() -> Event) {
        if self.len >= self.memory.len() {
            self.grow();
        }
        self.memory[self.len] = event();
        self.len += 1;
    }

    /// Room for up to `N` events; [`Events::add`] says how many were written.
    #[inline(always)]
    pub(crate) fn room<const N: usize>(&mut self) -> &mut [Event; N] {
        const { assert!(N <= AT_LEAST, "growing once is enough") };
        if self.memory.len() < self.len + N {
            self.grow();
        }
        invariant(self.memory[self.len..].first_chunk_mut(), "there is room for a handful after growing")
    }

    /// Counts events that were written to the room.
    #[inline(always)]
    pub(crate) fn add(&mut self, written: usize) {
        self.len += written;
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        self.memory.resize((self.len * 2).max(self.len + AT_LEAST), BLANK);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl Deref for Events {
    type Target = [Event];

    #[inline]
    fn deref(&self) -> &[Event] {
        &self.memory[..self.len]
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = std::slice::Iter<'a, Event>;

    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountId, OrderId, event::rested};

    fn opened(account: u32) -> Event {
        Event::AccountOpened { account: AccountId(account) }
    }

    #[test]
    fn events_are_those_that_were_told_since_they_were_cleared() {
        let mut events = Events::with_capacity(3);
        assert!(events.is_empty(), "memory is not events");
        for round in 0..3 {
            (0..40).for_each(|account| events.push(opened(account + round)));
            let [first, second, _] = events.room();
            (*first, *second) = (rested(OrderId(7), 1), rested(OrderId(8), 2));
            events.add(2);
            assert_eq!(events.len(), 42);
            assert_eq!(events[..40], (0..40).map(|account| opened(account + round)).collect::<Vec<_>>());
            assert_eq!(events[40..], [rested(OrderId(7), 1), rested(OrderId(8), 2)], "the third was not added");
            events.clear();
            assert!(events.is_empty());
        }
        events.push(opened(1));
        assert_eq!(events.take(), [opened(1)]);
        assert!(events.is_empty() && events.take().is_empty());
    }
}
