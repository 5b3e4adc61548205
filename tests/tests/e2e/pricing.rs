//! The agent's pricing policy against a real exchange: the book shows what the policy says.

use crate::support::market::{ask, list_model, open_account, open_provider};
use crate::support::process::Process;
use crate::support::venue::{MODEL, Venue};
use crate::support::{at_once, endpoint, eventually, start_mock};
use serde_json::{Value, json};

const POLICY: &str = "base = 1.35\nfloor = 0.90\nceiling = 4\n[undercut]\nby = 0.05\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_undercuts_its_rivals_where_its_quote_rests_and_never_below_its_floor() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let mock = start_mock(at_once()).await;
    let model_server = endpoint(&mock);
    let provider = open_account(&venue.admin, "provider", &["read", "provide"]).await;
    let rival = open_provider(&venue.admin, "rival", &model_server).await;
    let arguments = [
        ["agent", "--gateway", venue.admin.base(), "--endpoint", &model_server, "--model", MODEL].as_slice(),
        &["--policy", policy.to_str().unwrap(), "--latency-ms", "400", "--throughput-tps", "60"],
        &["--capacity", "2000", "--refresh-s", "1"],
    ]
    .concat();
    let environment = [("GOLLEM_API_KEY", provider.api.key())];
    let agent = Process::start("gollem-provider", &arguments, &environment, &folder.path().join("log"));
    let newest = async || provider.orders().await.into_iter().next();
    let until_priced = async |price: &str| {
        eventually("the quote has the policy's price", async || {
            newest().await.filter(|order| order["status"] == "open" && order["price"] == price)
        })
        .await
    };
    let first = until_priced("0.00135000").await;
    let rivals = rival.place(&ask(MODEL, 120_000, 1_000, json!({}))).await;
    let undercut = until_priced("0.00115000").await;
    assert_eq!(undercut["id"], first["id"], "it is the same order");
    rival.place(&ask(MODEL, 91_000, 1_000, json!({}))).await;
    until_priced("0.00090000").await;
    let book = venue.admin.get(&format!("/v1/book/{MODEL}")).await.ok();
    let best: Vec<&Value> = book["asks"].as_array().unwrap().iter().map(|level| &level["price"]).collect();
    assert_eq!(best, ["0.00090000", "0.00091000", "0.00120000"]);
    for order in rival.orders().await {
        rival.api.delete(&format!("/v1/orders/{}", order["id"].as_str().unwrap())).await.ok();
    }
    assert_eq!(rival.order(&rivals).await["status"], "canceled");
    until_priced("0.00135000").await;
    assert_eq!(provider.orders().await.len(), 1, "one order all the while");
    agent.stop().await;
    assert_eq!(newest().await.unwrap()["status"], "canceled");
    mock.stop().await;
    venue.close().await;
}
