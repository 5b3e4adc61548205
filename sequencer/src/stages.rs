//! How long commands spend where: histograms of every stage, in nanoseconds.
//!
//! One command in [`SAMPLED`] is timed on its way, so that reading the clock costs the others nothing; groups are all
//! timed. The committer records both once a group; whoever asks gets a copy.

use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// One command of so many is timed.
pub(crate) const SAMPLED: u64 = 64;
/// Longest time told apart from a longer one: a minute in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

/// Times of stages in nanoseconds, two digits exact.
#[derive(Clone, Debug)]
pub struct Stages {
    /// From submitted to taken by the matcher.
    pub queue: Histogram<u64>,
    /// Making the record.
    pub encode: Histogram<u64>,
    /// [`gollem_engine::Engine::apply`].
    pub apply: Histogram<u64>,
    /// Writing and syncing a group.
    pub sync: Histogram<u64>,
    /// From durable to told to everyone, a group.
    pub egress: Histogram<u64>,
    /// From submitted to answered.
    pub total: Histogram<u64>,
    /// Inputs in a group: a count, not a time.
    pub group_inputs: Histogram<u64>,
}

impl Stages {
    pub(crate) fn new() -> Result<Stages, hdrhistogram::CreationError> {
        let times = Histogram::new_with_bounds(1, LONGEST_NS, 2)?;
        Ok(Stages {
            queue: times.clone(),
            encode: times.clone(),
            apply: times.clone(),
            sync: times.clone(),
            egress: times.clone(),
            total: times.clone(),
            group_inputs: times,
        })
    }

    /// Each stage with its name.
    pub fn named(&self) -> [(&'static str, &Histogram<u64>); 6] {
        [
            ("queue", &self.queue),
            ("encode", &self.encode),
            ("apply", &self.apply),
            ("sync", &self.sync),
            ("egress", &self.egress),
            ("total", &self.total),
        ]
    }

    /// Records a sampled command that is answered now.
    pub(crate) fn record(&mut self, sample: &Sample, answered: Instant) {
        add(&mut self.queue, sample.queue);
        add(&mut self.encode, sample.encode);
        add(&mut self.apply, sample.apply);
        add(&mut self.total, answered.saturating_duration_since(sample.submitted));
    }

    /// Records a group.
    pub(crate) fn record_group(&mut self, inputs: usize, sync: Duration, egress: Duration) {
        add(&mut self.sync, sync);
        add(&mut self.egress, egress);
        self.group_inputs.saturating_record(inputs as u64);
    }
}

/// One command's times on the matcher thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) submitted: Instant,
    pub(crate) queue: Duration,
    pub(crate) encode: Duration,
    pub(crate) apply: Duration,
}

fn add(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
}
