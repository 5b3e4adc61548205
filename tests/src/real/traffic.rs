//! Who acts while a fault strikes, and what a later server must tell of it.
//!
//! Each actor sends one sort of request under ids of its own, a few connections at a time and each one after the other,
//! until an answer stays out. What was acknowledged must be there once; of what was not, once or not at all. Then all of
//! it is sent again: what is there answers as it did the first time, what is not takes effect now.

use super::http::{Answer, Client};
use super::server::Server;
use super::{Checked, doing, ensure};
use gollem_journal::sim::Random;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::thread::JoinHandle;

/// Where the orders meet.
pub(super) const BOOK: &str = "book";
/// Atoms of a US dollar.
const DOLLAR: i64 = 100_000_000_000;
/// Connections of each actor: as many requests of it may be in flight.
const CONNECTIONS: u64 = 2;
/// Requests of a connection in a round: far fewer than the exchange remembers client ids of.
const REQUESTS_MAX: u64 = 1_000;
/// Connections that send a round again, so that it takes few groups.
const CONNECTIONS_AGAIN: usize = 8;
/// The longest name of a listing.
const SYMBOL_BYTES_MAX: usize = 64;
/// Rows of a page.
const PAGE: usize = 1_000;

/// Everybody who acts on one data folder, over all its restarts.
#[derive(Debug)]
pub(super) struct Market {
    actors: Vec<Actor>,
    round: u64,
}

/// What runs until the fault.
#[derive(Debug)]
pub(super) struct Traffic(Vec<Vec<JoinHandle<Checked<Vec<Sent>>>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Asks,
    Bids,
    Purchases,
    Accounts,
}

#[derive(Debug)]
struct Actor {
    sort: Sort,
    key: String,
    /// How many of its requests took effect for certain.
    there: usize,
    /// The newest row that was there at the last check.
    newest: Option<String>,
    /// Sent and not yet held against what a server tells.
    unchecked: Vec<Sent>,
    /// Keys of opened accounts by account.
    opened: BTreeMap<String, String>,
}

/// A request, and its answer if it came.
#[derive(Clone, Debug)]
struct Sent {
    body: Value,
    answer: Option<Value>,
}

impl Market {
    /// Lists the book and opens the accounts.
    pub(super) fn found(server: &Server) -> Checked<Market> {
        let mut admin = server.admin()?;
        list_book(&mut admin)?;
        let mut open = |name: &str, scopes: &[&str]| open_account(&mut admin, name, scopes);
        let asks = open("provider", &["read", "provide"])?;
        let bids = open("buyer", &["read", "trade"])?;
        let purchases = open("saver", &["read", "trade"])?;
        let first = json!({ "amount_usd": "1000.00", "reference": "first" });
        server.client(&bids)?.post("/v1/purchases", &first)?;
        let actors = vec![
            Actor::new(Sort::Asks, asks),
            Actor::new(Sort::Bids, bids),
            Actor::new(Sort::Purchases, purchases),
            Actor::new(Sort::Accounts, super::server::ADMIN_KEY.to_owned()),
        ];
        Ok(Market { actors, round: 0 })
    }

    /// Everybody acts, under ids of a new round. On a disk that `may_fail` a request may be refused for it; that ends
    /// its connection's part as a lost answer does.
    pub(super) fn start(&mut self, server: &Server, random: &mut Random, may_fail: bool) -> Checked<Traffic> {
        self.round += 1;
        let mut running = Vec::new();
        for actor in &self.actors {
            let mut connections = Vec::new();
            for connection in 0..CONNECTIONS {
                let client = server.client(&actor.key)?;
                let (sort, prefix) = (actor.sort, format!("{}-{connection}", self.round));
                let mut random = Random(random.below(u64::MAX));
                connections.push(std::thread::spawn(move || {
                    send_until_lost(client, sort.path(), may_fail, |number| {
                        sort.request(&format!("{prefix}-{number}"), &mut random)
                    })
                }));
            }
            running.push(connections);
        }
        Ok(Traffic(running))
    }

