//! Refusals in Anthropic's words, for callers of its API: `{"type":"error","error":{"type","message"}}`, with our `param`
//! and `code` beside them. Types by status: Anthropic's documentation, "Errors".

use crate::error::ApiError;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Whether refusals of this path are told in Anthropic's words.
pub(crate) fn is_told_in_anthropic_s_words(path: &str) -> bool {
    path.strip_prefix("/v1/messages").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The same response, with the refusal that it tells, if any, in Anthropic's words.
pub(crate) async fn in_its_words(mut response: Response) -> Response {
    let Some(error) = response.extensions_mut().remove::<ApiError>() else { return response };
    let (mut head, _) = response.into_parts();
    head.headers.remove(axum::http::header::CONTENT_LENGTH);
    (head, Json(anthropic(&error))).into_response()
}

/// An error's body.
pub(super) fn anthropic(error: &ApiError) -> Value {
    json!({ "type": "error", "error": {
        "message": error.message, "type": kind(error.status), "param": error.param, "code": error.code,
    }})
}

/// The broad class that Anthropic's clients know a status by.
fn kind(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::PAYMENT_REQUIRED => "billing_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::CONFLICT => "conflict_error",
        StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => "timeout_error",
        status if status.is_server_error() => "api_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_keeps_its_status_and_headers_and_says_it_in_other_words() {
        let told = |error: ApiError| async {
            let response = in_its_words(error.into_response()).await;
            let (status, retry) = (response.status().as_u16(), response.headers().contains_key("retry-after"));
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["type"], "error");
            let text = |name: &str| body["error"][name].as_str().unwrap().to_owned();
            assert!(!text("message").is_empty());
            (status, text("type"), text("code"), retry)
        };
        let busy = told(ApiError::unavailable("no_ask_at_price", "none")).await;
        assert_eq!(busy, (503, "overloaded_error".into(), "no_ask_at_price".into(), true));
        let wrong = told(ApiError::invalid("model", "wrong")).await;
        assert_eq!(wrong, (400, "invalid_request_error".into(), "invalid_value".into(), false));
        let unknown = told(ApiError::unknown_instrument("model", "gpt-99")).await;
        assert_eq!((unknown.0, unknown.1.as_str()), (404, "not_found_error"));
        let failed = told(ApiError::provider_failed("no")).await;
        assert_eq!((failed.0, failed.1.as_str()), (502, "api_error"));
        let fine = in_its_words("fine".into_response()).await;
        assert_eq!(axum::body::to_bytes(fine.into_body(), 10).await.unwrap(), "fine");
    }

    #[test]
    fn only_anthropic_s_paths_are_told_so() {
        assert!(is_told_in_anthropic_s_words("/v1/messages"));
        assert!(is_told_in_anthropic_s_words("/v1/messages/count_tokens"));
        assert!(!is_told_in_anthropic_s_words("/v1/messagesx"));
        assert!(!is_told_in_anthropic_s_words("/v1/chat/completions"));
    }
}
