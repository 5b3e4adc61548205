//! `gollem-bench generate`: order files of the project's own flow, in four shapes.
//!
//! One generator, steered by the numbers of a shape: how many orders rest, how far from the middle, how often orders
//! are placed, canceled, moved and reduced, and how often they cross. Only whole numbers are drawn, so a seed gives the
//! same file everywhere. What the file must trade is what [`Reference`] traded while it was generated, and the beginning
//! of it is confirmed by the engine's naive twin.

use crate::gollem::Driver;
use crate::measure;
use crate::output;
use crate::random::Random;
use crate::reference::Reference;
use crate::workload::{Answer, Header, Kind, Op, Side, TimeInForce, Work};
use anyhow::{Context, ensure};
use gollem_engine::naive::Twin;
use std::collections::HashMap;
use std::path::PathBuf;

/// The middle of the book when it opens.
const OPENING_PRICE: i64 = 100_000;
/// The middle never goes further from the opening than this.
const DRIFT_MAX: i64 = 5_000;
/// Owners of orders, from 1.
const USERS: u32 = 1_000;

/// Writes an order file that every engine can replay.
///
/// The format is `LOBWORK1`; `benches/src/workload.rs` describes it. The expected answers come from the plainest
/// possible book. The engine's naive twin, which looks through all orders at every step, must trade the same over the
/// beginning of the file: as many operations as it can do in some seconds, at most 50,000. The result says how many
/// those were; the file is not written when the two differ.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How the flow looks
    #[arg(long, value_enum)]
    shape: Shape,
    /// Seed of the generator: the same seed gives the same file
    #[arg(long, value_name = "S", default_value_t = 42)]
    seed: u64,
    /// Operations between filling the book and measuring
    #[arg(long, value_name = "N", default_value_t = Volume::DEFAULT.warm,
        value_parser = clap::value_parser!(u32).range(0..=40_000_000))]
    warm: u32,
    /// Operations to measure
    #[arg(long, value_name = "N", default_value_t = Volume::DEFAULT.measured,
        value_parser = clap::value_parser!(u32).range(1..=40_000_000))]
    meas: u32,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// How many operations follow those that fill the book.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Volume {
    /// Not measured.
    pub(crate) warm: u32,
    /// Measured.
    pub(crate) measured: u32,
}

impl Volume {
    /// A second's work for a fast engine.
    pub(crate) const DEFAULT: Volume = Volume { warm: 1_000_000, measured: 5_000_000 };
}

/// How a flow looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shape {
    /// 2,000 orders close to the middle; most operations move one
    Steady,
    /// 10,000 orders, placed and canceled all the time, never moved
    Churn,
    /// 1,000,000 orders spread evenly over 10,000 prices
    Deep,
    /// 1,000 orders of which the oldest follow the last trade in small steps
    Exchange,
}

impl Shape {
    /// All of them.
    pub(crate) const ALL: [Shape; 4] = [Shape::Steady, Shape::Churn, Shape::Deep, Shape::Exchange];

    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Shape::Steady => "steady",
            Shape::Churn => "churn",
            Shape::Deep => "deep",
            Shape::Exchange => "exchange",
        }
    }

    fn numbers(self) -> Numbers {
        let steady = Numbers {
            resting: 2_000,
            reach: 100,
            even: false,
            follow: false,
            drift_every: 32,
            size_max: 100,
            per_mille: [110, 80, 30, 740, 40],
            crossing_per_mille: 40,
        };
        match self {
            Shape::Steady => steady,
            Shape::Churn => Numbers {
                resting: 10_000,
                reach: 600,
                per_mille: [480, 420, 100, 0, 0],
                crossing_per_mille: 70,
                ..steady
            },
            Shape::Deep => Numbers {
                resting: 1_000_000,
                reach: 5_000,
                even: true,
                drift_every: u32::MAX,
                per_mille: [410, 390, 100, 100, 0],
                crossing_per_mille: 0,
                ..steady
            },
            Shape::Exchange => Numbers {
                resting: 1_000,
                reach: 2_000,
                follow: true,
                size_max: 60,
                per_mille: [120, 70, 25, 715, 70],
                crossing_per_mille: 10,
                ..steady
            },
        }
    }
}

/// What makes a shape.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    /// Orders that rest, give or take a twentieth.
    resting: u64,
    /// The furthest distance of a new price from the middle.
    reach: u64,
    /// All distances are equally likely; else short ones are likelier.
    even: bool,
    /// Moves step towards the last trade, and old orders move more often; else an order moves to any new price.
    follow: bool,
    /// The middle takes a step after so many operations.
    drift_every: u32,
    /// The largest new order.
    size_max: u64,
    /// Of a thousand operations: places that rest, cancels, immediate places, moves, reduces.
    per_mille: [u64; 5],
    /// Of a thousand places and moves, how many are priced to trade at once.
    crossing_per_mille: u64,
}

