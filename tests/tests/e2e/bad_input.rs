//! The frame for requests that must be refused: each gets the right status, an error in OpenAI's shape that names the
//! field at fault, and changes nothing. `bad_orders` and `bad_calls` hold the tables; here are the bodies that no route
//! takes.

use crate::support::http::Api;
use crate::support::market::{Trader, ask, bid, list_model, open_account, open_buyer, open_provider};
use crate::support::venue::{MODEL, Venue};
use bytes::Bytes;
use gollem_gateway::routes::{Access, ROUTES};
use hyper::Method;
use serde_json::{Value, json};
use std::fmt;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    Admin,
    Buyer,
    Provider,
}

/// A market with everything in it that a bad request could break.
pub(crate) struct Scene {
    pub(crate) venue: Venue,
    pub(crate) buyer: Trader,
    pub(crate) provider: Trader,
    /// Has an order of its own.
    other: Trader,
    /// Orders that are not the buyer's.
    pub(crate) foreign: [String; 2],
}

impl Scene {
    /// Tick 10 atoms a unit, at most a billion units; the buyer has $10.
    pub(crate) async fn open() -> Scene {
        Scene::dress(Venue::open().await).await
    }

    async fn dress(venue: Venue) -> Scene {
        list_model(&venue.admin, MODEL, json!({ "tick": "0.0000001" })).await;
        let other = open_buyer(&venue.admin, "other", 1).await;
        let buyer = open_buyer(&venue.admin, "buyer", 10).await;
        let provider = open_provider(&venue.admin, "provider", "http://127.0.0.1:9/v1").await;
        let others = other.place(&bid(MODEL, 10, 10, json!({}))).await;
        buyer.place(&bid(MODEL, 20, 10, json!({}))).await;
        let foreign = [others, provider.place(&ask(MODEL, 1_000, 10_000, json!({}))).await];
        Scene { venue, buyer, provider, other, foreign }
    }

    fn api(&self, who: Who) -> &Api {
        match who {
            Who::Admin => &self.venue.admin,
            Who::Buyer => &self.buyer.api,
            Who::Provider => &self.provider.api,
        }
    }

    /// Everything a refused request could have changed. Refusals do take a sequence number.
    pub(crate) async fn fingerprint(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for trader in [&self.other, &self.buyer, &self.provider] {
            for path in ["/v1/balance", "/v1/orders", "/v1/transactions"] {
                all.push(trader.api.get(path).await.ok());
            }
        }
        for path in [&format!("/v1/book/{MODEL}"), "/v1/instruments"] {
            all.push(self.venue.admin.get(path).await.ok());
        }
        for answer in &mut all {
            let answer = answer.as_object_mut().unwrap();
            answer.shift_remove("seq");
            answer.shift_remove("at");
            answer.shift_remove("at_us");
        }
        all
    }

    /// Sends each case and collects what went otherwise than it should, so that one failure shows all.
    pub(crate) async fn check(self, cases: &[Case]) {
        let before = self.fingerprint().await;
        let mut wrong = Vec::new();
        for case in cases {
            let reply = self.api(case.who).send(case.method.clone(), &case.path, &[], case.body.clone()).await;
            if reply.status < 400 {
                wrong.push(format!("{case:?}\n    was accepted: {}", reply.body));
                break;
            }
            let (status, code, param) = reply.error();
            if (status, code.as_str(), param.as_deref()) != (case.status, case.code, case.param) {
                wrong.push(format!("{case:?}\n    got {status} {code} {param:?}: {}", reply.body["error"]["message"]));
            }
            if self.fingerprint().await != before {
                wrong.push(format!("{case:?}\n    changed something"));
                break;
            }
        }
        assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
        self.venue.close().await;
    }
}

/// A request and how it must be refused.
pub(crate) struct Case {
    who: Who,
    method: Method,
    path: String,
    body: Bytes,
    status: u16,
    code: &'static str,
    param: Option<&'static str>,
}

/// A request, still without its refusal.
pub(crate) fn request(who: Who, method: Method, path: &str, body: impl Into<Bytes>) -> Case {
    Case { who, method, path: path.to_owned(), body: body.into(), status: 0, code: "", param: None }
}

pub(crate) fn get(who: Who, path: &str) -> Case {
    request(who, Method::GET, path, "")
}

pub(crate) fn post(who: Who, path: &str, body: &Value) -> Case {
    request(who, Method::POST, path, body.to_string())
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body: String = String::from_utf8_lossy(&self.body).chars().take(200).collect();
        let Case { who, method, path, status, code, param, .. } = self;
        write!(f, "{who:?}: {method} {path} {body}\n    should be {status} {code} {param:?}")
    }
}

impl Case {
    pub(crate) fn is(self, status: u16, code: &'static str, param: Option<&'static str>) -> Case {
        Case { status, code, param, ..self }
    }

