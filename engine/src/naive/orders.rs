//! Placing, cancelling and closing orders, and timers (sections 2 and 4).

use super::{Open, Outcome, Place, Twin};
use crate::ids::{slot_of, slotted_id};
use crate::limits::{
    ACCOUNT_ATOMS_MAX, CHOSEN_PROVIDERS_MAX, CLIENT_IDS_PER_ACCOUNT_MAX, OPEN_CONTRACTS_MAX,
    OPEN_CONTRACTS_PER_ACCOUNT_MAX, OPEN_ORDERS_MAX, OPEN_ORDERS_PER_ACCOUNT_MAX, TIMER_NS_MAX,
};
use crate::{
    AccountId, Amount, Breaker, ClientOrderId, CloseReason, Event, InstrumentId, InstrumentSpec, InstrumentState,
    LedgerAccount, NewOrder, Order, OrderAnswer, OrderId, Preference, Price, Providers, Quantity, RejectReason,
    SelfTrade, Side, Terms, TimeInForce, Timer, Timestamp, TransferCode, invariant,
};

/// Checks 14 and 15.
pub(super) fn check_price(spec: &InstrumentSpec, price: Price) -> Outcome {
    if price < spec.tick || price > spec.price_max {
        return Err(RejectReason::PriceOutOfRange { min: spec.tick, max: spec.price_max });
    }
    if !price.0.is_multiple_of(spec.tick.0) {
        return Err(RejectReason::PriceOffTick { tick: spec.tick });
    }
    Ok(())
}

/// Checks 14 to 16.
pub(super) fn check_limit(spec: &InstrumentSpec, limit: Price) -> Outcome {
    check_price(spec, limit)?;
    let (min, max) = spec.band();
    if limit < min || limit > max {
        return Err(RejectReason::PriceOutsideBand { min, max });
    }
    Ok(())
}

/// Checks 7 and 8.
pub(super) fn check_quantity(spec: &InstrumentSpec, quantity: Quantity) -> Outcome {
    if quantity < spec.quantity_min || quantity > spec.quantity_max {
        return Err(RejectReason::QuantityOutOfRange { min: spec.quantity_min, max: spec.quantity_max });
    }
    if !quantity.0.is_multiple_of(spec.lot.0) {
        return Err(RejectReason::QuantityOffLot { lot: spec.lot });
    }
    Ok(())
}

/// Check 17: what a bid of so many units holds, and an ask would.
pub(super) fn check_hold(spec: &InstrumentSpec, price: Price, units: Quantity) -> Result<Amount, RejectReason> {
    let max = Amount(ACCOUNT_ATOMS_MAX);
    let notional = u128::from(price.0) * u128::from(units.0);
    let hold = notional + notional * u128::from(spec.maker_fee_bps.max(spec.taker_fee_bps)) / 10_000;
    match i64::try_from(hold) {
        Ok(hold) if Amount(hold) <= max => Ok(Amount(hold)),
        Ok(_) | Err(_) => Err(RejectReason::NotionalTooLarge { max }),
    }
}

/// The lowest slot that is not used.
pub(super) fn lowest_free(mut used: Vec<usize>) -> usize {
    used.sort_unstable();
    (0..used.len()).find(|slot| used.get(*slot) != Some(slot)).unwrap_or(used.len())
}

impl Twin {
    pub(super) fn place_order(&mut self, new: &NewOrder) -> Outcome {
        self.place(new, None)
    }

    pub(super) fn place_chosen(&mut self, new: &NewOrder, providers: &Providers) -> Outcome {
        let placed = self.place(new, Some(providers));
        self.chosen = None;
        placed
    }

