//! Public market data: instruments, depth, and the state of all books.

use crate::api::{Segment, parse};
use crate::app::App;
use crate::catalog::Catalog;
use crate::error::ApiError;
use crate::inference::CONTRACT_TTL_MIN;
use crate::money::{credits_per_unit, parse_credits_per_unit};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use gollem_engine::limits;
use gollem_engine::{Command, Event, InstrumentSpec, InstrumentState, Price, Quantity, Side, Symbol, TokenWeights};
use gollem_projections::{InstrumentRow, LevelRow, Views};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Levels a side in a book's answer.
const LEVELS_SHOWN_MAX: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListInstrument {
    symbol: String,
    reference_price: String,
    tick: Option<String>,
    price_max: Option<String>,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
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
            return Ok((StatusCode::CREATED, Json(instrument_json(&row))));
        }
    }
    Err(ApiError::internal(&"a listed instrument has no number"))
}

/// `GET /v1/instruments`.
pub(crate) async fn instruments(State(app): State<Arc<App>>) -> Json<Value> {
    let rows: Vec<Value> = app.catalog.all().iter().map(|row| instrument_json(row)).collect();
    Json(json!({ "instruments": rows }))
}

fn instrument_json(row: &InstrumentRow) -> Value {
    let spec = &row.spec;
    json!({
        "symbol": spec.symbol.as_str(),
        "unit": "normalised token",
        "weights": {
            "input": spec.weights.input, "cached_input": spec.weights.cached_input, "output": spec.weights.output,
        },
        "tick": credits_per_unit(spec.tick),
        "price_max": credits_per_unit(spec.price_max),
        "reference_price": credits_per_unit(spec.reference_price),
        "price_band_bps": spec.band_bps,
        "lot": spec.lot.0,
        "quantity_min": spec.quantity_min.0,
        "quantity_max": spec.quantity_max.0,
        "maker_fee_bps": spec.maker_fee_bps,
        "taker_fee_bps": spec.taker_fee_bps,
        "delivery_fee_bps": spec.delivery_fee_bps,
        "tolerance_bps": spec.tolerance_bps,
        "rebate_bps": spec.rebate_bps,
        "contract_ttl_s": spec.contract_ttl_ns / 1_000_000_000,
    })
}

/// The listed instrument of that name, or 404 naming `param`.
pub(crate) fn instrument(catalog: &Catalog, param: &str, symbol: &str) -> Result<Arc<InstrumentRow>, ApiError> {
    catalog.by_symbol(symbol).ok_or_else(|| ApiError::unknown_instrument(param, symbol))
}

/// `GET /v1/book/{instrument}`: depth, best price first.
pub(crate) async fn book(State(app): State<Arc<App>>, Segment(symbol): Segment) -> Result<Json<Value>, ApiError> {
    let instrument = instrument(&app.catalog, "instrument", &symbol)?;
    let views = app.fresh_view().await?;
    let seq = app.view.watermark();
    let side = |side| -> Result<Vec<Value>, ApiError> {
        let levels = views.levels(instrument.id, side, LEVELS_SHOWN_MAX)?;
        Ok(levels.iter().map(level_json).collect())
    };
    Ok(Json(json!({ "instrument": symbol, "seq": seq, "bids": side(Side::Bid)?, "asks": side(Side::Ask)? })))
}

fn level_json(level: &LevelRow) -> Value {
    json!({ "price": credits_per_unit(level.price), "quantity": level.quantity.0, "orders": level.orders })
}

/// `GET /api/orderbook/status`: best prices and depth of every book.
pub(crate) async fn status(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let views = app.fresh_view().await?;
    let seq = app.view.watermark();
    let books: Result<Vec<Value>, ApiError> =
        app.catalog.all().iter().map(|instrument| book_status(views, instrument)).collect();
    Ok(Json(json!({ "status": "open", "seq": seq, "instruments": books? })))
}

fn book_status(views: &Views, instrument: &InstrumentRow) -> Result<Value, ApiError> {
    let totals = |side| -> Result<(Value, u64, u32), ApiError> {
        let levels = views.levels(instrument.id, side, LEVELS_SHOWN_MAX)?;
        let best = levels.first().map_or(Value::Null, |level| credits_per_unit(level.price).into());
        let quantity = levels.iter().map(|level| level.quantity.0).sum();
        Ok((best, quantity, levels.iter().map(|level| level.orders).sum()))
    };
    let ((best_bid, bid_quantity, bids), (best_ask, ask_quantity, asks)) = (totals(Side::Bid)?, totals(Side::Ask)?);
    Ok(json!({
        "instrument": instrument.spec.symbol.as_str(),
        "best_bid": best_bid, "bid_quantity": bid_quantity, "bids": bids,
        "best_ask": best_ask, "ask_quantity": ask_quantity, "asks": asks,
    }))
}
