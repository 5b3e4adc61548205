//! What a call does when its provider fails, and who pays. The failing provider is the cheaper one, so it is asked first.

use crate::hostile::{Hostile, plain, stream, word};
use crate::streams::{Events, has_content, parse, settled};
use crate::support::market::{
    CHAT_PROMPT_TOKENS, DOLLAR, Trader, ask, assert_buyer_adds_up, atoms, chat, credits, list_model, open_buyer,
    open_provider, units, with,
};
use crate::support::process::Gollem;
use crate::support::venue::{CAPACITY, MODEL, Venue};
use crate::support::{at_once, endpoint, eventually, listener, slowly, start_mock};
use gollem_engine::{AccountId, Command};
use gollem_gateway::ExchangeOptions;
use gollem_provider::mock::{Mock, MockOptions};
use gollem_sequencer::{Options, Sequencer, TimeSource, Witness};
use hyper::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const CHEAP: i64 = 100_000;
const DEAR: i64 = 135_000;
const ALWAYS: u32 = 1_000_000;

/// A market with a cheap provider that fails and a dear one that does not.
struct Scene {
    venue: Venue,
    buyer: Trader,
    failing: Trader,
    sound: Trader,
    failing_ask: String,
    mocks: Vec<Mock>,
}

impl Scene {
    async fn with(fault: MockOptions) -> Scene {
        let mock = start_mock(fault).await;
        let failing = endpoint(&mock);
        Scene::at(&failing, vec![mock]).await
    }

    /// The failing provider is at this address.
    async fn at(failing: &str, mut mocks: Vec<Mock>) -> Scene {
        let venue = Venue::open().await;
        list_model(&venue.admin, MODEL, json!({})).await;
        let buyer = open_buyer(&venue.admin, "buyer", 1_000).await;
        let sound_mock = start_mock(at_once()).await;
        let failing = open_provider(&venue.admin, "failing", failing).await;
        let sound = open_provider(&venue.admin, "sound", &endpoint(&sound_mock)).await;
        mocks.push(sound_mock);
        let promise = json!({ "latency_ms": 100 });
        let failing_ask = failing.place(&ask(MODEL, CHEAP, CAPACITY, promise)).await;
        sound.place(&ask(MODEL, DEAR, CAPACITY, json!({}))).await;
        Scene { venue, buyer, failing, sound, failing_ask, mocks }
    }

    /// A call, plain or streamed, that the sound provider answers; the failing one was asked first and gets nothing.
    async fn check_goes_to_the_next(&self, streamed: bool, what: &str) {
        let before = settled(&self.buyer).await;
        let provider = if streamed {
            let mut events = Events::open(&self.buyer, json!({})).await;
            let provider = events.headers["x-gollem-provider"].to_str().unwrap().to_owned();
            let mut tokens = 0;
            let mut last = String::new();
            while let Some(event) = events.next().await {
                tokens += i64::from(event != "[DONE]" && has_content(&parse(&event)));
                last = event;
            }
            assert_eq!((tokens, last.as_str()), (10, "[DONE]"), "{what}");
            provider
        } else {
            let reply = self.buyer.chat(&chat(MODEL, json!({}))).await;
            assert_eq!(reply.header("x-gollem-cost").unwrap(), credits(units(CHAT_PROMPT_TOKENS, 10) * DEAR), "{what}");
            reply.header("x-gollem-provider").unwrap().to_owned()
        };
        assert_eq!(provider, self.sound.id, "{what}, streamed: {streamed}");
        let paid = settled(&self.buyer).await - before;
        assert_eq!(paid, units(CHAT_PROMPT_TOKENS, 10) * DEAR, "{what}, streamed: {streamed}");
        assert_eq!(self.failing.balance().await.earned, 0, "{what}");
        assert_eq!(self.failing.remaining(&self.failing_ask).await, CAPACITY as i64, "{what}: its units return");
    }

    /// The failing provider's record.
    async fn record(&self) -> Value {
        let path = format!("/v1/providers/{}/scorecard", self.failing.id);
        self.failing.api.get(&path).await.ok()["instruments"][0].clone()
    }

