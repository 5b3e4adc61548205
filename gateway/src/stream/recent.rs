//! What has happened since look-ups began that still go on: what a look-up found is older by then.

use crate::stream::limits::RECENT_EVENTS_MAX;
use crate::stream::private::Now;
use gollem_engine::Event;
use std::collections::VecDeque;

/// Events since the oldest look-up began, a bounded number.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// The position at which each look-up began.
    begun: Vec<u64>,
    events: VecDeque<(Now, Event)>,
    /// The last input of which an event found no room.
    missed_seq: u64,
}

impl Recent {
    /// Keeps what happens after input `position`, until a look-up that began there ends.
    pub(super) fn begin(&mut self, position: u64) {
        self.begun.push(position);
    }

    /// Adds an event, if a look-up goes on.
    pub(super) fn keep(&mut self, now: Now, event: &Event) {
        if self.begun.is_empty() {
            return;
        }
        if self.events.len() < RECENT_EVENTS_MAX {
            self.events.push_back((now, *event));
        } else {
            self.missed_seq = now.seq;
        }
    }

    /// What happened after input `seq`; `None` if some of it found no room.
    pub(super) fn after(&self, seq: u64) -> Option<impl Iterator<Item = &(Now, Event)>> {
        let events = self.events.iter().skip_while(move |(now, _)| now.seq <= seq);
        (self.missed_seq <= seq).then_some(events)
    }

    /// Ends a look-up that began at `position`, and forgets what no other needs.
    pub(super) fn end(&mut self, position: u64) {
        if let Some(place) = self.begun.iter().position(|begun| *begun == position) {
            self.begun.swap_remove(place);
        }
        let Some(oldest) = self.begun.iter().min() else {
            self.events = VecDeque::new();
            return;
        };
        let needless = self.events.partition_point(|(now, _)| now.seq <= *oldest);
        self.events.drain(..needless);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_engine::{OrderId, Quantity, Timestamp};

    fn keep(recent: &mut Recent, seq: u64) {
        let event = Event::OrderRested { order: OrderId(seq), remaining: Quantity(1) };
        recent.keep(Now { seq, index: 0, at: Timestamp(0) }, &event);
    }

    fn after(recent: &Recent, seq: u64) -> Option<Vec<u64>> {
        recent.after(seq).map(|events| events.map(|(now, _)| now.seq).collect())
    }

    #[test]
    fn each_look_up_has_what_came_after_it_began_and_no_more_is_kept_than_the_oldest_needs() {
        let mut recent = Recent::default();
        keep(&mut recent, 1);
        recent.begin(1);
        keep(&mut recent, 2);
        recent.begin(2);
        keep(&mut recent, 3);
        assert_eq!(after(&recent, 1), Some(vec![2, 3]));
        assert_eq!(after(&recent, 2), Some(vec![3]));
        recent.end(1);
        assert_eq!(recent.events.len(), 1, "nobody needs what came before 3");
        assert_eq!(after(&recent, 2), Some(vec![3]));
        recent.end(2);
        keep(&mut recent, 4);
        assert!(recent.events.is_empty());
    }

    #[test]
    fn look_ups_that_overlap_for_ever_do_not_fail_for_what_came_before_them() {
        let mut recent = Recent::default();
        recent.begin(0);
        let beyond = RECENT_EVENTS_MAX as u64 + 1;
        (1..=beyond).for_each(|seq| keep(&mut recent, seq));
        assert_eq!(after(&recent, 0), None, "the last found no room");
        recent.begin(beyond);
        recent.end(0);
        keep(&mut recent, beyond + 1);
        assert_eq!(after(&recent, beyond), Some(vec![beyond + 1]));
    }
}
