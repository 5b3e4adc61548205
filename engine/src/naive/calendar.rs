//! Days and months (UTC), counted from the first of January 1970.

use crate::Timestamp;

const NS_PER_MINUTE: u64 = 60 * 1_000_000_000;
const NS_PER_DAY: u64 = 24 * 60 * NS_PER_MINUTE;

pub(super) fn minute_of(at: Timestamp) -> u64 {
    at.0 / NS_PER_MINUTE
}

pub(super) fn day_of(at: Timestamp) -> u64 {
    at.0 / NS_PER_DAY
}

/// The month that a time is in.
pub(super) fn month_of(at: Timestamp) -> u64 {
    let mut days = day_of(at);
    let mut month = 0;
    while days >= days_in(month) {
        days -= days_in(month);
        month += 1;
    }
    month
}

/// The first instant of a month; `None` past the end of time.
pub(super) fn start_of(month: u64) -> Option<Timestamp> {
    (0..month).map(days_in).sum::<u64>().checked_mul(NS_PER_DAY).map(Timestamp)
}

fn days_in(month: u64) -> u64 {
    let year = 1970 + month / 12;
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    match month % 12 {
        1 if leap => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}
