//! How providers keep what they promise, and how they are paid.

use super::market::whole;
use super::{Asked, QueryError, id, invalid, next};
use crate::reader::{Page, Reader};
use crate::rows::{BreakerRow, Measured, OrderRow, PayoutRow, ScorecardRow};
use crate::words::{
    account_name, atoms_in_credits, breaker_json, cents, credits, credits_per_unit, micros, payout_status_name, utc,
};
use gollem_engine::limits::{OPEN_ORDERS_PER_ACCOUNT_MAX, PAYOUT_THRESHOLD_ATOMS};
use gollem_engine::{AccountId, Amount, InstrumentId, PayoutId, Side, Terms};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Open orders of a provider that are looked at: as many as it may have.
const QUOTES_MAX: usize = OPEN_ORDERS_PER_ACCOUNT_MAX as usize;
/// Changes of a breaker that a scorecard shows, the newest.
const BREAKER_CHANGES_SHOWN: usize = 100;

/// `/v1/providers/{account}/scorecard`: a provider's record on each instrument. What it earned is for itself alone.
pub(super) fn scorecard(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let number = id("acc_", asked.segment()).and_then(|number| u32::try_from(number).ok());
    let provider = number.ok_or_else(|| invalid("account", "account must be an id such as acc_17")).map(AccountId)?;
    let its_own = asked.account()? == provider;
    let mut cards = Vec::new();
    for (instrument, row) in reader.scorecards(provider)? {
        cards.push(card_json(reader, provider, instrument, &row, its_own)?);
    }
    Ok(json!({ "account": account_name(provider), "instruments": cards }))
}

fn card_json(
    reader: &Reader<'_>,
    provider: AccountId,
    instrument: InstrumentId,
    row: &ScorecardRow,
    its_own: bool,
) -> Result<Value, QueryError> {
    let deliveries = row.completed + row.abandoned + row.failed + row.overstated;
    let history = reader.breakers(provider, instrument, Page::newest(BREAKER_CHANGES_SHOWN))?;
    let mut json = Map::new();
    json.insert("instrument".into(), reader.spec(instrument)?.symbol.as_str().into());
    json.insert("deliveries".into(), deliveries.into());
    json.insert("completed".into(), row.completed.into());
    json.insert("abandoned".into(), row.abandoned.into());
    json.insert("failed".into(), row.failed.into());
    json.insert("overstated".into(), row.overstated.into());
    json.insert("success_rate".into(), share(deliveries - row.failed - row.overstated, deliveries).into());
    json.insert("breaches".into(), row.breaches.into());
    json.insert("units".into(), whole(row.units));
    json.insert("latency_ms".into(), measured_json(&row.latency_ms, row.effective_latency_ms));
    json.insert("throughput_tps".into(), measured_json(&row.throughput_tps, row.effective_throughput_tps));
    json.insert("breaker".into(), breaker_json(row.breaker).into());
    json.insert("breaker_history".into(), history.iter().map(change_json).collect());
    if its_own {
        json.insert("earned".into(), atoms_in_credits(row.earned).into());
        json.insert("rebates".into(), atoms_in_credits(row.rebates).into());
        json.insert("fees".into(), atoms_in_credits(row.fees).into());
    }
    Ok(Value::Object(json))
}

/// A part of a whole with four decimals, rounded down; none of nothing. What a client abandoned is no failure.
fn share(part: u64, whole: u64) -> Option<String> {
    let parts = (u128::from(part) * 10_000).checked_div(whole.into())?;
    Some(format!("{}.{:04}", parts / 10_000, parts % 10_000))
}

/// Averages over deliveries that have both a promise and a measurement, and the reading that counts for asks now.
fn measured_json(row: &Measured, effective: Option<u32>) -> Value {
    let average = |sum: u64| sum.checked_div(row.deliveries);
    json!({
        "promised": average(row.promised), "measured": average(row.measured), "deliveries": row.deliveries,
        "effective": effective,
    })
}

fn change_json(row: &BreakerRow) -> Value {
    let mut json = breaker_json(row.state);
    json.insert("seq".into(), row.seq.into());
    json.insert("at".into(), utc(row.at).into());
    json.insert("at_us".into(), micros(row.at).into());
    json.into()
}

/// The provider that `providerId` names; the asking account without it.
fn provider(asked: &Asked) -> Result<AccountId, QueryError> {
    let Some(text) = asked.text("providerId") else {
        return asked.account();
    };
    let number = id("acc_", text).and_then(|number| u32::try_from(number).ok());
    number.map(AccountId).ok_or_else(|| invalid("providerId", "providerId must be an id such as acc_17"))
}

/// `/api/provider/circuit`: a provider's circuit breaker on each instrument it delivered.
pub(super) fn circuit(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let provider = provider(asked)?;
    let mut breakers = Vec::new();
    for (instrument, row) in reader.scorecards(provider)? {
        let mut json = breaker_json(row.breaker);
        json.insert("instrument".into(), reader.spec(instrument)?.symbol.as_str().into());
        breakers.push(json);
    }
    Ok(json!({ "providerId": account_name(provider), "instruments": breakers }))
}

