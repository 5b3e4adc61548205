//! `POST /api/generate`: one prompt in, one text out, with the limits in the body if there are no headers for them.

use super::{Fields, Settled, put};
use crate::api::parse;
use crate::error::ApiError;
use crate::inference::limits::{Limits, PriceLimit};
use serde::Deserialize;
use serde_json::{Value, json};

/// The body.
#[derive(Debug, Deserialize)]
struct Generate {
    model: String,
    prompt: String,
    max_tokens: Option<u64>,
    max_price: Option<Value>,
    max_latency: Option<u32>,
    #[serde(default)]
    stream: bool,
}

pub(super) fn to_chat(body: &[u8]) -> Result<(Fields, Limits), ApiError> {
    let request: Generate = parse(body)?;
    if request.stream {
        return Err(ApiError::invalid("stream", "this route does not stream; use /v1/chat/completions"));
    }
    if request.prompt.is_empty() {
        return Err(ApiError::invalid("prompt", "prompt must not be empty"));
    }
    let max_price = match &request.max_price {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(PriceLimit::parse("max_price", text)?),
        Some(value) => Some(PriceLimit::parse("max_price", &value.to_string())?),
    };
    let mut fields = Fields::new();
    fields.insert("model".into(), request.model.into());
    fields.insert("messages".into(), json!([{ "role": "user", "content": request.prompt }]));
    put(&mut fields, "max_tokens", request.max_tokens.map(Value::from));
    Ok((fields, Limits { max_price, max_latency_ms: request.max_latency, ..Limits::default() }))
}

pub(super) fn answer(mut body: Value, settled: &Settled<'_>) -> Value {
    if let Some(usage) = body.get_mut("usage").and_then(Value::as_object_mut) {
        usage.insert("cost".into(), settled.cost.into());
    }
    let text = body.pointer("/choices/0/message/content").cloned().unwrap_or_else(|| "".into());
    let part = |name: &str| body.get(name).cloned().unwrap_or(Value::Null);
    json!({
        "id": part("id"), "model": part("model"), "response": text, "done": true, "provider": settled.provider,
        "cost": settled.cost, "usage": part("usage"),
        "latency_ms": u64::try_from(settled.elapsed.as_millis()).unwrap_or(u64::MAX),
    })
}
