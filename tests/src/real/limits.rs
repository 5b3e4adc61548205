//! A key that asks ten times what it may, as fast as a client can that does not care: what is accepted is its limit, its
//! cancels pass all the while, and another account's key hardly notices.
//!
//! The other key's latency is measured in windows by turns: one without the flood, one beside it. What else the machine does
//! changes over seconds, so it meets both alike, and the medians of the windows' 99th percentiles are compared.

use super::binaries::Binaries;
use super::http::Client;
use super::server::{Plan, Server};
use super::traffic::{list_book, open_account};
use super::{Checked, doing, ensure, outcome, pass};
use crate::outcome::Outcome;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

/// What the key may ask: so much at once and so much each minute.
const PER_MINUTE: u64 = 6_000;
/// How long a window is.
const WINDOW: Duration = Duration::from_secs(1);
/// In each step it asks ten times its share of the step, and once more what it may at once.
const STEP: Duration = Duration::from_millis(50);
/// How often the other key asks.
const PACE: Duration = Duration::from_millis(2);

/// How long a key asks too much, and what the other key may notice of it.
#[derive(Clone, Copy, Debug)]
struct Volume {
    /// Windows beside the flood, and as many without it.
    windows: usize,
    /// How much longer the other key may wait at the 99th percentile.
    ratio_max: f64,
    /// A wait that is no longer than this passes: the scheduler decides about it, not the exchange.
    quick: Duration,
}

/// A debug build on two cores that it shares with the flood's own client, with whatever builds beside it.
const SMALL: Volume = Volume { windows: 8, ratio_max: 2.0, quick: Duration::from_millis(20) };
/// A machine with nothing else to do, whose flood takes a minute.
const FULL: Volume = Volume { windows: 60, ratio_max: 1.1, quick: Duration::from_millis(1) };

/// Lets so many keys, one after the other, ask too much.
pub fn check(keys: u64, full: bool, seed: u64) -> Outcome {
    let mut cases = 0;
    let ended = run(keys, if full { &FULL } else { &SMALL }, &mut cases);
    outcome(cases, seed, ended)
}

fn run(keys: u64, volume: &Volume, cases: &mut u64) -> Checked<()> {
    let temporary = tempfile::tempdir().map_err(doing("a data folder"))?;
    let (data, log) = (temporary.path().join("data"), temporary.path().join("log"));
    let server = Plan::new(Binaries::ordinary()?, data, log).start()?;
    let mut admin = server.admin()?;
    list_book(&mut admin)?;
    let quiet = open_account(&mut admin, "quiet", &["read", "trade"])?;
    for key in 0..keys {
        let owner = open_account(&mut admin, &format!("greedy {key}"), &["read", "trade"])?;
        let bounded = json!({ "name": "greedy", "scopes": ["read", "trade"], "requests_per_minute": PER_MINUTE });
        let made = server.client(&owner)?.post("/v1/keys", &bounded)?;
        let greedy = made["api_key"].as_str().ok_or("a key without a secret")?.to_owned();
        ask_too_much(&server, &greedy, &quiet, volume)?;
        *cases += 1;
    }
    server.stop()
}

fn ask_too_much(server: &Server, greedy: &str, quiet: &str, volume: &Volume) -> Checked<()> {
    let (mut greedy, mut quiet) = (Greedy::new(server.client(greedy)?), server.client(quiet)?);
    // What it may at once is used up first, so that what follows is its rate.
    greedy.flood(PER_MINUTE)?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for window in 0..2 * volume.windows {
        // One, two, two, one: neither is always the first of a pair.
        if matches!(window % 4, 0 | 3) {
            alone.push(p99(&mut quiet)?);
            continue;
        }
        let (flooded, heard) = thread::scope(|scope| {
            let flooding = scope.spawn(|| greedy.window());
            let heard = p99(&mut quiet);
            (flooding.join().map_err(|_| "the flood panicked".to_owned()), heard)
        });
        flooded??;
        beside.push(heard?);
    }
    greedy.accepted_its_limit()?;
    let (alone, beside) = (median(alone), median(beside));
    ensure(beside <= volume.quick.max(alone.mul_f64(volume.ratio_max)), || {
        format!("another key waits {beside:?} beside the flood and {alone:?} without it, at the 99th percentile")
    })
}

