//! Orders as their owners see them: placing, replacing, cancelling. Matching is in [`crate::matching`].
//!
//! One order from command to events reads here from top to bottom: [`Engine::place_order`] checks, accepts, holds,
//! matches, and lets the rest wait or closes the order.

use crate::book::{Demand, Offer};
use crate::deadlines::Deadline;
use crate::event::{accepted, closed, rested};
use crate::flags::Flags;
use crate::limits::{
    ACCOUNT_ATOMS_MAX, OPEN_CONTRACTS_MAX, OPEN_CONTRACTS_PER_ACCOUNT_MAX, OPEN_ORDERS_MAX, OPEN_ORDERS_PER_ACCOUNT_MAX,
};
use crate::matching::End;
use crate::orders::Slot;
use crate::{
    AccountId, Amount, Balance, CloseReason, CreditPolicy, Engine, Event, Events, InstrumentId, InstrumentState, KeyId,
    LedgerAccount, Miss, NewOrder, OrderAnswer, OrderId, Preference, Quantity, RejectReason, SelfTrade, Side, Terms,
    TimeInForce, Timestamp, Transfer, TransferCode, invariant,
};

/// What an order reserves, and how much of it the account must borrow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hold {
    pub(crate) amount: Amount,
    pub(crate) borrowed: Amount,
}

impl Engine {
    /// Accepts, holds, matches and rests an order, or refuses it with nothing changed.
    #[inline(never)]
    pub(crate) fn place_order(
        &mut self,
        new: &NewOrder,
        at: Timestamp,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        if self.is_repeated(new, events) {
            return Ok(());
        }
        let (key, ticks, hold) = self.check_order(new, at)?;
        let arrives = self.market(new.instrument).book.may_match(new.terms.side(), ticks)
            || new.min_quantity.0 > 0
            || new.time_in_force == TimeInForce::Fok;
        let slot = self.accept(new, key, ticks, hold, events);
        self.arrive(slot, new, arrives, at, events);
        Ok(())
    }

    /// The order is accepted, and holds what it may cost.
    #[inline(always)]
    pub(crate) fn accept(&mut self, new: &NewOrder, key: KeyId, ticks: u32, hold: Hold, events: &mut Events) -> Slot {
        let list = &mut self.ledger.account_mut(new.account).orders;
        let slot = self.orders.open(new, key, ticks, list);
        let market = self.market(new.instrument);
        events.tell(|| accepted(new, OrderId(self.orders.hot(slot).id), market.price(ticks)));
        self.take_effect(slot, new);
        self.hold(new.account, key, hold, events);
        slot
    }

    /// Gives a resend the first answer.
    #[inline]
    pub(crate) fn is_repeated(&self, new: &NewOrder, events: &mut Events) -> bool {
        if let Some(client_id) = new.client_id
            && let Some(answer) = self.answers.get(new.account, client_id)
        {
            events.push(Event::OrderRepeated(*answer));
            return true;
        }
        false
    }

    /// Matches an order that was just accepted, if it could match at all, and lets the rest wait or closes it.
    pub(crate) fn arrive(&mut self, slot: Slot, new: &NewOrder, arrives: bool, at: Timestamp, events: &mut Events) {
        let mut end = End::Done;
        if arrives {
            let hot = self.orders.hot(slot);
            self.make_way(slot, hot.ticks, hot.remaining);
            end = self.match_arrival(slot, new, at, events);
        }
        self.conclude(slot, new, end, events, |engine| engine.counterpart_whatever_size(slot));
    }

