//! The short way to quote, `/api/provider/status`, and what the public sees of it.

use crate::support::market::{Trader, bid, credits, dollars, list_model, open_account, open_buyer, with};
use crate::support::venue::{MODEL, Venue};
use serde_json::{Value, json};

async fn venue() -> (Venue, Trader) {
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    list_model(&venue.admin, "other", json!({})).await;
    let provider = open_account(&venue.admin, "provider", &["read", "provide"]).await;
    (venue, provider)
}

fn quote(change: Value) -> Value {
    with(json!({ "model": MODEL, "latency": 400, "throughput": 60, "capacity": 5_000, "price": 0.00000135 }), &change)
}

async fn open_orders(provider: &Trader) -> Vec<Value> {
    let listed = provider.api.get("/v1/orders?status=open").await.ok();
    listed["orders"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_means_the_same_as_number_and_as_string_and_credit_rate_wins() {
    let (venue, provider) = venue().await;
    let cases = [
        (json!({}), 135_000),
        (json!({ "price": "0.00000135" }), 135_000),
        (json!({ "price": 1.35e-6 }), 135_000),
        (json!({ "price": 0.0001 }), 10_000_000),
        (json!({ "price": dollars(135_010) }), 135_010),
        // Between two ticks: up, since a provider never gets less than it asked for.
        (json!({ "price": dollars(135_001) }), 135_010),
        (json!({ "credit_rate": "0.00000200" }), 200_000),
        (json!({ "credit_rate": 0.000002 }), 200_000),
        (json!({ "credit_rate": "0.00000200", "price": null }), 200_000),
    ];
    for (change, price) in cases {
        let answer = provider.api.post("/api/provider/status", &quote(change.clone())).await.ok();
        assert_eq!((&answer["status"], &answer["price"]), (&json!("online"), &json!(credits(price))), "{change}");
        let open = open_orders(&provider).await;
        assert_eq!(open.len(), 1, "the new quote stands in place of the old: {change}");
        assert_eq!((&open[0]["id"], &open[0]["price"]), (&answer["order"], &json!(credits(price))));
        assert_eq!((&open[0]["latency_ms"], &open[0]["throughput_tps"]), (&json!(400), &json!(60)));
        assert_eq!(open[0]["remaining"], 5_000);
    }
    // A whole number, on a model dear enough for it.
    list_model(&venue.admin, "dear", json!({ "tick": "0.001" })).await;
    let answer = provider.api.post("/api/provider/status", &quote(json!({ "model": "dear", "price": 1 }))).await.ok();
    assert_eq!(answer["price"], credits(100_000_000_000));
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn going_offline_withdraws_the_quotes_of_that_model_only() {
    let (venue, provider) = venue().await;
    provider.api.post("/api/provider/status", &quote(json!({ "model": "other" }))).await.ok();
    provider.api.post("/api/provider/status", &quote(json!({}))).await.ok();
    let offline = json!({ "model": MODEL, "status": "offline" });
    let answer = provider.api.post("/api/provider/status", &offline).await.ok();
    assert_eq!(answer, json!({ "model": MODEL, "status": "offline", "withdrawn": 1 }));
    let again = provider.api.post("/api/provider/status", &offline).await.ok();
    assert_eq!(again["withdrawn"], 0, "twice is once");
    let open = open_orders(&provider).await;
    assert_eq!(open.len(), 1);
    assert_eq!(open[0]["instrument"], "other");
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_quote_leaves_the_old_one_standing() {
    let (venue, provider) = venue().await;
    provider.api.post("/api/provider/status", &quote(json!({}))).await.ok();
    let mut before = open_orders(&provider).await;
    let cases = [
        (json!({ "price": -1 }), "price"),
        (json!({ "price": 0 }), "price"),
        (json!({ "price": true }), "price"),
        (json!({ "price": "123456789012345678901234567890" }), "price"),
        (json!({ "price": "1001" }), "price"),
        (json!({ "price": dollars(10_485_770) }), "price"), // A tick above the highest.
        (json!({ "price": null }), "price"),
        (json!({ "credit_rate": "abc" }), "credit_rate"),
        (json!({ "latency": null }), "latency"),
        (json!({ "latency": -1 }), "latency"),
        (json!({ "throughput": null }), "throughput"),
        (json!({ "capacity": null }), "capacity"),
        (json!({ "capacity": 0 }), "capacity"),
        (json!({ "capacity": 1_000_000_000_000_000_000_u64 }), "capacity"),
        (json!({ "gpu": "abacus" }), "gpu"),
        (json!({ "status": "asleep" }), "status"),
        (json!({ "colour": "red" }), "colour"),
    ];
    let mut wrong = Vec::new();
    for (change, param) in cases {
        let error = provider.api.post("/api/provider/status", &quote(change.clone())).await.error();
        if error != (400, "invalid_value".into(), Some(param.to_owned())) {
            wrong.push(format!("{change}: {error:?}"));
        }
        if open_orders(&provider).await != before {
            wrong.push(format!("{change}: the old quote is gone"));
            provider.api.post("/api/provider/status", &quote(json!({}))).await.ok();
            before = open_orders(&provider).await;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let unknown = provider.api.post("/api/provider/status", &quote(json!({ "model": "nothing" }))).await;
    assert_eq!(unknown.error(), (404, "model_not_found".into(), Some("model".into())));
    assert_eq!(open_orders(&provider).await, before);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anyone_can_see_depth_and_best_prices_of_every_book() {
    let (venue, provider) = venue().await;
    let buyer = open_buyer(&venue.admin, "buyer", 1).await;
    provider.api.post("/api/provider/status", &quote(json!({}))).await.ok();
    for (price, quantity) in [(1_000, 10), (2_000, 20), (2_000, 30)] {
        buyer.place(&bid(MODEL, price, quantity, json!({}))).await;
    }
    let anyone = venue.admin.with_key(None);
    let status = anyone.get("/api/orderbook/status").await.ok();
    assert_eq!(status["status"], "open");
    let expected = json!({
        "instrument": MODEL, "best_bid": credits(2_000), "bid_quantity": 60, "bids": 3,
        "best_ask": credits(135_000), "ask_quantity": 5_000, "asks": 1,
    });
    assert_eq!(status["instruments"][0], expected);
    assert_eq!(status["instruments"][1]["best_bid"], Value::Null);
    let book = anyone.get(&format!("/v1/book/{MODEL}")).await.ok();
    let level = |price, quantity, orders| json!({ "price": credits(price), "quantity": quantity, "orders": orders });
    assert_eq!(book["bids"], json!([level(2_000, 50, 2), level(1_000, 10, 1)]), "best first");
    assert_eq!(book["asks"], json!([level(135_000, 5_000, 1)]));
    venue.close().await;
}
