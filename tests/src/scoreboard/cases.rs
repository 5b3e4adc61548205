//! Runs a row's cases on all cores, each from its own seed.
//!
//! Invariants: the seeds are consecutive and start at the run's; a panic in a case is that case's failure; after a few
//! failures no further case is begun, because one is enough to look at.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Run;
use super::disk::lock;
use crate::outcome::Outcome;

const FAILURES_MAX: usize = 5;

impl Run {
    /// Runs `case` with one seed after another until it has counted enough cases. It returns how many it tried.
    pub(crate) fn each(&self, case: impl Fn(u64) -> Result<u64, String> + Sync) -> Outcome {
        let (next, done) = (AtomicU64::new(self.seed), AtomicU64::new(0));
        let failures = Mutex::new(Vec::new());
        let work = || {
            while done.load(Ordering::Relaxed) < self.cases {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                let result = catch_unwind(AssertUnwindSafe(|| case(seed)))
                    .unwrap_or_else(|panic| Err(format!("panicked: {}", words(&*panic))));
                match result {
                    Ok(count) => {
                        done.fetch_add(count, Ordering::Relaxed);
                    }
                    Err(what) => {
                        let mut failures = lock(&failures);
                        failures.push(format!("{what}; repeat with --only {} --seed {seed}", self.row));
                        done.fetch_add(1, Ordering::Relaxed);
                        if failures.len() >= FAILURES_MAX {
                            return;
                        }
                    }
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        Outcome { cases: done.into_inner(), failures, skipped: None }
    }
}

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run = Run { row: "0", seed: 7, cases: 100, full: false };

    #[test]
    fn every_seed_is_tried_once_and_the_count_is_reached() {
        let seen = Mutex::new(Vec::new());
        let outcome = RUN.each(|seed| {
            seen.lock().unwrap().push(seed);
            Ok(3)
        });
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        assert!(outcome.cases >= 100 && outcome.failures.is_empty());
        assert_eq!(seen, (7..7 + outcome.cases / 3).collect::<Vec<_>>());
    }

    #[test]
    fn a_failure_and_a_panic_name_the_seed_that_repeats_them() {
        let outcome = RUN.each(|seed| match seed {
            20 => Err("it broke".to_owned()),
            30 => panic!("it fell"),
            _ => Ok(1),
        });
        let mut failures = outcome.failures;
        failures.sort();
        let expected =
            ["it broke; repeat with --only 0 --seed 20", "panicked: it fell; repeat with --only 0 --seed 30"];
        assert_eq!(failures, expected);
    }
}
