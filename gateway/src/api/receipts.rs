//! Receipts: what a contract came to, signed, so that it can be held against the journal later (`gollem-replay receipt`).
//!
//! Signed with the key of tree heads. Whoever trusts a receipt trusts the journal's owner, as with a tree head, and so needs
//! one public key for both; the first line of the text keeps them apart. A receipt says nothing that can still change, and
//! the signature is deterministic: whenever it is asked for, it is the same bytes.

use crate::api::{Segment, parse_id};
use crate::app::App;
use crate::error::ApiError;
use crate::identity::Caller;
use crate::keys::Scopes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use gollem_engine::ContractId;
use gollem_projections::{ContractRow, Receipt};
use serde_json::{Map, Value};
use std::sync::Arc;

/// `GET /v1/receipts/{contract}`: for both sides of the contract, and for the operator.
pub(crate) async fn receipt(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Segment(contract): Segment,
) -> Result<Json<Value>, ApiError> {
    let id = ContractId(parse_id("contract", "ctr_", &contract)?);
    let reader = app.reader(0).await?;
    let row = reader.contract(id)?.filter(|row| may_read(caller, row));
    let unknown = || ApiError::not_found("contract", "contract_not_found", "no contract of yours has this id");
    let row = row.ok_or_else(unknown)?;
    let instrument = reader.instrument(row.instrument)?;
    let instrument = instrument.ok_or_else(|| ApiError::internal(&"a contract is of no listed instrument"))?;
    let signer = app.signer.as_deref();
    let journal = signer.map(|signer| signer.public_key().name());
    let receipt = Receipt::of(&row, instrument.spec.symbol.as_str(), journal).ok_or_else(ApiError::not_settled)?;
    let note = signer.map(|signer| signer.sign_statement(&receipt.text())).transpose();
    let note = note.map_err(|error| ApiError::internal(&error))?;
    let mut answer: Map<String, Value> =
        receipt.fields().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    answer.insert("note".into(), note.into());
    Ok(Json(Value::Object(answer)))
}

/// `GET /v1/journal/key`: what signs receipts and tree heads, as `gollem-replay receipt --key` takes it. Note it down on an
/// earlier day than that on which you need it: who could change an answer of today could change this one too.
pub(crate) async fn key(State(app): State<Arc<App>>) -> Result<impl IntoResponse, ApiError> {
    let signer = app.signer.as_deref().ok_or_else(|| {
        let message = "nothing is signed: the exchange runs without a key";
        ApiError::new(StatusCode::NOT_FOUND, "invalid_request_error", "no_signing_key", message)
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{}\n", signer.public_key())))
}

fn may_read(caller: Caller, row: &ContractRow) -> bool {
    let is_party = caller.account.is_some_and(|account| account == row.buyer || account == row.provider);
    is_party || caller.scopes.intersects(Scopes::ADMIN)
}
