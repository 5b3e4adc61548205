//! The OpenAPI document is true: `schemathesis`, which makes requests of it, finds no answer that it does not describe, and the
//! page needs nothing from elsewhere.
//!
//! Needs the package `schemathesis` in the Python that `GOLLEM_TEST_PYTHON` names, or in `python3`; says so where it is missing.

use crate::support::market::{ask, bid, list_model, open_account};
use crate::support::process::Gollem;
use crate::support::skipped;
use crate::support::venue::Venue;
use serde_json::json;
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_needs_nothing_from_elsewhere() {
    let venue = Venue::open().await;
    let anyone = venue.admin.with_key(None);
    let document = anyone.get("/openapi.json").await;
    assert!(document.header("content-type").unwrap().starts_with("application/json"));
    let page = anyone.get("/docs").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let text = String::from_utf8_lossy(&page.bytes).into_owned();
    assert!(text.contains("/openapi.json") && !text.contains("http://") && !text.contains("https://"));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    venue.close().await;
}

/// What schemathesis may not choose: an input that is far away would be waited for, and then be answered 503.
const SETTINGS: &str = "[parameters]\n\"query.after\" = 1\n";
/// The market that the document's examples name.
const LISTED: &str = "llama-3.1-8b";

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_answer_that_the_document_does_not_describe() {
    let python = std::env::var("GOLLEM_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !Command::new(&python).args(["-c", "import schemathesis"]).output().is_ok_and(|found| found.status.success()) {
        return skipped("the document's test needs the Python package schemathesis");
    }
    let dir = tempfile::tempdir().unwrap();
    let settings = dir.path().join("schemathesis.toml");
    std::fs::write(&settings, SETTINGS).unwrap();
    let gollem = Gollem::serve(&dir.path().join("data")).await;
    list_model(&gollem.admin, LISTED, json!({})).await;
    let trader = open_account(&gollem.admin, "trader", &["read", "trade", "provide"]).await;
    trader.purchase(1_000, "for the document").await.ok();
    let other = open_account(&gollem.admin, "other", &["read", "trade", "provide"]).await;
    other.purchase(100, "for the other side").await.ok();
    for price in [1_000, 2_000] {
        other.place(&ask(LISTED, price, 1_000, json!({}))).await;
        trader.place(&bid(LISTED, price, 10, json!({}))).await;
        trader.place(&bid(LISTED, 100, 10, json!({}))).await;
    }
    let run = |key: &str, choice: [&str; 2], seconds: &str| {
        let mut command = Command::new(&python);
        command.args(["-m", "schemathesis.cli", "--config-file", settings.to_str().unwrap()]);
        command.args(["run", &format!("{}/openapi.json", gollem.base())]);
        command.args(["--header", &format!("Authorization: Bearer {key}")]).args(choice);
        command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", "5", "--max-time", seconds]);
        command.args(["--seed", "1", "--workers", "1", "--no-shrink", "--continue-on-failure", "--warnings", "off"]);
        command.args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ]);
        let output = command.current_dir(dir.path()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
        println!("{told}");
    };
    // Calls are tested elsewhere: where nobody serves a model, 503 is what their answer must be.
    run(trader.api.key(), ["--exclude-tag", "Inference"], "40");
    run(gollem.admin.key(), ["--include-tag", "Operation"], "15");
    gollem.process.stop().await;
}
