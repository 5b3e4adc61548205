use super::calendar::{month_of, start_of};
use super::{Gauge, Twin};
use crate::{
    AccountId, Amount, Attributes, Breaker, CloseReason, Command, Constraints, ContractId, DeliveryReport, Event,
    Input, InstrumentId, InstrumentSpec, InstrumentState, KeyId, KeyLimit, KeyLimits, Miss, NewOrder, Order, OrderId,
    Outcome, PayoutPolicy, Preference, Price, Quantity, Reference, RejectReason, Replacement, SelfTrade, Side, Symbol,
    Terms, TimeInForce, Timestamp, TokenWeights, Tokens, Trade, TransferCode,
};

const DOLLAR: i64 = 100 * crate::ATOMS_PER_CENT;
const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;

/// A twin with a clock.
struct Market {
    twin: Twin,
    now: u64,
}

impl Market {
    /// Three accounts with $10 each, and one market with these fees: maker, taker, delivery.
    fn with_fees(maker_fee_bps: u16, taker_fee_bps: u16, delivery_fee_bps: u16) -> Market {
        let mut market = Market { twin: Twin::new(), now: SECOND };
        market.send(Command::ListInstrument(Box::new(InstrumentSpec {
            symbol: Symbol::new("gpt-oss-20b").unwrap(),
            weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
            tick: Price(1_000),
            price_max: Price(1_000_000),
            reference_price: Price(200_000),
            band_bps: 0,
            lot: Quantity(1),
            quantity_min: Quantity(1),
            quantity_max: Quantity(1_000_000_000),
            maker_fee_bps,
            taker_fee_bps,
            delivery_fee_bps,
            tolerance_bps: 1_000,
            rebate_bps: 500,
            contract_ttl_ns: 600 * SECOND,
        })));
        for account in 1..=3 {
            market.send(Command::OpenAccount);
            market.send(Command::PurchaseCredits {
                account: AccountId(account),
                amount: Amount(10 * DOLLAR),
                reference: Reference([account as u8; 16]),
            });
        }
        market
    }

    fn new() -> Market {
        Market::with_fees(0, 0, 0)
    }

    fn send(&mut self, command: Command) -> Vec<Event> {
        let mut events = Vec::new();
        let input = Input { seq: self.twin.seq + 1, at: Timestamp(self.now), command };
        self.twin.apply(&input, &mut events);
        assert_eq!(self.twin.ledger_sum(), 0, "money was made or lost by {:?}", input.command);
        events
    }

    /// Places an order and returns its id with its events.
    fn place(&mut self, new: NewOrder) -> (OrderId, Vec<Event>) {
        let events = self.send(Command::PlaceOrder(new));
        let accepted =
            events.iter().find_map(|event| if let Event::OrderAccepted(order) = event { Some(order.id) } else { None });
        (accepted.unwrap_or_else(|| panic!("refused: {events:?}")), events)
    }

    fn deliver(&mut self, contract: ContractId, quantity: u64, outcome: Outcome) -> Vec<Event> {
        self.send(Command::ReportDelivery(DeliveryReport {
            contract,
            quantity: Quantity(quantity),
            first_token_ms: None,
            throughput_tps: None,
            outcome,
            tokens: Tokens::default(),
            last: true,
        }))
    }

    /// A contract of one unit between a new ask of account 1 and a new bid of account 2.
    fn contract(&mut self) -> ContractId {
        self.place(ask(1, 1_000, 1));
        let (_, events) = self.place(bid(2, 1_000, 1));
        trades(&events)[0].contract
    }

    fn remaining(&self, order: OrderId) -> Option<u64> {
        self.twin.open_orders().find(|open| open.id == order).map(|open: &Order| open.remaining.0)
    }
}

fn order(account: u32, limit: u64, quantity: u64, terms: Terms) -> NewOrder {
    NewOrder {
        account: AccountId(account),
        key: KeyId(0),
        instrument: InstrumentId(1),
        client_id: None,
        limit: Some(Price(limit)),
        quantity: Quantity(quantity),
        min_quantity: Quantity(0),
        time_in_force: TimeInForce::Gtc,
        post_only: false,
        cancel_on_disconnect: false,
        self_trade: SelfTrade::CancelNewest,
        terms,
    }
}

fn ask(account: u32, limit: u64, quantity: u64) -> NewOrder {
    order(account, limit, quantity, Terms::Ask { attributes: Attributes::default() })
}

