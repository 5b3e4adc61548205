//! Cancelling: one order, many, or all of them when their owner falls silent.

use super::did;
use crate::api::market::instrument;
use crate::api::queries::read_params;
use crate::api::{Segment, parse, parse_id};
use crate::app::App;
use crate::auth::Account;
use crate::error::ApiError;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use gollem_engine::{Command, Event, OrderId, Side, Timer};
use gollem_projections::words::{micros, utc};
use gollem_sequencer::Ack;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

/// `DELETE /v1/orders/{order}`: cancels an open order.
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    account: Account,
    Segment(order): Segment,
) -> Result<Json<Value>, ApiError> {
    let id = OrderId(parse_id("order", "ord_", &order)?);
    let ack = app.execute(Command::CancelOrder { account: account.id, order: id }).await?;
    Ok(Json(Value::Object(did(&ack).cancelled(&app, &app.reader(0).await?, id)?)))
}

/// `DELETE /v1/orders`: cancels the caller's open orders; with `?instrument=` on that one only, with `?side=` (`bid` or
/// `ask`) on that side only.
pub(crate) async fn cancel_all(
    State(app): State<Arc<App>>,
    account: Account,
    RawQuery(params): RawQuery,
) -> Result<Json<Value>, ApiError> {
    let mut params = read_params(params)?;
    let (symbol, side) = (params.remove("instrument"), params.remove("side"));
    if let Some(name) = params.keys().next() {
        let name: String = name.chars().take(64).collect();
        return Err(ApiError::invalid(
            name.as_str(),
            format!("unknown parameter `{name}`: this takes instrument, side"),
        ));
    }
    let ack = app.execute(cancelling(&app, account, symbol.as_deref(), side.as_deref())?).await?;
    Ok(Json(cancelled(&ack, account)?))
}

/// Cancels the caller's open orders, or those only of one instrument, or of one side.
///
/// # Errors
/// When there is no such instrument or side.
pub(crate) fn cancelling(
    app: &App,
    account: Account,
    symbol: Option<&str>,
    side: Option<&str>,
) -> Result<Command, ApiError> {
    let listed = symbol.map(|symbol| instrument(&app.catalog, "instrument", symbol)).transpose()?;
    let side = side.map(|text| match text {
        "bid" | "buy" => Ok(Side::Bid),
        "ask" | "sell" => Ok(Side::Ask),
        _ => Err(ApiError::invalid("side", "side must be bid or ask")),
    });
    Ok(Command::CancelOrders { account: account.id, instrument: listed.map(|row| row.id), side: side.transpose()? })
}

/// How many orders were cancelled together.
pub(crate) fn cancelled(ack: &Ack, account: Account) -> Result<Value, ApiError> {
    let count = ack.events().iter().rev().find_map(|event| match event {
        Event::OrdersCancelled { account: owner, count } if *owner == account.id => Some(*count),
        _ => None,
    });
    let count = count.ok_or_else(|| ApiError::internal(&"cancelled orders have no event"))?;
    Ok(json!({ "cancelled": count, "seq": ack.seq }))
}

/// When all orders are to be cancelled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "after_ms": 30_000 }))]
pub(crate) struct CancelAfter {
    /// Milliseconds from now, at most a day; null clears the timer.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required = true, minimum = 1, maximum = 86_400_000)]
    after_ms: Option<u64>,
}

/// `POST /v1/orders/cancel-after`: the dead-man timer. Unless it is set anew or cleared in time, all of the account's open
/// orders are cancelled.
pub(crate) async fn cancel_after(
    State(app): State<Arc<App>>,
    account: Account,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let request: CancelAfter = parse(&body)?;
    let after_ns = request.after_ms.map(|ms| ms.saturating_mul(1_000_000));
    let ack = app.execute(Command::SetTimer { account: account.id, timer: Timer::DeadMan, after_ns }).await?;
    let at = ack.events().iter().rev().find_map(|event| match event {
        Event::TimerSet { account: owner, timer: Timer::DeadMan, at } if *owner == account.id => Some(*at),
        _ => None,
    });
    let at = at.ok_or_else(|| ApiError::internal(&"a timer that was set has no event"))?;
    Ok(Json(json!({ "after_ms": request.after_ms, "at": at.map(utc), "at_us": at.map(micros), "seq": ack.seq })))
}
