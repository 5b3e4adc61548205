//! Time stamps as text. RFC 3339 in UTC with all nine decimals, because the order of inputs is finer than a second.
//!
//! The calendar arithmetic counts in eras of 400 years from 1 March of the year 0, so that the leap day is the last of
//! its year and every month's start is one linear expression.

const NS_PER_S: u64 = 1_000_000_000;
const S_PER_DAY: u64 = 86_400;
const DAYS_PER_ERA: u64 = 146_097;
/// From 1 March of the year 0 to 1 January 1970.
const DAYS_TO_EPOCH: u64 = 719_468;

/// The time `ns` nanoseconds after the Unix epoch. Every `u64` is within the year 2554.
pub(crate) fn rfc3339(ns: u64) -> String {
    let (seconds, ns) = (ns / NS_PER_S, ns % NS_PER_S);
    let (days, second) = (seconds / S_PER_DAY + DAYS_TO_EPOCH, seconds % S_PER_DAY);
    let (era, day) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // From March.
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next_year;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ns:09}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: u64, ns: u64, expected: &str) {
        assert_eq!(rfc3339(seconds * NS_PER_S + ns), expected);
    }

    #[test]
    fn known_times_are_written_as_everyone_else_writes_them() {
        check(0, 0, "1970-01-01T00:00:00.000000000Z");
        check(951_782_400, 1, "2000-02-29T00:00:00.000000001Z");
        check(951_868_799, 999_999_999, "2000-02-29T23:59:59.999999999Z");
        check(951_868_800, 0, "2000-03-01T00:00:00.000000000Z");
        check(1_000_000_000, 0, "2001-09-09T01:46:40.000000000Z");
        check(1_735_689_599, 0, "2024-12-31T23:59:59.000000000Z");
        check(4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..200_000 {
            let text = rfc3339(days * S_PER_DAY * NS_PER_S);
            assert_eq!(text[..10], format!("{year:04}-{month:02}-{day:02}"));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }
}
