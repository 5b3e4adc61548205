//! Calls, purchases, payouts and listings that must be refused.

use crate::bad_input::{Case, Scene, Who, post, request};
use crate::support::market::{DOLLAR, chat, list_model, open_buyer, with};
use crate::support::venue::{MODEL, Venue};
use Who::{Admin, Buyer, Provider};
use hyper::Method;
use serde_json::{Value, json};

fn bad_chat(change: Value) -> Case {
    post(Buyer, "/v1/chat/completions", &chat(MODEL, change))
}

/// One message of the user's with this content.
fn content(content: Value) -> Value {
    json!({ "messages": [{ "role": "user", "content": content }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_bad_fields_is_refused_before_it_is_matched() {
    let mut cases = Vec::new();
    let fields = [
        (json!({ "model": null }), "model"),
        (json!({ "model": 7 }), "model"),
        (json!({ "messages": null }), "messages"),
        (json!({ "messages": [] }), "messages"),
        (json!({ "messages": "hello" }), "messages"),
        (json!({ "n": 9 }), "n"),
        (json!({ "n": 0 }), "n"),
        (json!({ "n": "one" }), "n"),
        (json!({ "stream": "yes" }), "stream"),
        (json!({ "max_tokens": 0 }), "max_tokens"),
        (json!({ "max_tokens": -1 }), "max_tokens"),
        (json!({ "max_tokens": 1.5 }), "max_tokens"),
        (json!({ "max_tokens": "10" }), "max_tokens"),
        (json!({ "max_tokens": 131_073 }), "max_tokens"),
        (json!({ "max_tokens": u64::MAX }), "max_tokens"),
        (json!({ "max_completion_tokens": 0 }), "max_completion_tokens"),
        (json!({ "max_completion_tokens": 131_073 }), "max_completion_tokens"),
        // Other ways to ask for more than the market knows of.
        (json!({ "n_predict": 5 }), "n_predict"),
        (json!({ "max_new_tokens": 5 }), "max_new_tokens"),
        (json!({ "best_of": 2 }), "best_of"),
        // A few bytes of these can be a thousand tokens.
        (content(json!([{ "type": "video_url", "video_url": { "url": "http://e.example/i.mp4" } }])), "messages"),
        (content(json!([{ "type": "input_audio", "input_audio": { "data": "", "format": "wav" } }])), "messages"),
        (content(json!([{ "type": "file", "file": { "file_id": "f" } }])), "messages"),
        (content(json!([{ "type": "text", "text": "look:" }, { "type": "image_url" }])), "messages"),
        (content(json!([{ "text": "no type" }])), "messages"),
        (content(json!(["a string"])), "messages"),
    ];
    for (change, param) in fields {
        for streamed in [false, true] {
            let body = with(chat(MODEL, json!({ "stream": streamed })), &change);
            cases.push(post(Buyer, "/v1/chat/completions", &body).blames(param));
        }
    }
    cases.push(bad_chat(json!({ "model": "gpt-99" })).is(404, "model_not_found", Some("model")));
    cases.push(bad_chat(json!({ "model": "" })).is(404, "model_not_found", Some("model")));
    let generate =
        |change: Value| post(Buyer, "/api/generate", &with(json!({ "model": MODEL, "prompt": "hi" }), &change));
    cases.push(generate(json!({ "model": "gpt-99" })).is(404, "model_not_found", Some("model")));
    cases.push(generate(json!({ "model": null })).blames("model"));
    cases.push(generate(json!({ "prompt": null })).blames("prompt"));
    cases.push(generate(json!({ "prompt": "" })).blames("prompt"));
    cases.push(generate(json!({ "prompt": 7 })).blames("prompt"));
    cases.push(generate(json!({ "stream": true })).blames("stream"));
    cases.push(generate(json!({ "max_tokens": 0 })).blames("max_tokens"));
    cases.push(generate(json!({ "max_price": -1 })).blames("max_price"));
    cases.push(generate(json!({ "max_price": "abc" })).blames("max_price"));
    cases.push(generate(json!({ "max_price": [] })).blames("max_price"));
    cases.push(generate(json!({ "max_price": "0.00000000001" })).blames("max_price"));
    cases.push(generate(json!({ "max_latency": -1 })).blames("max_latency"));
    Scene::open().await.check(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_bad_limits_is_refused_by_header() {
    let scene = Scene::open().await;
    let before = scene.fingerprint().await;
    let headers = [
        ("x-max-price", "-1"),
        ("x-max-price", "0"),
        ("x-max-price", "free"),
        ("x-max-price", ""),
        ("x-max-price", "NaN"),
        ("x-max-price", "1e-12"),
        ("x-max-price", "0.00000000001"), // An atom: below the tick.
        ("x-max-price", "1e20"),
        ("x-max-price", "1001"), // More than $1,000 a unit.
        ("x-max-price", "123456789012345678901234567890"),
        ("x-max-price", "\u{fc}"),
        ("x-max-latency", "-1"),
        ("x-max-latency", "soon"),
        ("x-max-latency", "1.5"),
        ("x-max-latency", "99999999999"),
        ("x-min-throughput", "-1"),
        ("x-min-throughput", "fast"),
    ];
    let mut wrong = Vec::new();
    for (name, value) in headers {
        let error = scene.buyer.chat_with(&[(name, value)], &chat(MODEL, json!({}))).await.error();
        if error != (400, "invalid_value".into(), Some(name.to_owned())) {
            wrong.push(format!("{name}: {value:?}: {error:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(scene.fingerprint().await, before);
    scene.venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_larger_than_the_model_s_largest_order_is_refused_by_a_field_it_has() {
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({ "quantity_max": 300 })).await;
    let buyer = open_buyer(&venue.admin, "buyer", 10).await;
    let reply = buyer.chat(&chat(MODEL, json!({ "max_tokens": 100 }))).await;
    assert_eq!(reply.error(), (400, "invalid_value".into(), Some("max_tokens".into())), "{}", reply.body);
    assert_eq!(buyer.balance().await.available, 10 * DOLLAR);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_money_in_or_out_is_refused() {
    let purchase =
        |change: Value| post(Buyer, "/v1/purchases", &with(json!({ "amount_usd": "5.00", "reference": "r" }), &change));
    let mut cases = Vec::new();
    for amount in ["0.99", "1000.01", "-5", "0", "5.001", "abc", "", "1e30", "123456789012345678901234567890", "1e-3"] {
        cases.push(purchase(json!({ "amount_usd": amount })).blames("amount_usd"));
    }
    cases.push(purchase(json!({ "amount_usd": 5 })).blames("amount_usd"));
    cases.push(purchase(json!({ "amount_usd": null })).blames("amount_usd"));
    cases.push(purchase(json!({ "reference": null })).blames("reference"));
    cases.push(purchase(json!({ "reference": "" })).blames("reference"));
    cases.push(purchase(json!({ "reference": "x".repeat(65) })).blames("reference"));
    cases.push(purchase(json!({ "reference": "a\nb" })).blames("reference"));
    cases.push(purchase(json!({ "account": "acc_1" })).blames("account"));
    // The scene bought $10 under this reference.
    let taken = json!({ "reference": "first purchase of buyer" });
    cases.push(purchase(taken).is(409, "reference_conflict", Some("reference")));
    let others = json!({ "reference": "first purchase of other", "amount_usd": "1.00" });
    cases.push(purchase(others).is(409, "reference_conflict", Some("reference")));
    // Nothing was earned yet.
    for body in
        [json!({}), json!({ "amount_usd": "0.01" }), json!({ "amount_usd": "-1" }), json!({ "amount_usd": "0" })]
    {
        cases.push(post(Provider, "/v1/payouts", &body).blames("amount_usd"));
    }
    for how in ["confirm", "fail"] {
        let path = |id: &str| format!("/v1/payouts/{id}/{how}");
        let unknown = request(Admin, Method::POST, &path("pay_99"), "");
        cases.push(unknown.is(404, "payout_not_found", Some("payout")));
        for id in ["99", "pay_0", "pay_x", "ord_1"] {
            cases.push(request(Admin, Method::POST, &path(id), "").blames("payout"));
        }
    }
    Scene::open().await.check(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_accounts_models_and_endpoints_are_refused() {
    let account = |change: Value| post(Admin, "/v1/accounts", &with(json!({ "name": "new" }), &change));
    let model = |change: Value| {
        post(Admin, "/v1/instruments", &with(json!({ "symbol": "new", "reference_price": "0.1" }), &change))
    };
    let endpoint =
        |endpoint: Value| request(Provider, Method::PUT, "/v1/provider", json!({ "endpoint": endpoint }).to_string());
    let mut cases = vec![
        account(json!({ "name": "buyer" })).is(409, "name_taken", Some("name")),
        account(json!({ "name": "" })).blames("name"),
        account(json!({ "name": "x".repeat(65) })).blames("name"),
        account(json!({ "name": "a\tb" })).blames("name"),
        account(json!({ "name": null })).blames("name"),
        account(json!({ "scopes": [] })).blames("scopes"),
        account(json!({ "scopes": ["admin"] })).blames("scopes"),
        account(json!({ "scopes": ["read", "everything"] })).blames("scopes"),
        account(json!({ "credits": "1000" })).blames("credits"),
        model(json!({ "symbol": MODEL })).is(409, "symbol_taken", Some("symbol")),
        model(json!({ "symbol": "" })).blames("symbol"),
        model(json!({ "symbol": "a b" })).blames("symbol"),
        model(json!({ "symbol": "x".repeat(65) })).blames("symbol"),
        model(json!({ "reference_price": null })).blames("reference_price"),
        model(json!({ "reference_price": "0" })).blames("reference_price"),
        model(json!({ "reference_price": "-1" })).blames("reference_price"),
        model(json!({ "reference_price": "0.00000005", "tick": "0.0000001" })).blames("reference_price"),
        model(json!({ "reference_price": "1000001" })).blames("reference_price"),
        // More than the default tick reaches.
        model(json!({ "reference_price": "1" })).blames("reference_price"),
        model(json!({ "reference_price": "0.1", "price_max": "0.09" })).blames("reference_price"),
        model(json!({ "price_max": "0.1048577" })).blames("price_max"),
        model(json!({ "price_max": "0.10000005" })).blames("price_max"),
        model(json!({ "price_band_bps": 1_000_001 })).blames("price_band_bps"),
        model(json!({ "lot": 0 })).blames("lot"),
        model(json!({ "lot": 10, "quantity_min": 15 })).blames("quantity_min"),
        model(json!({ "quantity_min": 100, "quantity_max": 99 })).blames("quantity_max"),
        model(json!({ "maker_fee_bps": 2_501 })).blames("maker_fee_bps"),
        model(json!({ "taker_fee_bps": 2_501 })).blames("taker_fee_bps"),
        model(json!({ "tolerance_bps": 10_001 })).blames("tolerance_bps"),
        model(json!({ "rebate_bps": 5_001 })).blames("rebate_bps"),
        model(json!({ "rebate_bps": -1 })).blames("rebate_bps"),
        model(json!({ "tick": "0" })).blames("tick"),
        model(json!({ "tick": "1000001" })).blames("tick"),
        model(json!({ "weights": { "input": 0, "cached_input": 0, "output": 4_000 } })).blames("weights"),
        model(json!({ "weights": { "input": 1_000, "output": 4_000 } })).blames("cached_input"),
        model(json!({ "weights": { "input": -1, "cached_input": 0, "output": 1 } })).blames("weights.input"),
        model(json!({ "quantity_max": 0 })).blames("quantity_max"),
        model(json!({ "quantity_max": 1_000_000_000_001_u64 })).blames("quantity_max"),
        model(json!({ "delivery_fee_bps": 2_501 })).blames("delivery_fee_bps"),
        model(json!({ "contract_ttl_s": 0 })).blames("contract_ttl_s"),
        model(json!({ "contract_ttl_s": 600 })).blames("contract_ttl_s"), // As long as a call: no time to settle.
        model(json!({ "contract_ttl_s": u64::MAX })).blames("contract_ttl_s"),
        model(json!({ "owner": "me" })).blames("owner"),
        endpoint(json!(7)).blames("endpoint"),
    ];
    let long = format!("http://e.example/{}", "x".repeat(300));
    for bad in
        ["", "e.example/v1", "ftp://e.example", "file:///etc/passwd", "wss://e.example", "http://u:p@e.example", &long]
    {
        cases.push(endpoint(json!(bad)).blames("endpoint"));
    }
    Scene::open().await.check(&cases).await;
}
