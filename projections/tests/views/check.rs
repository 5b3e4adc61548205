//! Every view against the engine, and against a plain recount of all events where the engine keeps no such figures.

use crate::market::{ACCOUNTS, INSTRUMENTS};
use gollem_engine::*;
use gollem_projections::{PayoutStatus, *};
use std::collections::BTreeMap;

/// A delivery as an account's list tells it.
type Delivery = (u64, ContractId, Quantity, Amount, Tokens);

const ALL: usize = usize::MAX;

/// Compares every view that the engine can answer for.
pub(crate) fn check(views: &Views, engine: &Engine) {
    let reader = views.read().unwrap();
    assert_eq!(reader.seq(), engine.last_seq());
    for account in (1..=ACCOUNTS).map(AccountId) {
        check_money(&reader, engine, account);
        check_orders(&reader, engine, account);
        check_contracts(&reader, engine, account);
        check_locks(&reader, engine, account);
        check_payouts(&reader, engine, account);
    }
    for instrument in (1..=INSTRUMENTS).map(InstrumentId) {
        for side in [Side::Bid, Side::Ask] {
            check_depth(&reader, engine, instrument, side);
        }
    }
    let listed = reader.instruments().unwrap();
    let rows = listed.iter().map(|row| (row.id, &row.spec));
    assert!(rows.eq(engine.instruments()), "{listed:?}");
    for row in &listed {
        assert_eq!(engine.instrument_state(row.id), Some(row.state));
        assert_eq!(reader.instrument_named(row.spec.symbol.as_str()).unwrap().as_ref(), Some(row));
    }
}

fn check_money(reader: &Reader<'_>, engine: &Engine, account: AccountId) {
    let Some(balance) = engine.balance(account) else { return };
    assert_eq!(reader.balance(account).unwrap(), *balance);
    let lines = reader.transactions(account, Page::newest(ALL)).unwrap();
    let moved = |line: &TransactionRow| {
        let at = |ledger: LedgerAccount| if ledger == LedgerAccount::Available(account) { 1 } else { 0 };
        (at(line.transfer.credit) - at(line.transfer.debit)) * line.transfer.amount.0
    };
    assert_eq!(lines.iter().map(moved).sum::<i64>(), balance.available.0, "the lines add up to the balance");
    assert_eq!(reader.spending(account).unwrap(), engine.spending_windows(account), "windows of {account:?}");
    let policies = reader.policies(account).unwrap();
    assert_eq!((policies.credit, policies.payout), (engine.credit_policy(account), engine.payout_policy(account)));
}

fn check_orders(reader: &Reader<'_>, engine: &Engine, account: AccountId) {
    let open = reader.orders(account, true, Page::newest(ALL)).unwrap();
    let expected: Vec<_> =
        engine.orders().iter().rev().filter(|order| order.account == account).map(of_engine).collect();
    assert_eq!(open.iter().map(|row| of_view(&row.order)).collect::<Vec<_>>(), expected);
    let all = reader.orders(account, false, Page::newest(ALL)).unwrap();
    assert!(all.iter().filter(|row| row.is_open()).eq(&open));
    let held: i64 = reader.holds(account, Page::newest(ALL)).unwrap().iter().map(|(_, held)| held.0).sum();
    assert_eq!(Some(Amount(held)), engine.balance(account).map(|balance| balance.held).or(Some(Amount(0))), "holds");
    for row in &open {
        assert_eq!(row.place.is_none(), engine.order(row.order.id).unwrap().parked, "{row:?}");
    }
}

/// What the view and the engine both know of an open order.
type Known = (OrderId, InstrumentId, Price, Quantity, Quantity, Terms);

fn of_view(order: &Order) -> Known {
    (order.id, order.instrument, order.price, order.quantity, order.remaining, order.terms)
}

fn of_engine(order: &OpenOrder) -> Known {
    (order.id, order.instrument, order.price, order.quantity, order.remaining, order.terms)
}

