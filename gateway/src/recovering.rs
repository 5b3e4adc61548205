//! What a client is told while the journal is being recovered: 503 `recovering`, and that the process lives. The port is
//! taken from the first moment on, so that nobody takes a slow start for a dead machine.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinError, JoinHandle};

/// How long a client may take for its question.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at once; further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 64;
/// The pause after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);

const ALIVE: &str = r#"{"status":"alive"}"#;
const RECOVERING: &str = r#"{"status":"recovering","error":{"message":"the exchange recovers its journal; retry shortly","type":"server_error","param":null,"code":"recovering"}}"#;

/// Answers on a listener until the exchange is there to do so.
#[derive(Debug)]
pub struct Recovering {
    stop: oneshot::Sender<()>,
    task: JoinHandle<TcpListener>,
}

impl Recovering {
    /// Answers from here on.
    pub fn start(listener: TcpListener) -> Recovering {
        let (stop, stopped) = oneshot::channel();
        Recovering { stop, task: tokio::spawn(accept(listener, stopped)) }
    }

    /// Answers no more and gives the listener back, with whoever waits at it.
    ///
    /// # Errors
    /// When the task that answered panicked.
    pub async fn finish(self) -> Result<TcpListener, JoinError> {
        // Nobody to stop: it panicked, which the task says.
        self.stop.send(()).ok();
        self.task.await
    }
}

async fn accept(listener: TcpListener, mut stopped: oneshot::Receiver<()>) -> TcpListener {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            _ = &mut stopped => return listener,
        };
        match accepted {
            Ok((stream, _)) => drop(tokio::spawn(async move {
                if tokio::time::timeout(PATIENCE, serve(stream)).await.is_err() {
                    tracing::debug!("a client took too long to ask");
                }
                drop(permit);
            })),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream) {
    let served = http1::Builder::new().timer(TokioTimer::new()).keep_alive(false).serve_connection(
        TokioIo::new(stream),
        service_fn(|request| async move { Ok::<_, Infallible>(answer(&request)) }),
    );
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body) = match request.uri().path() {
        "/health/live" => (StatusCode::OK, ALIVE),
        _ => (StatusCode::SERVICE_UNAVAILABLE, RECOVERING),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn ask(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_process_lives_and_everything_else_is_not_there_yet_until_the_listener_is_given_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let recovering = Recovering::start(listener);
        assert!(ask(address, "/health/live").await.starts_with("HTTP/1.1 200 "));
        let ready = ask(address, "/health/ready").await;
        assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("retry-after: 1"), "{ready}");
        assert!(ready.ends_with(RECOVERING), "{ready}");
        let listener = recovering.finish().await.unwrap();
        let waiting = TcpStream::connect(address).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().1, waiting.local_addr().unwrap());
    }
}
