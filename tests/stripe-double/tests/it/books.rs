//! Money: what each step does to the balances, and what the books refuse.

use crate::support::{Answer, get, intent, paid, post, provider, start, transfer};
use gollem_stripe_double::{Double, PayoutStatus};
use serde_json::Value;

async fn refund(double: &Double, intent: &str, cents: i64) -> Answer {
    post(double, "/v1/refunds", &format!("payment_intent={intent}&amount={cents}&metadata[why]=late")).send().await
}

async fn pay_out(double: &Double, account: &str, cents: i64) -> Answer {
    post(double, "/v1/payouts", &format!("amount={cents}&currency=usd")).account(account).send().await
}

/// The types of an account's balance transactions, oldest first, with amount and fee.
async fn entries(double: &Double, account: Option<&str>) -> Vec<(String, i64, i64)> {
    let ask = get(double, "/v1/balance_transactions?limit=100");
    let list = match account {
        Some(account) => ask.account(account).send().await,
        None => ask.send().await,
    };
    let row = |entry: &Value| {
        let cents = |name: &str| entry[name].as_i64().unwrap();
        assert_eq!(cents("net"), cents("amount") - cents("fee"));
        (entry["type"].as_str().unwrap().to_owned(), cents("amount"), cents("fee"))
    };
    list.body["data"].as_array().unwrap().iter().rev().map(row).collect()
}

fn row(kind: &str, amount: i64, fee: i64) -> (String, i64, i64) {
    (kind.to_owned(), amount, fee)
}

#[tokio::test]
async fn a_payment_brings_its_amount_less_the_fee() {
    let double = start();
    let intent = paid(&double, 10_000).await;
    let books = double.books();
    assert_eq!((books.available_cents, books.fees_cents), (10_000, 320));
    assert_eq!((books.intents[0].paid, books.intents[0].kept()), (10_000, 10_000));
    assert_eq!(entries(&double, None).await, [row("charge", 10_000, 320)]);
    let again = double.pay(&intent).unwrap_err();
    assert_eq!(again.code, Some("payment_intent_unexpected_state"));
}

#[tokio::test]
async fn a_declined_card_moves_nothing_and_another_may_pay() {
    let double = start();
    let (_, intent) = intent(&double, 10_000).await;
    double.pay_fails(&intent).unwrap();
    assert_eq!(double.books().available_cents, 0);
    let failed = get(&double, &format!("/v1/payment_intents/{intent}")).send().await.body;
    assert_eq!(failed["status"], "requires_payment_method");
    assert_eq!(failed["last_payment_error"]["code"], "card_declined");
    double.pay(&intent).unwrap();
    assert_eq!(double.books().available_cents, 10_000);
}

#[tokio::test]
async fn a_saved_card_pays_without_its_customer_and_only_for_them() {
    let double = start();
    let (customer, first) = intent(&double, 1_000).await;
    double.pay(&first).unwrap();
    let read = get(&double, &format!("/v1/payment_intents/{first}")).send().await.body;
    let card = read["payment_method"].as_str().unwrap();
    let recharge = |customer: &str| {
        let rest = format!("customer={customer}&payment_method={card}&off_session=true&confirm=true");
        post(&double, "/v1/payment_intents", &format!("amount=2000&currency=usd&{rest}")).send()
    };
    assert_eq!(recharge(&customer).await.body["status"], "succeeded");
    let (stranger, _) = intent(&double, 1_000).await;
    let refused = recharge(&stranger).await;
    assert_eq!((refused.status, refused.code()), (400, "resource_missing"));
    assert_eq!(double.books().available_cents, 3_000);
}

#[tokio::test]
async fn a_bank_that_wants_to_see_the_customer_says_so() {
    let double = start();
    let (customer, _) = intent(&double, 1_000).await;
    double.add_method(&customer, "pm_authentication").unwrap();
    let rest = format!("customer={customer}&payment_method=pm_authentication&off_session=true&confirm=true");
    let refused = post(&double, "/v1/payment_intents", &format!("amount=2000&currency=usd&{rest}")).send().await;
    assert_eq!((refused.status, refused.code()), (402, "authentication_required"));
}

#[tokio::test]
async fn refunds_go_up_to_what_was_paid_and_come_back_if_they_fail() {
    let double = start();
    let intent = paid(&double, 1_000).await;
    let first = refund(&double, &intent, 300).await.id();
    assert_eq!(refund(&double, &intent, 701).await.code(), "amount_too_large");
    assert_eq!(refund(&double, &intent, 700).await.status, 200);
    assert_eq!(refund(&double, &intent, 1).await.code(), "charge_already_refunded");
    assert_eq!(double.books().intents[0].refunded, 1_000);
    double.fail_refund(&first).unwrap();
    assert!(double.fail_refund(&first).is_err());
    let books = double.books();
    assert_eq!((books.intents[0].refunded, books.available_cents), (700, 300));
    let expected = [row("charge", 1_000, 59), row("refund", -300, 0), row("refund", -700, 0)];
    assert_eq!(entries(&double, None).await, [&expected[..], &[row("refund_failure", 300, 0)]].concat());
    let by_hand = double.refund(&intent, 300).unwrap();
    assert_eq!(get(&double, &format!("/v1/refunds/{by_hand}")).send().await.body["amount"], 300);
}

