//! What a provider's answer, or a chunk of its stream, carries. It is read without building its tree, and a chunk that
//! passes through untouched is never taken apart: a stream is mostly chunks.
//!
//! Each level is looked into on its own, and only as far as the meter asks. So whatever a provider sends, reading it takes
//! no more memory than a few times its length, and no recursion; and a shape that nobody expects carries nothing.

use crate::inference::meter::Usage;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::ops::Range;

/// What the meter looks at, in an answer or a chunk; what is in other fields nobody asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Carried<'a> {
    #[serde(borrow, default)]
    choices: Option<&'a RawValue>,
    /// As it is written, null included; none if it is absent.
    #[serde(borrow, default, deserialize_with = "as_written")]
    usage: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

fn as_written<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function_call: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow, default)]
    function: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

/// A part of a text.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The fields of an object; none of anything else.
pub(crate) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    json.starts_with('{').then(|| serde_json::from_str(json).ok())?
}

/// The items of a list; none of anything else.
fn list(json: Option<&RawValue>) -> impl Iterator<Item = &RawValue> {
    let json = json.map(RawValue::get).filter(|json| json.starts_with('['));
    let items: Option<Vec<&RawValue>> = json.and_then(|json| serde_json::from_str(json).ok());
    items.into_iter().flatten()
}

/// A text; none of anything else.
fn text(json: &RawValue) -> Option<Cow<'_, str>> {
    json.get().starts_with('"').then(|| serde_json::from_str(json.get()).ok())?.map(|Text(text)| text)
}

impl<'a> Carried<'a> {
    /// Of a whole answer; none if it is not shaped like one.
    pub(crate) fn of(answer: &'a [u8]) -> Option<Carried<'a>> {
        object(std::str::from_utf8(answer).ok()?.trim_ascii())
    }

    /// The provider tells an error in it.
    pub(crate) fn is_error(&self) -> bool {
        self.error.is_some()
    }

    /// Whether there is a choice in it; none if it has no list of them.
    fn has_choices(&self) -> Option<bool> {
        let items = self.choices?.get().strip_prefix('[')?;
        Some(!items.trim_ascii_start().starts_with(']'))
    }

    /// Whether it answers anything.
    pub(crate) fn answers(&self) -> bool {
        self.has_choices() == Some(true)
    }

    /// What the provider tells of its usage.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.usage.and_then(|usage| Usage::read(usage.get()))
    }

    /// Every generated text of it; returns how many tool calls begin in it.
    pub(crate) fn visit_text(&self, visit: &mut impl FnMut(&str)) -> u64 {
        let mut calls = 0;
        for choice in list(self.choices) {
            let Some(choice) = object::<Choice<'_>>(choice.get()) else { continue };
            visit_parts(choice.text, visit);
            let said = choice.delta.or(choice.message).and_then(|said| object::<Said<'_>>(said.get()));
            let Some(said) = said else { continue };
            for text in [said.content, said.reasoning_content, said.reasoning, said.refusal] {
                visit_parts(text, visit);
            }
            let called = list(said.tool_calls).filter_map(|call| object::<ToolCall<'_>>(call.get())?.function);
            for function in called.chain(said.function_call) {
                let Some(function) = object::<Function<'_>>(function.get()) else { continue };
                let name = function.name.and_then(text).filter(|name| !name.is_empty());
                calls += u64::from(name.is_some());
                name.iter().chain(&function.arguments.and_then(text)).for_each(|text| visit(text));
            }
        }
        calls
    }
}

/// A text, or the texts of its parts.
fn visit_parts(json: Option<&RawValue>, visit: &mut impl FnMut(&str)) {
    json.and_then(text).iter().for_each(|text| visit(text));
    for part in list(json) {
        let part = object::<Part<'_>>(part.get()).and_then(|part| part.text).and_then(text);
        part.iter().for_each(|text| visit(text));
    }
}

/// A chunk of a stream as its provider sent it.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    /// One JSON object on one line.
    json: String,
    /// Where in it the usage is, null or not.
    usage: Option<Range<usize>>,
    /// Whether there is a choice in it; none if it has no list of them.
    choices: Option<bool>,
}

/// Objects and lists in each other: deeper ones many clients cannot read, nor can we (serde_json's limit).
const DEPTH_MAX: usize = 127;
/// What a caller is told whose provider sent something else.
const NO_CHUNK: &str = "the provider sent a chunk that is not JSON";

impl Chunk {
    /// Reads a line; also says what it carries.
    ///
    /// # Errors
    /// What is wrong with it, in words for the caller.
    pub(crate) fn read(line: &[u8]) -> Result<(Chunk, Carried<'_>), &'static str> {
        let json = std::str::from_utf8(line).ok().ok_or(NO_CHUNK)?;
        let carried: Carried<'_> = object(json).filter(|_| depth(json) <= DEPTH_MAX).ok_or(NO_CHUNK)?;
        let usage = carried.usage.map(|usage| {
            // It is borrowed from the line.
            let start = usage.get().as_ptr().addr() - json.as_ptr().addr();
            start..start + usage.get().len()
        });
        Ok((Chunk { json: json.to_owned(), usage, choices: carried.has_choices() }, carried))
    }

    #[cfg(test)]
    pub(crate) fn of(value: &Value) -> Chunk {
        Chunk::read(value.to_string().as_bytes()).unwrap().0
    }

    /// Its tree.
    ///
    /// # Errors
    /// As [`Chunk::read`]: it can be nested too deeply for a tree.
    pub(crate) fn value(&self) -> Result<Value, &'static str> {
        serde_json::from_str(&self.json).map_err(|_| NO_CHUNK)
    }

