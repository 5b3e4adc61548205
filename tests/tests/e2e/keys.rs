//! Keys as their owners use them: made, bounded, replaced, revoked, and never a way to gain what their maker had not.

use crate::support::eventually;
use crate::support::http::Api;
use crate::support::market::{Trader, ask, bid, list_model, open_account, open_buyer};
use crate::support::venue::{MODEL, Venue};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn now_us() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// A key of these bounds, made with the trader's own.
async fn make(api: &Api, body: Value) -> (Api, Value) {
    let made = api.post("/v1/keys", &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.ok();
    (api.with_key(made["api_key"].as_str()), made)
}

async fn code(api: &Api) -> Option<(u16, String)> {
    let reply = api.get("/v1/balance").await;
    (reply.status >= 400).then(|| reply.error()).map(|(status, code, _)| (status, code))
}

async fn owner(venue: &Venue) -> Trader {
    open_account(&venue.admin, "owner", &["read", "trade"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_numbered_from_one_and_listed_without_its_secret() {
    let venue = Venue::open().await;
    let owner = owner(&venue).await;
    let (robot, made) = make(&owner.api, json!({ "name": "robot", "scopes": ["read"] })).await;
    assert_eq!((&made["id"], &made["kind"], &made["scopes"]), (&json!("key_2"), &json!("secret"), &json!(["read"])));
    let prefix = made["prefix"].as_str().unwrap();
    assert!(robot.key().starts_with(prefix) && prefix.len() == 22, "{prefix}");
    assert_eq!(code(&robot).await, None);
    let listed = owner.api.get("/v1/keys").await;
    let secret = robot.key().rsplit('-').next().unwrap().to_owned();
    assert!(!String::from_utf8_lossy(&listed.bytes).contains(&secret));
    let listed = listed.ok();
    let keys = listed["keys"].as_array().unwrap();
    assert_eq!((keys.len(), &keys[0]["id"], &keys[1]["prefix"]), (2, &json!("key_1"), &json!(prefix)));
    let used = keys[1]["last_used_us"].as_i64().unwrap();
    assert!((now_us() - 60_000_000..=now_us()).contains(&used), "{used}");
    // Another account sees nothing of it.
    let other = open_account(&venue.admin, "other", &["read", "trade"]).await;
    assert_eq!(other.api.get("/v1/keys").await.ok()["keys"].as_array().unwrap().len(), 1);
    let named = other.api.get(&format!("/v1/keys?account={}", owner.id)).await;
    assert_eq!(named.error().1, "insufficient_scope");
    let refused = other.api.delete("/v1/keys/key_2").await;
    assert_eq!(refused.error(), (404, "key_not_found".into(), Some("key".into())));
    // An operator may look and revoke.
    let path = format!("/v1/keys/key_2?account={}", owner.id);
    venue.admin.delete(&path).await.ok();
    assert_eq!(code(&robot).await, Some((401, "api_key_revoked".into())));
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gains_by_a_key_of_ones_own_making() {
    let venue = Venue::open().await;
    let owner = owner(&venue).await;
    let end = now_us() + 3_600_000_000;
    let bounds = json!({
        "name": "bounded", "scopes": ["read", "trade"], "addresses": ["127.0.0.0/8"], "expires_at_us": end,
    });
    let (bounded, _) = make(&owner.api, bounds.clone()).await;
    let (reader, _) = make(&owner.api, json!({ "name": "reader", "scopes": ["read"] })).await;
    let change = |field: &str, value: Value| {
        let mut body = bounds.clone();
        body[field] = value;
        body
    };
    make(&bounded, change("addresses", json!(["127.0.0.1"]))).await;
    for (field, value) in [
        ("scopes", json!(["read", "trade", "provide"])),
        ("scopes", json!(["withdraw"])),
        ("addresses", json!([])),
        ("addresses", json!(["127.0.0.1", "10.0.0.0/8"])),
        ("expires_at_us", json!(end + 1_000_000)),
        ("expires_at_us", Value::Null),
    ] {
        let refused = bounded.post("/v1/keys", &change(field, value.clone())).await;
        assert_eq!(refused.error(), (403, "beyond_own_key".into(), None), "{field} {value}");
    }
    for (method, path) in [(hyper::Method::DELETE, "/v1/keys/key_1"), (hyper::Method::POST, "/v1/keys/key_1/rotate")] {
        let refused = bounded.send(method, path, &[], bytes::Bytes::new()).await;
        assert_eq!(refused.error().1, "beyond_own_key", "{path}: the first key has no bounds");
    }
    let refused = reader.post("/v1/keys", &json!({ "name": "x", "scopes": ["read"] })).await;
    assert_eq!(refused.error().1, "insufficient_scope", "who only reads makes no keys");
    for (field, value) in [
        ("scopes", json!([])),
        ("scopes", json!(["admin"])),
        ("scopes", json!(["everything"])),
        ("addresses", json!(["127.0.0.1/99"])),
        ("expires_at_us", json!(1)),
        ("requests_per_minute", json!(0)),
        ("public_key", json!("AAAA")),
    ] {
        let refused = owner.api.post("/v1/keys", &change(field, value.clone())).await;
        assert_eq!(refused.error(), (400, "invalid_value".into(), Some(field.into())), "{value}");
    }
    let unbound = json!({ "name": "w", "scopes": ["withdraw"], "account": owner.id });
    let refused = venue.admin.post("/v1/keys", &unbound).await;
    assert_eq!(refused.error(), (400, "addresses_required".into(), Some("addresses".into())));
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_a_rate_of_its_own_has_no_second_one_beside_it() {
    let venue = Venue::open().await;
    let owner = owner(&venue).await;
    let slow = json!({ "name": "slow", "scopes": ["read", "trade"], "requests_per_minute": 100 });
    let (slow_key, _) = make(&owner.api, slow.clone()).await;
    for rate in [json!(100), json!(1), Value::Null] {
        let body = crate::support::market::with(slow.clone(), &json!({ "requests_per_minute": rate }));
        let refused = slow_key.post("/v1/keys", &body).await;
        assert_eq!(refused.error(), (403, "beyond_own_key".into(), None), "{rate}: it would have both");
    }
    make(&owner.api, slow).await;
    let refused = slow_key.post("/v1/keys/key_3/rotate", &json!({})).await;
    assert_eq!(refused.error().1, "beyond_own_key", "nor is one that is there already its own");
    slow_key.post("/v1/keys/key_2/rotate", &json!({})).await.ok();
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bounds_of_an_operators_key_hold_for_every_key_that_it_makes() {
    let venue = Venue::open().await;
    let owner = owner(&venue).await;
    let end = now_us() + 3_600_000_000;
    let bounds =
        json!({ "scopes": ["admin"], "name": "for an hour", "addresses": ["127.0.0.1"], "expires_at_us": end });
    let (bounded, _) = make(&venue.admin, bounds.clone()).await;
    let change = |change: Value| crate::support::market::with(bounds.clone(), &change);
    let of_account = json!({ "scopes": ["read", "trade"], "account": owner.id });
    for wider in [
        json!({ "expires_at_us": null }),
        json!({ "expires_at_us": end + 1_000_000 }),
        json!({ "addresses": [] }),
        json!({ "addresses": ["127.0.0.1", "192.0.2.1"] }),
    ] {
        let of_account = crate::support::market::with(change(wider.clone()), &of_account);
        for body in [change(wider.clone()), of_account] {
            let refused = bounded.post("/v1/keys", &body).await;
            assert_eq!(refused.error(), (403, "beyond_own_key".into(), None), "{body}");
        }
    }
    make(&bounded, change(json!({ "expires_at_us": end - 1_000_000 }))).await;
    make(&bounded, change(of_account.clone())).await;
    // An account that it opens has a first key of its bounds.
    let first = bounded.post("/v1/accounts", &json!({ "name": "new" })).await.ok();
    let first = venue.admin.with_key(first["api_key"].as_str());
    let listed = first.get("/v1/keys").await.ok()["keys"][0].clone();
    assert_eq!(
        (&listed["addresses"], &listed["expires_at_us"]),
        (&json!(["127.0.0.1/32"]), &json!(end / 1_000_000 * 1_000_000))
    );
    let elsewhere = json!({ "name": "other", "addresses": ["192.0.2.1"] });
    assert_eq!(bounded.post("/v1/accounts", &elsewhere).await.error().1, "beyond_own_key");
    // The first key of an account that another opened lasts for ever: it is not taken over, but it is ended.
    let path = |what: &str| format!("/v1/keys/key_1{what}?account={}", owner.id);
    assert_eq!(bounded.post(&path("/rotate"), &json!({})).await.error().1, "beyond_own_key");
    bounded.put(&path("/limits"), &json!({ "daily": "5" })).await.ok();
    bounded.delete(&path("")).await.ok();
    assert_eq!(code(&owner.api).await, Some((401, "api_key_revoked".into())));
    let (slow, _) = make(&venue.admin, json!({ "name": "s", "scopes": ["admin"], "requests_per_minute": 10 })).await;
    for body in [json!({ "name": "x", "scopes": ["admin"], "requests_per_minute": 10 }), change(of_account)] {
        assert_eq!(slow.post("/v1/keys", &body).await.error().1, "beyond_own_key", "{body}");
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_works_from_its_addresses_only_and_only_a_trusted_proxy_tells_others() {
    let here = Venue::open().await;
    let owner_here = owner(&here).await;
    let far = json!({ "name": "far", "scopes": ["read"], "addresses": ["192.0.2.0/24"] });
    let (far_key, _) = make(&owner_here.api, far.clone()).await;
    let forwarded = [("x-forwarded-for", "192.0.2.7")];
    let refused = far_key.send(hyper::Method::GET, "/v1/balance", &forwarded, bytes::Bytes::new()).await;
    assert_eq!(refused.error(), (403, "address_not_allowed".into(), None), "nobody trusts this proxy");
    here.close().await;

    let behind = Venue::open_with(|options| gollem_gateway::ExchangeOptions {
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        ..options
    })
    .await;
    let owner_behind = owner(&behind).await;
    let (far_key, _) = make(&owner_behind.api, far).await;
    for (address, status) in [("192.0.2.7", 200), ("198.51.100.1", 403), ("192.0.2.7, 198.51.100.1", 403)] {
        let headers = [("x-forwarded-for", address)];
        let reply = far_key.send(hyper::Method::GET, "/v1/balance", &headers, bytes::Bytes::new()).await;
        assert_eq!(reply.status, status, "{address}");
    }
    behind.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_has_a_new_secret_and_the_old_one_for_the_overlap_only() {
    let venue = Venue::open().await;
    let owner = owner(&venue).await;
    let (robot, made) = make(&owner.api, json!({ "name": "robot", "scopes": ["read"] })).await;
    let rotated = owner.api.post("/v1/keys/key_2/rotate", &json!({ "overlap_s": 600 })).await.ok();
    let renewed = owner.api.with_key(rotated["api_key"].as_str());
    assert_eq!((&rotated["id"], &rotated["prefix"]), (&made["id"], &made["prefix"]), "the same key");
    assert_eq!((code(&robot).await, code(&renewed).await), (None, None), "both, for ten minutes");
    let again = owner.api.post("/v1/keys/key_2/rotate", &json!({ "overlap_s": 0 })).await.ok();
    let newest = owner.api.with_key(again["api_key"].as_str());
    assert_eq!(code(&newest).await, None);
    for old in [&robot, &renewed] {
        assert_eq!(code(old).await, Some((401, "invalid_api_key".into())), "no overlap");
    }
    // A key may replace itself and end itself.
    let (trader, _) = make(&owner.api, json!({ "name": "trader", "scopes": ["trade"] })).await;
    let own = trader.post("/v1/keys/key_3/rotate", &json!({ "overlap_s": 0 })).await.ok();
    let trader = trader.with_key(own["api_key"].as_str());
    trader.delete("/v1/keys/key_3").await.ok();
    assert_eq!(trader.get("/v1/rate-limit").await.error().1, "api_key_revoked");
    let late = owner.api.post("/v1/keys/key_3/rotate", &json!({})).await;
    assert_eq!(late.error(), (409, "api_key_revoked".into(), None));
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_by_itself_and_what_is_set_of_it_outlives_a_restart() {
    let venue = Venue::open().await;
    let owner = owner(&venue).await;
    let end = now_us() + 2_000_000;
    let (brief, _) = make(&owner.api, json!({ "name": "brief", "scopes": ["read"], "expires_at_us": end })).await;
    let (bound, _) = make(&owner.api, json!({ "name": "bound", "scopes": ["read"], "addresses": ["192.0.2.1"] })).await;
    eventually("the key ends", async || {
        let code = code(&brief).await;
        (code == Some((401, "api_key_expired".into()))).then_some(())
    })
    .await;
    assert!(now_us() >= end / 1_000_000 * 1_000_000, "and not before its time");
    let venue = venue.reopen_for_real().await;
    let at = |api: &Api| api.at(venue.admin.base());
    assert_eq!(code(&at(&brief)).await, Some((401, "api_key_expired".into())));
    assert_eq!(code(&at(&bound)).await, Some((403, "address_not_allowed".into())));
    assert_eq!(code(&at(&owner.api)).await, None);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_spends_within_its_limits_whatever_its_account_has() {
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let owner = open_buyer(&venue.admin, "owner", 1_000).await;
    let provider = open_account(&venue.admin, "provider", &["read", "provide"]).await;
    provider.place(&ask(MODEL, 1_000_000, 1_000_000, json!({}))).await;
    let (robot, _) = make(&owner.api, json!({ "name": "robot", "scopes": ["read", "trade"] })).await;
    let set = json!({ "daily": "5", "hard": "8.5" });
    let limits = owner.api.put("/v1/keys/key_2/limits", &set).await.ok();
    assert_eq!(
        (&limits["daily"], &limits["monthly"], &limits["hard"]),
        (&json!("5.00000000"), &Value::Null, &json!("8.50000000"))
    );
    // A hundredth of a credit a unit: 400 units are four credits, and the fee.
    let order = |quantity: u64| bid(MODEL, 500_000, quantity, json!({}));
    assert_eq!(robot.post("/v1/orders", &order(800)).await.status, 201, "four credits rest");
    let beyond = robot.post("/v1/orders", &order(300)).await;
    assert_eq!(beyond.error(), (402, "spending_limit".into(), None));
    assert_eq!(owner.api.post("/v1/orders", &order(300)).await.status, 201, "the account has plenty");
    let counted = owner.api.get("/v1/keys/key_2/limits").await.ok();
    assert!(counted["reserved"].as_str().unwrap().starts_with("4."), "{counted}");
    let own = robot.put("/v1/keys/key_2/limits", &json!({})).await;
    assert_eq!(own.error(), (403, "beyond_own_key".into(), None));
    let way_out = robot.post("/v1/keys", &json!({ "name": "x", "scopes": ["trade"] })).await;
    assert_eq!(way_out.error(), (403, "beyond_own_key".into(), None), "a key with limits makes none without");
    owner.api.put("/v1/keys/key_2/limits", &json!({})).await.ok();
    assert_eq!(robot.post("/v1/orders", &order(300)).await.status, 201, "no limit any more");
    for (field, value) in [("daily", "-1"), ("monthly", "x"), ("hard", "0.000000001")] {
        let refused = owner.api.put("/v1/keys/key_2/limits", &json!({ field: value })).await;
        assert_eq!(refused.error(), (400, "invalid_value".into(), Some(field.into())));
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_not_replaced_by_a_key_that_could_not_have_placed_it() {
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let owner = open_account(&venue.admin, "owner", &["read", "trade", "provide"]).await;
    owner.purchase(100, "credits").await.ok();
    let bid = json!({ "instrument": MODEL, "side": "bid", "price": "0.0001", "quantity": 10 });
    let placed = owner.api.post("/v1/orders", &bid).await.ok();
    let path = format!("/v1/orders/{}", placed["id"].as_str().unwrap());
    let change = json!({ "quantity": 1_000 });
    let (provider, _) = make(&owner.api, json!({ "name": "provider", "scopes": ["provide"] })).await;
    assert_eq!(provider.put(&path, &change).await.error().1, "insufficient_scope", "a bid");
    let (limited, made) = make(&owner.api, json!({ "name": "limited", "scopes": ["trade"] })).await;
    let limits = format!("/v1/keys/{}/limits", made["id"].as_str().unwrap());
    owner.api.put(&limits, &json!({ "daily": "1" })).await.ok();
    assert_eq!(limited.put(&path, &change).await.error(), (403, "beyond_own_key".into(), None));
    let batch = json!({ "actions": [{ "replace": { "order": placed["id"], "quantity": 1_000 } }] });
    let results = limited.post("/v1/orders/batch", &batch).await.ok();
    assert_eq!(results["results"][0]["error"]["code"], "beyond_own_key", "{results}");
    let own = limited.post("/v1/orders", &bid).await.ok();
    let own = format!("/v1/orders/{}", own["id"].as_str().unwrap());
    limited.put(&own, &json!({ "quantity": 20 })).await.ok();
    assert_eq!(owner.api.put(&path, &change).await.ok()["quantity"], 1_000);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_was_replaced_manages_no_keys_while_it_is_still_good() {
    let venue = Venue::open().await;
    let owner = owner(&venue).await;
    let rotated = owner.api.post("/v1/keys/key_1/rotate", &json!({ "overlap_s": 600 })).await.ok();
    let renewed = owner.api.with_key(rotated["api_key"].as_str());
    assert_eq!((code(&owner.api).await, code(&renewed).await), (None, None), "both are good");
    let refused = owner.api.post("/v1/keys/key_1/rotate", &json!({ "overlap_s": 0 })).await;
    assert_eq!(refused.error(), (403, "beyond_own_key".into(), None));
    let refused = owner.api.post("/v1/keys", &json!({ "name": "for ever", "scopes": ["read"] })).await;
    assert_eq!(refused.error(), (403, "beyond_own_key".into(), None), "it would last by another key");
    assert_eq!(code(&renewed).await, None);
    renewed.post("/v1/keys/key_1/rotate", &json!({ "overlap_s": 0 })).await.ok();
    assert_eq!(code(&owner.api).await, Some((401, "invalid_api_key".into())), "the one before the last is over");
    venue.close().await;
}

/// The head of a request comes, then its key is revoked or its session ends, then its body.
#[tokio::test(flavor = "multi_thread")]
async fn what_ends_while_a_body_is_on_its_way_opens_nothing_any_more() {
    let venue = Venue::open().await;
    let owner = owner(&venue).await;
    let (robot, made) = make(&owner.api, json!({ "name": "robot", "scopes": ["read", "trade"] })).await;
    let registered = Api::new(venue.admin.base(), None)
        .post("/api/v1/auth/register", &json!({ "name": "ann", "password": "correct horse battery" }))
        .await
        .ok();
    let person = owner.api.with_key(registered["token"].as_str());
    let body = json!({ "name": "lasting", "scopes": ["read"] }).to_string();
    let mut held = Vec::new();
    for api in [&robot, &person] {
        let address = api.base().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /v1/keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
            api.key(),
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server asks for the body once it has looked at the head.
        let mut asked = [0; 25];
        stream.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
        held.push(stream);
    }
    owner.api.delete(&format!("/v1/keys/{}", made["id"].as_str().unwrap())).await.ok();
    person.send(hyper::Method::POST, "/api/v1/auth/logout", &[], bytes::Bytes::new()).await.ok();
    for (mut stream, code) in held.into_iter().zip(["api_key_revoked", "session_over"]) {
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !String::from_utf8_lossy(&answer).contains(code) {
            let read = stream.read_buf(&mut answer).await.unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        }
        assert!(answer.starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(owner.api.get("/v1/keys").await.ok()["keys"].as_array().unwrap().len(), 2, "no third key was made");
    venue.close().await;
}
