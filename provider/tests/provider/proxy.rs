//! The agent between the gateway and the model server: what it passes on, whom it turns away, what it measures, how it
//! stops.

use std::{net::SocketAddr, time::Duration};

use axum::{Json, Router, http::HeaderMap, routing::any};
use gollem_provider::{
    agent::{self, AgentError, AgentOptions, AgentReport, ApiKey, Policy, ProxyOptions},
    client::Client,
    mock::{Mock, MockOptions},
};
use http_body_util::BodyExt;
use hyper::{Response, StatusCode, Uri, body::Incoming};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use crate::{
    agent::options,
    fake_gateway::FakeGateway,
    support::{DEADLINE, RawClient, at_once, chat, eventually, listener, read_events, serve, start_mock},
};

struct Scene {
    gateway: FakeGateway,
    mock: Mock,
    /// Where the agent listens.
    address: SocketAddr,
    agent: JoinHandle<Result<AgentReport, AgentError>>,
    stop: oneshot::Sender<()>,
}

/// An agent with two slots in front of a mock.
async fn start(mock: MockOptions, change: impl FnOnce(&mut AgentOptions)) -> Scene {
    let gateway = FakeGateway::start().await;
    let mock = start_mock(mock).await;
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let mut options = options(&gateway, &mock);
    options.proxy = Some(ProxyOptions { listener, public: format!("http://{address}/v1"), max_concurrent: 2 });
    options.stop_grace = DEADLINE;
    change(&mut options);
    let (stop, stopped) = oneshot::channel();
    let agent = tokio::spawn(agent::run(options, async {
        stopped.await.ok();
    }));
    let scene = Scene { gateway, mock, address, agent, stop };
    eventually("the quote rests", || scene.gateway.book().open() == 1).await;
    scene
}

impl Scene {
    async fn ask(&self, change: Value) -> Response<Incoming> {
        RawClient::new().post(self.address, &[], chat(change).to_string()).await
    }

    fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.address), None).unwrap()
    }

    async fn status(&self) -> Value {
        self.client().get("/status").await.unwrap().1
    }

    /// Polls the status until it is so.
    async fn until(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let seen = async {
            loop {
                let status = self.status().await;
                if condition(&status) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, seen).await.unwrap_or_else(|_| panic!("never came true: {what}"))
    }

    async fn stop(self) -> AgentReport {
        self.stop.send(()).ok();
        timeout(DEADLINE, self.agent).await.unwrap().unwrap().unwrap()
    }
}

/// A mock whose streams take long.
fn slowly() -> MockOptions {
    MockOptions { tokens_per_s: 100, ..at_once() }
}

