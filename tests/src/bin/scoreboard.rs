//! `gollem-scoreboard`: runs the checks of the reliability scoreboard. One JSON line a check on the standard output, then
//! the table; progress and failures on the standard error. The exit status is 1 if any case failed, 2 for wrong usage.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use clap::Parser;
use gollem_tests::scoreboard::{CHECKS, Check, Line, Run, markdown, table};

const KEEPS_MEMORY: [&str; 2] = ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"];

/// Runs the checks of the reliability scoreboard.
#[derive(Debug, Parser)]
struct Arguments {
    /// The volume for a release instead of the one for a change.
    #[arg(long)]
    full: bool,
    /// Seed of the first case; the time of day if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Rows to run, all if none is given.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How many cases each row tries at least, instead of its volume.
    #[arg(long)]
    cases: Option<u64>,
    /// Where the JSON lines are written as well.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where the page of the documentation is written.
    #[arg(long)]
    markdown: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    keep_memory()?;
    let known: BTreeSet<&str> = CHECKS.iter().map(|check| check.row).collect();
    for row in &arguments.only {
        ensure!(known.contains(row.as_str()), "there is no row {row}; the rows are {known:?}");
    }
    let seed = arguments.seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs() * 1_000 % (1 << 32))
    });
    let wanted = |check: &&Check| arguments.only.is_empty() || arguments.only.iter().any(|row| row == check.row);
    let mut lines = Vec::new();
    for check in CHECKS.iter().filter(wanted) {
        lines.push((*check, run(check, &arguments, seed)?));
    }
    if let Some(path) = &arguments.json {
        let json: String =
            lines.iter().map(|(_, line)| Ok(serde_json::to_string(line)? + "\n")).collect::<anyhow::Result<_>>()?;
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &arguments.markdown {
        let page = markdown(&lines, arguments.full);
        fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    write!(io::stdout(), "\n{}", table(&lines))?;
    let failed = lines.iter().filter(|(_, line)| line.failures > 0).count();
    let skipped = lines.iter().filter(|(_, line)| line.skipped.is_some()).count();
    writeln!(
        io::stdout(),
        "\nscoreboard: {} passed, {failed} failed, {skipped} skipped",
        lines.len() - failed - skipped
    )?;
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// Starts this program again with an allocator (glibc's) that keeps what was freed: the simulated disks are copied
/// hundreds of thousands of times, and fetching their memory from the system each time takes most of the time.
fn keep_memory() -> anyhow::Result<()> {
    let kept = (1_u64 << 30).to_string();
    if env::var_os(KEEPS_MEMORY[0]).is_some() {
        return Ok(());
    }
    let mut again = Command::new(env::current_exe()?);
    let error = again.args(env::args_os().skip(1)).envs(KEEPS_MEMORY.map(|name| (name, &kept))).exec();
    Err(error).context("cannot start again")
}

fn run(check: &Check, arguments: &Arguments, seed: u64) -> anyhow::Result<Line> {
    let Check { row, fault, .. } = check;
    let cases = arguments.cases.unwrap_or(if arguments.full { check.cases_full } else { check.cases_pr });
    writeln!(io::stderr(), "row {row}: {fault} ({cases} {}) ...", check.unit)?;
    let began = Instant::now();
    let outcome = (check.run)(&Run { row, seed, cases, full: arguments.full });
    let line = Line::new(check, seed, &outcome, began.elapsed().as_secs_f64());
    for failure in &outcome.failures {
        writeln!(io::stderr(), "row {row} FAILED: {failure}")?;
    }
    if let Some(why) = &outcome.skipped {
        writeln!(io::stderr(), "row {row} skipped: {why}")?;
    }
    writeln!(io::stdout(), "{}", serde_json::to_string(&line)?)?;
    Ok(line)
}
