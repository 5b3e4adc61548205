//! What the engine asks of the allocator: nothing in a steady flow, and few bytes for each resting order.

// Millions of orders take minutes in a debug build, so `scripts/test.sh` runs this in release.
#![cfg(not(debug_assertions))]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and says its figures"
)]

use gollem_engine::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;

thread_local! {
    /// Allocations of this thread, and bytes it has now.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

impl Counting {
    fn count(allocations: u64, bytes: i64) {
        ALLOCATIONS.set(ALLOCATIONS.get() + allocations);
        LIVE_BYTES.set(LIVE_BYTES.get() + bytes);
    }
}

// SAFETY: every call is handed on to the system's allocator as it is; the counters allocate nothing.
#[expect(unsafe_code, reason = "an allocator that counts has no safe form")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::count(1, layout.size() as i64);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Counting::count(0, -(layout.size() as i64));
        // SAFETY: the caller keeps the contract of `dealloc`, and the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Counting::count(1, layout.size() as i64);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::count(1, size as i64 - layout.size() as i64);
        // SAFETY: the caller keeps the contract of `realloc`, and the pointer came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PROVIDERS: u32 = 120;
const BUYERS: u32 = 8;
const LEVELS: u64 = 10_000;
const INSTRUMENT: InstrumentId = InstrumentId(1);

/// How asks differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Book {
    /// Not at all: price-time priority.
    Plain,
    /// The same, and some bids want all from one ask, so that what others leave of asks gathers in front.
    Leftovers,
    /// In latency and throughput.
    Pareto,
    /// And in GPU class and region.
    Categories,
    /// In latency and throughput, and none is better in both than another.
    Undominated,
}

impl Book {
    fn is_plain(self) -> bool {
        matches!(self, Book::Plain | Book::Leftovers)
    }
}

/// An engine with accounts, funds and a market.
struct Exchange {
    engine: Engine,
    events: Events,
    random: u64,
    book: Book,
    /// Own orders by their owner; some have left.
    open: Vec<(AccountId, OrderId)>,
    due: VecDeque<(ContractId, Quantity)>,
}

impl Exchange {
    fn new(engine: Engine, book: Book) -> Exchange {
        let (open, due) = (Vec::with_capacity(1 << 16), VecDeque::with_capacity(1 << 16));
        let mut fresh = Exchange { engine, events: Events::with_capacity(4_096), random: 1, book, open, due };
        fresh.send(Command::ListInstrument(Box::new(spec())));
        for account in 1..=PROVIDERS + BUYERS {
            fresh.send(Command::OpenAccount);
            fresh.send(Command::PurchaseCredits {
                account: AccountId(account),
                amount: Amount(limits::PURCHASE_ATOMS_MAX),
                reference: Reference(u128::from(account).to_le_bytes()),
            });
        }
        fresh
    }

