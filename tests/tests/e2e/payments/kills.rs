//! `kill -9` at every named point of a purchase, a refund, an automatic purchase and a payout: the same people do the same
//! again after the restart, and each payment, refund, transfer and bank payout exists once, at the processor and in the
//! ledger.

use crate::support::http::Api;
use crate::support::market::{Trader, ask, chat, list_model, open_account, open_provider};
use crate::support::process::{ADMIN_KEY, Gollem, Process, binary, verify};
use crate::support::venue::MODEL;
use crate::support::{at_once, endpoint, eventually, start_mock};
use bytes::Bytes;
use gollem_stripe_double::{Deliveries, Double, IntentRow, Options, PayoutRow, PayoutStatus, TransferRow};
use gollem_tests::real::kill::payment_points;
use hyper::Method;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

/// SIGKILL.
const KILL: i32 = 9;
/// Atoms of a cent.
const CENT: i64 = 1_000_000_000;
/// Ten credits a unit: a call earns dollars.
const PRICE: i64 = 1_000_000_000;
/// Notices find a server that was restarted.
const DELIVERIES: Deliveries =
    Deliveries::Auto { duplicates_permille: 0, lost_permille: 0, delay_ms_max: 0, shuffle: true, retries: 60 };

/// The real binary that can kill itself, with the double as its processor.
async fn serve(data: &Path, stripe: &Double, crash_at: Option<&str>) -> Gollem {
    let url = format!("{}/", stripe.url());
    let data_text = data.to_str().unwrap();
    let arguments =
        ["serve", "--data", data_text, "--listen", "127.0.0.1:0", "--dev", "--pin", "off", "--tree-key", "off"];
    let arguments = [&arguments[..], &["--stripe-url", &url]].concat();
    let mut environment = vec![
        ("GOLLEM_ADMIN_KEY", ADMIN_KEY),
        ("GOLLEM_LOG", "warn"),
        ("GOLLEM_STRIPE_KEY", "sk_test_double"),
        ("GOLLEM_STRIPE_WEBHOOK_SECRET", "whsec_double"),
    ];
    environment.extend(crash_at.map(|point| ("GOLLEM_CRASH_AT", point)));
    let log = data.with_extension("log");
    let mut process = Process::start("gollem-with-crash-points", &arguments, &environment, &log);
    let base = process.line("listening on ").await;
    stripe.set_webhook(Some(format!("{base}/webhooks/stripe")));
    Gollem { process, admin: Api::new(&base, Some(ADMIN_KEY)) }
}

/// Who acts in one round, and with what the provider begins, in atoms.
struct Round {
    buyer: Trader,
    provider: Trader,
    earned: i64,
}

/// Sends a request until it is answered with success: a server that was killed has not answered.
async fn insist(api: &Api, method: Method, path: &str, key: &str, body: &Value) -> Value {
    let headers = [("idempotency-key", key)];
    let bytes = || if method == Method::GET { Bytes::new() } else { Bytes::from(body.to_string()) };
    eventually(&format!("{method} {path} succeeds"), async || {
        let headers = if key.is_empty() { &[][..] } else { &headers[..] };
        let reply = api.try_send(method.clone(), path, headers, bytes()).await?;
        (reply.status < 300).then_some(reply.body)
    })
    .await
}

