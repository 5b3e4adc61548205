//! People: an account with a password, sessions that end when they should, and guessing that leads nowhere.

use crate::support::http::{Api, Reply};
use crate::support::market::list_model;
use crate::support::venue::{MODEL, Venue};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";

async fn register(venue: &Venue, name: &str) -> Value {
    let asked = json!({ "name": name, "password": PASSWORD });
    let registered = venue.admin.with_key(None).post("/api/v1/auth/register", &asked).await;
    assert_eq!(registered.status, 201, "{registered:?}");
    registered.ok()
}

async fn log_in(venue: &Venue, name: &str, password: &str) -> Reply {
    venue.admin.with_key(None).post("/api/v1/auth/login", &json!({ "name": name, "password": password })).await
}

fn session(venue: &Venue, opened: &Value) -> Api {
    venue.admin.with_key(opened["token"].as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_registers_trades_in_a_session_and_can_end_it_anywhere() {
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let registered = register(&venue, "ann").await;
    let first = session(&venue, &registered);
    first.post("/v1/purchases", &json!({ "amount_usd": "10.00", "reference": "ann's first" })).await.ok();
    let bid = crate::support::market::bid(MODEL, 1_000, 1, json!({}));
    assert_eq!(first.post("/v1/orders", &bid).await.status, 201);
    for (path, code) in [("/v1/payouts", "insufficient_scope"), ("/v1/accounts", "insufficient_scope")] {
        assert_eq!(first.post(path, &json!({})).await.error().1, code, "no session does that: {path}");
    }
    let logged_in = log_in(&venue, "ann", PASSWORD).await.ok();
    assert_eq!((&logged_in["account"], logged_in["session"] == registered["session"]), (&registered["account"], false));
    let second = session(&venue, &logged_in);
    let listed = second.get("/api/v1/auth/sessions").await.ok();
    let listed = listed["sessions"].as_array().unwrap();
    let current: Vec<&Value> = listed.iter().filter(|one| one["current"] == true).map(|one| &one["id"]).collect();
    assert_eq!((listed.len(), current), (2, vec![&logged_in["session"]]));
    let path = format!("/api/v1/auth/sessions/{}", registered["session"].as_str().unwrap());
    second.delete(&path).await.ok();
    assert_eq!(first.get("/v1/balance").await.error(), (401, "session_over".into(), None));
    assert_eq!(second.delete(&path).await.error().1, "session_not_found");
    second.post("/api/v1/auth/logout", &Value::Null).await.error();
    second.send(hyper::Method::POST, "/api/v1/auth/logout", &[], bytes::Bytes::new()).await.ok();
    assert_eq!(second.get("/v1/balance").await.error().1, "session_over");
    let broken = registered["token"].as_str().unwrap().replace('.', "x");
    assert_eq!(venue.admin.with_key(Some(&broken)).get("/v1/balance").await.error().1, "invalid_api_key");
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_a_restart_and_nobody_ends_that_of_another() {
    let venue = Venue::open().await;
    let ann = register(&venue, "ann").await;
    let bob = session(&venue, &register(&venue, "bob").await);
    let path = format!("/api/v1/auth/sessions/{}", ann["session"].as_str().unwrap());
    assert_eq!(bob.delete(&path).await.error(), (404, "session_not_found".into(), Some("session".into())));
    let venue = venue.reopen_for_real().await;
    assert_eq!(session(&venue, &ann).get("/v1/balance").await.status, 200);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_once_more_makes_a_key_that_withdraws_and_a_session_alone_does_not() {
    let venue = Venue::open().await;
    let ann = session(&venue, &register(&venue, "ann").await);
    let key = json!({ "name": "purse", "scopes": ["withdraw"], "addresses": ["127.0.0.1"] });
    assert_eq!(ann.post("/v1/keys", &key).await.error(), (403, "beyond_own_key".into(), None));
    let wrong = json!({ "password": "another password", "key": key });
    assert_eq!(ann.post("/api/v1/auth/apikey", &wrong).await.error(), (401, "invalid_credentials".into(), None));
    let made = ann.post("/api/v1/auth/apikey", &json!({ "password": PASSWORD, "key": key })).await.ok();
    let purse = ann.with_key(made["api_key"].as_str());
    assert_eq!(purse.post("/v1/payouts", &json!({})).await.error().1, "invalid_value", "there is nothing to pay out");
    let again = json!({ "password": PASSWORD, "key": { "name": "a", "scopes": ["admin"], "addresses": ["::1"] } });
    assert_eq!(ann.post("/api/v1/auth/apikey", &again).await.error().2.as_deref(), Some("scopes"));
    assert_eq!(purse.post("/api/v1/auth/apikey", &again).await.error().1, "no_session");
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down_and_tells_nothing_about_who_exists() {
    let venue = Venue::open().await;
    register(&venue, "ann").await;
    let wrong = log_in(&venue, "ann", "not her password").await;
    let unknown = log_in(&venue, "nobody", "not her password").await;
    assert_eq!(wrong.error(), (401, "invalid_credentials".into(), None));
    assert_eq!((wrong.status, wrong.body), (unknown.status, unknown.body), "the same answer");
    let mut locked = None;
    for _ in 0..10 {
        let reply = log_in(&venue, "ann", "not her password").await;
        if reply.status == 429 {
            locked = Some(reply);
            break;
        }
    }
    let locked = locked.expect("guessing ends");
    assert_eq!(locked.error(), (429, "too_many_attempts".into(), None));
    let right = log_in(&venue, "ann", PASSWORD).await;
    assert_eq!(right.status, 429, "not even the right one is looked at");
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_refused_for_its_name_or_password_and_for_too_many() {
    let venue = Venue::open().await;
    let anyone = venue.admin.with_key(None);
    for (field, body) in [
        ("password", json!({ "name": "ann", "password": "short" })),
        ("password", json!({ "name": "ann", "password": "x".repeat(129) })),
        ("name", json!({ "name": "", "password": PASSWORD })),
        ("name", json!({ "password": PASSWORD })),
    ] {
        let refused = anyone.post("/api/v1/auth/register", &body).await;
        assert_eq!(refused.error(), (400, "invalid_value".into(), Some(field.into())), "{body}");
    }
    register(&venue, "ann").await;
    let taken = anyone.post("/api/v1/auth/register", &json!({ "name": "ann", "password": PASSWORD })).await;
    assert_eq!(taken.error(), (409, "name_taken".into(), Some("name".into())));
    let mut statuses = Vec::new();
    for number in 0..8 {
        let asked = json!({ "name": format!("robot {number}"), "password": PASSWORD });
        statuses.push(anyone.post("/api/v1/auth/register", &asked).await.status);
    }
    assert!(statuses.contains(&429), "one address opens no accounts without end: {statuses:?}");
    venue.close().await;
}
