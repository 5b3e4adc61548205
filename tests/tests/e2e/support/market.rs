//! Accounts, orders and money over the API: what nearly every test begins with.

use super::eventually;
use super::http::{Api, Headers, Reply};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Atoms of a US dollar.
pub(crate) const DOLLAR: i64 = 100_000_000_000;

/// Atoms of an amount or a price as the API writes it: a decimal string in credits with all eight decimals.
#[track_caller]
pub(crate) fn atoms(credits: &Value) -> i64 {
    let text = credits.as_str().unwrap_or_else(|| panic!("{credits} is an amount"));
    let (whole, fraction) = text.split_once('.').unwrap_or_else(|| panic!("{text} has decimals"));
    assert_eq!(fraction.len(), 8, "{text} has all its decimals");
    format!("{whole}{fraction}").parse().unwrap()
}

/// Atoms as the API takes a price or an amount in credits.
pub(crate) fn credits(atoms: i64) -> String {
    format!("{}.{:08}", atoms / 100_000_000, atoms % 100_000_000)
}

/// Atoms a unit as `x-max-price` and a provider's `price` take them: US dollars.
pub(crate) fn dollars(atoms: i64) -> String {
    format!("{}.{:011}", atoms / DOLLAR, atoms % DOLLAR)
}

/// What an account owns, in atoms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) available: i64,
    pub(crate) held: i64,
    pub(crate) escrow: i64,
    pub(crate) earned: i64,
    pub(crate) payout_pending: i64,
    pub(crate) owed: i64,
}

impl Balance {
    fn parse(body: &Value) -> Balance {
        Balance {
            available: atoms(&body["available"]),
            held: atoms(&body["held"]),
            escrow: atoms(&body["escrow"]),
            earned: atoms(&body["earned"]),
            payout_pending: atoms(&body["payout_pending"]),
            owed: atoms(&body["owed"]),
        }
    }
}

/// An account and its key.
#[derive(Clone, Debug)]
pub(crate) struct Trader {
    pub(crate) api: Api,
    /// `acc_1`
    pub(crate) id: String,
}

/// Opens an account whose key has these scopes; one that withdraws works from this machine only.
pub(crate) async fn open_account(admin: &Api, name: &str, scopes: &[&str]) -> Trader {
    let addresses: &[&str] = if scopes.contains(&"withdraw") { &["127.0.0.0/8"] } else { &[] };
    let asked = json!({ "name": name, "scopes": scopes, "addresses": addresses });
    let opened = admin.post("/v1/accounts", &asked).await.ok();
    let api = admin.with_key(opened["api_key"].as_str());
    Trader { api, id: opened["account"].as_str().unwrap().to_owned() }
}

/// A buyer with as many dollars, at most 1,000.
pub(crate) async fn open_buyer(admin: &Api, name: &str, dollars: u32) -> Trader {
    let buyer = open_account(admin, name, &["read", "trade"]).await;
    buyer.purchase(dollars, &format!("first purchase of {name}")).await.ok();
    buyer
}

/// A provider whose model server answers at `endpoint`.
pub(crate) async fn open_provider(admin: &Api, name: &str, endpoint: &str) -> Trader {
    let provider = open_account(admin, name, &["read", "provide", "withdraw"]).await;
    provider.api.put("/v1/provider", &json!({ "endpoint": endpoint })).await.ok();
    provider
}

/// Lists a model whose bids without a limit pay up to a tenth of a credit a unit, with `change` on top.
pub(crate) async fn list_model(admin: &Api, symbol: &str, change: Value) {
    let listing = with(json!({ "symbol": symbol, "reference_price": "0.1" }), &change);
    admin.post("/v1/instruments", &listing).await.ok();
}

/// The fields of `change` on top of `base`; `null` removes one.
pub(crate) fn with(mut base: Value, change: &Value) -> Value {
    let fields = base.as_object_mut().unwrap();
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            fields.shift_remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    base
}

/// A chat request of five words for at most ten tokens, with `change` on top.
pub(crate) fn chat(model: &str, change: Value) -> Value {
    let message = json!({ "role": "user", "content": "count these five words now" });
    with(json!({ "model": model, "messages": [message], "max_tokens": 10 }), &change)
}

/// Prompt tokens the mock counts for [`chat`].
pub(crate) const CHAT_PROMPT_TOKENS: i64 = 5;

/// Units of a finished call at the weights a listing has by default.
pub(crate) fn units(prompt_tokens: i64, completion_tokens: i64) -> i64 {
    prompt_tokens + 4 * completion_tokens
}

/// Units that are set aside for a call: each byte may be a token.
pub(crate) fn worst_case_units(body: &Value, max_tokens: i64) -> i64 {
    units(i64::try_from(body.to_string().len()).unwrap(), max_tokens)
}

