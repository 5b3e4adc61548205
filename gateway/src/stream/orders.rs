//! Orders over the socket: each is sent to the sequencer at once, and its answer waited for while others follow.

use crate::api::orders::{cancelled, cancelling, fill_json, may_replace, placed};
use crate::api::{parse, parse_id};
use crate::app::App;
use crate::auth::Account;
use crate::error::ApiError;
use crate::money::parse_credits_per_unit;
use crate::stream::presence::timer_json;
use crate::stream::request::{Cancel, CancelAfter, CancelAll, Place, Replace};
use gollem_engine::{Command, Event, OrderId, Quantity, Replacement, Timer};
use gollem_projections::OrderStatus;
use gollem_projections::words::{credits_per_unit, reason_name, status_name};
use gollem_sequencer::Ack;
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::Arc;

/// An answer to come.
pub(super) type Answer = Pin<Box<dyn Future<Output = Result<Value, ApiError>> + Send>>;

/// Sends a command; what it did is told by `tell`.
fn send(
    app: &Arc<App>,
    command: Command,
    tell: impl FnOnce(&Ack) -> Result<Value, ApiError> + Send + 'static,
) -> Result<Answer, ApiError> {
    let pending = app.submit(command)?;
    Ok(Box::pin(async move { tell(&pending.await?) }))
}

/// `place`.
pub(super) fn place(app: &Arc<App>, account: Account, text: &[u8]) -> Result<Answer, ApiError> {
    let Place { order, .. } = parse(text)?;
    let pending = app.submit(Command::PlaceOrder(order.to_order(app, account, None)?))?;
    let app = Arc::clone(app);
    Ok(Box::pin(async move {
        let mut answer = placed(&app, &pending.await?).await?.json;
        if let Some(text) = order.client_order_id() {
            answer.insert("client_order_id".into(), text.into());
        }
        Ok(Value::Object(answer))
    }))
}

/// `cancel`.
pub(super) fn cancel(app: &Arc<App>, account: Account, text: &[u8]) -> Result<Answer, ApiError> {
    let Cancel { order_id, .. } = parse(text)?;
    let order = OrderId(parse_id("order_id", "ord_", &order_id)?);
    send(app, Command::CancelOrder { account: account.id, order }, move |ack| {
        let closed = closed(ack, order).ok_or_else(|| ApiError::internal(&"a cancelled order is not closed"))?;
        Ok(with_seq(closed, ack))
    })
}

/// `replace`.
pub(super) fn replace(app: &Arc<App>, account: Account, text: &[u8]) -> Result<Answer, ApiError> {
    let Replace { order_id, price, quantity, .. } = parse(text)?;
    let order = OrderId(parse_id("order_id", "ord_", &order_id)?);
    let limit = price.as_deref().map(|text| parse_credits_per_unit("price", text)).transpose()?;
    may_replace(app, account, order)?;
    let replacement = Replacement { account: account.id, order, limit, quantity: quantity.map(Quantity) };
    send(app, Command::ReplaceOrder(replacement), move |ack| Ok(replaced(ack, order)))
}

/// `cancel_all`.
pub(super) fn cancel_all(app: &Arc<App>, account: Account, text: &[u8]) -> Result<Answer, ApiError> {
    let request: CancelAll = parse(text)?;
    let command = cancelling(app, account, request.instrument.as_deref(), request.side.as_deref())?;
    send(app, command, move |ack| cancelled(ack, account))
}

/// `cancel_after`: the dead-man timer.
pub(super) fn cancel_after(app: &Arc<App>, account: Account, text: &[u8]) -> Result<Answer, ApiError> {
    let CancelAfter { after_ms, .. } = parse(text)?;
    let after_ns = after_ms.map(|after| after.saturating_mul(1_000_000));
    let command = Command::SetTimer { account: account.id, timer: Timer::DeadMan, after_ns };
    send(app, command, |ack| Ok(with_seq(timer_json(ack.events()), ack)))
}

fn with_seq(mut answer: Value, ack: &Ack) -> Value {
    answer["seq"] = ack.seq.into();
    answer
}

/// How an order ended, if this input ended it.
fn closed(ack: &Ack, id: OrderId) -> Option<Value> {
    ack.events().iter().find_map(|event| match event {
        Event::OrderClosed { order, remaining, reason } if *order == id => {
            let status = OrderStatus::Closed(*reason);
            Some(json!({
                "id": format!("ord_{}", id.0), "status": status_name(status, Quantity(0)),
                "reason": reason_name(status), "remaining": remaining.0,
            }))
        }
        _ => None,
    })
}

/// What became of an order that was replaced: its terms, what it traded, and whether it is still open.
fn replaced(ack: &Ack, id: OrderId) -> Value {
    let mut answer = json!({ "id": format!("ord_{}", id.0), "status": "open" });
    let mut fills = Vec::new();
    // Deadlines of the same input come before the replacement.
    let own = |event: &&Event| !matches!(event, Event::OrderReplaced { order, .. } if *order == id);
    for event in ack.events().iter().skip_while(own) {
        match event {
            Event::OrderReplaced { order, price, quantity, remaining } if *order == id => {
                answer["price"] = credits_per_unit(*price).into();
                answer["quantity"] = quantity.0.into();
                answer["remaining"] = remaining.0.into();
            }
            Event::OrderRested { order, remaining } if *order == id => answer["remaining"] = remaining.0.into(),
            Event::Traded(trade) if trade.bid == id || trade.ask == id => fills.push(fill_json(trade)),
            _ => {}
        }
    }
    if let Some(Value::Object(closed)) = closed(ack, id) {
        closed.into_iter().for_each(|(field, value)| answer[&field] = value);
    }
    answer["fills"] = fills.into();
    with_seq(answer, ack)
}
