//! Notices: only the processor's are taken, and nothing of them is believed but what to look at.

use crate::support::bank::{Bank, SECRET, begin, buy};
use crate::support::eventually;
use crate::support::http::Api;
use crate::support::market::open_account;
use bytes::Bytes;
use gollem_stripe_double::{Double, Options};
use hyper::Method;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Atoms of a cent.
const CENT: i64 = 1_000_000_000;

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// Sends a notice as anybody might.
async fn send(bank: &Bank, header: Option<&str>, body: &str) -> (u16, String) {
    let headers: Vec<(&str, &str)> = header.map(|header| ("stripe-signature", header)).into_iter().collect();
    let anyone = Api::new(bank.venue.admin.base(), None);
    let reply = anyone.send(Method::POST, "/webhooks/stripe", &headers, Bytes::from(body.to_owned())).await;
    (reply.status, reply.body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

/// A notice as Stripe words it.
fn notice(kind: &str, object: &Value) -> String {
    json!({ "id": "evt_1", "object": "event", "type": kind, "data": { "object": object } }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_stale_or_changed_notice_is_refused_and_changes_nothing() {
    let bank = Bank::open_with(Options::default()).await;
    let ann = open_account(&bank.venue.admin, "ann", &["read", "trade"]).await;
    let paid = buy(&bank, &ann.api, "10.00", "k").await;
    let body = notice("payment_intent.succeeded", &json!({ "object": "payment_intent", "id": paid }));
    let signed = |at: i64| bank.stripe.sign(body.as_bytes(), at);
    let other = Double::start(Options { webhook_secrets: vec!["whsec_other".into()], ..Options::default() }).unwrap();
    let unsigned = format!("t={},v1={}", now(), "0".repeat(64));
    let changed = body.replace(&paid, "pi_another");
    for (what, header, body) in [
        ("no signature", None, &body),
        ("an empty one", Some(String::new()), &body),
        ("a made-up one", Some(unsigned), &body),
        ("one with another secret", Some(other.sign(body.as_bytes(), now())), &body),
        ("one of six minutes ago", Some(signed(now() - 360)), &body),
        ("one of in six minutes", Some(signed(now() + 360)), &body),
        ("one of another body", Some(signed(now())), &changed),
        ("one of an older scheme", Some(signed(now()).replace("v1=", "v0=")), &body),
    ] {
        let refused = send(&bank, header.as_deref(), body).await;
        assert_eq!(refused, (400, "invalid_signature".to_owned()), "{what}");
    }
    assert_eq!(ann.balance().await.available, 0, "nothing was credited");
    assert_eq!(send(&bank, Some(&signed(now() - 240)), &body).await.0, 200, "within five minutes");
    assert_eq!(ann.balance().await.available, 1_000 * CENT);
    let metrics = bank.venue.admin.get("/metrics").await;
    let text = String::from_utf8_lossy(&metrics.bytes).into_owned();
    assert!(text.contains("gollem_payment_notices_refused_total 8"), "{text}");
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_notice_of_what_the_processor_does_not_know_or_did_not_happen_credits_nothing() {
    let bank = Bank::open_with(Options::default()).await;
    let ann = open_account(&bank.venue.admin, "ann", &["read", "trade"]).await;
    let unpaid = begin(&ann.api, "500.00", "k").await.ok();
    // As if somebody had the secret: what it says of amount, account and state is not believed.
    let lies = json!({
        "object": "payment_intent", "id": unpaid["id"], "status": "succeeded", "amount": 50_000,
        "amount_received": 50_000, "currency": "usd", "metadata": { "gollem_account": ann.id },
    });
    for object in [
        lies,
        json!({ "object": "payment_intent", "id": "pi_of_nobody" }),
        json!({ "object": "charge", "id": "ch_1", "payment_intent": null }),
        json!({ "object": "payout", "id": "po_1", "metadata": { "gollem_payout": "pay_1" } }),
        json!({ "object": "account", "id": "acct_of_nobody" }),
        json!({ "object": "balloon" }),
        json!({ "object": "payment_intent", "id": "../../v1/transfers?x=" }),
        json!(7),
    ] {
        let body = notice("payment_intent.succeeded", &object);
        let (status, _) = send(&bank, Some(&bank.stripe.sign(body.as_bytes(), now())), &body).await;
        assert_eq!(status, 200, "{object}: nothing to be gained by sending it again");
    }
    for body in ["", "{", "[]", "\u{0}"] {
        let (status, _) = send(&bank, Some(&bank.stripe.sign(body.as_bytes(), now())), body).await;
        assert!(status == 400 || (status == 200 && body == "[]"), "{body}: {status}");
    }
    assert_eq!(ann.balance().await.available, 0);
    bank.close().await;
}

/// Asks the double as somebody else who uses the same Stripe account.
async fn begin_elsewhere(bank: &Bank, form: &str) -> String {
    let api = Api::new(bank.stripe.url(), Some("sk_test_double"));
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let made = api.send(Method::POST, "/v1/payment_intents", &kind, Bytes::from(form.to_owned())).await;
    assert_eq!(made.status, 200, "{:?}", made.body);
    made.body["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn other_people_s_payments_and_those_that_cannot_be_booked_are_left_alone_and_named() {
    let bank = Bank::open().await;
    let ann = open_account(&bank.venue.admin, "ann", &["read", "trade"]).await;
    let real = buy(&bank, &ann.api, "10.00", "k").await;
    let marks = {
        let calls = bank.stripe.calls();
        let made = calls.iter().find(|call| call.path == "/v1/payment_intents").unwrap();
        let marks: Vec<&str> = made.body.split('&').filter(|pair| pair.starts_with("metadata")).collect();
        marks.join("&")
    };
    assert!(marks.contains("gollem_exchange") && marks.contains("gollem_account"), "{marks}");
    // A shop beside us; another exchange on the same Stripe account; more than a purchase may be; an account that is not there.
    let shop = begin_elsewhere(&bank, "amount=5000&currency=usd").await;
    let exchange = "metadata[gollem_exchange]=0123456789abcdef&metadata[gollem_account]=acc_1";
    let neighbour = begin_elsewhere(&bank, &format!("amount=5000&currency=usd&{exchange}")).await;
    let huge = begin_elsewhere(&bank, &format!("amount=100001&currency=usd&{marks}")).await;
    let nobody =
        begin_elsewhere(&bank, &format!("amount=5000&currency=usd&{}", marks.replace("acc_1", "acc_77"))).await;
    for id in [&shop, &neighbour, &huge, &nobody] {
        bank.stripe.pay(id).unwrap();
    }
    assert!(bank.stripe.quiet(std::time::Duration::from_secs(20)).await, "every notice is taken");
    eventually("the one is credited", async || (ann.balance().await.available == 1_000 * CENT).then_some(())).await;
    let report = bank.reconciled().await;
    assert_eq!((&report["ok"], &report["foreign_payments"]), (&json!(false), &json!(2)), "{report:#}");
    let named: Vec<&str> =
        report["differences"].as_array().unwrap().iter().map(|difference| difference["id"].as_str().unwrap()).collect();
    assert!(named.len() == 2 && named.contains(&huge.as_str()) && named.contains(&nobody.as_str()), "{report:#}");
    assert!(!named.contains(&real.as_str()));
    let metrics = bank.venue.admin.get("/metrics").await;
    assert!(String::from_utf8_lossy(&metrics.bytes).contains("gollem_reconcile_differences 2"));
    // A person returns what could not be booked: the books agree again, whatever the shop does.
    bank.stripe.refund(&huge, 100_001).unwrap();
    bank.stripe.refund(&nobody, 5_000).unwrap();
    bank.stripe.refund(&shop, 700).unwrap();
    bank.stripe.dispute(&neighbour, 5_000).unwrap();
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_notices_are_found_by_the_books() {
    // Nothing is delivered at all.
    let bank = Bank::open_with(Options::default()).await;
    let ann = open_account(&bank.venue.admin, "ann", &["read", "trade"]).await;
    let one = buy(&bank, &ann.api, "10.00", "one").await;
    buy(&bank, &ann.api, "20.00", "two").await;
    bank.stripe.refund(&one, 400).unwrap();
    assert_eq!(ann.balance().await.available, 0);
    let report = bank.reconciled().await;
    assert_eq!((&report["ok"], report["looked_at_again"].as_array().unwrap().len()), (&json!(true), 2), "{report:#}");
    assert_eq!(ann.balance().await.available, 2_600 * CENT);
    bank.stripe.dispute(&one, 600).unwrap();
    let report = bank.reconciled().await;
    assert_eq!(report["ok"], true, "{report:#}");
    assert_eq!(ann.balance().await.available, 2_000 * CENT);
    assert_eq!(SECRET, "whsec_double");
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_number_is_taken_nowhere() {
    let bank = Bank::open().await;
    let ann = open_account(&bank.venue.admin, "ann", &["read", "trade", "provide"]).await;
    let card = "4242 4242 4242 4242";
    let key = ("idempotency-key", "k");
    let refused = [
        ann.api
            .post_with("/api/payments/create-intent", &[key], &json!({ "amount_usd": "1.00", "method": card }))
            .await,
        ann.api
            .post_with(
                "/api/payments/create-intent",
                &[key, ("x-preferred-payment", "4242424242424242")],
                &json!({ "amount_usd": "1.00" }),
            )
            .await,
        ann.api.post("/api/payments/onboarding", &json!({ "return_url": format!("https://a.example/{card}") })).await,
        ann.api.put("/api/payments/alerts", &json!({ "below": card, "email": "a@example.com" })).await,
    ];
    for reply in refused {
        assert_eq!(reply.error().1, "card_number_refused");
        assert!(!String::from_utf8_lossy(&reply.bytes).contains("4242"), "it is not told back");
    }
    assert!(bank.stripe.calls().is_empty(), "nothing of it went anywhere");
    for (header, value, code) in [
        ("x-preferred-payment", "0x52908400098527886E0F7030069857D2E4169EE7", "invalid_value"),
        ("x-billing", "afterdark", "invalid_value"),
    ] {
        let body = json!({ "amount_usd": "1.00" });
        let reply = ann.api.post_with("/api/payments/create-intent", &[key, (header, value)], &body).await;
        assert_eq!((reply.status, reply.error().1.as_str()), (400, code), "{header}");
    }
    for (amount, key) in [("0.99", "a"), ("1000.01", "b"), ("0", "c"), ("-1", "d"), ("1e9", "e"), ("10.001", "f")] {
        assert_eq!(begin(&ann.api, amount, key).await.error().2.as_deref(), Some("amount_usd"), "{amount}");
    }
    let keyless = ann.api.post("/api/payments/create-intent", &json!({ "amount_usd": "1.00" })).await;
    assert_eq!(keyless.error().2.as_deref(), Some("Idempotency-Key"));
    bank.close().await;
}
