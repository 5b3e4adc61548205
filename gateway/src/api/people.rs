//! Registering, logging in, and the sessions that this opens: for people with a browser, who have a password and no key.

use crate::api::accounts::{name_taken, not_stored, open_in_engine};
use crate::api::keys::{self, KeyRequest};
use crate::api::{Segment, check_name, parse};
use crate::app::App;
use crate::auth::{Account, ClientAddress, Password, Presented, SESSION_S};
use crate::error::ApiError;
use crate::identity::{Session, unix_seconds};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use gollem_engine::AccountId;
use gollem_projections::words::account_name;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

const MICROS: i64 = 1_000_000;

/// A person's name and password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "ann", "password": "correct horse battery staple" }))]
pub(crate) struct Credentials {
    /// 1 to 64 bytes.
    name: String,
    /// It is stored as an argon2id hash only.
    #[schema(value_type = String)]
    password: Password,
}

/// `POST /api/v1/auth/register`: opens an account for a person, and a session.
pub(crate) async fn register(
    State(app): State<Arc<App>>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let Credentials { name, password } = parse(&body)?;
    check_name("name", &name)?;
    password.check()?;
    app.gate.registrations.attempt(&address.to_string(), address)?;
    if app.identity.account_named(&name).await?.is_some() {
        return Err(name_taken());
    }
    let hash = app.gate.passwords.hash(password).await?;
    let account = open_in_engine(&app).await?;
    if let Err(error) = app.identity.add_person(account, &name, &hash).await {
        return Err(not_stored(&app, account, &name, error).await);
    }
    let opened = open_session(&app, account, &address.to_string()).await?;
    Ok((StatusCode::CREATED, Json(opened)))
}

/// `POST /api/v1/auth/login`: opens a session. Whether the name or the password is wrong is told to nobody.
pub(crate) async fn log_in(
    State(app): State<Arc<App>>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let Credentials { name, password } = parse(&body)?;
    check_name("name", &name)?;
    app.gate.logins.attempt(&name, address)?;
    let person = app.identity.person_named(&name).await?;
    let matches = app.gate.passwords.matches(password, person.as_ref().map(|(_, hash)| hash.as_str())).await?;
    let (account, _) = person.filter(|_| matches).ok_or_else(wrong)?;
    app.gate.logins.succeeded(&name, address);
    open_session(&app, account, &address.to_string()).await.map(Json)
}

fn wrong() -> ApiError {
    let message = "the name or the password is wrong";
    ApiError::new(StatusCode::UNAUTHORIZED, "invalid_request_error", "invalid_credentials", message)
}

async fn open_session(app: &App, account: AccountId, address: &str) -> Result<Value, ApiError> {
    let now = unix_seconds();
    let (token, hash) = app.gate.tokens.make(account, now)?;
    let (created_at, expires_at) = (now, now + SESSION_S);
    let session = Session { hash, account, created_at, expires_at, address: address.to_owned() };
    let id = session.id();
    app.identity.open_session(session).await?;
    Ok(json!({
        "account": account_name(account), "session": id, "token": token, "token_type": "Bearer",
        "expires_at_us": expires_at * MICROS,
    }))
}

/// `POST /api/v1/auth/logout`: ends the session that asks.
pub(crate) async fn log_out(State(app): State<Arc<App>>, presented: Presented) -> Result<Json<Value>, ApiError> {
    let Presented::Session(session) = presented else {
        let message = "this request came with an API key, not in a session; DELETE /v1/keys/{key} revokes a key";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", "no_session", message));
    };
    app.identity.end_session(&session.hash).await?;
    Ok(Json(json!({ "session": session.id(), "ended": true })))
}

/// A key of the person's account, asked for with the password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "password": "correct horse battery staple", "key": { "name": "bot", "scopes": ["read"] } }))]
pub(crate) struct MakeKey {
    /// The password once more.
    #[schema(value_type = String)]
    password: Password,
    /// The key.
    key: KeyRequest,
}

/// `POST /api/v1/auth/apikey`: makes a key of a person's account. It takes the password once more, and may therefore make one
/// that withdraws, which no session may.
pub(crate) async fn make_key(
    State(app): State<Arc<App>>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    account: Account,
    presented: Presented,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let request: MakeKey = parse(&body)?;
    if !matches!(presented, Presented::Session(_)) {
        let message = "this route is for people in a session; POST /v1/keys makes keys with a key";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", "no_session", message));
    }
    let set = keys::for_person(&request.key, account.id)?;
    let subject = account_name(account.id);
    app.gate.logins.attempt(&subject, address)?;
    let hash = app.identity.password_of(account.id).await?;
    if !app.gate.passwords.matches(request.password, hash.as_deref()).await? {
        return Err(wrong());
    }
    app.gate.logins.succeeded(&subject, address);
    keys::store(&app, Some(account.id), request.key.public_key(), set).await
}

/// `GET /api/v1/auth/sessions`: the open sessions of the caller's account.
pub(crate) async fn sessions(
    State(app): State<Arc<App>>,
    account: Account,
    presented: Presented,
) -> Result<Json<Value>, ApiError> {
    let now = unix_seconds();
    let open = app.identity.sessions_of(account.id).into_iter().filter(|session| session.expires_at > now);
    let shown = |session: Session| {
        let current = matches!(&presented, Presented::Session(own) if own.hash == session.hash);
        json!({
            "id": session.id(), "created_at_us": session.created_at * MICROS,
            "expires_at_us": session.expires_at * MICROS, "address": session.address, "current": current,
        })
    };
    Ok(Json(json!({ "sessions": open.map(shown).collect::<Vec<_>>() })))
}

/// `DELETE /api/v1/auth/sessions/{session}`: ends a session of the caller's account, wherever it is.
pub(crate) async fn end_session(
    State(app): State<Arc<App>>,
    account: Account,
    Segment(session): Segment,
) -> Result<Json<Value>, ApiError> {
    let found = app.identity.sessions_of(account.id).into_iter().find(|open| open.id() == session);
    let message = "no open session of this account has this id";
    let found = found.ok_or_else(|| ApiError::not_found("session", "session_not_found", message))?;
    app.identity.end_session(&found.hash).await?;
    Ok(Json(json!({ "session": session, "ended": true })))
}
