//! The ledger, purchases, refunds, disputes (section 7) and payouts (section 8).

use super::calendar::{month_of, start_of};
use super::{Dispute, Outcome, Payout, Purchase, Refund, Twin};
use crate::limits::{
    ACCOUNT_ATOMS_MAX, OVERAGE_ATOMS_MAX, PAYOUT_THRESHOLD_ATOMS, PURCHASE_ATOMS_MAX, PURCHASE_ATOMS_MIN,
};
use crate::{
    ATOMS_PER_CENT, AccountId, Amount, CloseReason, CreditPolicy, Event, LedgerAccount, PayoutId, PayoutPolicy,
    PayoutStatus, Reference, RejectReason, Side, Transfer, TransferCode, invariant,
};

impl Twin {
    /// Moves money and says so; nothing moves and nothing is said when the amount is zero.
    pub(super) fn transfer(&mut self, debit: LedgerAccount, credit: LedgerAccount, amount: Amount, code: TransferCode) {
        assert!(amount >= Amount::ZERO, "a transfer never moves money backwards");
        if amount == Amount::ZERO {
            return;
        }
        self.add(debit, -amount.0);
        self.add(credit, amount.0);
        self.tell(Event::Transferred(Transfer { debit, credit, amount, code }));
    }

    fn add(&mut self, account: LedgerAccount, atoms: i64) {
        let slot = match account {
            LedgerAccount::Fees => return self.fees += i128::from(atoms),
            LedgerAccount::External => return self.external += i128::from(atoms),
            LedgerAccount::Available(id) => &mut self.account_mut(id).balance.available,
            LedgerAccount::Held(id) => &mut self.account_mut(id).balance.held,
            LedgerAccount::Escrow(id) => &mut self.account_mut(id).balance.escrow,
            LedgerAccount::Earned(id) => &mut self.account_mut(id).balance.earned,
            LedgerAccount::PayoutPending(id) => &mut self.account_mut(id).balance.payout_pending,
            LedgerAccount::Receivable(id) => &mut self.account_mut(id).balance.owed,
        };
        // What a party owes grows when its receivable is debited.
        let change = if let LedgerAccount::Receivable(_) = account { -atoms } else { atoms };
        slot.0 = invariant(slot.0.checked_add(change), "a balance fits 63 bits");
        assert!(*slot >= Amount::ZERO, "no balance goes below zero");
    }

    pub(super) fn check_room(&self, account: AccountId, amount: Amount) -> Outcome {
        let max = Amount(ACCOUNT_ATOMS_MAX);
        if self.account(account).balance.total() + i128::from(amount.0) > i128::from(max.0) {
            return Err(RejectReason::BalanceTooLarge { max });
        }
        Ok(())
    }

    fn check_no_debt(&self, account: AccountId) -> Outcome {
        let owed = self.account(account).balance.owed;
        if owed > Amount::ZERO {
            return Err(RejectReason::AccountInDebt { owed, max: Amount::ZERO });
        }
        Ok(())
    }

    pub(super) fn purchase(&mut self, account: AccountId, amount: Amount, reference: Reference) -> Outcome {
        self.find_account(account)?;
        let (min, max) = (Amount(PURCHASE_ATOMS_MIN), Amount(PURCHASE_ATOMS_MAX));
        if amount < min || amount > max {
            return Err(RejectReason::PurchaseOutOfRange { min, max });
        }
        if let Some(known) = self.purchases.iter().find(|known| known.reference == reference) {
            if (known.account, known.amount) != (account, amount) {
                return Err(RejectReason::ReferenceConflict);
            }
            self.tell(Event::PurchaseRepeated { reference });
            return Ok(());
        }
        self.check_room(account, amount)?;
        self.purchases.push(Purchase { reference, account, amount, left: amount });
        self.tell(Event::CreditsPurchased { account, amount, reference });
        self.transfer(LedgerAccount::External, LedgerAccount::Available(account), amount, TransferCode::Purchase);
        self.repay(account, amount);
        Ok(())
    }

