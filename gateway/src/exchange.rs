//! One exchange in one process: journal, engine, views and identity store under one data folder.
//!
//! ```text
//! DATA/journal/      the truth, with snapshots of the state and signed tree heads
//! DATA/views/        rebuilt from the journal when deleted
//! DATA/identity.db   who stands behind an account number
//! ```

use crate::app::App;
use crate::catalog::Catalog;
use crate::identity::{Caller, Identity};
use crate::inference::{Calls, Upstream};
use crate::keys::{ApiKey, Scopes};
use gollem_engine::{Amount, Event, StateHash};
use gollem_journal::{Archive, ArchiveError, FileStorage, HeadSigner, KeyFileError, Storage, key_is_outside};
use gollem_projections::{Fold, Projector, StoreError, Views};
use gollem_sequencer::{
    Archiver, ArchiverOptions, Feed, Follower, FollowerOptions, Found, Heads, Health, Observer, Options, Pinning,
    Sequencer, StartError, StopError,
};
use hdrhistogram::Histogram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Batches that may wait for the views.
const FEED_BATCHES_MAX: usize = 1_024;
/// Inputs that may wait beyond that, before the views have to read the journal instead.
const FEED_BACKLOG_INPUTS_MAX: usize = 500_000;
/// Longest overhead told apart, in microseconds.
const OVERHEAD_US_MAX: u64 = 60_000_000;
/// How long calls that were cut short may take to settle.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);

/// How often a broken pipeline is looked for.
const HEALTH_PAUSE: Duration = Duration::from_millis(100);
/// The name under which tree heads are signed.
const TREE_NAME: &str = "gollem/journal";

/// How tree heads are signed.
#[derive(Clone, Debug)]
pub struct TreeKey {
    /// The file that holds the key, outside of the data folder; created when missing.
    pub path: PathBuf,
    /// At most so often a head is signed.
    pub every: Duration,
}

/// How to open an exchange.
#[derive(Clone, Debug)]
pub struct ExchangeOptions {
    /// The data folder; created when missing.
    pub data: PathBuf,
    /// Development mode: purchases without a payment processor, providers on private addresses.
    pub dev: bool,
    /// Where the matcher thread runs.
    pub pinning: Pinning,
    /// How the journal is laid out.
    pub journal: gollem_journal::Options,
    /// Bytes of journal between two snapshots, at the least.
    pub snapshot_every_bytes: u64,
    /// Signs tree heads, if there is a key.
    pub tree_key: Option<TreeKey>,
    /// Where closed segments of the journal are copied to: `file:///folder` or `s3://bucket/prefix`.
    pub archive: Option<String>,
    /// Whether archived segments that nobody needs are dropped here.
    pub drop_archived: bool,
    /// How long a client may take nothing of what it is sent before it counts as gone.
    pub client_patience: Duration,
    /// How long a stop waits for requests in flight before it cuts them short.
    pub drain_patience: Duration,
}

impl ExchangeOptions {
    /// The defaults for a data folder.
    pub fn new(data: PathBuf) -> ExchangeOptions {
        let (client_patience, drain_patience) = (Duration::from_secs(30), Duration::from_secs(10));
        ExchangeOptions {
            data,
            dev: false,
            pinning: Pinning::Auto,
            journal: gollem_journal::Options::default(),
            snapshot_every_bytes: FollowerOptions::default().snapshot_every_bytes,
            tree_key: None,
            archive: None,
            drop_archived: false,
            client_patience,
            drain_patience,
        }
    }
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
    /// The key of tree heads cannot be used.
    #[error(transparent)]
    TreeKey(#[from] KeyFileError),
    /// The key of tree heads is in the wrong place.
    #[error("the key of tree heads, {}, is inside the data folder: whoever copies or rewrites the folder must not find it there; choose another place with --tree-key", path.display())]
    TreeKeyInside {
        /// The key.
        path: PathBuf,
    },
    /// The archive cannot be used.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A background thread cannot be started.
    #[error("a background thread cannot be started: {0}")]
    Background(std::io::Error),
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
    #[error("GOLLEM_ADMIN_KEY must be sk-gollem-<12 alphanumerics>-<48 alphanumerics>, and no other account's key")]
    AdminKey,
}

/// A running exchange.
#[derive(Debug)]
pub struct Exchange {
    app: Arc<App>,
    sequencer: Sequencer,
    projector: Projector,
    follower: Follower,
    archiver: Option<Archiver>,
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
        // Durable in its parent: a power cut that takes the folder's name takes everything that was synced in it.
        FileStorage::new(&options.data).create_dir().map_err(folder)?;
        let journal_dir = options.data.join("journal");
        let views = Arc::new(Views::open(&options.data.join("views"))?);
        let identity = Identity::open(&options.data.join("identity.db")).await?;
        let new_admin_key = ensure_admin(&identity).await?;
        let (feed, feed_reader) = Feed::new(FEED_BATCHES_MAX, FEED_BACKLOG_INPUTS_MAX);
        let heads = heads(options)?;
        let pipeline =
            Options { pinning: options.pinning, journal: options.journal, ..Options::new(journal_dir.clone()) };
        let sequencer = recover(&pipeline, &views, feed)?;
        let status = sequencer.status();
        let catalog = Catalog::new(views.instruments()?);
        let following = FollowerOptions { snapshot_every_bytes: options.snapshot_every_bytes, heads };
        let follower = Follower::start(&journal_dir, following, status.clone()).map_err(OpenError::Background)?;
        let archiver = start_archiver(options, &journal_dir, &views)?;
        let projector = Projector::start(views, feed_reader, status.clone(), journal_dir)?;
        let app = Arc::new(App {
            ingress: sequencer.ingress(),
            status,
            follower: follower.view(),
            view: projector.view(),
            identity,
            catalog,
            upstream: Upstream::new(options.dev),
            dev: options.dev,
            calls: Calls::new(),
            client_patience: options.client_patience,
            drain_patience: options.drain_patience,
            overhead_us: Mutex::new(Histogram::new_with_max(OVERHEAD_US_MAX, 3)?),
        });
        Ok(Exchange { app, sequencer, projector, follower, archiver, new_admin_key })
    }

