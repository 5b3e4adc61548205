//! Two hundred calls at once against a balance that pays for ten: nobody spends what is not there.

use crate::support::http::Reply;
use crate::support::market::{
    CHAT_PROMPT_TOKENS, DOLLAR, Trader, ask, assert_buyer_adds_up, assert_provider_adds_up, bid, chat, dollars,
    list_model, of_kind, open_account, open_buyer, open_provider, units, worst_case_units,
};
use crate::support::venue::{MODEL, Venue};
use crate::support::{at_once, endpoint, start_mock};
use gollem_provider::mock::MockOptions;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

const CALLS: usize = 200;
const MAX_TOKENS: i64 = 100;

/// The call: worst case by its bytes and `max_tokens`, then far fewer tokens come back.
fn call(streamed: bool) -> Value {
    chat(MODEL, json!({ "max_tokens": MAX_TOKENS, "mock_tokens": 7, "stream": streamed }))
}

/// The price at which a dollar pays for the worst case of ten calls, and not of eleven.
async fn price_for_ten(venue: &Venue) -> i64 {
    let listed = venue.admin.get("/v1/instruments").await.ok();
    assert_eq!(listed["instruments"][0]["weights"], json!({ "input": 1_000, "cached_input": 250, "output": 4_000 }));
    let worst = worst_case_units(&call(false), MAX_TOKENS);
    let price = DOLLAR / (10 * worst) / 100 * 100; // On the tick.
    assert!(10 * worst * price <= DOLLAR && 11 * worst * price > DOLLAR);
    price
}

/// Looks at the balances until told to stop: never below zero, never more than there was.
async fn watch(buyer: Trader, stop: Arc<AtomicBool>) -> usize {
    let mut looks = 0;
    while !stop.load(Ordering::Relaxed) {
        let balance = buyer.balance().await;
        let parts = [balance.available, balance.held, balance.escrow];
        assert!(parts.iter().all(|part| *part >= 0), "{balance:?}");
        assert!(parts.iter().sum::<i64>() <= DOLLAR, "{balance:?}");
        looks += 1;
    }
    looks
}

/// Whether the call was answered: the alternative is one very refusal.
fn answered(reply: &Reply, streamed: bool) -> bool {
    if reply.status != 200 {
        assert_eq!(reply.error(), (402, "insufficient_credits".into(), None));
        return false;
    }
    if streamed {
        assert!(reply.bytes.ends_with(b"data: [DONE]\n\n"), "{reply:?}");
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_calls_against_a_balance_for_ten_never_overspend_it() {
    let mock = start_mock(MockOptions { first_token: Duration::from_millis(150), ..at_once() }).await;
    let venue = Venue::open().await;
    // A coarse tick, so that prices reach high enough. A bid holds what it costs: the limit is the ask's price.
    list_model(&venue.admin, MODEL, json!({ "tick": "0.000001" })).await;
    let price = price_for_ten(&venue).await;
    let buyer = open_buyer(&venue.admin, "buyer", 1).await;
    let provider = open_provider(&venue.admin, "provider", &endpoint(&mock)).await;
    let quote = provider.place(&ask(MODEL, price, 1_000_000_000, json!({}))).await;

    let stop = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn(watch(buyer.clone(), Arc::clone(&stop)));
    let limit = dollars(price);
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let (buyer, limit, streamed) = (buyer.clone(), limit.clone(), number % 2 == 0);
        calls.spawn(async move {
            let reply = buyer.chat_with(&[("x-max-price", &limit)], &call(streamed)).await;
            answered(&reply, streamed)
        });
    }
    let outcomes = calls.join_all().await;
    stop.store(true, Ordering::Relaxed);
    assert!(watcher.await.unwrap() > 0, "somebody looked");

    let paid_calls = outcomes.iter().filter(|answered| **answered).count();
    assert!((10..CALLS).contains(&paid_calls), "{paid_calls} of {CALLS} were answered");
    let stats = mock.stats();
    assert_eq!((stats.requests, stats.completed), (paid_calls as u64, paid_calls as u64), "each answer was paid");

    let used = units(CHAT_PROMPT_TOKENS, 7);
    let (cost, fee) = (used * price, used * price / 100);
    let count = i64::try_from(paid_calls).unwrap();
    let balance = buyer.balance().await;
    assert_eq!((balance.available, balance.held, balance.escrow), (DOLLAR - count * cost, 0, 0));
    assert_eq!(provider.balance().await.earned, count * (cost - fee));
    assert_eq!(provider.remaining(&quote).await, 1_000_000_000 - count * used);
    let lines = assert_buyer_adds_up(&buyer).await;
    assert_eq!(of_kind(&lines, "delivery"), (paid_calls, count * (cost - fee)));
    assert_eq!(of_kind(&lines, "delivery_fee"), (paid_calls, count * fee));
    assert_provider_adds_up(&provider).await;
    let closed = venue.close().await;
    assert_eq!(closed.fees.0, count * fee);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_purchase_sent_at_once_many_times_is_credited_once() {
    let venue = Venue::open().await;
    let buyer = open_account(&venue.admin, "buyer", &["read", "trade"]).await;
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let buyer = buyer.clone();
        calls.spawn(async move { buyer.purchase(5, "the one").await.ok()["repeated"].as_bool().unwrap() });
    }
    let repeated = calls.join_all().await.into_iter().filter(|repeated| *repeated).count();
    assert_eq!(repeated, 49);
    assert_eq!(buyer.balance().await.available, 5 * DOLLAR);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_order_sent_at_once_many_times_is_placed_once() {
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let buyer = open_buyer(&venue.admin, "buyer", 1).await;
    let order = bid(MODEL, 1_000, 10, json!({ "client_order_id": "the one" }));
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (buyer, order) = (buyer.clone(), order.clone());
        calls.spawn(async move { buyer.place(&order).await });
    }
    let ids = calls.join_all().await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(buyer.orders().await.len(), 1);
    assert_eq!(buyer.balance().await.held, 10 * 1_000);
    venue.close().await;
}
