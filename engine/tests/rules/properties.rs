//! What holds after every input, whatever the inputs: checked by brute force on random streams. A failure prints a
//! shrunken stream and proptest's seed.
//!
//! [`Shadow`] follows the orders through events alone and says of each fill whether it was the one the rules demand.

use crate::market::{Market, plain};
use gollem_engine::*;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;

const ACCOUNTS: u32 = 4;
const SECOND: u64 = 1_000_000_000;

/// A command that may name an order or a contract by its place among the open ones.
#[derive(Clone, Debug)]
enum Step {
    Plain(Command),
    Cancel(usize),
    Replace(usize, Option<u64>, Option<u64>),
    Deliver(usize, DeliveryReport),
    Use(usize),
    Release(usize),
}

impl Step {
    fn command(&self, engine: &Engine) -> Command {
        let order = |nth: usize| {
            let orders = engine.orders();
            let order = (!orders.is_empty()).then(|| orders[nth % orders.len()]);
            order.map_or((AccountId(1), OrderId(0)), |order| (order.account, order.id))
        };
        let lock = |nth: usize| {
            let locks: Vec<&Lock> = engine.locks().collect();
            let lock = (!locks.is_empty()).then(|| locks[nth % locks.len()]);
            lock.map_or((AccountId(1), OrderId(0)), |lock| (lock.order.account, lock.order.id))
        };
        match self {
            Step::Use(nth) => {
                let (account, lock) = lock(*nth);
                Command::UseQuote { account, lock }
            }
            Step::Release(nth) => {
                let (account, lock) = lock(*nth);
                Command::ReleaseQuote { account, lock }
            }
            Step::Plain(command) => command.clone(),
            Step::Cancel(nth) => {
                let (account, order) = order(*nth);
                Command::CancelOrder { account, order }
            }
            Step::Replace(nth, limit, quantity) => {
                let (account, order) = order(*nth);
                let (limit, quantity) = (limit.map(Price), quantity.map(Quantity));
                Command::ReplaceOrder(Replacement { account, order, limit, quantity })
            }
            Step::Deliver(nth, report) => {
                let contracts = engine.contracts();
                let Some((id, contract)) = (!contracts.is_empty()).then(|| contracts[nth % contracts.len()]) else {
                    return Command::ReportDelivery(*report);
                };
                let quantity = Quantity(report.quantity.0 % (contract.remaining.0 + 2));
                // One provider fails nearly always, so that its breaker opens.
                let fails = contract.provider == AccountId(ACCOUNTS) && report.quantity.0 % 8 > 0;
                let outcome = if fails { Outcome::Failed } else { report.outcome };
                Command::ReportDelivery(DeliveryReport { contract: id, quantity, outcome, ..*report })
            }
        }
    }
}

fn market() -> impl Strategy<Value = InstrumentId> {
    prop_oneof![5 => Just(InstrumentId(1)), 1 => Just(InstrumentId(2))]
}

fn time_in_force() -> impl Strategy<Value = TimeInForce> {
    prop_oneof![
        8 => Just(TimeInForce::Gtc),
        2 => Just(TimeInForce::Ioc),
        1 => Just(TimeInForce::Fok),
        1 => (1_u64..800).prop_map(|seconds| TimeInForce::Gtd(Timestamp(seconds * SECOND))),
    ]
}

fn self_trade() -> impl Strategy<Value = SelfTrade> {
    prop_oneof![
        3 => Just(SelfTrade::CancelNewest),
        1 => Just(SelfTrade::CancelOldest),
        1 => Just(SelfTrade::CancelBoth),
        1 => Just(SelfTrade::Decrement),
        2 => Just(SelfTrade::Allow),
    ]
}

fn bid_terms() -> impl Strategy<Value = Terms> {
    let preference = prop_oneof![
        3 => Just(Preference::Price),
        1 => Just(Preference::Latency),
        1 => Just(Preference::Throughput),
        1 => (1_u16..3, 1_u16..3, 1_u16..3)
            .prop_map(|(price, latency, throughput)| Preference::Weights { price, latency, throughput }),
    ];
    (0_u32..8, 0_u32..5, 0_u16..4, preference, any::<bool>()).prop_map(
        |(latency, throughput, gpus, preference, single)| {
            let constraints = Constraints {
                max_latency_ms: (latency > 0 && latency < 4).then_some(latency),
                min_throughput_tps: (throughput > 2).then(|| throughput - 2),
                gpus: if gpus == 3 { 3 } else { 0 },
                ..Constraints::default()
            };
            Terms::Bid { constraints, preference, single }
        },
    )
}

