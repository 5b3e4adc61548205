//! Orders as callers write them, and what the engine makes of that.

use crate::api::client_order_id;
use crate::api::market::instrument;
use crate::app::App;
use crate::auth::{Account, forbidden};
use crate::error::ApiError;
use crate::keys::Scopes;
use crate::money::parse_credits_per_unit;
use gollem_engine::{
    Attributes, ClientOrderId, Constraints, GpuClass, NewOrder, OrderId, Precision, Preference, Quantity, Region,
    Replacement, SelfTrade, Side, Terms, TimeInForce, Timestamp,
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, Schema, Type};

/// The largest latency or throughput an order may name.
const ATTRIBUTE_MAX: u32 = 1_000_000;

/// An order to be placed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "instrument": "llama-3.1-8b", "side": "bid", "price": "0.00135", "quantity": 1000, "client_order_id": "my-1",
}))]
pub(crate) struct PlaceOrder {
    /// Symbol of a listed instrument.
    instrument: String,
    side: WireSide,
    #[serde(rename = "type", default)]
    kind: WireKind,
    /// Credits a unit, a multiple of the tick; the worst price of a limit order. A market order has none.
    price: Option<String>,
    /// Units, a multiple of the lot.
    quantity: u64,
    /// If fewer units than this match at once, none do.
    min_quantity: Option<u64>,
    /// `gtc` unless given; `ioc` for a market order.
    time_in_force: Option<WireTimeInForce>,
    /// With `gtd`: microseconds since the Unix epoch.
    expires_at_us: Option<u64>,
    /// Refused if it would trade at once.
    #[serde(default)]
    post_only: bool,
    /// Cancelled when the connection it came by is lost.
    #[serde(default)]
    cancel_on_disconnect: bool,
    #[serde(default)]
    self_trade: WireSelfTrade,
    /// Your own id, 1 to 64 bytes: an order with an id that was used before is not placed again but answered as the first.
    client_order_id: Option<String>,
    /// Of a bid: most milliseconds to the first token.
    #[schema(maximum = 1_000_000)]
    max_latency_ms: Option<u32>,
    /// Of a bid: fewest tokens a second.
    #[schema(maximum = 1_000_000)]
    min_throughput_tps: Option<u32>,
    /// Of a bid: GPU classes it accepts; any unless given.
    #[schema(example = json!(["h100", "h200"]))]
    gpus: Option<Vec<String>>,
    /// Of a bid: regions it accepts; any unless given.
    #[schema(example = json!(["eu"]))]
    regions: Option<Vec<String>>,
    /// Of a bid: precisions it accepts; any unless given.
    #[schema(example = json!(["fp8"]))]
    precisions: Option<Vec<String>>,
    /// Of a bid: which of the asks that it may take it takes first; the cheapest unless given.
    #[schema(schema_with = preference_schema)]
    preference: Option<Value>,
    /// Of a bid: all of it from one ask.
    single: Option<bool>,
    /// Of an ask, required: milliseconds to the first token that it promises.
    #[schema(maximum = 1_000_000)]
    latency_ms: Option<u32>,
    /// Of an ask, required: tokens a second that it promises.
    #[schema(maximum = 1_000_000)]
    throughput_tps: Option<u32>,
    /// Of an ask: the GPU class it runs on.
    gpu: Option<String>,
    /// Of an ask: the region it runs in.
    region: Option<String>,
    /// Of an ask: the precision of the served weights.
    precision: Option<String>,
}

/// A change of an open order: a new price, a new quantity, or both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "price": "0.0014" }))]
pub(crate) struct ReplaceOrder {
    /// The new limit in credits a unit.
    price: Option<String>,
    /// The new quantity in all, filled units included; at most what is filled closes the order.
    quantity: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Side)]
pub(crate) enum WireSide {
    #[serde(alias = "buy")]
    Bid,
    #[serde(alias = "sell")]
    Ask,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = OrderType)]
enum WireKind {
    #[default]
    Limit,
    Market,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = TimeInForce)]
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

#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SelfTrade)]
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

impl From<WireSide> for Side {
    fn from(wire: WireSide) -> Side {
        match wire {
            WireSide::Bid => Side::Bid,
            WireSide::Ask => Side::Ask,
        }
    }
}

impl ReplaceOrder {
    pub(super) fn new(price: Option<String>, quantity: Option<u64>) -> ReplaceOrder {
        ReplaceOrder { price, quantity }
    }

