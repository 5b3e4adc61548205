//! A small JSON client over HTTP/1.1.
//!
//! One base address, an optional API key, JSON out and in. Every exchange has a time limit, every answer a size limit.
//! It sends each request once: whether one may be sent again is for the caller to know.
//!
//! What it does not do: TLS, redirects, cookies, streams.

mod error;

use std::{fmt, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, body::Incoming, header, header::HeaderValue};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::Value;
use tokio::time::timeout;

pub use self::error::ClientError;

/// Largest answer that is read.
pub const RESPONSE_BYTES_MAX: usize = 1024 * 1024;

/// Time for one exchange unless [`Client::with_timeout`] says otherwise.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept: the exchange closes them after ten seconds, and one that closes just as it is used
/// fails its request.
const IDLE_MAX: Duration = Duration::from_secs(5);

const IDEMPOTENCY_KEY: header::HeaderName = header::HeaderName::from_static("idempotency-key");

/// How much of an error page that is not JSON is kept, in characters.
const ERROR_TEXT_CHARS_MAX: usize = 300;

/// A JSON client for one server. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

/// An answer of the server, whatever its status.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status, success or not.
    pub status: StatusCode,
    /// How long the server asks to wait, from `Retry-After`; the form with a date is not read.
    pub retry_after: Option<Duration>,
    /// The body; `null` when there is none, a string when the answer is an error and not JSON.
    pub body: Value,
}

impl Client {
    /// A client for the paths under `base_url`, such as `http://127.0.0.1:8080`; `key` is sent as a bearer token.
    ///
    /// # Errors
    ///
    /// If the address is not a plain `http` one, or the key holds what a header cannot carry.
    pub fn new(base_url: &str, key: Option<&str>) -> Result<Self, ClientError> {
        let base = base_of(base_url)?;
        let authorization = key.map(authorization).transpose()?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .build(connector);
        Ok(Client { http, base, authorization, timeout: TIMEOUT_DEFAULT })
    }

    /// The same client with another time limit for one exchange, answer included.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The address that paths are added to, without a slash at its end.
    pub fn base_url(&self) -> &str {
        &self.base
    }

    /// `GET` of a path that begins with a slash.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn get(&self, path: &str) -> Result<(StatusCode, Value), ClientError> {
        self.send(Method::GET, path, None).await.map(Reply::into_parts)
    }

    /// `POST` of a JSON body.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn post(&self, path: &str, body: &Value) -> Result<(StatusCode, Value), ClientError> {
        self.send(Method::POST, path, Some(body)).await.map(Reply::into_parts)
    }

    /// `POST` of a JSON body with an `Idempotency-Key`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); also if the key holds what a header cannot carry.
    pub async fn post_once(&self, path: &str, key: &str, body: &Value) -> Result<(StatusCode, Value), ClientError> {
        let call = format!("POST {}{path}", self.base);
        let mut request = self.request(Method::POST, path, Some(body))?;
        let invalid = |_| ClientError::InvalidUrl { url: call.clone(), reason: "its Idempotency-Key".to_owned() };
        request.headers_mut().insert(IDEMPOTENCY_KEY, HeaderValue::from_str(key).map_err(invalid)?);
        self.exchange(call, request).await.map(Reply::into_parts)
    }

    /// `PUT` of a JSON body.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn put(&self, path: &str, body: &Value) -> Result<(StatusCode, Value), ClientError> {
        self.send(Method::PUT, path, Some(body)).await.map(Reply::into_parts)
    }

    /// `DELETE` of a path.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn delete(&self, path: &str) -> Result<(StatusCode, Value), ClientError> {
        self.send(Method::DELETE, path, None).await.map(Reply::into_parts)
    }

    /// Sends one request once and reads the answer. An answer with an error status is a [`Reply`], not an error.
    ///
    /// # Errors
    ///
    /// If no whole answer came in time, or it is too large, or a successful one is not JSON. After
    /// [`ClientError::Timeout`] and [`ClientError::Unreachable`] the server may have acted on the request or not.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, ClientError> {
        let call = format!("{method} {}{path}", self.base);
        let request = self.request(method, path, body)?;
        self.exchange(call, request).await
    }

    async fn exchange(&self, call: String, request: Request<Full<Bytes>>) -> Result<Reply, ClientError> {
        let exchange = async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|error| ClientError::Unreachable { call: call.clone(), reason: chain(&error) })?;
            read(&call, response).await
        };
        match timeout(self.timeout, exchange).await {
            Ok(reply) => reply,
            Err(_) => Err(ClientError::Timeout { call, after: self.timeout }),
        }
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Request<Full<Bytes>>, ClientError> {
        let url = format!("{}{path}", self.base);
        let mut request = Request::builder().method(method).uri(&url).header(header::ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let bytes = match body {
            None => Bytes::new(),
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
        };
        let invalid =
            |error: hyper::http::Error| ClientError::InvalidUrl { url: url.clone(), reason: error.to_string() };
        request.body(Full::new(bytes)).map_err(invalid)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out: a header value marked sensitive shows itself as such.
        formatter
            .debug_struct("Client")
            .field("base", &self.base)
            .field("authorization", &self.authorization)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Reply {
    fn into_parts(self) -> (StatusCode, Value) {
        (self.status, self.body)
    }

    /// What the server says about an error: the message in its body, or as much as there is.
    pub fn error_message(&self) -> String {
        match (self.body.pointer("/error/message"), &self.body) {
            (Some(Value::String(message)), _) | (None, Value::String(message)) => message.clone(),
            (_, Value::Null) => self.status.to_string(),
            (_, body) => body.to_string().chars().take(ERROR_TEXT_CHARS_MAX).collect(),
        }
    }
}

/// The value of `Authorization` for a key, which does not show itself in logs.
pub(crate) fn authorization(key: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| ClientError::InvalidKey)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Checks a base address and takes the slashes off its end.
pub(crate) fn base_of(url: &str) -> Result<String, ClientError> {
    let invalid = |reason: &str| Err(ClientError::InvalidUrl { url: url.to_owned(), reason: reason.to_owned() });
    let uri: Uri = match url.parse() {
        Ok(uri) => uri,
        Err(error) => {
            return Err(ClientError::InvalidUrl { url: url.to_owned(), reason: chain(&error) });
        }
    };
    match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(authority)) if !authority.as_str().contains('@') => {}
        (Some("http"), Some(_)) => return invalid("it must not hold a user or a password"),
        (Some("https"), _) => return invalid("this client does not speak TLS; put a proxy in between"),
        _ => return invalid("it must look like http://host:port"),
    }
    if uri.query().is_some() {
        return invalid("it must not hold a query");
    }
    Ok(url.trim_end_matches('/').to_owned())
}

