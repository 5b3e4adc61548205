//! An account's money, and what it may spend.

use super::{Asked, QueryError, happened, next};
use crate::reader::Reader;
use crate::words::{account_name, credits, position, transaction_json};
use gollem_engine::{Amount, KeyId, KeyLimits};
use serde_json::{Value, json};

/// `/v1/balance`. `remaining` is what the account could still reserve: what is available, and its credit line unless it
/// owes more than that.
pub(super) fn balance(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let account = asked.account()?;
    let (balance, policies) = (reader.balance(account)?, reader.policies(account)?);
    let line = policies.credit.overage_cap.0 - balance.owed.0;
    let remaining = if line >= 0 { Amount(balance.available.0 + line) } else { Amount::ZERO };
    Ok(json!({
        "account": account_name(account),
        "available": credits(balance.available),
        "held": credits(balance.held),
        "escrow": credits(balance.escrow),
        "earned": credits(balance.earned),
        "payout_pending": credits(balance.payout_pending),
        "owed": credits(balance.owed),
        "remaining": credits(remaining),
        "overage_used": credits(balance.owed.min(policies.credit.overage_cap)),
        "overage_cap": credits(policies.credit.overage_cap),
        "auto_renew": policies.credit.auto_renew,
        "unit": "credits",
    }))
}

/// `/v1/transactions`: the account's ledger lines.
pub(super) fn transactions(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let page = asked.page(happened)?;
    let rows = reader.transactions(asked.account()?, page)?;
    let next = next(&rows, page.limit, |row| position((row.seq, row.index)));
    let rows: Vec<Value> = rows.iter().map(transaction_json).collect();
    Ok(json!({ "transactions": rows, "next_before": next }))
}

/// `/v1/guardrails/spending`: what was spent in each sliding window, exact to the minute, and what counts on top in every
/// one, because it is reserved; and the limits of API keys.
pub(super) fn spending(reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
    let account = asked.account()?;
    let balance = reader.balance(account)?;
    let reserved = balance.held.0 + balance.escrow.0;
    let window = |(minutes, spent, limit): (u16, Amount, Option<Amount>)| {
        let committed = spent.0.saturating_add(reserved);
        json!({
            "minutes": minutes, "spent": credits(spent), "committed": credits(Amount(committed)),
            "limit": limit.map(credits),
            "remaining": limit.map(|limit| credits(Amount((limit.0 - committed).max(0)))),
        })
    };
    let windows: Vec<Value> = reader.spending(account)?.into_iter().map(window).collect();
    let key = |(key, limits): (KeyId, KeyLimits)| {
        let [daily, monthly, hard] = [limits.daily, limits.monthly, limits.hard].map(|limit| limit.map(credits));
        json!({ "key": key.0, "daily": daily, "monthly": monthly, "hard": hard })
    };
    let keys: Vec<Value> = reader.key_limits(account)?.into_iter().map(key).collect();
    Ok(json!({ "windows": windows, "reserved": credits(Amount(reserved)), "keys": keys }))
}
