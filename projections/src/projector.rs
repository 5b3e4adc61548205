//! The thread that keeps the views up to date.
//!
//! It folds what the committer feeds it. When it was too slow and the feed dropped batches, it sees the gap and
//! reads the missing inputs from the journal, through an engine of its own that gives the same events again: one that starts
//! from the newest snapshot that is not ahead of the views.

use crate::fold::Fold;
use crate::store::{StoreError, Views};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use gollem_engine::Capacity;
use gollem_journal::{FileStorage, OpenError, ScanError, ScanOptions, SnapshotStore, Storage, scan_in, starts_in};
use gollem_sequencer::{Released, ReplayError, Status, restore};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::sync::watch;

/// How long nothing must arrive before the projector suspects that the newest batch was dropped.
const QUIET: Duration = Duration::from_millis(100);

/// Batches folded before a write, when they arrive without a pause.
const BATCHES_PER_WRITE: usize = 64;

/// The views for queries, with the position they reflect.
#[derive(Clone, Debug)]
pub struct View {
    /// The store.
    pub store: Arc<Views>,
    watermark: watch::Receiver<u64>,
}

impl View {
    /// The last input the views reflect.
    pub fn watermark(&self) -> u64 {
        *self.watermark.borrow()
    }

    /// Waits until the views reflect input `seq`, at most for `patience`. False when they still do not.
    pub async fn reached(&self, seq: u64, patience: Duration) -> bool {
        let mut watermark = self.watermark.clone();
        let waited = tokio::time::timeout(patience, watermark.wait_for(|at| *at >= seq)).await;
        matches!(waited, Ok(Ok(_)))
    }
}

/// The running thread.
#[derive(Debug)]
pub struct Projector {
    thread: JoinHandle<()>,
    view: View,
}

/// Why the views stand still.
#[derive(Debug, thiserror::Error)]
pub enum ProjectorError {
    /// The views cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal's folder cannot be looked at.
    #[error(transparent)]
    Look(#[from] OpenError),
    /// The journal cannot be read, or not folded.
    #[error(transparent)]
    Journal(#[from] ScanError<CatchUpError>),
}

/// Why one record of the journal could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum CatchUpError {
    /// The views cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not an input of this version.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl Projector {
    /// Starts the thread. It ends by itself when the feed's sender is gone.
    ///
    /// # Errors
    /// When the store cannot be read or the thread cannot start.
    pub fn start(
        store: Arc<Views>,
        feed: Receiver<Arc<Released>>,
        status: Status,
        journal_dir: PathBuf,
    ) -> Result<Projector, StoreError> {
        let (sender, watermark) = watch::channel(store.watermark()?);
        let view = View { store: Arc::clone(&store), watermark };
        let body = move || {
            if let Err(error) = run(&store, &feed, &status, journal_dir, &sender) {
                tracing::error!(%error, "the views stand still: queries answer 503 until a restart");
            }
        };
        let thread = Builder::new().name("projector".into()).spawn(body)?;
        Ok(Projector { thread, view })
    }

    /// The views for queries.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Waits for the thread's end; the feed's sender must be gone.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the projector panicked");
        }
    }
}

fn run(
    views: &Views,
    feed: &Receiver<Arc<Released>>,
    status: &Status,
    journal_dir: PathBuf,
    watermark: &watch::Sender<u64>,
) -> Result<(), ProjectorError> {
    let mut projection = Projection::new(views, FileStorage::new(&journal_dir))?;
    loop {
        let goes_on = projection.turn(feed.recv_timeout(QUIET), feed, status)?;
        watermark.send_replace(projection.watermark());
        if !goes_on {
            return Ok(());
        }
    }
}

/// What the thread owns; a simulation turns it instead.
#[derive(Debug)]
pub struct Projection<'a, S: Storage = FileStorage> {
    fold: Fold<'a>,
    journal: S,
    /// What was durable when nothing had arrived for a while.
    suspected: u64,
}

impl<'a, S: Storage> Projection<'a, S> {
    /// Goes on where the views stand, with the journal in that storage to fill gaps from.
    ///
    /// # Errors
    /// When the views cannot be read.
    pub fn new(views: &'a Views, journal: S) -> Result<Projection<'a, S>, StoreError> {
        Ok(Projection { fold: Fold::new(views)?, journal, suspected: 0 })
    }

    /// The last input the views reflect.
    pub fn watermark(&self) -> u64 {
        self.fold.watermark()
    }

    /// Folds what was received, and what waits in the feed behind it, and writes it. False when the pipeline is gone.
    ///
    /// # Errors
    /// When the views cannot be written, or a gap cannot be filled from the journal.
    pub fn turn(
        &mut self,
        received: Result<Arc<Released>, RecvTimeoutError>,
        feed: &Receiver<Arc<Released>>,
        status: &Status,
    ) -> Result<bool, ProjectorError> {
        let goes_on = !matches!(received, Err(RecvTimeoutError::Disconnected));
        match received {
            Ok(batch) => {
                for batch in std::iter::once(batch).chain(feed.try_iter().take(BATCHES_PER_WRITE)) {
                    self.catch_up(batch.first_seq() - 1)?;
                    for (applied, events) in batch.iter() {
                        self.fold.apply(applied.seq, applied.at, events)?;
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                // The watermark moves a moment before the batch is fed, so one look proves nothing.
                let durable = status.durable_seq();
                if durable == self.suspected {
                    self.catch_up(durable)?;
                }
                self.suspected = durable;
            }
            // The pipeline is gone; reads go on, and reflect all that became durable.
            Err(RecvTimeoutError::Disconnected) => self.catch_up(status.durable_seq())?,
        }
        self.fold.flush()?;
        Ok(goes_on)
    }

    /// Folds everything up to input `until` from the journal, unless it was folded before.
    fn catch_up(&mut self, until: u64) -> Result<(), ProjectorError> {
        if until <= self.fold.watermark() {
            return Ok(());
        }
        tracing::info!(from = self.fold.watermark() + 1, until, "the views fell behind: reading the journal");
        let starts = starts_in(&self.journal)?;
        let snapshots = SnapshotStore::new(self.journal.clone());
        let restored = restore(&snapshots, &starts, self.fold.watermark(), Capacity::default);
        let (mut replica, after) = (restored.replica, restored.position);
        let options = ScanOptions { after, until: Some(until), witnessed: 0 };
        let fold = &mut self.fold;
        scan_in(&self.journal, options, &mut |record| -> Result<(), CatchUpError> {
            let events = replica.apply(&record)?;
            fold.apply(record.seq, gollem_engine::Timestamp(record.time_ns), events)?;
            Ok(())
        })?;
        Ok(())
    }
}
