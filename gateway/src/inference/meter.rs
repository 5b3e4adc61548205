//! Metering: tokens and times of a delivery.
//!
//! What counts is the provider's own usage report, never more than the worst case the call was matched for, and never more
//! than can be: input at most its bound; output at most what a tokenizer of the model's family counts in the text that came,
//! with a tenth and 16 tokens on top, or a token a byte of it where no tokenizer is known. Who reports more is paid for what
//! was counted, and it is recorded. Reasoning that is not shown cannot be counted, so it is not paid. Without a report output
//! is what the tokenizer counts, else one token a chunk that carried content, or four bytes of a plain answer's; input is its
//! bound where that came of a tokenizer, else a quarter of it.

use crate::inference::chunk::{Carried, object};
use crate::inference::tokens::Tokenizer;
use gollem_engine::{Quantity, TokenWeights, Tokens};
use serde::Deserialize;
use serde_json::value::RawValue;
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

/// A `usage` object.
#[derive(Deserialize)]
struct Told<'a> {
    prompt_tokens: u64,
    completion_tokens: u64,
    /// Whatever is wrong in it is no reason not to take the rest.
    #[serde(borrow, default)]
    prompt_tokens_details: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow, default)]
    cached_tokens: Option<&'a RawValue>,
}

impl Usage {
    /// The `usage` object of an OpenAI answer or chunk; none if it is not whole.
    pub(crate) fn read(json: &str) -> Option<Usage> {
        let told: Told<'_> = object(json)?;
        let details: Option<Details<'_>> = told.prompt_tokens_details.and_then(|details| object(details.get()));
        let cached = details.and_then(|details| serde_json::from_str(details.cached_tokens?.get()).ok());
        Some(Usage { input: told.prompt_tokens, cached: cached.unwrap_or(0), output: told.completion_tokens })
    }

    /// Of an answer of which this came first, and then those.
    pub(crate) fn followed_by(&self, next: &Usage) -> Usage {
        match self.input {
            0 => *next,
            _ => Usage { output: self.output.saturating_add(next.output), ..*self },
        }
    }

    /// As a delivery report names them; more than four thousand million of a kind count as that many.
    pub(crate) fn tokens(&self) -> Tokens {
        let count = |tokens| u32::try_from(tokens).unwrap_or(u32::MAX);
        Tokens {
            input: count(self.input),
            cached_input: count(self.cached.min(self.input)),
            output: count(self.output),
        }
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
    /// The provider reported more than was counted.
    pub(crate) overstated: bool,
    pub(crate) first_token_ms: Option<u32>,
    pub(crate) throughput_tps: Option<u32>,
}

/// Tokens on top of the tokenizer's count that are no matter, for each choice and each tool call: ends, marks around them.
const TOLERATED_TOKENS: u64 = 16;
/// Tokens of a prompt beyond its bound that are not paid but no matter either: what some templates put in front.
const TEMPLATE_TOKENS: u64 = 256;

/// How much of an answer came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    /// Of generated text: content, reasoning, names and arguments of tool calls.
    bytes: u64,
    /// Chunks that carried any; none of a plain answer.
    chunks: u64,
    /// Tool calls.
    calls: u64,
}

/// What is known of a call's tokens besides what its provider says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counting {
    pub(crate) tokenizer: Option<Tokenizer>,
    /// No prompt is longer, in tokens.
    pub(crate) input_bound: u64,
    /// No answer is longer, all choices together.
    pub(crate) output_max: u64,
    /// Answers that are made at once: each has an end.
    pub(crate) choices: u64,
}

impl Counting {
    /// What is paid, and whether more was reported. `text` is the generated text where there is a tokenizer for it.
    fn judge(&self, reported: Option<Usage>, amounts: Amounts, text: &str) -> (Usage, bool) {
        let counted = self.tokenizer.map(|tokenizer| tokenizer.count(text));
        let guess = || if amounts.chunks > 0 { amounts.chunks } else { amounts.bytes.div_ceil(BYTES_PER_TOKEN) };
        let ours = Usage {
            input: if counted.is_some() { self.input_bound } else { self.input_bound.div_ceil(BYTES_PER_TOKEN) },
            cached: 0,
            output: counted.unwrap_or_else(guess).min(self.output_max),
        };
        let Some(reported) = reported else { return (ours, false) };
        let tolerated = TOLERATED_TOKENS.saturating_mul(self.choices.saturating_add(amounts.calls));
        let most = counted.map_or(amounts.bytes, |counted| counted + counted / 10).saturating_add(tolerated);
        let most = most.min(self.output_max);
        let input = reported.input.min(self.input_bound);
        let output = if reported.output <= most { reported.output } else { ours.output };
        let overstated = reported.output > most || reported.input > self.input_bound + TEMPLATE_TOKENS;
        (Usage { input, output, ..reported }, overstated)
    }

