//! Orders, and where each queues.
//!
//! Events tell the totals of levels, not who joined or left them. Who did follows from the rules of the market: an order
//! joins the back of its level when it comes to rest, when it is replaced by other than a smaller quantity, when its
//! effective attributes change, when it returns from being parked, and when it leaves its level to match because units
//! returned to it or its market opened. It leaves when it closes or is parked. Everything else keeps its place.

use super::{Fold, possible};
use crate::keys;
use crate::rows::{LevelRow, OrderRow, OrderStatus, Place};
use crate::store::{Pending, StoreError, family};
use gollem_engine::{
    AccountId, Amount, CloseReason, Event, InstrumentId, InstrumentState, Order, OrderId, Price, Quantity, Side, Terms,
    Trade,
};

/// What the events of one input said so far of who joins a level next.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// An order came to rest: it joins its level, unless it is parked.
    resting: Option<OrderId>,
    /// Units returned to an ask, and whether its level was told. If the level is told again at once, it left to match.
    restored: Option<(OrderId, bool)>,
    /// The market opened: asks that waited for that leave their levels to match, one after the other.
    opening: bool,
    /// Such an ask left: its market, price and units, until something says which it was.
    unnamed: Option<(InstrumentId, Price, Quantity)>,
    /// Which it was.
    named: Option<OrderId>,
    /// Whose bid closed last because it met an ask of its own account.
    disowned: Option<AccountId>,
    /// Parked asks whose levels are still to be told.
    parking: usize,
}

/// Latency and throughput that a provider's deliveries measured, once known.
pub(crate) type Measured = (Option<u32>, Option<u32>);

