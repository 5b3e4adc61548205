//! Providers that lie, babble or never end: the buyer is never charged beyond the worst case it was matched for, and
//! nothing stays tied up.

use crate::streams::{Events, has_content, parse, settled};
use crate::support::listener;
use crate::support::market::{DOLLAR, chat, with, worst_case_units};
use crate::support::venue::{CAPACITY, MODEL, Venue};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const PRICE: i64 = 1_000;

/// A server that gives every request the same bytes and closes the connection.
pub(crate) struct Hostile {
    pub(crate) endpoint: String,
    task: JoinHandle<()>,
}

impl Hostile {
    pub(crate) async fn start(answer: Vec<u8>) -> Hostile {
        let listener = listener().await;
        let endpoint = format!("http://{}/v1", listener.local_addr().unwrap());
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer)));
            }
        });
        Hostile { endpoint, task }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a request, gives the answer, and holds the line until the other side hangs up.
async fn serve(mut stream: TcpStream, answer: Arc<Vec<u8>>) {
    let mut request = Vec::new();
    while !is_whole(&request) {
        if stream.read_buf(&mut request).await.is_ok_and(|read| read == 0) {
            return;
        }
    }
    // The other side may hang up in the middle: that is its right.
    if stream.write_all(&answer).await.is_ok() {
        stream.shutdown().await.ok();
    }
    while stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
}

/// Whether a request has arrived with the whole body that its head announces.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

pub(crate) fn plain(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into()
}

pub(crate) fn stream(events: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{events}").into()
}

pub(crate) fn word(usage: Value) -> String {
    let delta = json!([{ "index": 0, "delta": { "content": " word" }, "finish_reason": null }]);
    format!("data: {}\n\n", with(json!({ "id": "x", "choices": delta }), &json!({ "usage": usage })))
}

/// Runs one plain call against such an answer; returns the status, the code if any, and the units paid.
async fn check_plain(answer: Vec<u8>) -> (u16, Option<String>, i64, i64) {
    let hostile = Hostile::start(answer).await;
    let (venue, buyer, provider, ask) = Venue::trading(&hostile.endpoint, PRICE).await;
    let body = chat(MODEL, json!({ "max_tokens": 50 }));
    let reply = buyer.chat(&body).await;
    let code = (reply.status != 200).then(|| reply.error().1);
    let paid = settled(&buyer).await;
    assert_eq!(provider.balance().await.earned, paid - paid / 100);
    assert_eq!(provider.remaining(&ask).await, CAPACITY as i64 - paid / PRICE);
    venue.close().await;
    (reply.status, code, paid / PRICE, worst_case_units(&body, 50))
}

