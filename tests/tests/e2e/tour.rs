//! The README's tour works as printed: its shell blocks are run by bash, in order, and end with a sound journal.
//!
//! Only the addresses, the data folder and the folder of the binaries are changed, so that it can run beside others.

use crate::support::process::binary;
use crate::support::skipped;
use std::net::TcpListener;
use std::process::Command;

const README: &str = include_str!("../../../README.md");

/// The shell blocks of one section.
fn blocks(section: &str) -> String {
    let (_, rest) = README.split_once(&format!("## {section}\n")).expect("the section exists");
    let section = rest.split_once("\n## ").map_or(rest, |(section, _)| section);
    let fenced = section.split("```sh\n").skip(1).map(|block| block.split_once("```").expect("a closed block").0);
    fenced.collect::<Vec<_>>().join("\n")
}

/// A port that was free a moment ago.
fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

#[test]
fn the_tour_in_the_readme_works_as_printed() {
    if Command::new("curl").arg("--version").output().is_err() {
        return skipped("the tour needs curl");
    }
    let folder = tempfile::tempdir().unwrap();
    let binaries = binary("gollem").parent().unwrap().to_owned();
    let script = blocks("A tour in five minutes")
        .replace("./target/release", binaries.to_str().unwrap())
        .replace("8080", &free_port())
        .replace("9101", &free_port())
        .replace("tour-data", folder.path().join("tour-data").to_str().unwrap());
    // Whatever happens, nothing of the tour outlives it.
    let script = format!("set -e -o pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}");
    let output = Command::new("bash").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let told = format!("{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    for expected in [
        "\"status\":\"ok\"",
        "\"symbol\":\"llama-3.1-8b\"",
        "\"endpoint\":\"http://127.0.0.1:",
        "\"status\":\"open\"",
        "\"asks\":[{\"price\":\"0.00135000\",\"quantity\":1000000,\"orders\":1}]",
        "\"credits\":\"10000.00000000\"",
        "\"finish_reason\":\"length\"",
        "data: [DONE]",
        "\"escrow\":\"0.00000000\"",
        "\"kind\":\"delivery\"",
        "sound",
    ] {
        assert!(said.contains(expected), "{expected} is missing from the tour's output:\n{told}");
    }
    assert!(!said.contains("\"error\""), "{told}");
}
