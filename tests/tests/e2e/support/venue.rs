//! An exchange in this process, in a folder of its own.

use super::http::Api;
use super::listener;
use super::market::{Trader, list_model, open_buyer, open_provider};
use gollem_gateway::{ApiKey, Closed, Exchange, ExchangeOptions, LimiterOptions, Server, Tier};
use gollem_sequencer::Pinning;
use serde_json::json;
use tempfile::TempDir;

/// The model that [`Venue::trading`] lists.
pub(crate) const MODEL: &str = "gpt4";

pub(crate) struct Venue {
    /// The operator.
    pub(crate) admin: Api,
    exchange: Exchange,
    server: Server,
    data: TempDir,
}

impl Venue {
    pub(crate) async fn open() -> Venue {
        Venue::open_with(|options| options).await
    }

    /// An exchange that is no playground: no granted credits, no private addresses.
    pub(crate) async fn open_for_real() -> Venue {
        Venue::open_with(for_real).await
    }

    /// A playground but for what `change` does to its options.
    pub(crate) async fn open_with(change: impl FnOnce(ExchangeOptions) -> ExchangeOptions) -> Venue {
        Venue::start(tempfile::tempdir().unwrap(), None, change).await
    }

    async fn start(data: TempDir, key: Option<&str>, change: impl FnOnce(ExchangeOptions) -> ExchangeOptions) -> Venue {
        let options = ExchangeOptions::new(data.path().to_owned());
        // Tests that are about limits set them.
        let limits = LimiterOptions { default_tier: Tier::Unlimited, flood_per_second: 0 };
        let options = change(ExchangeOptions { dev: true, pinning: Pinning::Off, limits, ..options });
        let exchange = Exchange::open(&options).await.unwrap();
        let server = Server::start(listener().await, exchange.app()).unwrap();
        let new_key = exchange.new_admin_key().map(ApiKey::reveal);
        let key = key.or(new_key.as_deref()).expect("GOLLEM_ADMIN_KEY is not set for the tests");
        let admin = Api::new(&format!("http://{}", server.address()), Some(key));
        Venue { admin, exchange, server, data }
    }

    /// An exchange with one model, a buyer with $1,000, and a provider at `endpoint` that asks for `price` atoms a
    /// unit for a million units; also the id of that ask.
    pub(crate) async fn trading(endpoint: &str, price: i64) -> (Venue, Trader, Trader, String) {
        Venue::trading_with(|options| options, endpoint, price).await
    }

    /// [`Venue::trading`] with other options.
    pub(crate) async fn trading_with(
        change: impl FnOnce(ExchangeOptions) -> ExchangeOptions,
        endpoint: &str,
        price: i64,
    ) -> (Venue, Trader, Trader, String) {
        let venue = Venue::open_with(change).await;
        list_model(&venue.admin, MODEL, json!({})).await;
        let buyer = open_buyer(&venue.admin, "buyer", 1_000).await;
        let provider = open_provider(&venue.admin, "provider", endpoint).await;
        let ask = provider.place(&super::market::ask(MODEL, price, CAPACITY, json!({}))).await;
        (venue, buyer, provider, ask)
    }

    /// Stops everything, after a look at the ledger.
    pub(crate) async fn close(self) -> Closed {
        self.stop().await.1
    }

    /// Stops everything and opens it again, for real.
    pub(crate) async fn reopen_for_real(self) -> Venue {
        let key = self.admin.key().to_owned();
        let (data, _) = self.stop().await;
        Venue::start(data, Some(&key), for_real).await
    }

    async fn stop(self) -> (TempDir, Closed) {
        let state = self.admin.get("/v1/admin/state").await.ok();
        assert_eq!(state["ledger_sum"], 0);
        self.server.stop().await;
        let closed = self.exchange.close().await.unwrap();
        assert_eq!(closed.ledger_sum, 0, "no credit was made or lost");
        (self.data, closed)
    }
}

fn for_real(options: ExchangeOptions) -> ExchangeOptions {
    ExchangeOptions { dev: false, ..options }
}

/// Units of the ask in [`Venue::trading`].
pub(crate) const CAPACITY: u64 = 1_000_000;
