//! Secrets are used in every way there is, rightly and wrongly, while the server logs everything it can; then they are searched
//! for in all it has written and answered. The search is proven by things that must be found.

use super::binaries::Binaries;
use super::http::Client;
use super::server::{ADMIN_KEY, Plan};
use super::traffic::list_book;
use super::{Checked, doing, ensure, outcome};
use crate::outcome::Outcome;
use crate::signer::{Request, Signer, now_ms};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const PASSWORD: &str = "planted-password-3f9c";
const WRONG_PASSWORD: &str = "planted-guess-88ab";
/// A name, which may be stored, and must be, where identities are.
const NAME: &str = "planted-name-51d0";
/// The signer's secret half.
const SEED: [u8; 32] = *b"planted-signing-key-of-a-client!";

/// Uses and searches.
pub fn check(seed: u64) -> Outcome {
    let mut cases = 0;
    let ended = run(&mut cases);
    outcome(cases, seed, ended)
}

fn run(cases: &mut u64) -> Checked<()> {
    let temporary = tempfile::tempdir().map_err(doing("a data folder"))?;
    let (data, log) = (temporary.path().join("data"), temporary.path().join("log"));
    let plan = Plan { log_level: "trace", ..Plan::new(Binaries::ordinary()?, data.clone(), log.clone()) };
    let server = plan.start()?;
    let mut user = User { client: server.client(ADMIN_KEY)?, secrets: Vec::new(), answers: Vec::new() };
    user.secrets.push(("the operator's key", ADMIN_KEY.rsplit('-').next().unwrap_or_default().into()));
    list_book(&mut user.client)?;
    user.use_everything()?;
    server.stop()?;
    let key = fs::read(data.join("session.key")).map_err(doing("reading the key of sessions"))?;
    user.secrets.push(("the key of sessions", key.clone()));
    user.secrets.push(("the key of sessions in hexadecimal", hex(&key)));
    let files = files(&data)?;
    let found = |needle: &[u8]| -> Checked<Vec<String>> {
        let mut places = Vec::new();
        for file in files.iter().chain([&log]).filter(|file| !file.ends_with("session.key")) {
            let bytes = fs::read(file).map_err(doing(format!("reading {}", file.display())))?;
            if holds(&bytes, needle) {
                places.push(file.display().to_string());
            }
        }
        if user.answers.iter().any(|answer| holds(answer.as_bytes(), needle)) {
            places.push("an error".into());
        }
        Ok(places)
    };
    let expected = found(NAME.as_bytes())?;
    ensure(expected.iter().any(|place| place.contains("identity.db")), || {
        format!("the search is blind: {expected:?}")
    })?;
    let logged = found(b"/api/v1/auth/login")?;
    let errors = found(b"invalid_credentials")?;
    ensure(errors.contains(&"an error".into()), || format!("no error was searched: {errors:?} {logged:?}"))?;
    let looked_at = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ");
    ensure(looked_at.contains("/journal/") && looked_at.contains("/views/"), || format!("not searched: {looked_at}"))?;
    for (what, secret) in &user.secrets {
        ensure(secret.len() >= 16, || format!("{what} is no secret to search for"))?;
        let places = found(secret)?;
        ensure(places.is_empty(), || format!("{what} is in {places:?}"))?;
        *cases += 1;
    }
    Ok(())
}

