//! Runs what a document prints, so that it works for who copies it.

use super::process::binary;
use super::skipped;
use std::net::TcpListener;
use std::process::Command;

/// Runs the shell blocks of `text` with bash, in order, and returns what they printed; none, if this machine cannot. Only the
/// addresses in `ports`, the data folder and the folder of the binaries are changed, so that it can run beside others.
pub(crate) fn run(text: &str, ports: &[&str]) -> Option<String> {
    if Command::new("curl").arg("--version").output().is_err() {
        skipped("the tour needs curl");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let fenced = text.split("```sh\n").skip(1).map(|block| block.split_once("```").expect("a closed block").0);
    let script = fenced
        .collect::<Vec<_>>()
        .join("\n")
        .replace("./target/release", binary("gollem").parent().unwrap().to_str().unwrap())
        .replace("tour-data", folder.path().join("tour-data").to_str().unwrap());
    let script = ports.iter().fold(script, |script, port| script.replace(port, &free_port()));
    // Whatever happens, nothing of the tour outlives it.
    let script = format!("set -e -o pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}");
    let output = Command::new("bash").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    Some(said)
}

/// A port that was free a moment ago.
fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

/// Each of these texts is in the tour's output.
pub(crate) fn assert_said(said: &str, expected: &[&str]) {
    for expected in expected {
        assert!(said.contains(expected), "{expected} is missing from the tour's output:\n{said}");
    }
}
