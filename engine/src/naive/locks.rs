//! Locked quotes.

use super::orders::lowest_free;
use super::{Contract, Lock, Outcome, Twin};
use crate::ids::{LOCK_SLOT, slot_of, slotted_id};
use crate::limits::{LOCKS_MAX, LOCKS_PER_ACCOUNT_MAX, OPEN_CONTRACTS_MAX, QUOTE_LOCK_NS};
use crate::{
    AccountId, Amount, Attributes, Breaker, CloseReason, ContractId, Event, InstrumentState, LedgerAccount, NewOrder,
    Order, OrderAnswer, OrderId, Quantity, RejectReason, SelfTrade, Side, Terms, Timestamp, Trade, TransferCode,
    invariant,
};

impl Twin {
    pub(super) fn lock_quote(&mut self, new: &NewOrder) -> Outcome {
        if let Some(answer) = self.first_answer(new) {
            self.tell(Event::OrderRepeated(answer));
            return Ok(());
        }
        let (price, hold) = self.check_new(new)?;
        let described = self.describe(new, price);
        if described.post_only {
            self.check_would_rest(&described)?;
        }
        let single_bid = matches!(new.terms, Terms::Bid { single: true, .. });
        let mode_fits = new.self_trade == SelfTrade::CancelNewest || new.self_trade == SelfTrade::Allow;
        if !single_bid || new.time_in_force.may_rest() || !mode_fits {
            return Err(RejectReason::NotLockable);
        }
        if self.locks.iter().filter(|lock| lock.order.account == new.account).count() >= LOCKS_PER_ACCOUNT_MAX as usize
        {
            return Err(RejectReason::TooManyLocks { max: LOCKS_PER_ACCOUNT_MAX });
        }
        if self.locks.len() >= LOCKS_MAX {
            return Err(RejectReason::TooManyLocks { max: LOCKS_MAX as u32 });
        }
        let ask = self.ask_to_lock(&described)?;
        self.orders_accepted += 1;
        let order = Order { id: OrderId(slotted_id(self.orders_accepted, LOCK_SLOT)), ..described };
        let contract = self.contract_to_be(&order, &ask);
        self.locks.push(Lock { order, contract });
        self.tell(Event::QuoteLocked {
            lock: order.id,
            account: order.account,
            key: order.key,
            provider: ask.account,
            instrument: ask.instrument,
            ask: ask.id,
            price: ask.price,
            quantity: order.quantity,
            escrow: contract.escrow,
            until: contract.expires_at,
        });
        self.hold(order.account, hold);
        self.open_mut(ask.id).order.remaining.0 -= order.quantity.0;
        self.tell_level(&ask);
        self.put_in_escrow(order.account, contract.escrow);
        self.release(order.account, Amount(hold.0 - contract.escrow.0));
        self.use_probe(ask.account, ask.instrument);
        if let Some(client_id) = new.client_id {
            let answer = OrderAnswer { order: order.id, seq: self.seq, filled: order.quantity, rested: Quantity(0) };
            self.remember(new.account, client_id, answer);
        }
        Ok(())
    }

    /// The ask that the bid takes first of those with more units than it wants.
    fn ask_to_lock(&self, bid: &Order) -> Result<Order, RejectReason> {
        let larger = Order { remaining: Quantity(bid.quantity.0 + 1), ..*bid };
        let reason = match self.best_match(&larger, &self.orders) {
            None => CloseReason::Unfilled(self.miss(bid)),
            Some(ask) if ask.order.account == bid.account && bid.self_trade != SelfTrade::Allow => {
                CloseReason::SelfTrade
            }
            Some(ask) => return Ok(ask.order),
        };
        Err(RejectReason::NothingToLock { reason })
    }

