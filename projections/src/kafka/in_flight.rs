//! What was sent and not yet acknowledged, by input.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the producer's callbacks tell.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    inputs: Mutex<Inputs>,
    failure: Mutex<Option<String>>,
    is_connected: AtomicBool,
    /// Records acknowledged.
    records: AtomicU64,
}

/// Records still out, for each input from `first` on. The input that is being sent counts one more.
#[derive(Debug, Default)]
struct Inputs {
    first: u64,
    out: VecDeque<u32>,
}

impl InFlight {
    /// Input `seq` is about to be sent; the one before it is whole.
    pub(super) fn begin(&self, seq: u64) {
        let mut inputs = self.inputs();
        if inputs.out.is_empty() {
            inputs.first = seq;
        }
        inputs.out.push_back(1);
    }

    /// A record of the input that was begun last is on its way.
    pub(super) fn sent(&self) {
        if let Some(out) = self.inputs().out.back_mut() {
            *out += 1;
        }
    }

    /// Everything of input `seq` is on its way.
    pub(super) fn complete(&self, seq: u64) {
        self.inputs().one_less(seq);
    }

    /// Inputs of which something is out.
    pub(super) fn len(&self) -> usize {
        self.inputs().out.len()
    }

    /// The first input of which something is out, if one is.
    pub(super) fn first(&self) -> Option<u64> {
        let inputs = self.inputs();
        (!inputs.out.is_empty()).then_some(inputs.first)
    }

    /// Why what was sent is uncertain, if it is.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the broker answers, as far as is known.
    pub(super) fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }

    /// Notes whether the broker answers.
    pub(super) fn set_connected(&self, is_connected: bool) {
        self.is_connected.store(is_connected, Ordering::Relaxed);
    }

    /// Records acknowledged since this was asked last.
    pub(super) fn take_records(&self) -> u64 {
        self.records.swap(0, Ordering::Relaxed)
    }

    fn inputs(&self) -> MutexGuard<'_, Inputs> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, why: String) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }
}

impl Inputs {
    fn one_less(&mut self, seq: u64) {
        let place = seq.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        if let Some(out) = place.and_then(|place| self.out.get_mut(place)) {
            *out = out.saturating_sub(1);
        }
        while self.out.front() == Some(&0) {
            self.out.pop_front();
            self.first += 1;
        }
    }
}

/// What the producer calls.
#[derive(Clone, Debug)]
pub(super) struct Told(pub(super) std::sync::Arc<InFlight>);

impl ClientContext for Told {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.0.set_connected(false),
            Some(RDKafkaErrorCode::Fatal) => self.0.fail(reason.to_owned()),
            _ => {}
        }
    }
}

impl ProducerContext for Told {
    /// The record's input.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, seq: usize) {
        match result {
            Ok(_) => {
                self.0.inputs().one_less(seq as u64);
                self.0.records.fetch_add(1, Ordering::Relaxed);
                self.0.set_connected(true);
            }
            Err((error, _)) => self.0.fail(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_in_flight_until_all_its_records_and_all_before_it_are_acknowledged() {
        let flight = InFlight::default();
        for seq in 5..=7 {
            flight.begin(seq);
            (0..seq - 5).for_each(|_| flight.sent());
            flight.complete(seq);
        }
        assert_eq!((flight.first(), flight.len()), (Some(6), 2), "input 5 had nothing to send");
        flight.inputs().one_less(7);
        flight.inputs().one_less(7);
        assert_eq!((flight.first(), flight.len()), (Some(6), 2), "input 6 is still out");
        flight.inputs().one_less(6);
        assert_eq!((flight.first(), flight.len()), (None, 0));
    }

    #[test]
    fn an_input_that_is_being_sent_is_in_flight_whatever_was_acknowledged() {
        let flight = InFlight::default();
        flight.begin(1);
        flight.sent();
        flight.inputs().one_less(1);
        assert_eq!(flight.first(), Some(1));
        flight.complete(1);
        assert_eq!(flight.first(), None);
    }
}
