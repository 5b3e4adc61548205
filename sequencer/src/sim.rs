//! A node without threads, for simulation: whoever holds it says which part does something next.
//!
//! It has no behaviour of its own. Each turn is what the part's thread does between two waits, so a schedule of turns is
//! one that the threads could have had. With [`crate::TimeSource::Given`], a journal that prepares nothing ahead and a
//! simulated disk, equal schedules give equal runs. Dropping a node is the death of the process: the storage stays as it is.

use crate::committer::Committer;
use crate::feed::Feed;
use crate::follower::{FollowerOptions, FollowerStatus, FollowerView, Following};
use crate::ingress::Ingress;
use crate::matcher::{Matcher, Turn};
use crate::pipeline::Pipeline;
use crate::recover::{Found, Observer};
use crate::sequencer::{Options, StartError};
use crate::status::{Shared, Status};
use gollem_engine::Engine;
use gollem_journal::{Storage, WriteError};
use std::sync::Arc;
use std::time::Duration;

/// Matcher, committer and follower over one storage.
#[derive(Debug)]
pub struct Node<S: Storage> {
    matcher: Matcher,
    /// Gone after its first error, as its thread would be.
    committer: Option<Committer<S>>,
    following: Option<Following<S>>,
    view: FollowerView,
    ingress: Ingress,
    shared: Arc<Shared>,
    found: Found,
}

impl<S: Storage> Node<S> {
    /// Recovers the state; see [`crate::Sequencer::start`].
    ///
    /// # Errors
    /// As [`crate::Sequencer::start`].
    pub fn open(
        storage: S,
        options: &Options,
        witnessed: u64,
        feed: Option<Feed>,
        observer: Option<Observer<'_>>,
    ) -> Result<Node<S>, StartError> {
        let Pipeline { matcher, mut committer, ingress, shared, found } =
            Pipeline::open(storage, options, witnessed, feed, observer)?;
        // Turns have no pace: a full disk is looked at whenever the committer has its turn.
        committer.space.pace = Duration::ZERO;
        let committer = Some(committer);
        Ok(Node { matcher, committer, following: None, view: FollowerView::default(), ingress, shared, found })
    }

    /// Lets a follower begin.
    ///
    /// # Errors
    /// What it says when it cannot read the journal.
    pub fn follow(&mut self, storage: S, options: FollowerOptions) -> Result<(), String> {
        self.view = FollowerView::default();
        let following = Following::begin(storage, options, self.view.clone());
        self.following = Some(following.map_err(|error| error.to_string())?);
        Ok(())
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

    /// The matcher's state: it may be ahead of the disk.
    pub fn engine(&self) -> &Engine {
        &self.matcher.engine
    }

    /// How far the follower is, and its state; `None` without one.
    pub fn follower(&self) -> Option<(FollowerStatus, &Engine)> {
        self.following.as_ref().map(|following| (self.view.status(), following.state.replica.engine()))
    }

    /// The matcher does what it can without waiting. True if there was something to do.
    pub fn turn_matcher(&mut self) -> bool {
        self.matcher.turn() == Turn::Worked
    }

    /// The committer commits a group, if there is one. True if there was something to do.
    ///
    /// # Errors
    /// The first failed write or sync. The committer is gone then, with the batches it had.
    pub fn turn_committer(&mut self) -> Result<bool, WriteError> {
        let Some(mut committer) = self.committer.take() else {
            return Ok(false);
        };
        let turn = committer.turn()?;
        self.committer = Some(committer);
        Ok(turn == Turn::Worked)
    }

    /// The follower reads on, takes a snapshot and signs a head if they are due. True if there is more to read.
    ///
    /// # Errors
    /// Why it stands still: it is gone then, as its thread would be.
    pub fn turn_follower(&mut self) -> Result<bool, String> {
        let Some(mut following) = self.following.take() else {
            return Ok(false);
        };
        let behind = following.follow(self.shared.durable_seq());
        let turned = behind.and_then(|behind| following.sign(false).map(|()| behind));
        let behind = turned.map_err(|error| error.to_string())?;
        self.following = Some(following);
        Ok(behind)
    }

    /// Finishes what is queued, makes it durable and closes the journal; returns the final state.
    ///
    /// # Errors
    /// When the journal failed; it is not closed then.
    pub fn stop(mut self) -> Result<Engine, WriteError> {
        self.shared.begin_to_stop();
        self.ingress.stop();
        let mut committer = self.committer.take().ok_or(WriteError::Poisoned)?;
        while self.matcher.turn() != Turn::Over {
            committer.turn()?;
        }
        while committer.turn()? == Turn::Worked {}
        committer.close()?;
        Ok(self.matcher.engine)
    }
}