fn quick_ask(limit: u64, latency_ms: u32, throughput_tps: u32) -> NewOrder {
    let attributes = Attributes { latency_ms, throughput_tps, ..Attributes::default() };
    order(1, limit, 1, Terms::Ask { attributes })
}

fn bid(account: u32, limit: u64, quantity: u64) -> NewOrder {
    bid_by(account, limit, quantity, Preference::Price)
}

fn bid_by(account: u32, limit: u64, quantity: u64, preference: Preference) -> NewOrder {
    let terms = Terms::Bid { constraints: Constraints::default(), preference, single: false };
    order(account, limit, quantity, terms)
}

fn trades(events: &[Event]) -> Vec<Trade> {
    let trade = |event: &Event| if let Event::Traded(trade) = event { Some(*trade) } else { None };
    events.iter().filter_map(trade).collect()
}

fn moved(events: &[Event]) -> Vec<(TransferCode, i64)> {
    let moved = |event: &Event| {
        if let Event::Transferred(transfer) = event { Some((transfer.code, transfer.amount.0)) } else { None }
    };
    events.iter().filter_map(moved).collect()
}

fn breakers(events: &[Event]) -> Vec<Breaker> {
    let state = |event: &Event| if let Event::BreakerChanged { state, .. } = event { Some(*state) } else { None };
    events.iter().filter_map(state).collect()
}

fn closed(events: &[Event]) -> Vec<(OrderId, u64, CloseReason)> {
    let closed = |event: &Event| {
        if let Event::OrderClosed { order, remaining, reason } = event {
            Some((*order, remaining.0, *reason))
        } else {
            None
        }
    };
    events.iter().filter_map(closed).collect()
}

#[test]
fn the_worked_example() {
    let mut market = Market::with_fees(0, 0, 100);
    market.place(ask(1, 135_000, 1_000_000));
    let mut call = bid(2, 200_000, 774);
    call.time_in_force = TimeInForce::Ioc;
    let (_, events) = market.place(call);
    let called =
        [(TransferCode::Hold, 154_800_000), (TransferCode::Escrow, 104_490_000), (TransferCode::Release, 50_310_000)];
    assert_eq!(moved(&events), called);
    let events = market.deliver(trades(&events)[0].contract, 550, Outcome::Completed);
    let delivered = [
        (TransferCode::Delivery, 73_507_500),
        (TransferCode::DeliveryFee, 742_500),
        (TransferCode::Refund, 30_240_000),
    ];
    assert_eq!(moved(&events), delivered);
    assert_eq!(market.twin.fees(), 742_500);
    let levels = market.twin.levels(InstrumentId(1), Side::Ask);
    assert_eq!(levels, [(Price(135_000), Quantity(1_000_000 - 550), 1)], "the unused units are on offer again");
}

#[test]
fn each_side_pays_its_role() {
    let mut market = Market::with_fees(10, 20, 100);
    market.place(ask(1, 100_000, 10));
    let (_, events) = market.place(bid(2, 200_000, 10));
    let called = [
        (TransferCode::Hold, 2_000_000 + 4_000),
        (TransferCode::Escrow, 1_000_000 + 2_000),
        (TransferCode::Release, 1_002_000),
    ];
    assert_eq!(moved(&events), called, "the bid arrived: a taker");
    let events = market.deliver(trades(&events)[0].contract, 10, Outcome::Completed);
    let delivered = [
        (TransferCode::Delivery, 1_000_000 - 11_000),
        (TransferCode::DeliveryFee, 11_000),
        (TransferCode::TradeFee, 2_000),
    ];
    assert_eq!(moved(&events), delivered);
}

#[test]
fn a_bid_takes_what_it_prefers() {
    let offers = [quick_ask(3_000, 100, 50), quick_ask(2_000, 300, 90), quick_ask(1_000, 500, 10)];
    let taken = |preference: Preference| {
        let mut market = Market::new();
        let ids: Vec<OrderId> = offers.iter().map(|offer| market.place(*offer).0).collect();
        let (_, events) = market.place(bid_by(2, 5_000, 3, preference));
        let order: Vec<usize> =
            trades(&events).iter().map(|trade| ids.iter().position(|id| *id == trade.ask).unwrap()).collect();
        order
    };
    assert_eq!(taken(Preference::Price), [2, 1, 0]);
    assert_eq!(taken(Preference::Latency), [0, 1, 2]);
    assert_eq!(taken(Preference::Throughput), [1, 0, 2]);
    // Scores 300 + 100 - 100, 200 + 300 - 180, 100 + 500 - 20: 300, 320, 580.
    assert_eq!(taken(Preference::Weights { price: 100, latency: 1, throughput: 2 }), [0, 1, 2]);
    // Scores 1,500 + 100 - 50, 1,000 + 300 - 90, 500 + 500 - 10.
    assert_eq!(taken(Preference::Weights { price: 500, latency: 1, throughput: 1 }), [2, 1, 0]);
}

