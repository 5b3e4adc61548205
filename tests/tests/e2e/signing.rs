//! Signed requests: what was signed is done once; what was not, late, early or again, is refused with its own code. How
//! routes differ in this is the scoreboard's row 21: not at all.

use crate::support::http::{Api, Reply};
use crate::support::market::{list_model, open_account};
use crate::support::skipped;
use crate::support::venue::{MODEL, Venue};
use bytes::Bytes;
use gollem_tests::signer::{Request, Signer, now_ms};
use hyper::Method;
use serde_json::{Value, json};
use std::process::Command;

const GUIDE: &str = include_str!("../../../docs/access.md");

async fn signer(owner: &Api, seed: u8) -> (Signer, Value) {
    let mut signer = Signer::new([seed; 32]);
    let asked = json!({ "name": "signs", "scopes": ["read", "provide"], "public_key": signer.public_key() });
    let made = owner.post("/v1/keys", &asked).await.ok();
    signer.prefix = made["prefix"].as_str().unwrap().to_owned();
    (signer, made)
}

fn request<'a>(method: &'a str, path: &'a str, query: &'a str, body: &'a [u8], nonce: &'a str) -> Request<'a> {
    Request { method, path, query, body, time_ms: now_ms(), nonce }
}

/// Sends `sent` under the signature of `signed`.
async fn send(api: &Api, signer: &Signer, signed: &Request<'_>, sent: &Request<'_>) -> Reply {
    let headers = signer.headers(signed);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let target = if sent.query.is_empty() { sent.path.to_owned() } else { format!("{}?{}", sent.path, sent.query) };
    let method = Method::from_bytes(sent.method.as_bytes()).unwrap();
    api.send(method, &target, &headers, Bytes::copy_from_slice(sent.body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_done_once_as_it_was_signed_and_not_otherwise() {
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let owner = open_account(&venue.admin, "owner", &["read", "provide"]).await;
    let (signer, made) = signer(&owner.api, 1).await;
    assert_eq!((&made["kind"], made.get("api_key")), (&json!("ed25519"), None), "there is no secret to show");
    let anyone = venue.admin.with_key(None);
    let order = crate::support::market::ask(MODEL, 1_000, 5, json!({})).to_string();
    let good = request("POST", "/v1/orders", "", order.as_bytes(), "nonce-0001");
    let placed = send(&anyone, &signer, &good, &good).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let with_query = request("GET", "/v1/orders", "limit=5", b"", "nonce-0002");
    assert_eq!(send(&anyone, &signer, &with_query, &with_query).await.ok()["orders"].as_array().unwrap().len(), 1);

    let again = send(&anyone, &signer, &good, &good).await;
    assert_eq!(again.error(), (401, "nonce_reused".into(), None));
    let larger = order.replace("\"quantity\":5", "\"quantity\":6");
    let fresh = Request { nonce: "nonce-0003", ..good.clone() };
    for (what, sent) in [
        ("method", Request { method: "PUT", path: "/v1/provider", ..fresh.clone() }),
        ("path", Request { path: "/api/provider/status", ..fresh.clone() }),
        ("query", Request { query: "x=1", ..fresh.clone() }),
        ("body", Request { body: larger.as_bytes(), ..fresh.clone() }),
    ] {
        let refused = send(&anyone, &signer, &fresh, &sent).await;
        assert_eq!(refused.error(), (401, "signature_invalid".into(), None), "another {what}");
    }
    for (code, time_ms) in
        [("timestamp_too_old", now_ms() - 5_500), ("timestamp_in_future", now_ms() + 60_000), ("timestamp_too_old", 0)]
    {
        let signed = Request { time_ms, ..fresh.clone() };
        assert_eq!(send(&anyone, &signer, &signed, &signed).await.error().1, code);
    }
    assert_eq!(send(&anyone, &signer, &fresh, &fresh).await.status, 201, "what was refused used up no nonce");
    assert_eq!(owner.orders().await.len(), 2);

    let stranger = Signer::new([2; 32]).under(&signer.prefix);
    let theirs = Request { nonce: "nonce-0004", ..good.clone() };
    assert_eq!(send(&anyone, &stranger, &theirs, &theirs).await.error().1, "signature_invalid");
    let unknown = signer.clone().under("sk-gollem-AAAAAAAAAAAA");
    assert_eq!(send(&anyone, &unknown, &theirs, &theirs).await.error().1, "invalid_api_key");
    let shown = anyone.with_key(Some(&format!("{}-{}", signer.prefix, "0".repeat(48))));
    assert_eq!(shown.get("/v1/orders").await.error().1, "invalid_api_key", "such a key has no secret");
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_over_or_may_not_leaves_nothing_behind() {
    let venue = Venue::open().await;
    let owner = open_account(&venue.admin, "owner", &["read", "provide"]).await;
    let (signer, _) = signer(&owner.api, 1).await;
    let anyone = venue.admin.with_key(None);
    let payout = request("POST", "/v1/payouts", "", b"{}", "nonce-0001");
    let look = request("GET", "/v1/orders", "", b"", "nonce-0001");
    assert_eq!(send(&anyone, &signer, &payout, &payout).await.error().1, "insufficient_scope");
    assert_eq!(send(&anyone, &signer, &look, &look).await.status, 200, "the nonce was not used");
    owner.api.delete("/v1/keys/key_2").await.ok();
    let late = request("GET", "/v1/orders", "", b"", "nonce-0002");
    for _ in 0..2 {
        assert_eq!(send(&anyone, &signer, &late, &late).await.error(), (401, "api_key_revoked".into(), None));
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_no_signature_are_named() {
    let venue = Venue::open().await;
    let owner = open_account(&venue.admin, "owner", &["read", "provide"]).await;
    let (signer, _) = signer(&owner.api, 1).await;
    let anyone = venue.admin.with_key(None);
    let good = signer.headers(&request("GET", "/v1/orders", "", b"", "nonce-0001"));
    let long = "x".repeat(65);
    for (header, bad) in [
        (1, "yesterday"),
        (1, "-1"),
        (2, "short"),
        (2, &long),
        (2, "with space"),
        (3, "AAAA"),
        (3, "not base64!"),
        (3, ""),
    ] {
        let mut headers: Vec<(&str, &str)> = good.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers[header].1 = bad;
        let refused = anyone.send(Method::GET, "/v1/orders", &headers, Bytes::new()).await;
        let expected = (401, "signature_malformed".to_owned(), Some(headers[header].0.to_owned()));
        assert_eq!(refused.error(), expected, "{bad}");
    }
    for missing in 1..4 {
        let kept = good.iter().enumerate().filter(|(place, _)| *place != missing);
        let headers: Vec<(&str, &str)> = kept.map(|(_, (name, value))| (*name, value.as_str())).collect();
        let refused = anyone.send(Method::GET, "/v1/orders", &headers, Bytes::new()).await;
        assert_eq!(refused.error().2.as_deref(), Some(good[missing].0));
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signing_key_rotates_to_another_public_key() {
    let venue = Venue::open().await;
    let owner = open_account(&venue.admin, "owner", &["read", "provide"]).await;
    let (old, _) = signer(&owner.api, 1).await;
    let new = Signer::new([2; 32]).under(&old.prefix);
    let refused = owner.api.post("/v1/keys/key_2/rotate", &json!({})).await;
    assert_eq!(refused.error().2.as_deref(), Some("public_key"));
    let rotation = json!({ "public_key": new.public_key(), "overlap_s": 0 });
    owner.api.post("/v1/keys/key_2/rotate", &rotation).await.ok();
    let anyone = venue.admin.with_key(None);
    let get = |nonce| request("GET", "/v1/orders", "", b"", nonce);
    assert_eq!(send(&anyone, &new, &get("nonce-0001"), &get("nonce-0001")).await.status, 200);
    assert_eq!(send(&anyone, &old, &get("nonce-0002"), &get("nonce-0002")).await.status, 401);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_own_program_signs_a_request_that_the_exchange_takes() {
    let python = std::env::var("GOLLEM_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&python).args(["-c", "import cryptography"]).output();
    if !found.is_ok_and(|found| found.status.success()) {
        return skipped(&format!("{python} lacks the package cryptography (or set GOLLEM_TEST_PYTHON)"));
    }
    let program = GUIDE.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a program");
    let venue = Venue::open().await;
    let owner = open_account(&venue.admin, "owner", &["read", "provide"]).await;
    let (signer, _) = signer(&owner.api, 7).await;
    let call = r#"
import os, urllib.request
headers = signed_headers(private_key, os.environ["PREFIX"], "GET", "/v1/orders", "limit=5")
request = urllib.request.Request(os.environ["BASE"] + "/v1/orders?limit=5", headers=headers)
print(urllib.request.urlopen(request).status)
"#;
    let mut command = Command::new(&python);
    command.args(["-c", &format!("{program}{call}")]).env("BASE", venue.admin.base()).env("PREFIX", &signer.prefix);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert_eq!(output.stdout, b"200\n", "{}", String::from_utf8_lossy(&output.stderr));
    venue.close().await;
}
