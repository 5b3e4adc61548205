//! People: an account with a password, and the sessions that logging in opens.

use super::{Identity, account_in, insert_account, number, read, unix_seconds, write};
use gollem_engine::AccountId;
use sqlx::{AnyConnection, Row};

/// Sessions of one account; one more ends the oldest.
const SESSIONS_MAX: usize = 20;

/// A person's session. Its token carries what `hash` is the SHA-256 of.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) hash: [u8; 32],
    pub(crate) account: AccountId,
    /// Unix seconds.
    pub(crate) created_at: i64,
    /// Unix seconds.
    pub(crate) expires_at: i64,
    /// From where it was opened.
    pub(crate) address: String,
}

impl Session {
    /// Its name: enough of its hash to tell it from others, nothing to open it with.
    pub(crate) fn id(&self) -> String {
        let hex: String = self.hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("ses_{hex}")
    }
}

impl Identity {
    pub(super) async fn load_sessions(&self) -> Result<(), sqlx::Error> {
        let rows = sqlx::query("SELECT hash, account, created_at, expires_at, address FROM sessions");
        for row in rows.fetch_all(&self.pool).await? {
            let hash: Vec<u8> = row.try_get("hash")?;
            let session = Session {
                hash: hash.try_into().map_err(|_| sqlx::Error::Decode("a hash has not 32 bytes".into()))?,
                account: AccountId(number(row.try_get("account")?)?),
                created_at: row.try_get("created_at")?,
                expires_at: row.try_get("expires_at")?,
                address: row.try_get("address")?,
            };
            write(&self.sessions).insert(session.hash, session);
        }
        Ok(())
    }

    /// Stores a new account that a person opens with a password, of which `password_hash` is the argon2 hash.
    pub(crate) async fn add_person(
        &self,
        account: AccountId,
        name: &str,
        password_hash: &str,
    ) -> Result<(), sqlx::Error> {
        let store = async |connection: &mut AnyConnection| {
            insert_account(connection, account, name).await?;
            sqlx::query("INSERT INTO people (account, password_hash, created_at) VALUES ($1, $2, $3)")
                .bind(i64::from(account.0))
                .bind(password_hash)
                .bind(unix_seconds())
                .execute(connection)
                .await?;
            Ok(())
        };
        super::all_or_nothing(&self.pool, store).await
    }

    /// The account of that name and the hash of its password, if a person has it.
    pub(crate) async fn person_named(&self, name: &str) -> Result<Option<(AccountId, String)>, sqlx::Error> {
        let select = "SELECT accounts.account AS account, people.password_hash AS password_hash FROM accounts \
                      JOIN people ON people.account = accounts.account WHERE accounts.name = $1";
        self.person(sqlx::query(select).bind(name)).await
    }

    /// The hash of the password of this account, if a person has it.
    pub(crate) async fn password_of(&self, account: AccountId) -> Result<Option<String>, sqlx::Error> {
        let select = sqlx::query("SELECT account, password_hash FROM people WHERE account = $1");
        Ok(self.person(select.bind(i64::from(account.0))).await?.map(|(_, hash)| hash))
    }

    async fn person(
        &self,
        query: sqlx::query::Query<'_, sqlx::Any, sqlx::any::AnyArguments>,
    ) -> Result<Option<(AccountId, String)>, sqlx::Error> {
        let row = query.fetch_optional(&self.pool).await?;
        row.map(|row| Ok((account_in(&row)?, row.try_get("password_hash")?))).transpose()
    }

    /// Opens a session. The oldest of too many of its account ends, and whatever is over by now, whoever's it was, is
    /// forgotten: there are as many as could be opened within their life.
    pub(crate) async fn open_session(&self, session: Session) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO sessions (hash, account, created_at, expires_at, address) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(session.hash.as_slice())
        .bind(i64::from(session.account.0))
        .bind(session.created_at)
        .bind(session.expires_at)
        .bind(session.address.as_str())
        .execute(&self.pool)
        .await?;
        let (account, now) = (session.account, session.created_at);
        write(&self.sessions).insert(session.hash, session);
        self.forget_sessions(now).await?;
        let own = self.sessions_of(account);
        let too_many = own.len().saturating_sub(SESSIONS_MAX);
        for old in &own[..too_many] {
            self.end_session(&old.hash).await?;
        }
        Ok(())
    }

    /// Forgets the sessions that are over, which open nothing.
    async fn forget_sessions(&self, now: i64) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM sessions WHERE expires_at <= $1").bind(now).execute(&self.pool).await?;
        write(&self.sessions).retain(|_, session| session.expires_at > now);
        Ok(())
    }

    /// The session that carries this hash.
    pub(crate) fn session(&self, hash: &[u8; 32]) -> Option<Session> {
        read(&self.sessions).get(hash).cloned()
    }

    /// The sessions of an account, the oldest first.
    pub(crate) fn sessions_of(&self, account: AccountId) -> Vec<Session> {
        let mut own: Vec<_> =
            read(&self.sessions).values().filter(|session| session.account == account).cloned().collect();
        own.sort_unstable_by_key(|session| (session.created_at, session.hash));
        own
    }

    /// Ends a session: its token opens nothing from now on.
    pub(crate) async fn end_session(&self, hash: &[u8; 32]) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM sessions WHERE hash = $1").bind(hash.as_slice()).execute(&self.pool).await?;
        write(&self.sessions).remove(hash);
        Ok(())
    }
}
