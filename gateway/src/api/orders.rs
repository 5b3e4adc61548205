//! Orders: place, list, show, cancel.

use crate::api::accounts::account_name;
use crate::api::market::instrument;
use crate::api::{Page, Segment, client_order_id, micros, parse, parse_id};
use crate::app::App;
use crate::auth::{Account, forbidden};
use crate::error::{ApiError, miss_code};
use crate::keys::Scopes;
use crate::money::{credits, credits_per_unit, parse_credits_per_unit};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use gollem_engine::{
    AccountId, Attributes, CloseReason, Command, Constraints, Event, GpuClass, NewOrder, Order, OrderAnswer, OrderId,
    Quantity, Region, Side, Terms, TimeInForce, Trade,
};
use gollem_projections::{OrderRow, OrderStatus};
use gollem_sequencer::Ack;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The largest latency or throughput an order may name.
const ATTRIBUTE_MAX: u32 = 1_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceOrder {
    instrument: String,
    side: WireSide,
    #[serde(rename = "type", default)]
    kind: WireKind,
    price: Option<String>,
    quantity: u64,
    time_in_force: Option<WireTimeInForce>,
    client_order_id: Option<String>,
    // Of a bid:
    max_latency_ms: Option<u32>,
    min_throughput_tps: Option<u32>,
    gpus: Option<Vec<String>>,
    regions: Option<Vec<String>>,
    single: Option<bool>,
    // Of an ask:
    latency_ms: Option<u32>,
    throughput_tps: Option<u32>,
    gpu: Option<String>,
    region: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireSide {
    #[serde(alias = "buy")]
    Bid,
    #[serde(alias = "sell")]
    Ask,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireKind {
    #[default]
    Limit,
    Market,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireTimeInForce {
    #[serde(alias = "GTC")]
    Gtc,
    #[serde(alias = "IOC")]
    Ioc,
}

/// `POST /v1/orders`.
pub(crate) async fn place(
    State(app): State<Arc<App>>,
    account: Account,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let request: PlaceOrder = parse(&body)?;
    let needed = match request.side {
        WireSide::Bid => Scopes::TRADE,
        WireSide::Ask => Scopes::PROVIDE,
    };
    if !account.scopes.intersects(needed) {
        return Err(forbidden(needed));
    }
    let order = request.to_order(&app, account.id)?;
    let ack = app.execute(Command::PlaceOrder(order)).await?;
    let mut answer = placed(&app, &ack).await?;
    if let Some(text) = request.client_order_id {
        answer.insert("client_order_id".into(), text.into());
    }
    Ok((StatusCode::CREATED, Json(Value::Object(answer))))
}

impl PlaceOrder {
    fn to_order(&self, app: &App, account: AccountId) -> Result<NewOrder, ApiError> {
        let instrument = instrument(&app.catalog, "instrument", &self.instrument)?;
        let limit = match (self.kind, self.price.as_deref()) {
            (WireKind::Limit, Some(price)) => Some(parse_credits_per_unit("price", price)?),
            (WireKind::Limit, None) => return Err(ApiError::invalid("price", "a limit order needs a price")),
            (WireKind::Market, None) => None,
            (WireKind::Market, Some(_)) => return Err(ApiError::invalid("price", "a market order takes no price")),
        };
        let time_in_force = match (self.time_in_force, self.kind) {
            (Some(WireTimeInForce::Gtc), _) | (None, WireKind::Limit) => TimeInForce::Gtc,
            (Some(WireTimeInForce::Ioc), _) | (None, WireKind::Market) => TimeInForce::Ioc,
        };
        let client_id = self.client_order_id.as_deref().map(|text| client_order_id("client_order_id", text));
        Ok(NewOrder {
            account,
            instrument: instrument.id,
            client_id: client_id.transpose()?,
            limit,
            quantity: Quantity(self.quantity),
            time_in_force,
            terms: self.terms()?,
        })
    }

    fn terms(&self) -> Result<Terms, ApiError> {
        let side = self.side;
        let only = |of: WireSide, field: &'static str, given: bool| {
            let owner = if of == WireSide::Bid { "a bid" } else { "an ask" };
            let misplaced = given && side != of;
            if misplaced { Err(ApiError::invalid(field, format!("{field} belongs to {owner}"))) } else { Ok(()) }
        };
        only(WireSide::Bid, "max_latency_ms", self.max_latency_ms.is_some())?;
        only(WireSide::Bid, "min_throughput_tps", self.min_throughput_tps.is_some())?;
        only(WireSide::Bid, "gpus", self.gpus.is_some())?;
        only(WireSide::Bid, "regions", self.regions.is_some())?;
        only(WireSide::Bid, "single", self.single.is_some())?;
        only(WireSide::Ask, "latency_ms", self.latency_ms.is_some())?;
        only(WireSide::Ask, "throughput_tps", self.throughput_tps.is_some())?;
        only(WireSide::Ask, "gpu", self.gpu.is_some())?;
        only(WireSide::Ask, "region", self.region.is_some())?;
        match side {
            WireSide::Bid => self.bid_terms(),
            WireSide::Ask => self.ask_terms(),
        }
    }

    fn bid_terms(&self) -> Result<Terms, ApiError> {
        let set = |field, names: &Option<Vec<String>>, bit: fn(&str) -> Option<u32>, known: &[&str]| {
            let names = names.as_deref().unwrap_or_default();
            names.iter().try_fold(0, |set, name| bit(name).map(|bit| set | bit).ok_or_else(|| unknown(field, known)))
        };
        let gpu_bit = |name: &str| GpuClass::from_name(name).map(GpuClass::bit);
        let region_bit = |name: &str| Region::from_name(name).map(Region::bit);
        let constraints = Constraints {
            max_latency_ms: bounded("max_latency_ms", self.max_latency_ms)?,
            min_throughput_tps: bounded("min_throughput_tps", self.min_throughput_tps)?,
            gpus: set("gpus", &self.gpus, gpu_bit, &GpuClass::NAMES)?,
            regions: set("regions", &self.regions, region_bit, &Region::NAMES)?,
        };
        Ok(Terms::Bid { constraints, single: self.single.unwrap_or(false) })
    }

    fn ask_terms(&self) -> Result<Terms, ApiError> {
        let required = |field: &'static str, value: Option<u32>| {
            let value = bounded(field, value)?;
            value.ok_or_else(|| ApiError::invalid(field, format!("an ask must promise {field}")))
        };
        Ok(Terms::Ask {
            attributes: Attributes {
                latency_ms: required("latency_ms", self.latency_ms)?,
                throughput_tps: required("throughput_tps", self.throughput_tps)?,
                gpu: gpu_class("gpu", self.gpu.as_deref())?,
                region: region(self.region.as_deref())?,
            },
        })
    }
}

fn bounded(field: &'static str, value: Option<u32>) -> Result<Option<u32>, ApiError> {
    match value {
        Some(value) if value > ATTRIBUTE_MAX => {
            Err(ApiError::invalid(field, format!("{field} may be at most {ATTRIBUTE_MAX}")))
        }
        value => Ok(value),
    }
}

/// The GPU class of that name; unspecified when none is given.
pub(crate) fn gpu_class(field: &'static str, name: Option<&str>) -> Result<GpuClass, ApiError> {
    name.map_or(Ok(GpuClass::default()), |name| {
        GpuClass::from_name(name).ok_or_else(|| unknown(field, &GpuClass::NAMES))
    })
}

fn region(name: Option<&str>) -> Result<Region, ApiError> {
    name.map_or(Ok(Region::default()), |name| Region::from_name(name).ok_or_else(|| unknown("region", &Region::NAMES)))
}

fn unknown(field: &'static str, known: &[&str]) -> ApiError {
    ApiError::invalid(field, format!("{field} must be of: {}", known.join(", ")))
}

/// The answer to a placed order, from its own events.
async fn placed(app: &App, ack: &Ack) -> Result<Map<String, Value>, ApiError> {
    let mut row = None;
    let mut fills = Vec::new();
    for event in &ack.events {
        match event {
            Event::OrderRepeated(answer) => return repeated(app, answer).await,
            Event::OrderAccepted(order) => row = Some(accepted(order, ack)),
            Event::Traded(trade) => fills.push(*trade),
            Event::OrderClosed { order, reason, .. } => {
                if let Some(row) = row.as_mut().filter(|row: &&mut OrderRow| row.order.id == *order) {
                    row.status = OrderStatus::Closed(*reason);
                }
            }
            _ => {}
        }
    }
    let mut row = row.ok_or_else(|| ApiError::internal(&"an accepted order has no event"))?;
    for trade in &fills {
        row.filled.0 += trade.quantity.0;
        row.order.remaining.0 -= trade.quantity.0;
        row.value.0 += trade.price.notional(trade.quantity).unwrap_or_default().0;
    }
    let mut answer = order_json(app, &row);
    answer.insert("seq".into(), ack.seq.into());
    answer.insert("fills".into(), fills.iter().map(fill_json).collect());
    Ok(answer)
}

fn accepted(order: &Order, ack: &Ack) -> OrderRow {
    OrderRow {
        order: *order,
        status: OrderStatus::Open,
        filled: Quantity(0),
        value: gollem_engine::Amount::ZERO,
        created_at: ack.at,
        updated_at: ack.at,
    }
}

/// The first answer again: the order as it was when it was placed.
async fn repeated(app: &App, answer: &OrderAnswer) -> Result<Map<String, Value>, ApiError> {
    let row = app.fresh_view().await?.order(answer.order)?;
    let row = row.ok_or_else(|| ApiError::internal(&"a repeated order is not in the view"))?;
    let mut json = order_json(app, &row);
    let status = if answer.rested.0 > 0 {
        status_name(OrderStatus::Open, answer.filled)
    } else if answer.filled == row.order.quantity {
        "filled"
    } else {
        "canceled"
    };
    json.insert("status".into(), status.into());
    json.insert("filled".into(), answer.filled.0.into());
    json.insert("remaining".into(), (row.order.quantity.0 - answer.filled.0).into());
    json.insert("seq".into(), answer.seq.into());
    json.insert("repeated".into(), true.into());
    Ok(json)
}

fn fill_json(trade: &Trade) -> Value {
    json!({
        "contract": format!("ctr_{}", trade.contract.0),
        "price": credits_per_unit(trade.price),
        "quantity": trade.quantity.0,
        "expires_at_us": micros(trade.expires_at),
    })
}

fn order_json(app: &App, row: &OrderRow) -> Map<String, Value> {
    let order = &row.order;
    let mut json = Map::new();
    json.insert("id".into(), format!("ord_{}", order.id.0).into());
    json.insert("account".into(), account_name(order.account).into());
    json.insert("instrument".into(), app.catalog.symbol(order.instrument).into());
    json.insert("side".into(), if order.side() == Side::Bid { "bid" } else { "ask" }.into());
    json.insert("price".into(), credits_per_unit(order.price).into());
    json.insert("quantity".into(), order.quantity.0.into());
    json.insert("filled".into(), row.filled.0.into());
    json.insert("remaining".into(), order.remaining.0.into());
    json.insert("value".into(), credits(row.value).into());
    let time_in_force = if order.time_in_force == TimeInForce::Gtc { "gtc" } else { "ioc" };
    json.insert("time_in_force".into(), time_in_force.into());
    json.insert("status".into(), status_name(row.status, row.filled).into());
    json.insert("reason".into(), reason_name(row.status).into());
    match order.terms {
        Terms::Ask { attributes } => {
            json.insert("latency_ms".into(), attributes.latency_ms.into());
            json.insert("throughput_tps".into(), attributes.throughput_tps.into());
            json.insert("gpu".into(), attributes.gpu.name().into());
            json.insert("region".into(), attributes.region.name().into());
        }
        Terms::Bid { constraints, single } => {
            json.insert("max_latency_ms".into(), constraints.max_latency_ms.into());
            json.insert("min_throughput_tps".into(), constraints.min_throughput_tps.into());
            json.insert("single".into(), single.into());
        }
    }
    json.insert("created_at_us".into(), micros(row.created_at).into());
    json.insert("updated_at_us".into(), micros(row.updated_at).into());
    json
}

fn status_name(status: OrderStatus, filled: Quantity) -> &'static str {
    match status {
        OrderStatus::Open if filled.0 > 0 => "partially_filled",
        OrderStatus::Open => "open",
        OrderStatus::Closed(CloseReason::Filled) => "filled",
        OrderStatus::Closed(CloseReason::Cancelled | CloseReason::Unfilled(_)) => "canceled",
    }
}

