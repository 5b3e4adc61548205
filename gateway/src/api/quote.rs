//! `POST /v1/quote`: what a bid could take now, without placing it; and a lock on what it would take, if it is asked for.
//!
//! Answered by the live engine, in bounded time (see [`Engine::frontier`]), and told once what it reflects is durable.

use crate::api::market::instrument;
use crate::api::orders::{self, Demands, preference_schema};
use crate::api::parse;
use crate::app::App;
use crate::auth::{Account, forbidden};
use crate::error::ApiError;
use crate::keys::Scopes;
use crate::money::parse_credits_per_unit;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use gollem_engine::{
    Amount, Candidate, Engine, Frontier, InstrumentSpec, NewOrder, Price, Quantity, RejectReason, SelfTrade,
    TimeInForce, Verdict,
};
use gollem_projections::InstrumentRow;
use gollem_projections::words::{account_name, credits, credits_per_unit, state_name};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

/// Asks of the frontier in an answer, at most: so many and so many more searches are what a quote may cost.
const ASKS_MAX: usize = 100;
/// Asks that are explained, at most: the cheapest.
const EXPLAINED_MAX: usize = 100;

/// What would be bought.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = QuoteRequest, example = json!({
    "instrument": "llama-3.1-8b", "quantity": 1000, "max_latency_ms": 500, "preference": "price", "explain": true,
}))]
pub(crate) struct QuoteRequest {
    /// Symbol of a listed instrument; or name it as `model`.
    instrument: Option<String>,
    /// The same under the name that inference has for it.
    model: Option<String>,
    /// Units; or give tokens, which are weighed as the instrument weighs them.
    quantity: Option<u64>,
    /// Prompt tokens.
    input_tokens: Option<u64>,
    /// Generated tokens.
    output_tokens: Option<u64>,
    /// Most credits a unit; the reference price unless given.
    max_price: Option<String>,
    /// Most milliseconds to the first token.
    #[schema(maximum = 1_000_000)]
    max_latency_ms: Option<u32>,
    /// Fewest tokens a second.
    #[schema(maximum = 1_000_000)]
    min_throughput_tps: Option<u32>,
    /// GPU classes; any unless given.
    gpus: Option<Vec<String>>,
    /// Regions; any unless given.
    regions: Option<Vec<String>>,
    /// Precisions; any unless given.
    precisions: Option<Vec<String>>,
    /// Which of the asks would be taken first; the cheapest unless given.
    #[schema(schema_with = preference_schema)]
    preference: Option<Value>,
    /// All of it from one ask, as a call needs it; true when tokens are given or it is locked, else false.
    single: Option<bool>,
    /// Say of the cheapest other asks why they would not be taken first.
    #[serde(default)]
    explain: bool,
    /// Set the units aside for five seconds, all of them from one ask, at its price.
    #[serde(default)]
    lock: bool,
}

/// `POST /v1/quote`.
pub(crate) async fn quote(State(app): State<Arc<App>>, account: Account, body: Bytes) -> Result<Json<Value>, ApiError> {
    let request: QuoteRequest = parse(&body)?;
    if request.lock && !account.scopes.intersects(Scopes::TRADE) {
        return Err(forbidden(Scopes::TRADE));
    }
    if request.lock && request.single == Some(false) {
        return Err(ApiError::invalid("single", "a lock takes all of its units from one ask: single cannot be false"));
    }
    let instrument = request.instrument(&app)?;
    let bid = request.bid(account, &instrument)?;
    let explain = request.explain;
    let (seq, looked) = app.inspect(move |engine| look(engine, &bid, explain)).await?;
    let looked = looked.map_err(|reason| ApiError::from(reason).renamed("price", "max_price"))?;
    let locked = if request.lock { Some(orders::lock(&app, bid).await?) } else { None };
    let spec = &instrument.spec;
    let chosen = looked.frontier.asks.first();
    let asks: Vec<Value> = looked.frontier.asks.iter().map(|ask| ask_json(ask, spec, &bid).into()).collect();
    let mut answer = json!({
        "instrument": spec.symbol.as_str(),
        "quantity": bid.quantity.0,
        "single": request.is_single(),
        "chosen": chosen.map(|ask| order_name(ask.order.0)),
        "asks": asks,
        "complete": looked.frontier.complete,
        "seq": seq,
    });
    if let Value::Object(answer) = &mut answer {
        if explain {
            answer.insert("explained".into(), looked.others.iter().map(explained_json).collect());
        }
        answer.extend(locked.map(|locked| ("lock".to_owned(), locked)));
    }
    Ok(Json(answer))
}

