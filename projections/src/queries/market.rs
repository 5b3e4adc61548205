//! Public market data.

use super::{Asked, LIMIT_DEFAULT, LIMIT_MAX, QueryError, happened, invalid, next};
use crate::reader::{INDEX_MINUTES, IndexPrice, Reader};
use crate::rows::{CANDLE_SECONDS, CandleRow, InstrumentRow, LevelRow, OrderRow, TradeRow};
use crate::words::{
    atoms_in_credits, atoms_in_dollars, credits_per_unit, instrument_json, micros, position, side_name, utc,
};
use gollem_engine::{Side, Terms, Timestamp};
use serde_json::{Value, json};

/// Levels, or orders, a side in a book's answer.
const SHOWN_MAX: usize = 1_000;

/// Names of the lengths of candles, in the order of [`CANDLE_SECONDS`].
pub const INTERVALS: [&str; CANDLE_SECONDS.len()] = ["1s", "1m", "5m", "15m", "1h", "4h", "1d"];

/// `/v1/instruments/{instrument}`: its contract specification.
pub(super) fn instrument(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    Ok(instrument_json(&named(reader, asked, "instrument")?))
}

/// `/v1/instruments`.
pub(super) fn instruments(reader: &Reader<'_>, _: &Asked) -> Result<Value, QueryError> {
    let rows: Vec<Value> = reader.instruments()?.iter().map(instrument_json).collect();
    Ok(json!({ "instruments": rows }))
}

/// The instrument in the path, which calls it `param`.
pub(super) fn named(reader: &Reader<'_>, asked: &Asked, param: &'static str) -> Result<InstrumentRow, QueryError> {
    let name = asked.segment();
    reader.instrument_named(name)?.ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        let message = format!("{param} `{shown}` is not listed; GET /v1/instruments lists what is");
        QueryError::NotFound { param, code: "model_not_found", message }
    })
}

/// `/v1/book/{instrument}`: depth, best price first. Level 1 is the best price a side, 2 the levels, 3 the orders in
/// price-time order, without their owners.
pub(super) fn book(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let instrument = named(reader, asked, "instrument")?;
    let limit = asked.limit(SHOWN_MAX, SHOWN_MAX)?;
    let levels = |side, limit| -> Result<Vec<Value>, QueryError> {
        Ok(reader.levels(instrument.id, side, limit)?.iter().map(level_json).collect())
    };
    let orders = |side| -> Result<Vec<Value>, QueryError> {
        Ok(reader.queue(instrument.id, side, limit)?.iter().map(queued_json).collect())
    };
    let side = |side| match asked.text("level") {
        Some("1") => levels(side, 1),
        None | Some("2") => levels(side, limit),
        Some("3") => orders(side),
        Some(_) => Err(invalid("level", "level must be 1, 2 or 3")),
    };
    Ok(json!({ "instrument": instrument.spec.symbol.as_str(), "bids": side(Side::Bid)?, "asks": side(Side::Ask)? }))
}

fn level_json(level: &LevelRow) -> Value {
    json!({ "price": credits_per_unit(level.price), "quantity": level.quantity.0, "orders": level.orders })
}

fn queued_json(row: &OrderRow) -> Value {
    let mut json = json!({
        "order": format!("ord_{}", row.order.id.0),
        "price": credits_per_unit(row.order.price),
        "quantity": row.order.remaining.0,
    });
    if let (Value::Object(json), Terms::Ask { attributes }) = (&mut json, row.order.terms) {
        json.insert("latency_ms".into(), attributes.latency_ms.into());
        json.insert("throughput_tps".into(), attributes.throughput_tps.into());
    }
    json
}

/// `/v1/trades/{instrument}`: the tape.
pub(super) fn trades(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let instrument = named(reader, asked, "instrument")?;
    let page = asked.page(happened)?;
    let rows = reader.trades(instrument.id, page)?;
    let id = |row: &TradeRow| position((row.seq, row.index));
    let next = next(&rows, page.limit, id);
    let trade = |row: &TradeRow| {
        json!({
            "id": id(row), "at": utc(row.at), "at_us": micros(row.at), "price": credits_per_unit(row.price),
            "quantity": row.quantity.0, "taker": side_name(row.taker),
        })
    };
    let rows: Vec<Value> = rows.iter().map(trade).collect();
    Ok(json!({ "instrument": instrument.spec.symbol.as_str(), "trades": rows, "next_before": next }))
}

