//! From the files of a folder to an engine that goes on: the newest usable snapshot, then the journal after it.
//!
//! Invariants: nothing is changed before the whole journal was read and accepted; an input on which the engine panics is
//! noted, and a start that finds such a note refuses at once.

use crate::poison::{POISON_NAME, Poison, message_of};
use crate::replica::{ReplayError, Replica};
use crate::restore::{Restored, restore};
use gollem_engine::{Capacity, Engine, Event, Timestamp};
use gollem_journal::{
    Encoder, OpenError, Opened, Position, Record, Recovery, ScanError, Seq, Storage, Writer, lock_in, segments,
};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// Someone who has to see the events of every input after one it has seen.
pub struct Observer<'a> {
    /// The last input it has seen: recovery starts from a snapshot at or before it.
    pub after: Seq,
    /// Told each later input, in order. It may be told earlier ones again.
    pub tell: &'a mut dyn FnMut(Seq, Timestamp, &[Event]),
}

impl fmt::Debug for Observer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("after", &self.after).finish_non_exhaustive()
    }
}

/// Why a journal gives no state.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Another process has the journal, or the folder cannot be read; the error says what to do.
    #[error(transparent)]
    Look(#[from] OpenError),
    /// The journal cannot be opened; its error says what to do.
    #[error(transparent)]
    Journal(#[from] OpenError<VisitError>),
    /// An input stopped the process before, and nobody has looked at it since.
    #[error(
        "input {seq} stopped this exchange before: {message}\n  look at it:  gollem-replay poison {}\n  {}",
        dir.display(), next_step(*.durable)
    )]
    Poisoned {
        /// The journal's folder.
        dir: PathBuf,
        /// Which input.
        seq: Seq,
        /// What the panic said.
        message: String,
        /// Whether it is in the journal.
        durable: bool,
    },
    /// The note of such an input cannot be read: look at the disk.
    #[error("cannot read {}: {source}", path.display())]
    Note {
        /// The note.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a record was not applied.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// It is not an input of this version.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The engine panicked on it: a bug. Start a version in which it is repaired.
    #[error("input {seq} panics the engine: {message}")]
    Panicked {
        /// Which input.
        seq: Seq,
        /// What the panic said.
        message: String,
    },
}

fn next_step(durable: bool) -> &'static str {
    if durable {
        "it is in the journal: start a version of the program that can apply it, and remove the note first"
    } else {
        "it never became durable and nobody was told that it took effect: add --discard to go on without it"
    }
}

/// A journal that was read, and the state at its end.
#[derive(Debug)]
pub(crate) struct Recovered<S: Storage> {
    pub(crate) engine: Engine,
    pub(crate) encoder: Encoder,
    pub(crate) writer: Writer<S>,
    pub(crate) found: Found,
    /// Bytes of segments that were not read.
    pub(crate) unread_bytes: u64,
}

/// What a start found.
#[derive(Clone, Debug)]
pub struct Found {
    /// What was read of the journal.
    pub journal: Recovery,
    /// The input of the snapshot that was started from; 0 without one.
    pub snapshot_seq: Seq,
    /// Snapshots that could not be used, and why.
    pub passed_over: Vec<String>,
}

/// Recovers the state in `storage`, with memory set aside for so much. `witnessed` is the highest input that anything
/// outside the journal has seen.
pub(crate) fn recover<S: Storage>(
    storage: S,
    options: &gollem_journal::Options,
    capacity: Capacity,
    witnessed: Seq,
    mut observer: Option<Observer<'_>>,
) -> Result<Recovered<S>, RecoverError> {
    gollem_journal::arm_crash_points!(crate::CRASH_POINTS);
    let locked = lock_in(storage.clone())?;
    refuse_poison(&storage)?;
    let at_most = observer.as_ref().map_or(Seq::MAX, |observer| observer.after);
    let restored = restore(&locked.snapshots(), &locked.starts()?, at_most, || capacity);
    let Restored { mut replica, position, passed_over, .. } = restored;
    for why in &passed_over {
        tracing::error!(%why, "a snapshot could not be used: the disk lost something, or another version wrote it");
    }
    let unread_bytes = bytes_before(&storage, position)?;
    let Opened { writer, encoder, report } =
        locked.open::<VisitError>(options, position, witnessed, &mut |record| {
            let events = apply(&mut replica, &record, &storage)?;
            if let Some(observer) = &mut observer {
                (observer.tell)(record.seq, Timestamp(record.time_ns), events);
            }
            Ok(())
        })?;
    let journal = Recovery {
        last_seq: report.last_seq.max(position.seq),
        last_time_ns: report.last_time_ns.max(position.time_ns),
        ..report
    };
    let found = Found { journal, snapshot_seq: position.seq, passed_over };
    Ok(Recovered { engine: replica.into_engine(), encoder, writer, found, unread_bytes })
}

/// Applies a record. A panic leaves a note: replaying it at every start would help nobody.
fn apply<'a, S: Storage>(
    replica: &'a mut Replica,
    record: &Record<'_>,
    storage: &S,
) -> Result<&'a [Event], VisitError> {
    let applied = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(test)]
        planted::panic_at(record.seq);
        replica.apply(record).map(|_| ())
    }));
    match applied {
        Ok(applied) => applied?,
        Err(panic) => {
            let message = message_of(&*panic);
            let Record { seq, time_ns, payload } = *record;
            let poison = Poison { seq, time_ns, durable: true, message: message.clone(), payload: payload.to_vec() };
            if let Err(error) = poison.write(storage) {
                tracing::error!(%error, "the note about the input could not be written");
            }
            return Err(VisitError::Panicked { seq, message });
        }
    }
    Ok(replica.events())
}

fn refuse_poison<S: Storage>(storage: &S) -> Result<(), RecoverError> {
    let note = Poison::read(storage);
    let note = note.map_err(|source| RecoverError::Note { path: storage.path(POISON_NAME), source })?;
    match note {
        None => Ok(()),
        Some(Poison { seq, message, durable, .. }) => {
            Err(RecoverError::Poisoned { dir: storage.path(""), seq, message, durable })
        }
    }
}

/// Bytes of the segments before a position, with the zeros at their ends.
fn bytes_before<S: Storage>(storage: &S, position: Position) -> Result<u64, RecoverError> {
    let all = segments(storage).map_err(|error: ScanError| OpenError::Read(error))?;
    let before = all.iter().filter(|segment| segment.last_seq.is_some_and(|last| last <= position.seq));
    Ok(before.map(|segment| segment.bytes).sum())
}

#[cfg(test)]
pub(crate) use planted::panic_on;

/// An input on which recovery panics, for tests.
#[cfg(test)]
mod planted {
    use std::cell::Cell;

    thread_local!(static SEQ: Cell<u64> = const { Cell::new(0) });

    /// Lets recovery on this thread panic on that input; 0 for none.
    pub(crate) fn panic_on(seq: u64) {
        SEQ.set(seq);
    }

    pub(super) fn panic_at(seq: u64) {
        assert!(SEQ.get() != seq, "planted");
    }
}
