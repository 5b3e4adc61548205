//! From a body to a checked request: what to produce, or why not.
//!
//! Reads only the fields that change the answer; a real server's other fields (`temperature`, `seed`, `user`) are
//! accepted and ignored. A tool is called if the request demands it, never of the server's own accord. Nothing here touches a socket or a clock.

use hyper::header::HeaderValue;
use serde_json::{Map, Value};

use super::{
    error::ApiError,
    fields::{flag, present, whole_number},
    options::MockOptions,
    prompt,
};

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
    /// It calls a tool.
    ToolCalls,
}

impl FinishReason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::ToolCalls => "tool_calls",
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

/// Most choices to one answer.
pub const CHOICES_MAX: u32 = 8;

/// Which of the two kinds of completion is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`: a raw prompt.
    Text,
}

/// What the tokens of an answer are wrapped into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The words as they are.
    Text,
    /// A JSON object with one field.
    Json,
    /// A call of the function with this name; its arguments are such an object.
    Call(String),
}

/// A request that will be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CompletionRequest {
    pub(crate) api: Api,
    pub(crate) model: String,
    /// At least 1.
    pub(crate) prompt_tokens: u64,
    /// At least 1.
    pub(crate) choices: u32,
    /// Tokens to produce for each choice.
    pub(crate) completion_tokens: u32,
    pub(crate) finish_reason: FinishReason,
    pub(crate) shape: Shape,
    /// Whether each token comes with its log probability.
    pub(crate) logprobs: bool,
    /// `None` for a plain answer.
    pub(crate) stream: Option<StreamUsage>,
}

impl CompletionRequest {
    /// Reads a body and the value of [`MOCK_TOKENS_HEADER`], if there is one.
    pub(crate) fn parse(
        api: Api,
        body: &[u8],
        header: Option<&HeaderValue>,
        options: &MockOptions,
    ) -> Result<Self, ApiError> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| ApiError::invalid(None, format!("the body is not valid JSON: {error}")))?;
        let Value::Object(fields) = value else {
            return Err(ApiError::invalid(None, "the body must be a JSON object"));
        };
        let model = model(&fields, options)?;
        let (prompts, prompt_tokens) = match api {
            Api::Chat => (1, prompt::chat_tokens(&fields)?),
            Api::Text => prompt::raw_tokens(&fields)?,
        };
        let choices = choices(&fields, prompts)?;
        let (shape, logprobs) = match api {
            Api::Chat => (shape(&fields)?, flag(&fields, "logprobs")?),
            Api::Text => (Shape::Text, false),
        };
        let (tokens, cut_short) = tokens(&fields, header, options)?;
        // What is wrapped has something to wrap.
        let completion_tokens = if shape == Shape::Text { tokens } else { tokens.max(1) };
        let finish_reason = match shape {
            Shape::Call(_) => FinishReason::ToolCalls,
            Shape::Text | Shape::Json if cut_short => FinishReason::Length,
            Shape::Text | Shape::Json => FinishReason::Stop,
        };
        let stream = stream(&fields)?;
        Ok(CompletionRequest {
            api,
            model,
            prompt_tokens,
            choices,
            completion_tokens,
            finish_reason,
            shape,
            logprobs,
            stream,
        })
    }
}

/// The tokens of each choice, and whether the limit cuts it short.
fn tokens(
    fields: &Map<String, Value>,
    header: Option<&HeaderValue>,
    options: &MockOptions,
) -> Result<(u32, bool), ApiError> {
    let limit = completion_limit(fields)?.unwrap_or(u64::from(options.default_tokens));
    let tokens = told_tokens(fields, header)?.map_or(limit, |told| told.min(limit));
    match u32::try_from(tokens).ok().filter(|tokens| *tokens <= COMPLETION_TOKENS_MAX) {
        Some(number) => Ok((number, tokens == limit)),
        None => {
            let message = format!("this server answers with at most {COMPLETION_TOKENS_MAX} tokens, not {tokens}");
            Err(ApiError::invalid(Some("max_tokens"), message))
        }
    }
}

/// `n` for each prompt.
fn choices(fields: &Map<String, Value>, prompts: u32) -> Result<u32, ApiError> {
    let choices = whole_number(fields, "n")?.unwrap_or(1).saturating_mul(u64::from(prompts));
    match u32::try_from(choices) {
        Ok(choices @ 1..=CHOICES_MAX) => Ok(choices),
        _ => {
            let message = format!("this server gives 1 to {CHOICES_MAX} choices (`n` for each prompt), not {choices}");
            Err(ApiError::invalid(Some("n"), message))
        }
    }
}

