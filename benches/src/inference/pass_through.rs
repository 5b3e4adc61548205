//! The least that any proxy costs: hyper's server in front of hyper's pooled client, bodies passed on as they come. It reads
//! nothing, checks nothing and keeps nothing; what a gateway takes beyond it is its own.

use anyhow::Context;
use hyper::body::Incoming;
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io::{self, Write};
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// Passes every request on to another server, until it is killed: a part of `gollem-bench inference`.
#[derive(Debug, clap::Args)]
pub(crate) struct PassThrough {
    /// Where requests go
    #[arg(long, value_name = "ADDRESS")]
    to: SocketAddr,
}

/// Serves on a free port, whose address it prints.
///
/// # Errors
/// When there is no port.
pub(crate) fn pass_through(options: &PassThrough) -> anyhow::Result<String> {
    let to = Authority::try_from(options.to.to_string()).context("an address is an authority")?;
    Runtime::new()?.block_on(serve(to))
}

async fn serve(to: Authority) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen")?;
    writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<HttpConnector, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, client.clone(), to.clone()));
    }
}

async fn connection(stream: TcpStream, client: Client<HttpConnector, Incoming>, to: Authority) {
    let pass_on = service_fn(move |mut request: Request<Incoming>| {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        (parts.scheme, parts.authority) = (Some(hyper::http::uri::Scheme::HTTP), Some(to.clone()));
        // Made of a path that was there and an authority that is good.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        client.request(request)
    });
    // Who broke off is told to nobody: the client counts what it did not get.
    stream.set_nodelay(true).ok();
    http1::Builder::new().serve_connection(TokioIo::new(stream), pass_on).await.ok();
}
