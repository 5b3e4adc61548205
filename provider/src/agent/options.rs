//! What an agent quotes, where, and as whom.

use std::{fmt, time::Duration};

use super::price::Price;

/// Settings of an agent.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Base address of the gateway, such as `http://127.0.0.1:8080`.
    pub gateway: String,
    /// The provider's own API key.
    pub key: ApiKey,
    /// Base address of the model server including `/v1`, as the gateway is to call it.
    pub endpoint: String,
    /// The instrument: the name of the model on the exchange.
    pub model: String,
    /// Asked for a normalised token.
    pub price: Price,
    /// Promised time to the first token, in milliseconds.
    pub latency_ms: u32,
    /// Promised tokens a second.
    pub throughput_tps: u32,
    /// Normalised tokens on offer at a time.
    pub capacity: u64,
    /// GPU class, such as `h100`.
    pub gpu: Option<String>,
    /// Region, such as `us`.
    pub region: Option<String>,
    /// Time between two looks at the quote and the model server.
    pub refresh: Duration,
    /// How long withdrawing may take after the stop.
    pub stop_grace: Duration,
}

impl AgentOptions {
    /// The usual time between two looks.
    pub const REFRESH_DEFAULT: Duration = Duration::from_secs(5);
    /// The usual time to withdraw.
    pub const STOP_GRACE_DEFAULT: Duration = Duration::from_secs(10);
}

/// An API key that does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Takes a key, without the white space around it; `None` if nothing is left.
    pub fn new(key: &str) -> Option<Self> {
        let key = key.trim();
        (!key.is_empty()).then(|| ApiKey(key.to_owned()))
    }

    /// The key itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::ApiKey;

    #[test]
    fn key_is_trimmed_and_hidden() {
        let key = ApiKey::new(" sk-secret\n").unwrap();
        assert_eq!(key.expose(), "sk-secret");
        assert_eq!(format!("{key:?}"), "ApiKey(..)");
        assert_eq!(ApiKey::new(" \n"), None);
    }
}
