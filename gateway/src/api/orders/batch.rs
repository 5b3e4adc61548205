//! Several actions at once: they become durable together, take effect in order, and each succeeds or fails by itself.

use super::answer::Did;
use super::place::check_same;
use super::{PlaceOrder, ReplaceOrder, may_replace};
use crate::api::{parse, parse_id};
use crate::app::App;
use crate::auth::Account;
use crate::error::ApiError;
use crate::idempotency::IdempotencyKey;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use gollem_engine::{Command, Event, NewOrder, OrderId};
use gollem_projections::Reader;
use gollem_projections::words::client_order_id;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

/// Most actions of a batch.
const ACTIONS_MAX: usize = 50;

/// Up to fifty actions, done in order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "actions": [
    { "place": { "instrument": "llama-3.1-8b", "side": "bid", "price": "0.00135", "quantity": 1000 } },
    { "replace": { "order": "ord_1", "quantity": 500 } },
    { "cancel": { "order": "ord_2" } },
] }))]
pub(crate) struct Batch {
    #[schema(min_items = 1, max_items = 50)]
    actions: Vec<Action>,
}

/// One thing to do.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Action {
    /// Places an order.
    Place(Box<PlaceOrder>),
    /// Replaces one.
    Replace(ReplaceOne),
    /// Cancels one.
    Cancel(CancelOne),
}

/// Which order to replace, and by what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReplaceOne {
    /// Its id, such as `ord_17`.
    order: String,
    /// The new limit in credits a unit.
    price: Option<String>,
    /// The new quantity in all, filled units included.
    quantity: Option<u64>,
}

/// Which order to cancel.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CancelOne {
    /// Its id, such as `ord_17`.
    order: String,
}

/// What an action's answer is made of, beside what its command did.
enum Asked<'a> {
    /// With the client id's text, and whether the body named it.
    Place {
        order: NewOrder,
        client_id: Option<String>,
        request: &'a PlaceOrder,
    },
    Replace(OrderId),
    Cancel(OrderId),
}

/// `POST /v1/orders/batch`. With an `Idempotency-Key` the n-th action's order, counted from 0, has the client id
/// `KEY/n` unless it names one.
pub(crate) async fn batch(
    State(app): State<Arc<App>>,
    account: Account,
    IdempotencyKey(key): IdempotencyKey,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let request: Batch = parse(&body)?;
    if !(1..=ACTIONS_MAX).contains(&request.actions.len()) {
        return Err(ApiError::invalid("actions", format!("actions must have 1 to {ACTIONS_MAX} entries")));
    }
    if request.actions.iter().any(|action| matches!(action, Action::Replace(_))) {
        drop(app.reader(0).await?); // The orders may have been placed a moment ago.
    }
    let mut commands = Vec::new();
    let mut asked = Vec::new();
    for (at, action) in request.actions.iter().enumerate() {
        let client_id = key.as_deref().map(|key| format!("{key}/{at}"));
        let read = action.read(&app, account, client_id);
        asked.push(read.map(|(command, asked)| {
            commands.push(command);
            asked
        }));
    }
    // When every action is refused as it stands, nothing is sent.
    let ack = if commands.is_empty() { None } else { Some(app.ingress.submit_together(commands)?.await?) };
    let reader = app.reader(0).await?;
    let mut inputs = ack.iter().flat_map(|ack| ack.inputs());
    let mut results = Vec::new();
    for asked in asked {
        let result = asked.and_then(|asked| {
            let (input, events) = inputs.next().ok_or_else(|| ApiError::internal(&"an action has no answer"))?;
            asked.answer(&app, &reader, Did { seq: input.seq, at: input.at, events })
        });
        results.push(match result {
            Ok((status, order)) => json!({ "status": status, "order": order }),
            Err(error) => {
                let mut json = error.body();
                if let Value::Object(json) = &mut json {
                    json.shift_insert(0, "status".into(), error.status.as_u16().into());
                }
                json
            }
        });
    }
    Ok(Json(json!({ "results": results, "seq": ack.as_ref().map(|ack| ack.seq) })))
}

impl Action {
    fn read(&self, app: &App, account: Account, client_id: Option<String>) -> Result<(Command, Asked<'_>), ApiError> {
        let id = |text: &str| parse_id("order", "ord_", text).map(OrderId);
        Ok(match self {
            Action::Place(request) => {
                let order = request.to_order(app, account, client_id.as_deref().map(client_order_id))?;
                (Command::PlaceOrder(order), Asked::Place { order, client_id, request: request.as_ref() })
            }
            Action::Replace(request) => {
                let id = id(&request.order)?;
                may_replace(app, account, id)?;
                let change = ReplaceOrder::new(request.price.clone(), request.quantity);
                (Command::ReplaceOrder(change.to_replacement(account, id)?), Asked::Replace(id))
            }
            Action::Cancel(request) => {
                let order = id(&request.order)?;
                (Command::CancelOrder { account: account.id, order }, Asked::Cancel(order))
            }
        })
    }
}

impl Asked<'_> {
    /// The action's status and order.
    fn answer(self, app: &App, reader: &Reader<'_>, did: Did<'_>) -> Result<(u16, Map<String, Value>), ApiError> {
        if let Some(Event::Rejected(reason)) = did.events.last() {
            return Err((*reason).into());
        }
        Ok(match self {
            Asked::Place { order, client_id, request } => {
                let mut placed = did.placed(app, reader)?;
                if request.client_order_id().is_none() {
                    check_same(&placed, &order)?;
                }
                if let Some(text) = request.client_order_id().or(client_id.as_deref()) {
                    placed.json.insert("client_order_id".into(), text.into());
                }
                (201, placed.json)
            }
            Asked::Replace(id) => (200, did.replaced(app, reader, id)?),
            Asked::Cancel(id) => (200, did.cancelled(app, reader, id)?),
        })
    }
}
