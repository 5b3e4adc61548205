//! A view folded from events, rebuilt from the journal, or caught up after a gap equals the engine's own state.

use crate::check::check;
use crate::market::{ACCOUNTS, Market, OPENING};
use gollem_engine::*;
use gollem_projections::{Fold, Projector, Views};
use gollem_sequencer::{Feed, Observer, Options, Pinning, Sequencer};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn options(dir: &Path) -> Options {
    Options { pinning: Pinning::Off, ..Options::new(dir.join("journal")) }
}

/// Sends so many further commands of a market through the pipeline.
pub(crate) fn play(market: &mut Market, sequencer: &Sequencer, count: usize) {
    for _ in 0..count {
        let ack = sequencer.ingress().submit(market.next()).unwrap().wait().unwrap();
        market.learn(ack.events());
    }
}

/// The market came to what it is there to show: each kind of balance, partly filled orders.
fn check_variety(views: &Views, engine: &Engine) {
    let reader = views.read().unwrap();
    let balances: Vec<Balance> = (1..=ACCOUNTS).map(|account| reader.balance(AccountId(account)).unwrap()).collect();
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
    let mut market = Market::new(42);
    play(&mut market, &sequencer, late);
    let status = sequencer.status();
    let projector = Projector::start(Arc::clone(&views), reader, status.clone(), options.journal_dir.clone()).unwrap();
    play(&mut market, &sequencer, OPENING + 3_000 - late);
    let view = projector.view();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let reached = runtime.block_on(view.reached(status.durable_seq(), Duration::from_secs(60)));
    assert!(reached, "stuck at {}", view.watermark());
    let stopped = sequencer.stop().unwrap();
    projector.join();
    check(&views, &stopped.engine);
    check_variety(&views, &stopped.engine);
    assert!(
        ["order_replaced", "breaker_changed"].iter().all(|kind| market.seen.contains_key(kind)),
        "{:?}",
        market.seen
    );
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
    play(&mut Market::new(42), &sequencer, 2_000);
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
