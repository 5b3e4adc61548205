//! The agent between the gateway and the model server.
//!
//! Everything under `/v1/` is passed on and back, as it comes. What makes tokens (`POST`) needs one of so many slots;
//! who finds none gets 429 at once, with a time to come back, rather than a place in the model server's queue: the
//! exchange has other providers. While the agent stops, everybody gets 503, and what runs may end.
//!
//! `GET /status` and `GET /metrics` tell earnings, so they answer this machine and private networks only. A reverse
//! proxy on this machine must pass on `/v1/` and nothing else.
//!
//! What it does not do: it does not ask who calls. Let the gateway's address through the firewall, and no other.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use http_body_util::Limited;
use hyper::{
    HeaderMap, Method, StatusCode, Uri,
    header::{self, HeaderName, HeaderValue},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::json;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};

use super::{
    error::AgentError,
    load::{Ended, Load},
    meter::{Meter, Metered},
    metrics,
    options::ApiKey,
    status::Board,
};
use crate::{
    client::{authorization, base_of},
    server::{self, Peer},
};

/// Largest request that is passed on.
const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long the model server may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long the model server may take to begin its answer. The gateway gives up long before.
const HEAD_MAX: Duration = Duration::from_secs(600);

/// How long an idle connection to the model server is kept: uvicorn, and so vLLM, closes its own after five seconds, and
/// a request that meets the close is lost.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// When to come back, in seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// Headers that concern one connection only (RFC 9110, 7.6.1), and those that are made anew.
const NOT_PASSED_ON: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
];

/// What the handlers share.
struct Shared {
    http: Client<HttpConnector, Body>,
    /// The model server, with `/v1`.
    upstream: String,
    authorization: Option<HeaderValue>,
    load: Arc<Load>,
    board: Arc<Board>,
}

/// A running proxy. Dropping it stops it at once.
#[derive(Debug)]
pub(crate) struct Proxy {
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Serves on `listener`; it accepts when this returns.
    pub(crate) async fn start(
        listener: TcpListener,
        upstream: &str,
        key: Option<&ApiKey>,
        load: Arc<Load>,
        board: Arc<Board>,
    ) -> Result<Self, AgentError> {
        let shared = Arc::new(Shared {
            http: http_client(),
            upstream: base_of(upstream)?,
            authorization: key.map(|key| authorization(key.expose())).transpose()?,
            load,
            board,
        });
        let router = Router::new()
            .route("/v1/{*path}", any(pass_on))
            .route("/status", get(status))
            .route("/metrics", get(metrics_page))
            .fallback(async |uri: Uri| {
                error(StatusCode::NOT_FOUND, "route_not_found", &format!("there is nothing at {}", uri.path()))
            })
            .with_state(shared);
        let (stop, stopped) = oneshot::channel();
        let (ready, accepting) = oneshot::channel();
        let task = tokio::spawn(server::serve(listener, router, ready, stopped));
        // An error means that the task ended at once, which only the end of the runtime does.
        accepting.await.ok();
        Ok(Proxy { stop, task })
    }

    /// Closes the listener, and gives what still runs at most `grace`.
    pub(crate) async fn stop(self, grace: Duration) {
        self.stop.send(grace).ok(); // An error means that it has stopped already.
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the proxy ended badly");
        }
    }
}

fn http_client() -> Client<HttpConnector, Body> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_MAX));
    Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_MAX).build(connector)
}

async fn pass_on(State(shared): State<Arc<Shared>>, mut request: Request) -> Response {
    if let Some(refusal) = refusal(&request) {
        return refusal;
    }
    let mut meter = None;
    if request.method() == Method::POST {
        match shared.load.admit() {
            Ok(slot) => meter = Some(Meter::new(Arc::clone(&shared.load), slot)),
            Err(why) => {
                shared.load.count(why);
                return turned_away(why);
            }
        }
    }
    if let Err(problem) = shared.redirect(&mut request) {
        return error(StatusCode::BAD_REQUEST, "invalid_path", &problem);
    }
    let response = match timeout(HEAD_MAX, shared.http.request(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(failure)) => {
            tracing::warn!(error = %failure, "the model server does not answer");
            meter.iter_mut().for_each(|meter| meter.end(Some(Ended::Failed)));
            return error(StatusCode::BAD_GATEWAY, "model_server_unreachable", "the model server does not answer");
        }
        Err(_) => {
            meter.iter_mut().for_each(|meter| meter.end(Some(Ended::Failed)));
            return error(
                StatusCode::GATEWAY_TIMEOUT,
                "model_server_silent",
                "the model server did not answer in time",
            );
        }
    };
    let (mut head, body) = response.into_parts();
    remove_connection_headers(&mut head.headers);
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_stream = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
    match meter {
        Some(mut meter) => {
            meter.answer(head.status.is_success(), is_stream);
            Response::from_parts(head, Body::new(Metered::new(body, meter)))
        }
        None => Response::from_parts(head, Body::new(body)),
    }
}

