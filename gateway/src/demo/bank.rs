//! The demo's money: buyers pay with a double of Stripe, providers are paid out by it, and at the end its books are held
//! against the ledger's, as every exchange does with the real ones every day.

use crate::app::App;
use crate::identity::unix_seconds;
use crate::payments::StripeOptions;
use crate::payments::reconcile::{DAY_S, reconcile};
use anyhow::{Context, bail};
use axum::http::StatusCode;
use gollem_provider::client::Client;
use gollem_stripe_double::{Deliveries, Double, Options};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long a payment or a payout may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at.
const PAUSE: Duration = Duration::from_millis(20);
const SECRET_KEY: &str = "sk_test_double";
const WEBHOOK_SECRET: &str = "whsec_double";

/// The double of Stripe that a demo has.
pub(super) struct Bank(Double);

/// What came of it.
pub(super) struct Money {
    /// For people.
    pub(super) line: String,
    /// For programs.
    pub(super) report: Value,
}

impl Bank {
    /// Opens for business; `webhook` is where the demo's exchange will listen.
    pub(super) fn open(exchange: &str) -> anyhow::Result<Bank> {
        let options = Options {
            key: SECRET_KEY.to_owned(),
            webhook_secrets: vec![WEBHOOK_SECRET.to_owned()],
            deliveries: Deliveries::prompt(),
            ..Options::default()
        };
        let double = Double::start(options).context("the double of Stripe")?;
        double.set_webhook(Some(format!("{exchange}/webhooks/stripe")));
        Ok(Bank(double))
    }

    /// How the exchange finds it.
    pub(super) fn options(&self) -> StripeOptions {
        StripeOptions {
            url: format!("{}/", self.0.url()),
            secret_key: SECRET_KEY.to_owned(),
            publishable_key: None,
            webhook_secrets: vec![WEBHOOK_SECRET.to_owned()],
        }
    }

    /// Buys credits and waits until they are there.
    pub(super) async fn buy(&self, buyer: &Client, amount_usd: &str) -> anyhow::Result<()> {
        let wish = json!({ "amount_usd": amount_usd });
        let (status, begun) = buyer.post_once("/api/payments/create-intent", "demo", &wish).await?;
        let payment = begun["id"].as_str().filter(|_| status == StatusCode::CREATED);
        let payment = payment.with_context(|| format!("a payment was not begun: {status} {begun}"))?;
        self.0.pay(payment).map_err(|refusal| anyhow::anyhow!("the double refused a payment: {refusal:?}"))?;
        wait("a payment is credited", async || {
            let (_, balance) = buyer.get("/v1/balance").await?;
            Ok(balance["available"].as_str().is_some_and(|available| !available.starts_with("0.")))
        })
        .await
    }

    /// Pays providers what they earned, as far as it is whole cents.
    pub(super) async fn pay_out(&self, providers: impl Iterator<Item = &Client>) -> anyhow::Result<()> {
        let mut asked = 0;
        for provider in providers {
            let back = json!({ "return_url": "https://example.com/" });
            let (status, told) = provider.post("/api/payments/onboarding", &back).await?;
            let account = told["processor_account"].as_str().filter(|_| status == StatusCode::OK);
            let account = account.with_context(|| format!("a provider was not taken on: {status} {told}"))?;
            self.0.onboard(account).map_err(|refusal| anyhow::anyhow!("the double refused: {refusal:?}"))?;
            let (status, told) = provider.post("/v1/payouts", &json!({})).await?;
            match status {
                StatusCode::CREATED => asked += 1,
                // Less than a cent was earned.
                StatusCode::BAD_REQUEST => {}
                _ => bail!("a payout was not taken: {status} {told}"),
            }
        }
        wait("payouts are on their way", async || Ok(self.0.books().payouts.len() == asked)).await?;
        for payout in self.0.books().payouts {
            self.0.pay_out(&payout.id).map_err(|refusal| anyhow::anyhow!("the bank refused: {refusal:?}"))?;
        }
        Ok(())
    }

    /// Holds both sets of books against each other.
    ///
    /// # Errors
    /// When they differ.
    pub(super) async fn compare(&self, app: &App) -> anyhow::Result<Money> {
        let payments = app.payments.as_deref().context("no processor is connected")?;
        let mut report = Value::Null;
        wait("payouts have arrived", async || {
            let now = unix_seconds();
            report = reconcile(app, payments, now - DAY_S, now + DAY_S).await?.json;
            Ok(report["payouts_under_way"] == 0)
        })
        .await?;
        let books = self.0.books();
        let paid: i64 = books.intents.iter().map(|intent| intent.paid).sum();
        let out: i64 = books.payouts.iter().map(|payout| payout.amount).sum();
        if report["ok"] != true {
            bail!("the processor's books and the ledger differ: {:#}", report["differences"]);
        }
        let line = format!(
            "{:>12}   dollars paid out to {} banks of {} bought; the processor's books and the ledger agree",
            dollars_of(out),
            books.payouts.len(),
            dollars_of(paid)
        );
        Ok(Money { line, report })
    }
}

fn dollars_of(cents: i64) -> Decimal {
    Decimal::new(cents, 2)
}

async fn wait(what: &str, mut done: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done().await? {
        if Instant::now() > deadline {
            bail!("it takes too long until {what}");
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