fn reason_name(status: OrderStatus) -> Option<&'static str> {
    match status {
        OrderStatus::Open | OrderStatus::Closed(CloseReason::Filled) => None,
        OrderStatus::Closed(CloseReason::Cancelled) => Some("canceled_by_owner"),
        OrderStatus::Closed(CloseReason::Unfilled(miss)) => Some(miss_code(miss)),
    }
}

/// `GET /v1/orders`: the account's orders, newest first; `?status=open` for those that rest.
pub(crate) async fn list(State(app): State<Arc<App>>, account: Account, page: Page) -> Result<Json<Value>, ApiError> {
    let open_only = match page.status.as_deref() {
        None | Some("all") => false,
        Some("open") => true,
        Some(_) => return Err(ApiError::invalid("status", "status must be open or all")),
    };
    let before = page.before.as_deref().map(|text| parse_id("before", "ord_", text)).transpose()?;
    let limit = page.limit()?;
    let rows = app.fresh_view().await?.orders(account.id, open_only, before.map(OrderId), limit)?;
    let next = rows.last().filter(|_| rows.len() == limit).map(|row| format!("ord_{}", row.order.id.0));
    let rows: Vec<Value> = rows.iter().map(|row| Value::Object(order_json(&app, row))).collect();
    Ok(Json(json!({ "orders": rows, "next_before": next })))
}

/// `GET /v1/orders/{order}`.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    account: Account,
    Segment(order): Segment,
) -> Result<Json<Value>, ApiError> {
    let row = own_order(&app, account, &order).await?;
    Ok(Json(Value::Object(order_json(&app, &row))))
}

/// `DELETE /v1/orders/{order}`: cancels an open order.
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    account: Account,
    Segment(order): Segment,
) -> Result<Json<Value>, ApiError> {
    let id = OrderId(parse_id("order", "ord_", &order)?);
    app.execute(Command::CancelOrder { account: account.id, order: id }).await?;
    let row = own_order(&app, account, &order).await?;
    Ok(Json(Value::Object(order_json(&app, &row))))
}

/// The account's order; another's is as unknown as none.
async fn own_order(app: &App, account: Account, order: &str) -> Result<OrderRow, ApiError> {
    let id = OrderId(parse_id("order", "ord_", order)?);
    let row = app.fresh_view().await?.order(id)?.filter(|row| row.order.account == account.id);
    row.ok_or_else(|| ApiError::not_found("order", "order_not_found", "no order of yours has this id"))
}
