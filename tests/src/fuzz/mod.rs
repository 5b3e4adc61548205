//! Fuzzing of everything in this process that reads bytes from outside it: commands, the journal, snapshots, tree heads and
//! the events in Kafka. What comes over sockets is fuzzed through sockets (`real::bodies`, `real::frames`).
//!
//! # What it holds
//!
//! | module | idea |
//! |---|---|
//! | `inputs` | sound input, made by the real encoders from commands around the corners of the rules |
//! | `ways` | the ways in: one change or several, then whatever reads it |
//! | `seals` | checksums made right again, so that a change gets past them |
//!
//! # How it runs
//!
//! A case is its seed: which way in, which input, which changes. Sound input is made for [`CASES_TOGETHER`] seeds at a
//! time, by the seed alone.
//!
//! The cases run in a process of their own, which writes down which it tries. So whatever ends that process names its
//! case: a panic is caught there; a case that takes longer than [`PATIENCE`] is tried again, since the machine may have been
//! away, and told; one that does not end is seen from here; and a process that may take [`MEMORY_BYTES_MAX`] more than it
//! began with, for everything, is ended by an allocation of more, as by a stack that overflows.

mod inputs;
mod seals;
mod ways;

use crate::outcome::Outcome;
use crate::scoreboard::Run;
use gollem_journal::sim::Random;
use inputs::Inputs;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use std::cell::OnceCell;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Cases that share their sound input, and a process.
const CASES_TOGETHER: u64 = 1 << 18;
/// The longest a case may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// After this a case does not end.
const HANGS: Duration = Duration::from_secs(20);
/// What all cases of a process may take together, beside what it began with.
const MEMORY_BYTES_MAX: u64 = 64 << 20;
/// What the stack of a thread counts for, whatever is used of it.
const STACK_BYTES: u64 = 2 << 20;
/// Names the file in which a process writes down which cases it tries: eight bytes a thread.
const TRIED: &str = "GOLLEM_FUZZED";

/// Runs the cases.
pub(crate) fn run(run: &Run) -> Outcome {
    let ended = match env::var_os(TRIED) {
        Some(tried) => work(run, Path::new(&tried)),
        None => Ok(watch_all(run)),
    };
    ended.unwrap_or_else(|why| Outcome { failures: vec![why], ..Outcome::default() })
}

/// One process after another, until there were enough cases or one failed.
fn watch_all(run: &Run) -> Outcome {
    let mut outcome = Outcome::default();
    while outcome.cases < run.cases && outcome.failures.is_empty() {
        let seed = run.seed + outcome.cases;
        let cases = (run.cases - outcome.cases).min(CASES_TOGETHER - seed % CASES_TOGETHER);
        match watch(&Run { seed, cases, ..*run }) {
            Ok(told) if told.cases == 0 => outcome.failures.push("the process tried nothing".to_owned()),
            Ok(told) => {
                outcome.cases += told.cases;
                outcome.failures.extend(told.failures);
            }
            Err(why) => outcome.failures.push(why),
        }
    }
    outcome
}

/// This program once more, with so many cases.
fn watch(run: &Run) -> Result<Outcome, String> {
    let failed = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let folder = tempfile::tempdir().map_err(failed("a folder"))?;
    let (tried, log) = (folder.path().join("tried"), folder.path().join("log"));
    let mut command = Command::new(env::current_exe().map_err(failed("finding this program"))?);
    command.args(["--only", run.row, "--seed", &run.seed.to_string(), "--cases", &run.cases.to_string()]);
    // Reading the program's symbols for a backtrace takes memory that is not the case's.
    command.env(TRIED, &tried).env("RUST_BACKTRACE", "0").stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(File::create(&log).map_err(failed("a log"))?);
    let mut child = command.spawn().map_err(failed("starting this program"))?;
    let stdout = child.stdout.take().ok_or("it has no standard output")?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
    });
    let (mut before, mut cases) = (Vec::new(), 0);
    loop {
        match lines.recv_timeout(HANGS) {
            Ok(line) => {
                let told: Option<Value> = serde_json::from_str(&line).ok();
                cases = told.and_then(|told| told["cases"].as_u64()).unwrap_or(cases);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let now = under_way(&tried);
                if let Some(seed) = before.iter().find(|seed| now.contains(seed)) {
                    child.kill().and_then(|()| child.wait()).map_err(failed("ending it"))?;
                    return Err(format!("a case does not end; repeat with --only {} --seed {seed} --cases 1", run.row));
                }
                before = now;
            }
        }
    }
    let status = child.wait().map_err(failed("waiting for it"))?;
    let log = fs::read_to_string(&log).map_err(failed("reading its log"))?;
    let marker = format!("row {} FAILED: ", run.row);
    let failures: Vec<String> = log.lines().filter_map(|line| line.strip_prefix(&marker)).map(str::to_owned).collect();
    match (status.code(), failures.is_empty()) {
        (Some(0), true) => Ok(Outcome { cases, failures, skipped: None }),
        (Some(1), false) => Ok(Outcome { cases, failures, skipped: None }),
        _ => {
            let seeds: Vec<String> = under_way(&tried).iter().map(u64::to_string).collect();
            let how = status.signal().map_or(status.to_string(), |signal| format!("signal {signal}"));
            let mut said = log.lines().filter(|line| !line.starts_with("row ") && !line.starts_with("note: "));
            let last = said.next_back().unwrap_or_default();
            let repeat = format!("repeat with --only {} --cases 1 --seed {}", run.row, seeds.join(" or "));
            Err(format!("a case ends the process by {how}: {last}; {repeat}"))
        }
    }
}

