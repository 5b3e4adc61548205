//! Bodies that no proper server sends.

use std::{io, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::{HeaderMap, header, header::HeaderValue};
use tokio::{task::yield_now, time::sleep};

use super::{
    stats::UnderWay,
    stream::{Write, Writer},
};

/// Length of the line of [`Fault::EndlessLine`](super::Fault::EndlessLine).
pub const LONG_LINE_BYTES: usize = 100_000_000;

/// Pause before each byte of [`Fault::Drip`](super::Fault::Drip).
pub const DRIP_PAUSE: Duration = Duration::from_millis(100);

/// What [`Fault::Garbage`](super::Fault::Garbage) sends: bytes that are no text in any encoding, and lines.
const GARBAGE: &[u8] =
    b"\x00\xff\xfe<html>{\"choices\":[{\"delta\":\n\ndata\xc3\x28: \x1b[31m}}}]]\r\n\n\x80\x81 not this\n\n";

/// A piece of a long line, and of an answer without end.
const FILLER: [u8; 10_000] = [b'x'; 10_000];

pub(crate) fn garbage(mut under_way: UnderWay) -> Body {
    under_way.complete();
    Body::from(GARBAGE)
}

/// `begin`, then bytes without a line's end, until the line is long enough.
pub(crate) fn endless_line(begin: &'static str, under_way: UnderWay) -> Body {
    let pieces = LONG_LINE_BYTES / FILLER.len();
    Body::from_stream(held(begin, pieces, under_way))
}

/// A plain answer whose text goes on for ever.
pub(crate) fn endless(begin: &'static str, under_way: UnderWay) -> Body {
    Body::from_stream(held(begin, usize::MAX, under_way))
}

/// So many pieces of filler. The account of the request goes with them.
fn held(
    begin: &'static str,
    pieces: usize,
    under_way: UnderWay,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    let filler = stream::repeat(Bytes::from_static(&FILLER)).take(pieces);
    stream::once(async { Bytes::from_static(begin.as_bytes()) }).chain(filler).map(move |piece| {
        let _held = &under_way;
        Ok(piece)
    })
}

/// Half of a plain answer that says it is longer.
pub(crate) fn broken_off(answer: &str, headers: &mut HeaderMap, under_way: UnderWay) -> Body {
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(answer.len()));
    let half = Bytes::copy_from_slice(&answer.as_bytes()[..answer.len() / 2]);
    let broken = stream::once(async move {
        let _held = under_way;
        // Gives the connection the turn to send what it has.
        yield_now().await;
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    Body::from_stream(stream::once(async { Ok(half) }).chain(broken))
}

/// A body a byte at a time: of a stream, or of a plain answer in one piece.
pub(crate) fn dripping(source: DripSource, under_way: UnderWay) -> Body {
    let drip = Drip { source, under_way, rest: Write { bytes: Bytes::new(), tokens: 0, last: false } };
    Body::from_stream(stream::unfold(drip, Drip::next))
}

/// What drips.
#[derive(Debug)]
pub(crate) enum DripSource {
    Stream(Box<Writer>),
    Plain(Option<Write>),
}

#[derive(Debug)]
struct Drip {
    source: DripSource,
    under_way: UnderWay,
    rest: Write,
}

impl Drip {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        if self.rest.bytes.is_empty() {
            self.rest = match &mut self.source {
                DripSource::Plain(write) => write.take()?,
                // One token at a time, so that each is counted when its event is out.
                DripSource::Stream(writer) => match writer.write(1).await? {
                    Ok(write) => write,
                    Err(error) => return Some((Err(error), self)),
                },
            };
        }
        sleep(DRIP_PAUSE).await;
        let byte = self.rest.bytes.split_to(1);
        // An event is whole for its reader at the first of its two line ends.
        if self.rest.bytes.len() <= 1 {
            self.under_way.hand_out(std::mem::take(&mut self.rest.tokens));
        }
        if self.rest.bytes.is_empty() && self.rest.last {
            self.under_way.complete();
        }
        Some((Ok(byte), self))
    }
}
