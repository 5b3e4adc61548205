//! The one interface to whoever moves money outside: what the exchange asks of a payment processor, in its own words.
//!
//! A processor is asked for the present state of a payment or payout, never believed for what it says happened: so
//! notices that come twice, late, or in another order change nothing. Every call that moves money carries a key by which
//! it has one effect, and is preceded by a look for what an earlier call with that key did, because processors forget
//! keys (Stripe after a day).

use gollem_engine::{AccountId, PayoutId};
use std::future::Future;

/// Whole US cents.
pub(crate) type Cents = i64;

/// A payment that a buyer makes, or is to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    /// The processor's number of it.
    pub id: String,
    /// Whose credits it buys; `None`: it is not of this exchange.
    pub account: Option<AccountId>,
    pub state: IntentState,
    pub cents: Cents,
    /// What was really received, once it succeeded.
    pub received: Cents,
    /// Lower case, as in ISO 4217.
    pub currency: String,
    /// With it the buyer's own page or app pays; of no use to anybody else.
    pub client_secret: Option<String>,
    /// The way of paying that the buyer let the exchange keep for later, as the processor's token.
    pub saved_method: Option<String>,
    /// Unix seconds.
    pub created: i64,
}

/// How far a payment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntentState {
    /// The buyer has to do something.
    Open,
    /// The buyer's bank has to do something.
    Processing,
    Succeeded,
    Canceled,
}

impl IntentState {
    /// As callers and the store read it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            IntentState::Open => "open",
            IntentState::Processing => "processing",
            IntentState::Succeeded => "succeeded",
            IntentState::Canceled => "canceled",
        }
    }
}

/// Money that went back to a buyer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refunded {
    pub id: String,
    pub cents: Cents,
    /// The exchange's own mark, if the exchange asked for it.
    pub mark: Option<String>,
    /// Whether it did not reach the buyer after all.
    pub failed: bool,
}

/// Money that a buyer's bank took back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disputed {
    pub id: String,
    pub cents: Cents,
    /// Whether the exchange won it; `None` while that is open.
    pub won: Option<bool>,
}

/// A payment to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewIntent<'a> {
    pub account: AccountId,
    pub cents: Cents,
    /// The processor's number of the buyer.
    pub customer: &'a str,
    /// By which it has one effect.
    pub key: String,
    /// Whether the way of paying may be kept for later.
    pub save_method: bool,
    /// A kept way of paying: it is paid at once.
    pub method: Option<&'a str>,
    /// Whether the buyer is not there to be asked anything.
    pub off_session: bool,
    /// How often the same was refused for certain.
    pub refusals: u32,
}

/// Money on its way to a provider's account with the processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transferred {
    pub id: String,
    pub cents: Cents,
    /// What came back.
    pub reversed: Cents,
}

/// Money on its way from there to the provider's bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BankPayout {
    pub id: String,
    pub state: BankState,
}

/// How far a bank is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BankState {
    Pending,
    Paid,
    Failed,
}

/// A provider's account with the processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connected {
    pub id: String,
    /// Whether money can be sent there and on to a bank.
    pub payable: bool,
}

/// One line of the processor's own books, signed as it sees it: what came in is above zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BookLine {
    pub id: String,
    pub cents: Cents,
    /// What the processor kept of it.
    pub fee: Cents,
    pub currency: String,
    /// Unix seconds.
    pub created: i64,
    pub cause: Cause,
}

/// What a line in the processor's books is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// The payment of that intent.
    Payment { intent: String },
    /// A refund of that intent, by the processor's number and the exchange's mark.
    Refund { id: String, mark: Option<String>, intent: Option<String> },
    /// A refund that did not reach the buyer.
    RefundFailure { id: String, mark: Option<String>, intent: Option<String> },
    /// A dispute that took money or gave it back.
    Dispute { id: String, intent: Option<String> },
    /// A transfer to a provider, if it is one of the exchange's payouts.
    Transfer { payout: Option<PayoutId> },
    /// A transfer that came back.
    TransferReversal { transfer: String },
    /// What is no business of the ledger's: the processor's own fees, the platform's payouts to its own bank.
    Other { kind: String },
}

