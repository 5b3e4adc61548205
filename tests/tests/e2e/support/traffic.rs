//! Orders and purchases sent to a server that will be killed, and what a later server must tell of them: what was
//! acknowledged is there exactly once, and the last of each sort, which nobody answered, once or not at all.

use super::http::{Api, Reply};
use super::market::{Trader, ask, bid, list_model, of_kind, open_account, open_buyer};
use super::process::Gollem;
use super::random::Random;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// Where the orders meet.
const BOOK: &str = "book";

/// Requests that are sent again at the same time.
const SENT_AT_ONCE: usize = 64;

/// A request that was sent, and what came back before the kill.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) path: &'static str,
    pub(crate) body: Value,
    pub(crate) acknowledged: Option<Value>,
}

/// Sends what `next` gives, one after the other and at most one each `pace`, until the server dies. All but the last
/// were acknowledged.
pub(crate) async fn send_until_killed(
    api: Api,
    path: &'static str,
    pace: Duration,
    mut next: impl FnMut(u64) -> Value,
) -> Vec<Sent> {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut all = Vec::new();
    for number in 0.. {
        ticks.tick().await;
        let body = next(number);
        let reply = api.try_send(hyper::Method::POST, path, &[], body.to_string().into()).await;
        let dead = reply.is_none();
        all.push(Sent { path, body, acknowledged: reply.map(Reply::ok) });
        if dead {
            break;
        }
    }
    all
}

/// Who trades and purchases, over all restarts.
pub(crate) struct Traders {
    pub(crate) buyer: Trader,
    pub(crate) provider: Trader,
    /// Only purchases.
    saver: Trader,
    asks: Ledger,
    bids: Ledger,
    purchases: Ledger,
}

/// What was sent of one sort.
#[derive(Default)]
struct Ledger {
    /// How many are there for certain.
    there: usize,
    /// Not yet held against what a server tells.
    unchecked: Vec<Sent>,
}

/// What runs until the kill.
pub(crate) struct Traffic {
    asks: JoinHandle<Vec<Sent>>,
    bids: JoinHandle<Vec<Sent>>,
    purchases: JoinHandle<Vec<Sent>>,
}

impl Traders {
    pub(crate) async fn found(gollem: &Gollem) -> Traders {
        list_model(&gollem.admin, BOOK, json!({})).await;
        Traders {
            buyer: open_buyer(&gollem.admin, "buyer", 1_000).await,
            provider: open_account(&gollem.admin, "provider", &["read", "provide"]).await,
            saver: open_account(&gollem.admin, "saver", &["read", "trade"]).await,
            asks: Ledger::default(),
            bids: Ledger::default(),
            purchases: Ledger::default(),
        }
    }

    /// The same people at a restarted server.
    pub(crate) fn move_to(&mut self, gollem: &Gollem) {
        for trader in [&mut self.buyer, &mut self.provider, &mut self.saver] {
            *trader = trader.at(gollem.base());
        }
    }

    /// Everybody acts, at most once each `pace`, under ids of this round.
    pub(crate) fn start(&self, round: u64, pace: Duration, random: &mut Random) -> Traffic {
        let order = |side: fn(&str, i64, u64, Value) -> Value, mut random: Random| {
            move |number| {
                let price = 10 * random.between(1, 40) as i64;
                side(BOOK, price, random.between(1, 50), json!({ "client_order_id": format!("{round}-{number}") }))
            }
        };
        let asks = order(ask, Random::new(random.next()));
        let bids = order(bid, Random::new(random.next()));
        let purchase = move |number| json!({ "amount_usd": "1.00", "reference": format!("{round}-{number}") });
        let (buyer, provider, saver) = (self.buyer.api.clone(), self.provider.api.clone(), self.saver.api.clone());
        Traffic {
            asks: tokio::spawn(send_until_killed(provider, "/v1/orders", pace, asks)),
            bids: tokio::spawn(send_until_killed(buyer, "/v1/orders", pace, bids)),
            purchases: tokio::spawn(send_until_killed(saver, "/v1/purchases", pace, purchase)),
        }
    }

    /// Waits until everybody knows that the server is dead, and remembers what they sent.
    pub(crate) async fn remember(&mut self, traffic: Traffic) {
        self.asks.unchecked.append(&mut traffic.asks.await.unwrap());
        self.bids.unchecked.append(&mut traffic.bids.await.unwrap());
        self.purchases.unchecked.append(&mut traffic.purchases.await.unwrap());
    }

    /// Holds what the clients saw against what a restarted server tells.
    pub(crate) async fn check(&mut self) {
        check_orders(&self.provider, &mut self.asks).await;
        check_orders(&self.buyer, &mut self.bids).await;
        check_purchases(&self.saver, &mut self.purchases).await;
    }

    /// Asks, bids and purchases so far.
    pub(crate) fn counts(&self) -> [usize; 3] {
        [self.asks.there, self.bids.there, self.purchases.there]
    }
}

/// Every acknowledged order is there once, under its id; sent again, each gets that id, and the unknown ones exactly
/// one each.
async fn check_orders(owner: &Trader, ledger: &mut Ledger) {
    let listed = owner.orders().await;
    let by_id: BTreeMap<&str, &Value> = listed.iter().map(|order| (order["id"].as_str().unwrap(), order)).collect();
    assert_eq!(by_id.len(), listed.len(), "each order is listed once");
    let round = std::mem::take(&mut ledger.unchecked);
    let again = send_again(&owner.api, &round).await;
    let mut there = ledger.there;
    for (sent, again) in round.iter().zip(&again) {
        let repeated = again["repeated"] == true;
        there += usize::from(repeated);
        let Some(acknowledged) = &sent.acknowledged else {
            let third = owner.api.post(sent.path, &sent.body).await.ok();
            assert_eq!((&third["repeated"], &third["id"]), (&json!(true), &again["id"]));
            continue;
        };
        let id = acknowledged["id"].as_str().unwrap();
        let order = by_id.get(id).unwrap_or_else(|| panic!("{id} was acknowledged and is not listed"));
        assert_eq!((&order["price"], &order["quantity"]), (&sent.body["price"], &sent.body["quantity"]), "{id}");
        assert_eq!((repeated, again["id"].as_str()), (true, Some(id)), "{again}");
    }
    assert_eq!(listed.len(), there, "no order is there that nobody sent");
    ledger.there += round.len();
    assert_eq!(owner.orders().await.len(), ledger.there, "and now each that was sent");
}

/// The same for purchases: counted once by reference.
async fn check_purchases(saver: &Trader, ledger: &mut Ledger) {
    let (counted, _) = of_kind(&saver.transactions().await, "purchase");
    let round = std::mem::take(&mut ledger.unchecked);
    let mut there = ledger.there;
    for (sent, again) in round.iter().zip(send_again(&saver.api, &round).await) {
        let repeated = again["repeated"] == true;
        assert!(repeated || sent.acknowledged.is_none(), "an acknowledged purchase is known: {again}");
        there += usize::from(repeated);
    }
    assert_eq!(counted, there, "no purchase is counted twice or lost");
    ledger.there += round.len();
    let (counted, _) = of_kind(&saver.transactions().await, "purchase");
    assert_eq!(counted, ledger.there);
}

/// Sends everything once more, many at the same time; the answers are in the same order. All at once would be more
/// connections than one address may have.
async fn send_again(api: &Api, round: &[Sent]) -> Vec<Value> {
    let again = round.iter().map(async |sent| api.post(sent.path, &sent.body).await.ok());
    stream::iter(again).buffered(SENT_AT_ONCE).collect().await
}
