//! A call answered as server-sent events: the bytes the client reads, and who pays when a side leaves early.

use crate::support::http::Headers;
use crate::support::market::{CHAT_PROMPT_TOKENS, DOLLAR, Trader, assert_buyer_adds_up, chat, credits, units, with};
use crate::support::venue::{CAPACITY, MODEL, Venue};
use crate::support::{DEADLINE, at_once, endpoint, eventually, slowly, start_mock};
use bytes::Bytes;
use gollem_provider::mock::MockOptions;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::time::timeout;

const PRICE: i64 = 135_000;

/// A stream as the client sees it.
pub(crate) struct Events {
    pub(crate) headers: HeaderMap,
    body: Incoming,
    text: String,
}

impl Events {
    /// Opens a streamed call; returns when its head is there.
    pub(crate) async fn open(buyer: &Trader, change: Value) -> Events {
        Events::open_with(buyer, &[], change).await
    }

    /// The same with headers.
    pub(crate) async fn open_with(buyer: &Trader, headers: Headers<'_>, change: Value) -> Events {
        Events::ask(buyer, headers, change).await.unwrap_or_else(|status| panic!("it is answered {status}"))
    }

    /// The same; none if it is refused.
    pub(crate) async fn try_open(buyer: &Trader, change: Value) -> Option<Events> {
        Events::ask(buyer, &[], change).await.ok()
    }

    async fn ask(buyer: &Trader, headers: Headers<'_>, change: Value) -> Result<Events, u16> {
        let body = chat(MODEL, with(json!({ "stream": true }), &change));
        let bytes = Bytes::from(body.to_string());
        let response = buyer.api.open(Method::POST, "/v1/chat/completions", headers, bytes).await.unwrap();
        let (head, body) = response.into_parts();
        if head.status != 200 {
            return Err(head.status.as_u16());
        }
        assert_eq!(head.headers["content-type"], "text/event-stream; charset=utf-8");
        Ok(Events { headers: head.headers, body, text: String::new() })
    }

    /// The data of the next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data =
                    event.strip_prefix("data: ").unwrap_or_else(|| panic!("an event is one data line: {event:?}"));
                assert!(!data.contains('\n'), "{data:?}");
                let data = data.to_owned();
                self.text = rest.to_owned();
                return Some(data);
            }
            let frame = timeout(DEADLINE, self.body.frame()).await.expect("a stream goes on");
            match frame {
                Some(frame) => self.text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap()),
                None => {
                    assert!(self.text.is_empty(), "half an event at the end: {:?}", self.text);
                    return None;
                }
            }
        }
    }

    pub(crate) async fn all(mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// Reads on until `count` tokens have come.
    pub(crate) async fn read_tokens(&mut self, count: usize) {
        let mut tokens = 0;
        while tokens < count {
            let event = self.next().await.expect("more tokens come");
            tokens += usize::from(has_content(&parse(&event)));
        }
    }
}

pub(crate) fn parse(event: &str) -> Value {
    serde_json::from_str(event).unwrap_or_else(|_| panic!("an event is JSON: {event}"))
}

pub(crate) fn has_content(chunk: &Value) -> bool {
    chunk["choices"][0]["delta"]["content"].as_str().is_some_and(|text| !text.is_empty())
}

