//! Searches by score: the least weighted sums of price, `a` and `b`, then the first in rank order.
//!
//! The least `a` or `b` is the same with the other weights 0. Blocks are visited by a lower bound of their scores. One is
//! searched first, that with the lowest bound; what it holds then narrows the attributes that are still of interest, and
//! rules out most others.
//!
//! Deliberately absent: any change to the index.

use super::codes::{LANES, low, quantity_code};
use super::few::{Few, Standing};
use super::leaf::bits;
use super::{Entry, ParetoIndex, Query, Source, price_of};

/// The least of each measure among some entries: no entry has less of any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Floors {
    pub(super) price: u32,
    pub(super) a: u32,
    pub(super) b: u32,
}

impl Query {
    /// The weighted sum of an entry.
    pub(crate) fn score(&self, entry: &Entry) -> u64 {
        self.bound(&Floors { price: entry.price, a: entry.a, b: entry.b })
    }

    /// No entry with these floors has a lower score.
    pub(super) fn bound(&self, floors: &Floors) -> u64 {
        let [p, a, b] = self.weights.map(u64::from);
        p * u64::from(floors.price) + a * u64::from(floors.a) + b * u64::from(floors.b)
    }

    /// The same query with the highest `a` and `b` with which an entry with these floors scores at most that; none if
    /// there is no such entry.
    pub(super) fn within(&self, most: u64, floors: &Floors) -> Option<Query> {
        let left = most.checked_sub(self.bound(floors))?;
        let [_, a, b] = self.weights.map(u64::from);
        let reach = |weight: u64, least: u32, max: u32| {
            let most = left.checked_div(weight).map_or(u64::MAX, |more| more.saturating_add(u64::from(least)));
            low(most.min(u64::from(max)))
        };
        Some(Query { a_max: reach(a, floors.a, self.a_max), b_max: reach(b, floors.b, self.b_max), ..*self })
    }
}

/// Offers the feasible entries with the least scores.
pub(super) fn least<S: Source, const N: usize>(index: &ParetoIndex, query: &Query, source: &S, few: &mut Few<N>) {
    let mut scorer = Scorer { index, query: *query, source, few };
    let (a_code, b_code) = (index.rank.a_code(query.a_max), index.rank.b_code(query.b_max));
    let within = index.keys.partition_point(|&key| price_of(key) <= query.limit);
    let candidates = || {
        let words =
            (0..within.div_ceil(LANES)).filter_map(|word| Some((word, index.directory.word(word, a_code, b_code)?.0)));
        words.flat_map(|(word, blocks)| bits(blocks).map(move |at| word * LANES + at)).take_while(|&at| at < within)
    };
    let Some(first) = candidates().min_by_key(|&at| query.bound(&index.floors(at))) else { return };
    scorer.search(first);
    for at in candidates().filter(|&at| at != first) {
        scorer.search(at);
    }
}

struct Scorer<'a, S, const N: usize> {
    index: &'a ParetoIndex,
    query: Query,
    source: &'a S,
    few: &'a mut Few<N>,
}

impl<S: Source, const N: usize> Scorer<'_, S, N> {
    fn search(&mut self, at: usize) {
        let index = self.index;
        let (block, floors) = (&index.blocks[at], index.floors(at));
        let quantity = quantity_code(self.query.quantity);
        let Some(most) = self.few.most(index.keys[at], || self.source.time(block.leaves()[0].first_slot())) else {
            return;
        };
        let Some(narrow) = self.query.within(most, &floors) else { return };
        if index.most[at] < quantity || !block.frontier().any(narrow.a_max, narrow.b_max) {
            return;
        }
        let [p, a, b] = narrow.weights.map(u64::from);
        let sum = block.frontier().least_sum(narrow.a_max, narrow.b_max, a, b);
        if sum.saturating_add(p * u64::from(floors.price)) > most {
            return;
        }
        let mut leaves = block.candidates(index.rank.a_code(narrow.a_max), index.rank.b_code(narrow.b_max));
        while leaves != 0 {
            let l = leaves.trailing_zeros() as usize;
            leaves &= leaves - 1;
            let leaf = &block.leaves()[l];
            if block.leaf_most(l) < quantity || leaf.price(0) > self.query.limit {
                continue;
            }
            let floors = Floors { price: leaf.price(0), ..floors };
            let most = self.few.most(leaf.key(0, index.rank), || self.source.time(leaf.first_slot()));
            let narrow = most.and_then(|most| self.query.within(most, &floors));
            let Some(narrow) = narrow else { return };
            let fitting = leaf.fitting(narrow.a_max, narrow.b_max) & leaf.offering(quantity);
            bits(fitting).for_each(|i| self.offer(&leaf.entry(i)));
        }
    }

    fn offer(&mut self, entry: &Entry) {
        let (score, key) = (self.query.score(entry), self.index.rank.key(entry));
        let time = || self.source.time(entry.slot);
        if entry.price <= self.query.limit
            && self.few.admits(score, key, time)
            && self.source.units(entry.slot) >= self.query.quantity
        {
            self.few.offer(Standing { score, key, time: time() }, entry.slot);
        }
    }
}
