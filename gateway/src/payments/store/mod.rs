//! What of payments is kept beside the journal, in the database of the identity store: the processor's own numbers, the
//! ledger's movements to and from the world, and the letters that are still to be dealt with.
//!
//! Invariant: the movements and letters of an input are written together with the number of that input, so none is missing
//! and none is there twice however often the process is killed.

mod accounts;
mod letters;
mod sessions;

pub(crate) use accounts::{Alert, PaymentAccount, Renewal};
pub(crate) use letters::{Letter, LetterState, NewLetter};

use super::processor::{Cents, Intent};
use crate::identity::all_or_nothing;
use gollem_engine::{AccountId, PayoutId, Reference};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, Row};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Rows of a list at the most.
pub(crate) const ROWS_MAX: i64 = 1_000;

/// The store.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: AnyPool,
    /// Marks this exchange's objects at the processor.
    exchange: String,
}

/// A movement of money between the ledger and the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Movement {
    pub seq: u64,
    /// Among the events of its input.
    pub place: u32,
    /// Unix seconds.
    pub at: i64,
    pub kind: MovementKind,
    /// Of a purchase, refund or dispute in hexadecimal; a payout's number.
    pub reference: String,
    pub account: AccountId,
    /// Above zero: it came in.
    pub atoms: i64,
}

/// What moved money between the ledger and the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MovementKind {
    Purchase,
    Refund,
    RefundFailed,
    DisputeOpened,
    DisputeWon,
    PayoutPaid,
    PayoutReturned,
}

impl MovementKind {
    const ALL: [MovementKind; 7] = [
        MovementKind::Purchase,
        MovementKind::Refund,
        MovementKind::RefundFailed,
        MovementKind::DisputeOpened,
        MovementKind::DisputeWon,
        MovementKind::PayoutPaid,
        MovementKind::PayoutReturned,
    ];

    /// As callers and the store read it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            MovementKind::Purchase => "purchase",
            MovementKind::Refund => "refund",
            MovementKind::RefundFailed => "refund_failed",
            MovementKind::DisputeOpened => "dispute_opened",
            MovementKind::DisputeWon => "dispute_won",
            MovementKind::PayoutPaid => "payout_confirmed",
            MovementKind::PayoutReturned => "payout_returned",
        }
    }
}

/// Why a payment was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The buyer asked for it.
    Purchase,
    /// The balance went below the buyer's mark.
    Renewal,
}

impl Purpose {
    /// As callers and the store read it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Purpose::Purchase => "purchase",
            Purpose::Renewal => "renewal",
        }
    }
}

/// A payment as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptIntent {
    pub id: String,
    pub account: AccountId,
    pub cents: Cents,
    pub purpose: String,
    pub state: String,
    /// Unix seconds.
    pub created_at: i64,
}

/// How the journal calls a payment of the processor.
pub(crate) fn reference_of(kind: &str, id: &str) -> Reference {
    crate::api::reference(&format!("{kind} {id}"))
}

