//! Models as those know them who call them: what they cost now, what was delivered of them, and which fits a use.
//!
//! Of a model's asks the cheapest [`ASKS_MAX`] are looked at.

use super::market::{named, whole};
use super::{Asked, QueryError, invalid};
use crate::fold::effective;
use crate::reader::Reader;
use crate::rows::{InstrumentRow, ModelDayRow, OrderRow};
use crate::store::StoreError;
use crate::words::{
    DOLLAR_DECIMALS, account_name, atoms_in_credits, atoms_in_dollars, credits, credits_per_unit, state_name, utc,
};
use gollem_engine::{Amount, InstrumentState, Price, Quantity, Side, Terms, Timestamp};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Asks of a model that are looked at.
const ASKS_MAX: usize = 100;
/// Most days that are summed up: a month.
pub(super) const DAYS_MAX: u32 = 31;
/// Tokens of either kind that a use has unless it says otherwise.
const TOKENS_DEFAULT: u64 = 1_000;
/// What a recommendation may go by.
pub(super) const PREFERENCES: [&str; 3] = ["price", "latency", "throughput"];

/// `/v1/models`: as OpenAI's clients and Anthropic's list them, with what they cost here.
pub(super) fn models(reader: &Reader<'_>, _: &Asked) -> Result<Value, QueryError> {
    let rows = reader.instruments()?;
    let data: Result<Vec<Value>, QueryError> = rows.iter().map(|row| model_json(reader, row)).collect();
    let name = |row: Option<&InstrumentRow>| row.map(|row| row.spec.symbol.as_str().to_owned());
    Ok(json!({
        "object": "list", "data": data?, "has_more": false, "first_id": name(rows.first()), "last_id": name(rows.last()),
    }))
}

/// `/v1/models/{model}`.
pub(super) fn model(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    model_json(reader, &named(reader, asked, "model")?)
}

fn model_json(reader: &Reader<'_>, row: &InstrumentRow) -> Result<Value, QueryError> {
    let symbol = row.spec.symbol.as_str();
    let listed = reader.listed_at(symbol)?;
    let asks = reader.queue(row.id, Side::Ask, ASKS_MAX)?;
    let best = asks.first().map(|ask| ask.order.price);
    let weights = &row.spec.weights;
    let million = |weight: u32| best.map(|best| atoms_in_dollars(i128::from(best.0) * 1_000 * i128::from(weight)));
    let promised = asks.iter().filter_map(|ask| match ask.order.terms {
        Terms::Ask { attributes } => Some(attributes),
        Terms::Bid { .. } => None,
    });
    let providers: BTreeSet<u32> = asks.iter().map(|ask| ask.order.account.0).collect();
    Ok(json!({
        "id": symbol, "object": "model", "created": listed.0 / 1_000_000_000, "owned_by": "gollem",
        "type": "model", "display_name": symbol, "created_at": utc(listed), "lifecycle": "active",
        "open": row.state == InstrumentState::Open,
        "credits_per_unit": best.map(credits_per_unit),
        "usd_per_million_input": million(weights.input),
        "usd_per_million_cached_input": million(weights.cached_input),
        "usd_per_million_output": million(weights.output),
        // 0 promises nothing.
        "latency_ms": promised.clone().map(|promise| promise.latency_ms).filter(|ms| *ms > 0).min(),
        "throughput_tps": promised.map(|promise| promise.throughput_tps).filter(|tps| *tps > 0).max(),
        "providers": providers.len(),
    }))
}

/// `/v1/models/stats`: what was delivered of every model.
pub(super) fn all_stats(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let rows = reader.instruments()?;
    let rows: Result<Vec<Value>, QueryError> = rows.iter().map(|row| stats_json(reader, asked, row)).collect();
    Ok(json!({ "models": rows? }))
}

/// `/v1/models/{model}/stats`.
pub(super) fn stats(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    stats_json(reader, asked, &named(reader, asked, "model")?)
}