#[tokio::test]
async fn answers_pass_through_and_the_public_address_is_registered() {
    let scene = start(at_once(), |_| {}).await;
    let endpoint = format!("http://{}/v1", scene.address);
    assert_eq!(scene.gateway.book().registered, [json!({"endpoint": endpoint})]);

    let headers = [("x-mock-tokens", "7"), ("connection", "x-mock-hop"), ("x-mock-hop", "1")];
    let body = chat(json!({"stream": true, "stream_options": {"include_usage": true}})).to_string();
    let through = RawClient::new().post(scene.address, &headers, body.clone()).await;
    let (head, through, _) = read_events(through).await;
    assert_eq!(head["content-type"], "text/event-stream; charset=utf-8");
    let (_, direct, _) = read_events(RawClient::new().post(scene.mock.address(), &headers, body).await).await;
    let content = |events: &[String]| {
        let chunks = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
        chunks.map(|chunk| (chunk["choices"].clone(), chunk["usage"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(content(&through), content(&direct));
    assert_eq!(through.len(), 1 + 7 + 1 + 1 + 1);

    let (status, models) = scene.client().get("/v1/models").await.unwrap();
    assert_eq!((status, &models["data"][0]["id"]), (StatusCode::OK, &json!("mock")));
    let (status, error) = scene.client().get("/other").await.unwrap();
    assert_eq!((status, &error["error"]["code"]), (StatusCode::NOT_FOUND, &json!("route_not_found")));
    let refused = scene.ask(json!({"max_tokens": 0})).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "the model server's own refusals pass, too");
    scene.stop().await;
}

#[tokio::test]
async fn model_server_gets_its_own_key_and_never_the_callers() {
    let upstream = serve(Router::new().fallback(any(async |uri: Uri, headers: HeaderMap| {
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        Json(json!({"path": uri.to_string(), "authorization": header("authorization"), "x-kept": header("x-kept")}))
    })))
    .await;
    for (key, expected) in [(Some("sk-upstream"), json!("Bearer sk-upstream")), (None, Value::Null)] {
        let endpoint = format!("http://{}/models/v1", upstream.address);
        let change = |options: &mut AgentOptions| {
            options.endpoint = endpoint;
            options.upstream_key = key.and_then(ApiKey::new);
        };
        let scene = start(at_once(), change).await;
        let headers = [("authorization", "Bearer sk-caller"), ("x-kept", "yes")];
        let path = "/v1/completions?version=2";
        let answer = RawClient::new().post_to(path, scene.address, &headers, "{}").await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(answer["authorization"], expected);
        assert_eq!((&answer["path"], &answer["x-kept"]), (&json!("/models/v1/completions?version=2"), &json!("yes")));
        scene.stop().await;
    }
}

#[tokio::test]
async fn request_beyond_the_limit_is_turned_away_before_the_model_server_sees_it() {
    let scene = start(slowly(), |_| {}).await;
    let running = [scene.ask(json!({"stream": true})).await, scene.ask(json!({"stream": true})).await];
    let turned_away = scene.ask(json!({})).await;
    assert_eq!(turned_away.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(turned_away.headers()["retry-after"], "1");
    let (status, _) = scene.client().get("/v1/models").await.unwrap();
    assert_eq!(status, StatusCode::OK, "what makes no tokens needs no slot");
    assert_eq!(scene.mock.stats().requests, 2);
    drop(running);
    let status = scene.until("the slots are free", |status| status["load"]["running"] == 0).await;
    assert_eq!((&status["requests"]["busy"], &status["requests"]["left"]), (&json!(1), &json!(2)));
    eventually("the model server notices that they left", || scene.mock.stats().aborted == 2).await;
    assert_eq!(scene.ask(json!({"max_tokens": 1})).await.status(), StatusCode::OK);
    scene.stop().await;
}

#[tokio::test]
async fn load_raises_the_price_of_the_quote_that_rests() {
    let policy = "base = 1\nfloor = 1\nceiling = 4\n[load]\nbusy_above_pct = 50\nbusy_premium_pct = 100\n";
    let scene = start(slowly(), |options| options.policy = Policy::parse(policy).unwrap()).await;
    let price = || scene.gateway.book().orders[0].body["price"].clone();
    assert_eq!(price(), "0.00100000");
    let one = scene.ask(json!({"stream": true, "max_tokens": 100_000})).await;
    let two = scene.ask(json!({"stream": true, "max_tokens": 100_000})).await;
    eventually("both run: twice the price", || price() == "0.00200000").await;
    drop(two);
    eventually("one runs: the base price", || price() == "0.00100000").await;
    drop(one);
    let status = scene.until("the status tells", |status| status["reprices"] == 2).await;
    assert_eq!((&status["quote"]["price_usd_per_million"], &status["quotes_placed"]), (&json!("1"), &json!(1)));
    scene.stop().await;
}

#[tokio::test]
async fn slow_reader_slows_the_model_server_down() {
    let scene = start(at_once(), |_| {}).await;
    let most: u64 = 1 << 20;
    let mut response = scene.ask(json!({"stream": true, "max_tokens": most, "logprobs": true})).await;
    response.body_mut().frame().await.unwrap().unwrap();
    // Nobody reads on: what the server makes comes to a halt at what the sockets on the way hold.
    let (mut before, mut halted) = (0, 0);
    while halted < 5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = scene.mock.stats().completion_tokens;
        assert!(now < most / 2, "{now} tokens for one read");
        halted = if now == before { halted + 1 } else { 0 };
        before = now;
    }
    assert!(response.body_mut().frame().await.unwrap().is_ok(), "it goes on");
    drop(response);
    scene.until("the slot is free", |status| status["requests"]["left"] == 1).await;
    scene.stop().await;
}

#[tokio::test]
async fn what_is_measured_is_what_was_served() {
    let options = MockOptions { first_token: Duration::from_millis(50), tokens_per_s: 50, ..at_once() };
    let scene = start(options, |_| {}).await;
    let body = json!({"stream": true, "max_tokens": 101, "stream_options": {"include_usage": true}});
    read_events(scene.ask(body).await).await;
    scene.ask(json!({"max_tokens": 3})).await.into_body().collect().await.unwrap();
    let status = scene.until("both have ended", |status| status["requests"]["completed"] == 2).await;
    assert_eq!(status["tokens"], 104);
    let first_token_ms = status["latency"]["first_token_ms"]["p50"].as_u64().unwrap();
    assert!((50..5_000).contains(&first_token_ms), "{status}");
    let rate = status["latency"]["tokens_per_s"]["p50"].as_u64().unwrap();
    // 100 tokens in two seconds. Those that wait while this machine is busy come in a burst, which shortens the time.
    assert!((1..=100).contains(&rate), "{status}");
    assert_eq!((&status["state"], &status["model_server"]), (&json!("quoting"), &json!("up")));
    let status = scene.until("the earnings are told", |status| !status["earned"].is_null()).await;
    assert_eq!(status["payout"], json!({"eligible": false, "threshold_usd": "100.00"}));
    assert!(status["gpus"].is_array() != status["gpus_missing"].is_string(), "the one or the other: {status}");

    let response = RawClient::new().get(scene.address, "/metrics").await;
    let page = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    for line in [
        "gollem_agent_quoted{model=\"gpt4\"} 1",
        "gollem_agent_price_usd_per_million{model=\"gpt4\"} 1.35",
        "gollem_agent_requests_total{model=\"gpt4\",ended=\"completed\"} 2",
        "gollem_agent_tokens_total{model=\"gpt4\"} 104",
        "gollem_agent_earned_credits 12.34500000",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in {page}");
    }
    assert!(page.contains("gollem_agent_first_token_seconds{model=\"gpt4\",quantile=\"0.99\"} 0."), "{page}");
    scene.stop().await;
}

#[tokio::test]
async fn stop_withdraws_refuses_newcomers_and_lets_what_runs_end() {
    let scene = start(MockOptions { tokens_per_s: 50, ..at_once() }, |_| {}).await;
    let running = scene.ask(json!({"stream": true, "max_tokens": 50})).await;
    let Scene { gateway, address, agent, stop, mock: _mock } = scene;
    stop.send(()).unwrap();
    eventually("the quote is withdrawn", || gateway.book().open() == 0).await;
    let refused = async {
        loop {
            let newcomer = RawClient::new().post(address, &[], chat(json!({"max_tokens": 1})).to_string()).await;
            if newcomer.status() != StatusCode::OK {
                return newcomer;
            }
        }
    };
    let refused = timeout(DEADLINE, refused).await.unwrap();
    assert_eq!(
        (refused.status(), &refused.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
    );
    assert!(!agent.is_finished(), "it waits for what runs");
    let (_, events, _) = read_events(running).await;
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    assert_eq!(events.len(), 1 + 50 + 1 + 1);
    timeout(DEADLINE, agent).await.unwrap().unwrap().unwrap();
    let body = chat(json!({})).to_string();
    assert!(RawClient::new().post_to("/v1/chat/completions", address, &[], body).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn grace_that_is_over_cuts_what_still_runs() {
    let options = MockOptions { tokens_per_s: 10, ..at_once() };
    let scene = start(options, |options| options.stop_grace = Duration::from_millis(200)).await;
    let running = scene.ask(json!({"stream": true, "max_tokens": 100_000})).await;
    scene.stop().await;
    assert!(running.into_body().collect().await.is_err(), "a cut stream is seen as cut");
}

#[tokio::test]
async fn model_server_that_is_gone_is_a_bad_gateway_and_frees_its_slot() {
    let Scene { address, agent, stop, mock, gateway: _gateway } = start(at_once(), |_| {}).await;
    mock.stop().await;
    for _ in 0..3 {
        let answer = RawClient::new().post(address, &[], chat(json!({})).to_string()).await;
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    }
    stop.send(()).unwrap();
    timeout(DEADLINE, agent).await.unwrap().unwrap().unwrap();
}
