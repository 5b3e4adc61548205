//! The index against a sorted list that scans, over seeded streams of operations.

use super::*;
use std::ops::ControlFlow;

mod segments;

/// SplitMix64: the same stream from the same seed everywhere.
struct Stream(u64);

impl Stream {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u32) -> u32 {
        (self.next() % u64::from(bound)) as u32
    }
}

/// How prices and attributes are drawn.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Few values of each: many equal ranks.
    Coarse,
    /// Latency and throughput as they are, cheap is slow.
    Real,
    /// All of `u32`; nothing beats anything in both attributes.
    AntiChain,
    /// One rank for all.
    Equal,
    /// The extremes of `u32`.
    Extreme,
}

const SHAPES: [Shape; 5] = [Shape::Coarse, Shape::Real, Shape::AntiChain, Shape::Equal, Shape::Extreme];

impl Shape {
    fn draw(self, stream: &mut Stream) -> (u32, u32, u32) {
        match self {
            Shape::Coarse => (stream.below(12), stream.below(9), u32::MAX - stream.below(9)),
            Shape::Real => {
                let price = 1_000 + stream.below(9_000);
                let latency = 2_000_000 / price + stream.below(400);
                (price, latency, u32::MAX - price / 20 - stream.below(300))
            }
            Shape::AntiChain => {
                let a = stream.below(u32::MAX);
                (stream.below(50_000), a, u32::MAX - a)
            }
            Shape::Equal => (7, 100, u32::MAX - 100),
            Shape::Extreme => {
                let mut end = || [0, 1, u32::MAX - 1, u32::MAX][stream.below(4) as usize];
                (end(), end(), end())
            }
        }
    }
}

/// The index and the list that it must agree with.
struct Pair {
    rank: Rank,
    index: ParetoIndex,
    list: Vec<Entry>,
    /// By slot: time and quantity.
    orders: Vec<(u64, u64)>,
    free: Vec<u32>,
    clock: u64,
}

impl Pair {
    fn new(rank: Rank) -> Pair {
        let index = ParetoIndex::new(rank);
        Pair { rank, index, list: Vec::new(), orders: Vec::new(), free: Vec::new(), clock: 0 }
    }

    fn insert(&mut self, (price, a, b): (u32, u32, u32), quantity: u64) {
        let slot = self.free.pop().unwrap_or(self.orders.len() as u32);
        self.clock += 1;
        if slot as usize == self.orders.len() {
            self.orders.push((0, 0));
        }
        self.orders[slot as usize] = (self.clock, quantity);
        let entry = Entry { price, a, b, slot };
        let at = self.list.partition_point(|other| self.rank.key(other) <= self.rank.key(&entry));
        self.list.insert(at, entry);
        self.index.insert(entry, quantity);
    }

    fn remove(&mut self, at: usize) {
        let entry = self.list.remove(at);
        self.index.remove(entry, |slot| self.orders[slot as usize].0);
        self.free.push(entry.slot);
    }

    fn resize(&mut self, at: usize, quantity: u64) {
        let entry = self.list[at];
        self.orders[entry.slot as usize].1 = quantity;
        self.index.resize(entry, quantity, |slot| self.orders[slot as usize].0);
    }

    fn query(&self, stream: &mut Stream, shape: Shape) -> Query {
        // Half of the queries sit on an entry or just miss it.
        let (limit, a_max, b_max) = match self.list.get(stream.below(2 * self.list.len() as u32 + 1) as usize) {
            Some(near) => {
                let miss = stream.below(4);
                let less = |value: u32, bit: u32| value.saturating_sub(u32::from(miss & bit != 0));
                let limit = if stream.below(2) == 0 { u32::MAX } else { near.price };
                (limit, less(near.a, 1), less(near.b, 2))
            }
            None => shape.draw(stream),
        };
        Query { limit, a_max, b_max, quantity: u64::from(stream.below(3)) * 20, weights: [0; 3] }
    }

