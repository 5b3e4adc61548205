//! A response's request as a chat completion. Fields that neither API knows pass through.

use super::super::{Fields, add_call, message, put, take, text_of, text_part, unsupported};
use crate::error::ApiError;
use serde_json::{Value, json};

/// What needs something that was stored, or a server that acts by itself.
const REFUSED: [(&str, &str); 6] = [
    ("previous_response_id", "responses are not stored; send the whole conversation as input"),
    ("conversation", "conversations are not stored; send the whole conversation as input"),
    ("prompt", "prompt templates are not stored; send the text as input"),
    ("context_management", "the context is sent as it is; leave this out"),
    ("moderation", "nothing is moderated here; leave this out"),
    ("messages", "/v1/responses takes input"),
];
/// What changes nothing for a provider of a chat completion, or is the caller's own.
const LEFT_OUT: [&str; 7] = [
    "access_programs",
    "image",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "service_tier",
    "stream_options",
];
/// What the response repeats of the request, beside what is told of it here.
const REPEATED: [&str; 5] = ["max_tool_calls", "metadata", "prompt_cache_key", "safety_identifier", "user"];

/// Texts in `metadata`, and characters of each and of the other fields that are repeated: OpenAI's own bounds.
const METADATA_MAX: usize = 16;
const REPEATED_CHARS_MAX: usize = 512;

/// Whether a field may be kept until the response is over.
fn is_short(value: &Value) -> bool {
    let is_short_text = |value: &Value| value.as_str().is_some_and(|text| text.chars().count() <= REPEATED_CHARS_MAX);
    match value {
        Value::Null | Value::Number(_) | Value::Bool(_) => true,
        Value::String(_) => is_short_text(value),
        Value::Object(pairs) => {
            let short = |(name, value): (&String, &Value)| name.len() <= REPEATED_CHARS_MAX && is_short_text(value);
            pairs.len() <= METADATA_MAX && pairs.iter().all(short)
        }
        Value::Array(_) => false,
    }
}

/// The chat completion, and what the response repeats of the request.
pub(in super::super) fn to_chat(mut fields: Fields) -> Result<(Fields, Fields), ApiError> {
    for (name, why) in REFUSED {
        if take(&mut fields, name).is_some() {
            return Err(unsupported(name, format!("{name} is not taken: {why}")));
        }
    }
    for (name, why) in [("background", "a response is answered at once"), ("store", "responses are not stored")] {
        match take(&mut fields, name) {
            None | Some(Value::Bool(false)) => {}
            Some(_) => return Err(unsupported(name, format!("{name} may only be false: {why}"))),
        }
    }
    if let Some(truncation) = take(&mut fields, "truncation").filter(|truncation| truncation != "disabled") {
        let message = format!("truncation may only be \"disabled\", not {truncation}: the input is sent as it is");
        return Err(unsupported("truncation", message));
    }
    for name in LEFT_OUT {
        fields.shift_remove(name);
    }
    let mut echo = Fields::new();
    for name in REPEATED {
        let value = fields.shift_remove(name).unwrap_or(Value::Null);
        if !is_short(&value) {
            let message = format!(
                "{name} must be a number or a text of at most {REPEATED_CHARS_MAX} characters, metadata at most \
                 {METADATA_MAX} such texts by name"
            );
            return Err(ApiError::invalid(name, message));
        }
        echo.insert(name.to_owned(), value);
    }
    let messages = conversation(&mut fields, &mut echo)?;
    fields.insert("messages".into(), messages.into());
    options(&mut fields, &mut echo)?;
    tools(&mut fields, &mut echo)?;
    for (name, value) in [("background", json!(false)), ("store", json!(false)), ("truncation", json!("disabled"))] {
        echo.insert(name.to_owned(), value);
    }
    Ok((fields, echo))
}

/// Sampling, lengths and forms.
fn options(fields: &mut Fields, echo: &mut Fields) -> Result<(), ApiError> {
    for name in ["temperature", "top_p"] {
        echo.insert(name.to_owned(), fields.get(name).cloned().unwrap_or(Value::Null));
    }
    let max = take(fields, "max_output_tokens");
    echo.insert("max_output_tokens".into(), max.clone().unwrap_or(Value::Null));
    if max.as_ref().is_some_and(|max| !max.is_u64()) {
        return Err(ApiError::invalid("max_output_tokens", "max_output_tokens must be a whole number"));
    }
    put(fields, "max_tokens", max);
    let top = take(fields, "top_logprobs");
    echo.insert("top_logprobs".into(), top.clone().unwrap_or(Value::Null));
    let wanted = includes(fields)? || top.as_ref().is_some_and(|top| *top != 0);
    put(fields, "logprobs", wanted.then_some(Value::Bool(true)));
    put(fields, "top_logprobs", top.filter(|_| wanted));
    let text = take(fields, "text").unwrap_or_else(|| json!({ "format": { "type": "text" } }));
    put(fields, "response_format", response_format(text.get("format"))?);
    echo.insert("text".into(), text);
    Ok(())
}

