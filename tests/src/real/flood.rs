//! Connections that want to bring the exchange down: thousands that do nothing, others that send their headers a byte at a
//! time, new ones all the while, and requests that are far too large, too deep, or packed. One customer trades through all
//! of it.

use super::binaries::Binaries;
use super::http::Client;
use super::server::{Plan, Server};
use super::traffic::{BOOK, list_book, open_account};
use super::{Checked, DEADLINE, doing, ensure, outcome};
use crate::outcome::Outcome;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Connections that ask once and then do nothing.
const IDLE: u64 = 10_000;
/// Connections that never get to the end of their headers.
const SLOW: u64 = 200;
/// How long such a connection may stay: the exchange's ten seconds, and what a busy machine adds.
const SLOW_PATIENCE: Duration = Duration::from_secs(15);
/// The pause between two bytes of a slow header.
const DRIP: Duration = Duration::from_millis(200);
/// Threads that open connections one after the other.
const OPENERS: usize = 2;
/// Orders that are timed without the flood, and at least so many during it.
const ORDERS: usize = 300;
/// The body that is far too large.
const LARGE_BYTES: usize = 100 * 1024 * 1024;
/// How deep the JSON goes.
const DEPTH: usize = 10_000;
/// What the exchange may grow by: what it gives connections, and nothing that anyone sends.
const GROWTH_BYTES_MAX: u64 = 300 * 1024 * 1024;
/// A time below which the one of an order may grow by more than twice: on two cores, shared with the flood itself, the
/// scheduler decides about it.
const QUICK: Duration = Duration::from_millis(100);
/// Descriptors of this process beside its connections.
const RESERVED: u64 = 1_000;

/// Floods `rounds` times.
pub fn check(rounds: u64, seed: u64) -> Outcome {
    let mut cases = 0;
    let ended = run(rounds, &mut cases);
    outcome(cases, seed, ended)
}

fn run(rounds: u64, cases: &mut u64) -> Checked<()> {
    let dir = tempfile::tempdir().map_err(doing("making a folder"))?;
    let plan = Plan::new(Binaries::ordinary()?, dir.path().join("data"), dir.path().join("log"));
    let server = plan.start()?;
    let mut admin = server.admin()?;
    list_book(&mut admin)?;
    let key = open_account(&mut admin, "customer", &["read", "trade"])?;
    server.client(&key)?.post("/v1/purchases", &json!({ "amount_usd": "1000.00", "reference": "first" }))?;
    for _ in 0..rounds {
        round(&server, &key)?;
        *cases += 1;
    }
    server.stop()
}

fn round(server: &Server, key: &str) -> Checked<()> {
    let address = server.address()?;
    let mut customer = Customer { client: server.client(key)?, bids: 0 };
    let before = (memory(server)?, descriptors(server)?);
    let quiet = customer.trade(|orders| orders < ORDERS)?;
    let flood = Flood::start(address)?;
    let flooded = customer.trade(|orders| orders < ORDERS || !flood.is_over());
    let told = flood.end()?;
    let flooded = flooded.map_err(doing("an order during the flood"))?;
    ensure(flooded <= QUICK.max(quiet * 2), || format!("p99 of orders {quiet:?} before and {flooded:?} in the flood"))?;
    ensure(told.opened > 0, || "nobody got a connection".to_owned())?;
    let grown = memory(server)?.saturating_sub(before.0);
    ensure(grown <= GROWTH_BYTES_MAX, || format!("the exchange grew by {grown} bytes"))?;
    // Everybody is gone: so are their descriptors.
    let until = Instant::now() + DEADLINE;
    while descriptors(server)? > before.1 + 16 {
        ensure(Instant::now() < until, || format!("{:?} descriptors are left of {}", descriptors(server), before.1))?;
        thread::yield_now();
    }
    customer.trade(|orders| orders < 10).map(drop).map_err(doing("an order after the flood"))
}

/// Who trades all the while, over a connection of its own that is kept.
struct Customer {
    client: Client,
    bids: u64,
}

impl Customer {
    /// Places bids and cancels them while it is to go on; the 99th percentile of their times.
    fn trade(&mut self, goes_on: impl Fn(usize) -> bool) -> Checked<Duration> {
        let mut times = Vec::new();
        while goes_on(times.len()) {
            let started = Instant::now();
            self.bids += 1;
            let bid = json!({ "instrument": BOOK, "side": "bid", "price": "0.001", "quantity": 1 });
            let placed =
                self.client.call("POST", "/v1/orders", Some(&bid)).map_err(doing(format!("bid {}", self.bids)))?;
            ensure(placed.status == 201, || format!("bid {}: {placed:?}", self.bids))?;
            times.push(started.elapsed());
            let path = format!("/v1/orders/{}", placed.body["id"].as_str().unwrap_or_default());
            let cancelled = self.client.call("DELETE", &path, None).map_err(doing("a cancel"))?;
            ensure(cancelled.status == 200, || format!("a cancel: {cancelled:?}"))?;
        }
        times.sort_unstable();
        times.get(times.len() * 99 / 100).copied().ok_or_else(|| "nothing was timed".to_owned())
    }
}

/// Everyone who means harm.
struct Flood {
    over: Arc<AtomicBool>,
    opened: Arc<AtomicU64>,
    openers: Vec<JoinHandle<()>>,
    slow: JoinHandle<Checked<()>>,
    hostile: JoinHandle<Checked<()>>,
    _idle: Vec<TcpStream>,
}

