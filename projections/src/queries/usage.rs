//! What an account used: by day or month, as a file, and what that says.
//!
//! A request is one settled delivery and counts on the day (UTC) of its settlement. Credits are what the buyer paid, fees
//! included, rebates taken off. Savings are what the same units would have cost at the instrument's reference price of that
//! time, less that; below zero when it cost more.

use super::market::whole;
use super::{Asked, QueryError, Symbols, invalid};
use crate::calendar::{date_name, month, month_name, parse};
use crate::reader::{Reader, Used};
use crate::rows::UsageRow;
use crate::words::atoms_in_credits;
use gollem_engine::{InstrumentId, KeyId};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Periods in an answer unless `limit` says otherwise, and at most.
const PERIODS_DEFAULT: usize = 31;
pub(super) const PERIODS_MAX: usize = 366;
/// Days in a file, at most.
const EXPORT_DAYS_MAX: u32 = 366;
/// Days that analytics looks back on, today included.
const DAYS_ANALYSED: u32 = 30;
/// Days with use before a day that say what is usual, and how many of them there must be.
const USUAL_DAYS: usize = 14;
const USUAL_DAYS_MIN: usize = 3;
/// A day that cost more than so many times what is usual stands out.
const ANOMALY_TIMES: i128 = 3;
const SECONDS_A_DAY: u64 = 86_400;

/// The day of the reader's time.
fn today(reader: &Reader<'_>) -> u32 {
    (reader.at().0 / 1_000_000_000 / SECONDS_A_DAY) as u32 // At most 213,504.
}

fn figures(row: &UsageRow) -> Map<String, Value> {
    let mut json = Map::new();
    json.insert("requests".into(), row.requests.into());
    json.insert("input_tokens".into(), row.input.into());
    json.insert("cached_input_tokens".into(), row.cached_input.into());
    json.insert("output_tokens".into(), row.output.into());
    json.insert("units".into(), whole(row.units));
    json.insert("credits".into(), atoms_in_credits(row.spent).into());
    json.insert("reference_credits".into(), atoms_in_credits(row.reference).into());
    json.insert("savings_credits".into(), atoms_in_credits(row.savings()).into());
    json
}

fn with(lead: impl IntoIterator<Item = (&'static str, Value)>, row: &UsageRow) -> Value {
    let lead = lead.into_iter().map(|(name, value)| (name.to_owned(), value));
    Value::Object(lead.chain(figures(row)).collect())
}

/// `/v1/usage`: newest period first, in each by API key and model. `limit` and `before` count whole periods.
pub(super) fn usage(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let name: fn(u32) -> String = match asked.text("period") {
        None | Some("day") => date_name,
        Some("month") => month_name,
        Some(_) => return Err(invalid("period", "period must be day or month")),
    };
    let limit = asked.limit(PERIODS_DEFAULT, PERIODS_MAX)?;
    let wrong = || invalid("before", "before must be a next_before of an earlier page, such as 2026-11-01");
    let before = asked.text("before").map(|text| parse(text).ok_or_else(wrong)).transpose()?.unwrap_or(u32::MAX);
    let rows = reader.usage(asked.account()?, 0, before.saturating_sub(1))?;
    let mut periods: BTreeMap<String, BTreeMap<(KeyId, InstrumentId), UsageRow>> = BTreeMap::new();
    for (day, key, instrument, row) in &rows {
        periods.entry(name(*day)).or_default().entry((*key, *instrument)).or_default().add(row);
    }
    let shown: Vec<_> = periods.iter().rev().take(limit).collect();
    let next = shown.last().filter(|_| periods.len() > limit).map(|(period, _)| (*period).clone());
    let (mut symbols, mut total, mut usage) = (Symbols::new(reader), UsageRow::default(), Vec::new());
    for (period, rows) in shown {
        for ((key, instrument), row) in rows {
            total.add(row);
            let model = symbols.name(*instrument)?.into();
            usage.push(with([("period", period.as_str().into()), ("key", key.0.into()), ("model", model)], row));
        }
    }
    Ok(json!({ "usage": usage, "total": with([], &total), "next_before": next }))
}

/// `/v1/usage/export`: all rows from day `from` to day `to`, both included, oldest first; a file, so without pages. Without
/// `to` up to today, without `from` the year that ends there.
pub(super) fn export(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let date = |param: &str, default: u32| {
        let wrong = || invalid(param, format!("{param} must be a date such as 2026-11-01"));
        asked.text(param).map_or(Ok(default), |text| parse(text).ok_or_else(wrong))
    };
    let csv = match asked.text("format") {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(invalid("format", "format must be csv or json")),
    };
    let to = date("to", today(reader))?;
    let from = date("from", to.saturating_sub(EXPORT_DAYS_MAX - 1))?;
    if to.saturating_sub(from) >= EXPORT_DAYS_MAX {
        let message = format!("a file holds at most {EXPORT_DAYS_MAX} days: name from and to");
        return Err(invalid("from", message));
    }
    let rows = reader.usage(asked.account()?, from, to)?;
    let mut symbols = Symbols::new(reader);
    let mut usage = Vec::new();
    for (day, key, instrument, row) in &rows {
        let model = symbols.name(*instrument)?.into();
        usage.push(with([("day", date_name(*day).into()), ("key", key.0.into()), ("model", model)], row));
    }
    Ok(if csv { csv_of(&usage).into() } else { json!({ "usage": usage }) })
}

const COLUMNS: &str = "day,key,model,requests,input_tokens,cached_input_tokens,output_tokens,units,credits,reference_credits,savings_credits";

/// As RFC 4180 has it; no value needs quotes: names of models have no commas.
fn csv_of(rows: &[Value]) -> String {
    let mut text = format!("{COLUMNS}\r\n");
    for row in rows {
        let cells = COLUMNS.split(',').map(|column| match row.get(column) {
            Some(Value::String(cell)) => cell.clone(),
            Some(cell) => cell.to_string(),
            None => String::new(),
        });
        text.push_str(&cells.collect::<Vec<_>>().join(","));
        text.push_str("\r\n");
    }
    text
}

/// `/v1/analytics`: where the last 30 days' spending went, what this month will have cost at its pace so far, what was
/// saved, and which days stand out.
pub(super) fn analytics(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let now = today(reader);
    let (month_start, month_end) = month(now);
    let since = now.saturating_sub(DAYS_ANALYSED - 1);
    let history = since.saturating_sub(USUAL_DAYS as u32);
    let rows = reader.usage(asked.account()?, history.min(month_start), now)?;
    let lately = || rows.iter().filter(|(day, ..)| *day >= since);
    let mut total = UsageRow::default();
    lately().for_each(|(.., row)| total.add(row));
    let mut symbols = Symbols::new(reader);
    let mut models = Vec::new();
    for (instrument, row) in sums(lately(), |(_, _, instrument, _)| *instrument) {
        models.push(with([("model", symbols.name(instrument)?.into())], &row));
    }
    let keys: Vec<Value> =
        sums(lately(), |(_, key, ..)| *key).iter().map(|(key, row)| with([("key", key.0.into())], row)).collect();
    let month_spent: i128 = rows.iter().filter(|(day, ..)| *day >= month_start).map(|(.., row)| row.spent).sum();
    let elapsed_s = (reader.at().0 / 1_000_000_000).saturating_sub(u64::from(month_start) * SECONDS_A_DAY).max(1);
    let month_s = u64::from(month_end - month_start) * SECONDS_A_DAY;
    Ok(json!({
        "days": DAYS_ANALYSED,
        "total": with([], &total),
        "models": models,
        "keys": keys,
        "projection": {
            "month": month_name(now),
            "spent_credits": atoms_in_credits(month_spent),
            "projected_credits": atoms_in_credits(month_spent * i128::from(month_s) / i128::from(elapsed_s)),
            "method": "this month's spending over the part of it that has passed",
        },
        "savings_credits": atoms_in_credits(total.savings()),
        "savings_against": "the instrument's reference price at the time of each delivery",
        "anomalies": anomalies(&rows, since),
    }))
}

/// Rows added up by what `of` says of each.
fn sums<'a, K: Ord>(rows: impl Iterator<Item = &'a Used>, of: impl Fn(&Used) -> K) -> BTreeMap<K, UsageRow> {
    let mut sums: BTreeMap<K, UsageRow> = BTreeMap::new();
    for row in rows {
        sums.entry(of(row)).or_default().add(&row.3);
    }
    sums
}