/// Writes the file and returns what to print.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    let work = work(options.shape, options.seed, Volume { warm: options.warm, measured: options.meas })?;
    let confirmed = confirm(&work)?;
    work.write(&options.out)?;
    let Header { prefill, warm, measured, answer, measured_trades, .. } = work.header;
    let mut table = format!("{}: shape {}, seed {}\n", options.out.display(), options.shape.name(), options.seed);
    let counts = [prefill, warm, measured].map(output::grouped);
    table += &output::row(
        "operations",
        format!("{} to fill, {} to warm up, {} to measure", counts[0], counts[1], counts[2]),
    );
    table += &output::row("trades", output::grouped(answer.trades));
    let [ops, trades] = [confirmed.ops as u64, confirmed.answer.trades].map(output::grouped);
    table += &output::row("confirmed by the twin", format!(" the first {ops} operations with {trades} trades"));
    table += &output::row("measured trades", output::grouped(measured_trades));
    table += &output::row("trade hash", format!("{:016x}", answer.hash.0));
    Ok(table)
}

/// The most operations that the twin is asked to confirm, and the most orders it may look at for that.
const CONFIRMED_MAX: usize = 50_000;
const LOOKS_MAX: u64 = 100_000_000;

/// The beginning of a file about which the reference and the twin agree.
#[derive(Clone, Copy, Debug)]
struct Confirmed {
    ops: usize,
    answer: Answer,
}

/// Lets the naive twin trade the beginning of a file.
///
/// # Errors
/// When it trades something else than the reference.
fn confirm(work: &Work) -> anyhow::Result<Confirmed> {
    let (mut book, mut answer, mut looks, mut ops) = (Reference::default(), Answer::EMPTY, 0, 0);
    for op in work.ops.iter().take(CONFIRMED_MAX) {
        looks += book.count(Side::Bid) + book.count(Side::Ask);
        if looks > LOOKS_MAX {
            break;
        }
        book.apply(op)?.into_iter().for_each(|trade| answer.add(trade));
        ops += 1;
    }
    let twin = measure::replay::<Driver<Twin>>(&work.header, &work.ops[..ops])?;
    ensure!(twin == answer, "the naive twin trades {twin:x?}, the reference {answer:x?}: one of them has a bug");
    Ok(Confirmed { ops, answer })
}

/// The file of a shape and seed.
///
/// # Errors
/// When the flow names an order that does not rest, which would be a bug.
pub(crate) fn work(shape: Shape, seed: u64, volume: Volume) -> anyhow::Result<Work> {
    flow(shape.numbers(), seed, volume)
}

fn flow(numbers: Numbers, seed: u64, volume: Volume) -> anyhow::Result<Work> {
    let mut flow = Flow::new(numbers, seed);
    for _ in 0..numbers.resting {
        flow.fill()?;
    }
    for _ in 0..volume.warm {
        flow.step()?;
    }
    let unmeasured_trades = flow.answer.trades;
    for _ in 0..volume.measured {
        flow.step()?;
    }
    Ok(flow.finish(seed, volume, unmeasured_trades))
}

/// The stream while it is generated.
#[derive(Debug)]
struct Flow {
    numbers: Numbers,
    random: Random,
    book: Reference,
    live: Live,
    ops: Vec<Op>,
    /// The owner of each order, by id; nobody for id 0.
    owners: Vec<u32>,
    middle: i64,
    last_trade: i64,
    max_live: u64,
    answer: Answer,
}

impl Flow {
    fn new(numbers: Numbers, seed: u64) -> Flow {
        Flow {
            numbers,
            random: Random::new(seed),
            book: Reference::default(),
            live: Live::default(),
            ops: Vec::new(),
            owners: vec![0],
            middle: OPENING_PRICE,
            last_trade: OPENING_PRICE,
            max_live: 0,
            answer: Answer::EMPTY,
        }
    }

    /// One order that rests without trading.
    fn fill(&mut self) -> anyhow::Result<()> {
        let side = self.side();
        let price = self.passive(side);
        self.place(side, TimeInForce::Gtc, price)
    }

    /// One operation of the mix.
    fn step(&mut self) -> anyhow::Result<()> {
        if self.ops.len().is_multiple_of(self.numbers.drift_every as usize) {
            let step = self.random.below(3) as i64 - 1; // From -1 to 1.
            self.middle = (self.middle + step).clamp(OPENING_PRICE - DRIFT_MAX, OPENING_PRICE + DRIFT_MAX);
        }
        let side = self.side();
        match self.action() {
            Action::Rest => {
                let price = self.price(side);
                self.place(side, TimeInForce::Gtc, price)
            }
            Action::Immediate => {
                let price = self.crossing(side);
                self.place(side, TimeInForce::Ioc, price)
            }
            Action::Cancel => self.change(Kind::Cancel),
            Action::Move => self.change(Kind::Move),
            Action::Reduce => self.change(Kind::Reduce),
        }
    }

