//! The naive twin: the rules of `docs/matching-rules.md` in the plainest way, to compare the real engine with.
//!
//! Nothing is indexed and nothing is kept that can be found by looking: books, levels, places in a queue, slots and
//! deadlines are full scans of plain vectors. For tests and the workload generator only.

mod calendar;
mod contracts;
mod limits;
mod locks;
mod matching;
mod money;
mod orders;
mod replace;
#[cfg(test)]
mod tests;

use crate::ids::dense_index;
use crate::limits::{ACCOUNTS_MAX, INSTRUMENTS_MAX};
use crate::{
    AccountId, Amount, Attributes, Balance, Breaker, ClientOrderId, Command, ContractId, CreditPolicy, Event, Expiry,
    Input, InstrumentId, InstrumentSpec, InstrumentState, KeyId, KeyLimits, Order, OrderAnswer, OrderId, PayoutId,
    PayoutPolicy, PayoutStatus, Price, Providers, Quantity, Reference, RejectReason, Side, Terms, TimeInForce, Timer,
    Timestamp, invariant,
};

/// A party: its money, its wishes and its limits.
#[derive(Clone, Debug, Default)]
struct Account {
    balance: Balance,
    payout_policy: PayoutPolicy,
    credit_policy: CreditPolicy,
    /// First answers to the newest orders with a client id, oldest first.
    answers: Vec<(ClientOrderId, OrderAnswer)>,
    /// Keys whose limits were ever set.
    keys: Vec<LimitedKey>,
    /// Limits of the windows in [`crate::limits::GUARD_RAIL_MINUTES`].
    guard_rails: [Option<Amount>; 17],
    /// What was spent in each minute since the guard rails were reset: (minute, atoms), oldest first.
    spent: Vec<(u64, i64)>,
}

/// An API key with limits, and what it spent since they were first set.
#[derive(Clone, Copy, Debug)]
struct LimitedKey {
    key: KeyId,
    limits: KeyLimits,
    /// The day of the newest spending, and what was spent in that day.
    day: (u64, i64),
    /// The month of the newest spending, and what was spent in that month.
    month: (u64, i64),
    ever: i64,
}

/// A market.
#[derive(Clone, Debug)]
struct Market {
    spec: InstrumentSpec,
    state: InstrumentState,
}

/// Where an open order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On its way: it looks for matches and nobody can match it.
    Arriving,
    /// In the book.
    Book,
    /// Out of the book until its provider's breaker lets it back.
    Parked,
}

/// An open order.
#[derive(Clone, Copy, Debug)]
struct Open {
    order: Order,
    place: Place,
    /// When it last joined the back of a queue, counted in joins.
    joined: u64,
    /// Its key had limits when it was accepted, so it counts for them.
    counted: bool,
}

/// An open contract.
#[derive(Clone, Copy, Debug)]
struct Contract {
    id: ContractId,
    instrument: InstrumentId,
    ask: OrderId,
    buyer: AccountId,
    provider: AccountId,
    price: Price,
    remaining: Quantity,
    /// Atoms left in escrow.
    escrow: Amount,
    promised: Attributes,
    buyer_fee_bps: u16,
    provider_fee_bps: u16,
    /// The bid's key, if the bid counts for the key's limits.
    counted_key: Option<KeyId>,
    expires_at: Timestamp,
    /// It was made while the provider's breaker was half-open.
    probe: bool,
}

/// A locked quote: the bid that it becomes when it is used, and the contract that comes of it then.
#[derive(Clone, Copy, Debug)]
struct Lock {
    order: Order,
    /// Without a number; ends when the lock does.
    contract: Contract,
}

/// What is known of a provider on a market.
#[derive(Clone, Copy, Debug)]
struct Provider {
    account: AccountId,
    instrument: InstrumentId,
    latency: Gauge,
    throughput: Gauge,
    breaker: Breaker,
    /// Failed deliveries in a row.
    failures: u32,
}

/// A moving average and what is told of it.
#[derive(Clone, Copy, Debug, Default)]
struct Gauge {
    /// In 1/256.
    average: Option<i64>,
    measured: Option<u32>,
}

/// A purchase of credits.
#[derive(Clone, Copy, Debug)]
struct Purchase {
    reference: Reference,
    account: AccountId,
    amount: Amount,
    /// What was neither refunded nor taken back.
    left: Amount,
}

