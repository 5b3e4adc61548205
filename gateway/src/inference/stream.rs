//! A call answered as server-sent events, passed on as they come.
//!
//! A chunk counts as delivered when it has been handed to the client's connection. The usage chunk and `[DONE]` leave
//! after the settlement is durable.

use crate::error::ApiError;
use crate::inference::contract::Bought;
use crate::inference::meter::{Measured, StreamMeter};
use crate::inference::provider::stopping;
use crate::inference::upstream::STALL_PATIENCE;
use crate::inference::{Call, Receipt};
use crate::money::credits;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use axum::response::IntoResponse;
use gollem_engine::Outcome;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Longest line of an event stream.
const LINE_BYTES_MAX: usize = 1024 * 1024;

type Head = oneshot::Sender<Result<axum::response::Response, ApiError>>;
type Chunks = mpsc::Sender<Bytes>;

/// Runs the call to its end. The head goes out with the provider's; errors before it are plain answers.
pub(crate) async fn run(call: Call, head: Head) {
    let (bought, sent, body) = match open(&call).await {
        Ok(opened) => opened,
        Err(error) => {
            // Whoever waited for the head may have left.
            drop(head.send(Err(error)));
            return;
        }
    };
    let before = sent.duration_since(call.started);
    let (chunks, receiver) = mpsc::channel(1);
    let arrived = head.send(Ok(response(receiver, &Receipt::of(&bought)))).is_ok();
    let mut relay = Relay {
        meter: StreamMeter::new(sent, call.request.input_bound),
        delivered: Measured::default(),
        include_usage: call.request.include_usage,
        usage_chunk: None,
        overhead: before,
        lines: Lines::default(),
    };
    let ended = if arrived {
        tokio::select! {
            ended = relay.pass_on(body, &chunks, bought.deadline) => ended,
            () = call.app.calls.are_cut_short() => Err(Ended::Stopping),
        }
    } else {
        Err(Ended::ClientLeft)
    };
    let outcome = match ended {
        Ok(()) => Outcome::Completed,
        Err(Ended::ClientLeft | Ended::Stopping) => Outcome::Abandoned,
        Err(Ended::ProviderFailed(_)) => Outcome::Failed,
    };
    call.app.record_overhead(relay.overhead);
    let settled = call.settle(&bought, &relay.delivered, outcome).await;
    let last = match (ended, settled) {
        (Ok(()), Ok(cost)) => relay.farewell(&credits(cost)),
        (Err(Ended::ProviderFailed(why)), Ok(_)) => error_event(&ApiError::provider_failed(why)),
        (Err(Ended::Stopping), Ok(_)) => error_event(&stopping()),
        (Err(Ended::ClientLeft), Ok(_)) => return,
        (_, Err(error)) => {
            tracing::error!(contract = bought.contract.0, code = error.code, "a stream was not settled");
            error_event(&error)
        }
    };
    // A client that leaves now, or takes nothing, has had everything it is charged for.
    drop(chunks.send_timeout(last, call.app.client_patience).await);
}

/// Matches the call and gets the provider to start its stream.
async fn open(call: &Call) -> Result<(Bought, Instant, Incoming), ApiError> {
    let bought = call.buy().await?;
    let sent = Instant::now();
    let starts = bought.deadline.min(tokio::time::Instant::now() + STALL_PATIENCE);
    match call.unless_cut_short(call.ask(&bought, starts)).await {
        Ok(body) => Ok((bought, sent, body)),
        Err((error, outcome)) => {
            call.settle_nothing(&bought, outcome).await;
            Err(error)
        }
    }
}

fn response(receiver: mpsc::Receiver<Bytes>, receipt: &Receipt) -> axum::response::Response {
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|bytes| (Ok::<_, Infallible>(bytes), receiver))
    });
    let mut response = Response::new(Body::from_stream(stream)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    receipt.add_headers(headers);
    response
}

