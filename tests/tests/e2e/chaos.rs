//! Many streams at once, providers that fail at random: what buyers paid, what providers earned, what the mocks handed out
//! and what the clients read are the same tokens, each once, and nothing stays behind.
//!
//! `CHAOS_STREAMS` streams at once for `CHAOS_SECONDS` seconds: 100 for 5 unless the environment says otherwise; the full
//! volume is 1,000 for 600.

use crate::streams::{Events, has_content, parse};
use crate::support::market::{
    CHAT_PROMPT_TOKENS, DOLLAR, Trader, ask, assert_provider_adds_up, list_model, open_buyer, open_provider, units,
};
use crate::support::random::{Random, seed};
use crate::support::venue::{MODEL, Venue};
use crate::support::{at_once, endpoint, eventually, start_mock};
use gollem_gateway::ExchangeOptions;
use gollem_provider::mock::{Fault, Mock, MockOptions, Outcome};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Divides by a hundred, so that fees are whole and sums of them exact.
const PRICE: i64 = 100_000;
const PROVIDERS: u64 = 10;
const BUYERS: u64 = 10;

fn volume(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// One provider in ten fails nearly always, in every way; the others seldom.
fn moody(number: u64) -> MockOptions {
    let share = if number == 0 { 200_000 } else { 4_000 };
    MockOptions {
        first_token: Duration::from_millis(number),
        tokens_per_s: 500,
        failure_rate_ppm: share,
        refuse_rate_ppm: share,
        drop_rate_ppm: share,
        die_rate_ppm: share,
        garbage_rate_ppm: share / 2,
        seed: number,
        ..at_once()
    }
}

/// What the clients saw.
#[derive(Debug, Default)]
struct Seen {
    calls: AtomicU64,
    /// Calls that delivered something.
    served: AtomicI64,
    tokens: AtomicI64,
    done: AtomicU64,
    broken_off: AtomicU64,
    refused: AtomicU64,
}

/// One client: stream after stream, each wishing for a provider of its own.
async fn stream_on(buyer: Trader, providers: Arc<Vec<Trader>>, seen: Arc<Seen>, mut random: Random, until: Instant) {
    while Instant::now() < until {
        let wish = &providers[random.between(0, PROVIDERS - 1) as usize].id;
        let tokens = random.between(1, 30);
        seen.calls.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "max_tokens": tokens, "provider": { "order": [wish] } });
        let Some(mut events) = Events::try_open(&buyer, body).await else {
            seen.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        seen.served.fetch_add(1, Ordering::Relaxed);
        let mut last = String::new();
        while let Some(event) = events.next().await {
            let content = event != "[DONE]" && has_content(&parse(&event));
            seen.tokens.fetch_add(i64::from(content), Ordering::Relaxed);
            last = event;
        }
        match last.as_str() {
            "[DONE]" => seen.done.fetch_add(1, Ordering::Relaxed),
            error => {
                assert_eq!(parse(error)["error"]["code"], "provider_failed", "{error}");
                seen.broken_off.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

/// Units that a mock handed out to those who were to be served: failures before a token are nobody's.
fn handed_out(mock: &Mock) -> i64 {
    let stats = mock.stats();
    let served = [Outcome::Completed, Outcome::Fault(Fault::Die)].map(|outcome| stats.of(outcome));
    served.iter().map(|served| units(served.prompt_tokens as i64, served.completion_tokens as i64)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_token_is_paid_once_however_providers_fail() {
    let streams = volume("CHAOS_STREAMS", 100);
    let until = Instant::now() + Duration::from_secs(volume("CHAOS_SECONDS", 5));
    // All come from one address: it may have a connection for each, and for who looks at the accounts.
    let connections_per_address = u32::try_from(streams).unwrap() + 100;
    let venue = Venue::open_with(|options| ExchangeOptions { connections_per_address, ..options }).await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let (mut mocks, mut providers, mut buyers) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..PROVIDERS {
        let mock = start_mock(moody(number)).await;
        let provider = open_provider(&venue.admin, &format!("provider {number}"), &endpoint(&mock)).await;
        // Its promise is long, so that nobody is asked beside it: a token that two hand out is paid to one.
        let patient = json!({ "latency_ms": 60_000, "throughput_tps": 1 });
        provider.place(&ask(MODEL, PRICE, 1_000_000_000, patient)).await;
        mocks.push(mock);
        providers.push(provider);
    }
    for number in 0..BUYERS {
        buyers.push(open_buyer(&venue.admin, &format!("buyer {number}"), 1_000).await);
    }
    let (providers, seen, seed) = (Arc::new(providers), Arc::new(Seen::default()), seed());
    let clients: Vec<_> = (0..streams)
        .map(|number| {
            let buyer = buyers[(number % BUYERS) as usize].clone();
            let random = Random::new(seed.wrapping_add(number));
            tokio::spawn(stream_on(buyer, Arc::clone(&providers), Arc::clone(&seen), random, until))
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }

    let mut paid = 0;
    for buyer in &buyers {
        let balance = eventually("nothing is stuck", async || {
            let balance = buyer.balance().await;
            (balance.held == 0 && balance.escrow == 0).then_some(balance)
        })
        .await;
        paid += 1_000 * DOLLAR - balance.available;
    }
    let mut handed = 0;
    for (provider, mock) in providers.iter().zip(&mocks) {
        let (earned, out) = (provider.balance().await.earned, handed_out(mock));
        assert_eq!(earned, out * PRICE / 100 * 99, "{}: {:?}", provider.id, mock.stats().outcomes);
        assert_provider_adds_up(provider).await;
        handed += out;
    }
    let read = |count: &AtomicI64| count.load(Ordering::Relaxed);
    let read_units = units(read(&seen.served) * CHAT_PROMPT_TOKENS, read(&seen.tokens));
    assert_eq!((paid, read_units), (handed * PRICE, handed), "{seen:?}");
    assert!(seen.done.load(Ordering::Relaxed) > streams, "most calls are served: {seen:?}");
    assert!(seen.broken_off.load(Ordering::Relaxed) > 0, "some streams break off: {seen:?}");
    println!("{seen:?}");
    venue.close().await;
}
