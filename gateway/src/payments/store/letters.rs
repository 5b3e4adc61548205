//! Letters: what is to be done outside because of what happened inside.

use super::{Store, small};
use crate::identity::unix_seconds;
use crate::payments::postman::Lane;
use crate::payments::processor::Cents;
use gollem_engine::AccountId;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

/// A letter to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NewLetter {
    /// What is to be done.
    pub kind: &'static str,
    /// About what: with the kind it names the letter, and the same name makes no second one.
    pub subject: String,
    pub account: AccountId,
    pub cents: Cents,
    /// What else whoever deals with it must know.
    pub detail: Value,
}

/// A letter.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub id: String,
    pub kind: String,
    pub subject: String,
    pub account: AccountId,
    pub cents: Cents,
    pub detail: Value,
    pub state: String,
    /// How often it failed.
    pub attempts: u32,
    /// When it is dealt with, in Unix milliseconds; not above 0: at once.
    pub due_ms: i64,
    /// Why, the last time; or what is waited for.
    pub error: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
}

/// Where a letter is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LetterState {
    /// It is dealt with when its time comes.
    Due,
    Done,
    /// It waits for a person.
    Dead,
    /// A person gives it up right now: nobody else deals with it meanwhile.
    Undoing,
}

impl LetterState {
    /// As callers and the store read it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            LetterState::Due => "due",
            LetterState::Done => "done",
            LetterState::Dead => "dead",
            LetterState::Undoing => "undoing",
        }
    }
}

impl Store {
    /// Writes a letter that no input is the cause of.
    pub(crate) async fn write(&self, letter: &NewLetter) -> Result<(), sqlx::Error> {
        insert(&mut *self.pool.acquire().await?, letter).await
    }

    /// Letters whose time has come, the longest due first.
    pub(crate) async fn due(&self, now_ms: i64, lane: Lane, limit: i64) -> Result<Vec<Letter>, sqlx::Error> {
        let select = format!(
            "SELECT * FROM letters WHERE state = 'due' AND {} AND due_at <= $1 ORDER BY due_at, id LIMIT $2",
            of(lane)
        );
        let rows = sqlx::query(AssertSqlSafe(select)).bind(now_ms).bind(limit).fetch_all(&self.pool).await?;
        rows.iter().map(letter_in).collect()
    }

    /// When the next letter is due, in Unix milliseconds.
    pub(crate) async fn next_due(&self, lane: Lane) -> Result<Option<i64>, sqlx::Error> {
        let select = format!("SELECT MIN(due_at) AS at FROM letters WHERE state = 'due' AND {}", of(lane));
        let row = sqlx::query(AssertSqlSafe(select));
        row.fetch_one(&self.pool).await?.try_get("at")
    }

    /// Says how a letter stands: `attempts` failures so far, dealt with again at `due_ms`.
    pub(crate) async fn mark(
        &self,
        id: &str,
        state: LetterState,
        attempts: u32,
        due_ms: i64,
        error: Option<&str>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE letters SET state = $1, attempts = $2, due_at = $3, error = $4 WHERE id = $5")
            .bind(state.name())
            .bind(i64::from(attempts))
            .bind(due_ms)
            .bind(error)
            .bind(id)
            .execute(&self.pool)
            .await
            .map(|_| ())
    }

    /// Has a letter dealt with again at `due_ms`, after `attempts` failures; at once if somebody has hurried it meanwhile.
    pub(crate) async fn put_off(
        &self,
        letter: &Letter,
        attempts: u32,
        due_ms: i64,
        error: &str,
    ) -> Result<(), sqlx::Error> {
        let update = "UPDATE letters SET attempts = $1, error = $2, \
                      due_at = CASE WHEN due_at = $3 THEN $4 ELSE due_at END WHERE id = $5";
        sqlx::query(update)
            .bind(i64::from(attempts))
            .bind(error)
            .bind(letter.due_ms)
            .bind(due_ms)
            .bind(&letter.id)
            .execute(&self.pool)
            .await
            .map(|_| ())
    }

    /// Makes a letter that is not done due at once; false when there is none of that name. A dead one begins anew. The time
    /// is another one each time, here and below, so that who deals with the letter right now sees that it was hurried.
    pub(crate) async fn redrive(&self, id: &str) -> Result<bool, sqlx::Error> {
        let update = "UPDATE letters SET state = 'due', attempts = 0, \
                      due_at = CASE WHEN due_at > 0 THEN 0 ELSE due_at - 1 END WHERE id = $1 AND state IN ('due', 'dead')";
        Ok(sqlx::query(update).bind(id).execute(&self.pool).await?.rows_affected() > 0)
    }

    /// Makes an account's letters of a kind that wait due at once.
    pub(crate) async fn hurry(&self, account: AccountId, kind: &str) -> Result<(), sqlx::Error> {
        let update = "UPDATE letters SET due_at = CASE WHEN due_at > 0 THEN 0 ELSE due_at - 1 END \
                      WHERE account = $1 AND kind = $2 AND state = 'due'";
        sqlx::query(update).bind(i64::from(account.0)).bind(kind).execute(&self.pool).await.map(|_| ())
    }

    /// How often the processor has refused for certain what a letter wants. Processors answer a key that was refused with the
    /// same refusal for as long as they know it, so the next try needs another.
    pub(crate) async fn refusals(&self, id: &str) -> Result<u32, sqlx::Error> {
        let row = sqlx::query("SELECT refusals FROM letters WHERE id = $1").bind(id).fetch_optional(&self.pool).await?;
        row.map_or(Ok(0), |row| small(row.try_get("refusals")?))
    }

