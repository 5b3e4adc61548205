//! Setting the scene through the public API: accounts, instruments, mock providers and their asks, buyers with credits.

use crate::app::App;
use crate::demo::Speed;
use crate::demo::bank::Bank;
use crate::demo::prices::{Prices, TICK_ATOMS};
use crate::demo::tally::Tally;
use crate::exchange::Exchange;
use crate::identity::{Credential, NewKey};
use crate::keys::{ApiKey, Scopes};
use crate::money::dollars;
use anyhow::{Context, bail};
use axum::http::StatusCode;
use gollem_engine::{AccountId, Price};
use gollem_projections::words::credits_per_unit;
use gollem_provider::client::Client;
use gollem_provider::mock::{Mock, MockOptions};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

/// Buyers who take turns.
const BUYERS: usize = 8;
/// What each buyer purchases at the start.
const PURCHASE_USD: &str = "250.00";
/// Units of each ask: two fifths of what the whole trace asks of one model, so that the market has to move up its book.
const CAPACITY: u64 = 1_000_000;
/// Parts per million of requests that a mock provider fails.
const FAILURES_PPM: u32 = 5_000;

/// What a buyer gets back of a delivery whose first token is later than promised: a twentieth.
const REBATE_BPS: u16 = 500;

/// A market ready to play in.
pub(super) struct Scene {
    pub(super) address: String,
    pub(super) buyers: Vec<String>,
    pub(super) models: Vec<ModelLimits>,
    pub(super) tally: Arc<Mutex<Tally>>,
    asks: usize,
    mocks: Vec<Mock>,
    pub(super) providers: Vec<Client>,
}

/// A model and the prices its buyers think of.
pub(super) struct ModelLimits {
    pub(super) name: String,
    /// The median offer in US dollars per normalised token, for `x-max-price`.
    pub(super) median_usd: String,
}

struct Provider {
    client: Client,
    latency_ms: u32,
    throughput_tps: u32,
}

/// Opens accounts, lists the models, starts the providers and places their asks. Goes on where an earlier demo in
/// the same folder ended: accounts are found by name, asks replace earlier ones.
pub(super) async fn open_market(
    exchange: &Exchange,
    address: &str,
    prices: &Prices,
    speed: Speed,
    bank: Option<&Bank>,
) -> anyhow::Result<Scene> {
    let app = exchange.app();
    let admin_key = ApiKey::generate()?;
    add_key(&app, None, &admin_key, Scopes::ADMIN).await?;
    let admin = Client::new(address, Some(&admin_key.reveal()))?;
    for model in prices.models.keys() {
        let reference = prices.dearest(model).context("a model without offers")?;
        let body = json!({
            "symbol": model,
            "reference_price": credits_per_unit(reference),
            "tick": credits_per_unit(Price(TICK_ATOMS)),
            "rebate_bps": REBATE_BPS,
        });
        expect(admin.post("/v1/instruments", &body).await?, &[StatusCode::CREATED, StatusCode::CONFLICT])?;
    }
    let mut mocks = Vec::new();
    let mut providers = BTreeMap::new();
    for offer in prices.models.values().flatten() {
        if !providers.contains_key(&offer.provider) {
            let provider = open_provider(&app, &admin, &offer.provider, speed, &mut mocks).await?;
            providers.insert(offer.provider.clone(), provider);
        }
    }
    let mut asks = 0;
    for (model, offers) in &prices.models {
        for offer in offers {
            let provider = providers.get(&offer.provider).context("an offer without a provider")?;
            let quote = json!({
                "model": model, "price": dollars(offer.price.0.into()).to_string(), "latency": provider.latency_ms,
                "throughput": provider.throughput_tps, "capacity": CAPACITY,
            });
            let (status, body) = provider.client.post("/api/provider/status", &quote).await?;
            if body.pointer("/error/code").and_then(Value::as_str) == Some("provider_suspended") {
                // Its calls failed in an earlier demo, moments ago; its earlier asks come back by themselves.
                continue;
            }
            expect((status, body), &[StatusCode::OK])?;
            asks += 1;
        }
    }
    let buyers = open_buyers(&app, &admin, bank).await?;
    let models = prices.models.keys().map(|name| {
        let median = prices.median(name).context("a model without offers")?;
        Ok(ModelLimits { name: name.clone(), median_usd: dollars(median.0.into()).to_string() })
    });
    let models: anyhow::Result<Vec<ModelLimits>> = models.collect();
    let tally = Arc::new(Mutex::new(Tally::default()));
    let providers = providers.into_values().map(|provider| provider.client).collect();
    Ok(Scene { address: address.to_owned(), buyers, models: models?, tally, asks, mocks, providers })
}

