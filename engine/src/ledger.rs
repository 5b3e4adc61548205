//! The double-entry ledger: every movement of money is one [`Transfer`] from a debited to a credited
//! account, made by [`Ledger::transfer`] and nowhere else.
//!
//! Invariants: the sum over all accounts is zero; only `External` and `Receivable` are ever negative; an account's
//! balances together stay within [`ACCOUNT_ATOMS_MAX`], so that no addition can overflow.

use crate::fingerprint::{Section, TableHash, hash_row};
use crate::ids::dense_index;
use crate::limits::ACCOUNT_ATOMS_MAX;
use crate::orders::OrderList;
use crate::prefetch::prefetch;
use crate::{AccountId, Amount, Event, Events, invariant};
use bincode::{Decode, Encode};

/// What an account owns, by purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Balance {
    /// Free to spend.
    pub available: Amount,
    /// Reserved by open orders.
    pub held: Amount,
    /// Reserved by open contracts and locked quotes.
    pub escrow: Amount,
    /// Earned by deliveries, not yet paid out.
    pub earned: Amount,
    /// On its way out.
    pub payout_pending: Amount,
    /// Owed to the platform: a credit line in use, or a purchase taken back after it was spent.
    pub owed: Amount,
}

impl Balance {
    /// All that it owns; what it owes is not taken off.
    pub fn total(&self) -> i128 {
        [self.available, self.held, self.escrow, self.earned, self.payout_pending]
            .iter()
            .map(|amount| i128::from(amount.0))
            .sum()
    }
}

/// A ledger account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
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
    /// What a party owes the platform, so never above zero.
    Receivable(AccountId),
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
            | LedgerAccount::PayoutPending(account)
            | LedgerAccount::Receivable(account) => Some(account),
            LedgerAccount::Fees | LedgerAccount::External => None,
        }
    }
}

/// Why money moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
pub enum TransferCode {
    /// Credits were bought: external to available.
    Purchase,
    /// An order reserved its worst case: available to held.
    Hold,
    /// What an order no longer needs: held to available.
    Release,
    /// A trade, or a locked quote: held to escrow.
    Escrow,
    /// The provider's part of a delivery: escrow to earned.
    Delivery,
    /// The platform's part of a delivery: escrow to fees.
    DeliveryFee,
    /// What a closed contract did not use, or a lock that was not used reserved: escrow to available.
    Refund,
    /// A payout was requested: earned to pending.
    PayoutRequest,
    /// A payout was made: pending to external.
    PayoutConfirm,
    /// A payout failed: pending to earned. Or it came back after it was made: external to earned.
    PayoutReturn,
    /// The buyer's fee of a delivery: escrow to fees.
    TradeFee,
    /// A broken promise: earned to the buyer's available.
    Rebate,
    /// A purchase went back: available, then receivable, to external.
    PurchaseRefund,
    /// A disputed purchase went back: available, then receivable, to external.
    Dispute,
    /// A dispute was won: external to available.
    DisputeReturn,
    /// A credit line was drawn on: receivable to available.
    Overage,
    /// Debts are paid from a purchase: available to receivable.
    Repay,
    /// A refund failed: external to available.
    RefundReturn,
}

/// One movement of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
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

/// What the engine keeps of an account: one cache line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    pub(crate) balance: Balance,
    /// Its open orders.
    pub(crate) orders: OrderList,
    /// Open contracts that it pays for.
    pub(crate) open_contracts: u32,
}

const _: () = assert!(size_of::<Account>() == 64, "an account is one cache line");

/// All accounts.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: Vec<Account>,
    /// Accounts with guard rails, or keys with limits: one byte spares looking for those of most.
    limited: Vec<bool>,
    hash: TableHash,
    fees: i128,
    external: i128,
}

impl Ledger {
    /// Adds the next account.
    pub(crate) fn open(&mut self) -> AccountId {
        self.hash.mark(self.accounts.len());
        self.accounts.push(Account::default());
        self.limited.push(false);
        AccountId(self.accounts.len() as u32) // ACCOUNTS_MAX fits.
    }

    /// How many accounts there are.
    pub(crate) fn len(&self) -> usize {
        self.accounts.len()
    }

    #[inline]
    pub(crate) fn account(&self, account: AccountId) -> Option<&Account> {
        self.accounts.get(dense_index(account.0)?)
    }

