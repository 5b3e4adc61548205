//! Answers in the provider's own words: chat completions and completions. Only the usage is ours: it gets the cost, and in a
//! stream it is told when the caller asked for it, after the settlement.

use super::{Fields, Reply, Settled, write_data};
use crate::inference::chunk::Chunk;
use serde_json::Value;

/// What the answer needs of the question.
pub(super) fn reply(reply: Reply, fields: &Fields) -> Reply {
    let wanted = fields.get("stream_options").and_then(|options| options.get("include_usage")?.as_bool());
    Reply { include_usage: wanted.unwrap_or(false), ..reply }
}

pub(super) fn answer(mut body: Value, settled: &Settled<'_>) -> Value {
    if let Some(fields) = body.as_object_mut() {
        let told = fields.shift_remove("usage");
        fields.insert("usage".into(), usage(told, settled));
    }
    body
}

/// The usage that was paid, with its cost. Of what the provider told its details stay, if its numbers were accepted.
fn usage(told: Option<Value>, settled: &Settled<'_>) -> Value {
    let paid = settled.usage;
    let accepted = told.filter(|told| {
        let number = |name| told.get(name).and_then(Value::as_u64);
        (number("prompt_tokens"), number("completion_tokens")) == (Some(paid.input), Some(paid.output))
    });
    let mut usage = match accepted {
        Some(Value::Object(told)) => told,
        _ => Fields::from_iter([
            ("prompt_tokens".to_owned(), paid.input.into()),
            ("completion_tokens".to_owned(), paid.output.into()),
            ("total_tokens".to_owned(), paid.input.saturating_add(paid.output).into()),
        ]),
    };
    usage.insert("cost".into(), settled.cost.into());
    Value::Object(usage)
}

#[derive(Debug)]
pub(crate) struct Stream {
    include_usage: bool,
    /// The chunk that the usage is told in, and what the provider told; kept back until the settlement is durable.
    last: Fields,
    /// As JSON; empty if it told none.
    told: String,
}

impl Stream {
    pub(super) fn new(include_usage: bool) -> Stream {
        Stream { include_usage, last: Fields::new(), told: String::new() }
    }

    pub(super) fn chunk(&mut self, chunk: &Chunk, out: &mut Vec<u8>) -> Result<(), &'static str> {
        if self.include_usage && self.last.is_empty() {
            let first = chunk.value()?;
            let kept = ["id", "object", "created", "model", "system_fingerprint"];
            let kept = kept.into_iter().filter_map(|name| Some((name.to_owned(), first.get(name)?.clone())));
            self.last = kept.collect();
        }
        if let Some(told) = chunk.usage() {
            self.told.clear();
            self.told.push_str(told);
        }
        if !chunk.is_usage_alone() {
            out.extend_from_slice(b"data: ");
            chunk.write(self.include_usage, out)?;
            out.extend_from_slice(b"\n\n");
        }
        Ok(())
    }

    pub(super) fn end(&mut self, settled: &Settled<'_>, out: &mut Vec<u8>) {
        if self.include_usage {
            let mut chunk = std::mem::take(&mut self.last);
            chunk.insert("choices".into(), Value::Array(Vec::new()));
            chunk.insert("usage".into(), usage(serde_json::from_str(&self.told).ok(), settled));
            write_data(out, &Value::Object(chunk));
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SETTLED, events};
    use super::*;
    use serde_json::json;

    #[test]
    fn the_usage_that_was_paid_is_told_with_its_cost_whatever_the_provider_said() {
        let paid = json!({ "prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16, "cost": "0.00000310" });
        let told = |usage: Value| answer(json!({ "id": "a", "usage": usage }), &SETTLED)["usage"].clone();
        assert_eq!(told(json!(null)), paid);
        assert_eq!(
            told(json!({ "prompt_tokens": 11, "completion_tokens": 500 })),
            paid,
            "a claim that was not accepted"
        );
        let detailed =
            json!({ "prompt_tokens": 11, "completion_tokens": 5, "prompt_tokens_details": { "cached_tokens": 4 } });
        assert_eq!(told(detailed)["prompt_tokens_details"]["cached_tokens"], 4);
        assert_eq!(answer(json!({ "id": "a" }), &SETTLED)["usage"], paid);
    }

    #[test]
    fn a_stream_ends_with_the_usage_wherever_the_provider_told_it() {
        let usage = json!({ "prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16 });
        let content = json!({ "id": "a", "model": "m", "choices": [{ "delta": { "content": "x" } }] });
        let mut with_usage = content.clone();
        with_usage["usage"] = usage.clone();
        let alone = json!({ "id": "a", "choices": [], "usage": usage });
        for chunks in [vec![content.clone()], vec![content.clone(), alone], vec![with_usage]] {
            for include_usage in [false, true] {
                let (mut stream, mut out) = (Stream::new(include_usage), Vec::new());
                for chunk in &chunks {
                    stream.chunk(&Chunk::of(chunk), &mut out).unwrap();
                }
                stream.end(&SETTLED, &mut out);
                let mut told: Vec<Value> = events(&out).into_iter().map(|(_, data)| data).collect();
                assert_eq!(told.pop(), Some("[DONE]".into()));
                if include_usage {
                    let last = told.pop().unwrap();
                    assert_eq!(
                        (&last["id"], &last["choices"], &last["usage"]["cost"]),
                        (&json!("a"), &json!([]), &json!("0.00000310"))
                    );
                    assert_eq!(last["usage"]["total_tokens"], 16);
                }
                assert_eq!(told.len(), 1, "{told:?}");
                assert_eq!(told[0].get("usage"), include_usage.then_some(&Value::Null));
            }
        }
    }
}