impl Round {
    /// Everything that this round's people do. Done again after a kill it goes on where it was.
    async fn play(&self, admin: &Api, stripe: &Double, name: &str) {
        let (buyer, provider) = (self.buyer.at(admin.base()).api, self.provider.at(admin.base()).api);
        let get = async |api: &Api, path: &str| insist(api, Method::GET, path, "", &Value::Null).await;
        // A purchase, of which the way of paying is kept.
        let wish = json!({ "amount_usd": "10.00", "save_method": true });
        let begun = insist(&buyer, Method::POST, "/api/payments/create-intent", name, &wish).await;
        let payment = begun["id"].as_str().unwrap().to_owned();
        // Only the first time.
        drop(stripe.pay(&payment));
        let has_bought = async |count: usize| {
            eventually(&format!("{count} payments are credited"), async || {
                let told = get(&buyer, "/api/payments/transactions").await;
                let credited = told["transactions"].as_array().unwrap().iter().filter(|row| row["kind"] == "purchase");
                (credited.count() >= count).then_some(())
            })
            .await;
        };
        has_bought(1).await;
        // A part of it goes back.
        let refund = json!({ "payment": payment, "amount_usd": "2.00" });
        insist(admin, Method::POST, "/v1/admin/refunds", name, &refund).await;
        eventually("the refund is made", async || {
            stripe.books().intents.iter().any(|row| row.id == payment && row.refunded > 0).then_some(())
        })
        .await;
        // The balance is low, and one purchase is allowed.
        eventually("the way of paying is kept", async || {
            (get(&buyer, "/api/payments/balance").await["saved_method"] == true).then_some(())
        })
        .await;
        let renew = json!({ "enabled": true, "below": "900000", "amount_usd": "5.00", "monthly_cap_usd": "5.00" });
        insist(&buyer, Method::PUT, "/api/payments/auto-renew", "", &renew).await;
        has_bought(2).await;
        // The provider's bank takes one payout, and returns another.
        let page = json!({ "return_url": "https://example.com/earnings" });
        let told = insist(&provider, Method::POST, "/api/payments/onboarding", "", &page).await;
        let account = told["processor_account"].as_str().unwrap().to_owned();
        if told["payable"] == false && get(&provider, "/v1/payouts").await["payouts"].as_array().unwrap().len() < 2 {
            stripe.onboard(&account).unwrap();
        }
        for (place, amount, good) in [(0, "1.00", true), (1, "1.50", false)] {
            let mut payouts = get(&provider, "/v1/payouts").await["payouts"].as_array().unwrap().clone();
            payouts.sort_by_key(|payout| payout["id"].as_str().unwrap()[4..].parse::<u64>().unwrap());
            let id = match payouts.get(place) {
                Some(payout) => payout["id"].clone(),
                None => {
                    insist(&provider, Method::POST, "/v1/payouts", "", &json!({ "amount_usd": amount })).await["id"]
                        .clone()
                }
            };
            let mut looks = 0;
            let at_bank = eventually("it is on its way to the bank", async || {
                let marked = |row: &PayoutRow| row.metadata.get("gollem_payout").map(String::as_str) == id.as_str();
                let found = stripe.books().payouts.into_iter().find(marked);
                looks += 1;
                if looks % 1_000 == 0 && found.is_none() {
                    println!("{name} {id}: {:#}", get(admin, "/v1/admin/outbox?state=due").await);
                }
                found
            })
            .await;
            if at_bank.status == PayoutStatus::Pending {
                let decided = if good { stripe.pay_out(&at_bank.id) } else { stripe.fail_payout(&at_bank.id) };
                decided.unwrap();
            }
            let expected = if good { "confirmed" } else { "failed" };
            eventually(&format!("{id} is {expected}"), async || {
                let told = get(&provider, "/v1/payouts").await;
                told["payouts"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|row| row["id"] == id && row["status"] == expected)
                    .then_some(())
            })
            .await;
        }
    }

