//! Credits in and out again: purchases, refunds, disputes, credit lines, spending limits.
//!
//! No balance goes below zero. What an account owes is kept apart: a credit line it drew on, or a purchase that was
//! taken back after it was spent. Purchases repay it first.

use crate::engine::Policies;
use crate::flags::Flags;
use crate::limits::{
    ACCOUNT_ATOMS_MAX, GUARD_RAIL_MINUTES, LIMITED_KEYS_PER_ACCOUNT_MAX, OVERAGE_ATOMS_MAX, PURCHASE_ATOMS_MAX,
    PURCHASE_ATOMS_MIN,
};
use crate::spending::KeySpending;
use crate::{
    AccountId, Amount, CloseReason, Contract, CreditPolicy, Engine, Event, Events, KeyId, KeyLimits, LedgerAccount,
    Reference, RejectReason, Timestamp, Transfer, TransferCode,
};
use bincode::{Decode, Encode};

/// A purchase that was credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Purchase {
    pub(crate) account: AccountId,
    amount: Amount,
    /// What was neither refunded nor taken back.
    pub(crate) left: Amount,
}

/// A refund that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Refund {
    purchase: Reference,
    amount: Amount,
}

/// A dispute, and whether we won it once that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Dispute {
    purchase: Reference,
    amount: Amount,
    pub(crate) won: Option<bool>,
}

impl Engine {
    pub(crate) fn purchase(
        &mut self,
        account: AccountId,
        amount: Amount,
        reference: Reference,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        self.known_account(account)?;
        if amount.0 < PURCHASE_ATOMS_MIN || amount.0 > PURCHASE_ATOMS_MAX {
            let (min, max) = (Amount(PURCHASE_ATOMS_MIN), Amount(PURCHASE_ATOMS_MAX));
            return Err(RejectReason::PurchaseOutOfRange { min, max });
        }
        if let Some(first) = self.purchases.get(&reference) {
            if (first.account, first.amount) != (account, amount) {
                return Err(RejectReason::ReferenceConflict);
            }
            events.push(Event::PurchaseRepeated { reference });
            return Ok(());
        }
        self.check_room(account, amount)?;
        self.purchases.insert(reference, Purchase { account, amount, left: amount });
        events.push(Event::CreditsPurchased { account, amount, reference });
        self.pay_in(account, amount, TransferCode::Purchase, events);
        Ok(())
    }

    pub(crate) fn check_room(&self, account: AccountId, amount: Amount) -> Result<(), RejectReason> {
        let has_room = self.ledger.has_room(account, amount);
        if has_room { Ok(()) } else { Err(RejectReason::BalanceTooLarge { max: Amount(ACCOUNT_ATOMS_MAX) }) }
    }

    /// Money from outside; debts are paid from it.
    fn pay_in(&mut self, account: AccountId, amount: Amount, code: TransferCode, events: &mut Events) {
        let available = LedgerAccount::Available(account);
        self.ledger.transfer(Transfer { debit: LedgerAccount::External, credit: available, amount, code }, events);
        let owed = self.ledger.balance(account).map_or(Amount::ZERO, |balance| balance.owed);
        let repayment = Transfer {
            debit: available,
            credit: LedgerAccount::Receivable(account),
            amount: owed.min(amount),
            code: TransferCode::Repay,
        };
        self.ledger.transfer(repayment, events);
    }

    /// Returns part of a purchase because its buyer asked: only credits that are there.
    pub(crate) fn refund_purchase(
        &mut self,
        purchase: Reference,
        amount: Amount,
        reference: Reference,
        at: Timestamp,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        let refund = Refund { purchase, amount };
        if self.repeats_refund(refund, reference, events)? {
            return Ok(());
        }
        let account = self.check_refundable(purchase, amount)?;
        self.check_owes_nothing(account)?;
        let available = self.available(account);
        if amount > available {
            return Err(RejectReason::InsufficientCredits { needed: amount, available });
        }
        self.refund(refund, reference, account, at, events);
        Ok(())
    }

    /// Notes that the processor has returned part of a purchase: the money is gone, whatever the balance.
    pub(crate) fn record_refund(
        &mut self,
        purchase: Reference,
        amount: Amount,
        reference: Reference,
        at: Timestamp,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        let refund = Refund { purchase, amount };
        if self.repeats_refund(refund, reference, events)? {
            return Ok(());
        }
        let account = self.check_refundable(purchase, amount)?;
        self.refund(refund, reference, account, at, events);
        Ok(())
    }

