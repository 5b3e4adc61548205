//! Why an agent ends before it is told to.

use hyper::StatusCode;

use crate::client::ClientError;

/// Each variant is one thing to do about it.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// An address or the API key is unusable, or something else answers there: correct the setting.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The model server does not answer: start it, or correct the endpoint.
    #[error("the model server at {endpoint} does not answer: {reason}")]
    ModelServer {
        /// The base address asked.
        endpoint: String,
        /// What came instead.
        reason: String,
    },
    /// The gateway refuses, and would again: correct what its message names.
    #[error("the gateway refused {call} with {status}: {message}")]
    Refused {
        /// Method and path.
        call: String,
        /// The status of the answer.
        status: StatusCode,
        /// The gateway's own words.
        message: String,
    },
    /// The gateway could not be reached in the time left after the stop: an ask may rest until its deadline.
    #[error("{call} did not succeed in the time left after the stop: {reason}")]
    Unavailable {
        /// Method and path.
        call: String,
        /// The last failure.
        reason: String,
    },
    /// The gateway's answer does not say what it must: agent and gateway do not fit together.
    #[error("the gateway's answer to {call} makes no sense: {reason}")]
    Malformed {
        /// Method and path.
        call: String,
        /// What is missing or wrong.
        reason: String,
    },
}