    /// What to do next: as the mix says, unless the book is too small or too large.
    fn action(&mut self) -> Action {
        let (live, resting) = (self.live.ids.len() as u64, self.numbers.resting);
        if live < resting - resting / 20 {
            return Action::Rest;
        }
        let mut drawn = self.random.below(self.numbers.per_mille.iter().sum());
        let actions = [Action::Rest, Action::Cancel, Action::Immediate, Action::Move, Action::Reduce];
        for (action, share) in actions.into_iter().zip(self.numbers.per_mille) {
            if drawn < share {
                let full = action == Action::Rest && live > resting + resting / 20;
                return if full { Action::Cancel } else { action };
            }
            drawn -= share;
        }
        Action::Rest
    }

    fn place(&mut self, side: Side, time_in_force: TimeInForce, price: i64) -> anyhow::Result<()> {
        let user = self.random.between_u32(1, USERS);
        let (id, quantity) = (self.owners.len() as u64, self.random.between(1, self.numbers.size_max));
        self.owners.push(user);
        self.apply(Op { kind: Kind::Place, side, time_in_force, user, id, price, quantity })
    }

    /// A cancel, move or reduce of some live order.
    fn change(&mut self, kind: Kind) -> anyhow::Result<()> {
        let id = self.pick();
        let order = self.book.order(id).with_context(|| format!("order {id} is live"))?;
        let (price, quantity) = match kind {
            Kind::Move if self.numbers.follow => (self.followed(order.price), order.quantity),
            Kind::Move => (self.price(order.side), order.quantity),
            Kind::Reduce => (order.price, self.random.between(1, order.quantity)),
            Kind::Cancel | Kind::Place => (order.price, 0),
        };
        let user = self.owners[id as usize]; // An id is an index of `owners`.
        self.apply(Op { kind, side: order.side, time_in_force: TimeInForce::Gtc, user, id, price, quantity })
    }

    /// A live order: any, or the older one of two.
    fn pick(&mut self) -> u64 {
        let count = self.live.ids.len() as u64;
        let first = self.live.ids[self.random.below(count) as usize]; // Below the length.
        if !self.numbers.follow {
            return first;
        }
        first.min(self.live.ids[self.random.below(count) as usize]) // Below the length.
    }

    fn apply(&mut self, op: Op) -> anyhow::Result<()> {
        for trade in self.book.apply(&op)? {
            self.answer.add(trade);
            self.last_trade = trade.price;
            if self.book.order(trade.maker).is_none() {
                self.live.remove(trade.maker);
            }
        }
        self.live.remove(op.id);
        if self.book.order(op.id).is_some() {
            self.live.insert(op.id);
        }
        self.max_live = self.max_live.max(self.live.ids.len() as u64);
        self.ops.push(op);
        Ok(())
    }

    /// Any side, the smaller one if the book leans.
    fn side(&mut self) -> Side {
        let (bids, asks) = (self.book.count(Side::Bid), self.book.count(Side::Ask));
        let lean = self.numbers.resting / 40;
        match self.random.below(2) {
            _ if bids + lean < asks => Side::Bid,
            _ if asks + lean < bids => Side::Ask,
            0 => Side::Bid,
            _ => Side::Ask,
        }
    }

    /// The price of an order that may rest.
    fn price(&mut self, side: Side) -> i64 {
        let crosses = self.random.below(1_000) < self.numbers.crossing_per_mille;
        if crosses { self.crossing(side) } else { self.passive(side) }
    }

    /// A price that does not trade.
    fn passive(&mut self, side: Side) -> i64 {
        let reach = if self.numbers.even { self.numbers.reach } else { self.random.between(1, self.numbers.reach) };
        let distance = self.random.between(1, reach) as i64; // Small, see the shapes.
        let opposite = self.book.best(side.opposite());
        match side {
            Side::Bid => (self.middle - distance).min(opposite.unwrap_or(i64::MAX) - 1),
            Side::Ask => (self.middle + distance).max(opposite.unwrap_or(0) + 1),
        }
    }

    /// A price that trades with the best order of the other side and perhaps with a few more.
    fn crossing(&mut self, side: Side) -> i64 {
        let best = self.book.best(side.opposite()).unwrap_or(self.middle);
        let beyond = self.random.below(4) as i64; // From 0 to 3.
        match side {
            Side::Bid => best + beyond,
            Side::Ask => best - beyond,
        }
    }

