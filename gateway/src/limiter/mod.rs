//! Who may ask how much: requests and tokens of an account by its tier, requests of a key by its own limit, and requests
//! that no limit covers by the address they come from.
//!
//! | who | what | how |
//! |---|---|---|
//! | account | requests | a bucket of `burst`, refilled at `per_minute`; windows of an hour and a day |
//! | account | cancels | a bucket like that of requests, of their own: orders used up leave them |
//! | account | tokens | a bucket of `tokens_per_minute`; worst case at the start of a call, what was metered at its end |
//! | key | requests, cancels | buckets of its own limit, if its owner set one |
//! | address | requests | a bucket of a second's worth of the flood limit |
//!
//! Counts live in memory: a restart forgets them. Not limited by tier: the operator, and accounts on the tier without limits;
//! their requests count towards no address either. A key's own limit holds whosever the key is.

mod bucket;
mod headers;
mod table;
mod tier;

pub(crate) use bucket::Left;
pub(crate) use headers::put_headers;
pub use tier::{Allowed, Tier};

use crate::auth::one_customer;
use crate::error::ApiError;
use crate::identity::Caller;
use crate::route::{Bucket as Purse, Route};
use axum::http::StatusCode;
use bucket::{Bucket, Rate, Window};
use gollem_engine::{AccountId, KeyId};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use table::Table;

const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;
const HOUR_US: u64 = 60 * MINUTE_US;
const DAY_US: u64 = 24 * HOUR_US;

/// How the limiter is set.
#[derive(Clone, Copy, Debug)]
pub struct LimiterOptions {
    /// The tier of accounts that were given none.
    pub default_tier: Tier,
    /// Requests a second of one address that no tier covers; 0 for no such limit.
    pub flood_per_second: u32,
}

impl Default for LimiterOptions {
    fn default() -> LimiterOptions {
        LimiterOptions { default_tier: Tier::Basic, flood_per_second: 1_000 }
    }
}

/// Counts and refuses.
#[derive(Debug)]
pub(crate) struct Limiter {
    options: LimiterOptions,
    started: Instant,
    accounts: Table<AccountId, AccountUse>,
    keys: Table<Key, KeyUse>,
    /// By IPv4 address, or by the first 64 bits of an IPv6 one, which one customer has to itself.
    addresses: Table<u128, Bucket>,
}

/// A key by its number in its account; the operator's where there is no account.
pub(crate) type Key = (Option<AccountId>, KeyId);

/// Whose allowance a request is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payer {
    /// Nobody's.
    Unlimited,
    /// That of an address.
    Address(IpAddr),
    /// That of an account, of a key, or of both.
    Caller {
        /// The account, and what its tier allows; anything when `None`.
        account: Option<(AccountId, Allowed)>,
        /// The key, and the requests a minute that its owner allows it.
        key: Option<(Key, u32)>,
    },
}

/// What is left of requests and of tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) requests: Left,
    pub(crate) tokens: Option<Left>,
}

/// What is left to an account, limit by limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) requests: Left,
    pub(crate) hour: Left,
    pub(crate) day: Left,
    pub(crate) cancels: Left,
    pub(crate) tokens: Left,
}

#[derive(Debug, Default)]
struct AccountUse {
    requests: Bucket,
    cancels: Bucket,
    hour: Window,
    day: Window,
    tokens: Bucket,
}

#[derive(Debug, Default)]
struct KeyUse {
    requests: Bucket,
    cancels: Bucket,
}

const fn requests_rate(allowed: Allowed) -> Rate {
    Rate { burst: allowed.burst as u64, refill: allowed.per_minute as u64, per_us: MINUTE_US }
}

const fn tokens_rate(allowed: Allowed) -> Rate {
    let tokens = allowed.tokens_per_minute as u64;
    Rate { burst: tokens, refill: tokens, per_us: MINUTE_US }
}

