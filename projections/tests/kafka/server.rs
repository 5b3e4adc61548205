//! The projector's server, without a broker: what it says of itself, and to whom.

use gollem_projections::kafka::{Consumer, ConsumerOptions};
use gollem_projections::server::{Served, Server};
use gollem_projections::{Fold, Views};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// Asks and returns status and body.
fn get(address: SocketAddr, path: &str, token: Option<&str>) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let shown = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    write!(stream, "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{shown}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[test]
fn what_is_not_public_needs_the_token_and_every_refusal_says_what_would_be_right() {
    let dir = tempfile::tempdir().unwrap();
    let views = Arc::new(Views::open(dir.path()).unwrap());
    let mut fold = Fold::new(&views).unwrap();
    fold.apply(1, gollem_engine::Timestamp(1_000), &[]).unwrap();
    fold.flush().unwrap();
    drop(fold);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let options = ConsumerOptions { brokers: "127.0.0.1:1".to_owned() };
    let consumer = Consumer::start(options, Arc::clone(&views)).unwrap();
    let serve = |token: Option<&str>| {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let token = token.map(str::to_owned);
            Server::start(listener, Served { view: consumer.view(), is_up: consumer.is_up(), token }).unwrap()
        })
    };
    let (open, closed) = (serve(Some("right")), serve(None));
    let check = |server: &Server, path: &str, token: Option<&str>, status: u16, words: &str| {
        let (found, body) = get(server.address(), path, token);
        assert!(found == status && body.contains(words), "{path}: {found} {body}");
    };
    check(&open, "/health", None, 503, "no_broker");
    check(&open, "/metrics", None, 200, "gollem_view_seq 1\n");
    check(&open, "/v1/instruments", None, 200, "\"seq\":1");
    check(&open, "/v1/instruments?after=1", None, 200, "\"seq\":1");
    check(&open, "/v1/instruments?after=2", None, 503, "view_behind");
    check(&open, "/v1/instruments?after=x", None, 400, "\"param\":\"after\"");
    check(&open, "/v1/instruments?colour=red", None, 400, "\"param\":\"colour\"");
    check(&open, "/v1/trades/none", None, 404, "\"param\":\"instrument\"");
    check(&open, "/v1/balance?account=acc_1", None, 401, "Authorization: Bearer");
    check(&open, "/v1/balance?account=acc_1", Some("wrong"), 401, "invalid_token");
    check(&open, "/v1/balance?account=acc_1", Some("right"), 200, "\"seq\":1");
    check(&open, "/v1/balance", Some("right"), 400, "?account=acc_7");
    check(&open, "/v1/views", None, 401, "invalid_token");
    check(&open, "/v1/views", Some("right"), 200, &views.content_hash().unwrap().1.to_string());
    check(&closed, "/v1/balance?account=acc_1", Some("right"), 403, "GOLLEM_PROJECTOR_TOKEN");
    check(&closed, "/v1/instruments", None, 200, "\"seq\":1");
    check(&open, "/v1/orders?account=acc_1", None, 401, "invalid_token");
    check(&open, "/nowhere", None, 404, "route_not_found");
    runtime.block_on(async { tokio::join!(open.stop(), closed.stop()) });
    consumer.stop();
}
