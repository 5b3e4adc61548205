//! Signed requests: the caller proves with Ed25519 that it holds a key of which the exchange knows the public half only, and
//! signs each request whole, once, for a few seconds.
//!
//! The signed text is eight lines with `\n` between them and none at the end: `gollem-v1`, the key's prefix, the time
//! in Unix milliseconds, the nonce, the method, the path, the query (empty without one; path and query as they are
//! sent), and the SHA-256 of the body in lower-case hexadecimal.

use super::unauthorized;
use crate::error::ApiError;
use crate::identity::{Credential, KeyRecord};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) const KEY: &str = "x-gollem-key";
pub(crate) const TIMESTAMP: &str = "x-gollem-timestamp";
pub(crate) const NONCE: &str = "x-gollem-nonce";
pub(crate) const SIGNATURE: &str = "x-gollem-signature";
/// Headers of a signed request.
pub(crate) const HEADERS: [&str; 4] = [KEY, TIMESTAMP, NONCE, SIGNATURE];

/// How old a signature may be, in milliseconds.
const AGE_MS_MAX: u64 = 5_000;
/// How far the caller's clock may be ahead, in milliseconds.
const AHEAD_MS_MAX: u64 = 1_000;
const SECOND_MS: u64 = 1_000;
const NONCE_CHARS: std::ops::RangeInclusive<usize> = 8..=64;
/// Nonces kept in all: those of seven seconds.
const NONCES_MAX: usize = 1 << 18;

/// What came in the headers of a signed request.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) record: Arc<KeyRecord>,
    time_ms: u64,
    nonce: String,
    signature: Signature,
}

impl Signed {
    /// Reads the headers that come with [`KEY`], whose value names `record`.
    pub(super) fn from_headers(headers: &HeaderMap, record: Arc<KeyRecord>) -> Result<Signed, ApiError> {
        let text = |name: &'static str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.ok_or_else(|| malformed(name, format!("a signed request has the header {name}")))
        };
        let time_ms = text(TIMESTAMP)?.parse();
        let time_ms = time_ms.map_err(|_| malformed(TIMESTAMP, format!("{TIMESTAMP} must be in Unix milliseconds")))?;
        let nonce = text(NONCE)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !NONCE_CHARS.contains(&nonce.len()) || !nonce.bytes().all(plain) {
            let message = format!("{NONCE} must have 8 to 64 letters, digits, hyphens and underscores");
            return Err(malformed(NONCE, message));
        }
        let bytes = STANDARD.decode(text(SIGNATURE)?).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
        let message = format!("{SIGNATURE} must be the base64 of 64 bytes");
        let signature = bytes.ok_or_else(|| malformed(SIGNATURE, message))?;
        Ok(Signed { record, time_ms, nonce: nonce.to_owned(), signature })
    }

    /// Which credential of the key made the signature over this very request. Whether it came before says [`Self::once`].
    pub(super) fn verify(&self, parts: &Parts, body: &[u8], now_ms: u64) -> Result<Credential, ApiError> {
        check_time(self.time_ms, now_ms)?;
        let prefix = self.record.prefix();
        let method = parts.method.as_str();
        let target = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let text = signed_text(&prefix, self.time_ms, &self.nonce, method, target, body);
        let seconds = i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX);
        let made_it = |credential: &Credential| match *credential {
            Credential::Ed25519(key) => VerifyingKey::from_bytes(&key)
                .is_ok_and(|key| key.verify_strict(text.as_bytes(), &self.signature).is_ok()),
            Credential::Secret(_) => false,
        };
        self.record.credentials(seconds).find(made_it).ok_or_else(|| {
            let message = "the signature is not that of this request: method, path, query, body, time and nonce are \
                           signed as they are sent";
            unauthorized("signature_invalid", message)
        })
    }

    /// Takes the signature, which was verified, this once.
    pub(super) fn once(&self, seen: &Seen, now_ms: u64) -> Result<(), ApiError> {
        seen.once(&self.record.prefix(), &self.nonce, self.time_ms, now_ms)
    }
}

/// What is signed of a request.
fn signed_text(
    prefix: &str,
    time_ms: u64,
    nonce: &str,
    method: &str,
    (path, query): (&str, &str),
    body: &[u8],
) -> String {
    let hash: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("gollem-v1\n{prefix}\n{time_ms}\n{nonce}\n{method}\n{path}\n{query}\n{hash}")
}

