//! Reading a call: what the market must know of it, and the body the provider gets.
//!
//! Worst case: the input counts one token a byte of the request body, which no byte-based tokenizer exceeds for text (escapes
//! and JSON syntax only add bytes, and outweigh the few tokens a chat template adds), the output counts the most
//! tokens the provider may generate. So content must be text, and fields by which some servers would generate more are
//! refused; other unknown fields pass through untouched.

use crate::api::parse;
use crate::error::ApiError;
use crate::money::parse_dollars_per_unit;
use axum::body::Bytes;
use axum::http::HeaderMap;
use gollem_engine::limits::PRICE_MAX;
use gollem_engine::{Constraints, InstrumentSpec, Price, Quantity};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Output tokens when the request names no limit; the provider is told so.
const OUTPUT_TOKENS_DEFAULT: u64 = 1_024;
/// Most output tokens a request may ask for.
const OUTPUT_TOKENS_MAX: u64 = 131_072;

/// Other names for a limit on output, or ways to more of it, that some servers obey and the market does not price.
const OTHER_OUTPUT_LIMITS: [&str; 5] = ["best_of", "max_new_tokens", "min_tokens", "n_predict", "num_predict"];

/// A chat completion as the market sees it.
#[derive(Debug)]
pub(crate) struct ChatRequest {
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// The client wants the usage chunk of a stream.
    pub(crate) include_usage: bool,
    /// No tokenizer makes more input tokens of it.
    pub(crate) input_bound: u64,
    /// The provider generates no more than this.
    pub(crate) output_max: u64,
    /// What the provider gets.
    pub(crate) forwarded: Bytes,
}

impl ChatRequest {
    pub(crate) fn parse(body: &Bytes) -> Result<ChatRequest, ApiError> {
        let mut fields: Map<String, Value> = parse(body)?;
        let model = match fields.get("model") {
            Some(Value::String(model)) => model.clone(),
            _ => {
                return Err(ApiError::invalid("model", "model must be a string: the name of a listed instrument"));
            }
        };
        if fields.get("messages").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            return Err(ApiError::invalid("messages", "messages must be a list with at least one message"));
        }
        check_text_only(&fields)?;
        if let Some(field) = OTHER_OUTPUT_LIMITS.iter().find(|field| fields.contains_key(**field)) {
            return Err(ApiError::invalid(*field, format!("{field} is not taken; use max_tokens")));
        }
        if fields.get("n").is_some_and(|n| !n.is_null() && n.as_u64() != Some(1)) {
            return Err(ApiError::invalid("n", "n must be 1"));
        }
        let stream = match fields.get("stream") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(stream)) => *stream,
            Some(_) => return Err(ApiError::invalid("stream", "stream must be true or false")),
        };
        let include_usage = fields.get("stream_options").and_then(|options| options.get("include_usage")?.as_bool());
        let output_max = output_max(&fields)?;
        if output_max.is_none() {
            fields.insert("max_tokens".into(), OUTPUT_TOKENS_DEFAULT.into());
        }
        if stream {
            // Running usage, as vLLM offers it, tells what was delivered when a stream ends early.
            let options = json!({ "include_usage": true, "continuous_usage_stats": true });
            fields.insert("stream_options".into(), options);
        }
        Ok(ChatRequest {
            model,
            stream,
            include_usage: include_usage.unwrap_or(false),
            input_bound: body.len() as u64,
            output_max: output_max.unwrap_or(OUTPUT_TOKENS_DEFAULT),
            // Written anew even when nothing changed: of a field given twice, the provider must see what was read here.
            forwarded: Bytes::from(Value::Object(fields).to_string()),
        })
    }

    /// The most units it can use, in whole lots, which may be at most what the instrument takes in one order.
    pub(crate) fn worst_case(&self, spec: &InstrumentSpec) -> Result<Quantity, ApiError> {
        let units = spec.weights.units(self.input_bound, 0, self.output_max);
        let lots = units.and_then(|units| units.max(spec.quantity_min).0.checked_next_multiple_of(spec.lot.0));
        lots.map(Quantity).filter(|units| *units <= spec.quantity_max).ok_or_else(|| {
            let (input, output, max) = (self.input_bound, self.output_max, spec.quantity_max.0);
            let message = format!(
                "{input} bytes of prompt and up to {output} output tokens exceed the {max} units this model takes; \
                 lower max_tokens"
            );
            ApiError::invalid("max_tokens", message)
        })
    }
}