    /// Lets what is left of an order wait after its matching, or closes it. `whatever_size` says what it would have taken
    /// if size did not matter.
    pub(crate) fn conclude(
        &mut self,
        slot: Slot,
        new: &NewOrder,
        end: End,
        events: &mut Events,
        whatever_size: impl FnOnce(&Engine) -> Option<Slot>,
    ) {
        let hot = self.orders.hot(slot);
        let (order, remaining, filled) = (OrderId(hot.id), hot.remaining, hot.quantity - hot.remaining);
        let rests = remaining > 0 && end.lets_rest() && new.time_in_force.may_rest();
        if rests {
            events.tell(|| rested(order, remaining));
            self.rest(slot, events);
        } else {
            let met = end == End::Met || filled > 0;
            let miss = |engine: &Engine| engine.miss(slot, met, whatever_size);
            let reason = end.close_reason(remaining).unwrap_or_else(|| CloseReason::Unfilled(miss(self)));
            self.close_unbooked(slot, reason, events);
        }
        if let Some(client_id) = new.client_id {
            let rested = Quantity(if rests { remaining } else { 0 });
            let answer = OrderAnswer { order, seq: self.last_seq, filled: Quantity(filled), rested };
            self.answers.remember(new.account, client_id, answer);
        }
    }

    /// Every rule an order must meet, in the order in which a refusal names them; the key that counts it, its limit in
    /// ticks, what it reserves.
    #[inline(always)]
    pub(crate) fn check_order(&mut self, new: &NewOrder, at: Timestamp) -> Result<(KeyId, u32, Hold), RejectReason> {
        let account = self.ledger.account(new.account).ok_or(RejectReason::UnknownAccount)?;
        let index = crate::ids::dense_index(new.instrument.0).ok_or(RejectReason::UnknownInstrument)?;
        let market = self.markets.get(index).ok_or(RejectReason::UnknownInstrument)?;
        if market.state != InstrumentState::Open {
            return Err(RejectReason::InstrumentNotOpen { state: market.state });
        }
        let side = new.terms.side();
        if side == Side::Ask {
            self.check_breaker(new.account, new.instrument)?;
        }
        if account.orders.len >= OPEN_ORDERS_PER_ACCOUNT_MAX {
            return Err(RejectReason::TooManyOrders { max: OPEN_ORDERS_PER_ACCOUNT_MAX });
        }
        if self.orders.len() >= OPEN_ORDERS_MAX {
            return Err(RejectReason::TooManyOrders { max: OPEN_ORDERS_MAX as u32 });
        }
        if side == Side::Bid && account.open_contracts >= OPEN_CONTRACTS_PER_ACCOUNT_MAX {
            return Err(RejectReason::TooManyContracts { max: OPEN_CONTRACTS_PER_ACCOUNT_MAX });
        }
        if self.contracts.len() >= OPEN_CONTRACTS_MAX {
            return Err(RejectReason::TooManyContracts { max: OPEN_CONTRACTS_MAX as u32 });
        }
        market.check_quantity(new.quantity)?;
        check_terms(new, at)?;
        let ticks = match new.limit {
            Some(limit) => market.ticks(limit)?,
            None if side == Side::Bid => (market.spec().reference_price.0 / market.spec().tick.0) as u32,
            None => 1,
        };
        let tracked = self.tracked_key(new.account, new.key);
        let mut hold = Hold::default();
        match side {
            Side::Bid => {
                let amount = market.hold(ticks, new.quantity.0)?;
                hold = self.check_spending(new.account, tracked, amount, at)?;
            }
            Side::Ask => market.check_size(ticks, new.quantity.0)?,
        }
        if new.post_only {
            self.check_post_only(new, ticks)?;
        }
        Ok((tracked, ticks, hold))
    }

    /// What a bid of `needed` would reserve, unless a spending limit or the balance is in the way.
    #[inline]
    pub(crate) fn check_spending(
        &mut self,
        account: AccountId,
        key: KeyId,
        needed: Amount,
        at: Timestamp,
    ) -> Result<Hold, RejectReason> {
        let own = invariant(self.ledger.account(account), "the account was found above");
        let balance = &own.balance;
        if self.ledger.is_limited(account) {
            if let Some(key) = self.keys.get(&(account, key)) {
                key.check(needed, at)?;
            }
            self.spending.check(account, Amount(balance.held.0 + balance.escrow.0), needed, at)?;
        }
        if balance.owed.0 > 0 || needed > balance.available {
            return self.check_credit(account, balance, needed);
        }
        Ok(Hold { amount: needed, borrowed: Amount::ZERO })
    }

