//! The agent between a fake gateway and a mock model server.

use std::time::Duration;

use axum::http::StatusCode;
use gollem_provider::{
    agent::{self, AgentError, AgentOptions, AgentReport, ApiKey, Policy},
    mock::Mock,
};
use serde_json::json;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};

use crate::{
    fake_gateway::{FakeGateway, Mishap},
    support::{DEADLINE, at_once, eventually, listener, start_mock},
};

const CAPACITY: u64 = 1_000;

/// A gateway, a model server, and an agent between them.
struct Scene {
    gateway: FakeGateway,
    mock: Mock,
    agent: JoinHandle<Result<AgentReport, AgentError>>,
    stop: oneshot::Sender<()>,
}

pub(crate) fn options(gateway: &FakeGateway, mock: &Mock) -> AgentOptions {
    AgentOptions {
        gateway: gateway.url(),
        key: ApiKey::new("sk-provider").unwrap(),
        endpoint: format!("http://{}/v1", mock.address()),
        model: "gpt4".to_owned(),
        upstream_key: None,
        proxy: None,
        policy: Policy::fixed("1.35".parse().unwrap()),
        latency_ms: 400,
        throughput_tps: 60,
        capacity: CAPACITY,
        gpu: Some("h100".to_owned()),
        region: Some("us".to_owned()),
        refresh: Duration::from_millis(10),
        deadline: Duration::from_secs(30),
        stop_grace: Duration::from_millis(500),
    }
}

/// Starts everything; `prepare` sets up the gateway before the agent comes.
async fn start(prepare: impl FnOnce(&FakeGateway), change: impl FnOnce(&mut AgentOptions)) -> Scene {
    let gateway = FakeGateway::start().await;
    let mock = start_mock(at_once()).await;
    prepare(&gateway);
    let mut options = options(&gateway, &mock);
    change(&mut options);
    let (stop, stopped) = oneshot::channel();
    let agent = tokio::spawn(agent::run(options, async {
        stopped.await.ok();
    }));
    Scene { gateway, mock, agent, stop }
}

impl Scene {
    async fn until_quoted(&self, orders: usize) {
        eventually("the quote rests", || {
            let book = self.gateway.book();
            book.orders.len() == orders && book.open() == 1
        })
        .await;
    }

    async fn stop(self) -> Result<AgentReport, AgentError> {
        self.stop.send(()).ok();
        timeout(DEADLINE, self.agent).await.unwrap().unwrap()
    }

    /// For agents that end by themselves.
    async fn ended(self) -> Result<AgentReport, AgentError> {
        timeout(DEADLINE, self.agent).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn agent_registers_quotes_the_right_price_and_withdraws_at_stop() {
    let scene = start(|_| {}, |_| {}).await;
    scene.until_quoted(1).await;
    {
        let book = scene.gateway.book();
        assert_eq!(book.registered, [json!({"endpoint": format!("http://{}/v1", scene.mock.address())})]);
        let mut order = book.orders[0].body.clone();
        let client_order_id = order.as_object_mut().unwrap().remove("client_order_id").unwrap();
        let prefix = format!("agent-{}-", std::process::id());
        assert!(client_order_id.as_str().unwrap().starts_with(&prefix), "{client_order_id}");
        let expected = json!({"side": "ask", "type": "limit", "instrument": "gpt4", "price": "0.00135000",
            "quantity": CAPACITY, "time_in_force": "gtc", "latency_ms": 400, "throughput_tps": 60,
            "gpu": "h100", "region": "us"});
        assert_eq!(order, expected);
    }
    eventually("the quote is looked after", || scene.gateway.book().looks > 3).await;
    assert_eq!(scene.gateway.book().orders.len(), 1, "a quote that nobody took is left alone");

    let Scene { gateway, agent, stop, .. } = scene;
    stop.send(()).unwrap();
    let report = timeout(DEADLINE, agent).await.unwrap().unwrap().unwrap();
    assert_eq!(report, AgentReport { quotes_placed: 1, earned: Some("12.34500000".to_owned()) });
    assert_eq!(gateway.book().orders[0].status, "canceled");
}

#[tokio::test]
async fn what_is_not_given_is_not_sent() {
    let change = |options: &mut AgentOptions| (options.gpu, options.region) = (None, None);
    let scene = start(|_| {}, change).await;
    scene.until_quoted(1).await;
    let body = scene.gateway.book().orders[0].body.clone();
    assert!(body.get("gpu").is_none() && body.get("region").is_none(), "{body}");
    scene.stop().await.unwrap();
}

#[tokio::test]
async fn overloaded_gateway_is_asked_again_under_the_same_client_order_id() {
    let mishaps = [Mishap::Overloaded, Mishap::Overloaded];
    let scene = start(|gateway| gateway.book().mishaps.extend(mishaps), |_| {}).await;
    scene.until_quoted(1).await;
    let sent = scene.gateway.book().sent.clone();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|id| *id == sent[0]), "{sent:?}");
    assert_eq!(scene.stop().await.unwrap().quotes_placed, 1);
}

