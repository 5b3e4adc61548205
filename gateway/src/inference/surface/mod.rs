//! The APIs that a call can come by. Providers are OpenAI-compatible servers, of which `/chat/completions` and
//! `/completions` can be relied on: a call by one of these two passes through untouched, fields we do not know included; a call by
//! another API is translated to a chat completion, and its answer back.
//!
//! | file | idea |
//! |---|---|
//! | `completions`, `generate`, `messages/`, `responses/` | one API each: its request as a provider takes it, its answer, its stream |
//! | `passed` | a stream in the provider's own words |
//! | `parts` | what a chat answer is made of, whether it comes whole or in chunks |
//! | `errors` | refusals in the words of the API they answer |
//!
//! All of it is pure: no sockets, no clocks. Nothing is stored, so what needs an earlier answer is refused by name.

mod completions;
mod errors;
mod generate;
mod messages;
mod parts;
mod passed;
mod responses;

pub(crate) use errors::{in_its_words, is_told_in_anthropic_s_words};

use crate::api::parse;
use crate::error::ApiError;
use crate::inference::chunk::Chunk;
use crate::inference::limits::Limits;
use crate::inference::meter::Usage;
use axum::http::StatusCode;
use gollem_engine::ContractId;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The fields of a JSON object.
type Fields = Map<String, Value>;

/// Most answers to one question.
const CHOICES_MAX: u64 = 8;

/// An API by which calls come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
    /// `/v1/responses`
    Responses,
    /// `/v1/messages`, Anthropic's
    Messages,
    /// `/api/generate`, our own
    Generate,
}

/// A call as a provider takes it.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The body for the provider, before limits and wishes of the gateway's own.
    pub(crate) fields: Fields,
    /// How long it is, which bounds the tokens of its text.
    pub(crate) bytes: u64,
    /// Answers that the provider makes to it, each with its own output.
    pub(crate) choices: u64,
    /// What the body itself limits.
    pub(crate) limits: Limits,
    pub(crate) reply: Reply,
}

impl Surface {
    /// Reads a caller's body.
    ///
    /// # Errors
    /// 400 naming the field that is wrong, or that has no counterpart in a chat completion.
    pub(crate) fn read(self, body: &[u8]) -> Result<Asked, ApiError> {
        let fields: Fields = parse(body)?;
        let Some(Value::String(model)) = fields.get("model") else {
            return Err(ApiError::invalid("model", "model must be a string: the name of a listed instrument"));
        };
        let reply = Reply { surface: self, model: model.clone(), include_usage: false, echo: Fields::new() };
        let bytes = body.len() as u64;
        match self {
            Surface::Chat => {
                let choices = choices(&fields)?;
                Ok(Asked { reply: passed::reply(reply, &fields), fields, bytes, choices, limits: Limits::default() })
            }
            Surface::Completions => {
                let choices = choices(&fields)?.saturating_mul(completions::prompts(&fields)?);
                Ok(Asked { reply: passed::reply(reply, &fields), fields, bytes, choices, limits: Limits::default() })
            }
            Surface::Responses => {
                let (fields, echo) = responses::to_chat(fields)?;
                translated(fields, Reply { echo, ..reply }, Limits::default())
            }
            Surface::Messages => translated(messages::to_chat(fields)?, reply, Limits::default()),
            Surface::Generate => {
                let (fields, limits) = generate::to_chat(body)?;
                translated(fields, reply, limits)
            }
        }
    }

    /// Where a provider takes it, under its address.
    pub(crate) fn provider_path(self) -> &'static str {
        match self {
            Surface::Completions => "/completions",
            Surface::Chat | Surface::Responses | Surface::Messages | Surface::Generate => "/chat/completions",
        }
    }
}

fn translated(fields: Fields, reply: Reply, limits: Limits) -> Result<Asked, ApiError> {
    // Its answer has room for one.
    if choices(&fields)? != 1 {
        return Err(unsupported("n", "n must be 1 here; /v1/chat/completions takes more"));
    }
    let bytes = serde_json::to_vec(&fields).map_err(|error| ApiError::internal(&error))?.len() as u64;
    Ok(Asked { fields, bytes, choices: 1, limits, reply })
}

