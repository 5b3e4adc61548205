//! Replacing an order.

use super::{ReplaceOrder, did};
use crate::api::{Segment, parse, parse_id};
use crate::app::App;
use crate::auth::{Account, forbidden};
use crate::error::ApiError;
use crate::keys::Scopes;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use gollem_engine::{Command, OrderId, Side};
use serde_json::Value;
use std::sync::Arc;

/// `PUT /v1/orders/{order}`: a new price, a new quantity, or both. The order keeps its id; it keeps its place in the queue
/// only when its quantity falls and nothing else changes.
pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    account: Account,
    Segment(order): Segment,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let id = OrderId(parse_id("order", "ord_", &order)?);
    let replacement = parse::<ReplaceOrder>(&body)?.to_replacement(account, id)?;
    drop(app.reader(0).await?); // The order may have been placed a moment ago.
    may_replace(&app, account, id)?;
    let ack = app.execute(Command::ReplaceOrder(replacement)).await?;
    Ok(Json(Value::Object(did(&ack).replaced(&app, &app.reader(0).await?, id)?)))
}

/// Refuses to replace what the caller's key could not have placed: an order of a side that it may not trade, or another key's
/// while its own spending is limited, for the engine counts an order to the key that placed it.
///
/// # Errors
/// 403 then; 503 while the views do not know of the order yet.
pub(crate) fn may_replace(app: &App, account: Account, order: OrderId) -> Result<(), ApiError> {
    let durable = app.status.durable_seq();
    let reader = app.view.store.read()?;
    let is_limited = reader.key_limits(account.id)?.iter().any(|(key, _)| *key == account.key);
    let both_sides = account.scopes.intersects(Scopes::TRADE) && account.scopes.intersects(Scopes::PROVIDE);
    if both_sides && !is_limited {
        return Ok(());
    }
    let Some(row) = reader.order(order)?.filter(|row| row.order.account == account.id) else {
        let message = "the views do not know of this order yet; retry shortly";
        // The engine says of an order that there is not.
        return if reader.seq() >= durable { Ok(()) } else { Err(ApiError::unavailable("view_behind", message)) };
    };
    let needed = match row.order.side() {
        Side::Bid => Scopes::TRADE,
        Side::Ask => Scopes::PROVIDE,
    };
    if !account.scopes.intersects(needed) {
        return Err(forbidden(needed));
    }
    if is_limited && row.order.key != account.key {
        let message = "another key placed this order, and this key's spending is limited";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "invalid_request_error", "beyond_own_key", message));
    }
    Ok(())
}
