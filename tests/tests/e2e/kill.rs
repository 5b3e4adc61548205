//! `kill -9` at any moment, again and again on one data folder: of a demo while it sets up or plays, and of a server in
//! the middle of calls. The promise: what was acknowledged is there exactly once, what was not is there once or not at
//! all and can be sent again, no credit is made or lost, and the auditor rebuilds the same state from the journal.

use crate::support::market::{
    Trader, ask, assert_buyer_adds_up, assert_provider_adds_up, atoms, chat, list_model, of_kind, open_buyer,
    open_provider,
};
use crate::support::process::{Gollem, assert_audit_agrees, verify};
use crate::support::random::{Random, seed};
use crate::support::traffic::{Sent, Traders, send_until_killed};
use crate::support::{at_once, endpoint, start_mock};
use gollem_provider::mock::MockOptions;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;

const DEMO_KILLS: u64 = 20;
const SERVER_KILLS: u64 = 20;
/// More requests than a demo plays before its kill, however fast it is built.
const DEMO_REQUESTS: &str = "19000";
/// One request of each sort in this time: the demo has its own.
const DEMO_PACE: Duration = Duration::from_millis(10);
/// As fast as the server answers.
const NO_PACE: Duration = Duration::from_millis(1);
/// Where calls meet a model server.
const MODEL: &str = "model";
/// What a call may cost at most per unit, in atoms.
const CALL_PRICE: i64 = 1_000;