#[test]
fn an_ask_takes_the_highest_then_the_earliest_bid() {
    let mut market = Market::new();
    let (late, _) = market.place(bid(2, 1_000, 5));
    let (early, _) = market.place(bid(3, 1_000, 1));
    let (highest, _) = market.place(bid(3, 2_000, 1));
    let grown = Replacement { account: AccountId(2), order: late, limit: None, quantity: Some(Quantity(6)) };
    market.send(Command::ReplaceOrder(grown));
    let (_, events) = market.place(ask(1, 1_000, 10));
    let bids: Vec<OrderId> = trades(&events).iter().map(|trade| trade.bid).collect();
    assert_eq!(bids, [highest, early, late], "a bid that grew lost its place");
    assert_eq!(trades(&events)[0].price, Price(2_000), "at the resting order's price");
}

#[test]
fn a_bid_that_shrinks_keeps_its_place() {
    let mut market = Market::new();
    let (first, _) = market.place(bid(2, 1_000, 5));
    market.place(bid(3, 1_000, 1));
    let less = Replacement { account: AccountId(2), order: first, limit: None, quantity: Some(Quantity(4)) };
    let events = market.send(Command::ReplaceOrder(less));
    assert_eq!(moved(&events), [(TransferCode::Release, 1_000)]);
    let (_, events) = market.place(ask(1, 1_000, 1));
    assert_eq!(trades(&events)[0].bid, first);
}

#[test]
fn self_trades_end_as_the_arriving_order_says() {
    let arrive = |mode: SelfTrade| {
        let mut market = Market::new();
        let (own, _) = market.place(ask(2, 1_000, 3));
        market.place(ask(1, 2_000, 9));
        let arriving = NewOrder { self_trade: mode, ..bid(2, 2_000, 5) };
        let (id, events) = market.place(arriving);
        let units: Vec<u64> = trades(&events).iter().map(|trade| trade.quantity.0).collect();
        let closings = closed(&events);
        let ours = closings.iter().find(|(order, ..)| *order == id).map(|(_, left, reason)| (*left, *reason));
        let balance = *market.twin.balance(AccountId(2)).unwrap();
        assert_eq!(balance.held, Amount::ZERO, "{mode:?}");
        (units, ours, market.remaining(own))
    };
    assert_eq!(arrive(SelfTrade::CancelNewest), (vec![], Some((5, CloseReason::SelfTrade)), Some(3)));
    assert_eq!(arrive(SelfTrade::CancelOldest), (vec![5], Some((0, CloseReason::Filled)), None));
    assert_eq!(arrive(SelfTrade::CancelBoth), (vec![], Some((5, CloseReason::SelfTrade)), None));
    assert_eq!(arrive(SelfTrade::Decrement), (vec![2], Some((0, CloseReason::Filled)), None));
    assert_eq!(arrive(SelfTrade::Allow), (vec![3, 2], Some((0, CloseReason::Filled)), None));
}

#[test]
fn a_decrement_shrinks_both() {
    let mut market = Market::new();
    let (own, _) = market.place(ask(2, 1_000, 5));
    let arriving = NewOrder { self_trade: SelfTrade::Decrement, ..bid(2, 2_000, 3) };
    let (id, events) = market.place(arriving);
    let (two, zero) = (Quantity(2), Quantity(0));
    let told = [
        Event::OrderReplaced { order: own, price: Price(1_000), quantity: two, remaining: two },
        Event::LevelChanged {
            instrument: InstrumentId(1),
            side: Side::Ask,
            price: Price(1_000),
            quantity: two,
            orders: 1,
        },
        Event::OrderReplaced { order: id, price: Price(2_000), quantity: zero, remaining: zero },
    ];
    assert_eq!(events[2..5], told);
    assert_eq!(moved(&events), [(TransferCode::Hold, 6_000), (TransferCode::Release, 6_000)]);
    assert_eq!(closed(&events), [(id, 0, CloseReason::SelfTrade)]);
}