async fn open_provider(
    app: &App,
    admin: &Client,
    name: &str,
    speed: Speed,
    mocks: &mut Vec<Mock>,
) -> anyhow::Result<Provider> {
    let key = account_key(app, admin, &format!("demo-{name}"), &["read", "provide", "withdraw"]).await?;
    let client = Client::new(admin.base_url(), Some(&key))?;
    let (latency_ms, throughput_tps) = character(name);
    let (first_token, tokens_per_s) = match speed {
        Speed::Max => (Duration::ZERO, 0),
        Speed::Times(times) => {
            let tokens_per_s = (f64::from(throughput_tps) * times).round().clamp(1.0, 1e9);
            // One in some promises more than it keeps, however fast the trace is played.
            let promised = Duration::from_millis(latency_ms.into());
            let first_token = if overpromises(name) { promised.mul_f64(1.3) } else { promised.div_f64(times) };
            (first_token, tokens_per_s as u32)
        }
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let options = MockOptions {
        first_token,
        tokens_per_s,
        failure_rate_ppm: FAILURES_PPM,
        seed: fingerprint(name),
        ..MockOptions::default()
    };
    let mock = Mock::start(listener, options).await;
    let endpoint = json!({ "endpoint": format!("http://{}/v1", mock.address()) });
    expect(client.put("/v1/provider", &endpoint).await?, &[StatusCode::OK])?;
    mocks.push(mock);
    Ok(Provider { client, latency_ms, throughput_tps })
}

async fn open_buyers(app: &App, admin: &Client, bank: Option<&Bank>) -> anyhow::Result<Vec<String>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut buyers = Vec::new();
    for number in 1..=BUYERS {
        let key = account_key(app, admin, &format!("demo-buyer-{number}"), &["read", "trade"]).await?;
        let client = Client::new(admin.base_url(), Some(&key))?;
        match bank {
            Some(bank) => bank.buy(&client, PURCHASE_USD).await?,
            None => {
                let purchase = json!({ "amount_usd": PURCHASE_USD, "reference": format!("demo-{number}-{now}") });
                expect(client.post("/v1/purchases", &purchase).await?, &[StatusCode::CREATED])?;
            }
        }
        buyers.push(key);
    }
    Ok(buyers)
}

/// A key for the account of that name, which is opened when it does not exist.
async fn account_key(app: &App, admin: &Client, name: &str, scopes: &[&str]) -> anyhow::Result<String> {
    if let Some(account) = app.identity.account_named(name).await? {
        let scopes = scopes.iter().filter_map(|scope| Scopes::from_name(scope)).fold(Scopes(0), Scopes::with);
        let key = ApiKey::generate()?;
        add_key(app, Some(account), &key, scopes).await?;
        return Ok(key.reveal());
    }
    // A key that withdraws is bound to where it is used.
    let addresses: &[&str] = if scopes.contains(&"withdraw") { &["127.0.0.0/8", "::1/128"] } else { &[] };
    let account = json!({ "name": name, "scopes": scopes, "addresses": addresses });
    let opened = admin.post("/v1/accounts", &account).await?;
    let body = expect(opened, &[StatusCode::CREATED])?;
    let key = body.get("api_key").and_then(Value::as_str).context("an account without a key")?;
    Ok(key.to_owned())
}

async fn add_key(app: &App, account: Option<AccountId>, key: &ApiKey, scopes: Scopes) -> Result<(), sqlx::Error> {
    let set = NewKey::unbounded("demo", scopes);
    app.identity.add_key(account, key.public(), Credential::of(key), set).await.map(drop)
}

fn expect((status, body): (StatusCode, Value), expected: &[StatusCode]) -> anyhow::Result<Value> {
    if !expected.contains(&status) {
        bail!("the exchange answered {status}: {body}");
    }
    Ok(body)
}

/// A provider's latency (80 to 779 ms) and throughput (30 to 249 tokens/s), drawn from its name: no list has them.
fn character(name: &str) -> (u32, u32) {
    let drawn = fingerprint(name);
    ((80 + drawn % 700) as u32, (30 + (drawn >> 32) % 220) as u32)
}

/// Whether a provider's first token takes a third longer than it promises.
fn overpromises(name: &str) -> bool {
    fingerprint(name) % 5 == 2
}

/// FNV-1a, which needs no seed and is the same everywhere.
fn fingerprint(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Scene {
    /// One line on what was set up.
    pub(super) fn describe(&self) -> String {
        format!(
            "market open: {} models, {} asks of {} providers, {} buyers with ${PURCHASE_USD} each",
            self.models.len(),
            self.asks,
            self.mocks.len(),
            self.buyers.len()
        )
    }

    /// What to try on the exchange that keeps serving.
    pub(super) fn invitation(&self) -> String {
        let (key, model) = (self.buyers.first(), self.models.first().map(|model| &model.name));
        format!(
            "\nStill serving on {address}; Ctrl-C stops it. Try, in another terminal:\n\n  \
             export KEY={key}\n  \
             curl {address}/v1/book/{model}\n  \
             curl {address}/v1/balance -H \"Authorization: Bearer $KEY\"\n  \
             curl {address}/v1/chat/completions -H \"Authorization: Bearer $KEY\" \\\n    \
             -d '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}],\"max_tokens\":16}}'\n",
            address = self.address,
            key = key.map_or("", String::as_str),
            model = model.map_or("", String::as_str),
        )
    }

    /// Stops the mock providers.
    pub(super) async fn stop(self) {
        for mock in self.mocks {
            mock.stop().await;
        }
    }
}