fn ask_terms() -> impl Strategy<Value = Terms> {
    let gpu = prop_oneof![2 => Just("unspecified"), 1 => Just("h100"), 1 => Just("h200")];
    (0_u32..4, 0_u32..4, gpu).prop_map(|(latency_ms, throughput_tps, gpu)| {
        let gpu = GpuClass::from_name(gpu).unwrap();
        Terms::Ask { attributes: Attributes { latency_ms, throughput_tps, gpu, ..Attributes::default() } }
    })
}

/// Small ranges on purpose: prices, times and accounts must collide.
fn place() -> impl Strategy<Value = Command> {
    let terms = prop_oneof![bid_terms(), ask_terms()];
    let numbers = (1..=ACCOUNTS, 1_u64..6, 1_u64..40, 0_u64..60, 0_u8..12);
    let flags = (any::<bool>(), 0_u8..6, 0_u8..8, 0_u8..8);
    (numbers, flags, terms, time_in_force(), self_trade(), market()).prop_map(
        |(numbers, flags, terms, time_in_force, self_trade, instrument)| {
            let ((account, price, quantity, min, client), (on_disconnect, post, unpriced, key)) = (numbers, flags);
            // Many asks of the provider that fails, and many bids that an ask cannot serve at once.
            let (account, quantity) = match terms {
                Terms::Ask { .. } => (if on_disconnect { ACCOUNTS } else { account }, quantity * 2),
                Terms::Bid { single: true, .. } => (account, quantity + 30),
                Terms::Bid { .. } => (account, quantity),
            };
            Command::PlaceOrder(NewOrder {
                account: AccountId(account),
                key: KeyId(if key == 0 { 5 } else { 0 }),
                instrument,
                client_id: (client == 0).then_some(ClientOrderId([quantity as u8; 16])),
                limit: (unpriced > 0 || time_in_force.may_rest()).then_some(Price(price * 1_000)),
                quantity: Quantity(quantity),
                min_quantity: Quantity(if min < 6 { min } else { 0 }),
                time_in_force,
                post_only: post == 0 && time_in_force.may_rest(),
                cancel_on_disconnect: on_disconnect,
                self_trade,
                terms,
            })
        },
    )
}

/// The same as a lock, where that is possible.
fn lock() -> impl Strategy<Value = Command> {
    place().prop_map(|command| {
        let Command::PlaceOrder(mut new) = command else { return command };
        if let Terms::Bid { single, .. } = &mut new.terms {
            *single = true;
            new.quantity = Quantity(new.quantity.0 % 10 + 1);
            (new.time_in_force, new.post_only, new.min_quantity) = (TimeInForce::Ioc, false, Quantity(0));
        }
        Command::LockQuote(Box::new(new))
    })
}

fn deliver() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![3 => Just(Outcome::Completed), 1 => Just(Outcome::Failed), 1 => Just(Outcome::Abandoned)];
    let measures = (prop::option::of(0_u32..6), prop::option::of(0_u32..6));
    (any::<usize>(), 0_u64..40, measures, outcome, any::<bool>()).prop_map(|(nth, units, measures, outcome, last)| {
        let report = DeliveryReport {
            contract: ContractId(0),
            quantity: Quantity(units),
            first_token_ms: measures.0,
            throughput_tps: measures.1,
            outcome,
            tokens: Tokens::default(),
            last,
        };
        Step::Deliver(nth, report)
    })
}

