//! Payouts: earnings on their way from a provider's account to its bank.
//!
//! requested (earned -> pending) -> confirmed (pending -> external) or failed (pending -> earned).
//! Only whole cents leave; the rest stays earned.

use crate::{
    ATOMS_PER_CENT, AccountId, Amount, Engine, Event, LedgerAccount, PayoutId, RejectReason, Transfer, TransferCode,
};
use bincode::{Decode, Encode};

/// A pending payout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Payout {
    /// The provider.
    pub account: AccountId,
    /// Whole cents.
    pub amount: Amount,
}

impl Engine {
    pub(crate) fn request_payout(
        &mut self,
        account: AccountId,
        amount: Option<Amount>,
        events: &mut Vec<Event>,
    ) -> Result<(), RejectReason> {
        let earned = self.ledger.balance(account).ok_or(RejectReason::UnknownAccount)?.earned;
        let max = earned.whole_cents();
        let amount = amount.unwrap_or(max);
        if amount.0 < ATOMS_PER_CENT || amount > max {
            return Err(RejectReason::PayoutOutOfRange { min: Amount(ATOMS_PER_CENT), max });
        }
        if amount != amount.whole_cents() {
            return Err(RejectReason::PayoutNotWholeCents);
        }
        let payout = PayoutId(self.next_payout);
        self.next_payout += 1;
        self.payouts.insert(payout, Payout { account, amount });
        events.push(Event::PayoutRequested { payout, account, amount });
        let transfer = Transfer {
            debit: LedgerAccount::Earned(account),
            credit: LedgerAccount::PayoutPending(account),
            amount,
            code: TransferCode::PayoutRequest,
        };
        self.ledger.transfer(transfer, events);
        Ok(())
    }

    /// Ends a pending payout: it was paid, or it failed and its earnings return.
    pub(crate) fn end_payout(&mut self, id: PayoutId, paid: bool, events: &mut Vec<Event>) -> Result<(), RejectReason> {
        let Payout { account, amount } = self.payouts.remove(&id).ok_or(RejectReason::UnknownPayout)?;
        let (event, credit, code) = if paid {
            (Event::PayoutConfirmed { payout: id }, LedgerAccount::External, TransferCode::PayoutConfirm)
        } else {
            (Event::PayoutFailed { payout: id }, LedgerAccount::Earned(account), TransferCode::PayoutReturn)
        };
        events.push(event);
        self.ledger.transfer(Transfer { debit: LedgerAccount::PayoutPending(account), credit, amount, code }, events);
        Ok(())
    }
}