/// Waits until nothing of the buyer's is tied up, and returns what it has paid of its $1,000.
pub(crate) async fn settled(buyer: &Trader) -> i64 {
    let balance = eventually("the call is settled", async || {
        let balance = buyer.balance().await;
        (balance.held == 0 && balance.escrow == 0).then_some(balance)
    })
    .await;
    assert_buyer_adds_up(buyer).await;
    1_000 * DOLLAR - balance.available
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_chunks_of_one_id_then_done_and_is_paid_by_its_tokens() {
    let mock = start_mock(at_once()).await;
    let (venue, buyer, provider, ask) = Venue::trading(&endpoint(&mock), PRICE).await;
    let events = Events::open(&buyer, json!({ "mock_tokens": 9 })).await;
    assert_eq!(events.headers["x-gollem-provider"], provider.id.as_str());
    assert!(events.headers["x-gollem-contract"].to_str().unwrap().starts_with("ctr_"));
    let mut events = events.all().await;
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    let chunks: Vec<Value> = events.iter().map(|event| parse(event)).collect();
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!((&chunk["id"], &chunk["model"]), (&chunks[0]["id"], &json!(MODEL)));
        assert!(chunk.get("usage").is_none(), "nobody asked for usage: {chunk}");
        assert_eq!(chunk["choices"].as_array().unwrap().len(), 1);
    }
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(chunks.iter().filter(|chunk| has_content(chunk)).count(), 9);
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");

    // `[DONE]` came after the settlement: no waiting here.
    let (used, balance) = (units(CHAT_PROMPT_TOKENS, 9), buyer.balance().await);
    assert_eq!((balance.held, balance.escrow), (0, 0));
    assert_eq!(settled(&buyer).await, used * PRICE);
    assert_eq!(provider.balance().await.earned, used * PRICE - used * PRICE / 100);
    assert_eq!(provider.remaining(&ask).await, CAPACITY as i64 - used);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_its_usage_and_cost_to_whom_asks_for_it() {
    let mock = start_mock(at_once()).await;
    let (venue, buyer, _, _) = Venue::trading(&endpoint(&mock), PRICE).await;
    let events = Events::open(&buyer, json!({ "stream_options": { "include_usage": true } })).await;
    let mut events = events.all().await;
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    let usage = parse(&events.pop().unwrap());
    assert_eq!(usage["choices"], json!([]));
    let used = units(CHAT_PROMPT_TOKENS, 10);
    let told = &usage["usage"];
    assert_eq!((&told["prompt_tokens"], &told["completion_tokens"]), (&json!(CHAT_PROMPT_TOKENS), &json!(10)));
    assert_eq!(told["cost"], credits(used * PRICE));
    for event in &events {
        let chunk = parse(event);
        assert_eq!(chunk.get("usage"), Some(&Value::Null), "every other chunk says null: {chunk}");
    }
    assert_eq!(settled(&buyer).await, used * PRICE);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_pays_for_what_it_got_and_the_provider_stops() {
    let mock = start_mock(slowly()).await;
    let (venue, buyer, provider, ask) = Venue::trading(&endpoint(&mock), PRICE).await;
    let mut events = Events::open(&buyer, json!({ "max_tokens": 1_000 })).await;
    events.read_tokens(5).await;
    drop(events);
    let paid = settled(&buyer).await;
    eventually("the provider notices", async || (mock.stats().aborted == 1).then_some(())).await;

    let used = paid / PRICE;
    assert_eq!(paid % PRICE, 0);
    let most = i64::try_from(mock.stats().completion_tokens).unwrap();
    assert!(most < 1_000, "the model server stopped early, at {most} tokens");
    let (least, most) = (units(CHAT_PROMPT_TOKENS, 5), units(CHAT_PROMPT_TOKENS, most));
    assert!((least..=most).contains(&used), "{used} units for {least} to {most}");
    assert_eq!(provider.balance().await.earned, paid - paid / 100);
    assert_eq!(provider.remaining(&ask).await, CAPACITY as i64 - used);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_a_plain_call_is_settled_too() {
    let mock = start_mock(slowly()).await;
    let (venue, buyer, provider, _) = Venue::trading(&endpoint(&mock), PRICE).await;
    let (api, body) = (buyer.api.clone(), Bytes::from(chat(MODEL, json!({ "max_tokens": 30 })).to_string()));
    let call = tokio::spawn(async move { api.open(Method::POST, "/v1/chat/completions", &[], body).await });
    eventually("the call is at its provider", async || (mock.stats().requests == 1).then_some(())).await;
    call.abort();
    assert!(call.await.is_err_and(|error| error.is_cancelled()), "the client left before the answer came");
    eventually("the call goes on", async || (mock.stats().completed == 1).then_some(())).await;
    let paid = settled(&buyer).await;
    assert_eq!(paid, units(CHAT_PROMPT_TOKENS, 30) * PRICE, "the provider did the work");
    assert_eq!(provider.balance().await.earned, paid - paid / 100);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_first_token_pays_nothing() {
    let mock = start_mock(MockOptions { first_token: DEADLINE, ..at_once() }).await;
    let (venue, buyer, provider, ask) = Venue::trading(&endpoint(&mock), PRICE).await;
    let (api, body) = (buyer.api.clone(), Bytes::from(chat(MODEL, json!({ "stream": true })).to_string()));
    let call = tokio::spawn(async move { api.open(Method::POST, "/v1/chat/completions", &[], body).await });
    eventually("the call is at its provider", async || (mock.stats().requests == 1).then_some(())).await;
    call.abort();
    assert!(call.await.is_err_and(|error| error.is_cancelled()), "the client left before the first token");
    assert_eq!(settled(&buyer).await, 0, "and waits for no provider");
    eventually("the provider notices", async || (mock.stats().aborted == 1).then_some(())).await;
    assert_eq!(provider.balance().await.earned, 0);
    assert_eq!(provider.remaining(&ask).await, CAPACITY as i64);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_dies_in_mid_stream_is_paid_for_what_came_and_the_client_sees_an_error() {
    let mock = start_mock(slowly()).await;
    let (venue, buyer, provider, ask) = Venue::trading(&endpoint(&mock), PRICE).await;
    let mut events = Events::open(&buyer, json!({ "max_tokens": 1_000 })).await;
    events.read_tokens(5).await;
    mock.stop().await;
    let mut tokens = 5;
    let mut last = None;
    while let Some(event) = events.next().await {
        tokens += i64::from(has_content(&parse(&event)));
        last = Some(event);
    }
    let error = parse(&last.expect("a last event"));
    assert_eq!(error["error"]["code"], "provider_failed");
    assert_eq!(error["error"]["type"], "server_error");
    let paid = settled(&buyer).await;
    assert_eq!(paid, units(CHAT_PROMPT_TOKENS, tokens) * PRICE, "{tokens} tokens came");
    assert_eq!(provider.balance().await.earned, paid - paid / 100);
    assert_eq!(provider.remaining(&ask).await, CAPACITY as i64 - paid / PRICE);
    venue.close().await;
}