    /// Everything is there once, here and at the processor.
    async fn check(&self, gollem: &Gollem, stripe: &Double, point: &str) {
        assert!(stripe.quiet(Duration::from_secs(60)).await, "{point}: notices are taken");
        for state in ["due", "dead"] {
            eventually(&format!("{point}: no letter is {state}"), async || {
                let told = gollem.admin.get(&format!("/v1/admin/outbox?state={state}")).await.ok();
                told["letters"].as_array().unwrap().is_empty().then_some(())
            })
            .await;
        }
        let report = gollem.admin.post("/v1/admin/reconcile", &json!({})).await.ok();
        assert_eq!((&report["ok"], &report["differences"]), (&json!(true), &json!([])), "{point}");
        let (buyer, provider) = (self.buyer.at(gollem.base()), self.provider.at(gollem.base()));
        let has = buyer.balance().await;
        assert_eq!((has.available, has.owed), ((1_000 - 200 + 500) * CENT, 0), "{point}");
        let has = provider.balance().await;
        assert_eq!((has.earned, has.payout_pending), (self.earned - 100 * CENT, 0), "{point}");
        let books = stripe.books();
        let own = |row: &&IntentRow| row.metadata.get("gollem_account") == Some(&buyer.id);
        let paid: Vec<(i64, i64)> = books.intents.iter().filter(own).map(|row| (row.paid, row.refunded)).collect();
        assert_eq!(paid, [(1_000, 200), (500, 0)], "{point}: each payment once, refunded once");
        let told = provider.api.get("/v1/payouts").await.ok();
        let ids: Vec<&str> =
            told["payouts"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
        let marked = |mark: Option<&String>| mark.is_some_and(|mark| ids.contains(&mark.as_str()));
        let transfers = books.transfers.iter().filter(|row: &&TransferRow| marked(row.metadata.get("gollem_payout")));
        let transfers: Vec<(i64, i64)> = transfers.map(|row| (row.amount, row.reversed)).collect();
        assert_eq!(transfers, [(100, 0), (150, 150)], "{point}: each transfer once");
        let payouts = books.payouts.iter().filter(|row| marked(row.metadata.get("gollem_payout")));
        let payouts: Vec<(i64, PayoutStatus)> = payouts.map(|row| (row.amount, row.status)).collect();
        assert_eq!(payouts, [(100, PayoutStatus::Paid), (150, PayoutStatus::Failed)], "{point}: each bank payout once");
        assert_eq!(gollem.state().await["ledger_sum"], 0, "{point}");
    }
}

/// Rounds whose providers have earned something and whose buyers have nothing.
async fn found(gollem: &Gollem, stripe: &Double, count: usize, endpoint: &str) -> Vec<Round> {
    list_model(&gollem.admin, MODEL, json!({ "tick": "0.001", "reference_price": "10" })).await;
    let caller = open_account(&gollem.admin, "caller", &["read", "trade"]).await;
    let wish = json!({ "amount_usd": "1000.00" });
    let begun = insist(&caller.api, Method::POST, "/api/payments/create-intent", "first", &wish).await;
    stripe.pay(begun["id"].as_str().unwrap()).unwrap();
    eventually("the caller has credits", async || (caller.balance().await.available > 0).then_some(())).await;
    stripe.top_up(100_000).unwrap();
    let mut rounds = vec![];
    for place in 0..count {
        let buyer = open_account(&gollem.admin, &format!("buyer {place}"), &["read", "trade"]).await;
        let provider = open_provider(&gollem.admin, &format!("provider {place}"), endpoint).await;
        let order = provider.place(&ask(MODEL, PRICE, 1_000_000, json!({}))).await;
        caller.chat(&chat(MODEL, json!({ "max_tokens": 110 }))).await.ok();
        provider.api.delete(&format!("/v1/orders/{order}")).await.ok();
        let earned = provider.balance().await.earned;
        assert!(earned > 300 * CENT, "a call earns dollars: {earned}");
        rounds.push(Round { buyer, provider, earned });
    }
    rounds
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_every_step_of_a_purchase_and_a_payout_neither_lose_money_nor_double_it() {
    // The ordinary binaries first: the others take their place for a moment.
    binary("gollem");
    let points = tokio::task::spawn_blocking(payment_points).await.unwrap().unwrap();
    assert!(points.len() >= 12, "{points:?}");
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let stripe = Double::start(Options { deliveries: DELIVERIES, ..Options::default() }).unwrap();
    let mock = start_mock(at_once()).await;
    let gollem = serve(&data, &stripe, None).await;
    let rounds = found(&gollem, &stripe, points.len(), &endpoint(&mock)).await;
    gollem.process.stop().await;
    for (round, point) in rounds.iter().zip(&points) {
        let mut gollem = serve(&data, &stripe, Some(point)).await;
        let admin = gollem.admin.clone();
        let status = tokio::select! {
            status = gollem.process.ended() => status,
            () = round.play(&admin, &stripe, point) => panic!("{point} was never passed"),
        };
        assert_eq!(status.signal(), Some(KILL), "{point}: {status}");
        let gollem = serve(&data, &stripe, None).await;
        round.play(&gollem.admin, &stripe, point).await;
        round.check(&gollem, &stripe, point).await;
        gollem.process.stop().await;
        println!("killed at {point}");
    }
    let books = stripe.books();
    assert_eq!(books.intents.len(), 1 + 2 * points.len());
    assert_eq!((books.transfers.len(), books.payouts.len()), (2 * points.len(), 2 * points.len()));
    assert_eq!(books.accounts.len(), points.len(), "each provider has one account at the processor");
    verify(&data);
}
