//! Snapshots as files: the format is pinned, and damage is noticed wherever it is.

use crate::market::{Market, plain};
use gollem_engine::*;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;

const SECOND: u64 = 1_000_000_000;
const DOLLAR: i64 = 100 * ATOMS_PER_CENT;
const FIRST: InstrumentId = InstrumentId(1);
const SECOND_MARKET: InstrumentId = InstrumentId(2);
const BUYER: AccountId = AccountId(1);
const PROVIDER: AccountId = AccountId(2);
const FAILING: AccountId = AccountId(3);

fn written(engine: &Engine) -> Vec<u8> {
    let mut snapshot = Vec::new();
    engine.write_snapshot(&mut snapshot).expect("memory takes everything");
    snapshot
}

fn read(mut bytes: &[u8]) -> Result<Engine, SnapshotError> {
    Engine::read_snapshot(&mut bytes)
}

fn order(account: AccountId, instrument: InstrumentId, quantity: u64, price: u64, terms: Terms) -> NewOrder {
    NewOrder {
        account,
        key: KeyId(0),
        instrument,
        client_id: None,
        limit: Some(Price(price)),
        quantity: Quantity(quantity),
        min_quantity: Quantity(0),
        time_in_force: TimeInForce::Gtc,
        post_only: false,
        cancel_on_disconnect: false,
        self_trade: SelfTrade::default(),
        terms,
    }
}

fn ask(account: AccountId, instrument: InstrumentId, quantity: u64, price: u64, latency_ms: u32) -> NewOrder {
    let gpu = GpuClass::from_name("h100").expect("a known name");
    let attributes = Attributes { latency_ms, throughput_tps: 50, gpu, ..Attributes::default() };
    order(account, instrument, quantity, price, Terms::Ask { attributes })
}

fn bid(instrument: InstrumentId, quantity: u64, price: u64, constraints: Constraints) -> NewOrder {
    let (preference, single) = (Preference::Weights { price: 1, latency: 2, throughput: 3 }, false);
    order(BUYER, instrument, quantity, price, Terms::Bid { constraints, preference, single })
}

