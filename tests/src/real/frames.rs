//! What nobody should send over a socket: WebSocket requests and frames that were changed, upgrades and signatures that
//! were.
//!
//! A changed request is answered within a second, or ends its socket. After changed frames or a changed upgrade the client
//! says no more, and within a second the exchange has hung up. A changed signature is refused, or good if it still says the
//! same. Afterwards the process is the one that was started, no larger than it may be, its log tells of no panic, and its
//! state is the one that a replay gives.

use super::binaries::Binaries;
use super::bodies::check_answer;
use super::flood::memory;
use super::http::Client;
use super::server::{Plan, Server, same_state};
use super::sockets::{Socket, socket};
use super::traffic::{BOOK, list_book, open_account};
use super::{Checked, DEADLINE, doing, ensure};
use crate::mutate::{self, below, one_of};
use crate::outcome::Outcome;
use crate::signer::{Request, Signer, now_ms};
use gollem_journal::sim::Random;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

/// The longest an answer, or the end of a connection, may take. What takes longer is tried again, since the machine may
/// have been away.
const PATIENCE: Duration = Duration::from_secs(1);
/// What all of it may make the exchange grow by.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
/// Requests over one socket: it may make so many at once that are no orders.
const REQUESTS_MAX: usize = 100;
/// How often the state is compared with a replay before it has to stand still.
const REPLAYS_MAX: usize = 10;
/// Frames sent together, and changes of them, at most.
const FRAMES_MAX: usize = 4;
const CHANGES_MAX: usize = 4;
/// Lengths of a frame that its other bytes do not bear out.
const LENGTHS: [u64; 6] = [0, 125, 126, 65_535, 1 << 31, u64::MAX];

/// Sends so many requests, frames and signatures.
pub fn check(cases: u64, seed: u64) -> Outcome {
    let mut tried = 0;
    let ended = run(cases, seed, &mut tried);
    let repeat = |why| format!("{why}; repeat with --only 19c --cases 1 --seed {}", seed + tried.max(1) - 1);
    Outcome { cases: tried, failures: ended.err().map(repeat).into_iter().collect(), skipped: None }
}

fn run(cases: u64, seed: u64, tried: &mut u64) -> Checked<()> {
    let temporary = tempfile::tempdir().map_err(doing("a data folder"))?;
    let (data, log) = (temporary.path().join("data"), temporary.path().join("log"));
    let plan = Plan::new(Binaries::ordinary()?, data, log);
    let server = plan.start()?;
    let mut scene = Scene::open(&server)?;
    let before = memory(&server)?;
    for case in 0..cases {
        *tried += 1;
        let random = Random(seed + case);
        if twice(|| scene.try_one(&mut random.clone()))? > PATIENCE {
            return Err("an answer, or the end of a connection, takes longer than a second, twice".to_owned());
        }
    }
    let grown = memory(&server)?.saturating_sub(before);
    ensure(grown <= GROWTH_BYTES_MAX, || format!("the exchange grew by {grown} bytes"))?;
    let told = std::fs::read_to_string(&plan.log).map_err(doing("reading the log"))?;
    ensure(!told.contains("panicked"), || format!("a panic: {}", server.told()))?;
    // Timers of its account may fire meanwhile; nothing else happens once its socket is gone.
    drop(scene);
    still_as_replayed(&server, &plan)?;
    server.stop()
}

/// The state is the one that a replay gives, once nothing happened while it was replayed.
fn still_as_replayed(server: &Server, plan: &Plan) -> Checked<()> {
    let mut admin = server.admin()?;
    for _ in 0..REPLAYS_MAX {
        let (state, audit) = (admin.get("/v1/admin/state")?, plan.verify()?);
        if admin.get("/v1/admin/state")? == state {
            return same_state(&state, &audit);
        }
    }
    Err("something happens whenever it is replayed".to_owned())
}

/// How long it took, the second time if the first took too long.
fn twice(mut attempt: impl FnMut() -> Checked<Duration>) -> Checked<Duration> {
    let took = attempt()?;
    if took > PATIENCE { attempt() } else { Ok(took) }
}

/// Who sends all this.
struct Scene {
    address: SocketAddr,
    key: String,
    signer: Signer,
    client: Client,
    /// A socket and what was asked over it.
    socket: Option<(Socket, usize)>,
    nonces: u64,
}

impl Scene {
    fn open(server: &Server) -> Checked<Scene> {
        let mut admin = server.admin()?;
        list_book(&mut admin)?;
        let key = open_account(&mut admin, "sender of noise", &["read", "trade", "provide"])?;
        let mut client = server.client(&key)?;
        client.post("/v1/purchases", &json!({ "amount_usd": "1000.00", "reference": "noise" }))?;
        let mut signer = Signer::new([7; 32]);
        let asked = json!({ "name": "signs", "scopes": ["read"], "public_key": signer.public_key() });
        let made = client.post("/v1/keys", &asked)?;
        signer.prefix = made["prefix"].as_str().ok_or_else(|| format!("no prefix: {made}"))?.to_owned();
        Ok(Scene { address: server.address()?, key, signer, client, socket: None, nonces: 0 })
    }

