//! What request handlers share: the way in, the views, and what is kept in memory.

use crate::api::accounts::Unclaimed;
use crate::auth::Gate;
use crate::catalog::Catalog;
use crate::connections::Connections;
use crate::error::ApiError;
use crate::idempotency::Idempotency;
use crate::identity::Identity;
use crate::inference::{Calls, ProviderTimes, Tries, Upstream};
use crate::limiter::Limiter;
use crate::payments::Payments;
use crate::payments::notify::Notifier;
use crate::payments::sessions::Sessions;
use crate::stream::Hub;
use crate::traffic::Traffic;
use axum::http::HeaderValue;
use gollem_engine::{Command, Engine, Event, StateHash};
use gollem_journal::HeadSigner;
use gollem_projections::kafka::PublisherView;
use gollem_projections::{Reader, View};
use gollem_sequencer::{Ack, FollowerView, Ingress, Status, SubmitError};
use hdrhistogram::Histogram;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a query waits for the views to reflect what was durable when it came.
const VIEW_PATIENCE: Duration = Duration::from_secs(2);
/// How long a settlement tries to get past a full queue.
const SETTLE_PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two tries.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(5);

/// What request handlers share.
#[derive(Debug)]
pub struct App {
    pub(crate) ingress: Ingress,
    pub(crate) status: Status,
    pub(crate) follower: FollowerView,
    /// Signs receipts, if there is a key.
    pub(crate) signer: Option<Arc<HeadSigner>>,
    pub(crate) view: View,
    /// How far publishing to Kafka is, if anything is published.
    pub(crate) publisher: Option<PublisherView>,
    pub(crate) identity: Identity,
    pub(crate) unclaimed: Unclaimed,
    pub(crate) idempotency: Idempotency,
    pub(crate) gate: Gate,
    pub(crate) connections: Arc<Connections>,
    /// Web pages that may call from a browser.
    pub(crate) cors_origins: Vec<HeaderValue>,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) catalog: Catalog,
    pub(crate) upstream: Upstream,
    pub(crate) dev: bool,
    pub(crate) calls: Arc<Calls>,
    /// How long a client may take nothing of what it is sent.
    pub(crate) client_patience: Duration,
    /// How long a stop waits for requests before it cuts them short.
    pub(crate) drain_patience: Duration,
    pub(crate) overhead_us: Mutex<Histogram<u64>>,
    /// What sockets share.
    pub(crate) stream: Arc<Hub>,
    /// Requests so far.
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) provider_times: ProviderTimes,
    pub(crate) tries: Tries,
    /// The payment side, if a processor is connected.
    pub(crate) payments: Option<Arc<Payments>>,
    /// Who used the exchange from where.
    pub(crate) sessions: Sessions,
    /// Tells people what they wished to be told.
    pub(crate) notifier: Notifier,
}

impl App {
    /// Sends a command and waits until it is durable. A refusal is an error here.
    pub(crate) async fn execute(&self, command: Command) -> Result<Ack, ApiError> {
        accepted(self.ingress.execute(command).await?)
    }

    /// Sends a command at once; what it did is there when it is durable, and it is done whether or not that is awaited.
    pub(crate) fn submit(
        &self,
        command: Command,
    ) -> Result<impl Future<Output = Result<Ack, ApiError>> + use<>, ApiError> {
        let pending = self.ingress.submit(command)?;
        Ok(async move { accepted(pending.await?) })
    }

