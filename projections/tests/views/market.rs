//! A small deterministic market: orders of all kinds, changes of them, deliveries and money that collide.

use gollem_engine::limits::PURCHASE_ATOMS_MIN;
use gollem_engine::*;

pub(crate) const ACCOUNTS: u32 = 5;
pub(crate) const INSTRUMENTS: u32 = 2;

/// It learns the numbers of orders, contracts and payouts from what its commands did.
pub(crate) struct Market {
    random: u64,
    /// The commands that open it, last first.
    opening: Vec<Command>,
    orders: Vec<Order>,
    contracts: Vec<ContractId>,
    locks: Vec<(AccountId, OrderId)>,
    /// Locks that were used so far.
    pub(crate) used: usize,
    payouts: Vec<PayoutId>,
    /// What it came to so far, by the kinds of its events.
    pub(crate) seen: std::collections::BTreeMap<&'static str, usize>,
}

/// Commands that open a [`Market`].
pub(crate) const OPENING: usize = (INSTRUMENTS + 3 * ACCOUNTS) as usize;

impl Market {
    pub(crate) fn new(seed: u64) -> Market {
        let mut opening = Vec::new();
        opening.extend((1..=ACCOUNTS).map(|account| Command::PurchaseCredits {
            account: AccountId(account),
            amount: Amount(PURCHASE_ATOMS_MIN),
            reference: reference(account),
        }));
        opening.extend((1..=ACCOUNTS).map(|account| {
            let policy = PayoutPolicy { automatic: account == 1, monthly: account == 2 };
            Command::SetPayoutPolicy { account: AccountId(account), policy }
        }));
        opening.extend((0..ACCOUNTS).map(|_| Command::OpenAccount));
        opening.extend((1..=INSTRUMENTS).rev().map(|number| Command::ListInstrument(Box::new(spec(number)))));
        Market {
            random: seed,
            opening,
            orders: Vec::new(),
            contracts: Vec::new(),
            locks: Vec::new(),
            used: 0,
            payouts: Vec::new(),
            seen: std::collections::BTreeMap::new(),
        }
    }

    /// Learns from what a command did.
    pub(crate) fn learn(&mut self, events: &[Event]) {
        for event in events {
            *self.seen.entry(event.kind()).or_default() += 1;
            match event {
                Event::OrderAccepted(order) => self.orders.push(*order),
                Event::Traded(trade) => {
                    self.contracts.push(trade.contract);
                    self.used += usize::from(trade.bid.is_of_lock());
                }
                Event::QuoteLocked { account, lock, .. } => self.locks.push((*account, *lock)),
                Event::PayoutRequested { payout, .. } => self.payouts.push(*payout),
                _ => {}
            }
        }
    }

    /// The next command.
    pub(crate) fn next(&mut self) -> Command {
        if let Some(command) = self.opening.pop() {
            return command;
        }
        let random = self.draw();
        let account = AccountId(1 + (random % u64::from(ACCOUNTS)) as u32);
        let price = Price(98_000_000 + (random >> 24) % 40 * 100_000);
        let quantity = Quantity(1 + (random >> 28) % 40 * (1 + (random >> 58) % 8));
        match (random >> 8) % 16 {
            0 => self
                .recent_order()
                .map_or(Command::Tick, |order| Command::CancelOrder { account: order.account, order: order.id }),
            1 => self.payout(random, account),
            2..5 => self.delivery(random),
            5 | 6 => self.recent_order().map_or(Command::Tick, |order| {
                let quantity = if random & 6 == 0 { order.quantity } else { quantity };
                let (limit, quantity) = (Some(price).filter(|_| random & 1 == 0), Some(quantity));
                Command::ReplaceOrder(Replacement { account: order.account, order: order.id, limit, quantity })
            }),
            7 => rare_command(random, account, price),
            8 => self.lock(random, account, price, quantity),
            _ => Command::PlaceOrder(order(random, account, price, quantity)),
        }
    }

