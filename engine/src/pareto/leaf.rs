//! A leaf: up to 64 entries in rank order, one array per field.
//!
//! Invariants: entries `0..len` are in rank order; the rest hold `UNUSED`. Bit `i` of `front` is set for exactly one
//! entry of each pair `(a, b)` that no other pair here matches or beats in both.
//!
//! Deliberately absent: what the leaf's neighbours and the summaries of its block hold.

use super::codes::{A_CODES, LANES, Mask, at_least, beyond, first_lanes, within};
use super::frontier::pair;
use super::{Entry, Key, Rank};

/// Most entries of a leaf.
pub(super) const LEAF: usize = LANES;

/// Rounds of picking the best candidate before the rest is sorted.
const ROUNDS: usize = 6;
const UNUSED: u32 = u32::MAX;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    len: usize,
    front: Mask,
    a: [u32; LEAF],
    b: [u32; LEAF],
    quantity: [u16; LEAF],
    price: [u32; LEAF],
    slot: [u32; LEAF],
}

impl Leaf {
    pub(super) fn new() -> Leaf {
        Leaf {
            len: 0,
            front: 0,
            a: [UNUSED; LEAF],
            b: [UNUSED; LEAF],
            quantity: [0; LEAF],
            price: [UNUSED; LEAF],
            slot: [UNUSED; LEAF],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn entry(&self, at: usize) -> Entry {
        Entry { price: self.price[at], a: self.a[at], b: self.b[at], slot: self.slot[at] }
    }

    pub(super) fn price(&self, at: usize) -> u32 {
        self.price[at]
    }

    pub(super) fn key(&self, at: usize, rank: Rank) -> Key {
        rank.key(&self.entry(at))
    }

    pub(super) fn first_slot(&self) -> u32 {
        self.slot[0]
    }

    /// Entries with at most these attributes.
    pub(super) fn fitting(&self, a_max: u32, b_max: u32) -> Mask {
        within(&self.a, &self.b, a_max, b_max) & first_lanes(self.len)
    }

    /// Entries with at least this quantity code.
    pub(super) fn offering(&self, quantity: u16) -> Mask {
        at_least(&self.quantity, quantity)
    }

    /// Entries that the pair matches or beats in both attributes.
    fn dominated(&self, a: u32, b: u32) -> Mask {
        beyond(&self.a, &self.b, a, b) & first_lanes(self.len)
    }

    /// Where an entry of this key goes: after all that rank no later.
    pub(super) fn upper_bound(&self, key: Key, rank: Rank) -> usize {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = (low + high) / 2;
            if self.key(middle, rank) <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// How many entries rank no later than this key and time.
    pub(super) fn last_from(&self, key: Key, time: u64, rank: Rank, time_of: &impl Fn(u32) -> u64) -> usize {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = (low + high) / 2;
            let own = self.key(middle, rank);
            if own < key || (own == key && time_of(self.slot[middle]) <= time) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Where the entry of this slot is.
    pub(super) fn position(&self, slot: u32) -> Option<usize> {
        self.slot[..self.len].iter().position(|&other| other == slot)
    }

    /// Puts an entry in; its bit of the front is clear.
    pub(super) fn insert(&mut self, at: usize, entry: Entry, quantity: u16) {
        assert!(self.len < LEAF, "a leaf has room for the entry");
        let end = self.len;
        self.price.copy_within(at..end, at + 1);
        self.a.copy_within(at..end, at + 1);
        self.b.copy_within(at..end, at + 1);
        self.slot.copy_within(at..end, at + 1);
        self.quantity.copy_within(at..end, at + 1);
        self.set(at, entry, quantity);
        let below = first_lanes(at);
        self.front = (self.front & below) | ((self.front & !below) << 1);
        self.len += 1;
    }

    fn set(&mut self, at: usize, entry: Entry, quantity: u16) {
        self.price[at] = entry.price;
        self.a[at] = entry.a;
        self.b[at] = entry.b;
        self.slot[at] = entry.slot;
        self.quantity[at] = quantity;
    }

    /// Takes an entry out; its bit of the front is clear already.
    pub(super) fn remove(&mut self, at: usize) {
        assert!(at < self.len && self.front & (1 << at) == 0, "a removed entry is here and off the front");
        let end = self.len;
        self.price.copy_within(at + 1..end, at);
        self.a.copy_within(at + 1..end, at);
        self.b.copy_within(at + 1..end, at);
        self.slot.copy_within(at + 1..end, at);
        self.quantity.copy_within(at + 1..end, at);
        let last = end - 1;
        self.set(last, Entry { price: UNUSED, a: UNUSED, b: UNUSED, slot: UNUSED }, 0);
        let below = first_lanes(at);
        self.front = (self.front & below) | ((self.front >> 1) & !below);
        self.len = last;
    }

    /// Moves the entries from `at` on to the front end of `next`. Both fronts are to be found anew.
    pub(super) fn move_tail(&mut self, at: usize, next: &mut Leaf) {
        let (count, end) = (self.len - at, self.len);
        let kept = next.len;
        next.price.copy_within(0..kept, count);
        next.a.copy_within(0..kept, count);
        next.b.copy_within(0..kept, count);
        next.slot.copy_within(0..kept, count);
        next.quantity.copy_within(0..kept, count);
        next.price[..count].copy_from_slice(&self.price[at..end]);
        next.a[..count].copy_from_slice(&self.a[at..end]);
        next.b[..count].copy_from_slice(&self.b[at..end]);
        next.slot[..count].copy_from_slice(&self.slot[at..end]);
        next.quantity[..count].copy_from_slice(&self.quantity[at..end]);
        next.len += count;
        self.clear(at, end);
        self.len = at;
    }

    /// Moves the first `count` entries to the end of `previous`. Both fronts are to be found anew.
    pub(super) fn move_head(&mut self, count: usize, previous: &mut Leaf) {
        let (start, end) = (previous.len, self.len);
        previous.price[start..start + count].copy_from_slice(&self.price[..count]);
        previous.a[start..start + count].copy_from_slice(&self.a[..count]);
        previous.b[start..start + count].copy_from_slice(&self.b[..count]);
        previous.slot[start..start + count].copy_from_slice(&self.slot[..count]);
        previous.quantity[start..start + count].copy_from_slice(&self.quantity[..count]);
        previous.len += count;
        self.price.copy_within(count..end, 0);
        self.a.copy_within(count..end, 0);
        self.b.copy_within(count..end, 0);
        self.slot.copy_within(count..end, 0);
        self.quantity.copy_within(count..end, 0);
        self.clear(end - count, end);
        self.len = end - count;
    }

    fn clear(&mut self, from: usize, to: usize) {
        self.price[from..to].fill(UNUSED);
        self.a[from..to].fill(UNUSED);
        self.b[from..to].fill(UNUSED);
        self.slot[from..to].fill(UNUSED);
        self.quantity[from..to].fill(0);
    }

    pub(super) fn quantity(&self, at: usize) -> u16 {
        self.quantity[at]
    }

    pub(super) fn set_quantity(&mut self, at: usize, quantity: u16) {
        self.quantity[at] = quantity;
    }

    /// The greatest quantity code.
    pub(super) fn most(&self) -> u16 {
        self.quantity.iter().fold(0, |most, &quantity| most.max(quantity))
    }

    pub(super) fn on_front(&self, at: usize) -> bool {
        self.front & (1 << at) != 0
    }

    /// The pairs of a mask.
    pub(super) fn pairs(&self, mask: Mask) -> impl Iterator<Item = (u32, u32)> {
        bits(mask).map(|i| (self.a[i], self.b[i]))
    }

    pub(super) fn front(&self) -> Mask {
        self.front
    }

    /// Puts an entry on the front unless another there matches or beats it: the mask of those that left the front.
    pub(super) fn join_front(&mut self, at: usize) -> Option<Mask> {
        let (a, b) = (self.a[at], self.b[at]);
        let own = 1 << at;
        if self.fitting(a, b) & self.front != 0 {
            return None;
        }
        let left = self.dominated(a, b) & self.front;
        self.front = (self.front & !left) | own;
        Some(left)
    }

    /// Takes an entry off the front: the mask of those that joined it instead.
    pub(super) fn leave_front(&mut self, at: usize) -> Mask {
        let own: Mask = 1 << at;
        self.front &= !own;
        let exposed = self.dominated(self.a[at], self.b[at]) & !self.front & !own;
        self.extend_front(exposed)
    }

    /// Finds the front from nothing.
    pub(super) fn rebuild_front(&mut self) {
        self.front = 0;
        self.extend_front(first_lanes(self.len));
    }

    /// Adds to the front what belongs there of these candidates, none of which beats an entry on it.
    fn extend_front(&mut self, mut candidates: Mask) -> Mask {
        for (a, b) in bits(self.front).map(|i| (self.a[i], self.b[i])) {
            if candidates == 0 {
                return 0;
            }
            candidates &= !self.dominated(a, b);
        }
        let mut joined = 0;
        // The least in `(a, b)` is beaten by no other candidate, and beats most: a usual front is found in a few rounds.
        for _ in 0..ROUNDS {
            let mut least = (u64::MAX, LEAF - 1);
            for i in bits(candidates) {
                least = least.min((pair(self.a[i], self.b[i]), i));
            }
            joined |= candidates & (1 << least.1);
            candidates &= !self.dominated(self.a[least.1], self.b[least.1]);
            if candidates == 0 {
                break;
            }
        }
        if candidates != 0 {
            joined |= self.sorted_front(candidates);
        }
        self.front |= joined;
        joined
    }

    /// The front of these candidates alone, by sorting: no worse when nothing beats anything.
    fn sorted_front(&self, candidates: Mask) -> Mask {
        let mut pairs = [0_u128; LEAF];
        let mut count = 0;
        for i in bits(candidates) {
            pairs[count] = (u128::from(pair(self.a[i], self.b[i])) << 64) | i as u128;
            count += 1;
        }
        pairs[..count].sort_unstable();
        // In the order of `(a, b)` a pair is beaten exactly if an earlier one has no greater `b`.
        let mut front = 0;
        let mut least = None;
        for at in pairs[..count].iter().map(|&pair| (pair & 0xff) as usize) {
            if least.is_none_or(|least| self.b[at] < least) {
                least = Some(self.b[at]);
                front |= 1 << at;
            }
        }
        front
    }

    /// `column[code]`: the least code of `b` among entries whose `a` has at most that code; 255 where there is none.
    pub(super) fn column(&self, rank: Rank) -> [u8; A_CODES] {
        let mut column = [u8::MAX; A_CODES];
        for (a, b) in self.pairs(self.front) {
            let cell = &mut column[rank.a_code(a)];
            *cell = rank.b_code(b).min(*cell);
        }
        let mut least = u8::MAX;
        for cell in &mut column {
            least = least.min(*cell);
            *cell = least;
        }
        column
    }
}

/// The positions of set bits, lowest first.
pub(super) fn bits(mut mask: Mask) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if mask == 0 {
            return None;
        }
        let at = mask.trailing_zeros() as usize;
        mask &= mask - 1;
        Some(at)
    })
}

#[cfg(test)]
impl Leaf {
    /// Checks order, unused places and the front.
    pub(super) fn check(&self, rank: Rank) {
        assert!(self.len > 0 && (1..self.len).all(|i| self.key(i - 1, rank) <= self.key(i, rank)));
        assert!((self.len..LEAF).all(|i| self.quantity[i] == 0 && self.slot[i] == UNUSED));
        let pairs = || self.pairs(first_lanes(self.len));
        let mut best: Vec<_> =
            pairs().filter(|&(a, b)| !pairs().any(|(c, d)| c <= a && d <= b && (c, d) != (a, b))).collect();
        best.sort_unstable();
        best.dedup();
        let mut front: Vec<_> = self.pairs(self.front).collect();
        front.sort_unstable();
        assert_eq!(front, best, "the front holds each undominated pair once");
    }
}
