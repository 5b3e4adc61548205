//! One handler per path.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::stream;
use hyper::{HeaderMap, StatusCode, Uri, header, header::HeaderValue};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{
    answer::Answer,
    error::ApiError,
    fault::{self, Fault},
    faulty::{self, DripSource},
    options::MockOptions,
    request::{Api, CompletionRequest, MOCK_TOKENS_HEADER},
    schedule::Schedule,
    stats::{Counters, MockStats, Outcome, UnderWay},
    stream::{Stream, Write, Writer},
    words::Speech,
};
use crate::server::HangUp;

/// Largest request body.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The name in the list of models when any name will do.
const ANY_MODEL: &str = "mock";

/// What the handlers of one server share.
#[derive(Debug)]
pub(crate) struct Shared {
    options: MockOptions,
    /// Tells apart the completions of servers in one process.
    port: u16,
    created: u64,
    counters: Arc<Counters>,
    speech: Arc<Speech>,
}

impl Shared {
    pub(crate) fn new(options: MockOptions, port: u16, counters: Arc<Counters>) -> Arc<Self> {
        let speech = Arc::new(Speech::new(options.seed));
        Arc::new(Shared { options, port, created: unix_s(), counters, speech })
    }

    fn schedule(&self) -> Schedule {
        Schedule { first_token: self.options.first_token, tokens_per_s: self.options.tokens_per_s }
    }

    fn answer(&self, request: CompletionRequest, number: u64) -> Answer {
        let kind = if request.api == Api::Chat { "chatcmpl" } else { "cmpl" };
        Answer {
            id: format!("{kind}-mock-{:05}-{number:08}", self.port),
            created: unix_s(),
            speech: Arc::clone(&self.speech),
            overstate_pct: self.options.overstate_pct,
            request,
        }
    }
}

/// The server's routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat_completions))
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(models))
        .route("/health", get(health))
        .route("/stats", get(stats))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
}

type Body = Result<Bytes, BytesRejection>;

async fn chat_completions(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Body) -> Response {
    complete(&shared, Api::Chat, &headers, body).await
}

async fn completions(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Body) -> Response {
    complete(&shared, Api::Text, &headers, body).await
}

async fn complete(shared: &Shared, api: Api, headers: &HeaderMap, body: Body) -> Response {
    let start = Instant::now();
    let number = shared.counters.receive();
    let request = body
        .map_err(|rejection| ApiError::http(rejection.status(), rejection.body_text()))
        .and_then(|body| CompletionRequest::parse(api, &body, headers.get(MOCK_TOKENS_HEADER), &shared.options));
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            shared.counters.turn_away(Outcome::Invalid);
            return error.into_response();
        }
    };
    let fault = fault::draw(&shared.options, number);
    if let Some(response) = turned_away(shared, fault) {
        return response;
    }
    let under_way = UnderWay::begin(&shared.counters, request.prompt_tokens, fault);
    let stream = request.stream;
    let answer = shared.answer(request, number);
    match stream {
        Some(usage) => {
            let writer = Writer::new(answer, usage, shared.schedule(), start, fault, number);
            streamed(writer, fault, under_way).await
        }
        None => plain(&answer, shared.schedule(), start, fault, under_way).await,
    }
}

/// The end of a request that meets a fault before it is taken.
fn turned_away(shared: &Shared, fault: Option<Fault>) -> Option<Response> {
    let response = match fault? {
        Fault::Fail => ApiError::drawn_failure().into_response(),
        Fault::Refuse => ApiError::too_many_requests().into_response(),
        Fault::Drop => HangUp::response(),
        _ => return None,
    };
    shared.counters.turn_away(Outcome::Fault(fault?));
    Some(response)
}

/// Waits until the whole answer is due. The connection drops this future if the client leaves before.
async fn plain(
    answer: &Answer,
    schedule: Schedule,
    start: Instant,
    fault: Option<Fault>,
    mut under_way: UnderWay,
) -> Response {
    let request = &answer.request;
    let due_at = schedule.complete_at(request.completion_tokens);
    if start.elapsed() < due_at {
        sleep_until(start + due_at).await;
    }
    let begin = "{\"id\":\"chatcmpl-mock\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"";
    let body = answer.plain();
    let tokens = u64::from(request.completion_tokens) * u64::from(request.choices);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = match fault {
        Some(Fault::Stall) => return stalled(under_way).await,
        Some(Fault::Garbage) => faulty::garbage(under_way),
        Some(Fault::EndlessLine) => faulty::endless_line(begin, under_way),
        Some(Fault::Endless) => faulty::endless(begin, under_way),
        Some(Fault::Die) => faulty::broken_off(&body, &mut headers, under_way),
        Some(Fault::Drip) => {
            let write = Write { bytes: Bytes::from(body), tokens, last: true };
            faulty::dripping(DripSource::Plain(Some(write)), under_way)
        }
        None | Some(Fault::Fail | Fault::Refuse | Fault::Drop) => {
            under_way.hand_out(tokens);
            under_way.complete();
            body.into()
        }
    };
    (headers, body).into_response()
}

async fn streamed(writer: Writer, fault: Option<Fault>, under_way: UnderWay) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    let body = match fault {
        Some(Fault::Stall) => return stalled(under_way).await,
        Some(Fault::Garbage) => faulty::garbage(under_way),
        Some(Fault::EndlessLine) => {
            faulty::endless_line("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"", under_way)
        }
        Some(Fault::Drip) => faulty::dripping(DripSource::Stream(Box::new(writer)), under_way),
        // The writer sees to those that die and those without end.
        None | Some(Fault::Fail | Fault::Refuse | Fault::Drop | Fault::Die | Fault::Endless) => {
            axum::body::Body::from_stream(stream::unfold(Stream { writer, under_way }, Stream::next))
        }
    };
    (headers, body).into_response()
}

/// Never answers; dropped with the connection when the client leaves.
async fn stalled(under_way: UnderWay) -> Response {
    let _held = under_way;
    std::future::pending().await
}

async fn models(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let names: Vec<&str> = match shared.options.models.as_slice() {
        [] => vec![ANY_MODEL],
        models => models.iter().map(String::as_str).collect(),
    };
    let entry = |name| json!({"id": name, "object": "model", "created": shared.created, "owned_by": "gollem-provider"});
    Json(json!({"object": "list", "data": names.into_iter().map(entry).collect::<Vec<_>>()}))
}

async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

async fn stats(State(shared): State<Arc<Shared>>) -> Json<MockStats> {
    Json(shared.counters.snapshot())
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::http(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
}

async fn method_not_allowed(uri: Uri) -> ApiError {
    ApiError::http(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take this method", uri.path()))
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
