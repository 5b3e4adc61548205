//! Locked quotes: units set aside for a few seconds, to be bought or let go. `quote` makes them.

use super::answer::{Placed, placed, repeated};
use crate::api::{Segment, parse_id};
use crate::app::App;
use crate::auth::Account;
use crate::error::ApiError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use gollem_engine::{Command, Event, NewOrder, OrderAnswer, OrderId, Quantity, RejectReason};
use gollem_projections::words::{account_name, credits, credits_per_unit, micros, utc};
use serde_json::{Value, json};
use std::sync::Arc;

/// Locks the units of a bid, which has no client id: until the lock is used there is no order that a first answer could be
/// about. Durable when it returns.
pub(crate) async fn lock(app: &App, bid: NewOrder) -> Result<Value, ApiError> {
    let ack = app.execute(Command::LockQuote(Box::new(bid))).await?;
    // The last: deadlines of the same input come before.
    let locked = ack.events().iter().rev().find_map(|event| match event {
        Event::QuoteLocked { lock, account, provider, ask, price, quantity, escrow, until, .. }
            if *account == bid.account =>
        {
            Some(json!({
                "id": format!("ord_{}", lock.0),
                "ask": format!("ord_{}", ask.0),
                "provider": account_name(*provider),
                "price": credits_per_unit(*price),
                "quantity": quantity.0,
                "escrow": credits(*escrow),
                "expires_at": utc(*until),
                "expires_at_us": micros(*until),
                "seq": ack.seq,
            }))
        }
        _ => None,
    });
    locked.ok_or_else(|| ApiError::internal(&"a locked quote has no event"))
}

fn lock_id(text: &str) -> Result<OrderId, ApiError> {
    parse_id("lock", "ord_", text).map(OrderId)
}

/// `POST /v1/quotes/{lock}/use`: buys what was locked, at its price. The answer is that of an order that filled; the order has the
/// lock's id. Sent again, it gets the first answer.
pub(crate) async fn use_lock(
    State(app): State<Arc<App>>,
    account: Account,
    Segment(lock): Segment,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let lock = lock_id(&lock)?;
    let placed = match app.execute(Command::UseQuote { account: account.id, lock }).await {
        Ok(ack) => placed(&app, &ack).await?,
        Err(error) if error.code == "lock_not_found" => used_before(&app, account, lock).await?,
        Err(error) => return Err(error),
    };
    Ok((StatusCode::CREATED, Json(Value::Object(placed.json))))
}

/// The first answer again, if the account's lock was used: its order has the lock's number, and filled.
async fn used_before(app: &App, account: Account, lock: OrderId) -> Result<Placed, ApiError> {
    let reader = app.reader(0).await?;
    let order = reader.order(lock)?.map(|row| row.order);
    let order = order.filter(|order| order.account == account.id && lock.is_of_lock());
    let order = order.ok_or(RejectReason::UnknownLock)?;
    let first = OrderAnswer { order: lock, seq: reader.seq(), filled: order.quantity, rested: Quantity(0) };
    repeated(app, &reader, &first)
}

/// `DELETE /v1/quotes/{lock}`: lets go of what was locked.
pub(crate) async fn release(
    State(app): State<Arc<App>>,
    account: Account,
    Segment(lock): Segment,
) -> Result<Json<Value>, ApiError> {
    let id = lock_id(&lock)?;
    let ack = app.execute(Command::ReleaseQuote { account: account.id, lock: id }).await?;
    let refund = ack.events().iter().find_map(|event| match event {
        Event::QuoteReleased { lock, refund, .. } if *lock == id => Some(*refund),
        _ => None,
    });
    let refund = refund.ok_or_else(|| ApiError::internal(&"a released lock has no event"))?;
    Ok(Json(json!({ "id": lock, "refund": credits(refund), "seq": ack.seq })))
}