/// Why a stream ended before its end.
#[derive(Debug)]
enum Ended {
    ClientLeft,
    Stopping,
    ProviderFailed(&'static str),
}

/// One stream on its way from provider to client.
struct Relay {
    meter: StreamMeter,
    /// What the client's connection has taken.
    delivered: Measured,
    include_usage: bool,
    /// The provider's usage chunk, kept back until the settlement is durable.
    usage_chunk: Option<Value>,
    /// Time the gateway added: before the request was sent, and on the first chunk.
    overhead: Duration,
    lines: Lines,
}

impl Relay {
    /// Passes chunks on until `[DONE]`.
    async fn pass_on(
        &mut self,
        mut body: Incoming,
        chunks: &Chunks,
        deadline: tokio::time::Instant,
    ) -> Result<(), Ended> {
        let mut first = true;
        loop {
            let stalled = deadline.min(tokio::time::Instant::now() + STALL_PATIENCE);
            let frame = tokio::select! {
                frame = tokio::time::timeout_at(stalled, body.frame()) => frame,
                () = chunks.closed() => return Err(Ended::ClientLeft),
            };
            let frame = match frame {
                Err(_) => return Err(Ended::ProviderFailed("the provider's stream stalled")),
                Ok(None) => return Err(Ended::ProviderFailed("the provider's stream ended early")),
                Ok(Some(Err(_))) => return Err(Ended::ProviderFailed("the provider's stream broke off")),
                Ok(Some(Ok(frame))) => frame,
            };
            let received = Instant::now();
            let Ok(data) = frame.into_data() else { continue };
            let (out, done) = self.translate(&data, received)?;
            if !out.is_empty() {
                // The server gives up on a client that takes nothing; this ends one that takes a little at a time.
                let sent = tokio::time::timeout_at(deadline, chunks.send(out.into())).await;
                sent.map_err(|_| Ended::ClientLeft)?.map_err(|_| Ended::ClientLeft)?;
            }
            // Everything up to here has been handed over, and the usage of a finished stream is final.
            self.delivered = self.meter.measured();
            if std::mem::take(&mut first) {
                self.overhead += received.elapsed();
            }
            if done {
                return Ok(());
            }
        }
    }

    /// Reads the complete events in `data`, meters them and writes what the client gets. True at `[DONE]`.
    fn translate(&mut self, data: &[u8], now: Instant) -> Result<(Vec<u8>, bool), Ended> {
        let mut out = Vec::with_capacity(data.len());
        self.lines.feed(data).map_err(|TooLong| Ended::ProviderFailed("the provider sent a line without end"))?;
        while let Some(line) = self.lines.next_line() {
            let Some(payload) = line.strip_prefix(b"data:") else {
                continue;
            }; // Comments and other fields.
            let payload = payload.trim_ascii();
            if payload == b"[DONE]" {
                return Ok((out, true));
            }
            let chunk: Option<Value> = serde_json::from_slice(payload).ok().filter(Value::is_object);
            let mut chunk = chunk.ok_or(Ended::ProviderFailed("the provider sent a chunk that is not JSON"))?;
            if chunk.get("error").is_some_and(|error| !error.is_null()) {
                return Err(Ended::ProviderFailed("the provider reported an error in its stream"));
            }
            self.meter.observe(&chunk, now);
            if chunk.get("choices").and_then(Value::as_array).is_some_and(Vec::is_empty) {
                self.usage_chunk = Some(chunk);
                continue;
            }
            set_usage(&mut chunk, self.include_usage.then_some(Value::Null));
            write_event(&mut out, &chunk);
        }
        Ok((out, false))
    }