    async fn close(self) {
        assert_buyer_adds_up(&self.buyer).await;
        self.venue.close().await;
        for mock in self.mocks {
            mock.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_before_a_token_costs_nothing_and_the_next_best_is_asked_at_once() {
    let faults = [
        ("an error", MockOptions { failure_rate_ppm: ALWAYS, ..at_once() }),
        ("a refusal", MockOptions { refuse_rate_ppm: ALWAYS, ..at_once() }),
        ("a closed connection", MockOptions { drop_rate_ppm: ALWAYS, ..at_once() }),
        ("garbage", MockOptions { garbage_rate_ppm: ALWAYS, ..at_once() }),
        ("a line without end", MockOptions { endless_line_rate_ppm: ALWAYS, ..at_once() }),
    ];
    for (what, fault) in faults {
        let scene = Scene::with(fault).await;
        for streamed in [false, true] {
            scene.check_goes_to_the_next(streamed, what).await;
        }
        let record = eventually("both failures are on record", async || {
            Some(scene.record().await).filter(|record| record["failed"] == 2)
        })
        .await;
        assert_eq!(record["completed"], 0, "{what}");
        scene.close().await;
    }
    let nobody = format!("http://{}/v1", listener().await.local_addr().unwrap());
    let scene = Scene::at(&nobody, Vec::new()).await;
    scene.check_goes_to_the_next(false, "nobody there").await;
    scene.check_goes_to_the_next(true, "nobody there").await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_provider_that_stalls_beyond_its_promise_the_next_best_is_asked() {
    for (what, fault) in [
        ("silence", MockOptions { stall_rate_ppm: ALWAYS, ..at_once() }),
        ("a byte now and then", MockOptions { drip_rate_ppm: ALWAYS, ..at_once() }),
    ] {
        let scene = Scene::with(fault).await;
        let started = Instant::now();
        scene.check_goes_to_the_next(true, what).await;
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(110), "its promise and the tolerance are waited for: {took:?}");
        let ended = || scene.mocks[0].stats().outcomes.values().map(|served| served.requests).sum::<u64>();
        eventually("the provider is told to stop", async || (ended() == 1).then_some(())).await;
        let failed = async || (scene.record().await["failed"] == 1).then_some(());
        eventually("who broke its promise has failed", failed).await;
        scene.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_while_two_are_asked_pays_neither_and_both_stop() {
    let stalled = MockOptions { stall_rate_ppm: ALWAYS, ..at_once() };
    let scene = Scene::with(stalled.clone()).await;
    let other = start_mock(stalled).await;
    scene.sound.api.put("/v1/provider", &json!({ "endpoint": endpoint(&other) })).await.ok();
    let (api, body) = (scene.buyer.api.clone(), chat(MODEL, json!({ "stream": true })).to_string());
    let call = tokio::spawn(async move { api.open(Method::POST, "/v1/chat/completions", &[], body.into()).await });
    eventually("both are asked", async || (other.stats().requests == 1).then_some(())).await;
    assert!(scene.buyer.balance().await.escrow > 0, "two worst cases are set aside");
    call.abort();
    assert!(call.await.is_err_and(|error| error.is_cancelled()), "the client left before the first token");
    assert_eq!(settled(&scene.buyer).await, 0);
    for mock in [&scene.mocks[0], &other] {
        let ended = || mock.stats().outcomes.values().map(|served| served.requests).sum::<u64>();
        eventually("the provider is told to stop", async || (ended() == 1).then_some(())).await;
    }
    for provider in [&scene.failing, &scene.sound] {
        assert_eq!(provider.balance().await.earned, 0);
    }
    assert_eq!(scene.failing.remaining(&scene.failing_ask).await, CAPACITY as i64);
    // Only the one that broke its promise has failed: the other had made none.
    eventually("it is on record", async || (scene.record().await["failed"] == 1).then_some(())).await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_s_fault_is_confirmed_by_a_second_provider_and_goes_to_nobody_else() {
    let scene = Scene::with(at_once()).await;
    let third = start_mock(at_once()).await;
    let last = open_provider(&scene.venue.admin, "third", &endpoint(&third)).await;
    last.place(&ask(MODEL, DEAR + 1_000, CAPACITY, json!({}))).await;
    for (asked, streamed) in [(1, false), (2, true)] {
        let nonsense = json!({ "messages": [{ "role": "user", "content": 7 }], "stream": streamed });
        let reply = scene.buyer.chat(&chat(MODEL, nonsense)).await;
        assert_eq!(reply.error(), (400, "refused_by_provider".into(), Some("messages".into())));
        let requests = [&scene.mocks[0], &scene.mocks[1], &third].map(|mock| mock.stats().requests);
        assert_eq!(requests, [asked, asked, 0], "two agree, the third would say the same");
    }
    assert_eq!(settled(&scene.buyer).await, 0);
    assert_eq!(scene.record().await["failed"], 0, "it is no failure of theirs");
    scene.close().await;
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cheap_provider_that_calls_every_request_wrong_swallows_no_call() {
    let refusing = Hostile::start(plain("400 Bad Request", r#"{"error":{"message":"no"}}"#)).await;
    let scene = Scene::at(&refusing.endpoint, Vec::new()).await;
    for streamed in [false, true] {
        scene.check_goes_to_the_next(streamed, "called wrong").await;
    }
    let alone = json!({ "provider": { "allow_fallbacks": false } });
    let reply = scene.buyer.chat(&chat(MODEL, alone)).await;
    assert_eq!(reply.error(), (400, "refused_by_provider".into(), None));
    scene.sound.api.put("/v1/provider", &json!({ "endpoint": "http://127.0.0.1:9/v1" })).await.ok();
    let reply = scene.buyer.chat(&chat(MODEL, json!({}))).await;
    assert_eq!(reply.error(), (400, "refused_by_provider".into(), None), "a second one that fails has no opinion");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_fail_the_caller_is_told_and_pays_nothing() {
    let dead = MockOptions { failure_rate_ppm: ALWAYS, ..at_once() };
    let scene = Scene::with(dead.clone()).await;
    let other = start_mock(dead).await;
    scene.sound.api.put("/v1/provider", &json!({ "endpoint": endpoint(&other) })).await.ok();
    for streamed in [false, true] {
        let reply = scene.buyer.chat(&chat(MODEL, json!({ "stream": streamed }))).await;
        assert_eq!(reply.error(), (502, "provider_failed".into(), None));
        assert!(reply.body["error"]["message"].as_str().unwrap().starts_with("2 providers were asked and failed"));
    }
    assert_eq!(settled(&scene.buyer).await, 0);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_fallbacks_nobody_else_is_asked() {
    let scene = Scene::with(MockOptions { failure_rate_ppm: ALWAYS, ..at_once() }).await;
    let reply = scene.buyer.chat(&chat(MODEL, json!({ "provider": { "allow_fallbacks": false } }))).await;
    assert_eq!(reply.error(), (502, "provider_failed".into(), None));
    assert_eq!(scene.mocks[1].stats().requests, 0);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_choose_among_providers() {
    let scene = Scene::with(at_once()).await;
    let (cheap, dear) = (scene.failing.id.clone(), scene.sound.id.clone());
    let cases = [
        (json!({}), &cheap),
        (json!({ "only": [dear] }), &dear),
        (json!({ "ignore": [cheap] }), &dear),
        (json!({ "order": [dear, cheap] }), &dear),
        (json!({ "order": ["unknown", dear], "allow_fallbacks": false }), &dear),
        (json!({ "max_price": { "prompt": 1.0 } }), &cheap),
        (json!({ "sort": "latency" }), &cheap),
    ];
    for (provider, chosen) in cases {
        let reply = scene.buyer.chat(&chat(MODEL, json!({ "provider": provider }))).await;
        assert_eq!(reply.header("x-gollem-provider"), Some(chosen.as_str()), "{provider}: {}", reply.body);
    }
    for (provider, code) in [
        (json!({ "only": ["acc_999"] }), "no_ask_within_limits"),
        (json!({ "only": [dear], "max_price": { "completion": "5" } }), "no_ask_within_limits"),
        (json!({ "max_price": { "prompt": 0.5 } }), "no_ask_at_price"),
        (json!({ "zdr": true }), "no_provider_with_policy"),
    ] {
        let reply = scene.buyer.chat(&chat(MODEL, json!({ "provider": provider }))).await;
        assert_eq!((reply.error().0, reply.error().1.as_str()), (503, code), "{provider}");
    }
    for (model, chosen) in [("gpt4:floor", &cheap), ("gpt4:nitro", &cheap)] {
        let reply = scene.buyer.chat(&chat(model, json!({}))).await;
        assert_eq!(reply.header("x-gollem-provider"), Some(chosen.as_str()), "{model}: {}", reply.body);
        assert_eq!(reply.body["model"], MODEL);
    }
    let fast = json!({ "throughput_tps": 600 });
    scene.sound.place(&ask(MODEL, DEAR + 10_000, CAPACITY, fast)).await;
    let reply = scene.buyer.chat(&chat("gpt4:nitro", json!({}))).await;
    assert_eq!(reply.header("x-gollem-provider"), Some(dear.as_str()), "the fastest: {}", reply.body);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_is_paid_for_what_came() {
    let scene = Scene::with(MockOptions { die_rate_ppm: ALWAYS, tokens_per_s: 200, ..at_once() }).await;
    let mut events = Events::open(&scene.buyer, json!({ "max_tokens": 40 })).await;
    let (mut tokens, mut last) = (0, String::new());
    while let Some(event) = events.next().await {
        tokens += i64::from(has_content(&parse(&event)));
        last = event;
    }
    assert_eq!(parse(&last)["error"]["code"], "provider_failed");
    assert!((1..40).contains(&tokens), "{tokens} tokens came");
    assert_eq!(settled(&scene.buyer).await, units(CHAT_PROMPT_TOKENS, tokens) * CHEAP);
    assert_eq!(scene.mocks[1].stats().requests, 0, "nobody asked for more");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_goes_on_elsewhere_if_the_caller_allows_it() {
    let scene = Scene::with(MockOptions { die_rate_ppm: ALWAYS, tokens_per_s: 200, ..at_once() }).await;
    let body = json!({ "max_tokens": 40, "stream_options": { "include_usage": true } });
    let mut events = Events::open_with(&scene.buyer, &[("x-continue-elsewhere", "true")], body).await;
    let first_contract = events.headers["x-gollem-contract"].to_str().unwrap().to_owned();
    let (mut tokens, mut chunks) = (0, Vec::new());
    while let Some(event) = events.next().await {
        if event != "[DONE]" {
            tokens += i64::from(has_content(&parse(&event)));
            chunks.push(parse(&event));
        }
    }
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"] && chunk.get("error").is_none()), "{chunks:?}");
    let roles = chunks.iter().filter(|chunk| chunk["choices"][0]["delta"].get("role").is_some()).count();
    assert_eq!(roles, 1, "one message");
    let usage = &chunks.last().unwrap()["usage"];
    assert_eq!((&usage["completion_tokens"], tokens), (&json!(40), 40));
    assert_eq!(usage["prompt_tokens"], CHAT_PROMPT_TOKENS);
    let paid = settled(&scene.buyer).await;
    assert_eq!(atoms(&usage["cost"]), paid, "both are in it");
    let contracts = scene.buyer.api.get("/v1/contracts").await.ok();
    let contracts = contracts["contracts"].as_array().unwrap();
    assert_eq!(contracts.len(), 2);
    assert!(contracts.iter().any(|contract| contract["id"] == first_contract.as_str()));
    assert!(scene.failing.balance().await.earned > 0 && scene.sound.balance().await.earned > 0, "each for its part");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_on_with_an_answer_is_paid_for_no_more_than_was_left_of_it() {
    let scene = Scene::with(MockOptions { die_rate_ppm: ALWAYS, tokens_per_s: 200, ..at_once() }).await;
    let words =
        (0..100).map(|number| word(json!({ "prompt_tokens": CHAT_PROMPT_TOKENS, "completion_tokens": number })));
    let talkative = Hostile::start(stream(&format!("{}data: [DONE]\n\n", words.collect::<String>()))).await;
    scene.sound.api.put("/v1/provider", &json!({ "endpoint": talkative.endpoint })).await.ok();
    let body = json!({ "max_tokens": 40, "stream_options": { "include_usage": true } });
    let events = Events::open_with(&scene.buyer, &[("x-continue-elsewhere", "true")], body).await.all().await;
    let [.., usage, done] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(done, "[DONE]");
    assert_eq!(parse(usage)["usage"]["completion_tokens"], 40, "{usage}");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_claims_too_much_is_paid_for_what_was_counted_and_it_is_on_record() {
    let scene = Scene::with(MockOptions { overstate_pct: 10_000, ..at_once() }).await;
    let most = {
        let body = chat(MODEL, json!({}));
        body.to_string().len() as i64
    };
    for streamed in [false, true] {
        let before = settled(&scene.buyer).await;
        if streamed {
            Events::open(&scene.buyer, json!({})).await.all().await;
        } else {
            scene.buyer.chat(&chat(MODEL, json!({}))).await.ok();
        }
        let paid = settled(&scene.buyer).await - before;
        // The prompt's 500 claimed tokens are cut to its bytes, the 1,010 of the answer to a token a chunk, or four bytes.
        assert!(paid <= units(most + 40, 25) * CHEAP, "{paid} paid, streamed: {streamed}");
    }
    let record = scene.record().await;
    assert_eq!((&record["overstated"], &record["completed"]), (&json!(2), &json!(0)));
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_end_is_ended_and_costs_no_more_than_was_set_aside() {
    let scene = Scene::with(MockOptions { endless_rate_ppm: ALWAYS, ..at_once() }).await;
    let events = Events::open(&scene.buyer, json!({})).await.all().await;
    assert_eq!(parse(events.last().unwrap())["error"]["code"], "provider_failed");
    let most = crate::support::market::worst_case_units(&chat(MODEL, json!({ "stream": true })), 10) * CHEAP;
    let paid = settled(&scene.buyer).await;
    assert!(paid > 0 && paid <= most, "{paid} of at most {most}");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_when_its_time_is_over_and_pays_for_what_came() {
    let mock = start_mock(slowly()).await;
    let (venue, buyer, provider, _) = Venue::trading(&endpoint(&mock), DEAR).await;
    let body = json!({ "max_tokens": 1_000 });
    let mut events = Events::open_with(&buyer, &[("x-timelimit", "0.3")], body.clone()).await;
    let (mut tokens, mut last) = (0, String::new());
    while let Some(event) = events.next().await {
        tokens += i64::from(has_content(&parse(&event)));
        last = event;
    }
    assert_eq!(parse(&last)["error"]["code"], "time_limit");
    let paid = settled(&buyer).await;
    assert_eq!(paid, units(CHAT_PROMPT_TOKENS, tokens) * DEAR);
    assert_eq!(provider.balance().await.earned, paid - paid / 100);
    let plain = buyer.chat_with(&[("x-timelimit", "0.2")], &chat(MODEL, body)).await;
    assert_eq!(plain.error(), (504, "time_limit".into(), None));
    assert_eq!(settled(&buyer).await, paid, "half an answer is none");
    let bad = buyer.chat_with(&[("x-timelimit", "soon")], &chat(MODEL, json!({}))).await;
    assert_eq!(bad.error(), (400, "invalid_value".into(), Some("x-timelimit".into())));
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_promise_pays_the_buyer_a_rebate() {
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({ "rebate_bps": 500 })).await;
    let buyer = open_buyer(&venue.admin, "buyer", 1_000).await;
    let mock = start_mock(MockOptions { first_token: Duration::from_millis(300), ..at_once() }).await;
    let provider = open_provider(&venue.admin, "late", &endpoint(&mock)).await;
    provider.place(&ask(MODEL, DEAR, CAPACITY, json!({ "latency_ms": 100 }))).await;
    let events = Events::open(&buyer, with(json!({}), &json!({ "stream_options": { "include_usage": true } }))).await;
    let events = events.all().await;
    let usage = parse(&events[events.len() - 2]);
    let worth = units(CHAT_PROMPT_TOKENS, 10) * DEAR;
    let paid = settled(&buyer).await;
    assert_eq!(paid, worth - worth * 5 / 100, "5% come back");
    assert_eq!(atoms(&usage["usage"]["cost"]), paid);
    assert_eq!(provider.balance().await.earned, worth - worth / 100 - worth * 5 / 100);
    let path = format!("/v1/providers/{}/scorecard", provider.id);
    assert_eq!(provider.api.get(&path).await.ok()["instruments"][0]["breaches"], 1);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_dies_in_mid_stream_leaves_nothing_held_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mock = start_mock(slowly()).await;
    let gollem = Gollem::serve(&data).await;
    list_model(&gollem.admin, MODEL, json!({})).await;
    let buyer = open_buyer(&gollem.admin, "buyer", 10).await;
    let provider = open_provider(&gollem.admin, "provider", &endpoint(&mock)).await;
    let ask = provider.place(&ask(MODEL, DEAR, CAPACITY, json!({}))).await;
    let mut events = Events::open(&buyer, json!({ "max_tokens": 1_000 })).await;
    events.read_tokens(5).await;
    let contract = events.headers["x-gollem-contract"].to_str().unwrap().to_owned();
    gollem.process.kill();
    eventually("the provider is told to stop", async || (mock.stats().aborted == 1).then_some(())).await;

    let gollem = Gollem::serve(&data).await;
    let (buyer, provider) = (buyer.at(gollem.base()), provider.at(gollem.base()));
    let known = buyer.api.get(&format!("/v1/contracts/{contract}")).await.ok();
    assert_eq!(known["status"], "open", "what the journal knows");
    let (balance, left) = (buyer.balance().await, provider.remaining(&ask).await);
    assert_eq!(balance.available + balance.escrow, 10 * DOLLAR);
    assert!(balance.escrow > 0 && left < CAPACITY as i64, "{balance:?}");
    gollem.process.stop().await;

    // The same journal an hour later, which is past the contract's end.
    let later = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(3_600);
    let time = TimeSource::Given(Arc::new(AtomicU64::new(later.as_nanos() as u64)));
    let options = Options { time, ..Options::new(data.join("journal")) };
    let sequencer = Sequencer::start(&options, 0, None, None).unwrap();
    sequencer.ingress().execute(Command::Tick).await.unwrap();
    let engine = sequencer.stop().unwrap().engine;
    assert!(engine.contracts().is_empty());
    let balance = engine.balance(account_id(&buyer)).unwrap();
    assert_eq!((balance.available.0, balance.escrow.0, balance.held.0), (10 * DOLLAR, 0, 0), "everything returned");
    let offered: Vec<u64> = engine.orders().iter().map(|open| open.remaining.0).collect();
    assert_eq!((offered, engine.ledger_sum()), (vec![CAPACITY], 0));
}

fn account_id(trader: &Trader) -> AccountId {
    AccountId(trader.id.strip_prefix("acc_").unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_asked_while_the_match_is_written_but_nothing_of_the_answer_leaves_before_it_is_durable() {
    let mock = start_mock(at_once()).await;
    // As many inputs as the market takes to set up are confirmed by the second witness, and no more.
    let (venue, ..) = Venue::trading(&endpoint(&mock), DEAR).await;
    let set_up = venue.admin.get("/v1/admin/state").await.ok()["last_seq"].as_u64().unwrap();
    venue.close().await;
    for streamed in [false, true] {
        let witness = Witness::new();
        witness.confirm(set_up);
        let witnesses = vec![witness.clone()];
        let change = |options| ExchangeOptions { witnesses, ..options };
        let (venue, buyer, _, _) = Venue::trading_with(change, &endpoint(&mock), DEAR).await;
        let before = mock.stats().completed;
        // Of a stream the head alone: its end waits for the settlement, which is an input of its own.
        let call = tokio::spawn(async move {
            match streamed {
                true => Ok(Events::open(&buyer, json!({})).await),
                false => Err(buyer.chat(&chat(MODEL, json!({}))).await),
            }
        });
        eventually("the provider has answered", async || (mock.stats().completed > before).then_some(())).await;
        // Far more than the gateway needs to pass an answer on.
        for _ in 0..50 {
            venue.admin.get("/v1/instruments").await.ok();
        }
        assert!(!call.is_finished(), "the match is on one disk only, streamed: {streamed}");
        witness.confirm(u64::MAX);
        match call.await.unwrap() {
            Ok(events) => assert_eq!(events.all().await.last().map(String::as_str), Some("[DONE]")),
            Err(answer) => assert_eq!(answer.status, 200),
        }
        venue.close().await;
    }
}