#[tokio::test]
async fn order_whose_answer_was_lost_is_placed_once() {
    let scene = start(|gateway| gateway.book().mishaps.push_back(Mishap::AnswerLost), |_| {}).await;
    eventually("the agent knows its order", || scene.gateway.book().looks > 0).await;
    {
        let book = scene.gateway.book();
        assert_eq!((book.sent.len(), book.orders.len()), (2, 1));
        assert_eq!(book.sent[0], book.sent[1]);
    }
    scene.stop().await.unwrap();
}

#[tokio::test]
async fn quote_that_runs_low_is_replaced_and_never_doubled() {
    let scene = start(|_| {}, |_| {}).await;
    scene.until_quoted(1).await;

    // Half of the capacity is enough.
    scene.gateway.book().orders[0].remaining = CAPACITY / 2;
    let looks = scene.gateway.book().looks;
    eventually("the quote is looked at", || scene.gateway.book().looks > looks + 2).await;
    assert_eq!(scene.gateway.book().orders.len(), 1);

    // One less is not.
    scene.gateway.book().orders[0].remaining = CAPACITY / 2 - 1;
    scene.until_quoted(2).await;
    {
        let mut book = scene.gateway.book();
        assert_eq!((book.orders[0].status, book.orders[1].remaining), ("canceled", CAPACITY));
        assert_ne!(book.sent[0], book.sent[1]);
        book.orders[1].status = "filled";
        book.orders[1].remaining = 0;
    }

    // A filled one cannot be canceled any more; a fresh one comes all the same.
    scene.until_quoted(3).await;
    assert_eq!(scene.stop().await.unwrap().quotes_placed, 3);
}

#[tokio::test]
async fn quote_that_the_gateway_has_forgotten_is_placed_afresh() {
    let scene = start(|_| {}, |_| {}).await;
    scene.until_quoted(1).await;
    scene.gateway.book().orders.clear();
    scene.until_quoted(1).await;
    assert_eq!(scene.gateway.book().sent.len(), 2);
    scene.stop().await.unwrap();
}

#[tokio::test]
async fn deadline_is_set_before_the_ask_renewed_while_it_rests_and_taken_back_at_stop() {
    let mishap = Mishap::Overloaded;
    let scene = start(|gateway| gateway.book().mishaps.push_back(mishap), |_| {}).await;
    eventually("the order arrives", || !scene.gateway.book().sent.is_empty()).await;
    assert_eq!(scene.gateway.book().deadlines[0], json!({"after_ms": 30_000}), "before any order");
    scene.until_quoted(1).await;
    eventually("the deadline is renewed", || scene.gateway.book().deadlines.len() > 5).await;
    let Scene { gateway, agent, stop, .. } = scene;
    stop.send(()).unwrap();
    timeout(DEADLINE, agent).await.unwrap().unwrap().unwrap();
    assert_eq!(gateway.book().deadlines.last(), Some(&json!({"after_ms": null})));
}

#[tokio::test]
async fn what_an_earlier_run_left_is_withdrawn_before_the_first_quote() {
    let scene = start(|_| {}, |_| {}).await;
    scene.until_quoted(1).await;
    assert_eq!(scene.gateway.book().statuses, [json!({"model": "gpt4", "status": "offline"})]);
    scene.stop().await.unwrap();
}

const UNDERCUT: &str = "base = 2\nfloor = 1\nceiling = 4\n[undercut]\nby = 0.01\n";

#[tokio::test]
async fn rival_is_undercut_in_place_down_to_the_floor_and_never_the_own_quote() {
    let change = |options: &mut AgentOptions| options.policy = Policy::parse(UNDERCUT).unwrap();
    let scene = start(|_| {}, change).await;
    scene.until_quoted(1).await;
    let price = || scene.gateway.book().orders[0].body["price"].clone();
    let settles_at = async |expected: &str| {
        eventually("the price is right", || price() == expected).await;
        let looks = scene.gateway.book().looks;
        eventually("it is looked at again", || scene.gateway.book().looks > looks + 2).await;
        assert_eq!(price(), expected, "and stays");
    };
    settles_at("0.00200000").await;
    for (rival, expected) in [
        (Some("0.00180000"), "0.00179000"),
        (Some("0.00500000"), "0.00200000"),
        (Some("0.00000001"), "0.00100000"),
        (None, "0.00200000"),
    ] {
        scene.gateway.book().rival = rival;
        settles_at(expected).await;
    }
    assert_eq!(scene.stop().await.unwrap().quotes_placed, 1, "the quote was priced anew where it rests");
}

