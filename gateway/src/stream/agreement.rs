//! The market data are what the views are, at every position, for accounts too that were looked up in the middle; and who
//! reads a channel now and then has what it shows.

use super::*;
use crate::stream::private::Found;
use gollem_engine::{AccountId, Engine, Events, Input};
use gollem_projections::{Fold, OrderRow, Views};
use std::collections::BTreeMap;

#[path = "../../../projections/tests/views/market.rs"]
#[expect(dead_code, reason = "the views' tests look at more of it")]
mod random;

/// Levels as a reader has them.
type Read = BTreeMap<String, Value>;

/// An engine with views and market data behind it.
struct World {
    commands: random::Market,
    engine: Engine,
    events: Events,
    now: u64,
    market: Market,
}

impl World {
    fn new(seed: u64) -> World {
        let (commands, events) = (random::Market::new(seed), Events::default());
        World { commands, engine: Engine::new(), events, now: 1_790_000_000_000_000_000, market: Market::default() }
    }

    fn step(&mut self, fold: &mut Fold<'_>) {
        self.now += self.commands.pause();
        let (seq, at) = (self.engine.last_seq() + 1, Timestamp(self.now));
        self.events.clear();
        self.engine.apply(&Input { seq, at, command: self.commands.next() }, &mut self.events);
        fold.apply(seq, at, &self.events).unwrap();
        self.market.apply(seq, at, &self.events);
        self.commands.learn(&self.events);
    }
}

fn open_orders(reader: &Reader<'_>, account: AccountId) -> Vec<OrderRow> {
    // Where an order queues is the views' own affair.
    let rows = reader.orders(account, true, Page::newest(usize::MAX)).unwrap();
    rows.into_iter().map(|row| OrderRow { place: None, ..row }).collect()
}

fn check(market: &mut Market, reader: &Reader<'_>, accounts: &[AccountId]) {
    market.flush();
    assert_eq!(market.position(), reader.seq());
    let expected = Market::load(reader).unwrap();
    assert_eq!(market.listed.len(), expected.listed.len());
    for (listed, expected) in market.listed.iter().zip(&expected.listed) {
        assert_eq!((&listed.symbol, &listed.book), (&expected.symbol, &expected.book));
        assert_eq!((listed.last, listed.candles), (expected.last, expected.candles));
    }
    for account in accounts {
        let mut own = market.private.orders_of(*account);
        own.sort_unstable_by_key(|row| std::cmp::Reverse(row.order.id));
        assert_eq!(own, open_orders(reader, *account), "{account:?}");
        assert_eq!(market.private.balance(*account), Some(words::balance(&reader.balance(*account).unwrap())));
    }
}

/// Applies a snapshot or an update.
fn follow(read: &mut Read, seq: &mut u64, text: &str) {
    let message: Value = serde_json::from_str(text).unwrap();
    if message["type"] == "snapshot" {
        read.clear();
    } else {
        assert_eq!(message["prev"], *seq, "{text}");
    }
    *seq = message["seq"].as_u64().unwrap();
    for side in ["bids", "asks"] {
        for level in message[side].as_array().unwrap() {
            let key = format!("{side} {}", level[0]);
            if level[1] == 0 { drop(read.remove(&key)) } else { drop(read.insert(key, level.clone())) }
        }
    }
}

#[test]
fn the_market_data_are_what_the_views_are_and_readers_have_what_is_shown() {
    let mut locks_used = 0;
    for seed in 1..=4 {
        let dir = tempfile::tempdir().unwrap();
        let views = Views::open(&dir.path().join("views")).unwrap();
        let (mut world, mut fold) = (World::new(seed), Fold::new(&views).unwrap());
        let mut watched = Vec::new();
        (0..200).for_each(|_| world.step(&mut fold));
        let key = Key::Book(InstrumentId(1), 0);
        let begun = world.market.subscribe(key, None).unwrap();
        let (mut place, mut read, mut seq) = (begun.place, Read::new(), 0);
        follow(&mut read, &mut seq, &begun.snapshot.unwrap());
        for round in 1..=24_u32 {
            // Every fourth round an account is looked up while things happen.
            let looked_up = (round % 4 == 0).then_some(AccountId(round / 4)).filter(|id| id.0 <= random::ACCOUNTS);
            let began = world.market.position();
            looked_up.inspect(|_| world.market.private.begin_lookup(began));
            (0..20).for_each(|_| world.step(&mut fold));
            fold.flush().unwrap();
            let found = looked_up.map(|account| {
                let reader = views.read().unwrap();
                let (orders, balance) = (open_orders(&reader, account), reader.balance(account).unwrap());
                Found { seq: reader.seq(), orders, balance }
            });
            for _ in 0..90 {
                world.step(&mut fold);
                world.market.flush();
            }
            if let Some(account) = looked_up {
                assert!(world.market.private.end_lookup(account, began, found));
                world.market.subscribe(Key::Orders(account), None).unwrap();
                watched.push(account);
            }
            fold.flush().unwrap();
            check(&mut world.market, &views.read().unwrap(), &watched);
            let mut out = Vec::new();
            while begun.topic.read(&mut place, &mut out).unwrap() {}
            assert!(out.len() < 90, "what waited was merged");
            out.iter().for_each(|text| follow(&mut read, &mut seq, text));
            let (mut now, mut at) = (Read::new(), 0);
            follow(&mut now, &mut at, &world.market.subscribe(key, None).unwrap().snapshot.unwrap());
            assert_eq!((&read, seq), (&now, at), "seed {seed}, round {round}");
        }
        assert_eq!(watched.len(), random::ACCOUNTS as usize);
        locks_used += world.commands.used;
    }
    assert!(locks_used > 0, "it came to something");
}
