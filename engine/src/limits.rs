//! Every bound the engine enforces, each with the failure it prevents. Beyond a bound a command is
//! refused with a [`crate::RejectReason`] that names it.

/// Accounts: ids stay dense, so this bounds the ledger's memory (40 bytes each).
pub const ACCOUNTS_MAX: usize = 4_000_000;
/// Instruments: each holds two book sides.
pub const INSTRUMENTS_MAX: usize = 10_000;
/// Bytes in an instrument's symbol, which travels in the journal.
pub const SYMBOL_BYTES_MAX: usize = 64;
/// Open orders of one account: one account cannot fill the books.
pub const OPEN_ORDERS_PER_ACCOUNT_MAX: u32 = 10_000;
/// Open orders in all. With [`QUANTITY_MAX`] it keeps a level's total inside 64 bits.
pub const OPEN_ORDERS_MAX: usize = 4_000_000;
/// Open contracts of a buyer who places a bid; fills of bids that rest already may go beyond it.
pub const OPEN_CONTRACTS_PER_ACCOUNT_MAX: u32 = 100_000;
/// Units in one order.
pub const QUANTITY_MAX: u64 = 1_000_000_000_000;
/// Atoms a unit: $1,000 a unit.
pub const PRICE_MAX: u64 = 100_000_000_000_000;
/// Atoms one account may own over all its balances: $46 million, half of what 63 bits hold, so that no
/// sum of one account's balances can overflow.
pub const ACCOUNT_ATOMS_MAX: i64 = i64::MAX / 2;
/// Smallest purchase, $1.
pub const PURCHASE_ATOMS_MIN: i64 = 100_000_000_000;
/// Largest purchase, $1,000.
pub const PURCHASE_ATOMS_MAX: i64 = 100_000_000_000_000;
/// Basis points of a delivery that the platform may keep.
pub const FEE_BPS_MAX: u16 = 5_000;
/// Longest life of a contract, 400 days in nanoseconds.
pub const CONTRACT_TTL_NS_MAX: u64 = 400 * 86_400 * 1_000_000_000;

const _: () = assert!(
    (OPEN_ORDERS_MAX as u128) * (QUANTITY_MAX as u128) <= u64::MAX as u128,
    "a level's total quantity fits 64 bits"
);
