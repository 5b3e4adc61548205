//! Starting, watching and stopping the pipeline.

use crate::clock::TimeSource;
use crate::feed::Feed;
use crate::ingress::Ingress;
use crate::matcher::Matcher;
use crate::pipeline::Pipeline;
use crate::poison::message_of;
use crate::recover::{Found, Observer, RecoverError};
use crate::status::{Running, Shared, Status};
use crate::watermark::Witness;
use gollem_engine::{Capacity, Engine};
use gollem_journal::{FileStorage, Storage, WriteError};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

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
    /// How long the matcher looks for commands before it sleeps. To be woken takes 20 to 30 microseconds; looking takes a
    /// core away from everything else, so it is zero unless there is a core to spare.
    pub spin: Duration,
    /// Where the time comes from.
    pub time: TimeSource,
    /// Who, besides the local disk, has to confirm inputs before anything leaves.
    pub witnesses: Vec<Witness>,
    /// Memory set aside at the start, so that the matcher does not grow its tables in the middle of a rush.
    pub capacity: Capacity,
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
            spin: Duration::ZERO,
            time: TimeSource::System,
            witnesses: Vec::new(),
            capacity: Capacity { orders: 1 << 18, contracts: 1 << 18 },
        }
    }
}

/// Why the pipeline did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state cannot be recovered; the error says what to do.
    #[error(transparent)]
    Recover(#[from] RecoverError),
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
    found: Found,
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
    /// Recovers the state from the newest usable snapshot and the journal after it, and starts the threads. `witnessed`
    /// is the highest sequence number that anything outside the journal has seen: recovery refuses a journal that ends
    /// below it. Recovered events go to the observer, later ones to `feed`.
    ///
    /// # Errors
    /// When the journal is locked, damaged or written by a newer version, when an input stopped the process before, or
    /// a thread cannot start.
    pub fn start(
        options: &Options,
        witnessed: u64,
        feed: Option<Feed>,
        observer: Option<Observer<'_>>,
    ) -> Result<Sequencer, StartError> {
        Sequencer::start_in(FileStorage::new(&options.journal_dir), options, witnessed, feed, observer)
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
        observer: Option<Observer<'_>>,
    ) -> Result<Sequencer, StartError> {
        let Pipeline { matcher, committer, ingress, shared, found } =
            Pipeline::open(storage.clone(), options, witnessed, feed, observer)?;
        let core = core_to_pin(options.pinning);
        let (matcher_runs, committer_runs) = (Running(Arc::clone(&shared)), Running(Arc::clone(&shared)));
        let matcher = spawn("matcher", move || {
            let _runs = matcher_runs;
            if let Some(core) = core
                && !core_affinity::set_for_current(core)
            {
                tracing::warn!(core = core.id, "the matcher could not be pinned to its core");
            }
            run_noting_poison(matcher, &storage)
        })?;
        let committer = spawn("committer", move || {
            let _runs = committer_runs;
            committer.run()
        })?;
        Ok(Sequencer { ingress, shared, matcher, committer, found })
    }

    /// A handle to submit commands.
    pub fn ingress(&self) -> Ingress {
        self.ingress.clone()
    }

    /// A view of the progress.
    pub fn status(&self) -> Status {
        Status(Arc::clone(&self.shared))
    }

    /// What the start found.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Finishes what is queued, makes it durable and closes the journal.
    ///
    /// # Errors
    /// When the journal failed or a thread panicked.
    pub fn stop(self) -> Result<Stopped, StopError> {
        self.shared.begin_to_stop();
        self.ingress.stop();
        let engine = self.matcher.join().map_err(|_| StopError::Panicked("matcher"))?;
        let closed = self.committer.join().map_err(|_| StopError::Panicked("committer"))?;
        closed?;
        Ok(Stopped { engine, journal_bytes: self.shared.journal_bytes() })
    }
}

