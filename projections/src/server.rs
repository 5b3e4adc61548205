//! The projector's HTTP server: health, metrics and queries, with a limit on every wait. `axum::serve` sets no header-read
//! timeout, so connections are served here.
//!
//! Deliberately absent: anything that changes something. What is asked here is answered from the views alone.

use crate::queries::{Access, Asked, QUERIES, Query, QueryError};
use crate::view::View;
use axum::extract::{Path, Query as Params, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use gollem_engine::AccountId;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio_io_timeout::TimeoutStream;

/// How long a client may take to send its headers, and an idle connection to send the next request.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take nothing of what it is sent.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);
/// How long a stop waits for requests in flight.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);
/// Open connections; further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 1_000;
/// How long a question waits for the position that it names.
const VIEW_PATIENCE: Duration = Duration::from_secs(2);
/// Hashes of everything that are computed at a time; further ones are refused.
const HASHES_MAX: usize = 1;

/// What is served.
#[derive(Debug)]
pub struct Served {
    /// The views.
    pub view: View,
    /// Whether the source of the views answers, as far as is known.
    pub is_up: Arc<AtomicBool>,
    /// Who may ask for what is not public; nobody without it.
    pub token: Option<String>,
}

#[derive(Debug)]
struct App {
    served: Served,
    hashes: Arc<Semaphore>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves on a bound listener.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(listener: TcpListener, served: Served) -> std::io::Result<Server> {
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let app = Arc::new(App { served, hashes: Arc::new(Semaphore::new(HASHES_MAX)) });
        Ok(Server { address, stop, task: tokio::spawn(accept(listener, router(app), stopped)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, finishes what is in flight and returns.
    pub async fn stop(self) {
        if self.stop.send(()).is_err() {
            tracing::debug!("the server had ended by itself");
        }
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the server task ended badly");
        }
    }
}

async fn accept(listener: TcpListener, router: Router, mut stopped: oneshot::Receiver<()>) {
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            _ = &mut stopped => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: let some close before the next try.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_PATIENCE)
            .serve_connection(TokioIo::new(patient(stream)), TowerToHyperService::new(router.clone()));
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that leaves is no error of ours.
            if let Err(error) = watched.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_PATIENCE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still in flight at the end of the shutdown");
    }
}

/// A stream that fails when the other end takes nothing for long.
fn patient(stream: TcpStream) -> std::pin::Pin<Box<TimeoutStream<TcpStream>>> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was refused");
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(CLIENT_PATIENCE));
    Box::pin(stream)
}

fn router(app: Arc<App>) -> Router {
    let unknown = |request: Request| async move {
        let message = format!("no such route: {} {}", request.method(), request.uri().path());
        problem(StatusCode::NOT_FOUND, "route_not_found", message)
    };
    let mut router = Router::new();
    for query in QUERIES {
        let handler = move |State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri, path: Option<Path<String>>| async move {
            let segment = path.map(|Path(segment)| segment);
            answer(&app, query, &headers, &uri, segment).await
        };
        router = router.route(query.path, get(handler));
    }
    router
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/v1/views", get(views))
        .fallback(unknown)
        .with_state(app)
}

/// An error, in the shape of the exchange's API.
struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    param: Option<String>,
}

fn problem(status: StatusCode, code: &'static str, message: impl Into<String>) -> Problem {
    Problem { status, code, message: message.into(), param: None }
}

fn invalid(param: &str, message: impl Into<String>) -> Problem {
    let refused = problem(StatusCode::BAD_REQUEST, "invalid_value", message);
    Problem { param: Some(param.to_owned()), ..refused }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem { status, code, message, param } = self;
        let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
        let body = json!({ "error": { "message": message, "type": kind, "param": param, "code": code } });
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Problem {
        match error {
            QueryError::Invalid { param, message } => invalid(&param, message),
            QueryError::NotFound { param, code, message } => {
                Problem { param: Some(param.to_owned()), ..problem(StatusCode::NOT_FOUND, code, message) }
            }
            QueryError::Store(error) => broken(&error),
        }
    }
}

/// `GET /health`: 200 while the views move with their source, 503 while they stand still or the source is away.
async fn health(State(app): State<Arc<App>>) -> Response {
    let Served { view, is_up, .. } = &app.served;
    let (status, word) = match (view.is_stopped(), is_up.load(Ordering::Relaxed)) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopped"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "no_broker"),
        (false, true) => (StatusCode::OK, "ok"),
    };
    (status, Json(json!({ "status": word, "view_seq": view.watermark() }))).into_response()
}

