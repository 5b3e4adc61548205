//! The crate `matchcore`.
//!
//! An order's id is the sequence number of the command that placed it, so ids are translated. What is different:
//!
//! * A limit order that crosses, placed or amended, trades beyond its limit (version 0.4.0 checks the limit against the
//!   best price only, then matches without one). So it is submitted for no more than what the other side offers within
//!   the limit, and again for the rest.
//! * An amend that leaves the price also leaves the order's place, so such a move is a cancel and a submit.

use crate::known::{Known, Order};
use crate::measure::Subject;
use crate::workload::{Header, Kind, Op, Side, TimeInForce, Trade};
use matchcore::{
    AmendCmd, AmendPatch, CancelCmd, Command, CommandKind, CommandMeta, CommandOutcome, CommandReport, LimitOrder,
    LimitOrderPatch, NewOrder, OrderBook, OrderFlags, OrderId, OrderKind, Price, Quantity, QuantityPolicy,
    SequenceNumber, SubmitCmd, Timestamp,
};

pub(crate) const NOTE: &str = "trades beyond a limit that crosses, so such orders are submitted in two parts; \
     a move that crosses or keeps its price is a cancel and a submit";

/// The book, its next sequence number, and both directions between its ids and the file's.
#[derive(Debug)]
pub(crate) struct Matchcore {
    book: OrderBook,
    sequence: u64,
    theirs: Vec<u64>,
    ours: Vec<u32>,
    known: Known,
}

impl Subject for Matchcore {
    const NAME: &'static str = "matchcore";

    fn fresh(header: &Header) -> anyhow::Result<Matchcore> {
        let commands = header.prefill + header.warm + header.measured;
        Ok(Matchcore {
            book: OrderBook::new("PAIR"),
            sequence: 0,
            theirs: vec![0; header.max_id as usize + 1],
            ours: vec![0; 3 * commands as usize], // A move may take three commands.
            known: Known::new(header),
        })
    }

    fn apply(&mut self, op: &Op, trade: &mut impl FnMut(Trade)) {
        let order = self.known.get(op.id);
        match op.kind {
            Kind::Place => {
                let order = Order { side: op.side, price: op.price, left: op.quantity };
                self.place(op.id, order, op.time_in_force, trade);
            }
            Kind::Cancel => self.cancel(op.id),
            Kind::Move => {
                let crosses = self.book.has_crossable_order(side(order.side), price(op.price));
                if crosses || op.price == order.price {
                    self.cancel(op.id);
                    self.place(op.id, Order { price: op.price, ..order }, TimeInForce::Gtc, trade);
                } else {
                    self.known.set(op.id, Order { price: op.price, ..order });
                    self.amend(op.id, LimitOrderPatch::new().with_price(price(op.price)));
                }
            }
            Kind::Reduce if order.left > op.quantity => {
                let left = order.left - op.quantity;
                self.known.set(op.id, Order { left, ..order });
                let policy = QuantityPolicy::Standard { quantity: Quantity(left) };
                self.amend(op.id, LimitOrderPatch::new().with_quantity_policy(policy));
            }
            Kind::Reduce => self.cancel(op.id),
        }
    }
}

impl Matchcore {
    fn execute(&mut self, kind: CommandKind) -> CommandOutcome {
        let meta = CommandMeta { sequence_number: SequenceNumber(self.sequence), timestamp: Timestamp(self.sequence) };
        self.sequence += 1;
        self.book.execute(&Command { meta, kind })
    }

    /// Submits what trades within the limit, then what rests.
    fn place(&mut self, id: u64, order: Order, time_in_force: TimeInForce, trade: &mut impl FnMut(Trade)) {
        let now = if self.book.has_crossable_order(side(order.side), price(order.price)) {
            order.left.min(self.offered(order))
        } else {
            0
        };
        if now > 0 {
            self.submit(id, Order { left: now, ..order }, TimeInForce::Ioc, trade);
        }
        let left = order.left - now;
        if left > 0 && time_in_force == TimeInForce::Gtc {
            self.submit(id, Order { left, ..order }, TimeInForce::Gtc, trade);
        } else {
            self.known.gone(id);
        }
    }

    /// What the other side offers within an order's limit, as far as the order needs it.
    fn offered(&self, order: Order) -> u64 {
        let (limit, book) = (price(order.price), self.book.limit());
        let mut offered = 0;
        let mut add = |level| {
            offered += book.levels().get(level).map_or(0, |level| level.visible_quantity().0);
            offered < order.left
        };
        match order.side {
            Side::Bid => book.asks().range(..=limit).all(|(_, &level)| add(level)),
            Side::Ask => book.bids().range(limit..).rev().all(|(_, &level)| add(level)),
        };
        offered
    }

    fn submit(&mut self, id: u64, order: Order, time_in_force: TimeInForce, trade: &mut impl FnMut(Trade)) {
        self.known.set(id, order);
        self.theirs[id as usize] = self.sequence;
        self.ours[self.sequence as usize] = id as u32;
        let time_in_force = match time_in_force {
            TimeInForce::Gtc => matchcore::TimeInForce::Gtc,
            TimeInForce::Ioc => matchcore::TimeInForce::Ioc,
        };
        let flags = OrderFlags::new(side(order.side), false, time_in_force);
        let policy = QuantityPolicy::Standard { quantity: Quantity(order.left) };
        let order = NewOrder::Limit(LimitOrder::new(price(order.price), policy, flags));
        let outcome = self.execute(CommandKind::Submit(SubmitCmd { order }));
        let CommandOutcome::Applied(CommandReport::Submit(effects)) = &outcome else { return };
        let Some(matched) = effects.target_order().match_result() else { return };
        for made in matched.trades() {
            let maker = u64::from(self.ours[made.maker_order_id().0 as usize]);
            let quantity = made.quantity().0;
            self.known.trade(maker, quantity);
            self.known.trade(id, quantity);
            trade(Trade { maker, taker: id, price: made.price().0.cast_signed(), quantity });
        }
    }

    fn amend(&mut self, id: u64, patch: LimitOrderPatch) {
        let order_id = OrderId(self.theirs[id as usize]);
        self.execute(CommandKind::Amend(AmendCmd { order_id, patch: AmendPatch::Limit(patch) }));
    }

    fn cancel(&mut self, id: u64) {
        let order_id = OrderId(self.theirs[id as usize]);
        self.execute(CommandKind::Cancel(CancelCmd { order_id, order_kind: OrderKind::Limit }));
        self.known.gone(id);
    }
}

fn price(ticks: i64) -> Price {
    Price(ticks.cast_unsigned())
}

fn side(side: Side) -> matchcore::Side {
    match side {
        Side::Bid => matchcore::Side::Buy,
        Side::Ask => matchcore::Side::Sell,
    }
}
