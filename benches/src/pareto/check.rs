//! The right answers, by looking at every open order.

use crate::pareto::exchange::Exchange;
use anyhow::{Context, ensure};
use gollem_engine::{Attributes, Constraints, Engine, NewOrder, OrderId, Preference, Terms};
use std::cmp::Reverse;

/// Bids of which the answers are checked.
const SAMPLE: usize = 8;

/// Every preference there is, with its name.
pub(crate) const PREFERENCES: [(&str, Preference); 4] = [
    ("find", Preference::Price),
    ("find-latency", Preference::Latency),
    ("find-throughput", Preference::Throughput),
    ("find-weights", Preference::Weights { price: 3, latency: 100, throughput: 1_000 }),
];

/// An ask as the engine tells it.
#[derive(Clone, Copy, Debug)]
struct Row {
    order: OrderId,
    ticks: u64,
    attributes: Attributes,
    remaining: u64,
}

/// All asks, oldest first. None of them ever lost its place: no measured value changes and nothing is moved.
#[derive(Debug)]
pub(crate) struct Rows(Vec<Row>);

impl Rows {
    /// The asks of the engine now.
    pub(crate) fn of(engine: &Engine) -> Rows {
        let rows = engine.orders().into_iter().filter_map(|order| {
            let row =
                |attributes| Row { order: order.id, ticks: order.price.0, attributes, remaining: order.remaining.0 };
            order.effective.map(row)
        });
        Rows(rows.collect())
    }

    /// The ask that a bid for one ask at any price takes.
    pub(crate) fn best(&self, bid: &NewOrder) -> Option<OrderId> {
        let Terms::Bid { constraints, preference, .. } = bid.terms else { return None };
        let rank = |row: &&Row| {
            let Attributes { latency_ms, throughput_tps, .. } = row.attributes;
            let (price, latency, throughput) =
                (i128::from(row.ticks), i128::from(latency_ms), i128::from(throughput_tps));
            let measure = match preference {
                Preference::Price => 0,
                Preference::Latency => latency,
                Preference::Throughput => -throughput,
                Preference::Weights { price: p, latency: l, throughput: t } => {
                    i128::from(p) * price + i128::from(l) * latency - i128::from(t) * throughput
                }
            };
            (measure, row.ticks, latency_ms, Reverse(throughput_tps), row.order)
        };
        self.feasible(bid, &constraints).min_by_key(rank).map(|row| row.order)
    }

    fn feasible(&self, bid: &NewOrder, constraints: &Constraints) -> impl Iterator<Item = &Row> {
        let (wanted, constraints) = (bid.quantity.0, *constraints);
        self.0.iter().filter(move |row| row.remaining >= wanted && constraints.accept(&row.attributes))
    }

    /// Takes units off an ask.
    fn shrink(&mut self, order: OrderId, units: u64) -> anyhow::Result<()> {
        let at = self.0.binary_search_by_key(&order, |row| row.order).ok().context("a trade with an unknown ask")?;
        self.0[at].remaining -= units;
        Ok(())
    }

    /// How many in a million of these asks the bids could take.
    pub(crate) fn feasible_per_million(&self, bids: &[NewOrder]) -> u64 {
        let count = |bid: &NewOrder| match bid.terms {
            Terms::Bid { constraints, .. } => self.feasible(bid, &constraints).count(),
            Terms::Ask { .. } => 0,
        };
        let sample = spread(bids);
        let (found, of) = (sample.clone().map(count).sum::<usize>(), sample.count() * self.0.len());
        found as u64 * 1_000_000 / (of as u64).max(1)
    }

    /// Checks what the engine finds for a sample of the bids.
    ///
    /// # Errors
    /// When it finds another ask.
    pub(crate) fn check_finds(&self, engine: &Engine, bids: &[NewOrder]) -> anyhow::Result<()> {
        for bid in spread(bids) {
            for (_, preference) in PREFERENCES {
                let bid = preferring(bid, preference);
                let (expected, actual) = (self.best(&bid), engine.best_ask(&bid));
                ensure!(actual == expected, "for {bid:?} the engine finds {actual:?}, the best is {expected:?}");
            }
        }
        Ok(())
    }

    /// Checks what a sample of the bids trades. The book is left without what they took.
    ///
    /// # Errors
    /// When one takes another ask.
    pub(crate) fn check_trades(&mut self, exchange: &mut Exchange, bids: &[NewOrder]) -> anyhow::Result<()> {
        for bid in spread(bids) {
            let expected = self.best(bid);
            let (_, trade) = exchange.take(*bid)?;
            let actual = trade.map(|trade| trade.ask);
            ensure!(actual == expected, "{bid:?} takes {actual:?}, the best is {expected:?}");
            if let Some(trade) = trade {
                self.shrink(trade.ask, trade.quantity.0)?;
            }
        }
        Ok(())
    }
}

/// The same bid with another preference.
pub(crate) fn preferring(bid: &NewOrder, preference: Preference) -> NewOrder {
    match bid.terms {
        Terms::Bid { constraints, single, .. } => {
            NewOrder { terms: Terms::Bid { constraints, preference, single }, ..*bid }
        }
        Terms::Ask { .. } => *bid,
    }
}

/// A few of the bids, from everywhere.
fn spread(bids: &[NewOrder]) -> impl Iterator<Item = &NewOrder> + Clone {
    bids.iter().step_by((bids.len() / SAMPLE).max(1)).take(SAMPLE)
}
