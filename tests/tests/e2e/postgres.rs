//! The real binary with its accounts, keys and people in a real PostgreSQL, which `DATABASE_URL` names.

use crate::support::http::Api;
use crate::support::postgres::Postgres;
use crate::support::process::Gollem;
use crate::support::{eventually, skipped};
use serde_json::{Value, json};
use std::path::Path;

const PASSWORD: &str = "correct horse battery";

async fn serve(data: &Path, postgres: &Postgres) -> Gollem {
    Gollem::serve_with(data, &[("DATABASE_URL", &postgres.url)]).await
}

async fn enter(gollem: &Gollem, way: &str) -> Value {
    let person = json!({ "name": "ann", "password": PASSWORD });
    gollem.admin.with_key(None).post(&format!("/api/v1/auth/{way}"), &person).await.ok()
}

async fn make_key(session: &Api, name: &str) -> Value {
    session.post("/v1/keys", &json!({ "name": name, "scopes": ["read", "trade"] })).await.ok()
}

/// Whose a key or a session's token is, or why it is nobody's.
async fn opens(gollem: &Gollem, shown: &Value) -> Result<Value, String> {
    let reply = gollem.admin.with_key(shown.as_str()).get("/v1/balance").await;
    if reply.status < 400 { Ok(reply.ok()["account"].clone()) } else { Err(reply.error().1) }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_keys_and_sessions_outlive_a_restart_and_what_was_ended_stays_so() {
    let postgres = match Postgres::create() {
        Ok(postgres) => postgres,
        Err(why) => return skipped(why),
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let gollem = serve(&data, &postgres).await;
    let registered = enter(&gollem, "register").await;
    let session = enter(&gollem, "login").await;
    let ann = gollem.admin.with_key(session["token"].as_str());
    let (kept, revoked) = (make_key(&ann, "kept").await, make_key(&ann, "revoked").await);
    ann.delete(&format!("/v1/keys/{}", revoked["id"].as_str().unwrap())).await.ok();
    ann.delete(&format!("/api/v1/auth/sessions/{}", registered["session"].as_str().unwrap())).await.ok();
    assert_eq!(opens(&gollem, &kept["api_key"]).await.as_ref(), Ok(&registered["account"]));
    assert!(!data.join("identity.db").exists(), "nothing is kept in the data folder");
    gollem.process.stop().await;

    let gollem = serve(&data, &postgres).await;
    for shown in [&kept["api_key"], &session["token"], &enter(&gollem, "login").await["token"]] {
        assert_eq!(opens(&gollem, shown).await.as_ref(), Ok(&registered["account"]));
    }
    assert_eq!(opens(&gollem, &revoked["api_key"]).await, Err("api_key_revoked".to_owned()));
    assert_eq!(opens(&gollem, &registered["token"]).await, Err("session_over".to_owned()));
    gollem.process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgresql_is_away_known_keys_go_on_and_nobody_new_comes_in() {
    let postgres = match Postgres::create() {
        Ok(postgres) => postgres,
        Err(why) => return skipped(why),
    };
    let folder = tempfile::tempdir().unwrap();
    let gollem = serve(&folder.path().join("data"), &postgres).await;
    let account = json!({ "name": "bob" });
    let ann = enter(&gollem, "register").await;
    let key = make_key(&gollem.admin.with_key(ann["token"].as_str()), "known").await["api_key"].clone();
    postgres.stop().unwrap();
    assert_eq!(opens(&gollem, &key).await.as_ref(), Ok(&ann["account"]));
    let refused = gollem.admin.post("/v1/accounts", &account).await;
    assert_eq!(refused.error(), (503, "identity_unavailable".into(), None));
    postgres.start().unwrap();
    let opened = eventually("an account is opened", async || {
        let reply = gollem.admin.post("/v1/accounts", &account).await;
        (reply.status == 201).then(|| reply.ok())
    });
    assert_eq!(opened.await["account"], "acc_2");
    gollem.process.stop().await;
}
