//! The real exchange for a benchmark: `gollem serve --dev` of the same build, with one market and an account for each
//! connection.

use super::http::Connection;
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The one market.
pub(crate) const INSTRUMENT: &str = "bench-model";
/// What the system counts processor time in: a hundredth of a second, on Linux everywhere.
const TICK_US: u64 = 10_000;
/// The operator's key: of the right form, for a folder that is thrown away.
const ADMIN_KEY: &str = "sk-gollem-benchbenchbe-benchbenchbenchbenchbenchbenchbenchbenchbenchben";

/// A running exchange.
#[derive(Debug)]
pub(crate) struct Venue {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Venue {
    /// Starts one in `dir` and lists the market.
    ///
    /// # Errors
    /// When there is no `gollem` beside this program, or it does not start.
    pub(crate) fn start(dir: &Path) -> anyhow::Result<Venue> {
        let program = std::env::current_exe()?.with_file_name("gollem");
        ensure!(program.exists(), "{} is not there: build it with `make build`", program.display());
        let log = fs::File::create(dir.join("gollem.log"))?;
        let mut command = Command::new(program);
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--tree-key", "off", "--data"]);
        command.arg(dir.join("gateway")).env("GOLLEM_ADMIN_KEY", ADMIN_KEY);
        // What is measured is the exchange, not a tier of it.
        command
            .env("GOLLEM_DEFAULT_TIER", "unlimited")
            .env("GOLLEM_FLOOD_LIMIT", "0")
            .env("GOLLEM_CONNECTIONS_PER_ADDRESS", "0");
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let said = process.stdout.take().context("the exchange's output is a pipe")?;
        let listening = BufReader::new(said).lines().map_while(Result::ok);
        let address = listening.filter_map(|line| line.strip_prefix("listening on http://")?.parse().ok()).next();
        let Some(address) = address else {
            let log = fs::read_to_string(dir.join("gollem.log")).unwrap_or_default();
            process.kill().ok();
            anyhow::bail!("the exchange did not start:\n{log}");
        };
        let venue = Venue { process, address };
        let market = json!({ "symbol": INSTRUMENT, "reference_price": "0.001", "tick": "0.00000001" });
        venue.post("/v1/instruments", &market)?;
        Ok(venue)
    }

    /// Opens an account with $1,000; returns its key.
    ///
    /// # Errors
    /// When the exchange refuses.
    pub(crate) fn open_account(&self, name: &str) -> anyhow::Result<String> {
        let key = self.open_empty_account(name, &["read", "trade"])?;
        self.send(&key, "POST", "/v1/purchases", &json!({ "amount_usd": "1000.00", "reference": name }))?;
        Ok(key)
    }

    /// Opens an account that has nothing; returns its key.
    ///
    /// # Errors
    /// When the exchange refuses.
    pub(crate) fn open_empty_account(&self, name: &str, scopes: &[&str]) -> anyhow::Result<String> {
        let opened = self.post("/v1/accounts", &json!({ "name": name, "scopes": scopes }))?;
        Ok(opened["api_key"].as_str().context("an account has a key")?.to_owned())
    }

    fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(ADMIN_KEY, "POST", path, body)
    }

    /// Sends one request on a connection of its own.
    ///
    /// # Errors
    /// When the exchange refuses.
    pub(crate) fn send(&self, key: &str, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let mut connection = Connection::open(self.address, Some(key))?;
        let answer = connection.ask(method, path, &body.to_string())?;
        ensure!(answer.status < 300, "{method} {path}: {}", String::from_utf8_lossy(answer.body));
        serde_json::from_slice(answer.body).context("an answer is JSON")
    }

    /// Bytes of memory that the exchange holds now.
    ///
    /// # Errors
    /// When the system does not say.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is a number of kB")?;
        Ok(kib * 1_024)
    }

    /// Microseconds of processor that the exchange has used, in all its threads, in steps of 10,000.
    ///
    /// # Errors
    /// When the system does not say.
    pub(crate) fn cpu_us(&self) -> anyhow::Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The name of the program, which may hold anything, ends at the last parenthesis; of the fields after it, the 12th
        // and 13th are the ticks in user mode and in the system's (proc(5)).
        let (_, fields) = stat.rsplit_once(')').context("no name in the process's state")?;
        let ticks = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u64>);
        Ok(ticks.sum::<Result<u64, _>>().context("ticks are numbers")? * TICK_US)
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        // Its folder is thrown away: nothing is lost by not waiting for a clean stop.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
