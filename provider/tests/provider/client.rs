//! The JSON client against servers that misbehave.

use std::time::Duration;

use axum::{
    Router,
    http::StatusCode,
    routing::{any, get},
};
use gollem_provider::client::{Client, ClientError, RESPONSE_BYTES_MAX};
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::support::{Server, listener, serve};

async fn client_of(router: Router) -> (Client, Server) {
    let server = serve(router).await;
    (Client::new(&format!("http://{}/base/", server.address), Some("sk-1")).unwrap(), server)
}

#[tokio::test]
async fn request_carries_method_key_and_json() {
    let echo = async |method: Method, headers: HeaderMap, body: String| {
        let header = |name| headers.get(name).map(|value: &hyper::header::HeaderValue| value.to_str().unwrap());
        json!([method.as_str(), header("authorization"), header("content-type"), body]).to_string()
    };
    let (client, _server) = client_of(Router::new().route("/base/echo", any(echo))).await;
    let body = json!({"a": 1});
    let json = "application/json";
    let expected =
        |method, content_type: Option<&str>, body| (StatusCode::OK, json!([method, "Bearer sk-1", content_type, body]));
    assert_eq!(client.get("/echo").await.unwrap(), expected("GET", None, ""));
    assert_eq!(client.post("/echo", &body).await.unwrap(), expected("POST", Some(json), "{\"a\":1}"));
    assert_eq!(client.put("/echo", &body).await.unwrap(), expected("PUT", Some(json), "{\"a\":1}"));
    assert_eq!(client.delete("/echo").await.unwrap(), expected("DELETE", None, ""));
}

#[tokio::test]
async fn answers_of_every_kind_are_told_apart() {
    let router = Router::new()
        .route("/base/empty", get(async || StatusCode::NO_CONTENT))
        .route("/base/page", get(async || "<html>"))
        .route("/base/broken", get(async || (StatusCode::BAD_GATEWAY, "<html>")))
        .route("/base/busy", get(async || (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "7")], "{}")))
        .route("/base/large", get(async || "1".repeat(RESPONSE_BYTES_MAX + 1)))
        .route("/base/slow", get(std::future::pending::<()>));
    let (client, _server) = client_of(router).await;
    assert_eq!(client.get("/empty").await.unwrap(), (StatusCode::NO_CONTENT, Value::Null));
    assert!(matches!(client.get("/page").await, Err(ClientError::NotJson { .. })));
    assert_eq!(client.get("/broken").await.unwrap(), (StatusCode::BAD_GATEWAY, json!("<html>")));
    assert!(matches!(client.get("/large").await, Err(ClientError::TooLarge { .. })));
    assert!(matches!(client.get("/bad path").await, Err(ClientError::InvalidUrl { .. })));
    let reply = client.send(Method::GET, "/busy", None).await.unwrap();
    assert_eq!(reply.retry_after, Some(Duration::from_secs(7)));
    let hasty = client.with_timeout(Duration::from_millis(20));
    assert!(matches!(hasty.get("/slow").await, Err(ClientError::Timeout { .. })));
}

#[tokio::test]
async fn nobody_listening_is_unreachable_and_the_error_says_why() {
    let address = listener().await.local_addr().unwrap();
    let error = Client::new(&format!("http://{address}"), None).unwrap().get("/").await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }) && error.is_passing());
    assert!(error.to_string().contains("refused"), "{error}");
}
