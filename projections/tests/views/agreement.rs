//! A view folded from events, rebuilt from the journal, or caught up after a gap equals the engine's own state.

use gollem_engine::limits::PURCHASE_ATOMS_MIN;
use gollem_engine::*;
use gollem_projections::{Fold, OrderStatus, Projector, Views};
use gollem_sequencer::{Feed, Observer, Options, Pinning, Sequencer};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const ACCOUNTS: u32 = 4;

fn options(dir: &Path) -> Options {
    Options { pinning: Pinning::Off, ..Options::new(dir.join("journal")) }
}

/// A small deterministic market: orders of all kinds, changes of them, deliveries and money that collide. It learns the
/// numbers of orders and contracts from what its commands did.
struct Market {
    random: u64,
    /// The commands that open it, last first.
    opening: Vec<Command>,
    orders: Vec<(AccountId, OrderId)>,
    contracts: Vec<ContractId>,
    /// Replaced orders, changes of breakers, broken promises.
    seen: [usize; 3],
}

/// Commands that open a [`Market`].
const OPENING: usize = 1 + 2 * ACCOUNTS as usize;

impl Market {
    fn new() -> Market {
        let spec = InstrumentSpec {
            symbol: Symbol::new("m").unwrap(),
            weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
            tick: Price(100_000),
            price_max: Price(200_000_000),
            reference_price: Price(100_000_000),
            band_bps: 0,
            lot: Quantity(1),
            quantity_min: Quantity(1),
            quantity_max: Quantity(1_000),
            maker_fee_bps: 10,
            taker_fee_bps: 20,
            delivery_fee_bps: 100,
            tolerance_bps: 1_000,
            rebate_bps: 500,
            contract_ttl_ns: 3_600_000_000_000,
        };
        let purchase = |account| Command::PurchaseCredits {
            account: AccountId(account),
            amount: Amount(PURCHASE_ATOMS_MIN),
            reference: reference(account),
        };
        let mut opening: Vec<Command> = (1..=ACCOUNTS).map(purchase).collect();
        opening.extend((0..ACCOUNTS).map(|_| Command::OpenAccount));
        opening.push(Command::ListInstrument(Box::new(spec)));
        Market { random: 42, opening, orders: Vec::new(), contracts: Vec::new(), seen: [0; 3] }
    }

    /// Sends so many further commands through the pipeline.
    fn play(&mut self, sequencer: &Sequencer, count: usize) {
        for _ in 0..count {
            let command = self.next();
            let ack = sequencer.ingress().submit(command).unwrap().wait().unwrap();
            for event in ack.events() {
                match event {
                    Event::OrderAccepted(order) => self.orders.push((order.account, order.id)),
                    Event::Traded(trade) => self.contracts.push(trade.contract),
                    Event::OrderReplaced { .. } => self.seen[0] += 1,
                    Event::BreakerChanged { .. } => self.seen[1] += 1,
                    Event::Delivered { rebate, .. } if *rebate > Amount::ZERO => self.seen[2] += 1,
                    _ => {}
                }
            }
        }
    }

    fn next(&mut self) -> Command {
        if let Some(command) = self.opening.pop() {
            return command;
        }
        let random = self.draw();
        let account = AccountId(1 + (random % u64::from(ACCOUNTS)) as u32);
        let price = Price(98_000_000 + (random >> 24) % 40 * 100_000);
        let quantity = Quantity(1 + (random >> 28) % 40);
        match (random >> 8) % 16 {
            0 => self.recent_order().map_or(Command::Tick, |(account, order)| Command::CancelOrder { account, order }),
            1 => Command::RequestPayout { account, amount: None },
            2..5 => self.delivery(random),
            5 | 6 => self.recent_order().map_or(Command::Tick, |(account, order)| {
                let (limit, quantity) = (Some(price).filter(|_| random & 1 == 0), Some(quantity));
                Command::ReplaceOrder(Replacement { account, order, limit, quantity })
            }),
            7 => rare_command(random, account, price),
            _ => Command::PlaceOrder(order(random, account, price, quantity)),
        }
    }

    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random >> 16
    }

    fn recent_order(&mut self) -> Option<(AccountId, OrderId)> {
        let recent = self.orders.len().min(30);
        let back = 1 + self.draw() as usize % recent.max(1);
        self.orders.get(self.orders.len().wrapping_sub(back)).copied()
    }

    fn delivery(&mut self, random: u64) -> Command {
        let recent = self.contracts.len().min(40);
        let back = 1 + self.draw() as usize % recent.max(1);
        let Some(contract) = self.contracts.get(self.contracts.len().wrapping_sub(back)) else { return Command::Tick };
        Command::ReportDelivery(DeliveryReport {
            contract: *contract,
            quantity: Quantity(random >> 32 & 7),
            first_token_ms: Some(50 + (random >> 36) as u32 % 100),
            throughput_tps: None,
            outcome: if random & 1 == 0 { Outcome::Completed } else { Outcome::Failed },
            last: random & 128 != 0,
        })
    }
}

