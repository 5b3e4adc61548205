//! Snapshots that are whole, but that no engine would have written.

use super::write::Chunks;
use super::*;
use crate::orders::OrderRow;
use crate::{
    AccountId, Attributes, Balance, Command, Engine, Events, Input, InstrumentId, InstrumentSpec, InstrumentState,
    KeyId, NewOrder, Price, Quantity, SelfTrade, Symbol, Terms, TimeInForce, TokenWeights,
};

/// One account with one ask.
fn engine() -> Engine {
    let spec = InstrumentSpec {
        symbol: Symbol::new("x").unwrap(),
        weights: TokenWeights { input: 1, cached_input: 1, output: 1 },
        tick: Price(1),
        price_max: Price(1_000),
        reference_price: Price(100),
        band_bps: 0,
        lot: Quantity(1),
        quantity_min: Quantity(1),
        quantity_max: Quantity(1_000),
        maker_fee_bps: 0,
        taker_fee_bps: 0,
        delivery_fee_bps: 0,
        tolerance_bps: 0,
        rebate_bps: 0,
        contract_ttl_ns: 1_000,
    };
    let ask = NewOrder {
        account: AccountId(1),
        key: KeyId(0),
        instrument: InstrumentId(1),
        client_id: None,
        limit: Some(Price(5)),
        quantity: Quantity(9),
        min_quantity: Quantity(0),
        time_in_force: TimeInForce::Gtc,
        post_only: false,
        cancel_on_disconnect: false,
        self_trade: SelfTrade::Allow,
        terms: Terms::Ask { attributes: Attributes::default() },
    };
    let commands = [Command::OpenAccount, Command::ListInstrument(Box::new(spec)), Command::PlaceOrder(ask)];
    let mut engine = Engine::new();
    for (seq, command) in (1..).zip(commands) {
        engine.apply(&Input { seq, at: Timestamp(1), command }, &mut Events::new());
    }
    assert_eq!(engine.open_orders(), 1);
    engine
}

/// A snapshot of that engine with other orders.
fn with_orders(orders: &[OrderRow], change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let engine = engine();
    let mut header = engine.header();
    change(&mut header);
    let mut bytes = Vec::new();
    let mut chunks = Chunks::begin(&mut bytes, VERSION).unwrap();
    chunks.part(Part::Header, [header]).unwrap();
    chunks.part(Part::Accounts, [Balance::default()]).unwrap();
    let spec = *engine.instruments().next().unwrap().1;
    chunks.part(Part::Markets, [(spec, InstrumentState::Open)]).unwrap();
    chunks.part(Part::Orders, orders).unwrap();
    chunks.end().unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Result<Engine, SnapshotError> {
    Engine::read_snapshot(&mut &*bytes)
}

fn corrupt(bytes: &[u8]) -> String {
    let error = read(bytes).unwrap_err();
    let SnapshotError::Corrupt { part, what, .. } = error else { panic!("{error}") };
    format!("{part}: {what}")
}

#[test]
fn rows_that_cannot_be_are_refused_even_under_a_good_check() {
    let row = engine().orders.row(1).unwrap();
    assert!(read(&with_orders(&[row], |_| ())).is_ok());
    let impossible = [
        OrderRow { id: 0, ..row },
        // The second slot, and the second order, where one order was ever made.
        OrderRow { id: row.id + 1, ..row },
        OrderRow { id: 2 << crate::ids::SLOT_BITS, ..row },
        OrderRow { id: row.id | ((1 << crate::ids::SLOT_BITS) - 1), ..row },
        OrderRow { ticks: 1_001, ..row },
        OrderRow { remaining: 10, ..row },
        OrderRow { quantity: u64::MAX, remaining: u64::MAX, ..row },
        OrderRow { account: AccountId(2), ..row },
        OrderRow { account: AccountId(0), ..row },
        OrderRow { instrument: InstrumentId(2), ..row },
    ];
    for wrong in impossible {
        let told = corrupt(&with_orders(&[wrong], |_| ()));
        assert!(told.starts_with("orders: a"), "{wrong:?} is {told}");
    }
    assert_eq!(corrupt(&with_orders(&[row, row], |_| ())), "orders: an order that cannot be");
}

#[test]
fn whole_bytes_that_make_another_state_are_told_apart() {
    let row = engine().orders.row(1).unwrap();
    for other in [OrderRow { remaining: 8, ..row }, OrderRow { time: 77, ..row }] {
        let error = read(&with_orders(&[other], |_| ())).unwrap_err();
        assert!(matches!(error, SnapshotError::StateMismatch { expected, .. } if expected == engine().state_hash()));
    }
    let error = read(&with_orders(&[], |_| ())).unwrap_err();
    assert!(matches!(error, SnapshotError::StateMismatch { .. }), "{error}");
    let told = corrupt(&with_orders(&[row], |header| header.counts[2] = 2));
    assert_eq!(told, "end: not as many rows as the header says");
}

#[test]
fn parts_come_in_order_and_versions_are_known() {
    let chunks = |version: u32, parts: &[Part]| {
        let mut bytes = Vec::new();
        let mut chunks = Chunks::begin(&mut bytes, version).unwrap();
        for part in parts {
            if *part == Part::Header {
                chunks.part(*part, [Engine::new().header()]).unwrap();
            } else {
                chunks.part(*part, [Balance::default()]).unwrap();
            }
        }
        chunks.end().unwrap();
        bytes
    };
    assert!(read(&chunks(VERSION, &[Part::Header])).is_ok());
    let error = read(&chunks(4, &[Part::Header])).unwrap_err();
    assert!(matches!(error, SnapshotError::UnknownVersion { found: 4, newest: VERSION }));
    assert_eq!(corrupt(&chunks(VERSION, &[])), "end: the header is missing");
    assert_eq!(corrupt(&chunks(VERSION, &[Part::Accounts])), "accounts: the header is missing");
    assert_eq!(corrupt(&chunks(VERSION, &[Part::Header, Part::Header])), "header: a second header");
    let disorder = corrupt(&chunks(VERSION, &[Part::Header, Part::Markets, Part::Accounts]));
    assert!(disorder.starts_with("markets: "), "a balance is no market, and accounts do not come after it: {disorder}");
    assert_eq!(read(&[]).unwrap_err().to_string(), "this is not a snapshot");
}

/// Version 2 dropped confirmed payouts; what it wrote would go on to refuse what the journal says was done.
#[test]
fn an_older_version_is_read_only_if_no_payout_had_ended() {
    let snapshot = |version: u32, end: Part, payouts: u64| {
        let engine = Engine { next_payout: payouts + 1, ..Engine::new() };
        let mut bytes = Vec::new();
        let mut chunks = Chunks::begin(&mut bytes, version).unwrap();
        chunks.part(Part::Header, [engine.header()]).unwrap();
        chunks.end_chunk(end).unwrap();
        bytes
    };
    for (version, end) in [(1, Part::Locks), (2, Part::FailedRefunds)] {
        assert!(read(&snapshot(version, end, 0)).is_ok());
        let error = read(&snapshot(version, end, 1)).unwrap_err();
        assert!(matches!(error, SnapshotError::PayoutsForgotten { found } if found == version), "{error}");
    }
    assert!(read(&snapshot(VERSION, Part::End, 1)).is_ok(), "it failed, or was returned");
}
