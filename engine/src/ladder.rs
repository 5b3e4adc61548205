//! The price levels of one side of a book: totals of all orders at each price, and the queue of those that wait in
//! plain price-time order.
//!
//! Levels are addressed by *key*: the number of ticks from the best price there could be, so that the lowest key is the
//! best on either side. A level is found by index: a directory of pages of 64 levels. A bitmap of the levels with a queue
//! finds the next best when a level runs empty.
//!
//! Whether an order is the first, the last or the only one of its level is anyone's guess, and a wrong guess costs the
//! processor more than the work itself. So queues are linked without asking: the end of a list, [`NONE`], has a record
//! that may be written to, and what depends on an end is chosen, not branched upon.
//!
//! Invariants: `best` is the lowest key with a queue; a level without orders is all zeros; a level's queue is in the order
//! of its orders' times.

use crate::orders::{Link, NONE, Orders, Slot};
use crate::prefetch::prefetch;
use std::hint::select_unpredictable;

/// The key of no level.
pub(crate) const NO_KEY: u32 = u32::MAX;

/// Levels in a page: the bits of a word.
const PAGE: u32 = 64;

/// Totals of one price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Units of all orders at this price.
    pub(crate) quantity: u64,
    /// All orders at this price.
    pub(crate) orders: u32,
}

/// Totals and queue of one price.
#[derive(Clone, Copy, Debug)]
struct Level {
    quantity: u64,
    orders: u32,
    /// First and last of those that queue.
    head: Slot,
    tail: Slot,
}

impl Level {
    const EMPTY: Level = Level { quantity: 0, orders: 0, head: NONE, tail: NONE };

    #[inline(always)]
    fn totals(&self) -> Totals {
        Totals { quantity: self.quantity, orders: self.orders }
    }
}

/// One side's levels.
#[derive(Debug)]
pub(crate) struct Ladder {
    /// Where the 64 levels of each page start. A page without a level of its own yet shares page 0, which stays empty.
    directory: Vec<u32>,
    levels: Vec<Level>,
    /// Keys with a queue.
    queued: Bitmap,
    /// Keys that had orders that wait elsewhere; some may have none by now.
    elsewhere: Bitmap,
    /// Lowest key with a queue.
    best: u32,
    /// Orders at all prices.
    orders: u32,
}

impl Ladder {
    /// A side whose keys are at most `key_max`.
    pub(crate) fn new(key_max: u32) -> Ladder {
        let pages = (key_max / PAGE + 1) as usize;
        Ladder {
            directory: vec![0; pages],
            levels: vec![Level::EMPTY; PAGE as usize],
            queued: Bitmap::new(pages),
            elsewhere: Bitmap::new(pages),
            best: NO_KEY,
            orders: 0,
        }
    }

    /// Lowest key with a queue; [`NO_KEY`] when none has one.
    #[inline(always)]
    pub(crate) fn best(&self) -> u32 {
        self.best
    }

    /// Orders at all prices.
    pub(crate) fn orders(&self) -> u32 {
        self.orders
    }

    /// The totals of that key.
    pub(crate) fn totals(&self, key: u32) -> Totals {
        self.levels[self.at(key)].totals()
    }

    /// Counts an order in that waits elsewhere; returns its level's new totals.
    pub(crate) fn count_in(&mut self, key: u32, units: u64) -> Totals {
        self.elsewhere.set(key);
        self.orders += 1;
        let level = self.own_level(key);
        level.quantity += units;
        level.orders += 1;
        level.totals()
    }

    /// Counts an order out that waited elsewhere; returns its level's new totals.
    pub(crate) fn count_out(&mut self, key: u32, units: u64) -> Totals {
        self.orders -= 1;
        let level = self.own_level(key);
        level.quantity -= units;
        level.orders -= 1;
        let totals = level.totals();
        self.elsewhere.clear_if(key, totals.orders == 0);
        totals
    }

    /// Changes the units of an order that stays; returns its level's new totals.
    #[inline]
    pub(crate) fn resize(&mut self, key: u32, from: u64, to: u64) -> Totals {
        let level = self.own_level(key);
        level.quantity = level.quantity - from + to;
        level.totals()
    }

    /// Where the level of a key is, on the page that is always empty if it has none of its own.
    #[inline(always)]
    fn at(&self, key: u32) -> usize {
        (self.directory[(key / PAGE) as usize] | (key % PAGE)) as usize // Pages start at multiples of 64.
    }

    /// The level of a key to change, on a page of its own.
    #[inline(always)]
    fn own_level(&mut self, key: u32) -> &mut Level {
        let page = &mut self.directory[(key / PAGE) as usize];
        if *page == 0 {
            *page = new_page(&mut self.levels);
        }
        &mut self.levels[(*page | (key % PAGE)) as usize]
    }

    /// Puts an order of so many units at the back of its level's queue; returns the level's new totals.
    #[inline(always)]
    pub(crate) fn push(&mut self, queues: &mut [Link], key: u32, slot: Slot, units: u64) -> Totals {
        let level = self.own_level(key);
        let totals = Totals { quantity: level.quantity + units, orders: level.orders + 1 };
        let tail = level.tail;
        let head = select_unpredictable(tail == NONE, slot, level.head);
        *level = Level { quantity: totals.quantity, orders: totals.orders, head, tail: slot };
        queues[slot as usize] = Link { prev: tail, next: NONE };
        queues[tail as usize].next = slot;
        self.orders += 1;
        self.queued.set(key);
        self.best = self.best.min(key);
        totals
    }

