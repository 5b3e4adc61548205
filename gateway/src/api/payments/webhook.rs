//! `POST /webhooks/stripe`: a notice. What it is about is looked up at the processor; nothing else of it is believed.

use crate::app::App;
use crate::error::ApiError;
use crate::identity::unix_seconds;
use crate::payments::store::Store;
use crate::payments::webhook::Signatures;
use crate::payments::{PaymentError, Payments, payments_of, settle};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use gollem_engine::PayoutId;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a notice may be about.
#[derive(Debug, PartialEq, Eq)]
enum Subject {
    Payment(String),
    /// A provider's account with the processor.
    Connected(String),
    Payout(PayoutId),
    /// Nothing that the ledger would follow.
    Other,
}

/// Answers 200 when what the notice is about is in the ledger, durably, or never will be; 4xx to who is not the processor;
/// 5xx to have it sent again.
pub(crate) async fn take(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let payments = payments_of(&app)?;
    let figures = &payments.figures;
    let header = headers.get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signatures = Signatures::new(payments.webhook_secrets.iter().cloned());
    if let Err(error) = signatures.verify(header, &body, unix_seconds()) {
        figures.notices_refused.fetch_add(1, Ordering::Relaxed);
        return Err(refused(&format!("the signature is not the processor's: {error}")));
    }
    let notice: Value = serde_json::from_slice(&body).map_err(|_| refused("the notice is no JSON"))?;
    let subject = subject_of(payments, &notice);
    figures.notices.fetch_add(1, Ordering::Relaxed);
    let done = match &subject {
        Subject::Payment(intent) => settle::payment(&app, payments, intent).await.map(|_| ()),
        Subject::Connected(id) => connected(payments, id).await,
        Subject::Payout(payout) => settle::payout(&app, payments, *payout).await.map(|_| ()),
        Subject::Other => Ok(()),
    };
    match done {
        Ok(()) => Ok(Json(json!({ "received": true }))),
        Err(error) if error.is_lasting() => {
            // Sending it again would not help; reconciliation names it.
            tracing::error!(?subject, %error, "a notice cannot be booked: a person has to look");
            Ok(Json(json!({ "received": true, "booked": false })))
        }
        Err(error) => Err(error.into()),
    }
}

fn refused(message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", "invalid_signature", message)
}

/// What a notice is about, by the kind of its object.
fn subject_of(payments: &Payments, notice: &Value) -> Subject {
    let object = &notice["data"]["object"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let subject = match object["object"].as_str() {
        Some("payment_intent") => text(&object["id"]).map(Subject::Payment),
        Some("charge" | "refund" | "dispute") => text(&object["payment_intent"]).map(Subject::Payment),
        Some("account") => text(&object["id"]).map(Subject::Connected),
        Some("transfer" | "payout") => Some(payout_in(&payments.store, object)),
        _ => None,
    };
    subject.unwrap_or(Subject::Other)
}

/// The payout that a transfer or a bank's payout is of, if it is one of this exchange.
fn payout_in(store: &Store, object: &Value) -> Subject {
    let marked = object["metadata"]["gollem_payout"].as_str().and_then(|name| name.strip_prefix("pay_"));
    let of_us = object["metadata"]["gollem_exchange"].as_str() == Some(store.exchange());
    let number = marked.filter(|_| of_us).and_then(|number| number.parse().ok());
    number.map_or(Subject::Other, |number| Subject::Payout(PayoutId(number)))
}

async fn connected(payments: &Payments, id: &str) -> Result<(), PaymentError> {
    if let Some(account) = payments.store.connected_as(id).await? {
        settle::connection(payments, account, id).await?;
    }
    Ok(())
}
