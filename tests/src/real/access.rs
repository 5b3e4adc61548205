//! Who may not call a route does not, whatever they try: made from the gateway's own table, so that no route is left out.
//!
//! Each attempt differs from a good call in one thing, and that thing alone must be what it is refused for. One good call for
//! each route shows that the others fail for their reason.

use super::binaries::Binaries;
use super::http::{Answer, Client};
use super::server::{ADMIN_KEY, Plan, Server};
use super::traffic::{BOOK, list_book};
use super::{Checked, DEADLINE, doing, ensure, outcome};
use crate::outcome::Outcome;
use crate::signer::{Request, Signer, now_ms};
use gollem_gateway::Scopes;
use gollem_gateway::routes::{Access, ROUTES, Route};
use gollem_projections::queries::{self, QUERIES};
use serde_json::{Value, json};
use std::time::Instant;

/// Scopes of accounts.
const ACCOUNT_SCOPES: [&str; 4] = ["read", "trade", "provide", "withdraw"];
const EVERYWHERE_HERE: [&str; 1] = ["127.0.0.0/8"];
const PASSWORD: &str = "a password for this check";
/// More keys than a stranger has.
const VICTIMS_KEYS: usize = 12;

/// Tries everything on every route.
pub fn check(seed: u64) -> Outcome {
    let mut cases = 0;
    let ended = run(&mut cases);
    outcome(cases, seed, ended)
}

fn run(cases: &mut u64) -> Checked<()> {
    let temporary = tempfile::tempdir().map_err(doing("a data folder"))?;
    let (data, log) = (temporary.path().join("data"), temporary.path().join("log"));
    let plan = Plan::new(Binaries::ordinary()?, data, log);
    let server = plan.start()?;
    list_book(&mut server.admin()?)?;
    let mut scene = Scene::open(&server)?;
    for route in ROUTES {
        let Access::Scoped(scopes) = route.access else { continue };
        scene.keys(route, scopes, cases)?;
        scene.signatures(route, scopes, cases)?;
        scene.things_of_others(route, scopes, cases)?;
    }
    scene.victim_is_unharmed()?;
    server.stop()
}

/// Keys of one owner, each with what is wrong with it.
#[derive(Debug)]
struct Keys {
    revoked: String,
    expired: String,
    far: String,
    signer: Signer,
    /// Signs under the same prefix with another key.
    forger: Signer,
}

#[derive(Debug)]
struct Scene {
    client: Client,
    account: Keys,
    operator: Keys,
    /// Keys of one scope each.
    single: Vec<(Scopes, String)>,
    session: String,
    ended_session: String,
    /// May do all that an account may, but is nobody's friend.
    stranger: String,
    victim: Victim,
    /// Of signed requests, one each.
    nonces: u64,
}

#[derive(Debug)]
struct Victim {
    id: String,
    key: String,
    order: String,
    session: String,
}

impl Keys {
    fn make(client: &mut Client, maker: &str, scopes: &[&str], seed: u8) -> Checked<Keys> {
        let mut make = |change: Value| -> Checked<Value> {
            let mut body = json!({ "name": "check", "scopes": scopes, "addresses": EVERYWHERE_HERE });
            for (field, value) in change.as_object().into_iter().flatten() {
                body[field] = value.clone();
            }
            let made = post(client, maker, "/v1/keys", &body)?;
            ensure(made.status == 201, || format!("making {body}: {made:?}"))?;
            Ok(made.body)
        };
        let revoked = make(json!({}))?;
        let far = make(json!({ "addresses": ["192.0.2.0/24"] }));
        let expired = make(json!({ "expires_at_us": (now_ms() / 1_000 + 2) * 1_000_000 }))?;
        let (mut signer, mut forger) = (Signer::new([seed; 32]), Signer::new([seed + 1; 32]));
        let signing = make(json!({ "public_key": signer.public_key() }))?;
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| format!("no text: {value}"));
        signer.prefix = text(&signing["prefix"])?;
        forger.prefix.clone_from(&signer.prefix);
        // A far key gains nothing where it was made, so its maker must be unbound.
        let far = text(&far?["api_key"])?;
        let keys =
            Keys { revoked: text(&revoked["api_key"])?, expired: text(&expired["api_key"])?, far, signer, forger };
        let path = format!("/v1/keys/{}", text(&revoked["id"])?);
        let gone = client.call_with("DELETE", &path, &[("x-api-key", maker)], b"")?;
        ensure(gone.status == 200, || format!("revoking: {gone:?}"))?;
        Ok(keys)
    }
}

