//! Health: for people, for whoever restarts a dead process, and for load balancers. Public, and without anything that is
//! not.

use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use gollem_sequencer::Health;
use serde_json::{Value, json};
use std::sync::Arc;

/// Inputs that the views may be behind before a load balancer should ask elsewhere. They follow within milliseconds when
/// all is well; behind that, reads would time out.
const VIEW_LAG_MAX: u64 = 100_000;

/// `GET /health`: 200 while commands are accepted, 503 otherwise.
pub(crate) async fn health(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let pipeline = app.status.health();
    let (durable, view) = (app.status.durable_seq(), app.view.watermark());
    let body = json!({
        "status": word(pipeline), "durable_seq": durable, "view_seq": view, "view_lag": durable.saturating_sub(view),
    });
    (status(pipeline == Health::Running), Json(body))
}

/// `GET /health/live`: 200 while the process may recover by itself; 503 when only a restart helps.
pub(crate) async fn live(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let pipeline = app.status.health();
    let alive = !matches!(pipeline, Health::Panicked | Health::JournalFailed);
    let word = if alive { "alive" } else { word(pipeline) };
    (status(alive), Json(json!({ "status": word })))
}

/// `GET /health/ready`: 200 while both commands and questions are answered. Each check is named, so that whoever is woken
/// by it knows where to look. Before the journal is recovered the answer is 503 `recovering`.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let pipeline = app.status.health();
    let lag = app.status.durable_seq().saturating_sub(app.view.watermark());
    let views = match () {
        () if app.view.is_stopped() => "stopped",
        () if app.view.is_catching_up() => "catching_up",
        () if lag > VIEW_LAG_MAX => "behind",
        () => "ok",
    };
    let ready = pipeline == Health::Running && views == "ok";
    let mut checks = json!({ "pipeline": word(pipeline), "views": views, "view_lag": lag });
    if let (Some(publisher), Some(checks)) = (&app.publisher, checks.as_object_mut()) {
        // Kafka being away costs nobody an answer: it is told, and does not decide.
        checks.insert("kafka".into(), if publisher.is_up() { "ok" } else { "down" }.into());
    }
    let word = if ready { "ready" } else { "not_ready" };
    (status(ready), Json(json!({ "status": word, "checks": checks })))
}

fn status(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn word(pipeline: Health) -> &'static str {
    match pipeline {
        Health::Running => "ok",
        Health::JournalFailed => "journal_failed",
        Health::DiskFull => "disk_full",
        Health::Panicked => "panicked",
        Health::Stopped => "stopped",
    }
}
