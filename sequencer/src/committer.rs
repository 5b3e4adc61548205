//! The committer thread: one write in flight, one sync a group, then everything that waited for it.

use crate::batch::Batch;
use crate::feed::Feed;
use crate::matcher::Turn;
use crate::port::OpenPorts;
use crate::released::Pool;
use crate::status::{Health, Shared};
use crate::watermark::{Watermark, Witnesses};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use gollem_journal::{Durable, FileStorage, Storage, WriteError, Writer};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a full feed is left alone.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);

/// Everything the committer thread owns.
#[derive(Debug)]
pub(crate) struct Committer<S: Storage = FileStorage> {
    pub(crate) writer: Writer<S>,
    pub(crate) from_matcher: Receiver<Batch>,
    pub(crate) to_matcher: Sender<Batch>,
    pub(crate) feed: Option<Feed>,
    /// Closed when the thread ends, however it does.
    pub(crate) ports: OpenPorts,
    pub(crate) witnesses: Witnesses,
    pub(crate) pool: Pool,
    pub(crate) shared: Arc<Shared>,
}

impl<S: Storage> Committer<S> {
    /// Runs until the matcher is gone, then closes the journal cleanly.
    ///
    /// # Errors
    /// The first failed write or sync. It ends the thread: nothing after it is acknowledged, and the batches in
    /// hand are dropped with their replies.
    pub(crate) fn run(mut self) -> Result<(), WriteError> {
        while let Some(batch) = self.next_batch() {
            if !self.process(batch)? {
                break;
            }
        }
        self.close()
    }

    /// Does what can be done without waiting.
    ///
    /// # Errors
    /// As [`Committer::run`].
    pub(crate) fn turn(&mut self) -> Result<Turn, WriteError> {
        match self.from_matcher.try_recv() {
            Ok(batch) => self.process(batch).map(|goes_on| if goes_on { Turn::Worked } else { Turn::Over }),
            Err(TryRecvError::Empty) => Ok(Turn::Idle),
            Err(TryRecvError::Disconnected) => Ok(Turn::Over),
        }
    }

    /// Closes the journal cleanly.
    ///
    /// # Errors
    /// See [`Writer::close`].
    pub(crate) fn close(self) -> Result<(), WriteError> {
        self.writer.close()
    }

    /// Makes a batch durable and tells everyone. False when the matcher is gone.
    fn process(&mut self, mut batch: Batch) -> Result<bool, WriteError> {
        let started = Instant::now();
        let inputs = batch.len();
        let durable = self.commit(&batch)?;
        let synced = Instant::now();
        let watermark = self.witnessed(durable);
        // The watermark moves first, so that whoever is answered reads views at or after its own command.
        self.shared.advance(watermark.seq(), self.writer.bytes_written());
        let released = batch.release(watermark, &mut self.pool, &self.ports);
        if let Some(feed) = &mut self.feed {
            feed.offer(released);
        }
        let told = Instant::now();
        self.shared.record_stages(|stages| {
            batch.samples().for_each(|sample| stages.record(&sample, told));
            stages.record_group(inputs, synced - started, told - synced);
        });
        Ok(self.to_matcher.send(batch).is_ok())
    }

    fn commit(&mut self, batch: &Batch) -> Result<Durable, WriteError> {
        self.writer.commit(batch.group()).inspect_err(|error| {
            self.shared.set_health(Health::JournalFailed);
            tracing::error!(%error, "the journal failed: no further command is accepted");
        })
    }

    /// Waits until every witness has confirmed what is on the local disk.
    fn witnessed(&self, durable: Durable) -> Watermark {
        loop {
            let watermark = self.witnesses.watermark(durable);
            if watermark.covers(durable.seq()) {
                return watermark;
            }
            self.witnesses.wait();
        }
    }

    /// Waits for the next batch; meanwhile offers again what the feed had no room for.
    fn next_batch(&mut self) -> Option<Batch> {
        loop {
            let Some(feed) = self.feed.as_mut().filter(|feed| feed.has_backlog()) else {
                return self.from_matcher.recv().ok();
            };
            match self.from_matcher.recv_timeout(BACKLOG_PAUSE) {
                Ok(batch) => return Some(batch),
                Err(RecvTimeoutError::Timeout) => feed.offer_backlog(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}