impl Scene {
    fn open(server: &Server) -> Checked<Scene> {
        let mut client = server.client("")?;
        let account = open(&mut client, "account", &ACCOUNT_SCOPES)?.1;
        let stranger = open(&mut client, "stranger", &ACCOUNT_SCOPES)?.1;
        let mut single = vec![(Scopes::ADMIN, ADMIN_KEY.to_owned())];
        for name in ACCOUNT_SCOPES {
            let scope = Scopes::from_name(name).ok_or("an unknown scope")?;
            single.push((scope, open(&mut client, name, &[name])?.1));
        }
        let session = register(&mut client, "person")?;
        let ended = register(&mut client, "person who leaves")?;
        let left = client.call_with("POST", "/api/v1/auth/logout", &[("authorization", &bearer(&ended.0))], b"")?;
        ensure(left.status == 200, || format!("logging out: {left:?}"))?;
        let victim = Victim::open(&mut client)?;
        let account = Keys::make(&mut client, &account, &ACCOUNT_SCOPES, 1)?;
        let operator = Keys::make(&mut client, ADMIN_KEY, &["admin"], 3)?;
        for expiring in [&account.expired, &operator.expired] {
            let until = Instant::now() + DEADLINE;
            while client.call_with("GET", "/v1/rate-limit", &[("x-api-key", expiring)], b"")?.status != 401 {
                ensure(Instant::now() < until, || "a key does not expire".to_owned())?;
            }
        }
        let (session, ended_session) = (session.0, ended.0);
        Ok(Scene { client, account, operator, single, session, ended_session, stranger, victim, nonces: 0 })
    }

    /// Keys that may call a route of these scopes but for what is wrong with them.
    fn right_keys(&self, scopes: Scopes) -> &Keys {
        let for_accounts = ACCOUNT_SCOPES.iter().filter_map(|name| Scopes::from_name(name));
        if for_accounts.fold(false, |any, scope| any | scope.intersects(scopes)) {
            &self.account
        } else {
            &self.operator
        }
    }

