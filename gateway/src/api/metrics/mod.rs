//! `GET /metrics`: pipeline, requests, market and money in Prometheus' text format. `GET /v1/journal/head`: the last
//! signed tree head.
//!
//! Times are summaries over everything since the start: exact counts, quantiles two digits exact. Names follow
//! Prometheus' customs: a prefix, base units, `_total` for what only grows.

mod market;
mod page;

use crate::app::App;
use crate::error::ApiError;
use crate::payments::Figures;
use crate::stream::Hub;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use gollem_projections::kafka::PublisherView;
use gollem_sequencer::Health;
use page::Page;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// `GET /metrics`.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, ApiError> {
    // It reads every balance.
    let text = tokio::task::spawn_blocking(move || text(&app)).await.map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
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
    let mut page = Page::default();
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
    page.gauge("gollem_view_seq", "The last input that the views reflect.", view);
    page.counter("gollem_view_gaps_total", "How often inputs had to be read from the journal.", app.view.gaps());
    page.gauge("gollem_view_stopped", "Whether the views stand still; the log says why.", app.view.is_stopped().into());
    if let Some(publisher) = &app.publisher {
        kafka(&mut page, publisher, durable);
    }
    if let Some(payments) = &app.payments {
        money(&mut page, &payments.figures, durable);
    }
    sockets(&mut page, &app.stream, durable);
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
        page.summary("gollem_pipeline_seconds", &[("stage", stage)], times, 1e-9);
    }
    page.head("gollem_group_inputs", "summary", "Inputs that became durable together.");
    page.summary("gollem_group_inputs", &[("stage", "all")], &stages.group_inputs, 1.0);
    requests(&mut page, app);
    if let Err(error) = market::write(&mut page, app) {
        tracing::warn!(%error, "the views cannot be read: the metrics lack the market");
    }
    page.into_text()
}

/// Payments, and what is to be done outside.
fn money(page: &mut Page, figures: &Figures, durable: u64) {
    let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    page.counter("gollem_payment_notices_total", "Notices of the payment processor.", read(&figures.notices));
    page.counter(
        "gollem_payment_notices_refused_total",
        "Notices whose signature was not the processor's.",
        read(&figures.notices_refused),
    );
    page.gauge("gollem_outbox_letters_due", "What is still to be done outside.", read(&figures.letters_due));
    page.gauge(
        "gollem_outbox_letters_dead",
        "What waits for a person: GET /v1/admin/outbox.",
        read(&figures.letters_dead),
    );
    page.gauge(
        "gollem_outbox_lag_inputs",
        "Durable inputs that the outbox has not looked at yet.",
        durable.saturating_sub(read(&figures.position)),
    );
    page.gauge(
        "gollem_outbox_stopped",
        "Whether the outbox stands still; the log says why.",
        figures.outbox_stopped.load(Ordering::Relaxed).into(),
    );
    page.gauge(
        "gollem_reconcile_differences",
        "Differences between the processor's books and the ledger, the last time they were compared.",
        read(&figures.differences),
    );
    page.gauge(
        "gollem_reconcile_timestamp_seconds",
        "When they were compared, in Unix seconds; 0 if never.",
        read(&figures.reconciled_at),
    );
}

/// Requests over HTTP.
fn requests(page: &mut Page, app: &App) {
    let figures = app.traffic.figures();
    page.gauge("gollem_http_requests_in_flight", "Requests whose answer has not begun.", app.traffic.in_flight());
    page.counter("gollem_http_unknown_routes_total", "Requests to routes that there are not.", app.traffic.unknown());
    page.head("gollem_http_requests_total", "counter", "Requests by route and class of their status.");
    for route in &figures {
        for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(route.by_class) {
            let labels = [("method", route.method.as_str()), ("route", route.path), ("status", class)];
            if count > 0 {
                page.sample("gollem_http_requests_total", &labels, count);
            }
        }
    }
    page.head("gollem_http_seconds", "summary", "Time until a request's answer began.");
    for route in &figures {
        let labels = [("method", route.method.as_str()), ("route", route.path)];
        page.summary("gollem_http_seconds", &labels, &route.times_us, 1e-6);
    }
    page.head("gollem_gateway_overhead_seconds", "summary", "Time that the gateway itself added to a call.");
    page.summary("gollem_gateway_overhead_seconds", &[], &app.overhead_us(), 1e-6);
    page.head("gollem_calls_rerouted_total", "counter", "Calls that another provider was asked for, by why.");
    let tries = [("failed", &app.tries.retried), ("stalled", &app.tries.hedged), ("broke_off", &app.tries.continued)];
    for (why, count) in tries {
        page.sample("gollem_calls_rerouted_total", &[("why", why)], count.load(Ordering::Relaxed));
    }
}

/// Market data, and who reads them.
fn sockets(page: &mut Page, stream: &Hub, durable: u64) {
    let figures = &stream.sockets.figures;
    let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    page.gauge(
        "gollem_market_data_lag_inputs",
        "Durable inputs that the market data do not reflect yet.",
        durable.saturating_sub(stream.position()),
    );
    page.counter("gollem_market_data_gaps_total", "How often inputs had to be read from the journal.", stream.gaps());
    page.gauge(
        "gollem_market_data_kept_bytes",
        "Recent updates, kept for readers that are late.",
        stream.ring_bytes() as u64,
    );
    page.gauge("gollem_sockets", "Open WebSockets.", stream.sockets.count() as u64);
    page.gauge("gollem_socket_subscriptions", "Their subscriptions.", read(&figures.subscriptions));
    page.gauge(
        "gollem_socket_held_bytes",
        "Bytes handed to WebSockets that their connections did not take yet.",
        read(&figures.held_bytes),
    );
    page.gauge(
        "gollem_socket_held_bytes_peak",
        "The most bytes that one WebSocket ever held so.",
        read(&figures.held_bytes_peak),
    );
    page.counter("gollem_socket_messages_total", "Messages written to WebSockets.", read(&figures.messages));
    page.counter(
        "gollem_socket_resyncs_total",
        "Readers that were too late for what they missed and had to begin anew.",
        read(&figures.resyncs),
    );
    page.counter("gollem_socket_slow_total", "WebSockets closed as their clients took nothing.", read(&figures.slow));
}

/// How far publishing is.
fn kafka(page: &mut Page, publisher: &PublisherView, durable: u64) {
    let published = publisher.published_seq();
    page.gauge("gollem_kafka_up", "Whether the broker takes records, as far as is known.", publisher.is_up().into());
    page.gauge("gollem_kafka_seq", "The last input that is in every topic; 0 while it is not known.", published);
    page.gauge(
        "gollem_kafka_lag_inputs",
        "Durable inputs that are not published yet.",
        durable.saturating_sub(published),
    );
    page.counter("gollem_kafka_records_total", "Records that the broker acknowledged.", publisher.records());
    page.counter("gollem_kafka_gaps_total", "How often inputs had to be read from the journal.", publisher.gaps());
    page.counter("gollem_kafka_restarts_total", "How often publishing began anew.", publisher.restarts());
}
