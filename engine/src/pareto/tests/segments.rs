//! Segments against a list that is sorted and filtered, over seeded streams of operations.

use super::*;
use crate::pareto::segments::only;

/// The segments and the list that they must agree with.
struct Both {
    segments: Segments,
    list: Vec<(u32, Entry)>,
    /// By slot: time and quantity.
    orders: Vec<(u64, u64)>,
}

impl Source for Both {
    fn time(&self, slot: u32) -> u64 {
        self.orders[slot as usize].0
    }

    fn units(&self, slot: u32) -> u64 {
        self.orders[slot as usize].1
    }
}

impl Both {
    fn insert(&mut self, category: u32, (price, a, b): (u32, u32, u32), quantity: u64) {
        let slot = self.orders.len() as u32;
        self.orders.push((u64::from(slot) + 1, quantity));
        let entry = Entry { price, a, b, slot };
        self.list.push((category, entry));
        self.segments.insert(category, entry, quantity);
    }

    fn remove(&mut self, at: usize) {
        let (category, entry) = self.list.swap_remove(at);
        self.segments.remove(category, entry, |slot| self.orders[slot as usize].0);
    }

    /// Walks through what a query wants, a few at a time.
    fn compare(&self, accepted: Categories, query: &Query) {
        let standing = |e: &Entry| Standing::of(query, e, Rank::Attributes, self.time(e.slot));
        let fits = |e: &Entry| e.price <= query.limit && e.a <= query.a_max && e.b <= query.b_max;
        let wanted = self.list.iter().filter(|(category, e)| only(*category) & !accepted == 0 && fits(e));
        let mut in_reach: Vec<u32> = wanted.clone().map(|(_, e)| e.slot).collect();
        let wanted = wanted.filter(|(_, e)| self.units(e.slot) >= query.quantity);
        let mut expected: Vec<_> = wanted.map(|(_, e)| (standing(e), e.slot)).collect();
        expected.sort_unstable();
        let mut one = Few::<1>::new(1, None);
        self.segments.search(accepted, query, self, &mut one);
        assert_eq!(one.found().first(), expected.first(), "best: {query:?} of {accepted:x}");
        let (mut room, mut found) = (1, Vec::new());
        for _ in 0..40 {
            let mut few = Few::<16>::new(room, found.last().map(|&(last, _)| last));
            self.segments.search(accepted, query, self, &mut few);
            found.extend_from_slice(few.found());
            if !few.is_full() {
                assert_eq!(found.len(), expected.len(), "a walk ends at the end: {query:?} of {accepted:x}");
                break;
            }
            room = (2 * room).min(16);
        }
        assert_eq!(found, expected[..found.len()], "walk: {query:?} of {accepted:x}");
        let mut feasible: Vec<u32> =
            self.segments.feasible(accepted, Query { quantity: 0, ..*query }).map(|e| e.slot).collect();
        feasible.sort_unstable();
        in_reach.sort_unstable();
        assert_eq!(feasible, in_reach, "feasible: {query:?} of {accepted:x}");
    }

    fn check(&self) {
        self.segments.check();
        assert_eq!(self.segments.best_price(), self.list.iter().map(|(_, e)| e.price).min());
        assert_eq!(self.segments.is_empty(), self.list.is_empty());
    }
}

/// Some digits of each group, or all.
fn some_categories(stream: &mut Stream) -> Categories {
    let mut set = || match stream.below(3) {
        0 => 0xffff,
        1 => 1 << stream.below(4),
        _ => u64::from(stream.below(16)),
    };
    set() | set() << 16 | set() << 32
}

/// `digits` is how many digits of each group are in use.
fn check_stream(seed: u64, shape: Shape, digits: u32, size: usize, steps: usize) {
    let mut stream = Stream(seed);
    let mut both = Both { segments: Segments::default(), list: Vec::new(), orders: Vec::new() };
    let insert = |both: &mut Both, stream: &mut Stream| {
        let mut digit = || stream.below(digits);
        let category = digit() | digit() << 4 | digit() << 8;
        let quantity = u64::from(stream.below(60));
        both.insert(category, shape.draw(stream), quantity);
    };
    for step in 0..size + steps {
        let shrinks = step >= size && ((step - size) / size).is_multiple_of(2);
        if !both.list.is_empty() && stream.below(10) < if shrinks { 8 } else { 2 } {
            let at = stream.below(both.list.len() as u32) as usize;
            both.remove(at);
        } else {
            insert(&mut both, &mut stream);
        }
        if step % (size / 40).max(16) == 0 {
            both.check();
            let near = both.list.get(stream.below(both.list.len() as u32 + 1) as usize);
            let (price, a, b) = near.map_or_else(|| shape.draw(&mut stream), |(_, e)| (e.price, e.a, e.b));
            let limit = if stream.below(2) == 0 { u32::MAX - 1 } else { price };
            let (a_max, b_max) = if stream.below(4) == 0 { (u32::MAX, u32::MAX) } else { (a, b) };
            let weights = match stream.below(5) {
                0 => [0, 1, 0],
                1 => [0, 0, 1],
                2 => [1 + stream.below(3) as u16, 1 + stream.below(900) as u16, 1 + stream.below(65_535) as u16],
                _ => [0; 3],
            };
            let query = Query { limit, a_max, b_max, quantity: u64::from(stream.below(3)) * 20, weights };
            both.compare(some_categories(&mut stream), &query);
        }
    }
    while let Some(last) = both.list.len().checked_sub(1) {
        both.remove(last);
    }
    both.check();
}

#[test]
fn every_walk_finds_what_a_sorted_list_holds() {
    for seed in 0..4 {
        for shape in [Shape::Coarse, Shape::Real, Shape::AntiChain, Shape::Equal] {
            for (digits, size) in [(1, 100), (2, 300), (3, 40), (4, 600)] {
                check_stream(seed, shape, digits, size, 4 * size);
            }
        }
    }
}

#[test]
fn walks_cross_leaves_and_blocks() {
    for shape in [Shape::Coarse, Shape::Real, Shape::AntiChain, Shape::Equal] {
        check_stream(7, shape, 1, 12_000, 200);
        check_stream(8, shape, 2, 6_000, 200);
    }
}

#[test]
fn a_segment_that_empties_leaves_its_memory_to_the_next() {
    let mut both = Both { segments: Segments::default(), list: Vec::new(), orders: Vec::new() };
    for category in 0..200 {
        both.insert(category, (1, 2, 3), 4);
        both.remove(0);
    }
    assert!(both.segments.is_empty() && both.segments.spare() == 1);
}