struct User {
    client: Client,
    secrets: Vec<(&'static str, Vec<u8>)>,
    /// Error bodies.
    answers: Vec<String>,
}

impl User {
    fn use_everything(&mut self) -> Checked<()> {
        let account =
            self.call("POST", "/v1/accounts", ADMIN_KEY, &json!({ "name": NAME, "scopes": ["read", "trade"] }))?;
        let key = self.keep("a key", &account["api_key"])?;
        let made = self.call("POST", "/v1/keys", &key, &json!({ "name": "robot", "scopes": ["read", "trade"] }))?;
        let robot = self.keep("a made key", &made["api_key"])?;
        let rotated = self.call("POST", "/v1/keys/key_2/rotate", &key, &json!({ "overlap_s": 60 }))?;
        let renewed = self.keep("a rotated key", &rotated["api_key"])?;
        self.secrets.push(("a password", PASSWORD.into()));
        self.secrets.push(("a guess", WRONG_PASSWORD.into()));
        let person = json!({ "name": "person", "password": PASSWORD });
        let session = self.call("POST", "/api/v1/auth/register", "", &person)?;
        let token = self.keep_token("a session's token", &session["token"])?;
        let session = self.call("POST", "/api/v1/auth/login", "", &person)?;
        let other = self.keep_token("another session's token", &session["token"])?;
        let purse = json!({ "name": "purse", "scopes": ["withdraw"], "addresses": ["127.0.0.1"] });
        let with_password = json!({ "password": PASSWORD, "key": purse });
        let made = self.call("POST", "/api/v1/auth/apikey", &token, &with_password)?;
        self.keep("a key of a session", &made["api_key"])?;
        // Each of them where it opens something, where it does not, and where it is over.
        for key in [&key, &robot, &renewed, &token, &other] {
            for path in ["/v1/balance", "/v1/keys", "/v1/admin/state", "/v1/orders/ord_999", "/v1/nothing"] {
                self.call("GET", path, key, &Value::Null)?;
            }
            self.call("POST", "/v1/orders", key, &json!({ "instrument": "nothing" }))?;
            self.call(
                "POST",
                "/v1/keys",
                key,
                &json!({ "name": "gain", "scopes": ["withdraw"], "addresses": ["::1"] }),
            )?;
        }
        let guess = json!({ "name": "person", "password": WRONG_PASSWORD });
        self.call("POST", "/api/v1/auth/login", "", &guess)?;
        self.call("POST", "/api/v1/auth/login", "", &json!({ "name": "nobody", "password": WRONG_PASSWORD }))?;
        self.call("POST", "/api/v1/auth/register", "", &json!({ "name": "person", "password": WRONG_PASSWORD }))?;
        self.call("POST", "/api/v1/auth/login", "", &json!({ "name": "person", "password": [PASSWORD] }))?;
        self.call("DELETE", "/v1/keys/key_2", &key, &Value::Null)?;
        self.call("GET", "/v1/balance", &renewed, &Value::Null)?;
        self.call("POST", "/api/v1/auth/logout", &token, &Value::Null)?;
        self.call("GET", "/v1/balance", &token, &Value::Null)?;
        self.sign(&key)
    }

    /// A signed request: only the caller has the secret half.
    fn sign(&mut self, key: &str) -> Checked<()> {
        let mut signer = Signer::new(SEED);
        self.secrets.push(("a client's signing key", SEED.into()));
        let asked = json!({ "name": "signs", "scopes": ["read"], "public_key": signer.public_key() });
        let made = self.call("POST", "/v1/keys", key, &asked)?;
        signer.prefix = made["prefix"].as_str().ok_or_else(|| format!("no prefix: {made}"))?.to_owned();
        let path = "/v1/balance";
        let (query, body, time_ms, nonce) = ("", b"".as_slice(), now_ms(), "planted-nonce");
        let headers = signer.headers(&Request { method: "GET", path, query, body, time_ms, nonce });
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.client.call_with("GET", path, &headers, b"")?;
        ensure(answer.status == 200, || format!("a signed request: {answer:?}"))
    }

    fn call(&mut self, method: &str, path: &str, key: &str, body: &Value) -> Checked<Value> {
        let authorization = format!("Bearer {key}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("authorization", authorization.as_str())];
        let headers = if key.is_empty() { &headers[..0] } else { &headers[..] };
        let answer = self.client.call_with(method, path, headers, body.as_bytes())?;
        if answer.status >= 400 {
            self.answers.push(answer.body.to_string());
        }
        Ok(answer.body)
    }

    fn keep(&mut self, what: &'static str, key: &Value) -> Checked<String> {
        let key = key.as_str().ok_or_else(|| format!("{what} was not given out: {:?}", self.answers.last()))?;
        self.secrets.push((what, key.rsplit('-').next().unwrap_or_default().into()));
        Ok(key.to_owned())
    }

    fn keep_token(&mut self, what: &'static str, token: &Value) -> Checked<String> {
        let token = token.as_str().ok_or_else(|| format!("{what} was not given out: {:?}", self.answers.last()))?;
        let payload = token.split('.').nth(1).unwrap_or_default();
        let signature = token.rsplit('.').next().unwrap_or_default();
        self.secrets.extend([(what, payload.into()), (what, signature.into())]);
        Ok(token.to_owned())
    }
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Every file below a folder.
fn files(folder: &Path) -> Checked<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(doing("listing the data folder"))? {
        let entry = entry.map_err(doing("listing the data folder"))?;
        let below = entry.file_type().map_err(doing("looking at a file"))?.is_dir();
        if below { all.extend(files(&entry.path())?) } else { all.push(entry.path()) }
    }
    Ok(all)
}
