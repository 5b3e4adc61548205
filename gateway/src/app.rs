//! What request handlers share: the way in, the views, and what is kept in memory.

use crate::catalog::Catalog;
use crate::error::ApiError;
use crate::identity::Identity;
use crate::inference::{Calls, Upstream};
use gollem_engine::{Command, Engine, Event, StateHash};
use gollem_projections::{View, Views};
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
    pub(crate) view: View,
    pub(crate) identity: Identity,
    pub(crate) catalog: Catalog,
    pub(crate) upstream: Upstream,
    pub(crate) dev: bool,
    pub(crate) calls: Arc<Calls>,
    /// How long a client may take nothing of what it is sent.
    pub(crate) client_patience: Duration,
    /// How long a stop waits for requests before it cuts them short.
    pub(crate) drain_patience: Duration,
    pub(crate) overhead_us: Mutex<Histogram<u64>>,
}

impl App {
    /// Sends a command and waits until it is durable. A refusal is an error here.
    pub(crate) async fn execute(&self, command: Command) -> Result<Ack, ApiError> {
        accepted(self.ingress.execute(command).await?)
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

    /// The views, once they reflect everything that was durable when the question came: a caller always reads
    /// its own writes.
    pub(crate) async fn fresh_view(&self) -> Result<&Views, ApiError> {
        if self.view.reached(self.status.durable_seq(), VIEW_PATIENCE).await {
            return Ok(&self.view.store);
        }
        Err(ApiError::unavailable("view_behind", "this view is behind the journal and catching up; retry later"))
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
        let question = |engine: &Engine| (engine.last_seq(), engine.ledger_sum(), engine.state_hash());
        let answer = self.ingress.inspect(question).await?;
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
