//! Money that goes out to providers: connected accounts, transfers to them and back, their payouts.

use crate::ledger::Ledger;
use crate::records::{Account, Metadata, Movement, Payout, PayoutStatus, Reversal, Transfer};
use crate::refusal::Refusal;

#[derive(Debug, Default)]
pub(crate) struct NewAccount {
    pub(crate) kind: String,
    pub(crate) country: String,
    pub(crate) email: Option<String>,
    pub(crate) metadata: Metadata,
}

#[derive(Debug, Default)]
pub(crate) struct NewTransfer {
    pub(crate) amount: i64,
    pub(crate) destination: String,
    pub(crate) description: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) metadata: Metadata,
}

#[derive(Debug, Default)]
pub(crate) struct NewPayout {
    pub(crate) account: String,
    pub(crate) amount: i64,
    pub(crate) method: String,
    pub(crate) description: Option<String>,
    pub(crate) metadata: Metadata,
}

impl Ledger {
    pub(crate) fn create_account(&mut self, new: NewAccount) -> String {
        let id = self.id("acct");
        let NewAccount { kind, country, email, metadata } = new;
        let created = self.now();
        let (submitted, enabled) = (false, false);
        self.accounts.insert(Account { id: id.clone(), created, kind, country, email, metadata, submitted, enabled });
        id
    }

    /// Somebody went through the onboarding (`enabled`), or Stripe has questions and stops transfers and payouts.
    pub(crate) fn enable(&mut self, id: &str, enabled: bool) -> Result<(), Refusal> {
        let account = self.accounts.get_mut(id).ok_or_else(|| Refusal::missing("account", id))?;
        account.submitted |= enabled;
        account.enabled = enabled;
        self.tell_of(Some(id), "account.updated", id);
        Ok(())
    }

    pub(crate) fn transfer(&mut self, new: NewTransfer) -> Result<String, Refusal> {
        let missing = || Refusal::missing("destination", &new.destination).in_param("destination");
        if !self.accounts.get(&new.destination).ok_or_else(missing)?.enabled {
            let message = "Your destination account needs to have at least one of the following capabilities enabled: \
                           transfers, crypto_transfers, legacy_payments";
            return Err(Refusal::refused("insufficient_capabilities_for_transfer", message));
        }
        self.require_balance(None, new.amount)?;
        let id = self.id("tr");
        let destination_payment = self.id("py");
        let entry = self.post(None, Movement::Transfer, -new.amount, 0, &id);
        self.post(Some(&new.destination), Movement::Payment, new.amount, 0, &destination_payment);
        self.transfers.insert(Transfer {
            id: id.clone(),
            created: self.now(),
            amount: new.amount,
            destination: new.destination,
            destination_payment,
            description: new.description,
            group: new.group,
            metadata: new.metadata,
            entry,
            reversed: 0,
            reversals: Vec::new(),
        });
        self.tell("transfer.created", &id);
        Ok(id)
    }

    /// Takes a transfer back, all that is left of it unless `amount` says less.
    pub(crate) fn reverse(
        &mut self,
        transfer: &str,
        amount: Option<i64>,
        metadata: Metadata,
    ) -> Result<String, Refusal> {
        let found = self.transfers.get(transfer).ok_or_else(|| Refusal::missing("transfer", transfer))?;
        let (destination, left) = (found.destination.clone(), found.amount - found.reversed);
        let amount = amount.unwrap_or(left);
        if left == 0 || amount > left {
            let message = format!("Reversal amount ({amount}) is greater than what is left of the transfer ({left})");
            return Err(Refusal { param: Some("amount".to_owned()), ..Refusal::refused("amount_too_large", message) });
        }
        self.require_balance(Some(&destination), amount)?;
        let id = self.id("trr");
        let refund = self.id("pyr");
        let entry = self.post(None, Movement::TransferReversal, amount, 0, &id);
        self.post(Some(&destination), Movement::PaymentRefund, -amount, 0, &refund);
        let created = self.now();
        let (row, transfer_id) = (id.clone(), transfer.to_owned());
        self.reversals.insert(Reversal { id: row, created, transfer: transfer_id, amount, metadata, entry });
        if let Some(found) = self.transfers.get_mut(transfer) {
            found.reversed += amount;
            found.reversals.push(id.clone());
        }
        self.tell("transfer.reversed", transfer);
        Ok(id)
    }

    pub(crate) fn create_payout(&mut self, new: NewPayout) -> Result<String, Refusal> {
        let missing = || Refusal::foreign_account(&new.account);
        if !self.accounts.get(&new.account).ok_or_else(missing)?.enabled {
            let message = "Payouts are not enabled for this account: it has to be onboarded.";
            return Err(Refusal::refused("payouts_not_allowed", message));
        }
        self.require_balance(Some(&new.account), new.amount)?;
        let id = self.id("po");
        let entry = self.post(Some(&new.account), Movement::Payout, -new.amount, 0, &id);
        let account = new.account.clone();
        self.payouts.insert(Payout {
            id: id.clone(),
            created: self.now(),
            account: new.account,
            amount: new.amount,
            method: new.method,
            description: new.description,
            metadata: new.metadata,
            status: PayoutStatus::Pending,
            entry,
            failure_entry: None,
        });
        self.tell_of(Some(&account), "payout.created", &id);
        Ok(id)
    }

    /// The bank has the money.
    pub(crate) fn pay_out(&mut self, id: &str) -> Result<(), Refusal> {
        let payout = self.payouts.get_mut(id).ok_or_else(|| Refusal::missing("payout", id))?;
        if payout.status != PayoutStatus::Pending {
            let message = format!("Payout {id} is {} already.", payout.status.as_str());
            return Err(Refusal::refused("payout_unexpected_state", message));
        }
        payout.status = PayoutStatus::Paid;
        let account = payout.account.clone();
        self.tell_of(Some(&account), "payout.paid", id);
        Ok(())
    }

    /// The bank sends it back, also days after it was paid.
    pub(crate) fn fail_payout(&mut self, id: &str) -> Result<(), Refusal> {
        let payout = self.payouts.get_mut(id).ok_or_else(|| Refusal::missing("payout", id))?;
        if payout.status == PayoutStatus::Failed {
            return Err(Refusal::refused("payout_unexpected_state", format!("Payout {id} has failed already.")));
        }
        payout.status = PayoutStatus::Failed;
        let (account, amount) = (payout.account.clone(), payout.amount);
        let entry = self.post(Some(&account), Movement::PayoutFailure, amount, 0, id);
        if let Some(payout) = self.payouts.get_mut(id) {
            payout.failure_entry = Some(entry);
        }
        self.tell_of(Some(&account), "payout.failed", id);
        Ok(())
    }
}
