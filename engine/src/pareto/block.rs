//! A block: up to 128 leaves in rank order, with what a search needs to skip them.
//!
//! Invariants: no leaf is empty, save the only leaf of a block about to receive its first entry; `keys[l]` is the key of
//! the first entry of leaf `l`; `rows[code][l]` is the least code of `b` among the leaf's entries whose `a` has at most
//! that code; `most[l]` is the greatest quantity code of the leaf; `frontier` holds the fronts of all leaves.
//!
//! The caller's row of the directory (`Column`) is kept in step: each cell is the minimum of the row it summarises.
//!
//! Deliberately absent: the search itself, and what other blocks hold.

use super::codes::{A_CODES, LANES, at_most};
use super::directory::Column;
use super::frontier::{Frontier, pair};
use super::leaf::{LEAF, Leaf};
use super::{Entry, Key, Rank};

/// A bit per leaf of a block.
pub(super) type Leaves = u128;
/// Most leaves of a block.
pub(super) const LEAVES: usize = 2 * LANES;
/// A leaf with at most this many entries takes some from a full neighbour, which otherwise splits.
const ROOM: usize = LEAF - 16;
/// A leaf with fewer entries than this joins a neighbour if both together have at most `JOINED`.
const SPARSE: usize = LEAF / 4;
const JOINED: usize = LEAF * 3 / 4;

fn least_of(row: &[u8; LANES]) -> u8 {
    row.iter().fold(u8::MAX, |least, &cell| least.min(cell))
}

/// The fronts of two leaves.
struct Fronts {
    pairs: [u64; 2 * LEAF],
    count: usize,
}

impl Default for Fronts {
    fn default() -> Fronts {
        Fronts { pairs: [0; 2 * LEAF], count: 0 }
    }
}

impl Fronts {
    fn add(&mut self, leaf: &Leaf) {
        for (a, b) in leaf.pairs(leaf.front()) {
            self.pairs[self.count] = pair(a, b);
            self.count += 1;
        }
    }

