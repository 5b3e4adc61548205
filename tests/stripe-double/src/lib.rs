//! A double of Stripe's API that behaves: it keeps books as Stripe does, signs its webhooks, and misbehaves on demand.
//!
//! The money is US dollars in cents. A payment becomes a charge, less 2.9% and 30 cents; refunds, disputes and
//! transfers take from the platform's balance, payouts from a connected account's. Each movement is a balance
//! transaction, and [`Double::books`] checks that they sum to what the objects say. Chance comes from a seed.
//!
//! What it does not do: money settles at once, nothing is ever pending; one currency; no cards, 3-D Secure or Stripe.js
//! (a test pays by [`Double::pay`]); a platform makes no payouts of its own; webhooks go to `http://` only.
//!
//! | file | idea |
//! |---|---|
//! | `ledger.rs`, `records.rs` | balances, entries, events; what is kept of each object |
//! | `payments.rs`, `connect.rs` | money in: intents, refunds, disputes; money out: accounts, transfers, payouts |
//! | `books.rs` | the books as a test sees them, checked |
//! | `objects.rs`, `lists.rs`, `refusal.rs`, `form.rs` | Stripe's JSON, pages, errors, parameters |
//! | `routes.rs`, `control.rs` | which path means what |
//! | `server.rs`, `idempotency.rs`, `faults.rs` | connections, keys, what goes wrong |
//! | `webhooks.rs` | signatures and deliveries |

// A charge has more members than `json!` takes by default.
#![recursion_limit = "256"]

mod books;
mod connect;
mod control;
mod faults;
mod form;
mod idempotency;
mod ledger;
mod lists;
mod objects;
mod payments;
mod records;
mod refusal;
mod routes;
mod server;
mod shared;
mod webhooks;

pub use books::{AccountRow, Books, IntentRow, PayoutRow, TransferRow};
pub use faults::Faults;
pub use records::PayoutStatus;
pub use refusal::Refusal;
pub use webhooks::{Deliveries, DeliveryError};

use crate::payments::NewRefund;
use crate::records::Metadata;
use crate::shared::Shared;
use crate::webhooks::Outbox;
use serde_json::Value;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How a double is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 takes any.
    pub listen: SocketAddr,
    /// The API key (`Authorization: Bearer ...`).
    pub key: String,
    /// Webhooks carry a signature with each of these, as while a secret is being rolled.
    pub webhook_secrets: Vec<String>,
    /// Ids, faults and deliveries follow from it.
    pub seed: u64,
    /// What goes wrong.
    pub faults: Faults,
    /// How events get to the webhook.
    pub deliveries: Deliveries,
    /// How far its clock is ahead of this machine's, in seconds.
    pub clock_offset_s: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            key: "sk_test_double".to_owned(),
            webhook_secrets: vec!["whsec_double".to_owned()],
            seed: 1,
            faults: Faults::default(),
            deliveries: Deliveries::Manual,
            clock_offset_s: 0,
        }
    }
}

/// A request that came to `/v1`, whatever became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `GET` or `POST`.
    pub method: String,
    /// With the query.
    pub path: String,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// `Stripe-Account`.
    pub account: Option<String>,
    /// Form-encoded, as it came.
    pub body: String,
}

/// A running double. It ends when this is dropped.
#[derive(Debug)]
pub struct Double {
    shared: Arc<Shared>,
    url: String,
    tasks: Vec<JoinHandle<()>>,
}

impl Double {
    /// Starts a double on the tokio runtime of the caller.
    ///
    /// # Errors
    /// If there is no runtime, or the address is taken.
    pub fn start(options: Options) -> io::Result<Self> {
        let runtime = tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let listener = std::net::TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let url = format!("http://{}", listener.local_addr()?);
        let (outbox, events) = Outbox::new();
        let shared = Arc::new(Shared::new(options, url.clone(), outbox));
        let tasks = vec![
            runtime.spawn(server::accept(listener, Arc::clone(&shared))),
            runtime.spawn(webhooks::dispatch(Arc::clone(&shared), events)),
        ];
        Ok(Self { shared, url, tasks })
    }

