//! What the threads publish about themselves, and whether commands are accepted.

use crate::stages::Stages;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
    /// Not for now: the disk is full. Reads go on; commands are accepted again when there is space.
    DiskFull = 3,
    /// No: the engine panicked on an input, or a thread did. The process should stop: its next start says what to do.
    Panicked = 4,
}

impl Health {
    fn from_number(number: u8) -> Health {
        let all = [Health::Running, Health::JournalFailed, Health::Stopped, Health::DiskFull, Health::Panicked];
        all[usize::from(number)]
    }
}

/// What the threads publish about themselves.
#[derive(Debug)]
pub(crate) struct Shared {
    durable_seq: AtomicU64,
    journal_bytes: AtomicU64,
    health: AtomicU8,
    stages: Mutex<Stages>,
    /// Set when the pipeline is asked to stop: whoever waits for better times gives up.
    stopping: AtomicBool,
}

impl Shared {
    pub(crate) fn new(durable_seq: u64, journal_bytes: u64, stages: Stages) -> Shared {
        Shared {
            durable_seq: AtomicU64::new(durable_seq),
            journal_bytes: AtomicU64::new(journal_bytes),
            health: AtomicU8::new(Health::Running as u8),
            stages: Mutex::new(stages),
            stopping: AtomicBool::new(false),
        }
    }

    pub(crate) fn advance(&self, durable_seq: u64, journal_bytes: u64) {
        self.journal_bytes.store(journal_bytes, Ordering::Relaxed);
        self.durable_seq.store(durable_seq, Ordering::Release);
    }

    pub(crate) fn durable_seq(&self) -> u64 {
        self.durable_seq.load(Ordering::Acquire)
    }

    pub(crate) fn journal_bytes(&self) -> u64 {
        self.journal_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn health(&self) -> Health {
        Health::from_number(self.health.load(Ordering::Acquire))
    }

    /// Becomes `to` if it is `from`. What failed or stopped stays so.
    pub(crate) fn change_health(&self, from: Health, to: Health) {
        let _before = self.health.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn set_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::Release);
    }

    pub(crate) fn begin_to_stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Once a group, by the committer: whoever reads meanwhile makes a copy and leaves.
    pub(crate) fn record_stages(&self, record: impl FnOnce(&mut Stages)) {
        record(&mut self.stages.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Held by each thread: however a thread ends, by a panic too, the pipeline no longer counts as running.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        let ended = if std::thread::panicking() { Health::Panicked } else { Health::Stopped };
        // A journal that failed stays so.
        self.0.change_health(Health::Running, ended);
        self.0.change_health(Health::DiskFull, ended);
        if ended == Health::Panicked {
            // The other thread may have seen this one go and have ended first.
            self.0.change_health(Health::Stopped, ended);
        }
    }
}

/// A view of the pipeline's progress; clone it freely.
#[derive(Clone, Debug)]
pub struct Status(pub(crate) Arc<Shared>);

impl Status {
    /// Everything up to this input is durable, at every witness.
    pub fn durable_seq(&self) -> u64 {
        self.0.durable_seq()
    }

    /// Bytes of the journal's records and headers; zeros written ahead are not counted.
    pub fn journal_bytes(&self) -> u64 {
        self.0.journal_bytes()
    }

    /// Whether commands are accepted.
    pub fn health(&self) -> Health {
        self.0.health()
    }

    /// How long commands took where since the start: a copy.
    pub fn stages(&self) -> Stages {
        self.0.stages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
