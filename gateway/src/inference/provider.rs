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
use tokio::time::Instant;

/// Why nothing was delivered: what the caller is told, and how the delivery ended.
pub(crate) type Undelivered = (ApiError, Outcome);

/// The provider did not do its part.
pub(crate) fn failed(UpstreamError(why): UpstreamError) -> Undelivered {
    (ApiError::provider_failed(why), Outcome::Failed)
}

/// What callers are told whose calls a stop cuts short.
pub(crate) fn stopping() -> ApiError {
    ApiError::unavailable("stopping", "the exchange is stopping; retry later")
}

impl Call {
    /// Sends the request to the matched provider; its answer must start until `starts`.
    pub(crate) async fn ask(&self, bought: &Bought, starts: Instant) -> Result<Incoming, Undelivered> {
        let endpoint = self.app.identity.endpoint(bought.provider);
        let endpoint = endpoint.ok_or_else(|| failed(UpstreamError("the provider has registered no endpoint")))?;
        let answer = self.app.upstream.send(&endpoint, self.request.forwarded.clone(), starts).await.map_err(failed)?;
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(answer.into_body());
        }
        let body = read_all(answer.into_body(), self.request.output_max, starts).await.map_err(failed)?;
        Err(refusal(status, &body))
    }

    /// Waits for a provider, but no longer than a stop allows.
    pub(crate) async fn unless_cut_short<T>(
        &self,
        answer: impl Future<Output = Result<T, Undelivered>>,
    ) -> Result<T, Undelivered> {
        tokio::select! {
            answer = answer => answer,
            () = self.app.calls.are_cut_short() => Err((stopping(), Outcome::Abandoned)),
        }
    }
}

/// What a provider's refusal means to the caller. One that is the caller's own fault says nothing about the provider.
fn refusal(status: StatusCode, body: &Bytes) -> Undelivered {
    if !is_callers_fault(status) {
        let error = ApiError::provider_failed(format!("the provider answered {}", status.as_u16()));
        return (error, Outcome::Failed);
    }
    let told: Option<Value> = serde_json::from_slice(body).ok();
    let part = |name: &str| told.as_ref().and_then(|told| told.pointer(&format!("/error/{name}"))?.as_str());
    let message = part("message").unwrap_or("the provider refused the request").to_owned();
    let error = ApiError::new(status, "invalid_request_error", "refused_by_provider", message);
    (ApiError { param: part("param").map(str::to_owned), ..error }, Outcome::Abandoned)
}