    /// [`App::execute`] for a command that must not be lost to a moment's overload, such as a settlement.
    pub(crate) async fn execute_patiently(&self, command: Command) -> Result<Ack, ApiError> {
        let deadline = tokio::time::Instant::now() + SETTLE_PATIENCE;
        loop {
            match self.ingress.submit(command.clone()) {
                Err(SubmitError::Overloaded) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(OVERLOAD_PAUSE).await;
                }
                submitted => return accepted(submitted?.await?),
            }
        }
    }

    /// The views at one position: one that reflects input `after` and everything that was durable when the question came,
    /// so that a caller always reads its own writes.
    pub(crate) async fn reader(&self, after: u64) -> Result<Reader<'_>, ApiError> {
        if self.view.is_stopped() {
            let message = "the views stand still until a restart; the log says why";
            return Err(ApiError::unavailable("view_stopped", message));
        }
        let wanted = after.max(self.status.durable_seq());
        if self.view.reached(wanted, VIEW_PATIENCE).await {
            return Ok(self.view.store.read()?);
        }
        let at = self.view.watermark();
        let message = format!("the views are at input {at} and must reach {wanted}: they are catching up; retry later");
        Err(ApiError::unavailable("view_behind", message))
    }

    /// Records the time the gateway itself added to one call, in microseconds.
    pub(crate) fn record_overhead(&self, added: Duration) {
        let us = u64::try_from(added.as_micros()).unwrap_or(u64::MAX);
        self.overhead_us.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(us);
    }

    /// The time the gateway itself added to each call so far, in microseconds.
    pub fn overhead_us(&self) -> Histogram<u64> {
        self.overhead_us.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The journal's bytes so far.
    pub fn journal_bytes(&self) -> u64 {
        self.status.journal_bytes()
    }

    /// The state of the ledger and of everything, as (last input, sum over all accounts, hash), once durable.
    ///
    /// # Errors
    /// When the exchange does not answer.
    pub async fn audit(&self) -> Result<(u64, i128, StateHash), ApiError> {
        let (seq, (sum, hash)) = self.inspect(|engine| (engine.ledger_sum(), engine.state_hash())).await?;
        Ok((seq, sum, hash))
    }

    /// The answer of the live engine and the last input that it reflects, once that is durable. The matcher waits for the
    /// question, which must be a short one.
    pub(crate) async fn inspect<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<(u64, T), ApiError> {
        let answer = self.ingress.inspect(|engine: &Engine| (engine.last_seq(), question(engine))).await?;
        // What was inspected may still be on its way to disk.
        if !self.view.reached(answer.0, VIEW_PATIENCE).await {
            return Err(ApiError::unavailable("unavailable", "the journal did not confirm this state in time"));
        }
        Ok(answer)
    }
}

/// The answer to a command that was not refused. Deadlines that had come took effect before the command, so their
/// events may stand before its own: who reads them must know its own by name. A refusal is always the last.
fn accepted(ack: Ack) -> Result<Ack, ApiError> {
    match ack.events().last() {
        Some(Event::Rejected(reason)) => Err((*reason).into()),
        _ => Ok(ack),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Exchange, ExchangeOptions};
    use std::sync::mpsc::channel;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_settlement_waits_out_a_full_queue_that_refuses_other_commands() {
        let dir = tempfile::tempdir().unwrap();
        let exchange = Exchange::open(&ExchangeOptions::new(dir.path().to_owned())).await.unwrap();
        let app = exchange.app();
        let (release, held) = channel::<()>();
        let (entered, is_in) = channel();
        let blocker = tokio::spawn({
            let ingress = app.ingress.clone();
            async move {
                let hold = move |_: &Engine| {
                    entered.send(()).unwrap();
                    held.recv().unwrap_err(); // Holds the matcher until the sender is dropped.
                };
                ingress.inspect(hold).await
            }
        });
        tokio::task::block_in_place(|| is_in.recv()).unwrap();
        let queued: Vec<_> = std::iter::from_fn(|| app.ingress.submit(Command::OpenAccount).ok()).collect();
        assert_eq!(app.execute(Command::OpenAccount).await.expect_err("full").code, "overloaded");
        let patient = app.execute_patiently(Command::OpenAccount);
        tokio::pin!(patient);
        let early = tokio::time::timeout(OVERLOAD_PAUSE * 4, &mut patient).await;
        assert!(early.is_err(), "it waits while the queue is full");
        drop(release);
        let ack = patient.await.expect("it gets in when there is room");
        assert!(ack.seq > queued.len() as u64, "behind everything that was queued");
        blocker.await.unwrap().unwrap();
        exchange.close().await.unwrap();
    }
}
