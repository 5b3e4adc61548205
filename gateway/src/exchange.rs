//! One exchange in one process: journal, engine, views and identity store under one data folder.
//!
//! ```text
//! DATA/journal/      the truth, with snapshots of the state and signed tree heads
//! DATA/views/        rebuilt from the journal when deleted
//! DATA/identity.db   who stands behind an account number, unless that is in PostgreSQL
//! DATA/session.key   signs the tokens of people's sessions
//! ```
//!
//! Opening waits for the journal only: views catch up, and Kafka is published to, while the exchange serves.

use crate::api::accounts::Unclaimed;
use crate::app::App;
use crate::auth::Gate;
use crate::catalog::Catalog;
use crate::connections::Connections;
use crate::idempotency::Idempotency;
use crate::identity::{Credential, Identity, NewKey, unix_seconds};
use crate::inference::{Calls, ProviderTimes, Tokenizer, Tries, Upstream};
use crate::keys::{ApiKey, Scopes};
use crate::limiter::{Limiter, LimiterOptions};
use crate::payments::notify::Notifier;
use crate::payments::outbox::Outbox;
use crate::payments::postman::Lane;
use crate::payments::sessions::{self, Sessions};
use crate::payments::store::Store;
use crate::payments::{MailOptions, Payments, StripeOptions, postman, reconcile};
use crate::secret::{SecretError, secret};
use crate::stream::{Hub, MarketData, SocketLimits};
use crate::traffic::Traffic;
use axum::http::HeaderValue;
use crossbeam_channel::Receiver;
use gollem_engine::{Amount, Engine, InstrumentId, InstrumentSpec, InstrumentState, StateHash};
use gollem_journal::{Archive, ArchiveError, FileStorage, HeadSigner, KeyFileError, Storage, key_is_outside};
use gollem_projections::kafka::{Publisher, PublisherOptions, PublisherView};
use gollem_projections::{InstrumentRow, Projector, StoreError, Views};
use gollem_sequencer::{
    Archiver, ArchiverOptions, Feed, Follower, FollowerOptions, Found, Heads, Health, Options, Pinning, Released,
    Sequencer, StartError, StopError, SubmitError, Witness,
};
use hdrhistogram::Histogram;
use ipnet::IpNet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// Batches that may wait for the views.
const FEED_BATCHES_MAX: usize = 1_024;
/// Batches that may wait for the publisher, whose broker may be away for hours: then they only take memory.
const PUBLISHER_BATCHES_MAX: usize = 32;
/// Inputs that may wait beyond that, before the views have to read the journal instead.
const FEED_BACKLOG_INPUTS_MAX: usize = 500_000;
/// Longest overhead told apart, in microseconds.
const OVERHEAD_US_MAX: u64 = 60_000_000;
/// How long calls that were cut short may take to settle.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);

/// Inputs that may wait for the publisher, before it has to read the journal instead: it is there to lag.
const PUBLISHER_BACKLOG_INPUTS_MAX: usize = 20_000;
/// How often a broken pipeline is looked for.
const HEALTH_PAUSE: Duration = Duration::from_millis(100);
/// How often it is written down when keys were last used.
const KEY_USES_PAUSE: Duration = Duration::from_secs(60);
/// The name under which tree heads are signed.
const TREE_NAME: &str = "gollem/journal";

/// How tree heads and receipts are signed.
#[derive(Clone, Debug)]
pub struct TreeKey {
    /// The file that holds the key, outside of the data folder; created when missing.
    pub path: PathBuf,
    /// At most so often a head is signed.
    pub every: Duration,
}

/// Where everything that happens is published.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// Brokers to begin with: `HOST:PORT`, several with commas.
    pub brokers: String,
    /// Copies of each topic that is created.
    pub replication: i32,
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
    /// How long the matcher looks for commands before it sleeps.
    pub spin: Duration,
    /// Who, besides the local disk, has to confirm what happens before anything of it leaves.
    pub witnesses: Vec<Witness>,
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
    /// Publishes everything that happens, if there is a broker for it.
    pub kafka: Option<Kafka>,
    /// The payment processor, if there is one.
    pub stripe: Option<StripeOptions>,
    /// Days after which it is forgotten who called from where; 0: it is not noted.
    pub session_days: u32,
    /// How mail is sent, if it is.
    pub mail: Option<MailOptions>,
    /// How much callers may ask.
    pub limits: LimiterOptions,
    /// Proxies that are believed when they say where a request comes from.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections that one address may have open; 0 for any number.
    pub connections_per_address: u32,
    /// Origins of web pages that may call from a browser.
    pub cors_origins: Vec<HeaderValue>,
    /// How long a client may take nothing of what it is sent before it counts as gone.
    pub client_patience: Duration,
    /// How long a stop waits for requests in flight before it cuts them short.
    pub drain_patience: Duration,
    /// How many WebSockets there may be.
    pub sockets: SocketLimits,
    /// How often a WebSocket's client is asked for a sign of life.
    pub ping_every: Duration,
}