    /// A step towards the last trade, of at most a hundredth of the way.
    fn followed(&mut self, price: i64) -> i64 {
        let way = self.last_trade - price;
        match way.signum() {
            0 => price + 1 - 2 * self.random.below(2) as i64, // One up or down.
            direction => price + direction * (1 + way.abs() / 100),
        }
    }

    fn finish(self, seed: u64, volume: Volume, unmeasured_trades: u64) -> Work {
        let priced = self.ops.iter().filter(|op| matches!(op.kind, Kind::Place | Kind::Move)).map(|op| op.price);
        let header = Header {
            prefill: self.numbers.resting,
            warm: u64::from(volume.warm),
            measured: u64::from(volume.measured),
            min_price: priced.clone().min().unwrap_or(OPENING_PRICE),
            max_price: priced.max().unwrap_or(OPENING_PRICE),
            max_id: self.owners.len() as u64 - 1,
            max_live: self.max_live,
            seed,
            answer: self.answer,
            measured_trades: self.answer.trades - unmeasured_trades,
            final_bids: self.book.count(Side::Bid),
            final_asks: self.book.count(Side::Ask),
        };
        Work { header, ops: self.ops }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Rest,
    Cancel,
    Immediate,
    Move,
    Reduce,
}

/// The live orders, of which any can be drawn at once.
#[derive(Debug, Default)]
struct Live {
    ids: Vec<u64>,
    /// Where each id is in `ids`.
    places: HashMap<u64, usize>,
}

impl Live {
    fn insert(&mut self, id: u64) {
        self.places.insert(id, self.ids.len());
        self.ids.push(id);
    }

    /// Does nothing when the order is not live.
    fn remove(&mut self, id: u64) {
        let Some(place) = self.places.remove(&id) else { return };
        self.ids.swap_remove(place);
        if let Some(&moved) = self.ids.get(place) {
            self.places.insert(moved, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLUME: Volume = Volume { warm: 1_000, measured: 20_000 };

    #[test]
    fn a_seed_gives_the_same_file_and_another_seed_another() {
        for shape in [Shape::Steady, Shape::Churn, Shape::Exchange] {
            let first = work(shape, 1, VOLUME).unwrap();
            assert_eq!(first, work(shape, 1, VOLUME).unwrap());
            assert_ne!(first.header.answer, work(shape, 2, VOLUME).unwrap().header.answer);
        }
    }

    #[test]
    fn the_twin_trades_what_the_reference_trades() {
        for shape in Shape::ALL {
            for seed in 1..=3 {
                let few = Numbers { resting: 150, reach: 40, ..shape.numbers() };
                let volume = Volume { warm: 0, measured: 2_500 };
                let confirmed = confirm(&flow(few, seed, volume).unwrap()).unwrap();
                assert_eq!(confirmed.ops, 2_650, "{shape:?}");
                assert!(confirmed.answer.trades > 50, "{shape:?}, seed {seed}: {confirmed:?}");
            }
        }
    }

    #[test]
    fn an_answer_that_the_twin_does_not_give_is_refused() {
        let mut work = work(Shape::Exchange, 1, Volume { warm: 0, measured: 500 }).unwrap();
        assert!(confirm(&work).is_ok());
        // The twin refuses an order beyond the header's prices; the reference lets it trade.
        let Header { max_price: price, .. } = work.header;
        let bid = Op { side: Side::Bid, price: price + 10, ..work.ops[0] };
        work.ops = vec![bid, Op { side: Side::Ask, price, id: 2, ..bid }];
        assert!(format!("{:#}", confirm(&work).unwrap_err()).contains("naive twin"));
    }

    #[test]
    fn a_file_keeps_to_its_shape() {
        for shape in [Shape::Steady, Shape::Churn, Shape::Exchange] {
            let (numbers, work) = (shape.numbers(), work(shape, 3, VOLUME).unwrap());
            let Header { final_bids, final_asks, max_live, measured_trades, .. } = work.header;
            let (low, high) = (numbers.resting * 9 / 10, numbers.resting * 11 / 10);
            assert!((low..=high).contains(&(final_bids + final_asks)) && max_live <= high, "{:?}", work.header);
            assert!(final_bids.abs_diff(final_asks) < numbers.resting / 5, "{:?}", work.header);
            assert!((200..20_000).contains(&measured_trades), "{shape:?}: {measured_trades} trades");
            for (kind, share) in [(Kind::Cancel, numbers.per_mille[1]), (Kind::Move, numbers.per_mille[3])] {
                let count = work.measured().iter().filter(|op| op.kind == kind).count() as u64;
                assert!(count.abs_diff(share * 20) < 2_000, "{shape:?}: {count} of {kind:?}");
            }
        }
    }
}
