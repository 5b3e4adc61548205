//! What an adapter has to remember about orders because the rival's commands need it and it does not tell.

use crate::workload::{Header, Side};

/// An order as far as the adapter knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) side: Side,
    pub(crate) price: i64,
    /// What is left; 0 once it is gone.
    pub(crate) left: u64,
}

/// All orders of a file, by id.
#[derive(Debug)]
pub(crate) struct Known(Vec<Order>);

impl Known {
    pub(crate) fn new(header: &Header) -> Known {
        Known(vec![Order { side: Side::Bid, price: 0, left: 0 }; header.max_id as usize + 1])
    }

    pub(crate) fn get(&self, id: u64) -> Order {
        self.0[id as usize]
    }

    pub(crate) fn set(&mut self, id: u64, order: Order) {
        self.0[id as usize] = order;
    }

    /// A trade has taken that much from an order.
    pub(crate) fn trade(&mut self, id: u64, quantity: u64) {
        let left = &mut self.0[id as usize].left;
        *left = left.saturating_sub(quantity);
    }

    pub(crate) fn gone(&mut self, id: u64) {
        self.0[id as usize].left = 0;
    }
}