    /// The end of a settled stream.
    fn farewell(&mut self, cost: &str) -> Bytes {
        let mut out = Vec::new();
        if let Some(mut chunk) = self.usage_chunk.take().filter(|_| self.include_usage) {
            if let Some(usage) = chunk.get_mut("usage").and_then(Value::as_object_mut) {
                usage.insert("cost".into(), cost.into());
            }
            write_event(&mut out, &chunk);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        out.into()
    }
}

/// Gives a chunk the usage the client asked for: `null`, or no such field.
fn set_usage(chunk: &mut Value, usage: Option<Value>) {
    let Some(fields) = chunk.as_object_mut() else { return };
    match usage {
        Some(usage) => drop(fields.insert("usage".into(), usage)),
        None => drop(fields.shift_remove("usage")),
    }
}

fn write_event(out: &mut Vec<u8>, chunk: &Value) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(chunk.to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
}

fn error_event(error: &ApiError) -> Bytes {
    let mut out = Vec::new();
    write_event(&mut out, &error.body());
    out.into()
}

/// Bytes cut into lines, however they arrive. Each byte is looked at once.
#[derive(Debug, Default)]
struct Lines {
    buffer: Vec<u8>,
    /// Where the next line starts.
    start: usize,
    /// How far no line end has been found.
    scanned: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct TooLong;

impl Lines {
    /// Takes bytes in; every complete line must have been taken out before.
    fn feed(&mut self, data: &[u8]) -> Result<(), TooLong> {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(data);
        // What is left over from before has no line end, so this is the length of one line, or nearly.
        if self.scanned > LINE_BYTES_MAX { Err(TooLong) } else { Ok(()) }
    }

    fn next_line(&mut self) -> Option<&[u8]> {
        let fresh = self.buffer.get(self.scanned..)?;
        let Some(len) = fresh.iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.buffer.len();
            return None;
        };
        let (start, end) = (self.start, self.scanned + len);
        self.start = end + 1;
        self.scanned = self.start;
        self.buffer.get(start..end).map(<[u8]>::trim_ascii_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(include_usage: bool) -> Relay {
        Relay {
            meter: StreamMeter::new(Instant::now(), 100),
            delivered: Measured::default(),
            include_usage,
            usage_chunk: None,
            overhead: Duration::ZERO,
            lines: Lines::default(),
        }
    }

    const STREAM: &str = ": hello\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":3,\
        \"completion_tokens\":1}}\r\n\r\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n\
        data: [DONE]\n\n";

    #[test]
    fn a_stream_cut_anywhere_is_translated_the_same() {
        for cut in 0..STREAM.len() {
            let mut relay = relay(false);
            let now = Instant::now();
            let (mut out, first_done) = relay.translate(&STREAM.as_bytes()[..cut], now).unwrap();
            let (rest, done) = relay.translate(&STREAM.as_bytes()[cut..], now).unwrap();
            out.extend(rest);
            assert!(first_done || done);
            assert_eq!(out, b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n", "cut at {cut}");
            assert_eq!(relay.meter.measured().usage.output, 2);
            assert_eq!(relay.farewell("1"), "data: [DONE]\n\n");
        }
    }

    #[test]
    fn a_client_that_asks_for_usage_gets_it_with_the_cost() {
        let mut relay = relay(true);
        let (out, done) = relay.translate(STREAM.as_bytes(), Instant::now()).unwrap();
        assert!(done);
        assert_eq!(out, b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n");
        let end = relay.farewell("0.5");
        let expected = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"cost\":\"0.5\"}}\n\n\
            data: [DONE]\n\n";
        assert_eq!(end, expected);
    }

    #[test]
    fn garbage_and_endless_lines_are_a_failure_of_the_provider() {
        let now = Instant::now();
        assert!(relay(false).translate(b"data: {oops\n\n", now).is_err());
        assert!(relay(false).translate(b"data: {\"error\":{\"message\":\"x\"}}\n\n", now).is_err());
        let mut endless = relay(false);
        let mut pieces = (0..=LINE_BYTES_MAX / 4_096 + 1).map(|_| endless.translate(&[b'x'; 4_096], now));
        assert!(pieces.any(|piece| piece.is_err()));
    }
}
