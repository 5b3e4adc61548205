//! The provider's own binaries against a real exchange: a mock model server, an agent that quotes it, a call, a stop.

use crate::support::eventually;
use crate::support::http::Api;
use crate::support::market::{DOLLAR, chat, list_model, open_account, open_buyer};
use crate::support::process::Process;
use crate::support::venue::{MODEL, Venue};
use serde_json::json;

async fn asks(api: &Api) -> u64 {
    api.get("/api/orderbook/status").await.ok()["instruments"][0]["asks"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_quotes_its_model_server_earns_and_withdraws_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let buyer = open_buyer(&venue.admin, "buyer", 10).await;
    let provider = open_account(&venue.admin, "provider", &["read", "provide"]).await;

    let served = ["mock", "--listen", "127.0.0.1:0", "--model", MODEL, "--first-token-ms", "0", "--tokens-per-s", "0"];
    let mut mock = Process::start("gollem-provider", &served, &[], &log);
    let model_server = format!("{}/v1", mock.line("listening on ").await);
    let quoted = [
        "agent",
        "--gateway",
        venue.admin.base(),
        "--endpoint",
        &model_server,
        "--model",
        MODEL,
        "--price",
        "1.35",
        "--latency-ms",
        "400",
        "--throughput-tps",
        "60",
        "--capacity",
        "2000",
        "--gpu",
        "h100",
        "--refresh-s",
        "1",
    ];
    let agent = Process::start("gollem-provider", &quoted, &[("GOLLEM_API_KEY", provider.api.key())], &log);
    eventually("the agent quotes", async || (asks(&venue.admin).await == 1).then_some(())).await;
    let book = venue.admin.get(&format!("/v1/book/{MODEL}")).await.ok();
    assert_eq!(book["asks"], json!([{ "price": "0.00135000", "quantity": 2_000, "orders": 1 }]));

    // More than half of the capacity: the agent renews its quote.
    let reply = buyer.chat(&chat(MODEL, json!({ "max_tokens": 300 }))).await;
    assert_eq!(reply.header("x-gollem-provider"), Some(provider.id.as_str()));
    reply.ok();
    let cost = 1_205 * 135_000;
    assert_eq!(buyer.balance().await.available, 10 * DOLLAR - cost);
    assert_eq!(provider.balance().await.earned, cost - cost / 100);
    eventually("the agent renews its quote", async || {
        let book = venue.admin.get(&format!("/v1/book/{MODEL}")).await.ok();
        (book["asks"][0]["quantity"] == 2_000).then_some(())
    })
    .await;

    agent.stop().await;
    assert_eq!(asks(&venue.admin).await, 0, "no quote is left behind");
    mock.stop().await;
    venue.close().await;
}
