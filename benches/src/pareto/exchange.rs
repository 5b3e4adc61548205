//! An engine with one market full of asks, and what its clients know of them.
//!
//! An account may have 10,000 open orders, so the asks belong to many; a new ask takes the place of one that left, and
//! its owner.

use crate::pareto::cases::WANTED;
use anyhow::{Context, ensure};
use gollem_engine::{
    AccountId, Amount, Attributes, Command, Constraints, DeliveryReport, Engine, Event, Events, Input, InstrumentId,
    InstrumentSpec, KeyId, NewOrder, OrderId, Outcome, Preference, Price, Quantity, Reference, SelfTrade, Symbol,
    Terms, TimeInForce, Timestamp, TokenWeights, Tokens, Trade, limits,
};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Asks of one account; below what an account may have.
const ASKS_PER_ACCOUNT: usize = 9_000;
/// Accounts that bid in turns, each with the largest purchase.
const BUYERS: u32 = 32;
/// Time of the first command, and between two.
const START_NS: u64 = 1_700_000_000_000_000_000;
const STEP_NS: u64 = 50;

/// An ask as it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Its price.
    pub(crate) ticks: u32,
    /// Its promises.
    pub(crate) attributes: Attributes,
    /// Its units.
    pub(crate) quantity: u64,
}

/// The engine and its clients.
#[derive(Debug)]
pub(crate) struct Exchange {
    engine: Engine,
    events: Events,
    /// The order at each place of the book, and what it was drawn as.
    live: Vec<(OrderId, Ask)>,
    places: HashMap<OrderId, usize>,
    providers: u32,
    bids: u32,
}

impl Exchange {
    /// A market with these asks.
    ///
    /// # Errors
    /// When a command is refused, which would be a bug.
    pub(crate) fn new(asks: &[Ask]) -> anyhow::Result<Exchange> {
        let mut fresh = Exchange {
            engine: Engine::new(),
            events: Events::with_capacity(64),
            live: Vec::with_capacity(asks.len()),
            places: HashMap::with_capacity(asks.len()),
            providers: u32::try_from(asks.len().div_ceil(ASKS_PER_ACCOUNT))?,
            bids: 0,
        };
        fresh.send(Command::ListInstrument(Box::new(spec()?)))?;
        for account in 1..=fresh.providers + BUYERS + 1 {
            fresh.send(Command::OpenAccount)?;
            if account > fresh.providers {
                fresh.send(Command::PurchaseCredits {
                    account: AccountId(account),
                    amount: Amount(limits::PURCHASE_ATOMS_MAX),
                    reference: Reference(u128::from(account).to_le_bytes()),
                })?;
            }
        }
        for ask in asks {
            fresh.live.push((OrderId(0), *ask));
            fresh.put(fresh.live.len() - 1, *ask)?;
        }
        Ok(fresh)
    }

    /// The engine, to read.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// How many asks there are.
    pub(crate) fn asks(&self) -> usize {
        self.live.len()
    }

    /// The ask at a place.
    pub(crate) fn ask(&self, place: usize) -> Ask {
        self.live[place].1
    }

    /// The place of an order.
    ///
    /// # Errors
    /// When the order is no ask of this book, which would be a bug.
    pub(crate) fn place_of(&self, order: OrderId) -> anyhow::Result<usize> {
        self.places.get(&order).copied().with_context(|| format!("order {} is no ask of the book", order.0))
    }

    /// Whether an order is open.
    pub(crate) fn is_open(&self, order: OrderId) -> bool {
        self.engine.order(order).is_some()
    }

    /// An immediate bid of the next buyer, for one ask at any price.
    pub(crate) fn bid(&mut self, constraints: Constraints, preference: Preference) -> NewOrder {
        self.bids = self.bids % BUYERS + 1;
        let terms = Terms::Bid { constraints, preference, single: true };
        let account = AccountId(self.providers + self.bids);
        let limit = Some(Price(limits::LEVELS_MAX));
        NewOrder { time_in_force: TimeInForce::Ioc, limit, ..order(account, 1, WANTED, terms) }
    }

    /// Places a bid; how long it took, and what it traded.
    ///
    /// # Errors
    /// When it is refused or trades with several asks, which would be a bug.
    pub(crate) fn take(&mut self, bid: NewOrder) -> anyhow::Result<(Duration, Option<Trade>)> {
        let took = self.send(Command::PlaceOrder(bid))?;
        let mut trades = self.events.iter().filter_map(|event| match event {
            Event::Traded(trade) => Some(*trade),
            _ => None,
        });
        let trade = trades.next();
        ensure!(trades.next().is_none(), "a bid for one ask traded with several");
        Ok((took, trade))
    }

