//! An account's orders, what they hold, and its contracts.

use super::{Asked, QueryError, Symbols, happened, id, invalid, next};
use crate::reader::Reader;
use crate::words::{
    client_order_id, contract_json, credits, credits_per_unit, delivery_json, fill_json, micros, order_json, position,
    utc,
};
use gollem_engine::{ContractId, OrderId, Side};
use serde_json::{Value, json};

fn order_id(text: &str) -> Option<OrderId> {
    id("ord_", text).map(OrderId)
}

/// `/v1/orders`: `?status=open` for those that are open; `?client_order_id=` for the newest with that id, or none. A client
/// id is any text, so it is a parameter and no part of a path.
pub(super) fn orders(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let (account, open_only, page) = (asked.account()?, asked.open_only()?, asked.page(order_id)?);
    let (rows, next) = match asked.text("client_order_id") {
        Some(_) if page.before.is_some() => {
            return Err(invalid("before", "before does not go with client_order_id: at most one order has it"));
        }
        Some(text) => {
            let found = reader.order_by_client_id(account, client_order_id(text))?;
            (found.into_iter().filter(|row| row.is_open() || !open_only).collect(), None)
        }
        None => {
            let rows = reader.orders(account, open_only, page)?;
            let next = next(&rows, page.limit, |row| format!("ord_{}", row.order.id.0));
            (rows, next)
        }
    };
    let mut symbols = Symbols::new(reader);
    let mut orders = Vec::new();
    for row in &rows {
        orders.push(Value::Object(order_json(row, symbols.name(row.order.instrument)?)));
    }
    Ok(json!({ "orders": orders, "next_before": next }))
}

/// `/v1/orders/{order}`: one of the account's own; another's is as unknown as none.
pub(super) fn order(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let account = asked.account()?;
    let id = order_id(asked.segment()).ok_or_else(|| invalid("order", "order must be an id such as ord_17"))?;
    let row = reader.order(id)?.filter(|row| row.order.account == account);
    let (param, code) = ("order", "order_not_found");
    let unknown = || QueryError::NotFound { param, code, message: "no order of yours has this id".into() };
    let row = row.ok_or_else(unknown)?;
    let symbol = reader.spec(row.order.instrument)?.symbol;
    Ok(Value::Object(order_json(&row, symbol.as_str())))
}

/// `/v1/holds`: open bids with what each holds, and locked quotes with what is in escrow for each. All bids together hold
/// `held`; locks are few, so all of them are on each page.
pub(super) fn holds(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let account = asked.account()?;
    let page = asked.page(order_id)?;
    let rows = reader.holds(account, page)?;
    let next = next(&rows, page.limit, |(row, _)| format!("ord_{}", row.order.id.0));
    let mut symbols = Symbols::new(reader);
    let mut holds = Vec::new();
    for (row, held) in &rows {
        holds.push(json!({
            "order": format!("ord_{}", row.order.id.0),
            "instrument": symbols.name(row.order.instrument)?,
            "price": credits_per_unit(row.order.price),
            "remaining": row.order.remaining.0,
            "held": credits(*held),
        }));
    }
    let mut locks = Vec::new();
    for row in reader.locks(account)? {
        locks.push(json!({
            "order": format!("ord_{}", row.id.0),
            "instrument": symbols.name(row.instrument)?,
            "price": credits_per_unit(row.price),
            "quantity": row.quantity.0,
            "escrow": credits(row.escrow),
            "expires_at": utc(row.expires_at),
            "expires_at_us": micros(row.expires_at),
        }));
    }
    let held = credits(reader.balance(account)?.held);
    Ok(json!({ "holds": holds, "held": held, "locks": locks, "next_before": next }))
}

/// `/v1/contracts`: those the account buys by and those it delivers; `?status=open` for those that are open.
pub(super) fn contracts(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let account = asked.account()?;
    let page = asked.page(|text| id("ctr_", text).map(ContractId))?;
    let rows = reader.contracts(account, asked.open_only()?, page)?;
    let next = next(&rows, page.limit, |row| format!("ctr_{}", row.id.0));
    let mut symbols = Symbols::new(reader);
    let mut contracts = Vec::new();
    for row in &rows {
        contracts.push(contract_json(row, account, symbols.name(row.instrument)?));
    }
    Ok(json!({ "contracts": contracts, "next_before": next }))
}

/// `/v1/contracts/{contract}`: one that the account is part of; another's is as unknown as none.
pub(super) fn contract(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let account = asked.account()?;
    let id = id("ctr_", asked.segment()).map(ContractId);
    let id = id.ok_or_else(|| invalid("contract", "contract must be an id such as ctr_17"))?;
    let row = reader.contract(id)?.filter(|row| row.buyer == account || row.provider == account);
    let (param, code) = ("contract", "contract_not_found");
    let unknown = || QueryError::NotFound { param, code, message: "no contract of yours has this id".into() };
    let row = row.ok_or_else(unknown)?;
    Ok(contract_json(&row, account, reader.spec(row.instrument)?.symbol.as_str()))
}

/// `/v1/fills`: what the account's orders traded. Each fill made a contract, whose id is the fill's; an account that traded
/// with itself has two of it, one for each order, on the same page.
pub(super) fn fills(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let account = asked.account()?;
    let page = asked.page(|text| id("ctr_", text).map(ContractId))?;
    let rows = reader.contracts(account, false, page)?;
    let next = next(&rows, page.limit, |row| format!("ctr_{}", row.id.0));
    let mut symbols = Symbols::new(reader);
    let mut fills = Vec::new();
    for row in &rows {
        for (side, owner) in [(Side::Bid, row.buyer), (Side::Ask, row.provider)] {
            if owner == account {
                fills.push(fill_json(row, side, symbols.name(row.instrument)?));
            }
        }
    }
    Ok(json!({ "fills": fills, "next_before": next }))
}

/// `/v1/deliveries`: settled deliveries of contracts that the account is part of.
pub(super) fn deliveries(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let account = asked.account()?;
    let page = asked.page(happened)?;
    let rows = reader.deliveries(account, page)?;
    let next = next(&rows, page.limit, |row| position((row.seq, row.index)));
    let mut symbols = Symbols::new(reader);
    let mut deliveries = Vec::new();
    for row in &rows {
        deliveries.push(delivery_json(row, account, symbols.name(row.instrument)?));
    }
    Ok(json!({ "deliveries": deliveries, "next_before": next }))
}
