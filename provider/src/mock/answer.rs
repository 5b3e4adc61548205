//! The plain answer, and what plain and streamed answers have in common: who is being answered, and the usage.

use serde_json::{Value, json};

use super::{request::ChatRequest, words};

/// One answer: the request and the identity of the reply.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The `id` of the completion, the same on every chunk.
    pub(crate) id: String,
    /// Unix seconds.
    pub(crate) created: u64,
    /// Decides the words.
    pub(crate) seed: u64,
    pub(crate) request: ChatRequest,
}

impl Answer {
    /// The body of the plain answer.
    pub(crate) fn plain(&self) -> Value {
        let tokens = self.request.completion_tokens;
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.request.model,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": words::text(self.seed, tokens), "refusal": null},
                "logprobs": null,
                "finish_reason": self.request.finish_reason.as_str(),
            }],
            "usage": self.usage(tokens),
        })
    }

    /// The usage once `completion_tokens` tokens have been produced.
    pub(crate) fn usage(&self, completion_tokens: u32) -> Value {
        json!({
            "prompt_tokens": self.request.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.request.prompt_tokens + u64::from(completion_tokens),
            "prompt_tokens_details": {"cached_tokens": 0},
        })
    }
}
