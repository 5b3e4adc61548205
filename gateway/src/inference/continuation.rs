//! An answer that its provider broke off, finished by another. The other one is asked to go on with the assistant's message so
//! far (`continue_final_message`, vLLM's name; llama.cpp and Ollama go on with a last message of the assistant's by themselves).
//! The client sees one stream: one id, one role, one usage. It is paid to each for what came of it.
//!
//! Only plain text of a single choice can go on; tool calls and reasoning cannot.

use crate::inference::meter::Usage;
use axum::body::Bytes;
use serde_json::{Map, Value, json};

/// What is kept of a stream for the case that it breaks off, if its caller wants that.
#[derive(Debug, Default)]
pub(crate) struct Continuation {
    /// The text so far; none if it is not kept, or something else came.
    text: Option<String>,
    /// The first chunk's `id` and `created`.
    identity: Option<(Value, Value)>,
    /// What was paid to those who broke off.
    paid: Option<Usage>,
}

impl Continuation {
    pub(crate) fn new(wanted: bool) -> Continuation {
        Continuation { text: wanted.then(String::new), identity: None, paid: None }
    }

    /// The next stream begins.
    pub(crate) fn begin(&mut self, paid: Usage) {
        self.paid = Some(paid);
    }

    /// Whether chunks are of any interest.
    pub(crate) fn follows(&self) -> bool {
        self.text.is_some() || self.paid.is_some()
    }

    /// Notes a chunk, and makes one of a later stream go on where the first was.
    pub(crate) fn follow(&mut self, chunk: &mut Value) {
        if let Some(text) = &mut self.text {
            match text_of(chunk) {
                Some(more) => text.push_str(more),
                None => self.text = None,
            }
        }
        let Some(fields) = chunk.as_object_mut() else { return };
        let part = |name| fields.get(name).cloned().unwrap_or(Value::Null);
        let (id, created) = self.identity.get_or_insert_with(|| (part("id"), part("created"))).clone();
        let Some(paid) = self.paid else { return };
        fields.insert("id".into(), id);
        fields.insert("created".into(), created);
        if let Some(delta) =
            fields.get_mut("choices").and_then(|choices| choices.get_mut(0)?.get_mut("delta")?.as_object_mut())
        {
            delta.shift_remove("role");
        }
        if let Some(usage) = fields.get_mut("usage").and_then(Value::as_object_mut) {
            add_up(usage, paid);
        }
    }

    /// The request for who goes on, after `paid` tokens of it were delivered; none if the answer cannot go on.
    pub(crate) fn request(&self, first: &Bytes, paid: Usage) -> Option<Bytes> {
        let text = self.text.as_deref().filter(|text| !text.is_empty())?;
        let mut fields: Map<String, Value> = serde_json::from_slice(first).ok()?;
        fields.get_mut("messages")?.as_array_mut()?.push(json!({ "role": "assistant", "content": text }));
        for name in ["max_tokens", "max_completion_tokens"] {
            if let Some(max) = fields.get(name).and_then(Value::as_u64) {
                fields.insert(name.into(), max.saturating_sub(paid.output).max(1).into());
            }
        }
        fields.insert("continue_final_message".into(), true.into());
        fields.insert("add_generation_prompt".into(), false.into());
        Some(Bytes::from(Value::Object(fields).to_string()))
    }
}

/// The text of a chunk, empty if it carries none; none if it carries something that is no text of the only choice.
fn text_of(chunk: &Value) -> Option<&str> {
    let choices = chunk.get("choices").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let [choice] = choices else { return choices.is_empty().then_some("") };
    let delta = choice.get("delta")?.as_object()?;
    let other = |(name, value): (&String, &Value)| {
        let empty = value.is_null() || value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty);
        !empty && !matches!(name.as_str(), "role" | "content")
    };
    // What has ended has nothing left to go on with.
    let ended = choice.get("finish_reason").is_some_and(|reason| !reason.is_null());
    if ended || delta.iter().any(other) || choice.get("index").and_then(Value::as_u64).unwrap_or(0) > 0 {
        return None;
    }
    Some(delta.get("content").and_then(Value::as_str).unwrap_or_default())
}