/// The one place where time itself is the test: a kill at any moment.
async fn pass(random: &mut Random, ms_min: u64, ms_max: u64) -> u64 {
    let ms = random.between(ms_min, ms_max);
    tokio::time::sleep(Duration::from_millis(ms)).await;
    ms
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_of_a_demo_lose_and_double_nothing() {
    let mut random = Random::new(seed());
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (text, requests) = (data.to_str().unwrap(), DEMO_REQUESTS);
    let demo =
        ["demo", "--speed", "max", "--requests", requests, "--data", text, "--listen", "127.0.0.1:0", "--pin", "off"];
    let mut traders: Option<Traders> = None;
    for round in 0..DEMO_KILLS {
        let mut gollem = Gollem::start(&data, &demo).await;
        let traders = match &mut traders {
            Some(traders) => traders,
            none => none.insert(Traders::found(&gollem).await),
        };
        traders.move_to(&gollem);
        let in_set_up = round % 4 == 3;
        if !in_set_up {
            assert_eq!(gollem.state().await["ledger_sum"], 0);
            traders.check().await;
        }
        let traffic = traders.start(round, DEMO_PACE, &mut random);
        let (when, after_ms) = if in_set_up {
            ("the start", pass(&mut random, 0, 500).await)
        } else {
            gollem.process.line("market open: ").await;
            ("the market's opening", pass(&mut random, 20, 1_000).await)
        };
        gollem.process.kill();
        println!("round {round}: killed {after_ms} ms after {when}");
        traders.remember(traffic).await;
        if round % 5 == 0 {
            verify(&data); // A dead folder with a torn tail is sound.
        }
    }
    let mut traders = traders.expect("there were rounds");
    let gollem = Gollem::serve(&data).await;
    traders.move_to(&gollem);
    traders.check().await;
    assert_buyer_adds_up(&traders.buyer).await;
    assert_provider_adds_up(&traders.provider).await;
    let [asks, bids, purchases] = traders.counts();
    let least = 2 * DEMO_KILLS as usize;
    assert!(asks > least && bids > least && purchases > least, "there was traffic");
    let audit = check_end(gollem, &data).await;
    println!("{asks} asks, {bids} bids, {purchases} purchases among {} inputs", audit["inputs"]);
    assert!(audit["fees"].as_u64().unwrap() > 0, "the demo's calls were delivered meanwhile: {audit}");
}

/// The auditor rebuilds what the server has, and what it has after a polite stop. Returns what it found.
async fn check_end(gollem: Gollem, data: &Path) -> Value {
    assert_audit_agrees(&gollem, data).await;
    let state = gollem.state().await;
    assert_eq!(state["ledger_sum"], 0);
    gollem.process.stop().await;
    let audit = verify(data);
    for key in ["last_seq", "ledger_sum", "state_hash"] {
        assert_eq!(audit[key], state[key], "{key} after a polite stop");
    }
    audit
}

/// Who makes calls, over all restarts.
struct Callers {
    caller: Trader,
    provider: Trader,
    answered: usize,
    unknown: usize,
}

impl Callers {
    async fn found(gollem: &Gollem, endpoint: &str) -> Callers {
        list_model(&gollem.admin, MODEL, json!({})).await;
        let provider = open_provider(&gollem.admin, "model server", endpoint).await;
        provider.place(&ask(MODEL, CALL_PRICE, 1_000_000_000, json!({}))).await;
        Callers { caller: open_buyer(&gollem.admin, "caller", 1_000).await, provider, answered: 0, unknown: 0 }
    }

    fn move_to(&mut self, gollem: &Gollem) {
        self.caller = self.caller.at(gollem.base());
        self.provider = self.provider.at(gollem.base());
    }

    /// Plain and streamed calls, one after the other.
    fn start(&self) -> [JoinHandle<Vec<Sent>>; 2] {
        [false, true].map(|streamed| {
            let call = move |_| chat(MODEL, json!({ "stream": streamed, "mock_tokens": 3 }));
            tokio::spawn(send_until_killed(self.caller.api.clone(), "/v1/chat/completions", NO_PACE, call))
        })
    }

    /// Each answered call was settled, each of the others at most once; what a kill left in escrow waits for its expiry.
    async fn check(&mut self, calls: [JoinHandle<Vec<Sent>>; 2]) {
        for calls in calls {
            self.answered += calls.await.unwrap().len() - 1;
            self.unknown += 1;
        }
        let lines = assert_buyer_adds_up(&self.caller).await;
        let ((settled, _), (matched, _)) = (of_kind(&lines, "delivery"), of_kind(&lines, "escrow"));
        let (least, most) = (self.answered, self.answered + self.unknown);
        assert!((least..=most).contains(&settled), "{settled} calls settled, {least} answered, {most} sent");
        assert!((settled..=most).contains(&matched), "{matched} calls matched, {settled} settled, {most} sent");
        let balance = self.caller.balance().await;
        assert_eq!(balance.held, 0, "a call holds nothing once it is matched");
        assert_eq!(balance.escrow > 0, matched > settled, "{balance:?}");
        assert_provider_adds_up(&self.provider).await;
    }
}

/// Balances are the sums of the transactions, and what is held is what open bids can cost.
async fn check_books(traders: &Traders) {
    assert_provider_adds_up(&traders.provider).await;
    assert_buyer_adds_up(&traders.buyer).await;
    let is_open = |status: &str| matches!(status, "open" | "partially_filled");
    let orders = traders.buyer.orders().await;
    let open = orders.iter().filter(|order| order["status"].as_str().is_some_and(is_open));
    let held: i64 = open.map(|order| atoms(&order["price"]) * order["remaining"].as_i64().unwrap()).sum();
    assert_eq!(traders.buyer.balance().await.held, held);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_a_server_in_mid_call_lose_and_double_nothing() {
    let mut random = Random::new(seed());
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mock = start_mock(MockOptions { first_token: Duration::from_millis(2), ..at_once() }).await;
    let mut gollem = Gollem::serve(&data).await;
    let mut traders = Traders::found(&gollem).await;
    let mut callers = Callers::found(&gollem, &endpoint(&mock)).await;
    for round in 0..SERVER_KILLS {
        let traffic = traders.start(round, NO_PACE, &mut random);
        let calls = callers.start();
        let after_ms = pass(&mut random, 5, 400).await;
        gollem.process.kill();
        println!("round {round}: killed after {after_ms} ms");
        if round % 4 == 0 {
            verify(&data);
        }
        gollem = Gollem::serve(&data).await;
        traders.move_to(&gollem);
        callers.move_to(&gollem);
        traders.remember(traffic).await;
        traders.check().await;
        check_books(&traders).await;
        callers.check(calls).await;
        assert_eq!(gollem.state().await["ledger_sum"], 0);
    }
    println!("{:?} asks, bids and purchases, {} calls", traders.counts(), callers.answered);
    assert!(callers.answered > 0 && traders.counts().iter().all(|count| *count > SERVER_KILLS as usize));
    check_end(gollem, &data).await;
}
