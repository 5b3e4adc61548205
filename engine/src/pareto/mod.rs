//! The Pareto index: resting orders whose attributes differ, searched by price, latency and throughput at once.
//!
//! Holds entries `(price, a, b, slot)` in rank order, cut into leaves of up to 64 and blocks of up to 128 leaves. A search
//! wants the first entry with `price <= limit`, `a <= a_max` and `b <= b_max`; summaries let it skip the rest:
//!
//! | level | skips | with |
//! |---|---|---|
//! | [`directory`] | blocks | a row of bytes: per block, the least code of `b` up to a code of `a` |
//! | [`frontier`] | blocks that the codes leave in doubt | the block's undominated pairs, exactly |
//! | [`block`] | leaves | the same row of bytes, per leaf |
//! | [`leaf`] | entries | whole-array comparisons |
//!
//! Searches are in [`search`] (rank order) and [`score`] (weighted sums), what they find in [`few`]; [`segments`] keeps an
//! index for each category.
//!
//! Quantities prune too: each entry keeps a code of what it offers, or more; each leaf and block the greatest of them.
//!
//! Invariants: entries of equal rank stay in the order of their arrival; every summary is exact for what it summarises
//! (quantities: an upper bound). The same calls leave the same index on every machine.
//!
//! Deliberately absent: most orders with the book's main attributes (a price ladder holds them), the orders themselves,
//! quantities beyond a code, any knowledge of markets.
#![expect(clippy::vec_box, reason = "leaves change places often: a pointer moves, not 1,168 bytes")]

mod block;
mod codes;
mod directory;
mod few;
mod frontier;
mod leaf;
mod score;
mod search;
mod segments;
#[cfg(test)]
mod tests;

use block::{Block, LEAVES};
use codes::quantity_code;
use directory::Directory;
pub(crate) use few::{Few, Standing};
use leaf::Leaf;
use score::Floors;
pub(crate) use segments::{Categories, Segments};

/// What ranks an entry before time: price, then the attributes where they count, as one number.
type Key = u128;

fn price_of(key: Key) -> u32 {
    (key >> 64) as u32
}

/// One indexed order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Price key: less is better.
    pub(crate) price: u32,
    /// First attribute: less is better.
    pub(crate) a: u32,
    /// Second attribute: less is better.
    pub(crate) b: u32,
    /// The order's place in the order table; unique within one index.
    pub(crate) slot: u32,
}

/// What orders entries of one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    /// Attribute `a`, then `b`, then time: asks.
    Attributes,
    /// Time alone: bids.
    Time,
}

/// What a search asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query {
    /// Highest price key.
    pub(crate) limit: u32,
    /// Highest `a`.
    pub(crate) a_max: u32,
    /// Highest `b`.
    pub(crate) b_max: u32,
    /// Entries known to offer less may be skipped without being asked about.
    pub(crate) quantity: u64,
    /// How much price, `a` and `b` count: the least sum is wanted, then the first in rank order. Without any weight that is
    /// rank order alone.
    pub(crate) weights: [u16; 3],
}

/// What an index asks about the orders in it.
pub(crate) trait Source {
    /// The order's priority number, earlier first.
    fn time(&self, slot: u32) -> u64;
    /// Units that the order offers.
    fn units(&self, slot: u32) -> u64;
}

impl Rank {
    fn key(self, entry: &Entry) -> Key {
        let attributes = match self {
            Rank::Attributes => frontier::pair(entry.a, entry.b),
            Rank::Time => 0,
        };
        (Key::from(entry.price) << 64) | Key::from(attributes)
    }
}

/// A block with at most this many leaves joins a neighbour if both together have at most `JOINED`.
const SPARSE: usize = LEAVES / 4;
const JOINED: usize = LEAVES * 5 / 8;

const LAST_LEAF: usize = LEAVES - 1;

/// The index. See the module.
#[derive(Clone, Debug)]
pub(crate) struct ParetoIndex {
    rank: Rank,
    len: usize,
    /// Per block: the key of its first entry.
    keys: Vec<Key>,
    /// Per block: its greatest quantity code.
    most: Vec<u16>,
    /// Per block: its least `a` and its least `b`.
    floors: Vec<(u32, u32)>,
    directory: Directory,
    blocks: Vec<Box<Block>>,
    spare_leaves: Vec<Box<Leaf>>,
    spare_blocks: Vec<Box<Block>>,
    scratch: Vec<u64>,
}

