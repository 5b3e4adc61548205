//! The pooled HTTP client towards providers. It follows no redirects, resolves only to addresses a provider may have,
//! and bounds what it waits for and reads.

use crate::endpoint::{allowed, check};
use axum::body::Bytes;
use axum::http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tower_service::Service;

/// How long a provider may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long a provider may take to start a stream, and to continue it.
pub(crate) const STALL_PATIENCE: Duration = Duration::from_secs(120);
/// Idle connections kept to one provider.
const IDLE_PER_PROVIDER_MAX: usize = 256;
/// Largest plain answer, whatever was asked for.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What an answer may have besides its tokens.
const ANSWER_FRAME_BYTES: u64 = 64 * 1024;
/// What an answer may have for each token it may have; log probabilities are the most wordy.
const ANSWER_BYTES_PER_TOKEN: u64 = 512;

/// The client.
pub(crate) struct Upstream {
    client: Client<HttpConnector<GuardedResolver>, Full<Bytes>>,
    dev: bool,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upstream")
    }
}

/// What went wrong between the gateway and the provider, in words for the log and the caller.
#[derive(Debug)]
pub(crate) struct UpstreamError(pub(crate) &'static str);

impl Upstream {
    pub(crate) fn new(dev: bool) -> Upstream {
        let mut connector = HttpConnector::new_with_resolver(GuardedResolver { dev });
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_PATIENCE));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_PER_PROVIDER_MAX)
            .build(connector);
        Upstream { client, dev }
    }

    /// Sends a chat completion and waits for the head of the answer until `deadline`.
    pub(crate) async fn send(
        &self,
        endpoint: &str,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Response<Incoming>, UpstreamError> {
        // Addresses given as numbers are never resolved, and this one may have been registered under --dev.
        let endpoint =
            check(endpoint, self.dev).map_err(|_| UpstreamError("the provider's endpoint is not allowed"))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{endpoint}/chat/completions"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|_| UpstreamError("the provider's endpoint is no valid address"))?;
        let answer = tokio::time::timeout_at(deadline, self.client.request(request)).await;
        let answer = answer.map_err(|_| UpstreamError("the provider did not answer in time"))?;
        answer.map_err(|error| {
            tracing::debug!(%error, "a provider could not be reached");
            UpstreamError("the provider could not be reached")
        })
    }
}

/// Reads a whole answer to a request for at most `output_max` tokens, until `deadline`.
pub(crate) async fn read_all(body: Incoming, output_max: u64, deadline: Instant) -> Result<Bytes, UpstreamError> {
    let bytes_max = (ANSWER_FRAME_BYTES + ANSWER_BYTES_PER_TOKEN * output_max).min(ANSWER_BYTES_MAX);
    let limited = Limited::new(body, usize::try_from(bytes_max).unwrap_or(usize::MAX)).collect();
    let read = tokio::time::timeout_at(deadline, limited).await;
    let read = read.map_err(|_| UpstreamError("the provider did not finish in time"))?;
    Ok(read.map_err(|_| UpstreamError("the provider's answer broke off or was too large"))?.to_bytes())
}

/// Whether a provider's status means that the request itself was bad: the caller's to know, no failure.
pub(crate) fn is_callers_fault(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY)
}

/// Resolves names to those addresses that a provider may have.
#[derive(Clone, Debug)]
struct GuardedResolver {
    dev: bool,
}

impl Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let dev = self.dev;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(allowed(found, dev).into_iter())
        })
    }
}
