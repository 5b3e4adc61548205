//! What accounts and their API keys spent, against what they may spend. Spent is what deliveries took, less rebates, when
//! they were reported; what open orders and contracts reserve counts on top.
//!
//! An account's windows are exact to the minute. Only minutes in which it spent take memory, and each window remembers
//! where it begins, so that a look costs a step for each minute that has left the window since the last look.

use crate::calendar::{day, minute, month};
use crate::fingerprint::{Section, hash_row};
use crate::limits::GUARD_RAIL_MINUTES;
use crate::{AccountId, Amount, KeyLimit, KeyLimits, RejectReason, Timestamp};
use bincode::{Decode, Encode};
use std::collections::{BTreeMap, VecDeque};

const WINDOWS: usize = GUARD_RAIL_MINUTES.len();
/// Minutes beyond which nothing counts any more.
const LONGEST: u32 = GUARD_RAIL_MINUTES[WINDOWS - 1] as u32;

/// One account's spending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spending {
    pub(crate) limits: [Option<Amount>; WINDOWS],
    /// Minutes with spending, and what was spent before each of them, counted from the last reset.
    minutes: VecDeque<(u32, i128)>,
    /// Spent since the last reset.
    total: i128,
    /// Minutes that have left the longest window and were dropped from the front.
    dropped: u64,
    /// Where each window begins, counted from the first minute ever. Derived.
    starts: [u64; WINDOWS],
}

impl Spending {
    /// What was spent in a window that ends now.
    fn in_window(&mut self, window: usize, now: Timestamp) -> i128 {
        let since = (minute(now) + 1).saturating_sub(u32::from(GUARD_RAIL_MINUTES[window]));
        let mut at = self.starts[window].max(self.dropped) - self.dropped;
        while self.minutes.get(at as usize).is_some_and(|(minute, _)| *minute < since) {
            at += 1;
        }
        self.starts[window] = at + self.dropped;
        self.total - self.minutes.get(at as usize).map_or(self.total, |(_, before)| *before)
    }

    /// Drops the first minute if it lies before `since`; returns it with what was spent in it.
    fn pop_before(&mut self, since: u32) -> Option<(u32, i128)> {
        let first = self.history().next().filter(|(minute, _)| *minute < since)?;
        self.minutes.pop_front();
        self.dropped += 1;
        Some(first)
    }

    /// Minutes with what was spent in each.
    fn history(&self) -> impl Iterator<Item = (u32, i128)> + '_ {
        let ends = self.minutes.iter().skip(1).map(|(_, before)| *before).chain([self.total]);
        self.minutes.iter().zip(ends).map(|((minute, before), end)| (*minute, end - before))
    }
}

/// Minutes in a row of a snapshot: what bounds its size.
const ROW_MINUTES: usize = 64;

/// One account's spending as a snapshot holds it; one that spent in many minutes has several rows.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct SpendingRow {
    pub(crate) account: AccountId,
    limits: [Option<Amount>; WINDOWS],
    minutes: Vec<(u32, i128)>,
}

impl SpendingRow {
    /// Whether some window has a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.limits.iter().any(Option::is_some)
    }

    /// Whether its sums are within what can be spent.
    pub(crate) fn is_sound(&self) -> bool {
        self.minutes.iter().all(|(_, amount)| (1..1 << 96).contains(amount))
    }
}

/// Spending of all accounts that ever spent or have limits.
#[derive(Debug, Default)]
pub(crate) struct AllSpending {
    accounts: BTreeMap<AccountId, Spending>,
    hash: u64,
}

impl AllSpending {
    fn count(&mut self, account: AccountId, minute: u32, from: i128, to: i128) {
        let row = |amount: i128| if amount == 0 { 0 } else { hash_row(Section::Spending, &(account, minute, amount)) };
        self.hash = self.hash.wrapping_sub(row(from)).wrapping_add(row(to));
    }

    fn limits_row(account: AccountId, window: u8, limit: Option<Amount>) -> u64 {
        limit.map_or(0, |limit| hash_row(Section::Spending, &(account, window, limit)))
    }