/// A market with something in every part of a snapshot.
fn scenario() -> Engine {
    let mut market = Market { engine: Engine::new(), now: 20_000 * 86_400 * SECOND };
    let any = Constraints::default();
    let reference = |name: u8| Reference([name; 16]);
    (0..4).for_each(|_| drop(market.send(Command::OpenAccount)));
    for symbol in ["first", "second"] {
        let spec = InstrumentSpec { taker_fee_bps: 20, rebate_bps: 100, ..plain(symbol) };
        market.send(Command::ListInstrument(Box::new(spec)));
    }
    for (name, account) in [(1, BUYER), (2, BUYER), (3, PROVIDER)] {
        let amount = Amount(900 * DOLLAR);
        market.send(Command::PurchaseCredits { account, amount, reference: reference(name) });
    }
    let (daily, monthly) = (Some(Amount(800 * DOLLAR)), None);
    let limits = KeyLimits { daily, monthly, hard: Some(Amount(900 * DOLLAR)) };
    market.send(Command::SetKeyLimits { account: BUYER, key: KeyId(4), limits });
    market.send(Command::SetGuardRail { account: BUYER, window: 3, limit: Some(Amount(700 * DOLLAR)) });
    market.send(Command::SetCreditPolicy {
        account: BUYER,
        policy: CreditPolicy { overage_cap: Amount(5 * DOLLAR), auto_renew: true },
    });
    market
        .send(Command::SetPayoutPolicy { account: PROVIDER, policy: PayoutPolicy { automatic: false, monthly: true } });
    let million = 1_000_000;
    for (provider, price, latency) in [(PROVIDER, 700_000, 200), (PROVIDER, 700_001, 200), (FAILING, 700_002, 300)] {
        market.send(Command::PlaceOrder(ask(provider, FIRST, million, price, latency)));
    }
    market.send(Command::PlaceOrder(ask(FAILING, SECOND_MARKET, 5, 9, 0)));
    // Trades and deliveries in three minutes; one provider fails until its breaker opens.
    for (minute, quantity) in [(1, 3_000), (1, 100), (2, 200), (5, 300)] {
        market.now += minute * 60 * SECOND;
        let (key, client_id) = (KeyId(4), Some(ClientOrderId([minute as u8; 16])));
        let new = bid(FIRST, quantity, million - 1, any);
        market.send(Command::PlaceOrder(NewOrder { key, client_id, time_in_force: TimeInForce::Ioc, ..new }));
        let deliver = |contract, first_token_ms, last| DeliveryReport {
            contract,
            quantity: Quantity(quantity - 50),
            first_token_ms,
            throughput_tps: Some(60),
            outcome: Outcome::Completed,
            tokens: Tokens::default(),
            last,
        };
        let newest = market.engine.contracts().last().map(|(id, _)| *id);
        market.send(Command::ReportDelivery(deliver(newest.expect("it traded"), Some(190), minute == 2)));
    }
    market.send(Command::PlaceOrder(NewOrder {
        time_in_force: TimeInForce::Ioc,
        ..bid(SECOND_MARKET, 5, 9, Constraints { max_latency_ms: Some(400), ..any })
    }));
    let (contract, _) = *market.engine.contracts().last().expect("it traded");
    market.send(Command::PlaceOrder(ask(FAILING, SECOND_MARKET, 5, 8, 40)));
    for _ in 0..5 {
        let (quantity, outcome) = (Quantity(0), Outcome::Failed);
        let failed = DeliveryReport {
            contract,
            quantity,
            first_token_ms: None,
            throughput_tps: None,
            outcome,
            tokens: Tokens::default(),
            last: false,
        };
        market.send(Command::ReportDelivery(failed));
    }
    market.send(Command::RequestPayout { account: PROVIDER, amount: Some(Amount(ATOMS_PER_CENT)) });
    market.send(Command::RequestPayout { account: PROVIDER, amount: Some(Amount(ATOMS_PER_CENT)) });
    market.send(Command::ConfirmPayout { payout: PayoutId(2) });
    market.send(Command::RefundPurchase { purchase: reference(1), amount: Amount(DOLLAR), reference: reference(7) });
    market.send(Command::RecordRefund { purchase: reference(1), amount: Amount(DOLLAR), reference: reference(9) });
    market.send(Command::FailRefund { reference: reference(9) });
    market.send(Command::OpenDispute { purchase: reference(2), amount: Amount(DOLLAR), reference: reference(8) });
    // Resting orders of every kind.
    let until = TimeInForce::Gtd(Timestamp(market.now + 90 * SECOND));
    market.send(Command::PlaceOrder(NewOrder { time_in_force: until, ..bid(FIRST, 40, 600_000, any) }));
    let demands = Constraints { min_throughput_tps: Some(10), gpus: 2, ..any };
    market.send(Command::PlaceOrder(NewOrder { key: KeyId(4), ..bid(FIRST, 50, 600_001, demands) }));
    market.send(Command::PlaceOrder(ask(PROVIDER, SECOND_MARKET, 20, 30, 10)));
    market.send(Command::SetTimer { account: BUYER, timer: Timer::DeadMan, after_ns: Some(60 * SECOND) });
    // An ask gets its units back while its market may not match, and waits: a single bid wants as many.
    let offer = NewOrder { time_in_force: TimeInForce::Gtc, ..ask(PROVIDER, SECOND_MARKET, 20, 31, 10) };
    market.send(Command::PlaceOrder(offer));
    let single = Terms::Bid { constraints: any, preference: Preference::Price, single: true };
    let part = order(BUYER, SECOND_MARKET, 15, 30, single);
    market.send(Command::PlaceOrder(part));
    let (contract, _) = *market.engine.contracts().last().expect("it traded");
    market.send(Command::PlaceOrder(order(BUYER, SECOND_MARKET, 18, 30, single)));
    let locked = NewOrder { time_in_force: TimeInForce::Ioc, ..order(BUYER, FIRST, 7, 700_000, single) };
    market.send(Command::LockQuote(Box::new(locked)));
    market.send(Command::SetInstrumentState { instrument: SECOND_MARKET, state: InstrumentState::Halted });
    let (quantity, outcome) = (Quantity(1), Outcome::Abandoned);
    market.send(Command::ReportDelivery(DeliveryReport {
        contract,
        quantity,
        first_token_ms: None,
        throughput_tps: None,
        outcome,
        tokens: Tokens::default(),
        last: true,
    }));
    market.engine
}

