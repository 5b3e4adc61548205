//! The crate `lobster`: places and cancels only, so everything else is made of these.

use crate::known::{Known, Order};
use crate::measure::Subject;
use crate::workload::{Header, Kind, Op, Side, TimeInForce, Trade};
use lobster::{FillMetadata, OrderBook, OrderEvent, OrderType};

pub(crate) const NOTE: &str = "has no move, reduce or limited IOC: made of cancel and place; a reduce loses its place";

/// The book, and what it does not tell.
#[derive(Debug)]
pub(crate) struct Lobster {
    book: OrderBook,
    known: Known,
}

impl Subject for Lobster {
    const NAME: &'static str = "lobster";

    fn fresh(header: &Header) -> anyhow::Result<Lobster> {
        let book = OrderBook::new(header.max_live as usize + 1_000, 16, false);
        Ok(Lobster { book, known: Known::new(header) })
    }

    fn apply(&mut self, op: &Op, trade: &mut impl FnMut(Trade)) {
        let order = self.known.get(op.id);
        match op.kind {
            Kind::Place => {
                self.place(op.id, Order { side: op.side, price: op.price, left: op.quantity }, trade);
                if op.time_in_force == TimeInForce::Ioc && self.known.get(op.id).left > 0 {
                    self.cancel(op.id);
                }
            }
            // Its trades differ after a reduce, so it may have filled an order that rests in the file's book.
            _ if order.left == 0 => {}
            Kind::Cancel => self.cancel(op.id),
            Kind::Move => {
                self.cancel(op.id);
                self.place(op.id, Order { price: op.price, ..order }, trade);
            }
            Kind::Reduce => {
                self.cancel(op.id);
                if order.left > op.quantity {
                    self.place(op.id, Order { left: order.left - op.quantity, ..order }, trade);
                }
            }
        }
    }
}

impl Lobster {
    fn place(&mut self, id: u64, order: Order, trade: &mut impl FnMut(Trade)) {
        self.known.set(id, order);
        let side = match order.side {
            Side::Bid => lobster::Side::Bid,
            Side::Ask => lobster::Side::Ask,
        };
        let price = order.price.cast_unsigned();
        let event = self.book.execute(OrderType::Limit { id: u128::from(id), side, qty: order.left, price });
        if let OrderEvent::Filled { fills, .. } | OrderEvent::PartiallyFilled { fills, .. } = event {
            for FillMetadata { order_2, qty, price, .. } in fills {
                let maker = order_2 as u64;
                self.known.trade(maker, qty);
                self.known.trade(id, qty);
                trade(Trade { maker, taker: id, price: price.cast_signed(), quantity: qty });
            }
        }
    }

    fn cancel(&mut self, id: u64) {
        self.book.execute(OrderType::Cancel { id: u128::from(id) });
        self.known.gone(id);
    }
}
