//! State for the operator.

use crate::app::App;
use crate::error::ApiError;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /v1/admin/state`: what an auditor compares with `gollem-replay verify`.
pub(crate) async fn state(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let (last_seq, ledger_sum, hash) = app.audit().await?;
    let ledger_sum = i64::try_from(ledger_sum).map_err(|error| ApiError::internal(&error))?;
    Ok(Json(json!({
        "last_seq": last_seq, "ledger_sum": ledger_sum, "state_hash": hash.to_string(),
        "journal_bytes": app.journal_bytes(),
    })))
}

/// `GET /v1/views`: the hash of everything the views hold, with the position it is of: equal to that of a projector at the
/// same position. Reads all of them.
pub(crate) async fn views(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let store = Arc::clone(&app.view.store);
    let hashed = tokio::task::spawn_blocking(move || store.content_hash()).await;
    let (seq, hash) = hashed.map_err(|error| ApiError::internal(&error))??;
    Ok(Json(json!({ "seq": seq, "hash": hash.to_string() })))
}