#[tokio::test]
async fn dead_model_server_takes_the_quote_out_and_its_return_brings_it_back() {
    let Scene { gateway, mock, agent, stop } = start(|_| {}, |_| {}).await;
    eventually("the quote rests", || gateway.book().open() == 1).await;
    let address = mock.address();
    mock.stop().await;
    eventually("the quote is withdrawn", || gateway.book().open() == 0).await;
    assert_eq!(gateway.book().orders.len(), 1, "nothing is quoted while the model server is down");

    let mock = Mock::start(TcpListener::bind(address).await.unwrap(), at_once()).await;
    eventually("the quote is back", || gateway.book().open() == 1).await;
    assert_eq!(gateway.book().orders.len(), 2);
    stop.send(()).unwrap();
    timeout(DEADLINE, agent).await.unwrap().unwrap().unwrap();
    assert_eq!(gateway.book().open(), 0);
    mock.stop().await;
}

#[tokio::test]
async fn model_server_that_does_not_answer_at_the_start_is_named_and_nothing_is_registered() {
    let gateway = FakeGateway::start().await;
    let mock = start_mock(at_once()).await;
    let mut options = options(&gateway, &mock);
    options.endpoint = format!("http://{}/v1", listener().await.local_addr().unwrap());
    let endpoint = options.endpoint.clone();
    let error = agent::run(options, std::future::pending()).await.unwrap_err();
    assert!(matches!(error, AgentError::ModelServer { .. }), "{error:?}");
    assert!(error.to_string().contains(&endpoint), "{error}");
    assert!(gateway.book().registered.is_empty());
}

#[tokio::test]
async fn endpoint_without_models_is_no_model_server() {
    let gateway = FakeGateway::start().await;
    let mock = start_mock(at_once()).await;
    let mut options = options(&gateway, &mock);
    options.endpoint = format!("http://{}", mock.address());
    let error = agent::run(options, std::future::pending()).await.unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
}

#[tokio::test]
async fn unknown_key_ends_the_agent_with_the_gateways_words() {
    let scene = start(|gateway| gateway.book().key = Some("another"), |_| {}).await;
    let error = scene.ended().await.unwrap_err();
    assert!(matches!(error, AgentError::Refused { status: StatusCode::UNAUTHORIZED, .. }), "{error:?}");
    assert!(error.to_string().contains("this key is not known here"), "{error}");
}

#[tokio::test]
async fn order_that_is_wrong_ends_the_agent_with_the_gateways_words() {
    for status in [StatusCode::BAD_REQUEST, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND] {
        let mishap = Mishap::Refused(status, "price is outside the band");
        let scene = start(|gateway| gateway.book().mishaps.push_back(mishap), |_| {}).await;
        let error = scene.ended().await.unwrap_err();
        assert!(error.to_string().contains("price is outside the band"), "{error}");
    }
}

#[tokio::test]
async fn order_that_is_refused_for_now_is_tried_again_as_a_new_one() {
    let mishap = Mishap::Refused(StatusCode::CONFLICT, "the provider is paused");
    let scene = start(|gateway| gateway.book().mishaps.push_back(mishap), |_| {}).await;
    scene.until_quoted(1).await;
    let sent = scene.gateway.book().sent.clone();
    assert!(sent.len() == 2 && sent[0] != sent[1], "{sent:?}");
    scene.stop().await.unwrap();
}

#[tokio::test]
async fn stop_while_the_gateway_is_away_at_the_start_ends_at_once() {
    let scene = start(|gateway| gateway.book().away = true, |options| options.stop_grace = DEADLINE).await;
    eventually("the agent is turned away", || scene.gateway.book().turned_away > 0).await;
    assert_eq!(scene.stop().await.unwrap().quotes_placed, 0);
}

#[tokio::test]
async fn stop_while_the_gateway_is_away_waits_for_it_within_the_grace() {
    let Scene { gateway, agent, stop, mock: _mock } = start(|_| {}, |options| options.stop_grace = DEADLINE).await;
    eventually("the quote rests", || gateway.book().open() == 1).await;
    gateway.book().away = true;
    stop.send(()).unwrap();
    eventually("the agent is turned away", || gateway.book().turned_away > 1).await;
    assert_eq!(gateway.book().open(), 1);
    gateway.book().away = false;
    timeout(DEADLINE, agent).await.unwrap().unwrap().unwrap();
    assert_eq!(gateway.book().open(), 0);
}

#[tokio::test]
async fn quote_that_cannot_be_withdrawn_in_time_is_an_error() {
    let scene = start(|_| {}, |_| {}).await;
    scene.until_quoted(1).await;
    scene.gateway.book().away = true;
    let error = scene.stop().await.unwrap_err();
    assert!(matches!(error, AgentError::Unavailable { .. }), "{error:?}");
}
