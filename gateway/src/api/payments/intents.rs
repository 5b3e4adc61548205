//! Buying credits through the processor, and what came of it.

use crate::api::queries::{read_params, whose};
use crate::api::{check_name, parse};
use crate::app::App;
use crate::auth::Account;
use crate::error::ApiError;
use crate::idempotency::IdempotencyKey;
use crate::identity::{Caller, unix_seconds};
use crate::money::parse_dollars;
use crate::payments::cards::CardFree;
use crate::payments::processor::Intent;
use crate::payments::purchase::{self, Wish};
use crate::payments::sessions::{Counted, Visitor};
use crate::payments::store::{KeptIntent, Movement, ROWS_MAX};
use crate::payments::{Payments, atoms, cents_of, payments_of};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use gollem_engine::limits::{PURCHASE_ATOMS_MAX, PURCHASE_ATOMS_MIN};
use gollem_engine::{AccountId, Amount, Timestamp};
use gollem_projections::words::{account_name, cents, credits, utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// Movements of a page unless a limit is given.
const PAGE: i64 = 100;

/// Credits to be paid for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "amount_usd": "10.00", "save_method": true }))]
pub(crate) struct CreateIntent {
    /// 1.00 to 1000.00.
    amount_usd: String,
    /// Whether the way of paying is kept at the processor for later purchases and automatic ones.
    #[serde(default)]
    save_method: bool,
    /// A kept way of paying, as the processor's token: it is charged at once. `X-Preferred-Payment` says the same.
    method: Option<String>,
}

/// `POST /api/payments/create-intent`: a payment that the buyer's own page or app makes with the `client_secret`, or, with a
/// kept way of paying, one that is made at once. `X-Billing` names the processor. Once per `Idempotency-Key`.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    account: Account,
    IdempotencyKey(key): IdempotencyKey,
    headers: HeaderMap,
    CardFree(body): CardFree,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    check_processor(&headers)?;
    let request: CreateIntent = parse(&body)?;
    let payments = payments_of(&app)?;
    let amount = parse_dollars("amount_usd", &request.amount_usd)?;
    if !(PURCHASE_ATOMS_MIN..=PURCHASE_ATOMS_MAX).contains(&amount.0) {
        return Err(ApiError::invalid("amount_usd", "amount_usd must be between 1.00 and 1000.00"));
    }
    let key = key.ok_or_else(|| {
        let message = "a payment needs an Idempotency-Key, by which it has one effect however often it is sent";
        ApiError::invalid("Idempotency-Key", message)
    })?;
    let preferred = preferred_payment(&headers)?;
    let method = request.method.as_deref().or(preferred).map(check_method).transpose()?;
    let wish =
        Wish { account: account.id, cents: cents_of(amount), key: &key, save_method: request.save_method, method };
    let intent = purchase::begin(&app, payments, &wish).await?;
    Ok((StatusCode::CREATED, Json(told(payments, account.id, &intent))))
}

fn told(payments: &Payments, account: AccountId, intent: &Intent) -> Value {
    json!({
        "id": intent.id, "account": account_name(account), "processor": "stripe",
        "amount_usd": usd(intent.cents), "credits": credits(atoms(intent.cents)), "status": intent.state.name(),
        "client_secret": intent.client_secret, "publishable_key": payments.publishable_key,
    })
}

/// `X-Billing`: which processor.
fn check_processor(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get("x-billing").map(|value| value.as_bytes()) {
        None | Some(b"stripe") => Ok(()),
        Some(_) => Err(ApiError::invalid("X-Billing", "X-Billing must name a connected processor: stripe")),
    }
}

/// `X-Preferred-Payment`: with what.
fn preferred_payment(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get("x-preferred-payment") else { return Ok(None) };
    let text = value.to_str().ok();
    text.map(Some).ok_or_else(|| ApiError::invalid("X-Preferred-Payment", "X-Preferred-Payment must be ASCII"))
}

/// Only tokens: they are of no use to who has no right to them.
fn check_method(text: &str) -> Result<&str, ApiError> {
    check_name("method", text)?;
    let is_token = text.starts_with("pm_") && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_token {
        return Ok(text);
    }
    let message = "method must be a token of a way of paying that was kept, such as pm_1Nv…; wallets are taken by no \
                   connected processor";
    Err(ApiError::invalid("method", message))
}

