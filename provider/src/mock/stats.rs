//! What the server counts, and how it knows that a client left.
//!
//! Every chat request ends in exactly one of `completed`, `failed`, `refused` and `aborted`; the difference to
//! `requests` is under way. Tokens are counted when they are handed to the connection, before the client can see them,
//! so a client that has read an answer finds it counted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};

/// What a mock server counted, also the body of `GET /stats`. Only chat requests count.
///
/// The fields are read one after the other: while requests run they may differ by those that end in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Prompt tokens of all requests that were neither failed nor refused.
    pub prompt_tokens: u64,
    /// Tokens handed out. Those of an aborted stream count as far as they were sent; an aborted plain answer has none.
    pub completion_tokens: u64,
}

/// The live counters behind [`MockStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    aborted: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
}

impl Counters {
    /// Counts a request and returns its number; the first is 0.
    pub(crate) fn receive(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn fail(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> MockStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MockStats {
            requests: read(&self.requests),
            completed: read(&self.completed),
            failed: read(&self.failed),
            refused: read(&self.refused),
            aborted: read(&self.aborted),
            prompt_tokens: read(&self.prompt_tokens),
            completion_tokens: read(&self.completion_tokens),
        }
    }
}

/// A request that is being answered. Dropped before [`complete`](Self::complete), it counts as aborted: the connection
/// drops the answer when its client is gone.
#[derive(Debug)]
pub(crate) struct UnderWay {
    counters: Arc<Counters>,
    complete: bool,
}

impl UnderWay {
    pub(crate) fn begin(counters: &Arc<Counters>, prompt_tokens: u64) -> Self {
        counters.prompt_tokens.fetch_add(prompt_tokens, Ordering::Relaxed);
        UnderWay { counters: Arc::clone(counters), complete: false }
    }

    /// Counts tokens that are handed to the connection.
    pub(crate) fn hand_out(&self, tokens: u32) {
        self.counters.completion_tokens.fetch_add(u64::from(tokens), Ordering::Relaxed);
    }

    /// The answer is whole.
    pub(crate) fn complete(&mut self) {
        if !self.complete {
            self.complete = true;
            self.counters.completed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.complete {
            self.counters.aborted.fetch_add(1, Ordering::Relaxed);
        }
    }
}
