//! Money in and money out, through a payment processor.
//!
//! ```text
//! buyer --pays--> processor --notice--> POST /webhooks/stripe --.
//!                     ^                                          v
//!                     |  "what is the state of this payment?"  settle --command--> matcher --> journal
//!                     '------------------------------------------'                                |
//!                                                                                               events
//! provider <--bank-- processor <--transfer, payout, refund-- postman <--letters-- outbox <--------'
//! ```
//!
//! Three rules make it hold whatever is lost, repeated, late, or killed:
//!
//! 1. A notice is never believed, it is only a reason to look. `settle` asks the processor for the present state of what the
//!    notice is about and brings the ledger there. The engine takes each payment, refund, dispute and step of a payout
//!    once, by its reference.
//! 2. What is to be done outside is a letter, written in one transaction with the number of the input that is its cause.
//!    The postman deals with it until it is done; before it moves money it looks whether that was done before.
//! 3. Every day the processor's own books are held against the ledger's, line by line (`reconcile`).
//!
//! | file | idea |
//! |---|---|
//! | `processor` | what is asked of a processor, in the exchange's words |
//! | `stripe` | the same in Stripe's |
//! | `store/` | what is kept beside the journal: numbers, movements, letters |
//! | `settle` | payments, refunds, disputes and payouts: the ledger is brought to what the processor says |
//! | `purchase` | a payment is begun: by the buyer, or because the balance is low |
//! | `outbox` | events become movements and letters |
//! | `postman` | letters are dealt with |
//! | `reconcile` | two sets of books |
//! | `webhook` | is a notice from whom it says? |
//! | `cards` | no card numbers here |
//! | `notify` | people are told |
//! | `sessions` | who used what from where |
//! | `points` | where tests kill the process |

pub(crate) mod cards;
pub(crate) mod notify;
pub(crate) mod outbox;
#[cfg(any(test, feature = "crash-points"))]
pub(crate) mod points;
pub(crate) mod postman;
pub(crate) mod processor;
pub(crate) mod purchase;
pub(crate) mod reconcile;
pub(crate) mod sessions;
pub(crate) mod settle;
pub(crate) mod store;
mod stripe;
pub(crate) mod webhook;

use crate::app::App;
use crate::error::ApiError;
use crate::secret::{SecretError, secret};
use axum::http::StatusCode;
use gollem_engine::{ATOMS_PER_CENT, AccountId, Amount, Reference};
use notify::NotifyError;
use postman::Lane;
use processor::{Cents, ProcessorError};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use store::Store;
use stripe::Stripe;
use tokio::sync::Notify;

/// Payments that can be settled at the same time, at the most.
const SETTLING: usize = 16;

/// Where Stripe answers.
pub const STRIPE_URL: &str = "https://api.stripe.com/";

/// Secrets of one account with Stripe.
#[derive(Clone)]
pub struct StripeOptions {
    /// Where its API answers.
    pub url: String,
    /// `sk_…` or `rk_…`.
    pub secret_key: String,
    /// `pk_…`: told to buyers' pages, which pay with it.
    pub publishable_key: Option<String>,
    /// `whsec_…`: one, or several while one replaces another.
    pub webhook_secrets: Vec<String>,
}

impl fmt::Debug for StripeOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StripeOptions").field("url", &self.url).finish_non_exhaustive()
    }
}

impl StripeOptions {
    /// As the environment has them; `None` without `GOLLEM_STRIPE_KEY`.
    ///
    /// # Errors
    /// When a secret cannot be read.
    pub fn from_environment(url: &str) -> Result<Option<StripeOptions>, SecretError> {
        let Some(secret_key) = secret("GOLLEM_STRIPE_KEY")? else { return Ok(None) };
        let webhook_secrets = secret("GOLLEM_STRIPE_WEBHOOK_SECRET")?.unwrap_or_default();
        let webhook_secrets = webhook_secrets.split(',').map(|text| text.trim().to_owned());
        Ok(Some(StripeOptions {
            url: url.to_owned(),
            secret_key,
            publishable_key: secret("GOLLEM_STRIPE_PUBLISHABLE_KEY")?,
            webhook_secrets: webhook_secrets.filter(|text| !text.is_empty()).collect(),
        }))
    }
}

