//! Why a command changes nothing.

use crate::{Amount, Breaker, CloseReason, InstrumentField, InstrumentState, Price, Quantity, Timestamp};
use bincode::{Decode, Encode};

/// A spending limit of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
pub enum KeyLimit {
    /// Of the day.
    Daily,
    /// Of the month.
    Monthly,
    /// For ever.
    Hard,
}

/// Why a command changed nothing, with the bound that it broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
pub enum RejectReason {
    /// No such account.
    UnknownAccount,
    /// No such instrument.
    UnknownInstrument,
    /// No open order of that number belongs to the account.
    UnknownOrder,
    /// No open contract of that number.
    UnknownContract,
    /// No pending payout of that number; to return one, no confirmed one.
    UnknownPayout,
    /// The exchange holds as many accounts as it may.
    TooManyAccounts {
        /// The bound.
        max: u32,
    },
    /// The exchange lists as many instruments as it may.
    TooManyInstruments {
        /// The bound.
        max: u32,
    },
    /// The account, or the exchange, has as many open orders as it may.
    TooManyOrders {
        /// The bound.
        max: u32,
    },
    /// The account, or the exchange, has as many open contracts as it may.
    TooManyContracts {
        /// The bound.
        max: u32,
    },
    /// A field of a contract specification is out of bounds.
    InvalidInstrument {
        /// Which field.
        field: InstrumentField,
    },
    /// Another instrument has that symbol.
    SymbolTaken,
    /// A purchase outside its bounds.
    PurchaseOutOfRange {
        /// Least.
        min: Amount,
        /// Most.
        max: Amount,
    },
    /// The account would own more than it may.
    BalanceTooLarge {
        /// The bound.
        max: Amount,
    },
    /// The reference was used for something else.
    ReferenceConflict,
    /// A quantity outside its bounds.
    QuantityOutOfRange {
        /// Least.
        min: Quantity,
        /// Most.
        max: Quantity,
    },
    /// A price outside its bounds.
    PriceOutOfRange {
        /// Least.
        min: Price,
        /// Most.
        max: Price,
    },
    /// A price that is no multiple of the tick.
    PriceOffTick {
        /// The tick.
        tick: Price,
    },
    /// Price times quantity, fees included, exceeds what an account may own.
    NotionalTooLarge {
        /// The bound.
        max: Amount,
    },
    /// A market order that is not immediate.
    MarketOrderMustBeImmediate,
    /// The account cannot pay for the order at its limit.
    InsufficientCredits {
        /// What the order would hold, fees included.
        needed: Amount,
        /// What the account has, its credit line included.
        available: Amount,
    },
    /// More units than the contract has left.
    DeliveryExceedsContract {
        /// Units left.
        remaining: Quantity,
    },
    /// Less than a cent to pay out, or more than was earned.
    PayoutOutOfRange {
        /// Least.
        min: Amount,
        /// Most: the whole cents earned.
        max: Amount,
    },
    /// A payout that is no whole number of cents.
    PayoutNotWholeCents,
    /// The market is not open for this.
    InstrumentNotOpen {
        /// Its state.
        state: InstrumentState,
    },
    /// A quantity that is no multiple of the lot.
    QuantityOffLot {
        /// The lot.
        lot: Quantity,
    },
    /// A minimum above the quantity.
    MinQuantityOutOfRange {
        /// Most: the order's quantity.
        max: Quantity,
    },
    /// A limit too far from the reference price.
    PriceOutsideBand {
        /// Least.
        min: Price,
        /// Most.
        max: Price,
    },
    /// A post-only order that is immediate, or has a minimum.
    PostOnlyMustRest,
    /// A post-only order that would take.
    PostOnlyWouldTake {
        /// The price it would trade at first.
        price: Price,
    },
    /// An expiry that is not in the future.
    ExpiryInPast {
        /// The time now.
        #[cfg_attr(feature = "json", serde(rename = "now_ns"))]
        now: Timestamp,
    },
    /// A weight of zero.
    InvalidWeights,
    /// The provider's circuit breaker on this market is not closed.
    ProviderSuspended {
        /// Its state.
        breaker: Breaker,
    },
    /// The account owes more than its credit line: it must buy credits first.
    AccountInDebt {
        /// What it owes.
        owed: Amount,
        /// What it may owe.
        max: Amount,
    },
    /// The API key would spend more than it may.
    KeyLimitExceeded {
        /// Which limit.
        limit: KeyLimit,
        /// The limit's amount.
        max: Amount,
        /// What the key spent and reserved already.
        committed: Amount,
    },
    /// The account would spend more than a window allows.
    GuardRailExceeded {
        /// Length of the window.
        minutes: u16,
        /// The window's limit.
        max: Amount,
        /// What the account spent in the window and reserved already.
        committed: Amount,
    },
    /// A replacement that names neither price nor quantity.
    NothingToReplace,
    /// A timer of no length, or longer than a day.
    TimerOutOfRange {
        /// Most nanoseconds.
        max_ns: u64,
    },
    /// No purchase has that reference.
    UnknownPurchase,
    /// A refund or dispute of nothing, or of more than is left of the purchase.
    RefundOutOfRange {
        /// Most.
        max: Amount,
    },
    /// No dispute has that reference.
    UnknownDispute,
    /// The dispute was resolved the other way.
    DisputeResolvedBefore,
    /// No spending window has that number.
    UnknownGuardRail {
        /// How many there are; the last is one less.
        count: u8,
    },
    /// The account has limits on as many keys as it may.
    TooManyKeys {
        /// The bound.
        max: u32,
    },
    /// A limit or a cap outside its bounds.
    LimitOutOfRange {
        /// Most; the least is 0.
        max: Amount,
    },
    /// Key number 0 stands for no key and has no limits.
    KeyNotNumbered,
    /// The payout was sent before.
    PayoutAlreadySent,
    /// A lock by other than an immediate bid for all of its units from one ask.
    NotLockable,
    /// The account, or the exchange, has as many open locks as it may.
    TooManyLocks {
        /// The bound.
        max: u32,
    },
    /// The bid could take its units from no ask that has more.
    NothingToLock {
        /// Why such a bid would be closed.
        reason: CloseReason,
    },
    /// No open lock of that number belongs to the account.
    UnknownLock,
    /// A bid for certain providers must be an immediate `single` bid that meets its own account's asks with
    /// [`crate::SelfTrade::CancelNewest`] or [`crate::SelfTrade::Allow`].
    NotChoosy,
    /// A bid names too many providers.
    TooManyProviders {
        /// Most it may name.
        max: u32,
    },
    /// No refund has that reference.
    UnknownRefund,
}
