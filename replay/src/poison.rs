//! `gollem-replay poison`: the input that stopped an exchange, for people; and going on without it.

use crate::failure::Failure;
use gollem_journal::FileStorage;
use gollem_sequencer::{POISON_NAME, Poison};
use std::fs;
use std::path::Path;

/// Shows the note in the journal's folder, and removes it if it may and shall be removed.
///
/// # Errors
/// When the folder cannot be read, or the input cannot be discarded.
pub(crate) fn poison(journal: &Path, discard: bool) -> Result<String, Failure> {
    let path = journal.join(POISON_NAME);
    let unreadable = |action| {
        let path = path.clone();
        move |source| Failure::Unreadable { action, path, source }
    };
    let Some(poison) = Poison::read(&FileStorage::new(journal)).map_err(unreadable("read"))? else {
        return Ok(format!("no input has stopped the exchange in {}\n", journal.display()));
    };
    let command = poison.command();
    let command = command.map_or_else(|| "not a command of this version".to_owned(), |command| format!("{command:?}"));
    let mut text = format!(
        "input    {}\ntime     {} ns\npanic    {}\ncommand  {command}\n",
        poison.seq, poison.time_ns, poison.message
    );
    if poison.durable {
        text += "durable  yes: the journal cannot be replayed beyond the input before it. Repair the engine, then remove \
            the note and start\n";
        if discard {
            return Err(Failure::CannotDiscard { seq: poison.seq });
        }
        return Ok(text);
    }
    text += "durable  no: it took no effect, and nobody was told that it did\n";
    if discard {
        fs::remove_file(&path).map_err(unreadable("remove"))?;
        fs::File::open(journal).and_then(|folder| folder.sync_all()).map_err(unreadable("sync the folder of"))?;
        text += "discarded: the exchange starts without it\n";
    } else {
        text += "next     report the bug with this text; --discard lets the exchange start without the input\n";
    }
    Ok(text)
}
