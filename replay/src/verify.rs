//! Reads the journal from its first input to its last, applies each to a second engine and checks what came of it. Where
//! the first segments were dropped, after they were archived, it begins from the oldest snapshot that can be used.
//!
//! The journal's own checks (checksums, chain, sequence, order in time, torn or corrupt) are those of
//! [`gollem_journal::scan`], which gives only records that passed them. Added here: each record is a command, and the
//! ledger sums to zero. So no input that reaches the engine is out of order, and a panic of the engine is a bug of the
//! engine, not damage: it is not caught.

use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::Report;
use gollem_engine::Capacity;
use gollem_journal::{FileStorage, Position, ScanOptions, SnapshotStore, segments, starts_in};
use gollem_sequencer::{ReplayError, Replica, restore};
use std::io;
use std::path::Path;
use std::time::Instant;
use thiserror::Error;

/// Inputs between two checks of the ledger's sum, which visits every account.
const LEDGER_CHECK_INPUTS: u64 = 10_000;

/// Why an input whose bytes are whole was refused.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    /// Its bytes mean nothing to this version.
    #[error(transparent)]
    NotACommand(#[from] ReplayError),
    /// The views cannot be written.
    #[error(transparent)]
    Views(#[from] gollem_projections::StoreError),
    /// Money was made or lost.
    #[error("the ledger sums to {sum} atoms after seq {seq}, it was zero after seq {zero_seq}")]
    LedgerSum { sum: i128, seq: u64, zero_seq: u64 },
}

/// Rebuilds the state from the journal in the folder `journal`.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn verify(journal: &Path, progress: &mut Progress) -> Result<Report, Failure> {
    let started = Instant::now();
    let (mut replica, after) = beginning(journal)?;
    let (mut sound_seq, mut zero_seq, mut first_time_ns) = (after.seq, after.seq, None);
    let options = ScanOptions { after, ..ScanOptions::default() };
    let scanned = gollem_journal::scan(journal, options, &mut |record| {
        replica.apply(&record)?;
        first_time_ns.get_or_insert(record.time_ns);
        if record.seq.is_multiple_of(LEDGER_CHECK_INPUTS) {
            check_sum(replica.engine().ledger_sum(), record.seq, zero_seq)?;
            zero_seq = record.seq;
        }
        sound_seq = record.seq;
        progress.advance(record.seq);
        Ok(())
    });
    // A wrong sum is the older trouble, so it is looked for even where the bytes end in damage.
    check_sum(replica.engine().ledger_sum(), replica.engine().last_seq(), zero_seq)
        .map_err(|refusal| Failure::of_refusal(&refusal, journal, zero_seq))?;
    let scanned = scanned.map_err(|error| Failure::of_scan(error, journal, sound_seq))?;
    Ok(Report::new(after.seq, &scanned, first_time_ns, &replica, started.elapsed()))
}

/// Where the journal can be read from, and the state there.
pub(crate) fn beginning(journal: &Path) -> Result<(Replica, Position), Failure> {
    let unreadable = |source| Failure::Unreadable { action: "look at", path: journal.to_path_buf(), source };
    let storage = FileStorage::new(journal);
    let whole = (Replica::default(), Position::START);
    // What is wrong with the names of the segments is told by who reads them.
    if segments(&storage).ok().and_then(|segments| Some(segments.first()?.first_seq)).is_none_or(|first| first == 1) {
        return Ok(whole);
    }
    let starts = starts_in(&storage).map_err(|error| unreadable(io::Error::other(error)))?;
    let Some(oldest) = starts.candidates.last() else {
        return Ok(whole); // The reader says what is missing.
    };
    let restored = restore(&SnapshotStore::new(storage), &starts, oldest.position.seq, Capacity::default);
    Ok((restored.replica, restored.position))
}

/// Refuses a ledger that does not sum to zero.
fn check_sum(sum: i128, seq: u64, zero_seq: u64) -> Result<(), Refusal> {
    if sum == 0 { Ok(()) } else { Err(Refusal::LedgerSum { sum, seq, zero_seq }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_does_not_sum_to_zero_is_refused_with_the_inputs_it_went_wrong_between() {
        assert!(check_sum(0, 20_000, 10_000).is_ok());
        for sum in [1, -1, i128::MAX, i128::MIN] {
            let refusal = check_sum(sum, 20_000, 10_000).unwrap_err();
            let words = format!("the ledger sums to {sum} atoms after seq 20000, it was zero after seq 10000");
            assert_eq!(refusal.to_string(), words);
            let failure = Failure::of_refusal(&refusal, Path::new("none"), 10_000);
            assert_eq!(failure.exit_code(), 1);
            assert!(failure.words().contains("stop the exchange"), "{}", failure.words());
        }
    }
}
