//! A quote tells what a bid would take, and what it would not.

use crate::support::market::{ask, atoms, bid, list_model, open_buyer, open_provider};
use crate::support::venue::{MODEL, Venue};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_lists_what_no_other_ask_dominates_and_explains_the_rest() {
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({ "taker_fee_bps": 100 })).await;
    let buyer = open_buyer(&venue.admin, "buyer", 100).await;
    let provider = open_provider(&venue.admin, "provider", "http://127.0.0.1:9/v1").await;
    let place = async |price, latency: u32, throughput: u32| {
        let change = json!({ "latency_ms": latency, "throughput_tps": throughput });
        provider.place(&ask(MODEL, price, 1_000, change)).await
    };
    let cheap = place(1_000, 400, 50).await;
    let quick = place(2_000, 100, 50).await;
    let worse = place(2_000, 500, 40).await;
    let wide = place(3_000, 400, 90).await;
    let slow = place(1_500, 900, 95).await;
    let dear = place(9_000, 1, 1_000).await;

    let quoted = async |change: Value| {
        let body = crate::support::market::with(json!({ "instrument": MODEL, "quantity": 100 }), &change);
        buyer.api.post("/v1/quote", &body).await
    };
    let limits = json!({ "max_price": "0.00005", "max_latency_ms": 600, "explain": true });
    let head = venue.admin.get("/v1/admin/state").await.ok();
    let quote = quoted(limits.clone()).await.ok();
    assert_eq!(venue.admin.get("/v1/admin/state").await.ok(), head, "a quote changes nothing");
    let ids = |list: &Value| list.as_array().unwrap().iter().map(|row| row["order"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&quote["asks"]), [json!(cheap), json!(quick), json!(wide)], "{quote:#}");
    assert_eq!((&quote["chosen"], &quote["complete"]), (&json!(cheap), &json!(true)));
    let first = &quote["asks"][0];
    assert_eq!((atoms(&first["value"]), atoms(&first["fee"]), atoms(&first["total"])), (100_000, 1_000, 101_000));
    assert_eq!((&first["remaining"], &first["provider"]), (&json!(1_000), &json!(provider.id)));
    let verdicts: Vec<(Value, Value)> = quote["explained"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["order"].clone(), row["verdict"].clone()))
        .collect();
    assert_eq!(
        verdicts,
        [(json!(slow), json!("latency")), (json!(worse), json!("dominated")), (json!(dear), json!("price")),]
    );

    for (preference, expected) in [(json!("latency"), &quick), (json!("throughput"), &wide), (json!("price"), &cheap)] {
        let change = crate::support::market::with(limits.clone(), &json!({ "preference": preference }));
        let quote = quoted(change.clone()).await.ok();
        assert_eq!(quote["chosen"], **expected, "{preference}");
        // What it says would be chosen is what an order takes.
        let order =
            bid(MODEL, 5_000, 1, json!({ "max_latency_ms": 600, "time_in_force": "ioc", "preference": preference }));
        let placed = buyer.api.post("/v1/orders", &order).await.ok();
        let contract = placed["fills"][0]["contract"].as_str().unwrap();
        let fill = provider.api.get(&format!("/v1/contracts/{contract}")).await.ok();
        assert_eq!(fill["order"], **expected, "{preference}");
    }
    let tokens =
        json!({ "quantity": null, "instrument": null, "model": MODEL, "input_tokens": 10, "output_tokens": 20 });
    let quote = quoted(tokens).await.ok();
    assert_eq!((&quote["quantity"], &quote["single"]), (&json!(90), &json!(true)));
    assert!(
        provider.api.post("/v1/quote", &json!({ "instrument": MODEL, "quantity": 1 })).await.ok()["asks"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    for (change, param) in [
        (json!({ "instrument": "x" }), "instrument"),
        (json!({ "model": MODEL }), "model"),
        (json!({ "instrument": null }), "instrument"),
        (json!({ "quantity": null }), "quantity"),
        (json!({ "quantity": 0 }), "quantity"),
        (json!({ "output_tokens": 5 }), "quantity"),
        (json!({ "max_price": "0.00000001" }), "max_price"),
        (json!({ "max_price": "-1" }), "max_price"),
        (json!({ "gpus": ["abacus"] }), "gpus"),
        (json!({ "preference": "speed" }), "preference"),
        (json!({ "max_latency_ms": 1_000_001 }), "max_latency_ms"),
        (json!({ "lock": true, "single": false }), "single"),
        (json!({ "colour": 1 }), "colour"),
    ] {
        let error = quoted(change.clone()).await.error();
        assert_eq!((error.0 / 100, error.2.as_deref()), (4, Some(param)), "{change}");
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_quote_is_bought_at_its_price_or_let_go_and_only_by_who_locked_it() {
    let (venue, buyer, provider, offered) = Venue::trading("http://127.0.0.1:9/v1", 1_000).await;
    let request = json!({ "instrument": MODEL, "quantity": 100, "max_price": "0.00002", "lock": true });
    let locked = async || buyer.api.post("/v1/quote", &request).await.ok()["lock"].clone();
    let lock = locked().await;
    let id = lock["id"].as_str().unwrap();
    assert_eq!(
        (&lock["ask"], atoms(&lock["price"]), atoms(&lock["escrow"])),
        (&json!(offered), 1_000, 100_000),
        "{lock}"
    );
    assert_eq!(buyer.balance().await.escrow, 100_000);
    assert_eq!(buyer.api.get("/v1/holds").await.ok()["locks"][0]["order"], lock["id"]);
    // The price is kept whatever becomes of the ask.
    provider.api.delete(&format!("/v1/orders/{offered}")).await.ok();
    let other = open_buyer(&venue.admin, "other", 1).await;
    let path = format!("/v1/quotes/{id}/use");
    assert_eq!(other.api.post(&path, &json!({})).await.error().1, "lock_not_found");
    let bought = buyer.api.post(&path, &json!({})).await.ok();
    assert_eq!((&bought["id"], &bought["status"]), (&lock["id"], &json!("filled")));
    assert_eq!((atoms(&bought["fills"][0]["price"]), &bought["fills"][0]["quantity"]), (1_000, &json!(100)));
    let after = buyer.balance().await;
    let again = buyer.api.post(&path, &json!({})).await.ok();
    assert_eq!((&again["repeated"], buyer.balance().await), (&json!(true), after), "it is bought once");
    for field in ["id", "status", "instrument", "quantity", "filled", "remaining", "value"] {
        assert_eq!(again[field], bought[field], "{field}: the first answer again");
    }
    assert_eq!(other.api.post(&path, &json!({})).await.error().1, "lock_not_found", "another's");
    let resting = buyer.place(&bid(MODEL, 10, 5, json!({}))).await;
    let no_lock = buyer.api.post(&format!("/v1/quotes/{resting}/use"), &json!({})).await;
    assert_eq!(no_lock.error().1, "lock_not_found", "an order that comes of no lock");
    buyer.api.delete(&format!("/v1/orders/{resting}")).await.ok();

    provider.place(&ask(MODEL, 1_500, 1_000, json!({}))).await;
    let before = buyer.balance().await;
    let id = locked().await["id"].as_str().unwrap().to_owned();
    let released = buyer.api.delete(&format!("/v1/quotes/{id}")).await.ok();
    assert_eq!((atoms(&released["refund"]), buyer.balance().await), (150_000, before));
    let let_go = buyer.api.post(&format!("/v1/quotes/{id}/use"), &json!({})).await;
    assert_eq!(let_go.error(), (404, "lock_not_found".into(), Some("lock".into())));
    let reader = crate::support::market::open_account(&venue.admin, "reader", &["read"]).await;
    assert_eq!(reader.api.post("/v1/quote", &request).await.error().1, "insufficient_scope");
    venue.close().await;
}
