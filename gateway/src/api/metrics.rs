//! `GET /metrics`: the pipeline's figures in Prometheus' text format, version 0.0.4. `GET /v1/journal/head`: the last
//! signed tree head.
//!
//! Times are summaries over everything since the start: exact counts, quantiles two digits exact. Names follow
//! Prometheus' customs: a prefix, base units, `_total` for what only grows.

use crate::app::App;
use crate::error::ApiError;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use gollem_sequencer::Health;
use hdrhistogram::Histogram;
use std::fmt::Write;
use std::sync::Arc;

const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// `GET /metrics`.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text(&app))
}

/// `GET /v1/journal/head`: a signed note, as `tree-heads.txt` holds it.
pub(crate) async fn tree_head(State(app): State<Arc<App>>) -> Result<impl IntoResponse, ApiError> {
    let head = app.follower.status().head.ok_or_else(|| {
        let message = "no tree head was signed yet: the exchange runs without a key, or has just begun";
        ApiError::new(StatusCode::NOT_FOUND, "invalid_request_error", "no_tree_head", message)
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], head))
}

fn text(app: &App) -> String {
    let mut page = Page(String::new());
    let (status, follower) = (&app.status, app.follower.status());
    let (durable, view) = (status.durable_seq(), app.view.watermark());
    page.gauge("gollem_up", "Whether commands are accepted.", u64::from(status.health() == Health::Running));
    page.counter("gollem_inputs_total", "Durable inputs: the highest sequence number.", durable);
    page.counter("gollem_journal_bytes_total", "Bytes of the journal's records and headers.", status.journal_bytes());
    page.gauge(
        "gollem_view_lag_inputs",
        "Durable inputs that the views do not reflect yet.",
        durable.saturating_sub(view),
    );
    page.gauge(
        "gollem_follower_lag_inputs",
        "Durable inputs that the background replica has not applied yet.",
        durable.saturating_sub(follower.seq),
    );
    page.gauge("gollem_follower_up", "Whether the background replica works.", u64::from(follower.failure.is_none()));
    page.gauge("gollem_snapshot_seq", "The input of the newest snapshot.", follower.snapshot_seq);
    page.counter("gollem_snapshots_total", "Snapshots taken since the start.", follower.snapshots);
    page.gauge("gollem_snapshot_bytes", "Bytes of the last snapshot.", follower.snapshot_bytes);
    let stages = status.stages();
    page.head(
        "gollem_pipeline_seconds",
        "summary",
        "Where commands spend their time: one command in 64 that came through a port and every other one; sync and egress a group.",
    );
    for (stage, times) in stages.named() {
        page.summary("gollem_pipeline_seconds", stage, times, 1e-9);
    }
    page.head("gollem_group_inputs", "summary", "Inputs that became durable together.");
    page.summary("gollem_group_inputs", "all", &stages.group_inputs, 1.0);
    page.0
}

/// The page so far.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail, here and below.
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        writeln!(self.0, "{name} {value}").ok();
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        writeln!(self.0, "{name} {value}").ok();
    }

    fn summary(&mut self, name: &str, stage: &str, values: &Histogram<u64>, unit: f64) {
        for quantile in QUANTILES {
            let value = values.value_at_quantile(quantile) as f64 * unit;
            writeln!(self.0, "{name}{{stage=\"{stage}\",quantile=\"{quantile}\"}} {value}").ok();
        }
        let sum = values.mean() * values.len() as f64 * unit;
        writeln!(self.0, "{name}_sum{{stage=\"{stage}\"}} {sum}\n{name}_count{{stage=\"{stage}\"}} {}", values.len())
            .ok();
    }
}