    fn pairs(&mut self) -> &mut [u64] {
        &mut self.pairs[..self.count]
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Block {
    rows: [[u8; LEAVES]; A_CODES],
    most: [u16; LEAVES],
    keys: Vec<Key>,
    leaves: Vec<Box<Leaf>>,
    frontier: Frontier,
}

impl Block {
    pub(super) fn new() -> Block {
        Block {
            rows: [[u8::MAX; LEAVES]; A_CODES],
            most: [0; LEAVES],
            keys: Vec::with_capacity(LEAVES),
            leaves: Vec::with_capacity(LEAVES),
            frontier: Frontier::default(),
        }
    }

    pub(super) fn leaves(&self) -> &[Box<Leaf>] {
        &self.leaves
    }

    pub(super) fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    pub(super) fn first_key(&self) -> Key {
        self.keys[0]
    }

    /// The greatest quantity code of all.
    pub(super) fn most(&self) -> u16 {
        self.most[..self.leaves.len()].iter().fold(0, |most, &quantity| most.max(quantity))
    }

    /// The greatest quantity code of a leaf.
    pub(super) fn leaf_most(&self, leaf: usize) -> u16 {
        self.most[leaf]
    }

    /// Leaves that may hold an entry with at most these codes.
    pub(super) fn candidates(&self, a_code: usize, b_code: u8) -> Leaves {
        let mut leaves = 0;
        for (word, row) in self.words(a_code).iter().enumerate() {
            leaves |= Leaves::from(at_most(row, b_code)) << (word * LANES);
        }
        let count = self.leaves.len();
        if count == LEAVES { leaves } else { leaves & ((1 << count) - 1) }
    }

    /// The part of a row that is in use, rounded up.
    fn words(&self, code: usize) -> &[[u8; LANES]] {
        &self.rows[code].as_chunks().0[..self.leaves.len().div_ceil(LANES)]
    }

    /// The least code of `b` among all entries whose `a` has at most this code.
    pub(super) fn row_least(&self, code: usize) -> u8 {
        self.words(code).iter().fold(u8::MAX, |least, row| least.min(least_of(row)))
    }

    /// The leaf an entry of this key goes to.
    pub(super) fn leaf_for(&self, key: Key) -> usize {
        self.keys.partition_point(|&first| first <= key).saturating_sub(1)
    }

    /// The leaf that holds the entry of this key and time, if any does.
    pub(super) fn leaf_of(&self, key: Key, time: u64, time_of: &impl Fn(u32) -> u64) -> usize {
        let (mut low, mut high) = (0, self.leaves.len());
        while low < high {
            let middle = (low + high) / 2;
            let first = self.keys[middle];
            if first < key || (first == key && time_of(self.leaves[middle].first_slot()) <= time) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.saturating_sub(1)
    }

    /// Whether the leaf can take one more entry.
    pub(super) fn has_room(&self, leaf: usize) -> bool {
        self.leaves[leaf].len() < LEAF
    }

    /// Whether a full leaf can be relieved within this block.
    pub(super) fn can_relieve(&self, leaf: usize) -> bool {
        self.leaves.len() < LEAVES || self.receiver(leaf).is_some()
    }

    /// The neighbour that takes entries of a full leaf.
    fn receiver(&self, leaf: usize) -> Option<usize> {
        let roomy = |l: usize| self.leaves.get(l).is_some_and(|neighbour| neighbour.len() <= ROOM);
        if roomy(leaf + 1) { Some(leaf + 1) } else { leaf.checked_sub(1).filter(|&previous| roomy(previous)) }
    }

    /// Puts an entry in a leaf that has room.
    pub(super) fn insert(&mut self, l: usize, entry: Entry, quantity: u16, rank: Rank, up: &mut Column) {
        let key = rank.key(&entry);
        let leaf = &mut self.leaves[l];
        let at = leaf.upper_bound(key, rank);
        leaf.insert(at, entry, quantity);
        if at == 0 {
            self.keys[l] = key;
        }
        self.most[l] = self.most[l].max(quantity);
        let Some(left) = leaf.join_front(at) else { return };
        for (a, b) in leaf.pairs(left) {
            self.frontier.remove(a, b);
        }
        self.frontier.insert(entry.a, entry.b);
        let code = rank.b_code(entry.b);
        for (a_code, row) in self.rows.iter_mut().enumerate().skip(rank.a_code(entry.a)) {
            if row[l] <= code {
                break;
            }
            row[l] = code;
            up.lower(a_code, code);
        }
    }

    /// Sets the quantity of an entry: whether it is here.
    pub(super) fn resize(&mut self, l: usize, slot: u32, quantity: u16) -> bool {
        let Some(at) = self.leaves[l].position(slot) else { return false };
        self.leaves[l].set_quantity(at, quantity);
        self.most[l] = self.leaves[l].most();
        true
    }

    /// Takes an entry out of a leaf: its quantity code, if it is here.
    pub(super) fn remove(
        &mut self,
        l: usize,
        slot: u32,
        rank: Rank,
        up: &mut Column,
        spare: &mut Vec<Box<Leaf>>,
    ) -> Option<u16> {
        let leaf = &mut self.leaves[l];
        let at = leaf.position(slot)?;
        let quantity = leaf.quantity(at);
        let on_front = leaf.on_front(at);
        if on_front {
            let Entry { a, b, .. } = leaf.entry(at);
            let joined = leaf.leave_front(at);
            self.frontier.remove(a, b);
            for (a, b) in leaf.pairs(joined) {
                self.frontier.insert(a, b);
            }
        }
        leaf.remove(at);
        if quantity == self.most[l] {
            self.most[l] = leaf.most();
        }
        if leaf.len() == 0 {
            self.raise(l, [u8::MAX; A_CODES], up);
            self.close(l, spare);
            return Some(quantity);
        }
        if at == 0 {
            self.keys[l] = leaf.key(0, rank);
        }
        if on_front {
            let column = leaf.column(rank);
            self.raise(l, column, up);
        }
        if self.leaves[l].len() < SPARSE {
            self.join(l, rank, spare);
        }
        Some(quantity)
    }

    /// Sets a leaf's column, no cell of which falls, and repairs the directory.
    fn raise(&mut self, l: usize, column: [u8; A_CODES], up: &mut Column) {
        for (code, cell) in column.into_iter().enumerate() {
            let old = self.rows[code][l];
            if old == cell {
                continue;
            }
            self.rows[code][l] = cell;
            if up.get(code) != old {
                continue;
            }
            // Between the cell before, which can only be greater, and the old one: often there is nothing to look for.
            if code == 0 || up.get(code - 1) != old {
                up.set(code, self.row_least(code));
            }
        }
    }

    /// Makes a place for a leaf; its column is to be set.
    pub(super) fn open(&mut self, l: usize, leaf: Box<Leaf>) {
        let end = self.leaves.len();
        for row in &mut self.rows {
            row.copy_within(l..end, l + 1);
        }
        self.most.copy_within(l..end, l + 1);
        self.keys.insert(l, 0);
        self.leaves.insert(l, leaf);
    }

    /// Takes out an empty leaf.
    fn close(&mut self, l: usize, spare: &mut Vec<Box<Leaf>>) {
        let end = self.leaves.len();
        for row in &mut self.rows {
            row.copy_within(l + 1..end, l);
            row[end - 1] = u8::MAX;
        }
        self.most.copy_within(l + 1..end, l);
        self.most[end - 1] = 0;
        self.keys.remove(l);
        spare.push(self.leaves.remove(l));
    }

    /// Finds key, quantity, front and column of a leaf from nothing. The frontier is the caller's.
    fn renew(&mut self, l: usize, rank: Rank) {
        let leaf = &mut self.leaves[l];
        leaf.rebuild_front();
        self.keys[l] = leaf.key(0, rank);
        self.most[l] = leaf.most();
        let column = leaf.column(rank);
        for (row, cell) in self.rows.iter_mut().zip(column) {
            row[l] = cell;
        }
    }

    /// Makes room in a full leaf, into which an entry of this key is to go. The block's own summary stays as it is.
    pub(super) fn relieve(&mut self, l: usize, key: Key, rank: Rank, spare: &mut Vec<Box<Leaf>>) {
        let mut fronts = Fronts::default();
        fronts.add(&self.leaves[l]);
        let first = match self.receiver(l) {
            Some(other) => {
                fronts.add(&self.leaves[other]);
                let moved = (LEAF - self.leaves[other].len()).div_ceil(2);
                let (left, right) = self.leaves.split_at_mut(l.max(other));
                if other > l {
                    left[l].move_tail(LEAF - moved, &mut right[0]);
                } else {
                    right[0].move_head(moved, &mut left[other]);
                }
                l.min(other)
            }
            None => {
                // Entries that arrive in rank order fill their leaves.
                let keep = match self.leaves[l].upper_bound(key, rank) {
                    at if at >= LEAF - 2 => LEAF - 4,
                    at if at <= 2 => 4,
                    _ => LEAF / 2,
                };
                let mut next = spare.pop().unwrap_or_else(|| Box::new(Leaf::new()));
                self.leaves[l].move_tail(keep, &mut next);
                self.open(l + 1, next);
                l
            }
        };
        self.renew(first, rank);
        self.renew(first + 1, rank);
        let mut renewed = Fronts::default();
        renewed.add(&self.leaves[first]);
        renewed.add(&self.leaves[first + 1]);
        self.frontier.replace(fronts.pairs(), renewed.pairs());
    }

    /// Joins a sparse leaf to a neighbour with room for it. The block's own summary stays as it is.
    fn join(&mut self, l: usize, rank: Rank, spare: &mut Vec<Box<Leaf>>) {
        let len = self.leaves[l].len();
        let fits = |other: usize| self.leaves.get(other).is_some_and(|leaf| leaf.len() + len <= JOINED);
        let first = if fits(l + 1) {
            l
        } else if l > 0 && fits(l - 1) {
            l - 1
        } else {
            return;
        };
        let mut fronts = Fronts::default();
        fronts.add(&self.leaves[first]);
        fronts.add(&self.leaves[first + 1]);
        let (left, right) = self.leaves.split_at_mut(first + 1);
        let count = right[0].len();
        right[0].move_head(count, &mut left[first]);
        right[0].rebuild_front();
        self.close(first + 1, spare);
        self.renew(first, rank);
        let mut renewed = Fronts::default();
        renewed.add(&self.leaves[first]);
        self.frontier.replace(fronts.pairs(), renewed.pairs());
    }

    /// Moves the leaves from `from` on to `next`, an empty block.
    pub(super) fn split_into(&mut self, from: usize, next: &mut Block, rank: Rank, scratch: &mut Vec<u64>) {
        assert!(next.leaves.is_empty(), "a block splits into an empty one");
        next.leaves.extend(self.leaves.drain(from..));
        next.keys.extend(self.keys.drain(from..));
        let count = next.leaves.len();
        next.most[..count].copy_from_slice(&self.most[from..from + count]);
        self.most[from..].fill(0);
        for (row, own) in next.rows.iter_mut().zip(&mut self.rows) {
            row[..count].copy_from_slice(&own[from..from + count]);
            own[from..].fill(u8::MAX);
        }
        assert!(next.first_key() == next.leaves[0].key(0, rank), "a key is that of the first entry");
        next.rebuild_frontier(scratch);
        self.frontier.subtract(scratch);
    }

    /// Appends the leaves of the block that follows and empties it.
    pub(super) fn absorb(&mut self, next: &mut Block, scratch: &mut Vec<u64>) {
        let (end, count) = (self.leaves.len(), next.leaves.len());
        for (row, other) in self.rows.iter_mut().zip(&next.rows) {
            row[end..end + count].copy_from_slice(&other[..count]);
        }
        self.most[end..end + count].copy_from_slice(&next.most[..count]);
        self.keys.append(&mut next.keys);
        self.leaves.append(&mut next.leaves);
        self.rebuild_frontier(scratch);
        next.reset();
    }

    /// Makes an emptied block like a new one; keeps its memory.
    pub(super) fn reset(&mut self) {
        assert!(self.leaves.is_empty(), "a reset block has lost its leaves");
        self.rows = [[u8::MAX; LEAVES]; A_CODES];
        self.most = [0; LEAVES];
        self.keys.clear();
        self.frontier.clear();
    }

    fn rebuild_frontier(&mut self, scratch: &mut Vec<u64>) {
        scratch.clear();
        for leaf in &self.leaves {
            scratch.extend(leaf.pairs(leaf.front()).map(|(a, b)| pair(a, b)));
        }
        self.frontier.rebuild(scratch);
    }
}

#[cfg(test)]
impl Block {
    /// Checks every summary against the entries.
    pub(super) fn check(&self, rank: Rank) {
        assert!(!self.leaves.is_empty() && self.keys.len() == self.leaves.len());
        let mut fronts = Vec::new();
        for (l, leaf) in self.leaves.iter().enumerate() {
            leaf.check(rank);
            assert_eq!(self.keys[l], leaf.key(0, rank), "the key of leaf {l}");
            assert_eq!(self.most[l], leaf.most(), "the greatest quantity of leaf {l}");
            let column: Vec<u8> = self.rows.iter().map(|row| row[l]).collect();
            assert_eq!(column, leaf.column(rank), "the column of leaf {l}");
            fronts.extend(leaf.pairs(leaf.front()));
        }
        assert!(self.rows.iter().all(|row| row[self.leaves.len()..].iter().all(|&cell| cell == u8::MAX)));
        fronts.sort_unstable();
        assert_eq!(self.frontier.pairs(), fronts, "the frontier holds the leaves' fronts");
    }

    /// Bytes on the heap, this block included.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Block>()
            + LEAVES * (size_of::<Key>() + 8)
            + self.leaves.len() * size_of::<Leaf>()
            + self.frontier.bytes()
    }
}
