//! How many tokens a prompt has: its words, and a fixed number for each image.

use serde_json::{Map, Value};

use super::{error::ApiError, fields::present};

/// Tokens of an image, whatever is on it: what OpenAI counts for one at low detail.
const IMAGE_TOKENS: u64 = 85;

/// Tokens over the contents of all `messages`, at least 1.
pub(crate) fn chat_tokens(fields: &Map<String, Value>) -> Result<u64, ApiError> {
    let messages = match present(fields, "messages") {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        Some(Value::Array(_)) => return Err(ApiError::invalid(Some("messages"), "`messages` must not be empty")),
        Some(_) => return Err(ApiError::invalid(Some("messages"), "`messages` must be an array")),
        None => return Err(ApiError::invalid(Some("messages"), "you must provide `messages`")),
    };
    let mut tokens = 0_u64;
    for message in messages {
        tokens += message_tokens(message)?;
    }
    Ok(tokens.max(1))
}

fn message_tokens(message: &Value) -> Result<u64, ApiError> {
    let invalid = |message| ApiError::invalid(Some("messages"), message);
    let Value::Object(message) = message else {
        return Err(invalid("each message must be an object"));
    };
    match present(message, "content") {
        // An assistant's message that only calls tools has no content.
        None => Ok(0),
        Some(Value::String(text)) => Ok(words(text)),
        Some(Value::Array(parts)) => Ok(parts.iter().map(part_tokens).sum()),
        Some(_) => Err(invalid("the content of a message must be a string or an array of parts")),
    }
}

fn part_tokens(part: &Value) -> u64 {
    if part.get("type").and_then(Value::as_str) == Some("image_url") {
        return IMAGE_TOKENS;
    }
    part.get("text").and_then(Value::as_str).map_or(0, words)
}

/// How many prompts the raw `prompt` holds, and their tokens, at least 1: a string, an array of token numbers, or an
/// array of either.
pub(crate) fn raw_tokens(fields: &Map<String, Value>) -> Result<(u32, u64), ApiError> {
    let invalid = |message| Err(ApiError::invalid(Some("prompt"), message));
    let Some(prompt) = present(fields, "prompt") else {
        return invalid("you must provide a `prompt`");
    };
    if let Some(tokens) = one_prompt(prompt) {
        return Ok((1, tokens.max(1)));
    }
    let prompts: Option<Vec<u64>> = prompt.as_array().and_then(|prompts| prompts.iter().map(one_prompt).collect());
    let Some(prompts) = prompts else {
        return invalid("`prompt` must be a string, an array of strings, or arrays of token numbers");
    };
    match u32::try_from(prompts.len()) {
        Ok(count) => Ok((count, prompts.iter().sum::<u64>().max(1))),
        Err(_) => invalid("`prompt` holds too many prompts"),
    }
}

fn one_prompt(prompt: &Value) -> Option<u64> {
    match prompt {
        Value::String(text) => Some(words(text)),
        Value::Array(tokens) if !tokens.is_empty() && tokens.iter().all(Value::is_u64) => Some(tokens.len() as u64),
        _ => None,
    }
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(name: &str, value: Value) -> Map<String, Value> {
        Map::from_iter([(name.to_owned(), value)])
    }

    #[test]
    fn prompt_tokens_are_the_words_of_all_messages_and_85_an_image() {
        let messages = json!([
            {"role": "system", "content": "be  brief\n please"},
            {"role": "assistant", "content": null},
            {"role": "user", "content": [{"type": "text", "text": "one two"}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        ]);
        assert_eq!(chat_tokens(&fields("messages", messages)), Ok(5 + 85));
        assert_eq!(chat_tokens(&fields("messages", json!([{"role": "user", "content": "  "}]))), Ok(1));
    }

    #[test]
    fn raw_prompt_is_a_string_or_token_numbers_or_an_array_of_either() {
        for (prompt, expected) in [
            (json!("once upon a time"), (1, 4)),
            (json!(""), (1, 1)),
            (json!([464, 2_068]), (1, 2)),
            (json!(["once upon", "a"]), (2, 3)),
            (json!([[1, 2, 3], [4]]), (2, 4)),
        ] {
            assert_eq!(raw_tokens(&fields("prompt", prompt.clone())), Ok(expected), "{prompt}");
        }
        for prompt in [json!(7), json!({}), json!([1, "a"]), json!([[]]), json!([-1])] {
            assert_eq!(raw_tokens(&fields("prompt", prompt.clone())).unwrap_err().param, Some("prompt"), "{prompt}");
        }
    }
}
