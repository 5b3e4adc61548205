//! Why a call brought no answer.

use std::time::Duration;

use super::RESPONSE_BYTES_MAX;

/// Each variant is one thing to do about it. None holds the API key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The address is wrong: correct the setting.
    #[error("{url:?} is not a usable address: {reason}")]
    InvalidUrl {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The API key holds characters that a header cannot carry: correct the setting.
    #[error("the API key holds characters that a header cannot carry")]
    InvalidKey,
    /// No whole answer in time: the server may have acted or not, try again if that does no harm.
    #[error("{call} was not answered within {after:?}")]
    Timeout {
        /// Method and address.
        call: String,
        /// The time limit.
        after: Duration,
    },
    /// No connection, or it broke: the server may have acted or not, try again if that does no harm.
    #[error("{call} failed: {reason}")]
    Unreachable {
        /// Method and address.
        call: String,
        /// The error and its causes.
        reason: String,
    },
    /// The answer is larger than this client reads: look who answers there.
    #[error("{call} was answered with more than {RESPONSE_BYTES_MAX} bytes")]
    TooLarge {
        /// Method and address.
        call: String,
    },
    /// A success that is not JSON: look who answers there.
    #[error("{call} was answered with something that is not JSON: {reason}")]
    NotJson {
        /// Method and address.
        call: String,
        /// What the parser says.
        reason: String,
    },
}

impl ClientError {
    /// Whether the same call may succeed later, with nothing corrected.
    pub fn is_passing(&self) -> bool {
        match self {
            ClientError::Timeout { .. } | ClientError::Unreachable { .. } => true,
            ClientError::InvalidUrl { .. }
            | ClientError::InvalidKey
            | ClientError::TooLarge { .. }
            | ClientError::NotJson { .. } => false,
        }
    }
}
