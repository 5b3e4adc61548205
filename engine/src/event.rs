//! Events: everything an input did, in order. Views are built from these and from nothing else, so
//! each event carries what a view needs without asking the engine.

use crate::{
    AccountId, Amount, ContractId, CreditPolicy, InstrumentId, InstrumentSpec, InstrumentState, KeyId, KeyLimits,
    NewOrder, Order, OrderId, Outcome, PayoutId, PayoutPolicy, Price, Quantity, Reference, RejectReason, Side, Timer,
    Timestamp, Tokens, Transfer,
};
use bincode::{Decode, Encode};

const _: () = assert!(size_of::<Event>() <= 160, "events are copied, kept and queued by the million");

/// A result of applying an input. Plain bytes, so that one may be written over another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(tag = "kind", content = "data", rename_all = "snake_case"))]
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
    /// An open order changed: it was replaced, or shrank in a self-trade.
    OrderReplaced {
        /// Which order.
        order: OrderId,
        /// Its limit now.
        price: Price,
        /// Units ordered now, filled ones included.
        quantity: Quantity,
        /// Units open now.
        remaining: Quantity,
    },
    /// All orders that a [`crate::Command::CancelOrders`] named are closed.
    OrdersCancelled {
        /// The owner.
        account: AccountId,
        /// How many there were.
        count: u32,
    },
    /// Units of a closed contract, or of a lock that was not used, returned to the ask that still rests.
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
        /// What the platform kept of the provider's part.
        fee: Amount,
        /// What the platform took from the buyer on top.
        buyer_fee: Amount,
        /// What returned from the provider to the buyer because a promise was broken.
        rebate: Amount,
        /// Measured time to the first token in milliseconds.
        first_token_ms: Option<u32>,
        /// Measured tokens a second.
        throughput_tps: Option<u32>,
        /// How it ended.
        outcome: Outcome,
        /// What the units were counted from.
        tokens: Tokens,
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
        /// The provider.
        account: AccountId,
        /// Whole cents.
        amount: Amount,
    },
    /// A payout failed and returned to the earnings.
    PayoutFailed {
        /// Which payout.
        payout: PayoutId,
        /// The provider.
        account: AccountId,
        /// Whole cents.
        amount: Amount,
    },
    /// Money moved.
    Transferred(Transfer),
    /// What a provider's deliveries measure; its asks count as the worse of this and what they promise.
    ProviderMeasured {
        /// The provider.
        provider: AccountId,
        /// On which market.
        instrument: InstrumentId,
        /// Milliseconds to the first token, once known.
        latency_ms: Option<u32>,
        /// Tokens a second, once known.
        throughput_tps: Option<u32>,
    },
    /// A provider's circuit breaker on a market changed.
    BreakerChanged {
        /// The provider.
        provider: AccountId,
        /// On which market.
        instrument: InstrumentId,
        /// Its state now.
        state: Breaker,
    },
    /// A timer was set, or cleared when `at` is `None`.
    TimerSet {
        /// Whose.
        account: AccountId,
        /// Which.
        timer: Timer,
        /// When it fires.
        #[cfg_attr(feature = "json", serde(rename = "at_ns"))]
        at: Option<Timestamp>,
    },
    /// A timer ran out; the orders it cancels follow.
    TimerFired {
        /// Whose.
        account: AccountId,
        /// Which.
        timer: Timer,
    },
    /// A market opened, was restricted or halted.
    InstrumentStateChanged {
        /// Which market.
        instrument: InstrumentId,
        /// Its state now.
        state: InstrumentState,
    },
    /// A market's reference price moved.
    ReferencePriceSet {
        /// Which market.
        instrument: InstrumentId,
        /// The price now.
        price: Price,
    },
    /// Part or all of a purchase was returned.
    PurchaseRefunded {
        /// Who bought.
        account: AccountId,
        /// How much.
        amount: Amount,
        /// The refund's reference.
        reference: Reference,
    },
    /// The refund with this reference was made, or failed, before; nothing changed.
    RefundRepeated {
        /// The refund's reference.
        reference: Reference,
    },
    /// The processor took a purchase back.
    DisputeOpened {
        /// Who bought.
        account: AccountId,
        /// How much.
        amount: Amount,
        /// The dispute's reference.
        reference: Reference,
    },
    /// The dispute with this reference was opened or resolved so before; nothing changed.
    DisputeRepeated {
        /// The dispute's reference.
        reference: Reference,
    },
    /// A dispute ended.
    DisputeResolved {
        /// Who bought.
        account: AccountId,
        /// How much.
        amount: Amount,
        /// The dispute's reference.
        reference: Reference,
        /// Whether the money came back.
        won: bool,
    },
    /// A payout policy was set.
    PayoutPolicySet {
        /// The provider.
        account: AccountId,
        /// The policy now.
        policy: PayoutPolicy,
    },
    /// A credit policy was set.
    CreditPolicySet {
        /// Who.
        account: AccountId,
        /// The policy now.
        policy: CreditPolicy,
    },
    /// An API key's spending limits were set.
    KeyLimitsSet {
        /// Whose key.
        account: AccountId,
        /// Which key.
        key: KeyId,
        /// The limits now.
        limits: KeyLimits,
    },
    /// A spending window's limit was set.
    GuardRailSet {
        /// Who.
        account: AccountId,
        /// The window's place in [`crate::limits::GUARD_RAIL_MINUTES`].
        window: u8,
        /// The limit now.
        limit: Option<Amount>,
    },
    /// What an account spent so far no longer counts in its windows.
    GuardRailsReset {
        /// Who.
        account: AccountId,
    },
    /// The processor took a payout on; it is confirmed or fails later.
    PayoutSent {
        /// Which payout.
        payout: PayoutId,
        /// The provider.
        account: AccountId,
        /// Whole cents.
        amount: Amount,
    },
    /// Units of an ask are set aside for who asked. Nothing is traded: if the lock is used, an accepted bid of its number
    /// and its trade follow, and take nothing from the ask any more.
    QuoteLocked {
        /// Its number: the bid's, if it is used.
        lock: OrderId,
        /// Who asked.
        account: AccountId,
        /// The API key it was asked for with.
        key: KeyId,
        /// Who would deliver.
        provider: AccountId,
        /// Which market.
        instrument: InstrumentId,
        /// The ask, which has so many units less.
        ask: OrderId,
        /// Atoms a unit.
        price: Price,
        /// Units.
        quantity: Quantity,
        /// What is reserved for them, the buyer's fee included.
        escrow: Amount,
        /// When it ends by itself.
        #[cfg_attr(feature = "json", serde(rename = "until_ns"))]
        until: Timestamp,
    },
    /// A lock ended without being used. If the ask is still open, its units return next.
    QuoteReleased {
        /// Which lock.
        lock: OrderId,
        /// Whose.
        account: AccountId,
        /// What returned to the account.
        refund: Amount,
        /// Why: cancelled, expired or disputed.
        reason: CloseReason,
    },
    /// A refund could not be made: the purchase's credits are back.
    RefundFailed {
        /// Who bought.
        account: AccountId,
        /// How much.
        amount: Amount,
        /// The refund's reference.
        reference: Reference,
    },
    /// A confirmed payout came back and is earned again.
    PayoutReturned {
        /// Which payout.
        payout: PayoutId,
        /// The provider.
        account: AccountId,
        /// Whole cents.
        amount: Amount,
    },
}

