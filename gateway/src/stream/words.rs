//! What the socket says, as text: written by hand where it is written often. Symbols need no quoting in JSON, as their
//! characters are few.

use crate::error::ApiError;
use crate::stream::book::{Book, Level, Rank};
use crate::stream::window::Changes;
use gollem_engine::{Balance, Price, Side};
use gollem_projections::queries::candle_json;
use gollem_projections::words::{credits, credits_per_unit, micros, position, side_name};
use gollem_projections::{CandleRow, TradeRow};
use serde_json::{Value, json};
use std::fmt::Write;

/// Levels a side that a book channel may show.
pub(super) const DEPTHS: [usize; 3] = [10, 100, 1_000];

/// Writes a list of what `each` writes.
fn list<T>(text: &mut String, items: impl Iterator<Item = T>, mut each: impl FnMut(&mut String, T)) {
    text.push('[');
    for (number, item) in items.enumerate() {
        if number > 0 {
            text.push(',');
        }
        each(text, item);
    }
    text.push(']');
}

// Writing to a string cannot fail, here and below.
fn level(text: &mut String, price: Price, level: Option<Level>) {
    let (quantity, orders) = level.map_or((0, 0), |level| (level.quantity, level.orders));
    write!(text, "[\"{}\",{quantity},{orders}]", credits_per_unit(price)).ok();
}

/// The best `depth` levels a side.
pub(super) fn book_snapshot(name: &str, seq: u64, book: &Book, depth: usize) -> String {
    let mut text = format!("{{\"type\":\"snapshot\",{name},\"seq\":{seq},\"checksum\":{}", book.checksum());
    for (field, side) in [(",\"bids\":", Side::Bid), (",\"asks\":", Side::Ask)] {
        text.push_str(field);
        let levels = book.half(side).iter().take(depth);
        list(&mut text, levels, |text, (rank, shown)| level(text, rank.price(side), Some(*shown)));
    }
    text.push('}');
    text
}

/// Levels that changed between two positions; quantity 0 for one that is gone.
pub(super) fn book_update(name: &str, (prev, seq): (u64, u64), checksum: u32, changes: &Changes) -> String {
    let mut text = format!("{{\"type\":\"update\",{name},\"prev\":{prev},\"seq\":{seq},\"checksum\":{checksum}");
    let of = |wanted: Side| changes.iter().filter(move |((side, _), _)| *side == wanted);
    for (field, side) in [(",\"bids\":", Side::Bid), (",\"asks\":", Side::Ask)] {
        text.push_str(field);
        let levels = of(side);
        let each = |text: &mut String, ((_, rank), now): (&(Side, Rank), &Option<Level>)| {
            level(text, rank.price(side), *now);
        };
        list(&mut text, levels, each);
    }
    text.push('}');
    text
}

/// Several things that happened, under `field`. `more` follow with the same number.
pub(super) fn items_update(name: &str, (prev, seq): (u64, u64), field: &str, items: &[String], more: bool) -> String {
    let more = if more { ",\"more\":true" } else { "" };
    format!("{{\"type\":\"update\",{name},\"prev\":{prev},\"seq\":{seq}{more},\"{field}\":[{}]}}", items.join(","))
}

/// A whole state under its field.
pub(super) fn state(kind: &str, name: &str, seq: u64, field: &str, state: &Value) -> String {
    format!("{{\"type\":\"{kind}\",{name},\"seq\":{seq},\"{field}\":{state}}}")
}

pub(super) fn trade(row: &TradeRow) -> String {
    format!(
        "{{\"id\":\"{}\",\"at_us\":{},\"price\":\"{}\",\"quantity\":{},\"taker\":\"{}\"}}",
        position((row.seq, row.index)),
        micros(row.at),
        credits_per_unit(row.price),
        row.quantity.0,
        side_name(row.taker)
    )
}

/// The best prices, the last trade and the day (UTC) so far.
pub(super) fn ticker(book: &Book, last: Option<&TradeRow>, day: Option<&CandleRow>) -> Value {
    let best = |side| book.best(side);
    let price = |best: Option<(Price, Level)>| best.map(|(price, _)| credits_per_unit(price));
    let quantity = |best: Option<(Price, Level)>| best.map_or(0, |(_, level)| level.quantity);
    json!({
        "best_bid": price(best(Side::Bid)), "bid_quantity": quantity(best(Side::Bid)),
        "best_ask": price(best(Side::Ask)), "ask_quantity": quantity(best(Side::Ask)),
        "last": last.map(|row| credits_per_unit(row.price)),
        "last_quantity": last.map(|row| row.quantity.0),
        "last_at_us": last.map(|row| micros(row.at)),
        "day": day.map(candle_json),
    })
}

pub(super) fn candle(row: Option<&CandleRow>) -> Value {
    row.map_or(Value::Null, candle_json)
}

pub(super) fn balance(balance: &Balance) -> Value {
    json!({
        "available": credits(balance.available),
        "held": credits(balance.held),
        "escrow": credits(balance.escrow),
        "earned": credits(balance.earned),
        "payout_pending": credits(balance.payout_pending),
        "owed": credits(balance.owed),
        "unit": "credits",
    })
}

/// The answer to a request.
pub(super) fn reply(id: Option<&Value>, result: &Value) -> String {
    json!({ "type": "reply", "id": id, "result": result }).to_string()
}

/// The refusal of a request.
pub(super) fn error(id: Option<&Value>, error: &ApiError) -> String {
    let mut body = error.body();
    json!({ "type": "error", "id": id, "error": body["error"].take() }).to_string()
}

/// The channel has to be subscribed to again.
pub(super) fn resync_required(name: &str) -> String {
    format!("{{\"type\":\"resync_required\",{name}}}")
}
