//! A cursor that walks the feasible entries in rank order, from the first on or from any.
//!
//! It narrows in three steps, each a comparison of a whole array: blocks by the directory's codes (made exact by the
//! block's frontier where the codes leave a doubt), leaves by the block's codes, entries by their fields.
//!
//! Deliberately absent: any change to the index.

use super::block::Leaves;
use super::codes::{LANES, Mask, first_lanes, quantity_code};
use super::few::Standing;
use super::leaf::bits;
use super::{Entry, ParetoIndex, Query, Source, price_of};

/// A walk over the feasible entries.
pub(super) struct Cursor<'a> {
    index: &'a ParetoIndex,
    query: Query,
    a_code: usize,
    b_code: u8,
    quantity: u16,
    /// The next word of the directory, and what is left of the current one.
    word: usize,
    blocks: Mask,
    sure: Mask,
    /// The current block and leaf, and what is left of them.
    block: usize,
    leaves: Leaves,
    leaf: usize,
    entries: Mask,
    /// Blocks that the codes left in doubt for nothing.
    misses: u32,
}

/// Doubts for nothing before all are settled together.
const PATIENCE: u32 = 2;

impl<'a> Cursor<'a> {
    pub(super) fn new(index: &'a ParetoIndex, query: Query) -> Cursor<'a> {
        Cursor {
            index,
            query,
            a_code: index.rank.a_code(query.a_max),
            b_code: index.rank.b_code(query.b_max),
            quantity: quantity_code(query.quantity),
            word: 0,
            blocks: 0,
            sure: 0,
            block: 0,
            leaves: 0,
            leaf: 0,
            entries: 0,
            misses: 0,
        }
    }

    /// The same from the first entry on that stands after this.
    pub(super) fn after(index: &'a ParetoIndex, query: Query, standing: &Standing, source: &impl Source) -> Cursor<'a> {
        let mut cursor = Cursor::new(index, query);
        let time = |slot| source.time(slot);
        let Some((at, leaf)) = index.last_from(standing.key, standing.time, &time) else { return cursor };
        (cursor.word, cursor.block, cursor.leaf) = (at / LANES, at, leaf);
        if let Some((blocks, sure)) = index.directory.word(cursor.word, cursor.a_code, cursor.b_code) {
            (cursor.blocks, cursor.sure) = (blocks & !first_lanes(at % LANES + 1), sure);
        }
        cursor.word += 1;
        let block = &index.blocks[at];
        if block.frontier().any(query.a_max, query.b_max) {
            let leaves = block.candidates(cursor.a_code, cursor.b_code);
            cursor.leaves = leaves & Leaves::MAX.checked_shl(leaf as u32 + 1).unwrap_or(0);
            let leaf = &block.leaves()[leaf];
            let gone = leaf.last_from(standing.key, standing.time, index.rank, &time);
            cursor.entries = leaf.fitting(query.a_max, query.b_max) & !first_lanes(gone);
        }
        cursor
    }

    /// Lowers the highest price key; entries beyond it are not found any more.
    pub(super) fn limit(&mut self, limit: u32) {
        self.query.limit = limit;
    }

    /// Nothing more fits.
    fn finish(&mut self) -> Option<Entry> {
        (self.entries, self.leaves, self.blocks) = (0, 0, 0);
        self.word = usize::MAX / LANES;
        None
    }

    /// Settles all doubts about the blocks left in this word. Two short loops, so that the processor waits for the
    /// memory of several blocks at once: an adversary can leave a doubt about every block.
    fn settle(&mut self) {
        let (a_max, b_max) = (self.query.a_max, self.query.b_max);
        let start = (self.word - 1) * LANES;
        let within = self.index.keys.partition_point(|&key| price_of(key) <= self.query.limit);
        self.blocks &= first_lanes(within.saturating_sub(start));
        let blocks = &self.index.blocks[start..];
        let mut chunks = [0; LANES];
        for at in bits(self.blocks & !self.sure) {
            chunks[at] = blocks[at].frontier().chunks_to(a_max);
        }
        for at in bits(self.blocks & !self.sure) {
            self.sure |= Mask::from(blocks[at].frontier().any_in(chunks[at], a_max, b_max)) << at;
        }
        self.blocks &= self.sure;
    }

    /// The next block that holds an entry within the attributes, all prices considered; `false` when none is left.
    fn next_block(&mut self) -> bool {
        let index = self.index;
        loop {
            while self.blocks != 0 {
                let bit = self.blocks & self.blocks.wrapping_neg();
                self.blocks ^= bit;
                let at = (self.word - 1) * LANES + bit.trailing_zeros() as usize;
                if price_of(index.keys[at]) > self.query.limit {
                    return false;
                }
                let block = &index.blocks[at];
                let leaves = block.candidates(self.a_code, self.b_code);
                // A few leaves are searched as soon as the frontier is asked.
                let few = self.sure & bit != 0 || leaves.count_ones() <= 2;
                if index.most[at] < self.quantity {
                    continue;
                }
                if !few && !block.frontier().any(self.query.a_max, self.query.b_max) {
                    self.misses += 1;
                    if self.misses > PATIENCE {
                        self.settle();
                    }
                    continue;
                }
                self.block = at;
                self.leaves = leaves;
                return true;
            }
            let Some((blocks, sure)) = index.directory.word(self.word, self.a_code, self.b_code) else { return false };
            (self.blocks, self.sure) = (blocks, sure);
            self.word += 1;
            if self.misses > PATIENCE {
                self.settle();
            }
        }
    }
}

impl Iterator for Cursor<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if self.entries != 0 {
                let at = self.entries.trailing_zeros() as usize;
                self.entries &= self.entries - 1;
                let leaf = &self.index.blocks[self.block].leaves()[self.leaf];
                if leaf.quantity(at) < self.quantity {
                    // Where one offers too little, many may.
                    self.entries &= leaf.offering(self.quantity);
                    continue;
                }
                let entry = leaf.entry(at);
                if entry.price <= self.query.limit {
                    return Some(entry);
                }
                return self.finish();
            }
            if self.leaves != 0 {
                self.leaf = self.leaves.trailing_zeros() as usize;
                self.leaves &= self.leaves - 1;
                let block = &self.index.blocks[self.block];
                if block.leaf_most(self.leaf) >= self.quantity {
                    let leaf = &block.leaves()[self.leaf];
                    self.entries = leaf.fitting(self.query.a_max, self.query.b_max);
                }
            } else if !self.next_block() {
                return self.finish();
            }
        }
    }
}
