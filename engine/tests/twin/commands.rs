//! A seeded stream of commands that keeps to the corners: few accounts on both sides of two narrow books, small
//! quantities, failing providers, small limits, and every invalid command now and then.

use gollem_engine::naive::Twin;
use gollem_engine::*;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
const DOLLAR: i64 = 100 * ATOMS_PER_CENT;
const ACCOUNTS: u64 = 6;
const INSTRUMENTS: usize = 2;

/// splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 to `bound - 1`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// From `least` to `most`, both included.
    pub(crate) fn within(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        let index = self.below(choices.len().max(1) as u64);
        choices.get(index as usize).copied()
    }

    /// The first choice so many times in their sum, and so on.
    pub(crate) fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        weights.iter().position(|weight| left.checked_sub(*weight).map(|rest| left = rest).is_none()).unwrap_or(0)
    }
}

/// The next command, and how many nanoseconds after the one before.
pub(crate) fn command(random: &mut Random, twin: &Twin) -> (u64, Command) {
    if twin.now() == Timestamp(0) {
        return (20_000 * DAY, Command::OpenAccount);
    }
    if (twin.accounts() as u64) < ACCOUNTS {
        return (0, Command::OpenAccount);
    }
    let instruments = twin.instruments().count();
    if instruments < INSTRUMENTS {
        return (0, Command::ListInstrument(Box::new(spec(instruments))));
    }
    let elapsed = match random.weighted(&[10_000, 8_000, 1_200, 200, 2]) {
        0 => 0,
        1 => random.within(1, SECOND),
        2 => random.within(1, 5) * SECOND,
        3 => random.within(1, 60) * SECOND,
        _ => random.within(1, 40) * DAY,
    };
    if let Some(reopen) = reopen(random, twin) {
        return (elapsed, reopen);
    }
    (elapsed, any(random, twin))
}

/// A restricted market seldom stays so for long.
fn reopen(random: &mut Random, twin: &Twin) -> Option<Command> {
    let (instrument, ..) = twin.instruments().find(|(.., state)| *state != InstrumentState::Open)?;
    let state = InstrumentState::Open;
    random.one_in(20).then_some(Command::SetInstrumentState { instrument, state })
}

fn any(random: &mut Random, twin: &Twin) -> Command {
    // As many deliveries as contracts can bear.
    let deliveries = 30 + 30 * (twin.open_contracts().count() as u64).min(10);
    match random.weighted(&[450, deliveries, 90, 20, 2, 30, 60, 8, 30, 90]) {
        0 => Command::PlaceOrder(new_order(random, twin)),
        1 => Command::ReportDelivery(delivery(random, twin)),
        2 => replacement(random, twin),
        3 => cancel(random, twin),
        4 => Command::CancelOrders {
            account: account(random),
            instrument: if random.one_in(2) { Some(instrument(random)) } else { None },
            side: random.one_of(&[None, Some(Side::Bid), Some(Side::Ask)]).flatten(),
        },
        5 => market(random, twin),
        6 => money(random, twin),
        7 => limits(random),
        8 => Command::Tick,
        _ => lock(random, twin),
    }
}

fn account(random: &mut Random) -> AccountId {
    AccountId(if random.one_in(200) { 99 } else { random.within(1, ACCOUNTS) as u32 })
}

fn instrument(random: &mut Random) -> InstrumentId {
    InstrumentId(if random.one_in(200) { 9 } else { random.within(1, INSTRUMENTS as u64) as u32 })
}

/// The first market's unit costs about 10 cents, the second's about 2 dollars and has a lot of two.
fn spec(index: usize) -> InstrumentSpec {
    let second = index == 1;
    let tick = if second { 2_000_000_000 } else { 100_000_000 };
    let lot = if second { 2 } else { 1 };
    InstrumentSpec {
        symbol: Symbol::new(if second { "second" } else { "first" }).expect("a valid symbol"),
        weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
        tick: Price(tick),
        price_max: Price(200 * tick),
        reference_price: Price(100 * tick),
        band_bps: if second { 500 } else { 0 },
        lot: Quantity(lot),
        quantity_min: Quantity(lot),
        quantity_max: Quantity(1_000_000_000),
        maker_fee_bps: if second { 0 } else { 7 },
        taker_fee_bps: if second { 0 } else { 33 },
        delivery_fee_bps: 100,
        tolerance_bps: 1_000,
        rebate_bps: 500,
        contract_ttl_ns: if second { 20 * SECOND } else { 90 * SECOND },
    }
}

