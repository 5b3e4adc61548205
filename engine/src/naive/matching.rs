//! Who trades with whom (section 3), what becomes of an arriving order, and asks that move (section 6).

use super::contracts::NewContract;
use super::{Open, Place, Twin};
use crate::limits::CHOICE_ASKS_MAX;
use crate::{
    AccountId, Amount, Attributes, Breaker, CloseReason, Event, InstrumentId, InstrumentState, Miss, Order, OrderId,
    Preference, Price, Quantity, SelfTrade, Side, Terms,
};

/// The bid and the ask of two orders.
fn bid_and_ask<'a>(one: &'a Order, other: &'a Order) -> (&'a Order, &'a Order) {
    match one.side() {
        Side::Bid => (one, other),
        Side::Ask => (other, one),
    }
}

/// Choosing a match.
impl Twin {
    /// What an ask promises, or what its provider's deliveries measured where that is worse.
    pub(super) fn effective(&self, ask: &Order) -> Attributes {
        let Terms::Ask { attributes: promised } = ask.terms else { return Attributes::default() };
        let provider = self.provider(ask.account, ask.instrument);
        Attributes {
            latency_ms: promised.latency_ms.max(provider.latency.measured.unwrap_or(promised.latency_ms)),
            throughput_tps: promised
                .throughput_tps
                .min(provider.throughput.measured.unwrap_or(promised.throughput_tps)),
            ..promised
        }
    }

    fn prices_cross(&self, one: &Order, other: &Order) -> bool {
        let (bid, ask) = bid_and_ask(one, other);
        bid.price >= ask.price
    }

    fn constraints_are_met(&self, one: &Order, other: &Order) -> bool {
        let (bid, ask) = bid_and_ask(one, other);
        let Terms::Bid { constraints, .. } = bid.terms else { return false };
        constraints.accept(&self.effective(ask))
    }

    fn may_trade(&self, one: &Order, other: &Order) -> bool {
        let (bid, ask) = bid_and_ask(one, other);
        let Terms::Bid { single, .. } = bid.terms else { return false };
        self.prices_cross(one, other)
            && self.constraints_are_met(one, other)
            && (!single || ask.remaining >= bid.remaining)
    }

    /// The other side of the book that an order meets.
    fn others<'a>(&self, taker: &Order, orders: &'a [Open]) -> Vec<&'a Open> {
        let (instrument, side) = (taker.instrument, taker.side());
        let others = orders.iter().filter(|open| open.place == Place::Book);
        others.filter(|open| open.order.instrument == instrument && open.order.side() != side).collect()
    }

    /// Which of `orders` this one matches first.
    pub(super) fn best_match(&self, taker: &Order, orders: &[Open]) -> Option<Open> {
        let others = self.others(taker, orders).into_iter();
        self.first_accepted(taker, others.filter(|open| self.may_trade(taker, &open.order)).collect()).copied()
    }

    /// The first of these; of a bid for certain providers the first of theirs, if it is near enough to the front.
    fn first_accepted<'a>(&self, taker: &Order, mut others: Vec<&'a Open>) -> Option<&'a Open> {
        let Some(providers) = &self.chosen else {
            return others.into_iter().min_by_key(|open| self.rank(taker, open));
        };
        others.sort_by_key(|open| self.rank(taker, open));
        others.into_iter().take(CHOICE_ASKS_MAX).find(|open| providers.accept(open.order.account))
    }

    /// Least is first.
    fn rank(&self, taker: &Order, maker: &Open) -> [i128; 5] {
        let time = i128::from(maker.joined);
        let price = i128::from(maker.order.price.0);
        let Terms::Bid { preference, .. } = taker.terms else {
            return [-price, time, 0, 0, 0];
        };
        let effective = self.effective(&maker.order);
        let latency = i128::from(effective.latency_ms);
        let throughput = i128::from(effective.throughput_tps);
        match preference {
            Preference::Price => [price, latency, -throughput, time, 0],
            Preference::Latency => [latency, price, -throughput, time, 0],
            Preference::Throughput => [-throughput, price, latency, time, 0],
            Preference::Weights { price: of_price, latency: of_latency, throughput: of_throughput } => {
                let ticks = price / i128::from(self.market(maker.order.instrument).spec.tick.0);
                let score = i128::from(of_price) * ticks + i128::from(of_latency) * latency
                    - i128::from(of_throughput) * throughput;
                [score, price, latency, -throughput, time]
            }
        }
    }

    /// What an order that matches nothing lacks in the book as it is now.
    pub(super) fn miss(&self, taker: &Order) -> Miss {
        let others = self.others(taker, &self.orders);
        let crossing: Vec<&Open> =
            others.iter().copied().filter(|open| self.prices_cross(taker, &open.order)).collect();
        if others.is_empty() {
            Miss::EmptyBook
        } else if crossing.is_empty() {
            Miss::Price
        } else {
            let met = crossing.into_iter().filter(|open| self.constraints_are_met(taker, &open.order)).collect();
            if self.first_accepted(taker, met).is_none() { Miss::Constraints } else { Miss::Capacity }
        }
    }

    /// How many units an arriving order could match at once: the matching below, carried out on a copy.
    fn could_match(&self, taker: &Order) -> Quantity {
        let mut taker = *taker;
        let mut orders = self.orders.clone();
        let mut fills: Vec<AccountId> = Vec::new();
        let mut units = 0;
        while taker.remaining > Quantity(0) {
            let Some(best) = self.best_match(&taker, &orders) else { break };
            if best.order.account == taker.account && taker.self_trade != SelfTrade::Allow {
                if taker.self_trade == SelfTrade::CancelOldest {
                    orders.retain(|open| open.order.id != best.order.id);
                    continue;
                }
                break;
            }
            let fill = taker.remaining.0.min(best.order.remaining.0);
            units += fill;
            taker.remaining.0 -= fill;
            for open in orders.iter_mut().filter(|open| open.order.id == best.order.id) {
                open.order.remaining.0 -= fill;
            }
            orders.retain(|open| open.order.remaining > Quantity(0));
            let provider = bid_and_ask(&taker, &best.order).1.account;
            fills.push(provider);
            let probes = fills.iter().filter(|other| **other == provider).count();
            if self.provider(provider, taker.instrument).breaker == (Breaker::HalfOpen { probes: probes as u32 }) {
                if taker.side() == Side::Ask {
                    break;
                }
                orders.retain(|open| open.order.side() != Side::Ask || open.order.account != provider);
            }
        }
        Quantity(units)
    }
}

