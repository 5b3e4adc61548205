//! Starting, watching and stopping the pipeline.

use crate::batch::Batch;
use crate::clock::{Clock, TimeSource};
use crate::committer::Committer;
use crate::feed::Feed;
use crate::ingress::Ingress;
use crate::matcher::Matcher;
use crate::port::OpenPorts;
use crate::released::Pool;
use crate::replica::{ReplayError, Replica};
use crate::stages::Stages;
use crate::status::{Running, Shared, Status};
use crate::watermark::{Witness, Witnesses};
use crossbeam_channel::bounded;
use gollem_engine::{Capacity, Engine, Event, Timestamp};
use gollem_journal::{FileStorage, OpenError, Recovery, Storage, WriteError};
use std::path::PathBuf;
use std::sync::Arc;
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
    /// Where the time comes from.
    pub time: TimeSource,
    /// Who, besides the local disk, has to confirm inputs before anything leaves.
    pub witnesses: Vec<Witness>,
}

impl Options {
    /// The defaults for a journal in that folder.
    pub fn new(journal_dir: PathBuf) -> Options {
        let journal = gollem_journal::Options::default();
        Options {
            journal_dir,
            journal,
            queue_commands_max: 8_192,
            pinning: Pinning::Auto,
            time: TimeSource::System,
            witnesses: Vec::new(),
        }
    }
}

/// Why the pipeline did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be opened; its error says what to do.
    #[error(transparent)]
    Journal(#[from] OpenError<ReplayError>),
    /// A histogram of two digits could not be made.
    #[error(transparent)]
    Histogram(#[from] hdrhistogram::CreationError),
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
        let shared = Arc::new(Shared::new(recovery.last_seq, opened.writer.bytes_written(), Stages::new()?));
        let (ingress, intake) = Ingress::new(options.queue_commands_max);
        // Each channel can hold every batch there is, so no send ever blocks.
        let (to_committer, from_matcher) = bounded(2);
        let (to_matcher, from_committer) = bounded(2);
        let mut matcher = Matcher {
            engine: replica.into_engine(),
            encoder: opened.encoder,
            clock: Clock::starting_at(Timestamp(recovery.last_time_ns), options.time.clone()),
            intake,
            door: ingress.door(),
            to_committer,
            from_committer,
            open: Batch::default(),
            spare: Some(Batch::default()),
            stopping: false,
        };
        let committer = Committer {
            writer: opened.writer,
            from_matcher,
            to_matcher,
            feed,
            ports: OpenPorts(ingress.ports()),
            witnesses: Witnesses(options.witnesses.clone()),
            pool: Pool::default(),
            shared: Arc::clone(&shared),
        };
        let core = core_to_pin(options.pinning);
        let (matcher_runs, committer_runs) = (Running(Arc::clone(&shared)), Running(Arc::clone(&shared)));
        let matcher = spawn("matcher", move || {
            let _runs = matcher_runs;
            if let Some(core) = core
                && !core_affinity::set_for_current(core)
            {
                tracing::warn!(core = core.id, "the matcher could not be pinned to its core");
            }
            matcher.run();
            matcher.engine
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
        Ok(Stopped { engine, journal_bytes: self.shared.journal_bytes() })
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
