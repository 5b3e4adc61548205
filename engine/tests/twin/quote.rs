//! What the engine says that a bid could take, against looking at every open ask, and against what it then takes.

use crate::commands::{Random, command, new_order};
use crate::compare::START;
use gollem_engine::naive::Twin;
use gollem_engine::*;
use std::cmp::Reverse;

/// What an ask counts with.
fn effective(ask: &OpenOrder) -> Attributes {
    ask.effective.expect("an ask has effective attributes")
}

/// Price, latency, throughput: less is better.
fn measures(ask: &OpenOrder) -> (Price, u32, Reverse<u32>) {
    let effective = effective(ask);
    (ask.price, effective.latency_ms, Reverse(effective.throughput_tps))
}

fn dominates(one: &OpenOrder, other: &OpenOrder) -> bool {
    let (one, other) = (measures(one), measures(other));
    one.0 <= other.0 && one.1 <= other.1 && one.2 <= other.2 && one != other
}

/// A bid's demands, and its limit.
fn wishes(engine: &Engine, bid: &NewOrder) -> (Constraints, Preference, bool, Price) {
    let spec = engine.instruments().find(|(id, _)| *id == bid.instrument).map(|(_, spec)| spec);
    let limit = bid.limit.unwrap_or_else(|| spec.map_or(Price(0), |spec| spec.reference_price));
    match bid.terms {
        Terms::Bid { constraints, preference, single } => (constraints, preference, single, limit),
        Terms::Ask { .. } => panic!("only bids are tried"),
    }
}

/// By the rules of the verdicts, one after the other; none for a feasible ask.
fn excluded(engine: &Engine, bid: &NewOrder, ask: OrderId) -> Option<Verdict> {
    let Some(ask) = engine.order(ask).filter(|order| order.side() == Side::Ask) else {
        return Some(Verdict::UnknownAsk);
    };
    if ask.instrument != bid.instrument {
        return Some(Verdict::OtherInstrument);
    }
    let ((constraints, _, single, limit), effective) = (wishes(engine, bid), effective(&ask));
    let any = Constraints::default();
    let refuses = |only: Constraints| !only.accept(&effective);
    let state = engine.instrument_state(bid.instrument).expect("the ask's market is listed");
    let (max, min) = (constraints.max_latency_ms, constraints.min_throughput_tps);
    let rules = [
        (state != InstrumentState::Open, Verdict::InstrumentNotOpen { state }),
        (ask.parked, Verdict::ProviderSuspended),
        (ask.price > limit, Verdict::Price { limit }),
        (
            refuses(Constraints { max_latency_ms: max, ..any }),
            Verdict::Latency { effective: effective.latency_ms, max: max.unwrap_or(0) },
        ),
        (
            refuses(Constraints { min_throughput_tps: min, ..any }),
            Verdict::Throughput { effective: effective.throughput_tps, min: min.unwrap_or(0) },
        ),
        (refuses(Constraints { gpus: constraints.gpus, ..any }), Verdict::Gpu),
        (refuses(Constraints { regions: constraints.regions, ..any }), Verdict::Region),
        (refuses(Constraints { precisions: constraints.precisions, ..any }), Verdict::Precision),
        (single && ask.remaining < bid.quantity, Verdict::Capacity { remaining: ask.remaining, wanted: bid.quantity }),
        (ask.account == bid.account && bid.self_trade != SelfTrade::Allow, Verdict::SelfTrade),
    ];
    rules.into_iter().find(|(holds, _)| *holds).map(|(_, verdict)| verdict)
}

/// What the bid takes first has the least of these. (Time is not seen from outside, so ties are left.)
fn score(engine: &Engine, bid: &NewOrder, ask: &OpenOrder) -> (i64, (Price, u32, Reverse<u32>)) {
    let effective = effective(ask);
    let (latency, throughput) = (i64::from(effective.latency_ms), i64::from(effective.throughput_tps));
    let tick = engine.instruments().find(|(id, _)| *id == bid.instrument).map_or(1, |(_, spec)| spec.tick.0);
    let score = match wishes(engine, bid).1 {
        Preference::Price => 0,
        Preference::Latency => latency,
        Preference::Throughput => -throughput,
        Preference::Weights { price, latency: per_ms, throughput: per_tps } => {
            i64::from(price) * (ask.price.0 / tick) as i64 + i64::from(per_ms) * latency
                - i64::from(per_tps) * throughput
        }
    };
    (score, measures(ask))
}

/// How often each kind of answer was seen.
#[derive(Debug, Default)]
struct Seen {
    frontiers: [usize; 5],
    verdicts: std::collections::BTreeMap<String, usize>,
    trades: usize,
}

