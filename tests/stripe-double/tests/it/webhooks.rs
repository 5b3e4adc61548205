//! Events: what is told of, how it is signed, and how it gets to the webhook or does not.

use crate::support::{Received, SOON, Webhook, get, intent, paid, post, provider, start, transfer};
use gollem_stripe_double::{Deliveries, DeliveryError, Double, Options};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::BTreeMap;

fn options(deliveries: Deliveries) -> Options {
    let webhook_secrets = vec!["whsec_new".to_owned(), "whsec_old".to_owned()];
    Options { webhook_secrets, deliveries, ..Options::default() }
}

/// Verifies as Stripe's documentation tells receivers to, and returns the time of signing.
fn verify(signature: &str, body: &[u8], secret: &str) -> Option<i64> {
    let parts: Vec<(&str, &str)> = signature.split(',').filter_map(|part| part.split_once('=')).collect();
    let time = parts.iter().find(|(name, _)| *name == "t")?.1;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{time}.").as_bytes());
    mac.update(body);
    let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    parts.contains(&("v1", expected.as_str())).then(|| time.parse().unwrap())
}

async fn delivered(deliveries: Deliveries, failures: usize, payments: usize) -> (Double, Vec<Received>) {
    let webhook = Webhook::start(failures).await;
    let double = Double::start(options(deliveries)).unwrap();
    double.set_webhook(Some(webhook.url.clone()));
    for _ in 0..payments {
        paid(&double, 1_000).await;
    }
    assert!(double.quiet(SOON).await);
    let received = webhook.received();
    (double, received)
}

