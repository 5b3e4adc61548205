//! `gollem demo` as its users run it: it plays, says what it came to, and leaves a folder that the auditor finds to be
//! just what it said.

use crate::support::process::{binary, verify};
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn demo(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("gollem"));
    command.arg("demo").args(arguments).env_remove("GOLLEM_ADMIN_KEY").env_remove("GOLLEM_LOG");
    command.output().unwrap()
}

/// Plays 300 requests in `data`; returns the summary for scripts and the one for people.
fn play(data: &Path) -> (Value, String) {
    let json = data.with_extension("json");
    let (folder, file) = (data.to_str().unwrap(), json.to_str().unwrap());
    let output = demo(&[
        "--speed",
        "max",
        "--requests",
        "300",
        "--exit",
        "--json",
        file,
        "--data",
        folder,
        "--listen",
        "127.0.0.1:0",
    ]);
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {said}\n{log}", output.status);
    (serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap(), said.into_owned())
}

/// A whole number of the summary.
#[track_caller]
fn number(summary: &Value, pointer: &str) -> u64 {
    summary.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer} in {summary}"))
}

fn check_summary(summary: &Value, data: &Path) {
    let [requests, fills, refused] = ["/requests", "/fills", "/refused"].map(|field| number(summary, field));
    assert_eq!((requests, fills + refused), (300, 300), "{summary}");
    assert!(fills > 0, "{summary}");
    let by_code = summary["refusals"].as_object().unwrap().values();
    assert_eq!(by_code.map(|count| count.as_u64().unwrap()).sum::<u64>(), refused);
    let [p50, p99, p999] = ["p50", "p99", "p999"].map(|at| number(summary, &format!("/overhead_us/{at}")));
    assert!(0 < p50 && p50 <= p99 && p99 <= p999, "{summary}");
    assert!(number(summary, "/journal_bytes") > 0);
    let audit = verify(data);
    assert_eq!((&summary["ledger_sum"], &audit["ledger_sum"]), (&0.into(), &0.into()));
    assert_eq!(summary["state_hash"], audit["state_hash"]);
    assert_eq!(summary["inputs"], audit["last_seq"]);
    assert_eq!((&audit["clean"], &audit["torn_bytes"]), (&true.into(), &0.into()));
}

/// The text holds each figure, in a line that names it.
fn check_text(text: &str, summary: &Value) {
    let line = |name: &str| {
        let found = text.lines().find(|line| line.trim_start().starts_with(name));
        found.unwrap_or_else(|| panic!("no line begins with {name:?}:\n{text}"))
    };
    let overhead = |at: &str| summary["overhead_us"][at].to_string();
    let figures = [
        ("listening on", "http://127.0.0.1:".to_owned()),
        ("market open", "15 models".to_owned()),
        ("requests", summary["requests"].to_string()),
        ("fills", summary["fills"].to_string()),
        ("refused", summary["refused"].to_string()),
        ("saving", summary["saving_dearest_percent"].as_str().unwrap().to_owned()),
        ("gateway overhead", overhead("p50")),
        ("gateway overhead", overhead("p99")),
        ("gateway overhead", overhead("p999")),
        ("journal", summary["journal_bytes"].to_string()),
        ("journal", summary["inputs"].to_string()),
        ("ledger sum", "0".to_owned()),
        ("state hash", summary["state_hash"].as_str().unwrap().to_owned()),
    ];
    for (name, figure) in figures {
        assert!(line(name).contains(&figure), "{figure} is missing from: {}", line(name));
    }
}

#[test]
fn a_demo_says_what_the_auditor_finds_and_a_second_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (first, text) = play(&data);
    check_summary(&first, &data);
    check_text(&text, &first);
    let (second, text) = play(&data);
    check_summary(&second, &data);
    check_text(&text, &second);
    assert!(number(&second, "/inputs") > number(&first, "/inputs"), "it goes on in the same journal");
    assert!(number(&second, "/journal_bytes") > number(&first, "/journal_bytes"));
}

#[test]
fn a_demo_that_is_asked_for_nonsense_does_not_begin() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let nonsense: [&[&str]; 5] =
        [&["--speed", "0"], &["--speed", "fast"], &["--requests", "some"], &["--colour", "red"], &["extra"]];
    for arguments in nonsense {
        let arguments = [arguments, &["--data", data.to_str().unwrap()]].concat();
        let output = demo(&arguments);
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {log}");
        assert!(log.contains(arguments[0]), "it names what it does not take: {log}");
    }
    assert!(!data.exists(), "nothing was opened");
}

#[test]
fn a_demo_whose_port_is_taken_says_which_flag_helps() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = demo(&["--exit", "--data", data.to_str().unwrap(), "--listen", &address]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("--listen") && log.contains(&address), "{log}");
    assert!(!data.exists(), "nothing was opened");
}
