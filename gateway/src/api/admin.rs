//! Health for load balancers, state for the operator.

use crate::app::App;
use crate::error::ApiError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use gollem_sequencer::Health;
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /health`: 200 while commands are accepted, 503 otherwise.
pub(crate) async fn health(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let (status, word) = match app.status.health() {
        Health::Running => (StatusCode::OK, "ok"),
        Health::JournalFailed => (StatusCode::SERVICE_UNAVAILABLE, "journal_failed"),
        Health::DiskFull => (StatusCode::SERVICE_UNAVAILABLE, "disk_full"),
        Health::Panicked => (StatusCode::SERVICE_UNAVAILABLE, "panicked"),
        Health::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "stopped"),
    };
    let (durable, view) = (app.status.durable_seq(), app.view.watermark());
    let body = json!({
        "status": word, "durable_seq": durable, "view_seq": view, "view_lag": durable.saturating_sub(view),
    });
    (status, Json(body))
}

/// `GET /v1/admin/state`: what an auditor compares with `gollem-replay verify`.
pub(crate) async fn state(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let (last_seq, ledger_sum, hash) = app.audit().await?;
    let ledger_sum = i64::try_from(ledger_sum).map_err(|error| ApiError::internal(&error))?;
    Ok(Json(json!({
        "last_seq": last_seq, "ledger_sum": ledger_sum, "state_hash": hash.to_string(),
        "journal_bytes": app.journal_bytes(),
    })))
}
