//! What Stripe keeps of each object. Amounts are cents, times are unix seconds.

use std::collections::{BTreeMap, BTreeSet};

/// What a client attached to an object.
pub(crate) type Metadata = BTreeMap<String, String>;

/// Has an id and the time at which it was made, so that it can be listed.
pub(crate) trait Row {
    fn id(&self) -> &str;
    fn created(&self) -> i64;
}

/// Objects of one kind in the order in which they were made.
#[derive(Debug)]
pub(crate) struct Table<T> {
    rows: Vec<T>,
    places: BTreeMap<String, usize>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), places: BTreeMap::new() }
    }
}

impl<T: Row> Table<T> {
    pub(crate) fn insert(&mut self, row: T) {
        self.places.insert(row.id().to_owned(), self.rows.len());
        self.rows.push(row);
    }

    pub(crate) fn get(&self, id: &str) -> Option<&T> {
        self.places.get(id).and_then(|&place| self.rows.get(place))
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        self.places.get(id).and_then(|&place| self.rows.get_mut(place))
    }

    /// From the oldest on.
    pub(crate) fn rows(&self) -> &[T] {
        &self.rows
    }
}

macro_rules! rows {
    ($($record:ident),*) => {$(
        impl Row for $record {
            fn id(&self) -> &str {
                &self.id
            }
            fn created(&self) -> i64 {
                self.created
            }
        }
    )*};
}

rows!(Customer, Intent, Charge, Refund, Dispute, Account, Transfer, Reversal, Payout, Topup, Entry);

#[derive(Debug)]
pub(crate) struct Customer {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) email: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) metadata: Metadata,
    /// Payment methods that may be charged without the customer.
    pub(crate) methods: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntentStatus {
    RequiresPaymentMethod,
    RequiresConfirmation,
    Succeeded,
    Canceled,
}

impl IntentStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresConfirmation => "requires_confirmation",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
        }
    }
}

/// Why a bank said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decline {
    pub(crate) code: &'static str,
    pub(crate) decline_code: &'static str,
    pub(crate) message: &'static str,
}

#[derive(Debug)]
pub(crate) struct Intent {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) amount: i64,
    pub(crate) customer: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) transfer_group: Option<String>,
    /// `automatic_payment_methods[enabled]`.
    pub(crate) automatic: bool,
    /// `setup_future_usage`: paying attaches the method to the customer.
    pub(crate) future_usage: Option<String>,
    pub(crate) method: Option<String>,
    pub(crate) status: IntentStatus,
    /// The last charge, a declined one too.
    pub(crate) charge: Option<String>,
    /// The method and the reason of the last decline.
    pub(crate) decline: Option<(String, Decline)>,
    pub(crate) canceled: Option<i64>,
    pub(crate) cancellation_reason: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Charge {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) intent: String,
    pub(crate) method: String,
    pub(crate) amount: i64,
    /// Without refunds that failed.
    pub(crate) refunded: i64,
    pub(crate) decline: Option<Decline>,
    pub(crate) entry: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Refund {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) intent: String,
    pub(crate) charge: String,
    pub(crate) amount: i64,
    pub(crate) reason: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) entry: String,
    /// The entry that took the money back: the refund failed.
    pub(crate) failure_entry: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DisputeStatus {
    NeedsResponse,
    Won,
    Lost,
}

impl DisputeStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NeedsResponse => "needs_response",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Dispute {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) intent: String,
    pub(crate) charge: String,
    pub(crate) amount: i64,
    pub(crate) status: DisputeStatus,
    /// Money withdrawn, and returned if it was won.
    pub(crate) entries: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) kind: String,
    pub(crate) country: String,
    pub(crate) email: Option<String>,
    pub(crate) metadata: Metadata,
    /// Somebody went through the onboarding.
    pub(crate) submitted: bool,
    /// Takes transfers and makes payouts.
    pub(crate) enabled: bool,
}

#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) amount: i64,
    pub(crate) destination: String,
    pub(crate) destination_payment: String,
    pub(crate) description: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) entry: String,
    pub(crate) reversed: i64,
    pub(crate) reversals: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Reversal {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) transfer: String,
    pub(crate) amount: i64,
    pub(crate) metadata: Metadata,
    pub(crate) entry: String,
}

/// How far a payout has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayoutStatus {
    /// On its way; the money has left the connected account's balance.
    Pending,
    /// At the bank. It may still fail.
    Paid,
    /// The bank sent it back; the money is in the connected account's balance again.
    Failed,
}

impl PayoutStatus {
    /// As Stripe writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Payout {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) account: String,
    pub(crate) amount: i64,
    pub(crate) method: String,
    pub(crate) description: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) status: PayoutStatus,
    pub(crate) entry: String,
    pub(crate) failure_entry: Option<String>,
}

/// Money of its own that the platform put in.
#[derive(Debug)]
pub(crate) struct Topup {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) amount: i64,
    pub(crate) entry: String,
}

/// Why money moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Movement {
    Charge,
    Refund,
    RefundFailure,
    DisputeWithdrawn,
    DisputeReturned,
    Transfer,
    TransferReversal,
    Topup,
    /// A transfer as the connected account sees it.
    Payment,
    /// Its reversal.
    PaymentRefund,
    Payout,
    PayoutFailure,
}

impl Movement {
    /// `type` and `reporting_category` of the balance transaction.
    pub(crate) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Charge => ("charge", "charge"),
            Self::Refund => ("refund", "refund"),
            Self::RefundFailure => ("refund_failure", "refund_failure"),
            Self::DisputeWithdrawn => ("adjustment", "dispute"),
            Self::DisputeReturned => ("adjustment", "dispute_reversal"),
            Self::Transfer => ("transfer", "transfer"),
            Self::TransferReversal => ("transfer_refund", "transfer_reversal"),
            Self::Topup => ("topup", "topup"),
            Self::Payment => ("payment", "charge"),
            Self::PaymentRefund => ("payment_refund", "refund"),
            Self::Payout => ("payout", "payout"),
            Self::PayoutFailure => ("payout_failure", "payout_reversal"),
        }
    }
}

/// A balance transaction: one movement in one balance.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) created: i64,
    /// The connected account whose balance it is; none is the platform's own.
    pub(crate) account: Option<String>,
    pub(crate) movement: Movement,
    /// Positive comes in, negative goes out.
    pub(crate) amount: i64,
    /// What Stripe takes for it.
    pub(crate) fee: i64,
    pub(crate) source: String,
}