/// What the other key waits in a window, at the 99th percentile. Each of its requests is accepted.
fn p99(quiet: &mut Client) -> Checked<Duration> {
    let mut waits = Histogram::<u64>::new(3).map_err(doing("a histogram"))?;
    let began = Instant::now();
    let mut due = began;
    while due < began + WINDOW {
        pass(due.saturating_duration_since(Instant::now()));
        let since = Instant::now();
        let answer = quiet.call("GET", "/v1/balance", None).map_err(doing("another key"))?;
        ensure(answer.status == 200, || format!("another key is held up: {answer:?}"))?;
        let wait = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        waits.record(wait).map_err(doing("noting a wait"))?;
        due = (due + PACE).max(Instant::now());
    }
    Ok(Duration::from_micros(waits.value_at_quantile(0.99)))
}

/// The middle one; the upper of two.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Who asks too much.
struct Greedy {
    client: Client,
    counts: Counts,
    began: Instant,
    last_accepted: Instant,
}

#[derive(Debug, Default)]
struct Counts {
    sent: u64,
    accepted: u64,
    refused: u64,
    cancels: u64,
}

/// What a key may ask in that time.
fn share(time: Duration) -> f64 {
    PER_MINUTE as f64 * time.as_secs_f64() / 60.0
}

impl Greedy {
    fn new(client: Client) -> Greedy {
        let began = Instant::now();
        Greedy { client, counts: Counts::default(), began, last_accepted: began }
    }

    /// Asks ten times its share for a window; a cancel passes all the while.
    fn window(&mut self) -> Checked<()> {
        let began = Instant::now();
        for step in 0..WINDOW.div_duration_f64(STEP) as u32 {
            pass((began + STEP * step).saturating_duration_since(Instant::now()));
            self.flood((share(STEP) * 10.0) as u64)?;
            let cancelled = self.client.call("DELETE", "/v1/orders/ord_999", None).map_err(doing("a cancel"))?;
            ensure(cancelled.code() == "order_not_found", || format!("a cancel is held up: {cancelled:?}"))?;
            self.counts.cancels += 1;
        }
        Ok(())
    }

    fn flood(&mut self, requests: u64) -> Checked<()> {
        if flood(&mut self.client, requests, &mut self.counts)? > 0 {
            self.last_accepted = Instant::now();
        }
        Ok(())
    }

    /// Every answer came before now and none before the start: the limit is that of a time between these.
    fn accepted_its_limit(&self) -> Checked<()> {
        let limit = PER_MINUTE as f64 + share(self.last_accepted - self.began);
        let off = (self.counts.accepted as f64 - limit).abs() / limit;
        let told = || format!("{:?} where {limit:.0} are allowed", self.counts);
        ensure(self.counts.refused > 0 && self.counts.cancels > 0 && off <= 0.01, told)
    }
}

/// Sends so many requests in blocks, without waiting for single answers; how many were accepted.
fn flood(client: &mut Client, requests: u64, counts: &mut Counts) -> Checked<u64> {
    let mut accepted = 0;
    let mut left = requests;
    while left > 0 {
        let block = left.min(64);
        for _ in 0..block {
            client.send("GET", "/v1/rate-limit", None).map_err(doing("a flood"))?;
        }
        for _ in 0..block {
            let answer = client.receive().map_err(doing("a flood's answer"))?;
            counts.sent += 1;
            match answer.status {
                200 => accepted += 1,
                429 => {
                    ensure(answer.retry_after, || format!("it does not say when to come back: {answer:?}"))?;
                    counts.refused += 1;
                }
                _ => {
                    return Err(format!("neither accepted nor refused for its number: {}", Value::from(answer.status)));
                }
            }
        }
        left -= block;
    }
    counts.accepted += accepted;
    Ok(accepted)
}
