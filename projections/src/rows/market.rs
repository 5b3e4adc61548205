//! Instruments, depth, trades and candles.

use bincode::{Decode, Encode};
use gollem_engine::{
    Amount, ContractId, InstrumentId, InstrumentSpec, InstrumentState, Price, Quantity, Side, Timestamp,
};

/// Totals of a price level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LevelRow {
    /// Bid or ask.
    pub side: Side,
    /// Atoms a unit.
    pub price: Price,
    /// Units resting.
    pub quantity: Quantity,
    /// Orders resting.
    pub orders: u32,
}

/// A listed instrument.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct InstrumentRow {
    /// Its number.
    pub id: InstrumentId,
    /// Its contract specification; the reference price is kept up to date.
    pub spec: InstrumentSpec,
    /// Whether it takes orders.
    pub state: InstrumentState,
}

/// A trade on the tape, without its parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TradeRow {
    /// The input.
    pub seq: u64,
    /// Which of its events.
    pub index: u32,
    /// When.
    pub at: Timestamp,
    /// The contract it made.
    pub contract: ContractId,
    /// The side that arrived.
    pub taker: Side,
    /// Atoms a unit.
    pub price: Price,
    /// Units.
    pub quantity: Quantity,
}

/// Lengths of candles: 1 second to 1 day. Each starts at a multiple of its length since the epoch, so days are UTC days.
pub const CANDLE_SECONDS: [u32; 7] = [1, 60, 300, 900, 3_600, 14_400, 86_400];

/// What traded in one interval; one without trades has no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CandleRow {
    /// Its first second since the epoch.
    pub start_s: u64,
    /// The first price.
    pub open: Price,
    /// The highest.
    pub high: Price,
    /// The lowest.
    pub low: Price,
    /// The last.
    pub close: Price,
    /// Units traded.
    pub units: u128,
    /// What they cost, in atoms, without fees.
    pub value: i128,
    /// How many trades.
    pub trades: u64,
}

impl CandleRow {
    /// The candle of one trade.
    pub fn of(start_s: u64, price: Price, units: Quantity, value: Amount) -> CandleRow {
        let (units, value) = (units.0.into(), value.0.into());
        CandleRow { start_s, open: price, high: price, low: price, close: price, units, value, trades: 1 }
    }

    /// Adds a later trade.
    pub fn add(&mut self, price: Price, units: Quantity, value: Amount) {
        self.high = self.high.max(price);
        self.low = self.low.min(price);
        self.close = price;
        self.units += u128::from(units.0);
        self.value += i128::from(value.0);
        self.trades += 1;
    }
}