    fn place(&mut self, new: &NewOrder, providers: Option<&Providers>) -> Outcome {
        if let Some(answer) = self.first_answer(new) {
            self.tell(Event::OrderRepeated(answer));
            return Ok(());
        }
        let (price, hold) = self.check_new(new)?;
        let order = self.describe(new, price);
        if order.post_only {
            self.check_would_rest(&order)?;
        }
        if let Some(providers) = providers {
            let single_bid = matches!(new.terms, Terms::Bid { single: true, .. });
            let mode_fits = new.self_trade == SelfTrade::CancelNewest || new.self_trade == SelfTrade::Allow;
            if !single_bid || new.time_in_force.may_rest() || !mode_fits {
                return Err(RejectReason::NotChoosy);
            }
            if providers.named().len() > CHOSEN_PROVIDERS_MAX {
                return Err(RejectReason::TooManyProviders { max: CHOSEN_PROVIDERS_MAX as u32 });
            }
            self.chosen = Some(providers.clone());
        }
        self.orders_accepted += 1;
        let counted = self.has_limits(order.account, order.key);
        self.orders.push(Open { order, place: Place::Arriving, joined: 0, counted });
        self.tell(Event::OrderAccepted(order));
        if order.side() == Side::Bid {
            self.hold(order.account, hold);
        }
        let least = if new.time_in_force == TimeInForce::Fok { new.quantity } else { new.min_quantity };
        let (filled, rested) = self.arrive(order.id, Some(least));
        if let Some(client_id) = new.client_id {
            let answer = OrderAnswer { order: order.id, seq: self.seq, filled, rested };
            self.remember(new.account, client_id, answer);
        }
        Ok(())
    }

    pub(super) fn remember(&mut self, account: AccountId, client_id: ClientOrderId, answer: OrderAnswer) {
        let answers = &mut self.account_mut(account).answers;
        answers.push((client_id, answer));
        if answers.len() > CLIENT_IDS_PER_ACCOUNT_MAX as usize {
            answers.remove(0);
        }
    }

    pub(super) fn first_answer(&self, new: &NewOrder) -> Option<OrderAnswer> {
        let answers = &self.find_account(new.account).ok()?.answers;
        answers.iter().find(|(client_id, _)| Some(*client_id) == new.client_id).map(|(_, answer)| *answer)
    }

    /// The order as it would be accepted now.
    pub(super) fn describe(&self, new: &NewOrder, price: Price) -> Order {
        let slot = lowest_free(self.orders.iter().map(|open| slot_of(open.order.id.0)).collect());
        Order {
            id: OrderId(slotted_id(self.orders_accepted + 1, slot)),
            account: new.account,
            key: new.key,
            instrument: new.instrument,
            client_id: new.client_id,
            price,
            quantity: new.quantity,
            remaining: new.quantity,
            time_in_force: new.time_in_force,
            post_only: new.post_only,
            cancel_on_disconnect: new.cancel_on_disconnect,
            self_trade: new.self_trade,
            terms: new.terms,
        }
    }

    /// Checks 1 to 22; the limit it trades at and what it would hold.
    pub(super) fn check_new(&self, new: &NewOrder) -> Result<(Price, Amount), RejectReason> {
        self.find_account(new.account)?;
        let market = self.find_market(new.instrument)?;
        if market.state != InstrumentState::Open {
            return Err(RejectReason::InstrumentNotOpen { state: market.state });
        }
        if new.terms.side() == Side::Ask {
            self.check_breaker(new.account, new.instrument)?;
        }
        self.check_counts(new)?;
        check_quantity(&market.spec, new.quantity)?;
        self.check_wishes(new)?;
        if let Some(limit) = new.limit {
            check_limit(&market.spec, limit)?;
        }
        let price = match (new.limit, new.terms.side()) {
            (Some(limit), _) => limit,
            (None, Side::Bid) => market.spec.reference_price,
            (None, Side::Ask) => market.spec.tick,
        };
        let hold = check_hold(&market.spec, price, new.quantity)?;
        if new.terms.side() == Side::Bid {
            self.check_key(new.account, new.key, hold)?;
            self.check_credits(new.account, hold)?;
        }
        Ok((price, hold))
    }

