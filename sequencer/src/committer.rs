//! The committer thread: one write in flight, one sync a group, then everything that waited for it.

use crate::batch::Batch;
use crate::feed::Feed;
#[cfg(any(test, feature = "sim"))]
use crate::matcher::Turn;
use crate::port::OpenPorts;
use crate::released::Pool;
use crate::space::{RETRY, Space};
use crate::status::{Health, Shared};
use crate::watermark::{Watermark, Witnesses};
#[cfg(any(test, feature = "sim"))]
use crossbeam_channel::TryRecvError;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use gollem_journal::{Durable, FileStorage, Storage, WriteError, Writer, crash_point};
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
    /// A batch for which there was no space.
    pub(crate) unwritten: Option<Batch>,
    pub(crate) feed: Option<Feed>,
    /// Closed when the thread ends, however it does.
    pub(crate) ports: OpenPorts,
    pub(crate) witnesses: Witnesses,
    pub(crate) space: Space,
    pub(crate) pool: Pool,
    /// Bytes of the journal that the writer does not count: segments that were not read at the start.
    pub(crate) unread_bytes: u64,
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
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn turn(&mut self) -> Result<Turn, WriteError> {
        if let Some(batch) = self.unwritten.take() {
            self.process(batch)?;
            return Ok(if self.unwritten.is_some() { Turn::Idle } else { Turn::Worked });
        }
        match self.from_matcher.try_recv() {
            Ok(batch) => self.process(batch).map(|goes_on| if goes_on { Turn::Worked } else { Turn::Over }),
            Err(TryRecvError::Empty) => {
                self.look_around();
                Ok(Turn::Idle)
            }
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
        let (inputs, bytes) = (batch.len(), batch.group().bytes());
        crash_point!("committer.received");
        let Some(durable) = self.commit(&mut batch)? else {
            self.unwritten = Some(batch);
            return Ok(true);
        };
        crash_point!("committer.durable");
        let synced = Instant::now();
        let watermark = self.witnessed(durable);
        // The watermark moves first, so that whoever is answered reads views at or after its own command.
        self.shared.advance(watermark.seq(), self.unread_bytes + self.writer.bytes_written());
        crash_point!("committer.advanced");
        let released = batch.release(watermark, &mut self.pool, &self.ports);
        crash_point!("committer.answered");
        if let Some(feed) = &mut self.feed {
            feed.offer(released);
        }
        crash_point!("committer.fed");
        self.space.used(bytes, &mut self.writer, &self.shared);
        let told = Instant::now();
        self.shared.record_stages(|stages| {
            batch.samples().for_each(|sample| stages.record(&sample, told));
            stages.record_group(inputs, synced - started, told - synced);
        });
        Ok(self.to_matcher.send(batch).is_ok())
    }

    /// Commits the group. `None` when there is no space: it may be tried again, unless the pipeline is to stop.
    fn commit(&mut self, batch: &mut Batch) -> Result<Option<Durable>, WriteError> {
        match self.writer.commit(batch.group()) {
            Ok(durable) => Ok(Some(durable)),
            Err(error) if error.is_retryable() && !self.shared.is_stopping() => {
                self.space.none_left(&self.shared);
                Ok(None)
            }
            Err(error) => {
                self.shared.set_health(Health::JournalFailed);
                tracing::error!(%error, "the journal failed: no further command is accepted");
                Err(error)
            }
        }
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

    /// Waits for the next batch; meanwhile offers again what the feed had no room for, and looks for space.
    fn next_batch(&mut self) -> Option<Batch> {
        if let Some(batch) = self.unwritten.take() {
            std::thread::park_timeout(RETRY);
            return Some(batch);
        }
        loop {
            let backlog = self.feed.as_ref().is_some_and(Feed::has_backlog);
            let pause = match (backlog, self.space.is_full()) {
                (true, _) => BACKLOG_PAUSE,
                (false, true) => RETRY,
                (false, false) => return self.from_matcher.recv().ok(),
            };
            match self.from_matcher.recv_timeout(pause) {
                Ok(batch) => return Some(batch),
                Err(RecvTimeoutError::Timeout) => self.look_around(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Offers again what the feed had no room for, and looks for space.
    fn look_around(&mut self) {
        self.feed.iter_mut().for_each(Feed::offer_backlog);
        self.space.look(&mut self.writer, &self.shared);
    }
}
