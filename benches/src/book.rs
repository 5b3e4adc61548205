//! `gollem-bench engine --workload FILE`: the engines of this process over an order file, side by side.

use crate::bare::Bare;
use crate::gollem::Gollem;
use crate::measure::{self, Measurement, Passes, Plan, Subject};
use crate::output::{self, grouped};
use crate::workload::Work;
use std::path::Path;

/// The engines that run in this process. The last one is the ceiling the others are compared with.
pub(crate) fn subjects() -> Vec<Passes> {
    vec![Passes::of::<Gollem>(), Passes::of::<Bare>()]
}

/// Measures all subjects over the files and returns what to print.
///
/// # Errors
/// When a file cannot be used, or a subject does not trade what its file says.
pub(crate) fn run(files: &[impl AsRef<Path>], plan: Plan, json: bool) -> anyhow::Result<String> {
    let mut text = String::new();
    for file in files {
        let work = Work::read(file.as_ref())?;
        let measurements = measure::measure(&subjects(), &name(file.as_ref()), &work, plan)?;
        if json {
            for measurement in &measurements {
                text += &output::line(measurement)?;
            }
        } else {
            text += &table(&measurements, &work, plan);
        }
    }
    Ok(text)
}

/// A workload's name is that of its file, without the ending.
pub(crate) fn name(file: &Path) -> String {
    file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

fn table(measurements: &[Measurement], work: &Work, plan: Plan) -> String {
    let Some(first) = measurements.first() else { return String::new() };
    let (commands, seed) = (grouped(first.commands), first.seed);
    let mut table = format!("one book, one pinned thread: {}, seed {seed}, {commands} commands\n", first.workload);
    table += &format!(
        "  {:<12}{:>14}{:>14}{:>8}{:>8}{:>8}{:>12}\n",
        "engine", "commands/s", "best", "p50 ns", "p99 ns", "p99.9", "to bare"
    );
    let bare = measurements.iter().find(|measurement| measurement.engine == Bare::NAME);
    for measurement in measurements {
        let share = bare.map_or_else(String::new, |bare| ratio(measurement, bare));
        table += &format!(
            "  {:<12}{:>14}{:>14}{:>8}{:>8}{:>8}{share:>12}\n",
            measurement.engine,
            grouped(measurement.commands_per_s),
            grouped(measurement.best_commands_per_s),
            grouped(measurement.p50_ns),
            grouped(measurement.p99_ns),
            grouped(measurement.p999_ns),
        );
    }
    let passes = format!("median and best of {}; times the best of {}", plan.repetitions, plan.latency_passes);
    table += &output::row("passes", format!("{passes}, the clock's {} ns subtracted", first.clock_ns));
    let answer = work.header.answer;
    table + &output::row("trades", format!("{}, all as the file says", grouped(answer.trades)))
}

/// How many times as many commands a second.
pub(crate) fn ratio(measurement: &Measurement, other: &Measurement) -> String {
    format!("{:.2}x", measurement.commands_per_s as f64 / other.commands_per_s.max(1) as f64)
}