    /// Pays what the account owes out of `amount` that came in.
    fn repay(&mut self, account: AccountId, amount: Amount) {
        let repaid = self.account(account).balance.owed.min(amount);
        let (available, receivable) = (LedgerAccount::Available(account), LedgerAccount::Receivable(account));
        self.transfer(available, receivable, repaid, TransferCode::Repay);
    }

    fn find_purchase(&self, reference: Reference) -> Result<Purchase, RejectReason> {
        let known = self.purchases.iter().find(|known| known.reference == reference);
        known.copied().ok_or(RejectReason::UnknownPurchase)
    }

    fn purchase_mut(&mut self, reference: Reference) -> &mut Purchase {
        let known = self.purchases.iter_mut().find(|known| known.reference == reference);
        invariant(known, "the purchase was found before")
    }

    fn refunded(&self, reference: Reference) -> Option<Refund> {
        self.refunds.iter().find(|known| known.reference == reference).copied()
    }

    pub(super) fn refund(&mut self, purchase: Reference, amount: Amount, reference: Reference) -> Outcome {
        if let Some(known) = self.refunded(reference) {
            if (known.purchase, known.amount) != (purchase, amount) {
                return Err(RejectReason::ReferenceConflict);
            }
            self.tell(Event::RefundRepeated { reference });
            return Ok(());
        }
        let Purchase { account, left, .. } = self.find_purchase(purchase)?;
        if amount <= Amount::ZERO || amount > left {
            return Err(RejectReason::RefundOutOfRange { max: left });
        }
        self.check_no_debt(account)?;
        let available = self.account(account).balance.available;
        if amount > available {
            return Err(RejectReason::InsufficientCredits { needed: amount, available });
        }
        self.refunds.push(Refund { reference, purchase, amount, failed: false });
        self.purchase_mut(purchase).left.0 -= amount.0;
        self.tell(Event::PurchaseRefunded { account, amount, reference });
        let available = LedgerAccount::Available(account);
        self.transfer(available, LedgerAccount::External, amount, TransferCode::PurchaseRefund);
        Ok(())
    }

    pub(super) fn record_refund(&mut self, purchase: Reference, amount: Amount, reference: Reference) -> Outcome {
        if let Some(known) = self.refunded(reference) {
            if (known.purchase, known.amount) != (purchase, amount) {
                return Err(RejectReason::ReferenceConflict);
            }
            self.tell(Event::RefundRepeated { reference });
            return Ok(());
        }
        let Purchase { account, left, .. } = self.find_purchase(purchase)?;
        if amount <= Amount::ZERO || amount > left {
            return Err(RejectReason::RefundOutOfRange { max: left });
        }
        self.refunds.push(Refund { reference, purchase, amount, failed: false });
        self.purchase_mut(purchase).left.0 -= amount.0;
        self.tell(Event::PurchaseRefunded { account, amount, reference });
        if self.account(account).balance.available < amount {
            self.buy_nothing_more(account);
        }
        self.take_back(account, amount, TransferCode::PurchaseRefund);
        Ok(())
    }

    pub(super) fn fail_refund(&mut self, reference: Reference) -> Outcome {
        let Refund { purchase, amount, failed, .. } = self.refunded(reference).ok_or(RejectReason::UnknownRefund)?;
        if failed {
            self.tell(Event::RefundRepeated { reference });
            return Ok(());
        }
        let Purchase { account, .. } = self.find_purchase(purchase)?;
        self.check_room(account, amount)?;
        for known in self.refunds.iter_mut().filter(|known| known.reference == reference) {
            known.failed = true;
        }
        self.purchase_mut(purchase).left.0 += amount.0;
        self.tell(Event::RefundFailed { account, amount, reference });
        self.transfer(LedgerAccount::External, LedgerAccount::Available(account), amount, TransferCode::RefundReturn);
        self.repay(account, amount);
        Ok(())
    }

    /// Closes an account's bids, then its locks.
    fn buy_nothing_more(&mut self, account: AccountId) {
        for order in self.orders.clone() {
            if order.order.account == account && order.order.side() == Side::Bid {
                self.close_order(order.order.id, CloseReason::Disputed);
            }
        }
        self.end_disputed_locks(account);
    }

