//! The state hash depends on the journal alone: not on the run, and not on how the program was compiled.

use crate::market::build;
use crate::{BINARY, Run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `gollem-replay` of that profile: the one beside this test, or built now. It goes into the folder that this test was
/// built in and takes the features of the whole workspace, so after a build of the workspace nothing is left to do.
fn binary(profile: &str) -> PathBuf {
    let beside = Path::new(BINARY);
    let target = beside.parent().and_then(Path::parent).unwrap();
    let wanted = target.join(profile).join("gollem-replay");
    if wanted == beside {
        return wanted;
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    // Offline: what another profile needs was fetched for this one.
    cargo.args(["build", "--quiet", "--offline", "--workspace", "--bin", "gollem-replay", "--manifest-path"]);
    cargo.arg(manifest).arg("--target-dir").arg(target);
    if profile == "release" {
        cargo.arg("--release");
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wanted
}

fn state_hash(binary: &Path, dir: &Path) -> String {
    let run = Run::of(Command::new(binary).arg("verify").arg(dir).arg("--json").output().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.json()["state_hash"].as_str().unwrap().to_owned()
}

#[test]
fn a_journal_gives_the_same_state_hash_in_every_run_and_in_debug_and_release_builds() {
    let dir = tempfile::tempdir().unwrap();
    let expected = build(dir.path(), 5_000).state_hash().to_string();
    for profile in ["debug", "debug", "release"] {
        let binary = binary(profile);
        assert_eq!(state_hash(&binary, dir.path()), expected, "{}", binary.display());
    }
    let other = tempfile::tempdir().unwrap();
    let changed = build(other.path(), 4_999).state_hash().to_string();
    assert_ne!(changed, expected, "one input less is another state");
}
