//! Calls of models.

use super::Credits;
use serde_json::Value;
use utoipa::ToSchema;

/// A chat completion as OpenAI's clients send it; further fields go to the provider as they are.
#[derive(ToSchema)]
#[schema(example = json!({ "model": "llama-3.1-8b", "messages": [{ "role": "user", "content": "hello" }], "max_tokens": 20 }))]
pub(crate) struct ChatCompletion {
    model: String,
    #[schema(min_items = 1)]
    messages: Vec<ChatMessage>,
    #[schema(minimum = 1, maximum = 131_072)]
    max_tokens: Option<u64>,
    stream: Option<bool>,
}

/// A text to go on with, as OpenAI's clients send it; further fields go to the provider as they are.
#[derive(ToSchema)]
#[schema(example = json!({ "model": "llama-3.1-8b", "prompt": "Once upon a time", "max_tokens": 20 }))]
pub(crate) struct Completion {
    model: String,
    /// Text, or a list of texts or of token numbers.
    prompt: Value,
    #[schema(minimum = 1, maximum = 131_072)]
    max_tokens: Option<u64>,
    stream: Option<bool>,
}

/// A response as OpenAI's clients ask for it. It is translated to a chat completion, and nothing is stored: what needs an
/// earlier response, or a tool that the server runs, is refused by name.
#[derive(ToSchema)]
#[schema(example = json!({ "model": "llama-3.1-8b", "input": "hello", "max_output_tokens": 20 }))]
pub(crate) struct ResponseRequest {
    model: String,
    /// Text, or a list of items: messages, function calls and their outputs.
    input: Value,
    instructions: Option<String>,
    #[schema(minimum = 1, maximum = 131_072)]
    max_output_tokens: Option<u64>,
    /// Functions.
    tools: Option<Vec<Value>>,
    stream: Option<bool>,
}

/// A message as Anthropic's clients ask for it. It is translated to a chat completion.
#[derive(ToSchema)]
#[schema(example = json!({
    "model": "llama-3.1-8b", "max_tokens": 20, "messages": [{ "role": "user", "content": "hello" }],
}))]
pub(crate) struct MessageRequest {
    model: String,
    #[schema(minimum = 1, maximum = 131_072)]
    max_tokens: u64,
    #[schema(min_items = 1)]
    messages: Vec<ChatMessage>,
    /// Text, or a list of blocks of text.
    system: Option<Value>,
    /// Tools of the caller's own.
    tools: Option<Vec<Value>>,
    stream: Option<bool>,
}

/// A message of text; its content may be a list of parts, text or images, too.
#[derive(ToSchema)]
#[schema(example = json!({ "role": "user", "content": "hello" }))]
pub(crate) struct ChatMessage {
    role: String,
    content: String,
}

/// One prompt.
#[derive(ToSchema)]
#[schema(example = json!({ "model": "llama-3.1-8b", "prompt": "hello", "max_tokens": 20 }))]
pub(crate) struct GenerateRequest {
    model: String,
    #[schema(min_length = 1)]
    prompt: String,
    #[schema(minimum = 1, maximum = 131_072)]
    max_tokens: Option<u64>,
    /// Most US dollars a normalised token.
    max_price: Option<String>,
    /// Most milliseconds to the first token.
    max_latency: Option<u32>,
}

#[derive(ToSchema)]
pub(crate) struct Generated {
    id: Value,
    model: Value,
    response: Value,
    done: bool,
    provider: String,
    #[schema(required = true)]
    cost: Option<Credits>,
    usage: Value,
    latency_ms: u64,
}
