//! The market's rules as short stories: given a book, when an order arrives, then these events.

use crate::market::*;
use gollem_engine::*;

fn transfers(events: &[Event]) -> Vec<(LedgerAccount, LedgerAccount, i64)> {
    let movement = |event: &Event| match event {
        Event::Transferred(t) => Some((t.debit, t.credit, t.amount.0)),
        _ => None,
    };
    events.iter().filter_map(movement).collect()
}

fn closed(events: &[Event]) -> Vec<(u64, CloseReason)> {
    let close = |event: &Event| match event {
        Event::OrderClosed { order, reason, .. } => Some((order.0, *reason)),
        _ => None,
    };
    events.iter().filter_map(close).collect()
}

/// DESIGN section 5, row by row, to the atom.
#[test]
fn the_worked_example_posts_exactly_the_documented_amounts() {
    use LedgerAccount::*;
    let mut market = Market::open(2);
    let (buyer, provider) = (AccountId(1), AccountId(2));
    let bought = market.fund(1, 10, 1);
    assert_eq!(transfers(&bought), [(External, Available(buyer), 1_000_000_000_000)]);

    market.send(Command::PlaceOrder(ask(2, 135_000, 1_000_000, 400, 60)));
    let events = market.send(Command::PlaceOrder(call(1, Some(200_000), 774)));
    let expected = [
        (Available(buyer), Held(buyer), 154_800_000),
        (Held(buyer), Escrow(buyer), 104_490_000),
        (Held(buyer), Available(buyer), 50_310_000),
    ];
    assert_eq!(transfers(&events), expected);
    let contract = trades(&events)[0].contract;

    let report = DeliveryReport {
        contract,
        quantity: Quantity(550),
        first_token_ms: Some(380),
        throughput_tps: Some(61),
        outcome: Outcome::Completed,
        last: true,
    };
    let events = market.send(Command::ReportDelivery(report));
    let expected = [
        (Escrow(buyer), Earned(provider), 73_507_500),
        (Escrow(buyer), Fees, 742_500),
        (Escrow(buyer), Available(buyer), 30_240_000),
    ];
    assert_eq!(transfers(&events), expected);
    assert!(
        events.contains(&Event::QuoteRestored { order: OrderId(1), remaining: Quantity(1_000_000 - 550) }),
        "the 224 units return to the quote"
    );
    assert_eq!(market.balance(1).escrow, Amount::ZERO);
}

#[test]
fn a_bid_takes_asks_by_price_then_latency_then_throughput_then_time() {
    let mut market = Market::open(2);
    market.fund(1, 100, 1);
    for (price, latency, throughput) in
        [(3_000, 1, 99), (2_000, 50, 10), (2_000, 40, 10), (2_000, 40, 20), (2_000, 40, 20)]
    {
        market.send(Command::PlaceOrder(ask(2, price, 1, latency, throughput)));
    }
    let events = market.send(Command::PlaceOrder(bid(1, 3_000, 5)));
    let asks: Vec<u64> = trades(&events).iter().map(|trade| trade.ask.0).collect();
    assert_eq!(asks, [4, 5, 3, 2, 1]);
}

#[test]
fn a_bid_skips_asks_that_break_its_constraints() {
    let mut market = Market::open(2);
    market.fund(1, 100, 1);
    market.send(Command::PlaceOrder(ask(2, 1_000, 10, 900, 10)));
    market.send(Command::PlaceOrder(ask(2, 2_000, 10, 300, 10)));
    let constraints = Constraints { max_latency_ms: Some(300), ..Constraints::default() };
    let fast = NewOrder { terms: Terms::Bid { constraints, single: true }, ..call(1, Some(5_000), 10) };
    let events = market.send(Command::PlaceOrder(fast));
    assert_eq!(trades(&events)[0].ask, OrderId(2));
}

#[test]
fn a_single_bid_is_filled_by_one_ask_or_not_at_all() {
    let mut market = Market::open(2);
    market.fund(1, 100, 1);
    market.send(Command::PlaceOrder(ask(2, 1_000, 9, 0, 0)));
    market.send(Command::PlaceOrder(ask(2, 2_000, 10, 0, 0)));
    let events = market.send(Command::PlaceOrder(call(1, Some(5_000), 10)));
    let trade = trades(&events)[0];
    assert_eq!((trade.ask, trade.quantity), (OrderId(2), Quantity(10)));
    let events = market.send(Command::PlaceOrder(call(1, Some(5_000), 10)));
    assert_eq!(closed(&events), [(4, CloseReason::Unfilled(Miss::Capacity))]);
}

