//! The HTTP server: hyper under axum, with a limit on every wait. `axum::serve` sets no header-read timeout, so
//! connections are served here.

use crate::app::App;
use crate::auth::Peer;
use crate::connections::Place;
use crate::routes::router;
use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio_io_timeout::TimeoutStream;
use tower_service::Service;

/// How long a client may take to send its headers, and an idle connection to send the next request.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// Headers of a request; more are answered with 431.
const HEADERS_MAX: usize = 64;
/// Bytes of a request's line and headers; more are answered with 431, unless one read brought them all.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Open connections; further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: u64 = 10_000;
/// Descriptors kept for the journal, the views and the identity store.
const DESCRIPTORS_RESERVED: u64 = 512;
/// Descriptors a connection may need: its own, and one towards a provider.
const DESCRIPTORS_PER_CONNECTION: u64 = 2;
/// Bytes that the system may hold for a client that does not read; it counts its own overhead on top. Left alone it would
/// take up to 4 MiB.
const SEND_BUFFER_BYTES: usize = 256 * 1024;
/// How long requests that were cut short may take to end.
const CUT_PATIENCE: Duration = Duration::from_secs(5);

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves the exchange on a bound listener.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(listener: TcpListener, app: Arc<App>) -> std::io::Result<Server> {
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, app, stopped));
        Ok(Server { address, stop, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, finishes what is in flight and returns.
    pub async fn stop(self) {
        if self.stop.send(()).is_err() {
            tracing::debug!("the server had ended by itself");
        }
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the server task ended badly");
        }
    }
}

async fn accept(listener: TcpListener, app: Arc<App>, mut stopped: oneshot::Receiver<()>) {
    let service = router(Arc::clone(&app));
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(connections_max()));
    loop {
        let accepted = tokio::select! {
            accepted = next_connection(&listener, &permits) => accepted,
            _ = &mut stopped => break,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        // One more than its address may have is closed at once.
        let Some(place) = app.connections.take(peer.ip()) else { continue };
        let held = Held(Arc::new((permit, place)));
        let service = Connected { peer: Peer(peer.ip()), held: held.clone(), router: service.clone() };
        let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
        let mut http1 = builder.http1();
        http1.timer(TokioTimer::new()).header_read_timeout(HEADER_PATIENCE);
        http1.max_headers(HEADERS_MAX).max_buf_size(HEAD_BYTES_MAX);
        let stream = TokioIo::new(patient(stream, app.client_patience));
        let service = TowerToHyperService::new(service);
        let watched = graceful.watch(builder.serve_connection_with_upgrades(stream, service).into_owned());
        tokio::spawn(async move {
            // A client that leaves is no error of ours.
            if let Err(error) = watched.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(held);
        });
    }
    drop(listener);
    let shutdown = async {
        tokio::join!(app.stream.sockets.stop(app.drain_patience), graceful.shutdown());
    };
    tokio::pin!(shutdown);
    if tokio::time::timeout(app.drain_patience, &mut shutdown).await.is_err() {
        app.calls.cut_short();
        if tokio::time::timeout(CUT_PATIENCE, shutdown).await.is_err() {
            tracing::warn!("requests were still in flight at the end of the shutdown");
        }
    }
}

/// A connection's places among all and of its address. A WebSocket outlives its connection here and keeps them.
#[derive(Clone, Debug)]
pub(crate) struct Held(#[expect(dead_code, reason = "it is there to be dropped")] Arc<(OwnedSemaphorePermit, Place)>);

/// The routes as one connection meets them: each of its requests knows its other end.
#[derive(Clone)]
struct Connected {
    peer: Peer,
    held: Held,
    router: Router,
}

impl Service<hyper::Request<Incoming>> for Connected {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = <Router as Service<hyper::Request<Incoming>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<hyper::Request<Incoming>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, mut request: hyper::Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(self.held.clone());
        self.router.call(request)
    }
}

/// A stream that fails when the other end takes nothing for so long: a client that stops reading is gone.
fn patient(stream: TcpStream, patience: Duration) -> Pin<Box<TimeoutStream<TcpStream>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(patience));
    Box::pin(stream)
}

/// As many connections as there are descriptors for, after raising the process's limit as far as it may.
fn connections_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let left = descriptors.unwrap_or(u64::MAX).saturating_sub(DESCRIPTORS_RESERVED) / DESCRIPTORS_PER_CONNECTION;
    usize::try_from(left.clamp(1, CONNECTIONS_MAX)).unwrap_or(1)
}

async fn next_connection(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Small writes must not wait for each other.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY was refused");
            }
            if let Err(error) = set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES) {
                tracing::debug!(%error, "the send buffer was not limited");
            }
            Some((stream, peer, permit))
        }
        Err(error) => {
            // Out of descriptors, most likely: let some close before the next try.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}
