//! The identity store: who stands behind an account number, which keys open it, where a provider answers.
//!
//! SQLite in the data folder. Keys and endpoints are also kept in memory, because every request asks for them; the
//! database is written first, so memory never knows more than disk. Secrets are stored as hashes only.

use crate::keys::{ApiKey, Scopes};
use gollem_engine::AccountId;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqliteConnection};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// Whom a key speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account; `None` for the operator.
    pub account: Option<AccountId>,
    /// What the key may do.
    pub scopes: Scopes,
}

#[derive(Debug)]
struct StoredKey {
    secret_hash: [u8; 32],
    caller: Caller,
}

/// The store; share it behind an `Arc`.
#[derive(Debug)]
pub struct Identity {
    pool: SqlitePool,
    keys: RwLock<HashMap<String, StoredKey>>,
    endpoints: RwLock<HashMap<AccountId, Arc<str>>>,
}

impl Identity {
    /// Opens the store in `file`, creating or migrating it.
    ///
    /// # Errors
    /// When the file cannot be opened, read or migrated.
    pub async fn open(file: &Path) -> Result<Identity, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new().max_connections(2).connect_with(options).await?;
        sqlx::migrate!().run(&pool).await?;
        let identity = Identity { pool, keys: RwLock::default(), endpoints: RwLock::default() };
        identity.load().await?;
        Ok(identity)
    }

    async fn load(&self) -> Result<(), sqlx::Error> {
        let rows =
            sqlx::query("SELECT public, secret_hash, account, scopes FROM api_keys").fetch_all(&self.pool).await?;
        for row in rows {
            let hash: Vec<u8> = row.try_get("secret_hash")?;
            let secret_hash = hash.try_into().map_err(|_| sqlx::Error::Decode("secret_hash is not 32 bytes".into()))?;
            let account: u32 = row.try_get("account")?;
            let account = (account != 0).then_some(AccountId(account));
            let caller = Caller { account, scopes: Scopes(row.try_get("scopes")?) };
            write(&self.keys).insert(row.try_get("public")?, StoredKey { secret_hash, caller });
        }
        let rows = sqlx::query("SELECT account, endpoint FROM accounts WHERE endpoint IS NOT NULL");
        for row in rows.fetch_all(&self.pool).await? {
            let endpoint: String = row.try_get("endpoint")?;
            write(&self.endpoints).insert(AccountId(row.try_get("account")?), endpoint.into());
        }
        Ok(())
    }

    /// Whom a presented key speaks for.
    pub fn authenticate(&self, presented: &str) -> Option<Caller> {
        let key = ApiKey::parse(presented)?;
        let keys = read(&self.keys);
        let stored = keys.get(key.public())?;
        key.matches(&stored.secret_hash).then_some(stored.caller)
    }

    /// Whether any key may run the exchange.
    pub fn has_admin(&self) -> bool {
        read(&self.keys).values().any(|stored| stored.caller.scopes.intersects(Scopes::ADMIN))
    }

    /// Stores a key's hash for its caller.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn add_key(&self, key: &ApiKey, caller: Caller) -> Result<(), sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        insert_key(&mut connection, key, caller).await?;
        self.remember(key, caller);
        Ok(())
    }

    fn remember(&self, key: &ApiKey, caller: Caller) {
        let stored = StoredKey { secret_hash: key.secret_hash(), caller };
        write(&self.keys).insert(key.public().to_owned(), stored);
    }

    /// The account of that name.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn account_named(&self, name: &str) -> Result<Option<AccountId>, sqlx::Error> {
        let row = sqlx::query("SELECT account FROM accounts WHERE name = ?").bind(name);
        row.fetch_optional(&self.pool).await?.map(|row| row.try_get("account").map(AccountId)).transpose()
    }

    /// Stores a new account with its first key.
    ///
    /// # Errors
    /// When the name is taken or the database refuses.
    pub async fn add_account(
        &self,
        account: AccountId,
        name: &str,
        key: &ApiKey,
        scopes: Scopes,
    ) -> Result<(), sqlx::Error> {
        let caller = Caller { account: Some(account), scopes };
        let mut transaction = self.pool.begin().await?;
        sqlx::query("INSERT INTO accounts (account, name, created_at) VALUES (?, ?, ?)")
            .bind(account.0)
            .bind(name)
            .bind(unix_seconds())
            .execute(&mut *transaction)
            .await?;
        insert_key(&mut transaction, key, caller).await?;
        transaction.commit().await?;
        self.remember(key, caller);
        Ok(())
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
        sqlx::query("UPDATE accounts SET endpoint = ? WHERE account = ?")
            .bind(endpoint)
            .bind(provider.0)
            .execute(&self.pool)
            .await?;
        write(&self.endpoints).insert(provider, endpoint.into());
        Ok(())
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn insert_key(connection: &mut SqliteConnection, key: &ApiKey, caller: Caller) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO api_keys (public, secret_hash, account, scopes, created_at) VALUES (?, ?, ?, ?, ?)")
        .bind(key.public())
        .bind(key.secret_hash().as_slice())
        .bind(caller.account.map_or(0, |account| account.0))
        .bind(caller.scopes.0)
        .bind(unix_seconds())
        .execute(connection)
        .await?;
    Ok(())
}

fn unix_seconds() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

// A panic while holding one of these locks leaves a whole map behind: inserts are the only writes.
fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_and_endpoints_survive_a_restart_and_no_secret_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("identity.db");
        let key = ApiKey::generate().unwrap();
        let scopes = Scopes::READ.with(Scopes::PROVIDE);
        let account = AccountId(7);
        {
            let identity = Identity::open(&file).await.unwrap();
            identity.add_account(account, "alice", &key, scopes).await.unwrap();
            identity.set_endpoint(account, "http://127.0.0.1:1/v1").await.unwrap();
            identity.close().await;
        }
        let identity = Identity::open(&file).await.unwrap();
        let expected = Caller { account: Some(account), scopes };
        assert_eq!(identity.authenticate(&key.reveal()), Some(expected));
        assert_eq!(identity.authenticate(&ApiKey::generate().unwrap().reveal()), None);
        assert_eq!(identity.account_named("alice").await.unwrap(), Some(account));
        assert_eq!(identity.endpoint(account).as_deref(), Some("http://127.0.0.1:1/v1"));
        assert!(!identity.has_admin());
        identity.close().await;
        let secret = key.reveal().split('-').next_back().unwrap().to_owned();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
    }

    #[tokio::test]
    async fn a_key_with_the_right_public_part_and_a_wrong_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::open(&dir.path().join("identity.db")).await.unwrap();
        let key = ApiKey::generate().unwrap();
        identity.add_account(AccountId(1), "bob", &key, Scopes::READ).await.unwrap();
        let other = ApiKey::generate().unwrap();
        let forged =
            key.reveal().replace(other.public(), "").chars().take(23).collect::<String>() + &other.reveal()[23..];
        assert_eq!(ApiKey::parse(&forged).unwrap().public(), key.public());
        assert_eq!(identity.authenticate(&forged), None);
    }
}
