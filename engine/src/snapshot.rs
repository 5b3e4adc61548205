//! Snapshots: the whole state as a stream of bytes, and back. An engine that was read back gives the same events from
//! there on as the one that was written.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `GLLMSNAP` |
//! | 4 | version, little-endian like all numbers here |
//! | chunk | [`Header`]: counters, the state hash, how many rows follow |
//! | chunks | rows of each [`Part`] in the order of their numbers; as many chunks as it takes, none for no rows |
//! | chunk | the end, empty |
//!
//! A chunk is its part (1 byte), its rows (4), the length of its rows' bytes (4), these bytes (bincode `legacy()`), and a
//! check (8): the first bytes of the BLAKE3 hash of everything before it, from the first byte of the snapshot on. So a
//! chunk that was changed, lost, repeated or moved is noticed at that chunk, before a row of it is looked at.
//!
//! Invariants: writing and reading need memory for one chunk, however much there is; no number in a row decides how much
//! memory is taken, because orders and contracts have no more slots than were made of them, which the header says. Rows
//! hold state only: what follows from it is built anew, and the state hash must come out as written. Equal states have
//! equal bytes.
//!
//! Deliberately absent: files, their names, and making them durable.

mod read;
mod write;

use crate::{StateHash, Timestamp};
use bincode::{Decode, Encode};

/// First bytes of every snapshot, of whatever version.
const MAGIC: [u8; 8] = *b"GLLMSNAP";
/// The format written here. Version 1 had no locks, version 2 no failed refunds, and both forgot payouts once they were
/// confirmed: they are read too as long as no payout had ended.
const VERSION: u32 = 3;
/// Most bytes of rows in a chunk.
const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// Most bytes in a row, as written and as decoding reckons them. The longest, of spending, has 1,445 and counts as 2,200.
const ROW_BYTES_MAX: usize = 4 * 1024;
/// Bytes in front of a chunk's rows: part, rows, length.
const CHUNK_HEADER_BYTES: usize = 9;

/// Why a snapshot was not read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// These bytes are something else: name the right file.
    #[error("this is not a snapshot")]
    NotASnapshot,
    /// Another version of the program wrote it: use that one, or an older snapshot.
    #[error("the snapshot has version {found}; the newest that this program reads is {newest}")]
    UnknownVersion {
        /// Its version.
        found: u32,
        /// The newest version that can be read.
        newest: u32,
    },
    /// An older version of the program wrote it and left confirmed payouts out, which may still come back: use an older
    /// snapshot, or start from the journal.
    #[error("the snapshot has version {found}, which forgot the payouts that had ended")]
    PayoutsForgotten {
        /// Its version.
        found: u32,
    },
    /// It was damaged after it was written, or cut short: use an older snapshot, and look at the disk.
    #[error("the snapshot is damaged in chunk {chunk} ({part}): {what}")]
    Corrupt {
        /// What the chunk holds, or the one before it if that is not known.
        part: &'static str,
        /// Which chunk, from 0.
        chunk: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Reading failed: look at the disk, and try again.
    #[error("the snapshot could not be read: {0}")]
    Io(#[from] std::io::Error),
    /// Its bytes are whole, but make another state than the one that was written: a bug, or a build with other rules.
    /// Use an older snapshot, or start from the journal.
    #[error("the snapshot was written with state {expected} and reads as {actual}")]
    StateMismatch {
        /// The hash when it was written.
        expected: StateHash,
        /// The hash after reading.
        actual: StateHash,
    },
}

/// What a chunk's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Part {
    /// One [`Header`].
    Header,
    /// Balances; the first row is account 1.
    Accounts,
    /// Specification and state; the first row is instrument 1.
    Markets,
    /// Market and order: asks that may match once the market opens, in that order.
    Waiting,
    /// By account, oldest first.
    Orders,
    /// By market, the next to end first.
    Contracts,
    Payouts,
    Purchases,
    Refunds,
    Disputes,
    Answers,
    Providers,
    Policies,
    /// By account, oldest minutes first.
    Spending,
    Keys,
    Timers,
    /// By account, oldest first.
    Locks,
    FailedRefunds,
    End,
}

impl Part {
    /// All of them by number, with their names.
    const ALL: [(Part, &'static str); 19] = [
        (Part::Header, "header"),
        (Part::Accounts, "accounts"),
        (Part::Markets, "markets"),
        (Part::Waiting, "waiting asks"),
        (Part::Orders, "orders"),
        (Part::Contracts, "contracts"),
        (Part::Payouts, "payouts"),
        (Part::Purchases, "purchases"),
        (Part::Refunds, "refunds"),
        (Part::Disputes, "disputes"),
        (Part::Answers, "answers"),
        (Part::Providers, "providers"),
        (Part::Policies, "policies"),
        (Part::Spending, "spending"),
        (Part::Keys, "keys"),
        (Part::Timers, "timers"),
        (Part::Locks, "locks"),
        (Part::FailedRefunds, "failed refunds"),
        (Part::End, "end"),
    ];

    fn from_number(number: u8, version: u32) -> Option<Part> {
        // Parts were added in front of the end.
        let end = match version {
            1 => Part::Locks,
            2 => Part::FailedRefunds,
            _ => Part::End,
        };
        if number == end as u8 {
            return Some(Part::End);
        }
        Part::ALL.get(usize::from(number)).map(|(part, _)| *part)
    }

    fn name(self) -> &'static str {
        Part::ALL[self as usize].1
    }
}

/// What is not a row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct Header {
    state: StateHash,
    last_seq: u64,
    last_at: Timestamp,
    order_serial: u64,
    order_clock: u64,
    contract_serial: u64,
    next_payout: u64,
    sweep_at: Option<Timestamp>,
    fees: i128,
    external: i128,
    /// Accounts, markets, orders, contracts.
    counts: [u64; 4],
}

/// The check of a chunk, given what hashed everything before.
fn check(hasher: &blake3::Hasher) -> [u8; 8] {
    let hash = hasher.finalize();
    std::array::from_fn(|at| hash.as_bytes()[at])
}

#[cfg(test)]
mod tests;
