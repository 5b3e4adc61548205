//! Whether the model server is there: it is asked for its list of models.
//!
//! One failed check is noise; [`HEALTH_FAILURES_MAX`] in a row mean that it is down. One good check means that it is
//! back.

use std::time::Duration;

use super::{error::AgentError, options::ApiKey};
use crate::client::Client;

/// Failed checks in a row after which the model server counts as down.
pub const HEALTH_FAILURES_MAX: u32 = 3;

/// Time limit of one check.
const CHECK_MAX: Duration = Duration::from_secs(2);

/// What the last checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// The last check was good.
    Up,
    /// It failed, but not often enough to act upon.
    Doubtful,
    /// It failed too often.
    Down,
}

/// The model server and its record.
#[derive(Debug)]
pub(crate) struct ModelServer {
    client: Client,
    failures: u32,
}

impl ModelServer {
    pub(crate) fn new(endpoint: &str, key: Option<&ApiKey>) -> Result<Self, AgentError> {
        let client = Client::new(endpoint, key.map(ApiKey::expose))?.with_timeout(CHECK_MAX);
        Ok(ModelServer { client, failures: 0 })
    }

    /// One check that has to be good.
    pub(crate) async fn require(&self) -> Result<(), AgentError> {
        let endpoint = self.client.base_url().to_owned();
        self.ask().await.map_err(|reason| AgentError::ModelServer { endpoint, reason })
    }

    /// One check, counted.
    pub(crate) async fn check(&mut self) -> Health {
        match self.ask().await {
            Ok(()) => {
                if self.failures > 0 {
                    tracing::info!(failures = self.failures, "the model server answers again");
                }
                self.failures = 0;
                Health::Up
            }
            Err(reason) => {
                self.failures = self.failures.saturating_add(1);
                tracing::warn!(failures = self.failures, reason, "the model server does not answer");
                if self.failures < HEALTH_FAILURES_MAX { Health::Doubtful } else { Health::Down }
            }
        }
    }

    async fn ask(&self) -> Result<(), String> {
        match self.client.get("/models").await {
            Ok((status, _)) if status.is_success() => Ok(()),
            Ok((status, _)) => Err(format!("GET {}/models was answered {status}", self.client.base_url())),
            Err(error) => Err(error.to_string()),
        }
    }
}
