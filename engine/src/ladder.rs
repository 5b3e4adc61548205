//! The price levels of one side of a book: totals of all orders at each price, and the queue of those that wait in
//! plain price-time order.
//!
//! Levels are addressed by *key*: the number of ticks from the best price there could be, so that the lowest key is the
//! best on either side. A level is found by index: a directory of pages of 64 levels. A bitmap of the levels with a queue
//! finds the next best when a level runs empty.
//!
//! Invariants: `best` is the lowest key with a queue; a page exists while one of its levels has orders; a level's queue
//! is in the order of its orders' times.

use crate::orders::{Hot, NONE, Orders, Slot};

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

/// Where the levels of 64 keys are.
#[derive(Clone, Copy, Debug)]
struct Page {
    /// The first of them, or [`NONE`].
    first: u32,
    /// How many of them have orders.
    used: u32,
}

/// One side's levels.
#[derive(Debug)]
pub(crate) struct Ladder {
    /// The page of each 64 keys.
    directory: Vec<Page>,
    levels: Vec<Level>,
    /// First levels of pages that are not in use; all their levels are empty.
    free_pages: Vec<u32>,
    /// Keys with a queue.
    queued: Bitmap,
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
            directory: vec![Page { first: NONE, used: 0 }; pages],
            levels: Vec::new(),
            free_pages: Vec::new(),
            queued: Bitmap::new(pages),
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
        match self.directory[(key / PAGE) as usize].first {
            NONE => Totals::default(),
            first => self.levels[(first + key % PAGE) as usize].totals(),
        }
    }

    /// Counts an order in that waits elsewhere; returns its level's new totals.
    pub(crate) fn count_in(&mut self, key: u32, units: u64) -> Totals {
        let at = self.level_for(key);
        let level = &mut self.levels[at];
        level.quantity += units;
        level.orders += 1;
        let totals = level.totals();
        self.orders += 1;
        if totals.orders == 1 {
            self.directory[(key / PAGE) as usize].used += 1;
        }
        totals
    }

    /// Counts an order out that waited elsewhere; returns its level's new totals.
    pub(crate) fn count_out(&mut self, key: u32, units: u64) -> Totals {
        let at = self.level_at(key);
        let level = &mut self.levels[at];
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
        let at = self.level_at(key);
        let level = &mut self.levels[at];
        level.quantity = level.quantity - from + to;
        level.totals()
    }

    /// Where the level of a key with orders is.
    #[inline(always)]
    fn level_at(&self, key: u32) -> usize {
        (self.directory[(key / PAGE) as usize].first | (key % PAGE)) as usize // Past all levels if there is no page.
    }

    /// Where the level of a key is, on a new page if need be.
    #[inline(always)]
    fn level_for(&mut self, key: u32) -> usize {
        let page = &mut self.directory[(key / PAGE) as usize];
        if page.first == NONE {
            page.first = new_page(&mut self.levels, &mut self.free_pages);
        }
        (page.first | (key % PAGE)) as usize // Pages start at multiples of their size.
    }

    /// A level has lost its last order.
    #[inline(always)]
    fn vacate(&mut self, key: u32) {
        let page = &mut self.directory[(key / PAGE) as usize];
        page.used -= 1;
        if page.used == 0 {
            self.free_pages.push(page.first);
            page.first = NONE;
        }
    }

    /// Puts an order of so many units at the back of its level's queue; returns the level's new totals.
    #[inline(always)]
    pub(crate) fn push(&mut self, orders: &mut [Hot], key: u32, slot: Slot, units: u64) -> Totals {
        let page = &mut self.directory[(key / PAGE) as usize];
        if page.first == NONE {
            page.first = new_page(&mut self.levels, &mut self.free_pages);
        }
        let level = &mut self.levels[(page.first | (key % PAGE)) as usize];
        let totals = Totals { quantity: level.quantity + units, orders: level.orders + 1 };
        let tail = level.tail;
        (level.quantity, level.orders, level.tail) = (totals.quantity, totals.orders, slot);
        let link = &mut orders[slot as usize];
        (link.prev, link.next) = (tail, NONE);
        self.orders += 1;
        if tail == NONE {
            level.head = slot;
            page.used += u32::from(totals.orders == 1);
            self.queued.set(key);
            self.best = self.best.min(key);
        } else {
            orders[tail as usize].next = slot;
        }
        totals
    }

    /// Takes an order of so many units out of its level's queue; returns the level's new totals.
    #[inline(always)]
    pub(crate) fn remove(&mut self, orders: &mut [Hot], key: u32, slot: Slot, units: u64) -> Totals {
        let link = &orders[slot as usize];
        let (prev, next) = (link.prev, link.next);
        let page = &mut self.directory[(key / PAGE) as usize];
        let level = &mut self.levels[(page.first | (key % PAGE)) as usize];
        let totals = Totals { quantity: level.quantity - units, orders: level.orders - 1 };
        (level.quantity, level.orders) = (totals.quantity, totals.orders);
        self.orders -= 1;
        if prev & next == NONE {
            (level.head, level.tail) = (NONE, NONE);
            self.queued.clear(key);
            if key == self.best {
                self.best = if self.orders == 0 { NO_KEY } else { self.queued.next(key) };
            }
            if totals.orders == 0 {
                self.vacate(key);
            }
            return totals;
        }
        match prev {
            NONE => level.head = next,
            prev => orders[prev as usize].next = next,
        }
        match next {
            NONE => level.tail = prev,
            next => orders[next as usize].prev = prev,
        }
        totals
    }

    /// First order of a level's queue.
    #[inline(always)]
    pub(crate) fn head(&self, key: u32) -> Slot {
        self.levels[self.level_at(key)].head
    }

    /// Keys with orders, best first.
    pub(crate) fn used(&self) -> impl Iterator<Item = (u32, Totals)> + '_ {
        let pages = (0_u32..).zip(&self.directory).filter(|(_, page)| page.first != NONE);
        let keys = pages.flat_map(|(number, _)| number * PAGE..(number + 1) * PAGE);
        keys.map(move |key| (key, self.totals(key))).filter(|(_, totals)| totals.orders > 0)
    }

    /// Queued orders from the best on, in priority order.
    pub(crate) fn queue<'a>(&'a self, orders: &'a Orders) -> impl Iterator<Item = Slot> + 'a {
        let some = |key: u32| (key != NO_KEY).then_some(key);
        let levels = std::iter::successors(some(self.best), move |key| some(self.queued.next(key + 1)));
        levels.flat_map(move |key| {
            let next = |slot: Slot| (slot != NONE).then_some(slot);
            std::iter::successors(next(self.head(key)), move |slot| next(orders.hot(*slot).next))
        })
    }
}