impl ParetoIndex {
    /// An empty index; allocates nothing.
    pub(crate) fn new(rank: Rank) -> ParetoIndex {
        ParetoIndex {
            rank,
            len: 0,
            keys: Vec::new(),
            most: Vec::new(),
            floors: Vec::new(),
            directory: Directory::default(),
            blocks: Vec::new(),
            spare_leaves: Vec::new(),
            spare_blocks: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many entries it holds.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds an entry after all of equal rank. `quantity` is the number of units it offers, or more.
    pub(crate) fn insert(&mut self, entry: Entry, quantity: u64) {
        let key = self.rank.key(&entry);
        let quantity = quantity_code(quantity);
        let (block, leaf) = self.place_for(key);
        self.blocks[block].insert(leaf, entry, quantity, self.rank, &mut self.directory.column(block));
        self.keys[block] = self.blocks[block].first_key();
        self.floors[block] = self.blocks[block].frontier().floors();
        self.most[block] = self.most[block].max(quantity);
        self.len += 1;
    }

    /// The block and the leaf for a new entry of this key, with room for it.
    fn place_for(&mut self, key: Key) -> (usize, usize) {
        if self.blocks.is_empty() {
            self.open_block(0);
            let leaf = self.spare_leaves.pop().unwrap_or_else(|| Box::new(Leaf::new()));
            self.blocks[0].open(0, leaf);
        }
        // A full leaf is relieved within its block; a full block splits first. Two rounds at most change anything.
        loop {
            let at = self.keys.partition_point(|&first| first <= key).saturating_sub(1);
            let block = &mut self.blocks[at];
            let leaf = block.leaf_for(key);
            if block.has_room(leaf) {
                return (at, leaf);
            }
            if block.can_relieve(leaf) {
                block.relieve(leaf, key, self.rank, &mut self.spare_leaves);
            } else {
                self.split_block(at, leaf);
            }
        }
    }

    fn open_block(&mut self, at: usize) {
        let block = self.spare_blocks.pop().unwrap_or_else(|| Box::new(Block::new()));
        self.blocks.insert(at, block);
        self.keys.insert(at, 0);
        self.most.insert(at, 0);
        self.floors.insert(at, (0, 0));
        self.directory.open(at);
    }

    fn close_block(&mut self, at: usize) {
        let mut block = self.blocks.remove(at);
        block.reset();
        self.spare_blocks.push(block);
        self.keys.remove(at);
        self.most.remove(at);
        self.floors.remove(at);
        self.directory.close(at);
    }

    /// Splits a full block, one leaf of which is about to receive an entry.
    fn split_block(&mut self, at: usize, leaf: usize) {
        // Entries that arrive in rank order fill their blocks.
        let keep = match leaf {
            LAST_LEAF => LEAVES - 4,
            0 => 4,
            _ => LEAVES / 2,
        };
        self.open_block(at + 1);
        let (left, right) = self.blocks.split_at_mut(at + 1);
        left[at].split_into(keep, &mut right[0], self.rank, &mut self.scratch);
        self.renew(at);
        self.renew(at + 1);
    }

    /// Sets what the directory says of a block.
    fn renew(&mut self, at: usize) {
        let block = &self.blocks[at];
        self.keys[at] = block.first_key();
        self.most[at] = block.most();
        self.floors[at] = block.frontier().floors();
        let mut column = self.directory.column(at);
        for code in 0..codes::A_CODES {
            column.set(code, block.row_least(code));
        }
    }

    /// The block and the leaf that hold an entry.
    fn find(&self, entry: &Entry, time: &impl Fn(u32) -> u64) -> (usize, usize) {
        let found = self.last_from(self.rank.key(entry), time(entry.slot), time);
        crate::invariant(found, "a sought entry is in the index")
    }

    /// The block and the leaf of the last entry that ranks no later than this key and time.
    fn last_from(&self, key: Key, own: u64, time: &impl Fn(u32) -> u64) -> Option<(usize, usize)> {
        let (mut low, mut high) = (0, self.blocks.len());
        while low < high {
            let middle = (low + high) / 2;
            let first = self.keys[middle];
            if first < key || (first == key && time(self.blocks[middle].leaves()[0].first_slot()) <= own) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let at = low.checked_sub(1)?;
        Some((at, self.blocks[at].leaf_of(key, own, time)))
    }

    /// Removes an entry. `time` gives the priority number of any indexed slot, earlier first.
    pub(crate) fn remove(&mut self, entry: Entry, time: impl Fn(u32) -> u64) {
        let (at, leaf) = self.find(&entry, &time);
        let block = &mut self.blocks[at];
        let mut column = self.directory.column(at);
        let removed = block.remove(leaf, entry.slot, self.rank, &mut column, &mut self.spare_leaves);
        let quantity = crate::invariant(removed, "a removed entry is in the index");
        self.len -= 1;
        if block.leaves().is_empty() {
            self.close_block(at);
            return;
        }
        self.keys[at] = block.first_key();
        self.floors[at] = block.frontier().floors();
        if quantity == self.most[at] {
            self.most[at] = block.most();
        }
        if block.leaves().len() <= SPARSE {
            self.join_block(at);
        }
    }

    /// Joins a sparse block to a neighbour with room for it.
    fn join_block(&mut self, at: usize) {
        let count = self.blocks[at].leaves().len();
        let fits = |other: usize| self.blocks.get(other).is_some_and(|b| b.leaves().len() + count <= JOINED);
        let first = if fits(at + 1) {
            at
        } else if at > 0 && fits(at - 1) {
            at - 1
        } else {
            return;
        };
        let (left, right) = self.blocks.split_at_mut(first + 1);
        left[first].absorb(&mut right[0], &mut self.scratch);
        self.close_block(first + 1);
        self.renew(first);
    }

    /// The entry now offers `quantity` units, or fewer.
    pub(crate) fn resize(&mut self, entry: Entry, quantity: u64, time: impl Fn(u32) -> u64) {
        let (at, leaf) = self.find(&entry, &time);
        let quantity = quantity_code(quantity);
        assert!(self.blocks[at].resize(leaf, entry.slot, quantity), "a resized entry is in the index");
        self.most[at] = self.blocks[at].most();
    }

    /// First in rank order that is feasible and accepted.
    pub(crate) fn first(&self, query: &Query, mut accept: impl FnMut(&Entry) -> bool) -> Option<Entry> {
        search::Cursor::new(self, *query).find(|entry| accept(entry))
    }

    /// All feasible entries in rank order, save those known to offer less than the query's quantity.
    pub(crate) fn feasible(&self, query: Query) -> impl Iterator<Item = Entry> {
        search::Cursor::new(self, query)
    }

    /// Offers a list the feasible entries that it wants.
    pub(crate) fn search<S: Source, const N: usize>(&self, query: &Query, source: &S, few: &mut Few<N>) {
        self.search_from(few.after(), query, source, few);
    }

    /// The same; entries up to this standing may be left out.
    fn search_from<S: Source, const N: usize>(
        &self,
        from: Option<Standing>,
        query: &Query,
        source: &S,
        few: &mut Few<N>,
    ) {
        if query.weights != [0; 3] {
            return score::least(self, query, source, few);
        }
        let mut cursor = match from {
            Some(from) => search::Cursor::after(self, *query, &from, source),
            None => search::Cursor::new(self, *query),
        };
        loop {
            // What is found ranks later and later, so a full list leaves no more to hope for than this price.
            cursor.limit(few.limit(query));
            let Some(entry) = cursor.next() else { return };
            if source.units(entry.slot) < query.quantity {
                continue;
            }
            let key = self.rank.key(&entry);
            if !few.offer(Standing { score: 0, key, time: source.time(entry.slot) }, entry.slot) {
                return;
            }
        }
    }

    /// The least code of `b` among all entries whose `a` has at most this code.
    fn least_code(&self, a_code: usize) -> u8 {
        self.directory.least(a_code)
    }

    /// The least of each measure among all entries, of which there is one.
    fn all_floors(&self) -> Floors {
        let (a, b) = self.floors.iter().fold((u32::MAX, u32::MAX), |(a, b), own| (a.min(own.0), b.min(own.1)));
        Floors { price: price_of(self.keys[0]), a, b }
    }

    /// The least of each measure in a block.
    fn floors(&self, at: usize) -> Floors {
        let (a, b) = self.floors[at];
        Floors { price: price_of(self.keys[at]), a, b }
    }

    /// Lowest price key.
    pub(crate) fn best_price(&self) -> Option<u32> {
        self.keys.first().map(|&key| price_of(key))
    }

    /// All entries in rank order.
    fn iter(&self) -> impl Iterator<Item = Entry> {
        let leaves = self.blocks.iter().flat_map(|block| block.leaves());
        leaves.flat_map(|leaf| (0..leaf.len()).map(|at| leaf.entry(at)))
    }
}
