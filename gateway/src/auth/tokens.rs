//! What a person's session is carried in: a JWT of an hour (HS256) around a random number, of which the identity store keeps
//! the hash. The token opens something only while its session is there, so it can be taken back at once; whoever steals
//! the signing key alone, or the store alone, can make none.

use crate::error::ApiError;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use gollem_engine::AccountId;
use gollem_projections::words::account_name;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How long a session lives, in seconds.
pub(crate) const SESSION_S: i64 = 3_600;
const ISSUER: &str = "gollem";

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    /// The account.
    sub: String,
    /// The session's random number.
    sid: String,
    iat: i64,
    exp: i64,
}

/// Makes and reads tokens.
pub(crate) struct Tokens {
    key: Vec<u8>,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(…)")
    }
}

/// Makes a key under another name first: one that was not written whole is in nobody's way.
fn make_key(file: &Path) -> io::Result<()> {
    let mut key = [0_u8; 32];
    getrandom::fill(&mut key)?;
    let unfinished = file.with_extension("new");
    let mut made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    made.write_all(&key)?;
    made.sync_all()?;
    std::fs::rename(unfinished, file)
}

impl Tokens {
    /// Signs with the key in `file`, which is made when missing.
    ///
    /// # Errors
    /// When the file cannot be read or made, or holds something else.
    pub(crate) fn load_or_create(file: &Path) -> io::Result<Tokens> {
        if !file.try_exists()? {
            make_key(file)?;
        }
        let mut key = Vec::with_capacity(32);
        File::open(file)?.take(33).read_to_end(&mut key)?;
        if key.len() != 32 {
            let message = "the key that signs sessions has not 32 bytes: delete it, and people log in again";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(Tokens { encoding: EncodingKey::from_secret(&key), decoding: DecodingKey::from_secret(&key), key })
    }

    /// What signs an account's alerts, as Standard Webhooks has it. It is kept nowhere, since it can be made again; with the
    /// signing key it changes.
    pub(crate) fn alert_secret(&self, account: AccountId) -> Result<String, ApiError> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).map_err(|error| ApiError::internal(&error))?;
        mac.update(b"gollem alerts ");
        mac.update(account_name(account).as_bytes());
        Ok(format!("whsec_{}", STANDARD.encode(mac.finalize().into_bytes())))
    }

    /// A token for a session that begins now, and the hash by which the store knows it.
    pub(crate) fn make(&self, account: AccountId, now: i64) -> Result<(String, [u8; 32]), ApiError> {
        let mut number = [0_u8; 24];
        getrandom::fill(&mut number).map_err(|error| ApiError::internal(&error))?;
        let (sid, sub) = (URL_SAFE_NO_PAD.encode(number), account_name(account));
        let hash = Sha256::digest(&sid).into();
        let claims = Claims { iss: ISSUER.to_owned(), sub, sid, iat: now, exp: now + SESSION_S };
        let token = encode(&Header::new(Algorithm::HS256), &claims, &self.encoding);
        Ok((token.map_err(|error| ApiError::internal(&error))?, hash))
    }

    /// The hash of the session in a token that we signed and that is not over.
    pub(crate) fn read(&self, token: &str) -> Option<[u8; 32]> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        let claims = decode::<Claims>(token, &self.decoding, &validation).ok()?.claims;
        Some(Sha256::digest(claims.sid).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::unix_seconds;

    #[test]
    fn a_token_is_read_by_its_key_only_until_its_end_and_with_no_other_algorithm() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::load_or_create(&folder.path().join("one")).unwrap();
        let other = Tokens::load_or_create(&folder.path().join("other")).unwrap();
        let (token, hash) = tokens.make(AccountId(7), unix_seconds()).unwrap();
        assert_eq!(tokens.read(&token), Some(hash));
        assert_eq!(Tokens::load_or_create(&folder.path().join("one")).unwrap().read(&token), Some(hash), "kept");
        assert_eq!(other.read(&token), None);
        let (old, _) = tokens.make(AccountId(7), unix_seconds() - SESSION_S - 1).unwrap();
        assert_eq!(tokens.read(&old), None);
        let payload = token.split('.').nth(1).unwrap();
        let none = format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#));
        assert_eq!(tokens.read(&none), None);
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(folder.path().join("one")).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }
}
