//! The commands as a shell sees them: standard output, exit codes, signals.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
};

use gollem_provider::client::Client;
use hyper::StatusCode;
use tokio::time::Instant;

use crate::{
    fake_gateway::FakeGateway,
    support::{DEADLINE, at_once, eventually, listener, start_mock},
};

/// A running command, killed when the test ends before it does.
struct Running(Child);

impl Running {
    fn start(arguments: &[&str], key: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gollem-provider"));
        command.args(arguments).env_remove("GOLLEM_API_KEY").env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(key) = key {
            command.env("GOLLEM_API_KEY", key);
        }
        Running(command.spawn().unwrap())
    }

    /// The first line of standard output.
    fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line
    }

    fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end; the exit status and all of standard error.
    async fn ended(mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        let mut status = None;
        eventually("the command ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        assert!(start.elapsed() < DEADLINE);
        let mut text = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (status.unwrap(), text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
async fn mock_tells_its_address_serves_and_ends_well_on_sigterm() {
    let mut command = Running::start(&["mock", "--listen", "127.0.0.1:0", "--model", "gpt4"], None);
    let line = command.line();
    let url = line.trim().strip_prefix("listening on ").unwrap();
    let (status, models) = Client::new(url, None).unwrap().get("/v1/models").await.unwrap();
    assert_eq!((status, models["data"][0]["id"].as_str()), (StatusCode::OK, Some("gpt4")));
    command.terminate();
    let (status, log) = command.ended().await;
    assert!(status.success(), "{log}");
    assert!(log.contains("mock model server"), "{log}");
}

#[tokio::test]
async fn mock_names_the_port_that_is_taken() {
    let listener = listener().await;
    let address = listener.local_addr().unwrap().to_string();
    let (status, log) = Running::start(&["mock", "--listen", &address], None).ended().await;
    assert_eq!(status.code(), Some(1));
    assert!(log.contains(&format!("cannot listen on {address}")) && log.contains("in use"), "{log}");
}

#[tokio::test]
async fn agent_without_a_key_says_where_it_looks() {
    let (status, log) =
        Running::start(&agent_arguments("http://127.0.0.1:1", "http://127.0.0.1:1"), None).ended().await;
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("GOLLEM_API_KEY") && log.contains("--key-file"), "{log}");
}

#[tokio::test]
async fn empty_key_counts_as_none() {
    let arguments = agent_arguments("http://127.0.0.1:1", "http://127.0.0.1:1");
    let (status, log) = Running::start(&arguments, Some(" ")).ended().await;
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("no API key: set GOLLEM_API_KEY or give --key-file"), "{log}");
}

#[tokio::test]
async fn agent_quotes_withdraws_on_sigterm_and_tells_its_earnings() {
    let gateway = FakeGateway::start().await;
    let mock = start_mock(at_once()).await;
    let endpoint = format!("http://{}/v1", mock.address());
    let command = Running::start(&agent_arguments(&gateway.url(), &endpoint), Some("sk-provider"));
    eventually("the quote rests", || gateway.book().open() == 1).await;
    command.terminate();
    let (status, log) = command.ended().await;
    assert!(status.success(), "{log}");
    assert_eq!(gateway.book().open(), 0);
    assert!(log.contains("12.34500000"), "{log}");
    assert!(!log.contains("sk-provider"), "the log does not show the key");
}

fn agent_arguments<'a>(gateway: &'a str, endpoint: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["agent", "--gateway", gateway, "--endpoint", endpoint, "--model", "gpt4"];
    arguments.extend(["--price", "1.35", "--latency-ms", "400", "--throughput-tps", "60", "--capacity", "1000"]);
    arguments
}
