//! The keys of accounts and of the operator: what is stored of one, and how it is made, replaced and revoked. A key keeps its
//! number for ever; a revoked one is remembered, so that its holder is told and its number is not used again.

use super::{Identity, number, read, unix_seconds, write};
use crate::keys::{ApiKey, Scopes};
use gollem_engine::{AccountId, KeyId};
use ipnet::IpNet;
use sqlx::{AnyConnection, Row};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use subtle::ConstantTimeEq;

/// What proves that a caller has the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// SHA-256 of the secret that the caller shows.
    Secret([u8; 32]),
    /// The Ed25519 public key under which the caller signs.
    Ed25519([u8; 32]),
}

impl Credential {
    /// What is kept of a key with a secret.
    pub(crate) fn of(key: &ApiKey) -> Credential {
        Credential::Secret(key.secret_hash())
    }

    fn parts(self) -> (bool, [u8; 32]) {
        match self {
            Credential::Secret(hash) => (false, hash),
            Credential::Ed25519(key) => (true, key),
        }
    }

    fn from_parts(signs: bool, bytes: Vec<u8>) -> Result<Credential, sqlx::Error> {
        let bytes = bytes.try_into().map_err(|_| sqlx::Error::Decode("a credential has not 32 bytes".into()))?;
        Ok(if signs { Credential::Ed25519(bytes) } else { Credential::Secret(bytes) })
    }
}

/// What the owner of a new key decides about it.
#[derive(Clone, Debug)]
pub(crate) struct NewKey {
    pub(crate) name: String,
    pub(crate) scopes: Scopes,
    /// Unix seconds.
    pub(crate) expires_at: Option<i64>,
    /// From where it may be used; from anywhere when empty.
    pub(crate) addresses: Vec<IpNet>,
    /// Its own limit, below that of its account.
    pub(crate) requests_per_minute: Option<u32>,
}

impl NewKey {
    /// A key without bounds.
    pub(crate) fn unbounded(name: &str, scopes: Scopes) -> NewKey {
        let addresses = Vec::new();
        NewKey { name: name.to_owned(), scopes, expires_at: None, addresses, requests_per_minute: None }
    }

    /// Whether a key like this opens nothing that one like `wider` does not: it may do no more, for no longer, from nowhere
    /// else. The operator's keys may do what any account's may.
    pub(crate) fn is_within(&self, wider: &NewKey) -> bool {
        let ends_first = |end: i64| self.expires_at.is_some_and(|own| own <= end);
        let inside = |own: &IpNet| wider.addresses.iter().any(|outer| outer.contains(own));
        let from_there = !self.addresses.is_empty() && self.addresses.iter().all(inside);
        (wider.scopes.contains(self.scopes) || wider.scopes.contains(Scopes::ADMIN))
            && wider.expires_at.is_none_or(ends_first)
            && (wider.addresses.is_empty() || from_there)
    }
}

/// What is known of a key.
#[derive(Clone, Debug)]
pub(crate) struct KeyRecord {
    /// Whose it is; the operator's when `None`.
    pub(crate) account: Option<AccountId>,
    /// Its number in its account, from 1.
    pub(crate) number: KeyId,
    /// The part that may be shown.
    pub(crate) public: String,
    pub(crate) credential: Credential,
    /// What rotation replaced, and until when it is good, in Unix seconds.
    pub(crate) former: Option<(Credential, i64)>,
    /// Its name and bounds.
    pub(crate) set: NewKey,
    /// Unix seconds.
    pub(crate) created_at: i64,
    /// Unix seconds.
    pub(crate) revoked_at: Option<i64>,
    uses: Arc<Uses>,
}

/// When a key was last used, in Unix seconds, and what the database knows of that.
#[derive(Debug, Default)]
struct Uses {
    last: AtomicI64,
    noted: AtomicI64,
}

impl KeyRecord {
    pub(super) fn new(
        account: Option<AccountId>,
        number: KeyId,
        public: &str,
        credential: Credential,
        set: NewKey,
    ) -> KeyRecord {
        let (public, created_at, uses) = (public.to_owned(), unix_seconds(), Arc::default());
        KeyRecord { account, number, public, credential, former: None, set, created_at, revoked_at: None, uses }
    }

    /// What it is known by: the part that may be shown.
    pub(crate) fn prefix(&self) -> String {
        ApiKey::prefix_of(&self.public)
    }

