//! Sockets: accept, bound, stop.
//!
//! HTTP/1.1 only. There are no timeouts on reading: the callers are a gateway and tests, and a pooled connection that
//! the server closes under its client looks like a failing provider.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};

/// Most connections at a time; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 16_384;

/// Pause after a failed accept, which is mostly the process running out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Serves until `stop` says how long the answers under way may still take, or is dropped: then they may not.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    ready: oneshot::Sender<()>,
    mut stop: oneshot::Receiver<Duration>,
) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    ready.send(()).ok(); // An error means that nobody waits to hear it.
    let grace = loop {
        tokio::select! {
            grace = &mut stop => break grace.unwrap_or(Duration::ZERO),
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => accept(stream, &router, &graceful, &mut connections),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a connection ended badly");
            },
        }
    };
    drop(listener);
    if !grace.is_zero() && timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(cut = connections.len(), "answers were still under way");
    }
    connections.shutdown().await;
}

fn accept(stream: TcpStream, router: &Router, graceful: &GracefulShutdown, connections: &mut JoinSet<()>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the connection keeps its delay");
    }
    let service = TowerToHyperService::new(router.clone());
    let connection = graceful.watch(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    connections.spawn(async move {
        // A client that leaves in mid-answer is ordinary here, and counted by the answer itself.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection closed");
        }
    });
}