#[test]
fn fill_or_kill_and_minimum_take_all_or_nothing() {
    let mut market = Market::new();
    market.place(ask(1, 1_000, 3));
    market.place(ask(3, 1_000, 1));
    let kill = NewOrder { time_in_force: TimeInForce::Fok, ..bid(2, 1_000, 5) };
    let (id, events) = market.place(kill);
    assert_eq!(closed(&events), [(id, 5, CloseReason::Unfilled(Miss::Capacity))]);
    let too_little = NewOrder { min_quantity: Quantity(5), ..bid(2, 1_000, 9) };
    let (id, events) = market.place(too_little);
    assert_eq!(closed(&events), [(id, 9, CloseReason::Unfilled(Miss::Capacity))], "even though it may rest");
    let enough = NewOrder { min_quantity: Quantity(4), ..bid(2, 1_000, 9) };
    let (id, _) = market.place(enough);
    assert_eq!(market.remaining(id), Some(5));
}

#[test]
fn a_single_bid_comes_from_one_ask() {
    let mut market = Market::new();
    market.place(ask(1, 1_000, 3));
    let (enough, _) = market.place(ask(3, 2_000, 4));
    let terms = Terms::Bid { constraints: Constraints::default(), preference: Preference::Price, single: true };
    let (_, events) = market.place(order(2, 2_000, 4, terms));
    assert_eq!(trades(&events).len(), 1);
    assert_eq!(trades(&events)[0].ask, enough);
}

#[test]
fn ids_carry_the_lowest_free_slot() {
    let mut market = Market::new();
    let (first, _) = market.place(ask(1, 1_000, 1));
    let (second, _) = market.place(ask(1, 1_000, 1));
    assert_eq!((first, second), (OrderId(1 << 22), OrderId(2 << 22 | 1)));
    market.send(Command::CancelOrder { account: AccountId(1), order: first });
    assert_eq!(market.place(ask(1, 1_000, 1)).0, OrderId(3 << 22));
    assert_eq!(market.place(ask(1, 1_000, 1)).0, OrderId(4 << 22 | 2));
}

#[test]
fn the_breaker_opens_probes_and_closes() {
    let mut market = Market::new();
    let contracts: Vec<ContractId> = (0..8).map(|_| market.contract()).collect();
    for contract in &contracts[..4] {
        assert_eq!(breakers(&market.deliver(*contract, 0, Outcome::Failed)), []);
    }
    let events = market.deliver(contracts[4], 0, Outcome::Failed);
    assert_eq!(breakers(&events), [Breaker::Open { until: Timestamp(31 * SECOND) }]);
    let (instrument, provider) = (InstrumentId(1), AccountId(1));
    let refused = market.send(Command::PlaceOrder(ask(1, 1_000, 1)));
    let breaker = Breaker::Open { until: Timestamp(31 * SECOND) };
    assert_eq!(refused, [Event::Rejected(RejectReason::ProviderSuspended { breaker })]);
    market.now = 31 * SECOND;
    let state = Breaker::HalfOpen { probes: 3 };
    assert_eq!(market.send(Command::Tick), [Event::BreakerChanged { provider, instrument, state }]);

    let (offer, _) = market.place(ask(1, 1_000, 9));
    for bid_id in 0..3 {
        let (_, events) = market.place(bid(2, 1_000, 1));
        assert_eq!(breakers(&events), [Breaker::HalfOpen { probes: 2 - bid_id }]);
    }
    assert_eq!(market.twin.levels(instrument, Side::Ask), [], "the last probe parks what is left");
    assert_eq!(market.remaining(offer), Some(6));
    let probe = market.twin.open_contracts().last().unwrap().0;
    let events = market.deliver(probe, 0, Outcome::Abandoned);
    assert_eq!(breakers(&events), [Breaker::HalfOpen { probes: 1 }], "an abandoned probe comes back");
    assert_eq!(market.twin.levels(instrument, Side::Ask), [(Price(1_000), Quantity(7), 1)]);
    let events = market.deliver(contracts[5], 0, Outcome::Completed);
    assert_eq!(breakers(&events), [Breaker::Closed]);
    for contract in &contracts[6..] {
        assert_eq!(breakers(&market.deliver(*contract, 0, Outcome::Failed)), [], "the count began anew");
    }
}