#[test]
fn an_unfilled_call_says_what_it_lacked_and_gets_its_hold_back() {
    let check = |asks: &[NewOrder], wanted: NewOrder, expected: Miss| {
        let mut market = Market::open(2);
        market.fund(1, 100, 1);
        let before = market.balance(1);
        for order in asks {
            market.send(Command::PlaceOrder(*order));
        }
        let events = market.send(Command::PlaceOrder(wanted));
        assert_eq!(closed(&events).last().expect("it closed").1, CloseReason::Unfilled(expected));
        assert_eq!(market.balance(1), before);
    };
    let constraints = Constraints { min_throughput_tps: Some(100), ..Constraints::default() };
    let brisk = NewOrder { terms: Terms::Bid { constraints, single: true }, ..call(1, Some(3_000), 10) };
    check(&[], call(1, None, 10), Miss::EmptyBook);
    check(&[ask(2, 4_000, 10, 0, 0)], call(1, Some(3_000), 10), Miss::Price);
    check(&[ask(2, 2_000, 10, 0, 99)], brisk, Miss::Constraints);
    check(&[ask(2, 2_000, 9, 0, 0)], call(1, Some(3_000), 10), Miss::Capacity);
}

#[test]
fn a_market_bid_is_limited_by_the_reference_price() {
    let mut market = Market::open(2);
    market.fund(1, 100, 1);
    market.send(Command::PlaceOrder(ask(2, 201_000, 10, 0, 0)));
    let events = market.send(Command::PlaceOrder(call(1, None, 10)));
    assert_eq!(closed(&events), [(2, CloseReason::Unfilled(Miss::Price))]);
    market.send(Command::PlaceOrder(ask(2, 200_000, 10, 0, 0)));
    let events = market.send(Command::PlaceOrder(call(1, None, 10)));
    assert_eq!(trades(&events)[0].price, Price(200_000));
}

#[test]
fn an_arriving_ask_takes_the_best_bid_that_accepts_it_at_the_bids_price() {
    let mut market = Market::open(3);
    market.fund(1, 100, 1);
    market.fund(3, 100, 2);
    let constraints = Constraints { max_latency_ms: Some(10), ..Constraints::default() };
    let picky = NewOrder { terms: Terms::Bid { constraints, single: false }, ..bid(1, 9_000, 5) };
    market.send(Command::PlaceOrder(picky));
    market.send(Command::PlaceOrder(bid(1, 7_000, 5)));
    market.send(Command::PlaceOrder(bid(3, 8_000, 5)));
    let events = market.send(Command::PlaceOrder(ask(2, 6_000, 7, 50, 0)));
    let fills: Vec<_> = trades(&events).iter().map(|t| (t.bid.0, t.price.0, t.quantity.0)).collect();
    assert_eq!(fills, [(3, 8_000, 5), (2, 7_000, 2)]);
}

#[test]
fn returned_units_trade_with_a_bid_that_waited_for_them() {
    let mut market = Market::open(2);
    market.fund(1, 100, 1);
    market.send(Command::PlaceOrder(ask(2, 1_000, 100, 0, 0)));
    let first = market.send(Command::PlaceOrder(call(1, Some(1_000), 60)));
    let waiting = NewOrder { time_in_force: TimeInForce::Gtc, ..call(1, Some(2_000), 80) };
    assert!(trades(&market.send(Command::PlaceOrder(waiting))).is_empty());
    let report = DeliveryReport {
        contract: trades(&first)[0].contract,
        quantity: Quantity(10),
        first_token_ms: None,
        throughput_tps: None,
        outcome: Outcome::Completed,
        last: true,
    };
    let events = market.send(Command::ReportDelivery(report));
    let trade = trades(&events)[0];
    assert_eq!((trade.quantity, trade.price, trade.taker), (Quantity(80), Price(2_000), Side::Ask));
}

#[test]
fn a_contract_expires_by_a_tick_and_returns_everything() {
    let mut market = Market::open(2);
    market.fund(1, 10, 1);
    let before = market.balance(1);
    market.send(Command::PlaceOrder(ask(2, 1_000, 100, 0, 0)));
    market.send(Command::PlaceOrder(call(1, Some(1_000), 60)));
    assert_eq!(market.engine.next_deadline(), Some(Timestamp(1_600)));
    market.now = 1_599;
    assert!(market.send(Command::Tick).is_empty(), "not a nanosecond early");
    market.now = 1_600;
    let events = market.send(Command::Tick);
    assert!(events.iter().any(|e| matches!(e, Event::ContractClosed { reason: Expiry::Expired, .. })));
    assert_eq!(market.balance(1), before);
    assert_eq!(market.engine.next_deadline(), None);
}

