//! A view folded from events, rebuilt from the journal, or caught up after a gap equals the engine's own state.

use gollem_engine::*;
use gollem_projections::{Fold, OrderStatus, Projector, Views};
use gollem_sequencer::{Feed, Options, Pinning, Sequencer};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const ACCOUNTS: u32 = 4;

fn options(dir: &Path) -> Options {
    Options { pinning: Pinning::Off, ..Options::new(dir.join("journal")) }
}

/// A small deterministic market: purchases, asks, bids, cancels and deliveries that collide.
fn commands(count: u64) -> Vec<Command> {
    let spec = InstrumentSpec {
        symbol: Symbol::new("m").unwrap(),
        weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
        tick: Price(1),
        reference_price: Price(1_000_000),
        quantity_max: Quantity(1_000),
        delivery_fee_bps: 100,
        contract_ttl_ns: 3_600_000_000_000,
    };
    let mut all = vec![Command::ListInstrument(spec)];
    all.extend((0..ACCOUNTS).map(|_| Command::OpenAccount));
    all.extend((1..=ACCOUNTS).map(|account| Command::PurchaseCredits {
        account: AccountId(account),
        amount: Amount(100_000_000_000),
        reference: Reference([account as u8; 16]),
    }));
    let mut state = 42_u64;
    all.extend((0..count).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random_command(state >> 16)
    }));
    all
}

fn random_command(random: u64) -> Command {
    let account = AccountId(1 + (random % u64::from(ACCOUNTS)) as u32);
    let (pick, number) = ((random >> 8) % 10, 1 + (random >> 12) % 300);
    let bid = Terms::Bid { constraints: Constraints::default(), single: random & 64 != 0 };
    let ask = Terms::Ask { attributes: Attributes::default() };
    match pick {
        0 => Command::CancelOrder { account, order: OrderId(number) },
        1 => Command::RequestPayout { account, amount: None },
        2..4 => Command::ReportDelivery(DeliveryReport {
            contract: ContractId(number),
            quantity: Quantity(random >> 32 & 15),
            first_token_ms: None,
            throughput_tps: None,
            outcome: Outcome::Completed,
            last: random & 128 != 0,
        }),
        _ => Command::PlaceOrder(NewOrder {
            account,
            instrument: InstrumentId(1),
            client_id: None,
            limit: Some(Price(1_000_000 + (random >> 24) % 8 * 1_000)),
            quantity: Quantity(1 + (random >> 28) % 40),
            time_in_force: if random & 32 == 0 { TimeInForce::Gtc } else { TimeInForce::Ioc },
            terms: if pick < 7 { bid } else { ask },
        }),
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
        let expected: Vec<&Order> = engine.orders().values().rev().filter(|order| order.account == account).collect();
        assert_eq!(open.iter().map(|row| &row.order).collect::<Vec<_>>(), expected);
        let all = views.orders(account, false, None, usize::MAX).unwrap();
        assert_eq!(all.iter().filter(|row| row.status == OrderStatus::Open).count(), open.len());
    }
    for side in [Side::Bid, Side::Ask] {
        let rows = views.levels(InstrumentId(1), side, usize::MAX).unwrap();
        let levels: Vec<_> = rows.iter().map(|row| (row.price, row.quantity, row.orders)).collect();
        assert_eq!(levels, engine.levels(InstrumentId(1), side), "{side:?}");
    }
    assert_eq!(views.instruments().unwrap().len(), engine.instruments().count());
}

/// Runs commands through a pipeline whose feed has room for `batches` and a backlog of `backlog` inputs, with a
/// projector that starts after `late` commands, and compares.
fn run(batches: usize, backlog: usize, late: usize) {
    let dir = tempfile::tempdir().unwrap();
    let views = Arc::new(Views::open(&dir.path().join("views")).unwrap());
    let (feed, reader) = Feed::new(batches, backlog);
    let options = options(dir.path());
    let sequencer = Sequencer::start(&options, 0, Some(feed), &mut |_, _, _| {}).unwrap();
    let all = commands(3_000);
    let (before, after) = all.split_at(late);
    let send = |commands: &[Command]| {
        for command in commands {
            sequencer.ingress().submit(command.clone()).unwrap().wait().unwrap();
        }
    };
    send(before);
    let status = sequencer.status();
    let projector = Projector::start(Arc::clone(&views), reader, status.clone(), options.journal_dir.clone()).unwrap();
    send(after);
    let view = projector.view();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let reached = runtime.block_on(view.reached(status.durable_seq(), Duration::from_secs(60)));
    assert!(reached, "stuck at {}", view.watermark());
    let stopped = sequencer.stop().unwrap();
    projector.join();
    check(&views, &stopped.engine);
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
    run(1, 1, 3_009);
}

#[test]
fn a_deleted_view_is_rebuilt_by_recovery_and_repeated_inputs_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let sequencer = Sequencer::start(&options, 0, None, &mut |_, _, _| {}).unwrap();
    for command in commands(2_000) {
        sequencer.ingress().submit(command).unwrap().wait().unwrap();
    }
    sequencer.stop().unwrap();
    let views = Views::open(&dir.path().join("views")).unwrap();
    for round in 0..2 {
        let mut fold = Fold::new(&views).unwrap();
        let witnessed = views.watermark().unwrap();
        let sequencer = Sequencer::start(&options, witnessed, None, &mut |seq, at, events| {
            fold.apply(seq, at, events).unwrap();
        });
        fold.flush().unwrap();
        check(&views, &sequencer.unwrap().stop().unwrap().engine);
        assert!(round == 1 || witnessed == 0);
    }
}

#[test]
fn a_journal_that_ends_below_what_a_view_has_seen_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let sequencer = Sequencer::start(&options, 0, None, &mut |_, _, _| {}).unwrap();
    let last = sequencer.ingress().submit(Command::OpenAccount).unwrap().wait().unwrap().seq;
    sequencer.stop().unwrap();
    let refused = Sequencer::start(&options, last + 1, None, &mut |_, _, _| {});
    assert!(refused.is_err(), "the journal lost what a view has seen");
}
