//! Admission: who is calling, whether the route is theirs, and whether the body is of a size it may have. Runs before
//! any handler, in that order.

use crate::app::App;
use crate::error::ApiError;
use crate::identity::Caller;
use crate::keys::Scopes;
use crate::routes::Access;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use gollem_engine::AccountId;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;

/// A body larger than its route allows is read on and thrown away up to this size, so that the client gets to
/// read the refusal instead of a reset connection.
const DISCARD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The same for callers who are refused before their body is of interest: the largest body any route takes.
const REFUSED_DISCARD_BYTES_MAX: usize = 1024 * 1024;
/// The longest a body may take.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// Lets the request through to its handler, or refuses it.
pub(crate) async fn admit(
    app: Arc<App>,
    access: Access,
    body_bytes_max: usize,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    if let Access::Scoped(scopes) = access {
        match authenticate(&app, &parts.headers, scopes) {
            Ok(caller) => drop(parts.extensions.insert(caller)),
            Err(error) => {
                discard(body).await;
                return Err(error);
            }
        }
    }
    let read = tokio::time::timeout(BODY_PATIENCE, read_body(body, body_bytes_max, DISCARD_BYTES_MAX)).await;
    let body = read.map_err(|_| {
        let message = "the body came too slowly";
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", "body_timeout", message)
    })??;
    let safe = parts.method.is_safe();
    let response = next.run(Request::from_parts(parts, Body::from(body)));
    if safe {
        return Ok(response.await);
    }
    // What changes something runs to its end, even when the client leaves in the middle.
    tokio::spawn(response).await.map_err(|error| ApiError::internal(&error))
}

/// Reads a refused request's body, within bounds, so that the client gets to read the refusal.
pub(crate) async fn discard(body: Body) {
    let read = read_body(body, 0, REFUSED_DISCARD_BYTES_MAX);
    if tokio::time::timeout(BODY_PATIENCE, read).await.is_err() {
        tracing::debug!("a refused body came too slowly");
    }
}

fn authenticate(app: &App, headers: &HeaderMap, scopes: Scopes) -> Result<Caller, ApiError> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let presented = bearer.or_else(|| headers.get("x-api-key")?.to_str().ok());
    let refuse =
        |message: &str| ApiError::new(StatusCode::UNAUTHORIZED, "invalid_request_error", "invalid_api_key", message);
    let presented = presented
        .ok_or_else(|| refuse("no API key: send `Authorization: Bearer sk-gollem-…` or `X-API-Key: sk-gollem-…`"))?;
    let caller = app.identity.authenticate(presented.trim());
    let caller = caller.ok_or_else(|| refuse("this API key is not known here"))?;
    if caller.scopes.intersects(scopes) { Ok(caller) } else { Err(forbidden(scopes)) }
}

/// 403: the key lacks every one of these scopes.
pub(crate) fn forbidden(scopes: Scopes) -> ApiError {
    let message = format!("this API key needs the scope {}", scopes.names().join(" or "));
    ApiError::new(StatusCode::FORBIDDEN, "invalid_request_error", "insufficient_scope", message)
}

async fn read_body(mut body: Body, bytes_max: usize, discard_max: usize) -> Result<Bytes, ApiError> {
    let hint = body.size_hint();
    let mut kept = Vec::with_capacity(usize::try_from(hint.lower()).unwrap_or(bytes_max).min(bytes_max));
    let mut seen = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::invalid("body", "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        seen += data.len();
        if seen <= bytes_max {
            kept.extend_from_slice(&data);
        } else if seen > discard_max {
            break;
        }
    }
    if seen > bytes_max {
        let message = format!("the body may have at most {bytes_max} bytes");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        let error = ApiError::new(status, "invalid_request_error", "body_too_large", message);
        return Err(ApiError { param: Some("body".into()), ..error });
    }
    Ok(kept.into())
}

/// The caller's account, for routes that act on one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) id: AccountId,
    pub(crate) scopes: Scopes,
}

impl<S: Sync> FromRequestParts<S> for Account {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Account, ApiError> {
        let caller = parts.extensions.get::<Caller>().copied();
        let account = caller.and_then(|caller| Some(Account { id: caller.account?, scopes: caller.scopes }));
        account.ok_or_else(|| {
            let message = "this API key belongs to no account: use a key made by POST /v1/accounts";
            ApiError::new(StatusCode::FORBIDDEN, "invalid_request_error", "no_account", message)
        })
    }
}
