//! What a caller pays and waits at the most.

use crate::error::ApiError;
use crate::money::parse_dollars_per_unit;
use axum::http::HeaderMap;
use gollem_engine::limits::PRICE_MAX;
use gollem_engine::{Constraints, InstrumentSpec, Price};
use rust_decimal::Decimal;
use std::time::Duration;

/// Longest `X-Timelimit`.
const TIME_LIMIT_S_MAX: u32 = 600;

/// The most a buyer pays, and the header or field that said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PriceLimit {
    price: Price,
    pub(crate) field: &'static str,
}

impl PriceLimit {
    pub(crate) fn parse(field: &'static str, dollars_per_unit: &str) -> Result<PriceLimit, ApiError> {
        let price = parse_dollars_per_unit(field, dollars_per_unit)?;
        if price.0 > PRICE_MAX {
            return Err(ApiError::invalid(field, format!("{field} may be at most 1000 US dollars per unit")));
        }
        Ok(PriceLimit { price, field })
    }

    /// A limit in US dollars a million tokens of a kind that weighs so many thousandths of a unit, rounded down to atoms.
    pub(crate) fn per_million_tokens(field: &'static str, dollars: &str, weight: u32) -> Result<PriceLimit, ApiError> {
        // A dollar a million tokens is 100,000 atoms a token; a unit is a thousandth of `weight` of them.
        let atoms = Decimal::from_str_exact(dollars)
            .ok()
            .and_then(|dollars| dollars.checked_mul(Decimal::from(100_000_000))?.checked_div(Decimal::from(weight)));
        let atoms = atoms.and_then(|atoms| u64::try_from(atoms.trunc()).ok());
        match atoms {
            Some(atoms @ 1..=PRICE_MAX) => Ok(PriceLimit { price: Price(atoms), field }),
            _ => Err(ApiError::invalid(
                field,
                format!("{field} must be a decimal number of US dollars a million tokens, at least 0.00001"),
            )),
        }
    }

    /// The lower of two.
    pub(crate) fn lower(self, other: PriceLimit) -> PriceLimit {
        if other.price < self.price { other } else { self }
    }

    /// Atoms a unit.
    #[cfg(test)]
    pub(crate) fn price(&self) -> Price {
        self.price
    }

    /// The limit as the market takes it: in whole ticks, rounded down since the buyer never pays more, and no higher
    /// than any ask can be.
    pub(crate) fn on_tick(&self, spec: &InstrumentSpec) -> Result<Price, ApiError> {
        let (_, highest) = spec.band();
        let price = self.price.min(highest);
        let on_tick = price.0 - price.0 % spec.tick.0;
        if on_tick == 0 {
            let message = format!("{} is below this model's price step", self.field);
            return Err(ApiError::invalid(self.field, message));
        }
        Ok(Price(on_tick))
    }
}

/// The buyer's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The reference price when `None`.
    pub(crate) max_price: Option<PriceLimit>,
    pub(crate) max_latency_ms: Option<u32>,
    pub(crate) min_throughput_tps: Option<u32>,
    /// How long the call may run.
    pub(crate) time_limit: Option<Duration>,
    /// Whether another provider may finish a stream that breaks off.
    pub(crate) continue_elsewhere: bool,
}

