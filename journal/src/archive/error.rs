//! What can go wrong with an archive, one variant for each thing an operator would do about it.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// An archive that cannot be used, or a segment that is not in it as it should be.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The address cannot be used: correct it.
    #[error("cannot archive to {url}: {reason}; use file:///folder or s3://bucket/prefix")]
    Url {
        /// The address given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The object storage refused or is out of reach: look at the source, then at credentials, network and space. The
    /// call can be repeated.
    #[error("cannot {action} {object} in {archive}: check its credentials, network and space, then repeat")]
    Store {
        /// What was tried.
        action: &'static str,
        /// The object.
        object: String,
        /// Address of the archive.
        archive: String,
        /// What the storage said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The local disk refused.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a segment of a journal: name another one.
    #[error("{} is not a segment to archive: {reason}", path.display())]
    NotSegment {
        /// The file.
        path: PathBuf,
        /// What shows it.
        reason: &'static str,
    },
    /// The file changed while it was read: it is still being written. Archive it when the journal has gone on to the
    /// next segment.
    #[error("{} changed while it was archived: archive closed segments only", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// There are other bytes under this name: two journals share an archive, or one of the copies was changed. Compare
    /// them, and give each journal a prefix of its own. Nothing was overwritten.
    #[error("{} and {object} in {archive} differ: nothing was overwritten, find out which is right", path.display())]
    Differs {
        /// The local file.
        path: PathBuf,
        /// The object.
        object: String,
        /// Address of the archive.
        archive: String,
    },
    /// The archived copy is not what was archived: fetch it from another copy; if the segment is still there, remove the
    /// object and its `.sha256` and archive it again.
    #[error("{object} in {archive} is damaged, {what}: use another copy, or remove it and archive the segment again")]
    Damaged {
        /// The object.
        object: String,
        /// Address of the archive.
        archive: String,
        /// What shows it.
        what: &'static str,
    },
    /// The segment was never archived whole.
    #[error("{object} is not in {archive}")]
    Missing {
        /// The object.
        object: String,
        /// Address of the archive.
        archive: String,
    },
}
