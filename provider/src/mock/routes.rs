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
use hyper::{HeaderMap, StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{
    answer::Answer,
    error::ApiError,
    options::MockOptions,
    request::{ChatRequest, MOCK_TOKENS_HEADER},
    schedule::Schedule,
    stats::{Counters, MockStats, UnderWay},
    stream::Generation,
};
use crate::hash;

/// Largest request body.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

const PPM: u64 = 1_000_000;

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
}

impl Shared {
    pub(crate) fn new(options: MockOptions, port: u16, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Shared { options, port, created: unix_s(), counters })
    }

    /// Whether the request with this number is one of those that fail.
    fn fails(&self, number: u64) -> bool {
        hash::draw_below(self.options.seed, number, PPM) < u64::from(self.options.failure_rate_ppm)
    }
}

/// The server's routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat_completions))
        .route("/v1/models", get(models))
        .route("/health", get(health))
        .route("/stats", get(stats))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
}

async fn chat_completions(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let start = Instant::now();
    let number = shared.counters.receive();
    let request = body
        .map_err(|rejection| ApiError::http(rejection.status(), rejection.body_text()))
        .and_then(|body| ChatRequest::parse(&body, headers.get(MOCK_TOKENS_HEADER), &shared.options));
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            shared.counters.refuse();
            return error.into_response();
        }
    };
    if shared.fails(number) {
        shared.counters.fail();
        return ApiError::drawn_failure().into_response();
    }
    let under_way = UnderWay::begin(&shared.counters, request.prompt_tokens);
    let schedule = Schedule { first_token: shared.options.first_token, tokens_per_s: shared.options.tokens_per_s };
    let id = format!("chatcmpl-mock-{:05}-{number:08}", shared.port);
    let stream = request.stream;
    let answer = Answer { id, created: unix_s(), seed: shared.options.seed, request };
    match stream {
        Some(usage) => streamed(Generation { answer, usage, schedule, start, under_way }),
        None => plain(answer, schedule, start, under_way).await,
    }
}

/// Waits until the whole answer is due. The connection drops this future if the client leaves before.
async fn plain(answer: Answer, schedule: Schedule, start: Instant, mut under_way: UnderWay) -> Response {
    let tokens = answer.request.completion_tokens;
    sleep_until(start + schedule.complete_at(tokens)).await;
    let response = Json(answer.plain()).into_response();
    under_way.hand_out(tokens);
    under_way.complete();
    response
}

fn streamed(generation: Generation) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, generation.into_body()).into_response()
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
