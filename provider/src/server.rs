//! Sockets: accept, bound, stop.
//!
//! HTTP/1.1 only. There are no timeouts on reading: the callers are a gateway and tests, and a pooled connection that
//! the server closes under its client looks like a failing provider.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, response::Response};
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
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

/// In the extensions of a request: who sent it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// In the extensions of a response: the connection closes in place of it, before any byte.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the connection is closed on purpose")]
pub(crate) struct HangUp;

impl HangUp {
    pub(crate) fn response() -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(HangUp);
        response
    }
}

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
                Ok((stream, peer)) => accept(stream, peer, &router, &graceful, &mut connections),
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

fn accept(
    stream: TcpStream,
    peer: SocketAddr,
    router: &Router,
    graceful: &GracefulShutdown,
    connections: &mut JoinSet<()>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the connection keeps its delay");
    }
    let router = TowerToHyperService::new(router.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let answer = router.call(request);
        async move {
            let response: Response = match answer.await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            if response.extensions().get::<HangUp>().is_some() { Err(HangUp) } else { Ok(response) }
        }
    });
    let connection = graceful.watch(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    connections.spawn(async move {
        // A client that leaves in mid-answer is ordinary here, and counted by the answer itself.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection closed");
        }
    });
}
