//! Receipts over HTTP: who reads which, when there is one, and that the auditor finds it right.

use crate::support::market::{CHAT_PROMPT_TOKENS, ask, bid, chat, credits, open_account, open_buyer, units};
use crate::support::process::binary;
use crate::support::venue::{MODEL, Venue};
use crate::support::{at_once, endpoint, slowly, start_mock};
use gollem_gateway::{ExchangeOptions, TreeKey};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

/// $1.35 a million units.
const PRICE: i64 = 135_000;

/// `gollem-replay receipt` on a data folder.
fn audit(receipt: &Path, data: &Path, key: &str) -> Output {
    Command::new(binary("gollem-replay"))
        .arg("receipt")
        .arg(receipt)
        .arg("--data")
        .arg(data)
        .args(["--key", key, "--json"])
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_has_a_signed_receipt_that_both_sides_read_and_the_auditor_finds_right() {
    let mock = start_mock(at_once()).await;
    let vault = tempfile::tempdir().unwrap();
    let (key, mut data) = (vault.path().join("key"), None);
    let signed = |options: ExchangeOptions| {
        data = Some(options.data.clone());
        ExchangeOptions { tree_key: Some(TreeKey { path: key, every: Duration::from_secs(1) }), ..options }
    };
    let (venue, buyer, provider, _) = Venue::trading_with(signed, &endpoint(&mock), PRICE).await;
    let reply = buyer.chat(&chat(MODEL, json!({ "max_tokens": 100, "mock_tokens": 44 }))).await;
    let contract = reply.header("x-gollem-contract").unwrap().to_owned();
    let path = format!("/v1/receipts/{contract}");
    let receipt = buyer.api.get(&path).await.ok();

    let used = units(CHAT_PROMPT_TOKENS, 44);
    let (cost, fee) = (used * PRICE, used * PRICE / 100);
    for (field, expected) in [
        ("contract", json!(contract)),
        ("buyer", json!(buyer.id)),
        ("provider", json!(provider.id)),
        ("model", json!(MODEL)),
        ("price", json!(credits(PRICE))),
        ("delivered_units", json!(used)),
        ("deliveries", json!(1)),
        ("outcome", json!("completed")),
        ("input_tokens", json!(CHAT_PROMPT_TOKENS)),
        ("output_tokens", json!(44)),
        ("paid", reply.header("x-gollem-cost").unwrap().into()),
        ("earned", json!(credits(cost - fee))),
        ("provider_fee", json!(credits(fee))),
        ("ended", json!("settled")),
        ("journal", json!("gollem/journal")),
    ] {
        assert_eq!(receipt[field], expected, "{field}");
    }
    assert_eq!(receipt["first_token_ms"], Value::Null, "a plain answer shows no first token");
    assert!(receipt["trade_seq"].as_u64() < receipt["settlement_seq"].as_u64());

    for reader in [&provider.api, &venue.admin] {
        assert_eq!(reader.get(&path).await.ok(), receipt, "the same bytes for whoever may read it");
    }
    let stranger = open_account(&venue.admin, "stranger", &["read"]).await;
    assert_eq!(stranger.api.get(&path).await.error(), (404, "contract_not_found".into(), Some("contract".into())));
    assert_eq!(buyer.api.get("/v1/receipts/ctr_1").await.error().0, 404);
    assert_eq!(buyer.api.get("/v1/receipts/7").await.error(), (400, "invalid_value".into(), Some("contract".into())));

    let public = venue.admin.with_key(None).get("/v1/journal/key").await;
    let public = String::from_utf8(public.bytes.to_vec()).unwrap();
    let (file, data) = (vault.path().join("receipt.json"), data.unwrap());
    std::fs::write(&file, receipt.to_string()).unwrap();
    let found = audit(&file, &data, public.trim());
    let said: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(
        said,
        json!({
            "right": true, "contract": contract, "settlement_seq": receipt["settlement_seq"], "signed_by": "gollem/journal",
            "signature_error": null, "differences": [],
        })
    );
    assert_eq!(found.status.code(), Some(0));
    std::fs::write(&file, receipt["note"].as_str().unwrap().replacen("outcome completed", "outcome failed", 1))
        .unwrap();
    let forged = audit(&file, &data, public.trim());
    let said: Value = serde_json::from_slice(&forged.stdout).unwrap();
    assert_eq!((forged.status.code(), &said["differences"][0]["field"]), (Some(1), &json!("outcome")));
    assert!(said["signature_error"].is_string(), "{said}");
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_is_still_open_has_no_receipt_and_without_a_key_a_receipt_is_not_signed() {
    let mock = start_mock(slowly()).await;
    let (venue, buyer, provider, _) = Venue::trading(&endpoint(&mock), PRICE).await;
    let trader = open_buyer(&venue.admin, "trader", 10).await;
    provider.place(&ask(MODEL, PRICE - 1_000, 1_000, json!({}))).await;
    trader.place(&bid(MODEL, PRICE, 500, json!({}))).await;
    let contracts = trader.api.get("/v1/contracts").await.ok();
    let open = contracts["contracts"][0]["id"].as_str().unwrap();
    let refused = trader.api.get(&format!("/v1/receipts/{open}")).await;
    assert_eq!(refused.error(), (409, "not_settled".into(), Some("contract".into())));

    let reply = buyer.chat(&chat(MODEL, json!({ "max_tokens": 5 }))).await;
    let contract = reply.header("x-gollem-contract").unwrap();
    let receipt = buyer.api.get(&format!("/v1/receipts/{contract}")).await.ok();
    assert_eq!((&receipt["note"], &receipt["journal"]), (&Value::Null, &Value::Null));
    assert_eq!(receipt["contract"], contract);
    venue.close().await;
}
