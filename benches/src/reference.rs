//! The plainest book that is right: ordered maps of price levels, each a list in order of arrival.
//!
//! Where the expected answers of generated order files come from, and what the bare book is tested against. It is slow
//! and checks that each order it is asked about is live; a mistake in a generator stops there.

use crate::workload::{Kind, Op, Side, TimeInForce, Trade};
use anyhow::{Context, ensure};
use std::collections::{BTreeMap, HashMap};

/// An order that rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resting {
    /// Where it rests.
    pub(crate) side: Side,
    /// In ticks.
    pub(crate) price: i64,
    /// What is left of it.
    pub(crate) quantity: u64,
}

/// The book.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    bids: BTreeMap<i64, Vec<u64>>,
    asks: BTreeMap<i64, Vec<u64>>,
    orders: HashMap<u64, Resting>,
    resting_bids: u64,
}

impl Reference {
    /// Applies any operation and returns its trades in order.
    ///
    /// # Errors
    /// When the order of a cancel, move or reduce does not rest.
    pub(crate) fn apply(&mut self, op: &Op) -> anyhow::Result<Vec<Trade>> {
        match op.kind {
            Kind::Place => {
                let order = Resting { side: op.side, price: op.price, quantity: op.quantity };
                Ok(self.place(op.id, order, op.time_in_force))
            }
            Kind::Cancel => {
                self.take_out(op.id)?;
                Ok(Vec::new())
            }
            Kind::Move => {
                let order = self.take_out(op.id)?;
                Ok(self.place(op.id, Resting { price: op.price, ..order }, TimeInForce::Gtc))
            }
            Kind::Reduce => {
                let order = self.orders.get_mut(&op.id).with_context(|| format!("order {} does not rest", op.id))?;
                if op.quantity < order.quantity {
                    order.quantity -= op.quantity;
                } else {
                    self.take_out(op.id)?;
                }
                Ok(Vec::new())
            }
        }
    }

    /// The order, if it rests.
    pub(crate) fn order(&self, id: u64) -> Option<Resting> {
        self.orders.get(&id).copied()
    }

    /// The best price of a side.
    pub(crate) fn best(&self, side: Side) -> Option<i64> {
        match side {
            Side::Bid => self.bids.last_key_value().map(|(&price, _)| price),
            Side::Ask => self.asks.first_key_value().map(|(&price, _)| price),
        }
    }

    /// How many orders rest on a side.
    pub(crate) fn count(&self, side: Side) -> u64 {
        match side {
            Side::Bid => self.resting_bids,
            Side::Ask => self.orders.len() as u64 - self.resting_bids,
        }
    }

    fn place(&mut self, id: u64, order: Resting, time_in_force: TimeInForce) -> Vec<Trade> {
        let (mut left, mut trades) = (order.quantity, Vec::new());
        while left > 0 {
            let Some(trade) = self.trade(id, Resting { quantity: left, ..order }) else { break };
            left -= trade.quantity;
            trades.push(trade);
        }
        if left > 0 && time_in_force == TimeInForce::Gtc {
            self.levels(order.side).entry(order.price).or_default().push(id);
            self.orders.insert(id, Resting { quantity: left, ..order });
            self.resting_bids += u64::from(order.side == Side::Bid);
        }
        trades
    }

    /// The next trade of an order that has come, if it crosses.
    fn trade(&mut self, taker: u64, order: Resting) -> Option<Trade> {
        let price = self.best(order.side.opposite()).filter(|&price| match order.side {
            Side::Bid => price <= order.price,
            Side::Ask => price >= order.price,
        })?;
        let maker = *self.levels(order.side.opposite()).get(&price)?.first()?;
        let resting = self.orders.get_mut(&maker)?;
        let quantity = resting.quantity.min(order.quantity);
        resting.quantity -= quantity;
        if resting.quantity == 0 {
            self.take_out(maker).ok()?;
        }
        Some(Trade { maker, taker, price, quantity })
    }

    fn take_out(&mut self, id: u64) -> anyhow::Result<Resting> {
        let order = self.orders.remove(&id).with_context(|| format!("order {id} does not rest"))?;
        self.resting_bids -= u64::from(order.side == Side::Bid);
        let levels = self.levels(order.side);
        let level = levels.get_mut(&order.price).with_context(|| format!("order {id} has no level"))?;
        let before = level.len();
        level.retain(|&other| other != id);
        ensure!(level.len() + 1 == before, "order {id} is not in its level once");
        if level.is_empty() {
            levels.remove(&order.price);
        }
        Ok(order)
    }

    fn levels(&mut self, side: Side) -> &mut BTreeMap<i64, Vec<u64>> {
        match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(kind: Kind, side: Side, id: u64, price: i64, quantity: u64) -> Op {
        Op { kind, side, time_in_force: TimeInForce::Gtc, user: 1, id, price, quantity }
    }

    fn place(side: Side, id: u64, price: i64, quantity: u64) -> Op {
        op(Kind::Place, side, id, price, quantity)
    }

    /// Applies operations and returns all trades as (maker, taker, price, quantity).
    fn trades(ops: &[Op]) -> Vec<(u64, u64, i64, u64)> {
        let mut book = Reference::default();
        let trades = ops.iter().flat_map(|op| book.apply(op).unwrap());
        trades.map(|trade| (trade.maker, trade.taker, trade.price, trade.quantity)).collect()
    }

    #[test]
    fn the_better_price_trades_first_then_the_older_order() {
        let book = [place(Side::Ask, 1, 11, 5), place(Side::Ask, 2, 10, 5), place(Side::Ask, 3, 10, 5)];
        let taker = place(Side::Bid, 4, 11, 12);
        assert_eq!(trades(&[book.as_slice(), &[taker]].concat()), [(2, 4, 10, 5), (3, 4, 10, 5), (1, 4, 11, 2)]);
    }

    #[test]
    fn a_move_goes_to_the_back_and_a_reduce_stays() {
        let book = [place(Side::Bid, 1, 10, 5), place(Side::Bid, 2, 10, 5)];
        let moved = [op(Kind::Move, Side::Bid, 1, 10, 5), place(Side::Ask, 3, 10, 6)];
        assert_eq!(trades(&[book, moved].concat()), [(2, 3, 10, 5), (1, 3, 10, 1)]);
        let reduced = [op(Kind::Reduce, Side::Bid, 1, 10, 3), place(Side::Ask, 3, 10, 6)];
        assert_eq!(trades(&[book, reduced].concat()), [(1, 3, 10, 2), (2, 3, 10, 4)]);
    }

    #[test]
    fn what_an_immediate_order_does_not_trade_is_dropped() {
        let immediate = Op { time_in_force: TimeInForce::Ioc, ..place(Side::Bid, 2, 10, 9) };
        let ops = [place(Side::Ask, 1, 10, 5), immediate, place(Side::Ask, 3, 10, 5)];
        assert_eq!(trades(&ops), [(1, 2, 10, 5)]);
    }

    #[test]
    fn an_order_that_does_not_rest_cannot_be_canceled() {
        let mut book = Reference::default();
        book.apply(&place(Side::Ask, 1, 10, 5)).unwrap();
        book.apply(&op(Kind::Reduce, Side::Ask, 1, 10, 5)).unwrap();
        let error = book.apply(&op(Kind::Cancel, Side::Ask, 1, 10, 0)).unwrap_err();
        assert_eq!(error.to_string(), "order 1 does not rest");
    }
}