/// What the engine said.
struct Looked {
    frontier: Frontier,
    others: Vec<(Candidate, Verdict)>,
}

fn look(engine: &Engine, bid: &NewOrder, explain: bool) -> Result<Looked, RejectReason> {
    let frontier = engine.frontier(bid, ASKS_MAX)?;
    let others = if explain { engine.explain_others(bid, &frontier, EXPLAINED_MAX)? } else { Vec::new() };
    Ok(Looked { frontier, others })
}

impl QuoteRequest {
    fn instrument(&self, app: &App) -> Result<Arc<InstrumentRow>, ApiError> {
        match (self.instrument.as_deref(), self.model.as_deref()) {
            (Some(symbol), None) => instrument(&app.catalog, "instrument", symbol),
            (None, Some(symbol)) => instrument(&app.catalog, "model", symbol),
            (Some(_), Some(_)) => {
                Err(ApiError::invalid("model", "name the market as instrument or as model, not both"))
            }
            (None, None) => Err(ApiError::invalid("instrument", "a quote needs instrument or model")),
        }
    }

    /// A call cannot be split, and who counts tokens means a call; a lock is on one ask.
    fn is_single(&self) -> bool {
        self.single.unwrap_or(self.lock || self.input_tokens.is_some() || self.output_tokens.is_some())
    }

    fn bid(&self, account: Account, instrument: &InstrumentRow) -> Result<NewOrder, ApiError> {
        let demands = Demands {
            max_latency_ms: self.max_latency_ms,
            min_throughput_tps: self.min_throughput_tps,
            gpus: self.gpus.as_deref(),
            regions: self.regions.as_deref(),
            precisions: self.precisions.as_deref(),
            preference: self.preference.as_ref(),
        };
        Ok(NewOrder {
            account: account.id,
            key: account.key,
            instrument: instrument.id,
            client_id: None,
            limit: self.limit(&instrument.spec)?,
            quantity: self.units(&instrument.spec)?,
            min_quantity: Quantity(0),
            time_in_force: TimeInForce::Ioc,
            post_only: false,
            cancel_on_disconnect: false,
            self_trade: SelfTrade::CancelNewest,
            terms: demands.to_terms(self.is_single())?,
        })
    }

    /// The limit, down to a tick: it never grows by rounding.
    fn limit(&self, spec: &InstrumentSpec) -> Result<Option<Price>, ApiError> {
        let Some(text) = &self.max_price else { return Ok(None) };
        let price = parse_credits_per_unit("max_price", text)?;
        let on_tick = price.0 - price.0 % spec.tick.0;
        if on_tick == 0 {
            let tick = credits_per_unit(spec.tick);
            return Err(ApiError::invalid("max_price", format!("max_price must be at least {tick} credits per unit")));
        }
        Ok(Some(Price(on_tick)))
    }