    /// How long the exchange took over one case.
    fn try_one(&mut self, random: &mut Random) -> Checked<Duration> {
        match random.below(4) {
            0 | 1 => self.ask(random).map_err(doing("a request over a WebSocket")),
            2 => self.frames(random).map_err(doing("frames")),
            _ => self.sign(random).map_err(doing("a signature")),
        }
    }

    /// A changed request in a sound frame.
    fn ask(&mut self, random: &mut Random) -> Checked<Duration> {
        let text = String::from_utf8_lossy(&request(random)).into_owned();
        let (mut socket, asked) = match self.socket.take() {
            Some((socket, asked)) if asked < REQUESTS_MAX => (socket, asked),
            _ => (self.connect()?, 0),
        };
        let since = Instant::now();
        // Too large a message ends a socket while it is still being sent.
        let answered = socket.send(Message::text(text.clone())).is_ok() && answer(&mut socket, &text)?;
        let took = since.elapsed();
        self.socket = answered.then_some((socket, asked + 1));
        Ok(took)
    }

    fn connect(&self) -> Checked<Socket> {
        socket(self.address, Some(&self.key), None)
    }

    /// Requests in frames that were changed, or after an upgrade that was.
    fn frames(&mut self, random: &mut Random) -> Checked<Duration> {
        let mut upgrade = format!(
            "GET /v1/ws HTTP/1.1\r\nhost: gollem\r\nauthorization: Bearer {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.key
        )
        .into_bytes();
        let mut frames = Vec::new();
        for _ in 0..=below(random, FRAMES_MAX) {
            let text = request(random);
            frames.extend(frame(random, &text));
        }
        let sound = random.below(8) > 0;
        let changed = if sound { &mut frames } else { &mut upgrade };
        let other = changed.clone();
        (0..=below(random, CHANGES_MAX)).for_each(|_| mutate::bytes(random, changed, &other));
        let mut stream = TcpStream::connect_timeout(&self.address, DEADLINE).map_err(doing("connecting"))?;
        stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(DEADLINE))).map_err(doing("connecting"))?;
        stream.write_all(&upgrade).map_err(doing("an upgrade"))?;
        if sound {
            upgraded(&mut stream)?;
        }
        // It may hang up in the middle of it.
        stream.write_all(&frames).ok();
        stream.shutdown(Shutdown::Write).ok();
        let since = Instant::now();
        match stream.read_to_end(&mut Vec::new()) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(format!("it does not hang up: {error}")),
            _ => Ok(since.elapsed()),
        }
    }

    /// A changed header of a signed request, or of one with a key.
    fn sign(&mut self, random: &mut Random) -> Checked<Duration> {
        self.nonces += 1;
        let nonce = format!("nonce-{}", self.nonces);
        let path = "/v1/balance";
        let signed = Request { method: "GET", path, query: "", body: b"", time_ms: now_ms(), nonce: &nonce };
        let mut headers = self.signer.headers(&signed).map(|(name, value)| (name, value)).to_vec();
        if random.below(4) == 0 {
            headers = vec![("authorization", format!("Bearer {}", self.key)), ("x-api-key", self.key.clone())];
        }
        let honest = headers.clone();
        for _ in 0..=below(random, 2) {
            let at = below(random, headers.len());
            let mut value = headers[at].1.clone().into_bytes();
            (0..=below(random, CHANGES_MAX)).for_each(|_| mutate::bytes(random, &mut value, nonce.as_bytes()));
            headers[at].1 = String::from_utf8_lossy(&value).replace(|one: char| one.is_control(), "~");
        }
        let means_the_same = means_the_same(&honest, &headers, &self.key);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let since = Instant::now();
        let answer = self.client.call_with("GET", path, &headers, b"")?;
        let took = since.elapsed();
        check_answer(&answer).map_err(|why| format!("{headers:?}: {why}"))?;
        ensure(answer.status >= 400 || means_the_same, || format!("{headers:?} is taken for good: {answer:?}"))?;
        Ok(took)
    }
}

/// Whether a key, or each part of a signature, is still what it was: written another way perhaps.
fn means_the_same(honest: &[(&str, String)], changed: &[(&str, String)], key: &str) -> bool {
    let is_signed = honest.iter().any(|(name, _)| *name == "x-gollem-signature");
    if !is_signed {
        return changed.iter().any(|(_, value)| value.contains(key));
    }
    honest.iter().zip(changed).all(|((name, honest), (_, changed))| {
        let (honest, changed) = (honest.trim(), changed.trim());
        let is_same_time = *name == "x-gollem-timestamp" && honest.parse::<u64>().ok() == changed.parse::<u64>().ok();
        honest == changed || is_same_time
    })
}