    fn keys(&mut self, route: &Route, scopes: Scopes, cases: &mut u64) -> Checked<()> {
        let path = filled(route, &self.victim);
        let right = self.right_keys(scopes);
        let forged = format!("{}{}", &right.far[..23], "0".repeat(48));
        let mut attempts = vec![
            ("no key", None, 401, "invalid_api_key"),
            ("no key's form", Some("sk-gollem-x".to_owned()), 401, "invalid_api_key"),
            ("a forged secret", Some(forged), 401, "invalid_api_key"),
            ("a revoked key", Some(right.revoked.clone()), 401, "api_key_revoked"),
            ("an expired key", Some(right.expired.clone()), 401, "api_key_expired"),
            ("a key of another place", Some(right.far.clone()), 403, "address_not_allowed"),
            ("an ended session", Some(self.ended_session.clone()), 401, "session_over"),
        ];
        for (scope, key) in &self.single {
            if !scope.intersects(scopes) {
                attempts.push(("another scope", Some(key.clone()), 403, "insufficient_scope"));
            }
        }
        let of_sessions = Scopes::READ.with(Scopes::TRADE).with(Scopes::PROVIDE);
        if !of_sessions.intersects(scopes) {
            attempts.push(("a session", Some(self.session.clone()), 403, "insufficient_scope"));
        }
        for (what, key, status, code) in attempts {
            let authorization = key.as_deref().map(bearer);
            let headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("authorization", &**value)).collect();
            let answer = self.client.call_with(route.method.as_str(), &path, &headers, b"")?;
            refused(route, what, &answer, (status, code), cases)?;
        }
        Ok(())
    }

    fn signatures(&mut self, route: &Route, scopes: Scopes, cases: &mut u64) -> Checked<()> {
        let path = filled(route, &self.victim);
        let keys = self.right_keys(scopes);
        let (signer, forger) = (keys.signer.clone(), keys.forger.clone());
        let method = route.method.as_str();
        self.nonces += 2;
        let (once, twice) = (format!("nonce-of-call-{}", self.nonces), format!("nonce-after-call-{}", self.nonces));
        let now = now_ms();
        let good = Request { method, path: &path, query: "", body: b"", time_ms: now, nonce: &once };
        let attempts = [
            ("another's signature", &forger, good.clone(), "signature_invalid"),
            ("another method", &signer, Request { method: "PATCH", ..good.clone() }, "signature_invalid"),
            ("another path", &signer, Request { path: "/v1/elsewhere", ..good.clone() }, "signature_invalid"),
            ("another query", &signer, Request { query: "limit=1", ..good.clone() }, "signature_invalid"),
            ("another body", &signer, Request { body: b"{}", ..good.clone() }, "signature_invalid"),
            ("another nonce", &signer, Request { nonce: &twice, ..good.clone() }, "signature_invalid"),
            ("another time", &signer, Request { time_ms: now - 1, ..good.clone() }, "signature_invalid"),
            ("a stale time", &signer, Request { time_ms: now - 5_500, ..good.clone() }, "timestamp_too_old"),
            ("a future time", &signer, Request { time_ms: now + 60_000, ..good.clone() }, "timestamp_in_future"),
        ];
        for (what, signer, signed, code) in attempts {
            let mut headers = signer.headers(&signed);
            match what {
                // These are part of the signed text and sent as the good ones.
                "another nonce" => once.clone_into(&mut headers[2].1),
                "another time" => headers[1].1 = now.to_string(),
                _ => {}
            }
            let answer = self.call_signed(method, &path, &headers)?;
            refused(route, what, &answer, (401, code), cases)?;
        }
        let good = signer.headers(&Request { time_ms: now_ms(), nonce: &once, ..good });
        let answer = self.call_signed(method, &path, &good)?;
        // Where the path names the victim's account, the signature is good and the account another's.
        let is_others = route.path.contains("{account}") && answer.code() == "insufficient_scope";
        let admitted = answer.status != 401 && !["insufficient_scope", "address_not_allowed"].contains(&answer.code());
        let admitted = admitted || is_others;
        ensure(admitted, || format!("{} {}: a good signature is refused: {answer:?}", route.method, route.path))?;
        let again = self.call_signed(method, &path, &good)?;
        refused(route, "the same again", &again, (401, "nonce_reused"), cases)
    }

    /// A call that is sent once only: a nonce is.
    fn call_signed(&mut self, method: &str, path: &str, headers: &[(&str, String); 4]) -> Checked<Answer> {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let sent = self.client.send_with(method, path, &headers, b"").and_then(|()| self.client.receive());
        sent.map_err(doing(format!("{method} {path}, signed")))
    }

    /// A stranger with every scope meets what is another's.
    fn things_of_others(&mut self, route: &Route, scopes: Scopes, cases: &mut u64) -> Checked<()> {
        let stranger = bearer(&self.stranger);
        let headers = [("authorization", stranger.as_str())];
        let owned = ["{order}", "{key}", "{session}"].iter().any(|thing| route.path.contains(thing));
        if owned && Scopes::ADMIN != scopes {
            let body: &[u8] = if route.body_bytes_max > 0 { b"{}" } else { b"" };
            let answer = self.client.call_with(route.method.as_str(), &filled(route, &self.victim), &headers, body)?;
            *cases += 1;
            let told = || format!("{} {} gives a stranger another's: {answer:?}", route.method, route.path);
            ensure(matches!(answer.status, 400 | 403 | 404), told)?;
        }
        let of_account = QUERIES.iter().find(|query| query.path == route.path && route.method == "GET");
        if of_account.is_some_and(|query| matches!(query.access, queries::Access::Account)) {
            let path = format!("{}?account={}", filled(route, &self.victim), self.victim.id);
            let answer = self.client.call_with("GET", &path, &headers, b"")?;
            refused(route, "another's account by name", &answer, (403, "insufficient_scope"), cases)?;
        }
        Ok(())
    }

    fn victim_is_unharmed(&mut self) -> Checked<()> {
        let authorization = bearer(&self.victim.key);
        let headers = [("authorization", authorization.as_str())];
        let order = self.client.call_with("GET", &format!("/v1/orders/{}", self.victim.order), &headers, b"")?;
        ensure(order.body["status"] == "open", || format!("the victim's order: {order:?}"))?;
        let keys = self.client.call_with("GET", "/v1/keys", &headers, b"")?.body;
        let whole = |key: &Value| key["revoked_at_us"].is_null() && key["former_until_us"].is_null();
        let keys = keys["keys"].as_array().cloned().unwrap_or_default();
        ensure(keys.len() == VICTIMS_KEYS && keys.iter().all(whole), || format!("the victim's keys: {keys:?}"))?;
        let sessions = self.client.call_with("GET", "/api/v1/auth/sessions", &headers, b"")?.body;
        let one = sessions["sessions"].as_array().is_some_and(|open| open.len() == 1);
        ensure(one, || format!("the victim's sessions: {sessions}"))
    }
}