/// The cases that the process was at.
fn under_way(tried: &Path) -> Vec<u64> {
    let bytes = fs::read(tried).unwrap_or_default();
    bytes.as_chunks().0.iter().map(|seed| u64::from_le_bytes(*seed)).filter(|seed| *seed > 0).collect()
}

/// Tries the cases in this process.
fn work(run: &Run, tried: &Path) -> Result<Outcome, String> {
    let together = run.seed / CASES_TOGETHER;
    let inputs = Inputs::make(together)?;
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let views = (0..threads).map(|_| inputs.views()).collect::<Result<Vec<_>, _>>()?;
    let tried = File::create(tried).map_err(|error| format!("writing down what is tried: {error}"))?;
    limit_memory(threads as u64 * STACK_BYTES)?;
    thread_local!(static THREAD: OnceCell<usize> = const { OnceCell::new() });
    let next = AtomicUsize::new(0);
    Ok(run.each(|seed| {
        if seed / CASES_TOGETHER != together {
            return Ok(0);
        }
        let thread = THREAD.with(|thread| *thread.get_or_init(|| next.fetch_add(1, Ordering::Relaxed)));
        let noted = tried.write_all_at(&seed.to_le_bytes(), 8 * thread as u64);
        noted.map_err(|error| format!("writing down what is tried: {error}"))?;
        in_time(|| ways::try_one(&inputs, &views[thread], &mut Random(seed)))?;
        Ok(1)
    }))
}

/// Fails what takes too long twice.
fn in_time(case: impl Fn() -> Result<(), String>) -> Result<(), String> {
    let mut took = [Duration::ZERO; 2];
    for took in &mut took {
        let since = Instant::now();
        case()?;
        *took = since.elapsed();
        if *took <= PATIENCE {
            return Ok(());
        }
    }
    Err(format!("takes {took:?}"))
}

/// Lets this process have that much more memory than it has, beside what the cases may take.
fn limit_memory(more_bytes: u64) -> Result<(), String> {
    let status = fs::read_to_string("/proc/self/status").map_err(|error| format!("reading its size: {error}"))?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmData:")?.trim().strip_suffix(" kB"));
    let kib: u64 = size.and_then(|size| size.trim().parse().ok()).ok_or("the system tells no size")?;
    let limit = Rlimit { current: Some(kib * 1024 + more_bytes + MEMORY_BYTES_MAX), ..getrlimit(Resource::Data) };
    setrlimit(Resource::Data, limit).map_err(|error| format!("limiting its memory: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_that_takes_long_once_is_the_machine_and_twice_is_the_case() {
        assert_eq!(in_time(|| Ok(())), Ok(()));
        let slow = |times: u32| {
            let calls = std::cell::Cell::new(0);
            in_time(|| {
                calls.set(calls.get() + 1);
                let until = Instant::now() + PATIENCE;
                while calls.get() <= times && Instant::now() <= until {}
                Ok(())
            })
        };
        assert_eq!(slow(1), Ok(()));
        assert!(slow(2).is_err_and(|why| why.starts_with("takes ")));
    }

    #[test]
    fn the_cases_under_way_are_those_written_down() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tried");
        assert_eq!(under_way(&path), Vec::<u64>::new());
        fs::write(&path, [7_u64.to_le_bytes(), 0_u64.to_le_bytes(), 9_u64.to_le_bytes()].concat()).unwrap();
        assert_eq!(under_way(&path), vec![7_u64, 9]);
    }

    #[test]
    fn a_thousand_cases_pass_here() {
        let inputs = Inputs::make(0).unwrap();
        let views = inputs.views().unwrap();
        for seed in 0..1_000 {
            ways::try_one(&inputs, &views, &mut Random(seed)).unwrap_or_else(|why| panic!("{seed}: {why}"));
        }
    }
}