    /// Waits until everybody knows of the fault, and remembers what was sent.
    pub(super) fn remember(&mut self, traffic: Traffic) -> Checked<()> {
        for (actor, connections) in self.actors.iter_mut().zip(traffic.0) {
            for connection in connections {
                let sent = connection.join().map_err(|_| "a client panicked")?;
                actor.unchecked.extend(sent?);
            }
        }
        Ok(())
    }

    /// How many requests of the last rounds got no answer.
    pub(super) fn unanswered(&self) -> usize {
        let sent = self.actors.iter().flat_map(|actor| &actor.unchecked);
        sent.filter(|sent| sent.answer.is_none()).count()
    }

    /// Holds what the clients saw of the last rounds against what a restarted server tells.
    pub(super) fn check(&mut self, server: &Server) -> Checked<()> {
        for actor in &mut self.actors {
            let sort = actor.sort;
            actor.check(server).map_err(doing(format!("{sort:?} of round {}", self.round)))?;
        }
        Ok(())
    }

    /// Holds all that ever happened against what a server tells.
    pub(super) fn check_all(&self, server: &Server) -> Checked<()> {
        for actor in &self.actors {
            actor.check_all(server).map_err(doing(format!("all {:?}", actor.sort)))?;
        }
        Ok(())
    }

    /// How many requests took effect for certain.
    pub(super) fn effects(&self) -> usize {
        self.actors.iter().map(|actor| actor.there).sum()
    }
}

/// Makes the log grow until the server is gone or refuses, over that many connections: the same long listing again and
/// again, which is refused each time but the first and leaves no other trace.
pub(super) fn fill(server: &Server, connections: usize) -> Checked<Vec<JoinHandle<()>>> {
    let fill = |_| {
        let mut client = server.admin()?;
        Ok(std::thread::spawn(move || {
            let listing = json!({ "symbol": "x".repeat(SYMBOL_BYTES_MAX), "reference_price": "0.1" });
            while client.call("POST", "/v1/instruments", Some(&listing)).is_ok_and(|answer| answer.status < 500) {}
        }))
    };
    (0..connections).map(fill).collect()
}

/// Lists the book.
pub(super) fn list_book(admin: &mut Client) -> Checked<()> {
    admin.post("/v1/instruments", &json!({ "symbol": BOOK, "reference_price": "0.1" })).map(drop)
}

/// Opens an account; returns its key.
pub(super) fn open_account(admin: &mut Client, name: &str, scopes: &[&str]) -> Checked<String> {
    let opened = admin.post("/v1/accounts", &json!({ "name": name, "scopes": scopes }))?;
    opened["api_key"].as_str().map(str::to_owned).ok_or_else(|| format!("no key: {opened}"))
}

/// Sends what `next` gives until an answer stays out.
fn send_until_lost(
    mut client: Client,
    path: &str,
    may_fail: bool,
    mut next: impl FnMut(u64) -> Value,
) -> Checked<Vec<Sent>> {
    let mut all = Vec::new();
    for number in 0..REQUESTS_MAX {
        let body = next(number);
        let answer = match client.call("POST", path, Some(&body)) {
            Ok(Answer { status: 200..300, body, .. }) => Some(body),
            Ok(Answer { status: 500..600, .. }) if may_fail => None,
            Ok(refused) => return Err(format!("POST {path} {body}: {refused:?}")),
            Err(_) => None,
        };
        let lost = answer.is_none();
        all.push(Sent { body, answer });
        if lost {
            break;
        }
    }
    Ok(all)
}

