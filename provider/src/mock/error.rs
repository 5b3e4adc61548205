//! Refusals in the shape of the OpenAI API: `{"error":{"message","type","param","code"}}`, all four keys present.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use hyper::{StatusCode, header, header::HeaderValue};
use serde_json::json;

/// An answer that is not a completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    pub(crate) kind: &'static str,
    pub(crate) param: Option<&'static str>,
    pub(crate) code: Option<&'static str>,
}

impl ApiError {
    /// The request is wrong; `param` names the field at fault.
    pub(crate) fn invalid(param: Option<&'static str>, message: impl Into<String>) -> Self {
        ApiError {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
            kind: "invalid_request_error",
            param,
            code: None,
        }
    }

    /// The model is not served here.
    pub(crate) fn unknown_model(model: &str) -> Self {
        ApiError {
            status: StatusCode::NOT_FOUND,
            message: format!("the model `{model}` does not exist"),
            kind: "invalid_request_error",
            param: Some("model"),
            code: Some("model_not_found"),
        }
    }

    /// There is nothing at this path, or not with this method, or the body cannot be read.
    pub(crate) fn http(status: StatusCode, message: impl Into<String>) -> Self {
        ApiError { status, message: message.into(), kind: "invalid_request_error", param: None, code: None }
    }

    /// [`Fault::Refuse`](super::Fault::Refuse).
    pub(crate) fn too_many_requests() -> Self {
        ApiError {
            status: StatusCode::TOO_MANY_REQUESTS,
            message: "too many requests: try again later".to_owned(),
            kind: "rate_limit_error",
            param: None,
            code: Some("rate_limit_exceeded"),
        }
    }

    /// [`Fault::Fail`](super::Fault::Fail).
    pub(crate) fn drawn_failure() -> Self {
        ApiError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: "the server had an error while processing your request".to_owned(),
            kind: "server_error",
            param: None,
            code: None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }});
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