/// A refund of a purchase.
#[derive(Clone, Copy, Debug)]
struct Refund {
    reference: Reference,
    purchase: Reference,
    amount: Amount,
    failed: bool,
}

/// A disputed purchase.
#[derive(Clone, Copy, Debug)]
struct Dispute {
    reference: Reference,
    purchase: Reference,
    amount: Amount,
    /// Whether it was won, once it is over.
    won: Option<bool>,
}

/// A payout on its way, or one that arrived.
#[derive(Clone, Copy, Debug)]
struct Payout {
    id: PayoutId,
    account: AccountId,
    amount: Amount,
    status: PayoutStatus,
}

/// Something that happens at its time. Ordered as things of the same time happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deadline {
    Contract(InstrumentId, ContractId),
    Lock(OrderId),
    Order(OrderId),
    Timer(AccountId, Timer),
    Breaker(InstrumentId, AccountId),
    MonthlySweep,
}

/// What a command's refusal says.
type Outcome = Result<(), RejectReason>;

/// The plain exchange.
#[derive(Clone, Debug, Default)]
pub struct Twin {
    /// The newest input's number and time.
    seq: u64,
    now: Timestamp,
    /// What the input did so far.
    told: Vec<Event>,
    accounts: Vec<Account>,
    fees: i128,
    external: i128,
    markets: Vec<Market>,
    /// Open orders, ascending by id.
    orders: Vec<Open>,
    /// Open contracts, ascending by id.
    contracts: Vec<Contract>,
    /// Open locks, ascending by number.
    locks: Vec<Lock>,
    providers: Vec<Provider>,
    /// Asks that match once their market opens, in the order in which they began to wait.
    waiting: Vec<OrderId>,
    timers: Vec<(AccountId, Timer, Timestamp)>,
    purchases: Vec<Purchase>,
    refunds: Vec<Refund>,
    disputes: Vec<Dispute>,
    payouts: Vec<Payout>,
    /// The first instant of the month of the next sweep.
    next_sweep: Option<Timestamp>,
    /// Whose asks the bid that is being placed may take, if that is said.
    chosen: Option<Providers>,
    /// Numbers given so far.
    orders_accepted: u64,
    contracts_made: u64,
    payouts_requested: u64,
    joins: u64,
}

impl Twin {
    /// An exchange with no accounts and no instruments.
    pub fn new() -> Twin {
        Twin::default()
    }

    /// Applies the next input and appends what it did to `events`. Total: every command has an answer.
    ///
    /// # Panics
    /// When the input is not the next one or its time goes back, or when an invariant is broken.
    pub fn apply(&mut self, input: &Input, events: &mut Vec<Event>) {
        assert_eq!(input.seq, self.seq + 1, "inputs are applied in order, without gaps");
        assert!(input.at >= self.now, "the sequencer's stamp never goes back");
        self.seq = input.seq;
        self.now = input.at;
        while let Some(deadline) = self.next_deadline() {
            self.meet(deadline);
        }
        let before = self.told.len();
        if let Err(reason) = self.execute(&input.command) {
            assert_eq!(self.told.len(), before, "a refused command changes nothing");
            self.tell(Event::Rejected(reason));
        }
        events.append(&mut self.told);
    }

    fn tell(&mut self, event: Event) {
        self.told.push(event);
    }

    /// The first of all deadlines whose time has come.
    fn next_deadline(&self) -> Option<Deadline> {
        let mut all = Vec::new();
        for contract in &self.contracts {
            all.push((contract.expires_at, Deadline::Contract(contract.instrument, contract.id)));
        }
        for lock in &self.locks {
            all.push((lock.contract.expires_at, Deadline::Lock(lock.order.id)));
        }
        for open in &self.orders {
            if let TimeInForce::Gtd(at) = open.order.time_in_force {
                all.push((at, Deadline::Order(open.order.id)));
            }
        }
        for (account, timer, at) in &self.timers {
            all.push((*at, Deadline::Timer(*account, *timer)));
        }
        for provider in &self.providers {
            if let Breaker::Open { until } = provider.breaker {
                all.push((until, Deadline::Breaker(provider.instrument, provider.account)));
            }
        }
        if let Some(at) = self.next_sweep {
            all.push((at, Deadline::MonthlySweep));
        }
        all.into_iter().filter(|(at, _)| *at <= self.now).min().map(|(_, deadline)| deadline)
    }

