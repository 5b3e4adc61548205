//! Providers: where their model servers answer, and the short way to quote.

use crate::api::market::instrument;
use crate::api::orders::gpu_class;
use crate::api::parse;
use crate::app::App;
use crate::auth::Account;
use crate::endpoint;
use crate::error::ApiError;
use crate::money::parse_dollars_per_unit;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use gollem_engine::{
    AccountId, Attributes, Command, Event, InstrumentId, NewOrder, OrderId, Price, Quantity, SelfTrade, Side, Terms,
    TimeInForce,
};
use gollem_projections::words::credits_per_unit;
use gollem_projections::{OrderRow, Page};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

/// Open orders looked at for the quote to replace.
const OPEN_ORDERS_SEEN: usize = 1_000;

/// Where a provider's model server answers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Endpoint, example = json!({ "endpoint": "http://models.example.com/v1" }))]
pub(crate) struct Register {
    /// Base URL up to and with `/v1`.
    endpoint: String,
}

/// `PUT /v1/provider`: the base URL (up to and with `/v1`) at which the caller's model server answers.
pub(crate) async fn register(
    State(app): State<Arc<App>>,
    account: Account,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let request: Register = parse(&body)?;
    let endpoint =
        endpoint::check(&request.endpoint, app.dev).map_err(|message| ApiError::invalid("endpoint", message))?;
    app.identity.set_endpoint(account.id, &endpoint).await?;
    Ok(Json(json!({ "endpoint": endpoint })))
}

/// A provider's quote for a model.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "model": "llama-3.1-8b", "price": "0.0000014", "latency": 400, "throughput": 60, "capacity": 1_000_000,
}))]
pub(crate) struct ProviderStatus {
    /// Symbol of a listed instrument.
    model: String,
    #[serde(default = "online")]
    status: WireStatus,
    /// US dollars a normalised token, a number or a string.
    #[schema(schema_with = decimal_schema)]
    price: Option<Value>,
    /// The same, which takes precedence.
    #[schema(schema_with = decimal_schema)]
    credit_rate: Option<Value>,
    /// Milliseconds to the first token.
    latency: Option<u32>,
    /// Tokens a second.
    throughput: Option<u32>,
    /// Units it can serve.
    capacity: Option<u64>,
    /// The GPU class it runs on.
    gpu: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ProviderState)]
enum WireStatus {
    Online,
    Offline,
}

/// A decimal as a number or as a string.
fn decimal_schema() -> Schema {
    let types = [Type::Number, Type::String, Type::Null];
    ObjectBuilder::new().schema_type(SchemaType::from_iter(types)).build().into()
}

fn online() -> WireStatus {
    WireStatus::Online
}

/// `POST /api/provider/status`: the caller's quote for a model, in place of its earlier ones; `offline` withdraws
/// them. `price` is US dollars per normalised token, as a number or a string; `credit_rate`, when given, is the same
/// to 8 decimals and takes precedence.
pub(crate) async fn status(
    State(app): State<Arc<App>>,
    account: Account,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let request: ProviderStatus = parse(&body)?;
    let instrument = instrument(&app.catalog, "model", &request.model)?;
    let earlier = open_quotes(&app, account.id, instrument.id).await?;
    if request.status == WireStatus::Offline {
        let withdrawn = withdraw(&app, account.id, &earlier).await?;
        return Ok(Json(json!({ "model": request.model, "status": "offline", "withdrawn": withdrawn })));
    }
    let (quote, price_field) = request.quote(account, instrument.id, instrument.spec.tick)?;
    // The new quote first: a refusal leaves the old one standing.
    let placed = app.execute(Command::PlaceOrder(quote)).await;
    let ack = placed.map_err(|error| error.renamed("quantity", "capacity").renamed("price", price_field))?;
    let withdrawn = withdraw(&app, account.id, &earlier).await?;
    let order = ack.events().iter().find_map(|event| match event {
        Event::OrderAccepted(order) => Some(*order),
        _ => None,
    });
    let order = order.ok_or_else(|| ApiError::internal(&"an accepted quote has no event"))?;
    Ok(Json(json!({
        "model": request.model, "status": "online", "order": format!("ord_{}", order.id.0),
        "price": credits_per_unit(order.price), "capacity": order.quantity.0, "withdrawn": withdrawn, "seq": ack.seq,
    })))
}

impl ProviderStatus {
    /// The ask, and the field its price came from.
    fn quote(
        &self,
        account: Account,
        instrument: InstrumentId,
        tick: Price,
    ) -> Result<(NewOrder, &'static str), ApiError> {
        let (price, price_field) = self.price(tick)?;
        let required = |field: &'static str| ApiError::invalid(field, format!("a quote needs {field}"));
        let attributes = Attributes {
            latency_ms: self.latency.ok_or_else(|| required("latency"))?,
            throughput_tps: self.throughput.ok_or_else(|| required("throughput"))?,
            gpu: gpu_class("gpu", self.gpu.as_deref())?,
            ..Attributes::default()
        };
        let order = NewOrder {
            account: account.id,
            key: account.key,
            instrument,
            client_id: None,
            limit: Some(price),
            quantity: Quantity(self.capacity.ok_or_else(|| required("capacity"))?),
            min_quantity: Quantity(0),
            time_in_force: TimeInForce::Gtc,
            post_only: false,
            cancel_on_disconnect: false,
            self_trade: SelfTrade::CancelNewest,
            terms: Terms::Ask { attributes },
        };
        Ok((order, price_field))
    }

    /// The price, rounded up to the tick so that a provider never gets less than it asked for, and its field.
    fn price(&self, tick: Price) -> Result<(Price, &'static str), ApiError> {
        let (field, value) = match (&self.credit_rate, &self.price) {
            (Some(rate), _) => ("credit_rate", rate),
            (None, Some(price)) => ("price", price),
            (None, None) => return Err(ApiError::invalid("price", "a quote needs price or credit_rate")),
        };
        let text = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            _ => {
                return Err(ApiError::invalid(field, format!("{field} must be a number or a decimal string")));
            }
        };
        let exact = parse_dollars_per_unit(field, &text)?;
        let on_tick = exact.0.checked_next_multiple_of(tick.0).map(Price);
        on_tick.map(|price| (price, field)).ok_or_else(|| ApiError::invalid(field, format!("{field} is too large")))
    }
}

/// The provider's open asks for the instrument.
async fn open_quotes(app: &App, account: AccountId, instrument: InstrumentId) -> Result<Vec<OrderId>, ApiError> {
    let open = app.reader(0).await?.orders(account, true, Page::newest(OPEN_ORDERS_SEEN))?;
    let mine = |row: &&OrderRow| row.order.instrument == instrument && row.order.side() == Side::Ask;
    Ok(open.iter().filter(mine).map(|row| row.order.id).collect())
}

/// Cancels these asks; says how many they were. One that traded away meanwhile is no error.
async fn withdraw(app: &App, account: AccountId, quotes: &[OrderId]) -> Result<usize, ApiError> {
    for order in quotes {
        app.ingress.execute(Command::CancelOrder { account, order: *order }).await?;
    }
    Ok(quotes.len())
}
