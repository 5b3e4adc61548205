//! A message's request as a chat completion. Fields that neither API knows pass through, `top_k` among them.

use super::super::{Fields, add_call, message, put, take, text_of, text_part, unsupported};
use crate::error::ApiError;
use serde_json::{Value, json};

/// What needs something that was stored, or a server that acts by itself.
const REFUSED: [(&str, &str); 4] = [
    ("container", "nothing is run here"),
    ("mcp_servers", "no tools are run here; call them and send their results"),
    ("context_management", "the context is sent as it is"),
    ("prompt", "/v1/messages takes messages"),
];
/// What changes nothing for a provider of a chat completion, or is the caller's own.
const LEFT_OUT: [&str; 10] = [
    "cache_control",
    "diagnostics",
    "inference_geo",
    "metadata",
    "service_tier",
    "speed",
    "thinking",
    "user_profile_id",
    "workspace_id",
    "stream_options",
];

pub(in super::super) fn to_chat(mut fields: Fields) -> Result<Fields, ApiError> {
    for (name, why) in REFUSED {
        if take(&mut fields, name).is_some() {
            return Err(unsupported(name, format!("{name} is not taken: {why}")));
        }
    }
    for name in LEFT_OUT {
        fields.shift_remove(name);
    }
    if !fields.get("max_tokens").is_some_and(Value::is_u64) {
        return Err(ApiError::invalid(
            "max_tokens",
            "max_tokens must be a whole number: the most tokens of the answer",
        ));
    }
    let messages = conversation(&mut fields)?;
    fields.insert("messages".into(), messages.into());
    let stop = take(&mut fields, "stop_sequences");
    put(&mut fields, "stop", stop);
    let config = take(&mut fields, "output_config");
    put(&mut fields, "response_format", response_format(config.as_ref().and_then(|config| config.get("format")))?);
    tools(&mut fields)?;
    Ok(fields)
}

/// The form of the text, as a chat completion names it.
fn response_format(format: Option<&Value>) -> Result<Option<Value>, ApiError> {
    let Some(format) = format.filter(|format| !format.is_null()) else { return Ok(None) };
    match (text_of(format, "type"), format.get("schema")) {
        (Some("json_schema"), Some(schema)) => {
            let schema = json!({ "name": "answer", "schema": schema, "strict": true });
            Ok(Some(json!({ "type": "json_schema", "json_schema": schema })))
        }
        _ => {
            Err(unsupported("output_config.format", "output_config.format must be of type json_schema, with a schema"))
        }
    }
}

/// The functions that may be called. Other tools would have to be run here, or are known to Anthropic's models alone.
fn tools(fields: &mut Fields) -> Result<(), ApiError> {
    let tools = match take(fields, "tools") {
        None => Vec::new(),
        Some(Value::Array(tools)) => tools,
        Some(_) => return Err(ApiError::invalid("tools", "tools must be a list")),
    };
    let choice = take(fields, "tool_choice");
    if tools.is_empty() {
        return Ok(());
    }
    let mut functions = Vec::with_capacity(tools.len());
    for (place, mut tool) in tools.into_iter().enumerate() {
        if text_of(&tool, "type").is_some_and(|kind| kind != "custom") {
            let message = format!("tools[{place}] must be a tool of your own, with name and input_schema");
            return Err(unsupported(format!("tools[{place}]"), message));
        }
        let mut function = Fields::new();
        for (name, theirs) in
            [("name", "name"), ("description", "description"), ("parameters", "input_schema"), ("strict", "strict")]
        {
            put(&mut function, name, tool.get_mut(theirs).map(Value::take).filter(|value| !value.is_null()));
        }
        functions.push(json!({ "type": "function", "function": function }));
    }
    fields.insert("tools".into(), functions.into());
    let Some(choice) = choice else { return Ok(()) };
    let chosen = match (text_of(&choice, "type"), text_of(&choice, "name")) {
        (Some("auto"), _) => json!("auto"),
        (Some("any"), _) => json!("required"),
        (Some("none"), _) => json!("none"),
        (Some("tool"), Some(name)) => json!({ "type": "function", "function": { "name": name } }),
        _ => {
            return Err(ApiError::invalid(
                "tool_choice",
                "tool_choice.type must be auto, any, none, or tool with its name",
            ));
        }
    };
    fields.insert("tool_choice".into(), chosen);
    if choice.get("disable_parallel_tool_use") == Some(&Value::Bool(true)) {
        fields.insert("parallel_tool_calls".into(), false.into());
    }
    Ok(())
}

