//! `gollem-replay views`: what the views must be at an input, folded anew from the journal: for holding against
//! `GET /v1/views` of an exchange or of a projector.

use crate::failure::Failure;
use crate::progress::Progress;
use crate::verify::Refusal;
use gollem_engine::Timestamp;
use gollem_journal::ScanOptions;
use gollem_projections::{Fold, Views};
use gollem_sequencer::Replica;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The views at an input.
#[derive(Debug, Serialize)]
pub(crate) struct Hashed {
    /// The input.
    seq: u64,
    /// Hash of everything they hold.
    hash: String,
}

impl Hashed {
    /// For people.
    pub(crate) fn table(&self) -> String {
        format!("seq   {}\nhash  {}\n", self.seq, self.hash)
    }

    /// For programs: one line.
    pub(crate) fn json(&self) -> String {
        crate::report::line(self)
    }
}

/// Folds the journal in the folder `journal` up to input `at`, or to its end, in a temporary folder.
///
/// # Errors
/// The first thing that is wrong with the journal; that it ends before `at`; no room for the temporary folder.
pub(crate) fn views(journal: &Path, at: Option<u64>, progress: &mut Progress) -> Result<Hashed, Failure> {
    let temporary = |source| Failure::Unreadable { action: "make", path: PathBuf::from("a temporary folder"), source };
    let folder = tempfile::tempdir().map_err(temporary)?;
    let views = Views::open(folder.path()).map_err(Failure::Views)?;
    let mut fold = Fold::new(&views).map_err(Failure::Views)?;
    let (mut replica, mut sound_seq) = (Replica::default(), 0);
    let options = ScanOptions { until: at, ..ScanOptions::default() };
    let scanned = gollem_journal::scan(journal, options, &mut |record| -> Result<(), Refusal> {
        let events = replica.apply(&record)?;
        fold.apply(record.seq, Timestamp(record.time_ns), events)?;
        sound_seq = record.seq;
        progress.advance(record.seq);
        Ok(())
    });
    scanned.map_err(|error| Failure::of_scan(error, journal, sound_seq))?;
    if let Some(at) = at.filter(|at| *at != sound_seq) {
        return Err(Failure::NotThere { seq: at, last_seq: sound_seq });
    }
    fold.flush().map_err(Failure::Views)?;
    let (seq, hash) = views.content_hash().map_err(Failure::Views)?;
    Ok(Hashed { seq, hash: hash.to_string() })
}
