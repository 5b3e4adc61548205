//! Starting, watching and stopping the pipeline.

use crate::batch::Batch;
use crate::clock::Clock;
use crate::committer::Committer;
use crate::feed::Feed;
use crate::ingress::Ingress;
use crate::matcher::Matcher;
use crate::replica::{ReplayError, Replica};
use crossbeam_channel::bounded;
use gollem_engine::{Capacity, Engine, Event, Timestamp};
use gollem_journal::{Durable, FileStorage, OpenError, Recovery, Storage, WriteError};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};

/// Memory set aside at the start, so that the matcher does not grow its tables in the middle of a rush: address space
/// only, until it is used.
const CAPACITY: Capacity = Capacity { orders: 1 << 18, contracts: 1 << 18 };

/// Where the matcher thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinning {
    /// On the last core when there are at least four, otherwise wherever the scheduler puts it: with
    /// fewer, a pinned matcher would have to share its core with everything else.
    Auto,
    /// Wherever the scheduler puts it.
    Off,
    /// On this core.
    Core(usize),
}

/// How to run the pipeline.
#[derive(Clone, Debug)]
pub struct Options {
    /// The journal's folder.
    pub journal_dir: PathBuf,
    /// How the journal is laid out.
    pub journal: gollem_journal::Options,
    /// Commands that may wait before further ones are refused.
    pub queue_commands_max: usize,
    /// Where the matcher thread runs.
    pub pinning: Pinning,
}

impl Options {
    /// The defaults for a journal in that folder.
    pub fn new(journal_dir: PathBuf) -> Options {
        let journal = gollem_journal::Options::default();
        Options { journal_dir, journal, queue_commands_max: 8_192, pinning: Pinning::Auto }
    }
}

/// Whether commands are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// Yes.
    Running = 0,
    /// No: a write or sync failed. Reads go on; only a restart helps.
    JournalFailed = 1,
    /// No: stopped.
    Stopped = 2,
}

/// What the threads publish about themselves.
#[derive(Debug)]
pub(crate) struct Shared {
    durable_seq: AtomicU64,
    journal_bytes: AtomicU64,
    health: AtomicU8,
}

impl Shared {
    pub(crate) fn advance(&self, durable: Durable, journal_bytes: u64) {
        self.journal_bytes.store(journal_bytes, Ordering::Relaxed);
        self.durable_seq.store(durable.seq(), Ordering::Release);
    }

    pub(crate) fn set_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::Release);
    }
}

