//! What a run of the scoreboard says: a JSON line a check, a table for a terminal, a page for the documentation.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use serde::Serialize;

use super::Check;
use crate::outcome::Outcome;

/// The result of one check.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its row.
    pub check: &'static str,
    /// The commit, with a `+` if the working tree differs from it.
    pub commit: String,
    /// Seed of the first case.
    pub seed: u64,
    /// Processor and cores.
    pub machine: String,
    /// Cases tried.
    pub cases: u64,
    /// Cases that broke the promise.
    pub failures: u64,
    /// Time taken.
    pub seconds: f64,
    /// Why it was not tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

impl Line {
    /// The line of a check that took so long.
    #[must_use]
    pub fn new(check: &Check, seed: u64, outcome: &Outcome, seconds: f64) -> Self {
        Self {
            check: check.row,
            commit: commit(),
            seed,
            machine: machine(),
            cases: outcome.cases,
            failures: outcome.failures.len() as u64,
            seconds: (seconds * 10.0).round() / 10.0,
            skipped: outcome.skipped.clone(),
        }
    }

    fn verdict(&self) -> &'static str {
        match (&self.skipped, self.failures) {
            (Some(_), _) => "skipped",
            (None, 0) => "pass",
            (None, _) => "FAIL",
        }
    }
}

/// The processor's name and how many cores this process may use.
#[must_use]
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    format!("{} x {}", cores, name.map_or(std::env::consts::ARCH, |(_, name)| name.trim()))
}

/// The first line that a program prints; empty if it does not.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

fn commit() -> String {
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"]);
    format!("{}{}", said("git", &["rev-parse", "--short", "HEAD"]), if changed.is_empty() { "" } else { "+" })
}

/// The results as columns.
#[must_use]
pub fn table(lines: &[(Check, Line)]) -> String {
    let mut text = format!("{:>4}  {:>10}  {:>8}  {:>7}  {:<7}  fault\n", "row", "cases", "failures", "seconds", "");
    for (check, line) in lines {
        let Line { cases, failures, seconds, .. } = line;
        let (row, verdict) = (check.row, line.verdict());
        writeln!(text, "{row:>4}  {cases:>10}  {failures:>8}  {seconds:>7.1}  {verdict:<7}  {}", check.fault).ok();
    }
    text
}

/// The page of the documentation.
#[must_use]
pub fn markdown(lines: &[(Check, Line)], full: bool) -> String {
    let (volume, command) = if full { ("full", "make scoreboard-full") } else { ("small", "make scoreboard") };
    let (commit, machine, seed) = lines
        .first()
        .map_or_else(Default::default, |(_, line)| (line.commit.clone(), line.machine.clone(), line.seed.to_string()));
    let date = said("date", &["-u", "+%Y-%m-%d"]);
    let mut text = format!(
        "# Reliability scoreboard\n\n\
         Written by `{command}` on {date}: {volume} volume, commit {commit}, seed {seed}, on {machine}.\n\
         A failing case prints its seed; `gollem-scoreboard --only ROW --seed SEED` begins with it.\n\n\
         | row | what happens | a pass means | cases | failures | seconds | |\n|---|---|---|---|---|---|---|\n"
    );
    for (check, line) in lines {
        let Check { row, fault, promise, unit, .. } = check;
        let Line { cases, failures, seconds, .. } = line;
        let verdict = line.skipped.as_deref().map_or(line.verdict().to_owned(), |why| format!("skipped: {why}"));
        writeln!(text, "| {row} | {fault} | {promise} | {cases} {unit} | {failures} | {seconds:.1} | {verdict} |").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::CHECKS;
    use super::*;

    #[test]
    fn a_line_has_the_keys_of_the_scoreboard_and_says_why_it_was_skipped() {
        let outcome = Outcome { cases: 7, failures: vec!["x".to_owned()], skipped: None };
        let line = Line::new(&CHECKS[0], 3, &outcome, 1.26);
        let json = serde_json::to_value(&line).unwrap();
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["check", "commit", "seed", "machine", "cases", "failures", "seconds"]);
        assert_eq!((&json["cases"], &json["failures"], &json["seconds"]), (&7.into(), &1.into(), &1.3.into()));
        let skipped = Outcome { skipped: Some("no disk".to_owned()), ..Outcome::default() };
        let page = markdown(&[(CHECKS[0], Line::new(&CHECKS[0], 3, &skipped, 0.0))], true);
        assert!(page.contains("| skipped: no disk |"), "{page}");
    }

    #[test]
    fn each_row_has_its_own_number() {
        let mut rows: Vec<&str> = CHECKS.iter().map(|check| check.row).collect();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), CHECKS.len());
    }
}