/// What the flood did.
struct Told {
    opened: u64,
}

impl Flood {
    fn start(address: SocketAddr) -> Checked<Flood> {
        let idle = idle(address)?;
        let (over, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let openers = (0..OPENERS).map(|_| {
            let (over, opened) = (Arc::clone(&over), Arc::clone(&opened));
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // Some are refused or wait: that is the exchange's right.
                    if asks_once(address).is_ok() {
                        opened.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        let openers = openers.collect();
        let slow = thread::spawn(move || slow_headers(address));
        let hostile = thread::spawn(move || hostile_requests(address));
        Ok(Flood { over, opened, openers, slow, hostile, _idle: idle })
    }

    /// Whether those that end by themselves have ended.
    fn is_over(&self) -> bool {
        self.slow.is_finished() && self.hostile.is_finished()
    }

    fn end(self) -> Checked<Told> {
        self.over.store(true, Ordering::Relaxed);
        for opener in self.openers {
            opener.join().map_err(|_| "an opener panicked")?;
        }
        self.slow.join().map_err(|_| "a slow client panicked")??;
        self.hostile.join().map_err(|_| "a hostile client panicked")??;
        Ok(Told { opened: self.opened.load(Ordering::Relaxed) })
    }
}

/// As many idle connections as this process and the exchange, which may open as many descriptors, have room for.
fn idle(address: SocketAddr) -> Checked<Vec<TcpStream>> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).map_err(doing("raising the limit"))?;
    let room = limit.maximum.unwrap_or(u64::MAX).saturating_sub(RESERVED) / 4;
    let mut connections = Vec::new();
    for number in 0..IDLE.min(room) {
        let connection = asks_once(address).map_err(doing(format!("idle connection {number}")))?;
        connections.push(connection);
    }
    Ok(connections)
}

/// A connection that has asked for something cheap and got it.
fn asks_once(address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = connect(address)?;
    stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: gollem\r\n\r\n")?;
    let mut answer = [0; 512];
    if stream.read(&mut answer)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(stream)
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// Headers that come a byte at a time: the exchange hangs up.
fn slow_headers(address: SocketAddr) -> Checked<()> {
    let started = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut stream = connect(address).map_err(doing("a slow connection"))?;
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: gollem\r\nx-slow: ").map_err(doing("a slow header"))?;
        stream.set_nonblocking(true).map_err(doing("a slow connection"))?;
        slow.push(stream);
    }
    while !slow.is_empty() {
        ensure(started.elapsed() < SLOW_PATIENCE * 2, || format!("{} slow headers are still heard", slow.len()))?;
        super::pass(DRIP);
        // The peer's end shows at the next read: an answer such as 408, or the end itself.
        slow.retain_mut(|stream| {
            let mut byte = [0; 64];
            let open = matches!(stream.read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
            open && stream.write_all(b"a").is_ok()
        });
    }
    Ok(())
}

/// Requests that cost memory where nobody looks after it: each is refused with its own status.
fn hostile_requests(address: SocketAddr) -> Checked<()> {
    let deep = "[".repeat(DEPTH);
    // Thirty zero bytes of a gzip stream: packed bodies are not unpacked at all.
    let packed = "\u{1f}\u{8}".to_owned() + &"\0".repeat(30);
    let header = "a".repeat(1024 * 1024);
    let cases: [(&str, String, String, &[u16]); 4] = [
        ("a large body", String::new(), "a".repeat(LARGE_BYTES), &[401, 413]),
        ("deep JSON", String::new(), deep, &[400, 401, 413]),
        ("a packed body", "content-encoding: gzip\r\n".into(), packed, &[400, 401, 415]),
        ("a large header", format!("x-large: {header}\r\n"), String::new(), &[431]),
    ];
    for (what, header, body, allowed) in cases {
        let status = status_of(address, &header, &body).map_err(doing(what))?;
        // A connection that is cut while its body still comes is a refusal, too.
        ensure(status.is_none_or(|status| allowed.contains(&status)), || format!("{what} gets {status:?}"))?;
    }
    Ok(())
}

/// The status of the answer to an order with this header and body; `None` when the connection is cut before it.
fn status_of(address: SocketAddr, header: &str, body: &str) -> Checked<Option<u16>> {
    let mut stream = connect(address).map_err(doing("connecting"))?;
    let head = format!(
        "POST /v1/orders HTTP/1.1\r\nhost: gollem\r\n{header}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // The answer may come, and the connection end, before all of it is taken.
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    let text = String::from_utf8_lossy(&answer);
    Ok(text.split(' ').nth(1).and_then(|status| status.parse().ok()))
}

/// Bytes that the exchange holds in memory.
pub(super) fn memory(server: &Server) -> Checked<u64> {
    let path = format!("/proc/{}/status", server.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(path).map_err(doing("reading the exchange's memory"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().map_err(doing("reading VmRSS"))?;
    Ok(kib * 1024)
}

/// Descriptors that the exchange has open.
fn descriptors(server: &Server) -> Checked<usize> {
    let path = format!("/proc/{}/fd", server.pid().as_raw_nonzero());
    Ok(std::fs::read_dir(path).map_err(doing("counting the exchange's descriptors"))?.count())
}
