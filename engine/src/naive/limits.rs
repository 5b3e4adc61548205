//! Spending limits of keys and guard rails of accounts (section 9).

use super::calendar::{day_of, minute_of, month_of};
use super::{LimitedKey, Outcome, Twin};
use crate::limits::{ACCOUNT_ATOMS_MAX, GUARD_RAIL_MINUTES, LIMITED_KEYS_PER_ACCOUNT_MAX};
use crate::{AccountId, Amount, Event, KeyId, KeyLimit, KeyLimits, RejectReason, invariant};

/// A limit is from 0 to 46 million dollars.
fn check_limit(limit: Option<Amount>) -> Outcome {
    let max = Amount(ACCOUNT_ATOMS_MAX);
    if limit.is_some_and(|limit| limit < Amount::ZERO || limit > max) {
        return Err(RejectReason::LimitOutOfRange { max });
    }
    Ok(())
}

/// What was spent and reserved, as a refusal names it.
fn sum(parts: &[i64]) -> Amount {
    Amount(parts.iter().fold(0, |sum: i64, part| sum.saturating_add(*part)))
}

fn exceeds(committed: Amount, hold: Amount, max: Amount) -> bool {
    i128::from(committed.0) + i128::from(hold.0) > i128::from(max.0)
}

impl Twin {
    pub(super) fn set_key_limits(&mut self, account: AccountId, key: KeyId, limits: KeyLimits) -> Outcome {
        let keys = &self.find_account(account)?.keys;
        if key == KeyId(0) {
            return Err(RejectReason::KeyNotNumbered);
        }
        check_limit(limits.daily)?;
        check_limit(limits.monthly)?;
        check_limit(limits.hard)?;
        let known = keys.iter().any(|known| known.key == key);
        if !known && keys.len() >= LIMITED_KEYS_PER_ACCOUNT_MAX as usize {
            return Err(RejectReason::TooManyKeys { max: LIMITED_KEYS_PER_ACCOUNT_MAX });
        }
        let keys = &mut self.account_mut(account).keys;
        if !known {
            keys.push(LimitedKey { key, limits, day: (0, 0), month: (0, 0), ever: 0 });
        }
        for limited in keys.iter_mut().filter(|limited| limited.key == key) {
            limited.limits = limits;
        }
        self.tell(Event::KeyLimitsSet { account, key, limits });
        Ok(())
    }

    pub(super) fn set_guard_rail(&mut self, account: AccountId, window: u8, limit: Option<Amount>) -> Outcome {
        self.find_account(account)?;
        if usize::from(window) >= GUARD_RAIL_MINUTES.len() {
            return Err(RejectReason::UnknownGuardRail { count: GUARD_RAIL_MINUTES.len() as u8 });
        }
        check_limit(limit)?;
        let rail = self.account_mut(account).guard_rails.get_mut(usize::from(window));
        *invariant(rail, "every window has its place") = limit;
        self.tell(Event::GuardRailSet { account, window, limit });
        Ok(())
    }

    pub(super) fn reset_guard_rails(&mut self, account: AccountId) -> Outcome {
        self.find_account(account)?;
        self.account_mut(account).spent.clear();
        self.tell(Event::GuardRailsReset { account });
        Ok(())
    }

    /// Whether bids that the account places with this key count for the key's limits.
    pub(super) fn has_limits(&self, account: AccountId, key: KeyId) -> bool {
        self.account(account).keys.iter().any(|limited| limited.key == key)
    }

    /// Records what a delivery took from the buyer.
    pub(super) fn spend(&mut self, account: AccountId, counted_key: Option<KeyId>, amount: Amount) {
        let (minute, day, month) = (minute_of(self.now), day_of(self.now), month_of(self.now));
        let account = self.account_mut(account);
        match account.spent.last_mut() {
            Some((newest, spent)) if *newest == minute => *spent = spent.saturating_add(amount.0),
            Some(_) | None => account.spent.push((minute, amount.0)),
        }
        let longest = u64::from(GUARD_RAIL_MINUTES.into_iter().max().unwrap_or(0));
        account.spent.retain(|(spent_at, _)| spent_at + longest > minute);
        for limited in account.keys.iter_mut().filter(|limited| Some(limited.key) == counted_key) {
            let so_far = if limited.day.0 == day { limited.day.1 } else { 0 };
            limited.day = (day, so_far.saturating_add(amount.0));
            let so_far = if limited.month.0 == month { limited.month.1 } else { 0 };
            limited.month = (month, so_far.saturating_add(amount.0));
            limited.ever = limited.ever.saturating_add(amount.0);
        }
    }

    /// Check 18: whether a bid's key may reserve `hold` more.
    pub(super) fn check_key(&self, account: AccountId, key: KeyId, hold: Amount) -> Outcome {
        let Some(limited) = self.account(account).keys.iter().find(|limited| limited.key == key) else {
            return Ok(());
        };
        let orders = self.orders.iter().filter(|open| open.counted);
        let orders = orders.filter(|open| open.order.account == account && open.order.key == key);
        let held: i64 = orders.map(|open| self.held_by(&open.order).0).sum();
        let contracts = self.contracts.iter().chain(self.locks.iter().map(|lock| &lock.contract));
        let contracts = contracts.filter(|contract| contract.counted_key == Some(key));
        let escrow: i64 = contracts.filter(|contract| contract.buyer == account).map(|own| own.escrow.0).sum();
        let today = if limited.day.0 == day_of(self.now) { limited.day.1 } else { 0 };
        let this_month = if limited.month.0 == month_of(self.now) { limited.month.1 } else { 0 };
        let limits = [
            (KeyLimit::Daily, limited.limits.daily, today),
            (KeyLimit::Monthly, limited.limits.monthly, this_month),
            (KeyLimit::Hard, limited.limits.hard, limited.ever),
        ];
        for (limit, max, spent) in limits {
            let committed = sum(&[spent, held, escrow]);
            if let Some(max) = max
                && exceeds(committed, hold, max)
            {
                return Err(RejectReason::KeyLimitExceeded { limit, max, committed });
            }
        }
        Ok(())
    }

    /// Check 19: whether the account's windows let it reserve `hold` more.
    pub(super) fn check_guard_rails(&self, account: AccountId, hold: Amount) -> Outcome {
        let account = self.account(account);
        let minute = minute_of(self.now);
        for (minutes, max) in GUARD_RAIL_MINUTES.into_iter().zip(account.guard_rails) {
            // Minutes m - w + 1 to m, and nothing is spent after m.
            let in_window = account.spent.iter().filter(|(spent_at, _)| spent_at + u64::from(minutes) > minute);
            let spent: Vec<i64> = in_window.map(|(_, spent)| *spent).collect();
            let committed = sum(&[sum(&spent).0, account.balance.held.0, account.balance.escrow.0]);
            if let Some(max) = max
                && exceeds(committed, hold, max)
            {
                return Err(RejectReason::GuardRailExceeded { minutes, max, committed });
            }
        }
        Ok(())
    }
}