fn check_contracts(reader: &Reader<'_>, engine: &Engine, account: AccountId) {
    let open = reader.contracts(account, true, Page::newest(ALL)).unwrap();
    let own = |contract: &Contract| contract.buyer == account || contract.provider == account;
    let kept: Vec<_> = engine.contracts().into_iter().rev().filter(|(_, contract)| own(contract)).collect();
    assert_eq!(open.len(), kept.len());
    for (row, (id, kept)) in open.iter().zip(kept) {
        let Contract { buyer, provider, instrument, ask, price, quantity, escrow, expires_at, .. } = kept;
        let known = (row.id, row.buyer, row.provider, row.instrument, row.ask, row.price, row.quantity, row.escrow);
        assert_eq!(known, (id, buyer, provider, instrument, ask, price, quantity, escrow));
        assert_eq!(row.quantity.0 - row.delivered.0, kept.remaining.0, "{row:?}");
        assert_eq!((row.expires_at, row.latency_ms, row.throughput_tps), {
            (expires_at, kept.latency_ms, kept.throughput_tps)
        });
    }
    let all = reader.contracts(account, false, Page::newest(ALL)).unwrap();
    assert!(all.iter().filter(|row| row.status == ContractStatus::Open).eq(&open));
}

/// Locks are the engine's, and with the contracts that an account pays for they make up its escrow.
fn check_locks(reader: &Reader<'_>, engine: &Engine, account: AccountId) {
    let rows = reader.locks(account).unwrap();
    let known = |row: &LockRow| (row.id, row.key, row.provider, row.ask, row.price, row.quantity, row.expires_at);
    let kept = engine.locks_of(account).map(|Lock { order, contract }| {
        (order.id, order.key, contract.provider, contract.ask, contract.price, contract.quantity, contract.expires_at)
    });
    assert!(rows.iter().map(known).eq(kept), "{rows:?}");
    let contracts = reader.contracts(account, true, Page::newest(ALL)).unwrap();
    let paid = contracts.iter().filter(|row| row.buyer == account).map(|row| row.escrow.0);
    let escrow: i64 = paid.chain(rows.iter().map(|row| row.escrow.0)).sum();
    assert_eq!(escrow, engine.balance(account).map_or(0, |balance| balance.escrow.0), "{account:?}");
}

fn check_payouts(reader: &Reader<'_>, engine: &Engine, account: AccountId) {
    let rows = reader.payouts(account, Page::newest(ALL)).unwrap();
    let pending = rows.iter().rev().filter(|row| matches!(row.status, PayoutStatus::Requested | PayoutStatus::Sent));
    let pending: Vec<_> = pending.map(|row| (row.id, row.amount)).collect();
    let kept = engine.payouts().filter(|(_, payout)| payout.account == account);
    assert_eq!(pending, kept.map(|(id, payout)| (id, payout.amount)).collect::<Vec<_>>());
    let status = |status: gollem_engine::PayoutStatus| match status {
        gollem_engine::PayoutStatus::Requested => PayoutStatus::Requested,
        gollem_engine::PayoutStatus::Sent => PayoutStatus::Sent,
        gollem_engine::PayoutStatus::Confirmed => PayoutStatus::Confirmed,
    };
    for row in rows {
        match engine.payout(row.id) {
            Some(payout) => assert_eq!(row.status, status(payout.status), "{row:?}"),
            None => assert!(matches!(row.status, PayoutStatus::Failed | PayoutStatus::Returned), "{row:?}"),
        }
    }
}

