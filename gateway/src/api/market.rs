//! Instruments: listing one, restricting it, and finding it by name.

use crate::api::{Segment, parse};
use crate::app::App;
use crate::catalog::Catalog;
use crate::error::ApiError;
use crate::inference::{CONTRACT_TTL_MIN, Tokenizer};
use crate::money::parse_credits_per_unit;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use gollem_engine::limits;
use gollem_engine::{Command, Event, InstrumentSpec, InstrumentState, Price, Quantity, Symbol, TokenWeights};
use gollem_projections::InstrumentRow;
use gollem_projections::words::instrument_json;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// A market to be listed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "symbol": "llama-3.1-8b", "reference_price": "0.0015" }))]
pub(crate) struct ListInstrument {
    /// Its name: 1 to 64 of a-z A-Z 0-9 . - _ / :
    symbol: String,
    /// Credits a unit: the middle of the price band, and the limit of market bids.
    reference_price: String,
    /// Prices are multiples of this; 0.0000001 credits a unit unless given.
    tick: Option<String>,
    /// The highest price; as high as steps of this size reach unless given.
    price_max: Option<String>,
    /// How far from the reference price a limit may be, in basis points of it; 0 for no band.
    price_band_bps: Option<u32>,
    weights: Option<Weights>,
    lot: Option<u64>,
    quantity_min: Option<u64>,
    quantity_max: Option<u64>,
    maker_fee_bps: Option<u16>,
    taker_fee_bps: Option<u16>,
    delivery_fee_bps: Option<u16>,
    tolerance_bps: Option<u16>,
    rebate_bps: Option<u16>,
    contract_ttl_s: Option<u64>,
}

/// How many thousandths of a unit each kind of token counts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TokenWeights)]
struct Weights {
    input: u32,
    cached_input: u32,
    output: u32,
}

/// What an instrument's listing leaves out: an input token counts 1, a cached one 0.25, an output token 4; prices move
/// in steps of $0.0001 a million tokens, up to the highest that steps of this size reach, without a band; any quantity
/// is a whole number of lots of one unit; the platform keeps 1% of a delivery and nothing of a trade; a promise may be
/// missed by 10%, beyond which nothing is due; a contract lasts 15 minutes, longer than any call.
impl ListInstrument {
    fn into_spec(self) -> Result<InstrumentSpec, ApiError> {
        let weights = self.weights.unwrap_or(Weights { input: 1_000, cached_input: 250, output: 4_000 });
        let symbol = Symbol::new(&self.symbol);
        let ttl_s = self.contract_ttl_s.unwrap_or(900);
        let ttl_s_min = CONTRACT_TTL_MIN.as_secs();
        if ttl_s < ttl_s_min {
            let message =
                format!("contract_ttl_s must be at least {ttl_s_min}: a call must settle before its contract ends");
            return Err(ApiError::invalid("contract_ttl_s", message));
        }
        let tick = parse_credits_per_unit("tick", self.tick.as_deref().unwrap_or("0.0000001"))?;
        let price_max = self.price_max.as_deref().map(|text| parse_credits_per_unit("price_max", text));
        let lot = self.lot.unwrap_or(1);
        let bad_symbol = || ApiError::invalid("symbol", "symbol must be 1 to 64 of a-z A-Z 0-9 . - _ / :");
        Ok(InstrumentSpec {
            symbol: symbol.ok_or_else(bad_symbol)?,
            weights: TokenWeights { input: weights.input, cached_input: weights.cached_input, output: weights.output },
            tick,
            price_max: price_max.transpose()?.unwrap_or(highest_price(tick)),
            reference_price: parse_credits_per_unit("reference_price", &self.reference_price)?,
            band_bps: self.price_band_bps.unwrap_or(0),
            lot: Quantity(lot),
            quantity_min: Quantity(self.quantity_min.unwrap_or(lot)),
            quantity_max: Quantity(self.quantity_max.unwrap_or(1_000_000_000)),
            maker_fee_bps: self.maker_fee_bps.unwrap_or(0),
            taker_fee_bps: self.taker_fee_bps.unwrap_or(0),
            delivery_fee_bps: self.delivery_fee_bps.unwrap_or(100),
            tolerance_bps: self.tolerance_bps.unwrap_or(1_000),
            rebate_bps: self.rebate_bps.unwrap_or(0),
            contract_ttl_ns: ttl_s.saturating_mul(1_000_000_000),
        })
    }
}