    /// Whether this refund was made before, which is then told.
    fn repeats_refund(&self, refund: Refund, reference: Reference, events: &mut Events) -> Result<bool, RejectReason> {
        match self.refunds.get(&reference) {
            Some(first) if *first == refund => {
                events.push(Event::RefundRepeated { reference });
                Ok(true)
            }
            Some(_) => Err(RejectReason::ReferenceConflict),
            None => Ok(false),
        }
    }

    fn refund(&mut self, refund: Refund, reference: Reference, account: AccountId, at: Timestamp, events: &mut Events) {
        let Refund { purchase, amount } = refund;
        self.refunds.insert(reference, refund);
        self.purchases.update(&purchase, |purchase| purchase.left.0 -= amount.0);
        events.push(Event::PurchaseRefunded { account, amount, reference });
        self.take_back(account, amount, TransferCode::PurchaseRefund, at, events);
    }

    /// Takes a refund back that could not be made. Its reference stays used.
    pub(crate) fn fail_refund(&mut self, reference: Reference, events: &mut Events) -> Result<(), RejectReason> {
        let Refund { purchase, amount } = *self.refunds.get(&reference).ok_or(RejectReason::UnknownRefund)?;
        if self.failed_refunds.get(&reference).is_some() {
            events.push(Event::RefundRepeated { reference });
            return Ok(());
        }
        let account = self.purchases.get(&purchase).ok_or(RejectReason::UnknownPurchase)?.account;
        self.check_room(account, amount)?;
        self.failed_refunds.insert(reference, ());
        self.purchases.update(&purchase, |purchase| purchase.left.0 += amount.0);
        events.push(Event::RefundFailed { account, amount, reference });
        self.pay_in(account, amount, TransferCode::RefundReturn, events);
        Ok(())
    }

    /// Who made a purchase, if so much of it is left.
    fn check_refundable(&self, purchase: Reference, amount: Amount) -> Result<AccountId, RejectReason> {
        let known = self.purchases.get(&purchase).ok_or(RejectReason::UnknownPurchase)?;
        if amount.0 <= 0 || amount > known.left {
            return Err(RejectReason::RefundOutOfRange { max: known.left });
        }
        Ok(known.account)
    }

    pub(crate) fn check_owes_nothing(&self, account: AccountId) -> Result<(), RejectReason> {
        let owed = self.ledger.balance(account).map_or(Amount::ZERO, |balance| balance.owed);
        if owed.0 > 0 { Err(RejectReason::AccountInDebt { owed, max: Amount::ZERO }) } else { Ok(()) }
    }

    /// Notes that the processor took a purchase back.
    pub(crate) fn open_dispute(
        &mut self,
        purchase: Reference,
        amount: Amount,
        reference: Reference,
        at: Timestamp,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        if let Some(first) = self.disputes.get(&reference) {
            if (first.purchase, first.amount) != (purchase, amount) {
                return Err(RejectReason::ReferenceConflict);
            }
            events.push(Event::DisputeRepeated { reference });
            return Ok(());
        }
        let account = self.check_refundable(purchase, amount)?;
        self.disputes.insert(reference, Dispute { purchase, amount, won: None });
        self.purchases.update(&purchase, |purchase| purchase.left.0 -= amount.0);
        events.push(Event::DisputeOpened { account, amount, reference });
        self.take_back(account, amount, TransferCode::Dispute, at, events);
        Ok(())
    }

    /// Lets money go that the processor has taken: from what is available; the rest is owed. A dispute first ends all that
    /// the account is about to buy; a refund does only if it needs what that reserves.
    fn take_back(
        &mut self,
        account: AccountId,
        amount: Amount,
        code: TransferCode,
        at: Timestamp,
        events: &mut Events,
    ) {
        if code == TransferCode::Dispute || amount > self.available(account) {
            for slot in self.own_orders(account, |engine, slot| !engine.orders.hot(slot).flags.has(Flags::ASK)) {
                self.close_order(slot, CloseReason::Disputed, events);
            }
            self.end_disputed_locks(account, at, events);
        }
        let covered = self.available(account).min(amount);
        for (debit, part) in [
            (LedgerAccount::Available(account), covered),
            (LedgerAccount::Receivable(account), Amount(amount.0 - covered.0)),
        ] {
            self.ledger.transfer(Transfer { debit, credit: LedgerAccount::External, amount: part, code }, events);
        }
    }

    fn available(&self, account: AccountId) -> Amount {
        self.ledger.balance(account).map_or(Amount::ZERO, |balance| balance.available)
    }