/// Waits for what ends a request: its answer, or the end of the socket. Whether it was answered.
fn answer(socket: &mut Socket, asked: &str) -> Checked<bool> {
    loop {
        let Ok(message) = socket.read() else { return Ok(false) };
        let Message::Text(text) = message else { continue };
        let told: Value = serde_json::from_str(&text).map_err(|error| format!("{asked}: {text}: {error}"))?;
        match told["type"].as_str() {
            Some("reply") => return Ok(true),
            Some("error") => {
                let code = &told["error"]["code"];
                let whole = code.is_string() && code != "internal_error";
                return ensure(whole, || format!("{asked}: {text}")).map(|()| true);
            }
            Some(_) => {}
            None => return Err(format!("{asked}: {text}")),
        }
    }
}

/// Reads the head of a good upgrade, and nothing after it.
fn upgraded(stream: &mut TcpStream) -> Checked<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).map_err(doing("an upgrade"))?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    ensure(head.starts_with("HTTP/1.1 101 "), || format!("no upgrade: {head}"))
}

/// A request that is likely to be wrong.
fn request(random: &mut Random) -> Vec<u8> {
    let order = json!({ "instrument": BOOK, "side": "ask", "price": "0.00001000", "quantity": 5, "latency_ms": 400,
        "throughput_tps": 60 });
    let requests = [
        json!({ "op": "ping", "id": 1 }),
        json!({ "op": "auth", "id": 1, "key": "sk-gollem-abcdefghijkl-0" }),
        json!({ "op": "subscribe", "id": "a", "channel": "book", "instrument": BOOK, "depth": 100 }),
        json!({ "op": "subscribe", "id": 2, "channel": "trades", "instrument": BOOK, "from": 3 }),
        json!({ "op": "subscribe", "id": 3, "channel": "candles", "instrument": BOOK, "interval": "1m" }),
        json!({ "op": "subscribe", "id": 4, "channel": "balances", "from": 7 }),
        json!({ "op": "unsubscribe", "id": 5, "channel": "book", "instrument": BOOK, "depth": 100 }),
        json!({ "op": "place", "id": 6, "order": order }),
        json!({ "op": "replace", "id": 7, "order_id": "ord_4194304", "price": "0.00002000", "quantity": 4 }),
        json!({ "op": "cancel", "id": 8, "order_id": "ord_4194304" }),
        json!({ "op": "cancel_all", "id": 9, "instrument": BOOK, "side": "ask" }),
        json!({ "op": "cancel_after", "id": 10, "after_ms": 60_000 }),
        json!({ "op": "cancel_on_disconnect", "id": 11, "enable": true }),
    ];
    let mut value = one_of(random, &requests).clone();
    let changes = 1 + below(random, CHANGES_MAX);
    match random.below(3) {
        0 => {
            let mut bytes = value.to_string().into_bytes();
            (0..changes).for_each(|_| mutate::bytes(random, &mut bytes, b"{}[],:\"null"));
            return bytes;
        }
        1 => (0..changes).for_each(|_| mutate::number(random, &mut value)),
        _ => (0..changes).for_each(|_| mutate::value(random, &mut value)),
    }
    value.to_string().into_bytes()
}

/// A client's frame (RFC 6455, 5.2), now and then of another kind, in pieces, or with a length that is not its own.
fn frame(random: &mut Random, payload: &[u8]) -> Vec<u8> {
    let first = match random.below(4) {
        0 => random.below(256) as u8,
        _ => 0x81,
    };
    let length = if random.below(4) == 0 { *one_of(random, &LENGTHS) } else { payload.len() as u64 };
    let mask = (random.below(1 << 32) as u32).to_be_bytes();
    let mut frame = vec![first];
    match length {
        0..=125 => frame.push(0x80 | length as u8),
        126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_still_says_the_same_may_be_taken_for_good() {
        let signer = Signer::new([7; 32]).under("abc");
        let signed = Request { method: "GET", path: "/", query: "", body: b"", time_ms: 1_000, nonce: "nonce-1" };
        let honest = signer.headers(&signed);
        let with = |name: &str, change: &dyn Fn(&str) -> String| {
            let mut changed = honest.clone();
            let (_, value) = changed.iter_mut().find(|(known, _)| *known == name).expect("a header of that name");
            *value = change(value);
            means_the_same(&honest, &changed, "sk")
        };
        for (name, _) in &honest {
            assert!(with(name, &|value| format!(" {value} ")), "{name}");
            assert!(!with(name, &|value| format!("{value}0")), "{name}");
        }
        assert!(with("x-gollem-timestamp", &|value| format!("0{value}")));
        assert!(!with("x-gollem-nonce", &|value| format!("0{value}")));
        let shown = [("authorization", "Bearer sk".to_owned()), ("x-api-key", "sk".to_owned())];
        let changed = |one: &str, other: &str| {
            means_the_same(&shown, &[("authorization", one.to_owned()), ("x-api-key", other.to_owned())], "sk")
        };
        assert!(changed("~Bearer", "sk") && !changed("Bearer s", "s"));
    }
}