fn stats_json(reader: &Reader<'_>, asked: &Asked, row: &InstrumentRow) -> Result<Value, QueryError> {
    let days = asked.number("days")?.unwrap_or(1);
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(invalid("days", format!("days must be between 1 and {DAYS_MAX}")));
    }
    let today = day(reader.at());
    let mut sum = ModelDayRow::default();
    for day in reader.model_days(row.id, today.saturating_sub(days - 1), today)? {
        sum.add(&day);
    }
    let delay = |percent| sum.first_token_ms.percentile(percent);
    Ok(json!({
        "model": row.spec.symbol.as_str(), "days": days, "calls": sum.completed + sum.abandoned + sum.failed,
        "completed": sum.completed, "abandoned": sum.abandoned, "failed": sum.failed,
        "input_tokens": sum.input, "cached_input_tokens": sum.cached_input, "output_tokens": sum.output,
        "units": whole(sum.units), "credits": atoms_in_credits(sum.spent),
        "first_token_ms": {
            "calls": sum.first_token_ms.count(), "p50": delay(50), "p90": delay(90), "p99": delay(99),
        },
    }))
}

/// Whole days since the epoch.
fn day(at: Timestamp) -> u32 {
    (at.0 / 86_400_000_000_000) as u32 // 64 bits of nanoseconds are 213,504 days.
}

/// A use that a model is wanted for.
struct Use {
    input_tokens: u64,
    output_tokens: u64,
    max_price: Option<Price>,
    max_latency: Option<u32>,
    min_throughput: Option<u32>,
    preference: &'static str,
}

/// An ask that would do, and what the use would cost.
struct Offer {
    ask: OrderRow,
    latency_ms: u32,
    throughput_tps: u32,
    units: Quantity,
    cost: Amount,
}

/// `/v1/models/recommend`: the models that fit a use, each by the ask that serves it best, best first; and of the others
/// the first reason why they do not.
pub(super) fn recommend(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let wanted = Use::of(asked)?;
    let (mut offers, mut excluded) = (Vec::new(), Vec::new());
    for row in reader.instruments()? {
        match wanted.best(reader, &row)? {
            Ok(offer) => offers.push((row, offer)),
            Err((code, reason)) => {
                excluded.push(json!({ "model": row.spec.symbol.as_str(), "code": code, "reason": reason }));
            }
        }
    }
    offers.sort_by_key(|(row, offer)| (wanted.rank(offer), row.id));
    let models: Vec<Value> = offers.iter().map(|(row, offer)| offer_json(row, offer)).collect();
    Ok(json!({
        "preference": wanted.preference, "input_tokens": wanted.input_tokens, "output_tokens": wanted.output_tokens,
        "models": models, "excluded": excluded,
    }))
}

fn offer_json(row: &InstrumentRow, offer: &Offer) -> Value {
    let order = &offer.ask.order;
    json!({
        "model": row.spec.symbol.as_str(), "order": format!("ord_{}", order.id.0),
        "provider": account_name(order.account), "credits_per_unit": credits_per_unit(order.price),
        "units": offer.units.0, "cost": credits(offer.cost), "cost_usd": atoms_in_dollars(offer.cost.0.into()),
        "latency_ms": offer.latency_ms, "throughput_tps": offer.throughput_tps,
    })
}

/// What an ask must meet, and what is said of a model that has none which does.
const RULES: [(&str, &str); 4] = [
    ("price", "its asks cost more than max_price"),
    ("latency", "those in reach take longer to the first token than max_latency"),
    ("throughput", "those in reach give fewer tokens a second than min_throughput"),
    ("capacity", "those in reach have too few units left"),
];

