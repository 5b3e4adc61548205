//! The thread that keeps the views up to date.
//!
//! It folds what the committer feeds it. When it was too slow and the feed dropped batches, it sees the gap and
//! reads the missing inputs from the journal, through an engine of its own that gives the same events again: one that starts
//! from the newest snapshot that is not ahead of the views.

use crate::fold::Fold;
use crate::store::{StoreError, Views};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use gollem_engine::Capacity;
use gollem_journal::{FileStorage, OpenError, ScanError, ScanOptions, SnapshotStore, starts_in};
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
enum ProjectorError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Look(#[from] OpenError),
    #[error(transparent)]
    Journal(#[from] ScanError<CatchUpError>),
}

/// Why one record of the journal could not be folded.
#[derive(Debug, thiserror::Error)]
enum CatchUpError {
    #[error(transparent)]
    Store(#[from] StoreError),
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
    let mut fold = Fold::new(views)?;
    let mut suspected = 0;
    loop {
        match feed.recv_timeout(QUIET) {
            Ok(batch) => {
                for batch in std::iter::once(batch).chain(feed.try_iter().take(BATCHES_PER_WRITE)) {
                    if batch.first_seq() > fold.watermark() + 1 {
                        catch_up(&mut fold, &journal_dir, batch.first_seq() - 1)?;
                    }
                    for (applied, events) in batch.iter() {
                        fold.apply(applied.seq, applied.at, events)?;
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                // The watermark moves a moment before the batch is fed, so one look proves nothing.
                let durable = status.durable_seq();
                if durable > fold.watermark() && durable == suspected {
                    catch_up(&mut fold, &journal_dir, durable)?;
                }
                suspected = durable;
            }
            Err(RecvTimeoutError::Disconnected) => {
                // The pipeline is gone; reads go on, and reflect all that became durable.
                if status.durable_seq() > fold.watermark() {
                    catch_up(&mut fold, &journal_dir, status.durable_seq())?;
                }
                fold.flush()?;
                watermark.send_replace(fold.watermark());
                return Ok(());
            }
        }
        fold.flush()?;
        watermark.send_replace(fold.watermark());
    }
}

/// Folds everything up to input `until` from the journal.
fn catch_up(fold: &mut Fold<'_>, journal_dir: &std::path::Path, until: u64) -> Result<(), ProjectorError> {
    tracing::info!(from = fold.watermark() + 1, until, "the views fell behind: reading the journal");
    let storage = FileStorage::new(journal_dir);
    let starts = starts_in(&storage)?;
    let restored = restore(&SnapshotStore::new(storage), &starts, fold.watermark(), Capacity::default);
    let (mut replica, after) = (restored.replica, restored.position);
    let options = ScanOptions { after, until: Some(until), witnessed: 0 };
    let scanned = gollem_journal::scan(journal_dir, options, &mut |record| -> Result<(), CatchUpError> {
        let events = replica.apply(&record)?;
        fold.apply(record.seq, gollem_engine::Timestamp(record.time_ns), events)?;
        Ok(())
    });
    scanned?;
    Ok(())
}
