//! UTC dates of days since the epoch, by whole-number arithmetic: the Gregorian calendar, as ISO 8601 writes it; and times
//! as RFC 3339 does.

/// Year, month (1 to 12) and day of the month of a day since 1970-01-01.
pub(crate) fn date(day: u32) -> (u32, u32, u32) {
    // Years begin in March here, so that a leap day is the last of its year; counted from 1 March of year 0.
    let days = day + 719_468;
    let (cycle, day_of_cycle) = (days / 146_097, days % 146_097);
    let year = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (cycle * 400 + year, month, day_of_month)
}

/// The time `ns` nanoseconds after the Unix epoch, cut to so many decimals of a second, 1 to 9. Every `u64` is within the
/// year 2554.
pub(crate) fn rfc3339(ns: u64, decimals: u32) -> String {
    let (seconds, fraction) = (ns / 1_000_000_000, ns % 1_000_000_000 / 10_u64.pow(9 - decimals));
    let (days, second) = ((seconds / 86_400) as u32, seconds % 86_400); // 64 bits of nanoseconds are 213,504 days.
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}.{fraction:0width$}Z", date_name(days), width = decimals as usize)
}

/// The day since 1970-01-01 of a date in or after that year; a day beyond the month's last is one of the next month.
pub(crate) fn day((year, month, day): (u32, u32, u32)) -> u32 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// A date as `2026-11-21`.
pub fn date_name(number: u32) -> String {
    let (year, month, day) = date(number);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A date's month as `2026-11`.
pub(crate) fn month_name(number: u32) -> String {
    let (year, month, _) = date(number);
    format!("{year:04}-{month:02}")
}

/// The first day of a day's month, and of the month after it.
pub fn month(number: u32) -> (u32, u32) {
    let (year, month, _) = date(number);
    let next = if month == 12 { (year + 1, 1, 1) } else { (year, month + 1, 1) };
    (day((year, month, 1)), day(next))
}

/// Reads `2026-11-21`, or `2026-11` as the first of that month; years 1970 to 9999.
pub fn parse(text: &str) -> Option<u32> {
    let mut parts = text.split('-');
    let mut next = |digits: usize| {
        let part = parts.next()?;
        let plain = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| part.parse::<u32>().ok()).flatten()
    };
    let (year, month) = (next(4)?, next(2)?);
    let of_month = if text.len() > 7 { next(2)? } else { 1 };
    let sound = year >= 1970 && (1..=12).contains(&month) && of_month >= 1 && parts.next().is_none();
    let number = sound.then(|| day((year, month, of_month)))?;
    (date(number) == (year, month, of_month)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_two_centuries_has_the_date_that_follows_the_one_before() {
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut number = 0;
        for year in 1970..2170_u32 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            for (at, length) in (1..).zip(lengths) {
                let length = length + u32::from(leap && at == 2);
                let first = number;
                for of_month in 1..=length {
                    assert_eq!(date(number), (year, at, of_month));
                    assert_eq!(day((year, at, of_month)), number);
                    assert_eq!(parse(&date_name(number)), Some(number));
                    assert_eq!(month(number), (first, first + length));
                    number += 1;
                }
            }
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        assert_eq!(parse("2026-11").map(date_name).as_deref(), Some("2026-11-01"));
        for bad in [
            "",
            "2026",
            "2026-13",
            "2026-00",
            "2026-02-30",
            "2026-2-3",
            "26-01-01",
            "2026-01-01-01",
            "1969-12-31",
            "2026-01-0x",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    fn check_time(seconds: u64, ns: u64, expected: &str) {
        assert_eq!(rfc3339(seconds * 1_000_000_000 + ns, 9), expected);
    }

    #[test]
    fn known_times_are_written_as_everyone_else_writes_them() {
        check_time(0, 0, "1970-01-01T00:00:00.000000000Z");
        check_time(951_782_400, 1, "2000-02-29T00:00:00.000000001Z");
        check_time(951_868_799, 999_999_999, "2000-02-29T23:59:59.999999999Z");
        check_time(951_868_800, 0, "2000-03-01T00:00:00.000000000Z");
        check_time(1_000_000_000, 0, "2001-09-09T01:46:40.000000000Z");
        check_time(1_735_689_599, 0, "2024-12-31T23:59:59.000000000Z");
        check_time(4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(951_782_400_123_456_789, 6), "2000-02-29T00:00:00.123456Z", "cut, not rounded");
        assert_eq!(rfc3339(u64::MAX, 9), "2554-07-21T23:34:33.709551615Z");
    }
}