    fn meet(&mut self, deadline: Deadline) {
        match deadline {
            Deadline::Contract(_, contract) => self.close_contract(contract, Expiry::Expired),
            Deadline::Lock(lock) => self.end_lock(lock, crate::CloseReason::Expired),
            Deadline::Order(order) => self.close_order(order, crate::CloseReason::Expired),
            Deadline::Timer(account, timer) => self.fire_timer(account, timer),
            Deadline::Breaker(instrument, provider) => self.half_open_breaker(provider, instrument),
            Deadline::MonthlySweep => self.monthly_sweep(),
        }
    }

    fn execute(&mut self, command: &Command) -> Outcome {
        match *command {
            Command::OpenAccount => self.open_account(),
            Command::ListInstrument(ref spec) => self.list_instrument(spec),
            Command::PurchaseCredits { account, amount, reference } => self.purchase(account, amount, reference),
            Command::PlaceOrder(ref new) => self.place_order(new),
            Command::CancelOrder { account, order } => self.cancel_order(account, order),
            Command::ReportDelivery(ref report) => self.report_delivery(report),
            Command::RequestPayout { account, amount } => self.request_payout(account, amount),
            Command::ConfirmPayout { payout } => self.end_payout(payout, true),
            Command::FailPayout { payout } => self.end_payout(payout, false),
            Command::SendPayout { payout } => self.send_payout(payout),
            Command::ReturnPayout { payout } => self.return_payout(payout),
            Command::Tick => Ok(()),
            Command::ReplaceOrder(ref replacement) => self.replace_order(replacement),
            Command::CancelOrders { account, instrument, side } => self.cancel_orders(account, instrument, side),
            Command::SetTimer { account, timer, after_ns } => self.set_timer(account, timer, after_ns),
            Command::SetInstrumentState { instrument, state } => self.set_instrument_state(instrument, state),
            Command::SetReferencePrice { instrument, price } => self.set_reference_price(instrument, price),
            Command::RefundPurchase { purchase, amount, reference } => self.refund(purchase, amount, reference),
            Command::RecordRefund { purchase, amount, reference } => self.record_refund(purchase, amount, reference),
            Command::FailRefund { reference } => self.fail_refund(reference),
            Command::OpenDispute { purchase, amount, reference } => self.open_dispute(purchase, amount, reference),
            Command::ResolveDispute { reference, won } => self.resolve_dispute(reference, won),
            Command::SetPayoutPolicy { account, policy } => self.set_payout_policy(account, policy),
            Command::SetCreditPolicy { account, policy } => self.set_credit_policy(account, policy),
            Command::SetKeyLimits { account, key, limits } => self.set_key_limits(account, key, limits),
            Command::SetGuardRail { account, window, limit } => self.set_guard_rail(account, window, limit),
            Command::ResetGuardRails { account } => self.reset_guard_rails(account),
            Command::LockQuote(ref new) => self.lock_quote(new),
            Command::PlaceChosen { ref order, ref providers } => self.place_chosen(order, providers),
            Command::UseQuote { account, lock } => self.use_quote(account, lock),
            Command::ReleaseQuote { account, lock } => self.release_quote(account, lock),
        }
    }

    fn open_account(&mut self) -> Outcome {
        let max = ACCOUNTS_MAX as u32;
        if self.accounts.len() >= ACCOUNTS_MAX {
            return Err(RejectReason::TooManyAccounts { max });
        }
        self.accounts.push(Account::default());
        self.tell(Event::AccountOpened { account: AccountId(self.accounts.len() as u32) });
        Ok(())
    }

    fn list_instrument(&mut self, spec: &InstrumentSpec) -> Outcome {
        let max = INSTRUMENTS_MAX as u32;
        spec.check()?;
        if self.markets.iter().any(|market| market.spec.symbol == spec.symbol) {
            return Err(RejectReason::SymbolTaken);
        }
        if self.markets.len() >= INSTRUMENTS_MAX {
            return Err(RejectReason::TooManyInstruments { max });
        }
        self.markets.push(Market { spec: *spec, state: InstrumentState::Open });
        let instrument = InstrumentId(self.markets.len() as u32);
        self.tell(Event::InstrumentListed { instrument, spec: *spec });
        Ok(())
    }