/// Why a request is not passed on, whoever sends it.
fn refusal(request: &Request) -> Option<Response> {
    let path = request.uri().path().to_ascii_lowercase().replace("%2e", ".");
    if path.split('/').any(|segment| segment == "..") {
        let message = "the path must not climb out of /v1/";
        return Some(error(StatusCode::BAD_REQUEST, "invalid_path", message));
    }
    let length = request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse::<usize>().ok()?;
    (length > REQUEST_BYTES_MAX).then(|| {
        let message = format!("a request may have at most {REQUEST_BYTES_MAX} bytes");
        error(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", &message)
    })
}

impl Shared {
    /// Turns the gateway's request into one to the model server.
    fn redirect(&self, request: &mut Request) -> Result<(), String> {
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        let rest = path.strip_prefix("/v1").unwrap_or_default();
        *request.uri_mut() = format!("{}{rest}", self.upstream).parse().map_err(|error| format!("{error}"))?;
        let headers = request.headers_mut();
        remove_connection_headers(headers);
        // What the caller shows is not meant for the model server.
        headers.remove(header::AUTHORIZATION);
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::new(Limited::new(body, REQUEST_BYTES_MAX));
        Ok(())
    }
}

/// Takes out what concerns one connection only, the headers that `Connection` names included.
fn remove_connection_headers(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in NOT_PASSED_ON.iter().chain(&named) {
        headers.remove(name);
    }
}

fn turned_away(why: Ended) -> Response {
    let mut response = match why {
        Ended::Draining => error(StatusCode::SERVICE_UNAVAILABLE, "draining", "this provider is stopping"),
        _ => error(StatusCode::TOO_MANY_REQUESTS, "too_many_concurrent", "this provider is at its limit"),
    };
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S);
    response
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let kind = if status.is_client_error() { "invalid_request_error" } else { "server_error" };
    (status, Json(json!({"error": {"message": message, "type": kind, "param": null, "code": code}}))).into_response()
}

async fn status(State(shared): State<Arc<Shared>>, Extension(Peer(peer)): Extension<Peer>) -> Response {
    if !is_near(peer.ip()) {
        return private();
    }
    Json(shared.board.status(&shared.load)).into_response()
}

async fn metrics_page(State(shared): State<Arc<Shared>>, Extension(Peer(peer)): Extension<Peer>) -> Response {
    if !is_near(peer.ip()) {
        return private();
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, metrics::page(&shared.board, &shared.load)).into_response()
}

fn private() -> Response {
    error(StatusCode::FORBIDDEN, "private_only", "this is for private networks only")
}

/// Whether an address is of this machine or of a private network.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_addresses_are_near() {
        for near in ["127.0.0.1", "10.1.2.3", "192.168.0.9", "172.16.5.4", "::1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(is_near(near.parse().unwrap()), "{near}");
        }
        for far in ["8.8.8.8", "100.64.0.1", "2001:4860::1", "::ffff:8.8.8.8", "0.0.0.0"] {
            assert!(!is_near(far.parse().unwrap()), "{far}");
        }
    }

    #[test]
    fn path_that_climbs_out_and_body_that_is_too_large_are_refused() {
        let status = |path: &str, length: usize| {
            let request = Request::builder().uri(path).header(header::CONTENT_LENGTH, length);
            refusal(&request.body(Body::empty()).unwrap()).map(|response| response.status())
        };
        for path in ["/v1/../admin", "/v1/a/..", "/v1/%2e%2E/admin", "/v1/.%2e/admin"] {
            assert_eq!(status(path, 0), Some(StatusCode::BAD_REQUEST), "{path}");
        }
        assert_eq!(status("/v1/models/a..b", REQUEST_BYTES_MAX), None);
        assert_eq!(status("/v1/models", REQUEST_BYTES_MAX + 1), Some(StatusCode::PAYLOAD_TOO_LARGE));
    }

    #[test]
    fn headers_of_the_connection_are_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("connection", "close, X-Hop"), ("x-hop", "1"), ("te", "trailers"), ("host", "a"), ("x-mock-tokens", "3")]
        {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        remove_connection_headers(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-mock-tokens"]);
    }
}
