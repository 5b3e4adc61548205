//! What is measured: one command at a time, and what the commands did.

use crate::output;
use crate::pareto::cases::Case;
use crate::pareto::check::preferring;
use crate::pareto::exchange::{Ask, Exchange};
use crate::random::Random;
use gollem_engine::{Attributes, NewOrder, OrderId, Preference, TimeInForce, Trade};
use hdrhistogram::Histogram;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Times of one kind of command, and a hash of the asks they were about.
#[derive(Debug)]
pub(crate) struct Tally {
    /// What was done.
    pub(crate) kind: &'static str,
    /// Each by itself.
    pub(crate) times: Histogram<u64>,
    /// All together.
    pub(crate) took: Duration,
    /// How many traded.
    pub(crate) trades: u64,
    /// How much.
    pub(crate) quantity: u64,
    /// Of the asks' numbers, in order.
    pub(crate) hash: u64,
    clock: Duration,
}

impl Tally {
    fn new(kind: &'static str, clock: Duration) -> anyhow::Result<Tally> {
        let (times, took) = (output::histogram()?, Duration::ZERO);
        Ok(Tally { kind, times, took, trades: 0, quantity: 0, hash: 0x1234, clock })
    }

    fn add(&mut self, took: Duration, ask: Option<OrderId>) {
        let took = took.saturating_sub(self.clock);
        output::record(&mut self.times, took);
        self.took += took;
        let number = ask.map_or(0, |ask| ask.0);
        self.hash = (self.hash ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }

    fn add_trade(&mut self, took: Duration, trade: Option<&Trade>) {
        self.add(took, trade.map(|trade| trade.ask));
        self.trades += u64::from(trade.is_some());
        self.quantity += trade.map_or(0, |trade| trade.quantity.0);
    }
}

/// Looks for the asks that bids would take.
///
/// # Errors
/// Never for the constants of this program.
pub(crate) fn finds(
    exchange: &Exchange,
    bids: &[NewOrder],
    (kind, preference): (&'static str, Preference),
    count: usize,
    clock: Duration,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::new(kind, clock)?;
    for at in 0..count {
        let bid = black_box(preferring(&bids[at % bids.len()], preference));
        let started = Instant::now();
        let found = exchange.engine().best_ask(&bid);
        let took = started.elapsed();
        tally.add(took, found);
    }
    Ok(tally)
}

/// Bids that take half an ask each, cancels of random asks, and asks that take the place of those that left: an equal one
/// that of an ask that was taken, a new one that of an ask that was cancelled.
///
/// # Errors
/// When a command is refused, which would be a bug.
pub(crate) fn trades(
    exchange: &mut Exchange,
    case: Case,
    bids: &[NewOrder],
    count: usize,
    clock: Duration,
    random: &mut Random,
) -> anyhow::Result<[Tally; 3]> {
    let [mut matches, mut cancels, mut places] =
        [Tally::new("match", clock)?, Tally::new("cancel", clock)?, Tally::new("place", clock)?];
    for at in 0..count {
        if let Some((took, order)) = take(exchange, bids[at % bids.len()], &mut matches)? {
            places.add(took, Some(order));
        }
        let range = case.cancelled(exchange.asks());
        let place = range.start + random.below(range.len() as u64) as usize; // Within the range.
        let (took, order) = exchange.cancel(place)?;
        cancels.add(took, Some(order));
        let (took, order) = exchange.put(place, case.ask(random, place))?;
        places.add(took, Some(order));
    }
    Ok([matches, cancels, places])
}

/// Bids that must be filled at once.
///
/// # Errors
/// When a command is refused, which would be a bug.
pub(crate) fn fills_or_kills(
    exchange: &mut Exchange,
    bids: &[NewOrder],
    count: usize,
    clock: Duration,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::new("match-fok", clock)?;
    for at in 0..count {
        let bid = NewOrder { time_in_force: TimeInForce::Fok, ..bids[at % bids.len()] };
        take(exchange, bid, &mut tally)?;
    }
    Ok(tally)
}

/// Places a bid and delivers what it bought. An ask that is used up comes back: how long that took, and its number.
fn take(exchange: &mut Exchange, bid: NewOrder, tally: &mut Tally) -> anyhow::Result<Option<(Duration, OrderId)>> {
    let (took, trade) = exchange.take(bid)?;
    tally.add_trade(took, trade.as_ref());
    let Some(trade) = trade else { return Ok(None) };
    exchange.deliver(&trade)?;
    if exchange.is_open(trade.ask) {
        return Ok(None);
    }
    let place = exchange.place_of(trade.ask)?;
    exchange.put(place, exchange.ask(place)).map(Some)
}

/// Posts and cancels an ask with the best attributes there are, in turns at the best price and at any.
///
/// # Errors
/// When a command is refused, which would be a bug.
pub(crate) fn best_posts(
    exchange: &mut Exchange,
    count: usize,
    clock: Duration,
    random: &mut Random,
) -> anyhow::Result<[Tally; 2]> {
    let [mut posts, mut cancels] = [Tally::new("place", clock)?, Tally::new("cancel", clock)?];
    let attributes = Attributes { latency_ms: 0, throughput_tps: u32::MAX, ..Attributes::default() };
    for at in 0..count {
        let ticks = if at % 2 == 0 { 1 } else { random.between_u32(1, 1_000_000) };
        let (post, cancel, order) = exchange.post_and_cancel(Ask { ticks, attributes, quantity: 1_000 })?;
        posts.add(post, Some(order));
        cancels.add(cancel, Some(order));
    }
    Ok([posts, cancels])
}
