//! Bodies that nobody should send: for every route that takes one, the example that the API's own document gives for it, broken
//! in its bytes or in its values, and plain noise.
//!
//! Each is answered within a second, by a refusal or, if it happens to be sound, by what was asked. A 5xx is a failure unless it
//! is a 503 that says why and when to come back. Afterwards the process is the one that was started, its log tells of no panic,
//! and its state is the one that a replay gives.

use super::binaries::Binaries;
use super::http::{Answer, Client};
use super::server::{Plan, same_state};
use super::traffic::open_account;
use super::{Checked, doing, ensure, outcome};
use crate::mutate;
use crate::outcome::Outcome;
use gollem_journal::sim::Random;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The longest an answer may take. One that takes longer is asked for again, since the machine may have been away.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of noise, at most.
const NOISE_MAX: u64 = 300;
/// Changes of one body, at most.
const CHANGES_MAX: u64 = 4;
/// The market of the document's examples.
const MODEL: &str = "llama-3.1-8b";

/// A route that takes a body.
#[derive(Debug)]
struct Target {
    method: &'static str,
    path: String,
    /// Whether it is the operator's.
    admin: bool,
    example: Value,
}

/// Sends `bodies` bodies.
pub fn check(bodies: u64, seed: u64) -> Outcome {
    outcome(bodies, seed, run(bodies, seed))
}

fn run(bodies: u64, seed: u64) -> Checked<()> {
    let temporary = tempfile::tempdir().map_err(doing("a data folder"))?;
    let (data, log) = (temporary.path().join("data"), temporary.path().join("log"));
    let plan = Plan::new(Binaries::ordinary()?, data, log);
    let server = plan.start()?;
    let mut admin = server.admin()?;
    admin.post("/v1/instruments", &json!({ "symbol": MODEL, "reference_price": "0.002" }))?;
    let key = open_account(&mut admin, "sender of noise", &["read", "trade", "provide"])?;
    let mut trader = server.client(&key)?;
    trader.post("/v1/purchases", &json!({ "amount_usd": "1000.00", "reference": "noise" }))?;
    let targets = targets(&admin.get("/openapi.json")?)?;
    ensure(targets.len() > 15, || format!("the document tells of {} routes only", targets.len()))?;
    let mut random = Random(seed);
    for number in 0..bodies {
        let target = &targets[random.below(targets.len() as u64) as usize];
        let body = body(&mut random, &target.example);
        let client = if target.admin { &mut admin } else { &mut trader };
        let shown = || format!("body {number}: {} {} {:?}", target.method, target.path, String::from_utf8_lossy(&body));
        let (answer, took) = ask(client, target, &body).map_err(|failure| format!("{}: {failure}", shown()))?;
        check_answer(&answer).map_err(|failure| format!("{}: {failure}", shown()))?;
        if took > PATIENCE {
            let (_, again) = ask(client, target, &body).map_err(|failure| format!("{}: {failure}", shown()))?;
            ensure(again <= PATIENCE, || format!("{}: took {took:?}, then {again:?}", shown()))?;
        }
    }
    let told = std::fs::read_to_string(&plan.log).map_err(doing("reading the log"))?;
    ensure(!told.contains("panicked"), || format!("a panic: {}", server.told()))?;
    same_state(&admin.get("/v1/admin/state")?, &plan.verify()?)?;
    server.stop()
}

/// Asks, on a new connection if the old one was closed meanwhile.
fn ask(client: &mut Client, target: &Target, body: &[u8]) -> Checked<(Answer, Duration)> {
    let mut call = || {
        let since = Instant::now();
        client.send_bytes(target.method, &target.path, body)?;
        client.receive().map(|answer| (answer, since.elapsed()))
    };
    call().or_else(|_| call()).map_err(doing("no whole answer"))
}

pub(super) fn check_answer(answer: &Answer) -> Checked<()> {
    if answer.status < 400 {
        return Ok(());
    }
    let error = &answer.body["error"];
    let whole = error["message"].is_string() && error["code"].is_string();
    ensure(whole, || format!("an error without its words: {answer:?}"))?;
    let excused = answer.status == 503 && answer.retry_after && error["code"] != "unavailable";
    ensure(answer.status < 500 || excused, || format!("{answer:?}"))
}

/// The routes of the document that take a body, with an example of it.
fn targets(document: &Value) -> Checked<Vec<Target>> {
    let mut targets = Vec::new();
    let paths = document["paths"].as_object().ok_or("the document has no paths")?;
    for (path, item) in paths {
        for (name, method) in [("post", "POST"), ("put", "PUT")] {
            let operation = &item[name];
            let schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str();
            let Some(schema) = schema.and_then(|name| document.pointer(name.strip_prefix('#')?)) else { continue };
            let path = path
                .replace("{instrument}", MODEL)
                .replace("{order}", "ord_4194304")
                .replace("{lock}", "ord_4194304")
                .replace("{account}", "acc_1")
                .replace("{payout}", "pay_1");
            let admin = operation["x-scopes"] == json!(["admin"]);
            targets.push(Target { method, path, admin, example: schema["example"].clone() });
        }
    }
    Ok(targets)
}

/// A body that is likely to be wrong.
fn body(random: &mut Random, example: &Value) -> Vec<u8> {
    match random.below(10) {
        0 => (0..random.below(NOISE_MAX)).map(|_| random.below(256) as u8).collect(),
        1..=4 => {
            let mut bytes = example.to_string().into_bytes();
            for _ in 0..=random.below(CHANGES_MAX) {
                mutate::bytes(random, &mut bytes, b"{}[],:\"null");
            }
            bytes
        }
        _ => {
            let mut value = example.clone();
            for _ in 0..=random.below(CHANGES_MAX) {
                mutate::value(random, &mut value);
            }
            value.to_string().into_bytes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_from_a_refusal() {
        let answer = |status, code: &str, retry_after| {
            let body = json!({ "error": { "message": "m", "type": "t", "param": null, "code": code } });
            check_answer(&Answer { status, retry_after, body }).is_ok()
        };
        assert!(answer(400, "invalid_value", false) && answer(503, "overloaded", true));
        assert!(!answer(500, "internal_error", false) && !answer(503, "overloaded", false));
        assert!(!answer(503, "unavailable", true), "the exchange went down");
        assert!(check_answer(&Answer { status: 404, retry_after: false, body: Value::Null }).is_err());
    }

    #[test]
    fn bodies_are_broken_in_many_ways_and_the_same_seed_breaks_them_the_same_way() {
        let example = json!({ "a": "b", "c": [1, { "d": null }] });
        let all = |seed| -> Vec<Vec<u8>> {
            let mut random = Random(seed);
            (0..200).map(|_| body(&mut random, &example)).collect()
        };
        let (some, same) = (all(1), all(1));
        assert!(some == same && some != all(2));
        let sound = some.iter().filter(|body| serde_json::from_slice::<Value>(body).is_ok()).count();
        assert!((50..190).contains(&sound), "{sound} of 200 are JSON still");
    }
}