    /// The same with something changed.
    ///
    /// # Errors
    /// As [`Chunk::value`].
    pub(crate) fn changed(&self, change: impl FnOnce(&mut Value)) -> Result<Chunk, &'static str> {
        let mut value = self.value()?;
        change(&mut value);
        Chunk::read(value.to_string().as_bytes()).map(|(chunk, _)| chunk)
    }

    /// Whether it carries any choice.
    pub(crate) fn answers(&self) -> bool {
        self.choices == Some(true)
    }

    /// The usage that it tells, as JSON, if it tells any.
    pub(crate) fn usage(&self) -> Option<&str> {
        self.usage.clone().and_then(|usage| self.json.get(usage)).filter(|usage| usage.starts_with('{'))
    }

    /// It tells the usage and nothing else.
    pub(crate) fn is_usage_alone(&self) -> bool {
        self.choices == Some(false) && self.usage().is_some()
    }

    /// Writes it with null for a usage, or without any.
    ///
    /// # Errors
    /// As [`Chunk::value`].
    pub(crate) fn write(&self, null_usage: bool, out: &mut Vec<u8>) -> Result<(), &'static str> {
        // A carriage return between two fields would end the line for its reader.
        let parts = if self.json.contains('\r') { None } else { self.parts(null_usage) };
        if let Some(parts) = parts {
            parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
            return Ok(());
        }
        let mut value = self.value()?;
        if let Some(fields) = value.as_object_mut() {
            fields.shift_remove("usage");
            if null_usage {
                fields.insert("usage".into(), Value::Null);
            }
        }
        out.extend_from_slice(value.to_string().as_bytes());
        Ok(())
    }

    /// The pieces that make it with null for a usage, or without any; none if that takes its tree.
    fn parts(&self, null_usage: bool) -> Option<[&str; 3]> {
        match (self.usage.clone(), null_usage) {
            (None, false) => Some([&self.json, "", ""]),
            // An object that speaks of choices is not empty.
            (None, true) => {
                Some([self.json.strip_suffix('}').filter(|_| self.choices.is_some())?, ",\"usage\":null", "}"])
            }
            (Some(usage), true) => Some([self.json.get(..usage.start)?, "null", self.json.get(usage.end..)?]),
            (Some(usage), false) => {
                let name = self.json.get(..usage.start)?.trim_end().strip_suffix(':')?.trim_end();
                let before = name.strip_suffix("\"usage\"")?.trim_end().strip_suffix(',')?;
                Some([before, self.json.get(usage.end..)?, ""])
            }
        }
    }
}