/// `GET /api/payments/balance`: what is left, what it may be overdrawn by, and how it renews itself.
pub(crate) async fn balance(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    RawQuery(params): RawQuery,
) -> Result<Json<Value>, ApiError> {
    let account = whose(Some(caller), read_params(params)?.remove("account"))?;
    let settings = match &app.payments {
        Some(payments) => payments.store.account(account).await?,
        None => Default::default(),
    };
    let reader = app.reader(0).await?;
    let (balance, policies) = (reader.balance(account)?, reader.policies(account)?);
    let cap = policies.credit.overage_cap;
    let whole = [balance.available, balance.held, balance.escrow].iter().map(|part| part.0).sum();
    let remaining = balance.available.0 + cap.0.saturating_sub(balance.owed.0).max(0);
    Ok(Json(json!({
        "account": account_name(account), "unit": "credits",
        "remaining": credits(Amount(remaining)), "available": credits(balance.available),
        "total": credits(Amount(whole)), "held": credits(balance.held), "escrow": credits(balance.escrow),
        "overage": credits(balance.owed), "cap": credits(cap),
        "auto_renew": settings.renewal.map(super::settings::renewal_told),
        "saved_method": settings.method.is_some(), "seq": reader.seq(),
    })))
}

/// `GET /api/payments/transactions`: payments that were begun, and every movement of money to and from the account's
/// balances from outside, newest first. `?before=SEQ&limit=N&account=acc_7`.
pub(crate) async fn transactions(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    RawQuery(params): RawQuery,
) -> Result<Json<Value>, ApiError> {
    let mut params = read_params(params)?;
    let account = whose(Some(caller), params.remove("account"))?;
    let before = whole(&mut params, "before", 1, i64::MAX)?;
    let limit = whole(&mut params, "limit", 1, ROWS_MAX)?.unwrap_or(PAGE);
    let payments = payments_of(&app)?;
    let before = before.map_or(u64::MAX, i64::unsigned_abs);
    let movements = payments.store.movements_of(account, before, limit).await?;
    let next = movements.last().filter(|_| movements.len() as i64 == limit).map(|last| last.seq.to_string());
    let intents = payments.store.intents_of(account, limit).await?;
    Ok(Json(json!({
        "transactions": movements.iter().map(moved).collect::<Vec<Value>>(),
        "next_before": next,
        "payments": intents.iter().map(begun).collect::<Vec<Value>>(),
    })))
}

fn moved(movement: &Movement) -> Value {
    let at = Timestamp(movement.at.unsigned_abs() * 1_000_000_000);
    json!({
        "seq": movement.seq, "at": utc(at), "kind": movement.kind.name(), "reference": movement.reference,
        "amount_usd": cents_signed(movement.atoms), "credits": credits(Amount(movement.atoms)),
    })
}

fn begun(intent: &KeptIntent) -> Value {
    let at = Timestamp(intent.created_at.unsigned_abs() * 1_000_000_000);
    json!({
        "id": intent.id, "at": utc(at), "purpose": intent.purpose, "status": intent.state,
        "amount_usd": usd(intent.cents), "credits": credits(atoms(intent.cents)),
    })
}

/// `GET /api/payments/sessions`: who used the account from where, for how long and for how much, newest first.
/// `?limit=N&account=acc_7`.
pub(crate) async fn sessions(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    RawQuery(params): RawQuery,
) -> Result<Json<Value>, ApiError> {
    let mut params = read_params(params)?;
    let account = whose(Some(caller), params.remove("account"))?;
    let limit = whole(&mut params, "limit", 1, ROWS_MAX)?.unwrap_or(PAGE);
    app.sessions.write(unix_seconds()).await?;
    let sessions = app.sessions.store.sessions_of(account, limit).await?;
    Ok(Json(json!({ "sessions": sessions.iter().map(session).collect::<Vec<Value>>() })))
}

fn session((visitor, counted): &(Visitor, Counted)) -> Value {
    let at = |seconds: i64| utc(Timestamp(seconds.unsigned_abs() * 1_000_000_000));
    json!({
        "client": visitor.client, "address": visitor.address.to_string(), "began_at": at(counted.began_at),
        "ended_at": at(counted.ended_at), "duration_s": counted.ended_at - counted.began_at, "calls": counted.calls,
        "credits": credits(counted.spent),
    })
}

fn cents_signed(atoms: i64) -> String {
    let whole = cents(Amount(atoms.abs()));
    if atoms < 0 { format!("-{whole}") } else { whole.to_string() }
}

pub(super) fn usd(cents: i64) -> String {
    Decimal::new(cents, 2).to_string()
}

/// A whole number in the query.
pub(super) fn whole(
    params: &mut BTreeMap<String, String>,
    name: &str,
    min: i64,
    max: i64,
) -> Result<Option<i64>, ApiError> {
    let Some(text) = params.remove(name) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number
        .map(Some)
        .ok_or_else(|| ApiError::invalid(name, format!("{name} must be a whole number between {min} and {max}")))
}
