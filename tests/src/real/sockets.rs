//! WebSocket clients that stop reading while books change thousands of times a second: the server holds little for them
//! and soon lets them go, and who reads misses nothing.

use super::binaries::Binaries;
use super::http::Client;
use super::server::{Plan, Server};
use super::traffic::{BOOK, list_book, open_account};
use super::{Checked, DEADLINE, doing, ensure, outcome, pass};
use crate::outcome::Outcome;
use gollem_journal::sim::Random;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// What the server may hold for one client, and what the system may: more must not be needed before it is let go.
const HELD_BYTES_MAX: u64 = 1 << 20;
/// How long a client that takes nothing may stay after that.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a client that does not read lets the system keep for it.
const DEAF_BUFFER_BYTES: usize = 4 * 1024;
/// Orders under way at once, and until the book is cleared: an account may have 10,000 open.
const TOGETHER: u64 = 64;
const UNTIL_CLEARED: u64 = 6_400;
/// Updates that must have come a second, on average, for the check to mean something: levels that changed.
const LEVELS_PER_SECOND_MIN: u64 = 1_000;

/// Lets so many clients stop reading.
pub fn check(clients: u64, seed: u64) -> Outcome {
    let (mut random, mut cases) = (Random(seed), 0);
    let ended = run(clients, &mut random, &mut cases);
    outcome(cases, seed, ended)
}

pub(super) type Socket = WebSocket<TcpStream>;

fn run(clients: u64, random: &mut Random, cases: &mut u64) -> Checked<()> {
    let temporary = tempfile::tempdir().map_err(doing("a data folder"))?;
    let plan = Plan::new(Binaries::ordinary()?, temporary.path().join("data"), temporary.path().join("log"));
    let server = plan.start()?;
    let mut admin = server.admin()?;
    list_book(&mut admin)?;
    let provider = open_account(&mut admin, "provider", &["read", "provide"])?;
    let address = server.address()?;
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(Seen::default());
    let reading = attentive(address, Arc::clone(&stop), Arc::clone(&seen))?;
    let mut deaf = Vec::new();
    for _ in 0..clients {
        deaf.push(subscribed(address, Some(DEAF_BUFFER_BYTES))?);
    }
    let trading = trade(address, &provider, random.below(u64::MAX), Arc::clone(&stop))?;
    let held = are_let_go(&server, clients, &seen);
    stop.store(true, Ordering::Relaxed);
    let answered = trading.join().map_err(|_| "the trader panicked")?;
    let read = reading.join().map_err(|_| "the reader panicked")?;
    held?;
    read.map_err(doing("a client that reads"))?;
    answered.map_err(doing("the orders of others"))?;
    *cases = clients;
    drop(deaf);
    server.stop()
}

/// What the client that reads was sent.
#[derive(Debug, Default)]
struct Seen {
    bytes: AtomicU64,
    levels: AtomicU64,
}

/// Waits until those who do not read are gone, within their patience.
fn are_let_go(server: &Server, clients: u64, seen: &Seen) -> Checked<()> {
    let (began, mut metrics) = (Instant::now(), server.admin()?);
    let (from, mut full_since) = (seen.bytes.load(Ordering::Relaxed), None);
    loop {
        let held = figure(&mut metrics, "gollem_socket_held_bytes_peak")?;
        ensure(held <= HELD_BYTES_MAX, || format!("{held} bytes were held for one client"))?;
        let levels = seen.levels.load(Ordering::Relaxed) / began.elapsed().as_secs().max(1);
        if figure(&mut metrics, "gollem_socket_slow_total")? == clients {
            let open = figure(&mut metrics, "gollem_sockets")?;
            ensure(open == 2, || format!("{open} sockets are open, not those of the reader and the trader"))?;
            return ensure(levels >= LEVELS_PER_SECOND_MIN, || format!("only {levels} levels changed a second"));
        }
        // By now every client that does not read has been offered more than may be held for it.
        if seen.bytes.load(Ordering::Relaxed) - from > HELD_BYTES_MAX {
            let since = *full_since.get_or_insert_with(Instant::now);
            ensure(since.elapsed() <= PATIENCE, || "a client that does not read is still there".to_owned())?;
        }
        ensure(began.elapsed() < DEADLINE, || format!("nothing came of it; {levels} levels changed a second"))?;
        pass(Duration::from_millis(20));
    }
}

