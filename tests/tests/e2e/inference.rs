//! A call answered in one piece: match, escrow, provider, settlement, each to the atom.

use crate::support::market::{
    CHAT_PROMPT_TOKENS, DOLLAR, ask, assert_buyer_adds_up, assert_provider_adds_up, atoms, chat, credits, list_model,
    of_kind, open_account, open_buyer, units, worst_case_units,
};
use crate::support::venue::{CAPACITY, MODEL, Venue};
use crate::support::{at_once, endpoint, listener, start_mock};
use gollem_provider::mock::MockOptions;
use serde_json::json;

/// $1.35 a million units.
const PRICE: i64 = 135_000;
/// The reference price of the listing: a tenth of a credit a unit.
const REFERENCE: i64 = 10_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_moves_what_it_used_and_nothing_else_to_the_atom() {
    let mock = start_mock(at_once()).await;
    let (venue, buyer, provider, ask) = Venue::trading(&endpoint(&mock), PRICE).await;
    let body = chat(MODEL, json!({ "max_tokens": 100, "mock_tokens": 44 }));
    let reply = buyer.chat(&body).await;

    let used = units(CHAT_PROMPT_TOKENS, 44);
    let cost = used * PRICE;
    let fee = cost / 100;
    assert_eq!(reply.header("x-gollem-provider"), Some(provider.id.as_str()));
    assert_eq!(reply.header("x-gollem-cost"), Some(credits(cost).as_str()));
    assert!(reply.header("x-gollem-contract").unwrap().starts_with("ctr_"));
    assert!(reply.header("x-gollem-overhead-us").unwrap().parse::<u64>().is_ok());
    let answer = reply.ok();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], MODEL);
    assert_eq!(answer["usage"]["completion_tokens"], 44);
    assert_eq!(answer["usage"]["cost"], credits(cost));
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(text.split_whitespace().count(), 44);

    let balance = buyer.balance().await;
    assert_eq!((balance.available, balance.held, balance.escrow), (1_000 * DOLLAR - cost, 0, 0));
    assert_eq!(provider.balance().await.earned, cost - fee, "the fee is rounded towards the provider");
    assert_eq!(provider.remaining(&ask).await, CAPACITY as i64 - used, "unused units return to the quote");

    // The ledger lines are those of the worked example in the design.
    let worst = worst_case_units(&body, 100);
    let lines = assert_buyer_adds_up(&buyer).await;
    assert_eq!(of_kind(&lines, "hold"), (1, worst * REFERENCE), "the limit is the reference price");
    assert_eq!(of_kind(&lines, "escrow"), (1, worst * PRICE));
    assert_eq!(of_kind(&lines, "release"), (1, worst * (REFERENCE - PRICE)));
    assert_eq!(of_kind(&lines, "delivery"), (1, cost - fee));
    assert_eq!(of_kind(&lines, "delivery_fee"), (1, fee));
    assert_eq!(of_kind(&lines, "refund"), (1, (worst - used) * PRICE));
    let earned = assert_provider_adds_up(&provider).await;
    assert_eq!(of_kind(&earned, "delivery"), (1, cost - fee));

    let closed = venue.close().await;
    assert_eq!(closed.fees.0, fee);
    assert_eq!(mock.stats().completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_few_words_is_answered_with_text_cost_and_provider() {
    let mock = start_mock(at_once()).await;
    let (venue, buyer, provider, _) = Venue::trading(&endpoint(&mock), PRICE).await;
    let body = json!({ "model": MODEL, "prompt": "three short words", "max_tokens": 7, "max_price": 0.00000135 });
    let reply = buyer.api.post("/api/generate", &body).await;
    let cost = credits(units(3, 7) * PRICE);
    assert_eq!(reply.header("x-gollem-cost"), Some(cost.as_str()));
    let answer = reply.ok();
    assert_eq!(answer["response"].as_str().unwrap().split_whitespace().count(), 7);
    assert_eq!((&answer["done"], &answer["model"]), (&json!(true), &json!(MODEL)));
    assert_eq!((&answer["cost"], &answer["provider"]), (&json!(cost), &json!(provider.id)));
    assert_eq!(answer["usage"]["prompt_tokens"], 3);
    assert!(answer["latency_ms"].is_u64());

    let too_cheap = json!({ "model": MODEL, "prompt": "hi", "max_price": "0.00000134" });
    let refused = buyer.api.post("/api/generate", &too_cheap).await;
    assert_eq!(refused.error(), (503, "no_ask_at_price".into(), None));
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_two_limits_is_matched_for_the_larger_one() {
    let mock = start_mock(at_once()).await;
    let (venue, buyer, _, _) = Venue::trading(&endpoint(&mock), PRICE).await;
    let mut escrowed = 0;
    for (old, new) in [(100, 10), (10, 100), (50, 50)] {
        let limits = json!({ "max_tokens": old, "max_completion_tokens": new, "mock_tokens": 3 });
        let body = chat(MODEL, limits);
        buyer.chat(&body).await.ok();
        escrowed += worst_case_units(&body, old.max(new)) * PRICE;
        let (_, sum) = of_kind(&buyer.transactions().await, "escrow");
        assert_eq!(sum, escrowed, "max_tokens {old}, max_completion_tokens {new}");
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_address_from_a_playground_is_not_called_for_real() {
    let mock = start_mock(at_once()).await;
    let (venue, buyer, provider, _) = Venue::trading(&endpoint(&mock), PRICE).await;
    let before = buyer.balance().await;
    let venue = venue.reopen_for_real().await;
    let (buyer, provider) = (buyer.at(venue.admin.base()), provider.at(venue.admin.base()));
    for streamed in [false, true] {
        let reply = buyer.chat(&chat(MODEL, json!({ "stream": streamed }))).await;
        assert_eq!(reply.error(), (502, "provider_failed".into(), None), "streamed: {streamed}");
    }
    assert_eq!(mock.stats().requests, 0, "it was not even asked");
    assert_eq!(buyer.balance().await, before);
    assert_eq!(provider.balance().await.earned, 0);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_before_a_token_is_paid_nothing() {
    let failing = start_mock(MockOptions { failure_rate_ppm: 1_000_000, ..at_once() }).await;
    check_unpaid(&endpoint(&failing)).await;
    assert_eq!(failing.stats().failed, 2, "both calls reached it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_cannot_be_reached_is_paid_nothing() {
    let port = listener().await.local_addr().unwrap();
    check_unpaid(&format!("http://{port}/v1")).await;
}

/// Plain or streamed, the buyer gets 502 and its money back, and the quote its units.
async fn check_unpaid(endpoint: &str) {
    let (venue, buyer, provider, ask) = Venue::trading(endpoint, PRICE).await;
    let before = buyer.balance().await;
    for streamed in [false, true] {
        let reply = buyer.chat(&chat(MODEL, json!({ "stream": streamed }))).await;
        assert_eq!(reply.error(), (502, "provider_failed".into(), None), "streamed: {streamed}");
    }
    assert_eq!(buyer.balance().await, before);
    assert_eq!(provider.balance().await.earned, 0);
    assert_eq!(provider.remaining(&ask).await, CAPACITY as i64);
    assert_buyer_adds_up(&buyer).await;
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_without_an_endpoint_fails_the_call_and_is_paid_nothing() {
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let buyer = open_buyer(&venue.admin, "buyer", 1).await;
    let provider = open_account(&venue.admin, "provider", &["read", "provide"]).await;
    provider.place(&ask(MODEL, PRICE, CAPACITY, json!({}))).await;
    let reply = buyer.chat(&chat(MODEL, json!({}))).await;
    assert_eq!(reply.error(), (502, "provider_failed".into(), None));
    assert_eq!(buyer.balance().await.available, DOLLAR);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_server_finds_wrong_is_told_and_costs_nothing() {
    let mock = start_mock(at_once()).await;
    let (venue, buyer, _, _) = Venue::trading(&endpoint(&mock), PRICE).await;
    let nonsense = json!({ "messages": [{ "role": "user", "content": 7 }] });
    let reply = buyer.chat(&chat(MODEL, nonsense)).await;
    let expected = (400, "refused_by_provider".into(), Some("messages".into()));
    assert_eq!(reply.error(), expected, "the field at fault is passed on");
    assert_eq!(buyer.balance().await.available, 1_000 * DOLLAR);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_lacks_the_model_it_quoted_has_failed() {
    let models = vec!["another".to_owned()];
    let mock = start_mock(MockOptions { models, ..at_once() }).await;
    check_unpaid(&endpoint(&mock)).await;
    assert_eq!(mock.stats().refused, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn cost_is_told_where_the_answer_has_no_usage_to_put_it_in() {
    // Costs are in the header whatever the answer holds; amounts have all their decimals.
    let mock = start_mock(at_once()).await;
    let (venue, buyer, _, _) = Venue::trading(&endpoint(&mock), 10).await;
    let reply = buyer.chat(&chat(MODEL, json!({ "mock_tokens": 1 }))).await;
    let cost = json!(reply.header("x-gollem-cost").unwrap());
    assert_eq!(atoms(&cost), units(CHAT_PROMPT_TOKENS, 1) * 10);
    assert_eq!(cost, "0.00000090");
    venue.close().await;
}
