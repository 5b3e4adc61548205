//! The crate `orderbook-rs`, a book that many threads may use; here one does.
//!
//! Its trades reach a listener, which is the only place where those of a moved order are told. It refuses to move an
//! order to the price it has, so such a move is a cancel and an add. Its clock is a counter, not the wall clock.

use crate::known::{Known, Order};
use crate::measure::Subject;
use crate::workload::{Header, Kind, Op, Side, TimeInForce, Trade};
use orderbook_rs::{Id, OrderBook, StubClock};
use pricelevel::{OrderUpdate, Price, Quantity};
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) const NOTE: &str = "a move that keeps its price is a cancel and an add";

/// The book, what it does not tell, and the trades its listener heard of.
pub(crate) struct OrderBookRs {
    book: OrderBook<()>,
    known: Known,
    heard: Arc<Mutex<Vec<Trade>>>,
}

impl Debug for OrderBookRs {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OrderBookRs").finish_non_exhaustive()
    }
}

impl Subject for OrderBookRs {
    const NAME: &'static str = "orderbook-rs";

    fn fresh(header: &Header) -> anyhow::Result<OrderBookRs> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut book = OrderBook::with_clock("PAIR", Arc::new(StubClock::new()));
        let sink = Arc::clone(&heard);
        book.set_trade_listener(Arc::new(move |result| {
            let mut heard = sink.lock().unwrap_or_else(PoisonError::into_inner);
            heard.extend(result.match_result.trades().as_vec().iter().map(|made| Trade {
                maker: made.maker_order_id().as_u64().unwrap_or_default(),
                taker: made.taker_order_id().as_u64().unwrap_or_default(),
                price: made.price().as_u128() as i64,
                quantity: made.quantity().as_u64(),
            }));
        }));
        Ok(OrderBookRs { book, known: Known::new(header), heard })
    }

    fn apply(&mut self, op: &Op, trade: &mut impl FnMut(Trade)) {
        let order = self.known.get(op.id);
        match op.kind {
            Kind::Place => {
                self.add(op.id, Order { side: op.side, price: op.price, left: op.quantity }, op.time_in_force, trade);
            }
            Kind::Cancel => self.cancel(op.id),
            Kind::Move if op.price == order.price => {
                self.cancel(op.id);
                self.add(op.id, order, TimeInForce::Gtc, trade);
            }
            Kind::Move => {
                self.known.set(op.id, Order { price: op.price, ..order });
                let new_price = Price::new(op.price as u128);
                self.update(OrderUpdate::UpdatePrice { order_id: Id::sequential(op.id), new_price });
                self.hand_out(trade);
            }
            Kind::Reduce if order.left > op.quantity => {
                let left = order.left - op.quantity;
                self.known.set(op.id, Order { left, ..order });
                let new_quantity = Quantity::new(left);
                self.update(OrderUpdate::UpdateQuantity { order_id: Id::sequential(op.id), new_quantity });
            }
            Kind::Reduce => self.cancel(op.id),
        }
    }
}

impl OrderBookRs {
    fn add(&mut self, id: u64, order: Order, time_in_force: TimeInForce, trade: &mut impl FnMut(Trade)) {
        self.known.set(id, order);
        let side = match order.side {
            Side::Bid => orderbook_rs::Side::Buy,
            Side::Ask => orderbook_rs::Side::Sell,
        };
        let time_in_force = match time_in_force {
            TimeInForce::Gtc => orderbook_rs::TimeInForce::Gtc,
            TimeInForce::Ioc => orderbook_rs::TimeInForce::Ioc,
        };
        // An immediate order that is not filled is an error to it; what it traded was told all the same.
        let id = Id::sequential(id);
        self.book.add_limit_order(id, order.price as u128, order.left, side, time_in_force, None).ok();
        self.hand_out(trade);
    }

    /// An order that is not there shows in the trades, which are compared.
    fn update(&mut self, update: OrderUpdate) {
        self.book.update_order(update).ok();
    }

    fn cancel(&mut self, id: u64) {
        self.book.cancel_order(Id::sequential(id)).ok();
        self.known.gone(id);
    }

    fn hand_out(&mut self, trade: &mut impl FnMut(Trade)) {
        for made in self.heard.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            self.known.trade(made.maker, made.quantity);
            self.known.trade(made.taker, made.quantity);
            trade(made);
        }
    }
}
