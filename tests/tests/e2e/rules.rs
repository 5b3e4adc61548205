//! The market's rules as the API shows them: what an order may ask for, and what becomes of providers that do not keep
//! what they promise.

use crate::streams::Events;
use crate::support::market::{
    CHAT_PROMPT_TOKENS, DOLLAR, Trader, ask, assert_buyer_adds_up, assert_provider_adds_up, atoms, bid, chat, credits,
    list_model, of_kind, open_account, open_buyer, open_provider, units, with,
};
use crate::support::venue::{CAPACITY, MODEL, Venue};
use crate::support::{at_once, endpoint, eventually, start_mock};
use gollem_provider::mock::MockOptions;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PRICE: i64 = 135_000;

/// A venue with one model, a buyer with $10 and a provider without a model server.
async fn open(listing: Value) -> (Venue, Trader, Trader) {
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, listing).await;
    let buyer = open_buyer(&venue.admin, "buyer", 10).await;
    let provider = open_account(&venue.admin, "provider", &["read", "provide"]).await;
    (venue, buyer, provider)
}

/// Places an order; returns the whole answer.
async fn place(trader: &Trader, order: &Value) -> Value {
    trader.api.post("/v1/orders", order).await.ok()
}

fn in_ms(ms: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_millis(ms);
    u64::try_from(now.as_micros()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_says_what_it_left_out_and_keeps_what_it_said() {
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let said = json!({
        "price_max": "0.10000000", "price_band_bps": 2_500, "lot": 10, "quantity_min": 20, "quantity_max": 1_000,
        "maker_fee_bps": 1, "taker_fee_bps": 2, "delivery_fee_bps": 3, "tolerance_bps": 4, "rebate_bps": 5,
    });
    list_model(&venue.admin, "other", said.clone()).await;
    let listed = venue.admin.get("/v1/instruments").await.ok();
    let left_out = json!({
        "tick": "0.00000010", "price_max": "0.10485760", "price_band_bps": 0, "lot": 1, "quantity_min": 1,
        "quantity_max": 1_000_000_000, "maker_fee_bps": 0, "taker_fee_bps": 0, "delivery_fee_bps": 100,
        "tolerance_bps": 1_000, "rebate_bps": 0,
    });
    for (at, expected) in [left_out, said].into_iter().enumerate() {
        let shown = &listed["instruments"][at];
        assert_eq!(shown, &with(shown.clone(), &expected), "{expected}");
    }
    let provider = open_account(&venue.admin, "provider", &["read", "provide"]).await;
    for (change, param) in [
        (json!({ "quantity": 10 }), "quantity"),
        (json!({ "quantity": 25 }), "quantity"),
        (json!({ "price": "0.0749999" }), "price"),
    ] {
        let order = ask("other", 8_000_000, 20, change);
        let refused = provider.api.post("/v1/orders", &order).await.error();
        assert_eq!(refused, (400, "invalid_value".into(), Some(param.into())), "{order}");
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_order_asks_for_is_told_back() {
    let (venue, buyer, provider) = open(json!({})).await;
    let expires_at_us = in_ms(60_000);
    let wishes = json!({
        "time_in_force": "gtd", "expires_at_us": expires_at_us, "post_only": true, "cancel_on_disconnect": true,
        "self_trade": "decrement",
    });
    let weights = json!({ "price": 1, "latency": 2, "throughput": 3 });
    let of_bid = with(wishes.clone(), &json!({ "preference": weights, "precisions": ["fp8", "bf16"] }));
    let of_ask = with(wishes, &json!({ "precision": "fp8", "gpu": "h100" }));
    let orders = [(&buyer, bid(MODEL, 1_000, 10, of_bid)), (&provider, ask(MODEL, 2_000, 10, of_ask))];
    for (trader, order) in orders {
        let placed = place(trader, &order).await;
        let read = trader.order(placed["id"].as_str().unwrap()).await;
        for told in [&placed, &read] {
            let expected = with(order.clone(), &json!({ "precisions": null }));
            assert_eq!(told, &with(told.clone(), &expected));
        }
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_or_nothing_and_at_least_so_much_are_kept() {
    let (venue, buyer, provider) = open(json!({})).await;
    let quote = provider.place(&ask(MODEL, PRICE, 100, json!({}))).await;
    for change in [
        json!({ "time_in_force": "fok" }),
        json!({ "time_in_force": "ioc", "min_quantity": 101 }),
        json!({ "min_quantity": 101 }),
    ] {
        let refused = place(&buyer, &bid(MODEL, PRICE, 150, change.clone())).await;
        assert_eq!((&refused["status"], &refused["filled"]), (&json!("canceled"), &json!(0)), "{change}");
        assert_eq!(refused["reason"], "no_ask_with_capacity", "{change}");
    }
    assert_eq!(buyer.balance().await.available, 10 * DOLLAR);
    let rests = place(&buyer, &bid(MODEL, PRICE, 150, json!({ "min_quantity": 100 }))).await;
    assert_eq!(
        (&rests["status"], &rests["filled"], &rests["remaining"]),
        (&json!("partially_filled"), &json!(100), &json!(50))
    );
    assert_eq!(provider.order(&quote).await["status"], "filled");
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_good_till_a_date_ends_by_itself_and_frees_its_money() {
    let (venue, buyer, _) = open(json!({})).await;
    let order = bid(MODEL, PRICE, 100, json!({ "time_in_force": "gtd", "expires_at_us": in_ms(300) }));
    let id = buyer.place(&order).await;
    let ended = eventually("it expires", async || {
        let order = buyer.order(&id).await;
        (order["status"] != "open").then_some(order)
    })
    .await;
    assert_eq!((&ended["status"], &ended["reason"]), (&json!("expired"), &json!("expired")));
    assert_eq!(buyer.balance().await.available, 10 * DOLLAR);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bid_takes_what_it_prefers() {
    let (venue, buyer, provider) = open(json!({})).await;
    for (price, latency_ms, throughput_tps) in [(1_000, 300, 10), (2_000, 100, 20), (3_000, 200, 90)] {
        let promise = json!({ "latency_ms": latency_ms, "throughput_tps": throughput_tps });
        provider.place(&ask(MODEL, price, 100, promise)).await;
    }
    for (preference, price) in [
        (json!("price"), 1_000),
        (json!("latency"), 2_000),
        (json!("throughput"), 3_000),
        // Ticks of 10: 100 + 300, 200 + 100, 300 + 200, each less its throughput.
        (json!({ "price": 1, "latency": 1, "throughput": 1 }), 2_000),
    ] {
        let placed = place(&buyer, &bid(MODEL, 5_000, 1, json!({ "preference": preference }))).await;
        assert_eq!(atoms(&placed["fills"][0]["price"]), price, "{preference}");
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_trades_with_itself_unless_it_says_so() {
    let mock = start_mock(at_once()).await;
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let both = open_account(&venue.admin, "both", &["read", "trade", "provide"]).await;
    both.purchase(10, "own money").await.ok();
    both.api.put("/v1/provider", &json!({ "endpoint": endpoint(&mock) })).await.ok();
    let quote = both.place(&ask(MODEL, PRICE, 1_000, json!({}))).await;
    let refused = place(&both, &bid(MODEL, PRICE, 10, json!({}))).await;
    assert_eq!((&refused["status"], &refused["reason"]), (&json!("canceled"), &json!("self_trade")));
    for streamed in [false, true] {
        let reply = both.chat(&chat(MODEL, json!({ "stream": streamed }))).await;
        assert_eq!(reply.error(), (409, "own_ask".into(), None));
    }
    let shrunk = place(&both, &bid(MODEL, PRICE, 10, json!({ "self_trade": "decrement" }))).await;
    assert_eq!((&shrunk["status"], &shrunk["reason"]), (&json!("canceled"), &json!("self_trade")));
    assert_eq!((&shrunk["quantity"], &shrunk["remaining"]), (&json!(0), &json!(0)));
    let left = both.order(&quote).await;
    assert_eq!((&left["quantity"], &left["remaining"]), (&json!(990), &json!(990)));
    let allowed = place(&both, &bid(MODEL, PRICE, 10, json!({ "self_trade": "allow" }))).await;
    assert_eq!(allowed["status"], "filled");
    assert_eq!(mock.stats().requests, 0);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_above_every_price_is_no_mistake() {
    let mock = start_mock(at_once()).await;
    let (venue, buyer, _, _) = Venue::trading(&endpoint(&mock), PRICE).await;
    buyer.chat_with(&[("x-max-price", "0.9")], &chat(MODEL, json!({}))).await.ok();
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_five_times_in_a_row_is_out_for_a_while() {
    let failing = start_mock(MockOptions { failure_rate_ppm: 1_000_000, ..at_once() }).await;
    let (venue, buyer, provider, quote) = Venue::trading(&endpoint(&failing), PRICE).await;
    for failure in 0..5 {
        let reply = buyer.chat(&chat(MODEL, json!({ "stream": failure % 2 == 0 }))).await;
        assert_eq!(reply.error(), (502, "provider_failed".into(), None));
    }
    let reply = buyer.chat(&chat(MODEL, json!({}))).await;
    assert_eq!(reply.error(), (503, "no_ask".into(), None), "its ask is out of the book");
    assert_eq!(failing.stats().failed, 5);
    assert_eq!(provider.remaining(&quote).await, CAPACITY as i64, "but still open, with every unit");
    let refused = provider.api.post("/v1/orders", &ask(MODEL, PRICE, 10, json!({}))).await;
    assert_eq!(refused.error(), (409, "provider_suspended".into(), None));

    let mock = start_mock(at_once()).await;
    let other = open_provider(&venue.admin, "other", &endpoint(&mock)).await;
    other.place(&ask(MODEL, 2 * PRICE, 10_000, json!({}))).await;
    let reply = buyer.chat(&chat(MODEL, json!({}))).await;
    assert_eq!(reply.header("x-gollem-provider"), Some(other.id.as_str()));
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_slower_than_it_promised_is_passed_over_and_returns_a_part() {
    let mock = start_mock(MockOptions { first_token: Duration::from_millis(60), ..at_once() }).await;
    let venue = Venue::open().await;
    let listing = json!({ "taker_fee_bps": 200, "rebate_bps": 1_000 });
    list_model(&venue.admin, MODEL, listing).await;
    let buyer = open_buyer(&venue.admin, "buyer", 1_000).await;
    let provider = open_provider(&venue.admin, "provider", &endpoint(&mock)).await;
    provider.place(&ask(MODEL, PRICE, 10_000, json!({ "latency_ms": 10, "throughput_tps": 1 }))).await;
    let limit = [("x-max-latency", "20")];

    // A plain answer does not show when its first token came.
    buyer.chat_with(&limit, &chat(MODEL, json!({}))).await.ok();
    let total = units(CHAT_PROMPT_TOKENS, 10) * PRICE;
    let full = total + total / 50;
    assert_eq!(buyer.balance().await.available, 1_000 * DOLLAR - full);

    // A stream does: the buyer gets a tenth back, and the promise is no longer believed.
    let asked = json!({ "stream_options": { "include_usage": true } });
    let events = Events::open(&buyer, asked).await.all().await;
    let cost = full - total / 10;
    let usage: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert_eq!(usage["usage"]["cost"], credits(cost));
    assert_eq!(buyer.balance().await.available, 1_000 * DOLLAR - full - cost);
    let lines = assert_buyer_adds_up(&buyer).await;
    assert_eq!((of_kind(&lines, "trade_fee"), of_kind(&lines, "rebate")), ((2, total / 25), (1, total / 10)));
    assert_provider_adds_up(&provider).await;
    let reply = buyer.chat_with(&limit, &chat(MODEL, json!({}))).await;
    assert_eq!(reply.error(), (503, "no_ask_within_limits".into(), None));
    buyer.chat(&chat(MODEL, json!({}))).await.ok();
    venue.close().await;
}