    /// 400 for this field.
    pub(crate) fn blames(self, param: &'static str) -> Case {
        self.is(400, "invalid_value", Some(param))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_json_is_refused_by_every_route_that_takes_one() {
    let mut cases = Vec::new();
    for route in ROUTES.iter().filter(|route| route.body_bytes_max > 0 && route.method != Method::DELETE) {
        if route.path.contains('{') {
            continue; // Settling a payout takes its id from the path and looks at no body.
        }
        if route.path == "/webhooks/stripe" {
            continue; // Without a payment processor there are no notices of one.
        }
        let scopes = match route.access {
            Access::Scoped(scopes) => scopes.names(),
            Access::Public => vec!["anyone"],
        };
        let who = match scopes[0] {
            "admin" => Who::Admin,
            "provide" | "withdraw" => Who::Provider,
            _ => Who::Buyer,
        };
        let bodies: [&'static [u8]; 6] = [b"", b"{", b"not json", b"\xff\xfe", b"\"text\"", b"[[[["];
        for body in bodies {
            if body.is_empty() && matches!(route.path, "/v1/payouts" | "/v1/admin/reconcile") {
                continue; // No body asks for all there is, or for the last month.
            }
            cases.push(request(who, route.method.clone(), route.path, body).blames("body"));
        }
    }
    // A list of a body's values in the order of its fields is no body either.
    let by_position = json!(["5.00", "by position"]).to_string();
    cases.push(request(Who::Buyer, Method::POST, "/v1/purchases", by_position).blames("body"));
    let deep = "[".repeat(2_000);
    cases.push(request(Who::Buyer, Method::POST, "/v1/orders", deep.clone()).blames("body"));
    let messages = format!("{{\"model\":\"{MODEL}\",\"messages\":{deep}");
    cases.push(request(Who::Buyer, Method::POST, "/v1/chat/completions", messages).blames("body"));
    let twice = json!({}).to_string().repeat(2);
    cases.push(request(Who::Buyer, Method::POST, "/v1/chat/completions", twice).blames("body"));
    Scene::open().await.check(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_ten_megabytes_is_refused_and_the_client_can_read_why() {
    let scene = Scene::open().await;
    let before = scene.fingerprint().await;
    let body = Bytes::from(vec![b' '; 10 * 1024 * 1024]);
    for (api, method, path) in [
        (&scene.buyer.api, Method::POST, "/v1/chat/completions"),
        (&scene.buyer.api, Method::POST, "/api/generate"),
        (&scene.buyer.api, Method::POST, "/v1/orders"),
        (&scene.buyer.api, Method::GET, "/v1/balance"),
        (&scene.provider.api, Method::PUT, "/v1/provider"),
        (&scene.venue.admin, Method::GET, "/health"),
    ] {
        let reply = api.send(method.clone(), path, &[], body.clone()).await;
        assert_eq!(reply.error(), (413, "body_too_large".into(), Some("body".into())), "{method} {path}");
    }
    assert_eq!(scene.fingerprint().await, before);
    scene.venue.close().await;
}

/// A longer body may meet a closed connection: what no route would take is not read on.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_needs_no_body_can_be_read_however_large_the_body_is() {
    let venue = Venue::open().await;
    let body = Bytes::from(vec![b' '; 4 * 1024 * 1024]); // A prompt may be so long.
    let anyone = venue.admin.with_key(None);
    let mut unread = Vec::new();
    for (api, method, path, status) in [
        (&anyone, Method::POST, "/v1/chat/completions", 401),
        (&venue.admin, Method::POST, "/v1/chat/completions", 403),
        (&anyone, Method::POST, "/v1/nothing", 404),
        (&anyone, Method::PUT, "/v1/chat/completions", 405),
    ] {
        match api.try_send(method, path, &[], body.clone()).await {
            Some(reply) => assert_eq!(reply.error().0, status, "{path}"),
            None => unread.push(format!("{status} {path}")),
        }
    }
    assert!(unread.is_empty(), "the connection broke before the client could read {unread:?}");
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_one_byte_too_long_is_refused_and_one_of_the_largest_size_is_not() {
    let scene = Scene::open().await;
    for (size, expected) in [(4_096, 201), (4_097, 413)] {
        let order = bid(MODEL, 10, 1, json!({})).to_string();
        let body = format!("{order}{}", " ".repeat(size - order.len()));
        let reply = scene.buyer.api.send(Method::POST, "/v1/orders", &[], body.into()).await;
        assert_eq!(reply.status, expected, "{size} bytes");
    }
    scene.venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_for_real_grants_no_credits_and_calls_no_private_address() {
    let venue = Venue::open_for_real().await;
    let trader = open_account(&venue.admin, "trader", &["read", "trade", "provide"]).await;
    let purchase = trader.purchase(10, "free money").await;
    assert_eq!(purchase.error(), (403, "purchases_unavailable".into(), None));
    assert_eq!(trader.balance().await.available, 0);
    let private = ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1"];
    for host in private {
        let reply = trader.api.put("/v1/provider", &json!({ "endpoint": format!("http://{host}:8000/v1") })).await;
        assert_eq!(reply.error(), (400, "invalid_value".into(), Some("endpoint".into())), "{host}");
    }
    trader.api.put("/v1/provider", &json!({ "endpoint": "http://models.example/v1" })).await.ok();
    venue.close().await;
}
