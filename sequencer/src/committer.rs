//! The committer thread: one write in flight, one sync a group, then everything that waited for it.

use crate::batch::Batch;
use crate::feed::Feed;
use crate::sequencer::{Health, Shared};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use gollem_journal::{FileStorage, Storage, WriteError, Writer};
use std::sync::Arc;
use std::time::Duration;

/// How long a full feed is left alone.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);

/// Everything the committer thread owns.
#[derive(Debug)]
pub(crate) struct Committer<S: Storage = FileStorage> {
    pub(crate) writer: Writer<S>,
    pub(crate) from_matcher: Receiver<Batch>,
    pub(crate) to_matcher: Sender<Batch>,
    pub(crate) feed: Option<Feed>,
    pub(crate) shared: Arc<Shared>,
}

impl<S: Storage> Committer<S> {
    /// Runs until the matcher is gone, then closes the journal cleanly.
    ///
    /// # Errors
    /// The first failed write or sync. It ends the thread: nothing after it is acknowledged, and the batches in
    /// hand are dropped with their replies.
    pub(crate) fn run(mut self) -> Result<(), WriteError> {
        while let Some(mut batch) = self.next_batch() {
            let durable = match self.writer.commit(batch.group()) {
                Ok(durable) => durable,
                Err(error) => {
                    self.shared.set_health(Health::JournalFailed);
                    tracing::error!(%error, "the journal failed: no further command is accepted");
                    return Err(error);
                }
            };
            // The watermark moves first, so that whoever is answered reads views at or after its own command.
            self.shared.advance(durable, self.writer.bytes_written());
            let released = batch.release(durable);
            if let Some(feed) = &mut self.feed {
                feed.offer(released);
            }
            if self.to_matcher.send(batch).is_err() {
                break;
            }
        }
        self.writer.close()
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