impl Limits {
    /// `x-max-price` in US dollars per normalised token, `x-max-latency` in milliseconds to the first token,
    /// `x-min-throughput` in tokens a second, `X-Timelimit` in seconds,
    /// `X-Continue-Elsewhere` true or false.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Limits, ApiError> {
        let text = |name: &'static str| match headers.get(name) {
            None => Ok(None),
            Some(value) => {
                let text = value.to_str().map_err(|_| ApiError::invalid(name, format!("{name} must be a number")));
                text.map(|text| Some(text.trim()))
            }
        };
        let whole = |name: &'static str| -> Result<Option<u32>, ApiError> {
            let parsed = text(name)?.map(str::parse).transpose();
            parsed.map_err(|_| ApiError::invalid(name, format!("{name} must be a whole number")))
        };
        Ok(Limits {
            max_price: text("x-max-price")?.map(|text| PriceLimit::parse("x-max-price", text)).transpose()?,
            max_latency_ms: whole("x-max-latency")?,
            min_throughput_tps: whole("x-min-throughput")?,
            time_limit: text("x-timelimit")?.map(time_limit).transpose()?,
            continue_elsewhere: text("x-continue-elsewhere")?.map_or(Ok(false), truth)?,
        })
    }

    /// These, and of the others what these leave open.
    pub(crate) fn or(self, others: Limits) -> Limits {
        Limits {
            max_price: self.max_price.or(others.max_price),
            max_latency_ms: self.max_latency_ms.or(others.max_latency_ms),
            min_throughput_tps: self.min_throughput_tps.or(others.min_throughput_tps),
            time_limit: self.time_limit.or(others.time_limit),
            continue_elsewhere: self.continue_elsewhere || others.continue_elsewhere,
        }
    }

    pub(crate) fn constraints(&self) -> Constraints {
        Constraints {
            max_latency_ms: self.max_latency_ms,
            min_throughput_tps: self.min_throughput_tps,
            ..Constraints::default()
        }
    }
}

fn truth(text: &str) -> Result<bool, ApiError> {
    let name = "x-continue-elsewhere";
    text.parse().map_err(|_| ApiError::invalid(name, format!("{name} must be true or false")))
}

/// Seconds, with decimals if need be.
fn time_limit(text: &str) -> Result<Duration, ApiError> {
    let seconds = text.strip_suffix('s').unwrap_or(text);
    let millis = Decimal::from_str_exact(seconds).ok().and_then(|seconds| seconds.checked_mul(Decimal::from(1_000)));
    let millis = millis.and_then(|millis| u64::try_from(millis.trunc()).ok());
    match millis {
        Some(millis) if (1..=u64::from(TIME_LIMIT_S_MAX) * 1_000).contains(&millis) => {
            Ok(Duration::from_millis(millis))
        }
        _ => Err(ApiError::invalid(
            "x-timelimit",
            format!("x-timelimit must be a number of seconds from 0.001 to {TIME_LIMIT_S_MAX}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_engine::{Quantity, Symbol, TokenWeights};

    fn spec() -> InstrumentSpec {
        InstrumentSpec {
            symbol: Symbol::new("m").unwrap(),
            weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
            tick: Price(10),
            price_max: Price(200_000),
            reference_price: Price(100_000),
            band_bps: 0,
            lot: Quantity(1),
            quantity_min: Quantity(1),
            quantity_max: Quantity(1_000),
            maker_fee_bps: 0,
            taker_fee_bps: 0,
            delivery_fee_bps: 100,
            tolerance_bps: 1_000,
            rebate_bps: 0,
            contract_ttl_ns: 1,
        }
    }

    #[test]
    fn a_limit_is_taken_as_at_most_and_in_whole_ticks() {
        let on_tick = |dollars: &str, spec: &InstrumentSpec| PriceLimit::parse("p", dollars).unwrap().on_tick(spec);
        let spec = spec();
        assert_eq!(on_tick("0.00000135009", &spec).unwrap(), Price(135_000));
        assert_eq!(on_tick("1000", &spec).unwrap(), Price(200_000), "no ask is dearer");
        assert_eq!(on_tick("0.00000000009", &spec).expect_err("below a tick").param.as_deref(), Some("p"));
        let banded = InstrumentSpec { band_bps: 3_333, ..spec };
        assert_eq!(on_tick("1000", &banded).unwrap(), Price(133_330));
    }

    #[test]
    fn a_time_limit_is_a_number_of_seconds() {
        for (text, millis) in [("30", 30_000), ("0.25", 250), ("1.5s", 1_500), ("600", 600_000)] {
            assert_eq!(time_limit(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for text in ["0", "-1", "601", "soon", "", "1m", "1e3", "0.0001"] {
            assert_eq!(time_limit(text).expect_err(text).param.as_deref(), Some("x-timelimit"));
        }
    }
}
