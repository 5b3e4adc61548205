//! A client that hides nothing: any method, header and body, and the answer as bytes.

use super::DEADLINE;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, header};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;

/// A client of one server with one key. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    http: Client<HttpConnector, Full<Bytes>>,
    base: String,
    key: Option<String>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
    /// The bytes as JSON; `null` where they are none.
    pub(crate) body: Value,
}

/// Extra headers of a request.
pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

impl Api {
    pub(crate) fn new(base: &str, key: Option<&str>) -> Api {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        // A stale connection is not kept for long: the server closes idle ones after ten seconds.
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .pool_idle_timeout(std::time::Duration::from_secs(5))
            .build(connector);
        Api { http, base: base.to_owned(), key: key.map(str::to_owned) }
    }

    /// The same server with another key.
    pub(crate) fn with_key(&self, key: Option<&str>) -> Api {
        Api { key: key.map(str::to_owned), ..self.clone() }
    }

    /// The same key at another server, over connections of its own.
    pub(crate) fn at(&self, base: &str) -> Api {
        Api::new(base, self.key.as_deref())
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn key(&self) -> &str {
        self.key.as_deref().unwrap()
    }

    /// Sends a request and returns once the head of the answer is there.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        headers: Headers<'_>,
        body: Bytes,
    ) -> Result<Response<Incoming>, Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).unwrap();
        timeout(DEADLINE, self.http.request(request)).await.expect("an answer comes in time")
    }

    /// Sends a request and reads the answer; `None` when the connection ends before the answer does.
    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: Headers<'_>,
        body: Bytes,
    ) -> Option<Reply> {
        let (head, body) = self.open(method, path, headers, body).await.ok()?.into_parts();
        let read = timeout(DEADLINE, body.collect()).await.expect("an answer ends in time");
        let bytes = read.ok()?.to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Some(Reply { status: head.status.as_u16(), headers: head.headers, bytes, body })
    }

    pub(crate) async fn send(&self, method: Method, path: &str, headers: Headers<'_>, body: Bytes) -> Reply {
        let reply = self.try_send(method.clone(), path, headers, body).await;
        reply.unwrap_or_else(|| panic!("{method} {path} gets a whole answer"))
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_with(path, &[], body).await
    }

    pub(crate) async fn post_with(&self, path: &str, headers: Headers<'_>, body: &Value) -> Reply {
        self.send(Method::POST, path, headers, body.to_string().into()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::PUT, path, &[], body.to_string().into()).await
    }
}

impl Reply {
    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.body
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The error of a failure as (status, code, param), after a look at its shape.
    #[track_caller]
    pub(crate) fn error(&self) -> (u16, String, Option<String>) {
        assert!(self.status >= 400, "{self:?}");
        let json = self.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        assert!(json, "an error is JSON: {self:?}");
        let error = self.body.get("error").and_then(Value::as_object).unwrap_or_else(|| panic!("no `error`: {self:?}"));
        let keys: Vec<&str> = error.keys().map(String::as_str).collect();
        assert_eq!(keys, ["message", "type", "param", "code"], "{self:?}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
        assert!(error["type"].is_string(), "{self:?}");
        if matches!(self.status, 429 | 503) {
            assert!(self.header("retry-after").is_some(), "it says when to come back: {self:?}");
        }
        let code = error["code"].as_str().unwrap_or_else(|| panic!("no code: {self:?}"));
        let param = match &error["param"] {
            Value::Null => None,
            Value::String(param) => Some(param.clone()),
            other => panic!("param {other}"),
        };
        (self.status, code.to_owned(), param)
    }
}