/// Days since `since` that cost more than three times the average of the (at most 14, at least 3) days with use before.
fn anomalies(rows: &[Used], since: u32) -> Vec<Value> {
    let days: Vec<(u32, UsageRow)> = sums(rows.iter(), |(day, ..)| *day).into_iter().collect();
    let mut found = Vec::new();
    for (at, (day, row)) in days.iter().enumerate().filter(|(_, (day, _))| *day >= since) {
        let before = &days[at.saturating_sub(USUAL_DAYS)..at];
        let spent: i128 = before.iter().map(|(_, row)| row.spent).sum();
        if before.len() >= USUAL_DAYS_MIN && row.spent * before.len() as i128 > ANOMALY_TIMES * spent {
            found.push(json!({
                "day": date_name(*day),
                "credits": atoms_in_credits(row.spent),
                "usual_credits": atoms_in_credits(spent / before.len() as i128),
            }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: u32, spent: i128) -> Used {
        (day, KeyId(0), InstrumentId(1), UsageRow { requests: 1, spent, ..UsageRow::default() })
    }

    #[test]
    fn a_day_stands_out_when_it_costs_more_than_three_times_what_is_usual() {
        let check = |spent: &[i128], since: u32| {
            let rows: Vec<Used> = (100..).zip(spent).map(|(number, spent)| day(number, *spent)).collect();
            anomalies(&rows, since).iter().map(|found| found["day"].to_string()).collect::<Vec<_>>()
        };
        assert_eq!(check(&[10, 10, 10, 30, 10], 100), [""; 0], "three times is not more");
        assert_eq!(check(&[10, 10, 10, 31, 10], 100), ["\"1970-04-14\""]);
        assert_eq!(check(&[10, 10, 31], 100), [""; 0], "two days do not say what is usual");
        assert_eq!(check(&[10, 10, 10, 31, 10], 104), [""; 0], "too long ago");
    }

    #[test]
    fn a_file_has_a_column_for_each_figure() {
        let row = with([("day", "2026-11-21".into()), ("key", 3.into()), ("model", "m".into())], &day(1, 5).3);
        let text = csv_of(&[row]);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[1], "2026-11-21,3,m,1,0,0,0,0,0.00000005,0.00000000,-0.00000005");
        assert_eq!(lines[0].split(',').count(), lines[1].split(',').count());
    }
}
