//! Matching: which resting order an arriving one takes next, self-trades, and what one fill does.
//!
//! Invariants: no resting bid and resting ask could trade with each other while their market is open, but for a `single`
//! bid that was made smaller where it rests; trades print at the resting order's price; an order that matches is not in
//! its book.

use crate::book::{Demand, Offer};
use crate::deadlines::Deadline;
use crate::event::closed;
use crate::flags::Flags;
use crate::orders::Slot;
use crate::{
    AccountId, Amount, Breaker, CloseReason, Contract, Engine, Event, Events, InstrumentState, NewOrder, OrderId,
    Preference, Quantity, SelfTrade, Side, Timestamp, Trade, invariant,
};

/// How an order's matching ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing is left of it, or nothing is left for it.
    Done,
    /// The same, after it met an order of its own account.
    Met,
    /// It met an order of its own account.
    SelfTrade,
    /// It needs more at once than there is.
    TooLittle,
}

impl End {
    /// Whether what is left of the order may rest.
    pub(crate) fn lets_rest(self) -> bool {
        matches!(self, End::Done | End::Met)
    }

    /// Why the order is closed now, if matching alone says so.
    pub(crate) fn close_reason(self, remaining: u64) -> Option<CloseReason> {
        match self {
            End::SelfTrade => Some(CloseReason::SelfTrade),
            End::Done | End::Met if remaining == 0 => Some(CloseReason::Filled),
            End::Done | End::Met | End::TooLittle => None,
        }
    }
}

/// Probes that fills would use up, by provider.
#[derive(Debug, Default)]
struct Probes(Vec<(AccountId, u32)>);

impl Probes {
    /// Whether a fill of this provider would still be allowed; counts it if so.
    fn use_one(&mut self, provider: AccountId, breaker: Breaker) -> bool {
        let Breaker::HalfOpen { probes } = breaker else { return true };
        let at = self.0.iter().position(|(known, _)| *known == provider).unwrap_or_else(|| {
            self.0.push((provider, 0));
            self.0.len() - 1
        });
        let used = &mut self.0[at].1;
        *used += 1;
        *used <= probes
    }
}

impl Engine {
    /// Matches an order that was just accepted.
    #[inline]
    pub(crate) fn match_arrival(&mut self, slot: Slot, new: &NewOrder, at: Timestamp, events: &mut Events) -> End {
        let needed = new.needed();
        if needed.0 > 0 && self.matchable(slot, needed.0) < needed.0 {
            return End::TooLittle;
        }
        self.match_order(slot, at, events)
    }

    /// Trades an order that is not in the book with what rests.
    pub(crate) fn match_order(&mut self, taker: Slot, at: Timestamp, events: &mut Events) -> End {
        let mut end = End::Done;
        while self.orders.hot(taker).remaining > 0 && !self.contracts.is_full() {
            let Some(maker) = self.counterpart(taker) else { break };
            let (own, other) = (self.orders.hot(taker), self.orders.hot(maker));
            if own.account == other.account && own.flags.self_trade() != SelfTrade::Allow {
                if self.meet_oneself(taker, maker, events) {
                    return End::SelfTrade;
                }
                end = End::Met;
                continue;
            }
            self.fill(taker, maker, at, events);
            let own = self.orders.hot(taker);
            if own.flags.has(Flags::ASK) && self.is_suspended(own.account, own.instrument) {
                break;
            }
        }
        end
    }

    /// Sees to it that a `single` bid that is about to match finds what it takes in a few steps.
    #[inline(always)]
    pub(crate) fn make_way(&mut self, slot: Slot, ticks: u32, units: u64) {
        let hot = self.orders.hot(slot);
        if hot.flags.has(Flags::SINGLE) {
            let (instrument, demand) = (hot.instrument, self.demand(slot, ticks, units));
            let (market, orders) = self.market_and_orders(instrument);
            market.book.move_small_asks(orders, &demand);
        }
    }

    /// The resting order that this one takes next.
    #[inline]
    fn counterpart(&self, slot: Slot) -> Option<Slot> {
        let hot = self.orders.hot(slot);
        self.counterpart_at(slot, hot.ticks, hot.remaining)
    }

