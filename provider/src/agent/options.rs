//! What an agent quotes, where, and as whom.

use std::{fmt, time::Duration};

use tokio::net::TcpListener;

use super::policy::Policy;

/// Settings of an agent.
#[derive(Debug)]
pub struct AgentOptions {
    /// Base address of the gateway, such as `http://127.0.0.1:8080`.
    pub gateway: String,
    /// The provider's own API key.
    pub key: ApiKey,
    /// Base address of the model server including `/v1`; without a proxy the gateway calls it.
    pub endpoint: String,
    /// The model server's own API key.
    pub upstream_key: Option<ApiKey>,
    /// Stands between the gateway and the model server.
    pub proxy: Option<ProxyOptions>,
    /// The instrument: the name of the model on the exchange.
    pub model: String,
    /// What is asked for a normalised token.
    pub policy: Policy,
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
    /// How long after its last sign of life the exchange cancels a silent agent's quote; several times `refresh`.
    pub deadline: Duration,
    /// How long withdrawing, and ending what runs, may take after the stop.
    pub stop_grace: Duration,
}

/// Where and how an agent stands between the gateway and the model server.
#[derive(Debug)]
pub struct ProxyOptions {
    /// Where it listens.
    pub listener: TcpListener,
    /// Its base address including `/v1`, as the gateway is to call it.
    pub public: String,
    /// Requests that may run at a time, at least 1.
    pub max_concurrent: u32,
}

impl AgentOptions {
    /// The address that the gateway is to call.
    pub(crate) fn public(&self) -> &str {
        self.proxy.as_ref().map_or(&self.endpoint, |proxy| &proxy.public)
    }
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
