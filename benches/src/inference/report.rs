//! The figures of a run, as a table for people and as one JSON object.

use super::Case;
use super::load::{Shape, Times};
use super::overhead::Overhead;
use super::scene::Market;
use crate::output::{self, grouped, microseconds};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;
use std::fmt::Write;

/// The rate whose figures stand for the whole run, if it was measured.
const HEADLINE_RATE: u32 = 1_000;

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Percentiles {
    p50: f64,
    p99: f64,
    p999: f64,
}

impl Percentiles {
    /// None of nothing.
    fn of(times: &Histogram<u64>) -> Option<Percentiles> {
        let at = |quantile| microseconds(times.value_at_quantile(quantile));
        (!times.is_empty()).then(|| Percentiles { p50: at(0.5), p99: at(0.99), p999: at(0.999) })
    }

    /// What some are beyond the same percentiles of others, where there are both.
    fn beyond(own: Option<Percentiles>, other: Option<Percentiles>) -> Option<Percentiles> {
        let (own, other) = (own?, other?);
        let less = |own: f64, other: f64| ((own - other) * 10.0).round() / 10.0;
        let (p50, p99, p999) = (less(own.p50, other.p50), less(own.p99, other.p99), less(own.p999, other.p999));
        Some(Percentiles { p50, p99, p999 })
    }
}

/// One way to the model in one case. The names are the keys of the JSON object.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    /// `open` or `closed`.
    r#loop: &'static str,
    /// Calls a second: those that were due, or in a closed loop those that were answered.
    rate: u64,
    /// Of a closed loop: how many called at once.
    clients: Option<u32>,
    delay_ms: u32,
    shape: Shape,
    kind: String,
    samples: u64,
    errors: u64,
    error: Option<String>,
    /// To the last byte; none where no call was answered.
    latency_us: Option<Percentiles>,
    added_us: Option<Percentiles>,
    /// To the first byte of the body.
    first_us: Option<Percentiles>,
    first_added_us: Option<Percentiles>,
    /// Of the exchange: what it says itself.
    overhead_us: Option<Overhead>,
    /// Of the exchange: its resident memory before and after.
    resident_mib: Option<(f64, f64)>,
    /// Of the exchange: processor time for each call.
    cpu_us: Option<f64>,
}

/// What the exchange has used so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    resident_bytes: u64,
    cpu_us: u64,
}

impl Used {
    pub(super) fn by(market: &Market) -> anyhow::Result<Used> {
        Ok(Used { resident_bytes: market.venue.resident_bytes()?, cpu_us: market.venue.cpu_us()? })
    }

    pub(super) fn resident_mib(self) -> f64 {
        tenths(self.resident_bytes as f64 / f64::from(1 << 20))
    }

    /// Processor time since `before` for each of so many calls, of which there is one at least.
    pub(super) fn cpu_us_a_call(self, before: Used, calls: u64) -> f64 {
        tenths(self.cpu_us.saturating_sub(before.cpu_us) as f64 / calls.max(1) as f64)
    }
}

impl Run {
    pub(super) fn new(case: Case, kind: &str, times: &Times, direct: &Times) -> Run {
        let (latency_us, first_us) = (Percentiles::of(&times.whole), Percentiles::of(&times.first));
        Run {
            r#loop: "open",
            rate: case.rate.into(),
            clients: None,
            delay_ms: case.delay_ms,
            shape: case.shape,
            kind: kind.to_owned(),
            samples: times.whole.len(),
            errors: times.errors,
            error: times.error.clone(),
            latency_us,
            added_us: Percentiles::beyond(latency_us, Percentiles::of(&direct.whole)),
            first_us,
            first_added_us: Percentiles::beyond(first_us, Percentiles::of(&direct.first)),
            overhead_us: None,
            resident_mib: None,
            cpu_us: None,
        }
    }