#[tokio::test]
async fn disputes_take_money_at_once_and_return_it_when_won() {
    let double = start();
    let intent = paid(&double, 1_000).await;
    let lost = double.dispute(&intent, 400).unwrap();
    let won = double.dispute(&intent, 600).unwrap();
    assert!(double.dispute(&intent, 1).is_err());
    assert_eq!(double.books().intents[0].disputed_open, 1_000);
    assert_eq!(refund(&double, &intent, 1).await.code(), "charge_disputed");
    double.close_dispute(&lost, false).unwrap();
    double.close_dispute(&won, true).unwrap();
    assert!(double.close_dispute(&won, false).is_err());
    let books = double.books();
    assert_eq!((books.intents[0].disputed_open, books.intents[0].disputed_lost), (0, 400));
    assert_eq!((books.available_cents, books.fees_cents), (600, 59 + 3_000));
    let kinds = entries(&double, None).await;
    assert_eq!(kinds[1..], [row("adjustment", -400, 1_500), row("adjustment", -600, 1_500), row("adjustment", 600, 0)]);
    let listed = get(&double, &format!("/v1/disputes?payment_intent={intent}")).send().await.body;
    assert_eq!((&listed["data"][0]["status"], &listed["data"][1]["status"]), (&"won".into(), &"lost".into()));
}

#[tokio::test]
async fn a_refunded_payment_may_be_disputed_too_and_leaves_a_debt() {
    let double = start();
    let intent = paid(&double, 1_000).await;
    double.refund(&intent, 1_000).unwrap();
    double.dispute(&intent, 1_000).unwrap();
    assert_eq!((double.books().available_cents, double.books().intents[0].kept()), (-1_000, -1_000));
}

#[tokio::test]
async fn canceled_intents_cannot_be_paid_nor_paid_ones_canceled() {
    let double = start();
    let (_, canceled) = intent(&double, 1_000).await;
    let cancel = |id: &str| post(&double, &format!("/v1/payment_intents/{id}/cancel"), "").send();
    assert_eq!(cancel(&canceled).await.body["status"], "canceled");
    assert!(double.pay(&canceled).is_err());
    let refused = cancel(&paid(&double, 1_000).await).await;
    assert_eq!((refused.status, refused.code()), (400, "payment_intent_unexpected_state"));
    assert_eq!(refused.body["error"]["payment_intent"]["status"], "succeeded");
}

#[tokio::test]
async fn transfers_need_money_after_fees_and_a_provider_who_is_onboarded() {
    let double = start();
    paid(&double, 1_000).await;
    let account = post(&double, "/v1/accounts", "type=express&country=US").send().await.id();
    assert_eq!(transfer(&double, &account, 100).await.code(), "insufficient_capabilities_for_transfer");
    let unknown = transfer(&double, "acct_none", 100).await;
    assert_eq!((unknown.status, unknown.code()), (400, "resource_missing"));
    double.onboard(&account).unwrap();
    assert_eq!(transfer(&double, &account, 942).await.code(), "balance_insufficient");
    transfer(&double, &account, 941).await.id();
    assert_eq!(transfer(&double, &account, 1).await.code(), "balance_insufficient");
    let books = double.books();
    assert_eq!((books.available_cents, books.fees_cents, books.accounts[0].balance_cents), (59, 59, 941));
    let listed = get(&double, "/v1/transfers?transfer_group=week_1").send().await.body;
    assert_eq!((listed["data"].as_array().unwrap().len(), &listed["data"][0]["metadata"]["week"]), (1, &"1".into()));
    assert_eq!(get(&double, "/v1/transfers?transfer_group=week_2").send().await.body["data"], serde_json::json!([]));
}

#[tokio::test]
async fn reversals_need_money_in_the_connected_account() {
    let double = start();
    double.top_up(1_000).unwrap();
    let account = provider(&double).await;
    let id = transfer(&double, &account, 1_000).await.id();
    pay_out(&double, &account, 700).await.id();
    let reverse =
        |cents: i64| post(&double, &format!("/v1/transfers/{id}/reversals"), &format!("amount={cents}")).send();
    assert_eq!(reverse(301).await.code(), "balance_insufficient");
    assert_eq!(reverse(1_001).await.code(), "amount_too_large");
    assert_eq!(reverse(200).await.body["object"], "transfer_reversal");
    double.reverse_transfer(&id, 100).unwrap();
    let books = double.books();
    assert_eq!((books.transfers[0].reversed, books.available_cents, books.accounts[0].balance_cents), (300, 300, 0));
    let own = entries(&double, None).await;
    assert_eq!(own[2..], [row("transfer_refund", 200, 0), row("transfer_refund", 100, 0)]);
    let theirs = entries(&double, Some(&account)).await;
    let [payment, payout] = [row("payment", 1_000, 0), row("payout", -700, 0)];
    assert_eq!(theirs, [payment, payout, row("payment_refund", -200, 0), row("payment_refund", -100, 0)]);
}