/// Number of the part, and length, of each chunk.
fn chunks(snapshot: &[u8]) -> Vec<(u8, usize)> {
    let (mut at, mut chunks) = (12, Vec::new());
    while at < snapshot.len() {
        let length = u32::from_le_bytes(snapshot[at + 5..at + 9].try_into().expect("four bytes")) as usize;
        chunks.push((snapshot[at], length));
        at += 9 + length + 8;
    }
    chunks
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// `GOLDEN_SNAPSHOT=write` makes the files anew: only for a format that no released version has written.
#[test]
fn the_newest_version_stays_readable() {
    let (snapshot, hash) = (golden("snapshot_v3.bin"), golden("snapshot_v3.hash"));
    if std::env::var("GOLDEN_SNAPSHOT").is_ok_and(|wish| wish == "write") {
        let engine = scenario();
        std::fs::write(&snapshot, written(&engine)).expect("the golden file can be written");
        std::fs::write(&hash, format!("{}\n", engine.state_hash())).expect("the golden file can be written");
    }
    let bytes = std::fs::read(&snapshot).expect("the golden file is there");
    let expected = std::fs::read_to_string(&hash).expect("the golden hash is there");
    let engine = read(&bytes).expect("old snapshots can be read");
    assert_eq!(engine.state_hash().to_string(), expected.trim());
    assert!(written(&engine) == bytes, "the same state has the same bytes");
    let parts: BTreeSet<u8> = chunks(&bytes).into_iter().map(|(part, _)| part).collect();
    assert_eq!(parts, (0..=18).collect(), "it holds something of every part");
}

#[test]
fn the_first_version_which_had_no_locks_stays_readable() {
    let bytes = std::fs::read(golden("snapshot_v1.bin")).expect("the golden file is there");
    let expected = std::fs::read_to_string(golden("snapshot_v1.hash")).expect("the golden hash is there");
    let engine = read(&bytes).expect("old snapshots can be read");
    assert_eq!(engine.state_hash().to_string(), expected.trim(), "a state without locks has the hash it had");
    assert_eq!(engine.locks().count(), 0);
    let parts: Vec<u8> = chunks(&bytes).into_iter().map(|(part, _)| part).collect();
    assert_eq!(parts.last(), Some(&16), "its end has the number that locks have now");
    assert_eq!(read(&written(&engine)).expect("it is sound").state_hash(), engine.state_hash());
}

#[test]
fn the_second_version_stays_readable_and_its_states_have_the_hash_they_had() {
    let bytes = std::fs::read(golden("snapshot_v2.bin")).expect("the golden file is there");
    let expected = std::fs::read_to_string(golden("snapshot_v2.hash")).expect("the golden hash is there");
    let engine = read(&bytes).expect("old snapshots can be read");
    assert_eq!(
        engine.state_hash().to_string(),
        expected.trim(),
        "a pending payout and a refund have the bytes they had"
    );
    assert_eq!(engine.payout(PayoutId(1)).map(|payout| payout.status), Some(PayoutStatus::Requested));
    assert!(engine.knows_refund(Reference([7; 16])));
    let parts: Vec<u8> = chunks(&bytes).into_iter().map(|(part, _)| part).collect();
    assert_eq!(parts.last(), Some(&17), "its end has the number that failed refunds have now");
    assert_eq!(read(&written(&engine)).expect("it is sound").state_hash(), engine.state_hash());
}

/// Refuses to give more than a chunk at once: no length may decide how much is read, and so allocated.
struct Wary<'a>(&'a [u8]);

impl Read for Wary<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        assert!(bytes.len() <= 64 * 1024, "asks for {} bytes at once", bytes.len());
        self.0.read(bytes)
    }
}

#[test]
fn a_snapshot_with_any_byte_changed_or_cut_anywhere_is_refused() {
    let snapshot = written(&scenario());
    Engine::read_snapshot(&mut Wary(&snapshot)).expect("it is sound");
    for at in 0..snapshot.len() {
        for change in [1 << (at % 8), 0xff] {
            let mut damaged = snapshot.clone();
            damaged[at] ^= change;
            let error = Engine::read_snapshot(&mut Wary(&damaged)).expect_err("it is damaged");
            let fitting = match at {
                0..8 => matches!(error, SnapshotError::NotASnapshot),
                8 if damaged[8] < 3 => matches!(error, SnapshotError::Corrupt { .. }), // An older version.
                8..12 => matches!(error, SnapshotError::UnknownVersion { newest: 3, .. }),
                _ => matches!(error, SnapshotError::Corrupt { .. }),
            };
            assert!(fitting, "byte {at}: {error}");
        }
        let error = Engine::read_snapshot(&mut Wary(&snapshot[..at])).expect_err("it is cut");
        let fitting = if at < 8 {
            matches!(error, SnapshotError::NotASnapshot)
        } else {
            matches!(error, SnapshotError::Corrupt { .. })
        };
        assert!(fitting, "cut to {at}: {error}");
    }
}

#[test]
fn chunks_that_are_lost_repeated_or_swapped_are_noticed() {
    let mut engine = Engine::new();
    for seq in 1..=3_000 {
        let input = Input { seq, at: Timestamp(1), command: Command::OpenAccount };
        engine.apply(&input, &mut Events::new());
    }
    let snapshot = written(&engine);
    assert!(chunks(&snapshot).iter().all(|(_, length)| *length <= 64 * 1024));
    let mut ends: Vec<usize> = chunks(&snapshot).iter().map(|(_, length)| 9 + length + 8).collect();
    ends.iter_mut().fold(12, |sum, end| {
        *end += sum;
        *end
    });
    assert_eq!(ends.len(), 5, "a header, three chunks of accounts, an end");
    let pieces: Vec<&[u8]> = [0].iter().chain(&ends).zip(&ends).map(|(from, to)| &snapshot[*from..*to]).collect();
    assert!(read(&pieces.concat()).is_ok());
    for order in [&[0, 2, 3, 4][..], &[0, 1, 3, 4], &[0, 1, 1, 2, 3, 4], &[0, 2, 1, 3, 4], &[0, 4], &[0, 1, 2, 3]] {
        let changed: Vec<&[u8]> = order.iter().map(|piece| pieces[*piece]).collect();
        let error = read(&changed.concat()).expect_err("it is not whole");
        assert!(matches!(error, SnapshotError::Corrupt { .. }), "{order:?}: {error}");
    }
}