    fn send(&mut self, command: Command) {
        let seq = self.engine.last_seq() + 1;
        self.events.clear();
        self.engine.apply(&Input { seq, at: Timestamp(1_700_000_000_000_000_000 + seq), command }, &mut self.events);
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    fn order(&mut self, account: u32, ticks: u64, quantity: u64, terms: Terms) -> NewOrder {
        NewOrder {
            account: AccountId(account),
            key: KeyId(0),
            instrument: INSTRUMENT,
            client_id: None,
            limit: Some(Price(ticks)),
            quantity: Quantity(quantity),
            min_quantity: Quantity(0),
            time_in_force: TimeInForce::Gtc,
            post_only: false,
            cancel_on_disconnect: false,
            self_trade: SelfTrade::Allow,
            terms,
        }
    }

    fn ask(&mut self, ticks: u64) -> NewOrder {
        let mut attributes = Attributes { latency_ms: 400, throughput_tps: 60, ..Attributes::default() };
        if !self.book.is_plain() {
            attributes.latency_ms = 100 + self.below(5_000) as u32;
            attributes.throughput_tps = 10 + self.below(500) as u32;
        }
        if self.book == Book::Undominated {
            attributes.throughput_tps = attributes.latency_ms;
        }
        if self.book == Book::Categories {
            let (gpu, region) = (self.below(4) as usize, self.below(3) as usize);
            attributes.gpu = GpuClass::from_name(GpuClass::NAMES[gpu]).unwrap();
            attributes.region = Region::from_name(Region::NAMES[region]).unwrap();
        }
        let (account, quantity) = (1 + self.below(u64::from(PROVIDERS)) as u32, 10 + self.below(90));
        self.order(account, ticks, quantity, Terms::Ask { attributes })
    }

    fn bid(&mut self, ticks: u64, demanding: bool) -> NewOrder {
        let mut constraints = Constraints::default();
        if demanding && !self.book.is_plain() {
            constraints.max_latency_ms = Some(500 + self.below(4_000) as u32);
        }
        let preference = match self.below(4) {
            _ if self.book.is_plain() => Preference::Price,
            0 => Preference::Latency,
            1 => Preference::Throughput,
            2 => Preference::Weights { price: 3, latency: 2, throughput: 1 },
            _ => Preference::Price,
        };
        let (account, quantity) = (PROVIDERS + 1 + self.below(u64::from(BUYERS)) as u32, 5 + self.below(60));
        let terms = Terms::Bid { constraints, preference, single: self.book != Book::Plain && self.below(2) == 0 };
        self.order(account, ticks, quantity, terms)
    }

    /// One command of a flow around `resting` orders. The order of the kinds is that of chance.
    fn step(&mut self, resting: usize) {
        if let Some((contract, quantity)) = self.due.pop_front() {
            let delivered = Quantity(quantity.0 - self.below(2).min(quantity.0 - 1));
            self.send(Command::ReportDelivery(DeliveryReport {
                contract,
                quantity: delivered,
                first_token_ms: Some(100),
                throughput_tps: Some(600),
                outcome: Outcome::Completed,
                tokens: Tokens::default(),
                last: true,
            }));
            return;
        }
        let full = self.engine.open_orders() > resting;
        match self.below(100) {
            0..30 if !full => {
                let ticks = 5_001 + self.below(400);
                let ask = self.ask(ticks);
                self.place(ask);
            }
            0..45 if !full => {
                let ticks = 5_000 - self.below(400);
                let bid = self.bid(ticks, true);
                self.place(bid);
            }
            0..65 => self.cancel(),
            65..85 => self.replace(),
            _ => {
                let ticks = 5_100 + self.below(300);
                let time_in_force = if self.below(2) == 0 { TimeInForce::Fok } else { TimeInForce::Ioc };
                let bid = NewOrder { time_in_force, ..self.bid(ticks, true) };
                self.place(bid);
            }
        }
    }

    fn place(&mut self, order: NewOrder) {
        self.send(Command::PlaceOrder(order));
        self.learn(order.account);
    }

    fn learn(&mut self, account: AccountId) {
        for event in &self.events {
            match event {
                Event::Traded(trade) => self.due.push_back((trade.contract, trade.quantity)),
                Event::OrderRested { order, .. } => self.open.push((account, *order)),
                _ => {}
            }
        }
    }

    /// An order that is still open.
    fn any(&mut self) -> Option<usize> {
        while !self.open.is_empty() {
            let at = self.below(self.open.len() as u64) as usize;
            if self.engine.order(self.open[at].1).is_some() {
                return Some(at);
            }
            self.open.swap_remove(at);
        }
        None
    }

    fn cancel(&mut self) {
        let Some(at) = self.any() else { return };
        let (account, order) = self.open.swap_remove(at);
        self.send(Command::CancelOrder { account, order });
    }

    fn replace(&mut self) {
        let Some(at) = self.any() else { return };
        let (account, order) = self.open[at];
        let away = self.below(400);
        let open = self.engine.order(order).unwrap();
        let limit = match open.side() {
            Side::Ask => 5_001 + away,
            Side::Bid => 5_000 - away,
        };
        // In turns a new price and a smaller quantity.
        let smaller = Quantity(open.quantity.0.saturating_sub(1));
        let moved = away.is_multiple_of(2);
        let (limit, quantity) = (moved.then_some(Price(limit)), (!moved).then_some(smaller));
        self.send(Command::ReplaceOrder(Replacement { account, order, limit, quantity }));
        self.learn(account);
    }
}

fn spec() -> InstrumentSpec {
    InstrumentSpec {
        symbol: Symbol::new("steady").unwrap(),
        weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
        tick: Price(1),
        price_max: Price(2 * LEVELS),
        reference_price: Price(LEVELS / 2),
        band_bps: 0,
        lot: Quantity(1),
        quantity_min: Quantity(1),
        quantity_max: Quantity(1_000_000),
        maker_fee_bps: 5,
        taker_fee_bps: 10,
        delivery_fee_bps: 100,
        tolerance_bps: 1_000,
        rebate_bps: 500,
        contract_ttl_ns: 86_400_000_000_000,
    }
}

/// Commands whose allocations are counted.
const COUNTED: usize = 200_000;
/// Sizes of the books.
const RESTING: &[usize] = &[2_000, 50_000];
/// So many commands in a book with an index make one allocation at most.
const COMMANDS_PER_ALLOCATION: u64 = 4_000;

/// An exchange with about so many resting orders, after commands enough for everything to have grown.
fn warm(book: Book, resting: usize) -> Exchange {
    let mut exchange = Exchange::new(Engine::new(), book);
    for at in 0..resting as u64 / 2 {
        let (ask, bid) = (exchange.ask(5_001 + at % 400), exchange.bid(5_000 - at % 400, true));
        exchange.place(ask);
        exchange.place(bid);
    }
    for _ in 0..2 * COUNTED {
        exchange.step(resting);
    }
    exchange
}

/// Allocations of the steady flow.
fn allocations(book: Book, resting: usize) -> u64 {
    let mut exchange = warm(book, resting);
    let mut counts = Counts::default();
    let before = ALLOCATIONS.get();
    for _ in 0..COUNTED {
        let earlier = ALLOCATIONS.get();
        exchange.step(resting);
        counts.add(&exchange.events, ALLOCATIONS.get() - earlier);
    }
    let allocations = ALLOCATIONS.get() - before;
    counts.check(book);
    let open = exchange.engine.open_orders();
    println!("{book:?}, {open} resting orders: {allocations} allocations; by first event {:?}", counts.allocated);
    assert_eq!(exchange.engine.ledger_sum(), 0);
    allocations
}

/// What the flow did, so that none of it is forgotten.
#[derive(Debug, Default)]
struct Counts {
    placed: u64,
    replaced: u64,
    cancelled: u64,
    traded: u64,
    settled: u64,
    rejected: u64,
    /// Allocations of commands whose first event was accepted, replaced, closed, delivered, other.
    allocated: [u64; 5],
}

impl Counts {
    fn add(&mut self, events: &[Event], allocations: u64) {
        for event in events {
            match event {
                Event::OrderAccepted(_) => self.placed += 1,
                Event::OrderReplaced { .. } => self.replaced += 1,
                Event::OrderClosed { reason: CloseReason::Cancelled, .. } => self.cancelled += 1,
                Event::Traded(_) => self.traded += 1,
                Event::ContractClosed { .. } => self.settled += 1,
                Event::Rejected(_) => self.rejected += 1,
                _ => {}
            }
        }
        let kind = match events.first() {
            Some(Event::OrderAccepted(_)) => 0,
            Some(Event::OrderReplaced { .. }) => 1,
            Some(Event::OrderClosed { .. }) => 2,
            Some(Event::Delivered { .. }) => 3,
            _ => 4,
        };
        self.allocated[kind] += allocations;
    }