fn check_quote(engine: &Engine, bid: &NewOrder, seen: &mut Seen) {
    let asks: Vec<OpenOrder> = engine.orders().into_iter().filter(|order| order.side() == Side::Ask).collect();
    let feasible: Vec<&OpenOrder> = asks.iter().filter(|ask| excluded(engine, bid, ask.id).is_none()).collect();
    let mut expected: Vec<&OpenOrder> = feasible.clone();
    expected.retain(|ask| !feasible.iter().any(|other| dominates(other, ask)));
    expected.sort_by_key(|ask| ask.id);

    let Ok(quote) = engine.quote(bid) else {
        // The bid would be refused; what excludes an ask whatever else is told all the same.
        for ask in &asks {
            let verdict = engine.explain(bid, ask.id);
            *seen.verdicts.entry(name(&verdict)).or_default() += 1;
            assert!(
                excluded(engine, bid, ask.id).is_none_or(|reason| reason == verdict),
                "{bid:?} {ask:?} {verdict:?}"
            );
        }
        return;
    };
    let mut actual: Vec<Candidate> = quote.clone();
    actual.sort_by_key(|candidate| candidate.order);
    let candidate = |ask: &&OpenOrder| Candidate {
        order: ask.id,
        provider: ask.account,
        price: ask.price,
        latency_ms: effective(ask).latency_ms,
        throughput_tps: effective(ask).throughput_tps,
        gpu: effective(ask).gpu,
        region: effective(ask).region,
        precision: effective(ask).precision,
        remaining: ask.remaining,
    };
    assert_eq!(actual, expected.iter().map(candidate).collect::<Vec<_>>(), "{bid:?}");
    seen.frontiers[quote.len().min(4)] += 1;

    let score = |id: OrderId| score(engine, bid, &engine.order(id).expect("an open ask"));
    assert!(quote.is_sorted_by_key(|candidate| score(candidate.order)), "{bid:?}\n{quote:?}");
    for id in asks.iter().map(|ask| ask.id).chain([OrderId(0), OrderId(u64::MAX)]) {
        let verdict = engine.explain(bid, id);
        *seen.verdicts.entry(name(&verdict)).or_default() += 1;
        if let Some(reason) = excluded(engine, bid, id) {
            assert_eq!(verdict, reason, "{bid:?} {id:?}");
            continue;
        }
        let ask = engine.order(id).expect("it is feasible");
        let mut above = feasible.iter().filter(|other| dominates(other, &ask)).map(|other| other.id);
        match verdict {
            Verdict::Dominated { by } => {
                assert!(above.any(|other| other == by), "{bid:?} {id:?} {by:?}");
                assert!(quote.iter().any(|candidate| candidate.order == by), "who dominates is on the frontier");
            }
            Verdict::NotPreferred { chosen } => {
                assert_eq!((above.next(), Some(chosen)), (None, quote.first().map(|first| first.order)));
                assert_ne!(chosen, id);
            }
            Verdict::Chosen => assert_eq!(Some(id), quote.first().map(|first| first.order)),
            other => panic!("{other:?} for a feasible ask: {bid:?} {ask:?}"),
        }
    }
    let first = engine.best_ask(bid).and_then(|id| engine.order(id));
    if first.is_none_or(|first| first.account != bid.account || bid.self_trade == SelfTrade::Allow) {
        assert_eq!(first.map(|first| first.id), quote.first().map(|first| first.order), "{bid:?}");
    }
}

fn name(verdict: &Verdict) -> String {
    format!("{verdict:?}").split([' ', '{']).next().unwrap_or_default().to_owned()
}

/// The bid was quoted, and then placed: it traded with the first of the frontier.
fn check_trade(quote: &[Candidate], bid: &NewOrder, events: &[Event], seen: &mut Seen) {
    let accepted = events.iter().position(|event| matches!(event, Event::OrderAccepted(_)));
    let own = accepted.map_or(&[][..], |index| &events[index..]);
    let ask = own.iter().find_map(|event| if let Event::Traded(trade) = event { Some(trade.ask) } else { None });
    let stopped = own.iter().any(|event| {
        matches!(event, Event::OrderClosed { reason: CloseReason::SelfTrade, .. } | Event::OrderReplaced { .. })
    });
    if accepted.is_some() && !stopped {
        assert_eq!(ask, quote.first().map(|first| first.order), "{bid:?}\n{events:#?}");
        seen.trades += usize::from(ask.is_some());
    }
}

#[test]
fn a_quote_is_the_frontier_that_looking_at_every_ask_finds() {
    let count = if cfg!(debug_assertions) { 4_000 } else { 40_000 };
    let mut seen = Seen::default();
    for seed in 1..=6 {
        let (mut random, mut twin, mut engine, mut now) = (Random(seed), Twin::new(), Engine::new(), START);
        for seq in 1..=count {
            let (wait, mut next) = command(&mut random, &twin);
            now += wait;
            let mut quoted = None;
            let bid = (seq > 100).then(|| new_order(&mut random, &twin));
            if let Some(bid) = bid.filter(|bid| matches!(bid.terms, Terms::Bid { .. })) {
                check_quote(&engine, &bid, &mut seen);
                let (client_id, time_in_force, min_quantity) = (None, TimeInForce::Ioc, Quantity(0));
                let bid = NewOrder { client_id, time_in_force, min_quantity, post_only: false, ..bid };
                // Only where no deadline comes between the quote and the order.
                if wait == 0 && random.below(4) == 0 {
                    quoted = engine.quote(&bid).ok().map(|quote| (quote, bid));
                    next = Command::PlaceOrder(bid);
                }
            }
            let input = Input { seq, at: Timestamp(now), command: next };
            let (mut events, mut expected) = (Events::new(), Vec::new());
            engine.apply(&input, &mut events);
            twin.apply(&input, &mut expected);
            assert_eq!(*events, *expected, "the twin agrees");
            if let Some((quote, bid)) = quoted {
                check_trade(&quote, &bid, &events, &mut seen);
            }
        }
    }
    println!("{seen:#?}");
    assert!(seen.frontiers.iter().all(|times| *times > 20) && seen.trades > 100, "{seen:?}");
    assert_eq!(seen.verdicts.len(), 15, "every verdict was given: {seen:?}");
}
