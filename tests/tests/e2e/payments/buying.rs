//! Credits are bought: once, whatever happens to the notices.

use crate::support::bank::{Bank, begin, buy};
use crate::support::eventually;
use crate::support::market::open_account;
use serde_json::json;

/// Atoms of a cent.
const CENT: i64 = 1_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_becomes_credits_once_and_is_told() {
    let bank = Bank::open().await;
    let ann = open_account(&bank.venue.admin, "ann", &["read", "trade"]).await;
    let begun = begin(&ann.api, "12.34", "first").await;
    assert_eq!(begun.status, 201);
    let begun = begun.ok();
    assert_eq!(
        (&begun["amount_usd"], &begun["credits"], &begun["status"]),
        (&json!("12.34"), &json!("12340.00000000"), &json!("open"))
    );
    assert!(begun["client_secret"].as_str().unwrap().starts_with(begun["id"].as_str().unwrap()));
    assert_eq!(begun["publishable_key"], "pk_test_double");
    assert_eq!(begin(&ann.api, "12.34", "first").await.ok()["id"], begun["id"], "the same key, the same payment");
    assert_eq!(begin(&ann.api, "12.35", "first").await.error().1, "idempotency_key_reused");
    assert_eq!(ann.balance().await.available, 0, "nobody has paid yet");

    let id = begun["id"].as_str().unwrap();
    bank.stripe.pay(id).unwrap();
    eventually("the payment is credited", async || (ann.balance().await.available == 1_234 * CENT).then_some(())).await;
    let paid = bank.stripe.events().iter().position(|event| event["type"] == "payment_intent.succeeded").unwrap();
    for _ in 0..3 {
        assert_eq!(bank.stripe.deliver(paid).await.unwrap(), 200);
    }
    assert_eq!(ann.balance().await.available, 1_234 * CENT, "the same notice again");
    let told = eventually("the movement is told", async || {
        let told = ann.api.get("/api/payments/transactions").await.ok();
        (told["transactions"].as_array().unwrap().len() == 1).then_some(told)
    })
    .await;
    assert_eq!(
        (&told["transactions"][0]["kind"], &told["transactions"][0]["amount_usd"]),
        (&json!("purchase"), &json!("12.34"))
    );
    assert_eq!((&told["payments"][0]["id"], &told["payments"][0]["status"]), (&begun["id"], &json!("succeeded")));
    let balance = ann.api.get("/api/payments/balance").await.ok();
    assert_eq!((&balance["remaining"], &balance["total"]), (&json!("12340.00000000"), &json!("12340.00000000")));
    let report = bank.reconciled().await;
    assert_eq!((&report["ok"], &report["days"][0]["ledger_usd"]), (&json!(true), &json!("12.34")), "{report:#}");
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_and_disputes_take_credits_back_and_what_was_spent_is_owed() {
    let bank = Bank::open().await;
    let ann = open_account(&bank.venue.admin, "ann", &["read", "trade"]).await;
    let id = buy(&bank, &ann.api, "10.00", "k").await;
    let available = async |cents: i64| {
        let what = format!("{cents} cents are available");
        eventually(&what, async || (ann.balance().await.available == cents * CENT).then_some(())).await;
    };
    available(1_000).await;
    bank.stripe.refund(&id, 250).unwrap();
    available(750).await;
    // The exchange's own wish goes out by a letter, and comes back as a notice.
    let body = json!({ "payment": id, "amount_usd": "1.00" });
    let wished = bank.venue.admin.post_with("/v1/admin/refunds", &[("idempotency-key", "r1")], &body).await;
    assert_eq!(wished.status, 201);
    let again = bank.venue.admin.post_with("/v1/admin/refunds", &[("idempotency-key", "r1")], &body).await.ok();
    assert_eq!(again["reference"], wished.ok()["reference"]);
    available(650).await;
    eventually("the processor made it", async || (bank.stripe.books().intents[0].refunded == 350).then_some(())).await;
    let dispute = bank.stripe.dispute(&id, 650).unwrap();
    available(0).await;
    bank.stripe.close_dispute(&dispute, true).unwrap();
    available(650).await;
    let too_much = json!({ "payment": id, "amount_usd": "7.00" });
    let refused = bank.venue.admin.post_with("/v1/admin/refunds", &[("idempotency-key", "r2")], &too_much).await;
    assert_eq!(refused.status, 400, "{:?}", refused.body);
    bank.settled().await;
    bank.close().await;
}