/// Matching.
impl Twin {
    /// Whether the provider's asks on the market may be matched.
    fn serves(&self, provider: AccountId, instrument: InstrumentId) -> bool {
        self.check_breaker(provider, instrument).is_ok()
    }

    /// An order that is out of the book matches; what is left joins the back of its place, is parked or closed. `least`
    /// is how many units an order that was just placed must match at once. Returns the units filled and those that rest.
    pub(super) fn arrive(&mut self, id: OrderId, least: Option<Quantity>) -> (Quantity, Quantity) {
        let before = *self.order(id);
        let miss = self.miss(&before);
        let enough = least.is_none_or(|least| least == Quantity(0) || self.could_match(&before) >= least);
        let met_its_own = enough && self.match_all(id);
        let order = *self.order(id);
        let filled = Quantity(order.quantity.0 - order.remaining.0);
        if order.remaining > Quantity(0) && enough && !met_its_own && order.time_in_force.may_rest() {
            if least.is_some() {
                self.tell(Event::OrderRested { order: id, remaining: order.remaining });
            }
            if order.side() == Side::Ask && !self.serves(order.account, order.instrument) {
                self.open_mut(id).place = Place::Parked;
            } else {
                self.join_back(id);
                self.tell_level(&order);
            }
            return (filled, order.remaining);
        }
        let reason = if met_its_own {
            CloseReason::SelfTrade
        } else if order.remaining == Quantity(0) {
            CloseReason::Filled
        } else if filled > Quantity(0) {
            CloseReason::Unfilled(Miss::Capacity)
        } else {
            CloseReason::Unfilled(miss)
        };
        self.close_order(id, reason);
        (filled, Quantity(0))
    }

    /// Matches until nothing is left or nothing matches, or to a self-trade that closes the order (true).
    fn match_all(&mut self, id: OrderId) -> bool {
        loop {
            let taker = *self.order(id);
            let suspended = taker.side() == Side::Ask && !self.serves(taker.account, taker.instrument);
            if taker.remaining == Quantity(0) || suspended {
                return false;
            }
            let Some(Open { order: maker, .. }) = self.best_match(&taker, &self.orders) else {
                return false;
            };
            if maker.account != taker.account {
                self.fill(&taker, &maker);
                continue;
            }
            match taker.self_trade {
                SelfTrade::Allow => self.fill(&taker, &maker),
                SelfTrade::CancelNewest => return true,
                SelfTrade::CancelOldest => self.close_order(maker.id, CloseReason::SelfTrade),
                SelfTrade::CancelBoth => {
                    self.close_order(maker.id, CloseReason::SelfTrade);
                    return true;
                }
                SelfTrade::Decrement => {
                    self.decrement(&taker, &maker);
                    if taker.remaining <= maker.remaining {
                        return true;
                    }
                }
            }
        }
    }

