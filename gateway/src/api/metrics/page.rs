//! Prometheus' text format, version 0.0.4.

use hdrhistogram::Histogram;
use std::fmt::{Display, Write};

const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// A label and its value.
pub(super) type Label<'a> = (&'a str, &'a str);

/// The page so far.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// What is on it.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    /// Begins a family of samples.
    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail, here and below.
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        writeln!(self.0, "{name} {value}").ok();
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        writeln!(self.0, "{name} {value}").ok();
    }

    /// One sample of a family.
    pub(super) fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let separator = if place == 0 { '{' } else { ',' };
            write!(self.0, "{separator}{label}=\"{}\"", escaped(text)).ok();
        }
        let close = if labels.is_empty() { "" } else { "}" };
        writeln!(self.0, "{close} {value}").ok();
    }

    /// The samples of one summary of a family; `unit` is what one counted step is worth.
    pub(super) fn summary(&mut self, name: &str, labels: &[Label<'_>], values: &Histogram<u64>, unit: f64) {
        for quantile in QUANTILES {
            let text = quantile.to_string();
            let labels: Vec<Label<'_>> = labels.iter().copied().chain([("quantile", text.as_str())]).collect();
            self.sample(name, &labels, values.value_at_quantile(quantile) as f64 * unit);
        }
        self.sample(&format!("{name}_sum"), labels, values.mean() * values.len() as f64 * unit);
        self.sample(&format!("{name}_count"), labels, values.len());
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_their_labels_in_the_order_given_and_escaped() {
        let mut page = Page::default();
        page.head("x_units", "gauge", "Units.");
        page.sample("x_units", &[("side", "bid"), ("model", "a\"b\\c")], 7);
        page.sample("x_units", &[], 1.5);
        let expected =
            "# HELP x_units Units.\n# TYPE x_units gauge\nx_units{side=\"bid\",model=\"a\\\"b\\\\c\"} 7\nx_units 1.5\n";
        assert_eq!(page.into_text(), expected);
    }

    #[test]
    fn a_summary_has_quantiles_sum_and_count() {
        let mut values = Histogram::new(3).unwrap();
        values.record_n(500, 4).unwrap();
        let mut page = Page::default();
        page.summary("x_seconds", &[("stage", "sync")], &values, 1e-3);
        let text = page.into_text();
        assert!(text.starts_with("x_seconds{stage=\"sync\",quantile=\"0.5\"} 0.5\n"), "{text}");
        assert!(text.ends_with("x_seconds_sum{stage=\"sync\"} 2\nx_seconds_count{stage=\"sync\"} 4\n"), "{text}");
    }
}
