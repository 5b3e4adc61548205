//! An order's yes-or-no facts and small enums, packed into a word of its record.

use crate::{Attributes, SelfTrade, Side};
use bincode::{Decode, Encode};

/// Yes-or-no facts and small enums of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Flags(pub(crate) u32);

impl Flags {
    pub(crate) const ASK: u32 = 1;
    pub(crate) const SINGLE: u32 = 1 << 1;
    pub(crate) const POST_ONLY: u32 = 1 << 2;
    pub(crate) const ON_DISCONNECT: u32 = 1 << 3;
    /// The bid accepts only some GPU classes, regions or precisions.
    pub(crate) const PICKY: u32 = 1 << 4;
    /// The ask is out of the book: its provider's breaker is not closed.
    pub(crate) const PARKED: u32 = 1 << 5;
    /// The ask waits for its market to open.
    pub(crate) const WAITS: u32 = 1 << 6;
    /// Rests in the queue of its level rather than in an index. Not state: nobody sees it, and a restored engine may keep
    /// an order elsewhere.
    pub(crate) const QUEUED: u32 = 1 << 7;
    /// Is in its book. Derived: an open order that is neither parked nor matching just now.
    pub(crate) const BOOKED: u32 = 1 << 13;
    const SELF_TRADE_SHIFT: u32 = 8;
    pub(crate) const PREFERENCE_SHIFT: u32 = 11;
    /// An API key's limits count it.
    pub(crate) const KEYED: u32 = 1 << 14;
    /// It ends by itself at a time.
    pub(crate) const DATED: u32 = 1 << 15;
    /// An ask's GPU class, region and precision, four bits each.
    pub(crate) const CATEGORY_SHIFT: u32 = 16;
    /// Flags that are state, not derived.
    pub(crate) const STATE: u32 = !(Flags::QUEUED | Flags::BOOKED);

    #[inline]
    pub(crate) fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    /// In its queue, without a deadline and without a key that counts it.
    #[inline(always)]
    pub(crate) fn is_plain_queued(self) -> bool {
        let plain = Flags::QUEUED | Flags::BOOKED;
        self.0 & (plain | Flags::DATED | Flags::KEYED) == plain
    }

    #[inline]
    pub(crate) fn set(&mut self, flag: u32, on: bool) {
        self.0 = if on { self.0 | flag } else { self.0 & !flag };
    }

    #[inline]
    pub(crate) fn side(self) -> Side {
        if self.has(Flags::ASK) { Side::Ask } else { Side::Bid }
    }

    /// A bid that takes the cheapest first.
    #[inline]
    pub(crate) fn prefers_price(self) -> bool {
        (self.0 >> Flags::PREFERENCE_SHIFT) & 3 == 0
    }

    pub(crate) fn self_trade(self) -> SelfTrade {
        match (self.0 >> Flags::SELF_TRADE_SHIFT) & 7 {
            0 => SelfTrade::CancelNewest,
            1 => SelfTrade::CancelOldest,
            2 => SelfTrade::CancelBoth,
            3 => SelfTrade::Decrement,
            _ => SelfTrade::Allow,
        }
    }

    /// The place of an ask's category among all there can be.
    #[inline]
    pub(crate) fn category(self) -> u32 {
        self.0 >> Flags::CATEGORY_SHIFT
    }

    /// The same of attributes.
    #[inline(always)]
    pub(crate) fn category_of(attributes: &Attributes) -> u32 {
        let place = |number: u8| u32::from(number.min(15)); // All beyond the last possible name share a bit.
        place(attributes.gpu.0) | place(attributes.region.0) << 4 | place(attributes.precision.0) << 8
    }

    /// Bits of a mode.
    pub(crate) fn of_self_trade(mode: SelfTrade) -> u32 {
        (mode as u32) << Flags::SELF_TRADE_SHIFT
    }
}
