//! One instrument's order book: which orders rest, in which order they trade, and the totals of each
//! price level.
//!
//! Priority: asks by price, then latency, then throughput, then time; bids by price, then time. A bid
//! takes the first ask in that order which meets its constraints, so no other ask that meets them is
//! better on (price, latency, throughput): the choice is on the Pareto frontier.
//!
//! The book holds ranks and ids only; the orders themselves live in the engine's table. A bid may
//! rest above an ask that its constraints exclude, so best bid may exceed best ask.

use crate::{Attributes, OrderId, Price, Quantity, Side};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Where an ask stands; the smallest is taken first. Field order is the priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AskRank {
    pub(crate) price: Price,
    latency_ms: u32,
    throughput_inverted: u32,
    pub(crate) order: OrderId,
}

impl AskRank {
    pub(crate) fn new(price: Price, attributes: &Attributes, order: OrderId) -> AskRank {
        let throughput_inverted = u32::MAX - attributes.throughput_tps;
        AskRank { price, latency_ms: attributes.latency_ms, throughput_inverted, order }
    }
}

/// Where a bid stands; the smallest is taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BidRank {
    price_inverted: u64,
    pub(crate) order: OrderId,
}

impl BidRank {
    pub(crate) fn new(price: Price, order: OrderId) -> BidRank {
        BidRank { price_inverted: u64::MAX - price.0, order }
    }

    pub(crate) fn price(self) -> Price {
        Price(u64::MAX - self.price_inverted)
    }
}

/// Totals of one price level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) quantity: Quantity,
    pub(crate) orders: u32,
}

/// The resting orders of one instrument.
#[derive(Debug, Default)]
pub(crate) struct Book {
    asks: BTreeSet<AskRank>,
    bids: BTreeSet<BidRank>,
    ask_levels: BTreeMap<Price, Level>,
    bid_levels: BTreeMap<Price, Level>,
}

impl Book {
    /// Asks in the order a bid takes them.
    pub(crate) fn asks(&self) -> impl Iterator<Item = AskRank> {
        self.asks.iter().copied()
    }

    /// Bids in the order an ask takes them.
    pub(crate) fn bids(&self) -> impl Iterator<Item = BidRank> {
        self.bids.iter().copied()
    }

    /// Adds an ask; returns its level's new totals.
    pub(crate) fn insert_ask(&mut self, rank: AskRank, quantity: Quantity) -> Level {
        let fresh = self.asks.insert(rank);
        assert!(fresh, "an order rests once");
        grow(&mut self.ask_levels, rank.price, quantity, 1)
    }

    /// Adds a bid; returns its level's new totals.
    pub(crate) fn insert_bid(&mut self, rank: BidRank, quantity: Quantity) -> Level {
        let fresh = self.bids.insert(rank);
        assert!(fresh, "an order rests once");
        grow(&mut self.bid_levels, rank.price(), quantity, 1)
    }

    /// Removes an ask that rests with `quantity`; returns its level's new totals.
    pub(crate) fn remove_ask(&mut self, rank: AskRank, quantity: Quantity) -> Level {
        let known = self.asks.remove(&rank);
        assert!(known, "only a resting order leaves the book");
        shrink(&mut self.ask_levels, rank.price, quantity, 1)
    }

    /// Removes a bid that rests with `quantity`; returns its level's new totals.
    pub(crate) fn remove_bid(&mut self, rank: BidRank, quantity: Quantity) -> Level {
        let known = self.bids.remove(&rank);
        assert!(known, "only a resting order leaves the book");
        shrink(&mut self.bid_levels, rank.price(), quantity, 1)
    }

    /// Takes units off a level whose order stays; returns the level's new totals.
    pub(crate) fn reduce(&mut self, side: Side, price: Price, quantity: Quantity) -> Level {
        shrink(self.levels_mut(side), price, quantity, 0)
    }

    /// Returns units to a level whose order stayed; returns the level's new totals.
    pub(crate) fn restore(&mut self, side: Side, price: Price, quantity: Quantity) -> Level {
        grow(self.levels_mut(side), price, quantity, 0)
    }

    fn levels_mut(&mut self, side: Side) -> &mut BTreeMap<Price, Level> {
        match side {
            Side::Bid => &mut self.bid_levels,
            Side::Ask => &mut self.ask_levels,
        }
    }

    /// Levels of a side, lowest price first.
    pub(crate) fn levels(&self, side: Side) -> &BTreeMap<Price, Level> {
        match side {
            Side::Bid => &self.bid_levels,
            Side::Ask => &self.ask_levels,
        }
    }
}

fn grow(levels: &mut BTreeMap<Price, Level>, price: Price, quantity: Quantity, orders: u32) -> Level {
    let level = levels.entry(price).or_default();
    level.quantity.0 += quantity.0;
    level.orders += orders;
    *level
}

fn shrink(levels: &mut BTreeMap<Price, Level>, price: Price, quantity: Quantity, orders: u32) -> Level {
    let Entry::Occupied(mut entry) = levels.entry(price) else {
        return crate::invariant(None, "a resting order has a level");
    };
    let level = entry.get_mut();
    level.quantity.0 -= quantity.0; // A profile without overflow checks does not exist here.
    level.orders -= orders;
    let left = *level;
    if left.orders == 0 {
        assert_eq!(left.quantity, Quantity(0), "an empty level holds no units");
        entry.remove();
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(price: u64, latency_ms: u32, throughput_tps: u32, order: u64) -> AskRank {
        let attributes = Attributes { latency_ms, throughput_tps, ..Attributes::default() };
        AskRank::new(Price(price), &attributes, OrderId(order))
    }

    #[test]
    fn asks_rank_by_price_then_latency_then_throughput_then_time() {
        let mut book = Book::default();
        let expected = [ask(10, 5, 90, 6), ask(10, 5, 50, 3), ask(10, 5, 50, 4), ask(10, 9, 99, 1), ask(11, 1, 99, 2)];
        for rank in [expected[4], expected[2], expected[0], expected[3], expected[1]] {
            book.insert_ask(rank, Quantity(1));
        }
        assert_eq!(book.asks().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn bids_rank_by_price_then_time() {
        let mut book = Book::default();
        for (price, order) in [(10, 2), (11, 3), (10, 1)] {
            book.insert_bid(BidRank::new(Price(price), OrderId(order)), Quantity(1));
        }
        let order: Vec<u64> = book.bids().map(|rank| rank.order.0).collect();
        assert_eq!(order, [3, 1, 2]);
    }

    #[test]
    fn a_level_disappears_with_its_last_order() {
        let mut book = Book::default();
        book.insert_ask(ask(10, 0, 0, 1), Quantity(5));
        book.insert_ask(ask(10, 0, 0, 2), Quantity(7));
        assert_eq!(book.reduce(Side::Ask, Price(10), Quantity(4)), Level { quantity: Quantity(8), orders: 2 });
        assert_eq!(book.remove_ask(ask(10, 0, 0, 1), Quantity(1)), Level { quantity: Quantity(7), orders: 1 });
        assert_eq!(book.remove_ask(ask(10, 0, 0, 2), Quantity(7)), Level::default());
        assert!(book.levels(Side::Ask).is_empty());
    }
}
