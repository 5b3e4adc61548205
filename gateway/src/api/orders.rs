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
    AccountId, Attributes, CloseReason, Command, Constraints, Event, GpuClass, KeyId, NewOrder, Order, OrderAnswer,
    OrderId, Precision, Preference, Quantity, Region, SelfTrade, Side, Terms, TimeInForce, Timestamp, Trade,
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
    min_quantity: Option<u64>,
    time_in_force: Option<WireTimeInForce>,
    expires_at_us: Option<u64>,
    #[serde(default)]
    post_only: bool,
    #[serde(default)]
    cancel_on_disconnect: bool,
    #[serde(default)]
    self_trade: WireSelfTrade,
    client_order_id: Option<String>,
    // Of a bid:
    max_latency_ms: Option<u32>,
    min_throughput_tps: Option<u32>,
    gpus: Option<Vec<String>>,
    regions: Option<Vec<String>>,
    precisions: Option<Vec<String>>,
    preference: Option<Value>,
    single: Option<bool>,
    // Of an ask:
    latency_ms: Option<u32>,
    throughput_tps: Option<u32>,
    gpu: Option<String>,
    region: Option<String>,
    precision: Option<String>,
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
    #[serde(alias = "FOK")]
    Fok,
    #[serde(alias = "GTD")]
    Gtd,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireSelfTrade {
    #[default]
    CancelNewest,
    CancelOldest,
    CancelBoth,
    Decrement,
    Allow,
}