/// `n`: how many answers are asked for.
fn choices(fields: &Fields) -> Result<u64, ApiError> {
    match fields.get("n") {
        None | Some(Value::Null) => Ok(1),
        Some(n) => n
            .as_u64()
            .filter(|n| (1..=CHOICES_MAX).contains(n))
            .ok_or_else(|| ApiError::invalid("n", format!("n must be a whole number between 1 and {CHOICES_MAX}"))),
    }
}

/// 400: the field has no counterpart in what providers take.
fn unsupported(param: impl Into<String>, message: impl Into<String>) -> ApiError {
    let error = ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", "unsupported_parameter", message);
    ApiError { param: Some(param.into()), ..error }
}

/// Takes a field out; null is none.
fn take(fields: &mut Fields, name: &str) -> Option<Value> {
    fields.shift_remove(name).filter(|value| !value.is_null())
}

/// Adds a field, if there is something to add.
fn put(fields: &mut Fields, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), value);
    }
}

/// The text of a field, if it is one.
fn text_of<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// A message of a chat completion. One part of text alone is plain text: not every server takes parts.
fn message(role: &str, mut parts: Vec<Value>) -> Value {
    let text = match parts.as_mut_slice() {
        [part] if text_of(part, "type") == Some("text") => part.get_mut("text").map(Value::take),
        _ => None,
    };
    json!({ "role": role, "content": text.unwrap_or(Value::Array(parts)) })
}

fn text_part(text: Value) -> Value {
    json!({ "type": "text", "text": text })
}

/// Adds a tool call to what the assistant said last.
fn add_call(messages: &mut Vec<Value>, id: Value, name: Value, arguments: Value) {
    if messages.last().and_then(|message| text_of(message, "role")) != Some("assistant") {
        messages.push(json!({ "role": "assistant", "content": null }));
    }
    let call = json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    let Some(Value::Object(said)) = messages.last_mut() else { return };
    match said.get_mut("tool_calls").and_then(Value::as_array_mut) {
        Some(calls) => calls.push(call),
        None => drop(said.insert("tool_calls".into(), json!([call]))),
    }
}

/// What the answer needs of the question.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) surface: Surface,
    /// The model, as the caller named it.
    model: String,
    /// The caller wants the usage chunk of a stream.
    include_usage: bool,
    /// What a response repeats of its request.
    echo: Fields,
}

/// What is known of a call once it is settled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled<'a> {
    pub(crate) contract: ContractId,
    /// Who delivered, such as `acc_7`.
    pub(crate) provider: &'a str,
    /// What it cost, in credits.
    pub(crate) cost: &'a str,
    /// Tokens that were paid.
    pub(crate) usage: Usage,
    /// Since the request came.
    pub(crate) elapsed: Duration,
}

impl Reply {
    /// The answer to the caller, made of the provider's.
    pub(crate) fn answer(&self, body: Value, settled: &Settled<'_>) -> Value {
        match self.surface {
            Surface::Chat | Surface::Completions => passed::answer(body, settled),
            Surface::Responses => responses::answer(self, &body, settled),
            Surface::Messages => messages::answer(self, &body, settled),
            Surface::Generate => generate::answer(body, settled),
        }
    }

    /// A stream of the answer.
    pub(crate) fn stream(&self, contract: ContractId) -> Stream {
        match self.surface {
            Surface::Chat | Surface::Completions | Surface::Generate => {
                Stream::Passed(passed::Stream::new(self.include_usage))
            }
            Surface::Responses => Stream::Responses(Box::new(responses::Stream::new(self.clone(), contract))),
            Surface::Messages => Stream::Messages(Box::new(messages::Stream::new(self.clone(), contract))),
        }
    }
}

/// A provider's stream on its way to becoming the caller's. What it writes are whole server-sent events.
#[derive(Debug)]
pub(crate) enum Stream {
    Passed(passed::Stream),
    Responses(Box<responses::Stream>),
    Messages(Box<messages::Stream>),
}