fn check_depth(reader: &Reader<'_>, engine: &Engine, instrument: InstrumentId, side: Side) {
    let rows = reader.levels(instrument, side, ALL).unwrap();
    let levels: Vec<_> = rows.iter().map(|row| (row.price, row.quantity, row.orders)).collect();
    assert_eq!(levels, engine.levels(instrument, side), "{side:?}");
    let queue = reader.queue(instrument, side, ALL).unwrap();
    let ids: Vec<OrderId> = queue.iter().map(|row| row.order.id).collect();
    assert_eq!(ids, engine.queue(instrument, side), "{side:?} queue at {}", reader.seq());
    for level in rows {
        let at = queue.iter().filter(|row| row.order.price == level.price);
        let units: u64 = at.clone().map(|row| row.order.remaining.0).sum();
        assert_eq!((units, at.count()), (level.quantity.0, level.orders as usize), "the orders of a level make it up");
    }
}

/// Everything that happened, kept to count it again.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) inputs: Vec<(u64, Timestamp, Vec<Event>)>,
}

impl Told {
    /// Compares views that only events can answer for.
    pub(crate) fn check(&self, views: &Views) {
        let reader = views.read().unwrap();
        self.check_trades(&reader);
        self.check_deliveries(&reader);
        self.check_told_again(&reader);
        self.check_limits(&reader);
    }

    fn events(&self) -> impl Iterator<Item = (u64, Timestamp, &Event)> {
        self.inputs.iter().flat_map(|(seq, at, events)| events.iter().map(move |event| (*seq, *at, event)))
    }

    fn check_trades(&self, reader: &Reader<'_>) {
        for instrument in (1..=INSTRUMENTS).map(InstrumentId) {
            let trades: Vec<(u64, Timestamp, Trade)> = self
                .events()
                .filter_map(|(seq, at, event)| match event {
                    Event::Traded(trade) if trade.instrument == instrument => Some((seq, at, *trade)),
                    _ => None,
                })
                .collect();
            let rows = reader.trades(instrument, Page::newest(ALL)).unwrap();
            let told = trades.iter().rev().map(|(seq, at, trade)| (*seq, *at, trade.contract, trade.price));
            assert!(rows.iter().map(|row| (row.seq, row.at, row.contract, row.price)).eq(told));
            for seconds in CANDLE_SECONDS {
                let mut candles: BTreeMap<u64, Vec<&Trade>> = BTreeMap::new();
                for (_, at, trade) in &trades {
                    let second = at.0 / 1_000_000_000;
                    candles.entry(second / u64::from(seconds) * u64::from(seconds)).or_default().push(trade);
                }
                let rows = reader.candles(instrument, seconds, (0, u64::MAX), ALL).unwrap();
                assert_eq!(rows, candles.into_iter().map(candle).collect::<Vec<_>>(), "{seconds} s");
            }
            let minute = |at: Timestamp| at.0 / 60_000_000_000;
            let lately = trades.iter().filter(|(_, at, _)| minute(*at) + 60 > minute(reader.at()));
            let (mut value, mut units) = (0, 0);
            for (_, _, trade) in lately {
                value += u128::from(trade.price.0) * u128::from(trade.quantity.0);
                units += u128::from(trade.quantity.0);
            }
            let last = trades.last().map(|(_, _, trade)| u128::from(trade.price.0) * 1_000_000);
            let index = (value * 1_000_000).checked_div(units).or(last);
            assert_eq!(reader.index_price(instrument).unwrap().map(|index| index.million as u128), index);
        }
    }

