//! The streamed answer: server-sent events, one token to an event, written when the tokens are due.
//!
//! Tokens that are due together travel in one write, up to [`TOKENS_PER_WRITE_MAX`]; the end of the answer (finish
//! reason, usage, `[DONE]`) travels with the last token. The stream holds the answer's [`UnderWay`]: when the
//! connection drops the stream half read, the request counts as aborted and no further token is made.
//!
//! Where the request meets [`Fault::Die`] the stream breaks off after some tokens, where it meets [`Fault::Endless`] it
//! goes on for ever.

use std::io;

use bytes::Bytes;
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::{
    answer::{Answer, push_all},
    fault::Fault,
    request::{Api, Shape, StreamUsage},
    schedule::Schedule,
    stats::UnderWay,
};
use crate::hash;

/// Most tokens of a choice in one write: with one choice some 16 KiB, what a socket takes in one go.
const TOKENS_PER_WRITE_MAX: u32 = 64;

/// Room for one event, so that the write buffer seldom grows.
const EVENT_BYTES_TYPICAL: usize = 256;

/// How far a stream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All tokens, and a proper end.
    Proper,
    /// So many tokens of each choice, and the connection breaks.
    Broken(u32),
    /// None.
    Never,
}

impl End {
    /// How a stream of `total` tokens ends that meets this fault. A broken one has at least one token, if there is one.
    fn of(fault: Option<Fault>, seed: u64, number: u64, total: u32) -> Self {
        match fault {
            Some(Fault::Die) => {
                let drawn = hash::draw_below(!seed, number, u64::from(total.saturating_sub(1)));
                End::Broken(total.min(1 + u32::try_from(drawn).unwrap_or(u32::MAX)))
            }
            Some(Fault::Endless) => End::Never,
            _ => End::Proper,
        }
    }

    /// Tokens of each choice that are sent at most.
    fn tokens(self, total: u32) -> u32 {
        match self {
            End::Proper => total,
            End::Broken(tokens) => tokens,
            End::Never => u32::MAX,
        }
    }
}

/// What the next write begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Begin,
    Content,
    Break,
    Done,
}

/// Writes the events of one answer.
#[derive(Debug)]
pub(crate) struct Writer {
    answer: Answer,
    usage: StreamUsage,
    schedule: Schedule,
    /// When the request arrived.
    start: Instant,
    end: End,
    /// `data: {` and the fields that are the same in every chunk.
    prefix: String,
    /// Tokens of each choice that were written.
    produced: u32,
    phase: Phase,
}

/// Bytes to send, and how many tokens they hold.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) bytes: Bytes,
    pub(crate) tokens: u64,
    /// Whether the answer is complete with it.
    pub(crate) last: bool,
}

impl Writer {
    /// The writer of the answer to the request with this number.
    pub(crate) fn new(
        answer: Answer,
        usage: StreamUsage,
        schedule: Schedule,
        start: Instant,
        fault: Option<Fault>,
        number: u64,
    ) -> Self {
        let end = End::of(fault, answer.speech.seed(), number, answer.request.completion_tokens);
        let mut prefix = "data: {".to_owned();
        answer.push_identity(&mut prefix, true);
        prefix.push_str("\"choices\":");
        Writer { answer, usage, schedule, start, end, prefix, produced: 0, phase: Phase::Begin }
    }

    /// The next write, without accounting; `None` after the last one. With `most_tokens` of each choice in it.
    pub(crate) async fn write(&mut self, most_tokens: u32) -> Option<io::Result<Write>> {
        match self.phase {
            Phase::Done => return None,
            Phase::Break => {
                self.phase = Phase::Done;
                // Gives the connection the turn to send what it has.
                yield_now().await;
                return Some(Err(io::Error::from(io::ErrorKind::ConnectionAborted)));
            }
            Phase::Begin | Phase::Content => {}
        }
        let due_at = self.schedule.due_at(self.produced);
        if self.start.elapsed() < due_at {
            sleep_until(self.start + due_at).await;
        }
        let end = self.end.tokens(self.answer.request.completion_tokens);
        // The clock has passed the next token's time, so at least that one is due.
        let due = self.schedule.due_by(self.start.elapsed()).max(self.produced.saturating_add(1));
        let most = self.produced.saturating_add(most_tokens.min(TOKENS_PER_WRITE_MAX));
        Some(Ok(self.write_until(due.min(end).min(most), end)))
    }