impl Cause {
    /// The payment that it is about.
    pub(crate) fn intent(&self) -> Option<&str> {
        match self {
            Cause::Payment { intent } => Some(intent),
            Cause::Refund { intent, .. } | Cause::RefundFailure { intent, .. } | Cause::Dispute { intent, .. } => {
                intent.as_deref()
            }
            Cause::Transfer { .. } | Cause::TransferReversal { .. } | Cause::Other { .. } => None,
        }
    }
}

/// Why a processor did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ProcessorError {
    /// It did not answer, or not in a way that can be understood; whether it did what it was asked is not known.
    #[error("{0}")]
    Unknown(String),
    /// It answered that it broke. It keeps to that answer for the same key, so the next try needs another, after a look.
    #[error("{0}")]
    Broken(String),
    /// It did not look at it: too many requests, or a key that it does not know.
    #[error("{0}")]
    NotNow(String),
    /// It looked and did not do it: there is not enough money there yet.
    #[error("{0}")]
    Short(String),
    /// It refused, and would again.
    #[error("{code}: {message}")]
    Refused { code: String, message: String },
}

/// A payment processor. Amounts are US cents; errors as in [`ProcessorError`].
pub(crate) trait Processor {
    /// Makes the buyer known to the processor, once per account.
    fn customer(&self, account: AccountId) -> impl Future<Output = Result<String, ProcessorError>> + Send;
    /// Begins a payment, once per key: one that was begun with it is looked for first.
    fn create_intent(&self, new: &NewIntent<'_>) -> impl Future<Output = Result<Intent, ProcessorError>> + Send;
    fn intent(&self, id: &str) -> impl Future<Output = Result<Intent, ProcessorError>> + Send;
    /// Oldest first.
    fn refunds(&self, intent: &str) -> impl Future<Output = Result<Vec<Refunded>, ProcessorError>> + Send;
    /// Oldest first.
    fn disputes(&self, intent: &str) -> impl Future<Output = Result<Vec<Disputed>, ProcessorError>> + Send;
    /// Returns money to a buyer, once per mark. Here and below, `refusals` is how often the same was refused for certain.
    fn refund(
        &self,
        intent: &str,
        cents: Cents,
        mark: &str,
        refusals: u32,
    ) -> impl Future<Output = Result<(), ProcessorError>> + Send;
    /// Opens an account with the processor for a provider, once per account.
    fn connect(&self, account: AccountId) -> impl Future<Output = Result<Connected, ProcessorError>> + Send;
    fn connected(&self, id: &str) -> impl Future<Output = Result<Connected, ProcessorError>> + Send;
    /// A page on which the provider tells the processor who it is and where its bank is.
    fn onboarding(&self, id: &str, back_to: &str) -> impl Future<Output = Result<String, ProcessorError>> + Send;
    fn transfer(&self, payout: PayoutId) -> impl Future<Output = Result<Option<Transferred>, ProcessorError>> + Send;
    fn create_transfer(
        &self,
        payout: PayoutId,
        cents: Cents,
        to: &str,
        refusals: u32,
    ) -> impl Future<Output = Result<Transferred, ProcessorError>> + Send;
    fn reverse_transfer(
        &self,
        payout: PayoutId,
        transfer: &str,
        refusals: u32,
    ) -> impl Future<Output = Result<(), ProcessorError>> + Send;
    fn bank_payout(
        &self,
        payout: PayoutId,
        at: &str,
    ) -> impl Future<Output = Result<Option<BankPayout>, ProcessorError>> + Send;
    fn create_bank_payout(
        &self,
        payout: PayoutId,
        cents: Cents,
        at: &str,
        refusals: u32,
    ) -> impl Future<Output = Result<BankPayout, ProcessorError>> + Send;
    /// The processor's books of those Unix seconds, oldest first.
    fn books(&self, from: i64, to: i64) -> impl Future<Output = Result<Vec<BookLine>, ProcessorError>> + Send;
}
