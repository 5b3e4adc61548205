//! HTTP: who may ask, what goes wrong on purpose, and keys.
//!
//! The order of things in a call to `/v1`: it is written down; faults that come before the work; the API key; the
//! idempotency key; the work, under one lock; faults that come after it.

use crate::Call;
use crate::control;
use crate::faults::Fault;
use crate::form::Form;
use crate::idempotency::{Answer, KeyOf};
use crate::ledger::API_VERSION;
use crate::refusal::Refusal;
use crate::routes::{self, Request};
use crate::shared::Shared;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Returned to hyper, which closes the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer, on purpose")]
struct NoAnswer;

/// Serves connections until it is aborted, and they with it.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(serve(stream, Arc::clone(&shared)))),
            // Too many open files, most likely: wait for some to be closed.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| handle(Arc::clone(&shared), request));
    // It ends by an error if it is closed on purpose, or by the client.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn handle(shared: Arc<Shared>, request: hyper::Request<Incoming>) -> Result<Response<Full<Bytes>>, NoAnswer> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| NoAnswer)?.to_bytes();
    let query = head.uri.query().unwrap_or_default().as_bytes();
    let form = Form::parse(if head.method == Method::POST { &body } else { query });
    let path = head.uri.path().to_owned();
    if path.starts_with("/double/") {
        // Parameters of these may be in the query of a POST: easier to type.
        return Ok(control::answer(&shared, &path, &Form::parse(query)));
    }
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (key, account) = (header("idempotency-key"), header("stripe-account"));
    let method = head.method.as_str().to_owned();
    shared.act(|state| {
        state.calls.push(Call {
            method: method.clone(),
            path: head.uri.path_and_query().map_or(path.clone(), |both| both.as_str().to_owned()),
            idempotency_key: key.clone(),
            account: account.clone(),
            body: String::from_utf8_lossy(&body).into_owned(),
        });
    });
    let fault = shared.next_fault(&key.clone().unwrap_or_else(|| format!("{method} {path}")));
    match fault {
        Fault::ResetBefore => return Err(NoAnswer),
        Fault::Error500Before => return Ok(refusal(&Refusal::server_error())),
        Fault::TooMany { retry_after_s } => {
            return Ok(with(refusal(&Refusal::too_many()), "retry-after", &retry_after_s.to_string()));
        }
        Fault::None | Fault::Error500After | Fault::HangAfter | Fault::Slow => {}
    }
    if !authorized(&head.headers, &shared.key) {
        return Ok(refusal(&Refusal::unauthorized()));
    }
    let key = key.filter(|_| head.method == Method::POST).map(|key| (account.clone(), key));
    perform(shared, Request { method, path, form, account }, key, fault).await
}

fn authorized(headers: &HeaderMap, key: &str) -> bool {
    let given = headers.get("authorization").and_then(|value| value.to_str().ok());
    given.and_then(|given| given.strip_prefix("Bearer ")) == Some(key)
}

/// Does the work unless the key has been used, and answers, or does not.
async fn perform(
    shared: Arc<Shared>,
    request: Request,
    key: Option<KeyOf>,
    fault: Fault,
) -> Result<Response<Full<Bytes>>, NoAnswer> {
    let (used, hang) = shared.act(|state| {
        let begun = key.as_ref().map_or(Ok(None), |key| state.keys.begin(key, &request.path, &request.form));
        (begun, Duration::from_millis(state.faults.hang_ms))
    });
    let echo = key.as_ref().map(|(_, key)| key.clone()).unwrap_or_default();
    let answered = match used {
        Err(reused) => return Ok(refusal(&reused)),
        Ok(Some(answer)) => with(json(&answer), "idempotent-replayed", "true"),
        Ok(None) if fault == Fault::Slow => {
            let slowly = async move {
                tokio::time::sleep(hang).await;
                work(&shared, &request, key.as_ref(), fault)
            };
            // A task of its own: it goes on if the client loses patience.
            json(&tokio::spawn(slowly).await.map_err(|_| NoAnswer)?)
        }
        Ok(None) => json(&work(&shared, &request, key.as_ref(), fault)),
    };
    if fault == Fault::HangAfter {
        tokio::time::sleep(hang).await;
        return Err(NoAnswer);
    }
    Ok(if echo.is_empty() { answered } else { with(answered, "idempotency-key", &echo) })
}

fn work(shared: &Shared, request: &Request, key: Option<&KeyOf>, fault: Fault) -> Answer {
    shared.act(|state| {
        let id = state.ledger.id("req");
        state.ledger.request = Some((id, key.map(|(_, key)| key.clone())));
        let result = routes::answer(&mut state.ledger, request);
        state.ledger.request = None;
        let result = if fault == Fault::Error500After { Err(Refusal::server_error()) } else { result };
        let (answer, kept) = match result {
            Ok(body) => (Answer { status: 200, body }, true),
            Err(refusal) => (Answer { status: refusal.status, body: refusal.body() }, refusal.kept),
        };
        if let Some(key) = key {
            state.keys.finish(key, kept.then(|| answer.clone()));
        }
        answer
    })
}

pub(crate) fn refusal(refusal: &Refusal) -> Response<Full<Bytes>> {
    json(&Answer { status: refusal.status, body: refusal.body() })
}

pub(crate) fn json(answer: &Answer) -> Response<Full<Bytes>> {
    let text = serde_json::to_vec_pretty(&answer.body).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with(with(response, "content-type", "application/json"), "stripe-version", API_VERSION)
}

pub(crate) fn with(mut response: Response<Full<Bytes>>, name: &'static str, value: &str) -> Response<Full<Bytes>> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}