    pub(crate) fn set_limit(&mut self, account: AccountId, window: u8, limit: Option<Amount>) {
        let own = &mut self.accounts.entry(account).or_default().limits[usize::from(window)];
        let old = std::mem::replace(own, limit);
        let row = |limit| Self::limits_row(account, window, limit);
        self.hash = self.hash.wrapping_sub(row(old)).wrapping_add(row(limit));
    }

    /// Notes what a delivery took.
    pub(crate) fn spend(&mut self, account: AccountId, amount: Amount, now: Timestamp) {
        if amount.0 == 0 {
            return;
        }
        let (now, amount) = (minute(now), i128::from(amount.0));
        let own = self.accounts.entry(account).or_default();
        if own.minutes.back().is_none_or(|(last, _)| *last != now) {
            own.minutes.push_back((now, own.total));
        }
        let before = own.minutes.back().map_or(0, |(_, before)| *before);
        let spent = own.total - before;
        own.total += amount;
        self.count(account, now, spent, spent + amount);
        self.drop_old(account, now);
    }

    fn drop_old(&mut self, account: AccountId, now: u32) {
        let since = (now + 1).saturating_sub(LONGEST);
        while let Some((minute, amount)) = self.accounts.get_mut(&account).and_then(|own| own.pop_before(since)) {
            self.count(account, minute, amount, 0);
        }
    }

    /// Forgets what an account spent.
    pub(crate) fn reset(&mut self, account: AccountId) {
        let Some(own) = self.accounts.get_mut(&account) else { return };
        let history: Vec<(u32, i128)> = own.history().collect();
        *own = Spending { limits: own.limits, ..Spending::default() };
        for (minute, amount) in history {
            self.count(account, minute, amount, 0);
        }
    }

    /// Refuses what would exceed a window's limit. `reserved` counts in every window.
    pub(crate) fn check(
        &mut self,
        account: AccountId,
        reserved: Amount,
        needed: Amount,
        now: Timestamp,
    ) -> Result<(), RejectReason> {
        let Some(own) = self.accounts.get_mut(&account) else { return Ok(()) };
        for (window, minutes) in GUARD_RAIL_MINUTES.into_iter().enumerate() {
            let Some(max) = own.limits[window] else { continue };
            let committed = own.in_window(window, now) + i128::from(reserved.0);
            if committed + i128::from(needed.0) > i128::from(max.0) {
                let committed = clamped(committed);
                return Err(RejectReason::GuardRailExceeded { minutes, max, committed });
            }
        }
        Ok(())
    }

    /// Spent in each window that ends now, with its limit.
    pub(crate) fn windows(&self, account: AccountId, now: Timestamp) -> Vec<(u16, Amount, Option<Amount>)> {
        let mut own = self.accounts.get(&account).cloned().unwrap_or_default();
        let row = |window: usize| {
            let spent = clamped(own.in_window(window, now));
            (GUARD_RAIL_MINUTES[window], spent, own.limits[window])
        };
        (0..WINDOWS).map(row).collect()
    }