/// Enough for several chunks of orders, contracts and spending; then everything is taken, on both sides.
#[test]
fn a_large_book_comes_back_in_its_order() {
    let mut market = Market { engine: Engine::new(), now: 20_000 * 86_400 * SECOND };
    (0..3).for_each(|_| drop(market.send(Command::OpenAccount)));
    market.send(Command::ListInstrument(Box::new(plain("first"))));
    market.send(Command::PurchaseCredits { account: BUYER, amount: Amount(DOLLAR), reference: Reference([1; 16]) });
    let mut random = 1_u64;
    let mut next = |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let any = Constraints::default();
    for _ in 0..3_000 {
        let provider = AccountId(2 + next(2) as u32);
        let latency = [100, 100, 200, 300][next(4) as usize];
        market.send(Command::PlaceOrder(ask(provider, FIRST, 2, 500 + next(40), latency)));
        let demands = if next(2) == 0 { any } else { Constraints { max_latency_ms: Some(250), ..any } };
        market.send(Command::PlaceOrder(bid(FIRST, 2, 400 + next(40), demands)));
    }
    for order in market.engine.orders() {
        let (account, order, quantity) = (order.account, order.id, Some(Quantity(1 + next(3))));
        market.send(Command::ReplaceOrder(Replacement { account, order, limit: None, quantity }));
    }
    for _ in 0..600 {
        market.now += 60 * SECOND;
        market.send(Command::PlaceOrder(bid(FIRST, 2, 600, any)));
        let (contract, _) = *market.engine.contracts().last().expect("it traded");
        let report = DeliveryReport {
            contract,
            quantity: Quantity(1),
            first_token_ms: None,
            throughput_tps: None,
            outcome: Outcome::Completed,
            tokens: Tokens::default(),
            last: next(8) > 0,
        };
        market.send(Command::ReportDelivery(report));
    }
    let snapshot = written(&market.engine);
    assert!(written(&read(&snapshot).expect("it is sound")) == snapshot);
    let several = |part: u8| chunks(&snapshot).iter().filter(|(found, _)| *found == part).count() > 1;
    let spending = chunks(&snapshot).iter().any(|(part, length)| *part == 13 && *length > 600 * 20);
    assert!(several(4) && spending, "{:?}", chunks(&snapshot));
    let mut copy = Market { engine: read(&snapshot).expect("it is sound"), now: market.now };
    let windows = |market: &Market| market.engine.spending_windows(BUYER);
    assert_eq!(windows(&market), windows(&copy));
    for price in [510, 520, 1_000] {
        let command = Command::PlaceOrder(bid(FIRST, 4_000, price, any));
        assert_eq!(market.send(command.clone()), copy.send(command));
        let command = Command::PlaceOrder(ask(PROVIDER, FIRST, 1_500, 430 - price / 20, 240));
        assert_eq!(market.send(command.clone()), copy.send(command));
        (market.now, copy.now) = (market.now + 400 * SECOND, copy.now + 400 * SECOND);
        assert_eq!(market.send(Command::Tick), copy.send(Command::Tick));
        assert_eq!(windows(&market), windows(&copy));
    }
    assert_eq!(market.engine.state_hash(), copy.engine.state_hash());
}

#[test]
fn a_snapshot_is_read_to_its_end_and_no_further() {
    let engine = scenario();
    let mut stream = written(&engine);
    stream.extend_from_slice(b"more");
    let mut rest = stream.as_slice();
    assert_eq!(Engine::read_snapshot(&mut rest).expect("it is sound").state_hash(), engine.state_hash());
    assert_eq!(rest, b"more");
}

#[test]
fn failures_of_the_disk_are_told_as_such() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("no disk"))
        }
    }
    let snapshot = written(&scenario());
    for at in [0, 5, 8, 12, 100, snapshot.len() - 1] {
        let error = Engine::read_snapshot(&mut (&snapshot[..at]).chain(Failing)).expect_err("the disk failed");
        assert!(matches!(error, SnapshotError::Io(_)), "{at}: {error}");
    }
}