/// The request's own limit on output tokens. Servers differ in which name they obey, so the larger one counts.
fn output_max(fields: &Map<String, Value>) -> Result<Option<u64>, ApiError> {
    let mut max = None;
    for field in ["max_completion_tokens", "max_tokens"] {
        let Some(value) = fields.get(field).filter(|value| !value.is_null()) else { continue };
        let tokens = value.as_u64().filter(|tokens| (1..=OUTPUT_TOKENS_MAX).contains(tokens));
        let message = format!("{field} must be a whole number between 1 and {OUTPUT_TOKENS_MAX}");
        max = max.max(Some(tokens.ok_or_else(|| ApiError::invalid(field, message))?));
    }
    Ok(max)
}

/// Refuses images, sound and files: a few bytes of them can be a thousand tokens.
fn check_text_only(fields: &Map<String, Value>) -> Result<(), ApiError> {
    let messages = fields.get("messages").and_then(Value::as_array).into_iter().flatten();
    let mut parts = messages.filter_map(|message| message.get("content")?.as_array()).flatten();
    let is_text = |part: &Value| matches!(part.get("type").and_then(Value::as_str), Some("text" | "refusal"));
    if parts.all(is_text) {
        return Ok(());
    }
    Err(ApiError::invalid(
        "messages",
        "messages may hold text only for now; each part of a content needs type \"text\"",
    ))
}

/// The most a buyer pays, and the header or field that said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PriceLimit {
    price: Price,
    pub(crate) field: &'static str,
}

impl PriceLimit {
    fn parse(field: &'static str, dollars_per_unit: &str) -> Result<PriceLimit, ApiError> {
        let price = parse_dollars_per_unit(field, dollars_per_unit)?;
        if price.0 > PRICE_MAX {
            return Err(ApiError::invalid(field, format!("{field} may be at most 1000 US dollars per unit")));
        }
        Ok(PriceLimit { price, field })
    }

    /// The limit as the market takes it: in whole ticks, rounded down since the buyer never pays more, and no higher
    /// than any ask can be.
    pub(crate) fn on_tick(&self, spec: &InstrumentSpec) -> Result<Price, ApiError> {
        let (_, highest) = spec.band();
        let price = self.price.min(highest);
        let on_tick = price.0 - price.0 % spec.tick.0;
        if on_tick == 0 {
            let message = format!("{} is below this model's price step", self.field);
            return Err(ApiError::invalid(self.field, message));
        }
        Ok(Price(on_tick))
    }
}

/// The buyer's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The reference price when `None`.
    pub(crate) max_price: Option<PriceLimit>,
    pub(crate) max_latency_ms: Option<u32>,
    pub(crate) min_throughput_tps: Option<u32>,
}

impl Limits {
    /// `x-max-price` in US dollars per normalised token, `x-max-latency` in milliseconds to the first token,
    /// `x-min-throughput` in tokens a second.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Limits, ApiError> {
        let text = |name: &'static str| match headers.get(name) {
            None => Ok(None),
            Some(value) => {
                let text = value.to_str().map_err(|_| ApiError::invalid(name, format!("{name} must be a number")));
                text.map(|text| Some(text.trim()))
            }
        };
        let whole = |name: &'static str| -> Result<Option<u32>, ApiError> {
            let parsed = text(name)?.map(str::parse).transpose();
            parsed.map_err(|_| ApiError::invalid(name, format!("{name} must be a whole number")))
        };
        Ok(Limits {
            max_price: text("x-max-price")?.map(|text| PriceLimit::parse("x-max-price", text)).transpose()?,
            max_latency_ms: whole("x-max-latency")?,
            min_throughput_tps: whole("x-min-throughput")?,
        })
    }

    pub(crate) fn constraints(&self) -> Constraints {
        Constraints {
            max_latency_ms: self.max_latency_ms,
            min_throughput_tps: self.min_throughput_tps,
            ..Constraints::default()
        }
    }
}