/// A reference as the store has it.
pub(crate) fn hex(reference: Reference) -> String {
    reference.0.iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Store {
    /// The store in that database, with the mark of this exchange, which is made when there is none.
    pub(crate) async fn open(pool: AnyPool) -> Result<Store, sqlx::Error> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| sqlx::Error::Configuration(error.into()))?;
        let fresh: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let insert = "INSERT INTO payment_exchange (one, exchange, booked) VALUES (1, $1, 0) ON CONFLICT DO NOTHING";
        sqlx::query(insert).bind(fresh).execute(&pool).await?;
        // What a person was giving up when the process ended.
        sqlx::query("UPDATE letters SET state = 'dead' WHERE state = 'undoing'").execute(&pool).await?;
        let row = sqlx::query("SELECT exchange FROM payment_exchange").fetch_one(&pool).await?;
        let exchange = row.try_get("exchange")?;
        Ok(Store { pool, exchange })
    }

    /// What marks this exchange's objects at the processor.
    pub(crate) fn exchange(&self) -> &str {
        &self.exchange
    }

    /// The last input whose movements and letters are all here.
    pub(crate) async fn booked(&self) -> Result<u64, sqlx::Error> {
        let row = sqlx::query("SELECT booked FROM payment_exchange").fetch_one(&self.pool).await?;
        Ok(row.try_get::<i64, _>("booked")?.unsigned_abs())
    }

    /// Writes down what inputs up to `seq` were the cause of.
    pub(crate) async fn book(
        &self,
        seq: u64,
        movements: &[Movement],
        letters: &[NewLetter],
    ) -> Result<(), sqlx::Error> {
        let all = async |connection: &mut AnyConnection| {
            for movement in movements {
                insert_movement(connection, movement).await?;
            }
            for letter in letters {
                letters::insert(connection, letter).await?;
            }
            let update = sqlx::query("UPDATE payment_exchange SET booked = $1 WHERE booked < $1").bind(whole(seq));
            update.execute(connection).await.map(|_| ())
        };
        all_or_nothing(&self.pool, all).await
    }

    /// The movements of an account, newest first, below input `before`.
    pub(crate) async fn movements_of(
        &self,
        account: AccountId,
        before: u64,
        limit: i64,
    ) -> Result<Vec<Movement>, sqlx::Error> {
        let select = "SELECT * FROM movements WHERE account = $1 AND seq < $2 ORDER BY seq DESC, place DESC LIMIT $3";
        let rows = sqlx::query(select).bind(i64::from(account.0)).bind(whole(before)).bind(limit);
        rows.fetch_all(&self.pool).await?.iter().map(movement_in).collect()
    }

    /// All movements since the beginning, in the order of the journal.
    pub(crate) async fn movements(&self) -> Result<Vec<Movement>, sqlx::Error> {
        let rows = sqlx::query("SELECT * FROM movements ORDER BY seq, place").fetch_all(&self.pool).await?;
        rows.iter().map(movement_in).collect()
    }

    /// Notes a payment, or how far it is now.
    pub(crate) async fn note_intent(
        &self,
        intent: &Intent,
        account: AccountId,
        purpose: Purpose,
        request: Option<&str>,
    ) -> Result<(), sqlx::Error> {
        let insert = "INSERT INTO intents (id, account, cents, purpose, state, request, reference, created_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE SET state = $5, \
                      request = COALESCE(intents.request, $6), \
                      purpose = CASE WHEN $4 = 'renewal' THEN $4 ELSE intents.purpose END";
        sqlx::query(insert)
            .bind(&intent.id)
            .bind(i64::from(account.0))
            .bind(intent.cents)
            .bind(purpose.name())
            .bind(intent.state.name())
            .bind(request)
            .bind(hex(reference_of("payment", &intent.id)))
            .bind(intent.created)
            .execute(&self.pool)
            .await
            .map(|_| ())
    }

    /// The payment that was begun with that request.
    pub(crate) async fn intent_requested(&self, request: &str) -> Result<Option<KeptIntent>, sqlx::Error> {
        let row = sqlx::query("SELECT * FROM intents WHERE request = $1").bind(request);
        row.fetch_optional(&self.pool).await?.as_ref().map(intent_in).transpose()
    }

    /// How the journal calls the payments that were begun.
    pub(crate) async fn references(&self) -> Result<BTreeSet<String>, sqlx::Error> {
        let rows = sqlx::query("SELECT reference FROM intents").fetch_all(&self.pool).await?;
        rows.iter().map(|row| row.try_get("reference")).collect()
    }

    /// Payments of an account, newest first.
    pub(crate) async fn intents_of(&self, account: AccountId, limit: i64) -> Result<Vec<KeptIntent>, sqlx::Error> {
        let select = "SELECT * FROM intents WHERE account = $1 ORDER BY created_at DESC, id LIMIT $2";
        let rows = sqlx::query(select).bind(i64::from(account.0)).bind(limit).fetch_all(&self.pool).await?;
        rows.iter().map(intent_in).collect()
    }

    /// Whether an automatic purchase of the account is under way at the processor.
    pub(crate) async fn is_renewing(&self, account: AccountId) -> Result<bool, sqlx::Error> {
        let select =
            "SELECT id FROM intents WHERE account = $1 AND purpose = 'renewal' AND state = 'processing' LIMIT 1";
        let row = sqlx::query(select).bind(i64::from(account.0));
        Ok(row.fetch_optional(&self.pool).await?.is_some())
    }

    /// Notes a refund before it is booked, so that the booking is known to be the exchange's own wish.
    pub(crate) async fn add_refund(&self, reference: &str, intent: &str, cents: Cents) -> Result<(), sqlx::Error> {
        let insert = "INSERT INTO refunds (reference, intent, cents) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        sqlx::query(insert).bind(reference).bind(intent).bind(cents).execute(&self.pool).await.map(|_| ())
    }

    /// The payment and cents of a refund that the exchange wished.
    pub(crate) async fn refund(&self, reference: &str) -> Result<Option<(String, Cents)>, sqlx::Error> {
        let row = sqlx::query("SELECT intent, cents FROM refunds WHERE reference = $1").bind(reference);
        let row = row.fetch_optional(&self.pool).await?;
        row.map(|row| Ok((row.try_get("intent")?, row.try_get("cents")?))).transpose()
    }

    /// Notes which payout a transfer is of.
    pub(crate) async fn note_transfer(&self, id: &str, payout: PayoutId) -> Result<(), sqlx::Error> {
        let insert = "INSERT INTO transfers (id, payout) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        sqlx::query(insert).bind(id).bind(whole(payout.0)).execute(&self.pool).await.map(|_| ())
    }

    /// Which payouts transfers are of.
    pub(crate) async fn transfers(&self) -> Result<Vec<(String, PayoutId)>, sqlx::Error> {
        let rows = sqlx::query("SELECT id, payout FROM transfers").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| Ok((row.try_get("id")?, PayoutId(row.try_get::<i64, _>("payout")?.unsigned_abs()))))
            .collect()
    }
}

