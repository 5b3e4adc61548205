//! The one clock: wall time that never goes back.

use gollem_engine::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Stamps inputs.
#[derive(Debug)]
pub(crate) struct Clock {
    last: Timestamp,
}

impl Clock {
    /// A clock that never stamps earlier than `last`, the newest stamp in the journal.
    pub(crate) fn starting_at(last: Timestamp) -> Clock {
        Clock { last }
    }

    /// Now, or the last stamp again if the machine's clock stepped back.
    pub(crate) fn stamp(&mut self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        self.last = self.last.max(Timestamp(now));
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_never_goes_back_even_when_the_machine_clock_does() {
        let far_future = Timestamp(u64::MAX - 1);
        let mut clock = Clock::starting_at(far_future);
        assert_eq!(clock.stamp(), far_future);
        let mut clock = Clock::starting_at(Timestamp(0));
        let first = clock.stamp();
        assert!(first > Timestamp(0) && clock.stamp() >= first);
    }
}
