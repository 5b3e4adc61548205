//! The answer on its way from the model server to the gateway: passed on as it comes, and measured.
//!
//! A frame is read when the gateway has room for it, so a slow reader slows the model server down and nothing piles up
//! here. The meter holds the request's slot to the end of the answer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use super::load::{Ended, Load, Slot};

/// How model servers tell the tokens they made; the last one of an answer counts.
const TOLD: &[u8] = b"\"completion_tokens\":";

/// Longest number of tokens, with a space before.
const NUMBER_BYTES_MAX: usize = 21;

/// An answer and its meter.
#[derive(Debug)]
pub(crate) struct Metered {
    inner: Incoming,
    meter: Meter,
}

impl Metered {
    pub(crate) fn new(inner: Incoming, meter: Meter) -> Self {
        Metered { inner, meter }
    }
}

impl Body for Metered {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.meter.read(data);
                }
                // A body of known length is not polled again after its last frame.
                if self.inner.is_end_stream() {
                    self.meter.end(None);
                }
            }
            Poll::Ready(Some(Err(_))) => self.meter.end(Some(Ended::Failed)),
            Poll::Ready(None) => self.meter.end(None),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What is measured of one request. Dropped before the end, the client has left.
#[derive(Debug)]
pub(crate) struct Meter {
    load: Arc<Load>,
    slot: Option<Slot>,
    begun: Instant,
    answer: Option<Answer>,
}

#[derive(Debug)]
struct Answer {
    is_stream: bool,
    is_success: bool,
    first: Option<Instant>,
    tokens: Tokens,
}

impl Meter {
    pub(crate) fn new(load: Arc<Load>, slot: Slot) -> Self {
        Meter { load, slot: Some(slot), begun: Instant::now(), answer: None }
    }

    /// The head of the answer has come.
    pub(crate) fn answer(&mut self, is_success: bool, is_stream: bool) {
        self.answer = Some(Answer { is_stream, is_success, first: None, tokens: Tokens::default() });
    }

    fn read(&mut self, data: &[u8]) {
        let Some(answer) = self.answer.as_mut().filter(|answer| answer.is_success) else {
            return;
        };
        answer.tokens.read(data);
        if answer.first.is_none() && !data.is_empty() {
            answer.first = Some(Instant::now());
            if answer.is_stream {
                self.load.first_token(self.begun.elapsed());
            }
        }
    }

    /// The request has ended: `failed` says how if it went wrong. Only the first end counts.
    pub(crate) fn end(&mut self, failed: Option<Ended>) {
        if self.slot.take().is_none() {
            return;
        }
        let is_success = self.answer.as_ref().is_some_and(|answer| answer.is_success);
        self.load.count(failed.unwrap_or(if is_success { Ended::Completed } else { Ended::Failed }));
        let Some(answer) = &self.answer else { return };
        let tokens = answer.tokens.count();
        self.load.count_tokens(tokens);
        if let Some(first) = answer.first.filter(|_| answer.is_stream) {
            let micros = first.elapsed().as_micros().max(1);
            // The first token took no time after itself.
            let rate = u128::from(tokens.saturating_sub(1)) * 1_000_000 / micros;
            if tokens > 1 {
                self.load.rate(u64::try_from(rate).unwrap_or(u64::MAX));
            }
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.end(Some(Ended::Left));
    }
}

/// Tokens of an answer: what the model server tells, or one to an event if it tells nothing.
#[derive(Debug, Default)]
struct Tokens {
    told: Option<u64>,
    events: u64,
    /// The end of what was read: a number may be cut in two.
    tail: Vec<u8>,
    /// Whether the last byte ended a line.
    at_line_end: bool,
}

impl Tokens {
    fn read(&mut self, data: &[u8]) {
        for byte in data.iter().filter(|byte| **byte != b'\r') {
            let ends_line = *byte == b'\n';
            self.events += u64::from(ends_line && self.at_line_end);
            self.at_line_end = ends_line && !self.at_line_end;
        }
        self.tail.extend_from_slice(data);
        let mut rest = self.tail.as_slice();
        while let Some(place) = rest.windows(TOLD.len()).position(|window| window == TOLD) {
            rest = &rest[place + TOLD.len()..];
            let digits = rest.trim_ascii_start().iter().take_while(|byte| byte.is_ascii_digit());
            let number = digits.fold(None, |number: Option<u64>, digit| {
                Some(number.unwrap_or(0).saturating_mul(10).saturating_add(u64::from(digit - b'0')))
            });
            self.told = number.or(self.told);
        }
        let kept = self.tail.len().min(TOLD.len() + NUMBER_BYTES_MAX);
        self.tail.drain(..self.tail.len() - kept);
    }

    fn count(&self) -> u64 {
        // Without a number the last event is `[DONE]`.
        self.told.unwrap_or_else(|| self.events.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, expected: u64) {
        for size in [1, 2, 7, 16, 1_000] {
            let mut tokens = Tokens::default();
            answer.as_bytes().chunks(size).for_each(|chunk| tokens.read(chunk));
            assert_eq!(tokens.count(), expected, "in pieces of {size}: {answer}");
        }
    }

    #[test]
    fn tokens_are_what_the_server_tells_however_the_answer_is_cut() {
        check(r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1234,"total_tokens":9}}"#, 1_234);
        check(r#"{"usage": {"completion_tokens": 56}}"#, 56);
        let running = "data: {\"usage\":{\"completion_tokens\":1}}\n\ndata: {\"usage\":{\"completion_tokens\":12}}\n\n";
        check(&format!("{running}data: [DONE]\n\n"), 12);
    }

    #[test]
    fn events_count_where_the_server_tells_nothing() {
        check("data: {}\n\ndata: {}\n\ndata: [DONE]\n\n", 2);
        check("data: {}\r\n\r\ndata: {}\r\n\r\ndata: [DONE]\r\n\r\n", 2);
        check("", 0);
    }
}
