//! Accounts, balances and transactions.

use crate::api::{Page, check_name, micros, parse};
use crate::app::App;
use crate::auth::Account;
use crate::error::ApiError;
use crate::keys::{ApiKey, Scopes};
use crate::money::credits;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use gollem_engine::{AccountId, Command, Event, LedgerAccount, TransferCode};
use gollem_projections::TransactionRow;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenAccount {
    name: String,
    #[serde(default)]
    scopes: Option<Vec<String>>,
}

/// `POST /v1/accounts`: opens an account with its first API key, which is shown here and never again.
pub(crate) async fn open(State(app): State<Arc<App>>, body: Bytes) -> Result<(StatusCode, Json<Value>), ApiError> {
    let request: OpenAccount = parse(&body)?;
    check_name("name", &request.name)?;
    let scopes = parse_scopes(request.scopes.as_deref())?;
    if app.identity.account_named(&request.name).await?.is_some() {
        return Err(name_taken());
    }
    let key = ApiKey::generate().map_err(|error| ApiError::internal(&error))?;
    let ack = app.execute(Command::OpenAccount).await?;
    let opened = ack.events().iter().find_map(|event| match event {
        Event::AccountOpened { account } => Some(*account),
        _ => None,
    });
    let account = opened.ok_or_else(|| ApiError::internal(&"an opened account has no number"))?;
    if let Err(error) = app.identity.add_account(account, &request.name, &key, scopes).await {
        // Lost a race for the name: the engine's account stays empty and nobody's.
        let taken = error.as_database_error().is_some_and(|error| error.is_unique_violation());
        return Err(if taken { name_taken() } else { error.into() });
    }
    let body = json!({
        "account": account_name(account), "name": request.name, "scopes": scopes.names(), "api_key": key.reveal(),
    });
    Ok((StatusCode::CREATED, Json(body)))
}

fn name_taken() -> ApiError {
    let error =
        ApiError::new(StatusCode::CONFLICT, "invalid_request_error", "name_taken", "another account has this name");
    ApiError { param: Some("name".into()), ..error }
}

fn parse_scopes(names: Option<&[String]>) -> Result<Scopes, ApiError> {
    let Some(names) = names else {
        return Ok(Scopes::READ.with(Scopes::TRADE));
    };
    let mut scopes = Scopes(0);
    for name in names {
        let known = Scopes::from_name(name).filter(|scope| *scope != Scopes::ADMIN);
        let scope = known.ok_or_else(|| ApiError::invalid("scopes", "scopes may hold read, trade and provide"))?;
        scopes = scopes.with(scope);
    }
    if scopes == Scopes(0) {
        return Err(ApiError::invalid("scopes", "scopes must name at least one of read, trade and provide"));
    }
    Ok(scopes)
}

/// `GET /v1/balance`.
pub(crate) async fn balance(State(app): State<Arc<App>>, account: Account) -> Result<Json<Value>, ApiError> {
    let balance = app.fresh_view().await?.balance(account.id)?;
    Ok(Json(json!({
        "account": account_name(account.id),
        "available": credits(balance.available),
        "held": credits(balance.held),
        "escrow": credits(balance.escrow),
        "earned": credits(balance.earned),
        "payout_pending": credits(balance.payout_pending),
        "owed": credits(balance.owed),
        "unit": "credits",
    })))
}

/// `GET /v1/transactions`: the account's ledger lines, newest first.
pub(crate) async fn transactions(
    State(app): State<Arc<App>>,
    account: Account,
    page: Page,
) -> Result<Json<Value>, ApiError> {
    let before = page.before.as_deref().map(parse_position).transpose()?;
    let rows = app.fresh_view().await?.transactions(account.id, before, page.limit()?)?;
    let next = rows.last().filter(|_| rows.len() == page.limit().unwrap_or(0)).map(position);
    let rows: Vec<Value> = rows.iter().map(transaction).collect();
    Ok(Json(json!({ "transactions": rows, "next_before": next })))
}

fn position(row: &TransactionRow) -> String {
    format!("{}-{}", row.seq, row.index)
}

fn parse_position(text: &str) -> Result<(u64, u32), ApiError> {
    let parsed = text.split_once('-').and_then(|(seq, index)| Some((seq.parse().ok()?, index.parse().ok()?)));
    parsed.ok_or_else(|| ApiError::invalid("before", "before must be a next_before of an earlier page"))
}

fn transaction(row: &TransactionRow) -> Value {
    json!({
        "id": position(row),
        "seq": row.seq,
        "at_us": micros(row.at),
        "kind": code_name(row.transfer.code),
        "debit": ledger_name(row.transfer.debit),
        "credit": ledger_name(row.transfer.credit),
        "amount": credits(row.transfer.amount),
    })
}

fn code_name(code: TransferCode) -> &'static str {
    match code {
        TransferCode::Purchase => "purchase",
        TransferCode::Hold => "hold",
        TransferCode::Release => "release",
        TransferCode::Escrow => "escrow",
        TransferCode::Delivery => "delivery",
        TransferCode::DeliveryFee => "delivery_fee",
        TransferCode::Refund => "refund",
        TransferCode::PayoutRequest => "payout_request",
        TransferCode::PayoutConfirm => "payout_confirm",
        TransferCode::PayoutReturn => "payout_return",
        TransferCode::TradeFee => "trade_fee",
        TransferCode::Rebate => "rebate",
        TransferCode::PurchaseRefund => "purchase_refund",
        TransferCode::Dispute => "dispute",
        TransferCode::DisputeReturn => "dispute_return",
        TransferCode::Overage => "overage",
        TransferCode::Repay => "repay",
    }
}

/// The two sides of a transaction without the other party's number.
fn ledger_name(account: LedgerAccount) -> &'static str {
    match account {
        LedgerAccount::Available(_) => "available",
        LedgerAccount::Held(_) => "held",
        LedgerAccount::Escrow(_) => "escrow",
        LedgerAccount::Earned(_) => "earned",
        LedgerAccount::PayoutPending(_) => "payout_pending",
        LedgerAccount::Receivable(_) => "receivable",
        LedgerAccount::Fees => "fees",
        LedgerAccount::External => "external",
    }
}

/// An account's public id.
pub(crate) fn account_name(account: AccountId) -> String {
    format!("acc_{}", account.0)
}
