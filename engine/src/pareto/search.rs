//! Searches: a cursor that walks the feasible entries in rank order, and a search for the least weighted sum.
//!
//! A cursor narrows in three steps, each a comparison of a whole array: blocks by the directory's codes (made exact by
//! the block's frontier where the codes leave a doubt), leaves by the block's codes, entries by their fields.
//! The least sum visits blocks by a lower bound instead, and narrows the query with each better entry found.
//!
//! Deliberately absent: any change to the index.

use super::block::Leaves;
use super::codes::{LANES, Mask, first_lanes, low, quantity_code};
use super::leaf::bits;
use super::{Entry, ParetoIndex, Query, price_of};

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

/// A search for the least weighted sum of price, `a` and `b`.
struct Scorer<'a> {
    index: &'a ParetoIndex,
    query: Query,
    weights: [u64; 3],
    /// The least score so far, the block it is in, and whose it is.
    best: Option<(u64, usize, Entry)>,
}

/// Feasible and accepted with the least weighted sum of price, `a` and `b`, then first in rank order.
///
/// The least `a` or `b` is the same with the other weights 0. One block is searched first, that with the lowest bound;
/// its best entry then rules out most others.
pub(super) fn least_score(
    index: &ParetoIndex,
    query: &Query,
    weights: [u64; 3],
    mut accept: impl FnMut(&Entry) -> bool,
) -> Option<Entry> {
    let mut scorer = Scorer { index, query: *query, weights, best: None };
    let (a_code, b_code) = (index.rank.a_code(query.a_max), index.rank.b_code(query.b_max));
    let within = index.keys.partition_point(|&key| price_of(key) <= query.limit);
    let candidates = || {
        let words =
            (0..within.div_ceil(LANES)).filter_map(|word| Some((word, index.directory.word(word, a_code, b_code)?.0)));
        words.flat_map(|(word, blocks)| bits(blocks).map(move |at| word * LANES + at)).take_while(|&at| at < within)
    };
    let first = candidates().min_by_key(|&at| scorer.bound(at))?;
    scorer.search(first, &mut accept);
    for at in candidates().filter(|&at| at != first) {
        scorer.search(at, &mut accept);
    }
    scorer.best.map(|(_, _, entry)| entry)
}

impl Scorer<'_> {
    /// No entry of the block has a lower score.
    fn bound(&self, at: usize) -> u64 {
        let [p, a, b] = self.weights;
        let (least_a, least_b) = self.index.floors[at];
        p * u64::from(price_of(self.index.keys[at])) + a * u64::from(least_a) + b * u64::from(least_b)
    }

    /// Whether an entry of this block and score would be the best so far.
    fn beats(&self, score: u64, at: usize) -> bool {
        self.best.is_none_or(|(least, block, _)| (score, at) < (least, block))
    }

    /// The highest `a` and `b` with which an entry of this price, in this block, may be the best.
    fn reach(&self, at: usize, price: u32) -> Option<(u32, u32)> {
        let (a_max, b_max) = (self.query.a_max, self.query.b_max);
        let Some((least, block, _)) = self.best else { return Some((a_max, b_max)) };
        // Of equal scores the earlier block's stands.
        let least = least.checked_sub(u64::from(block <= at))?;
        let [p, a, b] = self.weights;
        let (least_a, least_b) = self.index.floors[at];
        let (least_a, least_b) = (a * u64::from(least_a), b * u64::from(least_b));
        let left = least.checked_sub(p * u64::from(price) + least_a + least_b)?;
        let most = |weight: u64, least: u64, max: u32| {
            (left + least).checked_div(weight).map_or(max, |most| low(most.min(u64::from(max))))
        };
        Some((most(a, least_a, a_max), most(b, least_b, b_max)))
    }

    fn search(&mut self, at: usize, accept: &mut impl FnMut(&Entry) -> bool) {
        if !self.beats(self.bound(at), at) {
            return;
        }
        let index = self.index;
        let (block, price) = (&index.blocks[at], price_of(index.keys[at]));
        let quantity = quantity_code(self.query.quantity);
        let Some((a_max, b_max)) = self.reach(at, price) else { return };
        let [p, a, b] = self.weights;
        if index.most[at] < quantity || !block.frontier().any(a_max, b_max) {
            return;
        }
        let sum = block.frontier().least_sum(a_max, b_max, a, b);
        if !self.beats(p * u64::from(price) + sum, at) {
            return;
        }
        let mut leaves = block.candidates(index.rank.a_code(a_max), index.rank.b_code(b_max));
        while leaves != 0 {
            let l = leaves.trailing_zeros() as usize;
            leaves &= leaves - 1;
            let leaf = &block.leaves()[l];
            if block.leaf_most(l) < quantity || leaf.price(0) > self.query.limit {
                continue;
            }
            let Some((a_max, b_max)) = self.reach(at, leaf.price(0)) else { return };
            for entry in bits(leaf.fitting(a_max, b_max) & leaf.offering(quantity)).map(|i| leaf.entry(i)) {
                let score = p * u64::from(entry.price) + a * u64::from(entry.a) + b * u64::from(entry.b);
                if entry.price <= self.query.limit && self.beats(score, at) && accept(&entry) {
                    self.best = Some((score, at, entry));
                }
            }
        }
    }
}
