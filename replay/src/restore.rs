//! `gollem-replay restore`: brings segments back from an archive.

use crate::failure::Failure;
use gollem_journal::Archive;
use std::path::Path;

/// Fetches every segment that the folder lacks. Files that are there are left alone.
///
/// # Errors
/// When the archive or the folder refuses.
pub(crate) fn restore(journal: &Path, from: &str) -> Result<String, Failure> {
    let fetched = Archive::open(from).and_then(|archive| archive.fetch_missing(journal));
    let fetched = fetched.map_err(|error| Failure::Archive(Box::new(error)))?;
    let mut text = String::new();
    for first_seq in &fetched {
        text += &format!("restored the segment that starts at seq {first_seq}\n");
    }
    text += &format!(
        "{} segments restored to {}; verify them before the exchange starts\n",
        fetched.len(),
        journal.display()
    );
    Ok(text)
}
