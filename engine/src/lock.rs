//! Locked quotes: units of one ask, set aside at its price for a few seconds, to be bought or let go.
//!
//! A lock is a contract that is not confirmed yet. Its units have left the ask and its money is in escrow, as a contract's
//! have; but nothing is traded until it is used. It is known by the number of the bid that it becomes then.
//!
//! Invariants: a lock never uses an ask up, so none is closed by what may never be bought; the escrow is all that its
//! contract can cost, so using it needs no check of money; whatever ends it returns both, once.

use crate::deadlines::Deadline;
use crate::event::{accepted_order, closed};
use crate::limits::{LOCKS_MAX, LOCKS_PER_ACCOUNT_MAX, OPEN_CONTRACTS_MAX, QUOTE_LOCK_NS};
use crate::orders::Slot;
use crate::trading::{demand, is_immediate_single_bid};
use crate::{
    AccountId, Amount, Breaker, CloseReason, Contract, Engine, Event, Events, InstrumentState, KeyId, NewOrder, Order,
    OrderAnswer, OrderId, Quantity, RejectReason, SelfTrade, Side, Timestamp, Trade, invariant,
};
use bincode::{Decode, Encode};

/// A quote that is held for who asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Lock {
    /// The bid as it is accepted when the lock is used; its number is the lock's.
    pub order: Order,
    /// The contract that comes of it then. Until then it ends when the lock does.
    pub contract: Contract,
}

impl Engine {
    /// Sets units of the ask that a bid takes aside for it, or refuses with nothing changed.
    pub(crate) fn lock_quote(
        &mut self,
        new: &NewOrder,
        at: Timestamp,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        if self.is_repeated(new, events) {
            return Ok(());
        }
        let (key, ticks, hold) = self.check_order(new, at)?;
        check_lockable(new)?;
        self.check_lock_count(new.account)?;
        let ask = self.lockable_ask(new, ticks)?;
        let price = self.market(new.instrument).price(ticks);
        let order = accepted_order(new, self.orders.number_lock(), price);
        let contract = self.locked_contract(&order, key, ask, at);
        self.insert_lock(Lock { order, contract });
        events.push(Event::QuoteLocked {
            lock: order.id,
            account: order.account,
            key: order.key,
            provider: contract.provider,
            instrument: order.instrument,
            ask: contract.ask,
            price: contract.price,
            quantity: order.quantity,
            escrow: contract.escrow,
            until: contract.expires_at,
        });
        self.hold(order.account, key, hold, events);
        self.resize(ask, self.orders.hot(ask).remaining - order.quantity.0, events);
        self.ledger.transfer_escrow(order.account, contract.escrow, events);
        self.release(order.account, key, Amount(hold.amount.0 - contract.escrow.0), events);
        if contract.probe {
            self.use_probe(contract.provider, order.instrument, events);
        }
        if let Some(client_id) = new.client_id {
            let (order, filled, rested) = (order.id, order.quantity, Quantity(0));
            let answer = OrderAnswer { order, seq: self.last_seq, filled, rested };
            self.answers.remember(new.account, client_id, answer);
        }
        Ok(())
    }

    fn check_lock_count(&self, account: AccountId) -> Result<(), RejectReason> {
        if self.locks_of(account).count() >= LOCKS_PER_ACCOUNT_MAX as usize {
            return Err(RejectReason::TooManyLocks { max: LOCKS_PER_ACCOUNT_MAX });
        }
        if self.locks.map().len() >= LOCKS_MAX {
            return Err(RejectReason::TooManyLocks { max: LOCKS_MAX as u32 });
        }
        Ok(())
    }

    /// Of the asks with more units than the bid wants the one that it takes first.
    fn lockable_ask(&mut self, new: &NewOrder, ticks: u32) -> Result<Slot, RejectReason> {
        let wanted = demand(&new.terms, ticks, new.quantity.0 + 1);
        let (market, orders) = self.market_and_orders(new.instrument);
        market.book.move_small_asks(orders, &wanted);
        let reason = match market.book.best_ask(orders, &wanted) {
            Some(ask) if new.self_trade == SelfTrade::Allow || orders.hot(ask).account != new.account => {
                return Ok(ask);
            }
            Some(_) => CloseReason::SelfTrade,
            None => CloseReason::Unfilled(self.miss_in_book(new.instrument, Side::Bid, ticks, |engine| {
                let book = &engine.market(new.instrument).book;
                book.best_ask(&engine.orders, &demand(&new.terms, ticks, 0))
            })),
        };
        Err(RejectReason::NothingToLock { reason })
    }

