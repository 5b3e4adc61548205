//! An agent that falls silent without a word: its quote vanishes at a deadline that the journal knows, whether the
//! exchange runs all the while or was killed, too.

use crate::support::market::{Trader, list_model, open_account};
use crate::support::process::{Gollem, Process, assert_audit_agrees};
use crate::support::venue::MODEL;
use crate::support::{at_once, endpoint, eventually, start_mock};
use gollem_provider::mock::Mock;
use serde_json::json;
use std::path::Path;

/// Seconds without a sign of life after which the quote goes.
const DEADLINE_S: &str = "3";

/// Starts the real agent and waits for its quote; returns the quote's id.
async fn quoting(gollem: &Gollem, provider: &Trader, mock: &Mock, log: &Path) -> (Process, String) {
    let model_server = endpoint(mock);
    let arguments = [
        ["agent", "--gateway", gollem.base(), "--endpoint", &model_server, "--model", MODEL].as_slice(),
        &["--price", "1.35", "--latency-ms", "400", "--throughput-tps", "60", "--capacity", "2000"],
        &["--refresh-s", "1", "--deadline-s", DEADLINE_S],
    ]
    .concat();
    let agent = Process::start("gollem-provider", &arguments, &[("GOLLEM_API_KEY", provider.api.key())], log);
    let quote = eventually("the agent quotes", async || {
        let newest = provider.orders().await.into_iter().next()?;
        (newest["status"] == "open").then(|| newest["id"].as_str().unwrap().to_owned())
    })
    .await;
    (agent, quote)
}

async fn until_cancelled(provider: &Trader, quote: &str) {
    let order = eventually("the quote is gone", async || {
        let order = provider.order(quote).await;
        (order["status"] != "open").then_some(order)
    })
    .await;
    assert_eq!((&order["status"], &order["reason"]), (&json!("canceled"), &json!("dead_man_timer")), "{order}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_s_quote_vanishes_at_its_deadline_and_replay_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("agent.log"));
    let gollem = Gollem::serve(&data).await;
    list_model(&gollem.admin, MODEL, json!({})).await;
    let provider = open_account(&gollem.admin, "provider", &["read", "provide"]).await;
    let mock = start_mock(at_once()).await;

    let (agent, quote) = quoting(&gollem, &provider, &mock, &log).await;
    let set_at = gollem.state().await["last_seq"].as_u64().unwrap();
    eventually("the agent gives signs of life", async || {
        (gollem.state().await["last_seq"].as_u64().unwrap() >= set_at + 4).then_some(())
    })
    .await;
    assert_eq!(provider.order(&quote).await["status"], "open", "it lives beyond its first deadline");
    agent.kill();
    until_cancelled(&provider, &quote).await;
    let book = gollem.admin.get(&format!("/v1/book/{MODEL}")).await.ok();
    assert_eq!(book["asks"], json!([]));
    assert_audit_agrees(&gollem, &data).await;

    // An agent that comes back quotes again; this time the exchange dies with it, and the deadline passes while nobody
    // is there to notice.
    let (agent, quote) = quoting(&gollem, &provider, &mock, &log).await;
    agent.kill();
    gollem.process.kill();
    let gollem = Gollem::serve(&data).await;
    let provider = provider.at(gollem.base());
    until_cancelled(&provider, &quote).await;
    assert_audit_agrees(&gollem, &data).await;
    gollem.process.stop().await;
    mock.stop().await;
}
