//! The same promises of both databases. PostgreSQL is a real server of the tests' own; where its programs are missing, its
//! half is skipped and says so.

mod postgres;

use super::*;
use crate::identity::people::Session;
use ipnet::IpNet;
use postgres::Postgres;
use std::io::Write;
use tempfile::TempDir;

/// A database of one sort that outlives the stores opened in it.
struct Database {
    url: String,
    /// Of SQLite; empty for PostgreSQL.
    folder: TempDir,
    server: Option<Postgres>,
}

impl Database {
    fn sqlite() -> Database {
        let folder = tempfile::tempdir().unwrap();
        let url = database::url_of(&folder.path().join("identity.db")).unwrap();
        Database { url, folder, server: None }
    }

    fn postgres() -> Result<Database, &'static str> {
        let server = Postgres::create()?;
        Ok(Database { url: server.url.clone(), folder: tempfile::tempdir().unwrap(), server: Some(server) })
    }

    fn stop(&self) {
        self.server.as_ref().unwrap().stop().unwrap();
    }

    fn start(&self) {
        self.server.as_ref().unwrap().start().unwrap();
    }
}

/// Runs a promise on both.
async fn on_both(promise: impl AsyncFn(&Database)) {
    promise(&Database::sqlite()).await;
    match Database::postgres() {
        Ok(database) => promise(&database).await,
        // Written past the test harness, which hides what a passing test prints.
        Err(why) => writeln!(std::io::stderr(), "skipped: {why}").unwrap(),
    }
}

async fn add_alice(identity: &Identity, account: AccountId) -> ApiKey {
    let key = ApiKey::generate().unwrap();
    let set = NewKey::unbounded("first", Scopes::READ.with(Scopes::PROVIDE));
    identity.add_account(account, &format!("alice {}", account.0), &key, set).await.unwrap();
    key
}

