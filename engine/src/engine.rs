//! The engine: all state, and the one function that changes it.

use crate::answers::Answers;
use crate::contracts::Contracts;
use crate::credits::{Dispute, Purchase, Refund};
use crate::deadlines::{Deadline, Deadlines};
use crate::fingerprint::{Section, StateHash, TrackedMap, hash_row};
use crate::ids::dense_index;
use crate::ledger::Ledger;
use crate::limits::{ACCOUNTS_MAX, INSTRUMENTS_MAX};
use crate::lock::Lock;
use crate::market::Market;
use crate::orders::Orders;
use crate::provider::Provider;
use crate::spending::{AllSpending, KeySpending};
use crate::{
    AccountId, CloseReason, Command, CreditPolicy, Event, Events, Input, InstrumentId, InstrumentSpec, KeyId, OrderId,
    Payout, PayoutId, PayoutPolicy, Price, Reference, RejectReason, Symbol, Timer, Timestamp, invariant,
};
use std::collections::BTreeMap;

/// How much memory to set aside, so that nothing is allocated while so much is open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capacity {
    /// Open orders.
    pub orders: usize,
    /// Open contracts.
    pub contracts: usize,
}

/// An account's standing orders to the platform.
#[derive(Clone, Copy, Debug, Default, bincode::Encode, bincode::Decode)]
pub(crate) struct Policies {
    pub(crate) payout: PayoutPolicy,
    pub(crate) credit: CreditPolicy,
}

/// The exchange's whole state.
#[derive(Debug)]
pub struct Engine {
    pub(crate) last_seq: u64,
    pub(crate) last_at: Timestamp,
    pub(crate) ledger: Ledger,
    pub(crate) markets: Vec<Market>,
    pub(crate) orders: Orders,
    pub(crate) contracts: Contracts,
    pub(crate) locks: TrackedMap<(AccountId, OrderId), Lock>,
    pub(crate) providers: TrackedMap<(InstrumentId, AccountId), Provider>,
    pub(crate) answers: Answers,
    pub(crate) payouts: TrackedMap<PayoutId, Payout>,
    pub(crate) next_payout: u64,
    pub(crate) purchases: TrackedMap<Reference, Purchase>,
    pub(crate) refunds: TrackedMap<Reference, Refund>,
    /// Those of `refunds` that failed.
    pub(crate) failed_refunds: TrackedMap<Reference, ()>,
    pub(crate) disputes: TrackedMap<Reference, Dispute>,
    pub(crate) policies: TrackedMap<AccountId, Policies>,
    pub(crate) spending: AllSpending,
    pub(crate) keys: TrackedMap<(AccountId, KeyId), KeySpending>,
    pub(crate) timers: TrackedMap<(AccountId, Timer), Timestamp>,
    /// When the next monthly sweep is due, once an account wants it.
    pub(crate) sweep_at: Option<Timestamp>,
    // Derived from the above.
    pub(crate) symbols: BTreeMap<Symbol, InstrumentId>,
    pub(crate) deadlines: Deadlines,
}

impl Default for Engine {
    fn default() -> Engine {
        Engine::new()
    }
}

impl Engine {
    /// An exchange with no accounts and no instruments.
    pub fn new() -> Engine {
        Engine {
            last_seq: 0,
            last_at: Timestamp(0),
            ledger: Ledger::default(),
            markets: Vec::new(),
            orders: Orders::default(),
            contracts: Contracts::default(),
            locks: TrackedMap::new(Section::Locks),
            providers: TrackedMap::new(Section::Providers),
            answers: Answers::new(),
            payouts: TrackedMap::new(Section::Payouts),
            next_payout: 1,
            purchases: TrackedMap::new(Section::Purchases),
            refunds: TrackedMap::new(Section::Refunds),
            failed_refunds: TrackedMap::new(Section::FailedRefunds),
            disputes: TrackedMap::new(Section::Disputes),
            policies: TrackedMap::new(Section::Policies),
            spending: AllSpending::default(),
            keys: TrackedMap::new(Section::Keys),
            timers: TrackedMap::new(Section::Timers),
            sweep_at: None,
            symbols: BTreeMap::new(),
            deadlines: Deadlines::default(),
        }
    }

    /// The same with memory set aside.
    pub fn with_capacity(capacity: Capacity) -> Engine {
        let mut engine = Engine::new();
        engine.reserve(capacity);
        engine
    }

    /// Sets memory aside for so many open orders and contracts.
    pub fn reserve(&mut self, capacity: Capacity) {
        self.orders.reserve(capacity.orders);
        self.contracts.reserve(capacity.contracts);
    }

