//! What the views must be, by the auditor's own folding of the journal.

use crate::market::{THREE_SEGMENTS, build};
use crate::{replay, text};
use gollem_engine::Timestamp;
use gollem_journal::ScanOptions;
use gollem_projections::{Fold, Views};
use gollem_sequencer::Replica;
use serde_json::json;
use std::convert::Infallible;
use std::path::Path;

/// The hash at an input, written after each single input.
fn hash_at(journal: &Path, until: u64) -> String {
    let folder = tempfile::tempdir().unwrap();
    let views = Views::open(folder.path()).unwrap();
    let (mut fold, mut replica) = (Fold::new(&views).unwrap(), Replica::default());
    let options = ScanOptions { until: Some(until), ..ScanOptions::default() };
    let scanned = gollem_journal::scan(journal, options, &mut |record| -> Result<(), Infallible> {
        let events = replica.apply(&record).unwrap();
        fold.apply(record.seq, Timestamp(record.time_ns), events).unwrap();
        fold.flush().unwrap();
        Ok(())
    });
    scanned.unwrap();
    views.content_hash().unwrap().1.to_string()
}

#[test]
fn the_hash_of_views_at_any_input_is_that_of_views_folded_one_input_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let last = build(&journal, THREE_SEGMENTS).last_seq();
    let mut seen = Vec::new();
    for at in [1, 777, 5_000] {
        let run = replay(&["views", text(dir.path()), "--at", &at.to_string(), "--json"]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        assert_eq!(run.json(), json!({ "seq": at, "hash": hash_at(&journal, at) }));
        seen.push(run.json()["hash"].clone());
    }
    assert!(seen[0] != seen[1] && seen[1] != seen[2], "the views change: {seen:?}");
    let whole = replay(&["views", text(&journal)]);
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    assert!(whole.stdout.starts_with(&format!("seq   {last}\nhash  ")), "{}", whole.stdout);
}

#[test]
fn an_input_beyond_the_end_is_no_input() {
    let dir = tempfile::tempdir().unwrap();
    let last = build(&dir.path().join("journal"), 10).last_seq();
    let run = replay(&["views", text(dir.path()), "--at", &(last + 1).to_string()]);
    assert_eq!(run.code, 2);
    let expected = format!("input {} is not in the journal, which ends at input {last}", last + 1);
    assert!(run.stderr.contains(&expected), "{}", run.stderr);
}