    /// One write: the tokens up to `until`, and the end of the answer if that is all of them.
    fn write_until(&mut self, until: u32, end: u32) -> Write {
        let choices = self.answer.request.choices;
        let (before, tokens) = (self.produced, u64::from(until - self.produced) * u64::from(choices));
        let events = (until - before + 2) as usize * choices as usize + 2;
        let mut out = String::with_capacity(events * EVENT_BYTES_TYPICAL);
        if self.phase == Phase::Begin {
            self.phase = Phase::Content;
            if self.answer.request.api == Api::Chat {
                (0..choices).for_each(|choice| self.push_role(&mut out, choice));
            }
        }
        for index in before..until {
            self.produced = index + 1;
            (0..choices).for_each(|choice| self.push_token(&mut out, choice, index));
        }
        let last = until == end && self.end == End::Proper;
        if last {
            self.push_end(&mut out);
            self.phase = Phase::Done;
        } else if until == end && self.end != End::Never {
            self.phase = Phase::Break;
        }
        Write { bytes: Bytes::from(out), tokens, last }
    }

    fn push_role(&self, out: &mut String, choice: u32) {
        match &self.answer.request.shape {
            Shape::Call(name) => self.push_choice(out, choice, None, |out| {
                out.push_str(r#""delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"#);
                self.answer.push_call(out, choice, name);
                out.push_str("\"}}]}");
            }),
            Shape::Text | Shape::Json => self.push_choice(out, choice, None, |out| {
                out.push_str(r#""delta":{"role":"assistant","content":""}"#);
            }),
        }
    }

    fn push_token(&self, out: &mut String, choice: u32, index: u32) {
        let (open, close) = match (self.answer.request.api, &self.answer.request.shape) {
            (Api::Text, _) => ("\"text\":\"", "\""),
            (Api::Chat, Shape::Call(_)) => (r#""delta":{"tool_calls":[{"index":0,"function":{"arguments":""#, "\"}}]}"),
            (Api::Chat, Shape::Text | Shape::Json) => ("\"delta\":{\"content\":\"", "\"}"),
        };
        self.push_choice(out, choice, Some(index), |out| {
            out.push_str(open);
            self.answer.push_tokens(out, choice, index..index + 1);
            out.push_str(close);
        });
    }

    /// The finish reasons, the usage, `[DONE]`.
    fn push_end(&self, out: &mut String) {
        let request = &self.answer.request;
        let nothing = if request.api == Api::Chat { "\"delta\":{}" } else { "\"text\":\"\"" };
        for choice in 0..request.choices {
            push_all(out, &[&self.prefix, "[{\"index\":", &choice.to_string(), ",", nothing]);
            push_all(out, &[",\"logprobs\":null,\"finish_reason\":\"", request.finish_reason.as_str(), "\"}]"]);
            self.push_chunk_end(out);
        }
        if self.usage != StreamUsage::Off {
            push_all(out, &[&self.prefix, "[],\"usage\":"]);
            self.answer.push_usage(out, self.tokens_written());
            out.push_str("}\n\n");
        }
        out.push_str("data: [DONE]\n\n");
    }

    /// A chunk with one choice, of which `content` writes what it brings: the token at an index, or none.
    fn push_choice(&self, out: &mut String, choice: u32, token: Option<u32>, content: impl FnOnce(&mut String)) {
        push_all(out, &[&self.prefix, "[{\"index\":", &choice.to_string(), ","]);
        content(out);
        out.push_str(",\"logprobs\":");
        match token {
            Some(index) => self.answer.push_logprobs(out, choice, index..index + 1),
            None => out.push_str("null"),
        }
        out.push_str(",\"finish_reason\":null}]");
        self.push_chunk_end(out);
    }

    fn push_chunk_end(&self, out: &mut String) {
        match self.usage {
            StreamUsage::Off => {}
            StreamUsage::AtEnd => out.push_str(",\"usage\":null"),
            StreamUsage::Running => {
                out.push_str(",\"usage\":");
                self.answer.push_usage(out, self.tokens_written());
            }
        }
        out.push_str("}\n\n");
    }

    fn tokens_written(&self) -> u64 {
        u64::from(self.produced) * u64::from(self.answer.request.choices)
    }
}

/// A stream as the connection reads it, with the account of it.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) writer: Writer,
    pub(crate) under_way: UnderWay,
}

impl Stream {
    /// The next piece of the body.
    pub(crate) async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let write = match self.writer.write(TOKENS_PER_WRITE_MAX).await? {
            Ok(write) => write,
            Err(error) => return Some((Err(error), self)),
        };
        self.under_way.hand_out(write.tokens);
        if write.last {
            self.under_way.complete();
        }
        Some((Ok(write.bytes), self))
    }
}
