//! What the operator sets: markets, spending windows and policies.

use crate::support::market::{bid, credits};
use crate::support::venue::{MODEL, Venue};
use serde_json::{Value, json};

const NOWHERE: &str = "http://127.0.0.1:9/v1";

#[tokio::test(flavor = "multi_thread")]
async fn a_market_is_halted_and_opened_and_its_reference_price_moves() {
    let (venue, buyer, _, _) = Venue::trading(NOWHERE, 1_000).await;
    let order = buyer.place(&bid(MODEL, 100, 10, json!({}))).await;
    let state = async |state: &str| {
        venue.admin.put(&format!("/v1/instruments/{MODEL}/state"), &json!({ "state": state })).await
    };
    assert_eq!(state("cancel_only").await.ok()["state"], "cancel_only");
    let refused = buyer.api.post("/v1/orders", &bid(MODEL, 100, 10, json!({}))).await.error();
    assert_eq!(refused.1, "instrument_not_open");
    buyer.api.put(&format!("/v1/orders/{order}"), &json!({ "quantity": 5 })).await.ok();
    assert_eq!(state("halted").await.ok()["state"], "halted");
    assert_eq!(
        buyer.api.put(&format!("/v1/orders/{order}"), &json!({ "quantity": 4 })).await.error().1,
        "instrument_not_open"
    );
    let quote = buyer.api.post("/v1/quote", &json!({ "model": MODEL, "quantity": 1 })).await.error();
    assert_eq!(quote.1, "instrument_not_open");
    assert_eq!(state("open").await.ok()["state"], "open");
    assert_eq!(state("ajar").await.error(), (400, "invalid_value".into(), Some("state".into())));

    let path = format!("/v1/instruments/{MODEL}/reference-price");
    assert_eq!(venue.admin.put(&path, &json!({ "price": "0.05" })).await.ok()["reference_price"], "0.05000000");
    let listed = buyer.api.get(&format!("/v1/instruments/{MODEL}")).await.ok();
    assert_eq!(listed["reference_price"], "0.05000000");
    for bad in ["0", "x", "0.00000001", "9999"] {
        assert_eq!(venue.admin.put(&path, &json!({ "price": bad })).await.error().0, 400, "{bad}");
    }
    assert_eq!(venue.admin.put("/v1/instruments/x/state", &json!({ "state": "open" })).await.error().0, 404);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spending_window_that_is_set_refuses_and_a_reset_forgets_what_was_spent() {
    let (venue, buyer, _, _) = Venue::trading(NOWHERE, 1_000).await;
    let path = format!("/v1/admin/guardrails/{}", buyer.id);
    let window = |answer: &Value, minutes: u64| {
        answer["windows"].as_array().unwrap().iter().find(|row| row["minutes"] == minutes).unwrap().clone()
    };
    let set = venue.admin.put(&path, &json!({ "minutes": 60, "limit": credits(5_000) })).await.ok();
    assert_eq!(window(&set, 60)["limit"], credits(5_000));
    assert_eq!(window(&buyer.api.get("/v1/guardrails/spending").await.ok(), 60)["limit"], credits(5_000));
    let refused = buyer.api.post("/v1/orders", &bid(MODEL, 100, 100, json!({}))).await.error();
    assert_eq!((refused.0, refused.1.as_str()), (402, "spending_limit"));
    buyer.place(&bid(MODEL, 100, 10, json!({}))).await;
    assert_eq!(venue.admin.get(&path).await.ok()["reserved"], credits(1_000));
    venue.admin.post(&format!("{path}/reset"), &json!({})).await.ok();
    venue.admin.put(&path, &json!({ "minutes": 60, "limit": null })).await.ok();
    buyer.place(&bid(MODEL, 100, 100, json!({}))).await;
    for (body, param) in [
        (json!({ "minutes": 61, "limit": "1" }), "minutes"),
        (json!({ "minutes": 60, "limit": "-1" }), "limit"),
        (json!({ "minutes": 60 }), "limit"),
    ] {
        assert_eq!(
            venue.admin.put(&path, &body).await.error(),
            (400, "invalid_value".into(), Some(param.into())),
            "{body}"
        );
    }
    assert_eq!(
        venue.admin.put("/v1/admin/guardrails/acc_77", &json!({ "minutes": 60, "limit": "1" })).await.error().0,
        404
    );
    assert_eq!(venue.admin.get("/v1/admin/guardrails/7").await.error().2.as_deref(), Some("account"));
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_set_and_an_account_sees_its_own_and_no_other() {
    let (venue, buyer, provider, _) = Venue::trading(NOWHERE, 1_000).await;
    let path = format!("/v1/accounts/{}", buyer.id);
    let set = venue
        .admin
        .put(&format!("{path}/credit-policy"), &json!({ "overage_cap": "100", "auto_renew": true }))
        .await
        .ok();
    assert_eq!(set["credit_policy"], json!({ "overage_cap": "100.00000000", "auto_renew": true }));
    assert_eq!(buyer.api.get("/v1/balance").await.ok()["overage_cap"], "100.00000000");
    let too_much = json!({ "overage_cap": "1000001" });
    let refused = venue.admin.put(&format!("{path}/credit-policy"), &too_much).await.error();
    assert_eq!(refused, (400, "invalid_value".into(), Some("overage_cap".into())));
    let own = buyer.api.get(&path).await.ok();
    assert_eq!((&own["name"], &own["account"]), (&json!("buyer"), &json!(buyer.id)));
    assert_eq!(provider.api.get(&path).await.error().1, "insufficient_scope");
    assert_eq!(venue.admin.get("/v1/accounts/acc_77").await.error().1, "account_not_found");

    let policy = json!({ "automatic": true, "monthly": false });
    assert_eq!(provider.api.put("/v1/payouts/policy", &policy).await.ok()["automatic"], true);
    assert_eq!(provider.api.get("/v1/payouts").await.ok()["automatic"], true);
    let status = buyer.api.get(&format!("/api/provider/status?providerId={}", provider.id)).await.ok();
    assert_eq!((&status["status"], &status["models"][0]["model"]), (&json!("online"), &json!(MODEL)));
    venue.close().await;
}