/// Of six ticks around the reference price, seldom beyond them.
fn price(random: &mut Random, twin: &Twin, instrument: InstrumentId) -> Price {
    let known = twin.instruments().find(|(id, ..)| *id == instrument);
    let tick = known.map_or(1, |(_, spec, _)| spec.tick.0);
    match random.below(150) {
        0 => Price(0),
        1 => Price(tick * 100 + 1),
        2 => Price(tick * 201),
        3 => Price(tick * random.within(90, 110)),
        _ => Price(tick * random.within(97, 102)),
    }
}

fn quantity(random: &mut Random, instrument: InstrumentId) -> Quantity {
    let lot = if instrument == InstrumentId(2) { 2 } else { 1 };
    match random.below(300) {
        0 => Quantity(0),
        1 => Quantity(3),
        2 => Quantity(2_000_000_000),
        3 => Quantity(900_000_000),
        4..=20 => Quantity(lot * 40),
        21..=200 => Quantity(lot * random.within(1, 3)),
        _ => Quantity(lot * random.within(1, 9)),
    }
}

fn attributes(random: &mut Random) -> Attributes {
    let gpus = ["h100", "a100"].map(|name| GpuClass::from_name(name).unwrap_or_default());
    let regions = ["eu", "us"].map(|name| Region::from_name(name).unwrap_or_default());
    let precisions = ["fp8", "bf16"].map(|name| Precision::from_name(name).unwrap_or_default());
    Attributes {
        latency_ms: random.below(5) as u32 * 100,
        throughput_tps: random.below(5) as u32 * 20,
        gpu: random.one_of(&gpus).unwrap_or_default(),
        region: random.one_of(&regions).unwrap_or_default(),
        precision: random.one_of(&precisions).unwrap_or_default(),
    }
}

/// Mostly none, so that most orders can match.
fn constraints(random: &mut Random) -> Constraints {
    let wanted = attributes(random);
    let mut constraints = Constraints::default();
    match random.below(12) {
        0 => constraints.max_latency_ms = Some(wanted.latency_ms),
        1 | 2 => constraints.max_latency_ms = Some(250 + wanted.latency_ms / 4),
        3 => constraints.min_throughput_tps = Some(wanted.throughput_tps),
        4 => constraints.gpus = wanted.gpu.bit(),
        5 => constraints.regions = wanted.region.bit(),
        6 => constraints.precisions = wanted.precision.bit(),
        7 => {
            constraints.max_latency_ms = Some(wanted.latency_ms + 100);
            constraints.gpus = wanted.gpu.bit();
        }
        _ => {}
    }
    constraints
}

fn preference(random: &mut Random) -> Preference {
    let least = u64::from(!random.one_in(100));
    let mut weight = |most| random.within(least, most) as u16;
    let weights = Preference::Weights { price: weight(20), latency: weight(3), throughput: weight(3) };
    let choices = [Preference::Price, Preference::Price, Preference::Latency, Preference::Throughput, weights];
    random.one_of(&choices).unwrap_or_default()
}

fn terms(random: &mut Random) -> Terms {
    if random.one_in(2) {
        // Mostly better than what is measured later.
        let mut attributes = attributes(random);
        if random.one_in(2) {
            (attributes.latency_ms, attributes.throughput_tps) = (100, 100);
        }
        return Terms::Ask { attributes };
    }
    Terms::Bid { constraints: constraints(random), preference: preference(random), single: random.one_in(3) }
}

pub(crate) fn new_order(random: &mut Random, twin: &Twin) -> NewOrder {
    let instrument = instrument(random);
    let quantity = quantity(random, instrument);
    let gtd = twin.now().0 + random.within(1, 20) * SECOND - if random.one_in(40) { 20 * SECOND } else { 0 };
    let forces = [TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok, TimeInForce::Gtd(Timestamp(gtd))];
    let time_in_force = forces[random.weighted(&[14, 4, 2, 4])];
    let immediate = !time_in_force.may_rest();
    let modes = [
        SelfTrade::CancelNewest,
        SelfTrade::CancelOldest,
        SelfTrade::CancelBoth,
        SelfTrade::Decrement,
        SelfTrade::Allow,
    ];
    let post_only = random.one_in(if immediate { 100 } else { 8 });
    let minimum =
        if random.one_in(if post_only { 40 } else { 6 }) { random.within(1, quantity.0.clamp(1, 20)) } else { 0 };
    NewOrder {
        account: account(random),
        key: KeyId(random.below(4) as u32),
        instrument,
        client_id: random.one_in(4).then(|| client_id(random)),
        limit: if random.one_in(if immediate { 4 } else { 100 }) {
            None
        } else {
            Some(price(random, twin, instrument))
        },
        quantity,
        min_quantity: Quantity(if random.one_in(200) { quantity.0 + 1 } else { minimum }),
        time_in_force,
        post_only,
        cancel_on_disconnect: random.one_in(3),
        self_trade: random.one_of(&modes).unwrap_or_default(),
        terms: terms(random),
    }
}