/// Sixty-four empty levels, used before if possible. Returns the first.
#[inline(never)]
fn new_page(levels: &mut Vec<Level>, free: &mut Vec<u32>) -> u32 {
    free.pop().unwrap_or_else(|| {
        let first = levels.len() as u32; // At most 2^20 levels and a page.
        levels.extend([Level::EMPTY; PAGE as usize]);
        first
    })
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

    // Both without a branch: whether a word had, or has, other bits is anyone's guess.

    #[inline(always)]
    fn set(&mut self, key: u32) {
        let word = (key / 64) as usize;
        self.words[word] |= 1 << (key % 64);
        self.summary[word / 64] |= 1 << (word % 64);
    }

    #[inline(always)]
    fn clear(&mut self, key: u32) {
        let word = (key / 64) as usize;
        let bits = &mut self.words[word];
        *bits &= !(1 << (key % 64));
        let empty = u64::from(*bits == 0);
        self.summary[word / 64] &= !(empty << (word % 64));
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
            set.clear(gone);
        }
        for from in (0..300_010).filter(|from| from % 61 < 2 || keys.contains(from)) {
            let expected = keys.iter().copied().find(|key| *key >= from);
            assert_eq!(set.next(from), expected.unwrap_or(NO_KEY), "{from}");
        }
    }
}