    fn check(&self, book: Book) {
        let least = [self.placed, self.replaced, self.cancelled, self.traded, self.settled].into_iter().min();
        assert!(least >= Some(COUNTED as u64 / 20), "{book:?}: {self:?}");
        assert!(self.rejected < COUNTED as u64 / 100, "{book:?}: {self:?}");
    }
}

#[test]
fn a_steady_flow_in_a_plain_book_allocates_nothing() {
    for &resting in RESTING {
        assert_eq!(allocations(Book::Plain, resting), 0);
    }
}

/// Leaves of the index and room in its lists are kept when they are no longer needed, so that a steady flow allocates only
/// when it needs more of them than ever before.
#[test]
fn a_steady_flow_in_a_book_with_an_index_allocates_next_to_nothing() {
    for book in [Book::Leftovers, Book::Pareto, Book::Categories, Book::Undominated] {
        for &resting in RESTING {
            let allocations = allocations(book, resting);
            assert!(allocations <= COUNTED as u64 / COMMANDS_PER_ALLOCATION, "{book:?}, {resting}: {allocations}");
        }
    }
}

/// What is left out of the steady flow, since it allocates: tree nodes of deadlines, of remembered answers and of locks, lists of
/// the asks of a provider whose measured values change.
#[test]
fn rare_commands_allocate_little() {
    const TIMES: u64 = 10_000;
    let mut exchange = warm(Book::Pareto, 2_000);
    let mut dated = VecDeque::with_capacity(1_000);
    let kinds: [(&str, Rare, u64); 4] = [
        ("dated", |exchange, order, number, dated| dated_bid(exchange, order, number, dated), 1),
        (
            "client id",
            |exchange, order, number, _| {
                let client_id = Some(ClientOrderId(u128::from(number).to_le_bytes()));
                exchange.place(NewOrder { client_id, ..order });
            },
            1,
        ),
        ("locked", |exchange, order, number, _| locked(exchange, order, number), 4),
        ("measured anew", |exchange, order, number, _| measured_anew(exchange, order, number), 12),
    ];
    for (name, rare, most) in kinds {
        let mut allocations = 0;
        for number in 0..TIMES {
            let ask = exchange.ask(5_001 + number % 400);
            exchange.place(ask);
            let bid = NewOrder { time_in_force: TimeInForce::Ioc, ..exchange.bid(5_400, false) };
            let before = ALLOCATIONS.get();
            rare(&mut exchange, bid, number, &mut dated);
            allocations += ALLOCATIONS.get() - before;
            exchange.due.clear();
        }
        println!("{name}: {allocations} allocations by {TIMES} of them");
        assert!(allocations > 0 && allocations <= most * TIMES, "{name}: {allocations}");
    }
}

/// Acts on an exchange with a bid, a number, and the bids that wait for their time.
type Rare = fn(&mut Exchange, NewOrder, u64, &mut VecDeque<(AccountId, OrderId)>);

fn dated_bid(exchange: &mut Exchange, bid: NewOrder, number: u64, dated: &mut VecDeque<(AccountId, OrderId)>) {
    let until = TimeInForce::Gtd(Timestamp(1_800_000_000_000_000_000 + number % 100));
    exchange.place(NewOrder { limit: Some(Price(1)), time_in_force: until, ..bid });
    dated.push_back(exchange.open.pop().unwrap());
    if dated.len() > 500 {
        let (account, order) = dated.pop_front().unwrap();
        exchange.send(Command::CancelOrder { account, order });
    }
}

/// A quote is locked, and then used or released.
fn locked(exchange: &mut Exchange, bid: NewOrder, number: u64) {
    let (constraints, preference) = (Constraints::default(), Preference::Price);
    let terms = Terms::Bid { constraints, preference, single: true };
    exchange.send(Command::LockQuote(Box::new(NewOrder { terms, ..bid })));
    let account = bid.account;
    let Some(Event::QuoteLocked { lock, .. }) = exchange.events.first().copied() else { return };
    let release = number.is_multiple_of(2);
    exchange.send(if release { Command::ReleaseQuote { account, lock } } else { Command::UseQuote { account, lock } });
    assert!(!matches!(exchange.events.first(), Some(Event::Rejected(_))), "{:?}", exchange.events);
}

/// A provider's latency rises and falls, and its asks move.
fn measured_anew(exchange: &mut Exchange, bid: NewOrder, number: u64) {
    exchange.place(bid);
    let Some((contract, quantity)) = exchange.due.pop_back() else { return };
    exchange.send(Command::ReportDelivery(DeliveryReport {
        contract,
        quantity,
        first_token_ms: Some(if number % 4_000 < 2_000 { 10 } else { 9_000 }),
        throughput_tps: None,
        outcome: Outcome::Completed,
        tokens: Tokens::default(),
        last: true,
    }));
}

/// Bytes for each of the orders that rest on 10,000 levels.
fn bytes_per_order(book: Book, engine: Engine, before: i64, orders: usize) -> f64 {
    let mut exchange = Exchange::new(engine, book);
    for at in 0..orders {
        let ask = exchange.ask(at as u64 % LEVELS + 1);
        let account = AccountId((at / 9_000) as u32 + 1);
        exchange.send(Command::PlaceOrder(NewOrder { account, ..ask }));
    }
    assert_eq!((exchange.engine.open_orders(), exchange.engine.levels(INSTRUMENT, Side::Ask).len()), (orders, 10_000));
    let Exchange { engine, events, open, due, .. } = exchange;
    drop((events, open, due));
    let bytes = LIVE_BYTES.get() - before;
    assert_eq!(engine.open_orders(), orders);
    bytes as f64 / orders as f64
}

#[test]
fn a_resting_order_takes_few_bytes() {
    let orders = 1_000_000;
    let bounds = [(Book::Plain, 128.0), (Book::Pareto, 144.0), (Book::Categories, 144.0), (Book::Undominated, 160.0)];
    for (book, most) in bounds {
        for exact in [true, false] {
            let before = LIVE_BYTES.get();
            let capacity = Capacity { orders, contracts: 0 };
            let engine = if exact { Engine::with_capacity(capacity) } else { Engine::new() };
            let bytes = bytes_per_order(book, engine, before, orders);
            println!("{book:?}, {orders} orders, room for exactly as many {exact}: {bytes:.1} bytes an order");
            assert!(!exact || bytes <= most, "{book:?}: {bytes}");
        }
    }
}
