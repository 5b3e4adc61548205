//! Which places of a table are taken. The lowest free one is given next, so that the same history gives the same
//! places on every machine and after every restart, and nothing but the taken places has to be remembered.

/// A set of taken places.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// A bit a place: taken.
    taken: Vec<u64>,
    /// A bit a word of `taken`: all taken.
    full: Vec<u64>,
    /// The first word of `taken` that is not full; its length if all are.
    first: usize,
    len: usize,
}

impl Slots {
    /// How many are taken.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes the lowest free place.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> usize {
        let word = self.first;
        if word >= self.taken.len() {
            self.grow(word);
        }
        let bits = &mut self.taken[word];
        let slot = word * 64 + bits.trailing_ones() as usize;
        *bits |= *bits + 1; // Not full, so this does not overflow.
        self.len += 1;
        if *bits == u64::MAX {
            self.fill(word);
        }
        slot
    }

    /// Roughly the place that is taken next: while others are taken and given back, it may be another.
    #[inline]
    pub(crate) fn next(&self) -> usize {
        self.first * 64 + self.taken.get(self.first).map_or(0, |bits| bits.trailing_ones() as usize)
    }

    /// Takes that very place, which is free; for restoring a table.
    pub(crate) fn take_at(&mut self, slot: usize) {
        let word = slot / 64;
        if word >= self.taken.len() {
            self.grow(word);
        }
        let bits = &mut self.taken[word];
        assert!(*bits & (1 << (slot % 64)) == 0, "a place is taken once");
        *bits |= 1 << (slot % 64);
        self.len += 1;
        if *bits == u64::MAX {
            self.fill(word);
        }
    }

    #[cold]
    fn grow(&mut self, word: usize) {
        self.taken.resize(word + 1, 0);
        self.full.resize(word / 64 + 1, 0);
    }

    /// A word has run full.
    #[cold]
    fn fill(&mut self, word: usize) {
        self.full[word / 64] |= 1 << (word % 64);
        if word != self.first {
            return; // Another before it is not full.
        }
        let later = (word / 64..self.full.len()).find(|at| self.full[*at] != u64::MAX);
        let free = |at: usize| at * 64 + self.full[at].trailing_ones() as usize;
        self.first = later.map_or(self.taken.len(), free);
    }

    /// Gives a taken place back.
    #[inline(always)]
    pub(crate) fn give_back(&mut self, slot: usize) {
        let word = slot / 64;
        let bits = &mut self.taken[word];
        if *bits == u64::MAX {
            self.full[word / 64] &= !(1 << (word % 64));
        }
        *bits &= !(1 << (slot % 64));
        self.first = self.first.min(word);
        self.len -= 1;
    }

    /// Memory for so many places.
    pub(crate) fn reserve(&mut self, slots: usize) {
        let words = slots / 64 + 1;
        self.taken.reserve(words);
        self.full.reserve(words / 64 + 1);
    }
}

/// Memory for so many more rows, which are written once: the operating system hands out memory when it is first used,
/// and then takes microseconds for each piece.
pub(crate) fn set_aside<T: Copy>(rows: &mut Vec<T>, more: usize, empty: T) {
    let used = rows.len();
    rows.resize(used + more, empty);
    rows.truncate(used);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_place_is_given_whatever_came_before() {
        let (mut slots, mut reference) = (Slots::default(), std::collections::BTreeSet::new());
        let (mut random, mut most) = (7_u64, 0);
        for round in 0..16_000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let growing = round < 14_000;
            if reference.is_empty() || (random >> 33) % 3 < if growing { 2 } else { 1 } {
                let given = slots.take();
                assert!(reference.insert(given), "it was free");
                assert_eq!(reference.range(..given).count(), given, "all before it are taken");
            } else {
                let victim = *reference.iter().nth((random >> 40) as usize % reference.len()).unwrap();
                reference.remove(&victim);
                slots.give_back(victim);
            }
            assert_eq!(slots.len(), reference.len());
            most = most.max(slots.len());
        }
        assert!(most > 4_096, "the summary was used");
    }

    #[test]
    fn a_restored_set_goes_on_like_the_first() {
        let mut slots = Slots::default();
        for slot in [0, 5_000, 1] {
            slots.take_at(slot);
        }
        assert_eq!((slots.take(), slots.take(), slots.len()), (2, 3, 5));
    }
}