/// `include`: whether log probabilities are wanted.
fn includes(fields: &mut Fields) -> Result<bool, ApiError> {
    let mut logprobs = false;
    for name in take(fields, "include").as_ref().and_then(Value::as_array).into_iter().flatten() {
        match name.as_str() {
            Some("message.output_text.logprobs") => logprobs = true,
            // There is none, encrypted or not.
            Some("reasoning.encrypted_content") => {}
            _ => {
                return Err(unsupported(
                    "include",
                    format!("include may not name {name}: no tool here has such a result"),
                ));
            }
        }
    }
    Ok(logprobs)
}

/// The form of the text, as a chat completion names it.
fn response_format(format: Option<&Value>) -> Result<Option<Value>, ApiError> {
    let Some(format) = format.filter(|format| !format.is_null()) else { return Ok(None) };
    match text_of(format, "type") {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(json!({ "type": "json_object" }))),
        Some("json_schema") => {
            let mut schema = format.as_object().cloned().unwrap_or_default();
            schema.shift_remove("type");
            Ok(Some(json!({ "type": "json_schema", "json_schema": schema })))
        }
        _ => Err(unsupported("text.format", "text.format must be of type text, json_object or json_schema")),
    }
}

/// The functions that may be called. Other tools would have to be run here.
fn tools(fields: &mut Fields, echo: &mut Fields) -> Result<(), ApiError> {
    let tools = take(fields, "tools").unwrap_or_else(|| json!([]));
    let choice = take(fields, "tool_choice").unwrap_or_else(|| "auto".into());
    let parallel = fields.get("parallel_tool_calls").and_then(Value::as_bool);
    echo.insert("parallel_tool_calls".into(), parallel.unwrap_or(true).into());
    let Some(list) = tools.as_array() else { return Err(ApiError::invalid("tools", "tools must be a list")) };
    let mut functions = Vec::with_capacity(list.len());
    for (place, tool) in list.iter().enumerate() {
        if text_of(tool, "type") != Some("function") {
            let message =
                format!("tools[{place}] must be of type function: tools that a server runs itself are not run here");
            return Err(unsupported(format!("tools[{place}]"), message));
        }
        let mut function = Fields::new();
        for name in ["name", "description", "parameters", "strict"] {
            put(&mut function, name, tool.get(name).filter(|value| !value.is_null()).cloned());
        }
        functions.push(json!({ "type": "function", "function": function }));
    }
    if !functions.is_empty() {
        put(fields, "tool_choice", tool_choice(&choice)?);
        fields.insert("tools".into(), functions.into());
    } else if choice != "auto" && choice != "none" {
        return Err(ApiError::invalid("tool_choice", "tool_choice needs tools"));
    }
    echo.insert("tools".into(), tools);
    echo.insert("tool_choice".into(), choice);
    Ok(())
}

/// None for what is so anyway.
fn tool_choice(choice: &Value) -> Result<Option<Value>, ApiError> {
    match (choice.as_str(), text_of(choice, "type"), text_of(choice, "name")) {
        (Some("auto"), ..) => Ok(None),
        (Some("none" | "required"), ..) => Ok(Some(choice.clone())),
        (None, Some("function"), Some(name)) => Ok(Some(json!({ "type": "function", "function": { "name": name } }))),
        _ => Err(unsupported("tool_choice", "tool_choice must be auto, none, required, or a function by its name")),
    }
}

/// Instructions and input as messages.
fn conversation(fields: &mut Fields, echo: &mut Fields) -> Result<Vec<Value>, ApiError> {
    let mut messages = Vec::new();
    let instructions = take(fields, "instructions");
    if let Some(text) = &instructions {
        if !text.is_string() {
            return Err(ApiError::invalid("instructions", "instructions must be text"));
        }
        messages.push(json!({ "role": "system", "content": text }));
    }
    echo.insert("instructions".into(), instructions.unwrap_or(Value::Null));
    match take(fields, "input") {
        Some(Value::String(text)) => messages.push(json!({ "role": "user", "content": text })),
        Some(Value::Array(items)) if !items.is_empty() => {
            for (place, item) in items.into_iter().enumerate() {
                add_item(&mut messages, &format!("input[{place}]"), item)?;
            }
        }
        _ => return Err(ApiError::invalid("input", "input must be text, or a list with at least one item")),
    }
    Ok(messages)
}