/// System and messages as messages.
fn conversation(fields: &mut Fields) -> Result<Vec<Value>, ApiError> {
    let mut messages = Vec::new();
    if let Some(system) = take(fields, "system") {
        add(&mut messages, "system", "system", system)?;
    }
    let Some(Value::Array(theirs)) =
        take(fields, "messages").filter(|list| list.as_array().is_some_and(|list| !list.is_empty()))
    else {
        return Err(ApiError::invalid("messages", "messages must be a list with at least one message"));
    };
    for (place, mut said) in theirs.into_iter().enumerate() {
        let param = format!("messages[{place}]");
        let role = match text_of(&said, "role") {
            Some("user") => "user",
            Some("assistant") => "assistant",
            Some("system") => "system",
            _ => {
                let message = format!("{param}.role must be user, assistant or system");
                return Err(ApiError::invalid(format!("{param}.role"), message));
            }
        };
        add(&mut messages, &param, role, said.get_mut("content").map_or(Value::Null, Value::take))?;
    }
    Ok(messages)
}

/// Adds what one side said: tool results, then the rest; what the assistant said, then its calls.
fn add(messages: &mut Vec<Value>, param: &str, role: &str, content: Value) -> Result<(), ApiError> {
    let blocks = match content {
        Value::String(text) => vec![text_part(text.into())],
        Value::Array(blocks) => blocks,
        _ => {
            let message = format!("{param} must have text, or a list of blocks");
            return Err(ApiError::invalid(param, message));
        }
    };
    let (mut parts, mut calls) = (Vec::new(), Vec::new());
    for mut block in blocks {
        let mut field = |name: &str| block.get_mut(name).map_or(Value::Null, Value::take);
        match field("type").as_str() {
            Some("tool_use") => calls.push((field("id"), field("name"), field("input").to_string())),
            Some("tool_result") => {
                let (id, content) = (field("tool_use_id"), field("content"));
                let mut result = message("tool", result_parts(param, content)?);
                result["tool_call_id"] = id;
                messages.push(result);
            }
            // What a model thought before is its own.
            Some("thinking" | "redacted_thinking") => {}
            kind => parts.push(part(param, kind, field)?),
        }
    }
    if !parts.is_empty() {
        messages.push(message(role, parts));
    } else if !calls.is_empty() {
        // Calls of another turn are not to join those of the one before.
        messages.push(json!({ "role": role, "content": null }));
    }
    for (id, name, arguments) in calls {
        add_call(messages, id, name, arguments.into());
    }
    Ok(())
}

/// What a tool said.
fn result_parts(param: &str, content: Value) -> Result<Vec<Value>, ApiError> {
    match content {
        Value::Null => Ok(vec![text_part("".into())]),
        Value::String(text) => Ok(vec![text_part(text.into())]),
        Value::Array(blocks) => {
            let translate = |mut block: Value| {
                let mut field = |name: &str| block.get_mut(name).map_or(Value::Null, Value::take);
                part(param, field("type").as_str(), field)
            };
            blocks.into_iter().map(translate).collect()
        }
        _ => Err(ApiError::invalid(param, format!("{param}: a tool's result must be text, or a list of blocks"))),
    }
}