const fn key_rate(per_minute: u32) -> Rate {
    Rate { burst: per_minute as u64, refill: per_minute as u64, per_us: MINUTE_US }
}

impl AccountUse {
    fn bucket(&mut self, from: Purse) -> &mut Bucket {
        match from {
            Purse::Ordinary => &mut self.requests,
            Purse::Cancel => &mut self.cancels,
        }
    }

    /// Takes `cost`, or says how long to wait.
    fn take(&mut self, allowed: Allowed, from: Purse, cost: u64, now_us: u64) -> Result<(), u64> {
        let rate = requests_rate(allowed);
        let mut wait = self.bucket(from).wait_us(rate, cost, now_us).unwrap_or(MINUTE_US);
        if from == Purse::Ordinary {
            wait = wait.max(self.hour.wait_us(allowed.per_hour.into(), HOUR_US, cost, now_us));
            wait = wait.max(self.day.wait_us(allowed.per_day.into(), DAY_US, cost, now_us));
        }
        if wait > 0 {
            return Err(wait);
        }
        self.bucket(from).take(rate, cost);
        if from == Purse::Ordinary {
            self.hour.take(cost);
            self.day.take(cost);
        }
        Ok(())
    }

    fn standing(&mut self, allowed: Allowed, now_us: u64) -> Standing {
        let rate = requests_rate(allowed);
        Standing {
            requests: self.requests.left(rate, now_us),
            hour: self.hour.left(allowed.per_hour.into(), HOUR_US, now_us),
            day: self.day.left(allowed.per_day.into(), DAY_US, now_us),
            cancels: self.cancels.left(rate, now_us),
            tokens: self.tokens.left(tokens_rate(allowed), now_us),
        }
    }

    fn quiet_at_us(&self, allowed: Allowed) -> u64 {
        let rate = requests_rate(allowed);
        let buckets = self.requests.quiet_at_us(rate).max(self.cancels.quiet_at_us(rate));
        let windows = self.hour.quiet_at_us(HOUR_US).max(self.day.quiet_at_us(DAY_US));
        buckets.max(windows).max(self.tokens.quiet_at_us(tokens_rate(allowed)))
    }
}

impl KeyUse {
    fn bucket(&mut self, from: Purse) -> &mut Bucket {
        match from {
            Purse::Ordinary => &mut self.requests,
            Purse::Cancel => &mut self.cancels,
        }
    }

    fn quiet_at_us(&self, rate: Rate) -> u64 {
        self.requests.quiet_at_us(rate).max(self.cancels.quiet_at_us(rate))
    }
}

