//! Many small asks in the way of `single` bids: where an ask is kept changes, what is traded does not.

use crate::commands::Random;
use crate::compare::{START, Step, compare};
use crate::snapshot::goes_on;
use gollem_engine::naive::Twin;
use gollem_engine::*;

/// A plain market, two buyers and a provider with money.
fn opening() -> Vec<Command> {
    let spec = InstrumentSpec {
        symbol: Symbol::new("small").unwrap(),
        weights: TokenWeights { input: 1_000, cached_input: 1_000, output: 1_000 },
        tick: Price(1),
        price_max: Price(1_000),
        reference_price: Price(100),
        band_bps: 0,
        lot: Quantity(1),
        quantity_min: Quantity(1),
        quantity_max: Quantity(1_000),
        maker_fee_bps: 5,
        taker_fee_bps: 10,
        delivery_fee_bps: 0,
        tolerance_bps: 0,
        rebate_bps: 0,
        contract_ttl_ns: 1_000_000_000_000,
    };
    let mut commands = vec![Command::ListInstrument(Box::new(spec))];
    for account in 1..=3_u8 {
        commands.push(Command::OpenAccount);
        commands.push(Command::PurchaseCredits {
            account: AccountId(account.into()),
            amount: Amount(limits::PURCHASE_ATOMS_MAX),
            reference: Reference([account; 16]),
        });
    }
    commands
}

/// Mostly asks of a few units, seldom large ones; bids that want all of theirs from one ask, and some that do not.
fn order(random: &mut Random) -> NewOrder {
    let is_ask = random.below(100) < 75;
    let large = random.one_in(if is_ask { 40 } else { 2 });
    // Some asks are of another class in the same category, so that they share an index with those that are moved.
    let latency_ms = if random.one_in(10) { 500 } else { 400 };
    let attributes = Attributes { latency_ms, throughput_tps: 60, ..Attributes::default() };
    let (constraints, preference) = (Constraints::default(), Preference::Price);
    let time_in_force = [TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok][random.weighted(&[6, 2, 1])];
    let single = random.below(10) < 7;
    NewOrder {
        account: AccountId(if is_ask { 1 } else { 2 + random.below(2) as u32 }),
        key: KeyId(0),
        instrument: InstrumentId(1),
        client_id: None,
        limit: Some(Price(if is_ask { random.within(95, 120) } else { random.within(90, 125) })),
        quantity: Quantity(if large { random.within(10, 30) } else { random.within(1, 4) }),
        min_quantity: Quantity(0),
        time_in_force: if is_ask { TimeInForce::Gtc } else { time_in_force },
        post_only: !is_ask && time_in_force == TimeInForce::Gtc && random.one_in(4),
        cancel_on_disconnect: false,
        self_trade: SelfTrade::Allow,
        terms: if is_ask { Terms::Ask { attributes } } else { Terms::Bid { constraints, preference, single } },
    }
}

fn steps(seed: u64, count: usize) -> Vec<Step> {
    let (mut random, mut twin, mut steps) = (Random(seed), Twin::new(), Vec::new());
    let mut opening = opening().into_iter();
    for seq in 1..=count as u64 {
        let open: Vec<_> = twin.open_orders().map(|order| (order.account, order.id)).collect();
        let command = opening.next().unwrap_or_else(|| match (random.below(10), random.one_of(&open)) {
            (0, Some((account, order))) => Command::CancelOrder { account, order },
            (1, Some((account, order))) => {
                let limit = Some(Price(random.within(90, 125)));
                Command::ReplaceOrder(Replacement { account, order, limit, quantity: None })
            }
            (2, Some((account, order))) => {
                let quantity = Some(Quantity(random.within(1, 30)));
                Command::ReplaceOrder(Replacement { account, order, limit: None, quantity })
            }
            _ => Command::PlaceOrder(order(&mut random)),
        });
        steps.push((1_000, command.clone()));
        twin.apply(&Input { seq, at: Timestamp(START + seq * 1_000), command }, &mut Vec::new());
    }
    steps
}

#[test]
fn single_bids_find_past_many_small_asks_what_the_twin_finds() {
    for seed in 1..=12 {
        compare(seed, &steps(seed, 2_500));
    }
}

#[test]
fn a_restored_engine_finds_past_small_asks_like_one_that_never_stopped() {
    let made: usize = (13..=16).map(|seed| goes_on(seed, steps(seed, 2_500))).sum();
    assert!(made > 50, "only {made} snapshots");
}
