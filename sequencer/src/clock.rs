//! The one clock: wall time that never goes back.

use gollem_engine::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the time comes from.
#[derive(Clone, Debug, Default)]
pub enum TimeSource {
    /// The machine's clock.
    #[default]
    System,
    /// Nanoseconds that somebody else sets, for simulation.
    Given(Arc<AtomicU64>),
}

impl TimeSource {
    fn now(&self) -> Timestamp {
        match self {
            TimeSource::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
            }
            TimeSource::Given(now) => Timestamp(now.load(Ordering::Relaxed)),
        }
    }
}

/// Stamps inputs.
#[derive(Debug)]
pub(crate) struct Clock {
    source: TimeSource,
    last: Timestamp,
}

impl Clock {
    /// A clock that never stamps earlier than `last`, the newest stamp in the journal.
    pub(crate) fn starting_at(last: Timestamp, source: TimeSource) -> Clock {
        Clock { source, last }
    }

    /// Now, or the last stamp again if the source stepped back.
    pub(crate) fn stamp(&mut self) -> Timestamp {
        self.last = self.last.max(self.source.now());
        self.last
    }

    /// The last stamp, for inputs that come within moments of it.
    #[inline]
    pub(crate) fn last(&self) -> Timestamp {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_never_goes_back_even_when_the_machine_clock_does() {
        let far_future = Timestamp(u64::MAX - 1);
        let mut clock = Clock::starting_at(far_future, TimeSource::System);
        assert_eq!(clock.stamp(), far_future);
        let given = Arc::new(AtomicU64::new(7));
        let mut clock = Clock::starting_at(Timestamp(5), TimeSource::Given(Arc::clone(&given)));
        assert_eq!(clock.stamp(), Timestamp(7));
        given.store(3, Ordering::Relaxed);
        assert_eq!((clock.stamp(), clock.last()), (Timestamp(7), Timestamp(7)));
        given.store(8, Ordering::Relaxed);
        assert_eq!(clock.stamp(), Timestamp(8));
    }
}