/// Reads the public half of a key pair, base64 of 32 bytes.
pub(crate) fn parse_public_key(text: &str) -> Result<Credential, ApiError> {
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let good = bytes.filter(|bytes| VerifyingKey::from_bytes(bytes).is_ok_and(|key| !key.is_weak()));
    let message = "public_key must be the base64 of an Ed25519 public key of 32 bytes";
    good.map(Credential::Ed25519).ok_or_else(|| ApiError::invalid("public_key", message))
}

fn malformed(header: &'static str, message: String) -> ApiError {
    ApiError { param: Some(header.to_owned()), ..unauthorized("signature_malformed", message) }
}

fn check_time(time_ms: u64, now_ms: u64) -> Result<(), ApiError> {
    if time_ms > now_ms.saturating_add(AHEAD_MS_MAX) {
        let message = format!("the signature's time is ahead of ours, {now_ms}, by more than {AHEAD_MS_MAX} ms");
        return Err(unauthorized("timestamp_in_future", message));
    }
    if time_ms < now_ms.saturating_sub(AGE_MS_MAX) { Err(too_old(now_ms)) } else { Ok(()) }
}

fn too_old(now_ms: u64) -> ApiError {
    let message = format!(
        "the signature is older than {AGE_MS_MAX} ms, than this exchange's start, or than those that it has forgotten; \
         now is {now_ms}"
    );
    unauthorized("timestamp_too_old", message)
}

/// The nonces whose time may still be good: each is good once. What is forgotten is refused by its time from then on, so no
/// request is taken twice, wherever the clock is set.
#[derive(Debug)]
pub(crate) struct Seen(Mutex<Nonces>);

#[derive(Debug, Default)]
struct Nonces {
    /// What was signed before is refused: its nonces are forgotten, or came in an earlier run. It never goes back.
    not_before_ms: u64,
    /// By the second they were signed in.
    by_second: BTreeMap<u64, HashSet<u128>>,
}

impl Seen {
    pub(crate) fn new(not_before_ms: u64) -> Seen {
        Seen(Mutex::new(Nonces { not_before_ms, ..Nonces::default() }))
    }

    fn once(&self, prefix: &str, nonce: &str, time_ms: u64, now_ms: u64) -> Result<(), ApiError> {
        let hash: [u8; 32] = Sha256::new().chain_update(prefix).chain_update([0]).chain_update(nonce).finalize().into();
        let mut short = [0; 16];
        short.copy_from_slice(&hash[..16]);
        let nonce = u128::from_le_bytes(short);
        let mut nonces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.forget(now_ms);
        if time_ms < nonces.not_before_ms {
            return Err(too_old(now_ms));
        }
        if nonces.by_second.values().any(|seen| seen.contains(&nonce)) {
            return Err(unauthorized("nonce_reused", "this nonce came before: each request needs one of its own"));
        }
        if nonces.len() >= NONCES_MAX {
            return Err(ApiError::unavailable("overloaded", "too many signed requests; retry later"));
        }
        nonces.by_second.entry(time_ms / SECOND_MS).or_default().insert(nonce);
        Ok(())
    }
}

impl Nonces {
    /// Forgets those of seconds in which nothing was signed that is good now.
    fn forget(&mut self, now_ms: u64) {
        let oldest = now_ms.saturating_sub(AGE_MS_MAX) / SECOND_MS;
        while let Some(second) = self.by_second.first_entry().filter(|second| *second.key() < oldest) {
            self.not_before_ms = self.not_before_ms.max((second.key() + 1) * SECOND_MS);
            second.remove();
        }
    }

    fn len(&self) -> usize {
        self.by_second.values().map(HashSet::len).sum()
    }
}

