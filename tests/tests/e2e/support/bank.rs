//! An exchange in this process whose payment processor is the double of Stripe.

use super::http::{Api, Reply};
use super::market::{Trader, ask, list_model, open_account, open_provider};
use super::venue::{CAPACITY, MODEL, Venue};
use super::{at_once, endpoint, eventually, start_mock};
use gollem_gateway::{ExchangeOptions, StripeOptions};
use gollem_provider::mock::Mock;
use gollem_stripe_double::{Deliveries, Double, Options};
use serde_json::{Value, json};

pub(crate) const SECRET: &str = "whsec_double";

/// The exchange and its processor.
pub(crate) struct Bank {
    pub(crate) venue: Venue,
    pub(crate) stripe: Double,
}

impl Bank {
    /// Notices are delivered at once, in order, once each.
    pub(crate) async fn open() -> Bank {
        Bank::open_with(Options { deliveries: Deliveries::prompt(), ..Options::default() }).await
    }

    pub(crate) async fn open_with(options: Options) -> Bank {
        let stripe = Double::start(options).unwrap();
        let venue = Venue::open_with(|options| connected(options, stripe.url())).await;
        stripe.set_webhook(Some(format!("{}/webhooks/stripe", venue.admin.base())));
        Bank { venue, stripe }
    }

    /// The same with a model, a buyer who paid $1,000 and a provider that asks for `price` atoms a unit.
    pub(crate) async fn trading(price: i64) -> (Bank, Mock, Trader, Trader) {
        let (bank, mock) = (Bank::open().await, start_mock(at_once()).await);
        let admin = &bank.venue.admin;
        list_model(admin, MODEL, json!({ "tick": "0.001", "reference_price": "10" })).await;
        let buyer = open_account(admin, "buyer", &["read", "trade"]).await;
        buy(&bank, &buyer.api, "1000.00", "first").await;
        eventually("the buyer has credits", async || (buyer.balance().await.available > 0).then_some(())).await;
        let provider = open_provider(admin, "provider", &endpoint(&mock)).await;
        provider.place(&ask(MODEL, price, CAPACITY, json!({}))).await;
        // The processor keeps a part of each payment: what providers earn has to come from somewhere.
        bank.stripe.top_up(100_000).unwrap();
        (bank, mock, buyer, provider)
    }

    /// What the operator is told of the books; the newest letters have been dealt with.
    pub(crate) async fn reconciled(&self) -> Value {
        self.venue.admin.post("/v1/admin/reconcile", &json!({})).await.ok()
    }

    /// Letters in a state.
    pub(crate) async fn letters(&self, state: &str) -> Vec<Value> {
        let told = self.venue.admin.get(&format!("/v1/admin/outbox?state={state}&limit=1000")).await.ok();
        told["letters"].as_array().unwrap().clone()
    }

    /// Waits until no letter is due but those that wait for somebody outside.
    pub(crate) async fn settled(&self) {
        eventually("letters are dealt with", async || {
            let due = self.letters("due").await;
            due.iter().all(|letter| letter["attempts"] == 0 && letter["error"].is_string()).then_some(())
        })
        .await;
    }

    /// Stops both after a look at the books.
    pub(crate) async fn close(self) {
        let report = self.reconciled().await;
        assert_eq!(report["ok"], true, "{report:#}");
        self.venue.close().await;
    }
}

/// Options with the double as the processor.
pub(crate) fn connected(options: ExchangeOptions, url: &str) -> ExchangeOptions {
    let stripe = StripeOptions {
        url: format!("{url}/"),
        secret_key: "sk_test_double".to_owned(),
        publishable_key: Some("pk_test_double".to_owned()),
        webhook_secrets: vec![SECRET.to_owned()],
    };
    ExchangeOptions { stripe: Some(stripe), ..options }
}

/// Begins a payment.
pub(crate) async fn begin(api: &Api, amount_usd: &str, key: &str) -> Reply {
    let body = json!({ "amount_usd": amount_usd });
    api.post_with("/api/payments/create-intent", &[("idempotency-key", key)], &body).await
}

/// Begins a payment and makes it; returns its number.
pub(crate) async fn buy(bank: &Bank, api: &Api, amount_usd: &str, key: &str) -> String {
    let begun = begin(api, amount_usd, key).await.ok();
    let id = begun["id"].as_str().unwrap().to_owned();
    bank.stripe.pay(&id).unwrap();
    id
}
