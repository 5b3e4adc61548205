//! The state hash depends on the journal alone: not on the run, and not on how the program was compiled.

use crate::market::build;
use crate::{BINARY, Run};
use std::path::Path;
use std::process::Command;

/// What `gollem-replay` finds.
fn replayed(dir: &Path) -> String {
    let run = Run::of(Command::new(BINARY).arg("verify").arg(dir).arg("--json").output().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.json()["state_hash"].as_str().unwrap().to_owned()
}

/// What the core finds when it is compiled with that profile. It goes into the folder that this test was built in.
fn compiled_with(profile: &str, dir: &Path) -> String {
    let target = Path::new(BINARY).parent().and_then(Path::parent).unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    // Offline: what another profile needs was fetched for this one.
    cargo.args(["run", "--quiet", "--offline", "--package", "gollem-sequencer", "--example", "state_hash"]);
    cargo.args(["--profile", profile]).arg("--manifest-path").arg(manifest).arg("--target-dir").arg(target);
    let run = Run::of(cargo.arg("--").arg(dir).output().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.stdout.trim().to_owned()
}

#[test]
fn a_journal_gives_the_same_state_hash_in_every_run_and_in_debug_and_release_builds() {
    let dir = tempfile::tempdir().unwrap();
    let expected = build(dir.path(), 5_000).state_hash().to_string();
    for run in 1..=2 {
        assert_eq!(replayed(dir.path()), expected, "run {run}");
    }
    let other = if cfg!(debug_assertions) { "release" } else { "dev" };
    assert_eq!(compiled_with(other, dir.path()), expected, "compiled with the profile {other}");
    let shorter = tempfile::tempdir().unwrap();
    let changed = build(shorter.path(), 4_999).state_hash().to_string();
    assert_ne!(changed, expected, "one input less is another state");
}