/// Adds an item of the input to the messages.
fn add_item(messages: &mut Vec<Value>, param: &str, mut item: Value) -> Result<(), ApiError> {
    let mut part = |name: &str| item.get_mut(name).map_or(Value::Null, Value::take);
    match part("type").as_str() {
        None | Some("message") => {
            let role = match part("role").as_str() {
                Some("user") => "user",
                Some("assistant") => "assistant",
                // The newer name, which few chat templates know.
                Some("system" | "developer") => "system",
                _ => {
                    let message = format!("{param}.role must be user, assistant, system or developer");
                    return Err(ApiError::invalid(format!("{param}.role"), message));
                }
            };
            messages.push(message(role, content(param, part("content"))?));
        }
        Some("function_call") => add_call(messages, part("call_id"), part("name"), part("arguments")),
        Some("function_call_output") => {
            let id = part("call_id");
            let mut said = message("tool", content(param, part("output"))?);
            said["tool_call_id"] = id;
            messages.push(said);
        }
        // What a model thought before is its own.
        Some("reasoning") => {}
        Some(other) => {
            let message = format!("{param} may not be of type {other}: nothing here makes or reads such an item");
            return Err(unsupported(param, message));
        }
    }
    Ok(())
}

/// What a message says, in the parts of a chat completion.
fn content(param: &str, content: Value) -> Result<Vec<Value>, ApiError> {
    let parts = match content {
        Value::String(text) => return Ok(vec![text_part(text.into())]),
        Value::Array(parts) => parts,
        _ => {
            let message = format!("{param} must have text, or a list of parts");
            return Err(ApiError::invalid(param, message));
        }
    };
    let translate = |mut part: Value| {
        let mut field = |name: &str| part.get_mut(name).map_or(Value::Null, Value::take);
        match field("type").as_str() {
            Some("input_text" | "output_text" | "text") => Ok(text_part(field("text"))),
            Some("refusal") => Ok(text_part(field("refusal"))),
            Some("input_image") => match (field("image_url"), field("detail")) {
                (Value::String(url), detail) => {
                    let mut image = json!({ "url": url });
                    if detail.is_string() {
                        image["detail"] = detail;
                    }
                    Ok(json!({ "type": "image_url", "image_url": image }))
                }
                _ => Err(unsupported(param, format!("{param}: an image needs image_url; files are not stored here"))),
            },
            other => {
                let message = format!("{param} may not have a part of type {}", other.unwrap_or("none"));
                Err(unsupported(param, message))
            }
        }
    };
    parts.into_iter().map(translate).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::Surface;
    use super::super::super::tests::{refused, to_chat};
    use super::{METADATA_MAX, REPEATED_CHARS_MAX};
    use serde_json::{Value, json};

    fn chat(request: Value) -> Value {
        to_chat(Surface::Responses, &request)
    }

    #[test]
    fn what_is_kept_until_the_response_is_over_is_short() {
        let refuses = |name: &str, value: Value| {
            let body = json!({ "model": "m", "input": "hi", name: value });
            let read = Surface::Responses.read(body.to_string().as_bytes());
            read.err().and_then(|error| error.param).as_deref() == Some(name)
        };
        let pairs = |count: usize| Value::Object((0..count).map(|n| (n.to_string(), json!("v"))).collect());
        assert!(!refuses("metadata", pairs(METADATA_MAX)) && refuses("metadata", pairs(METADATA_MAX + 1)));
        assert!(refuses("metadata", json!([0])) && refuses("metadata", json!({ "a": { "b": 1 } })));
        let text = |count: usize| json!("é".repeat(count));
        assert!(!refuses("user", text(REPEATED_CHARS_MAX)) && refuses("user", text(REPEATED_CHARS_MAX + 1)));
    }

    #[test]
    fn a_request_becomes_a_chat_completion() {
        let function =
            json!({ "name": "weather", "description": "d", "parameters": { "type": "object" }, "strict": true });
        let mut tool = function.clone();
        tool["type"] = "function".into();
        let schema = json!({ "type": "object", "properties": {} });
        let request = json!({
            "model": "m", "instructions": "be brief", "max_output_tokens": 20, "temperature": 0.2, "top_p": 0.9,
            "stream": true, "seed": 5, "metadata": { "a": "b" }, "user": "u", "reasoning": { "effort": "low" },
            "store": false, "include": ["message.output_text.logprobs", "reasoning.encrypted_content"], "top_logprobs": 2,
            "text": { "format": { "type": "json_schema", "name": "out", "schema": schema, "strict": true } },
            "tools": [tool], "tool_choice": { "type": "function", "name": "weather" }, "parallel_tool_calls": false,
            "input": [
                { "role": "developer", "content": "in verse" },
                { "type": "message", "role": "user", "content": [
                    { "type": "input_text", "text": "what is this?" },
                    { "type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low" },
                ] },
                { "type": "reasoning", "id": "rs_1", "summary": [] },
                { "type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
                  "content": [{ "type": "output_text", "text": "Let me look.", "annotations": [] }] },
                { "type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": "{}" },
                { "type": "function_call", "call_id": "c2", "name": "weather", "arguments": "{\"x\":1}" },
                { "type": "function_call_output", "call_id": "c1", "output": "rain" },
                { "type": "function_call_output", "call_id": "c2", "output": [{ "type": "input_text", "text": "sun" }] },
            ],
        });
        let call = |id: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": "weather", "arguments": arguments } });
        let expected = json!({
            "model": "m", "temperature": 0.2, "top_p": 0.9, "stream": true, "seed": 5, "parallel_tool_calls": false,
            "messages": [
                { "role": "system", "content": "be brief" },
                { "role": "system", "content": "in verse" },
                { "role": "user", "content": [
                    { "type": "text", "text": "what is this?" },
                    { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==", "detail": "low" } },
                ] },
                { "role": "assistant", "content": "Let me look.", "tool_calls": [call("c1", "{}"), call("c2", "{\"x\":1}")] },
                { "role": "tool", "content": "rain", "tool_call_id": "c1" },
                { "role": "tool", "content": "sun", "tool_call_id": "c2" },
            ],
            "max_tokens": 20, "logprobs": true, "top_logprobs": 2,
            "response_format": { "type": "json_schema", "json_schema": { "name": "out", "schema": schema, "strict": true } },
            "tool_choice": { "type": "function", "function": { "name": "weather" } },
            "tools": [{ "type": "function", "function": function }],
        });
        assert_eq!(chat(request), expected);
    }

    #[test]
    fn a_bare_request_asks_for_nothing_else() {
        let expected = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        assert_eq!(chat(json!({ "model": "m", "input": "hi" })), expected);
        let plain = json!({
            "model": "m", "input": "hi", "tools": [], "tool_choice": "auto", "text": { "format": { "type": "text" } },
            "truncation": "disabled", "background": false, "include": [], "top_logprobs": 0, "instructions": null,
            "previous_response_id": null, "service_tier": "auto",
        });
        assert_eq!(chat(plain), expected);
    }

    #[test]
    fn what_cannot_be_translated_is_refused_by_name() {
        let with = |change: Value| {
            let mut request = json!({ "model": "m", "input": "hi" });
            request.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            refused(Surface::Responses, &request)
        };
        let unsupported = [
            (json!({ "previous_response_id": "resp_1" }), "previous_response_id"),
            (json!({ "conversation": "conv_1" }), "conversation"),
            (json!({ "prompt": { "id": "p" } }), "prompt"),
            (json!({ "background": true }), "background"),
            (json!({ "store": true }), "store"),
            (json!({ "truncation": "auto" }), "truncation"),
            (json!({ "tools": [{ "type": "web_search" }] }), "tools[0]"),
            (json!({ "include": ["file_search_call.results"] }), "include"),
            (json!({ "input": [{ "type": "item_reference", "id": "x" }] }), "input[0]"),
            (
                json!({ "input": [{ "role": "user", "content": [{ "type": "input_file", "file_id": "f" }] }] }),
                "input[0]",
            ),
            (
                json!({ "input": [{ "role": "user", "content": [{ "type": "input_image", "file_id": "f" }] }] }),
                "input[0]",
            ),
            (json!({ "text": { "format": { "type": "grammar" } } }), "text.format"),
            (
                json!({ "tools": [{ "type": "function", "name": "f" }], "tool_choice": { "type": "file_search" } }),
                "tool_choice",
            ),
        ];
        for (change, param) in unsupported {
            assert_eq!(with(change.clone()), (param.to_owned(), "unsupported_parameter"), "{change}");
        }
        let invalid = [
            (json!({ "input": [] }), "input"),
            (json!({ "input": null }), "input"),
            (json!({ "input": [{ "role": "robot", "content": "x" }] }), "input[0].role"),
            (json!({ "input": [{ "role": "user", "content": 7 }] }), "input[0]"),
            (json!({ "instructions": 7 }), "instructions"),
            (json!({ "max_output_tokens": "20" }), "max_output_tokens"),
            (json!({ "tools": {} }), "tools"),
            (json!({ "tool_choice": "required" }), "tool_choice"),
            (json!({ "model": 7 }), "model"),
        ];
        for (change, param) in invalid {
            assert_eq!(with(change.clone()), (param.to_owned(), "invalid_value"), "{change}");
        }
    }
}
