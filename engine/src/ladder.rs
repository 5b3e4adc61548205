//! The price levels of one side of a book: totals of all orders at each price, and the queue of those that wait in
//! plain price-time order.
//!
//! Levels are addressed by *key*: the number of ticks from the best price there could be, so that the lowest key is the
//! best on either side. A level is found by index: a directory of pages of 64 levels. Bitmaps over the levels with a
//! queue find the next best when a level runs empty.
//!
//! Invariants: `best` is the lowest key with a queue; a page exists while one of its levels has orders; a level's queue
//! is in the order of its orders' times.

use crate::orders::{NONE, Orders, Slot};

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

    #[inline]
    fn totals(&self) -> Totals {
        Totals { quantity: self.quantity, orders: self.orders }
    }
}

#[derive(Debug)]
struct Page {
    levels: [Level; PAGE as usize],
    /// Levels with a queue.
    queued: u64,
    /// Levels with orders.
    used: u64,
}

const EMPTY_PAGE: Page = Page { levels: [Level::EMPTY; PAGE as usize], queued: 0, used: 0 };

/// One side's levels.
#[derive(Debug)]
pub(crate) struct Ladder {
    /// Page of each 64 keys, or [`NONE`].
    directory: Vec<u32>,
    pages: Vec<Page>,
    free_pages: Vec<u32>,
    /// A bit a page: some level has a queue; and a bit a word of that.
    queued: Vec<u64>,
    queued_words: Vec<u64>,
    /// Lowest key with a queue.
    best: u32,
    /// Orders at all prices.
    orders: u32,
}

impl Ladder {
    /// A side whose keys are at most `key_max`.
    pub(crate) fn new(key_max: u32) -> Ladder {
        let pages = (key_max / PAGE + 1) as usize;
        let words = pages.div_ceil(64);
        Ladder {
            directory: vec![NONE; pages],
            pages: Vec::new(),
            free_pages: Vec::new(),
            queued: vec![0; words],
            queued_words: vec![0; words.div_ceil(64)],
            best: NO_KEY,
            orders: 0,
        }
    }

    /// Lowest key with a queue; [`NO_KEY`] when none has one.
    #[inline]
    pub(crate) fn best(&self) -> u32 {
        self.best
    }

    /// Orders at all prices.
    pub(crate) fn orders(&self) -> u32 {
        self.orders
    }

    /// The totals of that key.
    pub(crate) fn totals(&self, key: u32) -> Totals {
        match self.directory[(key / PAGE) as usize] {
            NONE => Totals::default(),
            page => self.pages[page as usize].levels[(key % PAGE) as usize].totals(),
        }
    }

    /// Counts an order in that waits elsewhere; returns its level's new totals.
    pub(crate) fn count_in(&mut self, key: u32, units: u64) -> Totals {
        let page = self.page_for(key);
        page.used |= 1 << (key % PAGE);
        let level = &mut page.levels[(key % PAGE) as usize];
        level.quantity += units;
        level.orders += 1;
        let totals = level.totals();
        self.orders += 1;
        totals
    }

    /// Counts an order out that waited elsewhere; returns its level's new totals.
    pub(crate) fn count_out(&mut self, key: u32, units: u64) -> Totals {
        let number = self.directory[(key / PAGE) as usize];
        let page = &mut self.pages[number as usize];
        let level = &mut page.levels[(key % PAGE) as usize];
        level.quantity -= units;
        level.orders -= 1;
        let totals = level.totals();
        self.orders -= 1;
        if totals.orders == 0 {
            self.vacate(key);
        }
        totals
    }

    /// Changes the units of an order that stays; returns its level's new totals.
    #[inline]
    pub(crate) fn resize(&mut self, key: u32, from: u64, to: u64) -> Totals {
        let page = self.directory[(key / PAGE) as usize];
        let level = &mut self.pages[page as usize].levels[(key % PAGE) as usize];
        level.quantity = level.quantity - from + to;
        level.totals()
    }

    /// A level has lost its last order.
    fn vacate(&mut self, key: u32) {
        let number = self.directory[(key / PAGE) as usize];
        let page = &mut self.pages[number as usize];
        let level = &page.levels[(key % PAGE) as usize];
        assert!(level.quantity == 0 && level.head == NONE, "an empty level holds nothing");
        page.used &= !(1 << (key % PAGE));
        if page.used == 0 {
            self.directory[(key / PAGE) as usize] = NONE;
            self.free_pages.push(number);
        }
    }

    #[inline]
    fn page_for(&mut self, key: u32) -> &mut Page {
        let at = (key / PAGE) as usize;
        if self.directory[at] == NONE {
            self.directory[at] = self.new_page();
        }
        &mut self.pages[self.directory[at] as usize]
    }

    #[cold]
    fn new_page(&mut self) -> u32 {
        self.free_pages.pop().unwrap_or_else(|| {
            self.pages.push(EMPTY_PAGE);
            (self.pages.len() - 1) as u32 // At most 2^14 pages.
        })
    }

    /// Puts an order of so many units at the back of its level's queue; returns the level's new totals.
    #[inline]
    pub(crate) fn push(&mut self, orders: &mut Orders, key: u32, slot: Slot, units: u64) -> Totals {
        let bit = 1 << (key % PAGE);
        let page = self.page_for(key);
        let level = &mut page.levels[(key % PAGE) as usize];
        level.quantity += units;
        level.orders += 1;
        let totals = level.totals();
        let tail = std::mem::replace(&mut level.tail, slot);
        let link = orders.link_mut(slot);
        (link.prev, link.next) = (tail, NONE);
        if tail == NONE {
            level.head = slot;
            page.used |= bit;
            let first_of_page = page.queued == 0;
            page.queued |= bit;
            self.best = self.best.min(key);
            if first_of_page {
                self.mark_page(key);
            }
        } else {
            orders.link_mut(tail).next = slot;
        }
        self.orders += 1;
        totals
    }