/// New ones mostly.
fn client_id(random: &mut Random) -> ClientOrderId {
    let number = if random.one_in(8) { random.below(200) } else { random.next() };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    ClientOrderId(bytes)
}

/// Locks of small quantities mostly, and what may be done with those that are open.
fn lock(random: &mut Random, twin: &Twin) -> Command {
    let open: Vec<_> = twin.open_locks().collect();
    let known = random.one_of(&open).filter(|_| !random.one_in(2));
    if known.is_none() && !random.one_in(20) {
        let new = immediate_single_bid(random, twin);
        if random.one_in(2) {
            return Command::PlaceChosen { order: Box::new(new), providers: providers(random) };
        }
        return Command::LockQuote(Box::new(new));
    }
    let (lock, owner, ..) = known.unwrap_or((OrderId(random.below(1 << 30)), AccountId(1), Amount::ZERO, Timestamp(0)));
    let account = if random.one_in(30) { account(random) } else { owner };
    if random.one_in(3) { Command::ReleaseQuote { account, lock } } else { Command::UseQuote { account, lock } }
}

/// A few providers, seldom too many.
fn providers(random: &mut Random) -> Providers {
    let count = if random.one_in(50) { limits::CHOSEN_PROVIDERS_MAX as u64 + 1 } else { random.below(4) };
    let named = (0..count).map(|_| account(random)).collect();
    if random.one_in(2) { Providers::Only(named) } else { Providers::Except(named) }
}

/// Mostly what locks and bids for certain providers must be.
fn immediate_single_bid(random: &mut Random, twin: &Twin) -> NewOrder {
    let mut new = new_order(random, twin);
    if !random.one_in(10) {
        let mut terms = terms(random);
        while let Terms::Ask { .. } = terms {
            terms = self::terms(random);
        }
        if let Terms::Bid { single, .. } = &mut terms {
            *single = true;
        }
        let time_in_force = if random.one_in(3) { TimeInForce::Fok } else { TimeInForce::Ioc };
        let modes = [SelfTrade::CancelNewest, SelfTrade::CancelNewest, SelfTrade::Allow];
        let self_trade = random.one_of(&modes).unwrap_or_default();
        new = NewOrder { terms, time_in_force, self_trade, post_only: false, ..new };
    }
    new
}

/// Any open order, sometimes with the wrong owner, seldom none.
fn open_order(random: &mut Random, twin: &Twin) -> (AccountId, OrderId, InstrumentId, u64) {
    let orders: Vec<Order> = twin.open_orders().copied().collect();
    match random.one_of(&orders) {
        Some(order) if !random.one_in(60) => {
            let owner = if random.one_in(60) { account(random) } else { order.account };
            (owner, order.id, order.instrument, order.quantity.0)
        }
        Some(_) | None => (account(random), OrderId(random.below(1 << 30)), instrument(random), 1),
    }
}

fn replacement(random: &mut Random, twin: &Twin) -> Command {
    let (account, order, instrument, was) = open_order(random, twin);
    let shape = random.below(20);
    let limit = (shape >= 8).then(|| price(random, twin, instrument));
    let lot = if instrument == InstrumentId(2) { 2 } else { 1 };
    let named = match random.below(5) {
        0 => quantity(random, instrument),
        1 => Quantity(was + lot * random.within(0, 4)),
        _ => Quantity(was.saturating_sub(lot * random.within(0, 4))),
    };
    let quantity = ((1..=14).contains(&shape)).then_some(named);
    Command::ReplaceOrder(Replacement { account, order, limit, quantity })
}

fn cancel(random: &mut Random, twin: &Twin) -> Command {
    let (account, order, ..) = open_order(random, twin);
    Command::CancelOrder { account, order }
}

