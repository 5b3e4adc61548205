//! Payouts: earnings on their way from a provider's account to its bank.
//!
//! requested (earned -> pending) -> sent (the processor has it) -> confirmed (pending -> external) or failed (pending ->
//! earned); what ends before it was marked as sent was sent all the same.
//! Only whole cents leave; the rest stays earned.

use crate::calendar::next_month;
use crate::deadlines::Deadline;
use crate::engine::Policies;
use crate::{
    ATOMS_PER_CENT, AccountId, Amount, Engine, Event, Events, LedgerAccount, PayoutId, PayoutPolicy, RejectReason,
    Timestamp, Transfer, TransferCode,
};
use bincode::{Decode, Encode};

/// A pending payout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Payout {
    /// The provider.
    pub account: AccountId,
    /// Whole cents.
    pub amount: Amount,
    /// Whether the processor has it.
    pub sent: bool,
}

impl Engine {
    pub(crate) fn request_payout(
        &mut self,
        account: AccountId,
        amount: Option<Amount>,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        let earned = self.ledger.balance(account).ok_or(RejectReason::UnknownAccount)?.earned;
        self.check_owes_nothing(account)?;
        let max = earned.whole_cents();
        let amount = amount.unwrap_or(max);
        if amount.0 < ATOMS_PER_CENT || amount > max {
            return Err(RejectReason::PayoutOutOfRange { min: Amount(ATOMS_PER_CENT), max });
        }
        if amount != amount.whole_cents() {
            return Err(RejectReason::PayoutNotWholeCents);
        }
        self.start_payout(account, amount, events);
        Ok(())
    }

    pub(crate) fn start_payout(&mut self, account: AccountId, amount: Amount, events: &mut Events) {
        let payout = PayoutId(self.next_payout);
        self.next_payout += 1;
        self.payouts.insert(payout, Payout { account, amount, sent: false });
        events.push(Event::PayoutRequested { payout, account, amount });
        let transfer = Transfer {
            debit: LedgerAccount::Earned(account),
            credit: LedgerAccount::PayoutPending(account),
            amount,
            code: TransferCode::PayoutRequest,
        };
        self.ledger.transfer(transfer, events);
    }

    /// Notes that the processor took a pending payout on.
    pub(crate) fn send_payout(&mut self, id: PayoutId, events: &mut Events) -> Result<(), RejectReason> {
        let payout = *self.payouts.get(&id).ok_or(RejectReason::UnknownPayout)?;
        if payout.sent {
            return Err(RejectReason::PayoutAlreadySent);
        }
        self.payouts.insert(id, Payout { sent: true, ..payout });
        events.push(Event::PayoutSent { payout: id, account: payout.account, amount: payout.amount });
        Ok(())
    }

    /// Ends a pending payout: it was paid, or it failed and its earnings return.
    pub(crate) fn end_payout(&mut self, id: PayoutId, paid: bool, events: &mut Events) -> Result<(), RejectReason> {
        let Payout { account, amount, .. } = self.payouts.remove(&id).ok_or(RejectReason::UnknownPayout)?;
        let (event, credit, code) = if paid {
            (
                Event::PayoutConfirmed { payout: id, account, amount },
                LedgerAccount::External,
                TransferCode::PayoutConfirm,
            )
        } else {
            (
                Event::PayoutFailed { payout: id, account, amount },
                LedgerAccount::Earned(account),
                TransferCode::PayoutReturn,
            )
        };
        events.push(event);
        self.ledger.transfer(Transfer { debit: LedgerAccount::PayoutPending(account), credit, amount, code }, events);
        Ok(())
    }

    pub(crate) fn set_payout_policy(
        &mut self,
        account: AccountId,
        policy: PayoutPolicy,
        at: Timestamp,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        self.known_account(account)?;
        self.policies.upsert(account, |policies: &mut Policies| policies.payout = policy);
        events.push(Event::PayoutPolicySet { account, policy });
        if policy.monthly && self.sweep_at.is_none() {
            self.set_sweep(next_month(at));
        }
        Ok(())
    }

    fn set_sweep(&mut self, at: Timestamp) {
        self.sweep_at = Some(at);
        self.deadlines.set(at, Deadline::Sweep);
    }

    /// A month began: pays out to everyone who wants that, oldest account first.
    pub(crate) fn sweep(&mut self, now: Timestamp, events: &mut Events) {
        let monthly = self.policies.map().iter().filter(|(_, policies)| policies.payout.monthly);
        let payable = |account: &AccountId| {
            let balance = self.ledger.balance(*account)?;
            let amount = balance.earned.whole_cents();
            (balance.owed.0 == 0 && amount.0 > 0).then_some((*account, amount))
        };
        let due: Vec<(AccountId, Amount)> = monthly.filter_map(|(account, _)| payable(account)).collect();
        for (account, amount) in due {
            self.start_payout(account, amount, events);
        }
        self.set_sweep(next_month(now));
    }

    /// When an account's earnings are paid out without being asked for.
    pub fn payout_policy(&self, account: AccountId) -> PayoutPolicy {
        self.policies.get(&account).map_or(PayoutPolicy::default(), |policies| policies.payout)
    }
}
