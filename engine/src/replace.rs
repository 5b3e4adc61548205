//! Replacing an open order: a smaller quantity keeps its place, anything else arrives anew.

use crate::flags::Flags;
use crate::ids::dense_index;
use crate::matching::End;
use crate::orders::Slot;
use crate::trading::Hold;
use crate::{
    Amount, CloseReason, Engine, Events, InstrumentState, KeyId, OrderId, Quantity, RejectReason, Replacement, Side,
    Timestamp, invariant,
};

/// What a replacement makes of an order.
#[derive(Clone, Copy, Debug)]
struct Change {
    slot: Slot,
    ticks: u32,
    quantity: u64,
    remaining: u64,
}

/// What it does to a bid's hold: at most one of the two is above zero.
#[derive(Clone, Copy, Debug, Default)]
struct HoldChange {
    key: KeyId,
    more: Hold,
    freed: Amount,
}

impl Engine {
    /// Changes an open order's price or quantity, or refuses with nothing changed.
    #[inline(never)]
    pub(crate) fn replace_order(
        &mut self,
        replacement: &Replacement,
        at: Timestamp,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        let (account, order) = (replacement.account, replacement.order);
        let slot = self.orders.find_own(account, order).ok_or(RejectReason::UnknownOrder)?;
        let hot = self.orders.hot(slot);
        let (old_quantity, old_remaining, old_ticks) = (hot.quantity, hot.remaining, hot.ticks);
        let (instrument, flags) = (hot.instrument, hot.flags);
        let index = invariant(dense_index(instrument.0), "an order's instrument is listed");
        let market = &self.markets[index];
        let quantity = match replacement.quantity {
            Some(quantity) => quantity.0,
            None if replacement.limit.is_none() => return Err(RejectReason::NothingToReplace),
            None => old_quantity,
        };
        let keeps_place =
            quantity < old_quantity && replacement.limit.is_none_or(|limit| limit == market.price(old_ticks));
        if market.state != InstrumentState::Open && (market.state == InstrumentState::Halted || !keeps_place) {
            return Err(RejectReason::InstrumentNotOpen { state: market.state });
        }
        if replacement.quantity.is_some() {
            market.check_quantity(Quantity(quantity))?;
        }
        let remaining = quantity.saturating_sub(old_quantity - old_remaining);
        if keeps_place {
            self.shrink_order(Change { slot, ticks: old_ticks, quantity, remaining }, events);
            return Ok(());
        }
        if market.has_records && flags.has(Flags::ASK) {
            self.check_breaker(account, instrument)?;
        }
        let ticks = match replacement.limit {
            Some(limit) => market.ticks(limit)?,
            None => old_ticks,
        };
        let mut hold = HoldChange::default();
        if flags.has(Flags::ASK) {
            market.check_size(ticks, remaining)?;
        } else {
            let (held, needed) = (market.held(old_ticks, old_remaining), market.hold(ticks, remaining)?);
            hold.key = self.orders.key(slot);
            if needed > held {
                hold.more = self.check_spending(account, hold.key, Amount(needed.0 - held.0), at)?;
            } else {
                hold.freed = Amount(held.0 - needed.0);
            }
        }
        let change = Change { slot, ticks, quantity, remaining };
        self.move_order(change, &hold, at, events)
    }

    #[inline(always)]
    fn change_hold(&mut self, account: crate::AccountId, hold: &HoldChange, events: &mut Events) {
        self.hold(account, hold.key, hold.more, events);
        self.release(account, hold.key, hold.freed, events);
    }

    /// Lowers an order's quantity; it keeps its place. At most what is filled closes it.
    fn shrink_order(&mut self, change: Change, events: &mut Events) {
        let Change { slot, ticks, quantity, remaining } = change;
        if remaining == 0 {
            self.close_order(slot, CloseReason::Cancelled, events);
            return;
        }
        let held = self.held_if_bid(slot);
        self.orders.hot_mut(slot).quantity = quantity;
        self.push_replaced(slot, ticks, quantity, remaining, events);
        self.resize(slot, remaining, events);
        let freed = Amount(held.0 - self.held_if_bid(slot).0);
        self.release(self.orders.hot(slot).account, self.orders.key(slot), freed, events);
    }

    /// An order leaves its place and arrives anew.
    #[inline(never)]
    fn move_order(
        &mut self,
        change: Change,
        hold: &HoldChange,
        at: Timestamp,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        let Change { slot, ticks, quantity, remaining } = change;
        self.make_way(slot, ticks, remaining);
        let hot = self.orders.hot(slot);
        let (account, side) = (hot.account, hot.flags.side());
        if hot.flags.has(Flags::POST_ONLY)
            && let Some(maker) = self.counterpart_at(slot, ticks, remaining)
        {
            return Err(self.would_take(maker));
        }
        if remaining == 0 {
            self.close_order(slot, CloseReason::Cancelled, events);
            return Ok(());
        }
        self.push_replaced(slot, ticks, quantity, remaining, events);
        self.unbook(slot, events);
        let moved = self.orders.hot_mut(slot);
        (moved.ticks, moved.quantity, moved.remaining) = (ticks, quantity, remaining);
        if side == Side::Bid {
            self.change_hold(account, hold, events);
        }
        let end = self.match_order(slot, at, events);
        self.settle_arrival(slot, end, events);
        Ok(())
    }

    /// Tells what became of an order's price and quantity.
    #[inline]
    pub(crate) fn push_replaced(&self, slot: Slot, ticks: u32, quantity: u64, remaining: u64, events: &mut Events) {
        let hot = self.orders.hot(slot);
        let market = self.market(hot.instrument);
        events.tell(|| market.replaced(OrderId(hot.id), ticks, quantity, remaining));
    }

    /// Changes the open units of an order that keeps its place.
    #[inline]
    pub(crate) fn resize(&mut self, slot: Slot, remaining: u64, events: &mut Events) {
        let hot = self.orders.hot(slot);
        let (instrument, side, ticks) = (hot.instrument, hot.flags.side(), hot.ticks);
        if !hot.flags.has(Flags::BOOKED) {
            self.orders.hot_mut(slot).remaining = remaining;
            return;
        }
        let (market, orders) = self.market_and_orders(instrument);
        let totals = market.book.resize(orders, slot, remaining);
        events.tell(|| market.level(instrument, side, ticks, totals));
    }

    /// What is left of an order that arrived anew rests, or it is closed.
    pub(crate) fn settle_arrival(&mut self, slot: Slot, end: End, events: &mut Events) {
        match end.close_reason(self.orders.hot(slot).remaining) {
            Some(reason) => self.close_unbooked(slot, reason, events),
            None => self.rest(slot, events),
        }
    }
}
