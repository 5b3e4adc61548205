//! Who may call what, for every route of the table: no key, a wrong key, or a key for something else opens nothing.

use crate::support::market::{list_model, open_account};
use crate::support::venue::{MODEL, Venue};
use bytes::Bytes;
use gollem_gateway::routes::{Access, ROUTES, Route};
use gollem_gateway::{ApiKey, Scopes};
use hyper::Method;
use serde_json::json;

/// The path of a route with something in place of its parameter.
fn path(route: &Route) -> String {
    route
        .path
        .replace("{instrument}", MODEL)
        .replace("{order}", "ord_1")
        .replace("{contract}", "ctr_1")
        .replace("{lock}", "ord_1")
        .replace("{payout}", "pay_1")
        .replace("{letter}", "payout:1")
        .replace("{model}", MODEL)
        .replace("{account}", "acc_1")
        .replace("{key}", "key_999")
        .replace("{session}", "ses_0")
}

async fn status(api: &crate::support::http::Api, route: &Route) -> (u16, Option<String>) {
    let reply = api.send(route.method.clone(), &path(route), &[], Bytes::new()).await;
    let code = (reply.status >= 400).then(|| reply.error().1);
    (reply.status, code)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_that_is_known_only_public_routes_answer() {
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let stranger = ApiKey::generate().unwrap().reveal();
    let admin = venue.admin.key();
    // The operator's public part with another secret.
    let forged = format!("{}{}", &admin[..23], &stranger[23..]);
    let keys = [None, Some(stranger.as_str()), Some(&forged), Some("sk-gollem-x"), Some(""), Some("sk-proj-openai")];
    for key in keys {
        let api = venue.admin.with_key(key);
        for route in ROUTES {
            let answer = status(&api, route).await;
            match route.access {
                // This exchange has no key to sign with.
                Access::Public if route.path == "/v1/journal/head" => {
                    assert_eq!(answer, (404, Some("no_tree_head".to_owned())));
                }
                Access::Public if route.path == "/v1/journal/key" => {
                    assert_eq!(answer, (404, Some("no_signing_key".to_owned())));
                }
                // It answers only to who wants a WebSocket.
                Access::Public if route.path == "/v1/ws" => {
                    assert_eq!(answer, (426, Some("upgrade_required".to_owned())));
                }
                // This exchange has no payment processor.
                Access::Public if route.path == "/webhooks/stripe" => {
                    assert_eq!(answer, (403, Some("payments_unavailable".to_owned())));
                }
                // These take a body, and say so.
                Access::Public if route.body_bytes_max > 0 => {
                    assert_eq!(answer, (400, Some("invalid_value".to_owned())), "{} with {key:?}", route.path);
                }
                Access::Public => assert_eq!(answer, (200, None), "{} {} with {key:?}", route.method, route.path),
                Access::Scoped(_) => {
                    let expected = (401, Some("invalid_api_key".to_owned()));
                    assert_eq!(answer, expected, "{} {} with {key:?}", route.method, route.path);
                }
            }
        }
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_something_else_opens_no_route() {
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let mut keys = vec![(Scopes::ADMIN, venue.admin.clone())];
    let scopes = [Scopes::READ, Scopes::TRADE, Scopes::PROVIDE, Scopes::WITHDRAW];
    for (name, scope) in ["read", "trade", "provide", "withdraw"].into_iter().zip(scopes) {
        keys.push((scope, open_account(&venue.admin, name, &[name]).await.api));
    }
    for route in ROUTES {
        let Access::Scoped(needed) = route.access else { continue };
        for (scope, api) in &keys {
            let (status, code) = status(api, route).await;
            let told = format!("{} {} with {:?}: {status} {code:?}", route.method, route.path, scope.names());
            if scope.intersects(needed) {
                // Empty bodies and made-up ids are refused, but by the handler.
                assert!(!matches!(code.as_deref(), Some("insufficient_scope" | "invalid_api_key")), "{told}");
            } else {
                assert_eq!((status, code.as_deref()), (403, Some("insufficient_scope")), "{told}");
            }
        }
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_may_come_in_either_header_and_bearer_is_looked_at_first() {
    let venue = Venue::open().await;
    let key = venue.admin.key();
    let anyone = venue.admin.with_key(None);
    let bearer = format!("Bearer {key}");
    let cases: [(&[(&str, &str)], u16); 6] = [
        (&[("authorization", &bearer)], 200),
        (&[("x-api-key", key)], 200),
        (&[("authorization", &bearer), ("x-api-key", "wrong")], 200),
        (&[("authorization", "Bearer wrong"), ("x-api-key", key)], 401),
        (&[("authorization", key)], 401),
        (&[("authorization", "Basic dXNlcjpwYXNz")], 401),
    ];
    for (headers, expected) in cases {
        let reply = anyone.send(Method::GET, "/v1/admin/state", headers, Bytes::new()).await;
        assert_eq!(reply.status, expected, "{:?}", headers.iter().map(|(name, _)| name).collect::<Vec<_>>());
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_method_or_path_is_told_from_a_missing_key() {
    let venue = Venue::open().await;
    let anyone = venue.admin.with_key(None);
    for route in ROUTES {
        let taken = |method: &Method| ROUTES.iter().any(|other| other.path == route.path && other.method == *method);
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if taken(&method) {
                continue;
            }
            let reply = anyone.send(method.clone(), &path(route), &[], Bytes::new()).await;
            let expected = (405, "method_not_allowed".to_owned(), None);
            assert_eq!(reply.error(), expected, "{method} {}", route.path);
            assert!(reply.header("allow").is_some(), "{method} {}: it says what is allowed", route.path);
        }
    }
    for path in ["/", "/v1", "/v1/", "/v2/orders", "/v1/orders/", "/v1/orders/ord_1/x", "/v1/chat", "/..%2f", "/%ff"] {
        let reply = venue.admin.get(path).await;
        assert_eq!(reply.error(), (404, "route_not_found".into(), None), "{path}");
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_a_key_is_ever_told_again() {
    let venue = Venue::open().await;
    let trader = open_account(&venue.admin, "trader", &["read", "trade", "provide"]).await;
    let secret = trader.api.key().rsplit('-').next().unwrap().to_owned();
    for route in ROUTES {
        let reply = trader.api.send(route.method.clone(), &path(route), &[], Bytes::new()).await;
        assert!(!String::from_utf8_lossy(&reply.bytes).contains(&secret), "{} {}", route.method, route.path);
    }
    venue.close().await;
}
