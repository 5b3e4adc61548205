//! The identity store: who stands behind an account number, which keys and passwords open it, where a provider answers.
//!
//! SQLite in the data folder, or PostgreSQL; the statements are the same. Keys, sessions, tiers and endpoints are also kept
//! in memory, because every request asks for them; the database is written first, so memory never knows more than it.
//! One exchange uses a store at a time. Secrets and passwords are stored as hashes only.

mod database;
mod keys;
mod people;

pub(crate) use database::all_or_nothing;
pub(crate) use keys::{Credential, KeyRecord, NewKey};
pub(crate) use people::Session;

use crate::keys::{ApiKey, Scopes};
use crate::limiter::Tier;
use gollem_engine::{AccountId, KeyId};
use sqlx::{AnyConnection, AnyPool, Row};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// Whom a request speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account; `None` for the operator.
    pub account: Option<AccountId>,
    /// The number of the key it came with; 0 for a session.
    pub key: KeyId,
    /// What it may do.
    pub scopes: Scopes,
}

/// The store; share it behind an `Arc`.
#[derive(Debug)]
pub struct Identity {
    pool: AnyPool,
    keys: RwLock<HashMap<String, Arc<KeyRecord>>>,
    sessions: RwLock<HashMap<[u8; 32], Session>>,
    tiers: RwLock<HashMap<AccountId, Tier>>,
    endpoints: RwLock<HashMap<AccountId, Arc<str>>>,
    /// Held while what is kept in memory, too, is written, so that both see changes in one order, and each key gets the next
    /// number.
    writing: tokio::sync::Mutex<()>,
}

impl Identity {
    /// Opens the store in a SQLite file, creating or migrating it.
    ///
    /// # Errors
    /// When the file cannot be opened, read or migrated.
    pub async fn open(file: &Path) -> Result<Identity, sqlx::Error> {
        Identity::connect(&database::url_of(file)?).await
    }

    /// Opens the store in the database at `url`, `postgres://…` or `sqlite://…`, migrating it.
    ///
    /// # Errors
    /// When the database cannot be reached, read or migrated.
    pub async fn connect(url: &str) -> Result<Identity, sqlx::Error> {
        let identity = Identity {
            pool: database::connect(url).await?,
            keys: RwLock::default(),
            sessions: RwLock::default(),
            tiers: RwLock::default(),
            endpoints: RwLock::default(),
            writing: tokio::sync::Mutex::default(),
        };
        identity.load_accounts().await?;
        identity.load_keys().await?;
        identity.load_sessions().await?;
        Ok(identity)
    }

    async fn load_accounts(&self) -> Result<(), sqlx::Error> {
        for row in sqlx::query("SELECT account, endpoint, tier FROM accounts").fetch_all(&self.pool).await? {
            let account = account_in(&row)?;
            if let Some(endpoint) = row.try_get::<Option<String>, _>("endpoint")? {
                write(&self.endpoints).insert(account, endpoint.into());
            }
            if let Some(name) = row.try_get::<Option<String>, _>("tier")? {
                let tier = Tier::from_name(&name).ok_or_else(|| sqlx::Error::Decode("no such tier".into()))?;
                write(&self.tiers).insert(account, tier);
            }
        }
        Ok(())
    }

    /// The account of that name.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn account_named(&self, name: &str) -> Result<Option<AccountId>, sqlx::Error> {
        let row = sqlx::query("SELECT account FROM accounts WHERE name = $1").bind(name);
        row.fetch_optional(&self.pool).await?.map(|row| account_in(&row)).transpose()
    }

    /// The name of an account.
    pub(crate) async fn name_of(&self, account: AccountId) -> Result<Option<String>, sqlx::Error> {
        let row = sqlx::query("SELECT name FROM accounts WHERE account = $1").bind(i64::from(account.0));
        row.fetch_optional(&self.pool).await?.map(|row| row.try_get("name")).transpose()
    }

    /// Whether there is such an account.
    pub(crate) async fn has_account(&self, account: AccountId) -> Result<bool, sqlx::Error> {
        let row = sqlx::query("SELECT account FROM accounts WHERE account = $1").bind(i64::from(account.0));
        Ok(row.fetch_optional(&self.pool).await?.is_some())
    }

    /// Stores a new account with its first key.
    ///
    /// # Errors
    /// When the name is taken or the database refuses.
    pub(crate) async fn add_account(
        &self,
        account: AccountId,
        name: &str,
        key: &ApiKey,
        new: NewKey,
    ) -> Result<(), sqlx::Error> {
        let record = KeyRecord::new(Some(account), KeyId(1), key.public(), Credential::of(key), new);
        let store = async |connection: &mut AnyConnection| {
            insert_account(connection, account, name).await?;
            keys::insert(connection, &record).await
        };
        all_or_nothing(&self.pool, store).await?;
        self.remember(record);
        Ok(())
    }

    /// The tier that an account was given, if it was.
    pub(crate) fn tier(&self, account: AccountId) -> Option<Tier> {
        read(&self.tiers).get(&account).copied()
    }

    /// Gives an account a tier; false when there is no such account.
    pub(crate) async fn set_tier(&self, account: AccountId, tier: Tier) -> Result<bool, sqlx::Error> {
        let _writing = self.writing.lock().await;
        let update = sqlx::query("UPDATE accounts SET tier = $1 WHERE account = $2");
        let done = update.bind(tier.name()).bind(i64::from(account.0)).execute(&self.pool).await?;
        let known = done.rows_affected() > 0;
        if known {
            write(&self.tiers).insert(account, tier);
        }
        Ok(known)
    }

    /// Where the provider's model server answers.
    pub fn endpoint(&self, provider: AccountId) -> Option<Arc<str>> {
        read(&self.endpoints).get(&provider).cloned()
    }

    /// Stores where the provider's model server answers.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_endpoint(&self, provider: AccountId, endpoint: &str) -> Result<(), sqlx::Error> {
        let _writing = self.writing.lock().await;
        sqlx::query("UPDATE accounts SET endpoint = $1 WHERE account = $2")
            .bind(endpoint)
            .bind(i64::from(provider.0))
            .execute(&self.pool)
            .await?;
        write(&self.endpoints).insert(provider, endpoint.into());
        Ok(())
    }

    /// The database, for what else is kept in it.
    pub(crate) fn pool(&self) -> AnyPool {
        self.pool.clone()
    }

    /// Notes when keys were last used and closes the database.
    pub async fn close(&self) {
        if let Err(error) = self.note_uses().await {
            tracing::warn!(%error, "when keys were last used could not be noted");
        }
        self.pool.close().await;
    }
}

async fn insert_account(connection: &mut AnyConnection, account: AccountId, name: &str) -> Result<(), sqlx::Error> {
    let insert = sqlx::query("INSERT INTO accounts (account, name, created_at) VALUES ($1, $2, $3)");
    insert.bind(i64::from(account.0)).bind(name).bind(unix_seconds()).execute(connection).await?;
    Ok(())
}

fn account_in(row: &sqlx::any::AnyRow) -> Result<AccountId, sqlx::Error> {
    number(row.try_get("account")?).map(AccountId)
}

/// A number that the database holds in 64 bits.
fn number(stored: i64) -> Result<u32, sqlx::Error> {
    u32::try_from(stored).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Now, in Unix seconds.
pub(crate) fn unix_seconds() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

// A panic while holding one of these locks leaves a whole map behind: inserts and removals are the only writes.
fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
