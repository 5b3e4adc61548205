//! What all sockets share: the market data and where they are, who is connected, whose orders hang on a connection. And
//! the thread that keeps the market data: a reader of durable inputs like the views, at a pace of its own.

use crate::app::App;
use crate::error::ApiError;
use crate::stream::limits::{POSITION_PATIENCE, READER_COST, REST_MAX, REST_MIN, SocketLimits, UNHEARD_REST};
use crate::stream::market::{Market, Start};
use crate::stream::presence::Presence;
use crate::stream::private::Found;
use crate::stream::sockets::Sockets;
use crate::stream::topic::Key;
use crossbeam_channel::Receiver;
use gollem_engine::AccountId;
use gollem_journal::FileStorage;
use gollem_projections::{Inputs, Page, StoreError, Turn, Views};
use gollem_sequencer::{Released, Status};
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long nothing must arrive before the thread looks whether something was dropped.
const QUIET: Duration = Duration::from_millis(100);
/// How often channels without readers are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What sockets share.
#[derive(Debug)]
pub(crate) struct Hub {
    market: Mutex<Market>,
    /// The last input that was told; closed when there will be no more.
    position: watch::Receiver<u64>,
    gaps: AtomicU64,
    pub(crate) sockets: Arc<Sockets>,
    pub(super) presence: Presence,
    /// How often a socket pings its client, which has until the next ping to say something.
    pub(super) ping_every: Duration,
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct MarketData(JoinHandle<()>);

impl Hub {
    /// Begins with what the views have, and goes on with what the feed brings.
    ///
    /// # Errors
    /// When the views cannot be read or the thread cannot start.
    pub(crate) fn start(
        views: &Views,
        feed: Receiver<Arc<Released>>,
        status: Status,
        journal_dir: &Path,
        (limits, ping_every): (SocketLimits, Duration),
    ) -> Result<(Arc<Hub>, MarketData), StoreError> {
        let market = Market::load(&views.read()?)?;
        let inputs = Inputs::new("market data", feed, status, FileStorage::new(journal_dir), market.position());
        let (reached, position) = watch::channel(market.position());
        let sockets = Arc::new(Sockets::new(limits));
        let (market, presence) = (Mutex::new(market), Presence::default());
        let hub = Arc::new(Hub { market, position, gaps: AtomicU64::new(0), sockets, presence, ping_every });
        let kept = Arc::clone(&hub);
        let thread = Builder::new().name("market-data".into()).spawn(move || kept.keep(inputs, &reached))?;
        Ok((hub, MarketData(thread)))
    }

    /// The last input that was told.
    pub(crate) fn position(&self) -> u64 {
        *self.position.borrow()
    }

    /// How often inputs had to be read from the journal.
    pub(crate) fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }

    /// Bytes of recent updates that are kept for readers.
    pub(crate) fn ring_bytes(&self) -> usize {
        self.market().totals.held.load(Ordering::Relaxed)
    }

    /// Whether there will be no more market data.
    pub(super) fn has_ended(&self) -> bool {
        self.position.has_changed().is_err()
    }

    /// The thread: applies inputs and tells them, until there are no more.
    fn keep(&self, mut inputs: Inputs, reached: &watch::Sender<u64>) {
        let mut swept = Instant::now();
        loop {
            let turn = inputs.turn(QUIET, &mut |seq, at, events| -> Result<(), Infallible> {
                self.market().apply(seq, at, events);
                Ok(())
            });
            let mut market = self.market();
            market.flush();
            if swept.elapsed() >= SWEEP_EVERY {
                swept = Instant::now();
                market.sweep(swept);
            }
            let (position, woken) = (market.position(), market.totals.woken.swap(0, Ordering::Relaxed));
            drop(market);
            reached.send_if_modified(|at| std::mem::replace(at, position) != position);
            self.gaps.store(inputs.gaps(), Ordering::Relaxed);
            match turn {
                // A socket that opens meanwhile waits that long at the most before its first snapshot.
                Ok(Turn::GoesOn) if self.sockets.count() == 0 && !inputs.has_plenty() => {
                    std::thread::park_timeout(UNHEARD_REST);
                }
                // Who has fallen behind gathers enough as it is.
                Ok(Turn::GoesOn) if inputs.has_more() => {}
                Ok(Turn::GoesOn) => rest(woken),
                Ok(Turn::Ended) => return,
                Err(error) => {
                    tracing::error!(%error, "the market data stand still: sockets are closed until a restart");
                    return;
                }
            }
        }
    }

