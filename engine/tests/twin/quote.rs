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

    check_frontier(engine, bid, &quote);

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

/// The bounded frontier is the whole one, but that one ask stands for those that are equal to it; and it explains the others as
/// they are explained one by one.
fn check_frontier(engine: &Engine, bid: &NewOrder, quote: &[Candidate]) {
    let measures = |candidate: &Candidate| (candidate.price, candidate.latency_ms, candidate.throughput_tps);
    let mut expected: Vec<Candidate> = Vec::new();
    for candidate in quote {
        if expected.iter().all(|listed| measures(listed) != measures(candidate)) {
            expected.push(*candidate);
        }
    }
    let frontier = engine.frontier(bid, ALL).expect("the bid is quoted");
    assert_eq!(frontier, Frontier { asks: expected, complete: true }, "{bid:?}");
    let others = engine.explain_others(bid, &frontier, ALL).expect("the bid is quoted");
    let asks = engine.queue(bid.instrument, Side::Ask);
    assert_eq!(others.len() + frontier.asks.len(), asks.len(), "every ask in the book is told of");
    for (ask, verdict) in &others {
        assert_eq!(engine.explain(bid, ask.order), *verdict, "{bid:?} {ask:?}");
    }
    if let Some(some) = frontier.asks.len().checked_sub(1).filter(|some| *some > 0) {
        let cut = engine.frontier(bid, some).expect("the bid is quoted");
        assert!(!cut.complete && cut.asks.len() == some);
        assert!(cut.asks.iter().all(|ask| frontier.asks.contains(ask)), "a part of the frontier is on it");
    }
}

/// More than there are.
const ALL: usize = 100_000;

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

/// A market with one bidding account, 1, and asks of these accounts at 1, 2, 3 .. with ever less latency: none dominates
/// another.
fn long_frontier(owners: &[u32]) -> (Engine, NewOrder, Vec<OrderId>) {
    let spec = InstrumentSpec {
        symbol: Symbol::new("long").unwrap(),
        weights: TokenWeights { input: 1_000, cached_input: 1_000, output: 1_000 },
        tick: Price(1),
        price_max: Price(100_000),
        reference_price: Price(100_000),
        band_bps: 0,
        lot: Quantity(1),
        quantity_min: Quantity(1),
        quantity_max: Quantity(1_000),
        maker_fee_bps: 0,
        taker_fee_bps: 0,
        delivery_fee_bps: 0,
        tolerance_bps: 0,
        rebate_bps: 0,
        contract_ttl_ns: 1,
    };
    let bid = NewOrder {
        account: AccountId(1),
        key: KeyId(0),
        instrument: InstrumentId(1),
        client_id: None,
        limit: None,
        quantity: Quantity(1),
        min_quantity: Quantity(0),
        time_in_force: TimeInForce::Ioc,
        post_only: false,
        cancel_on_disconnect: false,
        self_trade: SelfTrade::CancelNewest,
        terms: Terms::Bid { constraints: Constraints::default(), preference: Preference::Price, single: true },
    };
    let mut commands = vec![Command::OpenAccount, Command::OpenAccount, Command::ListInstrument(Box::new(spec))];
    commands.extend((1..).zip(owners).map(|(price, owner)| {
        let latency_ms = 1_000_000 - price as u32;
        let terms = Terms::Ask { attributes: Attributes { latency_ms, ..Attributes::default() } };
        let (account, limit) = (AccountId(*owner), Some(Price(price)));
        Command::PlaceOrder(NewOrder { account, limit, time_in_force: TimeInForce::Gtc, terms, ..bid })
    }));
    let (mut engine, mut asks) = (Engine::new(), Vec::new());
    for (seq, command) in (1..).zip(commands) {
        let mut events = Events::new();
        engine.apply(&Input { seq, at: Timestamp(START), command }, &mut events);
        asks.extend(events.iter().filter_map(|event| match event {
            Event::OrderAccepted(order) => Some(order.id),
            _ => None,
        }));
    }
    (engine, bid, asks)
}

#[test]
fn of_a_long_frontier_a_quote_tells_the_beginning() {
    let (engine, bid, asks) = long_frontier(&[2; 2_000]);
    let told = |bid: &NewOrder| engine.quote(bid).unwrap().iter().map(|one| one.order).collect::<Vec<_>>();
    assert_eq!(told(&bid), asks[..limits::QUOTE_CANDIDATES_MAX]);
    let (constraints, preference) = (Constraints::default(), Preference::Latency);
    let fastest = NewOrder { terms: Terms::Bid { constraints, preference, single: false }, ..bid };
    let last: Vec<OrderId> = asks.iter().rev().take(limits::QUOTE_CANDIDATES_MAX).copied().collect();
    assert_eq!(told(&fastest), last);
    assert_eq!(engine.explain(&bid, asks[1_999]), Verdict::NotPreferred { chosen: asks[0] });
    assert_eq!(engine.explain(&fastest, asks[1_999]), Verdict::Chosen);
}

#[test]
fn what_comes_behind_hundreds_of_the_account_s_own_asks_is_not_looked_at() {
    let own = |count: usize| [vec![1; count], vec![2; 10]].concat();
    let (engine, bid, asks) = long_frontier(&own(limits::QUOTE_ASKS_MAX - 1));
    assert_eq!(engine.quote(&bid).unwrap().len(), 1);
    assert_eq!(engine.explain(&bid, asks[511]), Verdict::Chosen);
    let (engine, bid, asks) = long_frontier(&own(limits::QUOTE_ASKS_MAX));
    assert_eq!(engine.quote(&bid).unwrap(), []);
    assert_eq!(engine.explain(&bid, asks[3]), Verdict::SelfTrade);
    assert_eq!(engine.explain(&bid, asks[512]), Verdict::Chosen, "as if nothing came before it");
}
