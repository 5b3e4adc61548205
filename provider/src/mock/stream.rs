//! The streamed answer: server-sent events, one token to an event, written when the tokens are due.
//!
//! Tokens that are due together travel in one write, up to [`TOKENS_PER_WRITE_MAX`]; the end of the answer (finish
//! reason, usage, `[DONE]`) travels with the last token. The stream holds the answer's [`UnderWay`]: when the
//! connection drops the stream half read, the request counts as aborted and no further token is made.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::time::{Instant, sleep_until};

use super::{answer::Answer, request::StreamUsage, schedule::Schedule, stats::UnderWay, words};

/// Most tokens in one write: some 16 KiB, what a socket takes in one go.
const TOKENS_PER_WRITE_MAX: u32 = 64;

/// Room for one event, so that the write buffer seldom grows.
const EVENT_BYTES_TYPICAL: usize = 256;

/// One streamed answer, as far as it got.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) answer: Answer,
    pub(crate) usage: StreamUsage,
    pub(crate) schedule: Schedule,
    /// When the request arrived.
    pub(crate) start: Instant,
    pub(crate) under_way: UnderWay,
}

impl Generation {
    /// The body of the response.
    pub(crate) fn into_body(self) -> Body {
        let writer = Writer { prefix: chunk_prefix(&self.answer), generation: self, produced: 0, phase: Phase::Role };
        Body::from_stream(stream::unfold(writer, Writer::next))
    }
}

/// What the next write begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Role,
    Content,
    Done,
}

/// Writes the events of one answer.
struct Writer {
    generation: Generation,
    /// `data: {` and the fields that are the same in every chunk.
    prefix: String,
    produced: u32,
    phase: Phase,
}

impl Writer {
    /// Waits for the next token and writes it, with all others that are due by then.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.phase == Phase::Done {
            return None;
        }
        let Generation { schedule, start, ref answer, .. } = self.generation;
        let total = answer.request.completion_tokens;
        sleep_until(start + schedule.due_at(self.produced)).await;
        // The clock has passed the next token's time, so at least that one is due.
        let due = schedule.due_by(start.elapsed()).max(self.produced.saturating_add(1));
        let until = due.min(total).min(self.produced + TOKENS_PER_WRITE_MAX);
        let write = self.write_until(until, total);
        Some((Ok(write), self))
    }

    /// One write: the tokens up to `until`, and the end of the answer if that is all of them.
    fn write_until(&mut self, until: u32, total: u32) -> Bytes {
        let events = (until - self.produced) as usize + 4;
        let mut out = String::with_capacity(events * EVENT_BYTES_TYPICAL);
        if self.phase == Phase::Role {
            self.choice(&mut out, r#"{"role":"assistant","content":""}"#, "null");
            self.phase = Phase::Content;
        }
        let before = self.produced;
        for index in before..until {
            self.produced = index + 1;
            let word = words::word(self.generation.answer.seed, index);
            self.choice(&mut out, &format!(r#"{{"content":"{word}"}}"#), "null");
        }
        self.generation.under_way.hand_out(until - before);
        if until == total {
            let reason = self.generation.answer.request.finish_reason.as_str();
            self.choice(&mut out, "{}", &format!("\"{reason}\""));
            if self.generation.usage != StreamUsage::Off {
                let usage = self.generation.answer.usage(total);
                self.chunk(&mut out, "[]", &format!(",\"usage\":{usage}"));
            }
            out.push_str("data: [DONE]\n\n");
            self.phase = Phase::Done;
            self.generation.under_way.complete();
        }
        Bytes::from(out)
    }

    /// A chunk with one choice; both arguments are JSON.
    fn choice(&self, out: &mut String, delta: &str, finish_reason: &str) {
        let usage = match self.generation.usage {
            StreamUsage::Off => String::new(),
            StreamUsage::AtEnd => ",\"usage\":null".to_owned(),
            StreamUsage::Running => format!(",\"usage\":{}", self.generation.answer.usage(self.produced)),
        };
        let choices = format!(r#"[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish_reason}}}]"#);
        self.chunk(out, &choices, &usage);
    }

    fn chunk(&self, out: &mut String, choices: &str, usage: &str) {
        for part in [&self.prefix, "\"choices\":", choices, usage, "}\n\n"] {
            out.push_str(part);
        }
    }
}

fn chunk_prefix(answer: &Answer) -> String {
    let model = serde_json::Value::from(answer.request.model.as_str()); // Displays as JSON, escaped.
    let Answer { id, created, .. } = answer;
    format!(r#"data: {{"id":"{id}","object":"chat.completion.chunk","created":{created},"model":{model},"#)
}
