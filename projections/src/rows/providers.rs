//! How providers kept what they promised.

use bincode::{Decode, Encode};
use gollem_engine::{Breaker, Timestamp};

/// What was promised and what was measured, over the deliveries that have both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Measured {
    /// Deliveries with a promise and a measurement.
    pub deliveries: u64,
    /// Sum of the promises.
    pub promised: u64,
    /// Sum of the measurements.
    pub measured: u64,
}

impl Measured {
    /// Counts a delivery in, if something was promised (above 0) and measured.
    pub(crate) fn add(&mut self, promised: u32, measured: Option<u32>) {
        if let (1.., Some(measured)) = (promised, measured) {
            self.deliveries += 1;
            self.promised += u64::from(promised);
            self.measured += u64::from(measured);
        }
    }
}

/// A provider's record on one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ScorecardRow {
    /// Deliveries that served what was asked.
    pub completed: u64,
    /// Deliveries whose client left.
    pub abandoned: u64,
    /// Deliveries that failed.
    pub failed: u64,
    /// Deliveries that served, but for which more was claimed than was counted.
    pub overstated: u64,
    /// Deliveries for which a rebate was due.
    pub breaches: u64,
    /// Units delivered.
    pub units: u128,
    /// What it earned in atoms, before rebates.
    pub earned: i128,
    /// What it gave back in atoms.
    pub rebates: i128,
    /// What the platform kept of its part, in atoms.
    pub fees: i128,
    /// Milliseconds to the first token.
    pub latency_ms: Measured,
    /// Tokens a second.
    pub throughput_tps: Measured,
    /// The latency that counts for its asks beside what they promise, once known.
    pub effective_latency_ms: Option<u32>,
    /// The throughput that counts so.
    pub effective_throughput_tps: Option<u32>,
    /// Its circuit breaker now.
    pub breaker: Breaker,
}

/// A change of a provider's circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BreakerRow {
    /// The input.
    pub seq: u64,
    /// Which of its events.
    pub index: u32,
    /// When.
    pub at: Timestamp,
    /// The state from then on.
    pub state: Breaker,
}
