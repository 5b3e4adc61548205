//! Many calls through one exchange, and what it holds in memory meanwhile: nothing may grow with what has been.

use super::load::{Load, Times};
use super::report::Used;
use super::scene::{Market, Models};
use super::{Options, Shape};
use crate::output::{self, grouped, microseconds};
use crate::say;
use anyhow::ensure;
use serde::Serialize;
use serde_json::json;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often is looked whether a part is over.
const LOOK: Duration = Duration::from_millis(500);
const PARTS: u64 = 10;

/// Some of the calls.
#[derive(Debug, Serialize)]
struct Part {
    /// Answered so far.
    calls: u64,
    /// Calls a second in this part.
    rate: u64,
    p50_us: f64,
    p99_us: f64,
    /// The exchange's processor time for each call.
    cpu_us: f64,
    /// Its resident set at the end.
    resident_mib: f64,
}

/// Makes that many calls and returns what to print.
///
/// # Errors
/// When a server does not start, or a call fails.
pub(super) fn run(calls: u64, options: &Options, load: &Load, dir: &Path) -> anyhow::Result<String> {
    let shape = options.shapes().first().copied().unwrap_or(Shape::Plain);
    let delay_ms = options.delay.first().copied().unwrap_or(0);
    let clients = options.clients.max(1) as usize;
    let models = Models::start(delay_ms, dir)?;
    let market = Market::open(models.direct, shape, dir)?;
    let (mut parts, mut answered) = (Vec::new(), 0);
    for number in 1..=PARTS {
        let (before, started, mut times) = (Used::by(&market)?, Instant::now(), Times::new()?);
        while answered + times.whole.len() < calls * number / PARTS {
            load.closed(&market.calls, clients, LOOK, &mut times);
            ensure!(times.errors == 0, "a call failed: {:?}", times.error);
        }
        answered += times.whole.len();
        let part = Part::new(answered, &times, before, Used::by(&market)?, started.elapsed());
        say(format_args!("{} of {} calls, {} MiB", grouped(answered), grouped(calls), part.resident_mib));
        parts.push(part);
    }
    if options.json {
        return output::line(&json!({
            "bench": "inference-soak", "clients": clients, "shape": shape, "delay_ms": delay_ms, "parts": parts,
        }));
    }
    Ok(table(&parts, clients, shape))
}

impl Part {
    fn new(calls: u64, times: &Times, before: Used, after: Used, took: Duration) -> Part {
        let own = usize::try_from(times.whole.len()).unwrap_or(usize::MAX);
        Part {
            calls,
            rate: output::per_second(own, took),
            p50_us: microseconds(times.whole.value_at_quantile(0.5)),
            p99_us: microseconds(times.whole.value_at_quantile(0.99)),
            cpu_us: after.cpu_us_a_call(before, times.whole.len()),
            resident_mib: after.resident_mib(),
        }
    }
}

fn table(parts: &[Part], clients: usize, shape: Shape) -> String {
    let mut text = format!("{clients} clients, {} calls through the exchange, in microseconds\n", shape.name());
    // Writing to a string cannot fail.
    writeln!(
        text,
        "{:>12} {:>9} {:>9} {:>9} {:>6} {:>11}",
        "calls so far", "calls/s", "p50", "p99", "CPU", "memory MiB"
    )
    .ok();
    for Part { calls, rate, p50_us, p99_us, cpu_us, resident_mib } in parts {
        let (calls, rate) = (grouped(*calls), grouped(*rate));
        writeln!(text, "{calls:>12} {rate:>9} {p50_us:>9.0} {p99_us:>9.0} {cpu_us:>6.0} {resident_mib:>11.1}").ok();
    }
    text
}