impl Fold<'_> {
    pub(super) fn accept(&mut self, order: &Order) -> Result<(), StoreError> {
        if let Some(id) = order.client_id {
            self.pending.put(family::CLIENT_IDS, &keys::client_id(order.account, id), &order.id.0)?;
        }
        self.orders.add(keys::order(order.id), OrderRow::accepted(order, self.now.at));
        Ok(())
    }

    fn change_order(&mut self, id: OrderId) -> Result<&mut OrderRow, StoreError> {
        let row = self.orders.change_known(self.views, keys::order(id))?;
        row.updated_at = self.now.at;
        Ok(row)
    }

    pub(super) fn fill(&mut self, trade: &Trade, value: Amount) -> Result<(), StoreError> {
        let locked = trade.bid.is_of_lock();
        if locked {
            self.end_lock(trade.buyer, trade.bid)?;
        }
        for order in [trade.bid, trade.ask] {
            // What was locked left the ask then.
            if order == trade.bid || !locked {
                self.shrink(order, trade.quantity)?;
            }
            let row = self.change_order(order)?;
            row.filled.0 = possible(row.filled.0.checked_add(trade.quantity.0))?;
            row.value.0 = row.value.0.saturating_add(value.0);
        }
        Ok(())
    }

    pub(super) fn shrink(&mut self, order: OrderId, units: Quantity) -> Result<(), StoreError> {
        let remaining = &mut self.change_order(order)?.order.remaining;
        remaining.0 = remaining.0.saturating_sub(units.0);
        Ok(())
    }

    pub(super) fn resize(&mut self, order: OrderId, remaining: Quantity) -> Result<(), StoreError> {
        self.change_order(order)?.order.remaining = remaining;
        Ok(())
    }

    pub(super) fn replace(
        &mut self,
        order: OrderId,
        price: Price,
        quantity: Quantity,
        remaining: Quantity,
    ) -> Result<(), StoreError> {
        let place = self.place(0);
        let row = self.change_order(order)?;
        let keeps_place = price == row.order.price && quantity < row.order.quantity;
        (row.order.price, row.order.quantity, row.order.remaining) = (price, quantity, remaining);
        if !keeps_place {
            row.place = Some(place);
        }
        Ok(())
    }

    pub(super) fn close(&mut self, order: OrderId, remaining: Quantity, reason: CloseReason) -> Result<(), StoreError> {
        let row = self.change_order(order)?;
        row.order.remaining = remaining;
        row.status = OrderStatus::Closed(reason);
        row.place = None;
        Ok(())
    }

    /// The back of a level, for the `nth` order that this event moves.
    fn place(&self, nth: u32) -> Place {
        Place { seq: self.now.seq, index: self.now.index, nth }
    }

    /// Puts an order at the back of its level.
    fn join(&mut self, order: OrderId, nth: u32) -> Result<(), StoreError> {
        let place = self.place(nth);
        self.orders.change_known(self.views, keys::order(order))?.place = Some(place);
        Ok(())
    }

    /// Notes what an event says of who joins and leaves, before it changes anything.
    pub(super) fn follow(&mut self, event: &Event) -> Result<(), StoreError> {
        if let Event::LevelChanged { .. } = event {
            return Ok(());
        }
        self.arrivals.restored = None;
        #[expect(clippy::wildcard_enum_match_arm, reason = "most events say nothing of it")]
        match event {
            Event::OrderRested { order, .. } => self.arrivals.resting = Some(*order),
            Event::QuoteRestored { order, .. } => self.arrivals.restored = Some((*order, false)),
            Event::InstrumentStateChanged { state, .. } => self.arrivals.opening = *state == InstrumentState::Open,
            Event::Traded(trade) if trade.taker == Side::Ask => self.name(trade.ask)?,
            Event::OrderReplaced { order, .. } if self.arrivals.unnamed.is_some() => self.name_if_ask(*order)?,
            Event::OrderClosed { order, reason: CloseReason::SelfTrade, .. } if self.arrivals.opening => {
                let row = self.known_order(*order)?;
                match row.order.side() {
                    Side::Ask => self.arrivals.unnamed = None,
                    Side::Bid => self.arrivals.disowned = Some(row.order.account),
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn known_order(&mut self, order: OrderId) -> Result<&OrderRow, StoreError> {
        self.orders.known(self.views, keys::order(order))
    }

    /// An ask that left its level as its market opened is this one.
    fn name(&mut self, ask: OrderId) -> Result<(), StoreError> {
        if self.arrivals.unnamed.take().is_some() {
            self.arrivals.named = Some(ask);
            self.join(ask, 0)?;
        }
        Ok(())
    }

    fn name_if_ask(&mut self, order: OrderId) -> Result<(), StoreError> {
        if self.known_order(order)?.order.side() == Side::Ask { self.name(order) } else { Ok(()) }
    }

    /// A level has new totals: someone may have joined it, or left it to match.
    pub(super) fn level_told(
        &mut self,
        instrument: InstrumentId,
        before: Option<LevelRow>,
        now: LevelRow,
    ) -> Result<(), StoreError> {
        if let Some(order) = self.arrivals.resting.take() {
            return self.join(order, 0);
        }
        match self.arrivals.restored {
            Some((ask, false)) => self.arrivals.restored = Some((ask, true)),
            Some((ask, true)) => {
                self.arrivals.restored = None;
                self.join(ask, 0)?;
            }
            None => {}
        }
        if !self.arrivals.opening || now.side == Side::Bid {
            return Ok(());
        }
        let (units, orders) = before.map_or((Quantity(0), 0), |level| (level.quantity, level.orders));
        if now.orders < orders && self.arrivals.parking > 0 {
            self.arrivals.parking -= 1;
        } else if now.orders < orders {
            let left = Quantity(possible(units.0.checked_sub(now.quantity.0))?);
            self.arrivals.unnamed = Some((instrument, now.price, left));
        } else if now.orders > orders {
            self.name_by_owner()?;
        }
        Ok(())
    }

    /// An ask that left its level comes back with nothing sold: what it met were bids of its own account, which closed.
    fn name_by_owner(&mut self) -> Result<(), StoreError> {
        let (Some((instrument, price, units)), Some(owner)) = (self.arrivals.unnamed, self.arrivals.disowned) else {
            return Ok(());
        };
        let mut found: Option<(Place, OrderId)> = None;
        for ask in self.asks_of(owner, instrument)? {
            let (place, order) = (ask.place, ask.order);
            if let Some(place) = place.filter(|_| order.price == price && order.remaining == units) {
                found = Some(found.map_or((place, order.id), |first| first.min((place, order.id))));
            }
        }
        found.map_or(Ok(()), |(_, ask)| self.name(ask))
    }

    /// A provider's open asks on a market, oldest first.
    fn asks_of(&mut self, provider: AccountId, instrument: InstrumentId) -> Result<Vec<OrderRow>, StoreError> {
        let own = |row: &OrderRow| row.order.account == provider && row.order.instrument == instrument;
        let changed = self.orders.changed().filter(|(_, row)| own(row));
        let mut ids: Vec<OrderId> = changed.map(|(_, row)| row.order.id).collect();
        self.views.scan(family::OPEN_ORDERS, &keys::account(provider), &mut |key, _| {
            ids.extend(keys::number(key).map(OrderId));
            Ok(true)
        })?;
        ids.sort_unstable();
        ids.dedup();
        let mut asks = Vec::new();
        for id in ids {
            let row = self.known_order(id)?;
            if own(row) && row.is_open() && row.order.side() == Side::Ask {
                asks.push(*row);
            }
        }
        Ok(asks)
    }

    /// Asks whose effective attributes change join the back of their levels, oldest first. One that matches on the way
    /// leaves and joins its level before the next is moved, which changes nothing about who is before whom.
    pub(super) fn move_asks(
        &mut self,
        provider: AccountId,
        instrument: InstrumentId,
        before: Measured,
        now: Measured,
    ) -> Result<(), StoreError> {
        let moved = |row: &OrderRow| row.place.is_some() && effective(row, before) != effective(row, now);
        let asks = self.asks_of(provider, instrument)?;
        for (nth, row) in (0..).zip(asks.iter().filter(|row| moved(row))) {
            self.join(row.order.id, nth)?;
        }
        Ok(())
    }

    /// A provider's breaker opened: its asks leave the book.
    pub(super) fn park(&mut self, provider: AccountId, instrument: InstrumentId) -> Result<(), StoreError> {
        let asks = self.asks_of(provider, instrument)?;
        for row in asks.iter().filter(|row| row.place.is_some()) {
            self.orders.change_known(self.views, keys::order(row.order.id))?.place = None;
            // One that is matching just now left its level before.
            self.arrivals.parking += usize::from(self.arrivals.named != Some(row.order.id));
        }
        Ok(())
    }

    /// A provider is tried out, or trusted again: its asks return, oldest first.
    pub(super) fn unpark(&mut self, provider: AccountId, instrument: InstrumentId) -> Result<(), StoreError> {
        let asks = self.asks_of(provider, instrument)?;
        for (nth, row) in (0..).zip(asks.iter().filter(|row| row.place.is_none())) {
            self.join(row.order.id, nth)?;
        }
        Ok(())
    }
}

/// What an ask counts with: the worse of what it promises and what was measured.
pub(crate) fn effective(row: &OrderRow, measured: Measured) -> (u32, u32) {
    match row.order.terms {
        Terms::Ask { attributes } => (
            measured.0.map_or(attributes.latency_ms, |latency| latency.max(attributes.latency_ms)),
            measured.1.map_or(attributes.throughput_tps, |throughput| throughput.min(attributes.throughput_tps)),
        ),
        Terms::Bid { .. } => (0, 0),
    }
}

/// Rows that find an order by its owner, by its owner while it is open, and by its place in its queue.
pub(super) fn index(
    pending: &mut Pending<'_>,
    before: Option<&OrderRow>,
    now: Option<&OrderRow>,
) -> Result<bool, StoreError> {
    let Some(row) = now else { return Ok(false) };
    let key = keys::owned(row.order.account, row.order.id.0);
    if before.is_none() {
        pending.index(family::ORDERS_BY_ACCOUNT, key, true);
    }
    if before.is_some_and(OrderRow::is_open) != row.is_open() {
        pending.index(family::OPEN_ORDERS, key, row.is_open());
    }
    let queued = |row: &OrderRow| {
        let order = &row.order;
        row.place.map(|place| keys::queued(order.instrument, order.side(), order.price, place))
    };
    let (left, joined) = (before.and_then(queued), queued(row));
    if left != joined {
        left.map_or(Ok(()), |key| pending.delete(family::QUEUES, &key))?;
        joined.map_or(Ok(()), |key| pending.put(family::QUEUES, &key, &row.order.id.0))?;
    }
    Ok(row.is_open())
}