/// `/v1/candles/{instrument}`: the newest candles that start at or after `from` and before `to` (microseconds), oldest
/// first. Intervals without trades have none. A full page is followed by the one whose `to` is its `next_to`.
pub(super) fn candles(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let instrument = named(reader, asked, "instrument")?;
    let interval = asked.text("interval").unwrap_or("1m");
    let at = INTERVALS.iter().position(|name| *name == interval);
    let at = at.ok_or_else(|| invalid("interval", format!("interval must be one of {}", INTERVALS.join(", "))))?;
    let seconds = |us: u64| us.div_ceil(1_000_000);
    let (from, to) = (asked.number("from")?.unwrap_or(0), asked.number("to")?.unwrap_or(u64::MAX));
    let limit = asked.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
    let rows = reader.candles(instrument.id, CANDLE_SECONDS[at], (seconds(from), seconds(to)), limit)?;
    let next = rows.first().filter(|_| rows.len() >= limit).map(|row| row.start_s * 1_000_000);
    let rows: Vec<Value> = rows.iter().map(candle_json).collect();
    let symbol = instrument.spec.symbol.as_str();
    Ok(json!({ "instrument": symbol, "interval": interval, "candles": rows, "next_to": next }))
}

/// A candle.
pub fn candle_json(row: &CandleRow) -> Value {
    let start = Timestamp(row.start_s.saturating_mul(1_000_000_000));
    json!({
        "start": utc(start), "start_us": micros(start),
        "open": credits_per_unit(row.open), "high": credits_per_unit(row.high),
        "low": credits_per_unit(row.low), "close": credits_per_unit(row.close),
        "units": whole(row.units), "credits": atoms_in_credits(row.value), "trades": row.trades,
    })
}

/// A sum of units: a number as long as it fits one.
pub(super) fn whole(units: u128) -> Value {
    u64::try_from(units).map_or_else(|_| units.to_string().into(), Into::into)
}

/// `/v1/index`: the index price of every model.
pub(super) fn indices(reader: &Reader<'_>, _: &Asked) -> Result<Value, QueryError> {
    let rows = reader.instruments()?;
    let rows: Result<Vec<Value>, QueryError> = rows.iter().map(|row| index_json(reader, row)).collect();
    Ok(json!({ "index": rows? }))
}

/// `/v1/index/{model}`.
pub(super) fn index(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    index_json(reader, &named(reader, asked, "model")?)
}

/// What a million tokens cost: normalised ones as traded, the other kinds by their weights.
fn index_json(reader: &Reader<'_>, row: &InstrumentRow) -> Result<Value, QueryError> {
    let index = reader.index_price(row.id)?;
    let weights = &row.spec.weights;
    let of = |weight: u32| index.map(|index| atoms_in_dollars(index.million * i128::from(weight) / 1_000));
    let method = match index {
        Some(IndexPrice { trades: 1.., .. }) => Some("volume_weighted"),
        Some(_) => Some("last_trade"),
        None => None,
    };
    Ok(json!({
        "model": row.spec.symbol.as_str(),
        "credits_per_million": index.map(|index| atoms_in_credits(index.million)),
        "usd_per_million": of(1_000),
        "usd_per_million_input": of(weights.input),
        "usd_per_million_cached_input": of(weights.cached_input),
        "usd_per_million_output": of(weights.output),
        "method": method,
        "window_minutes": INDEX_MINUTES,
        "trades": index.map_or(0, |index| index.trades),
        "units": whole(index.map_or(0, |index| index.units)),
    }))
}

/// `/api/orderbook/status`: best prices and depth of every book.
pub(super) fn status(reader: &Reader<'_>, _: &Asked) -> Result<Value, QueryError> {
    let books: Result<Vec<Value>, QueryError> =
        reader.instruments()?.iter().map(|instrument| book_status(reader, instrument)).collect();
    Ok(json!({ "status": "open", "instruments": books? }))
}

fn book_status(reader: &Reader<'_>, instrument: &InstrumentRow) -> Result<Value, QueryError> {
    let totals = |side| -> Result<(Value, u64, u32), QueryError> {
        let levels = reader.levels(instrument.id, side, SHOWN_MAX)?;
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