    fn check_deliveries(&self, reader: &Reader<'_>) {
        let mut contracts: BTreeMap<ContractId, (Trade, KeyId, Attributes)> = BTreeMap::new();
        let mut orders: BTreeMap<OrderId, Order> = BTreeMap::new();
        let mut references: BTreeMap<InstrumentId, Price> = BTreeMap::new();
        let mut usage: BTreeMap<(AccountId, u32, KeyId, InstrumentId), UsageRow> = BTreeMap::new();
        let mut cards: BTreeMap<(AccountId, InstrumentId), ScorecardRow> = BTreeMap::new();
        let mut breakers: BTreeMap<(AccountId, InstrumentId), Vec<(u64, Breaker)>> = BTreeMap::new();
        for (seq, at, event) in self.events() {
            match *event {
                Event::InstrumentListed { instrument, spec } => {
                    references.insert(instrument, spec.reference_price);
                }
                Event::ReferencePriceSet { instrument, price } => {
                    references.insert(instrument, price);
                }
                Event::OrderAccepted(order) => {
                    orders.insert(order.id, order);
                }
                Event::Traded(trade) => {
                    let Terms::Ask { attributes } = orders[&trade.ask].terms else { panic!("an ask") };
                    contracts.insert(trade.contract, (trade, orders[&trade.bid].key, attributes));
                }
                Event::Delivered { contract, quantity, earned, fee, buyer_fee, rebate, tokens, .. } => {
                    let (trade, key, _) = contracts[&contract];
                    let day = (at.0 / 86_400_000_000_000) as u32;
                    usage.entry((trade.buyer, day, key, trade.instrument)).or_default().add(&UsageRow {
                        requests: 1,
                        input: tokens.input.into(),
                        cached_input: tokens.cached_input.into(),
                        output: tokens.output.into(),
                        units: quantity.0.into(),
                        spent: (earned.0 + fee.0 + buyer_fee.0 - rebate.0).into(),
                        reference: i128::from(references[&trade.instrument].0) * i128::from(quantity.0),
                    });
                    let card = cards.entry((trade.provider, trade.instrument)).or_default();
                    count_delivery(card, &contracts[&contract].2, event);
                }
                Event::ProviderMeasured { provider, instrument, latency_ms, throughput_tps } => {
                    let card = cards.entry((provider, instrument)).or_default();
                    (card.effective_latency_ms, card.effective_throughput_tps) = (latency_ms, throughput_tps);
                }
                Event::BreakerChanged { provider, instrument, state } => {
                    cards.entry((provider, instrument)).or_default().breaker = state;
                    breakers.entry((provider, instrument)).or_default().insert(0, (seq, state));
                }
                _ => {}
            }
        }
        for account in (1..=ACCOUNTS).map(AccountId) {
            let own = usage.iter().filter(|((buyer, ..), _)| *buyer == account);
            let own: Vec<Used> = own.map(|((_, day, key, of), row)| (*day, *key, *of, *row)).collect();
            assert_eq!(reader.usage(account, 0, u32::MAX).unwrap(), own, "{account:?}");
            let own = cards.iter().filter(|((provider, _), _)| *provider == account);
            let own: Vec<_> = own.map(|((_, of), card)| (*of, *card)).collect();
            assert_eq!(reader.scorecards(account).unwrap(), own);
            for instrument in (1..=INSTRUMENTS).map(InstrumentId) {
                let rows = reader.breakers(account, instrument, Page::newest(ALL)).unwrap();
                let rows: Vec<_> = rows.iter().map(|row| (row.seq, row.state)).collect();
                assert_eq!(rows, breakers.get(&(account, instrument)).cloned().unwrap_or_default());
            }
        }
    }