impl Limiter {
    pub(crate) fn new(options: LimiterOptions) -> Arc<Limiter> {
        let (accounts, keys, addresses) = (Table::new(), Table::new(), Table::new());
        Arc::new(Limiter { options, started: Instant::now(), accounts, keys, addresses })
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The tier of an account that was given `tier`, or none.
    pub(crate) fn tier(&self, tier: Option<Tier>) -> Tier {
        tier.unwrap_or(self.options.default_tier)
    }

    /// Who pays for what a caller asks. `given` is the tier its account was given, `own_limit` its key's.
    pub(crate) fn payer(&self, caller: &Caller, given: Option<Tier>, own_limit: Option<u32>) -> Payer {
        let account = caller.account.and_then(|account| Some((account, self.tier(given).allowed()?)));
        match (account, own_limit.map(|limit| ((caller.account, caller.key), limit))) {
            (None, None) => Payer::Unlimited,
            (account, key) => Payer::Caller { account, key },
        }
    }

    /// Refuses an address that has used up its allowance.
    pub(crate) fn check_flood(&self, address: IpAddr) -> Result<(), ApiError> {
        let Some(rate) = self.flood_rate() else { return Ok(()) };
        let now_us = self.now_us();
        let wait_us = self.addresses.with(network(address), now_us, |bucket| {
            let wait = bucket.wait_us(rate, 1, now_us).unwrap_or(SECOND_US);
            (wait, bucket.quiet_at_us(rate))
        });
        if wait_us == 0 { Ok(()) } else { Err(limited("requests from this address", wait_us)) }
    }

    /// Counts so many requests of an address.
    pub(crate) fn charge_address(&self, address: IpAddr, weight: u32) {
        let Some(rate) = self.flood_rate() else { return };
        let now_us = self.now_us();
        self.addresses.with(network(address), now_us, |bucket| {
            // Brings it up to now; whether there is room was asked before.
            bucket.left(rate, now_us);
            bucket.take(rate, weight.into());
            ((), bucket.quiet_at_us(rate))
        });
    }

    /// Takes a call of the route from the payer's allowance.
    pub(crate) fn admit(&self, payer: &Payer, route: &Route) -> Result<(), ApiError> {
        let (now_us, cost, from) = (self.now_us(), u64::from(route.weight), route.bucket);
        match *payer {
            Payer::Unlimited => Ok(()),
            Payer::Address(address) => {
                self.charge_address(address, route.weight);
                Ok(())
            }
            Payer::Caller { account, key } => {
                if let Some((key, limit)) = key {
                    let rate = key_rate(limit);
                    let taken = self.keys.with(key, now_us, |used| {
                        let wait = used.bucket(from).wait_us(rate, cost, now_us).unwrap_or(MINUTE_US);
                        if wait == 0 {
                            used.bucket(from).take(rate, cost);
                        }
                        (wait, used.quiet_at_us(rate))
                    });
                    if taken > 0 {
                        return Err(limited("requests of this API key", taken));
                    }
                }
                let Some((account, allowed)) = account else { return Ok(()) };
                let taken = self.accounts.with(account, now_us, |used| {
                    let taken = used.take(allowed, from, cost, now_us);
                    (taken, used.quiet_at_us(allowed))
                });
                taken.map_err(|wait_us| {
                    self.return_to_key(key, from, cost);
                    limited("requests of this account", wait_us)
                })
            }
        }
    }

    /// What the account refused is not held against the key.
    fn return_to_key(&self, key: Option<(Key, u32)>, from: Purse, cost: u64) {
        let Some((key, limit)) = key else { return };
        let rate = key_rate(limit);
        self.keys.with(key, self.now_us(), |used| {
            used.bucket(from).put_back(rate, cost);
            ((), used.quiet_at_us(rate))
        });
    }

    /// What is left to the payer: of requests, the limit that is nearest to its end.
    pub(crate) fn allowance(&self, payer: &Payer, from: Purse) -> Option<Allowance> {
        let now_us = self.now_us();
        match *payer {
            Payer::Unlimited => None,
            Payer::Address(address) => {
                let rate = self.flood_rate()?;
                let requests = self.addresses.with(network(address), now_us, |bucket| {
                    let left = bucket.left(rate, now_us);
                    (left, bucket.quiet_at_us(rate))
                });
                Some(Allowance { requests, tokens: None })
            }
            Payer::Caller { account, key } => {
                let standing = account.map(|(account, allowed)| self.standing(account, allowed));
                let of_account = standing.map(|standing| match from {
                    Purse::Cancel => standing.cancels,
                    Purse::Ordinary => tightest(tightest(standing.requests, standing.hour), standing.day),
                });
                let of_key = key.map(|(key, limit)| self.left_to_key(key, limit, from));
                let requests = match (of_account, of_key) {
                    (Some(one), Some(other)) => tightest(one, other),
                    (one, other) => one.or(other)?,
                };
                Some(Allowance { requests, tokens: standing.map(|standing| standing.tokens) })
            }
        }
    }

    /// What is left to an account.
    pub(crate) fn standing(&self, account: AccountId, allowed: Allowed) -> Standing {
        let now_us = self.now_us();
        self.accounts.with(account, now_us, |used| {
            let standing = used.standing(allowed, now_us);
            (standing, used.quiet_at_us(allowed))
        })
    }

    /// What is left to a key of its own limit.
    pub(crate) fn left_to_key(&self, key: Key, per_minute: u32, from: Purse) -> Left {
        let (now_us, rate) = (self.now_us(), key_rate(per_minute));
        self.keys.with(key, now_us, |used| {
            let left = used.bucket(from).left(rate, now_us);
            (left, used.quiet_at_us(rate))
        })
    }

    /// Takes the most tokens that a call may use from its account's allowance.
    ///
    /// # Errors
    /// 429 when they are not there now, 400 when the tier never has as many.
    pub(crate) fn take_tokens(
        self: &Arc<Self>,
        account: AccountId,
        tier: Tier,
        worst_case: u64,
    ) -> Result<TakenTokens, ApiError> {
        let used = AtomicU64::new(0);
        let Some(allowed) = tier.allowed() else {
            return Ok(TakenTokens { limiter: Arc::clone(self), account, rate: None, taken: 0, used });
        };
        let (now_us, rate) = (self.now_us(), tokens_rate(allowed));
        let wait_us = self.accounts.with(account, now_us, |account| {
            let wait = account.tokens.wait_us(rate, worst_case, now_us);
            if wait == Some(0) {
                account.tokens.take(rate, worst_case);
            }
            (wait, account.quiet_at_us(allowed))
        });
        match wait_us {
            Some(0) => {
                Ok(TakenTokens { limiter: Arc::clone(self), account, rate: Some(rate), taken: worst_case, used })
            }
            Some(wait_us) => Err(limited("tokens of this account", wait_us)),
            None => {
                let (name, max) = (tier.name(), rate.burst);
                let message = format!(
                    "this call may use {worst_case} tokens (one a byte of its body, and max_tokens) and the tier {name} \
                     has {max} a minute; lower max_tokens"
                );
                let kind = "invalid_request_error";
                let error = ApiError::new(StatusCode::BAD_REQUEST, kind, "tokens_over_tier", message);
                Err(ApiError { param: Some("max_tokens".into()), ..error })
            }
        }
    }

    fn flood_rate(&self) -> Option<Rate> {
        let flood = u64::from(self.options.flood_per_second);
        (flood > 0).then_some(Rate { burst: flood, refill: flood, per_us: SECOND_US })
    }
}

/// Tokens taken for a call; what it did not use goes back when this is dropped.
#[derive(Debug)]
pub(crate) struct TakenTokens {
    limiter: Arc<Limiter>,
    account: AccountId,
    /// None where nothing is limited.
    rate: Option<Rate>,
    taken: u64,
    used: AtomicU64,
}

impl TakenTokens {
    /// Says what the call used, or used more, as it was metered.
    pub(crate) fn used(&self, tokens: u64) {
        self.used.fetch_add(tokens, Ordering::Relaxed);
    }
}

impl Drop for TakenTokens {
    fn drop(&mut self) {
        let Some(rate) = self.rate else { return };
        let unused = self.taken.saturating_sub(self.used.load(Ordering::Relaxed));
        self.limiter.accounts.with(self.account, self.limiter.now_us(), |account| {
            account.tokens.put_back(rate, unused);
            // The windows of the account's requests were counted before: it stays at least as long.
            ((), self.limiter.now_us() + DAY_US)
        });
    }
}

fn tightest(one: Left, other: Left) -> Left {
    if other.remaining < one.remaining { other } else { one }
}

fn limited(what: &str, wait_us: u64) -> ApiError {
    let message = format!("too many {what}; retry in {}", headers::duration(wait_us));
    let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "requests", "rate_limit_exceeded", message);
    ApiError { retry_after_s: wait_us.div_ceil(SECOND_US).max(1), ..error }
}

fn network(address: IpAddr) -> u128 {
    match one_customer(address) {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests;
