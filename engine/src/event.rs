//! Events: everything an input did, in order. Views are built from these and from nothing else, so
//! each event carries what a view needs without asking the engine.

use crate::{
    AccountId, Amount, ContractId, InstrumentField, InstrumentId, InstrumentSpec, Order, OrderId, Outcome, PayoutId,
    Price, Quantity, Reference, Side, Timestamp, Transfer,
};
use bincode::{Decode, Encode};

/// A result of applying an input.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    /// The command changed nothing.
    Rejected(RejectReason),
    /// An account exists.
    AccountOpened {
        /// Its number.
        account: AccountId,
    },
    /// A market exists.
    InstrumentListed {
        /// Its number.
        instrument: InstrumentId,
        /// Its contract specification.
        spec: InstrumentSpec,
    },
    /// A purchase was credited.
    CreditsPurchased {
        /// Who bought.
        account: AccountId,
        /// How much.
        amount: Amount,
        /// The processor's reference.
        reference: Reference,
    },
    /// The purchase with this reference was credited before; nothing changed.
    PurchaseRepeated {
        /// The processor's reference.
        reference: Reference,
    },
    /// An order was accepted; matching follows.
    OrderAccepted(Order),
    /// The order with this client id was accepted before; nothing changed.
    OrderRepeated(OrderAnswer),
    /// Two orders matched.
    Traded(Trade),
    /// An accepted order rests in its book.
    OrderRested {
        /// Which order.
        order: OrderId,
        /// Units it rests with.
        remaining: Quantity,
    },
    /// An order left the market.
    OrderClosed {
        /// Which order.
        order: OrderId,
        /// Units not filled.
        remaining: Quantity,
        /// Why.
        reason: CloseReason,
    },
    /// Units of a closed contract returned to the ask that still rests.
    QuoteRestored {
        /// The ask.
        order: OrderId,
        /// Units it offers now.
        remaining: Quantity,
    },
    /// A price level's new totals; zero orders means that the level is gone.
    LevelChanged {
        /// Which market.
        instrument: InstrumentId,
        /// Which side.
        side: Side,
        /// Which level.
        price: Price,
        /// Units resting there.
        quantity: Quantity,
        /// Orders resting there.
        orders: u32,
    },
    /// Usage of a contract was settled.
    Delivered {
        /// Which contract.
        contract: ContractId,
        /// Units delivered.
        quantity: Quantity,
        /// What the provider earned.
        earned: Amount,
        /// What the platform kept.
        fee: Amount,
        /// Measured time to the first token in milliseconds.
        first_token_ms: Option<u32>,
        /// Measured tokens a second.
        throughput_tps: Option<u32>,
        /// How it ended.
        outcome: Outcome,
    },
    /// A contract ended.
    ContractClosed {
        /// Which contract.
        contract: ContractId,
        /// Units not delivered.
        unused: Quantity,
        /// What returned to the buyer.
        refund: Amount,
        /// Why.
        reason: Expiry,
    },
    /// Earnings wait to be paid out.
    PayoutRequested {
        /// Its number.
        payout: PayoutId,
        /// The provider.
        account: AccountId,
        /// Whole cents.
        amount: Amount,
    },
    /// A payout reached the provider.
    PayoutConfirmed {
        /// Which payout.
        payout: PayoutId,
    },
    /// A payout failed and returned to the earnings.
    PayoutFailed {
        /// Which payout.
        payout: PayoutId,
    },
    /// Money moved.
    Transferred(Transfer),
}

/// One match: a fill of each order and the contract that came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Trade {
    /// The contract.
    pub contract: ContractId,
    /// Which market.
    pub instrument: InstrumentId,
    /// The buying order.
    pub bid: OrderId,
    /// The selling order.
    pub ask: OrderId,
    /// Who pays.
    pub buyer: AccountId,
    /// Who delivers.
    pub provider: AccountId,
    /// The side that arrived; the other was resting and set the price.
    pub taker: Side,
    /// Atoms a unit.
    pub price: Price,
    /// Units.
    pub quantity: Quantity,
    /// When the contract ends by itself.
    pub expires_at: Timestamp,
}

/// Why an order left the market.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum CloseReason {
    /// All units matched.
    Filled,
    /// Its owner cancelled it.
    Cancelled,
    /// Immediate or cancel, and not all of it matched at once.
    Unfilled(Miss),
}

/// What an immediate order lacked in the book it met: the nearest it came, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Miss {
    /// Nothing rests on the other side.
    EmptyBook,
    /// Something rests, but not at this price.
    Price,
    /// At this price nothing meets the latency, throughput, GPU or region asked for.
    Constraints,
    /// What meets them has too few units left.
    Capacity,
}

/// Why a contract ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Expiry {
    /// The last delivery was reported.
    Settled,
    /// Its time ran out.
    Expired,
}

/// The first answer to an order that carried a client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OrderAnswer {
    /// The order's number.
    pub order: OrderId,
    /// Sequence number of the input that placed it.
    pub seq: u64,
    /// Units filled at once.
    pub filled: Quantity,
    /// Units that rested.
    pub rested: Quantity,
}

/// Why a command changed nothing, with the bound that it broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RejectReason {
    /// No such account.
    UnknownAccount,
    /// No such instrument.
    UnknownInstrument,
    /// No open order of that number belongs to the account.
    UnknownOrder,
    /// No open contract of that number.
    UnknownContract,
    /// No pending payout of that number.
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
    /// The account has as many open contracts as it may.
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
    /// The payment reference was used for another account or amount.
    ReferenceConflict,
    /// A quantity outside its bounds.
    QuantityOutOfRange {
        /// Most; the least is 1.
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
    /// Price times quantity exceeds what an account may own.
    NotionalTooLarge {
        /// The bound.
        max: Amount,
    },
    /// A market order that is not immediate or cancel.
    MarketOrderMustBeImmediate,
    /// The account cannot pay for the order at its limit.
    InsufficientCredits {
        /// What the order would hold.
        needed: Amount,
        /// What the account has.
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
}