    /// Those credentials that are good now.
    pub(crate) fn credentials(&self, now: i64) -> impl Iterator<Item = Credential> {
        let former = self.former.filter(|(_, until)| now < *until).map(|(credential, _)| credential);
        std::iter::once(self.credential).chain(former)
    }

    /// The record as its holder has shown it: with the credential that was used, and no other.
    pub(crate) fn shown_by(record: Arc<KeyRecord>, credential: Credential) -> Arc<KeyRecord> {
        if record.credential == credential {
            return record;
        }
        Arc::new(KeyRecord { credential, former: None, ..(*record).clone() })
    }

    /// Whether the caller has shown a secret that is good now. Takes the same time whatever differs.
    pub(crate) fn has_secret(&self, key: &ApiKey, now: i64) -> bool {
        let presented = key.secret_hash();
        self.credentials(now).fold(false, |found, credential| match credential {
            Credential::Secret(stored) => found | bool::from(presented.ct_eq(&stored)),
            Credential::Ed25519(_) => found,
        })
    }

    /// Whether it may be used from there.
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        self.set.addresses.is_empty() || self.set.addresses.iter().any(|network| network.contains(&address))
    }

    /// Whether it is past its end.
    pub(crate) fn expired(&self, now: i64) -> bool {
        self.set.expires_at.is_some_and(|end| end <= now)
    }

    /// When it was last used, in Unix seconds, if it was.
    pub(crate) fn last_used(&self) -> Option<i64> {
        Some(self.uses.last.load(Ordering::Relaxed)).filter(|last| *last > 0)
    }

    /// Notes that it is used.
    pub(crate) fn used(&self, now: i64) {
        self.uses.last.store(now, Ordering::Relaxed);
    }
}

impl Identity {
    pub(super) async fn load_keys(&self) -> Result<(), sqlx::Error> {
        for row in sqlx::query("SELECT * FROM api_keys").fetch_all(&self.pool).await? {
            let signs = row.try_get::<i64, _>("signs")? != 0;
            let account = number(row.try_get("account")?)?;
            let former: Option<Vec<u8>> = row.try_get("former")?;
            let until: Option<i64> = row.try_get("former_until")?;
            let former = former.map(|bytes| Credential::from_parts(signs, bytes)).transpose()?;
            let scopes = u8::try_from(row.try_get::<i64, _>("scopes")?);
            let rate = row.try_get::<Option<i64>, _>("requests_per_minute")?.map(number).transpose()?;
            let last_used = row.try_get("last_used")?;
            self.remember(KeyRecord {
                account: (account != 0).then_some(AccountId(account)),
                number: KeyId(number(row.try_get("number")?)?),
                public: row.try_get("public")?,
                credential: Credential::from_parts(signs, row.try_get("secret_hash")?)?,
                former: former.zip(until),
                set: NewKey {
                    name: row.try_get("name")?,
                    scopes: Scopes(scopes.map_err(|error| sqlx::Error::Decode(error.into()))?),
                    expires_at: row.try_get("expires_at")?,
                    addresses: networks(&row.try_get::<String, _>("addresses")?)?,
                    requests_per_minute: rate,
                },
                created_at: row.try_get("created_at")?,
                revoked_at: row.try_get("revoked_at")?,
                uses: Arc::new(Uses { last: AtomicI64::new(last_used), noted: AtomicI64::new(last_used) }),
            });
        }
        Ok(())
    }

    /// The key with this public part.
    pub(crate) fn key(&self, public: &str) -> Option<Arc<KeyRecord>> {
        read(&self.keys).get(public).cloned()
    }

    /// The keys of an account, or the operator's, in the order of their numbers; revoked ones, too.
    pub(crate) fn keys_of(&self, account: Option<AccountId>) -> Vec<Arc<KeyRecord>> {
        let mut own: Vec<_> = read(&self.keys).values().filter(|key| key.account == account).cloned().collect();
        own.sort_unstable_by_key(|key| key.number);
        own
    }

    /// Whether there is any key that may run the exchange and is not revoked.
    pub fn has_admin(&self) -> bool {
        let admin = |key: &Arc<KeyRecord>| key.revoked_at.is_none() && key.set.scopes.intersects(Scopes::ADMIN);
        read(&self.keys).values().any(admin)
    }