/// How often each event came.
fn counts(received: &[Received]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for delivery in received {
        *counts.entry(delivery.event()["id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn every_secret_signs_the_bytes_that_are_sent() {
    let (double, received) = delivered(Deliveries::prompt(), 0, 1).await;
    assert_eq!(received.len(), 2);
    for Received { signature, body } in &received {
        let at = verify(signature, body, "whsec_new").unwrap();
        assert_eq!(verify(signature, body, "whsec_old"), Some(at));
        assert_eq!(verify(signature, body, "whsec_other"), None);
        let mut changed = body.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(verify(signature, &changed, "whsec_new"), None);
        assert_eq!(double.sign(body, at), *signature);
    }
}

/// Computed apart from this code, with Python's `hmac`.
#[tokio::test]
async fn a_known_signature() {
    let double = Double::start(Options { webhook_secrets: vec!["whsec_test".to_owned()], ..Options::default() });
    let expected = "t=1700000000,v1=c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925";
    assert_eq!(double.unwrap().sign(br#"{"id":"evt_1"}"#, 1_700_000_000), expected);
}

#[tokio::test]
async fn the_clock_of_the_double_dates_signatures_and_objects() {
    let webhook = Webhook::start(0).await;
    let double = Double::start(Options { clock_offset_s: -1_000, ..options(Deliveries::prompt()) }).unwrap();
    double.set_webhook(Some(webhook.url.clone()));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    paid(&double, 1_000).await;
    assert!(double.quiet(SOON).await);
    let Received { signature, body } = &webhook.received()[0];
    let early = now - 1_000;
    assert!((early..early + 60).contains(&verify(signature, body, "whsec_new").unwrap()));
    assert!((early..early + 60).contains(&double.events()[0]["created"].as_i64().unwrap()));
}

#[tokio::test]
async fn events_tell_what_happened_in_its_order() {
    let double = start();
    let (_, first) = intent(&double, 1_000).await;
    double.pay_fails(&first).unwrap();
    double.pay(&first).unwrap();
    let refund = double.refund(&first, 100).unwrap();
    double.fail_refund(&refund).unwrap();
    let dispute = double.dispute(&first, 200).unwrap();
    double.close_dispute(&dispute, true).unwrap();
    let (_, second) = intent(&double, 1_000).await;
    post(&double, &format!("/v1/payment_intents/{second}/cancel"), "").key("cancel-2").send().await.id();
    double.top_up(5_000).unwrap();
    let account = provider(&double).await;
    let sent = transfer(&double, &account, 500).await.id();
    double.reverse_transfer(&sent, 100).unwrap();
    let payout = post(&double, "/v1/payouts", "amount=50&currency=usd").account(&account).send().await.id();
    double.pay_out(&payout).unwrap();
    double.fail_payout(&payout).unwrap();
    let events = double.events();
    let told: Vec<(&str, &str, bool)> = events
        .iter()
        .map(|event| {
            let object = &event["data"]["object"];
            let status = object.get("status").and_then(|status| status.as_str()).unwrap_or_default();
            (event["type"].as_str().unwrap(), status, event.get("account").is_some())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("payment_intent.created", "requires_payment_method", false),
            ("payment_intent.payment_failed", "requires_payment_method", false),
            ("payment_intent.succeeded", "succeeded", false),
            ("refund.created", "succeeded", false),
            ("charge.refunded", "succeeded", false),
            ("refund.updated", "failed", false),
            ("refund.failed", "failed", false),
            ("charge.dispute.created", "needs_response", false),
            ("charge.dispute.funds_withdrawn", "needs_response", false),
            ("charge.dispute.funds_reinstated", "won", false),
            ("charge.dispute.closed", "won", false),
            ("payment_intent.created", "requires_payment_method", false),
            ("payment_intent.canceled", "canceled", false),
            ("account.updated", "", true),
            ("transfer.created", "", false),
            ("transfer.reversed", "", false),
            ("payout.created", "pending", true),
            ("payout.paid", "paid", true),
            ("payout.failed", "failed", true),
        ]
    );
    assert_eq!(events[12]["request"]["idempotency_key"], "cancel-2");
    assert!(events[2]["request"]["id"].is_null());
    assert_eq!(events[18]["account"], account.as_str());
}

#[tokio::test]
async fn lost_events_are_found_in_the_list_each_under_its_account() {
    let deliveries =
        Deliveries::Auto { duplicates_permille: 0, lost_permille: 1_000, delay_ms_max: 0, shuffle: false, retries: 0 };
    let (double, received) = delivered(deliveries, 0, 2).await;
    assert!(received.is_empty());
    let account = provider(&double).await;
    let own = get(&double, "/v1/events?type=payment_intent.succeeded&limit=1").send().await.body;
    assert_eq!((own["data"].as_array().unwrap().len(), &own["has_more"]), (1, &true.into()));
    let newest = own["data"][0]["id"].as_str().unwrap();
    let before = format!("/v1/events?type=payment_intent.succeeded&starting_after={newest}");
    assert_eq!(get(&double, &before).send().await.body["data"].as_array().unwrap().len(), 1);
    assert_eq!(get(&double, &format!("/v1/events/{newest}")).send().await.body, own["data"][0]);
    let none = get(&double, "/v1/events?type=account.updated").send().await.body;
    assert_eq!(none["data"], serde_json::json!([]));
    let theirs = get(&double, "/v1/events?type=account.updated").account(&account).send().await.body;
    assert_eq!(theirs["data"][0]["data"]["object"]["payouts_enabled"], true);
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_signed_anew() {
    let (double, received) = delivered(Deliveries::prompt(), 3, 2).await;
    let counts = counts(&received);
    assert_eq!((counts.len(), received.len()), (double.events().len(), double.events().len() + 3));
    // In order, though the first had to wait.
    let kinds: Vec<_> = received.iter().map(|delivery| delivery.event()["type"].clone()).collect();
    assert!(kinds[..4].iter().all(|kind| kind == "payment_intent.created"));
    assert!(received.iter().all(|it| verify(&it.signature, &it.body, "whsec_new").is_some()));
}

#[tokio::test]
async fn a_webhook_that_never_acknowledges_is_given_up() {
    let deliveries =
        Deliveries::Auto { duplicates_permille: 0, lost_permille: 0, delay_ms_max: 0, shuffle: true, retries: 2 };
    let (double, received) = delivered(deliveries, usize::MAX, 2).await;
    assert_eq!(received.len(), double.events().len() * 3);
}

#[tokio::test]
async fn events_come_twice_never_and_out_of_order_by_the_seed() {
    let deliveries =
        Deliveries::Auto { duplicates_permille: 300, lost_permille: 300, delay_ms_max: 60, shuffle: true, retries: 3 };
    let (double, received) = delivered(deliveries, 0, 20).await;
    let events = double.events();
    let ids: Vec<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    let counts = counts(&received);
    assert!(counts.len() < ids.len() && counts.len() > ids.len() / 3);
    assert!(counts.values().any(|&count| count == 2) && counts.values().all(|&count| count <= 2));
    let place = |delivery: &Received| ids.iter().position(|id| delivery.event()["id"] == **id).unwrap();
    let places: Vec<usize> = received.iter().map(place).collect();
    assert!(!places.is_sorted());
    // Again with the same seed: the same are lost, and the same come twice.
    let (_, again) = delivered(deliveries, 0, 20).await;
    assert_eq!(self::counts(&again), counts);
}

#[tokio::test]
async fn by_hand_any_event_and_any_bytes() {
    let webhook = Webhook::start(1).await;
    let double = Double::start(options(Deliveries::Manual)).unwrap();
    paid(&double, 1_000).await;
    assert!(matches!(double.deliver(1).await, Err(DeliveryError::NoWebhook)));
    double.set_webhook(Some(webhook.url.clone()));
    assert!(double.quiet(SOON).await && webhook.received().is_empty());
    assert_eq!(double.deliver(1).await.unwrap(), 500);
    assert_eq!(double.deliver(1).await.unwrap(), 200);
    assert!(matches!(double.deliver(2).await, Err(DeliveryError::NoEvent(2))));
    let forged = br#"{"type":"payment_intent.succeeded"}"#;
    assert_eq!(double.deliver_raw(forged, "t=1,v1=00").await.unwrap(), 200);
    let received = webhook.received();
    assert_eq!((received[1].event(), &received[2].body[..]), (double.events()[1].clone(), &forged[..]));
    assert_eq!(received[2].signature, "t=1,v1=00");
}
