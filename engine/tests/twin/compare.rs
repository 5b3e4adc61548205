//! The engine against its naive twin: the same inputs must give equal events, to the byte, and equal ledgers.
//!
//! A failure is shrunk: inputs are left out as long as the two still differ, and what is left is printed.

use crate::commands::{Random, command};
use gollem_engine::naive::Twin;
use gollem_engine::*;

/// Seeds that once found something, and some that did not.
const KEPT_SEEDS: [u64; 8] = [1, 2, 3, 4, 5, 42, 1_001, 20_261_122];

/// A command and the time since the one before.
pub(crate) type Step = (u64, Command);

/// Steps of a seed, generated beside a twin so that they name what exists.
pub(crate) fn steps(seed: u64, count: usize) -> Vec<Step> {
    let (mut random, mut twin, mut now, mut steps) = (Random(seed), Twin::new(), START, Vec::new());
    for seq in 1..=count as u64 {
        let (wait, mut command) = command(&mut random, &twin);
        if seed.is_multiple_of(2) {
            make_plain(&mut command, seq);
        }
        now += wait;
        steps.push((wait, command.clone()));
        twin.apply(&Input { seq, at: Timestamp(now), command }, &mut Vec::new());
    }
    steps
}

/// Streams of even seeds have plain books: all asks promise the same and bids demand nothing, which is what the engine
/// has its shortest ways for. Now and then an order is left as it is, so that books stop being plain midway.
fn make_plain(command: &mut Command, seq: u64) {
    let locks = matches!(command, Command::LockQuote(_) | Command::PlaceChosen { .. });
    let order = match command {
        Command::PlaceOrder(order) => order,
        Command::LockQuote(order) | Command::PlaceChosen { order, .. } => order,
        _ => return,
    };
    if seq % 20_000 > 15_000 && seq.is_multiple_of(7) {
        return;
    }
    order.terms = match order.terms {
        Terms::Ask { .. } => {
            let attributes = Attributes { latency_ms: 400, throughput_tps: 60, ..Attributes::default() };
            Terms::Ask { attributes }
        }
        Terms::Bid { single, .. } => {
            let (constraints, preference) = (Constraints::default(), Preference::Price);
            Terms::Bid { constraints, preference, single: single && (locks || seq.is_multiple_of(5)) }
        }
    };
}

pub(crate) const START: u64 = 1_700_000_000_000_000_000;

/// The first step after which the two differ, and how.
fn first_difference(steps: &[Step]) -> Option<(usize, String)> {
    let (mut engine, mut twin, mut now) = (Engine::new(), Twin::new(), START);
    for (at, (wait, command)) in steps.iter().enumerate() {
        now += wait;
        let input = Input { seq: at as u64 + 1, at: Timestamp(now), command: command.clone() };
        let (mut actual, mut expected) = (Events::new(), Vec::new());
        twin.apply(&input, &mut expected);
        engine.apply(&input, &mut actual);
        if let Some(difference) = difference(&engine, &twin, &actual, &expected) {
            return Some((at, difference));
        }
        if at % 1_000 == 999 {
            assert_eq!(engine.state_hash(), engine.checkpoint(), "asking for the hash does not change it");
        }
    }
    None
}

pub(crate) fn bytes(events: &[Event]) -> Vec<u8> {
    bincode::encode_to_vec(events, bincode::config::legacy()).unwrap()
}

fn difference(engine: &Engine, twin: &Twin, actual: &[Event], expected: &[Event]) -> Option<String> {
    if bytes(actual) != bytes(expected) {
        let lines = |events: &[Event]| events.iter().map(|event| format!("    {event:?}\n")).collect::<String>();
        return Some(format!("events of the engine:\n{}events of the twin:\n{}", lines(actual), lines(expected)));
    }
    for account in (1..=twin.accounts() as u32).map(AccountId) {
        let (own, other) = (engine.balance(account), twin.balance(account));
        if own != other {
            return Some(format!("{account:?} has {own:?} in the engine and {other:?} in the twin"));
        }
    }
    if (engine.accounts(), engine.ledger_sum(), engine.fees()) != (twin.accounts(), 0, twin.fees()) {
        return Some("the ledgers differ".to_owned());
    }
    for (instrument, _) in engine.instruments() {
        for side in [Side::Bid, Side::Ask] {
            let (own, other) = (engine.levels(instrument, side), twin.levels(instrument, side));
            if own != other {
                return Some(format!("{side:?} levels {own:?} in the engine and {other:?} in the twin"));
            }
        }
    }
    if !engine.payouts().map(|(id, _)| id).eq(twin.pending_payouts()) {
        return Some("pending payouts differ".to_owned());
    }
    let mut own: Vec<_> = engine
        .locks()
        .map(|lock| (lock.order.id, lock.order.account, lock.contract.escrow, lock.contract.expires_at))
        .collect();
    own.sort_unstable();
    if !own.iter().copied().eq(twin.open_locks()) {
        return Some(format!("open locks {own:?} in the engine"));
    }
    let own: Vec<_> = engine.orders().iter().map(|order| (order.id, order.remaining, order.price)).collect();
    let other: Vec<_> = twin.open_orders().map(|order| (order.id, order.remaining, order.price)).collect();
    (own != other).then(|| format!("open orders {own:?} in the engine and {other:?} in the twin"))
}

/// Leaves out steps as long as the rest still differs (or panics): halves first, then single ones.
fn shrink(mut steps: Vec<Step>) -> (Vec<Step>, String) {
    let mut found = check(&steps).expect("there is something to shrink");
    let mut chunk = steps.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            let gone: u64 = fewer.drain(at..(at + chunk).min(steps.len())).map(|(wait, _)| wait).sum();
            if let Some((wait, _)) = fewer.get_mut(at) {
                *wait += gone; // The rest keeps its time.
            }
            match check(&fewer) {
                Some((last, difference)) => {
                    fewer.truncate(last + 1);
                    (steps, found) = (fewer, (last, difference));
                }
                None => at += chunk,
            }
        }
        chunk /= 2;
    }
    (steps, found.1)
}

/// The same as [`first_difference`], with a panic as a difference too.
fn check(steps: &[Step]) -> Option<(usize, String)> {
    let outcome = std::panic::catch_unwind(|| first_difference(steps));
    outcome.unwrap_or_else(|_| Some((steps.len() - 1, "a panic".to_owned())))
}

/// Panics with the shortest story of a difference, if there is one.
pub(crate) fn compare(seed: u64, steps: &[Step]) {
    if let Some((at, _)) = check(steps) {
        let (shrunk, difference) = shrink(steps[..=at].to_vec());
        let story: String = shrunk.iter().map(|(wait, command)| format!("  +{wait} {command:?}\n")).collect();
        panic!("seed {seed} differs at step {at}; shrunk to {} steps:\n{story}{difference}", shrunk.len());
    }
}

/// A million commands in a release build; fewer in a debug build, which is twenty times slower.
fn volume() -> usize {
    let default = if cfg!(debug_assertions) { 40_000 } else { 1_000_000 };
    std::env::var("TWIN_COMMANDS").map_or(default, |count| count.parse().expect("TWIN_COMMANDS is a number"))
}

#[test]
fn the_engine_does_what_its_naive_twin_does() {
    match std::env::var("TWIN_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("TWIN_SEED is a number");
            compare(seed, &steps(seed, volume()));
        }
        Err(_) => KEPT_SEEDS.iter().for_each(|seed| compare(*seed, &steps(*seed, volume() / KEPT_SEEDS.len()))),
    }
}