/// How deep objects and lists are in each other, in sound JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The texts of an answer and its tool calls.
    fn text_of(answer: &Value) -> (String, u64) {
        let (json, mut text) = (answer.to_string(), String::new());
        let calls = Chunk::read(json.as_bytes()).unwrap().1.visit_text(&mut |part| text.push_str(part));
        (text, calls)
    }

    #[test]
    fn every_text_is_found_in_whatever_shape_it_comes_and_nothing_else() {
        let delta = |delta: Value| text_of(&json!({ "choices": [{ "delta": delta }] }));
        assert_eq!(delta(json!({ "role": "assistant", "content": "a\n\"ß", "padding": "x" })), ("a\n\"ß".into(), 0));
        assert_eq!(delta(json!({ "content": null, "reasoning": "r", "refusal": "no" })), ("rno".into(), 0));
        let parts = json!([{ "type": "text", "text": "a" }, { "type": "image", "url": "u" }, "odd", { "text": "b" }]);
        assert_eq!(delta(json!({ "content": parts })), ("ab".into(), 0));
        assert_eq!(delta(json!({ "content": { "text": "a" }, "reasoning_content": 1 })), (String::new(), 0));
        let calls = json!([{ "index": 0, "function": { "name": "f", "arguments": "{}" } }, { "function": { "arguments": "}" } }]);
        assert_eq!(delta(json!({ "tool_calls": calls })), ("f{}}".into(), 1));
        assert_eq!(delta(json!({ "function_call": { "name": "g" } })), ("g".into(), 1));
        let nested = json!([{ "text": [{ "text": "padding" }] }, { "text": { "text": "padding" } }]);
        assert_eq!(delta(json!({ "content": nested })), (String::new(), 0));
        assert_eq!(delta(json!({ "tool_calls": { "function": { "name": "f" } } })), (String::new(), 0));
        assert_eq!(delta(json!({ "tool_calls": [null, 1, { "function": { "name": 0 } }] })), (String::new(), 0));
        assert_eq!(delta(json!(["a", "b"])), (String::new(), 0), "fields without their names");
        assert_eq!(text_of(&json!({ "choices": [["a"], null, 1, { "text": "b" }] })), ("b".into(), 0));
        let whole = json!({ "choices": [{ "text": "a" }, { "message": { "content": "b" } }, {}], "usage": {} });
        assert_eq!(text_of(&whole), ("ab".into(), 0));
        assert_eq!(text_of(&json!({ "choices": null })), (String::new(), 0));
    }

    #[test]
    fn what_no_client_could_read_is_no_chunk() {
        for line in ["", "{", "[]", "[[],null,null]", "\"x\"", r#"{"a":1}x"#, r#"{"usage":1,"usage":2}"#] {
            assert!(Chunk::read(line.as_bytes()).is_err(), "{line}");
        }
        let deep = |levels: usize| format!(r#"{{"a]\"[":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(Chunk::read(deep(126).as_bytes()).unwrap().0.value().is_ok());
        assert!(Chunk::read(deep(127).as_bytes()).is_err());
        // What it takes to read a line is bounded by its length, however it is nested.
        assert!(Chunk::read(deep(400_000).as_bytes()).is_err());
        assert!(Chunk::read(b"{\"a\":\"\xff\"}").is_err());
        assert!(Chunk::read(br#"{"error":{"message":"x"}}"#).unwrap().1.is_error());
        assert!(!Chunk::read(br#"{"error":null}"#).unwrap().1.is_error());
    }

    #[test]
    fn a_chunk_passes_as_it_is_but_for_its_usage() {
        let written = |json: &str, null_usage: bool| {
            let mut out = Vec::new();
            Chunk::read(json.as_bytes()).unwrap().0.write(null_usage, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let as_it_is = r#"{"id": "a", "n": 1e400, "choices":[{"delta":{"content":",\"usage\":null"}}]}"#;
        assert_eq!(written(as_it_is, false), as_it_is);
        let with_null = format!("{},\"usage\":null}}", as_it_is.strip_suffix('}').unwrap());
        assert_eq!(written(as_it_is, true), with_null);
        assert_eq!(written(&with_null, true), with_null);
        assert_eq!(written(&with_null, false), as_it_is);
        let told =
            |usage: &str| format!(r#"{{"id":",\"usage\":{{}}","choices":[{{"usage":1}}],"usage" : {usage} ,"x":"ß"}}"#);
        assert_eq!(written(&told(r#"{"a":{"b":"}"}}"#), true), told("null"));
        let without = r#"{"id":",\"usage\":{}","choices":[{"usage":1}] ,"x":"ß"}"#;
        assert_eq!(written(&told(r#"{"a":1}"#), false), without);
        for json in
            [r#"{"usage" : null,"choices":[]}"#, r#"{"choices":[],"usage":{"a":1}}"#, "{\"usage\":3,\r\"choices\":[]}"]
        {
            assert_eq!(written(json, false), r#"{"choices":[]}"#);
            let read: Value = serde_json::from_str(&written(json, true)).unwrap();
            assert_eq!(read, json!({ "choices": [], "usage": null }));
        }
        assert_eq!((written("{}", false), written("{}", true)), ("{}".into(), r#"{"usage":null}"#.into()));
    }
}
