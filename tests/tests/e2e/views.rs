//! The views are folded from the journal: deleted, they come back byte for byte, after a polite stop and after a kill.

use crate::support::market::{Trader, ask, bid, chat, list_model, open_buyer, open_provider};
use crate::support::process::Gollem;
use crate::support::venue::MODEL;
use crate::support::{at_once, endpoint, start_mock};
use bytes::Bytes;
use serde_json::json;
use std::path::Path;

/// Orders, fills, cancellations, calls, refunds and payouts.
async fn trade(gollem: &Gollem, endpoint: &str) -> [Trader; 2] {
    list_model(&gollem.admin, MODEL, json!({})).await;
    let provider = open_provider(&gollem.admin, "provider", endpoint).await;
    let buyer = open_buyer(&gollem.admin, "buyer", 100).await;
    provider.place(&ask(MODEL, 1_000_000, 100_000, json!({ "gpu": "h100", "region": "eu" }))).await;
    provider.place(&ask(MODEL, 2_000_000, 100_000, json!({}))).await;
    let cancelled = provider.place(&ask(MODEL, 3_000_000, 5, json!({}))).await;
    provider.api.delete(&format!("/v1/orders/{cancelled}")).await.ok();
    buyer.place(&bid(MODEL, 1_000_000, 500, json!({ "single": true }))).await;
    buyer.place(&bid(MODEL, 500_000, 700, json!({ "max_latency_ms": 100 }))).await;
    for tokens in 1..=10 {
        buyer.chat(&chat(MODEL, json!({ "mock_tokens": tokens, "stream": tokens % 2 == 0 }))).await.ok();
    }
    buyer.chat(&chat("nothing", json!({}))).await.error();
    [buyer, provider]
}

/// What the views tell, byte for byte.
async fn answers(gollem: &Gollem, traders: &[Trader]) -> Vec<(String, Bytes)> {
    let mut answers = Vec::new();
    for path in ["/v1/instruments", "/v1/book/gpt4", "/api/orderbook/status"] {
        answers.push((path.to_owned(), gollem.admin.get(path).await.bytes));
    }
    for trader in traders {
        let trader = trader.at(gollem.base());
        let orders = ["/v1/balance", "/v1/transactions?limit=1000", "/v1/orders", "/v1/orders?status=open"];
        for path in orders {
            answers.push((format!("{path} of {}", trader.id), trader.api.get(path).await.bytes));
        }
        for order in trader.orders().await {
            let path = format!("/v1/orders/{}", order["id"].as_str().unwrap());
            let answer = trader.api.get(&path).await.bytes;
            answers.push((path, answer));
        }
    }
    answers
}

fn delete_views(data: &Path) {
    std::fs::remove_dir_all(data.join("views")).expect("the views are a folder of their own");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_views_come_back_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mock = start_mock(at_once()).await;
    let gollem = Gollem::serve(&data).await;
    let traders = trade(&gollem, &endpoint(&mock)).await;
    let before = answers(&gollem, &traders).await;
    let told = |answer: &Bytes| !answer.is_empty() && !answer.starts_with(b"{\"error");
    assert!(before.iter().all(|(_, answer)| told(answer)), "{before:?}");

    gollem.process.stop().await;
    delete_views(&data);
    let gollem = Gollem::serve(&data).await;
    assert_eq!(answers(&gollem, &traders).await, before, "after a polite stop");

    gollem.process.kill();
    delete_views(&data);
    let gollem = Gollem::serve(&data).await;
    assert_eq!(answers(&gollem, &traders).await, before, "after a kill");

    // Kept views are the same as rebuilt ones.
    gollem.process.kill();
    let gollem = Gollem::serve(&data).await;
    assert_eq!(answers(&gollem, &traders).await, before, "after a kill, with the views kept");
    gollem.process.stop().await;
}
