//! `kill -9` in mid-traffic, twenty times on one data folder. The promise: what was acknowledged is there exactly once,
//! what was not is there once or not at all and can be sent again, no credit is made or lost, and the auditor rebuilds
//! the same state from the journal.

use crate::support::http::{Api, Reply};
use crate::support::market::{
    Trader, ask, assert_buyer_adds_up, assert_provider_adds_up, atoms, bid, chat, list_model, of_kind, open_buyer,
    open_provider,
};
use crate::support::process::{Gollem, assert_audit_agrees, verify};
use crate::support::random::{Random, seed};
use crate::support::{at_once, endpoint, eventually, start_mock};
use gollem_provider::mock::MockOptions;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;

const KILLS: u64 = 20;
/// Where orders meet orders.
const BOOK: &str = "book";
/// Where calls meet a model server.
const MODEL: &str = "model";
/// What a call may cost at most per unit, in atoms.
const CALL_PRICE: i64 = 1_000;

/// A request that was sent, and what came back before the kill.
#[derive(Clone, Debug)]
struct Sent {
    path: &'static str,
    body: Value,
    acknowledged: Option<Value>,
}

impl Sent {
    fn id(&self) -> Option<&str> {
        self.acknowledged.as_ref()?["id"].as_str()
    }
}

/// The requests of one sort in one round. All but the last were acknowledged.
type Round = Vec<Sent>;

/// Sends what `next` gives, one after the other, until the server dies.
async fn send_until_killed(api: Api, path: &'static str, mut next: impl FnMut(u64) -> Value) -> Round {
    let mut round = Vec::new();
    for number in 0.. {
        let body = next(number);
        let reply = api.try_send(hyper::Method::POST, path, &[], body.to_string().into()).await;
        let dead = reply.is_none();
        round.push(Sent { path, body, acknowledged: reply.map(Reply::ok) });
        if dead {
            break;
        }
    }
    round
}

/// Who trades here, over all restarts.
struct Cast {
    buyer: Trader,
    caller: Trader,
    provider: Trader,
    /// Client order ids of each side and purchase references so far, answered or not.
    asks: usize,
    bids: usize,
    purchases: usize,
    calls_answered: usize,
    calls_unknown: usize,
}

/// What ran until the kill.
struct Traffic {
    asks: JoinHandle<Round>,
    bids: JoinHandle<Round>,
    purchases: JoinHandle<Round>,
    plain: JoinHandle<Round>,
    streamed: JoinHandle<Round>,
}

impl Cast {
    async fn found(gollem: &Gollem, endpoint: &str) -> Cast {
        // Contracts run out soon, so that deadlines fall into the kills too.
        list_model(&gollem.admin, BOOK, json!({ "contract_ttl_s": 1 })).await;
        list_model(&gollem.admin, MODEL, json!({ "contract_ttl_s": 1 })).await;
        let provider = open_provider(&gollem.admin, "provider", endpoint).await;
        provider.place(&ask(MODEL, CALL_PRICE, 1_000_000_000, json!({}))).await;
        Cast {
            buyer: open_buyer(&gollem.admin, "buyer", 1_000).await,
            caller: open_buyer(&gollem.admin, "caller", 1_000).await,
            provider,
            asks: 0,
            bids: 0,
            purchases: 0,
            calls_answered: 0,
            calls_unknown: 0,
        }
    }

    /// The same people at a restarted server.
    fn move_to(&mut self, gollem: &Gollem) {
        for trader in [&mut self.buyer, &mut self.caller, &mut self.provider] {
            *trader = trader.at(gollem.base());
        }
    }

