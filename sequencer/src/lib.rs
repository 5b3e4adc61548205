//! Puts inputs in order, applies them, makes them durable and only then lets their events out.
//!
//! ```text
//! Ingress --bounded queue--> MATCHER thread --batch--> COMMITTER thread --> replies, feed, watermark
//!                            stamp, encode,            one write, one sync,
//!                            engine.apply              then release
//! ```
//!
//! Two batches go round between the two threads: while one is on its way to disk the other gathers
//! what arrives, so a group is as large as the disk is slow. The matcher may run ahead of the disk, its
//! output may not: events and replies sit inside a `batch::Batch`, and the only way to get them out
//! takes a [`gollem_journal::Durable`], which only a successful sync can make.
//!
//! Deliberately absent: HTTP, views, and any rule of the market.

#[cfg(feature = "archive")]
mod archiver;
mod batch;
mod clock;
mod committer;
mod feed;
mod follower;
mod foresight;
mod ingress;
mod matcher;
mod pipeline;
#[cfg(feature = "crash-points")]
mod points;
mod poison;
mod port;
mod recover;
mod released;
mod replica;
mod restore;
mod sequencer;
#[cfg(feature = "sim")]
pub mod sim;
mod space;
mod stages;
mod status;
mod watermark;

#[cfg(feature = "archive")]
pub use archiver::{Archiver, ArchiverOptions, Passed};
pub use clock::TimeSource;
pub use feed::Feed;
pub use follower::{Follower, FollowerOptions, FollowerStatus, FollowerView, Heads};
pub use foresight::Foresight;
pub use ingress::{Ingress, PendingAck, PendingForesight, SubmitError};
#[cfg(feature = "crash-points")]
pub use points::CRASH_POINTS;
pub use poison::{POISON_NAME, Poison};
pub use port::{Answers, Port};
pub use recover::{Found, Observer, RecoverError, VisitError};
pub use released::{Ack, AppliedInput, Released};
pub use replica::{ReplayError, Replica};
pub use restore::{Restored, restore};
pub use sequencer::{Options, Pinning, Sequencer, StartError, StopError, Stopped};
pub use stages::Stages;
pub use status::{Health, Status};
pub use watermark::Witness;
