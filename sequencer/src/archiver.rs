//! The background thread that copies closed segments to an archive, and drops those that nobody needs here any more.
//!
//! Invariants: a segment is dropped only when its copy is in the archive, when both snapshot slots are sound and stand for
//! what it holds, and when every reader has passed it. The pipeline never waits for the archive: while that cannot be
//! reached, segments stay and are tried again.

use gollem_journal::{
    Archive, ArchiveError, FileStorage, OpenError, ScanError, SegmentInfo, Seq, Slot, SnapshotStore, Storage,
    remove_segments_before, segments,
};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How often new segments are looked for.
const PAUSE: Duration = Duration::from_secs(2);
/// The longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What to archive where, and what to keep.
#[derive(Debug)]
pub struct ArchiverOptions {
    /// Where copies go.
    pub archive: Archive,
    /// Whether segments that nobody needs are dropped once they are archived.
    pub drop_archived: bool,
}

/// The last input that every reader besides the snapshots has passed.
pub type Passed = Box<dyn Fn() -> Seq + Send>;

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Journal(#[from] ScanError),
    #[error(transparent)]
    Remove(#[from] OpenError),
    #[error("cannot look at the snapshots: {0}")]
    Snapshots(#[from] io::Error),
}

/// The running thread.
#[derive(Debug)]
pub struct Archiver {
    thread: JoinHandle<()>,
    stop: SyncSender<()>,
}

impl Archiver {
    /// Archives the journal in `journal_dir`. `passed` says what readers need no more.
    ///
    /// # Errors
    /// When the thread cannot start.
    pub fn start(journal_dir: &Path, options: ArchiverOptions, passed: Passed) -> io::Result<Archiver> {
        let (stop, stopped) = sync_channel::<()>(1);
        let mut round = Round { dir: journal_dir.to_owned(), options, passed, archived_through: 0 };
        let thread = Builder::new().name("archiver".to_owned()).spawn(move || {
            let mut pause = PAUSE;
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
                pause = match round.run() {
                    Ok(()) => PAUSE,
                    Err(error) => {
                        tracing::error!(%error, "a round of the archive failed; it is tried again");
                        (pause * 2).min(PAUSE_MAX)
                    }
                };
            }
        })?;
        Ok(Archiver { thread, stop })
    }

    /// Lets a copy under way finish, and ends the thread.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the archiver panicked");
        }
    }
}

struct Round {
    dir: PathBuf,
    options: ArchiverOptions,
    passed: Passed,
    /// Last sequence of the newest segment that is known to be archived, with all before it.
    archived_through: Seq,
}

impl Round {
    fn run(&mut self) -> Result<(), RoundError> {
        let storage = FileStorage::new(&self.dir);
        for SegmentInfo { name, last_seq, .. } in segments(&storage)? {
            let Some(last_seq) = last_seq.filter(|&last_seq| last_seq > self.archived_through) else {
                continue;
            };
            self.options.archive.put_segment(&storage.path(&name))?;
            tracing::info!(segment = name, "archived");
            self.archived_through = last_seq;
        }
        if self.options.drop_archived {
            let needed = self.archived_through.min(snapshots_stand_for(&storage)?).min((self.passed)());
            for segment in remove_segments_before(&storage, needed.saturating_add(1))? {
                tracing::info!(segment = segment.name, "dropped: it is in the archive");
            }
        }
        Ok(())
    }
}

/// The last input that both snapshots stand for; 0 unless both are sound.
fn snapshots_stand_for(storage: &FileStorage) -> io::Result<Seq> {
    let slots = SnapshotStore::new(storage.clone()).list()?;
    let seq = |slot: &Slot| match slot {
        Slot::Sound(checkpoint) => checkpoint.position.seq,
        Slot::Empty | Slot::Damaged(_) => 0,
    };
    Ok(slots.iter().map(seq).min().unwrap_or(0))
}
