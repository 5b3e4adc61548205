//! Which ask gets a call: the cheapest within the buyer's limits, and the faster of equals. No ask within the limits is
//! an answer that says which limit was in the way.

use crate::support::http::Headers;
use crate::support::market::{Trader, ask, chat, dollars, list_model, open_buyer, open_provider, with};
use crate::support::venue::{MODEL, Venue};
use crate::support::{at_once, endpoint, start_mock};
use gollem_provider::mock::Mock;
use serde_json::{Value, json};

/// A provider and its ask.
struct Rival {
    trader: Trader,
    ask: String,
}

/// An exchange where providers of these (price, latency, throughput) compete, with the mock that serves them all.
async fn competition(asks: &[(i64, u32, u32)]) -> (Venue, Trader, Vec<Rival>, Mock) {
    let mock = start_mock(at_once()).await;
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    list_model(&venue.admin, "unsold", json!({})).await;
    let buyer = open_buyer(&venue.admin, "buyer", 1_000).await;
    let mut providers = Vec::new();
    for (number, (price, latency_ms, throughput_tps)) in asks.iter().enumerate() {
        let trader = open_provider(&venue.admin, &format!("provider {number}"), &endpoint(&mock)).await;
        let attributes = json!({ "latency_ms": latency_ms, "throughput_tps": throughput_tps });
        let ask = trader.place(&ask(MODEL, *price, 10_000, attributes)).await;
        providers.push(Rival { trader, ask });
    }
    (venue, buyer, providers, mock)
}

/// A call under these headers goes to the provider at this place.
async fn check(buyer: &Trader, providers: &[Rival], headers: &[(&str, &str)], winner: usize) {
    let reply = buyer.chat_with(headers, &chat(MODEL, json!({}))).await;
    let chosen = reply.header("x-gollem-provider").map(str::to_owned);
    assert_eq!(reply.status, 200, "{headers:?}: {reply:?}");
    let position = providers.iter().position(|provider| Some(&provider.trader.id) == chosen.as_ref());
    assert_eq!(position, Some(winner), "{headers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_choose_the_cheapest_ask_that_meets_them() {
    let asks = [(300, 100, 150), (100, 900, 20), (200, 400, 60)];
    let (venue, buyer, providers, _mock) = competition(&asks).await;
    let (fast, cheap, middle) = (0, 1, 2);
    check(&buyer, &providers, &[], cheap).await;
    check(&buyer, &providers, &[("x-max-latency", "900")], cheap).await;
    check(&buyer, &providers, &[("x-max-latency", "899")], middle).await;
    check(&buyer, &providers, &[("x-max-latency", "100")], fast).await;
    check(&buyer, &providers, &[("x-min-throughput", "60")], middle).await;
    check(&buyer, &providers, &[("x-min-throughput", "61")], fast).await;
    check(&buyer, &providers, &[("x-max-price", &dollars(100))], cheap).await;
    check(&buyer, &providers, &[("x-max-price", "1e-9")], cheap).await;
    let both = [("x-max-latency", "500"), ("x-max-price", &*dollars(200))];
    check(&buyer, &providers, &both, middle).await;
    // The same from the body of the short route.
    let body = json!({ "model": MODEL, "prompt": "hi", "max_latency": 100, "max_price": dollars(300) });
    let answer = buyer.api.post("/api/generate", &body).await.ok();
    assert_eq!(answer["provider"], providers[fast].trader.id);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn among_equal_prices_the_faster_ask_wins_and_among_equals_the_earlier() {
    let asks = [(200, 50, 999), (100, 500, 50), (100, 400, 40), (100, 400, 60), (100, 400, 60)];
    let (venue, buyer, providers, _mock) = competition(&asks).await;
    for best in [3, 4, 2] {
        check(&buyer, &providers, &[], best).await;
        let Rival { trader, ask } = &providers[best];
        trader.api.delete(&format!("/v1/orders/{ask}")).await.ok();
    }
    check(&buyer, &providers, &[], 1).await;
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_no_ask_meets_says_which_limit_and_costs_nothing() {
    let (venue, buyer, _, mock) = competition(&[(300, 100, 150), (100, 900, 20)]).await;
    let before = buyer.balance().await;
    let cases: [(&str, Value, Headers<'_>); 7] = [
        ("no_ask", json!({ "model": "unsold" }), &[]),
        ("no_ask_at_price", json!({}), &[("x-max-price", "0.00000000090")]),
        ("no_ask_within_limits", json!({}), &[("x-max-latency", "99")]),
        ("no_ask_within_limits", json!({}), &[("x-min-throughput", "151")]),
        ("no_ask_within_limits", json!({}), &[("x-max-latency", "100"), ("x-max-price", "0.00000000299")]),
        ("no_ask_within_limits", json!({}), &[("x-min-throughput", "100"), ("x-max-latency", "50")]),
        ("no_ask_with_capacity", json!({ "max_tokens": 3_000 }), &[]),
    ];
    for streamed in [false, true] {
        for (code, change, headers) in &cases {
            let change = with(json!({ "stream": streamed }), change);
            let reply = buyer.chat_with(headers, &chat(MODEL, change)).await;
            assert_eq!(reply.error(), (503, (*code).to_owned(), None), "{code} {headers:?}, streamed: {streamed}");
        }
    }
    assert_eq!(buyer.balance().await, before);
    assert_eq!(mock.stats().requests, 0, "no provider was bothered");
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_never_split_and_passes_over_an_ask_too_small_for_it() {
    let mock = start_mock(at_once()).await;
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let buyer = open_buyer(&venue.admin, "buyer", 1).await;
    let mut rivals = Vec::new();
    for (name, price, quantity) in [("small", 100, 50), ("large", 200, 10_000)] {
        let trader = open_provider(&venue.admin, name, &endpoint(&mock)).await;
        let ask = trader.place(&ask(MODEL, price, quantity, json!({}))).await;
        rivals.push(Rival { trader, ask });
    }
    check(&buyer, &rivals, &[], 1).await;
    assert_eq!(rivals[0].trader.remaining(&rivals[0].ask).await, 50);
    venue.close().await;
}
