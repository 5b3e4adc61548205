//! The mock's streamed answers: order and content of the events, usage flags, pace, and clients that leave.

use std::time::Duration;

use gollem_provider::mock::{Mock, MockOptions};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::support::{DEADLINE, RawClient, at_once, chat, eventually, read_events, start_mock};

/// The chunks of one streamed answer; checks that `[DONE]` is the last event.
async fn stream(mock: &Mock, change: Value) -> Vec<Value> {
    let mut body = chat(change);
    body["stream"] = json!(true);
    let response = RawClient::new().post(mock.address(), &[], body.to_string()).await;
    let (headers, mut events, _) = read_events(response).await;
    assert_eq!(headers["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    let chunks: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["model"], body["model"]);
        assert_eq!(chunk["id"], chunks[0]["id"]);
    }
    chunks
}

/// The tokens of the content chunks, which hold one each.
fn tokens(chunks: &[Value]) -> Vec<&str> {
    let content = |chunk: &'_ Value| chunk["choices"][0]["delta"]["content"].is_string();
    chunks
        .iter()
        .skip(1)
        .filter(|chunk| content(chunk))
        .map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn stream_is_role_then_one_token_to_a_chunk_then_the_reason() {
    let mock = start_mock(at_once()).await;
    let chunks = stream(&mock, json!({"max_tokens": 300, "mock_tokens": 200})).await;
    assert_eq!(chunks.len(), 1 + 200 + 1);
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let tokens = tokens(&chunks);
    assert_eq!(tokens.len(), 200);
    assert!(tokens.iter().all(|token| token.starts_with(' ') && token.split_whitespace().count() == 1));
    let (last, before) = chunks.split_last().unwrap();
    assert!(before.iter().all(|chunk| chunk["choices"][0]["finish_reason"].is_null()));
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert_eq!(last["choices"][0]["delta"], json!({}));
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()), "nobody asked for the usage");
    assert_eq!((mock.stats().completed, mock.stats().completion_tokens), (1, 200));
    mock.stop().await;
}

#[tokio::test]
async fn streamed_text_is_the_plain_text() {
    let mock = start_mock(at_once()).await;
    let chunks = stream(&mock, json!({"max_tokens": 70, "model": "with \"quotes\"\\"})).await;
    let client = gollem_provider::client::Client::new(&format!("http://{}", mock.address()), None).unwrap();
    let (_, plain) = client.post("/v1/chat/completions", &chat(json!({"max_tokens": 70}))).await.unwrap();
    assert_eq!(plain["choices"][0]["message"]["content"], tokens(&chunks).concat());
    assert_ne!(plain["id"], chunks[0]["id"]);
    mock.stop().await;
}

#[tokio::test]
async fn usage_comes_once_at_the_end_and_is_null_before() {
    let mock = start_mock(at_once()).await;
    let chunks = stream(&mock, json!({"max_tokens": 5, "stream_options": {"include_usage": true}})).await;
    let (usage, before) = chunks.split_last().unwrap();
    assert!(before.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
    assert_eq!(before.last().unwrap()["choices"][0]["finish_reason"], "length");
    assert_eq!(usage["choices"], json!([]));
    let expected = json!({"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 0}});
    assert_eq!(usage["usage"], expected);
    mock.stop().await;
}

#[tokio::test]
async fn continuous_usage_counts_up_with_every_chunk() {
    let mock = start_mock(at_once()).await;
    let options = json!({"include_usage": true, "continuous_usage_stats": true});
    let chunks = stream(&mock, json!({"max_tokens": 3, "stream_options": options})).await;
    let counts: Vec<u64> = chunks.iter().map(|chunk| chunk["usage"]["completion_tokens"].as_u64().unwrap()).collect();
    assert_eq!(counts, [0, 1, 2, 3, 3, 3], "role, three tokens, reason, usage");
    mock.stop().await;
}

#[tokio::test]
async fn answer_without_tokens_still_ends_properly() {
    let mock = start_mock(at_once()).await;
    let chunks = stream(&mock, json!({"mock_tokens": 0})).await;
    assert_eq!(chunks.len(), 2);
    assert_eq!(chunks[1]["choices"][0]["finish_reason"], "stop");
    mock.stop().await;
}

#[tokio::test]
async fn unlimited_rate_packs_many_events_in_a_write() {
    let mock = start_mock(at_once()).await;
    let body = chat(json!({"stream": true, "max_tokens": 6_400})).to_string();
    let (_, events, pieces) = read_events(RawClient::new().post(mock.address(), &[], body).await).await;
    assert_eq!(events.len(), 1 + 6_400 + 1 + 1);
    assert!(pieces < 1_000, "{pieces} pieces");
    mock.stop().await;
}

#[tokio::test]
async fn no_token_comes_before_it_is_due() {
    let first_token = Duration::from_millis(20);
    let mock = start_mock(MockOptions { first_token, tokens_per_s: 200, ..at_once() }).await;
    let body = chat(json!({"stream": true, "max_tokens": 20})).to_string();
    let start = Instant::now();
    let mut response = RawClient::new().post(mock.address(), &[], body).await;
    let mut seen = 0_u32;
    while let Some(frame) = response.body_mut().frame().await {
        let text = String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap();
        seen += u32::try_from(text.matches("\"content\":\" ").count()).unwrap();
        let due = first_token + Duration::from_millis(5) * seen.saturating_sub(1);
        assert!(start.elapsed() >= due, "{seen} tokens after {:?}", start.elapsed());
    }
    assert_eq!(seen, 20);
    mock.stop().await;
}

#[tokio::test]
async fn client_that_leaves_in_mid_stream_stops_the_generation() {
    let mock = start_mock(MockOptions { tokens_per_s: 100, ..at_once() }).await;
    let body = chat(json!({"stream": true, "max_tokens": 100_000})).to_string();
    let client = RawClient::new();
    let mut response = client.post(mock.address(), &[], body).await;
    let mut seen = 0;
    while seen < 3 {
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        seen += String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap().matches("\"content\":\" ").count();
    }
    assert_eq!(mock.stats().aborted, 0);
    drop(response);
    eventually("the stream is aborted", || mock.stats().aborted == 1).await;
    let stats = mock.stats();
    assert!((3..10_000).contains(&stats.completion_tokens), "{stats:?}");
    assert_eq!((stats.requests, stats.completed, stats.prompt_tokens), (1, 0, 5));
    mock.stop().await;
}

#[tokio::test]
async fn stop_cuts_streams_and_drain_lets_them_finish() {
    let body = chat(json!({"stream": true, "max_tokens": 20})).to_string();
    let options = MockOptions { first_token: Duration::from_millis(100), tokens_per_s: 200, ..at_once() };

    let mock = start_mock(MockOptions { first_token: Duration::from_secs(3_600), ..options.clone() }).await;
    let response = RawClient::new().post(mock.address(), &[], body.clone()).await;
    timeout(DEADLINE, mock.stop()).await.unwrap();
    assert!(response.into_body().collect().await.is_err(), "a cut stream is seen as cut");

    let mock = start_mock(options).await;
    let response = RawClient::new().post(mock.address(), &[], body).await;
    let (read, ()) = tokio::join!(read_events(response), mock.drain(DEADLINE));
    assert_eq!(read.1.last().map(String::as_str), Some("[DONE]"));
}