/// How mail is sent.
#[derive(Clone)]
pub struct MailOptions {
    /// `smtps://user:password@host`.
    pub url: String,
    /// The sender, as in `alerts@example.com`.
    pub from: String,
}

impl fmt::Debug for MailOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MailOptions").field("from", &self.from).finish_non_exhaustive()
    }
}

impl MailOptions {
    /// As the environment has them; `None` without `GOLLEM_SMTP_URL`.
    ///
    /// # Errors
    /// When the secret cannot be read.
    pub fn from_environment(from: &str) -> Result<Option<MailOptions>, SecretError> {
        Ok(secret("GOLLEM_SMTP_URL")?.map(|url| MailOptions { url, from: from.to_owned() }))
    }
}

/// What the payment side of a running exchange shares.
#[derive(Debug)]
pub(crate) struct Payments {
    pub(crate) processor: Stripe,
    pub(crate) store: Store,
    pub(crate) publishable_key: Option<String>,
    pub(crate) webhook_secrets: Vec<String>,
    /// Accounts whose balance is watched.
    watched: Mutex<BTreeSet<AccountId>>,
    /// Those of them whose balance has moved.
    moved: Mutex<BTreeSet<AccountId>>,
    /// Wakes who deals with letters about money, and who with the others.
    bells: [Notify; 2],
    /// Held while a payout is moved on: by the postman, by a notice, or by the operator.
    paying: tokio::sync::Mutex<()>,
    /// Held while a payment is looked at and booked.
    settling: [tokio::sync::Mutex<()>; SETTLING],
    /// Held while books are compared.
    reconciling: tokio::sync::Mutex<()>,
    closing: AtomicBool,
    pub(crate) figures: Figures,
}

/// What is told of payments in the metrics.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) notices: AtomicU64,
    pub(crate) notices_refused: AtomicU64,
    pub(crate) letters_due: AtomicU64,
    pub(crate) letters_dead: AtomicU64,
    /// The last input of which all consequences are durable: the journal before it is not needed by the outbox.
    pub(crate) booked: AtomicU64,
    /// The last input that the outbox has looked at; all that it found up to there is written.
    pub(crate) position: AtomicU64,
    pub(crate) outbox_stopped: AtomicBool,
    /// Differences that the last reconciliation found.
    pub(crate) differences: AtomicU64,
    /// When it was, in Unix seconds.
    pub(crate) reconciled_at: AtomicU64,
}

impl Payments {
    /// The payment side with that processor and that store.
    pub(crate) async fn open(options: &StripeOptions, store: Store) -> Result<Payments, PaymentError> {
        let watched: BTreeSet<AccountId> = store.watched().await?.into_iter().collect();
        Ok(Payments {
            processor: Stripe::new(&options.url, &options.secret_key, store.exchange().to_owned())?,
            publishable_key: options.publishable_key.clone(),
            webhook_secrets: options.webhook_secrets.clone(),
            // Whatever moved while nobody looked.
            moved: Mutex::new(watched.clone()),
            watched: Mutex::new(watched),
            store,
            bells: Default::default(),
            paying: tokio::sync::Mutex::default(),
            settling: Default::default(),
            reconciling: tokio::sync::Mutex::default(),
            closing: AtomicBool::new(false),
            figures: Figures::default(),
        })
    }

    /// What is held while the payment of that reference is settled; a few share one.
    fn settling(&self, reference: Reference) -> &tokio::sync::Mutex<()> {
        &self.settling[usize::from(reference.0[0]) % SETTLING]
    }

    /// Has the postman look for letters.
    pub(crate) fn wake(&self) {
        self.bells.iter().for_each(Notify::notify_one);
    }

    fn bell(&self, lane: Lane) -> &Notify {
        &self.bells[usize::from(lane == Lane::News)]
    }

