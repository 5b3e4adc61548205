//! What the gateway itself adds to a call: from the request's arrival to when its connection takes it for the provider, and
//! from the answer's first byte to when the client's connection takes it. Both ends are bodies that are looked at by the
//! connection that writes them, so what waits for a thread is counted too.

use crate::app::App;
use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// When the request that is being handled arrived; every request has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived(pub(crate) Instant);

/// The first half, and what the second half begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overhead {
    pub(crate) before: Duration,
    pub(crate) first_byte: Instant,
}

impl Overhead {
    /// What was added so far.
    pub(crate) fn so_far(self) -> Duration {
        self.before + self.first_byte.elapsed()
    }

    /// The answer's first bytes go to the client now.
    pub(crate) fn record(self, app: &App) {
        app.record_overhead(self.so_far());
    }
}

/// A body in one piece, which notes when its connection takes it.
#[derive(Debug)]
pub(crate) struct Noted {
    bytes: Bytes,
    taken: Arc<OnceLock<Instant>>,
}

impl Noted {
    pub(crate) fn new(bytes: Bytes) -> (Noted, Arc<OnceLock<Instant>>) {
        let taken = Arc::new(OnceLock::new());
        (Noted { bytes, taken: Arc::clone(&taken) }, taken)
    }
}

impl Body for Noted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.taken.get_or_init(Instant::now);
        let bytes = std::mem::take(&mut self.bytes);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

/// An answer in one piece, which records the overhead when its connection takes it.
pub(crate) struct Watched {
    body: Noted,
    overhead: Option<(Overhead, Arc<App>)>,
}

impl Watched {
    pub(crate) fn new(bytes: Bytes, overhead: Option<Overhead>, app: &Arc<App>) -> Watched {
        Watched { body: Noted::new(bytes).0, overhead: overhead.map(|overhead| (overhead, Arc::clone(app))) }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some((overhead, app)) = self.overhead.take() {
            overhead.record(&app);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
