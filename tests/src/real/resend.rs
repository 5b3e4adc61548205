//! Clients that resend: answers are lost with the connections that they come on, now and then the server is killed, and
//! every request is sent two to six times all the same.
//!
//! Each request has one effect under its client order id or purchase reference, and each answer to it is the first one
//! again. (The `seq` of a purchase's answer is that of the input that asked, so it is not compared.)

use super::binaries::Binaries;
use super::http::{Answer, Client};
use super::server::{Plan, Server, same_state};
use super::traffic::{BOOK, list_book, open_account, pages};
use super::{Checked, doing, ensure, outcome};
use crate::outcome::Outcome;
use gollem_journal::sim::Random;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Clients at the same time, each with an account and a connection of its own.
const CLIENTS: u64 = 16;
/// Requests of a client that are in flight together.
const BATCH_MAX: u64 = 16;
/// How often an answered request is sent again, at most.
const RESENDS_MAX: u64 = 5;
/// Requests to a kill, and the most kills there are: each restart replays everything.
const REQUESTS_PER_KILL: u64 = 2_000;
const KILLS_MAX: u64 = 50;
/// What everybody starts with: enough for every bid here.
const DOLLARS: &str = "1000.00";

/// Sends `requests` different requests, each several times.
pub fn check(requests: u64, seed: u64) -> Outcome {
    match run(requests, seed) {
        Ok(cases) => outcome(cases, seed, Ok(())),
        Err(failure) => outcome(requests, seed, Err(failure)),
    }
}

fn run(requests: u64, seed: u64) -> Checked<u64> {
    let temporary = tempfile::tempdir().map_err(doing("a data folder"))?;
    let (data, log) = (temporary.path().join("data"), temporary.path().join("log"));
    let plan = Plan::new(Binaries::ordinary()?, data, log);
    let mut random = Random(seed);
    let server = plan.start()?;
    let mut admin = server.admin()?;
    list_book(&mut admin)?;
    let venue = Arc::new(Venue::default());
    venue.is(Where::At(server.address()?));
    let (report, progress) = channel();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let key = open_account(&mut admin, &format!("client {number}"), &["read", "trade", "provide"])?;
        let first = json!({ "amount_usd": DOLLARS, "reference": format!("first of {number}") });
        server.client(&key)?.post("/v1/purchases", &first)?;
        let share = (requests + CLIENTS - 1 - number) / CLIENTS;
        let (venue, random) = (Arc::clone(&venue), Random(random.below(u64::MAX)));
        let client = server.client(&key)?;
        let mut resender = Resender { number, client, venue, random, report: report.clone(), known: Known::default() };
        let thread = std::thread::spawn(move || resender.run(share).map(|()| resender.known));
        clients.push((key, thread));
    }
    drop(report);
    let killed = kill_now_and_then(&plan, server, &venue, &progress, requests);
    if killed.is_err() {
        venue.is(Where::Nowhere);
    }
    let known = join(clients);
    let server = killed?;
    let mut cases = 0;
    for (key, known) in known? {
        known.check(&mut server.client(&key)?)?;
        cases += known.orders.len() as u64 + known.purchases;
    }
    same_state(&server.admin()?.get("/v1/admin/state")?, &plan.verify()?)?;
    server.stop()?;
    Ok(cases)
}

/// Kills and restarts the server as the requests come along, until all clients are done; returns the last one.
fn kill_now_and_then(
    plan: &Plan,
    mut server: Server,
    venue: &Venue,
    progress: &Receiver<u64>,
    requests: u64,
) -> Checked<Server> {
    let between = requests.div_ceil(KILLS_MAX).max(REQUESTS_PER_KILL);
    let mut since = 0;
    for done in progress {
        since += done;
        if since >= between {
            since = 0;
            venue.is(Where::Down);
            server.kill()?;
            server = plan.start()?;
            venue.is(Where::At(server.address()?));
        }
    }
    Ok(server)
}

fn join(clients: Vec<(String, JoinHandle<Checked<Known>>)>) -> Checked<Vec<(String, Known)>> {
    let joined = clients.into_iter().map(|(key, thread)| {
        let known = thread.join().map_err(|_| "a client panicked")?;
        Ok((key, known?))
    });
    joined.collect()
}

/// Where the server is, for clients that lost it.
#[derive(Debug, Default)]
struct Venue {
    place: Mutex<Where>,
    moved: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Where {
    #[default]
    Down,
    At(SocketAddr),
    /// It will not come back.
    Nowhere,
}

impl Venue {
    fn place(&self) -> MutexGuard<'_, Where> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, place: Where) {
        *self.place() = place;
        self.moved.notify_all();
    }

    /// Waits while it is down.
    fn find(&self) -> Checked<SocketAddr> {
        let place = self.moved.wait_while(self.place(), |place| *place == Where::Down);
        match *place.unwrap_or_else(PoisonError::into_inner) {
            Where::At(address) => Ok(address),
            Where::Down | Where::Nowhere => Err("the server did not come back".to_owned()),
        }
    }
}

/// What a client knows to have taken effect.
#[derive(Debug, Default)]
struct Known {
    orders: BTreeSet<String>,
    purchases: u64,
}