    /// Has no more letters dealt with.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.wake();
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Watches an account's balance from now on, or no longer, and looks at it.
    pub(crate) fn watch(&self, account: AccountId, watched: bool) {
        let mut all = lock(&self.watched);
        if watched {
            all.insert(account);
            lock(&self.moved).insert(account);
        } else {
            all.remove(&account);
        }
        drop(all);
        self.wake();
    }

    /// Notes that an account's balance moved, if it is watched.
    fn note_moved(&self, accounts: &BTreeSet<AccountId>) -> bool {
        let watched = lock(&self.watched);
        let mut moved = lock(&self.moved);
        let before = moved.len();
        moved.extend(accounts.intersection(&watched));
        moved.len() > before
    }

    /// Has a balance looked at the next time, without waking anybody for it.
    fn look_again(&self, account: AccountId) {
        lock(&self.moved).insert(account);
    }

    /// Has every watched balance looked at.
    fn look_at_all(&self) {
        let watched = lock(&self.watched).clone();
        lock(&self.moved).extend(watched);
    }

    fn take_moved(&self) -> BTreeSet<AccountId> {
        std::mem::take(&mut *lock(&self.moved))
    }
}

// Each holder leaves a whole set behind, even if it panics.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The payment side of an exchange that has one.
pub(crate) fn payments_of(app: &App) -> Result<&Payments, ApiError> {
    app.payments.as_deref().ok_or_else(|| {
        let message = "no payment processor is connected to this exchange";
        ApiError::new(StatusCode::FORBIDDEN, "invalid_request_error", "payments_unavailable", message)
    })
}

/// Cents in atoms.
pub(crate) fn atoms(cents: Cents) -> Amount {
    Amount(cents.saturating_mul(ATOMS_PER_CENT))
}

/// Atoms in whole cents.
pub(crate) fn cents_of(amount: Amount) -> Cents {
    amount.0 / ATOMS_PER_CENT
}

/// Why something of a payment could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PaymentError {
    /// The processor did not do it.
    #[error("the processor: {0}")]
    Processor(#[from] ProcessorError),
    /// The exchange refused it, or does not answer.
    #[error("the exchange: {}: {}", .0.code, .0.message)]
    Exchange(ApiError),
    /// The store did not answer.
    #[error("the store: {0}")]
    Store(#[from] sqlx::Error),
    /// Nobody could be told.
    #[error("{0}")]
    Notify(#[from] NotifyError),
    /// It cannot be booked: a person has to look.
    #[error("{0}")]
    Unfit(String),
}

impl From<ApiError> for PaymentError {
    fn from(error: ApiError) -> PaymentError {
        PaymentError::Exchange(error)
    }
}

impl PaymentError {
    /// Whether trying again cannot help.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            PaymentError::Processor(error) => matches!(error, ProcessorError::Refused { .. }),
            PaymentError::Exchange(error) => error.status.is_client_error(),
            PaymentError::Store(_) => false,
            PaymentError::Notify(error) => !error.is_retryable(),
            PaymentError::Unfit(_) => true,
        }
    }
}

impl From<PaymentError> for ApiError {
    fn from(error: PaymentError) -> ApiError {
        match error {
            PaymentError::Processor(ProcessorError::Refused { code, message }) => {
                let message = format!("the payment processor refused ({code}): {message}");
                ApiError::new(StatusCode::PAYMENT_REQUIRED, "invalid_request_error", "payment_refused", message)
            }
            PaymentError::Processor(error) => {
                tracing::warn!(%error, "the payment processor does not answer as it should");
                let message = "the payment processor does not answer; try again with the same Idempotency-Key";
                ApiError::unavailable("processor_unavailable", message)
            }
            PaymentError::Exchange(error) => error,
            PaymentError::Store(error) => error.into(),
            PaymentError::Notify(error) => ApiError::internal(&error),
            PaymentError::Unfit(message) => {
                ApiError::new(StatusCode::CONFLICT, "invalid_request_error", "payment_unfit", message)
            }
        }
    }
}