    /// What an account that owes, or has too little, may still reserve.
    #[cold]
    fn check_credit(&self, account: AccountId, balance: &Balance, needed: Amount) -> Result<Hold, RejectReason> {
        let cap = self.credit_policy(account).overage_cap;
        if balance.owed > cap {
            return Err(RejectReason::AccountInDebt { owed: balance.owed, max: cap });
        }
        let line = cap.0 - balance.owed.0;
        let available = Amount(balance.available.0 + line); // Each at most half of what 63 bits hold.
        if needed > available {
            return Err(RejectReason::InsufficientCredits { needed, available });
        }
        let borrowed = Amount((needed.0 - balance.available.0).max(0));
        if !self.ledger.has_room(account, borrowed) {
            return Err(RejectReason::BalanceTooLarge { max: Amount(ACCOUNT_ATOMS_MAX) });
        }
        Ok(Hold { amount: needed, borrowed })
    }

    /// How far an account may spend beyond its credits.
    pub fn credit_policy(&self, account: AccountId) -> CreditPolicy {
        self.policies.get(&account).map_or(CreditPolicy::default(), |policies| policies.credit)
    }

    #[cold]
    fn check_post_only(&mut self, new: &NewOrder, ticks: u32) -> Result<(), RejectReason> {
        let taken = match new.terms {
            Terms::Bid { single, .. } => {
                let demand = demand(&new.terms, ticks, new.quantity.0);
                let (market, orders) = self.market_and_orders(new.instrument);
                if single {
                    market.book.move_small_asks(orders, &demand);
                }
                market.book.best_ask(orders, &demand)
            }
            Terms::Ask { attributes } => {
                let (latency_ms, throughput_tps) =
                    self.effective(new.account, new.instrument, attributes.latency_ms, attributes.throughput_tps);
                let category = [attributes.gpu.bit(), attributes.region.bit(), attributes.precision.bit()];
                let offer = Offer { ticks, latency_ms, throughput_tps, category, units: new.quantity.0 };
                self.market(new.instrument).book.best_bid(&self.orders, &offer)
            }
        };
        taken.map_or(Ok(()), |maker| Err(self.would_take(maker)))
    }

    pub(crate) fn would_take(&self, maker: Slot) -> RejectReason {
        let hot = self.orders.hot(maker);
        RejectReason::PostOnlyWouldTake { price: self.market(hot.instrument).price(hot.ticks) }
    }

    /// Sets an order's deadline, and an ask's effective attributes.
    #[inline]
    fn take_effect(&mut self, slot: Slot, new: &NewOrder) {
        if let TimeInForce::Gtd(until) = new.time_in_force {
            self.deadlines.set(until, Deadline::Order(OrderId(self.orders.hot(slot).id)));
        }
        if new.terms.side() == Side::Ask && self.market(new.instrument).has_records {
            self.refresh_attributes(slot);
        }
    }

    /// Reserves what a bid needs.
    #[inline]
    pub(crate) fn hold(&mut self, account: AccountId, key: KeyId, hold: Hold, events: &mut Events) {
        if hold.borrowed.0 > 0 {
            let transfer = Transfer {
                debit: LedgerAccount::Receivable(account),
                credit: LedgerAccount::Available(account),
                amount: hold.borrowed,
                code: TransferCode::Overage,
            };
            self.ledger.transfer(transfer, events);
        }
        if hold.amount.0 > 0 {
            self.ledger.transfer_held(account, hold.amount.0, events);
            self.reserve_for_key(account, key, hold.amount.0);
        }
    }

    /// Frees part of what a bid holds.
    #[inline]
    pub(crate) fn release(&mut self, account: AccountId, key: KeyId, amount: Amount, events: &mut Events) {
        assert!(amount.0 >= 0, "a transfer never moves money backwards");
        if amount.0 > 0 {
            self.ledger.transfer_held(account, -amount.0, events);
            self.reserve_for_key(account, key, -amount.0);
        }
    }

