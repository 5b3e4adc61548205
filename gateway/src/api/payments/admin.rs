//! The operator's side of payments: refunds, letters that wait for a person, two sets of books.

use super::intents::whole;
use crate::api::queries::read_params;
use crate::api::{Segment, check_name, parse, parse_id};
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::IdempotencyKey;
use crate::identity::unix_seconds;
use crate::money::parse_dollars;
use crate::payments::cards::CardFree;
use crate::payments::reconcile::{self, DAY_S};
use crate::payments::store::{Letter, LetterState, ROWS_MAX, hex};
use crate::payments::{cents_of, payments_of, settle};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use gollem_engine::{PayoutId, Timestamp};
use gollem_projections::calendar::parse as parse_day;
use gollem_projections::words::{account_name, utc};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

/// Letters of a page unless a limit is given.
const PAGE: i64 = 100;
/// Days that are compared unless it is said which.
const DAYS: i64 = 30;
/// Days of one reconciliation at the most.
const DAYS_MAX: i64 = 400;

/// Money to be returned to a buyer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "payment": "pi_3Nv0dE2eZvKYlo2C1q1q1q1q", "amount_usd": "5.00" }))]
pub(crate) struct Refund {
    /// The processor's number of the payment.
    payment: String,
    /// At most what is left of it, and of the buyer's credits.
    amount_usd: String,
}

/// `POST /v1/admin/refunds`: takes the credits back at once and has the processor return the money. Once per
/// `Idempotency-Key`.
pub(crate) async fn refund(
    State(app): State<Arc<App>>,
    IdempotencyKey(key): IdempotencyKey,
    CardFree(body): CardFree,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let request: Refund = parse(&body)?;
    let payments = payments_of(&app)?;
    check_name("payment", &request.payment)?;
    let amount = parse_dollars("amount_usd", &request.amount_usd)?;
    let key = key.ok_or_else(|| {
        ApiError::invalid("Idempotency-Key", "a refund needs an Idempotency-Key, by which it is made once")
    })?;
    let (reference, seq) = settle::wish_refund(&app, payments, &request.payment, cents_of(amount), &key).await?;
    let body = json!({
        "payment": request.payment, "amount_usd": request.amount_usd, "reference": hex(reference),
        "letter": format!("refund:{}", hex(reference)), "seq": seq,
    });
    Ok((StatusCode::CREATED, Json(body)))
}

/// `GET /v1/admin/outbox?state=dead&limit=100`: letters, newest first.
pub(crate) async fn letters(State(app): State<Arc<App>>, RawQuery(params): RawQuery) -> Result<Json<Value>, ApiError> {
    let payments = payments_of(&app)?;
    let mut params = read_params(params)?;
    let state = match params.remove("state").as_deref() {
        None | Some("dead") => LetterState::Dead,
        Some("due") => LetterState::Due,
        Some("done") => LetterState::Done,
        Some(_) => return Err(ApiError::invalid("state", "state must be due, done or dead")),
    };
    let limit = whole(&mut params, "limit", 1, ROWS_MAX)?.unwrap_or(PAGE);
    let letters = payments.store.letters(state, limit).await?;
    Ok(Json(json!({ "letters": letters.iter().map(told).collect::<Vec<Value>>() })))
}

fn told(letter: &Letter) -> Value {
    let at = Timestamp(letter.created_at.unsigned_abs() * 1_000_000_000);
    json!({
        "id": letter.id, "kind": letter.kind, "account": account_name(letter.account), "state": letter.state,
        "attempts": letter.attempts, "error": letter.error, "created_at": utc(at),
    })
}

/// `POST /v1/admin/outbox/{letter}/retry`: deals with a letter again, from the beginning.
pub(crate) async fn retry(State(app): State<Arc<App>>, Segment(letter): Segment) -> Result<Json<Value>, ApiError> {
    let payments = payments_of(&app)?;
    if !payments.store.redrive(&letter).await? {
        return Err(no_letter());
    }
    payments.wake();
    Ok(Json(json!({ "id": letter, "state": "due" })))
}

/// `POST /v1/admin/outbox/{letter}/dismiss`: gives a dead letter up. Of a payout, and of a refund, the credits return.
pub(crate) async fn dismiss(State(app): State<Arc<App>>, Segment(letter): Segment) -> Result<Json<Value>, ApiError> {
    let payments = payments_of(&app)?;
    let store = &payments.store;
    let known = store.letter(&letter).await?.ok_or_else(no_letter)?;
    if !store.change(&letter, LetterState::Dead, LetterState::Undoing).await? {
        return Err(no_letter());
    }
    if let Err(error) = settle::undo(&app, payments, &known).await {
        store.change(&letter, LetterState::Undoing, LetterState::Dead).await?;
        return Err(error.into());
    }
    store.change(&letter, LetterState::Undoing, LetterState::Done).await?;
    Ok(Json(json!({ "id": letter, "state": "done" })))
}

fn no_letter() -> ApiError {
    ApiError::not_found("letter", "letter_not_found", "no letter of that name waits; GET /v1/admin/outbox lists them")
}

/// Which days are compared.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Reconciliation, example = json!({ "from": "2026-11-01", "to": "2026-11-30" }))]
pub(crate) struct Reconcile {
    /// First day (UTC); 30 days ago unless given.
    from: Option<String>,
    /// Last day (UTC); today unless given.
    to: Option<String>,
}

/// `POST /v1/admin/reconcile`: holds the processor's books against the ledger's. What was missed is booked first.
pub(crate) async fn reconcile(State(app): State<Arc<App>>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let request: Reconcile = if body.is_empty() { Reconcile::default() } else { parse(&body)? };
    let payments = payments_of(&app)?;
    let today = unix_seconds().div_euclid(DAY_S) * DAY_S;
    let from = request.from.as_deref().map(|text| day("from", text)).transpose()?.unwrap_or(today - DAYS * DAY_S);
    let to = request.to.as_deref().map(|text| day("to", text)).transpose()?.unwrap_or(today) + DAY_S;
    if from >= to || to - from > DAYS_MAX * DAY_S {
        let message = format!("from must not be after to, and at most {DAYS_MAX} days before");
        return Err(ApiError::invalid("from", message));
    }
    let report = reconcile::reconcile(&app, payments, from, to).await?;
    reconcile::note(payments, &report);
    Ok(Json(report.json))
}

/// The first second of a day such as `2026-11-22`.
fn day(field: &'static str, text: &str) -> Result<i64, ApiError> {
    let day = parse_day(text).filter(|_| text.len() == 10);
    let day = day.ok_or_else(|| ApiError::invalid(field, format!("{field} must be a day such as 2026-11-22")))?;
    Ok(i64::from(day) * DAY_S)
}

/// `POST /v1/payouts/{payout}/fail` with a processor: only what it has not got can be given up.
pub(super) async fn give_up(app: &App, payout: &str) -> Result<u64, ApiError> {
    let id = PayoutId(parse_id("payout", "pay_", payout)?);
    Ok(settle::give_up_payout(app, payments_of(app)?, id).await?)
}
