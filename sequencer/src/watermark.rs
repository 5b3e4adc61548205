//! How far inputs are durable: the minimum over all witnesses.
//!
//! The journal's own disk is the first witness, and today the only one that an exchange has. Others (a log that is
//! replicated elsewhere) may join: nothing leaves before each of them has confirmed it.
//!
//! Invariant: a [`Watermark`] never says more than what the journal's disk proved with a [`Durable`].

use gollem_journal::Durable;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a witness that is behind is waited for before it is asked again, if nothing wakes the waiter before.
const PATIENCE: Duration = Duration::from_millis(1);

/// Proof that inputs up to a sequence number are durable at every witness. Only [`Witnesses`] makes one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watermark {
    seq: u64,
}

impl Watermark {
    pub(crate) fn covers(self, seq: u64) -> bool {
        seq <= self.seq
    }

    pub(crate) fn seq(self) -> u64 {
        self.seq
    }
}

/// Someone besides the local disk who confirms inputs. Clones are the same witness.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    confirmed: Arc<AtomicU64>,
}

impl Witness {
    /// A witness that has confirmed nothing yet.
    pub fn new() -> Witness {
        Witness::default()
    }

    /// Confirms everything up to this input. What was confirmed stays so.
    pub fn confirm(&self, seq: u64) {
        self.confirmed.fetch_max(seq, Ordering::Release);
    }

    fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Acquire)
    }
}

/// All witnesses besides the local disk.
#[derive(Debug)]
pub(crate) struct Witnesses(pub(crate) Vec<Witness>);

impl Witnesses {
    /// What is durable everywhere, given what is on the local disk.
    pub(crate) fn watermark(&self, local: Durable) -> Watermark {
        let elsewhere = self.0.iter().map(Witness::confirmed).min();
        Watermark { seq: elsewhere.map_or(local.seq(), |seq| seq.min(local.seq())) }
    }

    /// Lets the calling thread wait a little for a witness that is behind.
    pub(crate) fn wait(&self) {
        std::thread::park_timeout(PATIENCE);
    }
}
