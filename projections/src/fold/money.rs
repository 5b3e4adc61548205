//! Balances and the ledger's lines, what accounts may spend and what they spent.

use super::{Fold, possible};
use crate::keys;
use crate::rows::{Movement, PayoutRow, PayoutStatus, PoliciesRow};
use crate::store::StoreError;
use gollem_engine::limits::GUARD_RAIL_MINUTES;
use gollem_engine::{AccountId, Amount, Balance, KeyId, KeyLimits, LedgerAccount, PayoutId, Timestamp, Transfer};

/// Minutes of the longest spending window: as many rows an account has at most.
const LONGEST: u32 = GUARD_RAIL_MINUTES[GUARD_RAIL_MINUTES.len() - 1] as u32;

/// Whole minutes since the epoch.
pub(crate) fn minute(at: Timestamp) -> u32 {
    (at.0 / 60_000_000_000) as u32 // 64 bits of nanoseconds are 307 million minutes.
}

impl Fold<'_> {
    pub(super) fn transfer(&mut self, transfer: &Transfer) -> Result<(), StoreError> {
        let (debited, credited) = (transfer.debit.owner(), transfer.credit.owner());
        let line = Movement { at: self.now.at, transfer: *transfer };
        let less = possible(transfer.amount.0.checked_neg())?;
        for account in debited.into_iter().chain(credited.filter(|_| credited != debited)) {
            let balance = self.balances.change(self.views, keys::account(account))?.get_or_insert_default();
            possible(add(balance, account, transfer.debit, less))?;
            possible(add(balance, account, transfer.credit, transfer.amount.0))?;
            let key = keys::happened(account.0, self.now.seq, self.now.index);
            self.lines.push((key, line));
        }
        Ok(())
    }

    pub(super) fn policies_of(
        &mut self,
        account: AccountId,
        change: impl FnOnce(&mut PoliciesRow),
    ) -> Result<(), StoreError> {
        change(self.policies.change(self.views, keys::account(account))?.get_or_insert_default());
        Ok(())
    }

    pub(super) fn set_guard_rail(
        &mut self,
        account: AccountId,
        window: u8,
        limit: Option<Amount>,
    ) -> Result<(), StoreError> {
        self.policies_of(account, |row| {
            if let Some(own) = row.guard_rails.get_mut(usize::from(window)) {
                *own = limit;
            }
        })
    }

    pub(super) fn set_key_limits(
        &mut self,
        account: AccountId,
        key: KeyId,
        limits: KeyLimits,
    ) -> Result<(), StoreError> {
        *self.key_limits.change(self.views, keys::key_limits(account, key))? = Some(limits);
        Ok(())
    }

    /// Counts what a delivery took from its buyer, in the minute of its input. A minute takes the place of the one that
    /// left the longest window when it came.
    pub(super) fn spend(&mut self, account: AccountId, amount: Amount) -> Result<(), StoreError> {
        if amount.0 == 0 {
            return Ok(());
        }
        let minute = minute(self.now.at);
        let slot = (minute % LONGEST) as u16; // At most 4,320.
        let row = self.spending.change(self.views, keys::spending(account, slot))?;
        let spent = row.filter(|(known, _)| *known == minute).map_or(0, |(_, spent)| spent);
        *row = Some((minute, spent + i128::from(amount.0)));
        Ok(())
    }

    pub(super) fn request_payout(
        &mut self,
        account: AccountId,
        id: PayoutId,
        amount: Amount,
    ) -> Result<(), StoreError> {
        let requested_at = self.now.at;
        let row =
            PayoutRow { id, amount, status: PayoutStatus::Requested, requested_at, sent_at: None, ended_at: None };
        self.payouts.add(keys::owned(account, id.0), row);
        Ok(())
    }

    pub(super) fn move_payout(
        &mut self,
        account: AccountId,
        id: PayoutId,
        status: PayoutStatus,
    ) -> Result<(), StoreError> {
        let row = self.payouts.change_known(self.views, keys::owned(account, id.0))?;
        row.status = status;
        match status {
            PayoutStatus::Requested => {}
            PayoutStatus::Sent => row.sent_at = Some(self.now.at),
            PayoutStatus::Confirmed | PayoutStatus::Failed | PayoutStatus::Returned => {
                row.ended_at = Some(self.now.at);
            }
        }
        Ok(())
    }

    pub(super) fn reset_spending(&mut self, account: AccountId) -> Result<(), StoreError> {
        for key in self.spending.keys(self.views, &keys::account(account))? {
            *self.spending.change(self.views, key)? = None;
        }
        Ok(())
    }
}

/// Adds atoms to an account's balance if the ledger account is one of its own. `None`, and nothing added, if the sum does
/// not fit, which those of the engine always do.
pub fn add(balance: &mut Balance, owner: AccountId, account: LedgerAccount, atoms: i64) -> Option<()> {
    if account.owner() != Some(owner) {
        return Some(());
    }
    let (part, atoms) = match account {
        LedgerAccount::Available(_) => (&mut balance.available, atoms),
        LedgerAccount::Held(_) => (&mut balance.held, atoms),
        LedgerAccount::Escrow(_) => (&mut balance.escrow, atoms),
        LedgerAccount::Earned(_) => (&mut balance.earned, atoms),
        LedgerAccount::PayoutPending(_) => (&mut balance.payout_pending, atoms),
        // What a party owes is the other side of what the platform is owed.
        LedgerAccount::Receivable(_) => (&mut balance.owed, atoms.checked_neg()?),
        LedgerAccount::Fees | LedgerAccount::External => return Some(()),
    };
    part.0 = part.0.checked_add(atoms)?;
    Some(())
}