    /// A known account's record but for its balance, which only [`Ledger::transfer`] changes.
    #[inline]
    pub(crate) fn account_mut(&mut self, account: AccountId) -> &mut Account {
        let index = dense_index(account.0).and_then(|index| self.accounts.get_mut(index));
        invariant(index, "orders and contracts belong to known accounts")
    }

    /// Asks for an account's record.
    #[inline]
    pub(crate) fn prefetch(&self, account: AccountId) {
        prefetch(&self.accounts, account.0.wrapping_sub(1) as usize);
    }

    /// An account's balances.
    #[inline]
    pub(crate) fn balance(&self, account: AccountId) -> Option<&Balance> {
        self.account(account).map(|account| &account.balance)
    }

    /// Whether a known account has guard rails, or keys with limits.
    #[inline]
    pub(crate) fn is_limited(&self, account: AccountId) -> bool {
        dense_index(account.0).and_then(|index| self.limited.get(index)).is_some_and(|limited| *limited)
    }

    pub(crate) fn set_limited(&mut self, account: AccountId) {
        if let Some(limited) = dense_index(account.0).and_then(|index| self.limited.get_mut(index)) {
            *limited = true;
        }
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
    #[inline(always)]
    pub(crate) fn transfer(&mut self, transfer: Transfer, events: &mut Events) {
        let atoms = transfer.amount.0;
        assert!(atoms >= 0, "a transfer never moves money backwards");
        if atoms == 0 {
            return;
        }
        self.add(transfer.debit, -atoms);
        self.add(transfer.credit, atoms);
        events.push(Event::Transferred(transfer));
    }

    /// [`Ledger::transfer`] of what a known account's orders hold, in one look at it: so many atoms more, or less if below
    /// zero.
    #[inline(always)]
    pub(crate) fn transfer_held(&mut self, account: AccountId, more: i64, events: &mut Events) {
        let balance = self.balance_mut(account);
        balance.available.0 = invariant(balance.available.0.checked_sub(more), "an account's balances fit 63 bits");
        balance.held.0 = invariant(balance.held.0.checked_add(more), "an account's balances fit 63 bits");
        assert!(balance.available.0 >= 0 && balance.held.0 >= 0, "no internal account is negative");
        events.tell(move || held(account, more));
    }

    /// [`Ledger::transfer`] from what a known account's orders hold to what its contracts do, in one look at it.
    #[inline(always)]
    pub(crate) fn transfer_escrow(&mut self, account: AccountId, amount: Amount, events: &mut Events) {
        let balance = self.balance_mut(account);
        balance.held.0 = invariant(balance.held.0.checked_sub(amount.0), "an account's balances fit 63 bits");
        balance.escrow.0 = invariant(balance.escrow.0.checked_add(amount.0), "an account's balances fit 63 bits");
        assert!(amount.0 > 0 && balance.held.0 >= 0, "no internal account is negative");
        let (debit, credit) = (LedgerAccount::Held(account), LedgerAccount::Escrow(account));
        events.tell(move || Event::Transferred(Transfer { debit, credit, amount, code: TransferCode::Escrow }));
    }

    /// The first half of [`Ledger::transfer`] of what a known account's orders hold, `atoms` more, or less if below zero:
    /// moves them, unless the account has too little available, owes, or has spending limits. [`held`] is what to tell.
    #[inline(always)]
    pub(crate) fn try_hold(&mut self, account: AccountId, atoms: i64) -> bool {
        let Some(index) = dense_index(account.0) else { return false };
        let (Some(own), Some(false)) = (self.accounts.get_mut(index), self.limited.get(index)) else { return false };
        let balance = &mut own.balance;
        if balance.owed.0 != 0 || atoms > balance.available.0 {
            return false;
        }
        balance.available.0 = invariant(balance.available.0.checked_sub(atoms), "an account's balances fit 63 bits");
        balance.held.0 = invariant(balance.held.0.checked_add(atoms), "an account's balances fit 63 bits");
        assert!(balance.held.0 >= 0, "no internal account is negative");
        self.hash.mark(index);
        true
    }

    #[inline(always)]
    fn add(&mut self, account: LedgerAccount, atoms: i64) {
        let slot = match account {
            LedgerAccount::Available(id) => &mut self.balance_mut(id).available,
            LedgerAccount::Held(id) => &mut self.balance_mut(id).held,
            LedgerAccount::Escrow(id) => &mut self.balance_mut(id).escrow,
            LedgerAccount::Earned(id) => &mut self.balance_mut(id).earned,
            LedgerAccount::PayoutPending(id) => &mut self.balance_mut(id).payout_pending,
            LedgerAccount::Receivable(id) => {
                let owed = &mut self.balance_mut(id).owed;
                owed.0 = invariant(owed.0.checked_sub(atoms), "what an account owes fits 63 bits");
                assert!(owed.0 >= 0, "nobody repays more than is owed");
                return;
            }
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

    #[inline(always)]
    fn balance_mut(&mut self, account: AccountId) -> &mut Balance {
        let index = invariant(dense_index(account.0), "money moves between known accounts");
        self.hash.mark(index);
        &mut invariant(self.accounts.get_mut(index), "money moves between known accounts").balance
    }

    /// The sum over all accounts in atoms: zero, or money was made or lost.
    pub(crate) fn sum(&self) -> i128 {
        let own = |balance: &Balance| balance.total() - i128::from(balance.owed.0);
        self.accounts.iter().map(|account| own(&account.balance)).sum::<i128>() + self.fees + self.external
    }

    /// What the platform kept, in atoms.
    pub(crate) fn fees(&self) -> i128 {
        self.fees
    }

    /// What came from outside less what went there, negated: never above zero.
    pub(crate) fn external(&self) -> i128 {
        self.external
    }

    /// Puts the balances of a snapshot back, the next account's first.
    pub(crate) fn restore(&mut self, balance: Balance) {
        let account = self.open();
        self.account_mut(account).balance = balance;
    }

    /// Puts the two balances that no account owns back.
    pub(crate) fn restore_platform(&mut self, fees: i128, external: i128) {
        (self.fees, self.external) = (fees, external);
    }

    /// Hash of all balances of accounts.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.total(|row| self.row_hash(row))
    }

    /// The same, remembered.
    pub(crate) fn refresh_hash(&mut self) -> u64 {
        let mut hash = std::mem::take(&mut self.hash);
        let total = hash.refresh(|row| self.row_hash(row));
        self.hash = hash;
        total
    }

    fn row_hash(&self, row: usize) -> u64 {
        self.accounts.get(row).map_or(0, |account| hash_row(Section::Accounts, &(row as u32, account.balance)))
    }
}

/// That an account's orders hold so many atoms more, or less if below zero.
#[inline(always)]
pub(crate) fn held(account: AccountId, atoms: i64) -> Event {
    let (available, held) = (LedgerAccount::Available(account), LedgerAccount::Held(account));
    let (debit, credit, code) =
        if atoms > 0 { (available, held, TransferCode::Hold) } else { (held, available, TransferCode::Release) };
    Event::Transferred(Transfer { debit, credit, amount: Amount(atoms.abs()), code })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_moves_and_never_makes_money() {
        let mut ledger = Ledger::default();
        let alice = ledger.open();
        let mut events = Events::new();
        let buy = Transfer {
            debit: LedgerAccount::External,
            credit: LedgerAccount::Available(alice),
            amount: Amount(500),
            code: TransferCode::Purchase,
        };
        ledger.transfer(buy, &mut events);
        ledger.transfer(Transfer { amount: Amount::ZERO, ..buy }, &mut events);
        assert_eq!(*events, [Event::Transferred(buy)], "a zero amount moves nothing and says nothing");
        assert_eq!(ledger.balance(alice).unwrap().available, Amount(500));
        assert_eq!(ledger.sum(), 0);
    }

    #[test]
    fn the_sum_tells_of_money_that_came_from_nowhere() {
        let mut ledger = Ledger::default();
        let own = |atoms: i64| Balance { available: Amount(atoms), escrow: Amount(2 * atoms), ..Balance::default() };
        ledger.restore(own(5));
        assert_eq!(ledger.sum(), 15);
        ledger.restore(Balance { owed: Amount(4), ..own(1) });
        assert_eq!(ledger.sum(), 14);
        ledger.restore_platform(6, -20);
        assert_eq!(ledger.sum(), 0);
    }

    #[test]
    fn a_party_owns_its_accounts_and_nobody_those_of_the_platform() {
        let party = AccountId(7);
        let own = [
            LedgerAccount::Available(party),
            LedgerAccount::Held(party),
            LedgerAccount::Escrow(party),
            LedgerAccount::Earned(party),
            LedgerAccount::PayoutPending(party),
            LedgerAccount::Receivable(party),
        ];
        assert!(own.iter().all(|account| account.owner() == Some(party)));
        assert_eq!([LedgerAccount::Fees, LedgerAccount::External].map(LedgerAccount::owner), [None, None]);
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
        ledger.transfer(spend, &mut Events::new());
    }
}