    pub(super) fn to_replacement(&self, account: Account, order: OrderId) -> Result<Replacement, ApiError> {
        let limit = self.price.as_deref().map(|price| parse_credits_per_unit("price", price)).transpose()?;
        Ok(Replacement { account: account.id, order, limit, quantity: self.quantity.map(Quantity) })
    }
}

impl PlaceOrder {
    /// The client order id as it was given.
    pub(crate) fn client_order_id(&self) -> Option<&str> {
        self.client_order_id.as_deref()
    }

    /// The order, with `fallback` for its client id if it names none.
    ///
    /// # Errors
    /// When the key may not place it, or a field has a value that it may not have.
    pub(crate) fn to_order(
        &self,
        app: &App,
        account: Account,
        fallback: Option<ClientOrderId>,
    ) -> Result<NewOrder, ApiError> {
        let needed = match self.side {
            WireSide::Bid => Scopes::TRADE,
            WireSide::Ask => Scopes::PROVIDE,
        };
        if !account.scopes.intersects(needed) {
            return Err(forbidden(needed));
        }
        let instrument = instrument(&app.catalog, "instrument", &self.instrument)?;
        let limit = match (self.kind, self.price.as_deref()) {
            (WireKind::Limit, Some(price)) => Some(parse_credits_per_unit("price", price)?),
            (WireKind::Limit, None) => return Err(ApiError::invalid("price", "a limit order needs a price")),
            (WireKind::Market, None) => None,
            (WireKind::Market, Some(_)) => return Err(ApiError::invalid("price", "a market order takes no price")),
        };
        let client_id = self.client_order_id.as_deref().map(|text| client_order_id("client_order_id", text));
        Ok(NewOrder {
            account: account.id,
            key: account.key,
            instrument: instrument.id,
            client_id: client_id.transpose()?.or(fallback),
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
        let demands = Demands {
            max_latency_ms: self.max_latency_ms,
            min_throughput_tps: self.min_throughput_tps,
            gpus: self.gpus.as_deref(),
            regions: self.regions.as_deref(),
            precisions: self.precisions.as_deref(),
            preference: self.preference.as_ref(),
        };
        demands.to_terms(self.single.unwrap_or(false))
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

/// What a bid, or a quote for one, demands, as it was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demands<'a> {
    pub(crate) max_latency_ms: Option<u32>,
    pub(crate) min_throughput_tps: Option<u32>,
    pub(crate) gpus: Option<&'a [String]>,
    pub(crate) regions: Option<&'a [String]>,
    pub(crate) precisions: Option<&'a [String]>,
    pub(crate) preference: Option<&'a Value>,
}

impl Demands<'_> {
    pub(crate) fn to_terms(self, single: bool) -> Result<Terms, ApiError> {
        let set = |field, names: Option<&[String]>, bit: fn(&str) -> Option<u16>, known: &[&str]| {
            let names = names.unwrap_or_default();
            names.iter().try_fold(0, |set, name| bit(name).map(|bit| set | bit).ok_or_else(|| unknown(field, known)))
        };
        let gpu_bit = |name: &str| GpuClass::from_name(name).map(GpuClass::bit);
        let region_bit = |name: &str| Region::from_name(name).map(Region::bit);
        let precision_bit = |name: &str| Precision::from_name(name).map(Precision::bit);
        let constraints = Constraints {
            max_latency_ms: bounded("max_latency_ms", self.max_latency_ms)?,
            min_throughput_tps: bounded("min_throughput_tps", self.min_throughput_tps)?,
            gpus: set("gpus", self.gpus, gpu_bit, &GpuClass::NAMES)?,
            regions: set("regions", self.regions, region_bit, &Region::NAMES)?,
            precisions: set("precisions", self.precisions, precision_bit, &Precision::NAMES)?,
        };
        let preference = self.preference.map_or(Ok(Preference::Price), parse_preference)?;
        Ok(Terms::Bid { constraints, preference, single })
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
pub(crate) fn preference_schema() -> Schema {
    let word = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["price", "latency", "throughput"]));
    let mut weights = ObjectBuilder::new().schema_type(Type::Object);
    for name in ["price", "latency", "throughput"] {
        let weight = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(65_535));
        weights = weights.property(name, weight).required(name);
    }
    let weights = weights.additional_properties(Some(AdditionalProperties::FreeForm(false)));
    let either = OneOfBuilder::new().item(word).item(weights);
    let null = ObjectBuilder::new().schema_type(Type::Null);
    either.item(null).build().into()
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

fn unknown(field: &'static str, known: &[&str]) -> ApiError {
    ApiError::invalid(field, format!("{field} must be of: {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_preference_is_a_word_or_three_weights() {
        use gollem_projections::words::preference_json;
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