    /// Rows for a snapshot: each account's oldest minutes first.
    pub(crate) fn rows(&self) -> impl Iterator<Item = SpendingRow> + '_ {
        self.accounts.iter().flat_map(|(account, own)| {
            let mut history = own.history();
            let rows = own.minutes.len().div_ceil(ROW_MINUTES).max(1);
            (0..rows).map(move |_| SpendingRow {
                account: *account,
                limits: own.limits,
                minutes: history.by_ref().take(ROW_MINUTES).collect(),
            })
        })
    }

    pub(crate) fn restore(&mut self, row: &SpendingRow) {
        for (window, limit) in (0..).zip(row.limits) {
            self.set_limit(row.account, window, limit);
        }
        for (minute, amount) in &row.minutes {
            let own = self.accounts.entry(row.account).or_default();
            own.minutes.push_back((*minute, own.total));
            own.total += amount;
            self.count(row.account, *minute, 0, *amount);
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

fn clamped(amount: i128) -> Amount {
    Amount(i64::try_from(amount).unwrap_or(i64::MAX))
}

/// What an API key that has limits may spend, and what counts against them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyStanding {
    /// What it may spend.
    pub limits: KeyLimits,
    /// What its open orders and contracts reserve, which counts against each limit.
    pub reserved: Amount,
    /// Spent in this day (UTC).
    pub spent_in_day: Amount,
    /// Spent in this month (UTC).
    pub spent_in_month: Amount,
    /// Spent since it has limits.
    pub spent: Amount,
}

/// What one API key spent and may spend.
#[derive(Clone, Copy, Debug, Default, Encode, Decode)]
pub(crate) struct KeySpending {
    pub(crate) limits: KeyLimits,
    /// Held and in escrow.
    reserved: Amount,
    day: u32,
    spent_in_day: i128,
    month: u32,
    spent_in_month: i128,
    spent: i128,
}

impl KeySpending {
    /// Counts in what an order or a contract reserves; out, when it is negative.
    pub(crate) fn reserve(&mut self, atoms: i64) {
        self.reserved.0 += atoms;
        assert!(self.reserved.0 >= 0, "a key frees no more than it reserved");
    }

    /// Counts what a delivery took.
    pub(crate) fn spend(&mut self, amount: Amount, now: Timestamp) {
        let amount = i128::from(amount.0);
        (self.spent_in_day, self.spent_in_month) = (self.in_day(now) + amount, self.in_month(now) + amount);
        (self.day, self.month) = (day(now), month(now));
        self.spent += amount;
    }

    fn in_day(&self, now: Timestamp) -> i128 {
        if self.day == day(now) { self.spent_in_day } else { 0 }
    }

    fn in_month(&self, now: Timestamp) -> i128 {
        if self.month == month(now) { self.spent_in_month } else { 0 }
    }

    /// What it comes to.
    pub(crate) fn standing(&self, now: Timestamp) -> KeyStanding {
        KeyStanding {
            limits: self.limits,
            reserved: self.reserved,
            spent_in_day: clamped(self.in_day(now)),
            spent_in_month: clamped(self.in_month(now)),
            spent: clamped(self.spent),
        }
    }

    /// Refuses what would exceed a limit.
    pub(crate) fn check(&self, needed: Amount, now: Timestamp) -> Result<(), RejectReason> {
        let limits = [
            (KeyLimit::Daily, self.limits.daily, self.in_day(now)),
            (KeyLimit::Monthly, self.limits.monthly, self.in_month(now)),
            (KeyLimit::Hard, self.limits.hard, self.spent),
        ];
        for (limit, max, spent) in limits {
            let Some(max) = max else { continue };
            let committed = spent + i128::from(self.reserved.0);
            if committed + i128::from(needed.0) > i128::from(max.0) {
                return Err(RejectReason::KeyLimitExceeded { limit, max, committed: clamped(committed) });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::GUARD_RAIL_MINUTES;

    /// All windows after random spending against a full scan of everything spent.
    #[test]
    fn windows_are_exact_to_the_minute() {
        let account = AccountId(1);
        let (mut all, mut spent, mut now, mut random) = (AllSpending::default(), Vec::new(), 0_u64, 1_u64);
        for round in 0..3_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            now += (random >> 33) % if round % 100 == 0 { 30_000 } else { 90 } * 1_000_000_000;
            let amount = (random >> 50) as i64;
            all.spend(account, Amount(amount), Timestamp(now));
            spent.push((now / 60_000_000_000, amount));
            for (minutes, sum, _) in all.windows(account, Timestamp(now)) {
                let inside = |at: u64| at + u64::from(minutes) > now / 60_000_000_000;
                let expected: i64 = spent.iter().filter(|(at, _)| inside(*at)).map(|(_, amount)| amount).sum();
                assert_eq!(sum, Amount(expected), "{minutes} minutes at {now}");
            }
        }
        assert!(all.accounts[&account].minutes.len() <= usize::from(GUARD_RAIL_MINUTES[16]));
        let restored = |all: &AllSpending| {
            let mut copy = AllSpending::default();
            all.rows().for_each(|row| copy.restore(&row));
            copy.hash()
        };
        assert_eq!(restored(&all), all.hash());
        all.reset(account);
        assert_eq!(all.hash(), 0, "nothing spent, no limits");
    }
}