impl Sort {
    fn path(self) -> &'static str {
        match self {
            Sort::Asks | Sort::Bids => "/v1/orders",
            Sort::Purchases => "/v1/purchases",
            Sort::Accounts => "/v1/accounts",
        }
    }

    fn request(self, id: &str, random: &mut Random) -> Value {
        let price = format!("0.{:08}", 10 * (1 + random.below(40)));
        let quantity = 1 + random.below(50);
        match self {
            Sort::Asks => json!({
                "instrument": BOOK, "side": "ask", "price": price, "quantity": quantity, "latency_ms": 400,
                "throughput_tps": 60, "client_order_id": id,
            }),
            Sort::Bids => json!({
                "instrument": BOOK, "side": "bid", "price": price, "quantity": quantity, "client_order_id": id,
            }),
            Sort::Purchases => json!({ "amount_usd": "1.00", "reference": id }),
            Sort::Accounts => json!({ "name": id }),
        }
    }

    /// Where its effects are listed: path, name of the list, field that names a row in the answer to its request.
    fn rows(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Sort::Asks | Sort::Bids => ("/v1/orders", "orders", "id"),
            Sort::Purchases | Sort::Accounts => ("/v1/transactions", "transactions", "seq"),
        }
    }

    /// Whether a row is the effect of this request.
    fn is_effect(self, row: &Value, request: &Value) -> bool {
        match self {
            Sort::Asks | Sort::Bids => ["price", "quantity"].iter().all(|field| row[field] == request[field]),
            Sort::Purchases | Sort::Accounts => row["kind"] == "purchase",
        }
    }

    /// What a repeated answer has in common with the first.
    fn lasting(self) -> &'static [&'static str] {
        match self {
            Sort::Asks | Sort::Bids => &["id", "seq", "price", "quantity", "status", "filled", "remaining"],
            Sort::Purchases | Sort::Accounts => &["account", "credits", "reference"],
        }
    }
}

impl Actor {
    fn new(sort: Sort, key: String) -> Actor {
        Actor { sort, key, there: 0, newest: None, unchecked: Vec::new(), opened: BTreeMap::new() }
    }

    fn check(&mut self, server: &Server) -> Checked<()> {
        let sent = std::mem::take(&mut self.unchecked);
        if self.sort == Sort::Accounts { self.check_accounts(server, &sent) } else { self.check_rows(server, &sent) }
    }

    /// Every acknowledged account opens with its key; the name of another is free or taken.
    fn check_accounts(&mut self, server: &Server, sent: &[Sent]) -> Checked<()> {
        for Sent { body, answer } in sent {
            let Some(answer) = answer else {
                let again = server.admin()?.call("POST", self.sort.path(), Some(body));
                let again = again.map_err(doing("opening an account again"))?;
                ensure(matches!(again.status, 201 | 409), || format!("{body}: {again:?}"))?;
                continue;
            };
            let (account, key) = (answer["account"].as_str(), answer["api_key"].as_str());
            let (account, key) = account.zip(key).ok_or_else(|| format!("no account: {answer}"))?;
            open_with(server, account, key)?;
            let before = self.opened.insert(account.to_owned(), key.to_owned());
            ensure(before.is_none(), || format!("{account} was opened twice"))?;
            self.there += 1;
        }
        Ok(())
    }

    fn check_rows(&mut self, server: &Server, sent: &[Sent]) -> Checked<()> {
        let mut client = server.client(&self.key)?;
        let name = self.sort.rows().2;
        let listed = rows(&mut client, self.sort, self.newest.as_deref())?;
        let by_name: BTreeMap<String, &Value> = listed.iter().map(|row| (row[name].to_string(), row)).collect();
        ensure(by_name.len() == listed.len(), || format!("listed twice: {listed:?}"))?;
        let mut there = BTreeSet::new();
        for (sent, again) in sent.iter().zip(send_again(server, &self.key, self.sort, sent)?) {
            let told = || format!("sent {sent:?}, again {again}");
            let repeated = again["repeated"] == true;
            ensure(repeated || sent.answer.is_none(), || format!("acknowledged and lost: {}", told()))?;
            let Some(answer) = sent.answer.as_ref().or(repeated.then_some(&again)) else { continue };
            for field in self.sort.lasting() {
                ensure(again[field] == answer[field], || format!("another {field}: {}", told()))?;
            }
            if self.sort == Sort::Purchases && sent.answer.is_none() {
                // A repeated purchase does not tell where the first one stands: it is counted below.
                there.insert(format!("unnamed {}", there.len()));
                continue;
            }
            let row = by_name.get(&answer[name].to_string());
            let row = row.ok_or_else(|| format!("acknowledged and not listed: {}", told()))?;
            ensure(self.sort.is_effect(row, &sent.body), || format!("another effect, {row}: {}", told()))?;
            ensure(there.insert(answer[name].to_string()), || format!("one effect for two requests: {}", told()))?;
        }
        let (listed, there) = (listed.len(), there.len());
        ensure(listed == there, || format!("{listed} effects are listed, {there} were asked for"))?;
        self.there += sent.len();
        let (path, list, _) = self.sort.rows();
        let newest = client.get(&format!("{path}?limit=1"))?;
        self.newest = newest[list][0]["id"].as_str().map(str::to_owned);
        Ok(())
    }

