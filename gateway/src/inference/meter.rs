//! Metering: tokens and times of a delivery.
//!
//! What counts is the provider's own usage report, never more than the worst case the call was matched for. Without one,
//! output counts one token a chunk that carried content, and input a quarter of its bound (about four bytes a token).

use gollem_engine::{Quantity, TokenWeights};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Bytes of text a token has, roughly, where a provider reports no usage.
const BYTES_PER_TOKEN: u64 = 4;

/// Tokens of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
}

impl Usage {
    /// The `usage` object of an OpenAI answer or chunk, if it has one.
    pub(crate) fn from_json(answer: &Value) -> Option<Usage> {
        let usage = answer.get("usage")?;
        let cached = usage.pointer("/prompt_tokens_details/cached_tokens").and_then(Value::as_u64);
        Some(Usage {
            input: usage.get("prompt_tokens")?.as_u64()?,
            cached: cached.unwrap_or(0),
            output: usage.get("completion_tokens")?.as_u64()?,
        })
    }

    /// The estimate for an answer without usage: `output_bytes` of text to an input of at most `input_bound` tokens.
    pub(crate) fn estimate(input_bound: u64, output_bytes: u64) -> Usage {
        let input = input_bound.div_ceil(BYTES_PER_TOKEN);
        Usage { input, cached: 0, output: output_bytes.div_ceil(BYTES_PER_TOKEN) }
    }

    /// Units of it, at most `contracted`: a provider cannot charge beyond what it was matched for.
    pub(crate) fn units(&self, weights: &TokenWeights, contracted: Quantity) -> Quantity {
        weights.units(self.input, self.cached, self.output).unwrap_or(contracted).min(contracted)
    }
}

/// What a delivery report says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) usage: Usage,
    pub(crate) first_token_ms: Option<u32>,
    pub(crate) throughput_tps: Option<u32>,
}

/// Meters a stream chunk by chunk.
#[derive(Debug)]
pub(crate) struct StreamMeter {
    sent: Instant,
    input_bound: u64,
    first: Option<Instant>,
    last: Instant,
    reported: Option<Usage>,
    content_chunks: u64,
}

impl StreamMeter {
    /// Starts when the request has been sent.
    pub(crate) fn new(sent: Instant, input_bound: u64) -> StreamMeter {
        StreamMeter { sent, input_bound, first: None, last: sent, reported: None, content_chunks: 0 }
    }

    /// Counts a chunk.
    pub(crate) fn observe(&mut self, chunk: &Value, now: Instant) {
        self.reported = Usage::from_json(chunk).or(self.reported);
        let delta = chunk.pointer("/choices/0/delta").and_then(Value::as_object);
        // Content, reasoning, tool calls: whatever the server calls it, it took tokens to make.
        let content = |(name, value): (&String, &Value)| {
            let text = value.as_str().is_some_and(|text| !text.is_empty());
            name != "role" && (text || value.as_array().is_some_and(|parts| !parts.is_empty()))
        };
        if delta.is_some_and(|delta| delta.iter().any(content)) {
            self.content_chunks += 1;
            self.first.get_or_insert(now);
            self.last = now;
        }
    }

    /// The delivery so far.
    pub(crate) fn measured(&self) -> Measured {
        let Some(first) = self.first else {
            return Measured { usage: self.reported.unwrap_or_default(), ..Measured::default() };
        };
        let estimate = Usage { output: self.content_chunks, ..Usage::estimate(self.input_bound, 0) };
        let usage = self.reported.unwrap_or(estimate);
        Measured {
            usage,
            first_token_ms: Some(millis(first - self.sent)),
            throughput_tps: throughput(usage.output, self.last - first),
        }
    }
}

/// Tokens a second after the first token; `None` for fewer than two tokens or no time between them.
fn throughput(output: u64, elapsed: Duration) -> Option<u32> {
    let micros = elapsed.as_micros();
    let after_first = u128::from(output.checked_sub(1).filter(|tokens| *tokens > 0)?);
    u32::try_from((after_first * 1_000_000).checked_div(micros)?).ok()
}

/// Whole milliseconds, saturating.
fn millis(elapsed: Duration) -> u32 {
    u32::try_from(elapsed.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn usage_is_read_and_never_exceeds_the_contract() {
        let usage =
            json!({ "prompt_tokens": 374, "completion_tokens": 44, "prompt_tokens_details": {"cached_tokens": 4} });
        let usage = Usage::from_json(&json!({ "usage": usage })).unwrap();
        assert_eq!(usage, Usage { input: 374, cached: 4, output: 44 });
        let weights = TokenWeights { input: 1_000, cached_input: 250, output: 4_000 };
        assert_eq!(usage.units(&weights, Quantity(774)), Quantity(547));
        assert_eq!(usage.units(&weights, Quantity(500)), Quantity(500), "clipped");
        let absurd = Usage { input: u64::MAX, cached: 0, output: u64::MAX };
        assert_eq!(absurd.units(&weights, Quantity(500)), Quantity(500));
        assert_eq!(Usage::from_json(&json!({ "usage": null })), None);
        assert_eq!(Usage::from_json(&json!({ "usage": {"prompt_tokens": -1, "completion_tokens": 1} })), None);
    }

    #[test]
    fn a_stream_is_metered_by_reported_usage_or_else_by_chunks() {
        let start = Instant::now();
        let mut meter = StreamMeter::new(start, 100);
        assert_eq!(meter.measured(), Measured::default(), "nothing came, nothing counts");
        let content = json!({ "choices": [{ "delta": { "content": " word" } }], "usage": null });
        for k in 0..5_u64 {
            meter.observe(&content, start + Duration::from_millis(200 + 10 * k));
        }
        let measured = meter.measured();
        assert_eq!(measured.usage, Usage { input: 25, cached: 0, output: 5 });
        assert_eq!((measured.first_token_ms, measured.throughput_tps), (Some(200), Some(100)));
        let role = json!({ "choices": [{ "delta": { "role": "assistant", "content": "" } }] });
        meter.observe(&role, start + Duration::from_millis(290));
        assert_eq!(meter.measured(), measured, "a role is no token");
        let reasoning = json!({ "choices": [{ "delta": { "reasoning_content": "hm" } }] });
        meter.observe(&reasoning, start + Duration::from_millis(295));
        assert_eq!(meter.measured().usage.output, 6, "thinking is");
        let usage = json!({ "choices": [], "usage": { "prompt_tokens": 9, "completion_tokens": 5 } });
        meter.observe(&usage, start + Duration::from_millis(300));
        assert_eq!(meter.measured().usage, Usage { input: 9, cached: 0, output: 5 });
    }
}
