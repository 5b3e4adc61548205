//! Passwords: argon2id with its recommended cost (19 MiB, two passes), a few at a time and off the threads that serve.

use crate::error::ApiError;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Hashed at once: each takes 19 MiB and a core.
const AT_ONCE: usize = 2;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
const CHARS: std::ops::RangeInclusive<usize> = 10..=128;

/// Hashes and checks passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    /// The hash of no password: checked where there is no such person, so that the answer takes as long.
    nobodys: String,
}

/// A password as it came. It shows in no debug output.
#[derive(Clone, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Password {
    /// Refuses a password for a new account that is too short to be one.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        if CHARS.contains(&self.0.chars().count()) {
            return Ok(());
        }
        Err(ApiError::invalid("password", "password must have 10 to 128 characters"))
    }
}

impl Passwords {
    /// # Errors
    /// When the random source fails.
    pub(crate) fn new() -> Result<Passwords, ApiError> {
        let nobodys = hash(&crate::keys::ApiKey::generate().map_err(|error| ApiError::internal(&error))?.reveal())?;
        Ok(Passwords { turns: Arc::new(Semaphore::new(AT_ONCE)), nobodys })
    }

    /// The hash of a new password, in PHC's form.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, ApiError> {
        self.in_turn(move || hash(&password.0)).await
    }

    /// Whether the password is the one of that hash. Takes as long without one.
    pub(crate) async fn matches(&self, password: Password, stored: Option<&str>) -> Result<bool, ApiError> {
        let (known, stored) = (stored.is_some(), stored.unwrap_or(&self.nobodys).to_owned());
        self.in_turn(move || {
            let parsed = PasswordHash::new(&stored).map_err(|error| ApiError::internal(&error))?;
            // More than fits a password is not hashed, whatever is asked.
            let text = if password.0.chars().count() <= *CHARS.end() { password.0.as_bytes() } else { b"" };
            Ok(Argon2::default().verify_password(text, &parsed).is_ok() && known)
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(ApiError::unavailable("overloaded", "too many passwords are being checked; retry later"));
        };
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        done.await.map_err(|error| ApiError::internal(&error))?
    }
}

fn hash(password: &str) -> Result<String, ApiError> {
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).map_err(|error| ApiError::internal(&error))?;
    let hashed = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    Ok(hashed.map_err(|error| ApiError::internal(&error))?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_and_no_other_and_nobodys_is_never_matched() {
        let passwords = Passwords::new().unwrap();
        let password = |text: &str| Password(text.to_owned());
        let stored = passwords.hash(password("correct horse")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.matches(password("correct horse"), Some(&stored)).await.unwrap());
        assert!(!passwords.matches(password("correct horsf"), Some(&stored)).await.unwrap());
        assert!(!passwords.matches(password("correct horse"), None).await.unwrap());
        assert_ne!(passwords.hash(password("correct horse")).await.unwrap(), stored, "salted");
        assert!(password("short").check().is_err() && password(&"x".repeat(129)).check().is_err());
        assert!(!format!("{:?}", password("correct horse")).contains("horse"));
    }
}