    /// Asks everything of both.
    fn compare(&self, query: Query, weights: [u16; 3]) {
        let enough = |entry: &Entry| self.orders[entry.slot as usize].1 >= query.quantity;
        let feasible: Vec<Entry> = self
            .list
            .iter()
            .filter(|e| e.price <= query.limit && e.a <= query.a_max && e.b <= query.b_max && enough(e))
            .copied()
            .collect();
        let context = format!("{query:?} of {} entries", self.list.len());
        assert_eq!(self.index.first(&query, enough), feasible.first().copied(), "first: {context}");
        assert!(self.index.feasible(query).filter(enough).eq(feasible.iter().copied()), "feasible: {context}");
        match self.rank {
            Rank::Attributes => {}
            Rank::Time => return,
        }
        for weights in [[0; 3], [0, 1, 0], [0, 0, 1], weights] {
            self.compare_order(&Query { weights, ..query }, &feasible);
        }
    }

    /// Asks for the few best, and for those after them.
    fn compare_order(&self, query: &Query, feasible: &[Entry]) {
        let standing = |e: &Entry| Standing::of(query, e, self.rank, self.orders[e.slot as usize].0);
        let mut expected: Vec<_> = feasible.iter().map(|e| (standing(e), e.slot)).collect();
        expected.sort_unstable();
        let mut one = Few::<1>::new(1, None);
        self.index.search(query, self, &mut one);
        assert_eq!(one.found().first(), expected.first(), "best: {query:?} of {} entries", self.list.len());
        let (mut room, mut last) = (1, None);
        let mut rest = expected.as_slice();
        for _ in 0..6 {
            let mut few = Few::<8>::new(room, last);
            self.index.search(query, self, &mut few);
            let (next, later) = rest.split_at(room.min(rest.len()));
            assert_eq!(few.found(), next, "{room} after {last:?}: {query:?} of {} entries", self.list.len());
            (room, last, rest) = ((2 * room).min(8), next.last().map(|next| next.0).or(last), later);
        }
    }

    fn check(&self) {
        assert_eq!(self.index.len(), self.list.len());
        assert_eq!(self.index.is_empty(), self.list.is_empty());
        assert_eq!(self.index.best_price(), self.list.first().map(|e| e.price));
        assert!(self.index.iter().eq(self.list.iter().copied()), "entries in rank order");
        self.index.check();
    }
}

impl Source for Pair {
    fn time(&self, slot: u32) -> u64 {
        self.orders[slot as usize].0
    }

    fn units(&self, slot: u32) -> u64 {
        self.orders[slot as usize].1
    }
}

impl ParetoIndex {
    /// Checks every summary against what it summarises.
    fn check(&self) {
        assert!(self.keys.len() == self.blocks.len() && self.most.len() == self.blocks.len());
        let mut directory = self.directory.clone();
        for (at, block) in self.blocks.iter().enumerate() {
            block.check(self.rank);
            assert_eq!(self.keys[at], block.first_key());
            assert_eq!(self.most[at], block.most());
            assert_eq!(self.floors[at], block.frontier().floors());
            let column = directory.column(at);
            for code in 0..codes::A_CODES {
                assert_eq!(column.get(code), block.row_least(code), "the directory's cell of block {at}, code {code}");
            }
        }
    }
}

impl ParetoIndex {
    /// Bytes on the heap.
    fn bytes(&self) -> usize {
        let spare = self.spare_blocks.iter().map(|block| block.bytes()).sum::<usize>();
        let blocks = self.blocks.iter().map(|block| block.bytes()).sum::<usize>();
        let flat = self.blocks.capacity() * (size_of::<Key>() + 2 + 8 + 8) + self.scratch.capacity() * 8;
        blocks + spare + self.spare_leaves.len() * size_of::<Leaf>() + self.directory.bytes() + flat
    }
}

