//! Signs requests as `docs/access.md` says, written from that page alone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest, Sha256};
use std::time::{SystemTime, UNIX_EPOCH};

/// One who signs with a key that the exchange knows by this prefix.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The key's prefix, once it is registered.
    pub prefix: String,
    key: SigningKey,
}

/// What is signed of a request, besides who signs.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path.
    pub path: &'a str,
    /// Its query without the question mark.
    pub query: &'a str,
    /// Its body.
    pub body: &'a [u8],
    /// Unix milliseconds.
    pub time_ms: u64,
    /// 8 to 64 letters, digits, hyphens and underscores.
    pub nonce: &'a str,
}

/// Now, in Unix milliseconds.
#[must_use]
pub fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

impl Signer {
    /// A signer whose secret half is made of `seed`.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Signer {
        Signer { prefix: String::new(), key: SigningKey::from_bytes(&seed) }
    }

    /// The same signer under another key's prefix.
    #[must_use]
    pub fn under(self, prefix: &str) -> Signer {
        Signer { prefix: prefix.to_owned(), ..self }
    }

    /// The public half, as it is registered.
    #[must_use]
    pub fn public_key(&self) -> String {
        STANDARD.encode(self.key.verifying_key().as_bytes())
    }

    /// The headers of a signed request.
    #[must_use]
    pub fn headers(&self, request: &Request<'_>) -> [(&'static str, String); 4] {
        let Request { method, path, query, body, time_ms, nonce } = request;
        let hash: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        let time = time_ms.to_string();
        let text = ["gollem-v1", &self.prefix, &time, nonce, method, path, query, &hash].join("\n");
        let signature = STANDARD.encode(self.key.sign(text.as_bytes()).to_bytes());
        [
            ("x-gollem-key", self.prefix.clone()),
            ("x-gollem-timestamp", time),
            ("x-gollem-nonce", (*nonce).to_owned()),
            ("x-gollem-signature", signature),
        ]
    }
}
