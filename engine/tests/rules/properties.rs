//! What holds after every input, whatever the inputs: checked by brute force on random command streams.
//! A failure prints a shrunken case and proptest's seed.

use crate::market::*;
use gollem_engine::*;
use proptest::prelude::*;

const ACCOUNTS: u32 = 4;

/// Small ranges on purpose: prices, times and accounts must collide.
fn commands() -> impl Strategy<Value = Command> {
    let account = 1..=ACCOUNTS;
    let order = (account.clone(), 1_u64..6, 1_u64..40, 0_u32..4, 0_u32..4, any::<[bool; 4]>(), 0_u8..6);
    let place = order.prop_map(|(account, price, quantity, latency, throughput, flags, client)| {
        let [is_bid, immediate, single, market] = flags;
        let attributes = Attributes { latency_ms: latency, throughput_tps: throughput, ..Attributes::default() };
        let constraints = Constraints {
            max_latency_ms: (latency > 0).then_some(latency),
            min_throughput_tps: (throughput > 1).then_some(throughput),
            ..Constraints::default()
        };
        Command::PlaceOrder(NewOrder {
            account: AccountId(account),
            instrument: InstrumentId(1),
            client_id: (client == 0).then_some(ClientOrderId([quantity as u8; 16])),
            limit: (!market).then_some(Price(price * 1_000)),
            quantity: Quantity(quantity),
            time_in_force: if immediate || market { TimeInForce::Ioc } else { TimeInForce::Gtc },
            terms: if is_bid { Terms::Bid { constraints, single } } else { Terms::Ask { attributes } },
        })
    });
    let deliver = (1_u64..30, 0_u64..45, any::<bool>()).prop_map(|(contract, quantity, last)| {
        Command::ReportDelivery(DeliveryReport {
            contract: ContractId(contract),
            quantity: Quantity(quantity),
            first_token_ms: Some(1),
            throughput_tps: None,
            outcome: Outcome::Completed,
            last,
        })
    });
    let cancel = (account.clone(), 1_u64..40)
        .prop_map(|(account, order)| Command::CancelOrder { account: AccountId(account), order: OrderId(order) });
    let purchase =
        (account.clone(), 1_i64..3, any::<u8>()).prop_map(|(account, dollars, reference)| Command::PurchaseCredits {
            account: AccountId(account),
            amount: Amount(dollars * 100 * ATOMS_PER_CENT),
            reference: Reference([reference; 16]),
        });
    let payout = account.prop_map(|account| Command::RequestPayout { account: AccountId(account), amount: None });
    let settle = (1_u64..4, any::<bool>()).prop_map(|(payout, paid)| {
        let payout = PayoutId(payout);
        if paid { Command::ConfirmPayout { payout } } else { Command::FailPayout { payout } }
    });
    prop_oneof![
        12 => place, 5 => deliver, 2 => cancel, 1 => purchase, 1 => payout, 1 => settle, 1 => Just(Command::Tick),
    ]
}

/// Facts about the state that every input must keep.
fn check_state(engine: &Engine) {
    for id in (1..=ACCOUNTS).map(AccountId) {
        let balance = engine.balance(id).unwrap();
        let value = |price: Price, units: Quantity| price.notional(units).unwrap().0;
        let bids = engine.orders().values().filter(|order| order.account == id && order.side() == Side::Bid);
        let held: i64 = bids.map(|order| value(order.price, order.remaining)).sum();
        let contracts = engine.contracts().values().filter(|contract| contract.buyer == id);
        let escrow: i64 = contracts.map(|contract| value(contract.price, contract.remaining)).sum();
        let payouts = engine.payouts().values().filter(|payout| payout.account == id);
        let pending: i64 = payouts.map(|payout| payout.amount.0).sum();
        assert!(balance.available.0 >= 0 && balance.earned.0 >= 0, "no negative account: {balance:?}");
        assert_eq!(balance.held.0, held, "holds equal open bids");
        assert_eq!(balance.escrow.0, escrow, "escrow equals open contracts");
        assert_eq!(balance.payout_pending.0, pending, "pending equals open payouts");
    }
    for side in [Side::Bid, Side::Ask] {
        for (price, quantity, orders) in engine.levels(InstrumentId(1), side) {
            let at_level = || engine.orders().values().filter(|o| o.side() == side && o.price == price);
            assert_eq!(orders as usize, at_level().count());
            assert_eq!(quantity.0, at_level().map(|order| order.remaining.0).sum::<u64>());
        }
    }
    let bids = || engine.orders().values().filter(|order| order.side() == Side::Bid);
    let asks = || engine.orders().values().filter(|order| order.side() == Side::Ask);
    for bid in bids() {
        let crossing = asks().find(|ask| ask.price <= bid.price && feasible(bid, ask, bid.remaining));
        assert_eq!(crossing, None, "{bid:?} should have traded");
    }
}

