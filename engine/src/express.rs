//! The express lane: what most commands are, done with one look at each record.
//!
//! A plain order rests where it meets nobody or trades at once, moves from queue to queue, shrinks or is cancelled there,
//! in an open market without records of providers, without limits on its account or key. For these the rules of [`crate::trading`] and
//! [`crate::replace`] come down to little, and each function here does just that. It returns false, with nothing
//! changed, as soon as something is out of the ordinary; then the command goes the long way, where the rules are written
//! out and refusals are made. So nothing here decides anything: taking the lane out changes no event.

use crate::event::{accepted, closed, rested};
use crate::ids::dense_index;
use crate::ledger::held;
use crate::limits::{OPEN_CONTRACTS_MAX, OPEN_CONTRACTS_PER_ACCOUNT_MAX, OPEN_ORDERS_MAX, OPEN_ORDERS_PER_ACCOUNT_MAX};
use crate::{
    AccountId, CloseReason, Engine, Events, InstrumentState, KeyId, NewOrder, OrderId, Preference, Price, Quantity,
    Replacement, Side, Terms, TimeInForce, Timestamp,
};

impl Engine {
    /// Moves an order that waits in a queue, or lowers its quantity.
    #[inline(always)]
    pub(crate) fn replace_express(&mut self, replacement: &Replacement, events: &mut Events) -> bool {
        let Replacement { account, order, .. } = *replacement;
        match (replacement.limit, replacement.quantity) {
            (Some(limit), None) => self.move_express(account, order, limit, events),
            (None, Some(quantity)) => self.shrink_express(account, order, quantity, events),
            _ => false,
        }
    }

    /// Moves an order that waits in a queue to another price where it meets nobody.
    #[inline(never)]
    fn move_express(&mut self, account: AccountId, order: OrderId, limit: Price, events: &mut Events) -> bool {
        let Engine { orders, markets, ledger, .. } = self;
        let Some((slot, hot)) = orders.own(account, order) else { return false };
        let (flags, instrument, from, units, quantity) =
            (hot.flags, hot.instrument, hot.ticks, hot.remaining, hot.quantity);
        let Some(market) = dense_index(instrument.0).and_then(|index| markets.get_mut(index)) else { return false };
        let Some(to) = market.good_limit(limit) else { return false };
        let side = flags.side();
        if !flags.is_plain_queued() || !market.is_plain_open() || market.book.may_match(side, to) {
            return false;
        }
        let mut more = 0;
        if side == Side::Bid {
            let (Some(now), Some(then)) = (market.hold_of(from, units), market.hold_of(to, units)) else {
                return false;
            };
            more = then.0 - now.0;
            if !ledger.try_hold(account, more) {
                return false;
            }
        } else if !market.is_small(to, units) {
            return false;
        }
        let (left, joined) = market.book.requeue(orders.rejoin(slot, to), side, slot, (from, to), units);
        let [first, second, third, fourth] = events.room();
        *first = market.replaced(order, to, quantity, units);
        *second = market.level(instrument, side, from, left);
        if more == 0 {
            *third = market.level(instrument, side, to, joined);
            events.add(3);
        } else {
            *third = held(account, more);
            *fourth = market.level(instrument, side, to, joined);
            events.add(4);
        }
        true
    }

    /// Lowers the quantity of an order that waits in a queue, to more than what is filled.
    #[inline(never)]
    fn shrink_express(&mut self, account: AccountId, order: OrderId, total: Quantity, events: &mut Events) -> bool {
        let Engine { orders, markets, ledger, .. } = self;
        let Some((slot, hot)) = orders.own(account, order) else { return false };
        let (flags, instrument, ticks, units, quantity) =
            (hot.flags, hot.instrument, hot.ticks, hot.remaining, hot.quantity);
        let Some(market) = dense_index(instrument.0).and_then(|index| markets.get_mut(index)) else { return false };
        let filled = quantity - units;
        if !flags.is_plain_queued()
            || market.state == InstrumentState::Halted
            || total.0 <= filled
            || total.0 >= quantity
            || market.check_quantity(total).is_err()
        {
            return false;
        }
        let (side, left) = (flags.side(), total.0 - filled);
        let hot = orders.hot_mut(slot);
        (hot.quantity, hot.remaining) = (total.0, left);
        let totals = market.book.resize_queued(side, ticks, units, left);
        let [first, second] = events.room();
        *first = market.replaced(order, ticks, total.0, left);
        *second = market.level(instrument, side, ticks, totals);
        events.add(2);
        if side == Side::Bid {
            let freed = market.held(ticks, units).0 - market.held(ticks, left).0;
            ledger.transfer_held(account, -freed, events);
        }
        true
    }

