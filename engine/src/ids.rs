//! Numbered names. The engine gives accounts, instruments, orders, contracts and payouts ascending
//! numbers from 1, so a table indexed by id needs no hashing and an id doubles as time priority.

use bincode::{Decode, Encode};

/// An account, dense from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct AccountId(pub u32);

/// An instrument, dense from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct InstrumentId(pub u32);

/// An order. A lower id rested earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct OrderId(pub u64);

/// A contract made by a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ContractId(pub u64);

/// A payout to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct PayoutId(pub u64);

/// The payment processor's reference of a purchase, reduced to 16 bytes by the gateway so that no
/// personal data enters the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Reference(pub [u8; 16]);

/// A client's own order id, reduced to 16 bytes by the gateway; unique per account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct ClientOrderId(pub [u8; 16]);

/// Nanoseconds since the Unix epoch, stamped by the sequencer; never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Timestamp(pub u64);

/// The index of a dense id that counts from 1; `None` for 0.
pub(crate) fn dense_index(id: u32) -> Option<usize> {
    id.checked_sub(1).map(|index| index as usize)
}
