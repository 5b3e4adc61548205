//! API keys: `sk-gollem-<12 public>-<48 secret>`, both random alphanumerics.
//!
//! 48 alphanumerics carry 285 bits, so a fast hash of the secret is enough. A key is shown once, when it is made.

use sha2::{Digest, Sha256};
use std::fmt;

const PREFIX: &str = "sk-gollem-";
const PUBLIC_CHARS: usize = 12;
const SECRET_CHARS: usize = 48;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// What a key may do: a set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scopes(pub u8);

impl Scopes {
    /// See the account's own orders, balances and transactions.
    pub const READ: Scopes = Scopes(1);
    /// Buy: purchases, bids, inference.
    pub const TRADE: Scopes = Scopes(2);
    /// Sell: asks, endpoint.
    pub const PROVIDE: Scopes = Scopes(4);
    /// Run the exchange.
    pub const ADMIN: Scopes = Scopes(8);
    /// Take earnings out. Only keys that are bound to addresses have it.
    pub const WITHDRAW: Scopes = Scopes(16);

    /// Everything.
    pub const ALL: Scopes = Scopes(31);

    const NAMES: [(&'static str, Scopes); 5] = [
        ("read", Scopes::READ),
        ("trade", Scopes::TRADE),
        ("provide", Scopes::PROVIDE),
        ("withdraw", Scopes::WITHDRAW),
        ("admin", Scopes::ADMIN),
    ];

    /// The scope of that name.
    pub fn from_name(name: &str) -> Option<Scopes> {
        Scopes::NAMES.iter().find(|(known, _)| *known == name).map(|(_, scope)| *scope)
    }

    /// The names in the set.
    pub fn names(self) -> Vec<&'static str> {
        Scopes::NAMES.iter().filter(|(_, scope)| self.intersects(*scope)).map(|(name, _)| *name).collect()
    }

    /// Both sets together.
    pub const fn with(self, other: Scopes) -> Scopes {
        Scopes(self.0 | other.0)
    }

    /// Whether everything in `other` is in this set, too.
    pub const fn contains(self, other: Scopes) -> bool {
        other.0 & !self.0 == 0
    }

    /// Whether the sets share a permission.
    pub const fn intersects(self, other: Scopes) -> bool {
        self.0 & other.0 != 0
    }
}

/// A new or presented key. Its secret part shows in no debug output.
#[derive(Clone)]
pub struct ApiKey {
    public: String,
    secret: String,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}-…", self.public)
    }
}

impl ApiKey {
    /// A fresh key from the operating system's random source.
    ///
    /// # Errors
    /// When that source fails.
    pub fn generate() -> Result<ApiKey, getrandom::Error> {
        Ok(ApiKey { public: random(PUBLIC_CHARS)?, secret: random(SECRET_CHARS)? })
    }

    /// Reads a presented key; `None` when it has not the form of one.
    pub fn parse(text: &str) -> Option<ApiKey> {
        let (public, secret) = text.strip_prefix(PREFIX)?.split_once('-')?;
        let alphanumeric =
            |part: &str, len: usize| part.len() == len && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let valid = alphanumeric(public, PUBLIC_CHARS) && alphanumeric(secret, SECRET_CHARS);
        valid.then(|| ApiKey { public: public.to_owned(), secret: secret.to_owned() })
    }

    /// The whole key, to be shown once.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}-{}", self.public, self.secret)
    }

    /// The part that may be shown and stored.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The part that may be shown, as it begins the whole key.
    pub(crate) fn prefix_of(public: &str) -> String {
        format!("{PREFIX}{public}")
    }

    /// The public part in a prefix.
    pub(crate) fn public_in(prefix: &str) -> Option<&str> {
        prefix.strip_prefix(PREFIX).filter(|public| public.len() == PUBLIC_CHARS)
    }

    /// What is stored of the secret part.
    pub fn secret_hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret.as_bytes()).into()
    }

    /// The same key with another secret.
    ///
    /// # Errors
    /// When the random source fails.
    pub(crate) fn renewed(public: &str) -> Result<ApiKey, getrandom::Error> {
        Ok(ApiKey { public: public.to_owned(), secret: random(SECRET_CHARS)? })
    }
}

/// Uniform alphanumerics: bytes beyond the last whole multiple of 62 are thrown away.
fn random(chars: usize) -> Result<String, getrandom::Error> {
    let mut text = String::with_capacity(chars);
    while text.len() < chars {
        let mut bytes = [0_u8; 64];
        getrandom::fill(&mut bytes)?;
        let fair = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        text.extend(fair.take(chars - text.len()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_round_trips_and_only_its_own_secret_matches() {
        let key = ApiKey::generate().unwrap();
        let again = ApiKey::parse(&key.reveal()).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(again.secret_hash(), key.secret_hash());
        assert_ne!(ApiKey::generate().unwrap().secret_hash(), key.secret_hash());
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let key = ApiKey::generate().unwrap();
        let secret = key.reveal().split('-').next_back().unwrap().to_owned();
        assert!(!format!("{key:?}").contains(&secret));
    }

    #[test]
    fn what_is_no_key_is_refused_by_form() {
        let good = ApiKey::generate().unwrap().reveal();
        for bad in ["", "sk-gollem-", "sk-gollem-abc-def", &good[1..], &format!("{good}x"), &good.replace('-', "_")] {
            assert!(ApiKey::parse(bad).is_none(), "{bad}");
        }
    }
}
