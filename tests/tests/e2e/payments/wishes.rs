//! Automatic purchases, and being told of a low balance.

use crate::support::bank::Bank;
use crate::support::http::Api;
use crate::support::market::{DOLLAR, Trader, chat, open_account};
use crate::support::venue::MODEL;
use crate::support::{eventually, listener};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Ten credits a unit, a cent.
const PRICE: i64 = 1_000_000_000;

/// A buyer who let a way of paying be kept, with $50 paid.
async fn regular(bank: &Bank, name: &str) -> Trader {
    let buyer = open_account(&bank.venue.admin, name, &["read", "trade"]).await;
    let wish = json!({ "amount_usd": "50.00", "save_method": true });
    let begun = buyer.api.post_with("/api/payments/create-intent", &[("idempotency-key", "one")], &wish).await.ok();
    bank.stripe.pay(begun["id"].as_str().unwrap()).unwrap();
    eventually("it is kept", async || {
        let told = buyer.api.get("/api/payments/balance").await.ok();
        (told["saved_method"] == true).then_some(())
    })
    .await;
    buyer
}

async fn spend(buyer: &Trader, tokens: u32) {
    buyer.chat(&chat(MODEL, json!({ "max_tokens": tokens }))).await.ok();
}

async fn payments(buyer: &Trader) -> Vec<Value> {
    let told = buyer.api.get("/api/payments/transactions").await.ok();
    told["payments"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_way_of_paying_tops_up_below_the_mark_up_to_the_month_s_cap() {
    let (bank, _mock, _, _) = Bank::trading(PRICE).await;
    let nobody = open_account(&bank.venue.admin, "nobody", &["read", "trade"]).await;
    let wish = json!({ "enabled": true, "below": "30000", "amount_usd": "20.00", "monthly_cap_usd": "50.00" });
    let refused = nobody.api.put("/api/payments/auto-renew", &wish).await;
    assert_eq!(refused.error().2.as_deref(), Some("enabled"), "nothing is kept to pay with");
    let ann = regular(&bank, "ann").await;
    for (field, value) in [("below", json!(null)), ("amount_usd", json!("0.50")), ("monthly_cap_usd", json!("19.99"))] {
        let mut wrong = wish.clone();
        wrong[field] = value;
        assert_eq!(ann.api.put("/api/payments/auto-renew", &wrong).await.error().2.as_deref(), Some(field));
    }
    ann.api.put("/api/payments/auto-renew", &wish).await.ok();
    let told = ann.api.get("/api/payments/balance").await.ok();
    assert_eq!(told["auto_renew"]["monthly_cap_usd"], "50.00", "{told}");
    // $50 less $24: below $30, so $20 more, and so once more; a third would be above the cap.
    spend(&ann, 600).await;
    eventually("it is topped up", async || (ann.balance().await.available > 45 * DOLLAR).then_some(())).await;
    spend(&ann, 600).await;
    eventually("once more", async || (payments(&ann).await.len() == 3).then_some(())).await;
    eventually("it is credited", async || (ann.balance().await.available > 40 * DOLLAR).then_some(())).await;
    spend(&ann, 600).await;
    spend(&ann, 200).await;
    bank.settled().await;
    let renewals = payments(&ann).await.iter().filter(|payment| payment["purpose"] == "renewal").count();
    assert_eq!(renewals, 2, "the cap is kept");
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_way_of_paying_is_its_owner_s_only_and_may_be_declined() {
    let bank = Bank::open().await;
    let ann = regular(&bank, "ann").await;
    let bob = regular(&bank, "bob").await;
    // Somebody else's token is of no use.
    let customer = customer_of(&bank);
    bank.stripe.add_method(&customer, "pm_of_bob").unwrap();
    let wish = json!({ "amount_usd": "5.00", "method": "pm_of_bob" });
    let stolen = ann.api.post_with("/api/payments/create-intent", &[("idempotency-key", "x")], &wish).await;
    assert_eq!((stolen.status, stolen.error().1.as_str()), (402, "payment_refused"));
    let own = bob.api.post_with("/api/payments/create-intent", &[("idempotency-key", "y")], &wish).await.ok();
    assert_eq!(own["status"], "succeeded", "{own}");
    assert_eq!(bob.balance().await.available, 55 * DOLLAR, "paid at once, credited at once");

    // A method whose name says that it will be declined.
    bank.stripe.add_method(&customer, "pm_declined").unwrap();
    let declined = json!({ "amount_usd": "5.00", "method": "pm_declined" });
    let refused = bob.api.post_with("/api/payments/create-intent", &[("idempotency-key", "z")], &declined).await;
    assert_eq!((refused.status, refused.error().1.as_str()), (402, "payment_refused"), "{:?}", refused.body);
    assert_eq!(bob.balance().await.available, 55 * DOLLAR);
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_of_paying_that_is_refused_ends_automatic_purchases() {
    let (bank, _mock, _, _) = Bank::trading(PRICE).await;
    let ann = regular(&bank, "ann").await;
    let wish = json!({ "enabled": true, "below": "40000", "amount_usd": "20.00", "monthly_cap_usd": "500.00" });
    ann.api.put("/api/payments/auto-renew", &wish).await.ok();
    let intent = bank.stripe.books().intents.last().unwrap().id.clone();
    let asked =
        Api::new(bank.stripe.url(), Some("sk_test_double")).get(&format!("/v1/payment_intents/{intent}")).await.ok();
    bank.stripe.remove_method(&customer_of(&bank), asked["payment_method"].as_str().unwrap()).unwrap();
    spend(&ann, 600).await;
    eventually("they end", async || {
        let told = ann.api.get("/api/payments/balance").await.ok();
        told["auto_renew"].is_null().then_some(())
    })
    .await;
    eventually("a person can see why", async || {
        bank.letters("dead").await.iter().any(|letter| letter["kind"] == "renewal").then_some(())
    })
    .await;
    spend(&ann, 10).await;
    bank.settled().await;
    assert_eq!(payments(&ann).await.len(), 1, "it was not tried again");
    let dead = bank.letters("dead").await;
    let id = dead[0]["id"].as_str().unwrap();
    bank.venue.admin.post(&format!("/v1/admin/outbox/{id}/dismiss"), &json!({})).await.ok();
    assert!(bank.letters("dead").await.is_empty());
    let gone = bank.venue.admin.post(&format!("/v1/admin/outbox/{id}/retry"), &json!({})).await;
    assert_eq!(gone.error().1, "letter_not_found");
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_called_from_where_for_how_much_is_told_to_the_account_only() {
    let (bank, _mock, buyer, provider) = Bank::trading(PRICE).await;
    let body = chat(MODEL, json!({ "max_tokens": 10 }));
    for client in ["curl/8.0", "curl/8.0", "ann's app"] {
        buyer.chat_with(&[("user-agent", client)], &body).await.ok();
    }
    let told = buyer.api.get("/api/payments/sessions").await.ok();
    let sessions = told["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2, "{told}");
    let curl = sessions.iter().find(|session| session["client"] == "curl/8.0").unwrap();
    assert_eq!(
        (&curl["calls"], &curl["address"], &curl["credits"]),
        (&json!(2), &json!("127.0.0.1"), &json!("900.00000000"))
    );
    let none = provider.api.get("/api/payments/sessions").await.ok();
    assert!(none["sessions"].as_array().unwrap().is_empty());
    let other = provider.api.get(&format!("/api/payments/sessions?account={}", buyer.id)).await;
    assert_eq!(other.status, 403);
    bank.close().await;
}

/// The processor's number of who began the last payment.
fn customer_of(bank: &Bank) -> String {
    let calls = bank.stripe.calls();
    let made = calls.iter().rfind(|call| call.path == "/v1/payment_intents").unwrap();
    let pair = made.body.split('&').find(|pair| pair.starts_with("customer=")).unwrap();
    pair.trim_start_matches("customer=").to_owned()
}

/// What is posted to a webhook: head and body of one request, answered with 200.
async fn posted(listener: &TcpListener) -> (String, Vec<u8>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4_096];
        let read = stream.read(&mut chunk).await.unwrap();
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let length =
            text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
        if bytes.len() == end + 4 + length {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            return (text[..end].to_owned(), bytes[end + 4..].to_vec());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_low_balance_is_told_once_by_a_signed_post_and_again_after_it_was_high() {
    let (bank, _mock, _, _) = Bank::trading(PRICE).await;
    let ann = regular(&bank, "ann").await;
    let hook = listener().await;
    let url = format!("http://{}/low", hook.local_addr().unwrap());
    let by_mail = json!({ "below": "40000", "email": "ann@example.com" });
    assert_eq!(ann.api.put("/api/payments/alerts", &by_mail).await.error().2.as_deref(), Some("email"), "no mail here");
    let set = ann.api.put("/api/payments/alerts", &json!({ "below": "40000", "webhook_url": url })).await.ok();
    let secret = STANDARD.decode(set["webhook_secret"].as_str().unwrap().trim_start_matches("whsec_")).unwrap();
    let (_, told) = tokio::join!(spend(&ann, 300), posted(&hook));
    let (head, body) = told;
    let header = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")))
            .unwrap_or_else(|| panic!("{name}: {head}"))
            .to_owned()
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
    mac.update(format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes());
    mac.update(&body);
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())).to_lowercase();
    assert_eq!(header("webhook-signature"), signature);
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&told["type"], &told["account"]), (&json!("low_balance"), &json!(ann.id)));
    spend(&ann, 10).await;
    bank.settled().await;
    assert_eq!(bank.letters("done").await.iter().filter(|letter| letter["kind"] == "post").count(), 1, "told once");
    let wish = json!({ "amount_usd": "50.00" });
    let begun = ann.api.post_with("/api/payments/create-intent", &[("idempotency-key", "more")], &wish).await.ok();
    bank.stripe.pay(begun["id"].as_str().unwrap()).unwrap();
    eventually("it is high", async || (ann.balance().await.available > 80 * DOLLAR).then_some(())).await;
    // Before it falls again it must have been seen to be high.
    eventually("that was seen", async || {
        let metrics = bank.venue.admin.get("/metrics").await;
        let text = String::from_utf8_lossy(&metrics.bytes).into_owned();
        text.contains("gollem_outbox_lag_inputs 0").then_some(())
    })
    .await;
    bank.settled().await;
    let (_, (_, body)) = tokio::join!(spend(&ann, 1_200), posted(&hook));
    let again: Value = serde_json::from_slice(&body).unwrap();
    assert_ne!(again["id"], told["id"]);
    bank.close().await;
}