    /// Delivers all of a trade.
    ///
    /// # Errors
    /// When it is refused, which would be a bug.
    pub(crate) fn deliver(&mut self, trade: &Trade) -> anyhow::Result<()> {
        let (contract, quantity) = (trade.contract, trade.quantity);
        let (first_token_ms, throughput_tps, outcome) = (None, None, Outcome::Completed);
        let last = true;
        let report = DeliveryReport {
            contract,
            quantity,
            first_token_ms,
            throughput_tps,
            outcome,
            tokens: Tokens::default(),
            last,
        };
        self.send(Command::ReportDelivery(report)).map(|_| ())
    }

    /// Puts an ask at a place whose order has left; how long it took, and its number.
    ///
    /// # Errors
    /// When it is refused or does not rest, which would be a bug.
    pub(crate) fn put(&mut self, place: usize, ask: Ask) -> anyhow::Result<(Duration, OrderId)> {
        let owner = AccountId((place / ASKS_PER_ACCOUNT) as u32 + 1); // At most `providers`.
        let (took, order) = self.quote(owner, ask)?;
        let (left, _) = std::mem::replace(&mut self.live[place], (order, ask));
        self.places.remove(&left);
        self.places.insert(order, place);
        Ok((took, order))
    }

    /// Cancels the ask at a place; how long it took, and its number.
    ///
    /// # Errors
    /// When it is refused, which would be a bug.
    pub(crate) fn cancel(&mut self, place: usize) -> anyhow::Result<(Duration, OrderId)> {
        let order = self.live[place].0;
        let account = AccountId((place / ASKS_PER_ACCOUNT) as u32 + 1); // At most `providers`.
        Ok((self.send(Command::CancelOrder { account, order })?, order))
    }

    /// Places one more ask and cancels it; how long each took, and its number.
    ///
    /// # Errors
    /// When one is refused, which would be a bug.
    pub(crate) fn post_and_cancel(&mut self, ask: Ask) -> anyhow::Result<(Duration, Duration, OrderId)> {
        let account = AccountId(self.providers + BUYERS + 1);
        let (placing, order) = self.quote(account, ask)?;
        Ok((placing, self.send(Command::CancelOrder { account, order })?, order))
    }

    fn quote(&mut self, owner: AccountId, ask: Ask) -> anyhow::Result<(Duration, OrderId)> {
        let terms = Terms::Ask { attributes: ask.attributes };
        let took = self.send(Command::PlaceOrder(order(owner, ask.ticks, ask.quantity, terms)))?;
        let rested = self.events.iter().find_map(|event| match event {
            Event::OrderRested { order, .. } => Some(*order),
            _ => None,
        });
        Ok((took, rested.context("an ask met a bid in a book without bids")?))
    }

    /// Applies a command; how long it took.
    fn send(&mut self, command: Command) -> anyhow::Result<Duration> {
        let seq = self.engine.last_seq() + 1;
        let input = Input { seq, at: Timestamp(START_NS + seq * STEP_NS), command };
        self.events.clear();
        let started = Instant::now();
        self.engine.apply(&input, &mut self.events);
        let took = started.elapsed();
        if let Some(Event::Rejected(reason)) = self.events.first() {
            anyhow::bail!("{:?} was refused: {reason:?}", input.command);
        }
        Ok(took)
    }
}

/// An order that rests.
fn order(account: AccountId, ticks: u32, quantity: u64, terms: Terms) -> NewOrder {
    NewOrder {
        account,
        key: KeyId(0),
        instrument: InstrumentId(1),
        client_id: None,
        limit: Some(Price(u64::from(ticks))),
        quantity: Quantity(quantity),
        min_quantity: Quantity(0),
        time_in_force: TimeInForce::Gtc,
        post_only: false,
        cancel_on_disconnect: false,
        self_trade: SelfTrade::CancelNewest,
        terms,
    }
}

fn spec() -> anyhow::Result<InstrumentSpec> {
    Ok(InstrumentSpec {
        symbol: Symbol::new("bench").context("the instrument's symbol is valid")?,
        weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
        tick: Price(1),
        price_max: Price(limits::LEVELS_MAX),
        reference_price: Price(1_000),
        band_bps: 0,
        lot: Quantity(1),
        quantity_min: Quantity(1),
        quantity_max: Quantity(1_000_000),
        maker_fee_bps: 5,
        taker_fee_bps: 10,
        delivery_fee_bps: 100,
        tolerance_bps: 1_000,
        rebate_bps: 500,
        contract_ttl_ns: 86_400_000_000_000,
    })
}