    pub(crate) fn resolve_dispute(
        &mut self,
        reference: Reference,
        won: bool,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        let dispute = *self.disputes.get(&reference).ok_or(RejectReason::UnknownDispute)?;
        match dispute.won {
            Some(before) if before == won => {
                events.push(Event::DisputeRepeated { reference });
                return Ok(());
            }
            Some(_) => return Err(RejectReason::DisputeResolvedBefore),
            None => {}
        }
        let purchase = self.purchases.get(&dispute.purchase).ok_or(RejectReason::UnknownPurchase)?;
        let (account, amount) = (purchase.account, dispute.amount);
        if won {
            self.check_room(account, amount)?;
        }
        self.disputes.insert(reference, Dispute { won: Some(won), ..dispute });
        events.push(Event::DisputeResolved { account, amount, reference, won });
        if won {
            self.purchases.update(&dispute.purchase, |purchase| purchase.left.0 += amount.0);
            self.pay_in(account, amount, TransferCode::DisputeReturn, events);
        }
        Ok(())
    }

    pub(crate) fn set_credit_policy(
        &mut self,
        account: AccountId,
        policy: CreditPolicy,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        self.known_account(account)?;
        check_limit(policy.overage_cap, OVERAGE_ATOMS_MAX)?;
        self.policies.upsert(account, |policies: &mut Policies| policies.credit = policy);
        events.push(Event::CreditPolicySet { account, policy });
        Ok(())
    }

    pub(crate) fn set_key_limits(
        &mut self,
        account: AccountId,
        key: KeyId,
        limits: KeyLimits,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        self.known_account(account)?;
        if key.0 == 0 {
            return Err(RejectReason::KeyNotNumbered);
        }
        for limit in [limits.daily, limits.monthly, limits.hard].into_iter().flatten() {
            check_limit(limit, ACCOUNT_ATOMS_MAX)?;
        }
        let own = self.keys.map().range((account, KeyId(0))..=(account, KeyId(u32::MAX)));
        if !self.keys.map().contains_key(&(account, key)) && own.count() >= LIMITED_KEYS_PER_ACCOUNT_MAX as usize {
            return Err(RejectReason::TooManyKeys { max: LIMITED_KEYS_PER_ACCOUNT_MAX });
        }
        self.keys.upsert((account, key), |key: &mut KeySpending| key.limits = limits);
        self.ledger.set_limited(account);
        events.push(Event::KeyLimitsSet { account, key, limits });
        Ok(())
    }

    pub(crate) fn set_guard_rail(
        &mut self,
        account: AccountId,
        window: u8,
        limit: Option<Amount>,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        self.known_account(account)?;
        if usize::from(window) >= GUARD_RAIL_MINUTES.len() {
            return Err(RejectReason::UnknownGuardRail { count: GUARD_RAIL_MINUTES.len() as u8 });
        }
        if let Some(limit) = limit {
            check_limit(limit, ACCOUNT_ATOMS_MAX)?;
        }
        self.spending.set_limit(account, window, limit);
        self.ledger.set_limited(account);
        events.push(Event::GuardRailSet { account, window, limit });
        Ok(())
    }

    pub(crate) fn reset_guard_rails(&mut self, account: AccountId, events: &mut Events) -> Result<(), RejectReason> {
        self.known_account(account)?;
        self.spending.reset(account);
        events.push(Event::GuardRailsReset { account });
        Ok(())
    }

    /// The key that counts an order of the account: none if it has no limits.
    #[inline]
    pub(crate) fn tracked_key(&self, account: AccountId, key: KeyId) -> KeyId {
        let limited = key.0 != 0 && self.ledger.is_limited(account);
        if limited && self.keys.get(&(account, key)).is_some() { key } else { KeyId(0) }
    }

    /// Counts what a key's orders and contracts reserve.
    #[inline]
    pub(crate) fn reserve_for_key(&mut self, account: AccountId, key: KeyId, atoms: i64) {
        if key.0 != 0 {
            self.keys.update(&(account, key), |key| key.reserve(atoms));
        }
    }

    /// Counts what a delivery took from its buyer.
    pub(crate) fn spend(&mut self, contract: &Contract, amount: Amount, at: Timestamp) {
        self.spending.spend(contract.buyer, amount, at);
        if contract.key.0 != 0 {
            self.keys.update(&(contract.buyer, contract.key), |key| key.spend(amount, at));
        }
    }

    /// Length in minutes, spending and limit of each of an account's windows as of the last input.
    pub fn spending_windows(&self, account: AccountId) -> Vec<(u16, Amount, Option<Amount>)> {
        self.spending.windows(account, self.last_at)
    }
}

fn check_limit(limit: Amount, max: i64) -> Result<(), RejectReason> {
    let fits = (0..=max).contains(&limit.0);
    if fits { Ok(()) } else { Err(RejectReason::LimitOutOfRange { max: Amount(max) }) }
}
