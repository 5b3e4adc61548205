//! Orders that must be refused, and reads that must find nothing.

use crate::bad_input::{Case, Scene, Who, get, post, request};
use crate::support::market::{ask, bid, list_model};
use crate::support::venue::MODEL;
use Who::{Buyer, Provider};
use hyper::Method;
use serde_json::{Value, json};

fn bad_bid(change: Value) -> Case {
    post(Buyer, "/v1/orders", &bid(MODEL, 1_000, 10, change))
}

fn bad_ask(change: Value) -> Case {
    post(Provider, "/v1/orders", &ask(MODEL, 1_000, 10, change))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_with_a_bad_price_or_quantity_is_refused() {
    let thirty_digits = "123456789012345678901234567890";
    let mut cases = Vec::new();
    let prices = [
        json!("-1"),
        json!("-0.00001"),
        json!("0"),
        json!("-0"),
        json!(""),
        json!(" 1"),
        json!("abc"),
        json!("1,5"),
        json!("NaN"),
        json!("inf"),
        json!("0x10"),
        json!(thirty_digits),
        json!("1e40"),
        json!("0.000000001"),
        json!("1e-9"),
        json!(1.5),
        json!(true),
        json!([]),
        json!(null),
        json!("0.00000001"),           // Below the tick.
        json!("0.00000015"),           // Between two ticks.
        json!("0.1048577"),            // Above the highest price.
        json!("1000000.1"),            // Above $1,000 a unit.
        json!("92233720368.54775808"), // 2^63 atoms.
        json!("99999999999999999999"),
    ];
    for price in prices {
        // `null` as in a missing price; `with` would remove it.
        let order = bid(MODEL, 1_000, 10, json!({})).to_string().replace("\"0.00001000\"", &price.to_string());
        cases.push(request(Buyer, Method::POST, "/v1/orders", order).blames("price"));
    }
    let quantities = [
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e30),
        json!("10"),
        json!(1_000_000_001_u64),
        json!(u64::MAX),
        json!(true),
    ];
    for quantity in quantities {
        cases.push(bad_bid(json!({ "quantity": quantity })).blames("quantity"));
        cases.push(bad_ask(json!({ "quantity": quantity })).blames("quantity"));
    }
    // Beyond 64 bits even in JSON.
    let beyond =
        bid(MODEL, 1_000, 10, json!({})).to_string().replace("\"quantity\":10", "\"quantity\":99999999999999999999");
    cases.push(request(Buyer, Method::POST, "/v1/orders", beyond).blames("quantity"));
    // Each in its range, the product is not.
    let scene = Scene::open().await;
    list_model(&scene.venue.admin, "dear", json!({ "tick": "1", "reference_price": "1" })).await;
    let dear = json!({ "instrument": "dear", "price": "1000000", "quantity": 1_000_000_000 });
    cases.push(bad_ask(dear).blames("quantity"));
    scene.check(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_with_unknown_names_or_misplaced_fields_is_refused() {
    let mut cases = vec![
        bad_bid(json!({ "instrument": "nothing" })).is(404, "model_not_found", Some("instrument")),
        bad_bid(json!({ "instrument": "" })).is(404, "model_not_found", Some("instrument")),
        bad_bid(json!({ "instrument": "x".repeat(1_000) })).is(404, "model_not_found", Some("instrument")),
        bad_bid(json!({ "instrument": 7 })).blames("instrument"),
        bad_bid(json!({ "side": "both" })).blames("side"),
        // fixme: serde_json names no field where it expects a word and finds a number; `side` would be better.
        bad_bid(json!({ "side": 1 })).blames("body"),
        bad_bid(json!({ "type": "stop" })).blames("type"),
        bad_bid(json!({ "time_in_force": "day" })).blames("time_in_force"),
        bad_bid(json!({ "time_in_force": "gtd" })).blames("expires_at_us"),
        bad_bid(json!({ "time_in_force": "gtd", "expires_at_us": 1 })).blames("expires_at_us"),
        bad_bid(json!({ "time_in_force": "gtd", "expires_at_us": u64::MAX })).blames("expires_at_us"),
        bad_bid(json!({ "time_in_force": "gtd", "expires_at_us": "soon" })).blames("expires_at_us"),
        bad_bid(json!({ "expires_at_us": 4_000_000_000_000_000_u64 })).blames("expires_at_us"),
        bad_bid(json!({ "min_quantity": 11 })).blames("min_quantity"),
        bad_bid(json!({ "min_quantity": -1 })).blames("min_quantity"),
        bad_bid(json!({ "post_only": "yes" })).blames("post_only"),
        bad_bid(json!({ "post_only": true, "time_in_force": "ioc" })).blames("post_only"),
        bad_bid(json!({ "post_only": true, "min_quantity": 1 })).blames("post_only"),
        bad_bid(json!({ "post_only": true })).is(409, "post_only_would_take", Some("price")),
        bad_bid(json!({ "cancel_on_disconnect": 1 })).blames("cancel_on_disconnect"),
        bad_bid(json!({ "self_trade": "maybe" })).blames("self_trade"),
        bad_bid(json!({ "preference": "speed" })).blames("preference"),
        bad_bid(json!({ "preference": { "price": 0, "latency": 1, "throughput": 1 } })).blames("preference"),
        bad_bid(json!({ "precisions": ["fp7"] })).blames("precisions"),
        bad_ask(json!({ "precision": "fp7" })).blames("precision"),
        bad_bid(json!({ "gpus": ["h100", "abacus"] })).blames("gpus"),
        bad_bid(json!({ "regions": ["atlantis"] })).blames("regions"),
        bad_ask(json!({ "gpu": "abacus" })).blames("gpu"),
        bad_ask(json!({ "region": "atlantis" })).blames("region"),
        // Fields of the other side.
        bad_bid(json!({ "latency_ms": 1 })).blames("latency_ms"),
        bad_bid(json!({ "throughput_tps": 1 })).blames("throughput_tps"),
        bad_bid(json!({ "gpu": "h100" })).blames("gpu"),
        bad_bid(json!({ "region": "us" })).blames("region"),
        bad_bid(json!({ "precision": "fp8" })).blames("precision"),
        bad_ask(json!({ "precisions": ["fp8"] })).blames("precisions"),
        bad_ask(json!({ "preference": "price" })).blames("preference"),
        bad_ask(json!({ "max_latency_ms": 1 })).blames("max_latency_ms"),
        bad_ask(json!({ "min_throughput_tps": 1 })).blames("min_throughput_tps"),
        bad_ask(json!({ "gpus": ["h100"] })).blames("gpus"),
        bad_ask(json!({ "regions": ["us"] })).blames("regions"),
        bad_ask(json!({ "single": true })).blames("single"),
        // What is missing, and what is too much.
        bad_bid(json!({ "instrument": null })).blames("instrument"),
        bad_bid(json!({ "side": null })).blames("side"),
        bad_bid(json!({ "quantity": null })).blames("quantity"),
        bad_bid(json!({ "price": null })).blames("price"),
        bad_ask(json!({ "latency_ms": null })).blames("latency_ms"),
        bad_ask(json!({ "throughput_tps": null })).blames("throughput_tps"),
        bad_bid(json!({ "colour": "red" })).blames("colour"),
        bad_bid(json!({ "account": "acc_1" })).blames("account"),
        bad_ask(json!({ "latency_ms": -1 })).blames("latency_ms"),
        bad_ask(json!({ "latency_ms": 1_000_001 })).blames("latency_ms"),
        bad_ask(json!({ "throughput_tps": 1_000_001 })).blames("throughput_tps"),
        bad_bid(json!({ "max_latency_ms": 1e12 })).blames("max_latency_ms"),
        // A market order is immediate and names no price.
        bad_bid(json!({ "type": "market" })).blames("price"),
        bad_bid(json!({ "type": "market", "price": null, "time_in_force": "gtc" })).blames("time_in_force"),
        // Ids of the client's own.
        bad_bid(json!({ "client_order_id": "" })).blames("client_order_id"),
        bad_bid(json!({ "client_order_id": "x".repeat(65) })).blames("client_order_id"),
        bad_bid(json!({ "client_order_id": "a\u{0}b" })).blames("client_order_id"),
        bad_bid(json!({ "client_order_id": 7 })).blames("client_order_id"),
        // The wrong side of the counter, and too little money.
        post(Provider, "/v1/orders", &bid(MODEL, 1_000, 10, json!({}))).is(403, "insufficient_scope", None),
        post(Buyer, "/v1/orders", &ask(MODEL, 1_000, 10, json!({}))).is(403, "insufficient_scope", None),
        bad_bid(json!({ "price": "0.1", "quantity": 1_000_000_000 })).is(402, "insufficient_credits", None),
    ];
    for (field, value) in [("price", "0.00002"), ("quantity", "11"), ("side", "\"bid\"")] {
        let order = bid(MODEL, 1_000, 10, json!({})).to_string();
        let twice = format!("{},\"{field}\":{value}}}", &order[..order.len() - 1]);
        cases.push(request(Buyer, Method::POST, "/v1/orders", twice).blames(field));
    }
    Scene::open().await.check(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_yours_or_does_not_exist_cannot_be_read_or_cancelled() {
    let scene = Scene::open().await;
    let mut cases = Vec::new();
    let [others, providers] = scene.foreign.clone();
    for id in [&others, &providers, "ord_1", "ord_999", "ord_18446744073709551615"] {
        for method in [Method::GET, Method::DELETE] {
            let case = request(Buyer, method, &format!("/v1/orders/{id}"), "");
            cases.push(case.is(404, "order_not_found", Some("order")));
        }
    }
    for id in ["1", "ord_", "ord_0", "ord_-1", "ord_x", "acc_1", "ord_18446744073709551616", "ord_1%00", "%20"] {
        for method in [Method::GET, Method::DELETE] {
            cases.push(request(Buyer, method, &format!("/v1/orders/{id}"), "").blames("order"));
        }
    }
    for (query, param) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("colour=red", "colour"),
        ("limit=5&limit=6", "limit"),
        ("after=now", "after"),
        ("before=zzz", "before"),
        ("before=", "before"),
    ] {
        cases.push(get(Buyer, &format!("/v1/orders?{query}")).blames(param));
        cases.push(get(Buyer, &format!("/v1/transactions?{query}")).blames(param));
    }
    cases.push(get(Buyer, "/v1/orders?status=shut").blames("status"));
    for symbol in ["nothing", "%20", "GPT4", "gpt4%00"] {
        let case = get(Buyer, &format!("/v1/book/{symbol}"));
        cases.push(case.is(404, "model_not_found", Some("instrument")));
    }
    // The operator has no account of its own to ask about.
    cases.push(get(Who::Admin, "/v1/balance").is(403, "no_account", Some("account")));
    cases.push(get(Who::Admin, "/v1/balance?account=7").blames("account"));
    cases.push(get(Buyer, "/v1/balance?account=acc_1").is(403, "insufficient_scope", None));
    scene.check(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_no_text_is_refused_in_the_same_shape() {
    let cases = [
        get(Buyer, "/v1/orders/%ff").blames("order"),
        request(Buyer, Method::DELETE, "/v1/orders/%ff", "").blames("order"),
        get(Buyer, "/v1/book/%ff").is(404, "model_not_found", Some("instrument")),
        request(Who::Admin, Method::POST, "/v1/payouts/%ff/confirm", "").blames("payout"),
    ];
    Scene::open().await.check(&cases).await;
}
