//! The mock's faults: what the client sees of each, and what the server counted.

use std::time::Duration;

use gollem_provider::mock::{DRIP_PAUSE, Fault, LONG_LINE_BYTES, Mock, MockOptions, Outcome, PPM, Served};
use http_body_util::BodyExt;
use hyper::{Response, StatusCode, body::Incoming};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::support::{RawClient, at_once, chat, eventually, start_mock};

const PROMPT_TOKENS: u64 = 5;

/// A mock of which every request meets this fault.
async fn start(fault: Fault) -> Mock {
    start_mock(at_once().with_share(fault, PPM)).await
}

async fn ask(mock: &Mock, change: Value) -> Response<Incoming> {
    RawClient::new().post(mock.address(), &[], chat(change).to_string()).await
}

/// Reads until the end, a failure, or more than `most` bytes; the bytes, and whether there was a failure.
async fn read(response: Response<Incoming>, most: usize) -> (Vec<u8>, bool) {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap()),
            Err(_) => return (bytes, true),
        }
        if bytes.len() > most {
            break;
        }
    }
    (bytes, false)
}

fn tokens_in(bytes: &[u8]) -> u64 {
    String::from_utf8(bytes.to_vec()).unwrap().matches("\"content\":\" ").count() as u64
}

async fn until_ended(mock: &Mock, fault: Fault) -> Served {
    eventually("the request has ended", || mock.stats().of(Outcome::Fault(fault)).requests == 1).await;
    let stats = mock.stats();
    assert_eq!((stats.requests, stats.completed, stats.aborted), (1, 0, 0), "{stats:?}");
    stats.of(Outcome::Fault(fault))
}

#[tokio::test]
async fn refused_request_is_429_with_a_time_to_come_back() {
    let mock = start(Fault::Refuse).await;
    let response = ask(&mock, json!({})).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "1");
    let answer: Value = serde_json::from_slice(&read(response, usize::MAX).await.0).unwrap();
    assert_eq!(answer["error"]["code"], "rate_limit_exceeded");
    assert_eq!(until_ended(&mock, Fault::Refuse).await, Served { requests: 1, ..Served::default() });
}

#[tokio::test]
async fn dropped_request_sees_its_connection_close_before_any_byte() {
    let mock = start(Fault::Drop).await;
    let body = chat(json!({})).to_string();
    let answer = RawClient::new().post_to("/v1/chat/completions", mock.address(), &[], body).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(until_ended(&mock, Fault::Drop).await, Served { requests: 1, ..Served::default() });
}

#[tokio::test]
async fn dying_stream_delivers_exactly_the_tokens_that_are_counted_and_no_done() {
    for tokens in [1, 2, 50, 500] {
        let mock = start(Fault::Die).await;
        let response = ask(&mock, json!({"stream": true, "max_tokens": tokens})).await;
        assert_eq!(response.status(), StatusCode::OK);
        let (bytes, broken) = read(response, usize::MAX).await;
        assert!(broken, "the client sees that it is cut");
        assert!(!bytes.windows(6).any(|window| window == b"[DONE]"));
        let seen = tokens_in(&bytes);
        assert!((1..=tokens).contains(&seen), "{seen} of {tokens}");
        let served = Served { requests: 1, prompt_tokens: PROMPT_TOKENS, completion_tokens: seen };
        assert_eq!(until_ended(&mock, Fault::Die).await, served);
        assert_eq!(mock.stats().completion_tokens, seen);
    }
}

#[tokio::test]
async fn dying_plain_answer_is_broken_off_and_has_no_tokens() {
    let mock = start(Fault::Die).await;
    let response = ask(&mock, json!({"max_tokens": 50})).await;
    assert_eq!(response.status(), StatusCode::OK);
    let (bytes, broken) = read(response, usize::MAX).await;
    assert!(broken && bytes.starts_with(b"{\"id\":\"chatcmpl-"), "{broken} {}", String::from_utf8_lossy(&bytes));
    assert_eq!(until_ended(&mock, Fault::Die).await.completion_tokens, 0);
}

#[tokio::test]
async fn stalled_request_gets_no_byte_until_its_client_leaves() {
    for stream in [true, false] {
        let mock = start(Fault::Stall).await;
        let asked = ask(&mock, json!({"stream": stream}));
        assert!(timeout(Duration::from_millis(100), asked).await.is_err(), "not even the head");
        assert_eq!(until_ended(&mock, Fault::Stall).await.completion_tokens, 0);
    }
}

