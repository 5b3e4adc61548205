//! What the connections, the deliveries and the test share: everything under one lock.

use crate::faults::{Fault, Faults, draw};
use crate::idempotency::Keys;
use crate::ledger::Ledger;
use crate::webhooks::{Deliveries, Outbox};
use crate::{Call, Options};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ledger: Ledger,
    pub(crate) keys: Keys,
    pub(crate) calls: Vec<Call>,
    pub(crate) faults: Faults,
    pub(crate) webhook: Option<String>,
    pub(crate) deliveries: Deliveries,
    /// How often each call was made: the draw of its fault.
    attempts: BTreeMap<String, u64>,
    /// Events that were handed to the outbox, or to nobody.
    told: usize,
}

#[derive(Debug)]
pub(crate) struct Shared {
    /// The API key.
    pub(crate) key: String,
    /// A signature is made with each of them.
    pub(crate) secrets: Vec<String>,
    pub(crate) seed: u64,
    pub(crate) outbox: Outbox,
    state: Mutex<State>,
}

impl Shared {
    pub(crate) fn new(options: Options, url: String, outbox: Outbox) -> Self {
        let Options { key, webhook_secrets: secrets, seed, faults, deliveries, clock_offset_s, listen: _ } = options;
        let state = State {
            ledger: Ledger::new(seed, clock_offset_s, url),
            keys: Keys::default(),
            calls: Vec::new(),
            faults,
            webhook: None,
            deliveries,
            attempts: BTreeMap::new(),
            told: 0,
        };
        Self { key, secrets, seed, outbox, state: Mutex::new(state) }
    }

    /// Works on the state, then sends what became of it to the webhook, in the order in which it happened.
    pub(crate) fn act<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = work(&mut state);
        let told = std::mem::replace(&mut state.told, 0);
        state.told = state.ledger.events.len();
        if state.deliveries != Deliveries::Manual {
            (told..state.told).for_each(|event| self.outbox.send(event));
        }
        result
    }

    /// The fault that the next attempt at this call meets.
    pub(crate) fn next_fault(&self, call: &str) -> Fault {
        let mut state = self.lock();
        let attempt = state.attempts.entry(call.to_owned()).or_default();
        *attempt += 1;
        let draw = draw(self.seed, call, *attempt);
        state.faults.pick(draw)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Only the check of the books panics under it, and changes nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