    /// Rows that only say again what one event said: fills' sides, deliveries, orders by client id.
    fn check_told_again(&self, reader: &Reader<'_>) {
        let mut by_client_id: BTreeMap<(AccountId, [u8; 16]), OrderId> = BTreeMap::new();
        let mut trades: BTreeMap<ContractId, Trade> = BTreeMap::new();
        let mut deliveries: BTreeMap<AccountId, Vec<Delivery>> = BTreeMap::new();
        for (seq, _, event) in self.events() {
            match *event {
                Event::OrderAccepted(Order { id, account, client_id: Some(client_id), .. }) => {
                    by_client_id.insert((account, client_id.0), id);
                }
                Event::Traded(trade) => {
                    trades.insert(trade.contract, trade);
                }
                Event::Delivered { contract, quantity, rebate, tokens, .. } => {
                    let Trade { buyer, provider, .. } = trades[&contract];
                    for account in [Some(buyer), Some(provider).filter(|provider| *provider != buyer)] {
                        let told = (seq, contract, quantity, rebate, tokens);
                        account.into_iter().for_each(|account| deliveries.entry(account).or_default().insert(0, told));
                    }
                }
                _ => {}
            }
        }
        for ((account, client_id), order) in &by_client_id {
            let found = reader.order_by_client_id(*account, ClientOrderId(*client_id)).unwrap();
            assert_eq!(found.map(|row| row.order.id), Some(*order));
        }
        for (contract, trade) in &trades {
            assert_eq!(reader.contract(*contract).unwrap().map(|row| row.taker), Some(trade.taker));
        }
        for account in (1..=ACCOUNTS).map(AccountId) {
            let rows = reader.deliveries(account, Page::newest(ALL)).unwrap();
            let rows = rows.iter().map(|row| (row.seq, row.contract, row.quantity, row.rebate, row.tokens));
            let expected = deliveries.remove(&account).unwrap_or_default();
            assert_eq!(rows.collect::<Vec<_>>(), expected, "{account:?}");
        }
    }

    fn check_limits(&self, reader: &Reader<'_>) {
        let mut limits: BTreeMap<(AccountId, KeyId), KeyLimits> = BTreeMap::new();
        let mut rails: BTreeMap<AccountId, [Option<Amount>; 17]> = BTreeMap::new();
        for (_, _, event) in self.events() {
            match *event {
                Event::KeyLimitsSet { account, key, limits: set } => drop(limits.insert((account, key), set)),
                Event::GuardRailSet { account, window, limit } => {
                    rails.entry(account).or_default()[usize::from(window)] = limit;
                }
                _ => {}
            }
        }
        for account in (1..=ACCOUNTS).map(AccountId) {
            let own = limits.iter().filter(|((owner, _), _)| *owner == account);
            let own: Vec<_> = own.map(|((_, key), limits)| (*key, *limits)).collect();
            assert_eq!(reader.key_limits(account).unwrap(), own);
            assert_eq!(reader.policies(account).unwrap().guard_rails, rails.get(&account).copied().unwrap_or_default());
        }
    }
}

fn candle((start_s, trades): (u64, Vec<&Trade>)) -> CandleRow {
    let prices = trades.iter().map(|trade| trade.price);
    CandleRow {
        start_s,
        open: trades[0].price,
        high: prices.clone().max().unwrap(),
        low: prices.min().unwrap(),
        close: trades[trades.len() - 1].price,
        units: trades.iter().map(|trade| u128::from(trade.quantity.0)).sum(),
        value: trades.iter().map(|trade| i128::from(trade.price.0) * i128::from(trade.quantity.0)).sum(),
        trades: trades.len() as u64,
    }
}

fn count_delivery(card: &mut ScorecardRow, promised: &Attributes, delivered: &Event) {
    let Event::Delivered { quantity, earned, fee, rebate, first_token_ms, throughput_tps, outcome, .. } = *delivered
    else {
        return;
    };
    match outcome {
        Outcome::Completed => card.completed += 1,
        Outcome::Abandoned => card.abandoned += 1,
        Outcome::Failed => card.failed += 1,
        Outcome::Overstated => card.overstated += 1,
    }
    card.breaches += u64::from(rebate > Amount::ZERO);
    card.units += u128::from(quantity.0);
    card.earned += i128::from(earned.0);
    card.fees += i128::from(fee.0);
    card.rebates += i128::from(rebate.0);
    let measured = [
        (&mut card.latency_ms, promised.latency_ms, first_token_ms),
        (&mut card.throughput_tps, promised.throughput_tps, throughput_tps),
    ];
    for (sum, promised, measured) in measured {
        if let (Some(measured), true) = (measured, promised > 0) {
            sum.deliveries += 1;
            sum.promised += u64::from(promised);
            sum.measured += u64::from(measured);
        }
    }
}
