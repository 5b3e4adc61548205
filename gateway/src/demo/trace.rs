//! The recorded requests: when they came and how many tokens went in and out.

use anyhow::Context;
use serde::Deserialize;
use std::time::Duration;

const TRACE: &str = include_str!("../../../data/azure_llm_conv_2023.csv");

#[derive(Debug, Deserialize)]
struct Row {
    #[serde(rename = "TIMESTAMP")]
    timestamp: String,
    #[serde(rename = "ContextTokens")]
    input: u32,
    #[serde(rename = "GeneratedTokens")]
    output: u32,
}

/// One recorded request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    /// After the first request.
    pub(super) after: Duration,
    /// Prompt tokens.
    pub(super) input: u32,
    /// Generated tokens.
    pub(super) output: u32,
}

/// Reads the trace, in order of time.
pub(super) fn load() -> anyhow::Result<Vec<Recorded>> {
    let mut recorded = Vec::new();
    let mut start = None;
    for row in csv::Reader::from_reader(TRACE.as_bytes()).deserialize() {
        let row: Row = row?;
        let at = time_of_day(&row.timestamp).with_context(|| format!("bad time {}", row.timestamp))?;
        let after = at.saturating_sub(*start.get_or_insert(at));
        recorded.push(Recorded { after, input: row.input, output: row.output });
    }
    recorded.sort_by_key(|request| request.after);
    Ok(recorded)
}

/// The time of day of `2023-11-16 18:15:46.6805900`; the whole trace lies within one day.
fn time_of_day(timestamp: &str) -> Option<Duration> {
    let (_, time) = timestamp.split_once(' ')?;
    let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut seconds = 0_u64;
    for part in whole.split(':') {
        seconds = seconds * 60 + part.parse::<u64>().ok()?;
    }
    let nanos = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_has_its_19366_requests_in_order_of_time() {
        let trace = load().unwrap();
        assert_eq!(trace.len(), 19_366);
        assert_eq!(trace[0], Recorded { after: Duration::ZERO, input: 374, output: 44 });
        assert_eq!(trace[1].after, Duration::from_nanos(4_314_579_000));
        assert!(trace.is_sorted_by_key(|request| request.after));
        let (input, output): (u64, u64) =
            trace.iter().fold((0, 0), |(i, o), request| (i + u64::from(request.input), o + u64::from(request.output)));
        assert_eq!((input / 19_366, output / 19_366), (1_154, 211), "the mix that list prices are converted at");
    }
}