/// Runs one streamed call; returns the content chunks, whether it ended with an error event, and the units paid.
async fn check_stream(answer: Vec<u8>) -> (usize, bool, i64, i64) {
    let hostile = Hostile::start(answer).await;
    let (venue, buyer, provider, ask) = Venue::trading(&hostile.endpoint, PRICE).await;
    let body = chat(MODEL, json!({ "stream": true, "max_tokens": 50 }));
    // One that fails before its first token is passed on is refused like a plain call.
    let Some(events) = Events::try_open(&buyer, json!({ "max_tokens": 50 })).await else {
        assert_eq!(settled(&buyer).await, 0);
        venue.close().await;
        return (0, true, 0, worst_case_units(&body, 50));
    };
    let events = events.all().await;
    let last = events.last().expect("an end");
    let failed = last != "[DONE]";
    if failed {
        assert_eq!(parse(last)["error"]["code"], "provider_failed", "{last}");
    }
    let content = events.iter().filter(|event| *event != "[DONE]" && has_content(&parse(event))).count();
    let paid = settled(&buyer).await;
    assert_eq!(provider.balance().await.earned, paid - paid / 100);
    assert_eq!(provider.remaining(&ask).await, CAPACITY as i64 - paid / PRICE);
    venue.close().await;
    (content, failed, paid / PRICE, worst_case_units(&body, 50))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_answer_costs_nothing() {
    let huge = format!("{{\"x\":\"{}\"}}", "x".repeat(17 * 1024 * 1024));
    let answers = [
        b"".to_vec(),
        b"\x16\x03\x01 this is not HTTP\r\n\r\n".to_vec(),
        plain("200 OK", "<html>hello</html>"),
        plain("200 OK", "[1,2,3]"),
        plain("200 OK", ""),
        plain("500 Oops", "{}"),
        plain("401 Unauthorized", "{}"),
        plain("429 Too Many Requests", "{}"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"choices\":".to_vec(),
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec(),
        plain("200 OK", &huge),
    ];
    for answer in answers {
        let told = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        let (status, code, used, _) = check_plain(answer).await;
        assert_eq!((status, code.as_deref(), used), (502, Some("provider_failed"), 0), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_larger_than_its_request_allows_costs_nothing() {
    // Sound in all but its size: far more text than fifty tokens can be.
    let body = |bytes: usize| {
        let choices = json!([{ "index": 0, "message": { "role": "assistant", "content": "x".repeat(bytes) } }]);
        let usage = json!({ "prompt_tokens": 5, "completion_tokens": 50 });
        json!({ "id": "x", "object": "chat.completion", "choices": choices, "usage": usage }).to_string()
    };
    let (status, code, used, _) = check_plain(plain("200 OK", &body(4 * 1024 * 1024))).await;
    assert_eq!((status, code.as_deref(), used), (502, Some("provider_failed"), 0));
    let (status, _, used, _) = check_plain(plain("200 OK", &body(50 * 20))).await;
    assert_eq!((status, used), (200, 5 + 4 * 50), "and long words are no offence");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overstated_usage_is_paid_as_it_was_counted() {
    // Of the input all that can be is believed, of the output what was seen: one token of fifty.
    for tokens in [1_000_000_u64, u64::MAX] {
        let usage = json!({ "prompt_tokens": tokens, "completion_tokens": tokens });
        let body = json!({ "choices": [{ "message": { "content": "hi" } }], "usage": usage });
        let (status, _, used, worst) = check_plain(plain("200 OK", &body.to_string())).await;
        assert_eq!((status, used), (200, worst - 4 * 49), "{tokens} tokens claimed");
        let events = format!("{}data: [DONE]\n\n", word(usage));
        let (content, failed, used, worst) = check_stream(stream(&events)).await;
        assert_eq!((content, failed, used), (1, false, worst - 4 * 49), "{tokens} tokens claimed in a stream");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonsense_usage_is_replaced_by_an_estimate_within_the_worst_case() {
    let nonsense = [
        json!(null),
        json!("many"),
        json!({ "prompt_tokens": -5, "completion_tokens": 3 }),
        json!({ "prompt_tokens": 1.5, "completion_tokens": 3 }),
        json!({ "prompt_tokens": 5 }),
    ];
    for usage in nonsense {
        let body = json!({ "choices": [{ "message": { "content": "four words come back" } }], "usage": usage });
        let (status, _, used, worst) = check_plain(plain("200 OK", &body.to_string())).await;
        assert_eq!(status, 200, "{usage}");
        assert!(0 < used && used < worst, "{usage}: {used} of {worst}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_turns_into_garbage_is_paid_for_what_came_before() {
    let words = [word(Value::Null), word(Value::Null)].concat();
    let endings = [
        "data: {oops\n\n".to_owned(),
        "data: \"a string\"\n\n".to_owned(),
        "data: {\"error\":{\"message\":\"out of memory\"}}\n\n".to_owned(),
        String::new(),
        "data: {\"choices\":".to_owned(),
        format!("data: {}", "x".repeat(3 * 1024 * 1024)),
    ];
    for ending in endings {
        let told = ending.chars().take(40).collect::<String>();
        // Chunks are told apart in time: what comes in one piece with the garbage may be lost with it.
        let (content, failed, used, worst) = check_stream(stream(&format!("{words}{ending}"))).await;
        assert!(failed, "{told:?}");
        assert!(content <= 2 && used < worst, "{told:?}: {content} chunks, {used} of {worst} units");
        assert!(content > 0 || used == 0, "{told:?}: {used} units paid for nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_a_foreign_server_are_read_as_the_standard_says() {
    // Comments, other fields, CRLF, no space after the colon, several events in one piece.
    let foreign = ": hi\r\n\r\nevent: x\r\ndata:{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\n\
        id: 7\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\ndata: [DONE]\n\n";
    let (content, failed, used, worst) = check_stream(stream(foreign)).await;
    assert_eq!((content, failed), (2, false));
    assert!(0 < used && used < worst, "{used} of {worst}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_can_name_no_price_of_its_own() {
    // Fields that look like money are passed on or replaced, never believed.
    let usage = json!({ "prompt_tokens": 5, "completion_tokens": 1, "cost": "999999" });
    let body = json!({ "choices": [{ "message": { "content": "hi" } }], "usage": usage });
    let hostile = Hostile::start(plain("200 OK", &body.to_string())).await;
    let (venue, buyer, _, _) = Venue::trading(&hostile.endpoint, PRICE).await;
    let answer = buyer.chat(&chat(MODEL, json!({}))).await.ok();
    assert_eq!(answer["usage"]["cost"], "0.00009000");
    assert_eq!(buyer.balance().await.available, 1_000 * DOLLAR - 9 * PRICE);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_the_first_token_is_bounded_and_a_whole_answer_at_once_is_not() {
    let usage = json!({ "prompt_tokens": 5, "completion_tokens": 50 });
    let padded = format!("{}{}data: [DONE]\n\n", "data: {\"choices\":[]}\n\n".repeat(30_000), word(usage.clone()));
    let (content, failed, paid, _) = check_stream(stream(&padded)).await;
    assert_eq!((content, failed, paid), (0, true, 0), "it says nothing at length");
    let at_once = format!("{}data: [DONE]\n\n", word(usage).repeat(1_200));
    let (content, failed, ..) = check_stream(stream(&at_once)).await;
    assert_eq!((content, failed), (1_200, false));
}
