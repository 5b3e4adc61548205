//! One exchange in one process: journal, engine, views and identity store under one data folder.
//!
//! ```text
//! DATA/journal/      the truth
//! DATA/views/        rebuilt from the journal when deleted
//! DATA/identity.db   who stands behind an account number
//! ```

use crate::Caller;
use crate::catalog::Catalog;
use crate::error::ApiError;
use crate::identity::Identity;
use crate::inference::Upstream;
use crate::keys::{ApiKey, Scopes};
use gollem_engine::{Amount, Command, StateHash};
use gollem_projections::{Fold, Projector, StoreError, View, Views};
use gollem_sequencer::{Ack, Feed, Ingress, Options, Pinning, Sequencer, StartError, Status, StopError};
use hdrhistogram::Histogram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Batches that may wait for the views before they read the journal instead.
const FEED_BATCHES_MAX: usize = 1_024;
/// How long a query waits for the views to reflect what was durable when it came.
const VIEW_PATIENCE: Duration = Duration::from_secs(2);
/// Inference calls in flight; one more is refused.
const CALLS_MAX: u32 = 4_096;
/// Longest overhead told apart, in microseconds.
const OVERHEAD_US_MAX: u64 = 60_000_000;
/// How long a stop waits for calls in flight to settle.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// How to open an exchange.
#[derive(Clone, Debug)]
pub struct ExchangeOptions {
    /// The data folder; created when missing.
    pub data: PathBuf,
    /// Development mode: purchases without a payment processor, providers on private addresses.
    pub dev: bool,
    /// Where the matcher thread runs.
    pub pinning: Pinning,
}