    /// Takes what is there; the rest is owed.
    fn take_back(&mut self, account: AccountId, amount: Amount, code: TransferCode) {
        let there = self.account(account).balance.available.min(amount);
        let owed = Amount(amount.0 - there.0);
        self.transfer(LedgerAccount::Available(account), LedgerAccount::External, there, code);
        self.transfer(LedgerAccount::Receivable(account), LedgerAccount::External, owed, code);
    }

    pub(super) fn open_dispute(&mut self, purchase: Reference, amount: Amount, reference: Reference) -> Outcome {
        if let Some(known) = self.disputes.iter().find(|known| known.reference == reference) {
            if (known.purchase, known.amount) != (purchase, amount) {
                return Err(RejectReason::ReferenceConflict);
            }
            self.tell(Event::DisputeRepeated { reference });
            return Ok(());
        }
        let Purchase { account, left, .. } = self.find_purchase(purchase)?;
        if amount <= Amount::ZERO || amount > left {
            return Err(RejectReason::RefundOutOfRange { max: left });
        }
        self.disputes.push(Dispute { reference, purchase, amount, won: None });
        self.purchase_mut(purchase).left.0 -= amount.0;
        self.tell(Event::DisputeOpened { account, amount, reference });
        self.buy_nothing_more(account);
        self.take_back(account, amount, TransferCode::Dispute);
        Ok(())
    }

    pub(super) fn resolve_dispute(&mut self, reference: Reference, won: bool) -> Outcome {
        let known = self.disputes.iter().find(|known| known.reference == reference);
        let dispute = *known.ok_or(RejectReason::UnknownDispute)?;
        if dispute.won == Some(won) {
            self.tell(Event::DisputeRepeated { reference });
            return Ok(());
        }
        if dispute.won == Some(!won) {
            return Err(RejectReason::DisputeResolvedBefore);
        }
        let (account, amount) = (self.find_purchase(dispute.purchase)?.account, dispute.amount);
        if won {
            self.check_room(account, amount)?;
        }
        for known in self.disputes.iter_mut().filter(|known| known.reference == reference) {
            known.won = Some(won);
        }
        self.tell(Event::DisputeResolved { account, amount, reference, won });
        if won {
            self.purchase_mut(dispute.purchase).left.0 += amount.0;
            let available = LedgerAccount::Available(account);
            self.transfer(LedgerAccount::External, available, amount, TransferCode::DisputeReturn);
            self.repay(account, amount);
        }
        Ok(())
    }

    pub(super) fn set_credit_policy(&mut self, account: AccountId, policy: CreditPolicy) -> Outcome {
        self.find_account(account)?;
        let max = Amount(OVERAGE_ATOMS_MAX);
        if policy.overage_cap < Amount::ZERO || policy.overage_cap > max {
            return Err(RejectReason::LimitOutOfRange { max });
        }
        self.account_mut(account).credit_policy = policy;
        self.tell(Event::CreditPolicySet { account, policy });
        Ok(())
    }

    pub(super) fn set_payout_policy(&mut self, account: AccountId, policy: PayoutPolicy) -> Outcome {
        self.find_account(account)?;
        self.account_mut(account).payout_policy = policy;
        if policy.monthly && self.next_sweep.is_none() {
            self.next_sweep = start_of(month_of(self.now) + 1);
        }
        self.tell(Event::PayoutPolicySet { account, policy });
        Ok(())
    }

    pub(super) fn request_payout(&mut self, account: AccountId, amount: Option<Amount>) -> Outcome {
        let earned = self.find_account(account)?.balance.earned;
        self.check_no_debt(account)?;
        let (min, max) = (Amount(ATOMS_PER_CENT), earned.whole_cents());
        let amount = amount.unwrap_or(max);
        if amount < min || amount > max {
            return Err(RejectReason::PayoutOutOfRange { min, max });
        }
        if amount != amount.whole_cents() {
            return Err(RejectReason::PayoutNotWholeCents);
        }
        self.pay_out(account, amount);
        Ok(())
    }

