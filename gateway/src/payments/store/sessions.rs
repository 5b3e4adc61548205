//! Sessions as they are kept.

use super::{Store, small};
use crate::identity::all_or_nothing;
use crate::payments::sessions::{Counted, Visitor};
use gollem_engine::{AccountId, Amount};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use std::net::IpAddr;

impl Store {
    /// Writes sessions, or what they are now.
    pub(crate) async fn write_sessions(&self, sessions: &[(Visitor, Counted)]) -> Result<(), sqlx::Error> {
        if sessions.is_empty() {
            return Ok(());
        }
        let all = async |connection: &mut AnyConnection| {
            for (visitor, counted) in sessions {
                upsert(connection, visitor, counted).await?;
            }
            Ok(())
        };
        all_or_nothing(&self.pool, all).await
    }

    /// Forgets sessions that ended before, in Unix seconds.
    pub(crate) async fn forget_sessions(&self, before: i64) -> Result<(), sqlx::Error> {
        let delete = sqlx::query("DELETE FROM usage_sessions WHERE ended_at < $1").bind(before);
        delete.execute(&self.pool).await.map(|_| ())
    }

    /// An account's sessions, newest first.
    pub(crate) async fn sessions_of(
        &self,
        account: AccountId,
        limit: i64,
    ) -> Result<Vec<(Visitor, Counted)>, sqlx::Error> {
        let select = "SELECT * FROM usage_sessions WHERE account = $1 ORDER BY began_at DESC, id LIMIT $2";
        let rows = sqlx::query(select).bind(i64::from(account.0)).bind(limit).fetch_all(&self.pool).await?;
        rows.iter().map(session_in).collect()
    }
}

async fn upsert(connection: &mut AnyConnection, visitor: &Visitor, counted: &Counted) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO usage_sessions (id, account, client, address, began_at, ended_at, calls, atoms) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                  ON CONFLICT (id) DO UPDATE SET ended_at = $6, calls = $7, atoms = $8";
    let id = format!("{} {} {} {}", visitor.account.0, counted.began_at, visitor.address, visitor.client);
    sqlx::query(insert)
        .bind(id)
        .bind(i64::from(visitor.account.0))
        .bind(&visitor.client)
        .bind(visitor.address.to_string())
        .bind(counted.began_at)
        .bind(counted.ended_at)
        .bind(i64::try_from(counted.calls).unwrap_or(i64::MAX))
        .bind(counted.spent.0)
        .execute(connection)
        .await
        .map(|_| ())
}

fn session_in(row: &AnyRow) -> Result<(Visitor, Counted), sqlx::Error> {
    let address: IpAddr =
        row.try_get::<String, _>("address")?.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    let account = AccountId(small(row.try_get("account")?)?);
    let visitor = Visitor { account, address, client: row.try_get("client")? };
    let counted = Counted {
        began_at: row.try_get("began_at")?,
        ended_at: row.try_get("ended_at")?,
        calls: row.try_get::<i64, _>("calls")?.unsigned_abs(),
        spent: Amount(row.try_get("atoms")?),
    };
    Ok((visitor, counted))
}