impl Known {
    /// The account's books hold exactly this.
    fn check(&self, client: &mut Client) -> Checked<()> {
        let listed = pages(client, "/v1/orders", "orders", None)?;
        let ids: BTreeSet<String> = listed.iter().map(|row| row["id"].to_string()).collect();
        ensure(ids.len() == listed.len() && ids == self.orders, || {
            format!("{} orders are listed, {} were answered", listed.len(), self.orders.len())
        })?;
        let transactions = pages(client, "/v1/transactions", "transactions", None)?;
        let bought = transactions.iter().filter(|row| row["kind"] == "purchase").count() as u64;
        ensure(bought == self.purchases + 1, || {
            format!("{bought} purchases are listed, {} and the first one were answered", self.purchases)
        })
    }
}

/// A client that resends.
struct Resender {
    number: u64,
    client: Client,
    venue: Arc<Venue>,
    random: Random,
    report: Sender<u64>,
    known: Known,
}

/// A request, the first answer to it, and how often it is still to be sent.
#[derive(Debug)]
struct Request {
    path: &'static str,
    body: Value,
    first: Option<Value>,
    left: u64,
}

impl Resender {
    fn run(&mut self, requests: u64) -> Checked<()> {
        let mut begun = 0;
        while begun < requests {
            let count = (1 + self.random.below(BATCH_MAX)).min(requests - begun);
            let mut batch: Vec<Request> = (begun..begun + count).map(|number| self.request(number)).collect();
            while batch.iter().any(Request::is_open) {
                self.send_round(&mut batch)?;
            }
            for request in batch {
                self.known.add(&request)?;
            }
            begun += count;
            // Nobody listens any more when the server did not come back, which ends this too.
            self.report.send(count).ok();
        }
        Ok(())
    }

    /// Sends what is open, in any order, and reads some of the answers or all.
    fn send_round(&mut self, batch: &mut [Request]) -> Checked<()> {
        let mut open: Vec<&mut Request> = batch.iter_mut().filter(|request| request.is_open()).collect();
        let count = open.len() as u64;
        open.rotate_left(index(self.random.below(count)));
        // Half of the time some answers are lost.
        let read = if self.random.below(2) == 0 { count } else { self.random.below(count) };
        if self.exchange(&mut open, index(read))?.is_err() || read < count {
            self.client.move_to(self.venue.find()?);
        }
        Ok(())
    }

    /// The inner error is a lost connection.
    fn exchange(&mut self, open: &mut [&mut Request], read: usize) -> Checked<io::Result<()>> {
        for request in open.iter_mut() {
            request.left = request.left.saturating_sub(1);
            if let Err(lost) = self.client.send("POST", request.path, Some(&request.body)) {
                return Ok(Err(lost));
            }
        }
        for request in open.iter_mut().take(read) {
            match self.client.receive() {
                Ok(answer) => request.answered(answer)?,
                Err(lost) => return Ok(Err(lost)),
            }
        }
        Ok(Ok(()))
    }

    /// Half of the requests are purchases; all bids and asks are willing to trade with each other.
    fn request(&mut self, number: u64) -> Request {
        let id = format!("{}-{number}", self.number);
        let (side, tick) = match self.random.below(4) {
            0 => ("bid", 20 + self.random.below(20)),
            1 => ("ask", 1 + self.random.below(20)),
            _ => {
                let body = json!({ "amount_usd": "1.00", "reference": id });
                return Request::new("/v1/purchases", body, &mut self.random);
            }
        };
        let mut body = json!({
            "instrument": BOOK, "side": side, "price": format!("0.{:08}", 10 * tick),
            "quantity": 1 + self.random.below(50), "client_order_id": id,
            "time_in_force": if self.random.below(3) == 0 { "ioc" } else { "gtc" },
        });
        if side == "ask" {
            (body["latency_ms"], body["throughput_tps"]) = (400.into(), 60.into());
        }
        Request::new("/v1/orders", body, &mut self.random)
    }
}

impl Known {
    fn add(&mut self, request: &Request) -> Checked<()> {
        if request.path == "/v1/purchases" {
            self.purchases += 1;
            return Ok(());
        }
        let id = request.first.as_ref().map(|first| first["id"].to_string()).unwrap_or_default();
        ensure(self.orders.insert(id), || format!("the id of another order: {request:?}"))
    }
}

impl Request {
    fn new(path: &'static str, body: Value, random: &mut Random) -> Request {
        Request { path, body, first: None, left: 2 + random.below(RESENDS_MAX) }
    }

    /// Whether it is sent once more: as often as planned, and until it was answered.
    fn is_open(&self) -> bool {
        self.left > 0 || self.first.is_none()
    }

    fn answered(&mut self, answer: Answer) -> Checked<()> {
        ensure((200..300).contains(&answer.status), || format!("{self:?}: {answer:?}"))?;
        let Some(first) = &self.first else {
            self.first = Some(answer.body);
            return Ok(());
        };
        let told = || format!("first {first}, again {}: {:?}", answer.body, self.body);
        ensure(answer.body["repeated"] == true, || format!("a second effect: {}", told()))?;
        let lasting = match self.path {
            "/v1/purchases" => &["account", "credits", "reference"][..],
            _ => &["id", "seq", "price", "quantity", "status", "filled", "remaining"],
        };
        for field in lasting {
            ensure(answer.body[field] == first[field], || format!("another {field}: {}", told()))?;
        }
        Ok(())
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