#[tokio::test]
async fn payouts_leave_at_once_and_come_back_when_they_fail_even_after_they_were_paid() {
    let double = start();
    double.top_up(1_000).unwrap();
    let account = provider(&double).await;
    transfer(&double, &account, 1_000).await.id();
    assert_eq!(pay_out(&double, &account, 1_001).await.code(), "balance_insufficient");
    let late = pay_out(&double, &account, 600).await.id();
    let early = pay_out(&double, &account, 400).await.id();
    assert_eq!(double.books().accounts[0].balance_cents, 0);
    double.fail_payout(&early).unwrap();
    double.pay_out(&late).unwrap();
    double.fail_payout(&late).unwrap();
    assert!(double.fail_payout(&late).is_err() && double.pay_out(&late).is_err());
    let books = double.books();
    assert_eq!((books.accounts[0].balance_cents, books.payouts[0].status), (1_000, PayoutStatus::Failed));

    double.disable_payouts(&account).unwrap();
    assert_eq!(pay_out(&double, &account, 1).await.code(), "payouts_not_allowed");
    let other = provider(&double).await;
    let foreign = get(&double, &format!("/v1/payouts/{late}")).account(&other).send().await;
    assert_eq!((foreign.status, foreign.code()), (404, "resource_missing"));
    assert_eq!(get(&double, "/v1/payouts").send().await.code(), "parameter_missing");
}

#[tokio::test]
async fn lists_come_by_pages_newest_first_and_by_time() {
    let double = start();
    let mut ids = Vec::new();
    for day in 0..5 {
        double.set_clock_offset(day * 86_400);
        ids.push(paid(&double, 1_000).await);
    }
    let mut seen = Vec::new();
    let mut path = "/v1/payment_intents?limit=2".to_owned();
    loop {
        let page = get(&double, &path).send().await.body;
        seen.extend(page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        if page["has_more"] == false {
            break;
        }
        path = format!("/v1/payment_intents?limit=2&starting_after={}", seen.last().unwrap());
    }
    ids.reverse();
    assert_eq!(seen, ids);
    let third = get(&double, &format!("/v1/payment_intents/{}", ids[2])).send().await.body["created"].clone();
    let count = async |bound: &str| {
        let list = get(&double, &format!("/v1/balance_transactions?type=charge&created%5B{bound}%5D={third}")).send();
        list.await.body["data"].as_array().unwrap().len()
    };
    assert_eq!((count("gte").await, count("lt").await), (3, 2));
    assert_eq!((count("gt").await, count("lte").await), (2, 3));
    assert_eq!(get(&double, "/v1/payment_intents?limit=101").send().await.status, 400);
    assert_eq!(get(&double, "/v1/payment_intents?starting_after=pi_none").send().await.code(), "resource_missing");
}

#[tokio::test]
async fn whoever_tries_things_by_hand_needs_no_key() {
    let double = start();
    let (_, intent) = intent(&double, 1_000).await;
    let by_hand = |path: &str| post(&double, &format!("/double/{path}"), "").header("authorization", "").send();
    assert_eq!(by_hand(&format!("pay/{intent}")).await.body["status"], "succeeded");
    assert_eq!(by_hand(&format!("refund/{intent}?cents=300")).await.body["amount"], 300);
    let dispute = by_hand(&format!("dispute/{intent}?cents=500")).await.id();
    assert_eq!(by_hand(&format!("dispute/{dispute}/won")).await.body["status"], "won");
    assert_eq!(by_hand("topup?cents=5000").await.status, 200);
    let account = post(&double, "/v1/accounts", "type=express").send().await.id();
    let link =
        format!("account={account}&type=account_onboarding&refresh_url=http%3A%2F%2Fa%2F&return_url=http%3A%2F%2Fb%2F");
    let link = post(&double, "/v1/account_links", &link).send().await.body;
    let onboarding = link["url"].as_str().unwrap().strip_prefix(double.url()).unwrap();
    let onboarded = get(&double, onboarding).send().await;
    assert_eq!((onboarded.status, onboarded.headers["location"].to_str().unwrap()), (303, "http://b/"));
    transfer(&double, &account, 800).await.id();
    let payout = pay_out(&double, &account, 800).await.id();
    assert_eq!(by_hand(&format!("payout/{payout}/paid")).await.body["status"], "paid");
    assert_eq!(by_hand(&format!("payout/{payout}/failed")).await.body["status"], "failed");
    assert_eq!(by_hand("nothing").await.status, 404);
    assert_eq!(double.books().intents[0].kept(), 700);
    assert_eq!(double.calls().iter().filter(|call| call.path.starts_with("/double")).count(), 0);
}