#[tokio::test]
async fn garbage_is_200_and_neither_json_nor_text() {
    for stream in [true, false] {
        let mock = start(Fault::Garbage).await;
        let response = ask(&mock, json!({"stream": stream})).await;
        assert_eq!(response.status(), StatusCode::OK);
        let (bytes, broken) = read(response, usize::MAX).await;
        assert!(!broken && !bytes.is_empty());
        assert!(serde_json::from_slice::<Value>(&bytes).is_err() && String::from_utf8(bytes).is_err());
        assert_eq!(until_ended(&mock, Fault::Garbage).await.completion_tokens, 0);
    }
}

#[tokio::test]
async fn endless_line_is_a_hundred_megabytes_long() {
    for stream in [true, false] {
        let mock = start(Fault::EndlessLine).await;
        let mut body = ask(&mock, json!({"stream": stream})).await.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(!data.contains(&b'\n'));
            length += data.len();
        }
        assert!(length >= LONG_LINE_BYTES, "{length}");
        assert_eq!(until_ended(&mock, Fault::EndlessLine).await.completion_tokens, 0);
    }
}

#[tokio::test]
async fn endless_answer_goes_on_beyond_its_limit_until_the_client_leaves() {
    let mock = start(Fault::Endless).await;
    let (bytes, _) = read(ask(&mock, json!({"stream": true, "max_tokens": 3})).await, 100_000).await;
    assert!(tokens_in(&bytes[..100_000]) > 100);
    assert!(until_ended(&mock, Fault::Endless).await.completion_tokens > 100);

    let mock = start(Fault::Endless).await;
    let (bytes, broken) = read(ask(&mock, json!({"max_tokens": 3})).await, 10_000_000).await;
    assert!(!broken && bytes.len() > 10_000_000);
    assert_eq!(until_ended(&mock, Fault::Endless).await.completion_tokens, 0);
}

#[tokio::test]
async fn dripping_answer_comes_a_byte_at_a_time_and_counts_what_is_out() {
    for stream in [true, false] {
        let mock = start(Fault::Drip).await;
        let begin = Instant::now();
        let (bytes, _) = read(ask(&mock, json!({"stream": stream})).await, 2).await;
        assert_eq!(bytes.len(), 3);
        assert!(begin.elapsed() >= 3 * DRIP_PAUSE);
        assert_eq!(until_ended(&mock, Fault::Drip).await.completion_tokens, 0, "no token was whole");
    }
}

#[tokio::test]
async fn overstated_usage_claims_more_than_is_handed_out() {
    let mock = start_mock(MockOptions { overstate_pct: 30, ..at_once() }).await;
    let options = json!({"include_usage": true});
    let body = json!({"stream": true, "max_tokens": 11, "stream_options": options});
    let (bytes, _) = read(ask(&mock, body).await, usize::MAX).await;
    assert_eq!((tokens_in(&bytes), mock.stats().completion_tokens), (11, 11));
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains(r#""usage":{"prompt_tokens":7,"completion_tokens":15,"total_tokens":22"#), "{text}");
    let (bytes, _) = read(ask(&mock, json!({"max_tokens": 11})).await, usize::MAX).await;
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(answer["usage"]["completion_tokens"], 15);
    assert_eq!(mock.stats().completion_tokens, 22);
}

/// A hundred requests at once of a server where everything goes wrong that ends by itself: what the clients read is
/// what the server counted.
#[tokio::test]
async fn clients_of_a_faulty_server_read_exactly_what_it_counted() {
    let options = MockOptions {
        failure_rate_ppm: 100_000,
        refuse_rate_ppm: 100_000,
        drop_rate_ppm: 100_000,
        die_rate_ppm: 300_000,
        garbage_rate_ppm: 50_000,
        seed: 3,
        ..at_once()
    };
    let mock = start_mock(options).await;
    let address = mock.address();
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..100_u64 {
        clients.spawn(async move {
            let body = chat(json!({"stream": true, "max_tokens": 10 + number * 7})).to_string();
            match RawClient::new().post_to("/v1/chat/completions", address, &[], body).await {
                Ok(response) => String::from_utf8_lossy(&read(response, usize::MAX).await.0).into_owned(),
                Err(_) => String::new(),
            }
        });
    }
    let mut seen = 0;
    for text in clients.join_all().await {
        seen += text.matches("\"content\":\" ").count() as u64;
    }
    eventually("all have ended", || mock.stats().outcomes.values().map(|served| served.requests).sum::<u64>() == 100)
        .await;
    let stats = mock.stats();
    assert!(stats.outcomes.len() == 6 && stats.of(Outcome::Fault(Fault::Die)).completion_tokens > 100, "{stats:?}");
    assert_eq!(stats.completion_tokens, seen, "{stats:?}");
    let by_outcome: u64 = stats.outcomes.values().map(|served| served.completion_tokens).sum();
    assert_eq!(by_outcome, seen);
}