/// `/api/provider/latency`: what a provider promised and what was measured on each instrument it delivered.
pub(super) fn latency(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let provider = provider(asked)?;
    let mut measured = Vec::new();
    for (instrument, row) in reader.scorecards(provider)? {
        measured.push(json!({
            "instrument": reader.spec(instrument)?.symbol.as_str(),
            "latency_ms": measured_json(&row.latency_ms, row.effective_latency_ms),
            "throughput_tps": measured_json(&row.throughput_tps, row.effective_throughput_tps),
        }));
    }
    Ok(json!({ "providerId": account_name(provider), "instruments": measured }))
}

/// A provider's open asks by instrument.
fn quotes(reader: &Reader<'_>, provider: AccountId) -> Result<BTreeMap<InstrumentId, Vec<OrderRow>>, QueryError> {
    let mut quotes: BTreeMap<InstrumentId, Vec<OrderRow>> = BTreeMap::new();
    for row in reader.orders(provider, true, Page::newest(QUOTES_MAX))? {
        if row.order.side() == Side::Ask {
            quotes.entry(row.order.instrument).or_default().push(row);
        }
    }
    Ok(quotes)
}

/// `/api/provider/ratelimit`: how much may be bought of a provider now on each instrument it quotes: the units its asks have
/// left of those they offered. Of asks that are parked nothing may be bought.
pub(super) fn ratelimit(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let provider = provider(asked)?;
    let mut limits = Vec::new();
    for (instrument, rows) in quotes(reader, provider)? {
        let offered: u64 = rows.iter().map(|row| row.order.quantity.0).sum();
        let remaining: u64 = rows.iter().filter(|row| row.place.is_some()).map(|row| row.order.remaining.0).sum();
        let symbol = reader.spec(instrument)?.symbol;
        limits.push(json!({ "instrument": symbol.as_str(), "limit": offered, "remaining": remaining }));
    }
    Ok(json!({ "providerId": account_name(provider), "unit": "normalised token", "instruments": limits }))
}

/// `/api/provider/status`: a provider's quotes, newest first. `suspended` are those that its breaker keeps out of the book.
pub(super) fn status(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let provider = provider(asked)?;
    let mut models = Vec::new();
    for (instrument, rows) in quotes(reader, provider)? {
        let status = if rows.iter().any(|row| row.place.is_some()) { "online" } else { "suspended" };
        let quotes: Vec<Value> = rows.iter().map(quote_json).collect();
        models.push(json!({
            "model": reader.spec(instrument)?.symbol.as_str(), "status": status, "quotes": quotes,
        }));
    }
    let status = if models.is_empty() { "offline" } else { "online" };
    Ok(json!({ "providerId": account_name(provider), "status": status, "models": models }))
}

fn quote_json(row: &OrderRow) -> Value {
    let order = &row.order;
    let mut json = Map::new();
    json.insert("order".into(), format!("ord_{}", order.id.0).into());
    json.insert("price".into(), credits_per_unit(order.price).into());
    json.insert("capacity".into(), order.remaining.0.into());
    if let Terms::Ask { attributes } = order.terms {
        json.insert("latency_ms".into(), attributes.latency_ms.into());
        json.insert("throughput_tps".into(), attributes.throughput_tps.into());
        json.insert("gpu".into(), attributes.gpu.name().into());
    }
    json.into()
}

/// `/v1/payouts`: the account's payouts, what could be paid out now, and whether that is enough for an automatic one.
pub(super) fn payouts(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let account = asked.account()?;
    let page = asked.page(|text| id("pay_", text).map(PayoutId))?;
    let rows = reader.payouts(account, page)?;
    let next = next(&rows, page.limit, |row| format!("pay_{}", row.id.0));
    let (balance, policy) = (reader.balance(account)?, reader.policies(account)?.payout);
    // While an account owes anything it is paid nothing.
    let payable = if balance.owed.0 == 0 { balance.earned.whole_cents() } else { Amount::ZERO };
    let rows: Vec<Value> = rows.iter().map(payout_json).collect();
    Ok(json!({
        "payouts": rows,
        "next_before": next,
        "earned": credits(balance.earned),
        "payable_usd": cents(payable),
        "eligible": balance.owed.0 == 0 && balance.earned.0 >= PAYOUT_THRESHOLD_ATOMS,
        "threshold_usd": cents(Amount(PAYOUT_THRESHOLD_ATOMS)),
        "automatic": policy.automatic,
        "monthly": policy.monthly,
    }))
}

fn payout_json(row: &PayoutRow) -> Value {
    json!({
        "id": format!("pay_{}", row.id.0),
        "amount_usd": cents(row.amount),
        "status": payout_status_name(row.status),
        "requested_at": utc(row.requested_at),
        "requested_at_us": micros(row.requested_at),
        "sent_at": row.sent_at.map(utc),
        "sent_at_us": row.sent_at.map(micros),
        "ended_at": row.ended_at.map(utc),
        "ended_at_us": row.ended_at.map(micros),
    })
}