    #[inline]
    fn mark_page(&mut self, key: u32) {
        let number = (key / PAGE) as usize;
        self.queued[number / 64] |= 1 << (number % 64);
        self.queued_words[number / 4_096] |= 1 << (number / 64 % 64);
    }

    fn unmark_page(&mut self, key: u32) {
        let number = (key / PAGE) as usize;
        self.queued[number / 64] &= !(1 << (number % 64));
        if self.queued[number / 64] == 0 {
            self.queued_words[number / 4_096] &= !(1 << (number / 64 % 64));
        }
    }

    /// Takes an order of so many units out of its level's queue; returns the level's new totals.
    #[inline]
    pub(crate) fn remove(&mut self, orders: &mut Orders, key: u32, slot: Slot, units: u64) -> Totals {
        let link = orders.hot(slot);
        let (prev, next) = (link.prev, link.next);
        let page = &mut self.pages[self.directory[(key / PAGE) as usize] as usize];
        let level = &mut page.levels[(key % PAGE) as usize];
        level.quantity -= units;
        level.orders -= 1;
        let totals = level.totals();
        match prev {
            NONE => level.head = next,
            prev => orders.link_mut(prev).next = next,
        }
        match next {
            NONE => level.tail = prev,
            next => orders.link_mut(next).prev = prev,
        }
        self.orders -= 1;
        if prev == NONE && next == NONE {
            page.queued &= !(1 << (key % PAGE));
            if page.queued == 0 {
                self.unmark_page(key);
            }
            if key == self.best {
                self.best = self.queued_from(key);
            }
            if totals.orders == 0 {
                self.vacate(key);
            }
        }
        totals
    }

    /// Lowest key at or after this one with a queue.
    pub(crate) fn queued_from(&self, key: u32) -> u32 {
        let number = (key / PAGE) as usize;
        if let Some(page) = self.directory.get(number).and_then(|page| self.pages.get(*page as usize)) {
            let later = page.queued & (u64::MAX << (key % PAGE));
            if later != 0 {
                return key / PAGE * PAGE + later.trailing_zeros();
            }
        }
        let Some(number) = next_bit(&self.queued, &self.queued_words, number + 1) else { return NO_KEY };
        let page = &self.pages[self.directory[number] as usize];
        number as u32 * PAGE + page.queued.trailing_zeros()
    }

    /// First order of a level's queue.
    #[inline]
    pub(crate) fn head(&self, key: u32) -> Slot {
        let page = self.directory[(key / PAGE) as usize];
        self.pages[page as usize].levels[(key % PAGE) as usize].head
    }

    /// Keys with orders, best first.
    pub(crate) fn used(&self) -> impl Iterator<Item = (u32, Totals)> + '_ {
        let pages = (0_u32..).zip(&self.directory).filter(|(_, page)| **page != NONE);
        pages.flat_map(|(number, page)| {
            let page = &self.pages[*page as usize];
            let keys = (0..PAGE).filter(|bit| page.used & (1 << bit) != 0);
            keys.map(move |bit| (number * PAGE + bit, page.levels[bit as usize].totals()))
        })
    }

    /// Queued orders from the best on, in priority order.
    pub(crate) fn queue<'a>(&'a self, orders: &'a Orders) -> impl Iterator<Item = Slot> + 'a {
        let some = |key: u32| (key != NO_KEY).then_some(key);
        let levels = std::iter::successors(some(self.best), move |key| some(self.queued_from(key + 1)));
        levels.flat_map(move |key| {
            let next = |slot: Slot| (slot != NONE).then_some(slot);
            std::iter::successors(next(self.head(key)), move |slot| next(orders.hot(*slot).next))
        })
    }
}

/// Lowest bit set at or after `from`, with the help of a bit a word.
fn next_bit(words: &[u64], summary: &[u64], from: usize) -> Option<usize> {
    let word = from / 64;
    let here = words.get(word)? & (u64::MAX << (from % 64));
    if here != 0 {
        return Some(word * 64 + here.trailing_zeros() as usize);
    }
    let after = word + 1;
    for at in after / 64..summary.len() {
        let mask = if at == after / 64 { u64::MAX << (after % 64) } else { u64::MAX };
        let later = summary[at] & mask;
        if later != 0 {
            let word = at * 64 + later.trailing_zeros() as usize;
            return Some(word * 64 + words[word].trailing_zeros() as usize);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_bit_is_found_across_words_and_summary_words() {
        let set = [0_usize, 63, 64, 4_095, 4_096, 300_000];
        let mut words = vec![0_u64; 300_001_usize.div_ceil(64)];
        let mut summary = vec![0_u64; words.len().div_ceil(64)];
        for bit in set {
            words[bit / 64] |= 1 << (bit % 64);
            summary[bit / 4_096] |= 1 << (bit / 64 % 64);
        }
        for from in (0..300_010).filter(|from| from % 61 < 2 || set.contains(from)) {
            let expected = set.iter().copied().find(|bit| *bit >= from);
            assert_eq!(next_bit(&words, &summary, from), expected, "{from}");
        }
    }
}