fn figure(client: &mut Client, name: &str) -> Checked<u64> {
    let text = client.text("/metrics")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.trim().parse().ok()).ok_or_else(|| format!("no {name} in the metrics"))
}

/// A socket to the exchange, with a key if there is one.
pub(super) fn socket(address: SocketAddr, key: Option<&str>, buffer: Option<usize>) -> Checked<Socket> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).map_err(doing("connecting"))?;
    if let Some(bytes) = buffer {
        set_socket_recv_buffer_size(&stream, bytes).map_err(doing("limiting a buffer"))?;
    }
    stream.set_nodelay(true).map_err(doing("connecting"))?;
    stream.set_read_timeout(Some(DEADLINE)).map_err(doing("connecting"))?;
    let mut request = format!("ws://{address}/v1/ws").into_client_request().map_err(doing("a request"))?;
    if let Some(key) = key {
        let bearer = format!("Bearer {key}").parse().map_err(doing("a key"))?;
        request.headers_mut().insert("authorization", bearer);
    }
    let (socket, _) = client(request, stream).map_err(|error| format!("opening a socket: {error}"))?;
    Ok(socket)
}

/// A socket that is about to hear of every change of the book.
fn subscribed(address: SocketAddr, buffer: Option<usize>) -> Checked<Socket> {
    let mut socket = socket(address, None, buffer)?;
    let request = json!({ "op": "subscribe", "channel": "book", "instrument": BOOK, "depth": 1_000 });
    socket.send(Message::text(request.to_string())).map_err(doing("subscribing"))?;
    let reply = next(&mut socket)?;
    ensure(reply["type"] == "reply", || format!("subscribing: {reply}"))?;
    Ok(socket)
}

/// The next message.
fn next(socket: &mut Socket) -> Checked<Value> {
    loop {
        if let Message::Text(text) = socket.read().map_err(doing("reading"))? {
            return serde_json::from_str(&text).map_err(doing("reading"));
        }
    }
}

/// Reads all along: no update is missing.
fn attentive(address: SocketAddr, stop: Arc<AtomicBool>, seen: Arc<Seen>) -> Checked<JoinHandle<Checked<()>>> {
    let mut socket = subscribed(address, None)?;
    let mut last = next(&mut socket)?["seq"].clone();
    Ok(std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            // A ping comes now and then, however quiet it is: then there is a look at whether to stop.
            let Message::Text(text) = socket.read().map_err(doing("reading"))? else { continue };
            let message: Value = serde_json::from_str(&text).map_err(doing("reading"))?;
            ensure(message["type"] == "update" && message["prev"] == last, || format!("after {last}: {message}"))?;
            last = message["seq"].clone();
            let levels = |side: &str| message[side].as_array().map_or(0, Vec::len);
            seen.levels.fetch_add((levels("bids") + levels("asks")) as u64, Ordering::Relaxed);
            seen.bytes.fetch_add(message.to_string().len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }))
}

/// Places orders, many at a time, and clears the book now and then, until told to stop: each is answered.
fn trade(address: SocketAddr, key: &str, seed: u64, stop: Arc<AtomicBool>) -> Checked<JoinHandle<Checked<()>>> {
    let (mut socket, mut random) = (socket(address, Some(key), None)?, Random(seed));
    Ok(std::thread::spawn(move || {
        for number in (0..).step_by(TOGETHER as usize) {
            for id in number..number + TOGETHER {
                let price = format!("0.{:08}", 10 * (1 + random.below(900)));
                let order = json!({
                    "instrument": BOOK, "side": "ask", "price": price, "quantity": 1 + random.below(50),
                    "latency_ms": 400, "throughput_tps": 60,
                });
                let request = json!({ "op": "place", "id": id, "order": order }).to_string();
                socket.write(Message::text(request)).map_err(doing("placing"))?;
            }
            if number % UNTIL_CLEARED == 0 {
                let request = json!({ "op": "cancel_all", "id": "all" }).to_string();
                socket.write(Message::text(request)).map_err(doing("clearing"))?;
            }
            socket.flush().map_err(doing("placing"))?;
            for id in number..number + TOGETHER {
                let answer = next(&mut socket)?;
                ensure(answer["type"] == "reply" && answer["id"] == id, || format!("order {id}: {answer}"))?;
            }
            if number % UNTIL_CLEARED == 0 {
                let answer = next(&mut socket)?;
                ensure(answer["type"] == "reply" && answer["id"] == "all", || format!("clearing: {answer}"))?;
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(())
    }))
}
