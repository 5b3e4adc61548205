//! Row 25, check the checks: a bug is planted and the row that is there for it must fail.
//!
//! The program itself holds no trace of this. The files of the working tree are copied below the target folder; there
//! each text of [`BUGS`] becomes `if planted(name) { bug } else { text }`, so one build holds all bugs and an
//! environment variable switches one on. First the scoreboard of the copy runs without a bug and must pass; then each
//! bug's row runs with it and must fail.
//!
//! A text that is not found exactly once is a failure: the code has moved on, and the bug has to move along.

mod bugs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bugs::{BUGS, Bug};

use super::{CHECKS, Check, Run};
use crate::outcome::Outcome;
use crate::target::Target;

/// How many bugs there are.
pub(crate) const COUNT: u64 = BUGS.len() as u64;
/// The copy's scoreboard, and where it gets its name.
const PROGRAM: &str = "gollem-scoreboard-with-bugs";
const MANIFEST: &str = "tests/Cargo.toml";
/// Switches a bug on.
const SWITCH: &str = "GOLLEM_PLANTED";
/// A run that takes longer hangs: none takes a tenth of it on an idle machine.
const RUN_SECONDS: &str = "180";
/// What the crates of the copy look at, once.
const LOOK: &str = r#"
/// Whether this bug is switched on.
pub(crate) fn planted(bug: &str) -> bool {
    static ON: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    ON.get_or_init(|| std::env::var("GOLLEM_PLANTED").ok()).as_deref() == Some(bug)
}
"#;

pub(crate) fn run(run: &Run) -> Outcome {
    let missing = [("git", "--version"), ("cargo", "--version"), ("timeout", "--version")].into_iter().find(
        |(program, argument)| !said(Command::new(program).arg(argument)).is_ok_and(|output| output.status.success()),
    );
    if let Some((program, _)) = missing {
        return Outcome { skipped: Some(format!("{program} is not there to build a copy")), ..Outcome::default() };
    }
    let mut outcome = Outcome::default();
    if let Err(failures) = plant_all(run, &mut outcome) {
        outcome.failures.extend(failures);
    }
    outcome
}

/// One run of a row on the copy.
struct Trial<'a> {
    program: &'a Path,
    check: &'a Check,
    seed: u64,
    bug: Option<&'a str>,
}

fn plant_all(run: &Run, outcome: &mut Outcome) -> Result<(), Vec<String>> {
    let one = |what: String| vec![what];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or_else(|| one("no workspace".to_owned()))?;
    let target = Target::of_this_program().map_err(one)?;
    let copy = target.folder().join("planted");
    let moved: Vec<String> = BUGS.iter().filter_map(|bug| bug.check(root).err()).collect();
    if !moved.is_empty() {
        return Err(moved);
    }
    copy_tree(root, &copy).map_err(one)?;
    let program = compile(&target, &copy).map_err(one)?;
    for check in CHECKS.iter().filter(|check| BUGS.iter().any(|bug| bug.row == check.row)) {
        let trial = Trial { program: &program, check, seed: run.seed, bug: None };
        trial.passes().map_err(|what| one(format!("the copy fails without a bug: {what}")))?;
    }
    for (bug, check) in
        BUGS.iter().flat_map(|bug| CHECKS.iter().find(|check| check.row == bug.row).map(|check| (bug, check)))
    {
        outcome.cases += 1;
        let trial = Trial { program: &program, check, seed: run.seed, bug: Some(bug.name) };
        if let Err(what) = trial.fails() {
            outcome.failures.push(format!("{}: row {} {what}", bug.name, bug.row));
        }
    }
    Ok(())
}

impl Trial<'_> {
    fn run(&self) -> Result<Output, String> {
        let small = self.check.cases_pr;
        // A row with a bug ends at its first failures, so that chance is given more cases at no cost.
        let cases = if self.bug.is_some() { 4 * small } else { small.div_ceil(4) };
        let mut command = Command::new("timeout");
        command.arg(RUN_SECONDS).arg(self.program).args(["--only", self.check.row]);
        command.args(["--seed", &self.seed.to_string(), "--cases", &cases.to_string()]);
        match self.bug {
            Some(bug) => command.env(SWITCH, bug),
            None => command.env_remove(SWITCH),
        };
        said(&mut command)
    }

    fn passes(&self) -> Result<(), String> {
        let output = self.run()?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    /// It ends by itself and reports failures: a crash or a hang is not a check that found something.
    fn fails(&self) -> Result<(), String> {
        let output = self.run()?;
        let found = String::from_utf8_lossy(&output.stderr).contains("FAILED: ");
        match output.status.code() {
            Some(1) if found => Ok(()),
            Some(0) => Err("does not find it".to_owned()),
            code => Err(format!("ends with {code:?} and reports no failure")),
        }
    }
}

fn said(command: &mut Command) -> Result<Output, String> {
    command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?} does not start: {error}"))
}