    /// Units, or tokens by their weights in whole lots.
    fn units(&self, spec: &InstrumentSpec) -> Result<Quantity, ApiError> {
        match (self.quantity, self.input_tokens, self.output_tokens) {
            (Some(units), None, None) => Ok(Quantity(units)),
            (Some(_), ..) => Err(ApiError::invalid("quantity", "give quantity or tokens, not both")),
            (None, None, None) => Err(ApiError::invalid("quantity", "a quote needs quantity, or tokens")),
            (None, input, output) => {
                let units = spec.weights.units(input.unwrap_or(0), 0, output.unwrap_or(0));
                let units = units.and_then(|units| units.max(spec.quantity_min).0.checked_next_multiple_of(spec.lot.0));
                let too_many = || ApiError::invalid("output_tokens", "these are more tokens than any order takes");
                units.map(Quantity).ok_or_else(too_many)
            }
        }
    }
}

fn order_name(id: u64) -> String {
    format!("ord_{id}")
}

/// An ask, and what the part of the bid that it can take would cost.
fn ask_json(ask: &Candidate, spec: &InstrumentSpec, bid: &NewOrder) -> Map<String, Value> {
    let units = ask.remaining.min(bid.quantity);
    let value = ask.price.notional(units).unwrap_or_default();
    let fee = value.fee(spec.taker_fee_bps);
    let mut json = offer_json(ask);
    json.insert("quantity".into(), units.0.into());
    json.insert("value".into(), credits(value).into());
    json.insert("fee".into(), credits(fee).into());
    json.insert("total".into(), credits(Amount(value.0.saturating_add(fee.0))).into());
    json
}

fn offer_json(ask: &Candidate) -> Map<String, Value> {
    let mut json = Map::new();
    json.insert("order".into(), order_name(ask.order.0).into());
    json.insert("provider".into(), account_name(ask.provider).into());
    json.insert("price".into(), credits_per_unit(ask.price).into());
    json.insert("latency_ms".into(), ask.latency_ms.into());
    json.insert("throughput_tps".into(), ask.throughput_tps.into());
    json.insert("gpu".into(), ask.gpu.name().into());
    json.insert("region".into(), ask.region.name().into());
    json.insert("precision".into(), ask.precision.name().into());
    json.insert("remaining".into(), ask.remaining.0.into());
    json
}

fn explained_json((ask, verdict): &(Candidate, Verdict)) -> Value {
    let mut json = offer_json(ask);
    let (code, reason) = verdict_words(*verdict);
    json.insert("verdict".into(), code.into());
    json.insert("reason".into(), reason.into());
    json.into()
}

/// A stable name of the first rule that excluded an ask, and words for people.
fn verdict_words(verdict: Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::UnknownAsk => ("unknown_ask", "no open ask has this number".into()),
        Verdict::OtherInstrument => ("other_instrument", "it is quoted on another market".into()),
        Verdict::InstrumentNotOpen { state } => ("instrument_not_open", format!("the market is {}", state_name(state))),
        Verdict::ProviderSuspended => ("provider_suspended", "its provider's circuit breaker is not closed".into()),
        Verdict::Price { limit } => ("price", format!("it costs more than {}", credits_per_unit(limit))),
        Verdict::Latency { effective, max } => ("latency", format!("it takes {effective} ms, more than {max}")),
        Verdict::Throughput { effective, min } => {
            ("throughput", format!("it gives {effective} tokens a second, fewer than {min}"))
        }
        Verdict::Gpu => ("gpu", "its GPU class is not accepted".into()),
        Verdict::Region => ("region", "its region is not accepted".into()),
        Verdict::Precision => ("precision", "its precision is not accepted".into()),
        Verdict::Capacity { remaining, wanted } => {
            ("capacity", format!("it has {} units left of the {} wanted from one ask", remaining.0, wanted.0))
        }
        Verdict::SelfTrade => ("self_trade", "it is your own".into()),
        Verdict::Dominated { by } => ("dominated", format!("{} is better or equal in all", order_name(by.0))),
        Verdict::NotPreferred { chosen } => ("not_preferred", format!("{} is preferred", order_name(chosen.0))),
        Verdict::Chosen => ("chosen", "it would be taken first".into()),
    }
}