async fn insert_movement(connection: &mut AnyConnection, movement: &Movement) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO movements (seq, place, at, kind, reference, account, atoms) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    sqlx::query(insert)
        .bind(whole(movement.seq))
        .bind(i64::from(movement.place))
        .bind(movement.at)
        .bind(movement.kind.name())
        .bind(&movement.reference)
        .bind(i64::from(movement.account.0))
        .bind(movement.atoms)
        .execute(connection)
        .await
        .map(|_| ())
}

fn movement_in(row: &AnyRow) -> Result<Movement, sqlx::Error> {
    let kind: String = row.try_get("kind")?;
    let kind = MovementKind::ALL.into_iter().find(|known| known.name() == kind);
    Ok(Movement {
        seq: row.try_get::<i64, _>("seq")?.unsigned_abs(),
        place: small(row.try_get("place")?)?,
        at: row.try_get("at")?,
        kind: kind.ok_or_else(|| sqlx::Error::Decode("no such kind of movement".into()))?,
        reference: row.try_get("reference")?,
        account: AccountId(small(row.try_get("account")?)?),
        atoms: row.try_get("atoms")?,
    })
}

fn intent_in(row: &AnyRow) -> Result<KeptIntent, sqlx::Error> {
    Ok(KeptIntent {
        id: row.try_get("id")?,
        account: AccountId(small(row.try_get("account")?)?),
        cents: row.try_get("cents")?,
        purpose: row.try_get("purpose")?,
        state: row.try_get("state")?,
        created_at: row.try_get("created_at")?,
    })
}

/// As databases hold numbers of inputs and payouts: none comes near 63 bits.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn small(stored: i64) -> Result<u32, sqlx::Error> {
    u32::try_from(stored).map_err(|error| sqlx::Error::Decode(error.into()))
}