    /// Everybody acts as fast as the server answers.
    fn start(&self, round: u64, random: &mut Random) -> Traffic {
        let order = |side: fn(&str, i64, u64, Value) -> Value, mut random: Random| {
            move |number| {
                let price = 10 * random.between(1, 40) as i64;
                side(BOOK, price, random.between(1, 50), json!({ "client_order_id": format!("{round}-{number}") }))
            }
        };
        let purchase = move |number| json!({ "amount_usd": "1.00", "reference": format!("{round}-{number}") });
        let call = |streamed: bool| move |_| chat(MODEL, json!({ "stream": streamed, "mock_tokens": 3 }));
        let asks = order(ask, Random::new(random.next()));
        let bids = order(bid, Random::new(random.next()));
        let (buyer, caller, provider) = (&self.buyer.api, &self.caller.api, &self.provider.api);
        const CHAT: &str = "/v1/chat/completions";
        Traffic {
            asks: tokio::spawn(send_until_killed(provider.clone(), "/v1/orders", asks)),
            bids: tokio::spawn(send_until_killed(buyer.clone(), "/v1/orders", bids)),
            purchases: tokio::spawn(send_until_killed(buyer.clone(), "/v1/purchases", purchase)),
            plain: tokio::spawn(send_until_killed(caller.clone(), CHAT, call(false))),
            streamed: tokio::spawn(send_until_killed(caller.clone(), CHAT, call(true))),
        }
    }

    /// Holds what the clients saw against what the restarted server tells.
    async fn check(&mut self, traffic: Traffic) {
        let (asks, bids) = (traffic.asks.await.unwrap(), traffic.bids.await.unwrap());
        self.asks += check_orders(&self.provider, 1 + self.asks, &asks).await;
        self.bids += check_orders(&self.buyer, self.bids, &bids).await;
        let purchases = traffic.purchases.await.unwrap();
        self.purchases += check_purchases(&self.buyer, 1 + self.purchases, &purchases).await;
        for calls in [traffic.plain.await.unwrap(), traffic.streamed.await.unwrap()] {
            self.calls_answered += calls.len() - 1;
            self.calls_unknown += 1;
        }
        self.check_calls().await;
        self.check_views().await;
    }

    /// Each answered call was settled, each of the others at most once.
    async fn check_calls(&self) {
        let (settled, _) = of_kind(&self.caller.transactions().await, "delivery");
        let (least, most) = (self.calls_answered, self.calls_answered + self.calls_unknown);
        assert!((least..=most).contains(&settled), "{settled} calls settled, {least} answered, {most} sent");
    }

    /// Balances are the sums of the transactions, and what is held is what open bids can cost.
    async fn check_views(&self) {
        assert_provider_adds_up(&self.provider).await;
        for buyer in [&self.buyer, &self.caller] {
            assert_buyer_adds_up(buyer).await;
            let open = buyer
                .orders()
                .await
                .into_iter()
                .filter(|order| matches!(order["status"].as_str(), Some("open" | "partially_filled")));
            let held: i64 = open.map(|order| atoms(&order["price"]) * order["remaining"].as_i64().unwrap()).sum();
            assert_eq!(buyer.balance().await.held, held, "{}", buyer.id);
        }
    }
}

