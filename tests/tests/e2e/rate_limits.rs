//! Limits as callers meet them: numbers on every reply, refusals that say when to come back, cancels that always pass.

use crate::support::http::{Api, Reply};
use crate::support::market::{Trader, ask, bid, chat, list_model, open_account, open_buyer, open_provider};
use crate::support::socket::{Socket, kind};
use crate::support::venue::{MODEL, Venue};
use crate::support::{at_once, endpoint, slowly, start_mock};
use gollem_gateway::{LimiterOptions, Tier};
use serde_json::{Value, json};

async fn limited(default_tier: Tier, flood_per_second: u32) -> Venue {
    let limits = LimiterOptions { default_tier, flood_per_second };
    let venue = Venue::open_with(|options| gollem_gateway::ExchangeOptions { limits, ..options }).await;
    list_model(&venue.admin, MODEL, json!({})).await;
    venue
}

fn number(reply: &Reply, name: &str) -> u64 {
    reply.header(name).unwrap_or_else(|| panic!("{name} is missing: {reply:?}")).parse().unwrap()
}

async fn set_tier(admin: &Api, trader: &Trader, tier: &str) -> Reply {
    admin.put(&format!("/v1/accounts/{}/tier", trader.id), &json!({ "tier": tier })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_over_the_limit_are_refused_with_a_time_and_cancels_still_pass() {
    let venue = limited(Tier::Free, 0).await;
    let trader = open_account(&venue.admin, "trader", &["read", "provide"]).await;
    let other = open_account(&venue.admin, "other", &["read", "provide"]).await;
    let mut orders = Vec::new();
    let refused = loop {
        let reply = trader.api.post("/v1/orders", &ask(MODEL, 1_000, 1, json!({}))).await;
        if reply.status != 201 {
            break reply;
        }
        assert_eq!(number(&reply, "x-ratelimit-limit-requests"), 20);
        assert!(reply.header("x-ratelimit-reset-requests").unwrap().ends_with('s'));
        orders.push(reply.ok()["id"].as_str().unwrap().to_owned());
    };
    assert!((20..=22).contains(&orders.len()), "a burst of 20, and what comes back meanwhile: {}", orders.len());
    assert_eq!(refused.error(), (429, "rate_limit_exceeded".into(), None));
    assert_eq!(number(&refused, "x-ratelimit-remaining-requests"), 0);
    let retry_after_s = number(&refused, "retry-after");
    assert!((1..=6).contains(&retry_after_s), "one comes back every six seconds: {retry_after_s}");
    for order in &orders {
        let cancelled = trader.api.delete(&format!("/v1/orders/{order}")).await;
        assert_eq!(cancelled.status, 200, "{cancelled:?}");
    }
    assert_eq!(other.api.get("/v1/balance").await.status, 200, "another account has its own");
    assert_eq!(set_tier(&venue.admin, &trader, "pro").await.ok()["tier"], "pro");
    assert_eq!(trader.api.get("/v1/balance").await.status, 200, "more room at once");
    assert_eq!(set_tier(&venue.admin, &trader, "gold").await.error().2.as_deref(), Some("tier"));
    let nobody = venue.admin.put("/v1/accounts/acc_99/tier", &json!({ "tier": "pro" })).await;
    assert_eq!(nobody.error(), (404, "account_not_found".into(), Some("account".into())));
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_can_read_its_limits_and_they_are_those_of_its_tier() {
    let venue = limited(Tier::Basic, 0).await;
    let trader = open_account(&venue.admin, "trader", &["read"]).await;
    let table: [(&str, [u64; 6]); 4] = [
        ("free", [10, 100, 1_000, 10_000, 20, 2]),
        ("basic", [60, 1_000, 10_000, 100_000, 100, 5]),
        ("pro", [300, 10_000, 100_000, 500_000, 500, 20]),
        ("enterprise", [1_000, 50_000, 500_000, 2_000_000, 2_000, 100]),
    ];
    assert_eq!(trader.api.get("/v1/rate-limit").await.ok()["tier"], "basic", "what new accounts get here");
    for (tier, numbers) in table {
        set_tier(&venue.admin, &trader, tier).await.ok();
        let told = trader.api.get("/v1/rate-limit").await.ok();
        let names = ["requests_per_minute", "requests_per_hour", "requests_per_day", "tokens_per_minute", "burst"];
        let limits = names.iter().chain(["concurrent"].iter()).map(|name| told["limits"][name].as_u64().unwrap());
        assert_eq!(limits.collect::<Vec<_>>(), numbers, "{tier}");
        assert_eq!(told["left"]["cancels"]["remaining"], numbers[4]);
        assert_eq!(told["left"]["concurrent"], numbers[5]);
    }
    set_tier(&venue.admin, &trader, "unlimited").await.ok();
    let free = trader.api.get("/v1/rate-limit").await;
    assert_eq!(free.header("x-ratelimit-limit-requests"), None, "nothing to count");
    assert_eq!(free.ok()["limits"], Value::Null);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_held_for_the_worst_case_and_what_a_call_did_not_use_comes_back() {
    let mock = start_mock(at_once()).await;
    let venue = limited(Tier::Free, 0).await;
    let buyer = open_buyer(&venue.admin, "buyer", 1_000).await;
    let provider = open_provider(&venue.admin, "provider", &endpoint(&mock)).await;
    provider.place(&ask(MODEL, 1_000, 1_000_000, json!({}))).await;
    let body = chat(MODEL, json!({ "max_tokens": 10 }));
    let reply = buyer.chat(&body).await;
    assert_eq!((reply.status, number(&reply, "x-ratelimit-limit-tokens")), (200, 10_000));
    let used = reply.body["usage"]["total_tokens"].as_u64().unwrap();
    let left = number(&reply, "x-ratelimit-remaining-tokens");
    assert!(left >= 10_000 - used, "{left} are left after {used}, though {} were held", body.to_string().len() + 10);
    let large = buyer.chat(&chat(MODEL, json!({ "max_tokens": 10_000 }))).await;
    assert_eq!(large.error(), (400, "tokens_over_tier".into(), Some("max_tokens".into())), "never in a minute");
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_are_bounded_by_the_tier_and_hold_their_tokens() {
    let mock = start_mock(slowly()).await;
    let venue = limited(Tier::Free, 0).await;
    let buyer = open_buyer(&venue.admin, "buyer", 1_000).await;
    let provider = open_provider(&venue.admin, "provider", &endpoint(&mock)).await;
    provider.place(&ask(MODEL, 1_000, 1_000_000, json!({}))).await;
    let slow = chat(MODEL, json!({ "max_tokens": 4_500, "stream": true })).to_string();
    let open = async || {
        let body = slow.clone().into();
        buyer.api.open(hyper::Method::POST, "/v1/chat/completions", &[], body).await.unwrap()
    };
    let first = open().await;
    assert_eq!(first.status(), 200);
    let small = chat(MODEL, json!({}));
    let second = open().await;
    assert_eq!(second.status(), 200);
    let third = buyer.chat(&small).await;
    assert_eq!(third.error(), (429, "rate_limit_exceeded".into(), None), "two at once");
    drop(first);
    crate::support::eventually("the call ends when its client leaves", async || {
        let left = buyer.api.with_key(Some(buyer.api.key())).get("/v1/rate-limit").await;
        (left.status == 200 && left.body["left"]["concurrent"] == 1).then_some(())
    })
    .await;
    let tokens = buyer.chat(&chat(MODEL, json!({ "max_tokens": 9_500 }))).await;
    assert_eq!(tokens.error(), (429, "rate_limit_exceeded".into(), None), "the other stream holds 4,500 and more");
    drop(second);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_floods_is_refused_whatever_it_asks_and_a_key_without_limits_is_not_counted() {
    let venue = limited(Tier::Unlimited, 50).await;
    let trader = open_account(&venue.admin, "trader", &["read"]).await;
    for _ in 0..200 {
        assert_eq!(trader.api.get("/v1/balance").await.status, 200);
    }
    let anyone = venue.admin.with_key(None);
    let first = anyone.get("/health").await;
    assert_eq!(number(&first, "x-ratelimit-limit-requests"), 50);
    for path in ["/health", "/v1/balance", "/v1/nothing"] {
        let mut refused = None;
        for _ in 0..2_000 {
            let reply = anyone.get(path).await;
            if reply.status == 429 {
                refused = Some(reply);
                break;
            }
        }
        let refused = refused.unwrap_or_else(|| panic!("{path} is flooded without end"));
        assert_eq!(refused.error().1, "rate_limit_exceeded");
        assert_eq!(trader.api.get("/v1/balance").await.status, 200, "a good key passes all the same");
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keys_own_limit_leaves_the_other_keys_of_its_account_alone() {
    let venue = limited(Tier::Unlimited, 0).await;
    let owner = open_account(&venue.admin, "owner", &["read", "trade", "provide"]).await;
    let made = json!({ "name": "robot", "scopes": ["read", "provide"], "requests_per_minute": 5 });
    let made = owner.api.post("/v1/keys", &made).await.ok();
    let robot = owner.api.with_key(made["api_key"].as_str());
    let replies: Vec<u16> = statuses(&robot, 12).await;
    let accepted = replies.iter().filter(|status| **status == 200).count();
    assert!((5..=6).contains(&accepted), "{replies:?}");
    assert_eq!(owner.api.get("/v1/balance").await.status, 200);
    let order = owner.api.post("/v1/orders", &bid(MODEL, 1_000, 1, json!({}))).await;
    assert_ne!(order.status, 429);
    assert_eq!(robot.delete("/v1/orders/ord_1").await.error().1, "order_not_found", "a cancel passes");
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_key_keeps_to_its_own_limit() {
    let venue = limited(Tier::Basic, 0).await;
    let made = json!({ "name": "script", "scopes": ["admin"], "requests_per_minute": 5 });
    let made = venue.admin.post("/v1/keys", &made).await.ok();
    let script = venue.admin.with_key(made["api_key"].as_str());
    assert_eq!(script.get("/v1/rate-limit").await.ok()["key"]["requests"]["remaining"], 4);
    let mut accepted = 1;
    while script.get("/v1/admin/state").await.status == 200 {
        accepted += 1;
    }
    assert!((5..=6).contains(&accepted), "{accepted}");
    assert_eq!(venue.admin.get("/v1/admin/state").await.status, 200, "the other one has none");
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_over_a_socket_is_taken_from_the_limits_as_over_rest() {
    let venue = limited(Tier::Free, 0).await;
    let trader = open_account(&venue.admin, "trader", &["read", "provide"]).await;
    let mut socket = Socket::open(&trader.api).await;
    let own = json!({ "op": "subscribe", "id": 1, "channel": "balances" });
    let leave = json!({ "op": "unsubscribe", "id": 2, "channel": "balances" });
    // A burst of 20, and what comes back meanwhile.
    let mut subscribed = 0;
    while subscribed < 40 && kind(&socket.ask(&own).await) == "reply" {
        socket.ok(&leave).await;
        subscribed += 1;
    }
    assert!((20..=22).contains(&subscribed), "{subscribed}");
    assert_eq!(socket.error(&own).await.0, "rate_limit_exceeded");
    assert_eq!(trader.api.get("/v1/balance").await.status, 429, "they are the same");
    let mut switched = 0;
    let switch = |on: usize| json!({ "op": "cancel_on_disconnect", "id": 3, "enable": on.is_multiple_of(2) });
    while switched < 40 && kind(&socket.ask(&switch(switched)).await) == "reply" {
        switched += 1;
    }
    assert!((20..=22).contains(&switched), "as cancels: {switched}");
    let book = json!({ "op": "subscribe", "id": 4, "channel": "book", "instrument": MODEL });
    socket.ok(&book).await;
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_anybody_may_ask_over_a_socket_is_counted_to_its_address_and_so_is_what_is_refused() {
    let book = json!({ "op": "subscribe", "id": 1, "channel": "book", "instrument": MODEL });
    let leave = json!({ "op": "unsubscribe", "id": 2, "channel": "book", "instrument": MODEL });
    let cancel = json!({ "op": "cancel_all", "id": 3 });
    for (with_key, requests) in [(true, [&book, &leave]), (true, [&cancel, &cancel]), (false, [&cancel, &cancel])] {
        let venue = limited(Tier::Unlimited, 5).await;
        let reader = open_account(&venue.admin, "reader", &["read"]).await;
        let mut socket = Socket::try_open(&venue.admin, with_key.then(|| reader.api.key())).await.unwrap();
        let mut asked = 0;
        while socket.ask(requests[asked % 2]).await["error"]["code"] != "rate_limit_exceeded" {
            asked += 1;
            assert!(asked < 80, "{} is asked without end", requests[0]);
        }
        assert!(asked > 2, "{}: some are answered", requests[0]);
        assert_eq!(reader.api.get("/v1/balance").await.status, 200, "a good key passes all the same");
        venue.close().await;
    }
}

async fn statuses(api: &Api, count: usize) -> Vec<u16> {
    let mut replies = Vec::new();
    for _ in 0..count {
        replies.push(api.get("/v1/balance").await.status);
    }
    replies
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused_with_431_and_an_ordinary_one_is_not() {
    let venue = Venue::open().await;
    let (small, large) = ("x".repeat(1_000), "x".repeat(200_000));
    let many: Vec<String> = (0..70).map(|number| format!("x-header-{number}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
    let cases: [(&[(&str, &str)], u16); 4] =
        [(&[("x-note", &small)], 200), (&[("x-note", &large)], 431), (&many, 431), (&many[..40], 200)];
    for (headers, status) in cases {
        let reply = venue.admin.send(hyper::Method::GET, "/health", headers, bytes::Bytes::new()).await;
        assert_eq!(reply.status, status, "{} headers", headers.len());
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_as_many_connections_as_it_may_and_gets_them_back() {
    use tokio::io::AsyncReadExt;
    let change = |options| gollem_gateway::ExchangeOptions { connections_per_address: 3, ..options };
    let venue = Venue::open_with(change).await;
    let address = venue.admin.base().strip_prefix("http://").unwrap().to_owned();
    let mut held = Vec::new();
    let closed = crate::support::eventually("a connection too many is closed", async || {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let ended = tokio::time::timeout(std::time::Duration::from_millis(300), stream.read(&mut [0; 1])).await;
        if ended.is_ok() {
            return Some(held.len());
        }
        held.push(stream);
        None
    })
    .await;
    assert_eq!(closed, 3);
    drop(held);
    crate::support::eventually("they come back", async || {
        let reply = venue.admin.try_send(hyper::Method::GET, "/health", &[], bytes::Bytes::new()).await;
        reply.filter(|reply| reply.status == 200)
    })
    .await;
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_pages_that_were_named_may_call_from_a_browser() {
    let origin = "https://app.example.com";
    let closed = Venue::open().await;
    let asks = [("origin", origin), ("access-control-request-method", "POST")];
    let reply = closed.admin.send(hyper::Method::GET, "/health", &asks, bytes::Bytes::new()).await;
    assert_eq!(reply.header("access-control-allow-origin"), None);
    closed.close().await;
    let named = gollem_gateway::parse_origin(origin).unwrap();
    let change = |options| gollem_gateway::ExchangeOptions { cors_origins: vec![named], ..options };
    let venue = Venue::open_with(change).await;
    let reply = venue.admin.send(hyper::Method::OPTIONS, "/v1/orders", &asks, bytes::Bytes::new()).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some(origin)));
    let stranger = [("origin", "https://evil.example.com"), ("access-control-request-method", "POST")];
    let reply = venue.admin.send(hyper::Method::OPTIONS, "/v1/orders", &stranger, bytes::Bytes::new()).await;
    assert_eq!(reply.header("access-control-allow-origin"), None);
    let reply = venue.admin.send(hyper::Method::GET, "/v1/balance", &asks, bytes::Bytes::new()).await;
    assert_eq!(reply.header("access-control-allow-origin"), Some(origin), "errors, too: {reply:?}");
    venue.close().await;
}