impl Event {
    /// The name of its kind, as in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::Rejected(_) => "rejected",
            Event::AccountOpened { .. } => "account_opened",
            Event::InstrumentListed { .. } => "instrument_listed",
            Event::CreditsPurchased { .. } => "credits_purchased",
            Event::PurchaseRepeated { .. } => "purchase_repeated",
            Event::OrderAccepted(_) => "order_accepted",
            Event::OrderRepeated(_) => "order_repeated",
            Event::Traded(_) => "traded",
            Event::OrderRested { .. } => "order_rested",
            Event::OrderClosed { .. } => "order_closed",
            Event::OrderReplaced { .. } => "order_replaced",
            Event::OrdersCancelled { .. } => "orders_cancelled",
            Event::QuoteRestored { .. } => "quote_restored",
            Event::LevelChanged { .. } => "level_changed",
            Event::Delivered { .. } => "delivered",
            Event::ContractClosed { .. } => "contract_closed",
            Event::PayoutRequested { .. } => "payout_requested",
            Event::PayoutConfirmed { .. } => "payout_confirmed",
            Event::PayoutFailed { .. } => "payout_failed",
            Event::Transferred(_) => "transferred",
            Event::ProviderMeasured { .. } => "provider_measured",
            Event::BreakerChanged { .. } => "breaker_changed",
            Event::TimerSet { .. } => "timer_set",
            Event::TimerFired { .. } => "timer_fired",
            Event::InstrumentStateChanged { .. } => "instrument_state_changed",
            Event::ReferencePriceSet { .. } => "reference_price_set",
            Event::PurchaseRefunded { .. } => "purchase_refunded",
            Event::RefundRepeated { .. } => "refund_repeated",
            Event::DisputeOpened { .. } => "dispute_opened",
            Event::DisputeRepeated { .. } => "dispute_repeated",
            Event::DisputeResolved { .. } => "dispute_resolved",
            Event::PayoutPolicySet { .. } => "payout_policy_set",
            Event::CreditPolicySet { .. } => "credit_policy_set",
            Event::KeyLimitsSet { .. } => "key_limits_set",
            Event::GuardRailSet { .. } => "guard_rail_set",
            Event::GuardRailsReset { .. } => "guard_rails_reset",
            Event::PayoutSent { .. } => "payout_sent",
            Event::QuoteLocked { .. } => "quote_locked",
            Event::QuoteReleased { .. } => "quote_released",
            Event::RefundFailed { .. } => "refund_failed",
            Event::PayoutReturned { .. } => "payout_returned",
        }
    }
}