    fn pay_out(&mut self, account: AccountId, amount: Amount) {
        self.payouts_requested += 1;
        let payout = PayoutId(self.payouts_requested);
        self.payouts.push(Payout { id: payout, account, amount, status: PayoutStatus::Requested });
        self.tell(Event::PayoutRequested { payout, account, amount });
        let (earned, pending) = (LedgerAccount::Earned(account), LedgerAccount::PayoutPending(account));
        self.transfer(earned, pending, amount, TransferCode::PayoutRequest);
    }

    fn find_payout(&self, payout: PayoutId) -> Result<Payout, RejectReason> {
        let known = self.payouts.iter().find(|known| known.id == payout);
        known.copied().ok_or(RejectReason::UnknownPayout)
    }

    fn set_payout_status(&mut self, payout: PayoutId, status: PayoutStatus) {
        for known in self.payouts.iter_mut().filter(|known| known.id == payout) {
            known.status = status;
        }
    }

    pub(super) fn send_payout(&mut self, payout: PayoutId) -> Outcome {
        let Payout { account, amount, status, .. } = self.find_payout(payout)?;
        match status {
            PayoutStatus::Requested => self.set_payout_status(payout, PayoutStatus::Sent),
            PayoutStatus::Sent => return Err(RejectReason::PayoutAlreadySent),
            PayoutStatus::Confirmed => return Err(RejectReason::UnknownPayout),
        }
        self.tell(Event::PayoutSent { payout, account, amount });
        Ok(())
    }

    pub(super) fn end_payout(&mut self, payout: PayoutId, paid: bool) -> Outcome {
        let Payout { account, amount, status, .. } = self.find_payout(payout)?;
        if status == PayoutStatus::Confirmed {
            return Err(RejectReason::UnknownPayout);
        }
        let pending = LedgerAccount::PayoutPending(account);
        if paid {
            self.set_payout_status(payout, PayoutStatus::Confirmed);
            self.tell(Event::PayoutConfirmed { payout, account, amount });
            self.transfer(pending, LedgerAccount::External, amount, TransferCode::PayoutConfirm);
        } else {
            self.payouts.retain(|known| known.id != payout);
            self.tell(Event::PayoutFailed { payout, account, amount });
            self.transfer(pending, LedgerAccount::Earned(account), amount, TransferCode::PayoutReturn);
        }
        Ok(())
    }

    pub(super) fn return_payout(&mut self, payout: PayoutId) -> Outcome {
        let Payout { account, amount, status, .. } = self.find_payout(payout)?;
        if status != PayoutStatus::Confirmed {
            return Err(RejectReason::UnknownPayout);
        }
        self.check_room(account, amount)?;
        self.payouts.retain(|known| known.id != payout);
        self.tell(Event::PayoutReturned { payout, account, amount });
        self.transfer(LedgerAccount::External, LedgerAccount::Earned(account), amount, TransferCode::PayoutReturn);
        Ok(())
    }

    /// After a delivery: an account with the automatic policy is paid once it earned enough.
    pub(super) fn automatic_payout(&mut self, account: AccountId) {
        let found = self.account(account);
        let earned = found.balance.earned;
        let owes_nothing = found.balance.owed == Amount::ZERO;
        if found.payout_policy.automatic && owes_nothing && earned >= Amount(PAYOUT_THRESHOLD_ATOMS) {
            self.pay_out(account, earned.whole_cents());
        }
    }

    /// At the first instant of a month: everyone with the monthly policy is paid, oldest account first.
    pub(super) fn monthly_sweep(&mut self) {
        let month = month_of(invariant(self.next_sweep, "a sweep is due"));
        self.next_sweep = start_of(month + 1);
        for (account, found) in (1..).map(AccountId).zip(self.accounts.clone()) {
            let earned = found.balance.earned;
            let owes_nothing = found.balance.owed == Amount::ZERO;
            if found.payout_policy.monthly && owes_nothing && earned >= Amount(ATOMS_PER_CENT) {
                self.pay_out(account, earned.whole_cents());
            }
        }
    }
}
