//! One `gollem serve`: started, killed, stopped, and held against what `gollem-replay` says of its data folder.

use super::binaries::Binaries;
use super::http::Client;
use super::{Checked, DEADLINE, doing, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The operator's key of every server here.
pub(super) const ADMIN_KEY: &str = "sk-gollem-faultcheck00-000000000000000000000000000000000000000000000000";
/// The smallest segments there are, so that one fills up during a check, and a snapshot at the end of each.
const SMALL_SEGMENTS: [&str; 4] = ["--segment-mib", "2", "--snapshot-mib", "1"];
/// What may be told of a log.
const LOG_BYTES_SHOWN: usize = 2_000;

/// How to start a server.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) binaries: Binaries,
    pub(super) data: PathBuf,
    /// Where its log goes; outside the data folder, which may be a disk that fails.
    pub(super) log: PathBuf,
    /// Where it publishes, if it does.
    pub(super) kafka: Option<String>,
    /// From which level on it logs.
    pub(super) log_level: &'static str,
}

/// A process; killed when dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
    address: Option<SocketAddr>,
}

impl Plan {
    /// A server that publishes nowhere.
    pub(super) fn new(binaries: Binaries, data: PathBuf, log: PathBuf) -> Plan {
        Plan { binaries, data, log, kafka: None, log_level: "warn" }
    }

    /// Starts a server and does not wait for it. `crash_at` names a crash point and its pass, as in `name:3`.
    pub(super) fn spawn(&self, crash_at: Option<&str>) -> Checked<Server> {
        let mut command = Command::new(&self.binaries.gollem);
        command.args(["serve", "--listen", "127.0.0.1:0", "--dev", "--pin", "off"]);
        command.args(SMALL_SEGMENTS).arg("--data").arg(&self.data);
        command.args(["--tree-interval", "1", "--tree-key"]).arg(self.log.with_extension("key"));
        command.env("GOLLEM_ADMIN_KEY", ADMIN_KEY).env("GOLLEM_LOG", self.log_level).env_remove("GOLLEM_CRASH_AT");
        // The traffic of a check is faster than any tier; the checks of limits set their own.
        command
            .env("GOLLEM_DEFAULT_TIER", "unlimited")
            .env("GOLLEM_FLOOD_LIMIT", "0")
            .env("GOLLEM_CONNECTIONS_PER_ADDRESS", "0")
            .env_remove("DATABASE_URL");
        if let Some(crash_at) = crash_at {
            command.env("GOLLEM_CRASH_AT", crash_at);
        }
        if let Some(kafka) = &self.kafka {
            command.args(["--kafka", kafka]);
        }
        Server::spawn(command, &self.log)
    }

    /// Starts a server that must come up.
    pub(super) fn start(&self) -> Checked<Server> {
        let mut server = self.spawn(None)?;
        ensure(server.ready()?, || format!("gollem does not come up: {}", server.told()))?;
        Ok(server)
    }

    /// What `gollem-replay verify` says of the data folder; fails unless it is sound.
    pub(super) fn verify(&self) -> Checked<Value> {
        let output = Command::new(&self.binaries.replay).arg("verify").arg(&self.data).arg("--json").output();
        let output = output.map_err(doing("starting gollem-replay"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure(output.status.success(), || format!("gollem-replay verify: {}: {text}", output.status))?;
        serde_json::from_str(&text).map_err(doing("reading the audit"))
    }
}

impl Server {
    /// Starts a process that will say where it listens.
    pub(super) fn spawn(mut command: Command, log: &Path) -> Checked<Server> {
        let file = File::create(log).map_err(doing("creating the log"))?;
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn();
        let mut child = spawned.map_err(doing("starting a server"))?;
        let stdout = child.stdout.take().ok_or("the server has no standard output")?;
        let (sender, lines) = channel();
        // Reads on when nobody listens any more, so that the process never waits for its pipe.
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Ok(Server { child, lines, log: log.to_owned(), address: None })
    }

    /// Waits until it listens; false when it ended before.
    pub(super) fn ready(&mut self) -> Checked<bool> {
        let prefix = "listening on http://";
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => {
                    if let Some(address) = line.strip_prefix(prefix) {
                        self.address = Some(address.parse().map_err(doing("reading the address"))?);
                        return Ok(true);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("gollem neither listens nor ends: {}", self.told()));
                }
            }
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> Checked<SocketAddr> {
        self.address.ok_or_else(|| "the server is not up".to_owned())
    }

    /// A client with this key.
    pub(super) fn client(&self, key: &str) -> Checked<Client> {
        Ok(Client::new(self.address()?, key))
    }

    /// The operator's client.
    pub(super) fn admin(&self) -> Checked<Client> {
        self.client(ADMIN_KEY)
    }

    /// Waits for its end, but no longer than `patience`; whether it ended.
    pub(super) fn ends_within(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        loop {
            // Its output ends with it.
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    /// Kills it as `kill -9` does, in mid-instruction, and waits for its end.
    pub(super) fn kill(mut self) -> Checked<()> {
        self.child.kill().map_err(doing("killing gollem"))?;
        self.child.wait().map(drop).map_err(doing("waiting for gollem's end"))
    }

    /// Its process id.
    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Asks it to end, as `kill` does.
    pub(super) fn terminate(&self) -> Checked<()> {
        kill_process(self.pid(), Signal::TERM).map_err(doing("asking gollem to end"))
    }

    /// Waits for its end.
    pub(super) fn ended(mut self) -> Checked<ExitStatus> {
        ensure(self.ends_within(DEADLINE), || format!("gollem does not end: {}", self.told()))?;
        self.child.wait().map_err(doing("waiting for gollem's end"))
    }

    /// Asks it to end and fails unless it ended well.
    pub(super) fn stop(self) -> Checked<()> {
        let log = self.log.clone();
        self.terminate()?;
        let status = self.ended()?;
        ensure(status.success(), || format!("gollem did not stop well: {status}: {}", tail(&log)))
    }

    /// The end of its log.
    pub(super) fn told(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; nothing can be done about other failures here.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let start = text.len().saturating_sub(LOG_BYTES_SHOWN);
    text.get(start..).unwrap_or(&text).to_owned()
}

/// The running server and the auditor tell the same: of the last input, of the ledger's sum, of the state.
pub(super) fn same_state(state: &Value, audit: &Value) -> Checked<()> {
    ensure(state["ledger_sum"] == 0, || format!("the ledger does not sum to zero: {state}"))?;
    for key in ["last_seq", "ledger_sum", "state_hash"] {
        ensure(state[key] == audit[key], || format!("{key}: the server has {state}, the replay gives {audit}"))?;
    }
    Ok(())
}