    /// Counts a refusal.
    pub(crate) async fn note_refusal(&self, id: &str) -> Result<(), sqlx::Error> {
        let update = sqlx::query("UPDATE letters SET refusals = refusals + 1 WHERE id = $1").bind(id);
        update.execute(&self.pool).await.map(|_| ())
    }

    /// What a letter wants has been done.
    pub(crate) async fn finish(&self, id: &str) -> Result<(), sqlx::Error> {
        let update = sqlx::query("UPDATE letters SET state = 'done' WHERE id = $1 AND state IN ('due', 'dead')");
        update.bind(id).execute(&self.pool).await.map(|_| ())
    }

    /// Moves a letter from one state to another; false when it is not in the first.
    pub(crate) async fn change(&self, id: &str, from: LetterState, to: LetterState) -> Result<bool, sqlx::Error> {
        let update = sqlx::query("UPDATE letters SET state = $1 WHERE id = $2 AND state = $3");
        let update = update.bind(to.name()).bind(id).bind(from.name());
        Ok(update.execute(&self.pool).await?.rows_affected() > 0)
    }

    /// Letters in a state, the newest first.
    pub(crate) async fn letters(&self, state: LetterState, limit: i64) -> Result<Vec<Letter>, sqlx::Error> {
        let select = "SELECT * FROM letters WHERE state = $1 ORDER BY created_at DESC, id LIMIT $2";
        let rows = sqlx::query(select).bind(state.name()).bind(limit).fetch_all(&self.pool).await?;
        rows.iter().map(letter_in).collect()
    }

    /// A letter by its name.
    pub(crate) async fn letter(&self, id: &str) -> Result<Option<Letter>, sqlx::Error> {
        let row = sqlx::query("SELECT * FROM letters WHERE id = $1").bind(id);
        row.fetch_optional(&self.pool).await?.as_ref().map(letter_in).transpose()
    }

    /// What an account was told, or will be, since `from` in Unix seconds.
    pub(crate) async fn news_since(&self, account: AccountId, from: i64) -> Result<u64, sqlx::Error> {
        let select = format!(
            "SELECT COUNT(*) AS letters FROM letters WHERE account = $1 AND {} AND created_at >= $2",
            of(Lane::News)
        );
        let row = sqlx::query(AssertSqlSafe(select)).bind(i64::from(account.0)).bind(from);
        Ok(row.fetch_one(&self.pool).await?.try_get::<i64, _>("letters")?.unsigned_abs())
    }

    /// Forgets what people were told before, in Unix seconds.
    pub(crate) async fn forget_news(&self, before: i64) -> Result<(), sqlx::Error> {
        let delete = format!("DELETE FROM letters WHERE state = 'done' AND {} AND created_at < $1", of(Lane::News));
        sqlx::query(AssertSqlSafe(delete)).bind(before).execute(&self.pool).await.map(|_| ())
    }

    /// How many letters are due, and how many are dead.
    pub(crate) async fn letter_counts(&self) -> Result<(u64, u64), sqlx::Error> {
        let count = async |state: LetterState| {
            let row = sqlx::query("SELECT COUNT(*) AS letters FROM letters WHERE state = $1").bind(state.name());
            Ok::<u64, sqlx::Error>(row.fetch_one(&self.pool).await?.try_get::<i64, _>("letters")?.unsigned_abs())
        };
        Ok((count(LetterState::Due).await?, count(LetterState::Dead).await?))
    }

    /// What automatic purchases of an account since `from`, in Unix seconds, came to in cents, with those under way; and how
    /// many are still due.
    pub(crate) async fn renewals(&self, account: AccountId, from: i64) -> Result<(Cents, u64), sqlx::Error> {
        let select = "SELECT cents, state FROM letters \
                      WHERE account = $1 AND kind = 'renewal' AND created_at >= $2";
        let rows = sqlx::query(select).bind(i64::from(account.0)).bind(from).fetch_all(&self.pool).await?;
        let (mut cents, mut due) = (0, 0);
        for row in &rows {
            cents += row.try_get::<i64, _>("cents")?;
            due += u64::from(row.try_get::<String, _>("state")? == LetterState::Due.name());
        }
        Ok((cents, due))
    }
}

/// Which letters a lane has, as a condition.
fn of(lane: Lane) -> &'static str {
    match lane {
        Lane::Money => "kind NOT IN ('mail', 'post')",
        Lane::News => "kind IN ('mail', 'post')",
    }
}

pub(super) async fn insert(connection: &mut AnyConnection, letter: &NewLetter) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO letters (id, kind, subject, account, cents, detail, state, attempts, refusals, due_at, created_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, 'due', 0, 0, 0, $7) ON CONFLICT DO NOTHING";
    sqlx::query(insert)
        .bind(format!("{}:{}", letter.kind, letter.subject))
        .bind(letter.kind)
        .bind(&letter.subject)
        .bind(i64::from(letter.account.0))
        .bind(letter.cents)
        .bind(letter.detail.to_string())
        .bind(unix_seconds())
        .execute(connection)
        .await
        .map(|_| ())
}

fn letter_in(row: &AnyRow) -> Result<Letter, sqlx::Error> {
    let detail: String = row.try_get("detail")?;
    Ok(Letter {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        subject: row.try_get("subject")?,
        account: AccountId(small(row.try_get("account")?)?),
        cents: row.try_get("cents")?,
        detail: serde_json::from_str(&detail).map_err(|error| sqlx::Error::Decode(error.into()))?,
        state: row.try_get("state")?,
        attempts: small(row.try_get("attempts")?)?,
        due_ms: row.try_get("due_at")?,
        error: row.try_get("error")?,
        created_at: row.try_get("created_at")?,
    })
}