impl Victim {
    /// A person with keys, a session and an order.
    fn open(client: &mut Client) -> Checked<Victim> {
        let (token, session, id) = register(client, "victim")?;
        let key = json!({ "name": "victim's", "scopes": ["read", "trade", "provide"] });
        let mut keys = Vec::new();
        for _ in 0..VICTIMS_KEYS {
            let made = post(client, &token, "/v1/keys", &key)?;
            keys.push(made.body["api_key"].as_str().ok_or_else(|| format!("a victim's key: {made:?}"))?.to_owned());
        }
        let ask = json!({ "instrument": BOOK, "side": "ask", "price": "0.00001000", "quantity": 5,
            "latency_ms": 400, "throughput_tps": 60 });
        let placed = post(client, &keys[0], "/v1/orders", &ask)?;
        let order = placed.body["id"].as_str().ok_or_else(|| format!("the victim's order: {placed:?}"))?.to_owned();
        Ok(Victim { id, key: keys.swap_remove(0), order, session })
    }
}

/// The path of a route with the victim's things for its parameters.
fn filled(route: &Route, victim: &Victim) -> String {
    let path = route.path.replace("{order}", &victim.order).replace("{key}", &format!("key_{VICTIMS_KEYS}"));
    let path = path.replace("{session}", &victim.session).replace("{account}", &victim.id);
    path.split('/').map(|part| if part.starts_with('{') { "pay_999" } else { part }).collect::<Vec<_>>().join("/")
}

fn refused(route: &Route, what: &str, answer: &Answer, (status, code): (u16, &str), cases: &mut u64) -> Checked<()> {
    *cases += 1;
    ensure(answer.status == status && answer.code() == code, || {
        format!("{} {} with {what} should be {status} {code}: {answer:?}", route.method, route.path)
    })
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

fn post(client: &mut Client, key: &str, path: &str, body: &Value) -> Checked<Answer> {
    client.call_with("POST", path, &[("authorization", &bearer(key))], body.to_string().as_bytes())
}

/// An account whose key has these scopes: its id and the key.
fn open(client: &mut Client, name: &str, scopes: &[&str]) -> Checked<(String, String)> {
    let bound = scopes == ["withdraw"];
    let scopes_first: Vec<&str> = scopes.iter().copied().filter(|scope| bound || *scope != "withdraw").collect();
    let addresses: &[&str] = if bound { &EVERYWHERE_HERE } else { &[] };
    let asked = json!({ "name": name, "scopes": scopes_first, "addresses": addresses });
    let opened = post(client, ADMIN_KEY, "/v1/accounts", &asked)?.body;
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| format!("opening {name}: {opened}"));
    let account = text(&opened["account"])?;
    if bound || !scopes.contains(&"withdraw") {
        return Ok((account, text(&opened["api_key"])?));
    }
    // Bound to all there is, so that it may make keys of any place.
    let wide = json!({ "name": "wide", "scopes": scopes, "addresses": ["0.0.0.0/0"], "account": account });
    let made = post(client, ADMIN_KEY, "/v1/keys", &wide)?.body;
    Ok((account, made["api_key"].as_str().ok_or_else(|| format!("a wide key: {made}"))?.to_owned()))
}

/// A person: the token and name of the session, and the account.
fn register(client: &mut Client, name: &str) -> Checked<(String, String, String)> {
    let body = json!({ "name": name, "password": PASSWORD }).to_string();
    let opened = client.call_with("POST", "/api/v1/auth/register", &[], body.as_bytes())?.body;
    let text = |field: &str| opened[field].as_str().map(str::to_owned).ok_or_else(|| format!("registering: {opened}"));
    Ok((text("token")?, text("session")?, text("account")?))
}