    fn check_all(&self, server: &Server) -> Checked<()> {
        if self.sort == Sort::Accounts {
            return self.opened.iter().try_for_each(|(account, key)| open_with(server, account, key));
        }
        let mut client = server.client(&self.key)?;
        let listed = rows(&mut client, self.sort, None)?.len();
        ensure(listed == self.there, || format!("{listed} effects are listed, {} took place", self.there))?;
        let balance = client.get("/v1/balance")?;
        let has = |name: &str| atoms(&balance[name]);
        if self.sort == Sort::Purchases {
            let (has, paid) = (has("available")?, self.there as i64 * DOLLAR);
            return ensure(has == paid, || format!("{paid} atoms were bought, {has} are there"));
        }
        let sums = sums(&pages(&mut client, "/v1/transactions", "transactions", None)?)?;
        let sides = if self.sort == Sort::Bids { &["available", "held", "escrow"][..] } else { &["earned"] };
        for side in sides {
            let (sum, has) = (sums.get(*side).copied().unwrap_or(0), has(side)?);
            ensure(sum == has, || format!("{side}: the transactions give {sum} atoms, the balance is {has}"))?;
        }
        Ok(())
    }
}

/// The account opens with its key.
fn open_with(server: &Server, account: &str, key: &str) -> Checked<()> {
    let balance = server.client(key)?.get("/v1/balance").map_err(doing(account))?;
    ensure(balance["account"] == account, || format!("the key of {account} opens {balance}"))
}

/// Effects newer than row `after`, newest first.
fn rows(client: &mut Client, sort: Sort, after: Option<&str>) -> Checked<Vec<Value>> {
    let (path, list, _) = sort.rows();
    pages(client, path, list, after)
}

/// A listing, newest first, down to row `after` and without it.
pub(super) fn pages(client: &mut Client, path: &str, list: &str, after: Option<&str>) -> Checked<Vec<Value>> {
    let mut rows = Vec::new();
    let mut before = String::new();
    loop {
        let mut page = client.get(&format!("{path}?limit={PAGE}{before}"))?;
        let found = page[list].as_array_mut().map(std::mem::take).ok_or_else(|| format!("no {list}: {path}"))?;
        for row in found {
            if after.is_some_and(|after| row["id"] == after) {
                return Ok(rows);
            }
            rows.push(row);
        }
        match page["next_before"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => return Ok(rows),
        }
    }
}

/// Sends everything once more over several connections; the answers are in the order of the requests.
fn send_again(server: &Server, key: &str, sort: Sort, sent: &[Sent]) -> Checked<Vec<Value>> {
    let part = sent.len().div_ceil(CONNECTIONS_AGAIN).max(1);
    std::thread::scope(|scope| {
        let mut parts = Vec::new();
        for part in sent.chunks(part) {
            let mut client = server.client(key)?;
            let send =
                move || part.iter().map(|sent| client.post(sort.path(), &sent.body)).collect::<Checked<Vec<_>>>();
            parts.push(scope.spawn(send));
        }
        let answers = parts.into_iter().map(|part| part.join().map_err(|_| "a client panicked".to_owned())?);
        Ok(answers.collect::<Checked<Vec<_>>>()?.concat())
    })
}

/// What transactions add up to on each side of the ledger, in atoms.
fn sums(transactions: &[Value]) -> Checked<BTreeMap<String, i64>> {
    let mut sums = BTreeMap::new();
    for row in transactions {
        let amount = atoms(&row["amount"])?;
        for (side, change) in [(&row["debit"], -amount), (&row["credit"], amount)] {
            *sums.entry(side.as_str().unwrap_or_default().to_owned()).or_default() += change;
        }
    }
    Ok(sums)
}

/// Atoms of an amount in credits: a decimal string with eight decimals.
fn atoms(credits: &Value) -> Checked<i64> {
    let text = credits.as_str().unwrap_or_default().replace('.', "");
    text.parse().map_err(doing(format!("reading the amount {credits}")))
}
