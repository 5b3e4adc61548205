//! The mock's plain answers, its errors and what it counts.

use std::time::Duration;

use gollem_provider::{
    client::Client,
    mock::{BODY_BYTES_MAX, MockOptions, MockStats, Served},
};
use http_body_util::BodyExt;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{RawClient, at_once, chat, eventually, start_mock};

const PATH: &str = "/v1/chat/completions";

fn client(mock: &gollem_provider::mock::Mock) -> Client {
    Client::new(&format!("http://{}", mock.address()), None).unwrap()
}

#[tokio::test]
async fn plain_answer_has_exactly_the_tokens_asked_for() {
    let mock = start_mock(at_once()).await;
    let client = client(&mock);

    let (status, answer) = client.post(PATH, &chat(json!({"max_tokens": 44}))).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "gpt4");
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["message"]["content"].as_str().unwrap().split_whitespace().count(), 44);
    assert_eq!(choice["finish_reason"], "length");
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 44, "total_tokens": 49,
        "prompt_tokens_details": {"cached_tokens": 0}});
    assert_eq!(answer["usage"], usage);

    let (_, answer) = client.post(PATH, &chat(json!({"max_tokens": 44, "mock_tokens": 3}))).await.unwrap();
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["usage"]["completion_tokens"], 3);
    mock.stop().await;
}

#[tokio::test]
async fn header_tells_how_many_tokens_come_back() {
    let mock = start_mock(at_once()).await;
    let headers = [("x-mock-tokens", "7")];
    let response = RawClient::new().post(mock.address(), &headers, chat(json!({"max_tokens": 44})).to_string()).await;
    let answer: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(answer["usage"]["completion_tokens"], 7);
    mock.stop().await;
}

#[tokio::test]
async fn plain_answer_takes_its_time() {
    let options = MockOptions { first_token: Duration::from_millis(30), tokens_per_s: 1_000, ..at_once() };
    let mock = start_mock(options).await;
    let start = Instant::now();
    client(&mock).post(PATH, &chat(json!({"max_tokens": 50}))).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(80), "{:?}", start.elapsed());
    mock.stop().await;
}

#[tokio::test]
async fn stats_are_what_the_clients_saw() {
    let mock = start_mock(MockOptions { failure_rate_ppm: 300_000, seed: 11, ..at_once() }).await;
    let client = client(&mock);
    let mut seen = MockStats::default();
    let mut by_outcome = std::collections::BTreeMap::<_, Served>::new();
    for tokens in 1..=60 {
        // Every tenth request is wrong.
        let max_tokens = if tokens % 10 == 0 { 0 } else { tokens };
        let (status, answer) = client.post(PATH, &chat(json!({"max_tokens": max_tokens}))).await.unwrap();
        seen.requests += 1;
        match status {
            StatusCode::OK => {
                seen.completed += 1;
                seen.prompt_tokens += answer["usage"]["prompt_tokens"].as_u64().unwrap();
                seen.completion_tokens += answer["usage"]["completion_tokens"].as_u64().unwrap();
            }
            StatusCode::INTERNAL_SERVER_ERROR => seen.failed += 1,
            _ => seen.refused += 1,
        }
    }
    let Served { prompt_tokens, completion_tokens, .. } = Served::default();
    for (outcome, requests) in [("fail", seen.failed), ("invalid", seen.refused)] {
        by_outcome.insert(outcome.to_owned(), Served { requests, prompt_tokens, completion_tokens });
    }
    let MockStats { completed: requests, prompt_tokens, completion_tokens, .. } = seen;
    by_outcome.insert("completed".to_owned(), Served { requests, prompt_tokens, completion_tokens });
    seen.outcomes = by_outcome;
    assert!(seen.failed > 5 && seen.refused == 6, "{seen:?}");
    assert_eq!(mock.stats(), seen);
    let (_, stats) = client.get("/stats").await.unwrap();
    assert_eq!(serde_json::from_value::<MockStats>(stats).unwrap(), seen);
    mock.stop().await;
}

#[tokio::test]
async fn same_seed_fails_the_same_requests() {
    let outcomes = async |seed| {
        let mock = start_mock(MockOptions { failure_rate_ppm: 200_000, seed, ..at_once() }).await;
        let client = client(&mock);
        let mut failed = Vec::new();
        for number in 0..50 {
            let (status, answer) = client.post(PATH, &chat(json!({"max_tokens": 1}))).await.unwrap();
            if status == StatusCode::INTERNAL_SERVER_ERROR {
                assert_eq!(answer["error"]["type"], "server_error");
                failed.push(number);
            }
        }
        mock.stop().await;
        failed
    };
    let first = outcomes(5).await;
    assert!((1..25).contains(&first.len()), "{first:?}");
    assert_eq!(outcomes(5).await, first);
    assert_ne!(outcomes(6).await, first);
}

