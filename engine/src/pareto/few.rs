//! The best few orders that a search has found so far.
//!
//! Holds: an order's *standing* in the order of a preference, and a list of the best standings, best first. The worst of a
//! full list tells a search what it need not look at any more. A search for the orders after a certain standing leaves
//! out what is not after it; so a walk through all of them takes a few at a time and needs no memory but the list.
//!
//! Deliberately absent: where the orders come from; several indexes and a queue may fill one list.

use super::{Entry, Key, Query, Rank, price_of};

/// Where an order stands: what is less comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Standing {
    /// The weighted sum of price and attributes.
    pub(crate) score: u64,
    /// Price and attributes.
    pub(crate) key: Key,
    /// When it joined the back of its place.
    pub(crate) time: u64,
}

impl Standing {
    /// Of an entry in the order of a query.
    pub(crate) fn of(query: &Query, entry: &Entry, rank: Rank, time: u64) -> Standing {
        Standing { score: query.score(entry), key: rank.key(entry), time }
    }
}

/// See the module. Holds at most `N`.
#[derive(Clone, Debug)]
pub(crate) struct Few<const N: usize> {
    /// Only what comes after this is wanted.
    after: Option<Standing>,
    room: usize,
    len: usize,
    found: [(Standing, u32); N],
}

impl<const N: usize> Few<N> {
    /// An empty list for the best `room` orders after a standing.
    pub(crate) fn new(room: usize, after: Option<Standing>) -> Few<N> {
        Few { after, room: room.min(N), len: 0, found: [(Standing::default(), 0); N] }
    }

    /// What is in the list, best first.
    pub(crate) fn found(&self) -> &[(Standing, u32)] {
        &self.found[..self.len]
    }

    /// Whether it takes better ones only.
    pub(crate) fn is_full(&self) -> bool {
        self.len == self.room
    }

    /// Takes an order if it is one of the best. Whether one that comes later may be, too.
    pub(crate) fn offer(&mut self, standing: Standing, slot: u32) -> bool {
        if self.after.is_some_and(|after| standing <= after) {
            return true;
        }
        if self.worst().is_some_and(|worst| standing >= worst) {
            return false;
        }
        self.len = (self.len + 1).min(self.room);
        let mut at = self.len - 1;
        while at > 0 && self.found[at - 1].0 > standing {
            self.found[at] = self.found[at - 1];
            at -= 1;
        }
        self.found[at] = (standing, slot);
        at + 1 < self.room
    }

    /// The standing that a newcomer must beat, once the list is full.
    pub(super) fn worst(&self) -> Option<Standing> {
        if self.is_full() { self.found().last().map(|&(standing, _)| standing) } else { None }
    }

    pub(super) fn after(&self) -> Option<Standing> {
        self.after
    }

    /// The highest price key at which an entry may still be wanted, where price comes first.
    pub(super) fn limit(&self, query: &Query) -> u32 {
        self.worst().map_or(query.limit, |worst| query.limit.min(price_of(worst.key)))
    }

    /// Whether an entry of this score that ranks no better than this may still be wanted. `time` is asked for where all
    /// else is equal.
    pub(super) fn admits(&self, score: u64, key: Key, time: impl FnOnce() -> u64) -> bool {
        let Some(worst) = self.worst() else { return true };
        let (own, worst_of) = ((score, key), (worst.score, worst.key));
        own < worst_of || (own == worst_of && time() < worst.time)
    }

    /// The highest score that is still wanted among entries that rank no better than this; none if none is.
    pub(super) fn most(&self, key: Key, time: impl FnOnce() -> u64) -> Option<u64> {
        let Some(worst) = self.worst() else { return Some(u64::MAX) };
        // An equal score is of use only to what ranks better.
        worst.score.checked_sub(u64::from(!self.admits(worst.score, key, time)))
    }
}
