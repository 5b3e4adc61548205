//! Results as text: aligned rows for people, one JSON object a line for programs.

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// Longest time that is told apart from a longer one, a minute in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

/// An empty histogram of nanoseconds, three digits exact.
///
/// # Errors
/// Never for these constants.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).context("the histogram's bounds are valid")
}

/// Records a time.
pub(crate) fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(nanoseconds(took));
}

/// A time in whole nanoseconds.
pub(crate) fn nanoseconds(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds as microseconds with one decimal.
pub(crate) fn microseconds(ns: u64) -> f64 {
    (ns as f64 / 100.0).round() / 10.0
}

/// Whole items a second.
pub(crate) fn per_second(count: usize, took: Duration) -> u64 {
    let rate = count as u128 * 1_000_000_000 / took.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// One JSON object on one line.
///
/// # Errors
/// Never for the types of this program.
pub(crate) fn line(measurement: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string(measurement).context("a measurement is valid JSON")? + "\n")
}

/// One row of a table.
pub(crate) fn row(label: &str, value: impl AsRef<str>) -> String {
    format!("  {label:<22}{}\n", value.as_ref())
}

/// A whole number with commas between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1_000, 12_345_678].map(grouped), ["0", "999", "1,000", "12,345,678"]);
        assert_eq!([149, 150, 1_234_567].map(microseconds), [0.1, 0.2, 1_234.6]);
        assert_eq!(per_second(10, Duration::from_secs(4)), 2);
    }

    #[test]
    fn a_time_beyond_the_longest_counts_as_the_longest() {
        let mut histogram = histogram().unwrap();
        record(&mut histogram, Duration::from_secs(3_600));
        assert!(histogram.max() >= LONGEST_NS);
    }
}
