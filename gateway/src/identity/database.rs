//! Reaching the database: SQLite with every write synced, or PostgreSQL.

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, AnyPool, Connection, Executor};
use std::path::Path;
use std::time::Duration;
use url::Url;

/// Connections: SQLite writes one at a time anyway.
const SQLITE_CONNECTIONS: u32 = 2;
const POSTGRES_CONNECTIONS: u32 = 8;
/// How long a request waits for a connection before it is told that the database is away.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(3);

/// The address of a SQLite file that is created when missing.
pub(super) fn url_of(file: &Path) -> Result<String, sqlx::Error> {
    let absolute = std::path::absolute(file)?;
    let url = Url::from_file_path(absolute).map_err(|()| sqlx::Error::Configuration("not a path".into()))?;
    Ok(format!("sqlite://{}?mode=rwc", url.path()))
}

/// Connects and brings the tables up to date.
pub(super) async fn connect(url: &str) -> Result<AnyPool, sqlx::Error> {
    sqlx::any::install_default_drivers();
    let sqlite = url.starts_with("sqlite:");
    let pool = AnyPoolOptions::new()
        .max_connections(if sqlite { SQLITE_CONNECTIONS } else { POSTGRES_CONNECTIONS })
        .acquire_timeout(CONNECTION_PATIENCE)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if sqlite {
                    connection.execute("PRAGMA journal_mode = WAL").await?;
                    connection.execute("PRAGMA synchronous = FULL").await?;
                }
                Ok(())
            })
        })
        .connect(url)
        .await?;
    let migrator = if sqlite { sqlx::migrate!("migrations/sqlite") } else { sqlx::migrate!("migrations/postgres") };
    migrator.run(&pool).await?;
    Ok(pool)
}

/// Runs several statements, all of them or none. A connection on which they failed is closed: SQLite, when the disk is
/// full, ends a transaction by itself, of which sqlx knows nothing; it would make the next one on that connection a part
/// of the one it believes in, and that might never be committed.
pub(crate) async fn all_or_nothing(
    pool: &AnyPool,
    statements: impl AsyncFnOnce(&mut AnyConnection) -> Result<(), sqlx::Error>,
) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let done = async {
        let mut transaction = connection.begin().await?;
        statements(&mut transaction).await?;
        transaction.commit().await
    };
    let done = done.await;
    if done.is_err() {
        connection.close_on_drop();
    }
    done
}