    /// Both orders shrink by the smaller of their open units.
    fn decrement(&mut self, taker: &Order, maker: &Order) {
        let units = taker.remaining.0.min(maker.remaining.0);
        for old in [maker, taker] {
            let (quantity, remaining) = (Quantity(old.quantity.0 - units), Quantity(old.remaining.0 - units));
            let new = Order { quantity, remaining, ..*old };
            self.open_mut(new.id).order = new;
            if old.id == maker.id && remaining == Quantity(0) {
                self.close_order(new.id, CloseReason::SelfTrade);
            } else {
                self.tell(Event::OrderReplaced { order: new.id, price: new.price, quantity, remaining });
                if old.id == maker.id {
                    self.tell_level(&new);
                }
            }
            self.release(new.account, Amount(self.held_by(old).0 - self.held_by(&new).0));
        }
    }

    /// One fill.
    fn fill(&mut self, taker: &Order, maker: &Order) {
        let units = Quantity(taker.remaining.0.min(maker.remaining.0));
        let (bid, ask) = bid_and_ask(taker, maker);
        let new = NewContract { bid, ask, taker: taker.side(), price: maker.price, units };
        let escrow = self.open_contract(&new);
        self.open_mut(taker.id).order.remaining.0 -= units.0;
        self.open_mut(maker.id).order.remaining.0 -= units.0;
        if units == maker.remaining {
            self.close_order(maker.id, CloseReason::Filled);
        } else {
            self.tell_level(maker);
        }
        let left = Order { remaining: Quantity(bid.remaining.0 - units.0), ..*bid };
        let was_held = Amount(self.held_by(bid).0 - self.held_by(&left).0);
        self.put_in_escrow(bid.account, escrow);
        self.release(bid.account, Amount(was_held.0 - escrow.0));
        self.use_probe(ask.account, ask.instrument);
    }
}

/// The book, and asks that move in it.
impl Twin {
    /// An order is in the book, behind all others of its place.
    pub(super) fn join_back(&mut self, id: OrderId) {
        self.joins += 1;
        let joined = self.joins;
        let open = self.open_mut(id);
        open.place = Place::Book;
        open.joined = joined;
    }

    /// A price level's totals: units and orders.
    pub(super) fn level(&self, instrument: InstrumentId, side: Side, price: Price) -> (Quantity, u32) {
        let level = self.orders.iter().filter(|open| open.place == Place::Book).map(|open| open.order);
        let level = level.filter(|order| (order.instrument, order.side(), order.price) == (instrument, side, price));
        let units: Vec<u64> = level.map(|order| order.remaining.0).collect();
        (Quantity(units.iter().sum()), units.len() as u32)
    }

    /// Tells the totals of the level that an order is or was in.
    pub(super) fn tell_level(&mut self, order: &Order) {
        let (instrument, side, price) = (order.instrument, order.side(), order.price);
        let (quantity, orders) = self.level(instrument, side, price);
        self.tell(Event::LevelChanged { instrument, side, price, quantity, orders });
    }

    /// A provider's asks on a market that are in the book, or parked: oldest first.
    pub(super) fn asks(&self, provider: AccountId, instrument: InstrumentId, place: Place) -> Vec<Order> {
        let orders = self.orders.iter().filter(|open| open.place == place).map(|open| open.order);
        let asks = orders.filter(|order| order.side() == Side::Ask && order.instrument == instrument);
        asks.filter(|order| order.account == provider).collect()
    }

    /// A provider's asks leave the book until they may return.
    pub(super) fn park_asks(&mut self, provider: AccountId, instrument: InstrumentId) {
        for ask in self.asks(provider, instrument, Place::Book) {
            self.open_mut(ask.id).place = Place::Parked;
            self.tell_level(&ask);
        }
    }

    /// A provider's parked asks return, until no probes are left.
    pub(super) fn return_asks(&mut self, provider: AccountId, instrument: InstrumentId) {
        for ask in self.asks(provider, instrument, Place::Parked) {
            if self.serves(provider, instrument) && !self.rearrive(ask.id) {
                self.join_back(ask.id);
                self.tell_level(&ask);
            }
        }
    }

    /// An ask that moved or grew leaves the book and arrives once more, if a bid could trade with it (true); it waits
    /// while the market is not open.
    pub(super) fn rearrive(&mut self, id: OrderId) -> bool {
        let ask = *self.order(id);
        if !self.serves(ask.account, ask.instrument) || self.best_match(&ask, &self.orders).is_none() {
            return false;
        }
        if self.market(ask.instrument).state != InstrumentState::Open {
            if !self.waiting.contains(&id) {
                self.waiting.push(id);
            }
            return false;
        }
        let was_in_book = self.open_mut(id).place == Place::Book;
        self.open_mut(id).place = Place::Arriving;
        if was_in_book {
            self.tell_level(&ask);
        }
        self.arrive(id, None);
        true
    }
}