    /// `http://address:port`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes every connection and the port, and stops deliveries.
    pub async fn stop(mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            // Ended by the abort: that is what it says.
            drop(task.await);
        }
    }

    /// Where events are delivered from now on (`http://` only). Without one they are not delivered, as at Stripe.
    pub fn set_webhook(&self, url: Option<String>) {
        self.shared.act(|state| state.webhook = url);
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.act(|state| state.faults = faults);
    }

    /// How events get to the webhook from now on; those that happened before do not.
    pub fn set_deliveries(&self, deliveries: Deliveries) {
        self.shared.act(|state| state.deliveries = deliveries);
    }

    /// How far the clock is ahead of this machine's from now on, in seconds.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.shared.act(|state| state.ledger.clock_offset_s = seconds);
    }

    /// Forgets idempotency keys, as Stripe does after 24 hours.
    pub fn forget_keys(&self) {
        self.shared.act(|state| state.keys.forget());
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What people and banks do.
impl Double {
    /// Attaches a payment method to a customer. One whose id contains `declined` is declined by its bank, one with
    /// `authentication` wants to see the customer.
    ///
    /// # Errors
    /// If there is no such customer.
    pub fn add_method(&self, customer: &str, method: &str) -> Result<(), Refusal> {
        self.shared.act(|state| state.ledger.add_method(customer, method))
    }

    /// The customer takes a payment method back.
    ///
    /// # Errors
    /// If there is no such customer, or it has no such method.
    pub fn remove_method(&self, customer: &str, method: &str) -> Result<(), Refusal> {
        self.shared.act(|state| state.ledger.remove_method(customer, method))
    }

    /// The customer pays with a new card, which is attached to the customer if the intent has `setup_future_usage`.
    ///
    /// # Errors
    /// If the intent was paid or canceled.
    pub fn pay(&self, intent: &str) -> Result<(), Refusal> {
        self.shared.act(|state| state.ledger.pay(intent))
    }

    /// The customer's card is declined. The intent can still be paid.
    ///
    /// # Errors
    /// If the intent was paid or canceled.
    pub fn pay_fails(&self, intent: &str) -> Result<(), Refusal> {
        self.shared.act(|state| state.ledger.pay_fails(intent))
    }

    /// Somebody refunds in Stripe's dashboard; returns the refund's id.
    ///
    /// # Errors
    /// If less is left of the payment, or it is disputed.
    pub fn refund(&self, intent: &str, cents: i64) -> Result<String, Refusal> {
        let new = NewRefund { intent: intent.to_owned(), amount: Some(cents), ..NewRefund::default() };
        self.shared.act(|state| state.ledger.refund(new))
    }

    /// The customer's bank sends a refund back.
    ///
    /// # Errors
    /// If there is none, or it has failed already.
    pub fn fail_refund(&self, refund: &str) -> Result<(), Refusal> {
        self.shared.act(|state| state.ledger.fail_refund(refund))
    }

    /// The customer's bank takes the money back at once, refunded or not; returns the dispute's id.
    ///
    /// # Errors
    /// If the intent was not paid, or disputes would exceed it.
    pub fn dispute(&self, intent: &str, cents: i64) -> Result<String, Refusal> {
        self.shared.act(|state| state.ledger.dispute(intent, cents))
    }

    /// The bank decides; if it is won, the money comes back.
    ///
    /// # Errors
    /// If there is no such dispute, or it is closed.
    pub fn close_dispute(&self, dispute: &str, won: bool) -> Result<(), Refusal> {
        self.shared.act(|state| state.ledger.close_dispute(dispute, won))
    }

    /// The provider went through the onboarding: transfers and payouts are allowed.
    ///
    /// # Errors
    /// If there is no such account.
    pub fn onboard(&self, account: &str) -> Result<(), Refusal> {
        self.shared.act(|state| state.ledger.enable(account, true))
    }

    /// Stripe has questions to the provider: neither transfers nor payouts, until it is onboarded again.
    ///
    /// # Errors
    /// If there is no such account.
    pub fn disable_payouts(&self, account: &str) -> Result<(), Refusal> {
        self.shared.act(|state| state.ledger.enable(account, false))
    }

    /// The provider's bank has the money.
    ///
    /// # Errors
    /// If there is no such payout, or it is not pending.
    pub fn pay_out(&self, payout: &str) -> Result<(), Refusal> {
        self.shared.act(|state| state.ledger.pay_out(payout))
    }

    /// The provider's bank sends a payout back, also one that was paid.
    ///
    /// # Errors
    /// If there is no such payout, or it has failed already.
    pub fn fail_payout(&self, payout: &str) -> Result<(), Refusal> {
        self.shared.act(|state| state.ledger.fail_payout(payout))
    }

    /// Somebody takes a transfer back in Stripe's dashboard; returns the reversal's id.
    ///
    /// # Errors
    /// If less is left of the transfer, or the connected account does not have it.
    pub fn reverse_transfer(&self, transfer: &str, cents: i64) -> Result<String, Refusal> {
        self.shared.act(|state| state.ledger.reverse(transfer, Some(cents), Metadata::new()))
    }

    /// The platform puts in money of its own, without which fees would leave too little for transfers; returns its id.
    ///
    /// # Errors
    /// If it is not a positive amount.
    pub fn top_up(&self, cents: i64) -> Result<String, Refusal> {
        self.shared.act(|state| state.ledger.top_up(cents))
    }
}

/// What happened.
impl Double {
    /// The books.
    ///
    /// # Panics
    /// If the balance transactions do not sum to what the objects say: the double is wrong then.
    #[must_use]
    pub fn books(&self) -> Books {
        self.shared.act(|state| state.ledger.books())
    }

    /// Every request so far, in the order in which they came.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.act(|state| state.calls.clone())
    }

    /// Every event so far, those of connected accounts included, in the order in which they happened.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.shared.act(|state| state.ledger.events.clone())
    }
}

/// Webhooks.
impl Double {
    /// Delivers an event once more, by its place in [`Double::events`]; returns the webhook's status.
    ///
    /// # Errors
    /// If there is no such event, no webhook, or no answer.
    pub async fn deliver(&self, event: usize) -> Result<u16, DeliveryError> {
        webhooks::deliver(&self.shared, event).await
    }

    /// Delivers any bytes with any `Stripe-Signature`; returns the webhook's status.
    ///
    /// # Errors
    /// If there is no webhook, or no answer.
    pub async fn deliver_raw(&self, body: impl Into<Vec<u8>>, signature: &str) -> Result<u16, DeliveryError> {
        webhooks::deliver_raw(&self.shared, body.into(), signature).await
    }

    /// A `Stripe-Signature` over these bytes.
    #[must_use]
    pub fn sign(&self, body: &[u8], unix_time: i64) -> String {
        webhooks::sign(&self.shared.secrets, body, unix_time)
    }

    /// Waits until every delivery is acknowledged or given up; false if that takes longer than `within`.
    pub async fn quiet(&self, within: Duration) -> bool {
        self.shared.outbox.quiet(within).await
    }
}