fn attributes(ask: &Order) -> Attributes {
    match ask.terms {
        Terms::Ask { attributes } => attributes,
        Terms::Bid { .. } => panic!("{ask:?} is no ask"),
    }
}

fn feasible(bid: &Order, ask: &Order, wanted: Quantity) -> bool {
    match bid.terms {
        Terms::Bid { constraints, single } => {
            constraints.accept(&attributes(ask)) && (!single || ask.remaining >= wanted)
        }
        Terms::Ask { .. } => panic!("{bid:?} is no bid"),
    }
}

/// Whether ask `a` is at least as good as `b` in everything and better in something.
fn dominates(a: &Order, b: &Order) -> bool {
    let (x, y) = (attributes(a), attributes(b));
    let no_worse = a.price <= b.price && x.latency_ms <= y.latency_ms && x.throughput_tps >= y.throughput_tps;
    no_worse && (a.price < b.price || x.latency_ms < y.latency_ms || x.throughput_tps > y.throughput_tps)
}

/// No ask that a bid took was dominated by another that it could have taken: checked against the book as it
/// stood before the input, fill by fill.
fn check_choices(before: &[Order], events: &[Event]) {
    let mut asks: Vec<Order> = before.iter().filter(|order| order.side() == Side::Ask).copied().collect();
    let accepted = events.iter().find_map(|event| match event {
        Event::OrderAccepted(order) if order.side() == Side::Bid => Some(*order),
        _ => None,
    });
    let Some(bid) = accepted else { return };
    let mut wanted = bid.quantity;
    for trade in trades(events) {
        let chosen = *asks.iter().find(|ask| ask.id == trade.ask).expect("the chosen ask rested");
        assert!(chosen.price <= bid.price && feasible(&bid, &chosen, wanted), "{chosen:?} breaks {bid:?}");
        let better = asks.iter().find(|ask| feasible(&bid, ask, wanted) && dominates(ask, &chosen));
        assert_eq!(better, None, "{bid:?} took the dominated {chosen:?}");
        wanted.0 -= trade.quantity.0;
        let taken = asks.iter_mut().find(|ask| ask.id == trade.ask).expect("still there");
        taken.remaining.0 -= trade.quantity.0;
        asks.retain(|ask| ask.remaining.0 > 0);
    }
}

/// Levels rebuilt from `LevelChanged` events alone.
#[derive(Default)]
struct DepthView(std::collections::BTreeMap<(Side, Price), (Quantity, u32)>);

impl DepthView {
    fn fold(&mut self, events: &[Event]) {
        for event in events {
            if let Event::LevelChanged { side, price, quantity, orders, .. } = event {
                match orders {
                    0 => self.0.remove(&(*side, *price)),
                    _ => self.0.insert((*side, *price), (*quantity, *orders)),
                };
            }
        }
    }

    fn check(&self, engine: &Engine) {
        let mut levels = std::collections::BTreeMap::new();
        for side in [Side::Bid, Side::Ask] {
            for (price, quantity, orders) in engine.levels(InstrumentId(1), side) {
                levels.insert((side, price), (quantity, orders));
            }
        }
        assert_eq!(self.0, levels, "depth built from events equals the book");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_invariant_holds_after_every_input(stream in prop::collection::vec((commands(), 0_u64..90), 1..120)) {
        let mut market = Market::open(ACCOUNTS);
        for account in 1..=ACCOUNTS {
            market.fund(account, 1, 200 + account as u8);
        }
        let mut depth = DepthView::default();
        for (command, wait) in &stream {
            market.now += wait;
            let before: Vec<Order> = market.engine.orders().values().copied().collect();
            let events = market.send(command.clone());
            if let [Event::Rejected(_)] = events.as_slice() {
                let after: Vec<Order> = market.engine.orders().values().copied().collect();
                prop_assert_eq!(&before, &after, "a refusal changes nothing");
            }
            check_choices(&before, &events);
            check_state(&market.engine);
            depth.fold(&events);
            depth.check(&market.engine);
        }
    }
}