impl From<WireSelfTrade> for SelfTrade {
    fn from(wire: WireSelfTrade) -> SelfTrade {
        match wire {
            WireSelfTrade::CancelNewest => SelfTrade::CancelNewest,
            WireSelfTrade::CancelOldest => SelfTrade::CancelOldest,
            WireSelfTrade::CancelBoth => SelfTrade::CancelBoth,
            WireSelfTrade::Decrement => SelfTrade::Decrement,
            WireSelfTrade::Allow => SelfTrade::Allow,
        }
    }
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
        let client_id = self.client_order_id.as_deref().map(|text| client_order_id("client_order_id", text));
        Ok(NewOrder {
            account,
            key: KeyId(0),
            instrument: instrument.id,
            client_id: client_id.transpose()?,
            limit,
            quantity: Quantity(self.quantity),
            min_quantity: Quantity(self.min_quantity.unwrap_or(0)),
            time_in_force: self.time_in_force()?,
            post_only: self.post_only,
            cancel_on_disconnect: self.cancel_on_disconnect,
            self_trade: self.self_trade.into(),
            terms: self.terms()?,
        })
    }

    fn time_in_force(&self) -> Result<TimeInForce, ApiError> {
        let invalid = |message: &str| Err(ApiError::invalid("expires_at_us", message));
        let until = match (self.time_in_force, self.expires_at_us) {
            (Some(WireTimeInForce::Gtd), Some(until_us)) => until_us.checked_mul(1_000),
            (Some(WireTimeInForce::Gtd), None) => return invalid("time_in_force \"gtd\" needs expires_at_us"),
            (_, Some(_)) => return invalid("expires_at_us belongs to time_in_force \"gtd\""),
            (Some(WireTimeInForce::Gtc), None) => return Ok(TimeInForce::Gtc),
            (Some(WireTimeInForce::Ioc), None) => return Ok(TimeInForce::Ioc),
            (Some(WireTimeInForce::Fok), None) => return Ok(TimeInForce::Fok),
            (None, None) if self.kind == WireKind::Market => return Ok(TimeInForce::Ioc),
            (None, None) => return Ok(TimeInForce::Gtc),
        };
        match until {
            Some(until_ns) => Ok(TimeInForce::Gtd(Timestamp(until_ns))),
            None => invalid("expires_at_us is too large: it counts microseconds since the Unix epoch"),
        }
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
        only(WireSide::Bid, "precisions", self.precisions.is_some())?;
        only(WireSide::Bid, "preference", self.preference.is_some())?;
        only(WireSide::Bid, "single", self.single.is_some())?;
        only(WireSide::Ask, "latency_ms", self.latency_ms.is_some())?;
        only(WireSide::Ask, "throughput_tps", self.throughput_tps.is_some())?;
        only(WireSide::Ask, "gpu", self.gpu.is_some())?;
        only(WireSide::Ask, "region", self.region.is_some())?;
        only(WireSide::Ask, "precision", self.precision.is_some())?;
        match side {
            WireSide::Bid => self.bid_terms(),
            WireSide::Ask => self.ask_terms(),
        }
    }

    fn bid_terms(&self) -> Result<Terms, ApiError> {
        let set = |field, names: &Option<Vec<String>>, bit: fn(&str) -> Option<u16>, known: &[&str]| {
            let names = names.as_deref().unwrap_or_default();
            names.iter().try_fold(0, |set, name| bit(name).map(|bit| set | bit).ok_or_else(|| unknown(field, known)))
        };
        let gpu_bit = |name: &str| GpuClass::from_name(name).map(GpuClass::bit);
        let region_bit = |name: &str| Region::from_name(name).map(Region::bit);
        let precision_bit = |name: &str| Precision::from_name(name).map(Precision::bit);
        let constraints = Constraints {
            max_latency_ms: bounded("max_latency_ms", self.max_latency_ms)?,
            min_throughput_tps: bounded("min_throughput_tps", self.min_throughput_tps)?,
            gpus: set("gpus", &self.gpus, gpu_bit, &GpuClass::NAMES)?,
            regions: set("regions", &self.regions, region_bit, &Region::NAMES)?,
            precisions: set("precisions", &self.precisions, precision_bit, &Precision::NAMES)?,
        };
        let preference = self.preference.as_ref().map_or(Ok(Preference::Price), parse_preference)?;
        Ok(Terms::Bid { constraints, preference, single: self.single.unwrap_or(false) })
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
                precision: precision(self.precision.as_deref())?,
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

fn precision(name: Option<&str>) -> Result<Precision, ApiError> {
    name.map_or(Ok(Precision::default()), |name| {
        Precision::from_name(name).ok_or_else(|| unknown("precision", &Precision::NAMES))
    })
}

/// `"price"`, `"latency"`, `"throughput"`, or the three weights.
fn parse_preference(value: &Value) -> Result<Preference, ApiError> {
    let invalid = || {
        let rule = "preference must be \"price\", \"latency\", \"throughput\", or an object that gives each of these a \
                    whole number between 1 and 65535";
        ApiError::invalid("preference", rule)
    };
    match value {
        Value::String(name) => match name.as_str() {
            "price" => Ok(Preference::Price),
            "latency" => Ok(Preference::Latency),
            "throughput" => Ok(Preference::Throughput),
            _ => Err(invalid()),
        },
        Value::Object(weights) if weights.len() == 3 => {
            let weight = |name: &str| {
                let weight = weights.get(name).and_then(Value::as_u64).and_then(|weight| u16::try_from(weight).ok());
                weight.filter(|weight| *weight > 0).ok_or_else(invalid)
            };
            let (price, latency, throughput) = (weight("price")?, weight("latency")?, weight("throughput")?);
            Ok(Preference::Weights { price, latency, throughput })
        }
        _ => Err(invalid()),
    }
}

fn preference_json(preference: Preference) -> Value {
    match preference {
        Preference::Price => "price".into(),
        Preference::Latency => "latency".into(),
        Preference::Throughput => "throughput".into(),
        Preference::Weights { price, latency, throughput } => {
            json!({ "price": price, "latency": latency, "throughput": throughput })
        }
    }
}

fn unknown(field: &'static str, known: &[&str]) -> ApiError {
    ApiError::invalid(field, format!("{field} must be of: {}", known.join(", ")))
}

/// The answer to a placed order.
async fn placed(app: &App, ack: &Ack) -> Result<Map<String, Value>, ApiError> {
    let repeats = |event: &Event| if let Event::OrderRepeated(answer) = event { Some(*answer) } else { None };
    if let Some(answer) = ack.events().iter().find_map(repeats) {
        return repeated(app, &answer).await;
    }
    let (row, fills) = outcome(ack).ok_or_else(|| ApiError::internal(&"an accepted order has no event"))?;
    let mut answer = order_json(app, &row);
    answer.insert("seq".into(), ack.seq.into());
    answer.insert("fills".into(), fills.iter().map(fill_json).collect());
    Ok(answer)
}

/// What became of the order that was accepted, from its own events: others' may stand before and between them.
fn outcome(ack: &Ack) -> Option<(OrderRow, Vec<Trade>)> {
    let mut row = None;
    let mut fills = Vec::new();
    for event in ack.events() {
        match (&mut row, event) {
            (_, Event::OrderAccepted(order)) => row = Some(accepted(order, ack)),
            (Some(row), event) => follow(row, &mut fills, event),
            (None, _) => {}
        }
    }
    row.map(|row| (row, fills))
}

/// What an event did to the order, if it is about it.
fn follow(row: &mut OrderRow, fills: &mut Vec<Trade>, event: &Event) {
    let id = row.order.id;
    match event {
        Event::Traded(trade) if trade.bid == id || trade.ask == id => {
            row.filled.0 += trade.quantity.0;
            row.order.remaining.0 -= trade.quantity.0;
            row.value.0 += trade.price.notional(trade.quantity).unwrap_or_default().0;
            fills.push(*trade);
        }
        Event::OrderReplaced { order, price, quantity, remaining } if *order == id => {
            (row.order.price, row.order.quantity, row.order.remaining) = (*price, *quantity, *remaining);
        }
        Event::OrderClosed { order, reason, .. } if *order == id => row.status = OrderStatus::Closed(*reason),
        _ => {}
    }
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
    // What did not rest was over at once, so that its row still says how.
    let (status, remaining) =
        if answer.rested.0 > 0 { (OrderStatus::Open, answer.rested) } else { (row.status, row.order.remaining) };
    json.insert("status".into(), status_name(status, answer.filled).into());
    json.insert("reason".into(), reason_name(status).into());
    json.insert("filled".into(), answer.filled.0.into());
    json.insert("remaining".into(), remaining.0.into());
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
    let (time_in_force, expires_at) = match order.time_in_force {
        TimeInForce::Gtc => ("gtc", None),
        TimeInForce::Ioc => ("ioc", None),
        TimeInForce::Fok => ("fok", None),
        TimeInForce::Gtd(until) => ("gtd", Some(micros(until))),
    };
    json.insert("time_in_force".into(), time_in_force.into());
    json.insert("expires_at_us".into(), expires_at.into());
    json.insert("post_only".into(), order.post_only.into());
    json.insert("cancel_on_disconnect".into(), order.cancel_on_disconnect.into());
    json.insert("self_trade".into(), self_trade_name(order.self_trade).into());
    json.insert("status".into(), status_name(row.status, row.filled).into());
    json.insert("reason".into(), reason_name(row.status).into());
    match order.terms {
        Terms::Ask { attributes } => {
            json.insert("latency_ms".into(), attributes.latency_ms.into());
            json.insert("throughput_tps".into(), attributes.throughput_tps.into());
            json.insert("gpu".into(), attributes.gpu.name().into());
            json.insert("region".into(), attributes.region.name().into());
            json.insert("precision".into(), attributes.precision.name().into());
        }
        Terms::Bid { constraints, preference, single } => {
            json.insert("max_latency_ms".into(), constraints.max_latency_ms.into());
            json.insert("min_throughput_tps".into(), constraints.min_throughput_tps.into());
            json.insert("preference".into(), preference_json(preference));
            json.insert("single".into(), single.into());
        }
    }
    json.insert("created_at_us".into(), micros(row.created_at).into());
    json.insert("updated_at_us".into(), micros(row.updated_at).into());
    json
}

fn self_trade_name(mode: SelfTrade) -> &'static str {
    match mode {
        SelfTrade::CancelNewest => "cancel_newest",
        SelfTrade::CancelOldest => "cancel_oldest",
        SelfTrade::CancelBoth => "cancel_both",
        SelfTrade::Decrement => "decrement",
        SelfTrade::Allow => "allow",
    }
}