/// Runs the matcher. When the engine panics on an input, a note of that input is left before the panic goes on: the
/// process is to stop, and its next start must not meet the same input unawares.
fn run_noting_poison<S: Storage>(mut matcher: Matcher, storage: &S) -> Engine {
    match catch_unwind(AssertUnwindSafe(|| matcher.run())) {
        Ok(()) => matcher.engine,
        Err(panic) => {
            if let Some(poison) = matcher.poison(message_of(&*panic)) {
                tracing::error!(seq = poison.seq, message = poison.message, "an input panicked the engine");
                if let Err(error) = poison.write(storage) {
                    tracing::error!(%error, "the note about the input could not be written");
                }
            }
            resume_unwind(panic)
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::Turn;
    use crate::poison::Poison;
    use crate::recover::VisitError;
    use gollem_engine::Command;
    use gollem_journal::sim::SimStorage;
    use gollem_journal::{Group, OpenError, ScanError};

    fn open(storage: &SimStorage) -> Result<Pipeline<SimStorage>, StartError> {
        let mut options = Options::new(PathBuf::from("sim"));
        options.journal = gollem_journal::Options { segment_bytes: 2 << 20, prepare_ahead: false };
        Pipeline::open(storage.clone(), &options, 0, None, None)
    }

    #[test]
    fn an_input_that_panics_the_engine_is_noted_and_the_next_start_refuses_until_a_person_has_looked() {
        let storage = SimStorage::new();
        let mut pipeline = open(&storage).unwrap();
        let first = pipeline.ingress.submit(Command::OpenAccount).unwrap();
        while pipeline.matcher.turn() == Turn::Worked || pipeline.committer.turn().unwrap() == Turn::Worked {}
        assert_eq!(first.wait().unwrap().seq, 1);
        // An engine that has not seen input 1 panics on input 2: the planted bug.
        pipeline.matcher.engine = Engine::new();
        let lost = pipeline.ingress.submit(Command::Tick).unwrap();
        let Pipeline { matcher, committer, .. } = pipeline;
        let panicked = catch_unwind(AssertUnwindSafe(|| run_noting_poison(matcher, &storage)));
        assert!(panicked.is_err());
        drop(committer);
        assert!(lost.wait().is_err(), "nobody is told that it took effect");

        storage.power_cycle(None);
        let refused = open(&storage).unwrap_err().to_string();
        assert!(refused.contains("input 2 stopped") && refused.contains("gollem-replay poison sim"), "{refused}");
        let note = Poison::read(&storage).unwrap().unwrap();
        assert_eq!((note.seq, note.durable, note.command()), (2, false, Some(Command::Tick)));
        storage.delete(crate::POISON_NAME);
        assert_eq!(open(&storage).unwrap().found.journal.last_seq, 1, "it goes on without the input");
    }

    #[test]
    fn a_journal_whose_input_panics_the_engine_is_replayed_once_and_refused_at_once_from_then_on() {
        let storage = SimStorage::new();
        let mut pipeline = open(&storage).unwrap();
        // Stands for an input that panics: the replica below is told to panic on input 2.
        let mut group = Group::new();
        for _ in 0..2 {
            let written = |bytes: &mut Vec<u8>| Command::OpenAccount.encode(bytes);
            pipeline.matcher.encoder.push(&mut group, 1, written).unwrap();
        }
        pipeline.matcher.encoder.seal(&mut group);
        pipeline.committer.writer.commit(&mut group).unwrap();
        drop(pipeline);
        crate::recover::panic_on(2);
        let refused = open(&storage).unwrap_err();
        crate::recover::panic_on(0);
        let StartError::Recover(RecoverError::Journal(OpenError::Read(ScanError::Visit(why)))) = refused else {
            panic!("{refused}");
        };
        assert!(matches!(why, VisitError::Panicked { seq: 2, .. }), "{why}");
        let again = open(&storage).unwrap_err();
        let poisoned = RecoverError::Poisoned {
            dir: storage_path(&storage),
            seq: 2,
            message: "planted".to_owned(),
            durable: true,
        };
        assert_eq!(again.to_string(), poisoned.to_string());
    }

    fn storage_path(storage: &SimStorage) -> PathBuf {
        storage.path("")
    }
}