#[test]
fn a_returning_ask_meets_the_bids_that_came_meanwhile() {
    let mut market = Market::new();
    let contracts: Vec<ContractId> = (0..5).map(|_| market.contract()).collect();
    let (offer, _) = market.place(ask(1, 1_000, 4));
    for contract in contracts {
        market.deliver(contract, 1, Outcome::Failed);
    }
    assert_eq!(market.twin.levels(InstrumentId(1), Side::Ask), []);
    let (waits, _) = market.place(bid(3, 1_000, 1));
    market.now += 30 * SECOND;
    let events = market.send(Command::Tick);
    assert_eq!(breakers(&events), [Breaker::HalfOpen { probes: 3 }, Breaker::HalfOpen { probes: 2 }]);
    assert_eq!(trades(&events)[0].taker, Side::Ask, "it arrives once more");
    assert_eq!((market.remaining(waits), market.remaining(offer)), (None, Some(3)));
}

#[test]
fn an_ask_that_would_match_waits_for_the_market_to_open() {
    let mut market = Market::new();
    let (_, events) = {
        market.place(ask(1, 1_000, 4));
        market.place(bid(2, 1_000, 3))
    };
    let contract = trades(&events)[0].contract;
    let terms = Terms::Bid { constraints: Constraints::default(), preference: Preference::Price, single: true };
    market.place(order(3, 1_000, 2, terms));
    let instrument = InstrumentId(1);
    market.send(Command::SetInstrumentState { instrument, state: InstrumentState::Halted });
    let events = market.deliver(contract, 1, Outcome::Completed);
    assert_eq!(trades(&events), []);
    let events = market.send(Command::SetInstrumentState { instrument, state: InstrumentState::Open });
    assert_eq!(trades(&events).len(), 1);
}

#[test]
fn an_average_moves_an_eighth_and_tells_of_a_sixteenth() {
    let mut latency = Gauge::default();
    latency.sample(160, true);
    assert_eq!((latency.average, latency.measured), (Some(160 * 256), Some(160)));
    latency.sample(240, true);
    assert_eq!((latency.average, latency.measured), (Some(170 * 256), Some(160)), "10 is no more than a sixteenth");
    latency.sample(171, true);
    assert_eq!((latency.average, latency.measured), (Some(170 * 256 + 32), Some(171)), "rounded up, and 11 is more");
}

#[test]
fn a_broken_promise_returns_a_part() {
    let slow = |first_token_ms: u32| {
        let mut market = Market::new();
        market.place(quick_ask(100_000, 100, 0));
        let (_, events) = market.place(bid(2, 100_000, 1));
        let events = market.send(Command::ReportDelivery(DeliveryReport {
            contract: trades(&events)[0].contract,
            quantity: Quantity(1),
            first_token_ms: Some(first_token_ms),
            throughput_tps: Some(0),
            outcome: Outcome::Completed,
            tokens: Tokens::default(),
            last: true,
        }));
        moved(&events).iter().any(|(code, atoms)| (*code, *atoms) == (TransferCode::Rebate, 5_000))
    };
    assert!(!slow(110), "within a tenth");
    assert!(slow(111));
}

#[test]
fn months_begin_where_the_calendar_says() {
    for (month, day) in [(0, 0), (1, 31), (2, 59), (12, 365), (25, 761), (26, 790), (360, 10_957), (362, 11_017)] {
        let start = Timestamp(day * DAY);
        assert_eq!(start_of(month), Some(start), "month {month}");
        assert_eq!(month_of(start), month);
        assert_eq!(month_of(Timestamp(start.0 + 27 * DAY)), month);
        assert!(day == 0 || month_of(Timestamp(start.0 - 1)) == month - 1, "month {month}");
    }
    assert_eq!(start_of(100_000), None, "past the end of time");
}

#[test]
fn the_monthly_sweep_pays_whole_cents_once_a_month() {
    let mut market = Market::new();
    market.now = 40 * DAY; // The 10th of February 1970.
    let policy = PayoutPolicy { automatic: false, monthly: true };
    market.send(Command::SetPayoutPolicy { account: AccountId(1), policy });
    market.place(ask(1, 1_000_000, 2_500));
    let (_, events) = market.place(bid(2, 1_000_000, 2_500));
    market.deliver(trades(&events)[0].contract, 2_500, Outcome::Completed);
    market.now = 59 * DAY - 1;
    assert_eq!(market.send(Command::Tick), []);
    market.now = 59 * DAY;
    assert_eq!(moved(&market.send(Command::Tick)), [(TransferCode::PayoutRequest, 2_000_000_000)]);
    market.now = 90 * DAY;
    assert_eq!(market.send(Command::Tick), [], "the half cent stays");
}

