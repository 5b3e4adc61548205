//! What the server counts, and how it knows that a client left.
//!
//! Every request for a completion ends with exactly one [`Outcome`]; the difference to `requests` is under way. Tokens
//! are counted when they are handed to the connection, before the client can see them, so a client that has read an
//! answer finds it counted. Tokens of a plain answer are handed out with its last byte: half a JSON object has none.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use super::fault::Fault;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered to the end.
    Completed,
    /// Its client left, or a stop cut it off, before the answer was complete.
    Aborted,
    /// It was wrong, and answered 4xx.
    Invalid,
    /// It met a fault.
    Fault(Fault),
}

/// How many outcomes there are.
const OUTCOMES: usize = 3 + Fault::ALL.len();

impl Outcome {
    fn all() -> impl Iterator<Item = Outcome> {
        let faults = Fault::ALL.into_iter().map(Outcome::Fault);
        [Outcome::Completed, Outcome::Aborted, Outcome::Invalid].into_iter().chain(faults)
    }

    /// Its name in [`MockStats::outcomes`].
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Aborted => "aborted",
            Outcome::Invalid => "invalid",
            Outcome::Fault(fault) => fault.name(),
        }
    }

    const fn index(self) -> usize {
        match self {
            Outcome::Completed => 0,
            Outcome::Aborted => 1,
            Outcome::Invalid => 2,
            Outcome::Fault(fault) => 3 + fault as usize,
        }
    }
}

/// Requests that ended in one way, and what was served to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Requests.
    pub requests: u64,
    /// Their prompt tokens.
    pub prompt_tokens: u64,
    /// Tokens that were handed out to them.
    pub completion_tokens: u64,
}

/// What a mock server counted, also the body of `GET /stats`. Only requests for completions count.
///
/// The fields are read one after the other: while requests run they may differ by those that end in between.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MockStats {
    /// Requests received.
    pub requests: u64,
    /// Requests answered to the end.
    pub completed: u64,
    /// Requests answered 500, as the failure rate asked for.
    pub failed: u64,
    /// Requests that were wrong and answered 4xx.
    pub refused: u64,
    /// Requests whose client left, or that a stop cut off, before the answer was complete.
    pub aborted: u64,
    /// Prompt tokens of all requests that were taken: not wrong, not answered 429 or 500, not dropped.
    pub prompt_tokens: u64,
    /// Tokens handed out. Those of a stream that did not end count as far as they were sent; a plain answer that was
    /// not sent whole has none.
    pub completion_tokens: u64,
    /// Requests that have ended and their tokens by [`Outcome::name`]; one that never happened is not there.
    pub outcomes: BTreeMap<String, Served>,
}

impl MockStats {
    /// What ended so.
    pub fn of(&self, outcome: Outcome) -> Served {
        self.outcomes.get(outcome.name()).copied().unwrap_or_default()
    }
}

/// The live counters of one outcome.
#[derive(Debug, Default)]
struct Cell {
    requests: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
}

impl Cell {
    fn add(&self, prompt_tokens: u64, completion_tokens: u64) {
        self.prompt_tokens.fetch_add(prompt_tokens, Ordering::Relaxed);
        self.completion_tokens.fetch_add(completion_tokens, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn snapshot(&self) -> Served {
        Served {
            requests: self.requests.load(Ordering::Relaxed),
            prompt_tokens: self.prompt_tokens.load(Ordering::Relaxed),
            completion_tokens: self.completion_tokens.load(Ordering::Relaxed),
        }
    }
}

/// The live counters behind [`MockStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
    outcomes: [Cell; OUTCOMES],
}

impl Counters {
    /// Counts a request and returns its number; the first is 0.
    pub(crate) fn receive(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// A request ended without having been taken.
    pub(crate) fn turn_away(&self, outcome: Outcome) {
        self.outcomes[outcome.index()].add(0, 0);
    }

    pub(crate) fn snapshot(&self) -> MockStats {
        let of = |outcome: Outcome| self.outcomes[outcome.index()].snapshot();
        let seen = Outcome::all().map(|outcome| (outcome.name().to_owned(), of(outcome)));
        MockStats {
            requests: self.requests.load(Ordering::Relaxed),
            completed: of(Outcome::Completed).requests,
            failed: of(Outcome::Fault(Fault::Fail)).requests,
            refused: of(Outcome::Invalid).requests,
            aborted: of(Outcome::Aborted).requests,
            prompt_tokens: self.prompt_tokens.load(Ordering::Relaxed),
            completion_tokens: self.completion_tokens.load(Ordering::Relaxed),
            outcomes: seen.filter(|(_, served)| served.requests > 0).collect(),
        }
    }
}

/// A request that is being answered. Dropped before [`complete`](Self::complete), it counts as aborted or as the fault
/// that it met: the connection drops the answer when its client is gone.
#[derive(Debug)]
pub(crate) struct UnderWay {
    counters: Arc<Counters>,
    /// How it ends unless it completes.
    outcome: Outcome,
    ended: bool,
    prompt_tokens: u64,
    completion_tokens: u64,
}

impl UnderWay {
    pub(crate) fn begin(counters: &Arc<Counters>, prompt_tokens: u64, fault: Option<Fault>) -> Self {
        counters.prompt_tokens.fetch_add(prompt_tokens, Ordering::Relaxed);
        let outcome = fault.map_or(Outcome::Aborted, Outcome::Fault);
        UnderWay { counters: Arc::clone(counters), outcome, ended: false, prompt_tokens, completion_tokens: 0 }
    }

    /// Counts tokens that are handed to the connection.
    pub(crate) fn hand_out(&mut self, tokens: u64) {
        self.counters.completion_tokens.fetch_add(tokens, Ordering::Relaxed);
        self.completion_tokens += tokens;
    }

    /// The answer is whole. One that met a fault keeps it as its outcome.
    pub(crate) fn complete(&mut self) {
        if self.outcome == Outcome::Aborted {
            self.outcome = Outcome::Completed;
        }
        self.end();
    }

    fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.counters.outcomes[self.outcome.index()].add(self.prompt_tokens, self.completion_tokens);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.end();
    }
}