/// The highest price that steps of this size reach.
fn highest_price(tick: Price) -> Price {
    let highest = limits::PRICE_MAX.min(limits::LEVELS_MAX.saturating_mul(tick.0));
    Price(highest - highest % tick.0)
}

/// `POST /v1/instruments`: lists a model.
pub(crate) async fn list_instrument(
    State(app): State<Arc<App>>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let spec = parse::<ListInstrument>(&body)?.into_spec()?;
    let ack = app.execute(Command::ListInstrument(Box::new(spec))).await?;
    for event in ack.events() {
        if let Event::InstrumentListed { instrument, spec } = *event {
            let row = InstrumentRow { id: instrument, spec, state: InstrumentState::Open };
            app.catalog.add(row.clone());
            Tokenizer::prepare(std::iter::once(row.spec.symbol.as_str()));
            return Ok((StatusCode::CREATED, Json(instrument_json(&row))));
        }
    }
    Err(ApiError::internal(&"a listed instrument has no number"))
}

/// Whether a market takes orders.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "state": "halted" }))]
pub(crate) struct SetState {
    state: WireState,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = InstrumentState)]
enum WireState {
    /// It takes orders.
    Open,
    /// Open orders can be cancelled or made smaller.
    CancelOnly,
    /// Open orders can be cancelled only.
    Halted,
}

impl From<WireState> for InstrumentState {
    fn from(wire: WireState) -> InstrumentState {
        match wire {
            WireState::Open => InstrumentState::Open,
            WireState::CancelOnly => InstrumentState::CancelOnly,
            WireState::Halted => InstrumentState::Halted,
        }
    }
}

/// `PUT /v1/instruments/{instrument}/state`: opens, restricts or halts a market.
pub(crate) async fn set_state(
    State(app): State<Arc<App>>,
    Segment(symbol): Segment,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let row = instrument(&app.catalog, "instrument", &symbol)?;
    let state = parse::<SetState>(&body)?.state.into();
    app.execute(Command::SetInstrumentState { instrument: row.id, state }).await?;
    changed(&app, &row).await
}

/// The middle of a market's price band.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "price": "0.0014" }))]
pub(crate) struct SetReferencePrice {
    /// Credits a unit, a multiple of the tick.
    price: String,
}

/// `PUT /v1/instruments/{instrument}/reference-price`.
pub(crate) async fn set_reference_price(
    State(app): State<Arc<App>>,
    Segment(symbol): Segment,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let row = instrument(&app.catalog, "instrument", &symbol)?;
    let price = parse_credits_per_unit("price", &parse::<SetReferencePrice>(&body)?.price)?;
    app.execute(Command::SetReferencePrice { instrument: row.id, price }).await?;
    changed(&app, &row).await
}

/// An instrument that was changed, as it is now.
async fn changed(app: &App, row: &InstrumentRow) -> Result<Json<Value>, ApiError> {
    let now = app.reader(0).await?.instrument(row.id)?;
    let now = now.ok_or_else(|| ApiError::internal(&"a listed instrument is not in the view"))?;
    app.catalog.add(now.clone());
    Ok(Json(instrument_json(&now)))
}

/// The listed instrument of that name, or 404 naming `param`.
pub(crate) fn instrument(catalog: &Catalog, param: &str, symbol: &str) -> Result<Arc<InstrumentRow>, ApiError> {
    catalog.by_symbol(symbol).ok_or_else(|| ApiError::unknown_instrument(param, symbol))
}
