//! The double-entry ledger: every movement of money is one [`Transfer`] from a debited to a credited
//! account, made by [`Ledger::transfer`] and nowhere else.
//!
//! Invariants: the sum over all accounts is zero; only `External` is ever negative; an account's
//! balances together stay within [`ACCOUNT_ATOMS_MAX`], so that no addition can overflow.

use crate::ids::dense_index;
use crate::limits::ACCOUNT_ATOMS_MAX;
use crate::{AccountId, Amount, Event, invariant};
use bincode::{Decode, Encode};

/// What an account owns, by purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Balance {
    /// Free to spend.
    pub available: Amount,
    /// Reserved by open orders.
    pub held: Amount,
    /// Reserved by open contracts.
    pub escrow: Amount,
    /// Earned by deliveries, not yet paid out.
    pub earned: Amount,
    /// On its way out.
    pub payout_pending: Amount,
}

impl Balance {
    /// All of it.
    pub fn total(&self) -> i128 {
        [self.available, self.held, self.escrow, self.earned, self.payout_pending]
            .iter()
            .map(|amount| i128::from(amount.0))
            .sum()
    }
}

/// A ledger account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LedgerAccount {
    /// Free credits of a party.
    Available(AccountId),
    /// Credits behind a party's open orders.
    Held(AccountId),
    /// Credits behind a party's open contracts.
    Escrow(AccountId),
    /// A provider's earnings.
    Earned(AccountId),
    /// A provider's earnings on their way out.
    PayoutPending(AccountId),
    /// What the platform keeps.
    Fees,
    /// The payment processor: what came in less what went out, so never above zero.
    External,
}

impl LedgerAccount {
    /// The party that owns it, if one does.
    pub fn owner(self) -> Option<AccountId> {
        match self {
            LedgerAccount::Available(account)
            | LedgerAccount::Held(account)
            | LedgerAccount::Escrow(account)
            | LedgerAccount::Earned(account)
            | LedgerAccount::PayoutPending(account) => Some(account),
            LedgerAccount::Fees | LedgerAccount::External => None,
        }
    }
}

/// Why money moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TransferCode {
    /// Credits were bought: external to available.
    Purchase,
    /// An order reserved its worst case: available to held.
    Hold,
    /// What an order no longer needs: held to available.
    Release,
    /// A trade: held to escrow.
    Escrow,
    /// The provider's part of a delivery: escrow to earned.
    Delivery,
    /// The platform's part of a delivery: escrow to fees.
    DeliveryFee,
    /// What a closed contract did not use: escrow to available.
    Refund,
    /// A payout was requested: earned to pending.
    PayoutRequest,
    /// A payout was made: pending to external.
    PayoutConfirm,
    /// A payout failed: pending to earned.
    PayoutReturn,
}

/// One movement of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Transfer {
    /// Where it comes from.
    pub debit: LedgerAccount,
    /// Where it goes.
    pub credit: LedgerAccount,
    /// How much, above zero.
    pub amount: Amount,
    /// Why.
    pub code: TransferCode,
}

/// All balances.
#[derive(Debug, Default, Encode)]
pub(crate) struct Ledger {
    balances: Vec<Balance>,
    fees: i128,
    external: i128,
}

impl Ledger {
    /// Adds the next account.
    pub(crate) fn open(&mut self) -> AccountId {
        self.balances.push(Balance::default());
        AccountId(self.balances.len() as u32) // ACCOUNTS_MAX fits.
    }

    /// How many accounts there are.
    pub(crate) fn len(&self) -> usize {
        self.balances.len()
    }

    /// An account's balances.
    pub(crate) fn balance(&self, account: AccountId) -> Option<&Balance> {
        self.balances.get(dense_index(account.0)?)
    }

    /// Whether `amount` more would still be within what the account may own.
    pub(crate) fn has_room(&self, account: AccountId, amount: Amount) -> bool {
        self.balance(account)
            .is_some_and(|balance| balance.total() + i128::from(amount.0) <= i128::from(ACCOUNT_ATOMS_MAX))
    }

    /// Moves `amount` and says so; nothing moves and nothing is said when it is zero.
    ///
    /// # Panics
    /// When the debited account has too little or an account is unknown: callers check first, so that
    /// would be a bug, and stopping keeps it out of the journal's future.
    pub(crate) fn transfer(&mut self, transfer: Transfer, events: &mut Vec<Event>) {
        let atoms = transfer.amount.0;
        assert!(atoms >= 0, "a transfer never moves money backwards");
        if atoms == 0 {
            return;
        }
        self.add(transfer.debit, -atoms);
        self.add(transfer.credit, atoms);
        events.push(Event::Transferred(transfer));
    }

    fn add(&mut self, account: LedgerAccount, atoms: i64) {
        let slot = match account {
            LedgerAccount::Available(id) => &mut self.balance_mut(id).available,
            LedgerAccount::Held(id) => &mut self.balance_mut(id).held,
            LedgerAccount::Escrow(id) => &mut self.balance_mut(id).escrow,
            LedgerAccount::Earned(id) => &mut self.balance_mut(id).earned,
            LedgerAccount::PayoutPending(id) => &mut self.balance_mut(id).payout_pending,
            LedgerAccount::Fees => {
                self.fees += i128::from(atoms);
                assert!(self.fees >= 0, "the platform's fees are never negative");
                return;
            }
            LedgerAccount::External => {
                self.external += i128::from(atoms);
                return;
            }
        };
        slot.0 = invariant(slot.0.checked_add(atoms), "an account's balances fit 63 bits");
        assert!(slot.0 >= 0, "no internal account is negative");
    }

    fn balance_mut(&mut self, account: AccountId) -> &mut Balance {
        let index = dense_index(account.0).and_then(|index| self.balances.get_mut(index));
        invariant(index, "money moves between known accounts")
    }

    /// The sum over all accounts in atoms: zero, or money was made or lost.
    pub(crate) fn sum(&self) -> i128 {
        self.balances.iter().map(Balance::total).sum::<i128>() + self.fees + self.external
    }

    /// What the platform kept, in atoms.
    pub(crate) fn fees(&self) -> i128 {
        self.fees
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_moves_and_never_makes_money() {
        let mut ledger = Ledger::default();
        let alice = ledger.open();
        let mut events = Vec::new();
        let buy = Transfer {
            debit: LedgerAccount::External,
            credit: LedgerAccount::Available(alice),
            amount: Amount(500),
            code: TransferCode::Purchase,
        };
        ledger.transfer(buy, &mut events);
        ledger.transfer(Transfer { amount: Amount::ZERO, ..buy }, &mut events);
        assert_eq!(events, [Event::Transferred(buy)], "a zero amount moves nothing and says nothing");
        assert_eq!(ledger.balance(alice).unwrap().available, Amount(500));
        assert_eq!(ledger.sum(), 0);
    }

    #[test]
    #[should_panic(expected = "no internal account is negative")]
    fn an_overdraft_stops_the_process() {
        let mut ledger = Ledger::default();
        let alice = ledger.open();
        let spend = Transfer {
            debit: LedgerAccount::Available(alice),
            credit: LedgerAccount::Held(alice),
            amount: Amount(1),
            code: TransferCode::Hold,
        };
        ledger.transfer(spend, &mut Vec::new());
    }
}
