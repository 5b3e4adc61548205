//! Inference through the market. The way of a call:
//!
//! 1. read the request and price its worst case (`request`);
//! 2. one command matches it and moves the worst case into escrow (`contract`); durable from here on;
//! 3. send it to the matched provider (`provider`, `upstream`);
//! 4. pass the answer on (`plain`, `stream`) and meter it (`meter`);
//! 5. one command settles what was delivered, the rest returns; the last bytes leave when that is durable.
//!
//! Steps 2 to 5 run to the end even when the client leaves, as every write does (`auth.rs`): a contract is always settled.
//! Prompts and completions are neither stored nor logged.

mod calls;
mod contract;
mod meter;
mod plain;
mod provider;
mod request;
mod stream;
mod upstream;

pub(crate) use calls::Calls;
pub(crate) use contract::CONTRACT_TTL_MIN;
pub(crate) use upstream::Upstream;

use crate::api::accounts::account_name;
use crate::api::market::instrument;
use crate::app::App;
use crate::auth::Account;
use crate::error::ApiError;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use calls::CallPermit;
use contract::Bought;
use gollem_engine::AccountId;
use gollem_projections::InstrumentRow;
use request::{ChatRequest, Limits};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A call on its way.
pub(crate) struct Call {
    app: Arc<App>,
    account: AccountId,
    instrument: Arc<InstrumentRow>,
    request: ChatRequest,
    limits: Limits,
    /// When the handler got it.
    started: Instant,
    /// Held to the end: a stop waits for it.
    _permit: CallPermit,
}

impl Call {
    fn new(
        app: &Arc<App>,
        account: AccountId,
        request: ChatRequest,
        limits: Limits,
        started: Instant,
    ) -> Result<Call, ApiError> {
        let instrument = instrument(&app.catalog, "model", &request.model)?;
        let permit = app.calls.admit(account)?;
        Ok(Call { app: Arc::clone(app), account, instrument, request, limits, started, _permit: permit })
    }
}

/// `POST /v1/chat/completions`, plain or streamed.
pub(crate) async fn chat_completions(
    State(app): State<Arc<App>>,
    account: Account,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let started = Instant::now();
    let request = ChatRequest::parse(&body)?;
    let limits = Limits::from_headers(&headers)?;
    let streamed = request.stream;
    let call = Call::new(&app, account.id, request, limits, started)?;
    if streamed {
        let (head, response) = oneshot::channel();
        tokio::spawn(stream::run(call, head));
        return response.await.map_err(|_| ApiError::internal(&"a streamed call ended without a head"))?;
    }
    let answer = plain::run(call).await?;
    let mut response = Json(answer.body).into_response();
    answer.receipt.add_headers(response.headers_mut());
    Ok(response)
}

/// `POST /api/generate`: one prompt in, one text out.
pub(crate) async fn generate(
    State(app): State<Arc<App>>,
    account: Account,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let started = Instant::now();
    let request = request::Generate::parse(&body)?;
    let limits = request.limits(Limits::from_headers(&headers)?)?;
    let call = Call::new(&app, account.id, request.to_chat()?, limits, started)?;
    let answer = plain::run(call).await?;
    let text = answer.body.pointer("/choices/0/message/content").cloned().unwrap_or_else(|| "".into());
    let part = |name: &str| answer.body.get(name).cloned().unwrap_or(Value::Null);
    let body = json!({
        "id": part("id"), "model": part("model"), "response": text, "done": true,
        "provider": answer.receipt.provider, "cost": answer.receipt.cost, "usage": part("usage"),
        "latency_ms": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    let mut response = Json(body).into_response();
    answer.receipt.add_headers(response.headers_mut());
    Ok(response)
}

/// What a caller is told about the deal, in headers.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    provider: String,
    contract: String,
    /// Credits; known after settlement only.
    cost: Option<String>,
    /// What the gateway itself added.
    overhead: Option<Duration>,
}

impl Receipt {
    fn of(bought: &Bought) -> Receipt {
        Receipt {
            provider: account_name(bought.provider),
            contract: format!("ctr_{}", bought.contract.0),
            cost: None,
            overhead: None,
        }
    }

    fn add_headers(&self, headers: &mut HeaderMap) {
        let overhead = self.overhead.map(|added| added.as_micros().to_string());
        let values = [
            (HeaderName::from_static("x-gollem-provider"), Some(self.provider.as_str())),
            (HeaderName::from_static("x-gollem-contract"), Some(self.contract.as_str())),
            (HeaderName::from_static("x-gollem-cost"), self.cost.as_deref()),
            (HeaderName::from_static("x-gollem-overhead-us"), overhead.as_deref()),
        ];
        for (name, value) in values {
            if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
                headers.insert(name, value);
            }
        }
    }
}
