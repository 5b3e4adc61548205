//! Every input with its events, in order, from a pipeline in this process: by the feed while its reader keeps pace, from
//! the journal when it does not.
//!
//! The feed drops batches when its reader is slow. Where that left a gap the journal is read, through an engine of its own
//! that gives the same events again: one that starts from the newest snapshot that is not ahead of the reader, and that
//! follows the journal until it is all read. So a reader may be as slow as it likes, for hours, and costs the pipeline a
//! bounded backlog.
//!
//! Invariant: inputs are given once each, in order, without a gap, and only when they are durable.

use crate::progress::Progress;
use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use gollem_engine::{Capacity, Event, Timestamp};
use gollem_journal::{FileStorage, OpenError, ScanError, SnapshotStore, Storage, Tail, starts_in};
use gollem_sequencer::{Released, ReplayError, Replica, Restored, Status, restore};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Records of the journal read at once.
const RECORDS_AT_ONCE: u64 = 4_096;
/// Batches of the feed given at once.
const BATCHES_AT_ONCE: usize = 64;
/// How long a reader whose pipeline is gone goes on to read the journal; the next start reads the rest.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// Why inputs cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum InputsError<E> {
    /// Whoever took them failed.
    #[error(transparent)]
    Taken(E),
    /// The journal's folder cannot be looked at.
    #[error(transparent)]
    Look(#[from] OpenError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(ScanError<ReplayError>),
    /// The journal no longer begins early enough.
    #[error(
        "inputs {first_seq} to {last_seq} are no longer in {0}; bring them back from the archive and restart:  gollem-replay restore {0} --from ARCHIVE",
        path.display()
    )]
    Archived {
        /// The journal's folder.
        path: PathBuf,
        /// First missing input.
        first_seq: u64,
        /// Last missing input.
        last_seq: u64,
    },
}

/// Who takes the inputs: number, time and events of each.
pub type Take<'a, E> = dyn FnMut(u64, Timestamp, &[Event]) -> Result<(), E> + 'a;

/// Whether there may be more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Yes.
    GoesOn,
    /// No: the pipeline is gone, and all that it made durable was given, or what time there was for.
    Ended,
}

/// The inputs of a pipeline from a position on.
#[derive(Debug)]
pub struct Inputs<S: Storage = FileStorage> {
    what: &'static str,
    feed: Receiver<Arc<Released>>,
    status: Status,
    journal: S,
    /// The last input given.
    position: u64,
    gaps: u64,
    /// Whether the journal has something that the feed will not bring.
    behind: bool,
    reading: Option<Reading<S>>,
    /// What was durable when nothing had arrived for a while.
    suspected: u64,
    /// When the pipeline was found gone.
    gone: Option<Instant>,
}

/// A second engine on its way through the journal.
#[derive(Debug)]
struct Reading<S: Storage> {
    replica: Replica,
    tail: Tail<S>,
    progress: Progress,
}

impl<S: Storage> Inputs<S> {
    /// All inputs after `position`: from the pipeline that has that feed, that status and that journal. `what` names the
    /// reader in the log.
    pub fn new(
        what: &'static str,
        feed: Receiver<Arc<Released>>,
        status: Status,
        journal: S,
        position: u64,
    ) -> Inputs<S> {
        let (reading, suspected, gone) = (None, 0, None);
        Inputs { what, feed, status, journal, position, gaps: 0, behind: true, reading, suspected, gone }
    }

    /// The last input given.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How often the feed left a gap.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// The last input that is durable.
    pub fn durable_seq(&self) -> u64 {
        self.status.durable_seq()
    }

    /// Whether the journal is being read: the next turn gives some of it at once.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// Whether there is something that the next turn gives at once.
    pub fn has_more(&self) -> bool {
        self.behind || !self.feed.is_empty()
    }

    /// Whether there is as much as one turn gives.
    pub fn has_plenty(&self) -> bool {
        self.behind || self.feed.len() >= BATCHES_AT_ONCE
    }

    /// Gives what comes after input `position` next.
    pub fn seek(&mut self, position: u64) {
        (self.position, self.behind, self.reading) = (position, true, None);
    }

