//! Timers an account keeps pushing ahead of itself: when it falls silent, its orders are cancelled.

use crate::deadlines::Deadline;
use crate::flags::Flags;
use crate::limits::TIMER_NS_MAX;
use crate::{AccountId, CloseReason, Engine, Event, Events, RejectReason, Timer, Timestamp};

impl Engine {
    /// Sets, renews or clears a timer.
    pub(crate) fn set_timer(
        &mut self,
        account: AccountId,
        timer: Timer,
        after_ns: Option<u64>,
        now: Timestamp,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        self.known_account(account)?;
        if after_ns.is_some_and(|after| after == 0 || after > TIMER_NS_MAX) {
            return Err(RejectReason::TimerOutOfRange { max_ns: TIMER_NS_MAX });
        }
        if let Some(old) = self.timers.remove(&(account, timer)) {
            self.deadlines.clear(old, Deadline::Timer(account, timer));
        }
        let at = after_ns.map(|after| Timestamp(now.0.saturating_add(after)));
        if let Some(at) = at {
            self.timers.insert((account, timer), at);
            self.deadlines.set(at, Deadline::Timer(account, timer));
        }
        events.push(Event::TimerSet { account, timer, at });
        Ok(())
    }

    /// A timer ran out: cancels what it stands for, oldest first.
    pub(crate) fn fire_timer(&mut self, account: AccountId, timer: Timer, events: &mut Events) {
        self.timers.remove(&(account, timer));
        events.push(Event::TimerFired { account, timer });
        let (victims, reason) = match timer {
            Timer::DeadMan => (self.own_orders(account, |_, _| true), CloseReason::DeadMan),
            Timer::Connection => {
                let asked = |engine: &Engine, slot| engine.orders.hot(slot).flags.has(Flags::ON_DISCONNECT);
                (self.own_orders(account, asked), CloseReason::Disconnected)
            }
        };
        for slot in victims {
            self.close_order(slot, reason, events);
        }
    }
}
