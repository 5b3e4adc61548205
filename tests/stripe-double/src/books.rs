//! The books as a test wants to see them, checked against the balance transactions.

use crate::ledger::Ledger;
use crate::records::{Dispute, DisputeStatus, Intent, IntentStatus, Metadata, Movement, PayoutStatus};

/// Everything that concerns money, in cents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// What the platform has, fees not taken off.
    pub available_cents: i64,
    /// What Stripe has taken in fees. Transfers are refused by what is left: `available_cents - fees_cents`.
    pub fees_cents: i64,
    /// What the platform put in itself.
    pub topped_up_cents: i64,
    /// Payment intents, oldest first.
    pub intents: Vec<IntentRow>,
    /// Transfers, oldest first.
    pub transfers: Vec<TransferRow>,
    /// Payouts of connected accounts, oldest first.
    pub payouts: Vec<PayoutRow>,
    /// Connected accounts, oldest first.
    pub accounts: Vec<AccountRow>,
}

/// A payment intent and what became of its money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentRow {
    /// `pi_...`
    pub id: String,
    /// As the client gave it.
    pub metadata: Metadata,
    /// Always `usd`.
    pub currency: &'static str,
    /// What is asked for, in cents.
    pub amount: i64,
    /// The amount if it was paid, otherwise 0.
    pub paid: i64,
    /// Refunds that have not failed.
    pub refunded: i64,
    /// Withdrawn and not decided yet.
    pub disputed_open: i64,
    /// Withdrawn for good.
    pub disputed_lost: i64,
}

/// A transfer to a connected account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRow {
    /// `tr_...`
    pub id: String,
    /// `acct_...`
    pub account: String,
    /// As the client gave it.
    pub metadata: Metadata,
    /// In cents.
    pub amount: i64,
    /// What was taken back of it, in cents.
    pub reversed: i64,
}

/// A payout of a connected account to its bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutRow {
    /// `po_...`
    pub id: String,
    /// `acct_...`
    pub account: String,
    /// As the client gave it.
    pub metadata: Metadata,
    /// In cents.
    pub amount: i64,
    /// Whether it arrived.
    pub status: PayoutStatus,
}

/// A connected account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// `acct_...`
    pub id: String,
    /// What it could pay out, in cents.
    pub balance_cents: i64,
    /// Takes transfers and makes payouts.
    pub enabled: bool,
}

impl Ledger {
    /// # Panics
    /// If a balance is not what follows from the objects: the double is wrong then.
    pub(crate) fn books(&self) -> Books {
        let own = || self.entries.rows().iter().filter(|entry| entry.account.is_none());
        let own_of = |movement| own().filter(|entry| entry.movement == movement).map(|entry| entry.amount).sum();
        let books = Books {
            available_cents: own().map(|entry| entry.amount).sum(),
            fees_cents: own().map(|entry| entry.fee).sum(),
            topped_up_cents: own_of(Movement::Topup),
            intents: self.intents.rows().iter().map(|intent| self.intent_row(intent)).collect(),
            transfers: self.transfer_rows(),
            payouts: self.payout_rows(),
            accounts: self.account_rows(),
        };
        self.check(&books);
        books
    }

    fn intent_row(&self, intent: &Intent) -> IntentRow {
        let refunds = self.refunds.rows().iter().filter(|refund| refund.intent == intent.id);
        let disputed = |status| {
            let counts = |dispute: &&Dispute| dispute.intent == intent.id && dispute.status == status;
            self.disputes.rows().iter().filter(counts).map(|dispute| dispute.amount).sum()
        };
        IntentRow {
            id: intent.id.clone(),
            metadata: intent.metadata.clone(),
            currency: "usd",
            amount: intent.amount,
            paid: if intent.status == IntentStatus::Succeeded { intent.amount } else { 0 },
            refunded: refunds.filter(|refund| refund.failure_entry.is_none()).map(|refund| refund.amount).sum(),
            disputed_open: disputed(DisputeStatus::NeedsResponse),
            disputed_lost: disputed(DisputeStatus::Lost),
        }
    }

    fn transfer_rows(&self) -> Vec<TransferRow> {
        let rows = self.transfers.rows().iter().map(|transfer| TransferRow {
            id: transfer.id.clone(),
            account: transfer.destination.clone(),
            metadata: transfer.metadata.clone(),
            amount: transfer.amount,
            reversed: transfer.reversed,
        });
        rows.collect()
    }

    fn payout_rows(&self) -> Vec<PayoutRow> {
        let rows = self.payouts.rows().iter().map(|payout| PayoutRow {
            id: payout.id.clone(),
            account: payout.account.clone(),
            metadata: payout.metadata.clone(),
            amount: payout.amount,
            status: payout.status,
        });
        rows.collect()
    }

    fn account_rows(&self) -> Vec<AccountRow> {
        let rows = self.accounts.rows().iter().map(|account| AccountRow {
            id: account.id.clone(),
            balance_cents: self.balance(Some(&account.id)),
            enabled: account.enabled,
        });
        rows.collect()
    }

    /// What the objects say must be what the entries say, and what the running balances say.
    fn check(&self, books: &Books) {
        let kept: i64 = books.intents.iter().map(IntentRow::kept).sum();
        let sent: i64 = books.transfers.iter().map(|transfer| transfer.amount - transfer.reversed).sum();
        let expected = kept + books.topped_up_cents - sent;
        assert!(books.available_cents == expected, "the platform's entries sum to what its objects say: {books:?}");
        let net = books.available_cents - books.fees_cents;
        assert!(self.balance(None) == net, "the platform's balance is the sum of its entries");
        for account in &books.accounts {
            let of = |id: &String| *id == account.id;
            let transfers = books.transfers.iter().filter(|transfer| of(&transfer.account));
            let received: i64 = transfers.map(|transfer| transfer.amount - transfer.reversed).sum();
            let payouts = books.payouts.iter().filter(|payout| of(&payout.account));
            let left = payouts.filter(|payout| payout.status != PayoutStatus::Failed).map(|payout| payout.amount);
            let expected = received - left.sum::<i64>();
            assert!(account.balance_cents == expected, "an account has what came in and did not go out: {account:?}");
        }
    }
}

impl IntentRow {
    /// What the platform still has of it, in cents. Negative if it was refunded and then disputed.
    #[must_use]
    pub fn kept(&self) -> i64 {
        self.paid - self.refunded - self.disputed_open - self.disputed_lost
    }
}