impl Stream {
    /// Translates a chunk.
    ///
    /// # Errors
    /// What is wrong with the provider's stream, in words for the caller.
    pub(crate) fn chunk(&mut self, chunk: &Chunk, out: &mut Vec<u8>) -> Result<(), &'static str> {
        match self {
            Stream::Passed(stream) => stream.chunk(chunk, out),
            Stream::Responses(stream) => stream.chunk(&chunk.value()?, out),
            Stream::Messages(stream) => stream.chunk(&chunk.value()?, out),
        }
    }

    /// The end of a stream that was delivered and settled.
    pub(crate) fn end(&mut self, settled: &Settled<'_>, out: &mut Vec<u8>) {
        match self {
            Stream::Passed(stream) => stream.end(settled, out),
            Stream::Responses(stream) => stream.end(settled, out),
            Stream::Messages(stream) => stream.end(settled, out),
        }
    }

    /// The end of one that broke off.
    pub(crate) fn fail(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        match self {
            Stream::Passed(_) => write_data(out, &error.body()),
            Stream::Responses(stream) => stream.fail(error, out),
            Stream::Messages(_) => write_event(out, "error", &errors::anthropic(error)),
        }
    }
}

/// An event without a name.
fn write_data(out: &mut Vec<u8>, data: &Value) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data.to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// An event with a name.
fn write_event(out: &mut Vec<u8>, name: &str, data: &Value) {
    for part in ["event: ", name, "\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    write_data(out, data);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stream wrote, as events with their names and data.
    pub(super) fn events(out: &[u8]) -> Vec<(String, Value)> {
        let text = std::str::from_utf8(out).unwrap();
        assert!(text.is_empty() || text.ends_with("\n\n"), "{text}");
        let event = |block: &str| {
            let (name, data) = match block.split_once('\n') {
                Some((name, data)) => (name.strip_prefix("event: ").unwrap(), data),
                None => ("", block),
            };
            let data = data.strip_prefix("data: ").unwrap();
            (name.to_owned(), serde_json::from_str(data).unwrap_or_else(|_| data.into()))
        };
        text.split_terminator("\n\n").map(event).collect()
    }

    /// What a settlement says in these tests.
    pub(super) const SETTLED: Settled<'_> = Settled {
        contract: ContractId(7),
        provider: "acc_3",
        cost: "0.00000310",
        usage: Usage { input: 11, cached: 4, output: 5 },
        elapsed: Duration::from_millis(20),
    };

    /// What a provider gets of a caller's body.
    pub(super) fn to_chat(surface: Surface, body: &Value) -> Value {
        surface
            .read(body.to_string().as_bytes())
            .unwrap_or_else(|error| panic!("{body}: {}", error.message))
            .fields
            .into()
    }

    /// The field and the code of a refusal.
    pub(super) fn refused(surface: Surface, body: &Value) -> (String, &'static str) {
        let error = surface.read(body.to_string().as_bytes()).map(drop).expect_err(&body.to_string());
        assert_eq!(error.status, StatusCode::BAD_REQUEST);
        (error.param.unwrap_or_default(), error.code)
    }

    #[test]
    fn a_chat_passes_untouched_and_so_does_a_completion() {
        let chat =
            json!({ "model": "m", "messages": [{ "role": "user", "content": "hi", "odd": 1 }], "seed": 7, "n": 2 });
        let asked = Surface::Chat.read(chat.to_string().as_bytes()).unwrap();
        assert_eq!((Value::Object(asked.fields), asked.choices), (chat.clone(), 2));
        assert_eq!(asked.bytes, chat.to_string().len() as u64);
        let completion = json!({ "model": "m", "prompt": ["a", [1, 2]], "suffix": "x", "odd": {} });
        let asked = Surface::Completions.read(completion.to_string().as_bytes()).unwrap();
        assert_eq!((Value::Object(asked.fields), asked.choices), (completion, 2));
        assert_eq!(Surface::Completions.provider_path(), "/completions");
    }

    #[test]
    fn more_answers_than_one_are_for_the_apis_that_have_room_for_them() {
        let many = |surface, body: Value| refused(surface, &body).0;
        assert_eq!(many(Surface::Chat, json!({ "model": "m", "messages": [], "n": 9 })), "n");
        assert_eq!(many(Surface::Chat, json!({ "model": "m", "messages": [], "n": 0 })), "n");
        assert_eq!(many(Surface::Responses, json!({ "model": "m", "input": "hi", "n": 2 })), "n");
        let messages = json!([{ "role": "user", "content": "hi" }]);
        assert_eq!(
            many(Surface::Messages, json!({ "model": "m", "max_tokens": 1, "messages": messages, "n": 2 })),
            "n"
        );
    }
}
