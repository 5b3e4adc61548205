//! What plain and streamed answers have in common: who is being answered, how the tokens are written, the usage.
//!
//! JSON is written by hand: the server is the opposite end of latency measurements, and a tree of values would cost
//! more than all the rest. Nothing in an answer but the names of the model and of a function needs escaping.

use std::{ops::Range, sync::Arc};

use serde_json::Value;

use super::{
    request::{Api, CompletionRequest, Shape},
    words::Speech,
};

/// Begins and ends what is wrapped, as it stands inside a JSON string.
const OBJECT_BEGIN: &str = r#"{\"text\":\""#;
const OBJECT_END: &str = r#"\"}"#;

/// The log probability of every token.
const LOGPROB: &str = "-0.25";

/// Room for the fields around the tokens.
const FRAME_BYTES_TYPICAL: usize = 512;

/// Room for a token.
const TOKEN_BYTES_TYPICAL: usize = 6;

/// One answer: the request and the identity of the reply.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The `id` of the completion, the same on every chunk.
    pub(crate) id: String,
    /// Unix seconds.
    pub(crate) created: u64,
    pub(crate) speech: Arc<Speech>,
    /// By how many percent the usage claims more.
    pub(crate) overstate_pct: u32,
    pub(crate) request: CompletionRequest,
}

impl Answer {
    /// The body of the plain answer.
    pub(crate) fn plain(&self) -> String {
        let CompletionRequest { choices, completion_tokens: tokens, .. } = self.request;
        let text_bytes = tokens as usize * choices as usize * TOKEN_BYTES_TYPICAL;
        let mut out = String::with_capacity(FRAME_BYTES_TYPICAL + text_bytes);
        out.push('{');
        self.push_identity(&mut out, false);
        out.push_str("\"choices\":[");
        for choice in 0..choices {
            if choice > 0 {
                out.push(',');
            }
            self.push_choice(&mut out, choice);
        }
        out.push_str("],\"usage\":");
        self.push_usage(&mut out, u64::from(tokens) * u64::from(choices));
        out.push('}');
        out
    }

    /// One choice of the plain answer.
    fn push_choice(&self, out: &mut String, choice: u32) {
        let all = 0..self.request.completion_tokens;
        push_all(out, &["{\"index\":", &choice.to_string(), ","]);
        match (self.request.api, &self.request.shape) {
            (Api::Text, _) => {
                out.push_str("\"text\":\"");
                self.push_tokens(out, choice, all.clone());
                out.push('"');
            }
            (Api::Chat, Shape::Call(name)) => {
                out.push_str(r#""message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"#);
                self.push_call(out, choice, name);
                self.push_tokens(out, choice, all.clone());
                out.push_str("\"}}]}");
            }
            (Api::Chat, Shape::Text | Shape::Json) => {
                out.push_str(r#""message":{"role":"assistant","content":""#);
                self.push_tokens(out, choice, all.clone());
                out.push_str(r#"","refusal":null}"#);
            }
        }
        out.push_str(",\"logprobs\":");
        self.push_logprobs(out, choice, all);
        push_all(out, &[",\"finish_reason\":\"", self.request.finish_reason.as_str(), "\"}"]);
    }

    /// Id, object, time and model, with a comma at the end.
    pub(crate) fn push_identity(&self, out: &mut String, chunk: bool) {
        let object = match (self.request.api, chunk) {
            (Api::Chat, false) => "chat.completion",
            (Api::Chat, true) => "chat.completion.chunk",
            (Api::Text, _) => "text_completion",
        };
        let model = Value::from(self.request.model.as_str()); // Displays as JSON, escaped.
        let Answer { id, created, .. } = self;
        push_all(out, &["\"id\":\"", id, "\",\"object\":\"", object, "\",\"created\":", &created.to_string()]);
        push_all(out, &[",\"model\":", &model.to_string(), ","]);
    }

    /// The beginning of a call, up to and with the quote before its arguments.
    pub(crate) fn push_call(&self, out: &mut String, choice: u32, name: &str) {
        let Answer { id, .. } = self;
        let name = Value::from(name);
        push_all(out, &["\"id\":\"call_", id, "_", &choice.to_string(), "\",\"type\":\"function\""]);
        push_all(out, &[",\"function\":{\"name\":", &name.to_string(), ",\"arguments\":\""]);
    }

    /// A range of a choice's tokens as they stand inside a JSON string, with what they are wrapped in.
    pub(crate) fn push_tokens(&self, out: &mut String, choice: u32, tokens: Range<u32>) {
        let wrapped = self.request.shape != Shape::Text;
        if wrapped && tokens.start == 0 {
            out.push_str(OBJECT_BEGIN);
        }
        let last = tokens.end == self.request.completion_tokens;
        self.speech.push(out, choice, tokens);
        if wrapped && last {
            out.push_str(OBJECT_END);
        }
    }

    /// The log probabilities of a range of tokens, or `null`.
    pub(crate) fn push_logprobs(&self, out: &mut String, choice: u32, tokens: Range<u32>) {
        if !self.request.logprobs {
            return out.push_str("null");
        }
        out.push_str("{\"content\":[");
        for index in tokens.clone() {
            let word = self.speech.word(choice, index);
            let bytes: Vec<String> = word.bytes().map(|byte| byte.to_string()).collect();
            let comma = if index > tokens.start { "," } else { "" };
            push_all(out, &[comma, "{\"token\":\"", word, "\",\"logprob\":", LOGPROB, ",\"bytes\":["]);
            push_all(out, &[&bytes.join(","), "],\"top_logprobs\":[]}"]);
        }
        out.push_str("],\"refusal\":null}");
    }

    /// The usage once `completion_tokens` tokens have been produced, in all choices together.
    pub(crate) fn push_usage(&self, out: &mut String, completion_tokens: u64) {
        let prompt = self.claimed(self.request.prompt_tokens);
        let completion = self.claimed(completion_tokens);
        push_all(
            out,
            &["{\"prompt_tokens\":", &prompt.to_string(), ",\"completion_tokens\":", &completion.to_string()],
        );
        let total = prompt.saturating_add(completion).to_string();
        push_all(out, &[",\"total_tokens\":", &total, ",\"prompt_tokens_details\":{\"cached_tokens\":0}}"]);
    }

    /// What the usage says of so many tokens.
    fn claimed(&self, tokens: u64) -> u64 {
        tokens.saturating_add(tokens.saturating_mul(u64::from(self.overstate_pct)).div_ceil(100))
    }
}

/// Appends every part.
pub(crate) fn push_all(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
}