    /// What a fill of now would make; it has no number yet and ends when the lock does.
    fn contract_to_be(&self, bid: &Order, ask: &Order) -> Contract {
        let spec = &self.market(ask.instrument).spec;
        let cost = invariant(ask.price.notional(bid.quantity), "it is part of a hold, which fitted");
        let promised = if let Terms::Ask { attributes } = ask.terms { attributes } else { Attributes::default() };
        Contract {
            id: ContractId(0),
            instrument: ask.instrument,
            ask: ask.id,
            buyer: bid.account,
            provider: ask.account,
            price: ask.price,
            remaining: bid.quantity,
            escrow: Amount(cost.0 + cost.fee(spec.taker_fee_bps).0),
            promised,
            buyer_fee_bps: spec.taker_fee_bps,
            provider_fee_bps: spec.maker_fee_bps,
            counted_key: self.has_limits(bid.account, bid.key).then_some(bid.key),
            expires_at: Timestamp(self.now.0.saturating_add(QUOTE_LOCK_NS)),
            probe: matches!(self.provider(ask.account, ask.instrument).breaker, Breaker::HalfOpen { .. }),
        }
    }

    fn own_lock(&self, account: AccountId, id: OrderId) -> Result<Lock, RejectReason> {
        let found = self.locks.iter().find(|lock| lock.order.id == id && lock.order.account == account);
        found.copied().ok_or(RejectReason::UnknownLock)
    }

    pub(super) fn use_quote(&mut self, account: AccountId, id: OrderId) -> Outcome {
        let Lock { order, mut contract } = self.own_lock(account, id)?;
        let market = self.market(order.instrument);
        if market.state != InstrumentState::Open {
            return Err(RejectReason::InstrumentNotOpen { state: market.state });
        }
        if self.contracts.len() >= OPEN_CONTRACTS_MAX {
            return Err(RejectReason::TooManyContracts { max: OPEN_CONTRACTS_MAX as u32 });
        }
        contract.expires_at = Timestamp(self.now.0.saturating_add(market.spec.contract_ttl_ns));
        self.locks.retain(|lock| lock.order.id != id);
        self.contracts_made += 1;
        let slot = lowest_free(self.contracts.iter().map(|contract| slot_of(contract.id.0)).collect());
        contract.id = ContractId(slotted_id(self.contracts_made, slot));
        self.contracts.push(contract);
        self.tell(Event::OrderAccepted(order));
        self.tell(Event::Traded(Trade {
            contract: contract.id,
            instrument: order.instrument,
            bid: order.id,
            ask: contract.ask,
            buyer: account,
            provider: contract.provider,
            taker: Side::Bid,
            price: contract.price,
            quantity: order.quantity,
            expires_at: contract.expires_at,
        }));
        self.tell(Event::OrderClosed { order: order.id, remaining: Quantity(0), reason: CloseReason::Filled });
        Ok(())
    }

    pub(super) fn release_quote(&mut self, account: AccountId, id: OrderId) -> Outcome {
        self.own_lock(account, id)?;
        self.end_lock(id, CloseReason::Cancelled);
        Ok(())
    }

    /// A lock ends without being used.
    pub(super) fn end_lock(&mut self, id: OrderId, reason: CloseReason) {
        let lock = *invariant(self.locks.iter().find(|lock| lock.order.id == id), "an open lock ends");
        self.locks.retain(|other| other.order.id != id);
        let (account, refund) = (lock.order.account, lock.contract.escrow);
        self.tell(Event::QuoteReleased { lock: id, account, refund, reason });
        self.return_unused(&lock.contract);
    }

    pub(super) fn end_disputed_locks(&mut self, account: AccountId) {
        for lock in self.locks.clone() {
            if lock.order.account == account {
                self.end_lock(lock.order.id, CloseReason::Disputed);
            }
        }
    }
}

/// What an ended contract, or a lock that was not used, gives back.
impl Twin {
    pub(super) fn return_unused(&mut self, contract: &Contract) {
        let (escrow, available) = (LedgerAccount::Escrow(contract.buyer), LedgerAccount::Available(contract.buyer));
        self.transfer(escrow, available, contract.escrow, TransferCode::Refund);
        if contract.probe {
            self.return_probe(contract.provider, contract.instrument);
        }
        let unused = contract.remaining;
        if unused > Quantity(0)
            && let Some(ask) = self.find_order(contract.ask).copied()
        {
            let remaining = Quantity(ask.order.remaining.0 + unused.0);
            self.open_mut(contract.ask).order.remaining = remaining;
            self.tell(Event::QuoteRestored { order: contract.ask, remaining });
            if ask.place == super::Place::Book {
                self.tell_level(&ask.order);
                self.rearrive(contract.ask);
            }
        }
    }
}