#[test]
fn a_window_forgets_minute_by_minute() {
    let mut market = Market::new();
    market.now = 600 * SECOND;
    let limit = Some(Amount(1_000));
    market.send(Command::SetGuardRail { account: AccountId(2), window: 0, limit });
    let contract = market.contract();
    market.deliver(contract, 1, Outcome::Completed);
    let committed = Amount(1_000);
    let exceeded = Event::Rejected(RejectReason::GuardRailExceeded { minutes: 5, max: Amount(1_000), committed });
    market.now = 600 * SECOND + 5 * 60 * SECOND - 1;
    assert_eq!(market.send(Command::PlaceOrder(bid(2, 1_000, 1))), std::slice::from_ref(&exceeded));
    market.now += 1;
    let (id, _) = market.place(bid(2, 1_000, 1));
    assert_eq!(market.send(Command::PlaceOrder(bid(2, 1_000, 1))), [exceeded], "what is held counts");
    market.send(Command::CancelOrder { account: AccountId(2), order: id });
    market.place(bid(2, 1_000, 1));
}

#[test]
fn a_key_counts_from_when_it_has_limits() {
    let mut market = Market::new();
    let key = KeyId(7);
    let with_key = |quantity| NewOrder { key, ..bid(2, 1_000, quantity) };
    market.place(with_key(5));
    let limits = KeyLimits { daily: Some(Amount(3_000)), monthly: None, hard: Some(Amount(4_000)) };
    market.send(Command::SetKeyLimits { account: AccountId(2), key, limits });
    market.place(with_key(2));
    let refusal = |limit, max, committed| {
        [Event::Rejected(RejectReason::KeyLimitExceeded { limit, max: Amount(max), committed: Amount(committed) })]
    };
    let events = market.send(Command::PlaceOrder(with_key(2)));
    assert_eq!(events, refusal(KeyLimit::Daily, 3_000, 2_000));
    let (_, events) = market.place(ask(1, 1_000, 7));
    for trade in trades(&events) {
        market.deliver(trade.contract, trade.quantity.0, Outcome::Completed);
    }
    market.now = DAY;
    let events = market.send(Command::PlaceOrder(with_key(3)));
    assert_eq!(events, refusal(KeyLimit::Hard, 4_000, 2_000), "the day began anew, what was spent ever did not");
    market.place(with_key(2));
}

#[test]
fn a_dispute_takes_what_is_there_and_the_rest_is_owed() {
    let mut market = Market::new();
    let (id, _) = market.place(bid(2, 1_000_000, 500_000));
    let contract = {
        let (_, events) = market.place(ask(1, 1_000_000, 400_000));
        trades(&events)[0].contract
    };
    let dispute = Command::OpenDispute {
        purchase: Reference([2; 16]),
        amount: Amount(10 * DOLLAR),
        reference: Reference([9; 16]),
    };
    let events = market.send(dispute);
    assert_eq!(closed(&events), [(id, 100_000, CloseReason::Disputed)]);
    let taken = [
        (TransferCode::Release, 100_000_000_000),
        (TransferCode::Dispute, 600_000_000_000),
        (TransferCode::Dispute, 400_000_000_000),
    ];
    assert_eq!(moved(&events), taken);
    let owed = Amount(4 * DOLLAR);
    let in_debt = [Event::Rejected(RejectReason::AccountInDebt { owed, max: Amount::ZERO })];
    assert_eq!(market.send(Command::PlaceOrder(bid(2, 1_000, 1))), in_debt);
    assert_eq!(market.send(Command::RequestPayout { account: AccountId(2), amount: None }), in_debt);
    market.deliver(contract, 0, Outcome::Abandoned);
    let events = market.send(Command::PurchaseCredits {
        account: AccountId(2),
        amount: Amount(6 * DOLLAR),
        reference: Reference([8; 16]),
    });
    assert_eq!(moved(&events), [(TransferCode::Purchase, 6 * DOLLAR), (TransferCode::Repay, 4 * DOLLAR)]);
}
