//! The engine, or its naive twin, as a subject: every operation becomes a command, with holds, escrow, contracts, events
//! and all checks.
//!
//! One instrument with a tick of one atom, fees for both sides, and the thousand users of the file as funded accounts.
//! Self-trades are allowed, as the file demands. An operation names an order by the file's number; clients know the
//! engine's, so a table from one to the other is part of the driver.

use crate::measure::Subject;
use crate::workload::{Header, Kind, Op, Side, TimeInForce, Trade};
use anyhow::{Context, ensure};
use gollem_engine::naive::Twin;
use gollem_engine::{
    self as engine, AccountId, Amount, Attributes, Capacity, Command, Constraints, Engine, Event, Events, Input,
    InstrumentId, InstrumentSpec, KeyId, NewOrder, OrderId, Preference, Price, Quantity, Reference, Replacement,
    SelfTrade, Symbol, Terms, Timestamp, TokenWeights, limits, prefetch,
};

/// How many operations ahead the driver looks up an order's number, the engine reads the order, and the engine reads
/// what is around the order.
const FAR: usize = 8;
const NEAR: usize = 4;
const NEXT: usize = 2;

/// Open orders from which on looking ahead pays; below, it costs more than it saves.
const LARGE: u64 = 50_000;

/// Users of an order file are numbered from 1 to this.
const USERS: u32 = 1_000;
/// Time of the first command, and between two.
const START_NS: u64 = 1_700_000_000_000_000_000;
const STEP_NS: u64 = 50;

/// What the driver needs of the engine or the twin.
pub(crate) trait Exchange: Sized {
    /// The name in the table.
    const NAME: &'static str;
    /// Each user buys so often for the most a purchase may be.
    const PURCHASES: u32;

    /// An empty exchange with memory for so much.
    fn with_capacity(capacity: Capacity) -> Self;

    /// See [`Engine::apply`].
    fn apply(&mut self, input: &Input, events: &mut Events);

    /// See [`Engine::prefetch`]; the twin does not look ahead.
    #[inline(always)]
    fn prefetch(&self, _account: AccountId, _order: OrderId) {}

    /// See [`Engine::prefetch_around`].
    #[inline(always)]
    fn prefetch_around(&self, _account: AccountId, _order: OrderId) {}

    /// See [`Engine::prefetch_limit`].
    #[inline(always)]
    fn prefetch_limit(&self, _side: engine::Side, _limit: Price) {}

    /// What must hold at the end.
    ///
    /// # Errors
    /// When it does not hold.
    fn check(&self) -> anyhow::Result<()> {
        Ok(())
    }
}

impl Exchange for Engine {
    const NAME: &'static str = "gollem";
    const PURCHASES: u32 = 20;

    fn with_capacity(capacity: Capacity) -> Engine {
        Engine::with_capacity(capacity)
    }

    #[inline(always)]
    fn apply(&mut self, input: &Input, events: &mut Events) {
        Engine::apply(self, input, events);
    }

    #[inline(always)]
    fn prefetch(&self, account: AccountId, order: OrderId) {
        Engine::prefetch(self, account, order);
    }

    #[inline(always)]
    fn prefetch_around(&self, account: AccountId, order: OrderId) {
        Engine::prefetch_around(self, account, order);
    }

    #[inline(always)]
    fn prefetch_limit(&self, side: engine::Side, limit: Price) {
        Engine::prefetch_limit(self, InstrumentId(1), side, limit);
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.ledger_sum() == 0, "the ledger does not sum to zero: the engine has a bug");
        Ok(())
    }
}

impl Exchange for Twin {
    const NAME: &'static str = "twin";
    const PURCHASES: u32 = 1; // It looks through all of them at each.

    fn with_capacity(_capacity: Capacity) -> Twin {
        Twin::new()
    }

    fn apply(&mut self, input: &Input, events: &mut Events) {
        let mut told = Vec::new();
        Twin::apply(self, input, &mut told);
        told.into_iter().for_each(|event| events.push(event));
    }
}

/// The engine as a subject.
pub(crate) type Gollem = Driver<Engine>;

/// An exchange, and the driver's table.
#[derive(Debug)]
pub(crate) struct Driver<X> {
    engine: X,
    events: Events,
    /// What a client knows of each of the file's orders.
    known: Vec<Known>,
    /// The book does not fit the caches close to the processor, so that looking ahead pays.
    large: bool,
    /// Added to a price of the file to get ticks.
    shift: i64,
    seq: u64,
}

/// An order as its client knows it: the engine's number for it, and how much was ordered.
#[derive(Clone, Copy, Debug)]
struct Known {
    order: OrderId,
    quantity: Quantity,
}

impl<X: Exchange> Subject for Driver<X> {
    const NAME: &'static str = X::NAME;