/// Held by each thread: however a thread ends, by a panic too, the pipeline no longer counts as running.
#[derive(Debug)]
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        // A journal that failed stays so.
        let (running, stopped) = (Health::Running as u8, Health::Stopped as u8);
        let _before = self.0.health.compare_exchange(running, stopped, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// A view of the pipeline's progress; clone it freely.
#[derive(Clone, Debug)]
pub struct Status(Arc<Shared>);

impl Status {
    /// Everything up to this input is on disk.
    pub fn durable_seq(&self) -> u64 {
        self.0.durable_seq.load(Ordering::Acquire)
    }

    /// Bytes of the journal's records and headers; zeros written ahead are not counted.
    pub fn journal_bytes(&self) -> u64 {
        self.0.journal_bytes.load(Ordering::Relaxed)
    }

    /// Whether commands are accepted.
    pub fn health(&self) -> Health {
        match self.0.health.load(Ordering::Acquire) {
            0 => Health::Running,
            1 => Health::JournalFailed,
            _ => Health::Stopped,
        }
    }
}

/// Why the pipeline did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be opened; its error says what to do.
    #[error(transparent)]
    Journal(#[from] OpenError<ReplayError>),
    /// The operating system refused a thread.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// Why the pipeline did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The journal failed, now or earlier.
    #[error(transparent)]
    Journal(#[from] WriteError),
    /// A thread panicked: an invariant of the engine was broken.
    #[error("the {0} thread panicked; its message is in the log")]
    Panicked(&'static str),
}

/// The running pipeline.
#[derive(Debug)]
pub struct Sequencer {
    ingress: Ingress,
    shared: Arc<Shared>,
    matcher: JoinHandle<Engine>,
    committer: JoinHandle<Result<(), WriteError>>,
    recovery: Recovery,
}

/// What a stopped pipeline leaves.
#[derive(Debug)]
pub struct Stopped {
    /// The final state: all of it durable.
    pub engine: Engine,
    /// Bytes of the journal's records and headers.
    pub journal_bytes: u64,
}

impl Sequencer {
    /// Recovers the state from the journal and starts the threads. `witnessed` is the highest sequence number
    /// that anything outside the journal has seen: recovery refuses a journal that ends below it. Each
    /// recovered input's events go to `observe`, later ones to `feed`.
    ///
    /// # Errors
    /// When the journal is locked, damaged or written by a newer version, or a thread cannot start.
    pub fn start(
        options: &Options,
        witnessed: u64,
        feed: Option<Feed>,
        observe: &mut dyn FnMut(u64, Timestamp, &[Event]),
    ) -> Result<Sequencer, StartError> {
        Sequencer::start_in(FileStorage::new(&options.journal_dir), options, witnessed, feed, observe)
    }

    /// [`Sequencer::start`] on any storage, for tests that break the disk.
    ///
    /// # Errors
    /// As [`Sequencer::start`].
    pub fn start_in<S: Storage>(
        storage: S,
        options: &Options,
        witnessed: u64,
        feed: Option<Feed>,
        observe: &mut dyn FnMut(u64, Timestamp, &[Event]),
    ) -> Result<Sequencer, StartError> {
        let mut replica = Replica::with_capacity(CAPACITY);
        let opened = gollem_journal::open_in(storage, &options.journal, witnessed, &mut |record| {
            let events = replica.apply(&record)?;
            observe(record.seq, Timestamp(record.time_ns), events);
            Ok(())
        })?;
        let recovery = opened.report;
        let shared = Arc::new(Shared {
            durable_seq: AtomicU64::new(recovery.last_seq),
            journal_bytes: AtomicU64::new(opened.writer.bytes_written()),
            health: AtomicU8::new(Health::Running as u8),
        });
        let (ingress, intake) = Ingress::new(options.queue_commands_max);
        // Each channel can hold every batch there is, so no send ever blocks.
        let (to_committer, from_matcher) = bounded(2);
        let (to_matcher, from_committer) = bounded(2);
        let matcher = Matcher {
            engine: replica.into_engine(),
            encoder: opened.encoder,
            clock: Clock::starting_at(Timestamp(recovery.last_time_ns)),
            intake,
            to_committer,
            from_committer,
            open: Batch::default(),
            spare: Some(Batch::default()),
            stopping: false,
        };
        let committer =
            Committer { writer: opened.writer, from_matcher, to_matcher, feed, shared: Arc::clone(&shared) };
        let core = core_to_pin(options.pinning);
        let (matcher_runs, committer_runs) = (Running(Arc::clone(&shared)), Running(Arc::clone(&shared)));
        let matcher = spawn("matcher", move || {
            let _runs = matcher_runs;
            if let Some(core) = core
                && !core_affinity::set_for_current(core)
            {
                tracing::warn!(core = core.id, "the matcher could not be pinned to its core");
            }
            matcher.run()
        })?;
        let committer = spawn("committer", move || {
            let _runs = committer_runs;
            committer.run()
        })?;
        Ok(Sequencer { ingress, shared, matcher, committer, recovery })
    }

    /// A handle to submit commands.
    pub fn ingress(&self) -> Ingress {
        self.ingress.clone()
    }

    /// A view of the progress.
    pub fn status(&self) -> Status {
        Status(Arc::clone(&self.shared))
    }

    /// What recovery found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Finishes what is queued, makes it durable and closes the journal.
    ///
    /// # Errors
    /// When the journal failed or a thread panicked.
    pub fn stop(self) -> Result<Stopped, StopError> {
        self.ingress.stop();
        let engine = self.matcher.join().map_err(|_| StopError::Panicked("matcher"))?;
        let closed = self.committer.join().map_err(|_| StopError::Panicked("committer"))?;
        closed?;
        Ok(Stopped { engine, journal_bytes: self.shared.journal_bytes.load(Ordering::Relaxed) })
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartError> {
    Builder::new().name(name.to_owned()).spawn(body).map_err(StartError::Thread)
}

fn core_to_pin(pinning: Pinning) -> Option<core_affinity::CoreId> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    match pinning {
        Pinning::Off => None,
        Pinning::Auto => cores.last().copied().filter(|_| cores.len() >= 4),
        Pinning::Core(id) => Some(core_affinity::CoreId { id }),
    }
}