    /// Check 4.
    pub(super) fn check_breaker(&self, provider: AccountId, instrument: InstrumentId) -> Outcome {
        match self.provider(provider, instrument).breaker {
            Breaker::Closed | Breaker::HalfOpen { probes: 1.. } => Ok(()),
            breaker @ (Breaker::Open { .. } | Breaker::HalfOpen { probes: 0 }) => {
                Err(RejectReason::ProviderSuspended { breaker })
            }
        }
    }

    /// Checks 5 and 6.
    fn check_counts(&self, new: &NewOrder) -> Outcome {
        let orders = self.orders.iter().filter(|open| open.order.account == new.account).count();
        if orders >= OPEN_ORDERS_PER_ACCOUNT_MAX as usize {
            return Err(RejectReason::TooManyOrders { max: OPEN_ORDERS_PER_ACCOUNT_MAX });
        }
        if self.orders.len() >= OPEN_ORDERS_MAX {
            return Err(RejectReason::TooManyOrders { max: OPEN_ORDERS_MAX as u32 });
        }
        let contracts = self.contracts.iter().filter(|contract| contract.buyer == new.account).count();
        if new.terms.side() == Side::Bid && contracts >= OPEN_CONTRACTS_PER_ACCOUNT_MAX as usize {
            return Err(RejectReason::TooManyContracts { max: OPEN_CONTRACTS_PER_ACCOUNT_MAX });
        }
        if self.contracts.len() >= OPEN_CONTRACTS_MAX {
            return Err(RejectReason::TooManyContracts { max: OPEN_CONTRACTS_MAX as u32 });
        }
        Ok(())
    }

    /// Checks 9 to 13.
    fn check_wishes(&self, new: &NewOrder) -> Outcome {
        if new.min_quantity > new.quantity {
            return Err(RejectReason::MinQuantityOutOfRange { max: new.quantity });
        }
        let may_rest = new.time_in_force.may_rest();
        if new.limit.is_none() && may_rest {
            return Err(RejectReason::MarketOrderMustBeImmediate);
        }
        if new.post_only && (!may_rest || new.min_quantity > Quantity(0)) {
            return Err(RejectReason::PostOnlyMustRest);
        }
        if let TimeInForce::Gtd(at) = new.time_in_force
            && at <= self.now
        {
            return Err(RejectReason::ExpiryInPast { now: self.now });
        }
        if let Terms::Bid { preference: Preference::Weights { price, latency, throughput }, .. } = new.terms
            && (price == 0 || latency == 0 || throughput == 0)
        {
            return Err(RejectReason::InvalidWeights);
        }
        Ok(())
    }

    /// Checks 19 to 22: whether an account may hold `needed` more.
    pub(super) fn check_credits(&self, account: AccountId, needed: Amount) -> Outcome {
        self.check_guard_rails(account, needed)?;
        let found = self.account(account);
        let (owed, max) = (found.balance.owed, found.credit_policy.overage_cap);
        if owed > max {
            return Err(RejectReason::AccountInDebt { owed, max });
        }
        let available = Amount(found.balance.available.0 + (max.0 - owed.0));
        if needed > available {
            return Err(RejectReason::InsufficientCredits { needed, available });
        }
        let borrowed = Amount((needed.0 - found.balance.available.0).max(0));
        self.check_room(account, borrowed)
    }

    /// Check 23.
    pub(super) fn check_would_rest(&self, order: &Order) -> Outcome {
        match self.best_match(order, &self.orders) {
            Some(best) => Err(RejectReason::PostOnlyWouldTake { price: best.order.price }),
            None => Ok(()),
        }
    }

    /// What an open order holds: its limit for every unit left, and the dearer fee on that; an ask holds nothing.
    pub(super) fn held_by(&self, order: &Order) -> Amount {
        match order.side() {
            Side::Bid => {
                let hold = check_hold(&self.market(order.instrument).spec, order.price, order.remaining);
                invariant(hold.ok(), "the hold was checked when the order was placed or replaced")
            }
            Side::Ask => Amount::ZERO,
        }
    }

