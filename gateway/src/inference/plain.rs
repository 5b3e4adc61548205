//! A call answered in one piece.

use crate::error::ApiError;
use crate::inference::contract::Bought;
use crate::inference::meter::{Measured, Usage};
use crate::inference::provider::{Undelivered, failed};
use crate::inference::upstream::{UpstreamError, read_all};
use crate::inference::{Call, Receipt};
use crate::money::credits;
use gollem_engine::Outcome;
use serde_json::Value;
use std::time::{Duration, Instant};

/// A settled answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Value,
    pub(crate) receipt: Receipt,
}

/// Runs the call to its end.
pub(crate) async fn run(call: Call) -> Result<Answer, ApiError> {
    let bought = call.buy().await?;
    let sent = Instant::now();
    let received = call.unless_cut_short(receive(&call, &bought)).await;
    let upstream = sent.elapsed();
    let body = match received {
        Ok(body) => body,
        Err((error, outcome)) => {
            call.settle_nothing(&bought, outcome).await;
            return Err(error);
        }
    };
    let measured = Measured {
        usage: Usage::from_json(&body).unwrap_or_else(|| estimate(&call, &body)),
        // A plain answer shows its first token only with its last: no promise can be held against it.
        first_token_ms: None,
        throughput_tps: None,
    };
    let cost = credits(call.settle(&bought, &measured, Outcome::Completed).await?);
    let overhead = call.started.elapsed().saturating_sub(upstream);
    call.app.record_overhead(overhead);
    Ok(finish(body, &bought, cost, overhead))
}

/// The provider's answer, or the caller's error with how the delivery ended.
async fn receive(call: &Call, bought: &Bought) -> Result<Value, Undelivered> {
    let body = call.ask(bought, bought.deadline).await?;
    let body = read_all(body, call.request.output_max, bought.deadline).await.map_err(failed)?;
    let parsed: Option<Value> = serde_json::from_slice(&body).ok().filter(Value::is_object);
    parsed.ok_or_else(|| failed(UpstreamError("the provider's answer is not JSON")))
}

fn estimate(call: &Call, body: &Value) -> Usage {
    let text = body.pointer("/choices/0/message/content").and_then(Value::as_str).unwrap_or_default();
    Usage::estimate(call.request.input_bound, text.len() as u64)
}

fn finish(mut body: Value, bought: &Bought, cost: String, overhead: Duration) -> Answer {
    if let Some(usage) = body.get_mut("usage").and_then(Value::as_object_mut) {
        usage.insert("cost".into(), cost.clone().into());
    }
    let receipt = Receipt { cost: Some(cost), overhead: Some(overhead), ..Receipt::of(bought) };
    Answer { body, receipt }
}