    /// The same at another limit and size.
    #[inline]
    pub(crate) fn counterpart_at(&self, slot: Slot, ticks: u32, units: u64) -> Option<Slot> {
        let hot = self.orders.hot(slot);
        let book = &self.market(hot.instrument).book;
        if hot.flags.has(Flags::ASK) {
            book.best_bid(&self.orders, &self.offer(slot, ticks, units))
        } else {
            book.best_ask(&self.orders, &self.demand(slot, ticks, units))
        }
    }

    /// The same for an order of any size.
    pub(crate) fn counterpart_whatever_size(&self, slot: Slot) -> Option<Slot> {
        let hot = self.orders.hot(slot);
        let units = if hot.flags.has(Flags::ASK) { u64::MAX } else { 0 };
        self.counterpart_at(slot, hot.ticks, units)
    }

    #[inline]
    pub(crate) fn demand(&self, slot: Slot, ticks: u32, units: u64) -> Demand {
        let hot = self.orders.hot(slot);
        Demand {
            ticks,
            latency_max_ms: hot.latency_ms,
            throughput_min_tps: hot.throughput_tps,
            category: if hot.flags.has(Flags::PICKY) { self.orders.cold(slot).category } else { [0; 3] },
            units: if hot.flags.has(Flags::SINGLE) { units } else { 0 },
            preference: if hot.flags.prefers_price() { Preference::Price } else { self.orders.preference(slot) },
        }
    }

    #[inline]
    fn offer(&self, slot: Slot, ticks: u32, units: u64) -> Offer {
        let hot = self.orders.hot(slot);
        Offer {
            ticks,
            latency_ms: hot.latency_ms,
            throughput_tps: hot.throughput_tps,
            category: self.orders.cold(slot).category,
            units,
        }
    }

    /// Units an order could match at once, counted in the order in which it would match them, up to what it needs.
    #[cold]
    fn matchable(&self, slot: Slot, needed: u64) -> u64 {
        let hot = self.orders.hot(slot);
        let book = &self.market(hot.instrument).book;
        let (mut left, mut counted) = (hot.remaining, 0);
        let mut probes = Probes::default();
        let mut count = |maker: Slot| {
            let other = self.orders.hot(maker);
            if other.flags.has(Flags::SINGLE) && other.remaining > left {
                return true;
            }
            if other.account == hot.account {
                match hot.flags.self_trade() {
                    SelfTrade::CancelOldest => return true,
                    SelfTrade::CancelNewest | SelfTrade::CancelBoth | SelfTrade::Decrement => return false,
                    SelfTrade::Allow => {}
                }
            }
            let ask = if hot.flags.has(Flags::ASK) { hot } else { other };
            if !probes.use_one(ask.account, self.breaker(ask.account, ask.instrument)) {
                return !hot.flags.has(Flags::ASK);
            }
            let units = other.remaining.min(left);
            (left, counted) = (left - units, counted + units);
            left > 0 && counted < needed
        };
        match hot.flags.side() {
            Side::Bid => {
                let demand = self.demand(slot, hot.ticks, hot.remaining);
                book.visit_asks(&self.orders, &demand, usize::MAX, &mut count);
            }
            Side::Ask => {
                let offer = self.offer(slot, hot.ticks, hot.remaining);
                book.visit_bids(&self.orders, &offer, &mut count);
            }
        }
        counted
    }

    /// Two orders of one account meet: the arriving one's mode decides. True when its matching ends.
    #[cold]
    fn meet_oneself(&mut self, taker: Slot, maker: Slot, events: &mut Events) -> bool {
        match self.orders.hot(taker).flags.self_trade() {
            SelfTrade::CancelNewest | SelfTrade::Allow => true,
            SelfTrade::CancelOldest => {
                self.close_order(maker, CloseReason::SelfTrade, events);
                false
            }
            SelfTrade::CancelBoth => {
                self.close_order(maker, CloseReason::SelfTrade, events);
                true
            }
            SelfTrade::Decrement => self.decrement(taker, maker, events),
        }
    }