    /// Takes an order of so many units out of its level's queue; returns the level's new totals.
    #[inline(always)]
    pub(crate) fn remove(&mut self, queues: &mut [Link], key: u32, slot: Slot, units: u64) -> Totals {
        let Link { prev, next } = queues[slot as usize];
        queues[prev as usize].next = next;
        queues[next as usize].prev = prev;
        let at = self.at(key);
        let level = &mut self.levels[at];
        let totals = Totals { quantity: level.quantity - units, orders: level.orders - 1 };
        let head = select_unpredictable(prev == NONE, next, level.head);
        let tail = select_unpredictable(next == NONE, prev, level.tail);
        *level = Level { quantity: totals.quantity, orders: totals.orders, head, tail };
        self.orders -= 1;
        let empty = head == NONE;
        self.queued.clear_if(key, empty);
        if empty & (key == self.best) {
            self.best = if self.orders == 0 { NO_KEY } else { self.queued.next(key) };
        }
        totals
    }

    /// Asks for a level.
    #[inline]
    pub(crate) fn prefetch(&self, key: u32) {
        prefetch(&self.levels, self.at(key));
    }

    /// First order of a level's queue.
    #[inline(always)]
    pub(crate) fn head(&self, key: u32) -> Slot {
        self.levels[self.at(key)].head
    }

    /// Keys with orders, best first.
    pub(crate) fn used(&self) -> impl Iterator<Item = (u32, Totals)> + '_ {
        let first = |from: u32| {
            let key = self.queued.next(from).min(self.elsewhere.next(from));
            (key != NO_KEY).then_some(key)
        };
        let keys = std::iter::successors(first(0), move |key| first(key + 1));
        keys.map(|key| (key, self.totals(key))).filter(|(_, totals)| totals.orders > 0)
    }

    /// Queued orders from the best on, in priority order.
    pub(crate) fn queue<'a>(&'a self, orders: &'a Orders) -> impl Iterator<Item = Slot> + 'a {
        let some = |key: u32| (key != NO_KEY).then_some(key);
        let levels = std::iter::successors(some(self.best), move |key| some(self.queued.next(key + 1)));
        levels.flat_map(move |key| {
            let next = |slot: Slot| (slot != NONE).then_some(slot);
            std::iter::successors(next(self.head(key)), move |slot| next(orders.behind(*slot)))
        })
    }
}

/// Sixty-four empty levels. Returns the first. A page stays for good: prices come back.
#[cold]
#[inline(never)]
fn new_page(levels: &mut Vec<Level>) -> u32 {
    let first = levels.len() as u32; // At most 2^20 levels and two pages.
    levels.extend([Level::EMPTY; PAGE as usize]);
    first
}

/// A set of keys, with a bit a word of 64 to find the next one.
#[derive(Debug)]
struct Bitmap {
    words: Vec<u64>,
    /// A bit a word: it is not zero.
    summary: Vec<u64>,
}

impl Bitmap {
    fn new(words: usize) -> Bitmap {
        Bitmap { words: vec![0; words], summary: vec![0; words.div_ceil(64)] }
    }

    #[inline(always)]
    fn set(&mut self, key: u32) {
        let word = (key / 64) as usize;
        let bits = &mut self.words[word];
        if *bits == 0 {
            self.summary[word / 64] |= 1 << (word % 64);
        }
        *bits |= 1 << (key % 64);
    }

    #[inline(always)]
    fn clear_if(&mut self, key: u32, clear: bool) {
        let word = (key / 64) as usize;
        let bits = &mut self.words[word];
        *bits &= !(u64::from(clear) << (key % 64));
        if *bits == 0 {
            self.summary[word / 64] &= !(1 << (word % 64));
        }
    }

    /// The first key in the set at or after this one; [`NO_KEY`] if there is none.
    #[inline(always)]
    fn next(&self, key: u32) -> u32 {
        let word = (key / 64) as usize;
        let later = self.words.get(word).map_or(0, |bits| bits & (u64::MAX << (key % 64)));
        if later != 0 {
            return key / 64 * 64 + later.trailing_zeros();
        }
        self.next_word(word + 1)
    }

    /// The first key in the set in or after that word.
    #[inline(never)]
    fn next_word(&self, from: usize) -> u32 {
        let mut mask = u64::MAX << (from % 64);
        let mut number = from / 64;
        while let Some(bits) = self.summary.get(number) {
            let later = bits & mask;
            if later != 0 {
                let word = number * 64 + later.trailing_zeros() as usize;
                return word as u32 * 64 + self.words[word].trailing_zeros(); // Keys fit.
            }
            (mask, number) = (u64::MAX, number + 1);
        }
        NO_KEY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_bit_is_found_across_words_and_summary_words() {
        let keys = [0_u32, 63, 64, 4_095, 4_096, 300_000];
        let mut set = Bitmap::new(300_001_usize.div_ceil(64));
        keys.into_iter().for_each(|key| set.set(key));
        for gone in [62, 65, 4_097, 10_000] {
            set.set(gone);
            set.clear_if(gone, true);
        }
        for from in (0..300_010).filter(|from| from % 61 < 2 || keys.contains(from)) {
            let expected = keys.iter().copied().find(|key| *key >= from);
            assert_eq!(set.next(from), expected.unwrap_or(NO_KEY), "{from}");
        }
    }
}