/// Why a model does not fit: a stable name, and words for people.
type Excluded = (&'static str, String);

impl Use {
    fn of(asked: &Asked) -> Result<Use, QueryError> {
        let preference = asked.text("preference").unwrap_or(PREFERENCES[0]);
        let preference = PREFERENCES.into_iter().find(|known| *known == preference);
        let unknown = || invalid("preference", format!("preference must be one of {}", PREFERENCES.join(", ")));
        let price = |text: &str| {
            let message = "max_price must be US dollars per normalised token, above 0, with at most 11 decimals";
            atoms(text).filter(|atoms| *atoms > 0).map(Price).ok_or_else(|| invalid("max_price", message))
        };
        Ok(Use {
            input_tokens: asked.number("input_tokens")?.unwrap_or(TOKENS_DEFAULT),
            output_tokens: asked.number("output_tokens")?.unwrap_or(TOKENS_DEFAULT),
            max_price: asked.text("max_price").map(price).transpose()?,
            max_latency: asked.number("max_latency")?,
            min_throughput: asked.number("min_throughput")?,
            preference: preference.ok_or_else(unknown)?,
        })
    }

    /// The ask of a model that serves this best.
    fn best(&self, reader: &Reader<'_>, row: &InstrumentRow) -> Result<Result<Offer, Excluded>, StoreError> {
        if row.state != InstrumentState::Open {
            return Ok(Err(("instrument_not_open", format!("its market is {}", state_name(row.state)))));
        }
        let spec = &row.spec;
        let units = spec.weights.units(self.input_tokens, 0, self.output_tokens);
        let lots = units.and_then(|units| units.max(spec.quantity_min).0.checked_next_multiple_of(spec.lot.0));
        let (Some(units), Some(lots)) = (units, lots.filter(|lots| *lots <= spec.quantity_max.0)) else {
            return Ok(Err(("capacity", format!("it takes at most {} units in one call", spec.quantity_max.0))));
        };
        let mut offers = Vec::new();
        for ask in reader.queue(row.id, Side::Ask, ASKS_MAX)? {
            let measured = reader.scorecard(ask.order.account, row.id)?.unwrap_or_default();
            let measured = (measured.effective_latency_ms, measured.effective_throughput_tps);
            let (latency_ms, throughput_tps) = effective(&ask, measured);
            let value = ask.order.price.notional(units).unwrap_or_default();
            let cost = Amount(value.0.saturating_add(value.fee(spec.taker_fee_bps).0));
            offers.push(Offer { ask, latency_ms, throughput_tps, units, cost });
        }
        if offers.is_empty() {
            return Ok(Err(("no_asks", "nobody offers it now".to_owned())));
        }
        // One rule after the other: the first that leaves none is the reason.
        for (rule, reason) in RULES {
            offers.retain(|offer| self.is_met(rule, offer, lots));
            if offers.is_empty() {
                return Ok(Err((rule, reason.to_owned())));
            }
        }
        let best = offers.into_iter().min_by_key(|offer| self.rank(offer));
        Ok(best.ok_or_else(|| ("no_asks", "nobody offers it now".to_owned())))
    }

    /// Whether an ask meets one of the [`RULES`], for a use of so many units in whole lots.
    fn is_met(&self, rule: &str, offer: &Offer, lots: u64) -> bool {
        match rule {
            "price" => self.max_price.is_none_or(|max| offer.ask.order.price <= max),
            "latency" => self.max_latency.is_none_or(|max| offer.latency_ms <= max),
            "throughput" => self.min_throughput.is_none_or(|min| offer.throughput_tps >= min),
            _ => offer.ask.order.remaining.0 >= lots,
        }
    }

    /// The lower, the better: what is preferred, then the cost.
    fn rank(&self, offer: &Offer) -> (u64, Reverse<u32>, Amount) {
        match self.preference {
            "latency" => (offer.latency_ms.into(), Reverse(0), offer.cost),
            "throughput" => (0, Reverse(offer.throughput_tps), offer.cost),
            _ => (0, Reverse(0), offer.cost),
        }
    }
}

/// Atoms of a decimal of US dollars.
fn atoms(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let decimals = DOLLAR_DECIMALS as usize;
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > decimals {
        return None;
    }
    format!("{whole}{fraction:0<decimals$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_to_the_last_atom_and_nothing_else_is() {
        assert_eq!(atoms("0.00000135"), Some(135_000));
        assert_eq!(atoms("1"), Some(100_000_000_000));
        assert_eq!(atoms("0.00000000001"), Some(1));
        for wrong in ["", ".5", "-1", "1e3", "0.000000000001", "1.2.3", "99999999999999999999", "\u{0661}"] {
            assert_eq!(atoms(wrong), None, "{wrong}");
        }
    }
}