/// The body of `POST /api/generate`.
#[derive(Debug, Deserialize)]
pub(crate) struct Generate {
    model: String,
    prompt: String,
    max_tokens: Option<u64>,
    max_price: Option<Value>,
    max_latency: Option<u32>,
    #[serde(default)]
    stream: bool,
}

impl Generate {
    pub(crate) fn parse(body: &Bytes) -> Result<Generate, ApiError> {
        let request: Generate = parse(body)?;
        if request.stream {
            return Err(ApiError::invalid("stream", "this route does not stream; use /v1/chat/completions"));
        }
        if request.prompt.is_empty() {
            return Err(ApiError::invalid("prompt", "prompt must not be empty"));
        }
        Ok(request)
    }

    /// The headers' limits, or the body's where a header is missing.
    pub(crate) fn limits(&self, headers: Limits) -> Result<Limits, ApiError> {
        let from_body = match &self.max_price {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(PriceLimit::parse("max_price", text)?),
            Some(value) => Some(PriceLimit::parse("max_price", &value.to_string())?),
        };
        Ok(Limits {
            max_price: headers.max_price.or(from_body),
            max_latency_ms: headers.max_latency_ms.or(self.max_latency),
            ..headers
        })
    }

    pub(crate) fn to_chat(&self) -> Result<ChatRequest, ApiError> {
        let mut body = json!({ "model": self.model, "messages": [{ "role": "user", "content": self.prompt }] });
        if let Some(tokens) = self.max_tokens {
            body["max_tokens"] = tokens.into();
        }
        ChatRequest::parse(&Bytes::from(body.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_engine::{Symbol, TokenWeights};

    fn parse_text(text: &str) -> Result<ChatRequest, ApiError> {
        ChatRequest::parse(&Bytes::from(text.to_owned()))
    }

    fn spec() -> InstrumentSpec {
        InstrumentSpec {
            symbol: Symbol::new("m").unwrap(),
            weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
            tick: Price(10),
            price_max: Price(200_000),
            reference_price: Price(100_000),
            band_bps: 0,
            lot: Quantity(1),
            quantity_min: Quantity(1),
            quantity_max: Quantity(1_000),
            maker_fee_bps: 0,
            taker_fee_bps: 0,
            delivery_fee_bps: 100,
            tolerance_bps: 1_000,
            rebate_bps: 0,
            contract_ttl_ns: 1,
        }
    }

    #[test]
    fn the_worst_case_covers_every_byte_and_every_allowed_token() {
        let text = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":100}"#;
        let request = parse_text(text).unwrap();
        let mut spec = spec();
        let worst = Quantity(text.len() as u64 + 400);
        assert_eq!(request.worst_case(&spec).unwrap(), worst);
        spec.quantity_max = Quantity(worst.0 - 1);
        assert_eq!(request.worst_case(&spec).expect_err("too large").param.as_deref(), Some("max_tokens"));
        assert_eq!(request.forwarded, text, "nothing is added to a body that says everything");
        let whole_lots = |lot, quantity_min| InstrumentSpec {
            lot: Quantity(lot),
            quantity_min: Quantity(quantity_min),
            quantity_max: Quantity(1_000),
            ..spec
        };
        assert_eq!(request.worst_case(&whole_lots(100, 100)).unwrap(), Quantity(worst.0.next_multiple_of(100)));
        assert_eq!(request.worst_case(&whole_lots(1, 800)).unwrap(), Quantity(800), "no less than an order has");
    }

    #[test]
    fn a_limit_is_taken_as_at_most_and_in_whole_ticks() {
        let on_tick = |dollars: &str, spec: &InstrumentSpec| PriceLimit::parse("p", dollars).unwrap().on_tick(spec);
        let spec = spec();
        assert_eq!(on_tick("0.00000135009", &spec).unwrap(), Price(135_000));
        assert_eq!(on_tick("1000", &spec).unwrap(), Price(200_000), "no ask is dearer");
        assert_eq!(on_tick("0.00000000009", &spec).expect_err("below a tick").param.as_deref(), Some("p"));
        let banded = InstrumentSpec { band_bps: 3_333, ..spec };
        assert_eq!(on_tick("1000", &banded).unwrap(), Price(133_330));
    }

    #[test]
    fn a_request_without_a_limit_gets_one_that_the_provider_is_told() {
        let request = parse_text(r#"{"model":"m","messages":[{}],"tools":[1]}"#).unwrap();
        let forwarded: Value = serde_json::from_slice(&request.forwarded).unwrap();
        assert_eq!(forwarded["max_tokens"], OUTPUT_TOKENS_DEFAULT);
        assert_eq!(forwarded["tools"], json!([1]), "unknown fields pass through");
    }

    #[test]
    fn a_stream_always_asks_the_provider_for_usage() {
        let request = parse_text(r#"{"model":"m","messages":[{}],"stream":true}"#).unwrap();
        let forwarded: Value = serde_json::from_slice(&request.forwarded).unwrap();
        assert_eq!(forwarded["stream_options"]["include_usage"], true);
        assert!(!request.include_usage, "but the client did not");
    }

    #[test]
    fn the_larger_of_two_limits_counts_and_a_field_given_twice_is_forwarded_once() {
        let request = parse_text(r#"{"model":"m","messages":[{}],"max_completion_tokens":1,"max_tokens":9}"#).unwrap();
        assert_eq!(request.output_max, 9);
        let request = parse_text(r#"{"model":"m","messages":[{}],"max_tokens":131072,"max_tokens":1}"#).unwrap();
        assert_eq!(request.output_max, 1);
        assert_eq!(request.forwarded, r#"{"model":"m","messages":[{}],"max_tokens":1}"#);
    }

    #[test]
    fn bad_calls_are_refused_by_field() {
        let check = |text: &str, param: &str| {
            assert_eq!(parse_text(text).expect_err(text).param.as_deref(), Some(param), "{text}");
        };
        check("{", "body");
        check("[]", "body");
        check(r#"{"messages":[{}]}"#, "model");
        check(r#"{"model":7,"messages":[{}]}"#, "model");
        check(r#"{"model":"m"}"#, "messages");
        check(r#"{"model":"m","messages":[]}"#, "messages");
        check(r#"{"model":"m","messages":[{"content":[{"type":"image_url"}]}]}"#, "messages");
        check(r#"{"model":"m","messages":[{}],"n_predict":5}"#, "n_predict");
        check(r#"{"model":"m","messages":[{}],"n":2}"#, "n");
        check(r#"{"model":"m","messages":[{}],"stream":"yes"}"#, "stream");
        check(r#"{"model":"m","messages":[{}],"max_tokens":0}"#, "max_tokens");
        check(r#"{"model":"m","messages":[{}],"max_tokens":-1}"#, "max_tokens");
        check(r#"{"model":"m","messages":[{}],"max_completion_tokens":1e9}"#, "max_completion_tokens");
    }

    #[test]
    fn limits_come_from_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("x-max-price", "0.00000135".parse().unwrap());
        headers.insert("x-max-latency", "400".parse().unwrap());
        let limits = Limits::from_headers(&headers).unwrap();
        assert_eq!(
            (limits.max_price.map(|limit| limit.price), limits.max_latency_ms),
            (Some(Price(135_000)), Some(400))
        );
        headers.insert("x-max-latency", "soon".parse().unwrap());
        assert_eq!(Limits::from_headers(&headers).expect_err("words").param.as_deref(), Some("x-max-latency"));
    }
}