fn account_commands() -> impl Strategy<Value = Command> {
    let account = || (1..=ACCOUNTS).prop_map(AccountId);
    let reference = || (0_u8..6).prop_map(|reference| Reference([reference; 16]));
    let dollars = || (1_i64..4).prop_map(|dollars| Amount(dollars * 100 * ATOMS_PER_CENT));
    let atoms = || prop::option::of((0_i64..400_000).prop_map(Amount));
    let state = prop_oneof![
        8 => Just(InstrumentState::Open), 1 => Just(InstrumentState::CancelOnly), 1 => Just(InstrumentState::Halted)
    ];
    let timer = prop_oneof![Just(Timer::DeadMan), Just(Timer::Connection)];
    let after = prop::option::of((1_u64..60).prop_map(|seconds| seconds * SECOND));
    prop_oneof![
        2 => (account(), dollars(), reference())
            .prop_map(|(account, amount, reference)| Command::PurchaseCredits { account, amount, reference }),
        1 => (reference(), dollars(), reference())
            .prop_map(|(purchase, amount, reference)| Command::RefundPurchase { purchase, amount, reference }),
        1 => (reference(), dollars(), reference())
            .prop_map(|(purchase, amount, reference)| Command::OpenDispute { purchase, amount, reference }),
        1 => (reference(), dollars(), reference())
            .prop_map(|(purchase, amount, reference)| Command::RecordRefund { purchase, amount, reference }),
        1 => reference().prop_map(|reference| Command::FailRefund { reference }),
        1 => (1_u64..4).prop_map(|payout| Command::ReturnPayout { payout: PayoutId(payout) }),
        1 => (reference(), any::<bool>()).prop_map(|(reference, won)| Command::ResolveDispute { reference, won }),
        1 => account().prop_map(|account| Command::RequestPayout { account, amount: None }),
        1 => (1_u64..4).prop_map(|payout| Command::ConfirmPayout { payout: PayoutId(payout) }),
        1 => (1_u64..4).prop_map(|payout| Command::FailPayout { payout: PayoutId(payout) }),
        1 => (1_u64..4).prop_map(|payout| Command::SendPayout { payout: PayoutId(payout) }),
        1 => (account(), 0_i64..200_000).prop_map(|(account, cap)| {
            let policy = CreditPolicy { overage_cap: Amount(cap), auto_renew: false };
            Command::SetCreditPolicy { account, policy }
        }),
        1 => (account(), atoms(), atoms()).prop_map(|(account, daily, hard)| {
            let limits = KeyLimits { daily, monthly: None, hard };
            Command::SetKeyLimits { account, key: KeyId(5), limits }
        }),
        1 => (account(), 0_u8..3, atoms())
            .prop_map(|(account, window, limit)| Command::SetGuardRail { account, window, limit }),
        4 => (market(), state).prop_map(|(instrument, state)| Command::SetInstrumentState { instrument, state }),
        1 => (account(), timer, after)
            .prop_map(|(account, timer, after_ns)| Command::SetTimer { account, timer, after_ns }),
        1 => (account(), market().prop_map(Some))
            .prop_map(|(account, instrument)| Command::CancelOrders { account, instrument, side: None }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let replace = (any::<usize>(), prop::option::of(1_u64..6), prop::option::of(1_u64..40));
    prop_oneof![
        12 => place().prop_map(Step::Plain),
        12 => deliver(),
        4 => lock().prop_map(Step::Plain),
        1 => any::<usize>().prop_map(Step::Use),
        1 => any::<usize>().prop_map(Step::Release),
        1 => any::<usize>().prop_map(Step::Cancel),
        2 => replace.prop_map(|(nth, price, quantity)| Step::Replace(nth, price.map(|price| price * 1_000), quantity)),
        3 => account_commands().prop_map(Step::Plain),
        1 => Just(Step::Plain(Command::Tick)),
    ]
}

/// An order as its events tell it.
#[derive(Clone, Copy, Debug)]
struct Known {
    order: Order,
    place: Place,
    /// When it joined the back of its place; `None` while that cannot be told from events.
    time: Option<u64>,
    /// It became smaller where it rested.
    shrank: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Arriving,
    Book,
    Parked,
}

type Record = (InstrumentId, AccountId);

/// What events tell of orders, providers and levels.
#[derive(Default)]
struct Shadow {
    orders: BTreeMap<OrderId, Known>,
    measured: BTreeMap<Record, (Option<u32>, Option<u32>)>,
    breakers: BTreeMap<Record, Breaker>,
    levels: BTreeMap<(InstrumentId, Side, Price), (Quantity, u32)>,
    clock: u64,
    /// Asks that move or return one after the other.
    moving: Vec<OrderId>,
}

impl Shadow {
    /// Follows the events of an input.
    fn fold(&mut self, command: &Command, events: &[Event]) {
        let moved = self.moved_by(command, events);
        self.moving.clear();
        for event in events {
            self.follow(event, moved);
        }
        let arriving = self.orders.values().find(|known| known.place == Place::Arriving).map(|known| known.order.id);
        if let Some(id) = arriving {
            assert_eq!(Some(id), moved, "only a replaced order rests without saying so");
            self.join(id);
        }
    }

    /// The order that a replacement takes out of its place.
    fn moved_by(&self, command: &Command, events: &[Event]) -> Option<OrderId> {
        let Command::ReplaceOrder(change) = command else { return None };
        if matches!(events.last(), Some(Event::Rejected(_))) {
            return None;
        }
        let order = self.orders.get(&change.order)?.order;
        let same_price = change.limit.is_none_or(|limit| limit == order.price);
        let keeps_place = same_price && change.quantity.is_some_and(|quantity| quantity < order.quantity);
        (!keeps_place).then_some(order.id)
    }

    fn follow(&mut self, event: &Event, moved: Option<OrderId>) {
        match event {
            Event::OrderAccepted(order) => {
                let known = Known { order: *order, place: Place::Arriving, time: None, shrank: false };
                self.orders.insert(order.id, known);
            }
            Event::OrderRested { order, remaining } => {
                assert_eq!(self.orders[order].order.remaining, *remaining);
                self.join(*order);
            }
            Event::OrderClosed { order, remaining, reason } => {
                let known = self.orders.remove(order).expect("it was open");
                if *reason == CloseReason::SelfTrade {
                    self.lose_track(known.order.account);
                } else {
                    assert_eq!(known.order.remaining, *remaining, "{known:?}");
                }
            }
            Event::OrderReplaced { order, price, quantity, remaining } => {
                let known = self.orders.get_mut(order).expect("it is open");
                (known.order.price, known.order.quantity, known.order.remaining) = (*price, *quantity, *remaining);
                known.shrank = true;
                let account = known.order.account;
                if moved == Some(*order) {
                    (known.place, known.shrank) = (Place::Arriving, false);
                } else {
                    self.lose_track(account);
                }
            }
            Event::QuoteRestored { order, remaining } => {
                self.moving.clear();
                self.orders.get_mut(order).expect("it is open").order.remaining = *remaining;
            }
            Event::QuoteLocked { ask, price, quantity, .. } => {
                let known = self.orders.get_mut(ask).expect("it is open");
                assert_eq!((known.place, known.order.price), (Place::Book, *price), "{known:?}");
                assert!(known.order.remaining > *quantity, "{known:?} is used up");
                known.order.remaining.0 -= quantity.0;
            }
            Event::Traded(trade) if trade.bid.is_of_lock() => {
                let bid = &mut self.orders.get_mut(&trade.bid).expect("it was just accepted").order;
                assert!(bid.price >= trade.price && bid.remaining == trade.quantity, "{bid:?} and {trade:?}");
                bid.remaining = Quantity(0);
            }
            Event::Traded(trade) => self.trade(trade),
            Event::ProviderMeasured { provider, instrument, latency_ms, throughput_tps } => {
                self.measure((*instrument, *provider), (*latency_ms, *throughput_tps));
            }
            Event::BreakerChanged { provider, instrument, state } => {
                self.breakers.insert((*instrument, *provider), *state);
                self.park_or_return((*instrument, *provider));
            }
            Event::LevelChanged { instrument, side, price, quantity, orders } => {
                let key = (*instrument, *side, *price);
                match orders {
                    0 => self.levels.remove(&key),
                    _ => self.levels.insert(key, (*quantity, *orders)),
                };
            }
            _ => {}
        }
    }

    /// An ask that met only orders of its own account joined the back of its place, and no event names it.
    fn lose_track(&mut self, account: AccountId) {
        for known in self.orders.values_mut().filter(|known| known.order.account == account) {
            known.time = None;
        }
    }

    fn suspended(&self, record: Record) -> bool {
        matches!(self.breakers.get(&record), Some(Breaker::Open { .. } | Breaker::HalfOpen { probes: 0 }))
    }

    /// Puts an order at the back of its place.
    fn join(&mut self, id: OrderId) {
        let order = self.orders[&id].order;
        let parks = order.side() == Side::Ask && self.suspended((order.instrument, order.account));
        self.clock += 1;
        let known = self.orders.get_mut(&id).expect("it is open");
        known.place = if parks { Place::Parked } else { Place::Book };
        known.time = Some(self.clock);
    }

    fn asks_of(&self, record: Record, place: Place) -> Vec<OrderId> {
        let own = |known: &&Known| {
            let order = &known.order;
            order.side() == Side::Ask && (order.instrument, order.account) == record && known.place == place
        };
        self.orders.values().filter(own).map(|known| known.order.id).collect()
    }

    fn park_or_return(&mut self, record: Record) {
        if self.suspended(record) {
            for id in self.asks_of(record, Place::Book) {
                self.orders.get_mut(&id).expect("it is open").place = Place::Parked;
            }
        } else {
            let returning = self.asks_of(record, Place::Parked);
            returning.iter().for_each(|id| self.join(*id));
            if !returning.is_empty() {
                self.moving = returning;
            }
        }
    }

    fn measure(&mut self, record: Record, reading: (Option<u32>, Option<u32>)) {
        let asks = self.asks_of(record, Place::Book);
        let before: Vec<Attributes> = asks.iter().map(|id| self.effective(&self.orders[id].order)).collect();
        self.measured.insert(record, reading);
        let changed = asks.into_iter().zip(before).filter(|(id, old)| self.effective(&self.orders[id].order) != *old);
        self.moving = changed.map(|(id, _)| id).collect();
        self.moving.clone().into_iter().for_each(|id| self.join(id));
    }

    fn effective(&self, ask: &Order) -> Attributes {
        let Terms::Ask { attributes } = ask.terms else { panic!("{ask:?} is no ask") };
        let (latency, throughput) = self.measured.get(&(ask.instrument, ask.account)).copied().unwrap_or_default();
        Attributes {
            latency_ms: latency.map_or(attributes.latency_ms, |latency| latency.max(attributes.latency_ms)),
            throughput_tps: throughput.map_or(attributes.throughput_tps, |tps| tps.min(attributes.throughput_tps)),
            ..attributes
        }
    }

    fn feasible(&self, bid: &Order, ask: &Order) -> bool {
        let Terms::Bid { constraints, single, .. } = bid.terms else { panic!("{bid:?} is no bid") };
        bid.instrument == ask.instrument
            && bid.price >= ask.price
            && constraints.accept(&self.effective(ask))
            && (!single || ask.remaining >= bid.remaining)
    }

    fn book(&self, side: Side) -> impl Iterator<Item = &Known> {
        self.orders.values().filter(move |known| known.place == Place::Book && known.order.side() == side)
    }

    /// Checks a fill against everything else the arriving order could have taken, then makes it.
    fn trade(&mut self, trade: &Trade) {
        let (bid, ask) = (self.orders[&trade.bid], self.orders[&trade.ask]);
        assert!(self.feasible(&bid.order, &ask.order), "{bid:?} and {ask:?} may not trade");
        assert_eq!(trade.quantity, bid.order.remaining.min(ask.order.remaining));
        let maker = if trade.taker == Side::Bid { &ask } else { &bid };
        assert_eq!((trade.price, maker.place), (maker.order.price, Place::Book));
        match trade.taker {
            Side::Bid => {
                let others = self.book(Side::Ask).filter(|other| self.feasible(&bid.order, &other.order));
                for other in others.filter(|other| other.order.id != ask.order.id) {
                    assert!(!self.dominates(&other.order, &ask.order), "{bid:?} took {ask:?} and not {other:?}");
                    let (rank, other_rank) = (self.ask_rank(&bid.order, &ask), self.ask_rank(&bid.order, other));
                    assert!(comes_first((rank, ask.time), (other_rank, other.time)), "{bid:?}: {ask:?}, {other:?}");
                }
            }
            Side::Ask => {
                let others = self.book(Side::Bid).filter(|other| self.feasible(&other.order, &ask.order));
                for other in others.filter(|other| other.order.id != bid.order.id) {
                    let (rank, other_rank) = (Reverse(bid.order.price), Reverse(other.order.price));
                    assert!(comes_first((rank, bid.time), (other_rank, other.time)), "{ask:?}: {bid:?}, {other:?}");
                }
            }
        }
        for id in [trade.bid, trade.ask] {
            self.orders.get_mut(&id).expect("it is open").order.remaining.0 -= trade.quantity.0;
        }
        if trade.taker == Side::Ask && ask.place == Place::Book {
            // It re-arrived; what is left of it joins the back, and those that move after it come later.
            let at = self.moving.iter().position(|id| *id == trade.ask);
            let later = at.map_or(Vec::new(), |at| self.moving.split_off(at + 1));
            self.join(trade.ask);
            for id in later.iter().filter(|id| self.orders[id].place == Place::Book).copied().collect::<Vec<_>>() {
                self.join(id);
            }
            self.moving.extend(later);
        }
    }

    /// Whether ask `a` is at least as good as `b` in everything and better in something.
    fn dominates(&self, a: &Order, b: &Order) -> bool {
        let (x, y) = (self.effective(a), self.effective(b));
        let no_worse = a.price <= b.price && x.latency_ms <= y.latency_ms && x.throughput_tps >= y.throughput_tps;
        no_worse && (a.price < b.price || x.latency_ms < y.latency_ms || x.throughput_tps > y.throughput_tps)
    }

    /// Less is taken earlier.
    fn ask_rank(&self, bid: &Order, ask: &Known) -> (i64, i64, i64, i64) {
        let Terms::Bid { preference, .. } = bid.terms else { panic!("{bid:?} is no bid") };
        let attributes = self.effective(&ask.order);
        let ticks = (ask.order.price.0 / 1_000) as i64;
        let (latency, throughput) = (i64::from(attributes.latency_ms), i64::from(attributes.throughput_tps));
        let first = match preference {
            Preference::Price => 0,
            Preference::Latency => latency,
            Preference::Throughput => -throughput,
            Preference::Weights { price, latency: l, throughput: t } => {
                i64::from(price) * ticks + i64::from(l) * latency - i64::from(t) * throughput
            }
        };
        (first, ticks, latency, -throughput)
    }

    /// What the engine shows must be what its events told.
    fn check(&self, engine: &Engine) {
        let shown: Vec<_> =
            engine.orders().iter().map(|o| (o.id, o.price, o.quantity, o.remaining, o.parked)).collect();
        let told = self.orders.values().map(|known| {
            let order = &known.order;
            (order.id, order.price, order.quantity, order.remaining, known.place == Place::Parked)
        });
        assert_eq!(shown, told.collect::<Vec<_>>());
        let mut levels = BTreeMap::new();
        for instrument in [1, 2].map(InstrumentId) {
            for side in [Side::Bid, Side::Ask] {
                for (price, quantity, orders) in engine.levels(instrument, side) {
                    levels.insert((instrument, side, price), (quantity, orders));
                    let resting = |known: &&Known| (known.order.instrument, known.order.price) == (instrument, price);
                    let units: Vec<u64> =
                        self.book(side).filter(resting).map(|known| known.order.remaining.0).collect();
                    assert_eq!((quantity.0, orders as usize), (units.iter().sum(), units.len()));
                }
            }
        }
        assert_eq!(self.levels, levels, "depth built from events equals the book");
        self.check_uncrossed(engine);
    }

    /// No two resting orders of an open market could trade. A single bid that became smaller where it rested is left out:
    /// it keeps its place and matches nothing.
    fn check_uncrossed(&self, engine: &Engine) {
        let open = |known: &&Known| engine.instrument_state(known.order.instrument) == Some(InstrumentState::Open);
        let shrunken = |known: &Known| known.shrank && matches!(known.order.terms, Terms::Bid { single: true, .. });
        for bid in self.book(Side::Bid).filter(open).filter(|known| !shrunken(known)) {
            let crossing = self.book(Side::Ask).find(|ask| self.feasible(&bid.order, &ask.order));
            assert!(crossing.is_none(), "{bid:?} should have traded with {crossing:?}");
        }
    }
}

/// Whether the first was taken before the second by right; the time decides between equals, if both are known.
fn comes_first<R: Ord>(one: (R, Option<u64>), other: (R, Option<u64>)) -> bool {
    match (one.1, other.1) {
        (Some(time), Some(other_time)) => (one.0, time) < (other.0, other_time),
        _ => one.0 <= other.0,
    }
}

fn hold(engine: &Engine, order: &OpenOrder) -> i64 {
    let find = |id| engine.instruments().find(|(known, _)| *known == id).map(|(_, spec)| spec);
    let spec = find(order.instrument).unwrap();
    let value = order.price.notional(order.remaining).unwrap();
    value.0 + value.fee(spec.maker_fee_bps.max(spec.taker_fee_bps)).0
}

/// What balances must be, given the open orders, contracts and payouts.
fn check_money(engine: &Engine) {
    assert_eq!(engine.ledger_sum(), 0);
    for id in (1..=ACCOUNTS).map(AccountId) {
        let balance = engine.balance(id).unwrap();
        let orders = engine.orders();
        let bids = orders.iter().filter(|order| order.account == id && order.side() == Side::Bid);
        let held: i64 = bids.map(|order| hold(engine, order)).sum();
        let contracts = engine.contracts();
        let own = contracts.iter().map(|(_, contract)| contract).filter(|contract| contract.buyer == id);
        let locks = engine.locks_of(id).map(|lock| &lock.contract);
        let escrow: i64 = own.chain(locks).map(|contract| contract.escrow.0).sum();
        let payouts = engine.payouts().filter(|(_, payout)| payout.account == id);
        let pending: i64 = payouts.map(|(_, payout)| payout.amount.0).sum();
        let parts = [balance.available, balance.held, balance.escrow, balance.earned, balance.owed];
        assert!(parts.iter().all(|amount| amount.0 >= 0), "no negative balance: {balance:?}");
        assert_eq!(balance.held.0, held, "holds equal open bids");
        assert_eq!(balance.escrow.0, escrow, "escrow equals open contracts and locks");
        assert_eq!(balance.payout_pending.0, pending, "pending equals open payouts");
        for (_, contract) in contracts.iter().filter(|(_, contract)| contract.buyer == id) {
            let value = contract.price.notional(contract.remaining).unwrap();
            assert!(contract.escrow >= value, "{contract:?} can be paid");
        }
    }
}

/// What a refused command may not change.
fn facts(engine: &Engine) -> impl PartialEq + std::fmt::Debug + use<> {
    let balances: Vec<Balance> = (1..=ACCOUNTS).map(|id| *engine.balance(AccountId(id)).unwrap()).collect();
    let states = [1, 2].map(|id| engine.instrument_state(InstrumentId(id)));
    let locks: Vec<Lock> = engine.locks().copied().collect();
    (engine.orders(), engine.contracts(), locks, balances, states, engine.fees())
}

/// Two markets and accounts with a few hundred thousand atoms to spend, so that some run out.
fn opened() -> Market {
    let mut market = Market::default();
    for symbol in ["one", "two"] {
        let spec = InstrumentSpec {
            tick: Price(1_000),
            reference_price: Price(3_000),
            maker_fee_bps: 150,
            taker_fee_bps: 250,
            delivery_fee_bps: 100,
            tolerance_bps: 500,
            rebate_bps: 700,
            contract_ttl_ns: 200 * SECOND,
            ..plain(symbol)
        };
        market.send(Command::ListInstrument(Box::new(spec)));
    }
    for account in (1..=ACCOUNTS).map(AccountId) {
        market.send(Command::OpenAccount);
        let policy = CreditPolicy { overage_cap: Amount(300_000), auto_renew: false };
        market.send(Command::SetCreditPolicy { account, policy });
        if account.0 > 1 {
            let (amount, reference) = (Amount(100 * ATOMS_PER_CENT), Reference([100 + account.0 as u8; 16]));
            market.send(Command::PurchaseCredits { account, amount, reference });
        }
    }
    market
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_invariant_holds_after_every_input(stream in prop::collection::vec((steps(), 0_u64..8), 1..200)) {
        let (mut market, mut checkpointed, mut shadow) = (opened(), opened(), Shadow::default());
        for (step, seconds) in &stream {
            market.now += seconds * SECOND;
            checkpointed.now = market.now;
            let command = step.command(&market.engine);
            let before = facts(&market.engine);
            let events = market.send(command.clone());
            if let [Event::Rejected(_)] = events.as_slice() {
                prop_assert_eq!(before, facts(&market.engine), "a refusal changes nothing");
            }
            shadow.fold(&command, &events);
            shadow.check(&market.engine);
            check_money(&market.engine);
            prop_assert_eq!(&events, &checkpointed.send(command));
            let remembered = if *seconds < 3 { checkpointed.engine.checkpoint() } else { checkpointed.engine.state_hash() };
            prop_assert_eq!(remembered, market.engine.state_hash());
        }
    }
}
