//! The pipeline's parts, put together but not yet running: threads run them (`sequencer`), or a simulation turns them.

use crate::batch::Batch;
use crate::clock::Clock;
use crate::committer::Committer;
use crate::feed::Feed;
use crate::ingress::Ingress;
use crate::matcher::Matcher;
use crate::port::OpenPorts;
use crate::recover::{Found, Observer, recover};
use crate::released::Pool;
use crate::sequencer::{Options, StartError};
use crate::space::Space;
use crate::stages::Stages;
use crate::status::Shared;
use crate::watermark::Witnesses;
use crossbeam_channel::bounded;
use gollem_engine::Timestamp;
use gollem_journal::Storage;
use std::sync::Arc;

/// Everything between the way in and the way out.
#[derive(Debug)]
pub(crate) struct Pipeline<S: Storage> {
    pub(crate) matcher: Matcher,
    pub(crate) committer: Committer<S>,
    pub(crate) ingress: Ingress,
    pub(crate) shared: Arc<Shared>,
    pub(crate) found: Found,
}

impl<S: Storage> Pipeline<S> {
    /// Recovers the state and connects the parts; see [`crate::Sequencer::start`].
    pub(crate) fn open(
        storage: S,
        options: &Options,
        witnessed: u64,
        feed: Option<Feed>,
        observer: Option<Observer<'_>>,
    ) -> Result<Pipeline<S>, StartError> {
        let recovered = recover(storage, &options.journal, options.capacity, witnessed, observer)?;
        let found = recovered.found;
        let journal_bytes = recovered.unread_bytes + recovered.writer.bytes_written();
        let shared = Arc::new(Shared::new(found.journal.last_seq, journal_bytes, Stages::new()?));
        let (ingress, intake) = Ingress::new(options.queue_commands_max);
        // Each channel can hold every batch there is, so no send ever blocks.
        let (to_committer, from_matcher) = bounded(2);
        let (to_matcher, from_committer) = bounded(2);
        let matcher = Matcher {
            engine: recovered.engine,
            encoder: recovered.encoder,
            clock: Clock::starting_at(Timestamp(found.journal.last_time_ns), options.time.clone()),
            intake,
            door: ingress.door(),
            to_committer,
            from_committer,
            open: Batch::default(),
            spare: Some(Batch::default()),
            stopping: false,
            spin: options.spin,
            applying: 0,
        };
        let mut writer = recovered.writer;
        let committer = Committer {
            space: Space::new(&mut writer, options.journal.segment_bytes, ingress.door()),
            writer,
            from_matcher,
            to_matcher,
            unwritten: None,
            feed,
            ports: OpenPorts(ingress.ports()),
            witnesses: Witnesses(options.witnesses.clone()),
            pool: Pool::default(),
            unread_bytes: recovered.unread_bytes,
            shared: Arc::clone(&shared),
        };
        Ok(Pipeline { matcher, committer, ingress, shared, found })
    }
}
