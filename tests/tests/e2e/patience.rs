//! Patience has an end: with a client that takes nothing of what it is sent, and with streams that outlast a stop.

use crate::streams::{Events, has_content, parse, settled};
use crate::support::http::Api;
use crate::support::market::{CHAT_PROMPT_TOKENS, chat, units};
use crate::support::venue::{CAPACITY, MODEL, Venue};
use crate::support::{at_once, endpoint, eventually, slowly, start_mock};
use gollem_gateway::ExchangeOptions;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PRICE: i64 = 1_000;
/// As many tokens as a call may have: some 30 MB of events, far more than the system's buffers hold.
const MANY_TOKENS: i64 = 131_072;

/// Sends a streamed call over a bare connection and reads no further than the head of the answer.
async fn call_and_stop_reading(api: &Api) -> TcpStream {
    let address = api.base().strip_prefix("http://").unwrap();
    let body = chat(MODEL, json!({ "stream": true, "max_tokens": MANY_TOKENS })).to_string();
    let (key, length) = (api.key(), body.len());
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut status = [0; 15];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200 OK");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_is_settled_as_gone() {
    let mock = start_mock(at_once()).await;
    let impatient = |options| ExchangeOptions { client_patience: Duration::from_secs(1), ..options };
    let (venue, buyer, provider, ask) = Venue::trading_with(impatient, &endpoint(&mock), PRICE).await;
    let deaf = call_and_stop_reading(&buyer.api).await;
    let paid = settled(&buyer).await;
    eventually("the provider notices", async || (mock.stats().aborted == 1).then_some(())).await;
    assert_eq!(mock.stats().completed, 0);
    let used = paid / PRICE;
    let whole = units(CHAT_PROMPT_TOKENS, MANY_TOKENS);
    assert!(0 < used && used < whole, "{used} of {whole}: what the connection took is paid, and no more");
    assert_eq!(provider.balance().await.earned, paid - paid / 100);
    assert_eq!(provider.remaining(&ask).await, CAPACITY as i64 - used);
    drop(deaf);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_stream_to_a_client_that_reads_it_goes_on() {
    // Three seconds of a stream, against one second of patience.
    let mock = start_mock(slowly()).await;
    let impatient = |options| ExchangeOptions { client_patience: Duration::from_secs(1), ..options };
    let (venue, buyer, _, _) = Venue::trading_with(impatient, &endpoint(&mock), PRICE).await;
    let events = Events::open(&buyer, json!({ "max_tokens": 300 })).await.all().await;
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    assert_eq!(settled(&buyer).await, units(CHAT_PROMPT_TOKENS, 300) * PRICE);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_cuts_a_stream_that_outlasts_it_and_settles_what_came() {
    let mock = start_mock(slowly()).await;
    let hasty = |options| ExchangeOptions { drain_patience: Duration::from_millis(500), ..options };
    let (venue, buyer, provider, _) = Venue::trading_with(hasty, &endpoint(&mock), PRICE).await;
    let mut events = Events::open(&buyer, json!({ "max_tokens": 10_000 })).await;
    events.read_tokens(5).await;
    let reading = tokio::spawn(events.all());
    let venue = venue.reopen_for_real().await;
    let mut rest = reading.await.unwrap();
    let last = rest.pop().expect("a last event");
    assert_eq!(parse(&last)["error"]["type"], "server_error", "the client is told: {last}");
    let tokens = 5 + rest.iter().filter(|event| has_content(&parse(event))).count() as i64;

    let (buyer, provider) = (buyer.at(venue.admin.base()), provider.at(venue.admin.base()));
    let balance = buyer.balance().await;
    assert_eq!((balance.held, balance.escrow), (0, 0), "settled before the journal was closed");
    let paid = settled(&buyer).await;
    assert_eq!(paid, units(CHAT_PROMPT_TOKENS, tokens) * PRICE, "{tokens} tokens came");
    assert_eq!(provider.balance().await.earned, paid - paid / 100);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_cuts_a_plain_call_that_outlasts_it_and_it_costs_nothing() {
    let mock = start_mock(slowly()).await;
    let hasty = |options| ExchangeOptions { drain_patience: Duration::from_millis(500), ..options };
    let (venue, buyer, _, _) = Venue::trading_with(hasty, &endpoint(&mock), PRICE).await;
    let caller = buyer.clone();
    let call = tokio::spawn(async move { caller.chat(&chat(MODEL, json!({ "max_tokens": 10_000 }))).await });
    eventually("the call is at its provider", async || (mock.stats().requests == 1).then_some(())).await;
    let venue = venue.reopen_for_real().await;
    let reply = call.await.unwrap();
    assert_eq!(reply.error().0, 503, "the client is told: {}", reply.body);
    let buyer = buyer.at(venue.admin.base());
    assert_eq!(settled(&buyer).await, 0);
    venue.close().await;
}