#[test]
fn a_failed_delivery_pays_nothing() {
    let mut market = Market::open(2);
    market.fund(1, 10, 1);
    let before = market.balance(1);
    market.send(Command::PlaceOrder(ask(2, 1_000, 100, 0, 0)));
    let events = market.send(Command::PlaceOrder(call(1, Some(1_000), 60)));
    let report = DeliveryReport {
        contract: trades(&events)[0].contract,
        quantity: Quantity(0),
        first_token_ms: None,
        throughput_tps: None,
        outcome: Outcome::Failed,
        last: true,
    };
    market.send(Command::ReportDelivery(report));
    assert_eq!(market.balance(1), before);
    assert_eq!(market.balance(2).earned, Amount::ZERO);
    assert_eq!(refusal(&market.send(Command::ReportDelivery(report))), RejectReason::UnknownContract);
}

#[test]
fn a_resent_order_gets_the_first_answer_and_a_resent_purchase_credits_once() {
    let mut market = Market::open(2);
    market.fund(1, 10, 1);
    assert_eq!(market.fund(1, 10, 1), [Event::PurchaseRepeated { reference: Reference([1; 16]) }]);
    assert_eq!(refusal(&market.fund(1, 11, 1)), RejectReason::ReferenceConflict);
    assert_eq!(refusal(&market.fund(2, 10, 1)), RejectReason::ReferenceConflict);
    market.send(Command::PlaceOrder(ask(2, 1_000, 4, 0, 0)));
    let order = NewOrder { client_id: Some(ClientOrderId([9; 16])), ..bid(1, 1_000, 10) };
    market.send(Command::PlaceOrder(order));
    let held = market.balance(1).held;
    let seq = market.engine.last_seq();
    let answer = OrderAnswer { order: OrderId(2), seq, filled: Quantity(4), rested: Quantity(6) };
    assert_eq!(market.send(Command::PlaceOrder(order)), [Event::OrderRepeated(answer)]);
    assert_eq!(market.balance(1).held, held);
    let other_account = NewOrder { account: AccountId(2), ..ask(2, 9_000, 1, 0, 0) };
    let other_account = NewOrder { client_id: order.client_id, ..other_account };
    let events = market.send(Command::PlaceOrder(other_account));
    assert!(matches!(events[0], Event::OrderAccepted(_)), "client ids are unique per account only");
}

#[test]
fn cancelling_returns_the_hold_and_only_the_owner_may() {
    let mut market = Market::open(2);
    market.fund(1, 10, 1);
    let before = market.balance(1);
    market.send(Command::PlaceOrder(bid(1, 1_000, 10)));
    let order = OrderId(1);
    assert_eq!(
        refusal(&market.send(Command::CancelOrder { account: AccountId(2), order })),
        RejectReason::UnknownOrder
    );
    market.send(Command::CancelOrder { account: AccountId(1), order });
    assert_eq!(market.balance(1), before);
    assert_eq!(
        refusal(&market.send(Command::CancelOrder { account: AccountId(1), order })),
        RejectReason::UnknownOrder
    );
}

#[test]
fn payouts_carry_whole_cents_and_return_when_they_fail() {
    let mut market = Market::open(2);
    market.fund(1, 100, 1);
    market.send(Command::PlaceOrder(ask(2, 200_000, 1_000_000, 0, 0)));
    let events = market.send(Command::PlaceOrder(call(1, None, 100_001)));
    let report = DeliveryReport {
        contract: trades(&events)[0].contract,
        quantity: Quantity(100_001),
        first_token_ms: None,
        throughput_tps: None,
        outcome: Outcome::Completed,
        last: true,
    };
    market.send(Command::ReportDelivery(report));
    let earned = market.balance(2).earned; // 19,800,198,000 atoms: 19 cents and a fraction.
    assert_eq!(earned, Amount(19_800_198_000));
    let request = |amount| Command::RequestPayout { account: AccountId(2), amount };
    let (min, max) = (Amount(ATOMS_PER_CENT), Amount(19 * ATOMS_PER_CENT));
    let out_of_range = RejectReason::PayoutOutOfRange { min, max };
    assert_eq!(refusal(&market.send(request(Some(Amount(20 * ATOMS_PER_CENT))))), out_of_range);
    assert_eq!(refusal(&market.send(request(Some(Amount(0))))), out_of_range);
    assert_eq!(refusal(&market.send(request(Some(Amount(ATOMS_PER_CENT + 1))))), RejectReason::PayoutNotWholeCents);
    market.send(request(None));
    assert_eq!(market.balance(2).payout_pending, max);
    market.send(Command::FailPayout { payout: PayoutId(1) });
    assert_eq!(market.balance(2).earned, earned);
    market.send(request(Some(max)));
    market.send(Command::ConfirmPayout { payout: PayoutId(2) });
    assert_eq!(market.balance(2).earned, Amount(earned.0 - max.0));
    assert_eq!(market.balance(2).payout_pending, Amount::ZERO);
    assert_eq!(refusal(&market.send(Command::ConfirmPayout { payout: PayoutId(2) })), RejectReason::UnknownPayout);
}

