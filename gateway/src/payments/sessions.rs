//! Who used the exchange from where, for how long and for how much: for people who look at their bill. Outside the journal,
//! because an address is personal, and forgotten after the days that are set.
//!
//! A session is the calls of one account from one address by one client with no pause of half an hour. Sessions are counted
//! in memory and written now and then: a crash loses what was counted since, here and nowhere else.

use super::lock;
use super::store::Store;
use crate::app::App;
use crate::identity::unix_seconds;
use gollem_engine::{AccountId, Amount};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, Weak};
use std::time::Duration;

/// The pause that ends a session, in seconds.
const PAUSE_S: i64 = 30 * 60;
/// Sessions that are counted apart; the calls of any more are counted by account only.
const SESSIONS_MAX: usize = 100_000;
/// What is kept of a client's name, in characters.
const CLIENT_CHARS_MAX: usize = 128;
/// How often they are written.
const EVERY: Duration = Duration::from_secs(15);

/// Which session a call is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Visitor {
    pub(crate) account: AccountId,
    pub(crate) address: IpAddr,
    /// As it calls itself.
    pub(crate) client: String,
}

impl Visitor {
    /// The visitor with that `User-Agent`.
    pub(crate) fn new(account: AccountId, address: IpAddr, client: &str) -> Visitor {
        let client = client.chars().filter(|char| !char.is_control()).take(CLIENT_CHARS_MAX).collect();
        Visitor { account, address, client }
    }
}

/// What a session came to so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Unix seconds.
    pub(crate) began_at: i64,
    /// The end of its last call, in Unix seconds.
    pub(crate) ended_at: i64,
    pub(crate) calls: u64,
    pub(crate) spent: Amount,
}

#[derive(Debug)]
struct Open {
    counted: Counted,
    /// Whether the store has not yet got that.
    is_new: bool,
}

/// The sessions of a running exchange.
#[derive(Debug)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<Visitor, Open>>,
    pub(crate) store: Store,
    /// After so many days they are forgotten; 0: none are kept.
    days: u32,
}

impl Sessions {
    pub(crate) fn new(store: Store, days: u32) -> Sessions {
        Sessions { open: Mutex::default(), store, days }
    }

    /// Counts a call that was settled.
    pub(crate) fn count(&self, visitor: &Visitor, spent: Amount) {
        if self.days > 0 {
            self.count_at(visitor, spent, unix_seconds());
        }
    }

    fn count_at(&self, visitor: &Visitor, spent: Amount, now: i64) {
        let mut open = lock(&self.open);
        if let Some(session) = open.get_mut(visitor).filter(|session| now - session.counted.ended_at < PAUSE_S) {
            let counted = &mut session.counted;
            (counted.ended_at, counted.calls) = (now.max(counted.ended_at), counted.calls + 1);
            counted.spent.0 = counted.spent.0.saturating_add(spent.0);
            session.is_new = true;
            return;
        }
        let visitor = if open.len() < SESSIONS_MAX || open.contains_key(visitor) {
            visitor.clone()
        } else {
            Visitor::new(visitor.account, IpAddr::V4(Ipv4Addr::UNSPECIFIED), "many")
        };
        let counted = Counted { began_at: now, ended_at: now, calls: 1, spent };
        match open.entry(visitor) {
            // Those of one account that are no longer told apart.
            Entry::Occupied(mut known) if now - known.get().counted.ended_at < PAUSE_S => {
                let session = known.get_mut();
                session.counted.calls += 1;
                session.counted.ended_at = now;
                session.counted.spent.0 = session.counted.spent.0.saturating_add(spent.0);
                session.is_new = true;
            }
            // The one before has been written: it is older than the time between two writings.
            Entry::Occupied(mut ended) => *ended.get_mut() = Open { counted, is_new: true },
            Entry::Vacant(place) => {
                place.insert(Open { counted, is_new: true });
            }
        }
    }

    /// Writes what was counted since the last time, lets go of sessions that are over, and forgets old ones.
    pub(crate) async fn write(&self, now: i64) -> Result<(), sqlx::Error> {
        let counted: Vec<(Visitor, Counted)> = {
            let mut open = lock(&self.open);
            open.retain(|_, session| session.is_new || now - session.counted.ended_at < PAUSE_S);
            let new = open.iter_mut().filter(|(_, session)| session.is_new);
            let written = |(visitor, session): (&Visitor, &mut Open)| {
                session.is_new = false;
                (visitor.clone(), session.counted)
            };
            new.map(written).collect()
        };
        self.store.write_sessions(&counted).await?;
        self.store.forget_sessions(now - i64::from(self.days) * 86_400).await
    }
}

/// Writes sessions now and then as long as there is an exchange.
pub(crate) async fn keep(app: Weak<App>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(app) = app.upgrade() else { return };
        if let Err(error) = app.sessions.write(unix_seconds()).await {
            tracing::warn!(%error, "who used the exchange could not be written down");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    async fn store(dir: &tempfile::TempDir) -> Store {
        let identity = Identity::open(&dir.path().join("identity.db")).await.unwrap();
        Store::open(identity.pool()).await.unwrap()
    }

    fn visitor(account: u32, last: u8, client: &str) -> Visitor {
        Visitor::new(AccountId(account), IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), client)
    }

    #[tokio::test]
    async fn calls_are_one_session_until_a_pause_of_half_an_hour_and_sessions_are_forgotten_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions::new(store(&dir).await, 2);
        let (ann, bob) = (visitor(1, 1, "curl/8\u{7}"), visitor(2, 1, "curl/8"));
        let start = 1_000_000;
        for at in [0, 60, 1_800, 3_599] {
            sessions.count_at(&ann, Amount(5), start + at);
        }
        sessions.count_at(&bob, Amount(7), start + 10);
        sessions.write(start + 3_600).await.unwrap();
        sessions.write(start + 3_601).await.unwrap();
        // A pause: another one.
        sessions.count_at(&ann, Amount(1), start + 3_599 + PAUSE_S);
        sessions.write(start + 3_600 + PAUSE_S).await.unwrap();
        let told = sessions.store.sessions_of(AccountId(1), 10).await.unwrap();
        let first = Counted { began_at: start, ended_at: start + 3_599, calls: 4, spent: Amount(20) };
        let second = Counted {
            began_at: start + 3_599 + PAUSE_S,
            ended_at: start + 3_599 + PAUSE_S,
            calls: 1,
            spent: Amount(1),
        };
        let whom = visitor(1, 1, "curl/8");
        assert_eq!(told, [(whom.clone(), second), (whom, first)], "newest first");
        assert_eq!(lock(&sessions.open).len(), 1, "who is gone takes no memory");
        sessions.write(start + 3_600 + 2 * 86_400).await.unwrap();
        assert_eq!(sessions.store.sessions_of(AccountId(1), 10).await.unwrap().len(), 1, "the first is forgotten");
        assert!(sessions.store.sessions_of(AccountId(2), 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_keeps_none_counts_none() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions::new(store(&dir).await, 0);
        sessions.count(&visitor(1, 1, "curl"), Amount(5));
        assert!(lock(&sessions.open).is_empty());
    }
}