    /// Puts an order into its book, at the back; an ask whose provider may not trade is parked instead.
    #[inline(always)]
    pub(crate) fn rest(&mut self, slot: Slot, events: &mut Events) {
        let hot = self.orders.hot(slot);
        let (account, instrument, side, ticks) = (hot.account, hot.instrument, hot.flags.side(), hot.ticks);
        if side == Side::Ask && self.is_suspended(account, instrument) {
            self.orders.hot_mut(slot).flags.set(Flags::PARKED, true);
            return;
        }
        let (market, orders) = self.market_and_orders(instrument);
        let totals = market.book.insert(orders, slot);
        events.tell(|| market.level(instrument, side, ticks, totals));
    }

    /// Takes an order out of its book, if it is in it.
    #[inline(always)]
    pub(crate) fn unbook(&mut self, slot: Slot, events: &mut Events) {
        let hot = self.orders.hot(slot);
        let (instrument, side, ticks) = (hot.instrument, hot.flags.side(), hot.ticks);
        if !hot.flags.has(Flags::BOOKED) {
            return;
        }
        let (market, orders) = self.market_and_orders(instrument);
        let totals = market.book.remove(orders, slot);
        events.tell(|| market.level(instrument, side, ticks, totals));
    }

    /// Closes an order that is not in its book.
    #[inline]
    pub(crate) fn close_unbooked(&mut self, slot: Slot, reason: CloseReason, events: &mut Events) {
        let hot = self.orders.hot(slot);
        events.tell(|| closed(OrderId(hot.id), hot.remaining, reason));
        self.end(slot, events);
    }

    /// Closes an order wherever it is.
    #[inline]
    pub(crate) fn close_order(&mut self, slot: Slot, reason: CloseReason, events: &mut Events) {
        let hot = self.orders.hot(slot);
        events.tell(|| closed(OrderId(hot.id), hot.remaining, reason));
        self.unbook(slot, events);
        self.end(slot, events);
    }

    /// Frees an order's slot and what it still holds.
    #[inline]
    pub(crate) fn end(&mut self, slot: Slot, events: &mut Events) {
        let hot = self.orders.hot(slot);
        let (id, account, flags) = (OrderId(hot.id), hot.account, hot.flags);
        if flags.has(Flags::DATED) {
            self.deadlines.clear(self.orders.hot(slot).expires_at, Deadline::Order(id));
        }
        if flags.side() == Side::Bid {
            self.release(account, self.orders.key(slot), self.held_by(slot), events);
        }
        self.orders.close(slot, &mut self.ledger.account_mut(account).orders);
    }

    /// What an open bid holds.
    #[inline]
    pub(crate) fn held_by(&self, slot: Slot) -> Amount {
        let hot = self.orders.hot(slot);
        self.market(hot.instrument).held(hot.ticks, hot.remaining)
    }

    /// Cancels an open order of the account.
    #[inline(never)]
    pub(crate) fn cancel_order(
        &mut self,
        account: AccountId,
        id: OrderId,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        let slot = self.orders.find_own(account, id).ok_or(RejectReason::UnknownOrder)?;
        let state = self.market(self.orders.hot(slot).instrument).state;
        if state == InstrumentState::Halted {
            return Err(RejectReason::InstrumentNotOpen { state });
        }
        self.close_order(slot, CloseReason::Cancelled, events);
        Ok(())
    }

    /// Cancels an account's orders, oldest first.
    pub(crate) fn cancel_orders(
        &mut self,
        account: AccountId,
        instrument: Option<InstrumentId>,
        side: Option<Side>,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        self.known_account(account)?;
        if let Some(instrument) = instrument {
            self.known_market_mut(instrument)?;
        }
        let victims = self.own_orders(account, |engine, slot| {
            let hot = engine.orders.hot(slot);
            instrument.is_none_or(|wanted| wanted == hot.instrument)
                && side.is_none_or(|wanted| wanted == hot.flags.side())
                && engine.market(hot.instrument).state != InstrumentState::Halted
        });
        for slot in &victims {
            self.close_order(*slot, CloseReason::Cancelled, events);
        }
        events.push(Event::OrdersCancelled { account, count: victims.len() as u32 }); // OPEN_ORDERS_PER_ACCOUNT_MAX.
        Ok(())
    }

