//! Playing the trace: each request at its time, through the public HTTP API.

use crate::demo::Speed;
use crate::demo::setup::{ModelLimits, Scene};
use crate::demo::tally::Tally;
use crate::demo::trace::Recorded;
use anyhow::Context;
use axum::body::Bytes;
use axum::http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Requests in flight when every answer is awaited before the next request.
const IN_FLIGHT_MAX_SPEED: usize = 64;
/// Requests in flight when requests come at their time.
const IN_FLIGHT_TIMED: usize = 2_048;
/// What each request allows the provider to generate; no answer in the trace is longer.
const MAX_TOKENS: u32 = 1_024;
/// How often the progress line moves on a terminal, and comes as a log line elsewhere.
const TERMINAL_TICK: Duration = Duration::from_millis(200);
const LOG_TICK: Duration = Duration::from_secs(5);

type Http = Client<HttpConnector, Full<Bytes>>;

/// Plays the requests and returns what they came to.
pub(super) async fn play(scene: &Scene, trace: &[Recorded], speed: Speed) -> Tally {
    let in_flight = match speed {
        Speed::Max => IN_FLIGHT_MAX_SPEED,
        Speed::Times(_) => IN_FLIGHT_TIMED,
    };
    let permits = Arc::new(Semaphore::new(in_flight));
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let http: Http = Client::builder(TokioExecutor::new()).build(connector);
    // Ends with this function, also when a stop drops it in the middle.
    let mut progress = JoinSet::new();
    progress.spawn(show_progress(Arc::clone(&scene.tally), trace.len() as u64));
    let started = Instant::now();
    let mut running = JoinSet::new();
    for (index, recorded) in trace.iter().enumerate() {
        if let Speed::Times(times) = speed {
            let due = started + recorded.after.div_f64(times);
            tokio::time::sleep_until(due.into()).await;
        }
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            break;
        };
        let Some((model, request)) = compose(scene, index, recorded) else {
            break;
        };
        let (http, tally) = (http.clone(), Arc::clone(&scene.tally));
        running.spawn(async move {
            let sent = Instant::now();
            match send(&http, request).await {
                Ok((ok, body)) => lock(&tally).answer(&model, ok, &body, sent.elapsed()),
                Err(error) => {
                    tracing::warn!(%error, "a request got no answer");
                    lock(&tally).refuse("connection");
                }
            }
            drop(permit);
        });
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
    so_far(scene)
}

/// What the requests answered so far came to.
pub(super) fn so_far(scene: &Scene) -> Tally {
    lock(&scene.tally).clone()
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Buyers' limits, in turns: none, the median price, a latency, a throughput.
fn limit(turn: usize, model: &ModelLimits) -> Option<(&'static str, String)> {
    match turn % 4 {
        0 => None,
        1 => Some(("x-max-price", model.median_usd.clone())),
        2 => Some(("x-max-latency", "200".to_owned())),
        _ => Some(("x-min-throughput", "150".to_owned())),
    }
}

/// The `index`th request of the trace: models in turns, buyers and limits in turns of whole rounds of models.
fn compose(scene: &Scene, index: usize, recorded: &Recorded) -> Option<(String, Request<Full<Bytes>>)> {
    let model = scene.models.get(index % scene.models.len().max(1))?;
    let round = index / scene.models.len().max(1);
    let key = scene.buyers.get(round % scene.buyers.len().max(1))?;
    let prompt = "a ".repeat(recorded.input as usize);
    // One in 32 is streamed: only a stream shows when its first token came.
    let streamed =
        if index.is_multiple_of(32) { r#","stream":true,"stream_options":{"include_usage":true}"# } else { "" };
    let body = format!(
        r#"{{"model":"{}","messages":[{{"role":"user","content":"{}"}}],"max_tokens":{MAX_TOKENS},"mock_tokens":{}{streamed}}}"#,
        model.name,
        prompt.trim_end(),
        recorded.output,
    );
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("{}/v1/chat/completions", scene.address))
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .header(header::CONTENT_TYPE, "application/json");
    if let Some((name, value)) = limit(round, model) {
        request = request.header(name, value);
    }
    Some((model.name.clone(), request.body(Full::new(body.into())).ok()?))
}

async fn send(http: &Http, request: Request<Full<Bytes>>) -> anyhow::Result<(bool, Value)> {
    let response = http.request(request).await?;
    let ok = response.status().is_success();
    let streamed = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let body = response.into_body().collect().await?.to_bytes();
    if !streamed {
        return Ok((ok, serde_json::from_slice(&body)?));
    }
    let last = last_chunk(&body).context("a stream without an end")?;
    Ok((last.get("error").is_none(), last))
}

/// The chunk with the usage, or the error, that a stream ends with.
fn last_chunk(stream: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(stream).ok()?;
    let last = text.lines().rev().filter_map(|line| line.strip_prefix("data: ")).find(|data| *data != "[DONE]");
    serde_json::from_str(last?).ok()
}

/// A live line: a bar on a terminal, a log line every few seconds elsewhere.
async fn show_progress(tally: Arc<Mutex<Tally>>, total: u64) {
    let terminal = std::io::stderr().is_terminal();
    let bar = ProgressBar::new(total);
    let style = "{elapsed_precise} [{bar:30}] {pos}/{len} requests, {per_sec}, {eta} left, {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    let mut ticks = tokio::time::interval(if terminal { TERMINAL_TICK } else { LOG_TICK });
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let (requests, fills, refused, spent) = {
            let tally = lock(&tally);
            (tally.requests, tally.fills, tally.refused(), tally.spent_credits)
        };
        let spent = spent / rust_decimal::Decimal::ONE_THOUSAND;
        let message = format!("{fills} filled, {refused} refused, ${spent:.2} spent");
        if terminal {
            bar.set_position(requests);
            bar.set_message(message);
        } else {
            tracing::info!("{requests}/{total} requests, {message}");
        }
    }
}