async fn read(call: &str, response: Response<Incoming>) -> Result<Reply, ClientError> {
    let (head, body) = response.into_parts();
    let bytes = match Limited::new(body, RESPONSE_BYTES_MAX).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(ClientError::TooLarge { call: call.to_owned() }),
        Err(error) => {
            return Err(ClientError::Unreachable { call: call.to_owned(), reason: chain(&*error) });
        }
    };
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        match serde_json::from_slice(&bytes) {
            Ok(body) => body,
            Err(error) if head.status.is_success() => {
                return Err(ClientError::NotJson { call: call.to_owned(), reason: error.to_string() });
            }
            // A proxy's error page: keep its beginning, the status matters more.
            Err(_) => Value::String(String::from_utf8_lossy(&bytes).chars().take(ERROR_TEXT_CHARS_MAX).collect()),
        }
    };
    Ok(Reply { status: head.status, retry_after: retry_after(&head.headers), body })
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_address_is_plain_http_and_loses_its_last_slash() {
        assert_eq!(base_of("http://127.0.0.1:9101/v1/").unwrap(), "http://127.0.0.1:9101/v1");
        assert_eq!(base_of("http://localhost").unwrap(), "http://localhost");
        for url in ["https://host", "host:80", "/v1", "http://user:secret@host", "http://host/?a=b", "http://a b", ""] {
            assert!(matches!(base_of(url), Err(ClientError::InvalidUrl { .. })), "{url} is refused");
        }
    }

    #[test]
    fn debug_output_does_not_show_the_key() {
        let client = Client::new("http://localhost", Some("sk-very-secret")).unwrap();
        assert!(!format!("{client:?}").contains("secret"));
    }

    #[test]
    fn key_that_no_header_can_carry_is_refused_without_showing_it() {
        let error = Client::new("http://localhost", Some("secret\n")).unwrap_err();
        assert!(matches!(error, ClientError::InvalidKey));
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn error_message_is_the_servers_own_if_it_gives_one() {
        let message = |body| Reply { status: StatusCode::BAD_GATEWAY, retry_after: None, body }.error_message();
        assert_eq!(message(serde_json::json!({"error": {"message": "no such market"}})), "no such market");
        assert_eq!(message(serde_json::json!("<html>")), "<html>");
        assert_eq!(message(Value::Null), "502 Bad Gateway");
        assert_eq!(message(serde_json::json!({"oops": 1})), r#"{"oops":1}"#);
    }
}
