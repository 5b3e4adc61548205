//! The committer thread: one write in flight, one sync a group, then everything that waited for it.

use crate::batch::Batch;
use crate::feed::Feed;
use crate::sequencer::{Health, Shared};
use crossbeam_channel::{Receiver, Sender};
use gollem_journal::{FileStorage, Storage, WriteError, Writer};
use std::sync::Arc;

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
        while let Ok(mut batch) = self.from_matcher.recv() {
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
            if let Some(feed) = &self.feed {
                feed.offer(released);
            }
            if self.to_matcher.send(batch).is_err() {
                break;
            }
        }
        self.writer.close()
    }
}