fn status_name(status: OrderStatus, filled: Quantity) -> &'static str {
    match status {
        OrderStatus::Open if filled.0 > 0 => "partially_filled",
        OrderStatus::Open => "open",
        OrderStatus::Closed(CloseReason::Filled) => "filled",
        OrderStatus::Closed(CloseReason::Expired) => "expired",
        OrderStatus::Closed(
            CloseReason::Cancelled
            | CloseReason::Unfilled(_)
            | CloseReason::SelfTrade
            | CloseReason::DeadMan
            | CloseReason::Disconnected
            | CloseReason::Disputed,
        ) => "canceled",
    }
}

fn reason_name(status: OrderStatus) -> Option<&'static str> {
    match status {
        OrderStatus::Open | OrderStatus::Closed(CloseReason::Filled) => None,
        OrderStatus::Closed(CloseReason::Cancelled) => Some("canceled_by_owner"),
        OrderStatus::Closed(CloseReason::Unfilled(miss)) => Some(miss_code(miss)),
        OrderStatus::Closed(CloseReason::Expired) => Some("expired"),
        OrderStatus::Closed(CloseReason::SelfTrade) => Some("self_trade"),
        OrderStatus::Closed(CloseReason::DeadMan) => Some("dead_man_timer"),
        OrderStatus::Closed(CloseReason::Disconnected) => Some("disconnected"),
        OrderStatus::Closed(CloseReason::Disputed) => Some("purchase_disputed"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_engine::{ContractId, InstrumentId, Miss, Price};

    fn order(id: u64) -> Order {
        Order {
            id: OrderId(id),
            account: AccountId(1),
            key: KeyId(0),
            instrument: InstrumentId(1),
            client_id: None,
            price: Price(100),
            quantity: Quantity(10),
            remaining: Quantity(10),
            time_in_force: TimeInForce::Ioc,
            post_only: false,
            cancel_on_disconnect: false,
            self_trade: SelfTrade::Decrement,
            terms: Terms::Ask { attributes: Attributes::default() },
        }
    }

    fn trade(contract: u64, bid: u64, ask: u64) -> Event {
        Event::Traded(Trade {
            contract: ContractId(contract),
            instrument: InstrumentId(1),
            bid: OrderId(bid),
            ask: OrderId(ask),
            buyer: AccountId(2),
            provider: AccountId(1),
            taker: Side::Ask,
            price: Price(90),
            quantity: Quantity(4),
            expires_at: Timestamp(0),
        })
    }

    fn closed(id: u64, reason: CloseReason) -> Event {
        Event::OrderClosed { order: OrderId(id), remaining: Quantity(0), reason }
    }

    #[test]
    fn an_answer_is_made_of_the_order_s_own_events() {
        // A deadline of an older order of the same account comes first, a resting order closes in between.
        let shrunk = |id, quantity, remaining| Event::OrderReplaced {
            order: OrderId(id),
            price: Price(100),
            quantity: Quantity(quantity),
            remaining: Quantity(remaining),
        };
        let events = vec![
            closed(5, CloseReason::Expired),
            trade(1, 3, 4),
            Event::OrderAccepted(order(7)),
            trade(2, 6, 7),
            closed(6, CloseReason::Filled),
            shrunk(8, 3, 3),
            shrunk(7, 8, 4),
            closed(7, CloseReason::Unfilled(Miss::Capacity)),
        ];
        let (row, fills) = outcome(&Ack::alone(9, Timestamp(1), &events)).unwrap();
        assert_eq!(fills.iter().map(|fill| fill.contract.0).collect::<Vec<_>>(), [2]);
        assert_eq!((row.filled, row.value.0), (Quantity(4), 360));
        assert_eq!((row.order.quantity, row.order.remaining), (Quantity(8), Quantity(4)));
        assert_eq!(row.status, OrderStatus::Closed(CloseReason::Unfilled(Miss::Capacity)));
    }

    #[test]
    fn a_preference_is_a_word_or_three_weights() {
        let weights = json!({ "price": 1, "latency": 2, "throughput": 3 });
        for good in [json!("price"), json!("latency"), json!("throughput"), weights] {
            assert_eq!(preference_json(parse_preference(&good).unwrap()), good);
        }
        let bad = [
            json!("speed"),
            json!(1),
            json!({ "price": 1, "latency": 2 }),
            json!({ "price": 1, "latency": 2, "throughput": 3, "colour": 4 }),
            json!({ "price": 0, "latency": 2, "throughput": 3 }),
            json!({ "price": 1, "latency": 2, "throughput": 65_536 }),
        ];
        for bad in bad {
            assert_eq!(parse_preference(&bad).expect_err("bad").param.as_deref(), Some("preference"), "{bad}");
        }
    }
}