    fn set_instrument_state(&mut self, instrument: InstrumentId, state: InstrumentState) -> Outcome {
        self.find_market(instrument)?;
        self.market_mut(instrument).state = state;
        self.tell(Event::InstrumentStateChanged { instrument, state });
        if state == InstrumentState::Open {
            for order in self.waiting.clone() {
                let open = *invariant(self.find_order(order), "an order that closes no longer waits");
                if open.order.instrument == instrument {
                    self.waiting.retain(|waiting| *waiting != order);
                    if open.place == Place::Book {
                        self.rearrive(order);
                    }
                }
            }
        }
        Ok(())
    }

    fn set_reference_price(&mut self, instrument: InstrumentId, price: Price) -> Outcome {
        let spec = &self.find_market(instrument)?.spec;
        orders::check_price(spec, price)?;
        self.market_mut(instrument).spec.reference_price = price;
        self.tell(Event::ReferencePriceSet { instrument, price });
        Ok(())
    }
}

/// Finding things.
impl Twin {
    fn find_account(&self, account: AccountId) -> Result<&Account, RejectReason> {
        let found = dense_index(account.0).and_then(|index| self.accounts.get(index));
        found.ok_or(RejectReason::UnknownAccount)
    }

    fn account(&self, account: AccountId) -> &Account {
        invariant(self.find_account(account).ok(), "the account was found before")
    }

    fn account_mut(&mut self, account: AccountId) -> &mut Account {
        let found = dense_index(account.0).and_then(|index| self.accounts.get_mut(index));
        invariant(found, "the account was found before")
    }

    fn find_market(&self, instrument: InstrumentId) -> Result<&Market, RejectReason> {
        let found = dense_index(instrument.0).and_then(|index| self.markets.get(index));
        found.ok_or(RejectReason::UnknownInstrument)
    }

    fn market(&self, instrument: InstrumentId) -> &Market {
        invariant(self.find_market(instrument).ok(), "the instrument was found before")
    }

    fn market_mut(&mut self, instrument: InstrumentId) -> &mut Market {
        let found = dense_index(instrument.0).and_then(|index| self.markets.get_mut(index));
        invariant(found, "the instrument was found before")
    }

    fn find_order(&self, order: OrderId) -> Option<&Open> {
        self.orders.iter().find(|open| open.order.id == order)
    }

    fn order(&self, order: OrderId) -> &Order {
        &invariant(self.find_order(order), "the order is open").order
    }

    fn open_mut(&mut self, order: OrderId) -> &mut Open {
        invariant(self.orders.iter_mut().find(|open| open.order.id == order), "the order is open")
    }

    /// What is known of a provider on a market, if anything was ever delivered.
    fn provider(&self, account: AccountId, instrument: InstrumentId) -> Provider {
        let known = self.providers.iter().find(|known| known.account == account && known.instrument == instrument);
        known.copied().unwrap_or(Provider {
            account,
            instrument,
            latency: Gauge::default(),
            throughput: Gauge::default(),
            breaker: Breaker::Closed,
            failures: 0,
        })
    }

    fn set_provider(&mut self, provider: Provider) {
        self.providers.retain(|old| (old.account, old.instrument) != (provider.account, provider.instrument));
        self.providers.push(provider);
    }
}

/// Read-only views of the state.
impl Twin {
    /// An account's balances.
    pub fn balance(&self, account: AccountId) -> Option<&Balance> {
        self.find_account(account).ok().map(|found| &found.balance)
    }