    /// Slots of an account's orders that `wanted` picks, oldest first.
    pub(crate) fn own_orders(&self, account: AccountId, wanted: impl Fn(&Engine, Slot) -> bool) -> Vec<Slot> {
        let Some(own) = self.ledger.account(account) else { return Vec::new() };
        self.orders.of_account(&own.orders).filter(|slot| wanted(self, *slot)).collect()
    }

    /// What an immediate order lacked in the book it met: capacity, if it `met` anything.
    #[cold]
    fn miss(&self, slot: Slot, met: bool, whatever_size: impl FnOnce(&Engine) -> Option<Slot>) -> Miss {
        let hot = self.orders.hot(slot);
        if met { Miss::Capacity } else { self.miss_in_book(hot.instrument, hot.flags.side(), hot.ticks, whatever_size) }
    }

    /// The same of one that met nothing; `whatever_size` says what it would take if size did not matter.
    pub(crate) fn miss_in_book(
        &self,
        instrument: InstrumentId,
        side: Side,
        ticks: u32,
        whatever_size: impl FnOnce(&Engine) -> Option<Slot>,
    ) -> Miss {
        let book = &self.market(instrument).book;
        let other = if side == Side::Bid { Side::Ask } else { Side::Bid };
        if book.orders(other) == 0 {
            Miss::EmptyBook
        } else if !book.may_match(side, ticks) {
            Miss::Price
        } else if whatever_size(self).is_none() {
            Miss::Constraints
        } else {
            Miss::Capacity
        }
    }

    /// An order's time is up.
    pub(crate) fn expire_order(&mut self, order: OrderId, events: &mut Events) {
        let slot = invariant(self.orders.find(order), "a closed order has no deadline");
        self.close_order(slot, CloseReason::Expired, events);
    }
}

/// What a bid with these terms looks for.
#[inline]
pub(crate) fn demand(terms: &Terms, ticks: u32, units: u64) -> Demand {
    match terms {
        Terms::Bid { constraints, preference, single } => Demand {
            ticks,
            latency_max_ms: constraints.max_latency_ms.unwrap_or(u32::MAX),
            throughput_min_tps: constraints.min_throughput_tps.unwrap_or(0),
            category: [constraints.gpus, constraints.regions, constraints.precisions],
            units: if *single { units } else { 0 },
            preference: *preference,
        },
        Terms::Ask { .. } => Demand {
            ticks,
            latency_max_ms: u32::MAX,
            throughput_min_tps: 0,
            category: [0; 3],
            units: 0,
            preference: Preference::Price,
        },
    }
}

/// Whether an order is a bid for all of its units from one ask at once that does no more than not trade with its own
/// account.
pub(crate) fn is_immediate_single_bid(new: &NewOrder) -> bool {
    let is_single_bid = matches!(new.terms, Terms::Bid { single: true, .. });
    let ends_at_its_own = matches!(new.self_trade, SelfTrade::CancelNewest | SelfTrade::Allow);
    is_single_bid && ends_at_its_own && !new.time_in_force.may_rest()
}

/// Rules between an order's own fields.
#[inline]
fn check_terms(new: &NewOrder, at: Timestamp) -> Result<(), RejectReason> {
    if new.min_quantity > new.quantity {
        return Err(RejectReason::MinQuantityOutOfRange { max: new.quantity });
    }
    if new.limit.is_none() && new.time_in_force.may_rest() {
        return Err(RejectReason::MarketOrderMustBeImmediate);
    }
    if new.post_only && (!new.time_in_force.may_rest() || new.min_quantity.0 > 0) {
        return Err(RejectReason::PostOnlyMustRest);
    }
    if let TimeInForce::Gtd(until) = new.time_in_force
        && until <= at
    {
        return Err(RejectReason::ExpiryInPast { now: at });
    }
    if let Terms::Bid { preference: Preference::Weights { price, latency, throughput }, .. } = new.terms
        && (price == 0 || latency == 0 || throughput == 0)
    {
        return Err(RejectReason::InvalidWeights);
    }
    Ok(())
}
