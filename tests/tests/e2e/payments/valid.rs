//! Every request that is sent to Stripe is one that Stripe's own description of its API allows.

use crate::support::bank::connected;
use crate::support::http::Api;
use crate::support::market::open_account;
use crate::support::stripe_mock::StripeMock;
use crate::support::venue::Venue;
use crate::support::{bank::Bank, bank::buy, eventually};
use bytes::Bytes;
use hyper::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn stripe_s_own_stand_in_takes_a_payment_s_beginning_and_a_provider_s() {
    let Some(mock) = StripeMock::start() else { return };
    let venue = Venue::open_with(|options| connected(options, mock.url())).await;
    let ann = open_account(&venue.admin, "ann", &["read", "trade", "provide"]).await;
    let wish = json!({ "amount_usd": "10.00", "save_method": true });
    let begun = ann.api.post_with("/api/payments/create-intent", &[("idempotency-key", "k")], &wish).await;
    assert_eq!(begun.status, 201, "{:?}", begun.body);
    let onboarded = ann.api.post("/api/payments/onboarding", &json!({ "return_url": "https://example.com/" })).await;
    assert_eq!(onboarded.status, 200, "{:?}", onboarded.body);
    venue.close().await;
}

/// What the double was asked in a life of a payment and a payout, asked again of Stripe's stand-in: it answers 400 to what is
/// not in Stripe's description.
#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_a_payment_s_and_a_payout_s_life_is_valid() {
    let Some(mock) = StripeMock::start() else { return };
    let (bank, _mock, buyer, provider) = Bank::trading(1_000_000_000).await;
    let paid = buy(&bank, &buyer.api, "20.00", "second").await;
    eventually("it is credited", async || (buyer.balance().await.available > 101_000_000_000_000).then_some(())).await;
    let refund = json!({ "payment": paid, "amount_usd": "1.00" });
    bank.venue.admin.post_with("/v1/admin/refunds", &[("idempotency-key", "r")], &refund).await.ok();
    let dispute = bank.stripe.dispute(&paid, 100).unwrap();
    bank.stripe.close_dispute(&dispute, true).unwrap();
    let chat = crate::support::market::chat(crate::support::venue::MODEL, json!({ "max_tokens": 110 }));
    buyer.chat(&chat).await.ok();
    let back = json!({ "return_url": "https://example.com/" });
    let onboarding = provider.api.post("/api/payments/onboarding", &back).await.ok();
    let account = onboarding["processor_account"].as_str().unwrap().to_owned();
    bank.stripe.onboard(&account).unwrap();
    provider.api.post("/v1/payouts", &json!({ "amount_usd": "1.00" })).await.ok();
    let sent =
        eventually("it is on its way", async || bank.stripe.books().payouts.first().map(|sent| sent.id.clone())).await;
    bank.stripe.fail_payout(&sent).unwrap();
    eventually("it came back", async || (bank.stripe.books().transfers[0].reversed == 100).then_some(())).await;
    bank.settled().await;
    bank.reconciled().await;
    let calls = bank.stripe.calls();
    let stand_in = Api::new(mock.url(), Some("sk_test_123"));
    let mut asked = Vec::new();
    for call in &calls {
        let kind = call.path.split('?').next().unwrap().split('/').nth(2).unwrap().to_owned();
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
        headers.extend(call.account.as_deref().map(|account| ("stripe-account", account)));
        headers.extend(call.idempotency_key.as_deref().map(|key| ("idempotency-key", key)));
        let method: Method = call.method.parse().unwrap();
        assert!(
            method != Method::POST || call.idempotency_key.is_some() || kind == "account_links",
            "{call:?} has no key"
        );
        let reply = stand_in.send(method, &call.path, &headers, Bytes::from(call.body.clone())).await;
        assert_eq!(reply.status, 200, "{call:?}: {:?}", reply.body);
        asked.push(format!("{} {kind}", call.method));
    }
    asked.sort_unstable();
    asked.dedup();
    for expected in [
        "GET accounts",
        "GET balance_transactions",
        "GET disputes",
        "GET payment_intents",
        "GET payouts",
        "GET refunds",
        "GET transfers",
        "POST account_links",
        "POST accounts",
        "POST customers",
        "POST payment_intents",
        "POST payouts",
        "POST refunds",
        "POST transfers",
    ] {
        assert!(asked.iter().any(|known| known == expected), "{expected} was not asked: {asked:?}");
    }
    bank.close().await;
}
