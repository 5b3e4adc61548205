//! An engine that is written and read back goes on as if nothing had happened, wherever in a stream that is.

use crate::commands::Random;
use crate::compare::{START, Step, bytes, steps};
use gollem_engine::*;

fn written(engine: &Engine) -> Vec<u8> {
    let mut snapshot = Vec::new();
    engine.write_snapshot(&mut snapshot).expect("memory takes everything");
    snapshot
}

fn read_back(engine: &Engine) -> Engine {
    let snapshot = written(engine);
    let capacity = Capacity { orders: 100, contracts: 100 };
    let copy = Engine::read_snapshot_with(&mut snapshot.as_slice(), capacity).expect("a whole snapshot");
    assert_eq!(copy.state_hash(), engine.state_hash());
    assert_eq!((copy.orders(), copy.contracts()), (engine.orders(), engine.contracts()));
    assert!(written(&copy) == snapshot, "equal states have equal bytes");
    copy
}

/// The engine and its copies, each of another moment, do the same from there on. Returns how many copies were made.
pub(crate) fn goes_on(seed: u64, steps: Vec<Step>) -> usize {
    let (mut random, count) = (Random(seed ^ 0x5eed), steps.len());
    let (mut engine, mut copies, mut now) = (Engine::new(), Vec::new(), START);
    let mut made = 0;
    for (at, (wait, command)) in steps.into_iter().enumerate() {
        if random.below(count as u64 / 30) == 0 {
            // One goes on to the end, another starts from a copy of the copy.
            let chained = copies.last().map(read_back);
            copies.truncate(1);
            copies.extend(chained);
            copies.push(read_back(&engine));
            made += 1;
        }
        now += wait;
        let input = Input { seq: at as u64 + 1, at: Timestamp(now), command };
        let mut expected = Events::new();
        engine.apply(&input, &mut expected);
        for (number, copy) in copies.iter_mut().enumerate() {
            let mut actual = Events::new();
            copy.apply(&input, &mut actual);
            assert!(
                bytes(&actual) == bytes(&expected),
                "seed {seed}, step {at}, copy {number}: {input:?}\n{actual:#?}\ninstead of\n{expected:#?}"
            );
            if at % 50 == 0 {
                assert_eq!(copy.state_hash(), engine.state_hash(), "seed {seed}, step {at}, copy {number}");
            }
        }
    }
    for copy in &copies {
        assert_eq!(copy.state_hash(), engine.state_hash());
        for (instrument, _) in engine.instruments() {
            for side in [Side::Bid, Side::Ask] {
                assert_eq!(copy.levels(instrument, side), engine.levels(instrument, side));
            }
        }
        for account in (1..=engine.accounts() as u32).map(AccountId) {
            assert_eq!(copy.spending_windows(account), engine.spending_windows(account));
        }
    }
    made
}

#[test]
fn a_restored_engine_goes_on_like_one_that_never_stopped() {
    let count = if cfg!(debug_assertions) { 6_000 } else { 60_000 };
    let count = std::env::var("TWIN_COMMANDS").map_or(count, |count| count.parse().expect("a number"));
    let made: usize = [1, 2, 3, 4, 5, 42].into_iter().map(|seed| goes_on(seed, steps(seed, count))).sum();
    assert!(made > 50, "only {made} snapshots");
}