/// A block as a part of a chat completion's message.
fn part(param: &str, kind: Option<&str>, mut field: impl FnMut(&str) -> Value) -> Result<Value, ApiError> {
    match kind {
        Some("text") => Ok(text_part(field("text"))),
        Some("image") => {
            let source = field("source");
            let url = match (text_of(&source, "type"), text_of(&source, "media_type"), text_of(&source, "data")) {
                (Some("base64"), Some(kind), Some(data)) => format!("data:{kind};base64,{data}"),
                (Some("url"), ..) => text_of(&source, "url").unwrap_or_default().to_owned(),
                _ => {
                    let message =
                        format!("{param}: an image's source must be base64 with media_type and data, or a url");
                    return Err(unsupported(param, message));
                }
            };
            Ok(json!({ "type": "image_url", "image_url": { "url": url } }))
        }
        other => {
            let message = format!("{param} may not have a block of type {}", other.unwrap_or("none"));
            Err(unsupported(param, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Surface;
    use super::super::super::tests::{refused, to_chat};
    use serde_json::{Value, json};

    #[test]
    fn a_request_becomes_a_chat_completion() {
        let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
        let request = json!({
            "model": "m", "max_tokens": 50, "temperature": 0.3, "top_k": 40, "stop_sequences": ["END"], "stream": false,
            "system": [{ "type": "text", "text": "be brief", "cache_control": { "type": "ephemeral" } }],
            "thinking": { "type": "enabled", "budget_tokens": 1024 }, "metadata": { "user_id": "u" },
            "tools": [{ "name": "weather", "description": "d", "input_schema": parameters }],
            "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
            "output_config": { "effort": "low", "format": { "type": "json_schema", "schema": { "type": "object" } } },
            "messages": [
                { "role": "user", "content": [
                    { "type": "text", "text": "what is this?" },
                    { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA==" } },
                    { "type": "image", "source": { "type": "url", "url": "https://e.example/i.png" } },
                ] },
                { "role": "assistant", "content": [
                    { "type": "thinking", "thinking": "hm", "signature": "s" },
                    { "type": "text", "text": "Let me look." },
                    { "type": "tool_use", "id": "t1", "name": "weather", "input": { "city": "Oslo" } },
                ] },
                { "role": "user", "content": [
                    { "type": "tool_result", "tool_use_id": "t1", "content": "rain" },
                    { "type": "text", "text": "and now?" },
                ] },
                { "role": "assistant", "content": [{ "type": "tool_use", "id": "t2", "name": "weather", "input": {} }] },
                { "role": "user", "content": [
                    { "type": "tool_result", "tool_use_id": "t2", "is_error": true, "content": [{ "type": "text", "text": "no" }] },
                ] },
            ],
        });
        let call = |id: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": "weather", "arguments": arguments } });
        let image = |url: &str| json!({ "type": "image_url", "image_url": { "url": url } });
        let expected = json!({
            "model": "m", "max_tokens": 50, "temperature": 0.3, "top_k": 40, "stream": false,
            "messages": [
                { "role": "system", "content": "be brief" },
                { "role": "user", "content": [
                    { "type": "text", "text": "what is this?" },
                    image("data:image/png;base64,AA=="),
                    image("https://e.example/i.png"),
                ] },
                { "role": "assistant", "content": "Let me look.", "tool_calls": [call("t1", "{\"city\":\"Oslo\"}")] },
                { "role": "tool", "content": "rain", "tool_call_id": "t1" },
                { "role": "user", "content": "and now?" },
                { "role": "assistant", "content": null, "tool_calls": [call("t2", "{}")] },
                { "role": "tool", "content": "no", "tool_call_id": "t2" },
            ],
            "stop": ["END"],
            "response_format": { "type": "json_schema", "json_schema": {
                "name": "answer", "schema": { "type": "object" }, "strict": true,
            } },
            "tools": [{ "type": "function", "function": { "name": "weather", "description": "d", "parameters": parameters } }],
            "tool_choice": "required", "parallel_tool_calls": false,
        });
        assert_eq!(to_chat(Surface::Messages, &request), expected);
    }

    #[test]
    fn a_tool_may_be_chosen_in_four_ways() {
        let chosen = |choice: Value| {
            let request = json!({
                "model": "m", "max_tokens": 5, "messages": [{ "role": "user", "content": "hi" }],
                "tools": [{ "type": "custom", "name": "f", "input_schema": {} }], "tool_choice": choice,
            });
            to_chat(Surface::Messages, &request)["tool_choice"].clone()
        };
        assert_eq!(chosen(json!({ "type": "auto" })), "auto");
        assert_eq!(chosen(json!({ "type": "none" })), "none");
        assert_eq!(chosen(json!({ "type": "any" })), "required");
        assert_eq!(
            chosen(json!({ "type": "tool", "name": "f" })),
            json!({ "type": "function", "function": { "name": "f" } })
        );
    }

    #[test]
    fn what_cannot_be_translated_is_refused_by_name() {
        let with = |change: Value| {
            let mut request =
                json!({ "model": "m", "max_tokens": 5, "messages": [{ "role": "user", "content": "hi" }] });
            request.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            refused(Surface::Messages, &request)
        };
        let said = |block: Value| json!({ "messages": [{ "role": "user", "content": [block] }] });
        let unsupported = [
            (json!({ "container": "c" }), "container"),
            (json!({ "mcp_servers": [] }), "mcp_servers"),
            (json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search" }] }), "tools[0]"),
            (json!({ "output_config": { "format": { "type": "grammar" } } }), "output_config.format"),
            (said(json!({ "type": "document", "source": {} })), "messages[0]"),
            (said(json!({ "type": "image", "source": { "type": "file", "file_id": "f" } })), "messages[0]"),
            (said(json!({ "text": "no type" })), "messages[0]"),
            (said(json!("a string")), "messages[0]"),
            (said(json!({ "type": "tool_result", "content": [{ "type": "document" }] })), "messages[0]"),
        ];
        for (change, param) in unsupported {
            assert_eq!(with(change.clone()), (param.to_owned(), "unsupported_parameter"), "{change}");
        }
        let tool = json!({ "name": "f", "input_schema": {} });
        let invalid = [
            (json!({ "max_tokens": null }), "max_tokens"),
            (json!({ "max_tokens": "5" }), "max_tokens"),
            (json!({ "messages": [] }), "messages"),
            (json!({ "messages": "hi" }), "messages"),
            (json!({ "messages": [{ "role": "robot", "content": "x" }] }), "messages[0].role"),
            (json!({ "messages": [{ "role": "user", "content": 7 }] }), "messages[0]"),
            (said(json!({ "type": "tool_result", "content": 7 })), "messages[0]"),
            (json!({ "system": 7 }), "system"),
            (json!({ "tools": {} }), "tools"),
            (json!({ "tools": [tool], "tool_choice": { "type": "tool" } }), "tool_choice"),
        ];
        for (change, param) in invalid {
            assert_eq!(with(change.clone()), (param.to_owned(), "invalid_value"), "{change}");
        }
    }
}