/// Fills to `size`, then inserts, removes, grows and asks for `steps` steps, then empties.
fn check_stream(seed: u64, rank: Rank, shape: Shape, size: usize, steps: usize) {
    let mut stream = Stream(seed);
    let mut pair = Pair::new(rank);
    let insert = |pair: &mut Pair, stream: &mut Stream| {
        let quantity = u64::from(stream.below(60));
        pair.insert(shape.draw(stream), quantity);
    };
    while pair.list.len() < size {
        insert(&mut pair, &mut stream);
    }
    pair.check();
    for step in 0..steps {
        match stream.below(20) {
            0..9 => insert(&mut pair, &mut stream),
            9..18 if !pair.list.is_empty() => {
                let at = stream.below(pair.list.len() as u32) as usize;
                pair.remove(at);
            }
            18 if !pair.list.is_empty() => {
                let at = stream.below(pair.list.len() as u32) as usize;
                pair.resize(at, u64::from(stream.below(50)));
            }
            _ => {}
        }
        if step % 16 == 0 || size < 100 {
            let weights = [1 + stream.below(3), 1 + stream.below(900), 1 + stream.below(65_535)];
            pair.compare(pair.query(&mut stream, shape), weights.map(|w| w as u16));
        }
        if step % (size / 4 + 1) == 0 {
            pair.check();
        }
    }
    let mut left = 0;
    while !pair.list.is_empty() {
        let at = stream.below(pair.list.len() as u32) as usize;
        pair.remove(at);
        left += 1;
        if left % (size / 4 + 1) == 0 {
            pair.check();
            pair.compare(pair.query(&mut stream, shape), [1, 1, 1]);
        }
    }
    pair.check();
}

#[test]
fn every_question_is_answered_as_by_a_sorted_list_within_a_leaf() {
    for seed in 0..20 {
        for shape in SHAPES {
            check_stream(seed, Rank::Attributes, shape, 20, 300);
            check_stream(seed, Rank::Time, shape, 20, 300);
        }
    }
}

#[test]
fn every_question_is_answered_as_by_a_sorted_list_within_a_block() {
    for shape in SHAPES {
        check_stream(1, Rank::Attributes, shape, 600, 2_000);
        check_stream(2, Rank::Time, shape, 600, 2_000);
    }
}

#[test]
fn every_question_is_answered_as_by_a_sorted_list_across_blocks() {
    for shape in SHAPES {
        check_stream(3, Rank::Attributes, shape, 20_000, 4_000);
        check_stream(4, Rank::Time, shape, 10_000, 2_000);
    }
}

#[test]
fn entries_in_rank_order_fill_their_leaves_and_blocks() {
    let mut index = ParetoIndex::new(Rank::Attributes);
    for slot in 0..20_000 {
        index.insert(Entry { price: slot, a: 5, b: 5, slot }, 1);
    }
    index.check();
    let leaves: usize = index.blocks.iter().map(|block| block.leaves().len()).sum();
    assert!(leaves <= 20_000 / 56, "{leaves} leaves");
    assert!(index.blocks.len() <= leaves / 56 + 1, "{} blocks", index.blocks.len());
}

#[test]
fn an_entry_costs_few_bytes_and_an_undominated_one_a_few_more() {
    for (shape, most) in [(Shape::Real, 31), (Shape::Equal, 26), (Shape::AntiChain, 47)] {
        let mut stream = Stream(6);
        let mut index = ParetoIndex::new(Rank::Attributes);
        for slot in 0..100_000 {
            let (price, a, b) = shape.draw(&mut stream);
            index.insert(Entry { price, a, b, slot }, 1);
        }
        let bytes = index.bytes() / index.len();
        assert!(bytes <= most, "{bytes} bytes per entry, {shape:?}");
    }
}