/// 401 where a key signs and the caller showed a secret, or the other way round.
pub(super) fn wrong_kind() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "invalid_request_error",
        "invalid_api_key",
        "this API key is not known here as one that signs",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};

    /// The example of docs/access.md.
    #[test]
    fn the_documented_example_has_these_bytes() {
        let text = signed_text(
            "sk-gollem-ABCDEFGHIJKL",
            1_767_225_600_000,
            "c0ffee-0001",
            "POST",
            ("/v1/orders", "dry=1"),
            br#"{"side":"bid"}"#,
        );
        let expected = "gollem-v1\nsk-gollem-ABCDEFGHIJKL\n1767225600000\nc0ffee-0001\nPOST\n/v1/orders\ndry=1\n";
        let (lines, digest) = text.rsplit_once('\n').unwrap();
        assert_eq!(format!("{lines}\n"), expected);
        let signature = SigningKey::from_bytes(&[7; 32]).sign(text.as_bytes());
        let documented = include_str!("../../../docs/access.md");
        assert!(documented.contains(digest), "the body's hash is {digest}");
        assert!(
            documented.contains(&STANDARD.encode(signature.to_bytes())),
            "{}",
            STANDARD.encode(signature.to_bytes())
        );
    }

    fn code(result: Result<(), ApiError>) -> Option<&'static str> {
        result.err().map(|error| error.code)
    }

    /// A request as it comes: its time, then its nonce.
    fn take(seen: &Seen, nonce: &str, time_ms: u64, now_ms: u64) -> Option<&'static str> {
        code(check_time(time_ms, now_ms).and_then(|()| seen.once("key", nonce, time_ms, now_ms)))
    }

    #[test]
    fn a_nonce_is_good_once_for_as_long_as_its_time_could_be_good_again() {
        for now in [1_000_000, 1_000_999] {
            for time in [now - AGE_MS_MAX, now, now + AHEAD_MS_MAX] {
                let seen = Seen::new(0);
                assert_eq!(take(&seen, "nonce-1", time, now), None);
                seen.once("other", "nonce-1", time, now).expect("another key's");
                for later in (now..time + AGE_MS_MAX).step_by(300).chain([time + AGE_MS_MAX]) {
                    assert_eq!(take(&seen, &format!("nonce-at-{later}"), later, later), None);
                    assert_eq!(take(&seen, "nonce-1", time, later), Some("nonce_reused"), "{time} at {later}");
                }
            }
        }
    }

    #[test]
    fn no_request_is_taken_twice_wherever_the_clock_is_set() {
        const HOUR_MS: u64 = 3_600_000;
        let now = 10 * HOUR_MS;
        // Ahead and back: what was forgotten meanwhile is refused, what is signed after that is taken.
        let seen = Seen::new(0);
        assert_eq!(take(&seen, "nonce-1", now, now), None);
        assert_eq!(take(&seen, "nonce-2", now + HOUR_MS, now + HOUR_MS), None);
        assert_eq!(take(&seen, "nonce-1", now, now + 1), Some("timestamp_too_old"));
        assert_eq!(take(&seen, "nonce-3", now + 1_000, now + 1_000), None, "the clock is right again");
        // When the hour has passed, what was signed ahead of time could come again.
        assert_eq!(take(&seen, "nonce-2", now + HOUR_MS, now + HOUR_MS), Some("nonce_reused"));
        // Back: nothing of the time that is passed a second time is taken, but for the last seconds.
        let seen = Seen::new(0);
        for second in 0..60 {
            let now = now + second * SECOND_MS;
            assert_eq!(take(&seen, &format!("nonce-{second}"), now, now), None);
        }
        for second in 0..60 {
            let again = now + second * SECOND_MS;
            let refused = if second < 54 { "timestamp_too_old" } else { "nonce_reused" };
            assert_eq!(take(&seen, &format!("nonce-{second}"), again, again), Some(refused), "{second}");
        }
    }

    #[test]
    fn nonces_take_bounded_memory() {
        let (seen, now) = (Seen::new(0), 1_000_000);
        for number in 0..NONCES_MAX {
            seen.once("key", &format!("nonce-{number}"), now, now).unwrap();
        }
        assert_eq!(take(&seen, "one-more", now, now), Some("overloaded"));
        let later = now + SECOND_MS + AGE_MS_MAX;
        assert_eq!(take(&seen, "one-more", later, later), None);
        assert_eq!(seen.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_time_is_good_for_five_seconds_and_a_second_ahead_and_not_from_before_the_start() {
        let code = |time_ms: u64, now_ms: u64| code(check_time(time_ms, now_ms));
        let now = 1_000_000;
        assert_eq!(code(now, now), None);
        assert_eq!(code(now - 5_000, now), None);
        assert_eq!(code(now - 5_001, now), Some("timestamp_too_old"));
        assert_eq!(code(now + 1_000, now), None);
        assert_eq!(code(now + 1_001, now), Some("timestamp_in_future"));
        assert_eq!(code(u64::MAX, now), Some("timestamp_in_future"));
        assert_eq!(code(0, now), Some("timestamp_too_old"));
        let seen = Seen::new(500_000);
        assert_eq!(take(&seen, "nonce-1", 499_999, 501_000), Some("timestamp_too_old"), "signed before the start");
        assert_eq!(take(&seen, "nonce-1", 500_000, 501_000), None);
    }
}