/// The usage of the whole answer.
fn add_up(usage: &mut Map<String, Value>, paid: Usage) {
    let output = usage.get("completion_tokens").and_then(Value::as_u64).unwrap_or(0).saturating_add(paid.output);
    usage.insert("prompt_tokens".into(), paid.input.into());
    usage.insert("completion_tokens".into(), output.into());
    usage.insert("total_tokens".into(), paid.input.saturating_add(output).into());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(id: &str, delta: Value) -> Value {
        json!({ "id": id, "created": 1, "choices": [{ "index": 0, "delta": delta }] })
    }

    #[test]
    fn a_second_stream_goes_on_under_the_first_one_s_name() {
        let mut continuation = Continuation::new(true);
        let mut first = chunk("a", json!({ "role": "assistant", "content": "one " }));
        let as_it_was = first.clone();
        continuation.follow(&mut first);
        assert_eq!(first, as_it_was);
        let paid = Usage { input: 7, cached: 0, output: 2 };
        let asked = Bytes::from(r#"{"messages":[{"role":"user","content":"count"}],"max_tokens":10}"#);
        let request: Value = serde_json::from_slice(&continuation.request(&asked, paid).unwrap()).unwrap();
        let said = json!([{ "role": "user", "content": "count" }, { "role": "assistant", "content": "one " }]);
        assert_eq!((&request["messages"], &request["max_tokens"]), (&said, &json!(8)));
        assert_eq!(
            (&request["continue_final_message"], &request["add_generation_prompt"]),
            (&json!(true), &json!(false))
        );
        continuation.begin(paid);
        let mut second = chunk("b", json!({ "role": "assistant", "content": "two" }));
        second["usage"] = json!({ "prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12 });
        continuation.follow(&mut second);
        let whole = json!({ "prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12 });
        assert_eq!((&second["id"], &second["usage"]), (&json!("a"), &whole));
        assert_eq!(second["choices"][0]["delta"], json!({ "content": "two" }));
        let mut thought = chunk("b", json!({ "role": "assistant", "reasoning_content": "hm" }));
        continuation.follow(&mut thought);
        let mut third = chunk("b", json!({ "content": "three" }));
        continuation.follow(&mut third);
        assert_eq!((&thought["id"], &third["id"]), (&json!("a"), &json!("a")), "one stream to its end");
    }

    #[test]
    fn what_is_no_plain_text_does_not_go_on() {
        let goes_on = |wanted: bool, deltas: &[Value]| {
            let mut continuation = Continuation::new(wanted);
            deltas.iter().for_each(|delta| continuation.follow(&mut chunk("a", delta.clone())));
            continuation.request(&Bytes::from(r#"{"messages":[]}"#), Usage::default()).is_some()
        };
        let text = json!({ "content": "x", "tool_calls": [], "reasoning_content": null });
        assert!(goes_on(true, std::slice::from_ref(&text)));
        assert!(!goes_on(false, std::slice::from_ref(&text)), "nobody wants it");
        assert!(!goes_on(true, &[json!({ "role": "assistant", "content": "" })]), "nothing came");
        assert!(!goes_on(true, &[text.clone(), json!({ "tool_calls": [{ "index": 0 }] })]));
        assert!(!goes_on(true, &[text.clone(), json!({ "reasoning_content": "hm" })]));
        let mut ended = Continuation::new(true);
        ended.follow(&mut chunk("a", text));
        let mut last = chunk("a", json!({}));
        last["choices"][0]["finish_reason"] = "stop".into();
        ended.follow(&mut last);
        assert!(ended.request(&Bytes::from(r#"{"messages":[]}"#), Usage::default()).is_none(), "it is whole");
    }
}