    /// The contract that a lock on this ask stands for: the terms of a fill of now.
    fn locked_contract(&self, order: &Order, key: KeyId, ask: Slot, at: Timestamp) -> Contract {
        let (hot, promised) = (self.orders.hot(ask), self.orders.cold(ask));
        let market = self.market(order.instrument);
        let spec = market.spec();
        let price = market.price(hot.ticks);
        let value = invariant(price.notional(order.quantity), "a lock costs no more than its hold");
        Contract {
            buyer: order.account,
            provider: hot.account,
            instrument: order.instrument,
            ask: OrderId(hot.id),
            price,
            quantity: order.quantity,
            remaining: order.quantity,
            escrow: Amount(value.0 + value.fee(spec.taker_fee_bps).0),
            expires_at: Timestamp(at.0.saturating_add(QUOTE_LOCK_NS)),
            key,
            latency_ms: promised.promised_latency_ms,
            throughput_tps: promised.promised_throughput_tps,
            buyer_fee_bps: spec.taker_fee_bps,
            provider_fee_bps: spec.delivery_fee_bps + spec.maker_fee_bps,
            probe: matches!(self.breaker(hot.account, order.instrument), Breaker::HalfOpen { .. }),
        }
    }

    /// Notes a lock and when it ends.
    pub(crate) fn insert_lock(&mut self, lock: Lock) {
        let (account, id) = (lock.order.account, lock.order.id);
        self.deadlines.set(lock.contract.expires_at, Deadline::Lock(id, account));
        self.locks.insert((account, id), lock);
    }

    /// Forgets an open lock and when it ends.
    fn remove_lock(&mut self, account: AccountId, id: OrderId) -> Lock {
        let lock = invariant(self.locks.remove(&(account, id)), "only an open lock ends");
        self.deadlines.clear(lock.contract.expires_at, Deadline::Lock(id, account));
        lock
    }

    /// Buys what the account locked: the bid is accepted and filled.
    pub(crate) fn use_quote(
        &mut self,
        account: AccountId,
        id: OrderId,
        at: Timestamp,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        let instrument = self.lock(account, id).ok_or(RejectReason::UnknownLock)?.order.instrument;
        let state = self.market(instrument).state;
        if state != InstrumentState::Open {
            return Err(RejectReason::InstrumentNotOpen { state });
        }
        if self.contracts.len() >= OPEN_CONTRACTS_MAX {
            return Err(RejectReason::TooManyContracts { max: OPEN_CONTRACTS_MAX as u32 });
        }
        let Lock { order, contract } = self.remove_lock(account, id);
        let expires_at = Timestamp(at.0.saturating_add(self.market(instrument).spec().contract_ttl_ns));
        let contract = Contract { expires_at, ..contract };
        let market = invariant(crate::ids::dense_index(instrument.0), "a lock's instrument is listed");
        let number = self.contracts.open(contract, &mut self.markets[market].contracts);
        self.set_contract_deadline(instrument);
        self.ledger.account_mut(account).open_contracts += 1;
        events.push(Event::OrderAccepted(order));
        events.push(Event::Traded(Trade {
            contract: number,
            instrument,
            bid: id,
            ask: contract.ask,
            buyer: account,
            provider: contract.provider,
            taker: Side::Bid,
            price: contract.price,
            quantity: contract.quantity,
            expires_at,
        }));
        events.push(closed(id, 0, CloseReason::Filled));
        Ok(())
    }

    /// Lets go of what the account locked.
    pub(crate) fn release_quote(
        &mut self,
        account: AccountId,
        id: OrderId,
        at: Timestamp,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        self.lock(account, id).ok_or(RejectReason::UnknownLock)?;
        self.end_lock(account, id, CloseReason::Cancelled, at, events);
        Ok(())
    }

    /// Ends a lock that was not used: its money and its units return.
    pub(crate) fn end_lock(
        &mut self,
        account: AccountId,
        id: OrderId,
        reason: CloseReason,
        at: Timestamp,
        events: &mut Events,
    ) {
        let Lock { contract, .. } = self.remove_lock(account, id);
        events.push(Event::QuoteReleased { lock: id, account, refund: contract.escrow, reason });
        self.return_unused(&contract, at, events);
    }

    /// Ends all locks of an account whose money is taken back, oldest first.
    pub(crate) fn end_disputed_locks(&mut self, account: AccountId, at: Timestamp, events: &mut Events) {
        let own: Vec<OrderId> = self.locks_of(account).map(|lock| lock.order.id).collect();
        for id in own {
            self.end_lock(account, id, CloseReason::Disputed, at, events);
        }
    }

    /// An account's open lock of that number.
    pub fn lock(&self, account: AccountId, id: OrderId) -> Option<&Lock> {
        self.locks.get(&(account, id))
    }

    /// An account's open locks, oldest first.
    pub fn locks_of(&self, account: AccountId) -> impl Iterator<Item = &Lock> {
        self.locks.map().range((account, OrderId(0))..=(account, OrderId(u64::MAX))).map(|(_, lock)| lock)
    }

    /// All open locks, by account, then oldest first.
    pub fn locks(&self) -> impl Iterator<Item = &Lock> {
        self.locks.map().values()
    }
}

/// Refuses what is no bid for all of its units from one ask at once, or would do more than not trade with its own account.
fn check_lockable(new: &NewOrder) -> Result<(), RejectReason> {
    if is_immediate_single_bid(new) { Ok(()) } else { Err(RejectReason::NotLockable) }
}