/// Providers have good and bad minutes, so that failures come in rows.
fn delivery(random: &mut Random, twin: &Twin) -> DeliveryReport {
    let contracts: Vec<_> = twin.open_contracts().collect();
    let none = (ContractId(random.below(1 << 30)), Quantity(1), AccountId(1));
    let known = random.one_of(&contracts).filter(|_| !random.one_in(200));
    let (contract, left, provider) = known.unwrap_or(none);
    let mood = Random(twin.now().0 / (40 * SECOND) * 8 + u64::from(provider.0)).next();
    let bad = mood.is_multiple_of(2);
    let outcomes = [Outcome::Completed, Outcome::Failed, Outcome::Abandoned, Outcome::Overstated];
    let outcome = outcomes[random.weighted(if bad { &[1, 20, 2, 2] } else { &[20, 1, 2, 0] })];
    let slow = if (mood >> 8).is_multiple_of(2) { 4 } else { 0 };
    DeliveryReport {
        contract,
        quantity: Quantity(if random.one_in(100) { left.0 + 1 } else { random.within(0, left.0) }),
        first_token_ms: (!random.one_in(3)).then(|| random.within(slow, slow + 3) as u32 * 100),
        throughput_tps: (!random.one_in(3)).then(|| random.within(4 - slow, 7 - slow) as u32 * 20),
        outcome,
        tokens: Tokens { input: 1 + random.below(9) as u32, cached_input: 1, output: random.below(9) as u32 },
        last: random.one_in(3),
    }
}

fn market(random: &mut Random, twin: &Twin) -> Command {
    let instrument = instrument(random);
    let some_price = price(random, twin, instrument);
    match random.weighted(&[6, 4, 3, 1]) {
        0 => Command::SetReferencePrice { instrument, price: some_price },
        1 => {
            let states = [InstrumentState::CancelOnly, InstrumentState::Halted, InstrumentState::Open];
            Command::SetInstrumentState { instrument, state: states[random.weighted(&[3, 3, 1])] }
        }
        2 => {
            let after = match random.below(30) {
                0 => Some(0),
                1 => Some(DAY + 1),
                2..=5 => None,
                _ => Some(random.within(1, 30) * SECOND),
            };
            let timer = if random.one_in(2) { Timer::DeadMan } else { Timer::Connection };
            Command::SetTimer { account: account(random), timer, after_ns: after }
        }
        _ => {
            let mut bad = spec(0);
            if random.one_in(2) {
                bad.tick = Price(0);
            }
            Command::ListInstrument(Box::new(bad))
        }
    }
}

/// The name of the `index`th of its kind.
fn reference(kind: u8, index: usize) -> Reference {
    let mut bytes = [kind; 16];
    bytes[..8].copy_from_slice(&(index as u64).to_le_bytes());
    Reference(bytes)
}

fn dollars(random: &mut Random, most: u64) -> Amount {
    let cents = random.within(0, most * 100) as i64;
    Amount(cents * ATOMS_PER_CENT + if random.one_in(3) { random.below(1_000) as i64 } else { 0 })
}

fn money(random: &mut Random, twin: &Twin) -> Command {
    match random.weighted(&[8, 4, 4, 5, 3, 3, 2, 4, 2, 1]) {
        0 => purchase(random, twin),
        1 => refund(random, twin),
        2 => dispute(random, twin),
        3 => {
            let known: Vec<_> = twin.disputes().collect();
            let newest = known.len().saturating_sub(6);
            let dispute = random.one_of(&known[newest..]).filter(|_| !random.one_in(30));
            Command::ResolveDispute {
                reference: dispute.map_or(reference(9, 0), |(reference, ..)| reference),
                won: random.one_in(2),
            }
        }
        4 => {
            let amount = if random.one_in(2) { None } else { Some(dollars(random, 20)) };
            Command::RequestPayout { account: account(random), amount }
        }
        5 => {
            let pending: Vec<PayoutId> = twin.pending_payouts().collect();
            let ended: Vec<PayoutId> = twin.confirmed_payouts().collect();
            let payouts = if random.one_in(20) { ended } else { pending };
            let payout = random.one_of(&payouts).filter(|_| !random.one_in(20)).unwrap_or(PayoutId(0));
            [Command::SendPayout { payout }, Command::ConfirmPayout { payout }, Command::FailPayout { payout }]
                .into_iter()
                .nth(random.weighted(&[2, 2, 1]))
                .unwrap_or(Command::Tick)
        }
        6 => {
            let policy = PayoutPolicy { automatic: random.one_in(3), monthly: random.one_in(2) };
            Command::SetPayoutPolicy { account: account(random), policy }
        }
        8 => {
            let known: Vec<_> = twin.refunds().collect();
            let newest = known.len().saturating_sub(6);
            let refund = random.one_of(&known[newest..]).filter(|_| !random.one_in(30));
            Command::FailRefund { reference: refund.map_or(reference(9, 2), |(reference, ..)| reference) }
        }
        9 => {
            let confirmed: Vec<PayoutId> = twin.confirmed_payouts().collect();
            let pending: Vec<PayoutId> = twin.pending_payouts().collect();
            let payouts = if random.one_in(10) { pending } else { confirmed };
            let payout = random.one_of(&payouts).filter(|_| !random.one_in(20)).unwrap_or(PayoutId(0));
            Command::ReturnPayout { payout }
        }
        _ => {
            let cap = match random.below(20) {
                0 => Amount(-1),
                1 => Amount(1_001 * DOLLAR),
                2..=9 => Amount::ZERO,
                _ => dollars(random, 40),
            };
            let policy = CreditPolicy { overage_cap: cap, auto_renew: random.one_in(2) };
            Command::SetCreditPolicy { account: account(random), policy }
        }
    }
}

