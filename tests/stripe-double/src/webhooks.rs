//! Webhooks: signed as by Stripe, delivered at least once, in any order, sometimes twice, sometimes never.
//!
//! An event is lost, delayed or doubled by the seed and its number. Whatever is not answered by 2xx is tried again,
//! signed anew, after 50 ms and then twice as long each time, up to a second.

use crate::faults::draw;
use crate::shared::Shared;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

const ANSWER_S_MAX: u64 = 10;
const BACKOFF_MS_MIN: u64 = 50;
const BACKOFF_MS_MAX: u64 = 1_000;
/// Without some delay nothing overtakes.
const SHUFFLE_MS_MIN: u64 = 20;

/// How events get to the webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deliveries {
    /// Only when the test says so.
    #[default]
    Manual,
    /// By themselves.
    Auto {
        /// Of 1,000 events, those that come twice.
        duplicates_permille: u32,
        /// Of 1,000 events, those that never come. They are still listed by `GET /v1/events`.
        lost_permille: u32,
        /// Each delivery waits up to this long, in milliseconds.
        delay_ms_max: u64,
        /// Events may overtake one another; otherwise each waits for the one before to be acknowledged or given up.
        shuffle: bool,
        /// How often a delivery is tried again that was not answered by 2xx.
        retries: u32,
    },
}

impl Deliveries {
    /// At once, in order, each event once, with ten retries.
    #[must_use]
    pub fn prompt() -> Self {
        Self::Auto { duplicates_permille: 0, lost_permille: 0, delay_ms_max: 0, shuffle: false, retries: 10 }
    }
}

/// Why an event did not get an answer.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// No webhook is set, as if no endpoint were registered at Stripe.
    #[error("no webhook is set")]
    NoWebhook,
    /// There is no event of this number.
    #[error("there is no event {0}")]
    NoEvent(usize),
    /// The webhook could not be reached, or closed the connection.
    #[error("the webhook did not answer: {0}")]
    Http(String),
}

/// Events on their way, by number.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: mpsc::UnboundedSender<usize>,
    under_way: watch::Sender<usize>,
}

impl Outbox {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<usize>) {
        let (queue, events) = mpsc::unbounded_channel();
        (Self { queue, under_way: watch::Sender::new(0) }, events)
    }

    pub(crate) fn send(&self, event: usize) {
        self.under_way.send_modify(|count| *count += 1);
        if self.queue.send(event).is_err() {
            self.done();
        }
    }

    fn done(&self) {
        self.under_way.send_modify(|count| *count -= 1);
    }

    /// Whether nothing is under way, at last.
    pub(crate) async fn quiet(&self, within: Duration) -> bool {
        let mut under_way = self.under_way.subscribe();
        tokio::time::timeout(within, under_way.wait_for(|&count| count == 0)).await.is_ok_and(|seen| seen.is_ok())
    }
}

/// Sends events until it is aborted.
pub(crate) async fn dispatch(shared: Arc<Shared>, mut events: mpsc::UnboundedReceiver<usize>) {
    let mut overtaking = JoinSet::new();
    while let Some(event) = events.recv().await {
        while overtaking.try_join_next().is_some() {}
        match shared.act(|state| state.deliveries) {
            Deliveries::Auto { shuffle: true, .. } => drop(overtaking.spawn(send(Arc::clone(&shared), event))),
            Deliveries::Auto { shuffle: false, .. } | Deliveries::Manual => send(Arc::clone(&shared), event).await,
        }
    }
}

/// Sends one event as often as it comes, and counts it as done.
async fn send(shared: Arc<Shared>, event: usize) {
    let nth = u64::try_from(event).unwrap_or_default();
    let chance = |what: &str| draw(shared.seed, what, nth);
    if let Deliveries::Auto { duplicates_permille, lost_permille, delay_ms_max, shuffle, retries } =
        shared.act(|state| state.deliveries)
    {
        let lost = chance("webhook lost") % 1_000 < u64::from(lost_permille);
        let twice = chance("webhook duplicate") % 1_000 < u64::from(duplicates_permille);
        let delay_ms_max = if shuffle { delay_ms_max.max(SHUFFLE_MS_MIN) } else { delay_ms_max };
        let copies: &[&str] = match (lost, twice) {
            (true, _) => &[],
            (false, false) => &["webhook delay"],
            (false, true) => &["webhook delay", "webhook second delay"],
        };
        for copy in copies {
            tokio::time::sleep(Duration::from_millis(chance(copy) % (delay_ms_max + 1))).await;
            insist(&shared, event, retries).await;
        }
    }
    shared.outbox.done();
}

async fn insist(shared: &Shared, event: usize, retries: u32) {
    let mut backoff_ms = BACKOFF_MS_MIN;
    for _ in 0..retries {
        match deliver(shared, event).await {
            Ok(200..=299) | Err(DeliveryError::NoWebhook | DeliveryError::NoEvent(_)) => return,
            Ok(_) | Err(DeliveryError::Http(_)) => tokio::time::sleep(Duration::from_millis(backoff_ms)).await,
        }
        backoff_ms = (backoff_ms * 2).min(BACKOFF_MS_MAX);
    }
    // The last attempt: whatever comes of it, this delivery is over.
    drop(deliver(shared, event).await);
}

/// One attempt, signed with the time of now.
pub(crate) async fn deliver(shared: &Shared, event: usize) -> Result<u16, DeliveryError> {
    let found = |state: &mut crate::shared::State| (state.ledger.events.get(event).cloned(), state.ledger.now());
    let (Some(event), now) = shared.act(found) else { return Err(DeliveryError::NoEvent(event)) };
    let body = body(&event);
    let signature = sign(&shared.secrets, &body, now);
    deliver_raw(shared, body, &signature).await
}

/// The bytes of an event, indented as Stripe sends them: who verifies a signature must not encode them anew.
fn body(event: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(event).unwrap_or_default()
}

pub(crate) async fn deliver_raw(shared: &Shared, body: Vec<u8>, signature: &str) -> Result<u16, DeliveryError> {
    let url = shared.act(|state| state.webhook.clone()).ok_or(DeliveryError::NoWebhook)?;
    let lost = |error: &dyn std::error::Error| DeliveryError::Http(error.to_string());
    let request = hyper::Request::post(url)
        .header("content-type", "application/json; charset=utf-8")
        .header("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
        .header("stripe-signature", signature)
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| lost(&error))?;
    let exchange = async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let answer = client.request(request).await.map_err(|error| lost(&error))?;
        let status = answer.status().as_u16();
        // Read to the end, so that a status is not counted whose handler is still at work.
        answer.into_body().collect().await.map_err(|error| lost(&error))?;
        Ok(status)
    };
    let limit = Duration::from_secs(ANSWER_S_MAX);
    tokio::time::timeout(limit, exchange).await.unwrap_or_else(|late| Err(lost(&late)))
}

/// `t=...,v1=...`: an HMAC-SHA256 of `{t}.{body}` with each secret.
pub(crate) fn sign(secrets: &[String], body: &[u8], unix_time: i64) -> String {
    let mut header = format!("t={unix_time}");
    for secret in secrets {
        // A key of any length will do.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { continue };
        mac.update(format!("{unix_time}.").as_bytes());
        mac.update(body);
        let code: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        header.push_str(",v1=");
        header.push_str(&code);
    }
    header
}