    /// Applies the next input and appends what it did to `events`: first the deadlines that have come, then the
    /// command. Total: every command has an answer.
    ///
    /// # Panics
    /// When the input is not the next one or its time goes back, or when an invariant of the engine is
    /// broken. All are bugs, and going on would spread them.
    #[inline]
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not plain goes by all the rules")]
    pub fn apply(&mut self, input: &Input, events: &mut Events) {
        assert!(input.seq == self.last_seq.wrapping_add(1), "inputs are applied in order, without gaps");
        assert!(input.at >= self.last_at, "the sequencer's stamp never goes back");
        (self.last_seq, self.last_at) = (input.seq, input.at);
        if self.deadlines.due(input.at) {
            self.meet_deadlines(input.at, events);
        }
        match &input.command {
            Command::ReplaceOrder(change) if self.replace_express(change, events) => {}
            Command::PlaceOrder(new) if self.place_express(new, input.at, events) => {}
            Command::CancelOrder { account, order } if self.cancel_express(*account, *order, events) => {}
            command => self.apply_in_full(command, input.at, events),
        }
    }

    /// Applies a command by all the rules, or refuses it.
    #[inline(never)]
    #[expect(clippy::wildcard_enum_match_arm, reason = "`dispatch` names every command")]
    fn apply_in_full(&mut self, command: &Command, at: Timestamp, events: &mut Events) {
        let before = events.len();
        let outcome = match command {
            Command::PlaceOrder(new) => self.place_order(new, at, events),
            Command::ReplaceOrder(change) => self.replace_order(change, at, events),
            Command::CancelOrder { account, order } => self.cancel_order(*account, *order, events),
            other => self.dispatch(other, at, events),
        };
        if let Err(reason) = outcome {
            assert!(events.len() == before, "a refused command changes nothing");
            events.push(Event::Rejected(reason));
        }
    }

    /// All commands; the frequent ones do not come by here.
    #[inline(never)]
    fn dispatch(&mut self, command: &Command, at: Timestamp, events: &mut Events) -> Result<(), RejectReason> {
        match command {
            Command::PlaceOrder(new) => self.place_order(new, at, events),
            Command::ReplaceOrder(change) => self.replace_order(change, at, events),
            Command::CancelOrder { account, order } => self.cancel_order(*account, *order, events),
            Command::ReportDelivery(report) => self.report_delivery(report, at, events),
            Command::Tick => Ok(()),
            Command::OpenAccount => self.open_account(events),
            Command::ListInstrument(spec) => self.list_instrument(spec, events),
            Command::SetInstrumentState { instrument, state } => {
                self.set_instrument_state(*instrument, *state, at, events)
            }
            Command::SetReferencePrice { instrument, price } => self.set_reference_price(*instrument, *price, events),
            Command::CancelOrders { account, instrument, side } => {
                self.cancel_orders(*account, *instrument, *side, events)
            }
            Command::SetTimer { account, timer, after_ns } => self.set_timer(*account, *timer, *after_ns, at, events),
            Command::PurchaseCredits { account, amount, reference } => {
                self.purchase(*account, *amount, *reference, events)
            }
            Command::RefundPurchase { purchase, amount, reference } => {
                self.refund_purchase(*purchase, *amount, *reference, at, events)
            }
            Command::RecordRefund { purchase, amount, reference } => {
                self.record_refund(*purchase, *amount, *reference, at, events)
            }
            Command::FailRefund { reference } => self.fail_refund(*reference, events),
            Command::OpenDispute { purchase, amount, reference } => {
                self.open_dispute(*purchase, *amount, *reference, at, events)
            }
            Command::ResolveDispute { reference, won } => self.resolve_dispute(*reference, *won, events),
            Command::RequestPayout { account, amount } => self.request_payout(*account, *amount, events),
            Command::ConfirmPayout { payout } => self.end_payout(*payout, true, events),
            Command::FailPayout { payout } => self.end_payout(*payout, false, events),
            Command::SendPayout { payout } => self.send_payout(*payout, events),
            Command::ReturnPayout { payout } => self.return_payout(*payout, events),
            Command::SetPayoutPolicy { account, policy } => self.set_payout_policy(*account, *policy, at, events),
            Command::SetCreditPolicy { account, policy } => self.set_credit_policy(*account, *policy, events),
            Command::SetKeyLimits { account, key, limits } => self.set_key_limits(*account, *key, *limits, events),
            Command::SetGuardRail { account, window, limit } => self.set_guard_rail(*account, *window, *limit, events),
            Command::ResetGuardRails { account } => self.reset_guard_rails(*account, events),
            Command::LockQuote(new) => self.lock_quote(new, at, events),
            Command::UseQuote { account, lock } => self.use_quote(*account, *lock, at, events),
            Command::PlaceChosen { order, providers } => self.place_chosen(order, providers, at, events),
            Command::ReleaseQuote { account, lock } => self.release_quote(*account, *lock, at, events),
        }
    }

    /// Everything whose time has come, earliest first.
    #[cold]
    fn meet_deadlines(&mut self, now: Timestamp, events: &mut Events) {
        while let Some((at, deadline)) = self.deadlines.pop(now) {
            match deadline {
                Deadline::Contracts(instrument) => self.expire_contract(instrument, at, now, events),
                Deadline::Lock(lock, account) => self.end_lock(account, lock, CloseReason::Expired, now, events),
                Deadline::Order(order) => self.expire_order(order, events),
                Deadline::Timer(account, timer) => self.fire_timer(account, timer, events),
                Deadline::Breaker(instrument, provider) => self.half_open(instrument, provider, now, events),
                Deadline::Sweep => self.sweep(now, events),
            }
        }
    }

