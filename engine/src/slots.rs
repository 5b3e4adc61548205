//! Which places of a table are taken. The lowest free one is given next, so that the same history gives the same
//! places on every machine and after every restart, and nothing but the taken places has to be remembered.

/// A set of taken places.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// A bit a place: taken.
    taken: Vec<u64>,
    /// A bit a word of `taken`: all taken.
    full: Vec<u64>,
    /// Words of `full` before this one have no zero bit.
    lowest: usize,
    len: usize,
}

impl Slots {
    /// How many are taken.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes the lowest free place.
    #[inline]
    pub(crate) fn take(&mut self) -> usize {
        while self.full.get(self.lowest) == Some(&u64::MAX) {
            self.lowest += 1;
        }
        if self.lowest == self.full.len() {
            self.full.push(0);
            self.taken.resize(self.full.len() * 64, 0);
        }
        let word = self.lowest * 64 + self.full[self.lowest].trailing_ones() as usize;
        let slot = word * 64 + self.taken[word].trailing_ones() as usize;
        self.set(slot);
        slot
    }

    /// Roughly the place that is taken next: while others are taken and given back, it may be another.
    #[inline]
    pub(crate) fn next(&self) -> usize {
        let word = self.lowest * 64 + self.full.get(self.lowest).map_or(0, |full| full.trailing_ones() as usize);
        word * 64 + self.taken.get(word).map_or(0, |taken| taken.trailing_ones() as usize)
    }

    /// Takes that very place, which is free; for restoring a table.
    pub(crate) fn take_at(&mut self, slot: usize) {
        while self.full.len() <= slot / 4_096 {
            self.full.push(0);
            self.taken.resize(self.full.len() * 64, 0);
        }
        assert!(self.taken[slot / 64] & (1 << (slot % 64)) == 0, "a place is taken once");
        self.set(slot);
    }

    #[inline]
    fn set(&mut self, slot: usize) {
        let word = slot / 64;
        self.taken[word] |= 1 << (slot % 64);
        if self.taken[word] == u64::MAX {
            self.full[word / 64] |= 1 << (word % 64);
        }
        self.len += 1;
    }

    /// Gives a taken place back.
    #[inline]
    pub(crate) fn give_back(&mut self, slot: usize) {
        let word = slot / 64;
        self.taken[word] &= !(1 << (slot % 64));
        self.full[word / 64] &= !(1 << (word % 64));
        self.lowest = self.lowest.min(word / 64);
        self.len -= 1;
    }

    /// Memory for so many places.
    pub(crate) fn reserve(&mut self, slots: usize) {
        let words = slots.div_ceil(4_096);
        self.full.reserve(words);
        self.taken.reserve(words * 64);
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
