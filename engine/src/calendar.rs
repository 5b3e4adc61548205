//! UTC days and months of a time stamp, by whole-number arithmetic.

use crate::Timestamp;

const DAY_NS: u64 = 86_400 * 1_000_000_000;

/// Days since the epoch.
pub(crate) fn day(at: Timestamp) -> u32 {
    (at.0 / DAY_NS) as u32 // 64 bits of nanoseconds are 213,504 days.
}

/// Minutes since the epoch.
pub(crate) fn minute(at: Timestamp) -> u32 {
    (at.0 / 60_000_000_000) as u32 // 64 bits of nanoseconds are 307 million minutes.
}

/// Months since January 1970.
pub(crate) fn month(at: Timestamp) -> u32 {
    // Days are counted from 1 March of year 0, so that a leap day is the last of its year, and years in cycles of 400
    // (146,097 days): the proleptic Gregorian calendar.
    let days = day(at) + 719_468;
    let (cycle, day_of_cycle) = (days / 146_097, days % 146_097);
    let year = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    (cycle * 400 + year) * 12 + month_from_march + 2 - 1_970 * 12
}

/// The first instant of the month after that of `at`; the last instant there is when it does not fit.
pub(crate) fn next_month(at: Timestamp) -> Timestamp {
    let first_day = days_to_month(month(at) + 1);
    Timestamp(u64::from(first_day).saturating_mul(DAY_NS))
}

/// Days from the epoch to the first of a month, counted from January 1970.
fn days_to_month(months: u32) -> u32 {
    let from_march = months + 1_970 * 12 - 2;
    let (year, month_from_march) = (from_march / 12, from_march % 12);
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month_from_march + 2) / 5 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_counted_and_begin_where_the_calendar_says() {
        // (days since the epoch, month, days to the next month's first), from `date -u -d @...`.
        let known = [
            (0, 0, 31),
            (30, 0, 31),
            (31, 1, 59),
            (58, 1, 59),
            (59, 2, 90),
            (11_016, 361, 11_017),   // 29 February 2000
            (19_782, 649, 19_783),   // 29 February 2024
            (20_088, 659, 20_089),   // 31 December 2024
            (20_089, 660, 20_120),   // 1 January 2025
            (47_540, 1_561, 47_541), // 28 February 2100, no leap year
        ];
        for (days, months, next) in known {
            let last_instant = Timestamp((days + 1) * DAY_NS - 1);
            for at in [Timestamp(days * DAY_NS), last_instant] {
                assert_eq!(month(at), months, "day {days}");
                assert_eq!(next_month(at), Timestamp(next * DAY_NS), "day {days}");
            }
        }
    }

    #[test]
    fn every_day_of_two_centuries_is_in_the_month_it_should_be() {
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut day = 0;
        for months in 0..2_400_u32 {
            let (year, month_of_year) = (1_970 + months / 12, (months % 12) as usize);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            for _ in 0..lengths[month_of_year] + u64::from(leap && month_of_year == 1) {
                assert_eq!(month(Timestamp(day * DAY_NS)), months, "day {day}");
                day += 1;
            }
            assert_eq!(u64::from(days_to_month(months + 1)), day);
        }
    }
}
