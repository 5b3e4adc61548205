//! Rows 13 and 14 of the reliability scoreboard: one run a seed, on all cores.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Faults, Summary, run};
use crate::outcome::Outcome;

/// One is enough to look at; a few show whether they have something in common.
const FAILURES_MAX: usize = 5;
/// One seed in so many is run twice although nothing failed.
const TWICE: u64 = 64;

/// Runs so many seeds from `seed` on. A seed that fails is run again, and it is said whether it fails the same way.
#[must_use]
pub fn check(faults: Faults, cases: u64, seed: u64) -> Outcome {
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let failures = Mutex::new(Vec::new());
    let work = || {
        loop {
            let case = next.fetch_add(1, Ordering::Relaxed);
            if case >= cases {
                return;
            }
            let result = case_of(faults, seed.wrapping_add(case));
            done.fetch_add(1, Ordering::Relaxed);
            if let Err(what) = result {
                let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                failures.push(what);
                if failures.len() >= FAILURES_MAX {
                    next.store(cases, Ordering::Relaxed);
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    Outcome { cases: done.into_inner(), failures, skipped: None }
}

fn case_of(faults: Faults, seed: u64) -> Result<Summary, String> {
    let first = run(faults, seed);
    if first.is_ok() && !seed.is_multiple_of(TWICE) {
        return first.map_err(|failure| failure.to_string());
    }
    let same = run(faults, seed) == first;
    match first {
        Err(failure) if same => Err(format!("{failure}; it fails the same way again")),
        Err(failure) => Err(format!("{failure}; it goes ANOTHER way when it is run again")),
        Ok(_) if !same => Err(format!("seed {seed}: it goes ANOTHER way when it is run again")),
        Ok(summary) => Ok(summary),
    }
}
