//! What Stripe says when it does not do what was asked.

use serde_json::{Map, Value, json};

/// A request that was refused, as Stripe words it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// `error.type`.
    pub kind: &'static str,
    /// `error.code`, where there is one.
    pub code: Option<&'static str>,
    /// `error.message`.
    pub message: String,
    /// `error.param`: the parameter that was wrong.
    pub param: Option<String>,
    /// Members of `error` besides, such as the payment intent that was declined.
    pub more: Box<Map<String, Value>>,
    /// Whether work had begun: only such answers are kept for the idempotency key.
    pub kept: bool,
}

impl Refusal {
    fn new(status: u16, kind: &'static str, code: Option<&'static str>, message: String) -> Self {
        Self { status, kind, code, message, param: None, more: Box::default(), kept: false }
    }

    /// A parameter was wrong; nothing was begun, so the same key may be used again with other parameters.
    pub(crate) fn invalid(code: &'static str, param: &str, message: impl Into<String>) -> Self {
        let refusal = Self::new(400, "invalid_request_error", Some(code), message.into());
        Self { param: Some(param.to_owned()), ..refusal }
    }

    /// The parameters were right and the books say no. Stripe keeps this answer for the key.
    pub(crate) fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self { kept: true, ..Self::new(400, "invalid_request_error", Some(code), message.into()) }
    }

    /// No such object, named in the path.
    pub(crate) fn missing(noun: &str, id: &str) -> Self {
        let message = format!("No such {noun}: '{id}'");
        let refusal = Self::new(404, "invalid_request_error", Some("resource_missing"), message);
        Self { param: Some("id".to_owned()), ..refusal }
    }

    /// The same for an object that a parameter names.
    pub(crate) fn in_param(self, param: &str) -> Self {
        Self { status: 400, param: Some(param.to_owned()), ..self }
    }

    /// A bank declined: 402.
    pub(crate) fn declined(code: &'static str, message: &str) -> Self {
        Self { kept: true, ..Self::new(402, "card_error", Some(code), message.to_owned()) }
    }

    /// The same key with other parameters (400), or while the first request is under way (409).
    pub(crate) fn idempotency(status: u16, code: Option<&'static str>, message: &str) -> Self {
        Self::new(status, "idempotency_error", code, message.to_owned())
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "invalid_request_error", None, "Invalid API Key provided".to_owned())
    }

    /// The account in `Stripe-Account` is not connected to this platform.
    pub(crate) fn foreign_account(id: &str) -> Self {
        let message = format!("The provided key does not have access to account '{id}' (or it does not exist)");
        Self::new(403, "invalid_request_error", Some("account_invalid"), message)
    }

    pub(crate) fn no_route(method: &str, path: &str) -> Self {
        Self::new(404, "invalid_request_error", None, format!("Unrecognized request URL ({method}: {path})"))
    }

    pub(crate) fn too_many() -> Self {
        Self::new(429, "invalid_request_error", Some("rate_limit"), "Too many requests".to_owned())
    }

    pub(crate) fn server_error() -> Self {
        Self { kept: true, ..Self::new(500, "api_error", None, "An unknown error occurred".to_owned()) }
    }

    /// Adds a member of `error`.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// The body: `{"error": {...}}`.
    pub(crate) fn body(&self) -> Value {
        let mut error = Map::new();
        error.insert("type".to_owned(), json!(self.kind));
        error.insert("message".to_owned(), json!(self.message));
        if let Some(code) = self.code {
            error.insert("code".to_owned(), json!(code));
        }
        if let Some(param) = &self.param {
            error.insert("param".to_owned(), json!(param));
        }
        error.extend(self.more.as_ref().clone());
        json!({ "error": error })
    }
}