    /// Nanoseconds to the next command: mostly little, now and then minutes, seldom hours.
    pub(crate) fn pause(&mut self) -> u64 {
        let random = self.draw();
        let longest: u64 = match random % 400 {
            0 => 40_000_000_000_000,
            1..12 => 200_000_000_000,
            _ => 900_000_000,
        };
        (random >> 10) % longest
    }

    fn draw(&mut self) -> u64 {
        // SplitMix64: every bit counts.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn recent_order(&mut self) -> Option<Order> {
        let recent = self.orders.len().min(30);
        let back = 1 + self.draw() as usize % recent.max(1);
        self.orders.get(self.orders.len().wrapping_sub(back)).copied()
    }

    /// A quote is locked, or one of the newest locks is used or released.
    fn lock(&mut self, random: u64, account: AccountId, price: Price, quantity: Quantity) -> Command {
        let back = 1 + (random >> 20) as usize % 3;
        let newest = self.locks.len().checked_sub(back).map(|at| self.locks[at]);
        match (newest, (random >> 16) % 8) {
            (Some((account, lock)), 0 | 1) => Command::UseQuote { account, lock },
            (Some((account, lock)), 2) => Command::ReleaseQuote { account, lock },
            _ => {
                let mut new = order(random, account, price, Quantity(1 + quantity.0 % 9));
                let (constraints, preference) = (Constraints::default(), Preference::Latency);
                new.terms = Terms::Bid { constraints, preference, single: true };
                (new.time_in_force, new.self_trade) = (TimeInForce::Ioc, SelfTrade::CancelNewest);
                Command::LockQuote(Box::new(new))
            }
        }
    }

    fn payout(&mut self, random: u64, account: AccountId) -> Command {
        let back = 1 + (random >> 20) as usize % 3;
        match (self.payouts.len().checked_sub(back).map(|at| self.payouts[at]), (random >> 16) % 6) {
            (Some(payout), 1) => Command::SendPayout { payout },
            (Some(payout), 2) => Command::ConfirmPayout { payout },
            (Some(payout), 3) => Command::FailPayout { payout },
            (Some(payout), 4) => Command::ReturnPayout { payout },
            _ => Command::RequestPayout { account, amount: None },
        }
    }

    fn delivery(&mut self, random: u64) -> Command {
        let recent = self.contracts.len().min(15);
        let back = 1 + self.draw() as usize % recent.max(1);
        let Some(contract) = self.contracts.get(self.contracts.len().wrapping_sub(back)) else { return Command::Tick };
        Command::ReportDelivery(DeliveryReport {
            contract: *contract,
            quantity: Quantity(random >> 32 & 7),
            first_token_ms: Some(50 + (random >> 36) as u32 % 200).filter(|_| random & 2 == 0),
            throughput_tps: Some(20 + (random >> 44) as u32 % 100).filter(|_| random & 4 == 0),
            outcome: [Outcome::Completed, Outcome::Failed, Outcome::Overstated, Outcome::Abandoned]
                [random as usize & 3],
            tokens: Tokens { input: (random >> 40) as u32 % 900, cached_input: 3, output: (random >> 50) as u32 % 90 },
            last: random & 128 != 0,
        })
    }
}

pub(crate) fn spec(number: u32) -> InstrumentSpec {
    InstrumentSpec {
        symbol: Symbol::new(&format!("model-{number}")).unwrap(),
        weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
        tick: Price(100_000),
        price_max: Price(200_000_000),
        reference_price: Price(100_000_000),
        band_bps: 0,
        lot: Quantity(1),
        quantity_min: Quantity(1),
        quantity_max: Quantity(1_000),
        maker_fee_bps: 10,
        taker_fee_bps: if number == 1 { 20 } else { 3 },
        delivery_fee_bps: 100,
        tolerance_bps: 1_000,
        rebate_bps: 500,
        contract_ttl_ns: 3_600_000_000_000,
    }
}

fn reference(number: u32) -> Reference {
    Reference(u128::from(number).to_le_bytes())
}