/// That an order is closed.
#[inline(always)]
pub(crate) fn closed(order: OrderId, remaining: u64, reason: CloseReason) -> Event {
    Event::OrderClosed { order, remaining: Quantity(remaining), reason }
}

/// That an order rests.
#[inline(always)]
pub(crate) fn rested(order: OrderId, remaining: u64) -> Event {
    Event::OrderRested { order, remaining: Quantity(remaining) }
}

/// That an order was accepted, with its limit.
#[inline(always)]
pub(crate) fn accepted(new: &NewOrder, id: OrderId, price: Price) -> Event {
    Event::OrderAccepted(accepted_order(new, id, price))
}

/// An order as it is accepted.
#[inline(always)]
pub(crate) fn accepted_order(new: &NewOrder, id: OrderId, price: Price) -> Order {
    Order {
        id,
        account: new.account,
        key: new.key,
        instrument: new.instrument,
        client_id: new.client_id,
        price,
        quantity: new.quantity,
        remaining: new.quantity,
        time_in_force: new.time_in_force,
        post_only: new.post_only,
        cancel_on_disconnect: new.cancel_on_disconnect,
        self_trade: new.self_trade,
        terms: new.terms,
    }
}

/// Whether a provider's asks on a market may be matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
pub enum Breaker {
    /// They may.
    #[default]
    Closed,
    /// They may not, until that time.
    Open {
        /// When the breaker becomes half-open.
        #[cfg_attr(feature = "json", serde(rename = "until_ns"))]
        until: Timestamp,
    },
    /// So many more contracts may be made to find out whether the provider serves again.
    HalfOpen {
        /// Contracts left.
        probes: u32,
    },
}

/// One match: a fill of each order and the contract that came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
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
    #[cfg_attr(feature = "json", serde(rename = "expires_at_ns"))]
    pub expires_at: Timestamp,
}

/// Why an order left the market.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
pub enum CloseReason {
    /// All units matched.
    Filled,
    /// Its owner cancelled it.
    Cancelled,
    /// Immediate, or with a minimum, and too little of it matched at once.
    Unfilled(Miss),
    /// Its time ran out.
    Expired,
    /// It met an order of its own account.
    SelfTrade,
    /// The account's dead-man timer fired.
    DeadMan,
    /// The account's connection timer fired.
    Disconnected,
    /// The account's money was taken back by a dispute, or by a refund that its credits did not cover.
    Disputed,
}

/// What an immediate order lacked in the book it met: the nearest it came, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
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
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
pub enum Expiry {
    /// The last delivery was reported.
    Settled,
    /// Its time ran out.
    Expired,
}

/// The first answer to an order that carried a client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
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