    /// A new reader of a channel. What it begins with reflects everything that was durable when it asked.
    pub(super) async fn subscribe(&self, app: &Arc<App>, key: Key, from: Option<u64>) -> Result<Start, ApiError> {
        self.reached(app.status.durable_seq()).await?;
        let subscribed = match key {
            Key::Orders(account) | Key::Fills(account) | Key::Balances(account) => {
                self.subscribe_private(app, account, key, from).await?
            }
            Key::Book(..) | Key::Trades(_) | Key::Candles(..) | Key::Ticker(_) => self.market().subscribe(key, from),
        };
        subscribed.ok_or_else(|| ApiError::internal(&"a channel of something that is not known"))
    }

    async fn subscribe_private(
        &self,
        app: &Arc<App>,
        account: AccountId,
        key: Key,
        from: Option<u64>,
    ) -> Result<Option<Start>, ApiError> {
        let position = {
            let mut market = self.market();
            if market.private.knows(account) {
                return Ok(market.subscribe(key, from));
            }
            let position = market.position();
            market.private.begin_lookup(position);
            position
        };
        // The views may be ahead of us: what they reflect must not be told a second time.
        let found = match look_up(app, account, position).await {
            Ok(found) => self.reached(found.seq).await.map(|()| found),
            Err(error) => Err(error),
        };
        let mut market = self.market();
        let known = match found {
            Ok(found) => market.private.end_lookup(account, position, Some(found)),
            Err(error) => {
                market.private.end_lookup(account, position, None);
                return Err(error);
            }
        };
        if !known {
            return Err(ApiError::unavailable("overloaded", "too much happens just now to begin; retry later"));
        }
        Ok(market.subscribe(key, from))
    }

    async fn reached(&self, seq: u64) -> Result<(), ApiError> {
        let mut position = self.position.clone();
        let waited = tokio::time::timeout(POSITION_PATIENCE, position.wait_for(|at| *at >= seq)).await;
        match waited {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => {
                let message = "the market data stand still until a restart; the log says why";
                Err(ApiError::unavailable("view_stopped", message))
            }
            Err(_) => {
                let at = self.position();
                let message = format!("the market data are at input {at} and must reach {seq}; retry later");
                Err(ApiError::unavailable("view_behind", message))
            }
        }
    }

    fn market(&self) -> MutexGuard<'_, Market> {
        self.market.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves the readers that were woken the time to be written to. What happens meanwhile is one update, encoded and written
/// once, where it would have been many; the more readers there are, the more that saves.
fn rest(woken: usize) {
    let time = READER_COST.saturating_mul(u32::try_from(woken).unwrap_or(u32::MAX)).min(REST_MAX);
    if time < REST_MIN {
        return;
    }
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

impl MarketData {
    /// Waits for the thread's end; the feed's sender must be gone.
    pub(crate) fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the market data thread panicked");
        }
    }
}

/// An account's open orders and balance, as of input `position` or a later one.
async fn look_up(app: &Arc<App>, account: AccountId, position: u64) -> Result<Found, ApiError> {
    drop(app.reader(position).await?);
    let app = Arc::clone(app);
    let read = move || -> Result<Found, StoreError> {
        let reader = app.view.store.read()?;
        let orders = reader.orders(account, true, Page::newest(usize::MAX))?;
        Ok(Found { seq: reader.seq(), orders, balance: reader.balance(account)? })
    };
    let found = tokio::task::spawn_blocking(read).await;
    Ok(found.map_err(|error| ApiError::internal(&error))??)
}
