//! Waiting, listening, serving and reading streams.

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use bytes::Bytes;
use gollem_provider::mock::{Mock, MockOptions};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, body::Incoming, server::conn::http1};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet, time::Instant};

/// Far longer than anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Polls until the condition holds; panics with `what` if it never does.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A listener on a free port of this machine.
pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// A mock model server.
pub(crate) async fn start_mock(options: MockOptions) -> Mock {
    Mock::start(listener().await, options).await
}

/// Options with no waits at all.
pub(crate) fn at_once() -> MockOptions {
    MockOptions { first_token: Duration::ZERO, tokens_per_s: 0, ..MockOptions::default() }
}

/// A chat request with the fields of `change` on top.
pub(crate) fn chat(change: Value) -> Value {
    let mut body = json!({"model": "gpt4", "messages": [{"role": "user", "content": "count these five words now"}]});
    for (name, value) in change.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// Serves a router until dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _connections: JoinSet<()>,
}

pub(crate) async fn serve(router: Router) -> Server {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(router.clone());
            connections.spawn(async move {
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
            });
        }
    });
    Server { address, _connections: tasks }
}

/// A bare HTTP client, for what the JSON client does not do.
pub(crate) struct RawClient(Client<HttpConnector, Full<Bytes>>);

impl RawClient {
    pub(crate) fn new() -> Self {
        RawClient(Client::builder(TokioExecutor::new()).build_http())
    }

    pub(crate) async fn post(
        &self,
        address: SocketAddr,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        self.post_to("/v1/chat/completions", address, headers, body).await.unwrap()
    }

    pub(crate) async fn get(&self, address: SocketAddr, path: &str) -> Response<Incoming> {
        let request = Request::builder().uri(format!("http://{address}{path}")).body(Full::default()).unwrap();
        self.0.request(request).await.unwrap()
    }

    pub(crate) async fn post_to(
        &self,
        path: &str,
        address: SocketAddr,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response<Incoming>, Error> {
        let mut request = Request::builder().method(Method::POST).uri(format!("http://{address}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.0.request(request.body(Full::new(body.into())).unwrap()).await
    }
}

/// The data of all events of a stream, and in how many pieces it came.
pub(crate) async fn read_events(response: Response<Incoming>) -> (HeaderMap, Vec<String>, usize) {
    assert_eq!(response.status(), StatusCode::OK);
    let (head, mut body) = response.into_parts();
    let mut text = String::new();
    let mut pieces = 0;
    while let Some(frame) = body.frame().await {
        text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
        pieces += 1;
    }
    let events = text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap().to_owned()).collect();
    (head.headers, events, pieces)
}