impl ExchangeOptions {
    /// The defaults for a data folder.
    pub fn new(data: PathBuf) -> ExchangeOptions {
        let (client_patience, drain_patience) = (Duration::from_secs(30), Duration::from_secs(10));
        ExchangeOptions {
            data,
            dev: false,
            pinning: Pinning::Auto,
            spin: Duration::ZERO,
            witnesses: Vec::new(),
            journal: gollem_journal::Options::default(),
            snapshot_every_bytes: FollowerOptions::default().snapshot_every_bytes,
            tree_key: None,
            archive: None,
            drop_archived: false,
            kafka: None,
            stripe: None,
            session_days: 90,
            mail: None,
            limits: LimiterOptions::default(),
            trusted_proxies: Vec::new(),
            connections_per_address: 1_000,
            cors_origins: Vec::new(),
            client_patience,
            drain_patience,
            sockets: SocketLimits::default(),
            ping_every: Duration::from_secs(20),
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
    /// What admission needs cannot be made.
    #[error("{0}")]
    Gate(String),
    /// No randomness for the first key.
    #[error("no random source for the first admin key: {0}")]
    Random(#[from] getrandom::Error),
    /// The pipeline stopped as soon as it had begun: its log says why.
    #[error("the pipeline does not answer: {0}")]
    Silent(#[from] SubmitError),
    /// A histogram of three digits could not be made.
    #[error(transparent)]
    Histogram(#[from] hdrhistogram::CreationError),
    /// Connections with TLS to providers are not possible.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Nobody can be told of anything.
    #[error("GOLLEM_SMTP_URL, --mail-from: {0}")]
    Mail(String),
    /// The payment side cannot be opened.
    #[error("payments: {0}")]
    Payments(String),
    /// The given admin key has not the form of one.
    #[error(
        "GOLLEM_ADMIN_KEY must be sk-gollem-<12 alphanumerics>-<48 alphanumerics>, and neither an account's key nor a revoked one"
    )]
    AdminKey,
}

/// A running exchange.
#[derive(Debug)]
pub struct Exchange {
    app: Arc<App>,
    sequencer: Sequencer,
    projector: Projector,
    market_data: MarketData,
    publisher: Option<Publisher>,
    follower: Follower,
    archiver: Option<Archiver>,
    outbox: Option<Outbox>,
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
        gollem_journal::arm_crash_points!(gollem_sequencer::CRASH_POINTS, crate::payments::points::CRASH_POINTS);
        let folder = |source| OpenError::Folder { path: options.data.clone(), source };
        // Durable in its parent: a power cut that takes the folder's name takes everything that was synced in it.
        FileStorage::new(&options.data).create_dir().map_err(folder)?;
        let journal_dir = options.data.join("journal");
        let views = Arc::new(Views::open(&options.data.join("views"))?);
        let identity = match secret("DATABASE_URL")? {
            Some(url) => Identity::connect(&url).await?,
            None => Identity::open(&options.data.join("identity.db")).await?,
        };
        let founded = identity.keys_of(None).is_empty();
        let session_key = options.data.join("session.key");
        let gate = Gate::open(&session_key, options.trusted_proxies.clone(), founded).map_err(OpenError::Gate)?;
        let admin_key = first_key(&identity)?;
        let (feed, feed_reader) = Feed::new(FEED_BATCHES_MAX, FEED_BACKLOG_INPUTS_MAX);
        let (published, published_reader) = Feed::new(PUBLISHER_BATCHES_MAX, PUBLISHER_BACKLOG_INPUTS_MAX);
        let feed = if options.kafka.is_some() { feed.with(published) } else { feed };
        let (told, told_reader) = Feed::new(FEED_BATCHES_MAX, FEED_BACKLOG_INPUTS_MAX);
        let feed = feed.with(told);
        let (booked, booked_reader) = Feed::new(PUBLISHER_BATCHES_MAX, PUBLISHER_BACKLOG_INPUTS_MAX);
        let feed = if options.stripe.is_some() { feed.with(booked) } else { feed };
        let store_of_payments = Store::open(identity.pool()).await?;
        let booked_so_far = store_of_payments.booked().await?;
        let payments = open_payments(options, store_of_payments.clone()).await?;
        let notifier = Notifier::new(options.mail.as_ref(), Upstream::new(options.dev)?);
        let notifier = notifier.map_err(|error| OpenError::Mail(error.to_string()))?;
        let heads = heads(options)?;
        let signer = heads.as_ref().map(|heads| Arc::clone(&heads.signer));
        let pipeline = Options {
            pinning: options.pinning,
            spin: options.spin,
            witnesses: options.witnesses.clone(),
            journal: options.journal,
            ..Options::new(journal_dir.clone())
        };
        // The views catch up by themselves while the exchange serves; what they have seen must be in the journal.
        let sequencer = Sequencer::start(&pipeline, views.watermark()?, Some(feed), None)?;
        let status = sequencer.status();
        let instruments = sequencer.ingress().inspect(listed).await?;
        let symbols = instruments.iter().map(|row| row.spec.symbol).collect();
        Tokenizer::prepare(instruments.iter().map(|listed| listed.spec.symbol.as_str()));
        let catalog = Catalog::new(instruments);
        let following = FollowerOptions { snapshot_every_bytes: options.snapshot_every_bytes, heads };
        let follower = Follower::start(&journal_dir, following, status.clone()).map_err(OpenError::Background)?;
        let publisher = match &options.kafka {
            Some(Kafka { brokers, replication }) => {
                let to = PublisherOptions { brokers: brokers.clone(), replication: *replication, symbols };
                let publisher = Publisher::start(to, published_reader, status.clone(), &journal_dir);
                Some(publisher.map_err(OpenError::Background)?)
            }
            None => None,
        };
        let publisher_view = publisher.as_ref().map(Publisher::view);
        let needed = Needed {
            views: Arc::clone(&views),
            publisher: publisher_view.clone(),
            payments: payments.clone(),
            booked: booked_so_far,
        };
        let archiver = start_archiver(options, &journal_dir, needed)?;
        let socket_options = (options.sockets, options.ping_every);
        let (stream, market_data) = Hub::start(&views, told_reader, status.clone(), &journal_dir, socket_options)?;
        let projector = Projector::start(views, feed_reader, status.clone(), journal_dir.clone())?;
        let (upstream, traffic) = (Upstream::new(options.dev)?, Arc::new(Traffic::new()?));
        let overhead_us = Mutex::new(Histogram::new_with_max(OVERHEAD_US_MAX, 3)?);
        // The last that may fail: a key that was stored by a start that came to nothing would be shown to nobody.
        let new_admin_key = store(&identity, admin_key).await?;
        let app = Arc::new(App {
            ingress: sequencer.ingress(),
            status,
            follower: follower.view(),
            signer,
            view: projector.view(),
            publisher: publisher_view,
            identity,
            unclaimed: Unclaimed::default(),
            idempotency: Idempotency::default(),
            gate,
            connections: Connections::new(options.connections_per_address, options.trusted_proxies.clone()),
            cors_origins: options.cors_origins.clone(),
            limiter: Limiter::new(options.limits),
            catalog,
            upstream,
            dev: options.dev,
            calls: Calls::new(),
            client_patience: options.client_patience,
            drain_patience: options.drain_patience,
            overhead_us,
            stream,
            traffic,
            provider_times: ProviderTimes::default(),
            tries: Tries::default(),
            payments,
            sessions: Sessions::new(store_of_payments, options.session_days),
            notifier,
        });
        tokio::spawn(sessions::keep(Arc::downgrade(&app)));
        tokio::spawn(note_key_uses(Arc::downgrade(&app)));
        let outbox = start_payments(&app, booked_reader, &journal_dir).await?;
        Ok(Exchange { app, sequencer, projector, market_data, publisher, follower, archiver, outbox, new_admin_key })
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
        if let Some(payments) = &self.app.payments {
            payments.close();
        }
        let stopped = self.sequencer.stop();
        self.projector.join();
        self.market_data.join();
        if let Some(publisher) = self.publisher {
            publisher.stop();
        }
        if let Some(outbox) = self.outbox {
            // It writes with this runtime's threads.
            tokio::task::block_in_place(|| outbox.join());
        }
        self.follower.stop();
        if let Some(archiver) = self.archiver {
            archiver.stop();
        }
        let stopped = stopped?;
        if let Err(error) = self.app.sessions.write(unix_seconds()).await {
            tracing::warn!(%error, "who used the exchange could not be written down");
        }
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

/// The instruments as they are.
fn listed(engine: &Engine) -> Vec<InstrumentRow> {
    let row = |(id, spec): (InstrumentId, &InstrumentSpec)| {
        let state = engine.instrument_state(id).unwrap_or(InstrumentState::Open);
        InstrumentRow { id, spec: *spec, state }
    };
    engine.instruments().map(row).collect()
}

/// Who still reads the journal, besides its own recovery.
struct Needed {
    views: Arc<Views>,
    publisher: Option<PublisherView>,
    payments: Option<Arc<Payments>>,
    /// Where the outbox stands while no payment processor is connected; 0 if none ever was.
    booked: u64,
}

impl Needed {
    /// The last input that none of them needs any more.
    fn passed(&self) -> u64 {
        let published = self.publisher.as_ref().map_or(u64::MAX, PublisherView::passed);
        let booked = self.payments.as_ref().map(|payments| payments.figures.booked.load(Ordering::Relaxed));
        let booked = booked.or((self.booked > 0).then_some(self.booked)).unwrap_or(u64::MAX);
        self.views.watermark().unwrap_or(0).min(published).min(booked)
    }
}

/// The payment side, if a processor is connected.
async fn open_payments(options: &ExchangeOptions, store: Store) -> Result<Option<Arc<Payments>>, OpenError> {
    let Some(stripe) = &options.stripe else { return Ok(None) };
    let payments = Payments::open(stripe, store).await.map_err(|error| OpenError::Payments(error.to_string()))?;
    Ok(Some(Arc::new(payments)))
}

/// Starts what turns events into letters, what deals with them, and what compares the books.
async fn start_payments(
    app: &Arc<App>,
    feed: Receiver<Arc<Released>>,
    journal_dir: &Path,
) -> Result<Option<Outbox>, OpenError> {
    let Some(payments) = &app.payments else { return Ok(None) };
    let position = payments.store.booked().await?;
    let outbox = Outbox::start(app, feed, app.status.clone(), journal_dir, position).map_err(OpenError::Background)?;
    tokio::spawn(postman::work(Arc::downgrade(app), Lane::Money));
    tokio::spawn(postman::work(Arc::downgrade(app), Lane::News));
    tokio::spawn(reconcile::every_day(Arc::downgrade(app)));
    Ok(Some(outbox))
}

/// Starts copying closed segments, if there is an archive for them.
fn start_archiver(
    options: &ExchangeOptions,
    journal_dir: &Path,
    needed: Needed,
) -> Result<Option<Archiver>, OpenError> {
    let Some(url) = &options.archive else {
        return Ok(None);
    };
    let archiving = ArchiverOptions { archive: Archive::open(url)?, drop_archived: options.drop_archived };
    let archiver =
        Archiver::start(journal_dir, archiving, Box::new(move || needed.passed())).map_err(OpenError::Background)?;
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
    let signer = Arc::new(HeadSigner::load_or_create(path, TREE_NAME)?);
    Ok(Some(Heads { signer, every: *every }))
}

/// Writes down now and then when keys were last used, as long as there is an exchange.
async fn note_key_uses(app: Weak<App>) {
    loop {
        tokio::time::sleep(KEY_USES_PAUSE).await;
        let Some(app) = app.upgrade() else { return };
        if let Err(error) = app.identity.note_uses().await {
            tracing::warn!(%error, "when keys were last used could not be noted");
        }
    }
}

/// A key of the operator that is not stored yet.
enum FirstKey {
    /// By the environment: its owner knows it.
    Given(ApiKey),
    Made(ApiKey),
}

/// The operator's key that is to be stored: the one that is given, if it is not known, or a first one of an exchange that has
/// none.
fn first_key(identity: &Identity) -> Result<Option<FirstKey>, OpenError> {
    if let Some(given) = secret("GOLLEM_ADMIN_KEY")? {
        let key = ApiKey::parse(&given).ok_or(OpenError::AdminKey)?;
        return match identity.key(key.public()) {
            Some(known)
                if known.account.is_none() && known.has_secret(&key, unix_seconds()) && known.revoked_at.is_none() =>
            {
                Ok(None)
            }
            Some(_) => Err(OpenError::AdminKey),
            None => Ok(Some(FirstKey::Given(key))),
        };
    }
    if identity.has_admin() { Ok(None) } else { Ok(Some(FirstKey::Made(ApiKey::generate()?))) }
}

/// Stores the operator's key, and returns it if it is to be shown.
async fn store(identity: &Identity, key: Option<FirstKey>) -> Result<Option<ApiKey>, OpenError> {
    let (key, name, shown) = match key {
        None => return Ok(None),
        Some(FirstKey::Given(key)) => (key, "GOLLEM_ADMIN_KEY", false),
        Some(FirstKey::Made(key)) => (key, "first", true),
    };
    identity.add_key(None, key.public(), Credential::of(&key), NewKey::unbounded(name, Scopes::ADMIN)).await?;
    Ok(shown.then_some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_start_that_comes_to_nothing_stores_no_key_that_nobody_was_shown() {
        let data = tempfile::tempdir().unwrap();
        let options = ExchangeOptions::new(data.path().to_owned());
        let inside = TreeKey { path: data.path().join("tree.key"), every: Duration::from_secs(1) };
        let refused = Exchange::open(&ExchangeOptions { tree_key: Some(inside), ..options.clone() }).await;
        assert!(matches!(refused, Err(OpenError::TreeKeyInside { .. })), "{refused:?}");
        let exchange = Exchange::open(&options).await.unwrap();
        assert!(exchange.new_admin_key().is_some(), "the first start that succeeds shows the first key");
        exchange.close().await.unwrap();
    }
}