/// Every acknowledged order of the round is there once, under its id; sent again, each gets that id, and the unknown one
/// gets exactly one. `earlier` orders were there before the round. Returns how many the round added.
async fn check_orders(owner: &Trader, earlier: usize, round: &[Sent]) -> usize {
    let listed = owner.orders().await;
    let ids: BTreeSet<&str> = listed.iter().map(|order| order["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), listed.len(), "each order is listed once");
    for sent in round {
        let Some(id) = sent.id() else { continue };
        assert!(ids.contains(id), "{id} was acknowledged and is listed");
        let order = owner.order(id).await;
        assert_eq!((&order["price"], &order["quantity"]), (&sent.body["price"], &sent.body["quantity"]), "{id}");
    }
    let acknowledged = round.iter().filter(|sent| sent.acknowledged.is_some()).count();
    let mut unknown_but_there = 0;
    for sent in round {
        let again = owner.api.post(sent.path, &sent.body).await.ok();
        let repeated = again["repeated"] == true;
        match sent.id() {
            Some(id) => assert_eq!((repeated, again["id"].as_str()), (true, Some(id)), "{again}"),
            None => unknown_but_there += usize::from(repeated),
        }
        let third = owner.api.post(sent.path, &sent.body).await.ok();
        assert_eq!((&third["repeated"], &third["id"]), (&json!(true), &again["id"]));
    }
    assert_eq!(listed.len(), earlier + acknowledged + unknown_but_there, "no order is there that nobody sent");
    assert_eq!(owner.orders().await.len(), earlier + round.len(), "and now each that was sent");
    round.len()
}

/// The same for purchases of a dollar each: counted once by reference.
async fn check_purchases(buyer: &Trader, earlier: usize, round: &[Sent]) -> usize {
    let (counted, _) = of_kind(&buyer.transactions().await, "purchase");
    let acknowledged = round.iter().filter(|sent| sent.acknowledged.is_some()).count();
    let mut unknown_but_there = 0;
    for sent in round {
        let again = buyer.api.post(sent.path, &sent.body).await.ok();
        let repeated = again["repeated"] == true;
        assert!(repeated || sent.acknowledged.is_none(), "an acknowledged purchase is known: {again}");
        unknown_but_there += usize::from(repeated && sent.acknowledged.is_none());
    }
    assert_eq!(counted, earlier + acknowledged + unknown_but_there, "no purchase is counted twice or lost");
    let (counted, _) = of_kind(&buyer.transactions().await, "purchase");
    assert_eq!(counted, earlier + round.len());
    round.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_in_mid_traffic_lose_and_double_nothing() {
    let mut random = Random::new(seed());
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mock = start_mock(MockOptions { first_token: Duration::from_millis(2), ..at_once() }).await;
    let mut gollem = Gollem::serve(&data).await;
    let mut cast = Cast::found(&gollem, &endpoint(&mock)).await;
    for round in 0..KILLS {
        let delay_ms = random.between(5, 400);
        let traffic = cast.start(round, &mut random);
        // The one place where time itself is the test: a kill at any moment.
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        gollem.process.kill();
        if round % 4 == 0 {
            verify(&data); // A dead folder with a torn tail is sound.
        }
        gollem = Gollem::serve(&data).await;
        println!("round {round}: killed after {delay_ms} ms");
        cast.move_to(&gollem);
        cast.check(traffic).await;
        assert_eq!(gollem.state().await["ledger_sum"], 0);
        if round % 4 == 0 {
            assert_audit_agrees(&gollem, &data).await;
        }
    }
    println!("{} asks, {} bids, {} purchases, {} calls", cast.asks, cast.bids, cast.purchases, cast.calls_answered);
    assert!(cast.calls_answered > 0 && cast.asks > KILLS as usize && cast.bids > KILLS as usize, "there was traffic");
    check_end(gollem, cast, &data).await;
}

/// What a kill left in escrow returns by itself; after a polite stop the auditor still agrees.
async fn check_end(gollem: Gollem, cast: Cast, data: &Path) {
    eventually("every contract runs out", async || {
        let (buyer, caller) = (cast.buyer.balance().await, cast.caller.balance().await);
        (buyer.escrow + caller.escrow == 0).then_some(())
    })
    .await;
    cast.check_views().await;
    assert_eq!(cast.caller.balance().await.held, 0);
    assert_audit_agrees(&gollem, data).await;
    let state = gollem.state().await;
    gollem.process.stop().await;
    let audit = verify(data);
    for key in ["last_seq", "ledger_sum", "state_hash"] {
        assert_eq!(audit[key], state[key], "{key} after a polite stop");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_killed_in_mid_play_is_recovered_and_audited() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let arguments =
        ["demo", "--speed", "max", "--requests", "2000", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let demo = Gollem::start(&data, &arguments).await;
    let seen = eventually("the demo is at work", async || {
        let health = demo.admin.get("/health").await.ok();
        health["durable_seq"].as_u64().filter(|seq| *seq >= 500)
    })
    .await;
    demo.process.kill();
    let gollem = Gollem::serve(&data).await;
    let state = gollem.state().await;
    assert!(state["last_seq"].as_u64().unwrap() >= seen, "{state}: {seen} inputs had been told as durable");
    assert_eq!(state["ledger_sum"], 0);
    assert_audit_agrees(&gollem, &data).await;
    gollem.process.stop().await;
    assert_eq!(verify(&data)["ledger_sum"], 0);
}