    fn open_account(&mut self, events: &mut Events) -> Result<(), RejectReason> {
        if self.ledger.len() >= ACCOUNTS_MAX {
            return Err(RejectReason::TooManyAccounts { max: ACCOUNTS_MAX as u32 });
        }
        let account = self.ledger.open();
        events.push(Event::AccountOpened { account });
        Ok(())
    }

    fn list_instrument(&mut self, spec: &InstrumentSpec, events: &mut Events) -> Result<(), RejectReason> {
        spec.check()?;
        if self.symbols.contains_key(&spec.symbol) {
            return Err(RejectReason::SymbolTaken);
        }
        if self.markets.len() >= INSTRUMENTS_MAX {
            return Err(RejectReason::TooManyInstruments { max: INSTRUMENTS_MAX as u32 });
        }
        self.markets.push(Market::new(*spec));
        let instrument = InstrumentId(self.markets.len() as u32); // INSTRUMENTS_MAX fits.
        self.symbols.insert(spec.symbol, instrument);
        events.push(Event::InstrumentListed { instrument, spec: *spec });
        Ok(())
    }

    fn set_reference_price(
        &mut self,
        instrument: InstrumentId,
        price: Price,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        let market = self.known_market_mut(instrument)?;
        let (tick, max) = (market.spec().tick, market.spec().price_max);
        if price < tick || price > max {
            return Err(RejectReason::PriceOutOfRange { min: tick, max });
        }
        if !price.0.is_multiple_of(tick.0) {
            return Err(RejectReason::PriceOffTick { tick });
        }
        market.set_reference_price(price);
        events.push(Event::ReferencePriceSet { instrument, price });
        Ok(())
    }

    pub(crate) fn known_market_mut(&mut self, id: InstrumentId) -> Result<&mut Market, RejectReason> {
        let market = dense_index(id.0).and_then(|index| self.markets.get_mut(index));
        market.ok_or(RejectReason::UnknownInstrument)
    }

    /// The market of an order or a contract.
    #[inline]
    pub(crate) fn market(&self, id: InstrumentId) -> &Market {
        let market = dense_index(id.0).and_then(|index| self.markets.get(index));
        invariant(market, "orders and contracts belong to a listed instrument")
    }

    #[inline]
    pub(crate) fn market_mut(&mut self, id: InstrumentId) -> &mut Market {
        let market = dense_index(id.0).and_then(|index| self.markets.get_mut(index));
        invariant(market, "orders and contracts belong to a listed instrument")
    }

    /// The market and the table of orders, both to change.
    #[inline(always)]
    pub(crate) fn market_and_orders(&mut self, id: InstrumentId) -> (&mut Market, &mut Orders) {
        let market = dense_index(id.0).and_then(|index| self.markets.get_mut(index));
        (invariant(market, "orders and contracts belong to a listed instrument"), &mut self.orders)
    }

    pub(crate) fn known_account(&self, account: AccountId) -> Result<(), RejectReason> {
        self.ledger.account(account).map(|_| ()).ok_or(RejectReason::UnknownAccount)
    }
}

/// The state hash.
impl Engine {
    /// The hash of the whole state: equal between a live run, its recovery and its replay. Costs what changed since
    /// [`Engine::checkpoint`].
    pub fn state_hash(&self) -> StateHash {
        self.combine(self.ledger.hash(), self.orders.hash(), self.contracts.hash())
    }

    /// The same, remembered: the next costs only what changes from now on. Meant for every 10,000 inputs.
    pub fn checkpoint(&mut self) -> StateHash {
        let accounts = self.ledger.refresh_hash();
        let (orders, contracts) = (self.orders.refresh_hash(), self.contracts.refresh_hash());
        self.combine(accounts, orders, contracts)
    }

    fn combine(&self, accounts: u64, orders: u64, contracts: u64) -> StateHash {
        let markets = (0_u32..).zip(&self.markets);
        let markets = markets.map(|(at, market)| {
            hash_row(Section::Markets, &(at, market.spec(), market.state, market.waiting.as_slice()))
        });
        let parts = [
            accounts,
            orders,
            contracts,
            // Locks are summed up with markets, so that a state without locks has the hash it had before there were any;
            // failed refunds with refunds likewise.
            markets.fold(self.locks.total(), u64::wrapping_add),
            self.providers.total(),
            self.answers.hash(),
            self.payouts.total(),
            self.purchases.total(),
            self.refunds.total().wrapping_add(self.failed_refunds.total()),
            self.disputes.total(),
            self.policies.total(),
            self.spending.hash(),
            self.keys.total(),
            self.timers.total(),
        ];
        let counters = (self.orders.serial, self.orders.clock, self.contracts.serial, self.next_payout, self.sweep_at);
        let platform = (self.ledger.fees(), self.ledger.external());
        StateHash(hash_row(Section::Header, &(self.last_seq, self.last_at, counters, platform, parts)))
    }
}
