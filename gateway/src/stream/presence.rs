//! Cancel on disconnect: an account's orders that asked for it live as long as one of its sockets that asked for it.
//!
//! The engine keeps the time: each such socket renews the account's connection timer with every ping that was answered.
//! When the last of them is gone the timer is set to fire at once; when this process is gone it fires by itself. At a stop
//! of the exchange it is left to run, so that who comes back in time keeps its orders.

use crate::app::App;
use crate::error::ApiError;
use crate::stream::limits::CONNECTION_PINGS;
use gollem_engine::{AccountId, Command, Event, Timer};
use gollem_projections::words::micros;
use gollem_sequencer::{PendingAck, SubmitError};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The least that the engine takes: the next moment.
const AT_ONCE_NS: u64 = 1;
/// How long firing is tried again while the queue is full; the timer fires by itself not much later.
const FIRE_PATIENCE: Duration = Duration::from_secs(30);
const FIRE_PAUSE: Duration = Duration::from_millis(20);

/// How many sockets of each account keep its orders alive.
#[derive(Debug, Default)]
pub(super) struct Presence(Mutex<HashMap<AccountId, u32>>);

impl Presence {
    /// One more socket keeps the account's orders alive.
    pub(super) fn enter(&self, app: &App, account: AccountId) -> Result<PendingAck, ApiError> {
        let mut sockets = self.sockets();
        let set = submit(app, account, Some(lease_ns(app)))?;
        *sockets.entry(account).or_default() += 1;
        Ok(set)
    }

    /// Renews the timer. A full queue is no reason to worry: there are more pings before it fires.
    pub(super) fn renew(&self, app: &App, account: AccountId) {
        if let Err(error) = submit(app, account, Some(lease_ns(app))) {
            tracing::debug!(%error, "a connection timer was not renewed");
        }
    }

    /// A socket no longer keeps them alive, because it was told so: without any the timer is cleared.
    pub(super) fn leave(&self, app: &App, account: AccountId) -> Result<Option<PendingAck>, ApiError> {
        let mut sockets = self.sockets();
        if sockets.get(&account).is_some_and(|count| *count > 1) {
            count_off(&mut sockets, account);
            return Ok(None);
        }
        let cleared = submit(app, account, None)?;
        count_off(&mut sockets, account);
        Ok(Some(cleared))
    }

    /// A socket is gone: without any other the orders are cancelled. Not when the exchange stops: then the timer runs.
    pub(super) fn lose(app: &Arc<App>, account: AccountId, stopping: bool) {
        let presence = &app.stream.presence;
        let mut sockets = presence.sockets();
        if count_off(&mut sockets, account) > 0 || stopping {
            return;
        }
        // Under the lock, so that a socket that comes back at this moment renews the timer after this.
        if is_overloaded(&submit(app, account, Some(AT_ONCE_NS))) {
            drop(sockets);
            tokio::spawn(fire_later(Arc::clone(app), account));
        }
    }

    fn sockets(&self) -> MutexGuard<'_, HashMap<AccountId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fires the timer when there is room for it, unless somebody came back meanwhile.
async fn fire_later(app: Arc<App>, account: AccountId) {
    let until = tokio::time::Instant::now() + FIRE_PATIENCE;
    while tokio::time::Instant::now() < until {
        tokio::time::sleep(FIRE_PAUSE).await;
        let sockets = app.stream.presence.sockets();
        if sockets.contains_key(&account) || !is_overloaded(&submit(&app, account, Some(AT_ONCE_NS))) {
            return;
        }
    }
}

fn submit(app: &App, account: AccountId, after_ns: Option<u64>) -> Result<PendingAck, SubmitError> {
    app.ingress.submit(Command::SetTimer { account, timer: Timer::Connection, after_ns })
}

fn is_overloaded(submitted: &Result<PendingAck, SubmitError>) -> bool {
    matches!(submitted, Err(SubmitError::Overloaded))
}

/// How long a timer runs that nobody renews.
fn lease_ns(app: &App) -> u64 {
    u64::try_from((app.stream.ping_every * CONNECTION_PINGS).as_nanos()).unwrap_or(u64::MAX)
}

fn count_off(sockets: &mut HashMap<AccountId, u32>, account: AccountId) -> u32 {
    let Some(count) = sockets.get_mut(&account) else { return 0 };
    *count -= 1;
    let left = *count;
    if left == 0 {
        sockets.remove(&account);
    }
    left
}

/// When a timer fires, as the answer to who set it.
pub(super) fn timer_json(events: &[Event]) -> Value {
    let set = events.iter().rev().find_map(|event| match event {
        Event::TimerSet { at, .. } => Some(at.map(micros)),
        _ => None,
    });
    json!({ "at_us": set.flatten() })
}
