//! Lock-out on guessing. Failures are counted for a name from an address, for an address, and for a name; after some free
//! ones, each doubles the time in which nothing more is tried, from one second to fifteen minutes. A quarter of an hour
//! without a failure forgets them.

use super::one_customer;
use crate::error::ApiError;
use axum::http::StatusCode;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures without a delay: of a name from an address; of an address; of a name, which strangers could otherwise lock.
const FREE: [u32; 3] = [5, 20, 100];
const DELAY_MAX: Duration = Duration::from_secs(900);
/// Names and addresses remembered.
const ENTRIES_MAX: usize = 1 << 16;

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
    /// When the next may be tried.
    open: Instant,
}

/// Who failed how often.
#[derive(Debug, Default)]
pub(crate) struct Guesses(Mutex<Known>);

impl Guesses {
    /// Counts an attempt as a failure until it has [`Guesses::succeeded`], so that many at the same time count, too. Refuses
    /// it, before anything of it is looked at, when it comes too soon after others.
    pub(crate) fn attempt(&self, name: &str, address: IpAddr) -> Result<(), ApiError> {
        let now = Instant::now();
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        check_at(&failures, name, address, now)?;
        failed_at(&mut failures, name, address, now);
        Ok(())
    }

    /// An attempt was no failure: the ones of this name from this address are forgotten.
    pub(crate) fn succeeded(&self, name: &str, address: IpAddr) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [pair, others @ ..] = subjects(name, address);
        failures.remove(&pair);
        for subject in others {
            if let Some(known) = failures.get_mut(&subject) {
                known.count = known.count.saturating_sub(1);
            }
        }
    }
}

type Subject = (Option<String>, Option<IpAddr>);
type Known = HashMap<Subject, Failures>;

fn check_at(failures: &Known, name: &str, address: IpAddr, now: Instant) -> Result<(), ApiError> {
    let open = subjects(name, address).iter().filter_map(|subject| failures.get(subject)).map(|of| of.open).max();
    let wait = open.unwrap_or(now).saturating_duration_since(now);
    if wait.is_zero() {
        return Ok(());
    }
    let retry_after_s = wait.as_secs() + 1;
    let message = format!("too many failed attempts; retry in {retry_after_s} seconds");
    let (status, kind) = (StatusCode::TOO_MANY_REQUESTS, "requests");
    Err(ApiError { retry_after_s, ..ApiError::new(status, kind, "too_many_attempts", message) })
}

fn failed_at(failures: &mut Known, name: &str, address: IpAddr, now: Instant) {
    for (subject, free) in subjects(name, address).into_iter().zip(FREE) {
        if failures.len() >= ENTRIES_MAX && !failures.contains_key(&subject) {
            make_room(failures, now);
        }
        let known = failures.get(&subject).filter(|known| now - known.last < DELAY_MAX);
        let count = known.map_or(0, |known| known.count) + 1;
        let delay = match count.checked_sub(free + 1) {
            None => Duration::ZERO,
            Some(doublings) => Duration::from_secs(1 << doublings.min(10)).min(DELAY_MAX),
        };
        failures.insert(subject, Failures { count, last: now, open: now + delay });
    }
}

fn subjects(name: &str, address: IpAddr) -> [Subject; 3] {
    let (name, address) = (Some(name.to_owned()), one_customer(address));
    [(name.clone(), Some(address)), (None, Some(address)), (name, None)]
}

/// Forgets what is over, or else the longest ago.
fn make_room(failures: &mut Known, now: Instant) {
    failures.retain(|_, known| now - known.last < DELAY_MAX);
    if failures.len() >= ENTRIES_MAX {
        let oldest = failures.iter().min_by_key(|(_, known)| known.last).map(|(subject, _)| subject.clone());
        oldest.and_then(|subject| failures.remove(&subject));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);

    #[test]
    fn each_failure_after_five_doubles_the_delay_up_to_a_quarter_of_an_hour() {
        let (mut failures, mut now) = (Known::new(), Instant::now());
        for failure in 1..=16_u32 {
            failed_at(&mut failures, "ann", HERE, now);
            let delay = if failure <= 5 { 0 } else { (1 << (failure - 6).min(10)).min(900) };
            let told = check_at(&failures, "ann", HERE, now).err().map(|error| error.retry_after_s);
            assert_eq!(told, (delay > 0).then_some(delay + 1), "after {failure} failures");
            check_at(&failures, "ann", THERE, now).expect("her own address is elsewhere");
            check_at(&failures, "bob", HERE, now).expect("the address may try other names");
            now += Duration::from_secs(delay);
        }
    }

    #[test]
    fn an_address_that_tries_many_names_is_locked_out_and_quiet_forgets() {
        let (mut failures, now) = (Known::new(), Instant::now());
        for name in 0..25 {
            failed_at(&mut failures, &format!("name {name}"), HERE, now);
        }
        assert_eq!(check_at(&failures, "another", HERE, now).expect_err("locked").code, "too_many_attempts");
        let later = now + DELAY_MAX;
        check_at(&failures, "another", HERE, later).unwrap();
        failed_at(&mut failures, "another", HERE, later);
        check_at(&failures, "another", HERE, later).unwrap();
    }

    #[test]
    fn attempts_at_the_same_time_count_before_any_of_them_has_failed() {
        let guesses = Guesses::default();
        let admitted = (0..50).filter(|_| guesses.attempt("ann", HERE).is_ok()).count();
        assert_eq!(admitted, 6, "five free ones, and the one that starts the first delay");
        guesses.succeeded("ann", HERE);
        guesses.attempt("ann", HERE).expect("who knows the password starts anew");
    }

    #[test]
    fn names_that_nobody_has_take_bounded_memory() {
        let (mut failures, now) = (Known::new(), Instant::now());
        for name in 0..ENTRIES_MAX {
            failures.insert((Some(name.to_string()), None), Failures { count: 1, last: now, open: now });
        }
        failed_at(&mut failures, "one more", HERE, now + DELAY_MAX);
        assert!(failures.len() <= 3, "what was over is forgotten");
    }
}