    /// What request handlers share.
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// The operator's key, if this opening made the first one. It is stored nowhere.
    pub fn new_admin_key(&self) -> Option<&ApiKey> {
        self.new_admin_key.as_ref()
    }

    /// What the start found.
    pub fn found(&self) -> &Found {
        self.sequencer.found()
    }

    /// Ends when the exchange can only be stopped, because one of its threads panicked.
    pub async fn broken(&self) {
        while self.app.status.health() != Health::Panicked {
            tokio::time::sleep(HEALTH_PAUSE).await;
        }
    }

    /// Lets calls in flight settle, then closes everything in order.
    ///
    /// # Errors
    /// When the journal failed or a thread panicked.
    pub async fn close(self) -> Result<Closed, StopError> {
        if !self.app.calls.drained(self.app.drain_patience).await {
            self.app.calls.cut_short();
            if !self.app.calls.drained(SETTLE_PATIENCE).await {
                tracing::warn!("calls were still running: their contracts return by expiry");
            }
        }
        let stopped = self.sequencer.stop();
        self.projector.join();
        self.follower.stop();
        if let Some(archiver) = self.archiver {
            archiver.stop();
        }
        let stopped = stopped?;
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
    let mut tell = |seq, at, events: &[Event]| {
        if failed.is_none() {
            failed = fold.apply(seq, at, events).err();
        }
    };
    let observer = Observer { after: witnessed, tell: &mut tell };
    let sequencer = Sequencer::start(pipeline, witnessed, Some(feed), Some(observer))?;
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

/// Starts copying closed segments, if there is an archive for them.
fn start_archiver(
    options: &ExchangeOptions,
    journal_dir: &Path,
    views: &Arc<Views>,
) -> Result<Option<Archiver>, OpenError> {
    let Some(url) = &options.archive else {
        return Ok(None);
    };
    let archiving = ArchiverOptions { archive: Archive::open(url)?, drop_archived: options.drop_archived };
    let views = Arc::clone(views);
    let passed = move || views.watermark().unwrap_or(0);
    let archiver = Archiver::start(journal_dir, archiving, Box::new(passed)).map_err(OpenError::Background)?;
    Ok(Some(archiver))
}

/// The signer of tree heads, if they are to be signed.
fn heads(options: &ExchangeOptions) -> Result<Option<Heads>, OpenError> {
    let Some(TreeKey { path, every }) = &options.tree_key else {
        return Ok(None);
    };
    let folder = |source| OpenError::Folder { path: path.clone(), source };
    if !key_is_outside(&options.data, path).map_err(folder)? {
        return Err(OpenError::TreeKeyInside { path: path.clone() });
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(folder)?;
    }
    Ok(Some(Heads { signer: HeadSigner::load_or_create(path, TREE_NAME)?, every: *every }))
}

/// Makes the operator's first key, or takes the one given in the environment.
async fn ensure_admin(identity: &Identity) -> Result<Option<ApiKey>, OpenError> {
    let caller = Caller { account: None, scopes: Scopes::ADMIN };
    if let Ok(given) = std::env::var("GOLLEM_ADMIN_KEY") {
        let key = ApiKey::parse(&given).ok_or(OpenError::AdminKey)?;
        match identity.authenticate(&given) {
            Some(known) if known.scopes.intersects(Scopes::ADMIN) => {}
            Some(_) => return Err(OpenError::AdminKey),
            None => identity.add_key(&key, caller).await?,
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