fn order(random: u64, account: AccountId, price: Price, quantity: Quantity) -> NewOrder {
    let modes = [
        SelfTrade::Allow,
        SelfTrade::CancelNewest,
        SelfTrade::CancelOldest,
        SelfTrade::CancelBoth,
        SelfTrade::Decrement,
    ];
    let h100 = GpuClass::from_name("h100").unwrap();
    let constraints = Constraints {
        max_latency_ms: Some(120).filter(|_| random & 512 != 0),
        gpus: if random & (1 << 20) != 0 && random & (1 << 21) != 0 { h100.bit() } else { 0 },
        ..Constraints::default()
    };
    let bid = Terms::Bid { constraints, preference: Preference::Latency, single: random & 64 != 0 };
    let attributes = Attributes {
        latency_ms: [100, 40, 180, 0][(random >> 52) as usize & 3],
        throughput_tps: [0, 50][(random >> 54) as usize & 1],
        gpu: if random & (1 << 20) == 0 { GpuClass::default() } else { h100 },
        ..Attributes::default()
    };
    NewOrder {
        account,
        key: KeyId((random >> 50) as u32 % 3),
        instrument: InstrumentId(1 + (random >> 48) as u32 % 4 / 3),
        client_id: None,
        limit: Some(price),
        quantity,
        min_quantity: Quantity(0),
        time_in_force: if random & 32 == 0 { TimeInForce::Gtc } else { TimeInForce::Ioc },
        post_only: false,
        cancel_on_disconnect: random & 1 == 0,
        self_trade: modes[(random >> 4) as usize % modes.len()],
        terms: if random & 1024 == 0 { bid } else { Terms::Ask { attributes } },
    }
}

/// What happens now and then: markets restricted, credit lines, limits, disputes.
fn rare_command(random: u64, account: AccountId, price: Price) -> Command {
    let instrument = InstrumentId(1 + (random >> 48) as u32 % INSTRUMENTS);
    let number = (random >> 40) as u32 % 20;
    let purchase = reference(account.0);
    let high = Amount(PURCHASE_ATOMS_MIN * 4);
    match (random >> 32) % 18 {
        0 => Command::CancelOrders { account, instrument: None, side: Some(Side::Bid) },
        1 => Command::SetReferencePrice { instrument, price },
        2 => Command::SetInstrumentState { instrument, state: InstrumentState::CancelOnly },
        3 => Command::SetInstrumentState { instrument, state: InstrumentState::Halted },
        4 | 5 => {
            let policy = CreditPolicy { overage_cap: Amount(PURCHASE_ATOMS_MIN), auto_renew: random & 1 == 0 };
            Command::SetCreditPolicy { account, policy }
        }
        6 => {
            let amount = Amount(PURCHASE_ATOMS_MIN / 4);
            Command::OpenDispute { purchase, amount, reference: reference(100 + number) }
        }
        7 => Command::ResolveDispute { reference: reference(100 + number), won: random & 1 == 0 },
        8 => {
            let (amount, reference) = (Amount(PURCHASE_ATOMS_MIN / 10), reference(200 + number));
            match random % 3 {
                0 => Command::RefundPurchase { purchase, amount, reference },
                1 => Command::RecordRefund { purchase, amount, reference },
                _ => Command::FailRefund { reference },
            }
        }
        9 => {
            Command::SetGuardRail { account, window: number as u8 % 17, limit: Some(high).filter(|_| random & 1 == 0) }
        }
        10 => {
            let limits = KeyLimits { daily: Some(high), monthly: None, hard: Some(high) };
            Command::SetKeyLimits { account, key: KeyId(1 + number % 2), limits }
        }
        11 if number < 5 => Command::ResetGuardRails { account },
        12 => Command::SetTimer { account, timer: Timer::DeadMan, after_ns: Some(30_000_000_000) },
        13 => Command::PurchaseCredits {
            account,
            amount: Amount(PURCHASE_ATOMS_MIN),
            reference: reference(3_000 + random as u32 % 1_000),
        },
        _ => Command::SetInstrumentState { instrument, state: InstrumentState::Open },
    }
}