    /// Stores a new key under the next number of its account.
    pub(crate) async fn add_key(
        &self,
        account: Option<AccountId>,
        public: &str,
        credential: Credential,
        set: NewKey,
    ) -> Result<Arc<KeyRecord>, sqlx::Error> {
        let _writing = self.writing.lock().await;
        let last = self.keys_of(account).last().map_or(0, |key| key.number.0);
        let record = KeyRecord::new(account, KeyId(last + 1), public, credential, set);
        insert(&mut *self.pool.acquire().await?, &record).await?;
        Ok(self.remember(record))
    }

    /// Gives a key another credential in the place of `known`, which is good until `until`, in Unix seconds. `None` when it has
    /// another one by now, or was revoked: of two who replace one credential, the second would lock the first out.
    pub(crate) async fn rotate_key(
        &self,
        public: &str,
        known: Credential,
        credential: Credential,
        until: i64,
    ) -> Result<Option<Arc<KeyRecord>>, sqlx::Error> {
        let _writing = self.writing.lock().await;
        let unchanged = |record: &Arc<KeyRecord>| record.credential == known && record.revoked_at.is_none();
        let Some(record) = self.key(public).filter(unchanged) else { return Ok(None) };
        let ((_, new), (_, old)) = (credential.parts(), record.credential.parts());
        let update = "UPDATE api_keys SET secret_hash = $1, former = $2, former_until = $3 WHERE public = $4";
        let update = sqlx::query(update).bind(new.as_slice()).bind(old.as_slice()).bind(until).bind(public);
        update.execute(&self.pool).await?;
        let former = Some((record.credential, until));
        Ok(Some(self.remember(KeyRecord { credential, former, ..KeyRecord::clone(&record) })))
    }

    /// Revokes a key; it opens nothing from now on.
    pub(crate) async fn revoke_key(&self, public: &str) -> Result<(), sqlx::Error> {
        let _writing = self.writing.lock().await;
        let Some(record) = self.key(public).filter(|record| record.revoked_at.is_none()) else { return Ok(()) };
        let now = unix_seconds();
        let update = sqlx::query("UPDATE api_keys SET revoked_at = $1 WHERE public = $2").bind(now).bind(public);
        update.execute(&self.pool).await?;
        self.remember(KeyRecord { revoked_at: Some(now), ..KeyRecord::clone(&record) });
        Ok(())
    }

    /// Writes down when keys were last used.
    pub(crate) async fn note_uses(&self) -> Result<(), sqlx::Error> {
        let used =
            |key: &&Arc<KeyRecord>| key.uses.last.load(Ordering::Relaxed) > key.uses.noted.load(Ordering::Relaxed);
        let used: Vec<_> = read(&self.keys).values().filter(used).cloned().collect();
        for key in used {
            let last = key.uses.last.load(Ordering::Relaxed);
            let update = sqlx::query("UPDATE api_keys SET last_used = $1 WHERE public = $2");
            update.bind(last).bind(key.public.as_str()).execute(&self.pool).await?;
            key.uses.noted.store(last, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(super) fn remember(&self, record: KeyRecord) -> Arc<KeyRecord> {
        let record = Arc::new(record);
        write(&self.keys).insert(record.public.clone(), Arc::clone(&record));
        record
    }
}

pub(super) async fn insert(connection: &mut AnyConnection, record: &KeyRecord) -> Result<(), sqlx::Error> {
    let (signs, credential) = record.credential.parts();
    let set = &record.set;
    let addresses: Vec<String> = set.addresses.iter().map(IpNet::to_string).collect();
    let insert = "INSERT INTO api_keys (public, secret_hash, account, scopes, created_at, number, name, signs, expires_at, \
                  addresses, requests_per_minute) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    sqlx::query(insert)
        .bind(record.public.as_str())
        .bind(credential.as_slice())
        .bind(record.account.map_or(0, |account| i64::from(account.0)))
        .bind(i64::from(set.scopes.0))
        .bind(record.created_at)
        .bind(i64::from(record.number.0))
        .bind(set.name.as_str())
        .bind(i64::from(signs))
        .bind(set.expires_at)
        .bind(addresses.join(","))
        .bind(set.requests_per_minute.map(i64::from))
        .execute(connection)
        .await?;
    Ok(())
}

fn networks(stored: &str) -> Result<Vec<IpNet>, sqlx::Error> {
    let parse = |text: &str| text.parse().map_err(|error: ipnet::AddrParseError| sqlx::Error::Decode(error.into()));
    stored.split(',').filter(|text| !text.is_empty()).map(parse).collect()
}
