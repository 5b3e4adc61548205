//! The open sockets: how many there may be, what they hold, and the word that the exchange stops.

use crate::auth::one_customer;
use crate::error::ApiError;
use crate::stream::limits::SocketLimits;
use axum::http::StatusCode;
use gollem_engine::AccountId;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Who is connected.
#[derive(Debug)]
pub(crate) struct Sockets {
    limits: SocketLimits,
    open: Mutex<Open>,
    count: watch::Sender<usize>,
    stopping: watch::Sender<bool>,
    pub(crate) figures: Figures,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_address: HashMap<IpAddr, usize>,
    by_account: HashMap<AccountId, usize>,
}

/// What `/metrics` tells.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Bytes handed to sockets that their connections did not take yet.
    pub(crate) held_bytes: AtomicU64,
    /// The most of one socket so far.
    pub(crate) held_bytes_peak: AtomicU64,
    /// Subscriptions.
    pub(crate) subscriptions: AtomicU64,
    /// Messages written.
    pub(crate) messages: AtomicU64,
    /// Readers that were told to begin anew.
    pub(crate) resyncs: AtomicU64,
    /// Sockets closed because their clients took nothing.
    pub(crate) slow: AtomicU64,
}

/// A socket's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    sockets: Arc<Sockets>,
    pub(super) number: u64,
    address: IpAddr,
    account: Option<AccountId>,
}

impl Sockets {
    pub(crate) fn new(limits: SocketLimits) -> Sockets {
        let (count, stopping) = (watch::channel(0).0, watch::channel(false).0);
        Sockets { limits, open: Mutex::default(), count, stopping, figures: Figures::default() }
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// A place for one more of that address.
    pub(super) fn enter(self: &Arc<Sockets>, address: IpAddr) -> Result<Seat, ApiError> {
        let address = one_customer(address);
        let mut open = self.open();
        if *self.stopping.borrow() {
            return Err(ApiError::unavailable("unavailable", "the exchange is stopping"));
        }
        let (in_all, own) = (self.count(), open.by_address.get(&address).copied().unwrap_or(0));
        if in_all >= self.limits.in_all {
            return Err(ApiError::unavailable("overloaded", "as many sockets are open as there may be; retry later"));
        }
        if own >= self.limits.per_address {
            return Err(too_many("sockets from one address", self.limits.per_address));
        }
        open.next += 1;
        open.by_address.insert(address, own + 1);
        self.count.send_modify(|count| *count += 1);
        Ok(Seat { sockets: Arc::clone(self), number: open.next, address, account: None })
    }

    /// Tells every socket to end, and waits until they have, but no longer than `patience`.
    pub(crate) async fn stop(&self, patience: Duration) {
        self.stopping.send_replace(true);
        let mut count = self.count.subscribe();
        if tokio::time::timeout(patience, count.wait_for(|count| *count == 0)).await.is_err() {
            tracing::warn!(sockets = self.count(), "sockets were still open at the end of the shutdown");
        }
    }

    /// Becomes true when the exchange stops.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The account that it counts to.
    pub(super) fn account(&self) -> Option<AccountId> {
        self.account
    }

    /// Counts the socket to an account.
    pub(super) fn belongs_to(&mut self, account: AccountId) -> Result<(), ApiError> {
        let mut open = self.sockets.open();
        let own = open.by_account.entry(account).or_default();
        if *own >= self.sockets.limits.per_account {
            return Err(too_many("sockets of one account", self.sockets.limits.per_account));
        }
        *own += 1;
        drop(open);
        self.account = Some(account);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.sockets.open();
        leave(&mut open.by_address, self.address);
        if let Some(account) = self.account {
            leave(&mut open.by_account, account);
        }
        drop(open);
        self.sockets.count.send_modify(|count| *count -= 1);
    }
}

fn leave<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

fn too_many(what: &str, max: usize) -> ApiError {
    let message = format!("at most {max} {what}");
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "invalid_request_error", "too_many", message)
}

impl Figures {
    /// Counts bytes that a socket was handed.
    pub(super) fn hold(&self, bytes: u64) {
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.held_bytes_peak.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Counts them off when they are written, or given up.
    pub(super) fn release(&self, bytes: u64) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_by_address_and_by_account_and_come_back() {
        let sockets = Arc::new(Sockets::new(SocketLimits { in_all: 3, per_address: 2, per_account: 1 }));
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let mut first = sockets.enter(here).unwrap();
        let mut second = sockets.enter(here).unwrap();
        assert_eq!(sockets.enter(here).expect_err("a third of one address").code, "too_many");
        let third = sockets.enter(there).unwrap();
        assert_eq!(sockets.enter(there).expect_err("a fourth in all").code, "overloaded");
        first.belongs_to(AccountId(1)).unwrap();
        assert_eq!(second.belongs_to(AccountId(1)).expect_err("a second of one account").code, "too_many");
        drop((first, third));
        assert_eq!(sockets.count(), 1);
        second.belongs_to(AccountId(1)).unwrap();
        drop(second);
        let open = sockets.open();
        assert!(open.by_address.is_empty() && open.by_account.is_empty(), "nothing is kept of who left");
    }
}
