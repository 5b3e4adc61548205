//! Earnings reach a bank, or come back.

use crate::support::bank::Bank;
use crate::support::market::{Trader, chat};
use crate::support::venue::MODEL;
use crate::support::{eventually, eventually_within};
use gollem_stripe_double::{Faults, PayoutStatus};
use serde_json::{Value, json};
use std::time::Duration;

/// Atoms of a cent.
const CENT: i64 = 1_000_000_000;
/// Ten credits a unit, a cent.
const PRICE: i64 = 1_000_000_000;

/// A call of so many tokens earns four cents for each.
async fn earn(buyer: &Trader, tokens: u32) {
    buyer.chat(&chat(MODEL, json!({ "max_tokens": tokens }))).await.ok();
}

/// A provider's account at the processor, and a page on which it says where its bank is.
async fn onboard(bank: &Bank, provider: &Trader) -> String {
    let body = json!({ "return_url": "https://example.com/earnings" });
    let told = provider.api.post("/api/payments/onboarding", &body).await.ok();
    assert_eq!(told["payable"], false);
    assert!(told["url"].as_str().unwrap().starts_with("http"), "{told}");
    let id = told["processor_account"].as_str().unwrap().to_owned();
    let again = provider.api.post("/api/payments/onboarding", &body).await.ok();
    assert_eq!(again["processor_account"], json!(id), "one account however often it is asked for");
    assert_eq!(bank.stripe.books().accounts.len(), 1);
    id
}

async fn request(provider: &Trader, amount_usd: &str) -> String {
    let asked = provider.api.post("/v1/payouts", &json!({ "amount_usd": amount_usd })).await.ok();
    asked["id"].as_str().unwrap().to_owned()
}

async fn status(provider: &Trader, payout: &str) -> Value {
    let all = provider.api.get("/v1/payouts").await.ok();
    let found = all["payouts"].as_array().unwrap().iter().find(|known| known["id"] == json!(payout)).cloned();
    found.unwrap()["status"].clone()
}

async fn becomes(provider: &Trader, payout: &str, expected: &str) {
    let what = format!("{payout} becomes {expected}");
    eventually(&what, async || (status(provider, payout).await == json!(expected)).then_some(())).await;
}

/// The payout at the double's bank.
async fn at_bank(bank: &Bank, count: usize) -> String {
    eventually("the money is on its way to the bank", async || {
        let books = bank.stripe.books();
        (books.payouts.len() == count).then(|| books.payouts[count - 1].id.clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_waits_for_the_provider_s_bank_is_sent_and_confirmed_and_comes_back_when_the_bank_returns_it() {
    let (bank, _mock, buyer, provider) = Bank::trading(PRICE).await;
    earn(&buyer, 110).await;
    let earned = provider.balance().await.earned;
    let payout = request(&provider, "2.00").await;
    eventually("it waits", async || {
        let waits = bank.letters("due").await;
        waits.iter().any(|letter| letter["error"].as_str().is_some_and(|why| why.contains("bank"))).then_some(())
    })
    .await;
    assert_eq!(bank.stripe.books().transfers.len(), 0, "nothing was sent to nobody");
    for how in ["send", "confirm"] {
        let by_hand = bank.venue.admin.post(&format!("/v1/payouts/{payout}/{how}"), &json!({})).await;
        assert_eq!(by_hand.error().1, "payouts_automatic", "{how}");
    }
    let account = onboard(&bank, &provider).await;
    bank.stripe.onboard(&account).unwrap();
    becomes(&provider, &payout, "sent").await;
    let sent = at_bank(&bank, 1).await;
    assert_eq!(bank.stripe.books().transfers[0].amount, 200);
    let fail = bank.venue.admin.post(&format!("/v1/payouts/{payout}/fail"), &json!({})).await;
    assert_eq!((fail.status, fail.error().1.as_str()), (409, "payment_unfit"), "the processor has its money");
    bank.stripe.pay_out(&sent).unwrap();
    becomes(&provider, &payout, "confirmed").await;
    let balance = provider.balance().await;
    assert_eq!((balance.earned, balance.payout_pending), (earned - 200 * CENT, 0));
    assert_eq!(bank.reconciled().await["ok"], true);

    // Days later the bank sends it back.
    bank.stripe.fail_payout(&sent).unwrap();
    becomes(&provider, &payout, "returned").await;
    assert_eq!(provider.balance().await.earned, earned);
    let books = bank.stripe.books();
    assert_eq!((books.transfers[0].reversed, books.accounts[0].balance_cents), (200, 0), "fetched back");
    bank.settled().await;
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_that_the_bank_refuses_returns_and_the_next_waits_for_a_better_bank() {
    let (bank, _mock, buyer, provider) = Bank::trading(PRICE).await;
    earn(&buyer, 110).await;
    let earned = provider.balance().await.earned;
    let account = onboard(&bank, &provider).await;
    bank.stripe.onboard(&account).unwrap();
    let first = request(&provider, "1.00").await;
    let sent = at_bank(&bank, 1).await;
    bank.stripe.fail_payout(&sent).unwrap();
    becomes(&provider, &first, "failed").await;
    assert_eq!(provider.balance().await.earned, earned);
    let second = request(&provider, "1.50").await;
    eventually("it waits", async || (!bank.letters("due").await.is_empty()).then_some(())).await;
    assert_eq!(status(&provider, &second).await, json!("requested"));
    bank.stripe.onboard(&account).unwrap();
    let sent = at_bank(&bank, 2).await;
    bank.stripe.pay_out(&sent).unwrap();
    becomes(&provider, &second, "confirmed").await;
    // Somebody at the processor takes it back by hand.
    let transfer = bank.stripe.books().transfers[1].id.clone();
    bank.stripe.fail_payout(&sent).unwrap();
    becomes(&provider, &second, "returned").await;
    assert_eq!(bank.stripe.books().transfers.iter().find(|known| known.id == transfer).unwrap().reversed, 150);
    assert_eq!(provider.balance().await.earned, earned);
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic_payouts_leave_at_a_hundred_dollars_whatever_the_processor_does_to_the_calls() {
    let (bank, _mock, buyer, provider) = Bank::trading(PRICE).await;
    let account = onboard(&bank, &provider).await;
    bank.stripe.onboard(&account).unwrap();
    provider.api.put("/v1/payouts/policy", &json!({ "automatic": true, "monthly": false })).await.ok();
    let faults = Faults {
        error_500_before: 150,
        error_500_after: 150,
        hang_after: 100,
        hang_ms: 50,
        reset_before: 100,
        too_many_429: 100,
        ..Faults::default()
    };
    bank.stripe.set_faults(faults);
    for _ in 0..3 {
        earn(&buyer, 1_000).await;
    }
    let sent = eventually_within(Duration::from_secs(120), "it arrives at the bank", async || {
        let books = bank.stripe.books();
        books.payouts.first().map(|payout| payout.id.clone())
    })
    .await;
    bank.stripe.set_faults(Faults::default());
    bank.stripe.pay_out(&sent).unwrap();
    becomes(&provider, "pay_1", "confirmed").await;
    let books = bank.stripe.books();
    assert_eq!((books.transfers.len(), books.payouts.len()), (1, 1), "once each");
    assert_eq!(books.payouts[0].status, PayoutStatus::Paid);
    assert!(books.transfers[0].amount >= 10_000, "{books:?}");
    bank.close().await;
}