#[test]
fn every_bad_order_is_refused_with_its_bound_and_changes_nothing() {
    let mut market = Market::open(2);
    market.fund(1, 1, 1);
    let available = market.balance(1).available;
    let good = bid(1, 1_000, 10);
    let cases = [
        (NewOrder { account: AccountId(0), ..good }, RejectReason::UnknownAccount),
        (NewOrder { account: AccountId(3), ..good }, RejectReason::UnknownAccount),
        (NewOrder { instrument: InstrumentId(2), ..good }, RejectReason::UnknownInstrument),
        (NewOrder { quantity: Quantity(0), ..good }, RejectReason::QuantityOutOfRange { max: Quantity(1_000_000_000) }),
        (
            NewOrder { quantity: Quantity(1_000_000_001), ..good },
            RejectReason::QuantityOutOfRange { max: Quantity(1_000_000_000) },
        ),
        (NewOrder { limit: None, ..good }, RejectReason::MarketOrderMustBeImmediate),
        (
            NewOrder { limit: Some(Price(0)), ..good },
            RejectReason::PriceOutOfRange { min: Price(1_000), max: Price(limits::PRICE_MAX) },
        ),
        (
            NewOrder { limit: Some(Price(u64::MAX)), ..good },
            RejectReason::PriceOutOfRange { min: Price(1_000), max: Price(limits::PRICE_MAX) },
        ),
        (NewOrder { limit: Some(Price(1_001)), ..good }, RejectReason::PriceOffTick { tick: Price(1_000) }),
        (
            NewOrder { limit: Some(Price(limits::PRICE_MAX)), quantity: Quantity(1_000_000_000), ..good },
            RejectReason::NotionalTooLarge { max: Amount(limits::ACCOUNT_ATOMS_MAX) },
        ),
        (
            NewOrder { quantity: Quantity(100_000_001), ..good },
            RejectReason::InsufficientCredits { needed: Amount(100_000_001_000), available },
        ),
    ];
    for (order, reason) in cases {
        assert_eq!(refusal(&market.send(Command::PlaceOrder(order))), reason, "{order:?}");
    }
    assert!(market.engine.orders().is_empty());
    assert_eq!(market.balance(1).available, available);
}

#[test]
fn a_bad_listing_or_purchase_is_refused() {
    let mut market = Market::open(1);
    let refuse = |market: &mut Market, change: fn(&mut InstrumentSpec)| {
        let mut bad = spec("other");
        change(&mut bad);
        refusal(&market.send(Command::ListInstrument(bad)))
    };
    let invalid = |field| RejectReason::InvalidInstrument { field };
    assert_eq!(refuse(&mut market, |s| s.weights.output = 0), invalid(InstrumentField::Weights));
    assert_eq!(refuse(&mut market, |s| s.tick = Price(0)), invalid(InstrumentField::Tick));
    assert_eq!(refuse(&mut market, |s| s.reference_price = Price(1)), invalid(InstrumentField::ReferencePrice));
    assert_eq!(refuse(&mut market, |s| s.quantity_max = Quantity(0)), invalid(InstrumentField::QuantityMax));
    assert_eq!(refuse(&mut market, |s| s.delivery_fee_bps = 5_001), invalid(InstrumentField::DeliveryFeeBps));
    assert_eq!(refuse(&mut market, |s| s.contract_ttl_ns = 0), invalid(InstrumentField::ContractTtlNs));
    assert_eq!(refuse(&mut market, |s| s.symbol = spec("gpt-oss-20b").symbol), RejectReason::SymbolTaken);
    for dollars in [0, 1_001, -5] {
        let reason = refusal(&market.fund(1, dollars, 7));
        assert!(matches!(reason, RejectReason::PurchaseOutOfRange { .. }), "${dollars}: {reason:?}");
    }
}

#[test]
fn the_same_inputs_give_the_same_hash_and_any_difference_another() {
    let run = |latency| {
        let mut market = Market::open(2);
        market.fund(1, 10, 1);
        market.send(Command::PlaceOrder(ask(2, 1_000, 100, latency, 0)));
        market.send(Command::PlaceOrder(call(1, Some(1_000), 60)));
        market.engine.state_hash()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
