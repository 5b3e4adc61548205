//! Views at every position of a market, straight from an engine, whatever the batches they were folded in.

use crate::check::{Told, check};
use crate::market::{INSTRUMENTS, Market};
use gollem_engine::{Engine, Event, Events, Input, InstrumentId, Price, Quantity, Side, Timestamp};
use gollem_projections::{Fold, Views};
use std::collections::BTreeMap;

/// Plays so many inputs of the market of that seed.
pub(crate) fn play(seed: u64, inputs: u64, mut see: impl FnMut(&Engine, u64, Timestamp, &Events)) -> Market {
    let (mut market, mut engine) = (Market::new(seed), Engine::default());
    let mut at = Timestamp(1_700_000_000_000_000_000);
    for seq in 1..=inputs {
        let mut events = Events::new();
        let command = market.next();
        engine.apply(&Input { seq, at, command }, &mut events);
        market.learn(&events);
        see(&engine, seq, at, &events);
        at.0 += market.pause();
    }
    market
}

#[test]
fn every_view_equals_the_engine_at_every_position() {
    let dir = tempfile::tempdir().unwrap();
    let views = Views::open(dir.path()).unwrap();
    let mut fold = Fold::new(&views).unwrap();
    let mut told = Told::default();
    let market = play(7, 3_000, |engine, seq, at, events| {
        fold.apply(seq, at, events).unwrap();
        told.inputs.push((seq, at, events.to_vec()));
        // Every position while it is small; then now and then, so that rows gather in memory too.
        if seq < 600 || seq.is_multiple_of(97) {
            fold.flush().unwrap();
            check(&views, engine);
        }
    });
    fold.flush().unwrap();
    told.check(&views);
    let wanted = [
        "order_replaced",
        "quote_restored",
        "quote_locked",
        "quote_released",
        "provider_measured",
        "breaker_changed",
        "payout_sent",
        "payout_confirmed",
        "payout_failed",
        "payout_returned",
        "refund_failed",
        "guard_rail_set",
        "guard_rails_reset",
        "key_limits_set",
        "instrument_state_changed",
    ];
    assert!(market.used > 0, "locks were used");
    assert!(wanted.iter().all(|kind| market.seen.contains_key(kind)), "{:?}", market.seen);
}

#[test]
fn queues_are_the_engine_s_in_many_markets() {
    for seed in 100..108 {
        let dir = tempfile::tempdir().unwrap();
        let views = Views::open(dir.path()).unwrap();
        let mut fold = Fold::new(&views).unwrap();
        play(seed, 2_000, |engine, seq, at, events| {
            fold.apply(seq, at, events).unwrap();
            if seq.is_multiple_of(41) {
                fold.flush().unwrap();
                check(&views, engine);
            }
        });
    }
}

#[test]
fn what_is_held_does_not_depend_on_how_it_was_batched() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let views = dirs.each_ref().map(|dir| Views::open(dir.path()).unwrap());
    let mut folds = views.each_ref().map(|views| Fold::new(views).unwrap());
    play(11, 3_000, |_, seq, at, events| {
        for fold in &mut folds {
            fold.apply(seq, at, events).unwrap();
        }
        folds[0].flush().unwrap();
        if seq.is_multiple_of(37) {
            folds[1].flush().unwrap();
        }
        if seq == 1_000 {
            // A new fold knows nothing but what is written.
            folds[1].flush().unwrap();
            folds[1] = Fold::new(&views[1]).unwrap();
        }
    });
    folds.iter_mut().for_each(|fold| fold.flush().unwrap());
    let [each, some, last] = views.each_ref().map(|views| views.content_hash().unwrap());
    assert_eq!(each, some);
    assert_eq!(each, last);
}

/// A book that knows nothing but the totals that events told of.
#[derive(Default)]
struct PlainBook(BTreeMap<(InstrumentId, Side), BTreeMap<Price, (Quantity, u32)>>);

impl PlainBook {
    fn take(&mut self, event: &Event) {
        if let Event::LevelChanged { instrument, side, price, quantity, orders } = *event {
            let levels = self.0.entry((instrument, side)).or_default();
            match orders {
                0 => levels.remove(&price),
                _ => levels.insert(price, (quantity, orders)),
            };
        }
    }

    /// Levels, best first.
    fn levels(&self, instrument: InstrumentId, side: Side) -> Vec<(Price, Quantity, u32)> {
        let levels = self.0.get(&(instrument, side)).into_iter().flatten();
        let mut levels: Vec<_> = levels.map(|(price, (quantity, orders))| (*price, *quantity, *orders)).collect();
        if side == Side::Bid {
            levels.reverse();
        }
        levels
    }
}

#[test]
fn depth_deltas_alone_rebuild_the_engine_s_book_at_every_position() {
    for seed in 0..10 {
        let mut book = PlainBook::default();
        play(seed, 5_000, |engine, seq, _, events| {
            events.iter().for_each(|event| book.take(event));
            for (instrument, side) in
                (1..=INSTRUMENTS).flat_map(|number| [Side::Bid, Side::Ask].map(|side| (InstrumentId(number), side)))
            {
                let levels = book.levels(instrument, side);
                assert_eq!(levels, engine.levels(instrument, side), "{instrument:?} {side:?} after {seq}");
            }
        });
    }
}