    /// The delivery of a plain answer. It shows its first token only with its last: no promise can be held against it.
    pub(crate) fn of_answer(&self, answer: &Carried<'_>) -> Measured {
        let mut text = String::new();
        let calls = answer.visit_text(&mut |part| text.push_str(part));
        let amounts = Amounts { bytes: text.len() as u64, chunks: 0, calls };
        let (usage, overstated) = self.judge(answer.usage(), amounts, &text);
        Measured { usage, overstated, first_token_ms: None, throughput_tps: None }
    }
}

/// How far a stream was when its client had it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    reported: Option<Usage>,
    amounts: Amounts,
    times: Option<(Instant, Instant)>,
}

/// Meters a stream chunk by chunk.
#[derive(Debug)]
pub(crate) struct StreamMeter {
    sent: Instant,
    counting: Counting,
    now: Progress,
    /// Time in which nothing was read since the client, or our disk, was waited for: it is not the provider's.
    held: Duration,
    /// The generated text, where there is a tokenizer for it.
    text: String,
}

impl StreamMeter {
    /// Starts when the request has been sent.
    pub(crate) fn new(sent: Instant, counting: Counting) -> StreamMeter {
        StreamMeter { sent, counting, now: Progress::default(), held: Duration::ZERO, text: String::new() }
    }

    /// Counts a chunk.
    pub(crate) fn observe(&mut self, chunk: &Carried<'_>, now: Instant) {
        self.now.reported = chunk.usage().or(self.now.reported);
        let (before, keeps) = (self.now.amounts.bytes, self.counting.tokenizer.is_some());
        let calls = chunk.visit_text(&mut |part| {
            self.now.amounts.bytes += part.len() as u64;
            if keeps {
                self.text.push_str(part);
            }
        });
        self.now.amounts.calls += calls;
        if self.now.amounts.bytes > before {
            self.now.amounts.chunks += 1;
            let now = now.checked_sub(self.held).unwrap_or(now);
            let (first, last) = self.now.times.unwrap_or((now, now));
            self.now.times = Some((first, last.max(now)));
        }
    }

    /// Nothing was read for so long, for reasons that are not the provider's.
    pub(crate) fn held_up(&mut self, time: Duration) {
        self.held += time;
    }

    /// Bytes of text so far.
    pub(crate) fn text_bytes(&self) -> u64 {
        self.now.amounts.bytes
    }

