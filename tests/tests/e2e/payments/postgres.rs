//! The same on PostgreSQL: every statement of the store runs there, too.

use crate::support::http::Api;
use crate::support::market::{ask, chat, list_model, open_account, open_provider};
use crate::support::postgres::Postgres;
use crate::support::process::{Gollem, assert_audit_agrees};
use crate::support::venue::MODEL;
use crate::support::{at_once, endpoint, eventually, skipped, start_mock};
use gollem_stripe_double::{Deliveries, Double, Options};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_a_payment_and_a_payout_live_as_on_sqlite_and_over_a_restart() {
    let postgres = match Postgres::create() {
        Ok(postgres) => postgres,
        Err(why) => return skipped(why),
    };
    let stripe = Double::start(Options { deliveries: Deliveries::prompt(), ..Options::default() }).unwrap();
    let (folder, mock) = (tempfile::tempdir().unwrap(), start_mock(at_once()).await);
    let data = folder.path().join("data");
    let url = format!("{}/", stripe.url());
    let environment = [
        ("DATABASE_URL", postgres.url.as_str()),
        ("GOLLEM_STRIPE_KEY", "sk_test_double"),
        ("GOLLEM_STRIPE_WEBHOOK_SECRET", "whsec_old, whsec_double"),
        ("GOLLEM_STRIPE_URL", url.as_str()),
    ];
    let gollem = Gollem::serve_with(&data, &environment).await;
    let hook = |gollem: &Gollem| stripe.set_webhook(Some(format!("{}/webhooks/stripe", gollem.base())));
    hook(&gollem);
    stripe.top_up(100_000).unwrap();
    list_model(&gollem.admin, MODEL, json!({ "tick": "0.001", "reference_price": "10" })).await;
    let ann = open_account(&gollem.admin, "ann", &["read", "trade"]).await;
    let provider = open_provider(&gollem.admin, "provider", &endpoint(&mock)).await;
    provider.place(&ask(MODEL, 1_000_000_000, 100_000, json!({}))).await;
    let wish = json!({ "amount_usd": "100.00", "save_method": true });
    let begun = ann.api.post_with("/api/payments/create-intent", &[("idempotency-key", "k")], &wish).await.ok();
    let payment = begun["id"].as_str().unwrap().to_owned();
    stripe.pay(&payment).unwrap();
    eventually("it is credited", async || (ann.balance().await.available > 0).then_some(())).await;
    let renewal = json!({ "enabled": true, "below": "90000", "amount_usd": "20.00", "monthly_cap_usd": "20.00" });
    eventually("it is kept", async || {
        (ann.api.put("/api/payments/auto-renew", &renewal).await.status == 200).then_some(())
    })
    .await;
    let alert = json!({ "below": "10", "webhook_url": "http://127.0.0.1:9/nobody" });
    ann.api.put("/api/payments/alerts", &alert).await.ok();
    ann.api.post("/v1/chat/completions", &chat(MODEL, json!({ "max_tokens": 300 }))).await.ok();
    eventually("it is topped up", async || (payments(&ann.api).await == 2).then_some(())).await;
    let refund = json!({ "payment": payment, "amount_usd": "1.00" });
    gollem.admin.post_with("/v1/admin/refunds", &[("idempotency-key", "r")], &refund).await.ok();
    let back = json!({ "return_url": "https://example.com/" });
    let account = provider.api.post("/api/payments/onboarding", &back).await.ok()["processor_account"].clone();
    stripe.onboard(account.as_str().unwrap()).unwrap();
    provider.api.post("/v1/payouts", &json!({ "amount_usd": "5.00" })).await.ok();
    let sent =
        eventually("it is on its way", async || stripe.books().payouts.first().map(|sent| sent.id.clone())).await;
    eventually("it is refunded", async || (stripe.books().intents[0].refunded == 100).then_some(())).await;
    gollem.process.stop().await;

    // What happens meanwhile is looked at when it is back.
    stripe.pay_out(&sent).unwrap();
    let gollem = Gollem::serve_with(&data, &environment).await;
    hook(&gollem);
    let report = eventually("the books agree", async || {
        let report = gollem.admin.post("/v1/admin/reconcile", &json!({})).await.ok();
        (report["ok"] == true && report["payouts_under_way"] == 0).then_some(report)
    })
    .await;
    assert_eq!(report["differences"], json!([]));
    let ann = ann.at(gollem.base());
    let told = ann.api.get("/api/payments/transactions").await.ok();
    let mut kinds: Vec<&str> =
        told["transactions"].as_array().unwrap().iter().map(|moved| moved["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["purchase", "purchase", "refund"]);
    let sessions = ann.api.get("/api/payments/sessions").await.ok();
    assert_eq!(sessions["sessions"][0]["calls"], 1, "{sessions}");
    let letters = gollem.admin.get("/v1/admin/outbox?state=done").await.ok();
    assert!(letters["letters"].as_array().unwrap().len() == 3, "{letters}");
    assert_audit_agrees(&gollem, &data).await;
    gollem.process.stop().await;
}

async fn payments(api: &Api) -> usize {
    let told = api.get("/api/payments/transactions").await.ok();
    told["payments"].as_array().unwrap().iter().filter(|payment| payment["status"] == "succeeded").count()
}
