//! Every bound the engine enforces, each with the failure it prevents. Beyond a bound a command is
//! refused with a [`crate::RejectReason`] that names it.

use crate::ids::{LOCK_SLOT, SLOT_BITS};

/// Accounts: ids stay dense, so this bounds the ledger's memory (64 bytes each).
pub const ACCOUNTS_MAX: usize = 4_000_000;
/// Instruments: each holds two book sides.
pub const INSTRUMENTS_MAX: usize = 10_000;
/// Bytes in an instrument's symbol, which travels in the journal.
pub const SYMBOL_BYTES_MAX: usize = 64;
/// Price levels of an instrument: its highest price is at most this many ticks, so that a level is found by index. Each
/// side keeps 24 bytes for every level near which an order once was: 50 MB an instrument at the most.
pub const LEVELS_MAX: u64 = 1 << 20;
/// Open orders of one account: one account cannot fill the books.
pub const OPEN_ORDERS_PER_ACCOUNT_MAX: u32 = 10_000;
/// Open orders in all. With [`QUANTITY_MAX`] it keeps a level's total inside 64 bits.
pub const OPEN_ORDERS_MAX: usize = 4_000_000;
/// Open contracts of a buyer who places a bid; fills of bids that rest already may go beyond it.
pub const OPEN_CONTRACTS_PER_ACCOUNT_MAX: u32 = 100_000;
/// Open contracts in all: an order is refused when this many are open.
pub const OPEN_CONTRACTS_MAX: usize = 4_000_000;
/// Client order ids remembered for each account, the newest: a resend of one of them gets the first answer.
pub const CLIENT_IDS_PER_ACCOUNT_MAX: u32 = 10_000;
/// How long a locked quote is kept, 5 seconds in nanoseconds: its units are off the market meanwhile.
pub const QUOTE_LOCK_NS: u64 = 5 * 1_000_000_000;
/// Open locks of one account: nobody takes a market off sale for nothing.
pub const LOCKS_PER_ACCOUNT_MAX: u32 = 16;
/// Open locks in all, some 300 bytes each.
pub const LOCKS_MAX: usize = 1_000_000;
/// Asks that a quote looks at, or an explanation passes over since they are the account's own: a question does not keep
/// the matcher from its commands.
pub const QUOTE_ASKS_MAX: usize = 512;
/// Asks of one class in front that are too small for a `single` bid, and that a quote passes over.
pub const QUOTE_SMALL_ASKS_MAX: usize = 16_384;
/// Candidates in a quote.
pub const QUOTE_CANDIDATES_MAX: usize = 64;
/// Providers that one bid may name.
pub const CHOSEN_PROVIDERS_MAX: usize = 16;
/// Asks that a bid for certain providers looks at, in the order in which it would take them.
pub const CHOICE_ASKS_MAX: usize = 512;
/// API keys of one account that have spending limits.
pub const LIMITED_KEYS_PER_ACCOUNT_MAX: u32 = 1_000;
/// Units in one order.
pub const QUANTITY_MAX: u64 = 1_000_000_000_000;
/// Atoms a unit: $1,000 a unit.
pub const PRICE_MAX: u64 = 100_000_000_000_000;
/// Widest price band in basis points of the reference price.
pub const BAND_BPS_MAX: u32 = 1_000_000;
/// Atoms one account may own over all its balances: $46 million, half of what 63 bits hold, so that no
/// sum of one account's balances can overflow.
pub const ACCOUNT_ATOMS_MAX: i64 = i64::MAX / 2;
/// Smallest purchase, $1.
pub const PURCHASE_ATOMS_MIN: i64 = 100_000_000_000;
/// Largest purchase, $1,000.
pub const PURCHASE_ATOMS_MAX: i64 = 100_000_000_000_000;
/// Largest credit line, $1,000.
pub const OVERAGE_ATOMS_MAX: i64 = 100_000_000_000_000;
/// Earnings that start an automatic payout, $100.
pub const PAYOUT_THRESHOLD_ATOMS: i64 = 10_000_000_000_000;
/// Basis points that the platform may keep, for each kind of fee.
pub const FEE_BPS_MAX: u16 = 2_500;
/// Basis points of a delivery that a breach may return to the buyer. With the fees it stays within the delivery.
pub const REBATE_BPS_MAX: u16 = 5_000;
/// How far a promise may be missed before a rebate is due, in basis points.
pub const TOLERANCE_BPS_MAX: u16 = 10_000;
/// Longest life of a contract, 400 days in nanoseconds.
pub const CONTRACT_TTL_NS_MAX: u64 = 400 * 86_400 * 1_000_000_000;
/// Longest timer, one day in nanoseconds.
pub const TIMER_NS_MAX: u64 = 86_400 * 1_000_000_000;
/// Failed deliveries in a row that open a provider's circuit breaker on an instrument.
pub const BREAKER_FAILURES: u32 = 5;
/// How long an open breaker keeps a provider's asks out of the book, 30 seconds in nanoseconds.
pub const BREAKER_COOL_DOWN_NS: u64 = 30 * 1_000_000_000;
/// Contracts a half-open breaker lets through before the first of them succeeds.
pub const BREAKER_PROBES: u32 = 3;
/// Length of each spending window in minutes: 5 minutes to 72 hours.
pub const GUARD_RAIL_MINUTES: [u16; 17] =
    [5, 15, 30, 60, 90, 120, 240, 300, 360, 400, 460, 520, 640, 700, 1_440, 2_880, 4_320];

const _: () = assert!(
    (OPEN_ORDERS_MAX as u128) * (QUANTITY_MAX as u128) <= u64::MAX as u128,
    "a level's total quantity fits 64 bits"
);
const _: () = assert!(
    OPEN_ORDERS_MAX <= 1 << SLOT_BITS && OPEN_CONTRACTS_MAX <= 1 << SLOT_BITS,
    "a slot fits the low bits of an id"
);
const _: () = assert!(OPEN_ORDERS_MAX <= LOCK_SLOT, "no open order has the slot in the numbers of locks");
const _: () = assert!(
    2 * FEE_BPS_MAX + REBATE_BPS_MAX <= 10_000,
    "what a delivery brings the provider covers its fees and its rebate"
);
