//! Placing an order.

use super::PlaceOrder;
use super::answer::{Placed, placed};
use crate::api::parse;
use crate::app::App;
use crate::auth::Account;
use crate::error::ApiError;
use crate::idempotency::{IdempotencyKey, reused};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use gollem_engine::{Command, NewOrder};
use gollem_projections::words::client_order_id;
use serde_json::Value;
use std::sync::Arc;

/// `POST /v1/orders`. An `Idempotency-Key` is the order's client id unless the body names one.
pub(crate) async fn place(
    State(app): State<Arc<App>>,
    account: Account,
    IdempotencyKey(key): IdempotencyKey,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let request: PlaceOrder = parse(&body)?;
    let order = request.to_order(&app, account, key.as_deref().map(client_order_id))?;
    let ack = app.execute(Command::PlaceOrder(order)).await?;
    let mut placed = placed(&app, &ack).await?;
    let named = request.client_order_id();
    if named.is_none() {
        check_same(&placed, &order)?;
    }
    if let Some(text) = named.or(key.as_deref()) {
        placed.json.insert("client_order_id".into(), text.into());
    }
    Ok((StatusCode::CREATED, Json(Value::Object(placed.json))))
}

/// The first order of an `Idempotency-Key` is the one that is asked for now, in what can never change of an order.
///
/// # Errors
/// 422 when it is another one.
pub(super) fn check_same(placed: &Placed, asked: &NewOrder) -> Result<(), ApiError> {
    let first = &placed.row.order;
    let same = (first.instrument, first.terms, first.time_in_force, first.post_only, first.self_trade)
        == (asked.instrument, asked.terms, asked.time_in_force, asked.post_only, asked.self_trade);
    if placed.repeated && !same { Err(reused()) } else { Ok(()) }
}
