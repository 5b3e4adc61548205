//! Calls in flight: how many there may be, in all and of one account, and how a stop waits for them.

use crate::error::ApiError;
use axum::http::StatusCode;
use gollem_engine::AccountId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Calls in flight; one more is refused.
const CALLS_MAX: u32 = 4_096;
/// KiB of requests that calls in flight may hold together; one beyond is refused.
const REQUESTS_KIB_MAX: u32 = 512 * 1024;
/// Calls of one account in flight, whatever its tier: nobody can take all.
const CALLS_PER_ACCOUNT_MAX: u32 = 1_024;

/// The calls in flight.
#[derive(Debug)]
pub(crate) struct Calls {
    permits: Arc<Semaphore>,
    /// A permit a KiB.
    memory: Arc<Semaphore>,
    by_account: Mutex<HashMap<AccountId, u32>>,
    stopping: watch::Sender<bool>,
}

impl Calls {
    pub(crate) fn new() -> Arc<Calls> {
        let permits = Arc::new(Semaphore::new(CALLS_MAX as usize));
        let memory = Arc::new(Semaphore::new(REQUESTS_KIB_MAX as usize));
        Arc::new(Calls { permits, memory, by_account: Mutex::default(), stopping: watch::Sender::new(false) })
    }

    /// Counts a call of so many bytes in, until the permit is dropped; an account has at most `concurrent`.
    pub(crate) fn admit(
        self: &Arc<Self>,
        account: AccountId,
        concurrent: u32,
        bytes: usize,
    ) -> Result<CallPermit, ApiError> {
        let max = concurrent.min(CALLS_PER_ACCOUNT_MAX);
        let overloaded = || ApiError::unavailable("overloaded", "too many calls in flight; retry later");
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| overloaded())?;
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let memory = Arc::clone(&self.memory).try_acquire_many_owned(kib).map_err(|_| overloaded())?;
        let mut by_account = self.by_account();
        let running = by_account.entry(account).or_default();
        if *running >= max {
            let message = format!("at most {max} calls of this account may be in flight");
            let (status, kind) = (StatusCode::TOO_MANY_REQUESTS, "requests");
            return Err(ApiError::new(status, kind, "rate_limit_exceeded", message));
        }
        *running += 1;
        Ok(CallPermit { calls: Arc::clone(self), account, _permits: [permit, memory] })
    }

    fn by_account(&self) -> MutexGuard<'_, HashMap<AccountId, u32>> {
        self.by_account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls of an account that are in flight.
    pub(crate) fn in_flight(&self, account: AccountId) -> u32 {
        self.by_account().get(&account).copied().unwrap_or(0)
    }

    /// Tells the calls in flight to settle what they have delivered and end.
    pub(crate) fn cut_short(&self) {
        self.stopping.send_replace(true);
    }

    /// Resolves when the calls in flight have been told to end.
    pub(crate) async fn are_cut_short(&self) {
        // The sender lives as long as `self`.
        drop(self.stopping.subscribe().wait_for(|stopping| *stopping).await);
    }

    /// Waits until no call is in flight. False when some still are after `patience`.
    pub(crate) async fn drained(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.permits.acquire_many(CALLS_MAX)).await.is_ok()
    }
}

/// A place among the calls in flight.
#[derive(Debug)]
pub(crate) struct CallPermit {
    calls: Arc<Calls>,
    account: AccountId,
    _permits: [OwnedSemaphorePermit; 2],
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        let mut by_account = self.calls.by_account();
        if let Some(running) = by_account.get_mut(&self.account) {
            *running -= 1;
            if *running == 0 {
                by_account.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_cannot_take_every_place() {
        let calls = Calls::new();
        let held: Vec<_> =
            (0..CALLS_PER_ACCOUNT_MAX).map(|_| calls.admit(AccountId(1), u32::MAX, 1).unwrap()).collect();
        assert_eq!(calls.admit(AccountId(1), u32::MAX, 1).expect_err("full").status, StatusCode::TOO_MANY_REQUESTS);
        drop(calls.admit(AccountId(2), u32::MAX, 1).unwrap());
        drop(held);
        drop(calls.admit(AccountId(1), u32::MAX, 1).unwrap());
        assert!(calls.by_account().is_empty(), "nobody is remembered");
    }

    #[test]
    fn a_tier_allows_as_many_at_once_as_it_says() {
        let calls = Calls::new();
        let held = [calls.admit(AccountId(1), 2, 1).unwrap(), calls.admit(AccountId(1), 2, 1).unwrap()];
        assert_eq!(calls.in_flight(AccountId(1)), 2);
        assert_eq!(calls.admit(AccountId(1), 2, 1).expect_err("full").code, "rate_limit_exceeded");
        drop(held);
        drop(calls.admit(AccountId(1), 2, 1).unwrap());
    }
    #[test]
    fn calls_in_flight_hold_bounded_memory() {
        let calls = Calls::new();
        let large = 4 * 1024 * 1024;
        let most = REQUESTS_KIB_MAX as usize * 1024 / large;
        let mut held: Vec<_> = (0..most).map(|_| calls.admit(AccountId(1), u32::MAX, large).unwrap()).collect();
        assert_eq!(calls.admit(AccountId(2), u32::MAX, 1).expect_err("full").code, "overloaded");
        assert_eq!(calls.in_flight(AccountId(2)), 0);
        held.pop();
        drop(calls.admit(AccountId(2), u32::MAX, large).unwrap());
    }
}