/// Why an exchange did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder cannot be made.
    #[error("cannot create the data folder {}: {source}", path.display())]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The views cannot be opened.
    #[error(transparent)]
    Views(#[from] StoreError),
    /// The journal cannot be recovered.
    #[error(transparent)]
    Sequencer(#[from] StartError),
    /// The identity store cannot be opened.
    #[error("identity store: {0}")]
    Identity(#[from] sqlx::Error),
    /// No randomness for the first key.
    #[error("no random source for the first admin key: {0}")]
    Random(#[from] getrandom::Error),
    /// A histogram of three digits could not be made.
    #[error(transparent)]
    Histogram(#[from] hdrhistogram::CreationError),
    /// The given admin key has not the form of one.
    #[error("GOLLEM_ADMIN_KEY is not a key of the form sk-gollem-<12 characters>-<48 characters>")]
    AdminKey,
}

/// What request handlers share.
#[derive(Debug)]
pub struct App {
    pub(crate) ingress: Ingress,
    pub(crate) status: Status,
    pub(crate) view: View,
    pub(crate) identity: Identity,
    pub(crate) catalog: Catalog,
    pub(crate) upstream: Upstream,
    pub(crate) dev: bool,
    /// One permit a call: bounds them, and lets a stop wait for them.
    pub(crate) calls: Arc<Semaphore>,
    overhead_us: Mutex<Histogram<u64>>,
}

impl App {
    /// Sends a command and waits until it is durable. A refusal is an error here.
    pub(crate) async fn execute(&self, command: Command) -> Result<Ack, ApiError> {
        let ack = self.ingress.execute(command).await?;
        match ack.events.as_slice() {
            [gollem_engine::Event::Rejected(reason)] => Err((*reason).into()),
            _ => Ok(ack),
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
        let question = |engine: &gollem_engine::Engine| (engine.last_seq(), engine.ledger_sum(), engine.state_hash());
        let answer = self.ingress.inspect(question).await?;
        // What was inspected may still be on its way to disk.
        if !self.view.reached(answer.0, VIEW_PATIENCE).await {
            return Err(ApiError::unavailable("unavailable", "the journal did not confirm this state in time"));
        }
        Ok(answer)
    }
}

/// A running exchange.
#[derive(Debug)]
pub struct Exchange {
    app: Arc<App>,
    sequencer: Sequencer,
    projector: Projector,
    new_admin_key: Option<ApiKey>,
}

/// What a closed exchange leaves.
#[derive(Debug)]
pub struct Closed {
    /// Inputs in the journal.
    pub inputs: u64,
    /// Hash of the final state.
    pub state_hash: StateHash,
    /// Sum over all ledger accounts in atoms.
    pub ledger_sum: i128,
    /// What the platform kept.
    pub fees: Amount,
    /// Bytes of the journal's records and headers.
    pub journal_bytes: u64,
}

impl Exchange {
    /// Recovers the exchange in the data folder, or founds a new one.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing has changed then.
    pub async fn open(options: &ExchangeOptions) -> Result<Exchange, OpenError> {
        let folder = |source| OpenError::Folder { path: options.data.clone(), source };
        std::fs::create_dir_all(&options.data).map_err(folder)?;
        let journal_dir = options.data.join("journal");
        let views = Arc::new(Views::open(&options.data.join("views"))?);
        let identity = Identity::open(&options.data.join("identity.db")).await?;
        let (feed, feed_reader) = Feed::new(FEED_BATCHES_MAX);
        let pipeline = Options { pinning: options.pinning, ..Options::new(journal_dir.clone()) };
        let sequencer = recover(&pipeline, &views, feed)?;
        let status = sequencer.status();
        let catalog = Catalog::new(views.instruments()?);
        let projector = Projector::start(views, feed_reader, status.clone(), journal_dir)?;
        let new_admin_key = ensure_admin(&identity).await?;
        let app = Arc::new(App {
            ingress: sequencer.ingress(),
            status,
            view: projector.view(),
            identity,
            catalog,
            upstream: Upstream::new(options.dev),
            dev: options.dev,
            calls: Arc::new(Semaphore::new(CALLS_MAX as usize)),
            overhead_us: Mutex::new(Histogram::new_with_max(OVERHEAD_US_MAX, 3)?),
        });
        Ok(Exchange { app, sequencer, projector, new_admin_key })
    }

    /// What request handlers share.
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// The operator's key, if this opening made the first one. It is stored nowhere.
    pub fn new_admin_key(&self) -> Option<&ApiKey> {
        self.new_admin_key.as_ref()
    }

    /// What recovery found.
    pub fn recovery(&self) -> &gollem_journal::Recovery {
        self.sequencer.recovery()
    }

    /// Lets calls in flight settle, then closes everything in order.
    ///
    /// # Errors
    /// When the journal failed or a thread panicked.
    pub async fn close(self) -> Result<Closed, StopError> {
        let drained = tokio::time::timeout(DRAIN_PATIENCE, self.app.calls.acquire_many(CALLS_MAX)).await;
        if drained.is_err() {
            tracing::warn!("calls were still running: their contracts return by expiry");
        }
        let stopped = self.sequencer.stop()?;
        self.projector.join();
        self.app.identity.close().await;
        let engine = stopped.engine;
        Ok(Closed {
            inputs: engine.last_seq(),
            state_hash: engine.state_hash(),
            ledger_sum: engine.ledger_sum(),
            fees: Amount(i64::try_from(engine.fees()).unwrap_or(i64::MAX)),
            journal_bytes: stopped.journal_bytes,
        })
    }
}

/// Starts the pipeline, folding what the views have not seen while the journal is read anyway.
fn recover(pipeline: &Options, views: &Views, feed: Feed) -> Result<Sequencer, OpenError> {
    let mut fold = Fold::new(views)?;
    let mut failed = None;
    let witnessed = fold.watermark();
    let sequencer = Sequencer::start(pipeline, witnessed, Some(feed), &mut |seq, at, events| {
        if failed.is_none() {
            failed = fold.apply(seq, at, events).err();
        }
    })?;
    match failed.map_or_else(|| fold.flush(), Err) {
        Ok(()) => Ok(sequencer),
        Err(error) => {
            // The journal is sound; close it as such.
            if let Err(error) = sequencer.stop() {
                tracing::error!(%error, "the journal did not close cleanly");
            }
            Err(error.into())
        }
    }
}

/// Makes the operator's first key, or takes the one given in the environment.
async fn ensure_admin(identity: &Identity) -> Result<Option<ApiKey>, OpenError> {
    let caller = Caller { account: None, scopes: Scopes::ADMIN };
    if let Ok(given) = std::env::var("GOLLEM_ADMIN_KEY") {
        let key = ApiKey::parse(&given).ok_or(OpenError::AdminKey)?;
        if identity.authenticate(&given).is_none() {
            identity.add_key(&key, caller).await?;
        }
        return Ok(None);
    }
    if identity.has_admin() {
        return Ok(None);
    }
    let key = ApiKey::generate()?;
    identity.add_key(&key, caller).await?;
    Ok(Some(key))
}
