//! Asking the matched provider: the same for plain and streamed calls.

use crate::error::ApiError;
use crate::inference::Call;
use crate::inference::contract::Bought;
use crate::inference::upstream::{UpstreamError, is_callers_fault, read_all};
use axum::body::Bytes;
use axum::http::StatusCode;
use gollem_engine::Outcome;
use hyper::body::Incoming;
use serde_json::Value;
use std::time::Instant;

/// Why nothing was delivered.
#[derive(Debug)]
pub(crate) struct Undelivered {
    /// What the caller is told if nobody else delivers.
    pub(crate) error: ApiError,
    /// How the delivery ended.
    pub(crate) outcome: Outcome,
    /// Whether another provider may do better.
    pub(crate) elsewhere: bool,
}

/// A provider's answer that has begun.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) body: Incoming,
    /// When the request went out.
    pub(crate) sent: Instant,
    /// When the first byte of the answer was there.
    pub(crate) first_byte: Instant,
}

/// The provider did not do its part.
pub(crate) fn failed(UpstreamError(why): UpstreamError) -> Undelivered {
    Undelivered { error: ApiError::provider_failed(why), outcome: Outcome::Failed, elsewhere: true }
}

/// What callers are told whose calls a stop cuts short.
pub(crate) fn stopping() -> ApiError {
    ApiError::unavailable("stopping", "the exchange is stopping; retry later")
}

impl Call {
    /// Sends the request to the matched provider; its answer must start until `starts`.
    pub(crate) async fn ask(
        &self,
        bought: &Bought,
        body: Bytes,
        starts: tokio::time::Instant,
    ) -> Result<Asked, Undelivered> {
        let endpoint = self.app.identity.endpoint(bought.provider);
        let endpoint = endpoint.ok_or_else(|| failed(UpstreamError("the provider has registered no endpoint")))?;
        let path = self.request.reply.surface.provider_path();
        let asked_at = Instant::now();
        let (answer, written) = self.app.upstream.send(&endpoint, path, body, starts).await.map_err(failed)?;
        let (status, first_byte) = (answer.status(), Instant::now());
        if status == StatusCode::OK {
            return Ok(Asked { body: answer.into_body(), sent: written.unwrap_or(asked_at), first_byte });
        }
        let body = read_all(answer.into_body(), 0, 0, starts).await.map_err(failed)?;
        Err(refusal(status, &body))
    }
}

/// What a provider's refusal means to the caller. One that is the caller's own fault says nothing about the provider.
fn refusal(status: StatusCode, body: &Bytes) -> Undelivered {
    if !is_callers_fault(status) {
        let error = ApiError::provider_failed(format!("the provider answered {}", status.as_u16()));
        return Undelivered { error, outcome: Outcome::Failed, elsewhere: true };
    }
    let told: Option<Value> = serde_json::from_slice(body).ok();
    let part = |name: &str| told.as_ref().and_then(|told| told.pointer(&format!("/error/{name}"))?.as_str());
    let message = part("message").unwrap_or("the provider refused the request").to_owned();
    let error = ApiError::new(status, "invalid_request_error", "refused_by_provider", message);
    let error = ApiError { param: part("param").map(str::to_owned), ..error };
    Undelivered { error, outcome: Outcome::Abandoned, elsewhere: false }
}
