//! What the exchange itself says that it took of calls: a summary of its metrics.

use serde::Serialize;

/// The family of samples.
const NAME: &str = "gollem_gateway_overhead_seconds";

/// Microseconds that the exchange added to calls since its start, as it measured them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Overhead {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    /// Calls that were measured.
    pub(super) samples: u64,
}

/// Reads it from a page of metrics; none where the page has none of it. Where there are several summaries, as of several
/// kinds of calls, that with the most samples: an exchange of this benchmark serves calls of one kind.
pub(super) fn read(page: &str) -> Option<Overhead> {
    let counted = |line: &&str| line.starts_with(NAME) && line.contains("_count");
    let count = page.lines().filter(counted).max_by_key(|line| samples(line))?;
    let labels = count.strip_prefix(NAME)?.strip_prefix("_count")?.split(' ').next()?;
    let labels = labels.trim_start_matches('{').trim_end_matches('}');
    let of_it = |line: &&str| labels.split(',').all(|label| line.contains(label)) && line.starts_with(NAME);
    let at = |quantile: &str| {
        let quantile = format!("quantile=\"{quantile}\"");
        let line = page.lines().filter(of_it).find(|line| line.contains(&quantile))?;
        let seconds: f64 = line.rsplit(' ').next()?.parse().ok()?;
        Some((seconds * 1e7).round() / 10.0)
    };
    Some(Overhead { p50: at("0.5")?, p99: at("0.99")?, p999: at("0.999")?, samples: samples(count) })
}

fn samples(line: &str) -> u64 {
    line.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "# TYPE gollem_gateway_overhead_seconds summary\n\
        gollem_gateway_overhead_seconds{quantile=\"0.5\"} 0.000085\n\
        gollem_gateway_overhead_seconds{quantile=\"0.9\"} 0.0001\n\
        gollem_gateway_overhead_seconds{quantile=\"0.99\"} 0.0001401\n\
        gollem_gateway_overhead_seconds{quantile=\"0.999\"} 0.00101\n\
        gollem_gateway_overhead_seconds_sum 0.9\n\
        gollem_gateway_overhead_seconds_count 10000\n";

    #[test]
    fn the_exchange_s_own_figures_are_read_with_or_without_labels() {
        let expected = Overhead { p50: 85.0, p99: 140.1, p999: 1_010.0, samples: 10_000 };
        assert_eq!(read(PLAIN), Some(expected));
        let of_kind = |kind: &str, count: u64| {
            let labelled = PLAIN.replace("seconds{", &format!("seconds{{kind=\"{kind}\","));
            labelled.replace("_count 10000", &format!("_count{{kind=\"{kind}\"}} {count}"))
        };
        let both = of_kind("streamed", 3).replace("0.000085", "0.5") + &of_kind("plain", 10_000);
        assert_eq!(read(&both), Some(expected));
        assert_eq!(read("gollem_up 1\n"), None);
    }
}