/// Copies the files that git knows or would know; what has not changed keeps its time, so that it is not built again.
fn copy_tree(root: &Path, copy: &Path) -> Result<(), String> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = said(Command::new("git").current_dir(root).args(list))?;
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let fail = |path: &Path, error: std::io::Error| format!("cannot copy {}: {error}", path.display());
    // Where this machine's libraries are, which git does not know.
    for name in names.split('\0').filter(|name| !name.is_empty()).chain([".cargo/config.toml"]) {
        let (from, to) = (root.join(name), copy.join(name));
        // Deleted in the working tree, or a link.
        if !from.is_file() {
            continue;
        }
        let mut bytes = fs::read(&from).map_err(|error| fail(&from, error))?;
        if name.ends_with(".rs") {
            bytes = plant(name, &String::from_utf8_lossy(&bytes)).into_bytes();
        } else if name == MANIFEST {
            bytes = String::from_utf8_lossy(&bytes).replacen("gollem-scoreboard", PROGRAM, 1).into_bytes();
        } else if ["Cargo.toml", "Cargo.lock"].contains(&name) {
            bytes = renumber(&String::from_utf8_lossy(&bytes)).into_bytes();
        }
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        fs::create_dir_all(to.parent().unwrap_or(copy)).map_err(|error| fail(&to, error))?;
        fs::write(&to, bytes).map_err(|error| fail(&to, error))?;
    }
    Ok(())
}

/// Gives the workspace's packages, in its manifest or its lock file, a version of their own. Without it cargo would take
/// what it built of the copy for what it built of the original, and programs with bugs would lie where others belong.
fn renumber(text: &str) -> String {
    const OWN: &str = concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"");
    const PLANTED: &str = concat!("version = \"", env!("CARGO_PKG_VERSION"), "-planted\"");
    let renumbered = |part: &str| {
        let is_ours = part.starts_with("[workspace]") || part.starts_with("\nname = \"gollem-");
        if is_ours { part.replacen(OWN, PLANTED, 1) } else { part.to_owned() }
    };
    text.split("[[package]]").map(renumbered).collect::<Vec<_>>().join("[[package]]")
}

/// The text of a file with its bugs, each behind its switch.
fn plant(name: &str, text: &str) -> String {
    let mut planted = text.to_owned();
    for Bug { name, original, bug, .. } in BUGS.iter().filter(|bug| bug.file == name) {
        let switched = format!("{{ if crate::planted(\"{name}\") {{ {bug} }} else {{ {original} }} }}");
        planted = planted.replacen(original, &switched, 1);
    }
    let has_bugs = |folder: &str| BUGS.iter().any(|bug| bug.file.starts_with(folder));
    if name.strip_suffix("lib.rs").is_some_and(has_bugs) {
        planted.push_str(LOOK);
    }
    planted
}

impl Bug {
    /// Its text is in the code, once.
    fn check(&self, root: &Path) -> Result<(), String> {
        let text = fs::read_to_string(root.join(self.file)).unwrap_or_default();
        let found = text.matches(self.original).count();
        let known = CHECKS.iter().any(|check| check.row == self.row);
        match (found, known) {
            (1, true) => Ok(()),
            (1, false) => Err(format!("{}: there is no row {}", self.name, self.row)),
            _ => Err(format!("{}: its text is found {found} times in {}: {}", self.name, self.file, self.original)),
        }
    }
}

/// Builds the copy's scoreboard beside this program, for whose dependencies both are built once.
fn compile(target: &Target, copy: &Path) -> Result<PathBuf, String> {
    target.build(copy, &["--quiet", "--package", "gollem-tests", "--bin", PROGRAM])?;
    Ok(target.programs().join(PROGRAM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_planted_bug_has_its_text_in_the_code_and_a_name_of_its_own() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let moved: Vec<String> = BUGS.iter().filter_map(|bug| bug.check(root).err()).collect();
        assert_eq!(moved, Vec::<String>::new());
        let names: BTreeSet<&str> = BUGS.iter().map(|bug| bug.name).collect();
        assert_eq!(names.len(), BUGS.len());
        assert!(BUGS.len() >= 20, "the scoreboard promises twenty");
    }

    #[test]
    fn only_the_workspace_s_own_packages_have_another_version_in_the_copy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for name in ["Cargo.toml", "Cargo.lock"] {
            let text = fs::read_to_string(root.join(name)).unwrap();
            let changed = renumber(&text);
            let lines: Vec<(&str, &str)> = text.lines().zip(changed.lines()).filter(|(was, is)| was != is).collect();
            assert!(lines.iter().all(|(_, is)| is.ends_with("-planted\"")), "{lines:?}");
            let members = text.matches("\nname = \"gollem-").count().max(1);
            assert_eq!(lines.len(), members, "{name}: {lines:?}");
        }
    }

    #[test]
    fn a_bug_is_planted_behind_its_switch_and_other_text_stays() {
        let Bug { file, original, bug, name, .. } = &BUGS[0];
        let text = format!("before {original} after");
        let expected = format!("before {{ if crate::planted(\"{name}\") {{ {bug} }} else {{ {original} }} }} after");
        assert_eq!(plant(file, &text), expected);
        assert_eq!(plant("gateway/src/lib.rs", "untouched"), "untouched");
    }
}