    fn fresh(header: &Header) -> anyhow::Result<Driver<X>> {
        let prices = header.prices();
        let levels = u64::try_from(prices.end - prices.start).context("no prices")?;
        ensure!(
            levels < limits::LEVELS_MAX,
            "prices span {levels} ticks, an instrument at most {}",
            limits::LEVELS_MAX
        );
        let capacity = Capacity {
            orders: usize::try_from(header.max_live)? + 64,
            contracts: usize::try_from(header.answer.trades)?,
        };
        let mut fresh = Driver {
            engine: X::with_capacity(capacity),
            events: Events::with_capacity(1_024),
            known: vec![Known { order: OrderId(0), quantity: Quantity(0) }; usize::try_from(header.max_id)? + 1],
            large: header.max_live > LARGE,
            shift: 1 - prices.start,
            seq: 0,
        };
        fresh.send(Command::ListInstrument(Box::new(spec(levels)?)));
        for user in 1..=USERS {
            fresh.send(Command::OpenAccount);
            for number in 0..X::PURCHASES {
                fresh.send(Command::PurchaseCredits {
                    account: AccountId(user),
                    amount: Amount(limits::PURCHASE_ATOMS_MAX),
                    reference: Reference(u128::from(user * X::PURCHASES + number).to_le_bytes()),
                });
            }
        }
        Ok(fresh)
    }

    #[inline]
    fn apply(&mut self, op: &Op, trade: &mut impl FnMut(Trade)) {
        let account = AccountId(op.user);
        let Known { order, quantity } = self.known[op.id as usize]; // The reader checked the highest id.
        // Each kind sends for itself, so that its command is written once, where the engine reads it.
        match op.kind {
            Kind::Place => {
                self.send(Command::PlaceOrder(self.order(op)));
                if let Some(Event::OrderAccepted(order)) = self.events.first() {
                    self.known[op.id as usize] = Known { order: order.id, quantity: order.quantity };
                }
            }
            Kind::Move => {
                let limit = Some(self.price(op.price));
                self.send(Command::ReplaceOrder(Replacement { account, order, limit, quantity: None }));
            }
            Kind::Reduce if op.quantity < quantity.0 => {
                // A total at or below what is filled cancels, as the file means it.
                let quantity = Quantity(quantity.0 - op.quantity);
                self.known[op.id as usize].quantity = quantity;
                let quantity = Some(quantity);
                self.send(Command::ReplaceOrder(Replacement { account, order, limit: None, quantity }));
            }
            Kind::Reduce | Kind::Cancel => self.send(Command::CancelOrder { account, order }),
        }
        for event in &self.events {
            if let Event::Traded(made) = event {
                let maker = if made.taker == engine::Side::Bid { made.ask } else { made.bid };
                let (maker, price) = (maker.0 >> 22, made.price.0 as i64 - self.shift);
                trade(Trade { maker, taker: op.id, price, quantity: made.quantity.0 });
            }
        }
    }

    #[inline]
    fn look_ahead(&mut self, upcoming: &[Op]) {
        if !self.large {
            return;
        }
        if let Some(op) = upcoming.get(FAR) {
            prefetch(&self.known, op.id as usize);
        }
        let order = |op: &Op| self.known[op.id as usize].order;
        if let Some(op) = upcoming.get(NEAR) {
            self.engine.prefetch(AccountId(op.user), order(op));
        }
        if let Some(op) = upcoming.get(NEXT) {
            let side = if op.side == Side::Bid { engine::Side::Bid } else { engine::Side::Ask };
            match op.kind {
                Kind::Place => self.engine.prefetch_limit(side, self.price(op.price)),
                Kind::Move | Kind::Reduce | Kind::Cancel => self.engine.prefetch_around(AccountId(op.user), order(op)),
            }
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        self.engine.check()
    }
}

impl<X: Exchange> Driver<X> {
    /// The engine by itself.
    pub(crate) fn into_engine(self) -> X {
        self.engine
    }

    #[inline(always)]
    fn send(&mut self, command: Command) {
        self.seq += 1;
        let at = Timestamp(START_NS + self.seq * STEP_NS);
        self.events.clear();
        self.engine.apply(&Input { seq: self.seq, at, command }, &mut self.events);
    }

    #[inline]
    fn price(&self, price: i64) -> Price {
        Price((price + self.shift) as u64) // From 1 up, as the header says.
    }

    #[inline(always)]
    fn order(&self, op: &Op) -> NewOrder {
        let terms = match op.side {
            Side::Bid => {
                Terms::Bid { constraints: Constraints::default(), preference: Preference::Price, single: false }
            }
            Side::Ask => {
                Terms::Ask { attributes: Attributes { latency_ms: 400, throughput_tps: 60, ..Attributes::default() } }
            }
        };
        NewOrder {
            account: AccountId(op.user),
            key: KeyId(0),
            instrument: InstrumentId(1),
            client_id: None,
            limit: Some(self.price(op.price)),
            quantity: Quantity(op.quantity),
            min_quantity: Quantity(0),
            time_in_force: match op.time_in_force {
                TimeInForce::Gtc => engine::TimeInForce::Gtc,
                TimeInForce::Ioc => engine::TimeInForce::Ioc,
            },
            post_only: false,
            cancel_on_disconnect: false,
            self_trade: SelfTrade::Allow,
            terms,
        }
    }
}

fn spec(levels: u64) -> anyhow::Result<InstrumentSpec> {
    Ok(InstrumentSpec {
        symbol: Symbol::new("bench").context("the instrument's symbol is valid")?,
        weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
        tick: Price(1),
        price_max: Price(levels + 1),
        reference_price: Price(levels / 2 + 1),
        band_bps: 0,
        lot: Quantity(1),
        quantity_min: Quantity(1),
        quantity_max: Quantity(limits::QUANTITY_MAX),
        maker_fee_bps: 5,
        taker_fee_bps: 10,
        delivery_fee_bps: 100,
        tolerance_bps: 1_000,
        rebate_bps: 500,
        contract_ttl_ns: 86_400_000_000_000,
    })
}