    /// Cancels an order that waits in a queue.
    #[inline(never)]
    pub(crate) fn cancel_express(&mut self, account: AccountId, order: OrderId, events: &mut Events) -> bool {
        let Engine { orders, markets, ledger, .. } = self;
        let Some((slot, hot)) = orders.own(account, order) else { return false };
        let (flags, instrument, ticks, units) = (hot.flags, hot.instrument, hot.ticks, hot.remaining);
        let Some(market) = dense_index(instrument.0).and_then(|index| markets.get_mut(index)) else { return false };
        if !flags.is_plain_queued() || market.state == InstrumentState::Halted {
            return false;
        }
        let side = flags.side();
        let totals = market.book.leave_queue(orders.queues(), side, ticks, slot, units);
        orders.close(slot, &mut ledger.account_mut(account).orders);
        let [first, second] = events.room();
        *first = closed(order, units, CloseReason::Cancelled);
        *second = market.level(instrument, side, ticks, totals);
        events.add(2);
        if side == Side::Bid {
            ledger.transfer_held(account, -market.held(ticks, units).0, events);
        }
        true
    }

    /// Accepts a new order that may rest in a queue, or trades at once.
    #[inline(never)]
    pub(crate) fn place_express(&mut self, new: &NewOrder, at: Timestamp, events: &mut Events) -> bool {
        let Engine { orders, markets, ledger, contracts, .. } = self;
        let rests = new.time_in_force == TimeInForce::Gtc;
        let plain = new.client_id.is_none()
            & (rests | (new.time_in_force == TimeInForce::Ioc) & !new.post_only)
            & (new.min_quantity.0 == 0);
        let (true, Some(limit)) = (plain, new.limit) else { return false };
        let Some(market) = dense_index(new.instrument.0).and_then(|index| markets.get_mut(index)) else { return false };
        let Some(ticks) = market.good_limit(limit) else { return false };
        let (side, units) = (new.terms.side(), new.quantity.0);
        let arrives = market.book.may_match(side, ticks);
        if !market.is_plain_open() || (arrives & new.post_only) || market.check_quantity(new.quantity).is_err() {
            return false;
        }
        let Some(account) = ledger.account(new.account) else { return false };
        if new.key.0 != 0 && ledger.is_limited(new.account) {
            return false; // The key may have limits that the order counts against.
        }
        if account.orders.len >= OPEN_ORDERS_PER_ACCOUNT_MAX
            || orders.len() >= OPEN_ORDERS_MAX
            || contracts.len() >= OPEN_CONTRACTS_MAX
        {
            return false;
        }
        let mut more = 0;
        match &new.terms {
            Terms::Bid { constraints, preference, single } => {
                let Some(hold) = market.hold_of(ticks, units) else { return false };
                more = hold.0;
                if account.open_contracts >= OPEN_CONTRACTS_PER_ACCOUNT_MAX
                    || !constraints.is_empty()
                    || *preference != Preference::Price
                    || (*single & rests)
                {
                    return false;
                }
                if !ledger.try_hold(new.account, more) {
                    return false; // The last check: what passes it has moved money.
                }
            }
            Terms::Ask { attributes } => {
                if !market.is_small(ticks, units) || !market.book.is_main(attributes) {
                    return false;
                }
            }
        }
        let slot = orders.open(new, KeyId(0), ticks, &mut ledger.account_mut(new.account).orders);
        let order = OrderId(orders.hot(slot).id);
        let [first, second] = events.room();
        *first = accepted(new, order, limit);
        *second = held(new.account, more);
        events.add(1 + usize::from(more > 0));
        if arrives || !rests {
            self.arrive(slot, new, arrives, at, events);
            return true;
        }
        let totals = market.book.join_queue(orders.join(slot), side, ticks, slot, units);
        let [first, second] = events.room();
        *first = rested(order, units);
        *second = market.level(new.instrument, side, ticks, totals);
        events.add(2);
        true
    }
}