/// `GET /metrics`: in Prometheus' text format.
async fn metrics(State(app): State<Arc<App>>) -> Response {
    let Served { view, is_up, .. } = &app.served;
    let mut page = String::new();
    let mut line = |name: &str, kind: &str, help: &str, value: u64| {
        // Writing to a string cannot fail.
        writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}").ok();
    };
    let up = u64::from(is_up.load(Ordering::Relaxed));
    line("gollem_kafka_up", "gauge", "Whether the broker answers, as far as is known.", up);
    line("gollem_view_seq", "gauge", "The last input that the views reflect.", view.watermark());
    line("gollem_view_stopped", "gauge", "Whether the views stand still; the log says why.", view.is_stopped().into());
    line("gollem_view_gaps_total", "counter", "How often a record was missing where it should have come.", view.gaps());
    line("gollem_view_dropped_total", "counter", "Records that came again and were dropped.", view.dropped());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
}

/// Answers a question, or says why not.
async fn answer(
    app: &App,
    query: &'static Query,
    headers: &HeaderMap,
    uri: &Uri,
    segment: Option<String>,
) -> Result<Response, Problem> {
    let mut params = read_params(uri)?;
    let after = params.remove("after").map(|after| after.parse::<u64>()).transpose();
    let after = after.map_err(|_| invalid("after", "after must be the seq of an earlier answer"))?;
    let account = match query.access {
        Access::Public => None,
        Access::Account => {
            admitted(app, headers)?;
            Some(whose(params.remove("account"))?)
        }
    };
    let view = &app.served.view;
    if view.is_stopped() {
        let message = format!("the views stand still at input {}: something is missing; see the log", view.watermark());
        return Err(problem(StatusCode::SERVICE_UNAVAILABLE, "view_stopped", message));
    }
    if view.is_catching_up() || !view.reached(after.unwrap_or(0), VIEW_PATIENCE).await {
        let message = format!("the views are at input {} and catching up; retry later", view.watermark());
        return Err(problem(StatusCode::SERVICE_UNAVAILABLE, "view_behind", message));
    }
    let reader = view.store.read().map_err(|error| broken(&error))?;
    Ok(match query.answer(&reader, &Asked { account, segment, params })? {
        Value::String(csv) => ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], csv).into_response(),
        answer => Json(answer).into_response(),
    })
}

/// Parameters by name, each at most once.
fn read_params(uri: &Uri) -> Result<BTreeMap<String, String>, Problem> {
    let pairs = Params::<Vec<(String, String)>>::try_from_uri(uri);
    let Params(pairs) = pairs.map_err(|_| invalid("query", "the query cannot be read"))?;
    let mut params = BTreeMap::new();
    for (name, value) in pairs {
        if params.insert(name.clone(), value).is_some() {
            return Err(invalid(&name, format!("{name} is given twice")));
        }
    }
    Ok(params)
}

/// The account a question names.
fn whose(named: Option<String>) -> Result<AccountId, Problem> {
    let number = named.as_deref().and_then(|named| named.strip_prefix("acc_")).and_then(|number| number.parse().ok());
    number.map(AccountId).ok_or_else(|| invalid("account", "name an account, such as ?account=acc_7"))
}

/// `GET /v1/views`: the hash of everything the views hold, with the position it is of. Reads all of it.
async fn views(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    admitted(&app, &headers)?;
    let busy = |_| problem(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "a hash is being computed; retry later");
    let permit = Arc::clone(&app.hashes).try_acquire_owned().map_err(busy)?;
    let store = Arc::clone(&app.served.view.store);
    // With the permit, since the work goes on when the client leaves.
    let work = move || {
        let hashed = store.content_hash();
        drop(permit);
        hashed
    };
    let hashed = tokio::task::spawn_blocking(work).await;
    let (seq, hash) = hashed.map_err(|error| broken(&error))?.map_err(|error| broken(&error))?;
    Ok(Json(json!({ "seq": seq, "hash": hash.to_string() })))
}

fn broken(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "internal error");
    problem(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "something broke on our side")
}

/// Whether the caller shows the token.
fn admitted(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(token) = &app.served.token else {
        let message = "this projector serves public data only: it was started without GOLLEM_PROJECTOR_TOKEN";
        return Err(problem(StatusCode::FORBIDDEN, "no_token_set", message));
    };
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer "));
    // Digests have one length, so that the time taken says nothing about the token.
    let digest = |text: &str| *blake3::hash(text.as_bytes()).as_bytes();
    if shown.is_some_and(|shown| bool::from(digest(shown).ct_eq(&digest(token)))) {
        return Ok(());
    }
    let message = "send the projector's token: Authorization: Bearer TOKEN";
    Err(problem(StatusCode::UNAUTHORIZED, "invalid_token", message))
}
