//! From a body to a checked request: what to produce, or why not.
//!
//! Reads only the fields that change the answer; a real server's other fields (`temperature`, `seed`, `user`) are
//! accepted and ignored. Nothing here touches a socket or a clock.

use hyper::header::HeaderValue;
use serde_json::{Map, Value};

use super::{error::ApiError, options::MockOptions};

/// Request header that says how many tokens come back; it wins over the body's field `mock_tokens`.
pub const MOCK_TOKENS_HEADER: &str = "x-mock-tokens";

/// Most tokens to one answer: bounds what one request can make the server build.
pub const COMPLETION_TOKENS_MAX: u32 = 1 << 20;

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FinishReason {
    /// The model had said all it was told to say.
    Stop,
    /// The limit of the request was reached.
    Length,
}

impl FinishReason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
        }
    }
}

/// Which chunks of a stream tell the usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamUsage {
    /// None.
    Off,
    /// One more chunk at the end; the others say `null`.
    AtEnd,
    /// One more chunk at the end, and the others carry the usage so far, as vLLM does.
    Running,
}

/// A request that will be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChatRequest {
    pub(crate) model: String,
    /// Words over all messages, at least 1.
    pub(crate) prompt_tokens: u64,
    /// Tokens to produce.
    pub(crate) completion_tokens: u32,
    pub(crate) finish_reason: FinishReason,
    /// `None` for a plain answer.
    pub(crate) stream: Option<StreamUsage>,
}

impl ChatRequest {
    /// Reads a body and the value of [`MOCK_TOKENS_HEADER`], if there is one.
    pub(crate) fn parse(body: &[u8], header: Option<&HeaderValue>, options: &MockOptions) -> Result<Self, ApiError> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| ApiError::invalid(None, format!("the body is not valid JSON: {error}")))?;
        let Value::Object(fields) = value else {
            return Err(ApiError::invalid(None, "the body must be a JSON object"));
        };
        let model = model(&fields, options)?;
        let prompt_tokens = prompt_tokens(&fields)?;
        if whole_number(&fields, "n")?.is_some_and(|n| n != 1) {
            return Err(ApiError::invalid(Some("n"), "`n` must be 1: this server gives one choice"));
        }
        let limit = completion_limit(&fields)?.unwrap_or(u64::from(options.default_tokens));
        let told = told_tokens(&fields, header)?;
        let tokens = told.map_or(limit, |told| told.min(limit));
        let completion_tokens = u32::try_from(tokens).ok().filter(|tokens| *tokens <= COMPLETION_TOKENS_MAX);
        let Some(completion_tokens) = completion_tokens else {
            let message = format!("this server answers with at most {COMPLETION_TOKENS_MAX} tokens, not {tokens}");
            return Err(ApiError::invalid(Some("max_tokens"), message));
        };
        let finish_reason = if tokens < limit { FinishReason::Stop } else { FinishReason::Length };
        Ok(ChatRequest { model, prompt_tokens, completion_tokens, finish_reason, stream: stream(&fields)? })
    }
}

fn model(fields: &Map<String, Value>, options: &MockOptions) -> Result<String, ApiError> {
    match present(fields, "model") {
        Some(Value::String(model)) if options.serves(model) => Ok(model.clone()),
        Some(Value::String(model)) => Err(ApiError::unknown_model(model)),
        Some(_) => Err(ApiError::invalid(Some("model"), "`model` must be a string")),
        None => Err(ApiError::invalid(Some("model"), "you must provide a `model`")),
    }
}

/// Words over the contents of all messages, at least 1.
fn prompt_tokens(fields: &Map<String, Value>) -> Result<u64, ApiError> {
    let messages = match present(fields, "messages") {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        Some(Value::Array(_)) => return Err(ApiError::invalid(Some("messages"), "`messages` must not be empty")),
        Some(_) => return Err(ApiError::invalid(Some("messages"), "`messages` must be an array")),
        None => return Err(ApiError::invalid(Some("messages"), "you must provide `messages`")),
    };
    let mut words = 0_u64;
    for message in messages {
        words += message_words(message)?;
    }
    Ok(words.max(1))
}