    /// Whether a token has come.
    pub(crate) fn has_begun(&self) -> bool {
        self.now.times.is_some()
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> Progress {
        self.now
    }

    /// The delivery as it was then.
    pub(crate) fn measured(&self, then: Progress) -> Measured {
        let Some((first, last)) = then.times else {
            let (usage, overstated) = match then.reported {
                Some(reported) => self.counting.judge(Some(reported), then.amounts, ""),
                None => (Usage::default(), false),
            };
            return Measured { usage, overstated, ..Measured::default() };
        };
        let len = usize::try_from(then.amounts.bytes).unwrap_or(usize::MAX);
        let text = self.text.get(..len).unwrap_or(&self.text);
        let (usage, overstated) = self.counting.judge(then.reported, then.amounts, text);
        Measured {
            usage,
            overstated,
            first_token_ms: Some(millis(first - self.sent)),
            throughput_tps: throughput(usage.output, last - first),
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
    use serde_json::{Value, json};

    #[test]
    fn usage_is_read_and_never_exceeds_the_contract() {
        let usage =
            json!({ "prompt_tokens": 374, "completion_tokens": 44, "prompt_tokens_details": {"cached_tokens": 4} });
        let usage = Usage::read(&usage.to_string()).unwrap();
        assert_eq!(usage, Usage { input: 374, cached: 4, output: 44 });
        let weights = TokenWeights { input: 1_000, cached_input: 250, output: 4_000 };
        assert_eq!(usage.units(&weights, Quantity(774)), Quantity(547));
        assert_eq!(usage.units(&weights, Quantity(500)), Quantity(500), "clipped");
        let absurd = Usage { input: u64::MAX, cached: 0, output: u64::MAX };
        assert_eq!(absurd.units(&weights, Quantity(500)), Quantity(500));
        assert_eq!((Usage::read("null"), Usage::read("[11,500]")), (None, None));
        let odd = r#"{ "prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": { "cached_tokens": -1 } }"#;
        assert_eq!(Usage::read(odd), Some(Usage { input: 5, cached: 0, output: 1 }));
        assert_eq!(Usage::read(r#"{ "prompt_tokens": -1, "completion_tokens": 1 }"#), None);
    }

    /// No tokenizer is known; the prompt has at most 100 tokens.
    const BLIND: Counting = Counting { tokenizer: None, input_bound: 100, output_max: 1_000, choices: 1 };

    /// What an answer carries, for as long as the tests run.
    fn carried(answer: &Value) -> Carried<'static> {
        Carried::of(answer.to_string().leak().as_bytes()).unwrap()
    }

    fn usage(input: u64, output: u64) -> Value {
        json!({ "prompt_tokens": input, "completion_tokens": output })
    }

    #[test]
    fn a_stream_is_metered_by_reported_usage_or_else_by_chunks() {
        let start = Instant::now();
        let mut meter = StreamMeter::new(start, BLIND);
        assert_eq!(meter.measured(meter.progress()), Measured::default(), "nothing came, nothing counts");
        let content = json!({ "choices": [{ "delta": { "content": " word" } }], "usage": null });
        for k in 0..5_u64 {
            meter.observe(&carried(&content), start + Duration::from_millis(200 + 10 * k));
        }
        let measured = meter.measured(meter.progress());
        assert_eq!(measured.usage, Usage { input: 25, cached: 0, output: 5 });
        assert_eq!((measured.first_token_ms, measured.throughput_tps), (Some(200), Some(100)));
        let role = json!({ "choices": [{ "delta": { "role": "assistant", "content": "" } }] });
        meter.observe(&carried(&role), start + Duration::from_millis(290));
        assert_eq!(meter.measured(meter.progress()), measured, "a role is no token");
        let reasoning = json!({ "choices": [{ "delta": { "reasoning_content": "hm" } }] });
        meter.observe(&carried(&reasoning), start + Duration::from_millis(295));
        assert_eq!(meter.measured(meter.progress()).usage.output, 6, "thinking is");
        let call = json!([{ "index": 0, "function": { "name": "f", "arguments": "{}" } }]);
        let tools = json!({ "choices": [{ "delta": { "tool_calls": call } }] });
        meter.observe(&carried(&tools), start + Duration::from_millis(297));
        assert_eq!(meter.measured(meter.progress()).usage.output, 7, "a tool call is");
        let earlier = meter.progress();
        meter.observe(&carried(&json!({ "choices": [], "usage": usage(9, 5) })), start + Duration::from_millis(300));
        assert_eq!(meter.measured(meter.progress()).usage, Usage { input: 9, cached: 0, output: 5 });
        assert_eq!(meter.measured(earlier).usage.output, 7, "what was reported later does not count for then");
    }

    #[test]
    fn who_reports_more_than_can_be_is_paid_for_what_was_counted() {
        let answer = |reported: Value| json!({ "choices": [{ "message": { "role": "assistant", "content": "0123456789" } }], "usage": reported });
        let paid = |counting: Counting, reported: Value| {
            let measured = counting.of_answer(&carried(&answer(reported)));
            (measured.usage.input, measured.usage.output, measured.overstated)
        };
        assert_eq!(paid(BLIND, usage(100, 26)), (100, 26, false), "a token a byte, and some");
        assert_eq!(paid(BLIND, usage(100, 27)), (100, 3, true));
        assert_eq!(paid(BLIND, usage(101, 5)), (100, 5, false), "a template, which is not paid");
        assert_eq!(paid(BLIND, usage(357, 5)), (100, 5, true));
        assert_eq!(paid(Counting { output_max: 4, ..BLIND }, usage(9, 5)), (9, 3, true), "more than was allowed");
        assert_eq!(paid(Counting { choices: 2, ..BLIND }, usage(9, 42)), (9, 42, false), "two ends");
        assert_eq!(paid(BLIND, json!(null)), (25, 3, false));
        let seeing = Counting { tokenizer: Tokenizer::of_model("gpt-4o"), ..BLIND };
        let counted = seeing.tokenizer.unwrap().count("0123456789");
        assert_eq!(paid(seeing, json!(null)), (100, counted, false));
        assert_eq!(paid(seeing, usage(50, counted + 16)), (50, counted + 16, false));
        assert_eq!(paid(seeing, usage(50, counted + 17)), (50, counted, true));
    }

    #[test]
    fn what_a_client_or_our_disk_takes_is_not_the_provider_s_time() {
        let start = Instant::now();
        let mut meter = StreamMeter::new(start, BLIND);
        let content = json!({ "choices": [{ "delta": { "content": "x" } }] });
        meter.observe(&carried(&content), start + Duration::from_millis(100));
        meter.held_up(Duration::from_secs(20));
        meter.observe(&carried(&content), start + Duration::from_millis(20_110));
        let measured = meter.measured(meter.progress());
        assert_eq!((measured.first_token_ms, measured.throughput_tps), (Some(100), Some(100)));
    }

    #[test]
    fn only_what_was_asked_for_is_counted_in_whatever_shape_it_comes() {
        let bytes = |message: Value| {
            BLIND.of_answer(&carried(&json!({ "choices": [{ "message": message }] }))).usage.output * 4
        };
        assert_eq!(bytes(json!({ "content": [{ "type": "text", "text": "01234567" }] })), 8);
        assert_eq!(bytes(json!({ "function_call": { "name": "abcd", "arguments": "{}{}" } })), 8);
        assert_eq!(bytes(json!({ "content": "0123", "padding": "0123456789abcdef" })), 4);
    }

    #[test]
    fn every_choice_of_an_answer_is_counted() {
        let answer = json!({ "choices": [{ "text": "0123" }, { "message": { "content": "4567" } }] });
        assert_eq!(BLIND.of_answer(&carried(&answer)).usage.output, 2);
    }
}
