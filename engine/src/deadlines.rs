//! What happens by itself, and when. Ordered by time, then by the order of the variants, then by what they name: the
//! order in which deadlines of one instant take effect.

use crate::{AccountId, InstrumentId, OrderId, Timer, Timestamp};
use std::collections::BTreeSet;

/// Something that becomes due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    /// The first contract of this market may expire. Contracts of a market end in the order in which they were made,
    /// so one entry stands for all; it may come too early, when that contract was settled meanwhile.
    Contracts(InstrumentId),
    /// A lock, and who has it.
    Lock(OrderId, AccountId),
    /// An order good till a date.
    Order(OrderId),
    /// A timer of an account.
    Timer(AccountId, Timer),
    /// An open breaker becomes half-open.
    Breaker(InstrumentId, AccountId),
    /// A month begins.
    Sweep,
}

/// Pending deadlines.
#[derive(Debug)]
pub(crate) struct Deadlines {
    pending: BTreeSet<(Timestamp, Deadline)>,
    /// The first of them, so that looking costs one comparison an input.
    next: Timestamp,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines { pending: BTreeSet::new(), next: Timestamp(u64::MAX) }
    }
}

impl Deadlines {
    pub(crate) fn set(&mut self, at: Timestamp, deadline: Deadline) {
        self.pending.insert((at, deadline));
        self.next = self.next.min(at);
    }

    pub(crate) fn clear(&mut self, at: Timestamp, deadline: Deadline) {
        self.pending.remove(&(at, deadline));
        self.look();
    }

    /// Whether something is due.
    #[inline]
    pub(crate) fn due(&self, now: Timestamp) -> bool {
        self.next <= now
    }

    /// The first that is due.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, Deadline)> {
        if !self.due(now) {
            return None;
        }
        let first = self.pending.pop_first();
        self.look();
        first
    }

    fn look(&mut self) {
        self.next = self.pending.first().map_or(Timestamp(u64::MAX), |(at, _)| *at);
    }

    /// When the first is due.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.pending.first().map(|(at, _)| *at)
    }
}