    /// Takes a bid's hold from what is available, or from the credit line what that lacks.
    pub(super) fn hold(&mut self, account: AccountId, amount: Amount) {
        let (available, held) = (LedgerAccount::Available(account), LedgerAccount::Held(account));
        let borrowed = Amount((amount.0 - self.account(account).balance.available.0).max(0));
        self.transfer(LedgerAccount::Receivable(account), available, borrowed, TransferCode::Overage);
        self.transfer(available, held, amount, TransferCode::Hold);
    }

    /// Returns what a bid no longer needs.
    pub(super) fn release(&mut self, account: AccountId, amount: Amount) {
        let (available, held) = (LedgerAccount::Available(account), LedgerAccount::Held(account));
        self.transfer(held, available, amount, TransferCode::Release);
    }

    /// An order leaves the market.
    pub(super) fn close_order(&mut self, order: OrderId, reason: CloseReason) {
        let open = *invariant(self.find_order(order), "an open order closes");
        self.orders.retain(|other| other.order.id != order);
        self.waiting.retain(|waiting| *waiting != order);
        self.tell(Event::OrderClosed { order, remaining: open.order.remaining, reason });
        if open.place == Place::Book {
            self.tell_level(&open.order);
        }
        self.release(open.order.account, self.held_by(&open.order));
    }

    /// An open order, if it is the account's own.
    pub(super) fn own_order(&self, account: AccountId, order: OrderId) -> Result<Open, RejectReason> {
        let found = self.find_order(order).filter(|open| open.order.account == account);
        found.copied().ok_or(RejectReason::UnknownOrder)
    }

    pub(super) fn cancel_order(&mut self, account: AccountId, order: OrderId) -> Outcome {
        let open = self.own_order(account, order)?;
        let state = self.market(open.order.instrument).state;
        if state == InstrumentState::Halted {
            return Err(RejectReason::InstrumentNotOpen { state });
        }
        self.close_order(order, CloseReason::Cancelled);
        Ok(())
    }

    pub(super) fn cancel_orders(
        &mut self,
        account: AccountId,
        instrument: Option<InstrumentId>,
        side: Option<Side>,
    ) -> Outcome {
        self.find_account(account)?;
        if let Some(instrument) = instrument {
            self.find_market(instrument)?;
        }
        let mut count = 0;
        for Open { order, .. } in self.orders.clone() {
            let named = order.account == account
                && instrument.is_none_or(|instrument| instrument == order.instrument)
                && side.is_none_or(|side| side == order.side());
            if named && self.market(order.instrument).state != InstrumentState::Halted {
                self.close_order(order.id, CloseReason::Cancelled);
                count += 1;
            }
        }
        self.tell(Event::OrdersCancelled { account, count });
        Ok(())
    }

    pub(super) fn set_timer(&mut self, account: AccountId, timer: Timer, after_ns: Option<u64>) -> Outcome {
        self.find_account(account)?;
        if after_ns.is_some_and(|after| after == 0 || after > TIMER_NS_MAX) {
            return Err(RejectReason::TimerOutOfRange { max_ns: TIMER_NS_MAX });
        }
        self.timers.retain(|(of, which, _)| (*of, *which) != (account, timer));
        let at = after_ns.map(|after| Timestamp(self.now.0.saturating_add(after)));
        if let Some(at) = at {
            self.timers.push((account, timer, at));
        }
        self.tell(Event::TimerSet { account, timer, at });
        Ok(())
    }

    pub(super) fn fire_timer(&mut self, account: AccountId, timer: Timer) {
        self.timers.retain(|(of, which, _)| (*of, *which) != (account, timer));
        self.tell(Event::TimerFired { account, timer });
        for Open { order, .. } in self.orders.clone() {
            if order.account == account {
                match timer {
                    Timer::DeadMan => self.close_order(order.id, CloseReason::DeadMan),
                    Timer::Connection if order.cancel_on_disconnect => {
                        self.close_order(order.id, CloseReason::Disconnected);
                    }
                    Timer::Connection => {}
                }
            }
        }
    }
}