#[tokio::test]
async fn what_is_stored_is_there_after_a_restart() {
    on_both(async |database| {
        let account = AccountId(7);
        let addresses: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let set = NewKey {
            name: "robot".into(),
            scopes: Scopes::WITHDRAW,
            expires_at: Some(unix_seconds() + 1_000),
            addresses,
            requests_per_minute: Some(30),
        };
        let session =
            Session { hash: [9; 32], account, created_at: 1, expires_at: i64::MAX / 2, address: "::1".into() };
        let identity = Identity::connect(&database.url).await.unwrap();
        let key = add_alice(&identity, account).await;
        identity.set_endpoint(account, "http://127.0.0.1:1/v1").await.unwrap();
        let signing = ApiKey::generate().unwrap();
        let credential = Credential::Ed25519([3; 32]);
        let robot = identity.add_key(Some(account), signing.public(), credential, set).await.unwrap();
        assert_eq!((robot.number, robot.account), (KeyId(2), Some(account)));
        assert!(identity.set_tier(account, Tier::Pro).await.unwrap());
        assert!(!identity.set_tier(AccountId(8), Tier::Pro).await.unwrap(), "nobody");
        identity.add_person(AccountId(9), "bob", "$argon2id$").await.unwrap();
        identity.open_session(session).await.unwrap();
        identity.key(key.public()).unwrap().used(1_234);
        identity.close().await;

        let identity = Identity::connect(&database.url).await.unwrap();
        let first = identity.key(key.public()).unwrap();
        assert!(first.has_secret(&key, unix_seconds()) && first.number == KeyId(1));
        assert_eq!(first.last_used(), Some(1_234));
        let again = identity.key(signing.public()).unwrap();
        assert_eq!(format!("{:?}", again.set), format!("{:?}", robot.set));
        assert_eq!((again.credential, again.number), (credential, KeyId(2)));
        assert_eq!(identity.account_named("alice 7").await.unwrap(), Some(account));
        assert_eq!(identity.endpoint(account).as_deref(), Some("http://127.0.0.1:1/v1"));
        assert_eq!(identity.tier(account), Some(Tier::Pro));
        assert_eq!(identity.person_named("bob").await.unwrap(), Some((AccountId(9), "$argon2id$".into())));
        assert_eq!(identity.person_named("alice 7").await.unwrap(), None, "no person");
        assert_eq!(identity.password_of(AccountId(9)).await.unwrap().as_deref(), Some("$argon2id$"));
        assert_eq!(identity.session(&[9; 32]).map(|session| session.account), Some(account));
        assert!(!identity.has_admin());
        identity.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_name_belongs_to_one_account_and_the_refusal_says_so() {
    on_both(async |database| {
        let identity = Identity::connect(&database.url).await.unwrap();
        identity.add_person(AccountId(1), "ann", "hash").await.unwrap();
        let taken = identity.add_person(AccountId(2), "ann", "hash").await.expect_err("taken");
        assert!(taken.as_database_error().is_some_and(|error| error.is_unique_violation()), "{taken}");
        assert_eq!(identity.account_named("ann").await.unwrap(), Some(AccountId(1)));
        identity.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_rotated_secret_is_good_until_its_overlap_ends_and_a_revoked_key_never_again() {
    on_both(async |database| {
        let identity = Identity::connect(&database.url).await.unwrap();
        let old = add_alice(&identity, AccountId(1)).await;
        let new = ApiKey::renewed(old.public()).unwrap();
        let until = unix_seconds() + 100;
        identity.rotate_key(old.public(), Credential::of(&old), Credential::of(&new), until).await.unwrap().unwrap();
        let thief = ApiKey::renewed(old.public()).unwrap();
        let second = identity.rotate_key(old.public(), Credential::of(&old), Credential::of(&thief), until).await;
        assert!(second.unwrap().is_none(), "what was replaced replaces nothing");
        identity.close().await;
        let identity = Identity::connect(&database.url).await.unwrap();
        let record = identity.key(old.public()).unwrap();
        assert!(record.has_secret(&new, until) && record.has_secret(&old, until - 1));
        assert!(!record.has_secret(&old, until), "the overlap is over");
        assert!(!record.has_secret(&ApiKey::renewed(old.public()).unwrap(), 0), "a stranger with the public part");
        identity.revoke_key(old.public()).await.unwrap();
        let late = identity.rotate_key(old.public(), Credential::of(&new), Credential::of(&thief), until).await;
        assert!(late.unwrap().is_none(), "a revoked key gets no new secret");
        identity.close().await;
        let identity = Identity::connect(&database.url).await.unwrap();
        assert!(identity.key(old.public()).unwrap().revoked_at.is_some());
        identity.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_account_has_a_bounded_number_of_sessions_and_the_oldest_end_first() {
    on_both(async |database| {
        let identity = Identity::connect(&database.url).await.unwrap();
        for number in 0..30_u8 {
            let (created_at, expires_at) = (i64::from(number), 1_000);
            let (hash, account, address) = ([number; 32], AccountId(1), "::1".to_owned());
            identity.open_session(Session { hash, account, created_at, expires_at, address }).await.unwrap();
        }
        let open: Vec<u8> = identity.sessions_of(AccountId(1)).iter().map(|session| session.hash[0]).collect();
        assert_eq!(open, (10..30).collect::<Vec<_>>());
        identity.end_session(&[20; 32]).await.unwrap();
        identity.close().await;
        let identity = Identity::connect(&database.url).await.unwrap();
        assert_eq!(identity.sessions_of(AccountId(1)).len(), 19);
        assert!(identity.session(&[20; 32]).is_none());
        identity.close().await;
    })
    .await;
}

#[tokio::test]
async fn sessions_that_are_over_are_forgotten_when_anybody_logs_in() {
    on_both(async |database| {
        let identity = Identity::connect(&database.url).await.unwrap();
        let open = async |number: u8, created_at: i64| {
            let (hash, account, address) = ([number; 32], AccountId(number.into()), "::1".to_owned());
            let expires_at = created_at + 100;
            identity.open_session(Session { hash, account, created_at, expires_at, address }).await.unwrap();
        };
        for number in 0..10 {
            open(number, 10 * i64::from(number)).await;
        }
        assert_eq!(read(&identity.sessions).len(), 10);
        open(10, 150).await;
        let mut left: Vec<u8> = read(&identity.sessions).keys().map(|hash| hash[0]).collect();
        left.sort_unstable();
        assert_eq!(left, [6, 7, 8, 9, 10], "those of 0 to 5 ended at 150 or before");
        identity.close().await;
        let identity = Identity::connect(&database.url).await.unwrap();
        assert_eq!(read(&identity.sessions).len(), 5, "in the database, too");
        identity.close().await;
    })
    .await;
}

#[tokio::test]
async fn no_secret_is_stored() {
    let database = Database::sqlite();
    let identity = Identity::connect(&database.url).await.unwrap();
    let key = add_alice(&identity, AccountId(1)).await;
    identity.close().await;
    let secret = key.reveal().rsplit('-').next().unwrap().to_owned();
    for entry in std::fs::read_dir(database.folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

/// A full disk makes SQLite end a transaction at one of its statements, and refuse the next one at its commit.
#[tokio::test]
async fn after_a_transaction_that_the_database_ended_what_is_stored_stays_stored() {
    let database = Database::sqlite();
    let identity = Identity::connect(&database.url).await.unwrap();
    let pool = AnyPool::connect(&database.url).await.unwrap();
    for statement in [
        "CREATE TABLE refused (account INTEGER REFERENCES accounts (account) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TRIGGER at_once BEFORE INSERT ON accounts WHEN NEW.name = 'at once' \
         BEGIN SELECT RAISE(ROLLBACK, 'full'); END",
        "CREATE TRIGGER at_commit AFTER INSERT ON accounts WHEN NEW.name = 'at commit' \
         BEGIN INSERT INTO refused VALUES (0); END",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let key = ApiKey::generate().unwrap();
    for name in ["at once", "at commit"] {
        let set = NewKey::unbounded("first", Scopes::READ);
        identity.add_account(AccountId(1), name, &key, set).await.expect_err(name);
        identity.add_person(AccountId(1), name, "hash").await.expect_err(name);
    }
    let key = add_alice(&identity, AccountId(1)).await;
    identity.add_person(AccountId(2), "bob", "hash").await.unwrap();
    identity.close().await;
    let identity = Identity::connect(&database.url).await.unwrap();
    assert!(identity.key(key.public()).is_some(), "the account that was stored is lost");
    assert!(identity.person_named("bob").await.unwrap().is_some(), "the person who was stored is lost");
    identity.close().await;
}

#[tokio::test]
async fn a_database_that_is_down_is_told_as_an_outage_and_is_used_again_when_it_is_back() {
    let database = match Database::postgres() {
        Ok(database) => database,
        Err(why) => return writeln!(std::io::stderr(), "skipped: {why}").unwrap(),
    };
    let identity = Identity::connect(&database.url).await.unwrap();
    let key = add_alice(&identity, AccountId(1)).await;
    database.stop();
    let down = identity.account_named("alice 1").await.expect_err("down");
    let told = crate::ApiError::from(down);
    assert_eq!((told.status.as_u16(), told.code), (503, "identity_unavailable"));
    assert!(identity.key(key.public()).is_some(), "keys are known all the same");
    database.start();
    let back = identity.account_named("alice 1").await;
    assert_eq!(back.unwrap(), Some(AccountId(1)));
    identity.close().await;
}

#[test]
fn a_key_is_within_another_only_if_it_gains_nothing() {
    let network = |text: &str| text.parse::<IpNet>().unwrap();
    let narrow = NewKey {
        addresses: vec![network("10.1.0.0/16")],
        expires_at: Some(100),
        ..NewKey::unbounded("", Scopes::READ)
    };
    let wide = NewKey {
        addresses: vec![network("10.0.0.0/8"), network("::1/128")],
        expires_at: Some(200),
        ..NewKey::unbounded("", Scopes::READ.with(Scopes::TRADE))
    };
    assert!(narrow.is_within(&wide) && narrow.is_within(&narrow) && !wide.is_within(&narrow));
    let gains = [
        NewKey { scopes: Scopes::READ.with(Scopes::WITHDRAW), ..narrow.clone() },
        NewKey { expires_at: None, ..narrow.clone() },
        NewKey { expires_at: Some(201), ..narrow.clone() },
        NewKey { addresses: Vec::new(), ..narrow.clone() },
        NewKey { addresses: vec![network("10.1.0.0/16"), network("11.0.0.0/8")], ..narrow.clone() },
        NewKey { addresses: vec![network("0.0.0.0/0")], ..narrow.clone() },
    ];
    let operators = NewKey { scopes: Scopes::ADMIN, ..wide.clone() };
    assert!(narrow.is_within(&operators) && !operators.is_within(&wide));
    for (at, gain) in gains.iter().enumerate() {
        assert!(!gain.is_within(&wide), "{gain:?}");
        assert!(at == 0 || !gain.is_within(&operators), "{gain:?}: the operator's bounds hold for accounts' keys, too");
    }
}

#[tokio::test]
async fn keys_of_an_older_store_get_numbers_in_the_order_in_which_they_were_made_and_keep_working() {
    let database = Database::sqlite();
    sqlx::any::install_default_drivers();
    let pool = AnyPool::connect(&database.url).await.unwrap();
    let mut older = sqlx::migrate!("migrations/sqlite");
    older.migrations.to_mut().truncate(1);
    older.run(&pool).await.unwrap();
    let keys: Vec<ApiKey> = (0..3).map(|_| ApiKey::generate().unwrap()).collect();
    for (key, account) in keys.iter().zip([7_i64, 0, 7]) {
        let insert =
            "INSERT INTO api_keys (public, secret_hash, account, scopes, created_at) VALUES ($1, $2, $3, 5, 1)";
        let hash = key.secret_hash();
        sqlx::query(insert).bind(key.public()).bind(hash.as_slice()).bind(account).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let identity = Identity::connect(&database.url).await.unwrap();
    let numbers: Vec<u32> = keys.iter().map(|key| identity.key(key.public()).unwrap().number.0).collect();
    assert_eq!(numbers, [1, 1, 2]);
    let key = identity.key(keys[2].public()).unwrap();
    assert!(key.has_secret(&keys[2], unix_seconds()) && key.allows("192.0.2.1".parse().unwrap()));
    assert_eq!(key.set.scopes, Scopes::READ.with(Scopes::PROVIDE));
    identity.close().await;
}