fn purchase(random: &mut Random, twin: &Twin) -> Command {
    let known: Vec<_> = twin.purchases().collect();
    let mut account = account(random);
    let most = if account.0 <= 3 { 9 } else { 80 }; // Some are poor.
    let mut amount = Amount(random.within(1, most) as i64 * DOLLAR + random.below(1_000) as i64);
    let mut name = reference(1, known.len());
    match random.below(20) {
        0 => amount = Amount(DOLLAR - 1),
        1 => amount = Amount(1_000 * DOLLAR + 1),
        2 | 3 => {
            if let Some((first, buyer, paid, _)) = random.one_of(&known) {
                name = first;
                if random.one_in(2) {
                    (account, amount) = (buyer, paid);
                }
            }
        }
        _ => {}
    }
    Command::PurchaseCredits { account, amount, reference: name }
}

/// A purchase and an amount of what is left of it.
fn part_of_a_purchase(random: &mut Random, twin: &Twin) -> (Reference, Amount) {
    let known: Vec<_> = twin.purchases().collect();
    let newest = known.len().saturating_sub(20);
    let Some((purchase, _, _, left)) = random.one_of(&known[newest..]).filter(|_| !random.one_in(30)) else {
        return (reference(9, 1), Amount(DOLLAR));
    };
    let amount = match random.below(12) {
        0 => Amount(left.0 + 1),
        1..=4 => left,
        _ => Amount(random.within(0, left.0 as u64) as i64),
    };
    (purchase, amount)
}

fn refund(random: &mut Random, twin: &Twin) -> Command {
    let (purchase, amount) = part_of_a_purchase(random, twin);
    let known: Vec<_> = twin.refunds().collect();
    let (reference, purchase, amount) = match random.one_of(&known).filter(|_| random.one_in(6)) {
        Some(first) if random.one_in(2) => first,
        Some((reference, ..)) => (reference, purchase, amount),
        None => (reference(2, known.len()), purchase, amount),
    };
    if random.one_in(2) {
        Command::RefundPurchase { purchase, amount, reference }
    } else {
        Command::RecordRefund { purchase, amount, reference }
    }
}

fn dispute(random: &mut Random, twin: &Twin) -> Command {
    let (purchase, amount) = part_of_a_purchase(random, twin);
    let known: Vec<_> = twin.disputes().collect();
    match random.one_of(&known).filter(|_| random.one_in(6)) {
        Some((reference, purchase, amount)) if random.one_in(2) => Command::OpenDispute { purchase, amount, reference },
        Some((reference, ..)) => Command::OpenDispute { purchase, amount, reference },
        None => Command::OpenDispute { purchase, amount, reference: reference(3, known.len()) },
    }
}

fn limits(random: &mut Random) -> Command {
    let account = account(random);
    let mut limit = |most| match random.below(30) {
        0 => Some(Amount(-1)),
        1 => Some(Amount(i64::MAX)),
        2..=22 => None,
        _ => Some(dollars(random, most)),
    };
    let (small, middle, large) = (limit(150), limit(600), limit(20_000));
    match random.below(5) {
        0 | 1 => Command::SetKeyLimits {
            account,
            key: KeyId(random.below(4) as u32),
            limits: KeyLimits { daily: small, monthly: middle, hard: large },
        },
        2 | 3 => Command::SetGuardRail {
            account,
            window: if random.one_in(40) { 17 } else { random.below(17) as u8 },
            limit: middle.filter(|_| !random.one_in(3)),
        },
        _ => Command::ResetGuardRails { account },
    }
}