fn reference(number: u32) -> Reference {
    Reference(u128::from(number).to_le_bytes())
}

fn order(random: u64, account: AccountId, price: Price, quantity: Quantity) -> NewOrder {
    let modes = [SelfTrade::Allow, SelfTrade::CancelNewest, SelfTrade::CancelOldest, SelfTrade::Decrement];
    let constraints = Constraints { max_latency_ms: Some(120).filter(|_| random & 512 != 0), ..Constraints::default() };
    let bid = Terms::Bid { constraints, preference: Preference::Latency, single: random & 64 != 0 };
    let ask = Terms::Ask { attributes: Attributes { latency_ms: 100, ..Attributes::default() } };
    NewOrder {
        account,
        key: KeyId(0),
        instrument: InstrumentId(1),
        client_id: None,
        limit: Some(price),
        quantity,
        min_quantity: Quantity(0),
        time_in_force: if random & 32 == 0 { TimeInForce::Gtc } else { TimeInForce::Ioc },
        post_only: false,
        cancel_on_disconnect: random & 1 == 0,
        self_trade: modes[(random >> 4) as usize % modes.len()],
        terms: if random & 1024 == 0 { bid } else { ask },
    }
}

/// What happens now and then: markets restricted, credit lines, disputes.
fn rare_command(random: u64, account: AccountId, price: Price) -> Command {
    let instrument = InstrumentId(1);
    let number = (random >> 40) as u32 % 20;
    let purchase = reference(account.0);
    match (random >> 32) % 12 {
        0 => Command::CancelOrders { account, instrument: None, side: Some(Side::Bid) },
        1 => Command::SetReferencePrice { instrument, price },
        2 => Command::SetInstrumentState { instrument, state: InstrumentState::CancelOnly },
        3 | 4 => {
            let policy = CreditPolicy { overage_cap: Amount(PURCHASE_ATOMS_MIN), auto_renew: false };
            Command::SetCreditPolicy { account, policy }
        }
        5 => {
            let amount = Amount(PURCHASE_ATOMS_MIN / 4);
            Command::OpenDispute { purchase, amount, reference: reference(100 + number) }
        }
        6 => Command::ResolveDispute { reference: reference(100 + number), won: random & 1 == 0 },
        7 => {
            let amount = Amount(PURCHASE_ATOMS_MIN / 10);
            Command::RefundPurchase { purchase, amount, reference: reference(200 + number) }
        }
        _ => Command::SetInstrumentState { instrument, state: InstrumentState::Open },
    }
}

/// Compares every view with the engine.
fn check(views: &Views, engine: &Engine) {
    assert_eq!(views.watermark().unwrap(), engine.last_seq());
    for account in (1..=ACCOUNTS).map(AccountId) {
        assert_eq!(views.balance(account).unwrap(), *engine.balance(account).unwrap());
        let moved: i64 = views
            .transactions(account, None, usize::MAX)
            .unwrap()
            .iter()
            .map(|row| {
                let at = |ledger: LedgerAccount| {
                    if ledger == LedgerAccount::Available(account) { 1 } else { 0 }
                };
                (at(row.transfer.credit) - at(row.transfer.debit)) * row.transfer.amount.0
            })
            .sum();
        assert_eq!(moved, engine.balance(account).unwrap().available.0, "the lines add up to the balance");
        let open = views.orders(account, true, None, usize::MAX).unwrap();
        let expected: Vec<_> =
            engine.orders().iter().rev().filter(|order| order.account == account).map(of_engine).collect();
        assert_eq!(open.iter().map(|row| of_view(&row.order)).collect::<Vec<_>>(), expected);
        let all = views.orders(account, false, None, usize::MAX).unwrap();
        assert_eq!(all.iter().filter(|row| row.status == OrderStatus::Open).count(), open.len());
    }
    for side in [Side::Bid, Side::Ask] {
        let rows = views.levels(InstrumentId(1), side, usize::MAX).unwrap();
        let levels: Vec<_> = rows.iter().map(|row| (row.price, row.quantity, row.orders)).collect();
        assert_eq!(levels, engine.levels(InstrumentId(1), side), "{side:?}");
    }
    let listed = views.instruments().unwrap();
    let rows = listed.iter().map(|row| (row.id, &row.spec));
    assert!(rows.eq(engine.instruments()), "{listed:?}");
    assert!(listed.iter().all(|row| engine.instrument_state(row.id) == Some(row.state)), "{listed:?}");
}