    /// Shrinks both by the smaller. True when nothing is left of the arriving one.
    fn decrement(&mut self, taker: Slot, maker: Slot, events: &mut Events) -> bool {
        let units = self.orders.hot(taker).remaining.min(self.orders.hot(maker).remaining);
        self.decrement_maker(maker, units, events);
        let (hot, before) = (*self.orders.hot(taker), self.held_if_bid(taker));
        let left = self.orders.hot_mut(taker);
        (left.quantity, left.remaining) = (hot.quantity - units, hot.remaining - units);
        self.push_replaced(taker, hot.ticks, hot.quantity - units, hot.remaining - units, events);
        self.release(hot.account, self.orders.key(taker), Amount(before.0 - self.held_if_bid(taker).0), events);
        hot.remaining == units
    }

    fn decrement_maker(&mut self, maker: Slot, units: u64, events: &mut Events) {
        let (hot, before) = (*self.orders.hot(maker), self.held_if_bid(maker));
        let (quantity, remaining) = (hot.quantity - units, hot.remaining - units);
        if remaining == 0 {
            // It leaves its level with the units it had there, and then has none.
            events.push(Event::OrderClosed {
                order: OrderId(hot.id),
                remaining: Quantity(0),
                reason: CloseReason::SelfTrade,
            });
            self.unbook(maker, events);
            self.end(maker, events);
            return;
        }
        self.orders.hot_mut(maker).quantity = quantity;
        self.push_replaced(maker, hot.ticks, quantity, remaining, events);
        self.resize(maker, remaining, events);
        self.release(hot.account, self.orders.key(maker), Amount(before.0 - self.held_if_bid(maker).0), events);
    }

    pub(crate) fn held_if_bid(&self, slot: Slot) -> Amount {
        match self.orders.hot(slot).flags.side() {
            Side::Bid => self.held_by(slot),
            Side::Ask => Amount::ZERO,
        }
    }

    /// One fill: the resting order shrinks or leaves, money moves to escrow, a contract opens.
    #[inline(never)]
    pub(crate) fn fill(&mut self, taker: Slot, maker: Slot, at: Timestamp, events: &mut Events) {
        let ask = if self.orders.hot(taker).flags.has(Flags::ASK) { taker } else { maker };
        let probe = self.is_probe(ask);
        let Engine { orders, markets, ledger, contracts, deadlines, .. } = self;
        // Field by field: copying a whole record just after parts of it were written stalls the processor.
        let (own, other) = (orders.hot(taker), orders.hot(maker));
        let taker_side = own.flags.side();
        let ((bid, bid_slot), (seller, ask_slot)) = match taker_side {
            Side::Bid => ((own, taker), (other, maker)),
            Side::Ask => ((other, maker), (own, taker)),
        };
        let units = own.remaining.min(other.remaining);
        let (taker_left, maker_left) = (own.remaining - units, other.remaining - units);
        let (instrument, order, ticks, flags, owner) =
            (other.instrument, OrderId(other.id), other.ticks, other.flags, other.account);
        let index = invariant(crate::ids::dense_index(instrument.0), "an order's instrument is listed");
        let market = &mut markets[index];
        let spec = market.spec();
        let (buyer_fee_bps, seller_fee_bps) = match taker_side {
            Side::Bid => (spec.taker_fee_bps, spec.maker_fee_bps),
            Side::Ask => (spec.maker_fee_bps, spec.taker_fee_bps),
        };
        let price = market.price(ticks);
        let value = invariant(price.notional(Quantity(units)), "a fill costs no more than its hold");
        let escrow = Amount(value.0 + value.fee(buyer_fee_bps).0);
        let expires_at = Timestamp(at.0.saturating_add(spec.contract_ttl_ns));
        // What the bid held for these units; what of it is beyond the escrow is free again.
        let held = market.held(bid.ticks, bid.remaining).0 - market.held(bid.ticks, bid.remaining - units).0;
        let (buyer, provider, bid, ask) = (bid.account, seller.account, OrderId(bid.id), OrderId(seller.id));
        let (key, promised) = (orders.key(bid_slot), orders.cold(ask_slot));
        let contract = Contract {
            buyer,
            provider,
            instrument,
            ask,
            price,
            quantity: Quantity(units),
            remaining: Quantity(units),
            escrow,
            expires_at,
            key,
            latency_ms: promised.promised_latency_ms,
            throughput_tps: promised.promised_throughput_tps,
            buyer_fee_bps,
            provider_fee_bps: spec.delivery_fee_bps + seller_fee_bps,
            probe,
        };
        let contract = contracts.open(contract, &mut market.contracts);
        if !std::mem::replace(&mut market.contracts_due, true) {
            deadlines.set(expires_at, Deadline::Contracts(instrument));
        }
        events.tell(move || {
            let (taker, quantity) = (taker_side, Quantity(units));
            Event::Traded(Trade { contract, instrument, bid, ask, buyer, provider, taker, price, quantity, expires_at })
        });
        orders.hot_mut(taker).remaining = taker_left;
        if maker_left == 0 {
            events.tell(|| closed(order, 0, CloseReason::Filled));
            let totals = market.book.remove(orders, maker);
            events.tell(|| market.level(instrument, flags.side(), ticks, totals));
            if flags.has(Flags::DATED) {
                deadlines.clear(orders.hot(maker).expires_at, Deadline::Order(order));
            }
            orders.close(maker, &mut ledger.account_mut(owner).orders);
        } else {
            let totals = market.book.resize(orders, maker, maker_left);
            events.tell(|| market.level(instrument, flags.side(), ticks, totals));
        }
        ledger.account_mut(buyer).open_contracts += 1;
        ledger.transfer_escrow(buyer, escrow, events);
        self.release(buyer, key, Amount(held - escrow.0), events);
        if probe {
            self.use_probe(provider, instrument, events);
        }
    }

