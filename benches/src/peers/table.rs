//! All figures of a run as one table.

use super::rivals::BASELINE;
use super::{Group, Row};
use crate::book;
use crate::output::grouped;
use std::fmt::Write;

/// Our engine's name among the rows.
const OURS: &str = "gollem";

/// The table with its footnotes.
pub(super) fn table(groups: &[Group]) -> String {
    let mut table = format!(
        "one book on one pinned thread; ratios of commands a second\n  {:<24}{:>12}{:>8}{:>8}{:>9}{:>14}{:>13}  trades\n",
        "engine", "commands/s", "p50 ns", "p99 ns", "p99.9 ns", "to ec+risk", "gollem to it"
    );
    for group in groups {
        table += &part(group);
    }
    table + &footnotes(groups)
}

/// The rows of one workload.
fn part(group: &Group) -> String {
    let Some(first) = group.rows.first() else { return String::new() };
    let (name, seed) = (&first.measurement.workload, first.measurement.seed);
    let mut text = format!("{name}, seed {seed}, {} commands\n", grouped(first.measurement.commands));
    let find = |name: &str| group.rows.iter().find(|row| row.measurement.engine == name);
    let (baseline, ours) = (find(BASELINE), find(OURS));
    for row in &group.rows {
        let it = &row.measurement;
        let to_baseline = baseline.map_or_else(|| "-".to_owned(), |other| book::ratio(it, &other.measurement));
        let ours_to_it = ours.map_or_else(|| "-".to_owned(), |ours| book::ratio(&ours.measurement, it));
        // Writing to a string does not fail.
        writeln!(
            text,
            "  {:<24}{:>12}{:>8}{:>8}{:>9}{to_baseline:>14}{ours_to_it:>13}  {}",
            it.engine,
            grouped(it.commands_per_s),
            grouped(it.p50_ns),
            grouped(it.p99_ns),
            grouped(it.p999_ns),
            if row.same_trades { "same" } else { "DIFFERENT" },
        )
        .ok();
    }
    for skipped in &group.skipped {
        writeln!(text, "  skipped: {skipped}").ok();
    }
    text
}

/// What is different about engines, each said once.
fn footnotes(groups: &[Group]) -> String {
    let mut notes: Vec<String> = Vec::new();
    for Row { measurement, .. } in groups.iter().flat_map(|group| &group.rows) {
        let note = format!("  {}: {}\n", measurement.engine, measurement.note);
        if !measurement.note.is_empty() && !notes.contains(&note) {
            notes.push(note);
        }
    }
    if notes.is_empty() { String::new() } else { format!("notes\n{}", notes.concat()) }
}