#[tokio::test]
async fn failure_rates_of_none_and_all_are_exact() {
    for (failure_rate_ppm, expected) in [(0, StatusCode::OK), (1_000_000, StatusCode::INTERNAL_SERVER_ERROR)] {
        let mock = start_mock(MockOptions { failure_rate_ppm, ..at_once() }).await;
        let client = client(&mock);
        for _ in 0..20 {
            assert_eq!(client.post(PATH, &chat(json!({"max_tokens": 1}))).await.unwrap().0, expected);
        }
        mock.stop().await;
    }
}

#[tokio::test]
async fn errors_have_the_shape_of_the_openai_api() {
    let mock = start_mock(MockOptions { models: vec!["gpt4".to_owned()], ..at_once() }).await;
    let raw = RawClient::new();
    let check = async |body: String, status: StatusCode, param: Value, code: Value| {
        let response = raw.post(mock.address(), &[], body.clone()).await;
        assert_eq!(response.status(), status, "{body}");
        let answer: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
        let error = answer["error"].as_object().unwrap();
        assert_eq!(error.keys().collect::<Vec<_>>(), ["message", "type", "param", "code"]);
        assert_eq!((&error["param"], &error["code"]), (&param, &code), "{body}");
        assert_eq!(error["type"], "invalid_request_error");
    };
    let bad = StatusCode::BAD_REQUEST;
    check("{\"model\":".to_owned(), bad, Value::Null, Value::Null).await;
    check(json!({"model": "gpt4"}).to_string(), bad, json!("messages"), Value::Null).await;
    check(chat(json!({"n": 9})).to_string(), bad, json!("n"), Value::Null).await;
    check(chat(json!({"model": "x"})).to_string(), StatusCode::NOT_FOUND, json!("model"), json!("model_not_found"))
        .await;
    mock.stop().await;
}

#[tokio::test]
async fn body_over_the_limit_is_refused() {
    let mock = start_mock(at_once()).await;
    let response = RawClient::new().post(mock.address(), &[], vec![b' '; BODY_BYTES_MAX + 1]).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    mock.stop().await;
}

#[tokio::test]
async fn other_paths_answer_as_they_should() {
    let models = vec!["gpt4".to_owned(), "gpt3".to_owned()];
    let mock = start_mock(MockOptions { models, ..at_once() }).await;
    let client = client(&mock);
    assert_eq!(client.get("/health").await.unwrap(), (StatusCode::OK, json!({"status": "ok"})));
    let (_, list) = client.get("/v1/models").await.unwrap();
    assert_eq!(list["object"], "list");
    assert_eq!((&list["data"][0]["id"], &list["data"][1]["id"]), (&json!("gpt4"), &json!("gpt3")));
    let (status, answer) = client.get("/v2").await.unwrap();
    assert_eq!((status, &answer["error"]["param"]), (StatusCode::NOT_FOUND, &Value::Null));
    let (status, answer) = client.get(PATH).await.unwrap();
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer["error"]["message"].is_string());
    mock.stop().await;
}

#[tokio::test]
async fn plain_request_whose_client_leaves_is_aborted_and_has_no_tokens() {
    let mock = start_mock(MockOptions { first_token: Duration::from_secs(3_600), ..at_once() }).await;
    let impatient = client(&mock).with_timeout(Duration::from_millis(50));
    assert!(impatient.post(PATH, &chat(json!({}))).await.unwrap_err().is_passing());
    eventually("the request is aborted", || mock.stats().aborted == 1).await;
    let stats = mock.stats();
    assert_eq!((stats.requests, stats.completed, stats.completion_tokens), (1, 0, 0));
    mock.stop().await;
}

#[tokio::test]
async fn many_servers_start_answer_and_stop_promptly() {
    let mut mocks = Vec::new();
    for _ in 0..45 {
        mocks.push(start_mock(at_once()).await);
    }
    for mock in &mocks {
        client(mock).post(PATH, &chat(json!({"max_tokens": 1}))).await.unwrap();
    }
    let start = Instant::now();
    for mock in mocks {
        let client = client(&mock);
        client.get("/health").await.unwrap();
        mock.stop().await;
        assert!(client.get("/health").await.is_err(), "a stopped server does not answer");
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