    /// Whether a fill of this ask would try its provider out.
    #[inline(always)]
    fn is_probe(&self, ask: Slot) -> bool {
        let hot = self.orders.hot(ask);
        matches!(self.breaker(hot.account, hot.instrument), Breaker::HalfOpen { .. })
    }

    /// An ask that rests, or returns, may have become a match for a resting bid.
    ///
    /// `booked` says whether it is in the book; an ask that is not and has no match stays out.
    pub(crate) fn rearrive(&mut self, slot: Slot, booked: bool, at: Timestamp, events: &mut Events) -> bool {
        let hot = *self.orders.hot(slot);
        if self.is_suspended(hot.account, hot.instrument) || self.counterpart(slot).is_none() {
            return false;
        }
        if self.market(hot.instrument).state != InstrumentState::Open {
            self.wait_for_market(slot);
            return false;
        }
        if booked {
            self.unbook(slot, events);
        }
        let end = self.match_order(slot, at, events);
        self.settle_arrival(slot, end, events);
        true
    }

    fn wait_for_market(&mut self, slot: Slot) {
        let hot = *self.orders.hot(slot);
        if !hot.flags.has(Flags::WAITS) {
            self.orders.hot_mut(slot).flags.set(Flags::WAITS, true);
            self.market_mut(hot.instrument).waiting.push(OrderId(hot.id));
        }
    }

    /// Opens, restricts or halts a market; when it opens, what waited for that matches.
    pub(crate) fn set_instrument_state(
        &mut self,
        instrument: crate::InstrumentId,
        state: InstrumentState,
        at: Timestamp,
        events: &mut Events,
    ) -> Result<(), crate::RejectReason> {
        let market = self.known_market_mut(instrument)?;
        market.state = state;
        events.push(Event::InstrumentStateChanged { instrument, state });
        if state != InstrumentState::Open {
            return Ok(());
        }
        for order in std::mem::take(&mut market.waiting) {
            let Some(slot) = self.orders.find(order) else { continue };
            let flags = &mut self.orders.hot_mut(slot).flags;
            flags.set(Flags::WAITS, false);
            if !flags.has(Flags::PARKED) {
                self.rearrive(slot, true, at, events);
            }
        }
        Ok(())
    }
}
