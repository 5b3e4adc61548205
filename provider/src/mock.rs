//! A model server that makes up its tokens.
//!
//! It speaks enough of the OpenAI API for a gateway not to notice: `POST /v1/chat/completions` and `/v1/completions`
//! (plain and streamed, up to eight choices, tool calls that are demanded, JSON mode, log probabilities, images),
//! `GET /v1/models`, `GET /health`, and `GET /stats` for what it counted itself, which a test holds against a ledger.
//! On demand it fails in every way that a gateway has to survive: see [`Fault`].
//!
//! | file | what it holds |
//! |---|---|
//! | `options` | what to imitate: waits, rate, faults |
//! | `fault`, `faulty` | what can go wrong on purpose, and to which request; the bodies of it |
//! | `routes` | one handler per path |
//! | `request`, `prompt`, `fields` | a body becomes a checked order for so many tokens, or a refusal |
//! | `schedule` | when each token is due |
//! | `answer`, `stream` | the plain answer; the event stream |
//! | `stats` | the counters, and the guard that tells a finished request from an abandoned one |
//!
//! Without waits it costs next to nothing: words are made in advance, JSON is written by hand, no timer is set.
//!
//! What it does not do: no model, no tokenizer (a token is a word), no authentication.

mod answer;
mod error;
mod fault;
mod faulty;
mod fields;
mod options;
mod prompt;
mod request;
mod routes;
mod schedule;
mod stats;
mod stream;
mod words;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

pub use self::{
    fault::{Fault, PPM},
    faulty::{DRIP_PAUSE, LONG_LINE_BYTES},
    options::MockOptions,
    request::{CHOICES_MAX, COMPLETION_TOKENS_MAX, MOCK_TOKENS_HEADER},
    routes::BODY_BYTES_MAX,
    stats::{MockStats, Outcome, Served},
};
use self::{routes::Shared, stats::Counters};
use crate::server;

/// A running mock model server.
///
/// Dropping it stops it as well, without waiting for its end.
#[derive(Debug)]
pub struct Mock {
    address: SocketAddr,
    counters: Arc<Counters>,
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Mock {
    /// Serves on `listener` in one task of the current runtime; the server accepts when this returns.
    pub async fn start(listener: TcpListener, options: MockOptions) -> Mock {
        // A bound socket always has an address; should the system refuse to tell it, an address nobody can call is
        // better than no server.
        let address = listener.local_addr().unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let counters = Arc::new(Counters::default());
        let router = routes::router(Shared::new(options, address.port(), Arc::clone(&counters)));
        let (stop, stopped) = oneshot::channel();
        let (ready, accepting) = oneshot::channel();
        let task = tokio::spawn(server::serve(listener, router, ready, stopped));
        // An error means that the task ended at once, which only the end of the runtime does.
        accepting.await.ok();
        Mock { address, counters, stop, task }
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counted up to now.
    pub fn stats(&self) -> MockStats {
        self.counters.snapshot()
    }

    /// Closes the listener and every connection at once; answers under way are cut and count as aborted.
    pub async fn stop(self) {
        self.drain(Duration::ZERO).await;
    }

    /// Closes the listener and the idle connections, and gives the answers under way at most `grace` to finish.
    pub async fn drain(self, grace: Duration) {
        self.stop.send(grace).ok(); // An error means that it has stopped already.
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the mock model server ended badly");
        }
    }
}