    /// How many accounts there are; their ids are 1 to this.
    pub fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// Open orders by id, parked ones included.
    pub fn open_orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.iter().map(|open| &open.order)
    }

    /// Open contracts by id: what is left of each and who delivers it.
    pub fn open_contracts(&self) -> impl Iterator<Item = (ContractId, Quantity, AccountId)> {
        self.contracts.iter().map(|contract| (contract.id, contract.remaining, contract.provider))
    }

    /// Open locks by number: whose each is, what is in escrow for it and when it ends.
    pub fn open_locks(&self) -> impl Iterator<Item = (OrderId, AccountId, Amount, Timestamp)> {
        let told = |lock: &Lock| (lock.order.id, lock.order.account, lock.contract.escrow, lock.contract.expires_at);
        self.locks.iter().map(told)
    }

    /// Pending payouts by id.
    pub fn pending_payouts(&self) -> impl Iterator<Item = PayoutId> {
        let pending = self.payouts.iter().filter(|payout| payout.status != PayoutStatus::Confirmed);
        pending.map(|payout| payout.id)
    }

    /// Confirmed payouts that did not come back, by id.
    pub fn confirmed_payouts(&self) -> impl Iterator<Item = PayoutId> {
        let confirmed = self.payouts.iter().filter(|payout| payout.status == PayoutStatus::Confirmed);
        confirmed.map(|payout| payout.id)
    }

    /// Purchases in their order: reference, account, amount, and what is left of each.
    pub fn purchases(&self) -> impl Iterator<Item = (Reference, AccountId, Amount, Amount)> {
        self.purchases.iter().map(|purchase| (purchase.reference, purchase.account, purchase.amount, purchase.left))
    }

    /// Refunds in their order: reference, purchase, amount.
    pub fn refunds(&self) -> impl Iterator<Item = (Reference, Reference, Amount)> {
        self.refunds.iter().map(|refund| (refund.reference, refund.purchase, refund.amount))
    }

    /// Disputes in their order: reference, purchase, amount.
    pub fn disputes(&self) -> impl Iterator<Item = (Reference, Reference, Amount)> {
        self.disputes.iter().map(|dispute| (dispute.reference, dispute.purchase, dispute.amount))
    }

    /// Listed instruments in the order of their ids, each with its state.
    pub fn instruments(&self) -> impl Iterator<Item = (InstrumentId, &InstrumentSpec, InstrumentState)> {
        (1..).map(InstrumentId).zip(&self.markets).map(|(id, market)| (id, &market.spec, market.state))
    }

    /// The newest input's time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The sum over all ledger accounts in atoms: zero, or money was made or lost.
    pub fn ledger_sum(&self) -> i128 {
        let own = |account: &Account| account.balance.total() - i128::from(account.balance.owed.0);
        self.accounts.iter().map(own).sum::<i128>() + self.fees + self.external
    }

    /// Whether the money behind orders and contracts is there to the atom, and no open market has a bid and an ask in
    /// the book that could trade (but for a `single` bid that shrank: that is no reason to look for a match).
    pub fn is_sound(&self) -> bool {
        let money = (1..).map(AccountId).zip(&self.accounts).all(|(id, account)| {
            let orders = self.orders.iter().filter(|open| open.order.account == id);
            let contracts = self.contracts.iter().chain(self.locks.iter().map(|lock| &lock.contract));
            let contracts = contracts.filter(|contract| contract.buyer == id);
            account.balance.held.0 == orders.map(|open| self.held_by(&open.order).0).sum::<i64>()
                && account.balance.escrow.0 == contracts.map(|contract| contract.escrow.0).sum::<i64>()
        });
        let shrinks = |open: &Open| matches!(open.order.terms, Terms::Bid { single: true, .. });
        let others: Vec<Open> = self.orders.iter().filter(|open| !shrinks(open)).copied().collect();
        let mut in_book = self.orders.iter().filter(|open| open.place == Place::Book);
        let book = in_book.all(|open| {
            let suspended = open.order.side() == Side::Ask
                && self.check_breaker(open.order.account, open.order.instrument).is_err();
            let is_open = self.market(open.order.instrument).state == InstrumentState::Open;
            let crossed = open.order.side() == Side::Ask && self.best_match(&open.order, &others).is_some();
            !(suspended || is_open && crossed)
        });
        money && book && self.orders.iter().all(|open| open.place != Place::Arriving)
    }

    /// What the platform kept, in atoms.
    pub fn fees(&self) -> i128 {
        self.fees
    }

    /// Price levels of one side, best first: (price, units, orders).
    pub fn levels(&self, instrument: InstrumentId, side: Side) -> Vec<(Price, Quantity, u32)> {
        let in_book = |open: &&Open| {
            open.place == Place::Book && open.order.instrument == instrument && open.order.side() == side
        };
        let mut prices: Vec<Price> = self.orders.iter().filter(in_book).map(|open| open.order.price).collect();
        prices.sort();
        prices.dedup();
        if side == Side::Bid {
            prices.reverse();
        }
        let level = |price: Price| {
            let (quantity, orders) = self.level(instrument, side, price);
            (price, quantity, orders)
        };
        prices.into_iter().map(level).collect()
    }
}
