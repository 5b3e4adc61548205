//! Numbered names.
//!
//! Accounts, instruments and payouts are numbered 1, 2, 3. The numbers of orders and contracts ascend too, and carry
//! in their low bits the slot of the table where they are kept, so that looking one up needs neither hashing nor a
//! directory: `serial << SLOT_BITS | slot`, serials from 1.

use bincode::{Decode, Encode};

/// An account, dense from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
pub struct AccountId(pub u32);

/// An instrument, dense from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
pub struct InstrumentId(pub u32);

/// An order. A lower id was accepted earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
pub struct OrderId(pub u64);

impl OrderId {
    /// Whether this is the number of a bid that locked a quote: such a bid never rests, and what it takes left the ask
    /// when it was locked.
    pub fn is_of_lock(self) -> bool {
        slot_of(self.0) == LOCK_SLOT
    }
}

/// A contract made by a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
pub struct ContractId(pub u64);

/// One of an account's API keys, numbered by the gateway; 0 is none in particular.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
pub struct KeyId(pub u32);

/// A payout to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
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
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
pub struct Timestamp(pub u64);

/// Low bits of an order's or a contract's id that name its slot.
pub(crate) const SLOT_BITS: u32 = 22;

/// The slot in the numbers of bids that lock quotes, which never are in the table of orders: the last, which no order has.
pub(crate) const LOCK_SLOT: usize = (1 << SLOT_BITS) - 1;

/// The slot in the low bits of an id.
pub(crate) fn slot_of(id: u64) -> usize {
    (id & ((1 << SLOT_BITS) - 1)) as usize
}

/// The id of the `serial`th of its kind, kept in `slot`.
pub(crate) fn slotted_id(serial: u64, slot: usize) -> u64 {
    serial << SLOT_BITS | slot as u64
}

/// The index of a dense id that counts from 1; `None` for 0.
pub(crate) fn dense_index(id: u32) -> Option<usize> {
    id.checked_sub(1).map(|index| index as usize)
}
