//! The real binaries: built once, run in their own processes, killed when the test ends before they do.

use super::http::Api;
use super::{DEADLINE, eventually, eventually_within};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

/// The operator's key of every process here.
pub(crate) const ADMIN_KEY: &str = "sk-gollem-endtoendtest-000000000000000000000000000000000000000000000000";

/// What lets accounts and addresses ask as much as they like.
const NO_LIMITS: [(&str, &str); 2] = [("GOLLEM_DEFAULT_TIER", "unlimited"), ("GOLLEM_FLOOD_LIMIT", "0")];

/// Where a binary of this workspace is. Cargo builds no other package's binaries for a test, so the first call does,
/// as this test itself was built.
pub(crate) fn binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build).join(name)
}

fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // TARGET/PROFILE/deps/e2e-…
    let folder = test.parent().and_then(Path::parent).unwrap();
    let profile = match folder.file_name().and_then(|name| name.to_str()).unwrap() {
        "debug" => "dev",
        profile => profile,
    };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--bins", "-p", "gollem-gateway", "-p", "gollem-provider", "-p", "gollem-replay"])
        .args(["-p", "gollem-projections"])
        .args(["--profile", profile, "--target-dir"])
        .arg(folder.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    folder.to_owned()
}

/// How much of a log a test that failed shows.
const LOG_LINES: usize = 20;

/// A running command.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Process {
    /// Starts a binary; its log goes to `log`.
    pub(crate) fn start(name: &str, arguments: &[&str], env: &[(&str, &str)], log: &Path) -> Process {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(binary(name));
        command
            .args(arguments)
            .env_remove("GOLLEM_API_KEY")
            .env_remove("GOLLEM_ADMIN_KEY")
            .env_remove("DATABASE_URL")
            .envs(env.iter().copied());
        // Tests that are about limits set them.
        command.envs(NO_LIMITS.into_iter().filter(|(name, _)| !env.iter().any(|(given, _)| given == name)));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Reads on when nobody listens any more, so that the command never waits for its pipe.
            stdout.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Process { child, lines, log: log.to_owned() }
    }

    /// Waits for a line of standard output that begins so, passing over others; returns what follows.
    pub(crate) async fn line(&mut self, prefix: &str) -> String {
        loop {
            if let Some(rest) = self.next_line().await.strip_prefix(prefix) {
                return rest.to_owned();
            }
        }
    }

    /// The next line, which must begin so; returns what follows.
    pub(crate) async fn first_line(&mut self, prefix: &str) -> String {
        let line = self.next_line().await;
        line.strip_prefix(prefix).unwrap_or_else(|| panic!("{line:?} should begin with {prefix:?}")).to_owned()
    }

    async fn next_line(&mut self) -> String {
        // A demo of thousands of calls is one of them, on a machine that builds beside it.
        eventually_within(4 * DEADLINE, "a line of standard output", async || match self.lines.try_recv() {
            Ok(line) => Some(line),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => panic!("it ended: {}", self.log()),
        })
        .await
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills it as `kill -9` does, in mid-instruction.
    pub(crate) fn kill(mut self) {
        let running = self.child.try_wait().unwrap().is_none();
        assert!(running, "it ended before it was killed: {}", self.log());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, as `kill` does.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        eventually("the process ends", async || self.child.try_wait().unwrap()).await
    }

    /// Asks it to end and waits until it has ended well.
    pub(crate) async fn stop(mut self) {
        self.terminate();
        let status = self.ended().await;
        assert!(status.success(), "{status}: {}", self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Where the cause often is: a server that ended by itself said why.
            let ended = self.child.try_wait();
            println!("a process of a test that failed; ended: {ended:?}; the end of its log:");
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            lines.iter().skip(lines.len().saturating_sub(LOG_LINES)).for_each(|line| println!("  {line}"));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A running `gollem serve --dev`.
#[derive(Debug)]
pub(crate) struct Gollem {
    pub(crate) process: Process,
    pub(crate) admin: Api,
}

impl Gollem {
    /// Serves the exchange in `data`; the log goes next to it.
    pub(crate) async fn serve(data: &Path) -> Gollem {
        Gollem::serve_with(data, &[]).await
    }

    /// The same with more in its environment.
    pub(crate) async fn serve_with(data: &Path, environment: &[(&str, &str)]) -> Gollem {
        let arguments = [
            "serve",
            "--data",
            data.to_str().unwrap(),
            "--listen",
            "127.0.0.1:0",
            "--dev",
            "--pin",
            "off",
            "--tree-key",
            "off",
        ];
        Gollem::start_with(data, &arguments, environment).await
    }

    /// Runs a command that opens an exchange in `data`.
    pub(crate) async fn start(data: &Path, arguments: &[&str]) -> Gollem {
        Gollem::start_with(data, arguments, &[]).await
    }

    async fn start_with(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Gollem {
        let env = [&[("GOLLEM_ADMIN_KEY", ADMIN_KEY), ("GOLLEM_LOG", "warn")], environment].concat();
        let mut process = Process::start("gollem", arguments, &env, &data.with_extension("log"));
        let base = process.line("listening on ").await;
        Gollem { process, admin: Api::new(&base, Some(ADMIN_KEY)) }
    }

    pub(crate) fn base(&self) -> &str {
        self.admin.base()
    }

    /// The operator's view of the state.
    pub(crate) async fn state(&self) -> Value {
        self.admin.get("/v1/admin/state").await.ok()
    }
}

/// What `gollem-replay verify` says of a data folder; fails unless it finds the folder sound.
pub(crate) fn verify(data: &Path) -> Value {
    let verified = Command::new(binary("gollem-replay")).arg("verify").arg(data).arg("--json").output().unwrap();
    let stderr = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success(), "{}: {stderr}", verified.status);
    serde_json::from_slice(&verified.stdout).unwrap()
}

/// The auditor and the server tell the same of a quiet exchange. Contracts run out by themselves, so the server is
/// asked before and after.
pub(crate) async fn assert_audit_agrees(gollem: &Gollem, data: &Path) {
    eventually("the audit meets a quiet moment", async || {
        let before = gollem.state().await;
        let audit = verify(data);
        let quiet = gollem.state().await == before;
        quiet.then(|| {
            assert_eq!(before["ledger_sum"], 0);
            for key in ["last_seq", "ledger_sum", "state_hash"] {
                assert_eq!(audit[key], before[key], "{key}: the audit against the server");
            }
        })
    })
    .await;
}