/// A call if one is demanded, an object if JSON is, words otherwise.
fn shape(fields: &Map<String, Value>) -> Result<Shape, ApiError> {
    let tools = match present(fields, "tools") {
        None => &[][..],
        Some(Value::Array(tools)) => tools,
        Some(_) => return Err(ApiError::invalid(Some("tools"), "`tools` must be an array")),
    };
    let name_of = |tool: &Value| tool.pointer("/function/name").and_then(Value::as_str).map(str::to_owned);
    let forced = match present(fields, "tool_choice") {
        Some(Value::String(choice)) if choice == "required" => tools.first().and_then(name_of),
        Some(Value::Object(choice)) => choice
            .get("function")
            .and_then(|function| function.get("name"))
            .and_then(|name| tools.iter().filter_map(name_of).find(|known| name == known.as_str())),
        _ => return Ok(if wants_json(fields) { Shape::Json } else { Shape::Text }),
    };
    forced
        .map(Shape::Call)
        .ok_or_else(|| ApiError::invalid(Some("tool_choice"), "`tool_choice` must be a function of `tools`"))
}

fn wants_json(fields: &Map<String, Value>) -> bool {
    let kind = fields.get("response_format").and_then(|format| format.get("type")).and_then(Value::as_str);
    matches!(kind, Some("json_object" | "json_schema"))
}

fn model(fields: &Map<String, Value>, options: &MockOptions) -> Result<String, ApiError> {
    match present(fields, "model") {
        Some(Value::String(model)) if options.serves(model) => Ok(model.clone()),
        Some(Value::String(model)) => Err(ApiError::unknown_model(model)),
        Some(_) => Err(ApiError::invalid(Some("model"), "`model` must be a string")),
        None => Err(ApiError::invalid(Some("model"), "you must provide a `model`")),
    }
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

#[cfg(test)]
mod tests {
    use hyper::StatusCode;
    use serde_json::json;

    use super::*;

    fn parse(change: Value) -> Result<CompletionRequest, ApiError> {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "three short words"}]});
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        CompletionRequest::parse(Api::Chat, body.to_string().as_bytes(), None, &MockOptions::default())
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
        let parse = |header| {
            CompletionRequest::parse(Api::Chat, body, Some(&HeaderValue::from_static(header)), &MockOptions::default())
        };
        assert_eq!(parse("5").unwrap().completion_tokens, 5);
        assert_eq!(parse("many").unwrap_err().param, Some(MOCK_TOKENS_HEADER));
    }

    #[test]
    fn tool_is_called_if_demanded_and_json_written_if_asked_for() {
        let tools = json!([{"type": "function", "function": {"name": "a"}}, {"function": {"name": "b"}}]);
        let shape = |change: Value| {
            let mut change = change;
            change["tools"] = tools.clone();
            parse(change).unwrap().shape
        };
        assert_eq!(shape(json!({})), Shape::Text);
        assert_eq!(shape(json!({"tool_choice": "auto"})), Shape::Text);
        assert_eq!(shape(json!({"tool_choice": "required"})), Shape::Call("a".to_owned()));
        let named = json!({"tool_choice": {"type": "function", "function": {"name": "b"}}, "mock_tokens": 0});
        assert_eq!(shape(named.clone()), Shape::Call("b".to_owned()));
        assert_eq!(shape(json!({"response_format": {"type": "json_object"}})), Shape::Json);
        assert_eq!(shape(json!({"response_format": {"type": "text"}})), Shape::Text);
        let mut call = named;
        call["tools"] = tools.clone();
        let call = parse(call).unwrap();
        assert_eq!((call.completion_tokens, call.finish_reason), (1, FinishReason::ToolCalls));
    }

    #[test]
    fn every_prompt_has_its_choices() {
        let parse = |change: Value| {
            let mut body = json!({"model": "m", "prompt": ["a b", "c"]});
            for (name, value) in change.as_object().unwrap() {
                body[name] = value.clone();
            }
            CompletionRequest::parse(Api::Text, body.to_string().as_bytes(), None, &MockOptions::default())
        };
        let request = parse(json!({"n": 4})).unwrap();
        assert_eq!((request.prompt_tokens, request.choices), (3, 8));
        assert_eq!(parse(json!({"n": 5})).unwrap_err().param, Some("n"));
        assert_eq!(parse(json!({"prompt": []})).unwrap_err().param, Some("n"));
        assert_eq!(parse(json!({"prompt": null})).unwrap_err().param, Some("prompt"));
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
        check_refused(json!({"n": CHOICES_MAX + 1}), "n");
        check_refused(json!({"n": u64::MAX}), "n");
        check_refused(json!({"tools": {}}), "tools");
        check_refused(json!({"tool_choice": "required"}), "tool_choice");
        check_refused(json!({"tool_choice": {"function": {"name": "x"}}}), "tool_choice");
        check_refused(json!({"logprobs": 5}), "logprobs");
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
            let error = CompletionRequest::parse(Api::Chat, body, None, &MockOptions::default()).unwrap_err();
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
            CompletionRequest::parse(Api::Chat, body.as_bytes(), None, &options)
        };
        assert_eq!(parse("gpt4").unwrap().model, "gpt4");
        let error = parse("gpt5").unwrap_err();
        assert_eq!((error.status, error.code), (StatusCode::NOT_FOUND, Some("model_not_found")));
    }
}