/// What the view and the engine both know of an open order.
type Known = (OrderId, InstrumentId, Price, Quantity, Quantity, Terms);

fn of_view(order: &Order) -> Known {
    (order.id, order.instrument, order.price, order.quantity, order.remaining, order.terms)
}

fn of_engine(order: &OpenOrder) -> Known {
    (order.id, order.instrument, order.price, order.quantity, order.remaining, order.terms)
}

/// The market came to what it is there to show: each kind of balance, replaced orders, parked asks.
fn check_variety(views: &Views, engine: &Engine) {
    let balances: Vec<Balance> = (1..=ACCOUNTS).map(|account| views.balance(AccountId(account)).unwrap()).collect();
    let any = |of: fn(&Balance) -> Amount| balances.iter().any(|balance| of(balance).0 > 0);
    assert!(any(|of| of.owed) && any(|of| of.held) && any(|of| of.escrow) && any(|of| of.earned), "{balances:?}");
    assert!(engine.orders().iter().any(|order| order.quantity != order.remaining), "partly filled");
}

/// Runs commands through a pipeline whose feed has room for `batches` and a backlog of `backlog` inputs, with a
/// projector that starts after `late` commands, and compares.
fn run(batches: usize, backlog: usize, late: usize) {
    let dir = tempfile::tempdir().unwrap();
    let views = Arc::new(Views::open(&dir.path().join("views")).unwrap());
    let (feed, reader) = Feed::new(batches, backlog);
    let options = options(dir.path());
    let sequencer = Sequencer::start(&options, 0, Some(feed), None).unwrap();
    let mut market = Market::new();
    market.play(&sequencer, late);
    let status = sequencer.status();
    let projector = Projector::start(Arc::clone(&views), reader, status.clone(), options.journal_dir.clone()).unwrap();
    market.play(&sequencer, OPENING + 3_000 - late);
    let view = projector.view();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let reached = runtime.block_on(view.reached(status.durable_seq(), Duration::from_secs(60)));
    assert!(reached, "stuck at {}", view.watermark());
    let stopped = sequencer.stop().unwrap();
    projector.join();
    check(&views, &stopped.engine);
    check_variety(&views, &stopped.engine);
    assert!(market.seen.iter().all(|seen| *seen > 0), "{:?}", market.seen);
}

#[test]
fn a_view_fed_every_batch_equals_the_engine() {
    run(1 << 16, 0, 0);
}

#[test]
fn a_view_that_missed_batches_reads_them_from_the_journal() {
    run(1, 1, 2_500);
}

#[test]
fn a_view_that_was_slow_gets_the_backlog() {
    run(1, 1 << 16, 2_500);
}

#[test]
fn a_view_that_missed_the_newest_batches_notices_without_another() {
    run(1, 1, OPENING + 3_000);
}

#[test]
fn a_deleted_view_is_rebuilt_by_recovery_and_repeated_inputs_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let sequencer = Sequencer::start(&options, 0, None, None).unwrap();
    Market::new().play(&sequencer, 2_000);
    sequencer.stop().unwrap();
    let views = Views::open(&dir.path().join("views")).unwrap();
    for round in 0..2 {
        let mut fold = Fold::new(&views).unwrap();
        let witnessed = views.watermark().unwrap();
        let mut tell = |seq, at, events: &[Event]| fold.apply(seq, at, events).unwrap();
        let observer = Observer { after: witnessed, tell: &mut tell };
        let sequencer = Sequencer::start(&options, witnessed, None, Some(observer));
        fold.flush().unwrap();
        check(&views, &sequencer.unwrap().stop().unwrap().engine);
        assert!(round == 1 || witnessed == 0);
    }
}

#[test]
fn a_journal_that_ends_below_what_a_view_has_seen_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let sequencer = Sequencer::start(&options, 0, None, None).unwrap();
    let last = sequencer.ingress().submit(Command::OpenAccount).unwrap().wait().unwrap().seq;
    sequencer.stop().unwrap();
    let refused = Sequencer::start(&options, last + 1, None, None);
    assert!(refused.is_err(), "the journal lost what a view has seen");
}
