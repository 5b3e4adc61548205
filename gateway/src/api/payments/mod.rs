//! Money in and out. Without a payment processor, purchases are grants of a development exchange and payouts are sent and
//! confirmed by the operator; with one, `intents` buys and letters pay out.

pub(crate) mod admin;
pub(crate) mod intents;
pub(crate) mod settings;
pub(crate) mod webhook;

use crate::api::{Segment, check_name, parse, parse_id, reference};
use crate::app::App;
use crate::auth::Account;
use crate::error::ApiError;
use crate::idempotency::IdempotencyKey;
use crate::money::parse_dollars;
use crate::payments::settle;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use gollem_engine::{Command, Event, PayoutId, PayoutPolicy};
use gollem_projections::words::{account_name, cents, credits};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

/// Credits to be bought.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "amount_usd": "10.00", "reference": "first-purchase" }))]
pub(crate) struct Purchase {
    /// 1.00 to 1000.00.
    amount_usd: String,
    /// 1 to 64 bytes: a purchase with a reference that was used before changes nothing.
    reference: Option<String>,
}

/// `POST /v1/purchases`: credits the caller's account, once per reference; an `Idempotency-Key` is the reference unless the
/// body names one. Only with `--dev`.
pub(crate) async fn purchase(
    State(app): State<Arc<App>>,
    account: Account,
    IdempotencyKey(key): IdempotencyKey,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    if !app.dev {
        let message = "credits are granted only by an exchange run with --dev: POST /api/payments/create-intent buys them, if \
                       a payment processor is connected";
        let code = "purchases_unavailable";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "invalid_request_error", code, message));
    }
    let request: Purchase = parse(&body)?;
    let amount = parse_dollars("amount_usd", &request.amount_usd)?;
    let named = request.reference.as_deref().map(|text| check_name("reference", text).map(|()| text)).transpose()?;
    let text = named.or(key.as_deref()).ok_or_else(|| {
        ApiError::invalid(
            "reference",
            "a purchase needs a reference, or an Idempotency-Key, by which it has one effect",
        )
    })?;
    let reference = reference(text);
    let ack = app.execute(Command::PurchaseCredits { account: account.id, amount, reference }).await?;
    let repeated = ack.events().contains(&Event::PurchaseRepeated { reference });
    let body = json!({
        "account": account_name(account.id), "credits": credits(amount), "reference": text,
        "seq": ack.seq, "repeated": repeated,
    });
    Ok((if repeated { StatusCode::OK } else { StatusCode::CREATED }, Json(body)))
}

/// Earnings to be paid out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "amount_usd": "25.00" }))]
pub(crate) struct PayoutRequest {
    /// All whole cents unless given.
    amount_usd: Option<String>,
}

/// `POST /v1/payouts`: moves earnings into a pending payout; all whole cents unless an amount is given.
pub(crate) async fn request_payout(
    State(app): State<Arc<App>>,
    account: Account,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let request: PayoutRequest = if body.is_empty() { PayoutRequest::default() } else { parse(&body)? };
    let amount = request.amount_usd.as_deref().map(|text| parse_dollars("amount_usd", text)).transpose()?;
    let ack = app.execute(Command::RequestPayout { account: account.id, amount }).await?;
    // The last: a monthly payout of the same account may have come due just before.
    for event in ack.events().iter().rev() {
        if let Event::PayoutRequested { payout, amount, .. } = event {
            let amount_usd = cents(*amount);
            let id = format!("pay_{}", payout.0);
            let body = json!({ "id": id, "amount_usd": amount_usd, "status": "requested", "seq": ack.seq });
            return Ok((StatusCode::CREATED, Json(body)));
        }
    }
    Err(ApiError::internal(&"a requested payout has no number"))
}

/// When earnings are paid out without being asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PayoutPolicy, example = json!({ "automatic": true, "monthly": false }))]
pub(crate) struct SetPayoutPolicy {
    /// As soon as they reach $100.
    automatic: bool,
    /// At the start of each month (UTC).
    monthly: bool,
}

/// `PUT /v1/payouts/policy`.
pub(crate) async fn set_payout_policy(
    State(app): State<Arc<App>>,
    account: Account,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let SetPayoutPolicy { automatic, monthly } = parse(&body)?;
    let policy = PayoutPolicy { automatic, monthly };
    let ack = app.execute(Command::SetPayoutPolicy { account: account.id, policy }).await?;
    Ok(Json(json!({ "automatic": automatic, "monthly": monthly, "seq": ack.seq })))
}

/// `POST /v1/payouts/{payout}/send`: the operator handed it to the processor.
pub(crate) async fn send_payout(
    State(app): State<Arc<App>>,
    Segment(payout): Segment,
) -> Result<Json<Value>, ApiError> {
    by_hand(&app)?;
    let id = PayoutId(parse_id("payout", "pay_", &payout)?);
    let ack = app.execute(Command::SendPayout { payout: id }).await?;
    Ok(Json(json!({ "id": payout, "status": "sent", "seq": ack.seq })))
}

/// `POST /v1/payouts/{payout}/confirm`: the operator paid it.
pub(crate) async fn confirm_payout(
    State(app): State<Arc<App>>,
    Segment(payout): Segment,
) -> Result<Json<Value>, ApiError> {
    let id = PayoutId(parse_id("payout", "pay_", &payout)?);
    let seq = match &app.payments {
        Some(payments) => settle::confirm_by_hand(&app, payments, id).await?,
        None => app.execute(Command::ConfirmPayout { payout: id }).await?.seq,
    };
    Ok(Json(json!({ "id": payout, "status": "confirmed", "seq": seq })))
}

/// `POST /v1/payouts/{payout}/fail`: it could not be paid; the earnings return.
pub(crate) async fn fail_payout(
    State(app): State<Arc<App>>,
    Segment(payout): Segment,
) -> Result<Json<Value>, ApiError> {
    if app.payments.is_some() {
        let seq = admin::give_up(&app, &payout).await?;
        return Ok(Json(json!({ "id": payout, "status": "failed", "seq": seq })));
    }
    let id = PayoutId(parse_id("payout", "pay_", &payout)?);
    let ack = app.execute(Command::FailPayout { payout: id }).await?;
    Ok(Json(json!({ "id": payout, "status": "failed", "seq": ack.seq })))
}

/// What a processor does is not done by hand as well: it would be paid twice.
fn by_hand(app: &App) -> Result<(), ApiError> {
    if app.payments.is_none() {
        return Ok(());
    }
    Err(payouts_automatic())
}

/// 409: the payment processor does that.
pub(crate) fn payouts_automatic() -> ApiError {
    let message = "the payment processor pays out: GET /v1/admin/outbox tells what it waits for";
    ApiError::new(StatusCode::CONFLICT, "invalid_request_error", "payouts_automatic", message)
}
