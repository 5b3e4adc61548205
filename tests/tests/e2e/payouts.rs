//! Earnings on their way out: whole cents leave, the rest stays, a failed payout returns.

use crate::support::market::{CHAT_PROMPT_TOKENS, assert_provider_adds_up, chat, units};
use crate::support::venue::{MODEL, Venue};
use crate::support::{at_once, endpoint, start_mock};
use serde_json::json;

/// A tenth of a credit a unit, so that a call earns cents.
const PRICE: i64 = 10_000_000;
/// Atoms of a cent.
const CENT: i64 = 1_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_is_requested_then_confirmed_or_returned_and_never_twice() {
    let mock = start_mock(at_once()).await;
    let (venue, buyer, provider, _) = Venue::trading(&endpoint(&mock), PRICE).await;
    buyer.chat(&chat(MODEL, json!({ "max_tokens": 110 }))).await.ok();
    let cost = units(CHAT_PROMPT_TOKENS, 110) * PRICE;
    let earned = cost - cost / 100;
    assert_eq!(provider.balance().await.earned, earned, "$0.0445 less one percent");

    // A part, which fails and returns.
    let part = provider.api.post("/v1/payouts", &json!({ "amount_usd": "0.01" })).await;
    assert_eq!(part.status, 201);
    let part = part.ok();
    assert_eq!((&part["amount_usd"], &part["status"]), (&json!("0.01"), &json!("requested")));
    let balance = provider.balance().await;
    assert_eq!((balance.earned, balance.payout_pending), (earned - CENT, CENT));
    let settle = |id: &serde_json::Value, how: &str| format!("/v1/payouts/{}/{how}", id.as_str().unwrap());
    venue.admin.post(&settle(&part["id"], "fail"), &json!({})).await.ok();
    let balance = provider.balance().await;
    assert_eq!((balance.earned, balance.payout_pending), (earned, 0));

    // All whole cents, which are confirmed.
    let all = provider.api.post("/v1/payouts", &json!({})).await.ok();
    assert_eq!(all["amount_usd"], "0.04");
    venue.admin.post(&settle(&all["id"], "confirm"), &json!({})).await.ok();
    let balance = provider.balance().await;
    assert_eq!((balance.earned, balance.payout_pending), (earned - 4 * CENT, 0), "less than a cent stays");

    for (id, how) in [(&part, "fail"), (&part, "confirm"), (&all, "confirm"), (&all, "fail")] {
        let again = venue.admin.post(&settle(&id["id"], how), &json!({})).await;
        assert_eq!(again.error(), (404, "payout_not_found".into(), Some("payout".into())));
    }
    for body in [json!({}), json!({ "amount_usd": "0.01" })] {
        let nothing = provider.api.post("/v1/payouts", &body).await;
        assert_eq!(nothing.error(), (400, "invalid_value".into(), Some("amount_usd".into())), "nothing left");
    }
    assert_provider_adds_up(&provider).await;
    venue.close().await;
}