    /// Gives some of what comes next to `take`, after waiting for it for `patience` at the most.
    ///
    /// # Errors
    /// When the journal cannot be read or `take` fails; an input that was refused comes again.
    pub fn turn<E>(&mut self, patience: Duration, take: &mut Take<'_, E>) -> Result<Turn, InputsError<E>> {
        if self.behind {
            return self.read_journal(take);
        }
        match self.feed.recv_timeout(patience) {
            Ok(batch) => self.give(batch, take)?,
            Err(RecvTimeoutError::Timeout) => {
                // The watermark moves a moment before the batch is fed, so one look proves nothing.
                let durable = self.status.durable_seq();
                if durable == self.suspected && durable > self.position {
                    self.fell_behind();
                }
                self.suspected = durable;
            }
            Err(RecvTimeoutError::Disconnected) if self.status.durable_seq() > self.position => self.fell_behind(),
            Err(RecvTimeoutError::Disconnected) => return Ok(Turn::Ended),
        }
        Ok(Turn::GoesOn)
    }

    /// Gives a batch and those that wait behind it, up to the first gap.
    fn give<E>(&mut self, batch: Arc<Released>, take: &mut Take<'_, E>) -> Result<(), InputsError<E>> {
        for batch in std::iter::once(batch).chain(self.feed.try_iter().take(BATCHES_AT_ONCE)) {
            if batch.first_seq() > self.position + 1 {
                // The batch is durable, so the journal has it too.
                (self.behind, self.gaps) = (true, self.gaps + 1);
                return Ok(());
            }
            for (input, events) in batch.iter() {
                if input.seq <= self.position {
                    continue;
                }
                if let Err(error) = take(input.seq, input.at, events) {
                    // The rest of the batch is lost to the feed.
                    self.behind = true;
                    return Err(InputsError::Taken(error));
                }
                self.position = input.seq;
            }
        }
        Ok(())
    }

    fn fell_behind(&mut self) {
        self.behind = true;
        self.gaps += 1;
    }

    /// Gives some of what is durable from the journal, and goes back to the feed when that was all.
    fn read_journal<E>(&mut self, take: &mut Take<'_, E>) -> Result<Turn, InputsError<E>> {
        // What is in the feed is durable and will be read: it need not wait in memory.
        loop {
            match self.feed.try_recv() {
                Ok(_) => {}
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.gone.get_or_insert_with(Instant::now);
                    break;
                }
            }
        }
        let durable = self.status.durable_seq();
        if self.position < durable {
            let mut reading = match self.reading.take() {
                Some(reading) => reading,
                None => self.begin()?,
            };
            reading.progress.at(self.position, durable);
            self.read(&mut reading, durable, take)?;
            self.reading = Some(reading);
        }
        if self.position >= durable {
            if let Some(reading) = self.reading.take() {
                reading.progress.done(self.position);
            }
            self.behind = false;
        }
        let out_of_time = self.gone.is_some_and(|gone| gone.elapsed() >= STOP_PATIENCE);
        Ok(if self.behind && out_of_time { Turn::Ended } else { Turn::GoesOn })
    }

    /// An engine from the newest snapshot that is not ahead, before what comes next in the journal.
    fn begin<E>(&self) -> Result<Reading<S>, InputsError<E>> {
        tracing::info!(reader = self.what, after = self.position, "behind: reading the journal");
        let starts = starts_in(&self.journal)?;
        let snapshots = SnapshotStore::new(self.journal.clone());
        let Restored { replica, position, .. } = restore(&snapshots, &starts, self.position, Capacity::default);
        let tail = Tail::new(self.journal.clone(), position);
        Ok(Reading { replica, tail, progress: Progress::begin(self.what, "inputs", self.position) })
    }

    fn read<E>(
        &mut self,
        reading: &mut Reading<S>,
        durable: u64,
        take: &mut Take<'_, E>,
    ) -> Result<(), InputsError<E>> {
        let until = durable.min(reading.tail.position().seq.saturating_add(RECORDS_AT_ONCE));
        let (replica, position, mut refused) = (&mut reading.replica, &mut self.position, None);
        let read = reading.tail.read(until, &mut |record| -> Result<(), ReplayError> {
            let events = replica.apply(&record)?;
            if refused.is_none() && record.seq > *position {
                match take(record.seq, Timestamp(record.time_ns), events) {
                    Ok(()) => *position = record.seq,
                    Err(error) => refused = Some(error),
                }
            }
            Ok(())
        });
        read.map_err(|error| match error {
            ScanError::Missing { path, first_seq, last_seq } => InputsError::Archived { path, first_seq, last_seq },
            error => InputsError::Journal(error),
        })?;
        refused.map_or(Ok(()), |error| Err(InputsError::Taken(error)))
    }
}
