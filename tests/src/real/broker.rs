//! A real Kafka broker of a test's own.

use super::{Checked, doing, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// A running broker; killed when it is dropped.
#[derive(Debug)]
pub struct Broker {
    port: u16,
    data: TempDir,
}

/// The workspace's root, where scripts and documents are.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Broker {
    /// Starts one.
    ///
    /// # Errors
    /// It does not start, for instance because there is no Java: what the script says.
    pub fn start() -> Result<Broker, String> {
        let broker = Broker { port: free_ports()?, data: tempfile::tempdir().map_err(doing("a folder for Kafka"))? };
        broker.go_on()?;
        Ok(broker)
    }

    /// Where clients connect: `HOST:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it as `kill -9` does. What it stored stays.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&self) -> Result<(), String> {
        kill_process(self.pid()?, Signal::KILL).map_err(doing("killing Kafka"))
    }

    /// Its process id.
    pub(super) fn pid(&self) -> Checked<Pid> {
        let text =
            std::fs::read_to_string(self.data.path().join("pid")).map_err(doing("reading Kafka's process id"))?;
        let number = text.trim().parse().ok().and_then(Pid::from_raw);
        number.ok_or_else(|| format!("Kafka's process id is {text:?}"))
    }

    /// Starts it again after it was killed, and waits until it answers.
    ///
    /// # Errors
    /// It does not start: what the script says.
    pub fn go_on(&self) -> Result<(), String> {
        let started = self.script("start")?;
        ensure(started.status.success(), || String::from_utf8_lossy(&started.stderr).trim().to_owned())
    }

    fn script(&self, action: &str) -> Checked<Output> {
        let mut command = Command::new(root().join("scripts/kafka.sh"));
        command.args([action, "--port", &self.port.to_string(), "--data"]).arg(self.data.path());
        command.output().map_err(doing("running scripts/kafka.sh"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may be dead already.
        self.kill().ok();
    }
}

/// The first of three ports in a row that nobody has, below those that the system gives to outgoing connections.
fn free_ports() -> Checked<u16> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(doing("reading the clock"))?;
    let begin = u16::try_from(now.subsec_micros() % 3_000).unwrap_or(0);
    let ports = (begin..3_000).chain(0..begin).map(|place| 20_000 + 3 * place);
    let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    ports.into_iter().find(|first| (*first..first + 3).all(free)).ok_or_else(|| "no three ports are free".to_owned())
}
