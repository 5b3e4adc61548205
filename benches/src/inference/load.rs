//! Calls as a client makes them, and how long each takes.
//!
//! Open loop: calls are due on a fixed schedule, whatever becomes of those before, and a call's times run from when it was
//! due (no coordinated omission). One thread keeps the schedule; another has all connections, so that the client leaves as
//! much of the machine as it can to what is measured. An answer that is not whole is an error and has no time.

use crate::open_loop::Schedule;
use crate::output;
use anyhow::{Context, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Calls unanswered at once; one that is due beyond that is not made, and is an error.
const UNANSWERED_MAX: usize = 4_000;
/// From making a schedule to its first call.
const LEAD: Duration = Duration::from_millis(20);
/// Room for an answer.
const ANSWER_BYTES: usize = 8 * 1024;

type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// Whether an answer comes in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shape {
    /// It does.
    Plain,
    /// It comes as server-sent events.
    Streamed,
}

impl Shape {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Shape::Plain => "plain",
            Shape::Streamed => "streamed",
        }
    }

    /// Whether an answer of this shape is whole.
    fn is_whole(self, answer: &[u8]) -> bool {
        match self {
            Shape::Plain => answer.windows(7).any(|seven| seven == b"\"usage\""),
            Shape::Streamed => answer.trim_ascii_end().ends_with(b"data: [DONE]"),
        }
    }
}

/// A call that can be made again and again.
#[derive(Debug)]
pub(crate) struct Call {
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    shape: Shape,
}

impl Call {
    /// A chat completion of 16 tokens by this model.
    ///
    /// # Errors
    /// When `base` or a header cannot be one.
    pub(crate) fn new(base: &str, model: &str, headers: &[(&str, &str)], shape: Shape) -> anyhow::Result<Arc<Call>> {
        let mut map = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        for (name, value) in headers {
            map.insert(HeaderName::try_from(*name)?, HeaderValue::try_from(*value)?);
        }
        let body = serde_json::json!({
            "model": model, "max_tokens": 16, "stream": shape == Shape::Streamed,
            "messages": [{ "role": "user", "content": "Say in a few words what an order book is." }],
        });
        let uri = format!("{base}/chat/completions").parse().context("a base is an address with a path")?;
        Ok(Arc::new(Call { uri, headers: map, body: body.to_string().into(), shape }))
    }

    async fn make(&self, client: &HttpClient, due: Instant) -> Made {
        let answered = tokio::time::timeout(PATIENCE, self.ask(client, due)).await;
        let answered = answered.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {} s", PATIENCE.as_secs())));
        answered.map_err(|error| format!("{error:#}"))
    }

    async fn ask(&self, client: &HttpClient, due: Instant) -> anyhow::Result<Taken> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        request.uri_mut().clone_from(&self.uri);
        request.headers_mut().clone_from(&self.headers);
        let mut response = client.request(request).await?;
        let (mut first, mut answer) = (None, Vec::with_capacity(ANSWER_BYTES));
        while let Some(frame) = response.body_mut().frame().await {
            if let Ok(data) = frame?.into_data() {
                first.get_or_insert_with(|| due.elapsed());
                answer.extend_from_slice(&data);
            }
        }
        let whole = due.elapsed();
        let said = || String::from_utf8_lossy(&answer).chars().take(200).collect::<String>();
        ensure!(response.status() == 200, "{}: {}", response.status(), said());
        ensure!(self.shape.is_whole(&answer), "an answer that is not whole: {}", said());
        Ok(Taken { first: first.unwrap_or(whole), whole })
    }
}

/// From when a call was due.
#[derive(Clone, Copy, Debug)]
struct Taken {
    first: Duration,
    whole: Duration,
}

type Made = Result<Taken, String>;

/// Times of many calls, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Times {
    /// To the first byte of the answer's body.
    pub(crate) first: Histogram<u64>,
    /// To its last.
    pub(crate) whole: Histogram<u64>,
    /// Calls without a whole answer.
    pub(crate) errors: u64,
    /// What was wrong with the first of them.
    pub(crate) error: Option<String>,
}

impl Times {
    /// # Errors
    /// Never; see [`output::histogram`].
    pub(crate) fn new() -> anyhow::Result<Times> {
        Ok(Times { first: output::histogram()?, whole: output::histogram()?, errors: 0, error: None })
    }

    fn add(&mut self, made: Made) {
        match made {
            Ok(taken) => {
                output::record(&mut self.first, taken.first);
                output::record(&mut self.whole, taken.whole);
            }
            Err(error) => {
                self.errors += 1;
                self.error.get_or_insert(error);
            }
        }
    }
}

/// A client with its connections.
#[derive(Debug)]
pub(crate) struct Load {
    runtime: Runtime,
    client: HttpClient,
}

