//! The HTTP server: hyper under axum, with a limit on every wait. `axum::serve` sets no header-read timeout, so
//! connections are served here.

use crate::app::App;
use crate::routes::router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio_io_timeout::TimeoutStream;

/// How long a client may take to send its headers, and an idle connection to send the next request.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// Open connections; further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: u64 = 10_000;
/// Descriptors kept for the journal, the views and the identity store.
const DESCRIPTORS_RESERVED: u64 = 512;
/// Descriptors a connection may need: its own, and one towards a provider.
const DESCRIPTORS_PER_CONNECTION: u64 = 2;
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
        let Some((stream, permit)) = accepted else { continue };
        let service = TowerToHyperService::new(service.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_PATIENCE)
            .serve_connection(TokioIo::new(patient(stream, app.client_patience)), service);
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that leaves is no error of ours.
            if let Err(error) = watched.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    let shutdown = graceful.shutdown();
    tokio::pin!(shutdown);
    if tokio::time::timeout(app.drain_patience, &mut shutdown).await.is_err() {
        app.calls.cut_short();
        if tokio::time::timeout(CUT_PATIENCE, shutdown).await.is_err() {
            tracing::warn!("requests were still in flight at the end of the shutdown");
        }
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
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Small writes must not wait for each other.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY was refused");
            }
            Some((stream, permit))
        }
        Err(error) => {
            // Out of descriptors, most likely: let some close before the next try.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}