    /// That it was a closed loop of so many clients, who got so many answers a second.
    pub(super) fn closed(&mut self, clients: u32, answered_per_s: u64) {
        (self.r#loop, self.clients, self.rate) = ("closed", Some(clients), answered_per_s);
    }

    /// What is known of the exchange alone, and what it had used before and after the measured calls.
    pub(super) fn exchange(&mut self, overhead: Option<Overhead>, before: Used, after: Used) {
        (self.overhead_us, self.resident_mib) = (overhead, Some((before.resident_mib(), after.resident_mib())));
        self.cpu_us = Some(after.cpu_us_a_call(before, self.samples + self.errors));
    }

    pub(super) fn is_gollem(&self) -> bool {
        self.kind == "gollem"
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) runs: Vec<Run>,
    /// What else is to be said.
    pub(super) notes: Vec<String>,
}

impl Report {
    /// The run that stands for all: through the exchange on schedule, at 1,000 a second if that was measured, else at the
    /// first rate; of those the first delay and shape.
    pub(super) fn headline(&self) -> Option<&Run> {
        let mut open = self.runs.iter().filter(|run| run.is_gollem() && run.r#loop == "open" && run.samples > 0);
        let first = open.clone().next();
        open.find(|run| run.rate == u64::from(HEADLINE_RATE)).or(first)
    }

    /// What was wrong with the first call that failed.
    pub(super) fn first_error(&self) -> Option<&str> {
        self.runs.iter().find_map(|run| run.error.as_deref())
    }

    /// One JSON object on one line.
    ///
    /// # Errors
    /// Never for these types.
    pub(super) fn json(&self) -> anyhow::Result<String> {
        let of_gollem = || self.runs.iter().filter(|run| run.is_gollem());
        let headline = self.headline();
        output::line(&json!({
            "bench": "inference",
            "headline": headline.map(|run| json!({
                "rate": run.rate, "delay_ms": run.delay_ms, "shape": run.shape, "samples": run.samples,
            })),
            "overhead_us": headline.and_then(|run| run.overhead_us),
            "added_us": headline.and_then(|run| run.added_us),
            "first_added_us": headline.and_then(|run| run.first_added_us),
            "samples": of_gollem().map(|run| run.samples).sum::<u64>(),
            "errors": of_gollem().map(|run| run.errors).sum::<u64>(),
            "closed_per_s": of_gollem().filter(|run| run.r#loop == "closed").map(|run| run.rate).max(),
            "runs": self.runs,
            "notes": self.notes,
        }))
    }

    /// An aligned table, a block for each case.
    pub(super) fn table(&self) -> String {
        let mut text = "calls through the market, in microseconds; compare within this run only\n".to_owned();
        let mut before = None;
        for run in &self.runs {
            let case = title(run);
            if before.as_ref() != Some(&case) {
                // Writing to a string cannot fail.
                writeln!(text, "{case}\n{HEAD}").ok();
                before = Some(case);
            }
            text += &row(run);
        }
        let gollem = self.runs.iter().filter(|run| run.is_gollem()).map(|run| run.samples).sum();
        writeln!(text, "{} calls through the exchange were answered", grouped(gollem)).ok();
        text += "first: to the first byte of the body; added: beyond the direct calls at the same percentile; overhead: by the \
            exchange's own clock,\n  its warm-up included; CPU: the exchange's for each call; memory: its own, before and \
            after. Client, model and all\n  gateways share this machine\n";
        for note in &self.notes {
            writeln!(text, "{note}").ok();
        }
        text
    }
}

const HEAD: &str = "  way               calls/s     p50      p99    p99.9 |  added p50      p99    p99.9 |  first p50  added | \
    errors | overhead p50    p99   p99.9 |  CPU | memory MiB";

fn title(run: &Run) -> String {
    let (shape, delay_ms) = (run.shape.name(), run.delay_ms);
    match run.clients {
        None => format!("{} {shape} calls a second, {delay_ms} ms to the first token", grouped(run.rate)),
        Some(clients) => format!("{clients} clients at once, {shape}, {delay_ms} ms to the first token"),
    }
}

fn row(run: &Run) -> String {
    let all = |of: Option<Percentiles>| of.map_or([None; 3], |of| [of.p50, of.p99, of.p999].map(Some));
    let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
    let ([p50, p99, p999], added) = (all(run.latency_us).map(shown), all(run.added_us).map(shown));
    let ([first, ..], [first_added, ..]) = (all(run.first_us).map(shown), all(run.first_added_us).map(shown));
    let own = run
        .overhead_us
        .map_or_else(String::new, |own| format!("{:>12.1} {:>6.1} {:>7.1} |", own.p50, own.p99, own.p999));
    let cpu = run.cpu_us.map_or_else(String::new, |cpu| format!("{cpu:>5.0} |"));
    let memory = run.resident_mib.map_or_else(String::new, |(before, after)| format!(" {before} to {after}"));
    let row = format!(
        "  {:<16}{:>9} {p50:>7} {p99:>8} {p999:>8} | {:>10} {:>8} {:>8} | {first:>10} {first_added:>6} | {:>6} | \
         {own}{cpu}{memory}",
        run.kind,
        grouped(run.rate),
        added[0],
        added[1],
        added[2],
        run.errors,
    );
    let error = run.error.as_ref().map_or_else(String::new, |error| format!("    the first error: {error}\n"));
    format!("{}\n{error}", row.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(ms: &[u64]) -> Times {
        let mut times = Times::new().unwrap();
        for ms in ms {
            times.whole.record(ms * 1_000_000).unwrap();
            times.first.record(ms * 1_000_000).unwrap();
        }
        times
    }

    fn run(rate: u32, kind: &str, ms: &[u64]) -> Run {
        Run::new(Case { rate, delay_ms: 0, shape: Shape::Plain }, kind, &times(ms), &times(&[10]))
    }

    #[test]
    fn a_way_that_answered_nothing_has_no_times() {
        let silent = run(500, "rival", &[]);
        assert!(silent.latency_us.is_none() && silent.added_us.is_none() && silent.first_added_us.is_none());
        assert!(row(&silent).contains(" - "), "{}", row(&silent));
        let added = run(500, "gollem", &[15]).added_us.unwrap().p50;
        assert!((4_990.0..5_010.0).contains(&added), "{added}");
    }

    #[test]
    fn the_run_at_a_thousand_a_second_stands_for_all_or_else_the_first() {
        let headline = |rates: &[u32]| {
            let of_rate = |rate: &u32| [run(*rate, "direct", &[10]), run(*rate, "gollem", &[15])];
            let report = Report { runs: rates.iter().flat_map(of_rate).collect(), notes: Vec::new() };
            report.headline().map(|run| (run.rate, run.kind.clone()))
        };
        assert_eq!(headline(&[500, 1_000, 2_000]), Some((1_000, "gollem".into())));
        assert_eq!(headline(&[500, 2_000]), Some((500, "gollem".into())));
        assert_eq!(headline(&[]), None);
    }
}