impl Load {
    /// # Errors
    /// When its thread cannot be started.
    pub(crate) fn new() -> anyhow::Result<Load> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Load { runtime: Builder::new_multi_thread().worker_threads(1).enable_all().build()?, client })
    }

    /// `count` calls, `rate` of them a second, of these in turns; returns when all are answered.
    pub(crate) fn open(&self, calls: &[Arc<Call>], rate: u32, count: usize, times: &mut Times) {
        let (sender, answers) = channel();
        let schedule = Schedule::starting_in(LEAD, rate);
        let mut unanswered = 0;
        for (number, call) in calls.iter().cycle().take(count).enumerate() {
            schedule.wait_for(number);
            for made in answers.try_iter() {
                times.add(made);
                unanswered -= 1;
            }
            if unanswered >= UNANSWERED_MAX {
                times.add(Err(format!("not made: {UNANSWERED_MAX} calls were unanswered")));
                continue;
            }
            unanswered += 1;
            let (call, client, sender) = (Arc::clone(call), self.client.clone(), sender.clone());
            let due = schedule.due(number);
            // Nobody stops listening before all have answered.
            self.runtime.spawn(async move { sender.send(call.make(&client, due).await).ok() });
        }
        drop(sender);
        answers.iter().for_each(|made| times.add(made));
    }

    /// Calls for so long, each of `clients` making its next as soon as the last is answered; calls a second.
    pub(crate) fn closed(&self, calls: &[Arc<Call>], clients: usize, lasting: Duration, times: &mut Times) -> u64 {
        let (sender, answers) = channel();
        let started = Instant::now();
        for call in calls.iter().cycle().take(clients) {
            let (call, client, sender) = (Arc::clone(call), self.client.clone(), sender.clone());
            self.runtime.spawn(async move {
                while started.elapsed() < lasting {
                    let made = call.make(&client, Instant::now()).await;
                    sender.send(made).ok();
                }
            });
        }
        drop(sender);
        let before = times.whole.len();
        answers.iter().for_each(|made| times.add(made));
        let answered = usize::try_from(times.whole.len() - before).unwrap_or(usize::MAX);
        output::per_second(answered, started.elapsed())
    }

    /// The text at an address.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn get(&self, uri: &str) -> anyhow::Result<String> {
        let uri: Uri = uri.parse()?;
        let answer = self.runtime.block_on(async {
            let answer = tokio::time::timeout(PATIENCE, self.client.get(uri)).await??;
            let status = answer.status();
            ensure!(status == 200, "{status}");
            Ok(answer.into_body().collect().await?.to_bytes())
        });
        String::from_utf8(answer?.to_vec()).context("an answer is text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn an_answer_that_was_cut_off_is_not_whole() {
        assert!(Shape::Plain.is_whole(br#"{"choices":[],"usage":{"prompt_tokens":1}}"#));
        assert!(!Shape::Plain.is_whole(br#"{"choices":[{"message":{"content":"a"#));
        assert!(Shape::Streamed.is_whole(b"data: {}\n\ndata: [DONE]\n\n"));
        assert!(!Shape::Streamed.is_whole(b"data: {}\n\ndata: [DO"));
    }

    /// A server that answers `count` calls, and none before the last of them has come.
    fn late(count: usize) -> (String, std::thread::JoinHandle<()>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let answering = std::thread::spawn(move || {
            let connections: Vec<_> = (0..count).map(|_| listener.accept().unwrap().0).collect();
            for mut connection in connections {
                assert!(connection.read(&mut [0; 4_096]).unwrap() > 0);
                connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"usage\":1}").unwrap();
            }
        });
        (base, answering)
    }

    #[test]
    fn a_call_is_made_when_it_is_due_though_none_before_it_is_answered() {
        let (base, answering) = late(10);
        let call = Call::new(&base, "m", &[], Shape::Plain).unwrap();
        let (load, mut times) = (Load::new().unwrap(), Times::new().unwrap());
        load.open(&[call], 100, 10, &mut times);
        answering.join().unwrap();
        assert_eq!((times.errors, times.whole.len()), (0, 10), "{:?}", times.error);
        // The first was due 90 ms before the last came, the fifth 50 ms.
        assert!(times.whole.max() >= 90_000_000, "{}", times.whole.max());
        assert!(times.whole.value_at_quantile(0.5) >= 40_000_000, "{}", times.whole.value_at_quantile(0.5));
    }

    #[test]
    fn a_call_that_is_made_late_is_late_by_that_too() {
        let (base, answering) = late(5);
        let call = Call::new(&base, "m", &[], Shape::Plain).unwrap();
        let (load, mut times) = (Load::new().unwrap(), Times::new().unwrap());
        // The client's one thread does nothing else for a while.
        load.runtime.spawn(async { std::thread::park_timeout(Duration::from_millis(200)) });
        load.open(&[call], 1_000, 5, &mut times);
        answering.join().unwrap();
        assert!(times.errors == 0 && times.whole.min() >= 100_000_000, "{} {:?}", times.whole.min(), times.error);
    }

    #[test]
    fn a_call_that_nobody_answers_is_an_error_and_has_no_time() {
        let call = Call::new("http://127.0.0.1:1/v1", "m", &[], Shape::Plain).unwrap();
        let (load, mut times) = (Load::new().unwrap(), Times::new().unwrap());
        load.open(&[call], 100, 5, &mut times);
        assert_eq!((times.errors, times.whole.len(), times.error.is_some()), (5, 0, true));
    }
}