fn message_words(message: &Value) -> Result<u64, ApiError> {
    let invalid = |message| ApiError::invalid(Some("messages"), message);
    let Value::Object(message) = message else {
        return Err(invalid("each message must be an object"));
    };
    match present(message, "content") {
        // An assistant's message that only calls tools has no content.
        None => Ok(0),
        Some(Value::String(text)) => Ok(words(text)),
        Some(Value::Array(parts)) => {
            Ok(parts.iter().filter_map(|part| part.get("text")?.as_str()).map(words).sum::<u64>())
        }
        Some(_) => Err(invalid("the content of a message must be a string or an array of parts")),
    }
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// The most tokens that the client takes, if it says so.
fn completion_limit(fields: &Map<String, Value>) -> Result<Option<u64>, ApiError> {
    for name in ["max_completion_tokens", "max_tokens"] {
        if let Some(limit) = whole_number(fields, name)? {
            if limit == 0 {
                return Err(ApiError::invalid(Some(name), format!("`{name}` must be at least 1")));
            }
            return Ok(Some(limit));
        }
    }
    Ok(None)
}

/// How many tokens the answer was told to have, by header or by field.
fn told_tokens(fields: &Map<String, Value>, header: Option<&HeaderValue>) -> Result<Option<u64>, ApiError> {
    let Some(header) = header else {
        return whole_number(fields, "mock_tokens");
    };
    match header.to_str().ok().and_then(|text| text.trim().parse().ok()) {
        Some(tokens) => Ok(Some(tokens)),
        None => Err(ApiError::invalid(Some(MOCK_TOKENS_HEADER), "`x-mock-tokens` must be a whole number")),
    }
}

fn stream(fields: &Map<String, Value>) -> Result<Option<StreamUsage>, ApiError> {
    let options = match present(fields, "stream_options") {
        None => None,
        Some(Value::Object(options)) => Some(options),
        Some(_) => {
            return Err(ApiError::invalid(Some("stream_options"), "`stream_options` must be an object"));
        }
    };
    let option = |name| options.map_or(Ok(false), |options| flag(options, name));
    let usage = match (option("include_usage")?, option("continuous_usage_stats")?) {
        (true, true) => StreamUsage::Running,
        (true, false) => StreamUsage::AtEnd,
        (false, _) => StreamUsage::Off,
    };
    Ok(flag(fields, "stream")?.then_some(usage))
}

/// A field that is there and not `null`.
fn present<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

fn flag(fields: &Map<String, Value>, name: &'static str) -> Result<bool, ApiError> {
    match present(fields, name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(ApiError::invalid(Some(name), format!("`{name}` must be true or false"))),
    }
}

fn whole_number(fields: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, ApiError> {
    match present(fields, name) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) => Ok(Some(number)),
            None => Err(ApiError::invalid(Some(name), format!("`{name}` must be a whole number"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;
    use serde_json::json;

    use super::*;

    fn parse(change: Value) -> Result<ChatRequest, ApiError> {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "three short words"}]});
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        ChatRequest::parse(body.to_string().as_bytes(), None, &MockOptions::default())
    }

    fn check_tokens(change: Value, tokens: u32, finish_reason: FinishReason) {
        let request = parse(change.clone()).unwrap();
        assert_eq!((request.completion_tokens, request.finish_reason), (tokens, finish_reason), "{change}");
    }

    fn check_refused(change: Value, param: &str) {
        let error = parse(change.clone()).unwrap_err();
        assert_eq!((error.status, error.param), (StatusCode::BAD_REQUEST, Some(param)), "{change}: {}", error.message);
    }

    #[test]
    fn answer_is_as_long_as_told_and_never_longer_than_allowed() {
        check_tokens(json!({}), 128, FinishReason::Length);
        check_tokens(json!({"max_tokens": 10}), 10, FinishReason::Length);
        check_tokens(json!({"max_tokens": 10, "max_completion_tokens": 7}), 7, FinishReason::Length);
        check_tokens(json!({"max_tokens": 10, "mock_tokens": 4}), 4, FinishReason::Stop);
        check_tokens(json!({"max_tokens": 10, "mock_tokens": 10}), 10, FinishReason::Length);
        check_tokens(json!({"max_tokens": 10, "mock_tokens": 400}), 10, FinishReason::Length);
        check_tokens(json!({"max_tokens": null, "mock_tokens": 0}), 0, FinishReason::Stop);
        check_tokens(json!({"max_tokens": u64::MAX, "mock_tokens": 3}), 3, FinishReason::Stop);
    }

    #[test]
    fn header_wins_over_the_field() {
        let body = br#"{"model":"m","messages":[{"content":"a"}],"mock_tokens":9}"#;
        let parse = |header| ChatRequest::parse(body, Some(&HeaderValue::from_static(header)), &MockOptions::default());
        assert_eq!(parse("5").unwrap().completion_tokens, 5);
        assert_eq!(parse("many").unwrap_err().param, Some(MOCK_TOKENS_HEADER));
    }

    #[test]
    fn prompt_tokens_are_the_words_of_all_messages() {
        let request = parse(json!({"messages": [
            {"role": "system", "content": "be  brief\n please"},
            {"role": "assistant", "content": null},
            {"role": "user", "content": [{"type": "text", "text": "one two"}, {"type": "image_url"}]},
        ]}));
        assert_eq!(request.unwrap().prompt_tokens, 5);
        assert_eq!(parse(json!({"messages": [{"role": "user", "content": "  "}]})).unwrap().prompt_tokens, 1);
    }

    #[test]
    fn refusal_names_the_field_at_fault() {
        check_refused(json!({"model": null}), "model");
        check_refused(json!({"model": 7}), "model");
        check_refused(json!({"messages": null}), "messages");
        check_refused(json!({"messages": []}), "messages");
        check_refused(json!({"messages": "hello"}), "messages");
        check_refused(json!({"messages": ["hello"]}), "messages");
        check_refused(json!({"messages": [{"content": 7}]}), "messages");
        check_refused(json!({"n": 2}), "n");
        check_refused(json!({"n": 0}), "n");
        check_refused(json!({"max_tokens": 0}), "max_tokens");
        check_refused(json!({"max_tokens": -1}), "max_tokens");
        check_refused(json!({"max_tokens": COMPLETION_TOKENS_MAX + 1}), "max_tokens");
        check_refused(json!({"max_completion_tokens": 1.5}), "max_completion_tokens");
        check_refused(json!({"mock_tokens": "9"}), "mock_tokens");
        check_refused(json!({"stream": "yes"}), "stream");
        check_refused(json!({"stream_options": true}), "stream_options");
        check_refused(json!({"stream_options": {"include_usage": 1}}), "include_usage");
    }

    #[test]
    fn body_that_is_no_json_object_is_refused() {
        for body in [&b""[..], b"{", b"[]", b"\xff"] {
            let error = ChatRequest::parse(body, None, &MockOptions::default()).unwrap_err();
            assert_eq!(error.status, StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn usage_flags_count_only_in_a_stream() {
        let continuous = json!({"include_usage": true, "continuous_usage_stats": true});
        assert_eq!(parse(json!({"stream_options": continuous})).unwrap().stream, None);
        assert_eq!(parse(json!({"stream": true})).unwrap().stream, Some(StreamUsage::Off));
        let at_end = json!({"stream": true, "stream_options": {"include_usage": true}});
        assert_eq!(parse(at_end).unwrap().stream, Some(StreamUsage::AtEnd));
        let running = json!({"stream": true, "stream_options": continuous});
        assert_eq!(parse(running).unwrap().stream, Some(StreamUsage::Running));
    }

    #[test]
    fn only_served_models_are_answered() {
        let options = MockOptions { models: vec!["gpt4".to_owned()], ..MockOptions::default() };
        let parse = |model: &str| {
            let body = json!({"model": model, "messages": [{"content": "a"}]}).to_string();
            ChatRequest::parse(body.as_bytes(), None, &options)
        };
        assert_eq!(parse("gpt4").unwrap().model, "gpt4");
        let error = parse("gpt5").unwrap_err();
        assert_eq!((error.status, error.code), (StatusCode::NOT_FOUND, Some("model_not_found")));
    }
}