#[test]
fn the_directory_answers_for_many_blocks_as_their_columns_do() {
    let mut stream = Stream(8);
    let mut directory = Directory::default();
    let mut columns: Vec<[u8; codes::A_CODES]> = Vec::new();
    for step in 0..600 {
        if columns.len() < 2 || (step < 300 && stream.below(4) > 0) || stream.below(2) == 0 {
            let at = stream.below(columns.len() as u32 + 1) as usize;
            let column = std::array::from_fn(|_| stream.next() as u8);
            directory.open(at);
            columns.insert(at, column);
            column.iter().enumerate().for_each(|(code, &cell)| directory.column(at).set(code, cell));
        } else {
            let at = stream.below(columns.len() as u32) as usize;
            directory.close(at);
            columns.remove(at);
        }
        let (a_code, b_code) = (stream.below(codes::A_CODES as u32) as usize, stream.next() as u8);
        for (word, columns) in columns.chunks(codes::LANES).enumerate() {
            let bit = |at: usize, is: bool| codes::Mask::from(is) << at;
            let all = columns.iter().enumerate();
            let maybe = all.clone().fold(0, |mask, (at, column)| mask | bit(at, column[a_code] <= b_code));
            let sure = all.fold(0, |mask, (at, column)| mask | bit(at, a_code > 0 && column[a_code - 1] < b_code));
            let (found, certain) = directory.word(word, a_code, b_code).unwrap();
            assert_eq!((found, certain & found), (maybe, sure & maybe), "word {word} after step {step}");
        }
        assert_eq!(directory.word(columns.len().div_ceil(codes::LANES), a_code, b_code), None);
    }
}

#[test]
fn an_ask_that_beats_all_comes_and_goes_without_a_trace() {
    let mut pair = Pair::new(Rank::Attributes);
    let mut stream = Stream(9);
    for _ in 0..10_000 {
        pair.insert(Shape::AntiChain.draw(&mut stream), 1);
    }
    for price in [0, 25_000, 60_000] {
        pair.insert((price, 0, 0), 1);
        pair.index.check();
        let at = pair.list.iter().position(|e| e.a == 0 && e.b == 0).unwrap();
        pair.compare(Query { limit: u32::MAX, a_max: 0, b_max: 0, quantity: 0, weights: [0; 3] }, [1, 1, 1]);
        pair.remove(at);
        pair.check();
    }
}

#[test]
fn an_ask_known_to_be_too_small_is_not_asked_about() {
    let mut index = ParetoIndex::new(Rank::Attributes);
    for slot in 0..5_000 {
        index.insert(Entry { price: slot, a: 5, b: 5, slot }, if slot == 4_000 { 100 } else { 99 });
    }
    let query = Query { limit: u32::MAX, a_max: 9, b_max: 9, quantity: 100, weights: [0; 3] };
    let mut asked = 0;
    let first = index.first(&query, |_| {
        asked += 1;
        true
    });
    assert_eq!((first.map(|e| e.slot), asked), (Some(4_000), 1));
}

#[test]
fn memory_is_kept_and_reused_when_all_entries_go() {
    let mut pair = Pair::new(Rank::Time);
    let mut stream = Stream(5);
    for _ in 0..2 {
        for _ in 0..12_000 {
            pair.insert(Shape::Real.draw(&mut stream), 1);
        }
        while let Some(last) = pair.list.len().checked_sub(1) {
            pair.remove(last);
        }
    }
    assert!(pair.index.blocks.is_empty() && pair.index.spare_blocks.len() >= 2);
}

#[test]
fn codes_are_monotone_and_small_values_are_exact() {
    for rank in [Rank::Attributes, Rank::Time] {
        let values =
            (0..33).flat_map(|octave| (0..40).map(move |step| ((1_u64 << octave) / 40 * step).min(0xffff_ffff)));
        let mut values: Vec<u32> = values.map(|v| v as u32).flat_map(|v| [v, u32::MAX - v]).collect();
        values.sort_unstable();
        for two in values.windows(2) {
            assert!(
                rank.a_code(two[0]) <= rank.a_code(two[1]) && rank.b_code(two[0]) <= rank.b_code(two[1]),
                "{two:?}"
            );
        }
    }
    assert_eq!((0..9).map(|a| Rank::Attributes.a_code(a)).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
    let quantities = (0..=u16::MAX).map(|shift| (u64::MAX >> (shift % 64)).wrapping_sub(u64::from(shift / 64)));
    let mut quantities: Vec<u64> = quantities.collect();
    quantities.sort_unstable();
    assert!(quantities.windows(2).all(|two| quantity_code(two[0]) <= quantity_code(two[1])));
    let small = (0..2_048).try_for_each(|q| {
        if u64::from(quantity_code(q)) == q { ControlFlow::Continue(()) } else { ControlFlow::Break(q) }
    });
    assert_eq!(small, ControlFlow::Continue(()));
}