/// An ask of 400 ms and 60 tokens a second, at `price` atoms a unit, with `change` on top.
pub(crate) fn ask(instrument: &str, price: i64, quantity: u64, change: Value) -> Value {
    let ask = json!({
        "instrument": instrument, "side": "ask", "price": credits(price), "quantity": quantity, "latency_ms": 400,
        "throughput_tps": 60,
    });
    with(ask, &change)
}

/// A bid at `price` atoms a unit, with `change` on top.
pub(crate) fn bid(instrument: &str, price: i64, quantity: u64, change: Value) -> Value {
    with(json!({ "instrument": instrument, "side": "bid", "price": credits(price), "quantity": quantity }), &change)
}

impl Trader {
    /// The same account at a restarted server.
    pub(crate) fn at(&self, base: &str) -> Trader {
        Trader { api: self.api.at(base), id: self.id.clone() }
    }

    pub(crate) async fn balance(&self) -> Balance {
        Balance::parse(&self.api.get("/v1/balance").await.ok())
    }

    pub(crate) async fn purchase(&self, dollars: u32, reference: &str) -> Reply {
        let body = json!({ "amount_usd": format!("{dollars}.00"), "reference": reference });
        self.api.post("/v1/purchases", &body).await
    }

    /// Places an order; returns its id.
    pub(crate) async fn place(&self, order: &Value) -> String {
        let placed = self.api.post("/v1/orders", order).await.ok();
        placed["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn order(&self, id: &str) -> Value {
        self.api.get(&format!("/v1/orders/{id}")).await.ok()
    }

    /// Units of an order that are still open.
    pub(crate) async fn remaining(&self, id: &str) -> i64 {
        self.order(id).await["remaining"].as_i64().unwrap()
    }

    pub(crate) async fn chat(&self, body: &Value) -> Reply {
        self.chat_with(&[], body).await
    }

    pub(crate) async fn chat_with(&self, headers: Headers<'_>, body: &Value) -> Reply {
        self.api.post_with("/v1/chat/completions", headers, body).await
    }

    /// Every transaction, newest first.
    pub(crate) async fn transactions(&self) -> Vec<Value> {
        pages(&self.api, "/v1/transactions", "transactions").await
    }

    /// Every order, newest first.
    pub(crate) async fn orders(&self) -> Vec<Value> {
        pages(&self.api, "/v1/orders", "orders").await
    }
}

async fn pages(api: &Api, path: &str, name: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut before = String::new();
    loop {
        let mut page = api.get(&format!("{path}?limit=1000{before}")).await.ok();
        rows.append(page[name].as_array_mut().unwrap());
        match page["next_before"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => return rows,
        }
    }
}

/// What transactions add up to on each side of the ledger, in atoms.
pub(crate) fn sums(transactions: &[Value]) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for row in transactions {
        let amount = atoms(&row["amount"]);
        assert!(amount >= 0, "{row}");
        *sums.entry(row["debit"].as_str().unwrap().to_owned()).or_default() -= amount;
        *sums.entry(row["credit"].as_str().unwrap().to_owned()).or_default() += amount;
    }
    sums
}

/// How many transactions of a kind there are, and what they add up to.
pub(crate) fn of_kind(transactions: &[Value], kind: &str) -> (usize, i64) {
    let of_kind = transactions.iter().filter(|row| row["kind"] == kind);
    of_kind.fold((0, 0), |(count, sum), row| (count + 1, sum + atoms(&row["amount"])))
}

/// A buyer's balances are what its transactions add up to; the other sides are not its own.
pub(crate) async fn assert_buyer_adds_up(buyer: &Trader) -> Vec<Value> {
    let (balance, transactions) = at_rest(buyer).await;
    let sums = sums(&transactions);
    let sum = |name: &str| sums.get(name).copied().unwrap_or(0);
    let own = (sum("available"), sum("held"), sum("escrow"));
    assert_eq!(own, (balance.available, balance.held, balance.escrow), "{} adds up", buyer.id);
    assert!(own.0 >= 0 && own.1 >= 0 && own.2 >= 0, "{balance:?}");
    transactions
}

/// A provider's earnings are what its transactions add up to.
pub(crate) async fn assert_provider_adds_up(provider: &Trader) -> Vec<Value> {
    let (balance, transactions) = at_rest(provider).await;
    let sums = sums(&transactions);
    let sum = |name: &str| sums.get(name).copied().unwrap_or(0);
    assert_eq!((sum("earned"), sum("payout_pending")), (balance.earned, balance.payout_pending), "{}", provider.id);
    transactions
}

/// Balance and transactions of one moment: contracts run out by themselves, so the balance is asked before and after.
async fn at_rest(trader: &Trader) -> (Balance, Vec<Value>) {
    eventually("nothing moves while we look", async || {
        let before = trader.balance().await;
        let transactions = trader.transactions().await;
        (trader.balance().await == before).then_some((before, transactions))
    })
    .await
}
