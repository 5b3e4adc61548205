//! Money in and out. Until a payment processor is connected, purchases are grants of a development exchange and payouts
//! are confirmed by the operator.

use crate::api::accounts::account_name;
use crate::api::{Segment, parse, parse_id, reference};
use crate::app::App;
use crate::auth::Account;
use crate::error::ApiError;
use crate::money::{credits, dollars, parse_dollars};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use gollem_engine::{Command, Event, PayoutId};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Purchase {
    amount_usd: String,
    reference: String,
}

/// `POST /v1/purchases`: credits the caller's account, once per reference. Only with `--dev`.
pub(crate) async fn purchase(
    State(app): State<Arc<App>>,
    account: Account,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    if !app.dev {
        let message = "no payment processor is connected; credits are granted only by an exchange run with --dev";
        let code = "purchases_unavailable";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "invalid_request_error", code, message));
    }
    let request: Purchase = parse(&body)?;
    let amount = parse_dollars("amount_usd", &request.amount_usd)?;
    let reference = reference(&request.reference)?;
    let ack = app.execute(Command::PurchaseCredits { account: account.id, amount, reference }).await?;
    let repeated = ack.events().contains(&Event::PurchaseRepeated { reference });
    let body = json!({
        "account": account_name(account.id), "credits": credits(amount), "reference": request.reference,
        "seq": ack.seq, "repeated": repeated,
    });
    Ok((if repeated { StatusCode::OK } else { StatusCode::CREATED }, Json(body)))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PayoutRequest {
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
            let amount_usd = format!("{:.2}", dollars(amount.0.into()));
            let id = format!("pay_{}", payout.0);
            let body = json!({ "id": id, "amount_usd": amount_usd, "status": "requested", "seq": ack.seq });
            return Ok((StatusCode::CREATED, Json(body)));
        }
    }
    Err(ApiError::internal(&"a requested payout has no number"))
}

/// `POST /v1/payouts/{payout}/confirm`: the operator paid it.
pub(crate) async fn confirm_payout(
    State(app): State<Arc<App>>,
    Segment(payout): Segment,
) -> Result<Json<Value>, ApiError> {
    let id = PayoutId(parse_id("payout", "pay_", &payout)?);
    let ack = app.execute(Command::ConfirmPayout { payout: id }).await?;
    Ok(Json(json!({ "id": payout, "status": "confirmed", "seq": ack.seq })))
}

/// `POST /v1/payouts/{payout}/fail`: it could not be paid; the earnings return.
pub(crate) async fn fail_payout(
    State(app): State<Arc<App>>,
    Segment(payout): Segment,
) -> Result<Json<Value>, ApiError> {
    let id = PayoutId(parse_id("payout", "pay_", &payout)?);
    let ack = app.execute(Command::FailPayout { payout: id }).await?;
    Ok(Json(json!({ "id": payout, "status": "failed", "seq": ack.seq })))
}
