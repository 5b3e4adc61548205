//! Order files in the `LOBWORK1` format: one flat stream of book operations that every engine can replay.
//!
//! A header of 128 bytes, then records of 32 bytes, all little-endian: first those that fill the book, then the warm-up,
//! then the measured ones. The header also says what a correct book with price-time priority must trade.
//!
//! | header | type | | record | type |
//! |--:|---|---|--:|---|
//! | 0 | magic `LOBWORK1` | | 0 | u8 kind: 1 place, 2 cancel, 3 move, 4 reduce |
//! | 8 | u32 version 1, u32 record size 32 | | 1 | u8 side: 0 bid, 1 ask |
//! | 16 | u64 x 3 records of prefill, warm-up, measured | | 2 | u8 time in force of a place: 0 GTC, 1 IOC; then a zero |
//! | 40 | i64 x 2 lowest and highest price of places and moves | | 4 | u32 user |
//! | 56 | u64 x 2 highest order id, most live orders | | 8 | u64 order id |
//! | 72 | u64 seed | | 16 | i64 price in ticks |
//! | 80 | u64 x 3 trades, traded quantity, trade hash | | 24 | u64 quantity |
//! | 104 | u64 x 3 measured trades, resting bids and asks at the end | | | |
//!
//! A move keeps the remaining quantity and goes to the back of its new level, also when the price stays; a reduce by at
//! least what remains is a cancel; cancels, moves and reduces name live orders.
//!
//! Invariants: a [`Work`] that was read has as many records as its header says, ids that are dense and in order of
//! placing, prices within the header's, and quantities and spans within the limits below. Whether the named orders are
//! live, and whether the expected answers are right, only a replay tells: see `measure`.

use anyhow::{Context, ensure};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::path::Path;

const MAGIC: [u8; 8] = *b"LOBWORK1";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 128;
const RECORD_BYTES: usize = 32;
/// Records read or written at once.
const CHUNK_RECORDS: usize = 4_096;

/// Most records of one file: more would not fit into memory next to an engine.
const RECORDS_MAX: u64 = 100_000_000;
/// Most prices between the lowest and the highest: engines may keep an array of them.
pub(crate) const SPAN_MAX: u64 = 1 << 24;
/// The largest quantity of one order: engines may keep it in 32 bits.
const QUANTITY_MAX: u64 = u32::MAX as u64;

/// What a record asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A new order.
    Place = 1,
    /// Takes an order out of the book.
    Cancel = 2,
    /// A new price for what remains; it goes to the back of its level and may trade.
    Move = 3,
    /// Takes off some of what remains; the place in the queue stays.
    Reduce = 4,
}

/// One of the two sides of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Side {
    /// Buys.
    Bid = 0,
    /// Sells.
    Ask = 1,
}

/// What happens to what a new order does not trade at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TimeInForce {
    /// It rests.
    Gtc = 0,
    /// It is dropped.
    Ioc = 1,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    /// What it asks for.
    pub(crate) kind: Kind,
    /// The order's side, whatever the kind.
    pub(crate) side: Side,
    /// Of a place; GTC for the other kinds.
    pub(crate) time_in_force: TimeInForce,
    /// The order's owner, from 1.
    pub(crate) user: u32,
    /// The order, from 1.
    pub(crate) id: u64,
    /// The limit of a place, the new price of a move, else the order's price; in ticks.
    pub(crate) price: i64,
    /// Of a place its size, of a move what remains, of a reduce what to take off, of a cancel zero.
    pub(crate) quantity: u64,
}

const _: () = assert!(size_of::<Op>() == RECORD_BYTES, "an operation in memory is as large as in the file");

/// One trade, at the maker's price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trade {
    /// The order that rested.
    pub(crate) maker: u64,
    /// The order that came.
    pub(crate) taker: u64,
    /// In ticks.
    pub(crate) price: i64,
    /// How much.
    pub(crate) quantity: u64,
}

/// A running hash over trades in their order: two streams of trades that agree on it are taken to be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TradeHash(pub(crate) u64);

impl TradeHash {
    /// Of no trade.
    pub(crate) const EMPTY: TradeHash = TradeHash(0x1234);

    /// Takes in the next trade.
    pub(crate) fn add(&mut self, trade: Trade) {
        for value in [trade.maker, trade.taker, trade.price.cast_unsigned(), trade.quantity] {
            self.0 = (self.0 ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        }
    }
}

/// What trades a replay made: the answer that must be the same for every engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// How many.
    pub(crate) trades: u64,
    /// How much in all.
    pub(crate) quantity: u64,
    /// Which, and in what order.
    pub(crate) hash: TradeHash,
}

impl Answer {
    /// Of a replay that has not begun.
    pub(crate) const EMPTY: Answer = Answer { trades: 0, quantity: 0, hash: TradeHash::EMPTY };

    /// Takes in the next trade.
    pub(crate) fn add(&mut self, trade: Trade) {
        self.trades += 1;
        self.quantity += trade.quantity;
        self.hash.add(trade);
    }
}

/// What the header says, less what is the same in every file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Records that fill the book.
    pub(crate) prefill: u64,
    /// Records after them that nobody measures.
    pub(crate) warm: u64,
    /// Records to measure.
    pub(crate) measured: u64,
    /// The lowest price of a place or move.
    pub(crate) min_price: i64,
    /// The highest.
    pub(crate) max_price: i64,
    /// The highest order id; ids count up from 1 without a gap.
    pub(crate) max_id: u64,
    /// Most orders that rest at the same time.
    pub(crate) max_live: u64,
    /// The generator's seed.
    pub(crate) seed: u64,
    /// What all records together must trade.
    pub(crate) answer: Answer,
    /// Trades of the measured records.
    pub(crate) measured_trades: u64,
    /// Bids that rest at the end.
    pub(crate) final_bids: u64,
    /// Asks that rest at the end.
    pub(crate) final_asks: u64,
}

/// An order file in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// What to expect.
    pub(crate) header: Header,
    /// All records: prefill, warm-up, measured.
    pub(crate) ops: Vec<Op>,
}

impl Work {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// When it cannot be read, or breaks a rule of the format; the error names the file and the field.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Work> {
        Work::read_unnamed(path).with_context(|| format!("order file {}", path.display()))
    }

    fn read_unnamed(path: &Path) -> anyhow::Result<Work> {
        let file = File::open(path).context("cannot be opened")?;
        let length = file.metadata().context("its length cannot be read")?.len();
        let mut file = BufReader::new(file);
        let mut bytes = [0; HEADER_BYTES];
        ensure!(length >= HEADER_BYTES as u64, "{length} bytes are less than a header, {HEADER_BYTES}");
        file.read_exact(&mut bytes).context("the header cannot be read")?;
        let header = Header::from_bytes(&bytes)?;
        let expected = HEADER_BYTES as u64 + header.records()? * RECORD_BYTES as u64;
        ensure!(length == expected, "is {length} bytes long, its header says {expected}");
        let ops = read_records(&mut file, usize::try_from(header.records()?)?)?;
        check(&header, &ops)?;
        Ok(Work { header, ops })
    }

    /// Writes a file that [`Work::read`] gives back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let name = || format!("cannot write order file {}", path.display());
        let mut file = BufWriter::new(File::create(path).with_context(name)?);
        file.write_all(&self.header.to_bytes()).with_context(name)?;
        for op in &self.ops {
            file.write_all(&op.to_bytes()).with_context(name)?;
        }
        file.flush().with_context(name)
    }

    /// The operations that nobody measures: they fill the book, then warm it up.
    pub(crate) fn unmeasured(&self) -> &[Op] {
        &self.ops[..self.split()]
    }

    /// The operations to measure.
    pub(crate) fn measured(&self) -> &[Op] {
        &self.ops[self.split()..]
    }

    /// Drops all but so many measured operations, and shrinks the warm-up to a fifth of them. The header's answer is
    /// then that of another file; the caller has to replace it.
    pub(crate) fn limit(&mut self, measured: u64) {
        if measured < self.header.measured {
            self.header.measured = measured;
            self.header.warm = self.header.warm.min(measured / 5);
            let records = self.header.prefill + self.header.warm + measured;
            self.ops.truncate(usize::try_from(records).unwrap_or(usize::MAX));
        }
    }

    /// Where the measured operations begin; within `ops` because the length was checked.
    fn split(&self) -> usize {
        self.ops.len() - self.header.measured as usize
    }
}

fn read_records(file: &mut impl Read, count: usize) -> anyhow::Result<Vec<Op>> {
    let mut ops = Vec::with_capacity(count);
    let mut chunk = vec![0; CHUNK_RECORDS * RECORD_BYTES];
    while ops.len() < count {
        let records = CHUNK_RECORDS.min(count - ops.len());
        let bytes = &mut chunk[..records * RECORD_BYTES];
        file.read_exact(bytes).with_context(|| format!("record {} cannot be read", ops.len()))?;
        for record in bytes.chunks_exact(RECORD_BYTES) {
            ops.push(Op::from_bytes(record).with_context(|| format!("record {}", ops.len()))?);
        }
    }
    Ok(ops)
}

/// The rules that span records.
fn check(header: &Header, ops: &[Op]) -> anyhow::Result<()> {
    let mut placed = 0;
    for (at, op) in ops.iter().enumerate() {
        if op.kind == Kind::Place {
            ensure!(op.id == placed + 1, "record {at}: order id {} of a place does not follow {placed}", op.id);
            placed = op.id;
        }
        ensure!(op.id >= 1 && op.id <= placed, "record {at}: order id {} was never placed", op.id);
        let free = matches!(op.kind, Kind::Cancel | Kind::Reduce);
        let within = op.price >= header.min_price && op.price <= header.max_price;
        ensure!(free || within, "record {at}: price {} is outside the header's", op.price);
    }
    ensure!(placed == header.max_id, "max order id is {} but {placed} orders are placed", header.max_id);
    Ok(())
}

/// Takes fields off the front of bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> anyhow::Result<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk().context("too few bytes")?;
        self.0 = rest;
        Ok(*field)
    }

    fn u32(&mut self) -> anyhow::Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> anyhow::Result<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> anyhow::Result<i64> {
        self.take().map(i64::from_le_bytes)
    }
}

impl Header {
    fn from_bytes(bytes: &[u8]) -> anyhow::Result<Header> {
        let mut fields = Fields(bytes);
        let magic: [u8; 8] = fields.take()?;
        ensure!(magic == MAGIC, "magic is {:?}, not LOBWORK1", String::from_utf8_lossy(&magic));
        let version = fields.u32()?;
        ensure!(version == VERSION, "version is {version}, not {VERSION}");
        let record = fields.u32()?;
        ensure!(record as usize == RECORD_BYTES, "record size is {record}, not {RECORD_BYTES}");
        let header = Header {
            prefill: fields.u64()?,
            warm: fields.u64()?,
            measured: fields.u64()?,
            min_price: fields.i64()?,
            max_price: fields.i64()?,
            max_id: fields.u64()?,
            max_live: fields.u64()?,
            seed: fields.u64()?,
            answer: Answer { trades: fields.u64()?, quantity: fields.u64()?, hash: TradeHash(fields.u64()?) },
            measured_trades: fields.u64()?,
            final_bids: fields.u64()?,
            final_asks: fields.u64()?,
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> anyhow::Result<()> {
        let records = self.records()?;
        ensure!(self.measured > 0, "there is no measured record");
        ensure!(self.max_id <= records, "max order id {} is above the {records} records", self.max_id);
        let span = self.max_price.checked_sub(self.min_price).and_then(|span| u64::try_from(span).ok());
        let (min, max) = (self.min_price, self.max_price);
        ensure!(span.is_some_and(|span| span < SPAN_MAX), "prices {min} to {max} do not span 1 to {SPAN_MAX} ticks");
        Ok(())
    }

    /// How many records follow.
    ///
    /// # Errors
    /// When they are more than this program takes.
    fn records(&self) -> anyhow::Result<u64> {
        let records = self.prefill.checked_add(self.warm).and_then(|sum| sum.checked_add(self.measured));
        let records = records.filter(|&records| records <= RECORDS_MAX);
        records.with_context(|| format!("record counts are above {RECORDS_MAX} in all"))
    }

    /// The prices between the lowest and the highest, both included.
    pub(crate) fn prices(&self) -> Range<i64> {
        self.min_price..self.max_price + 1
    }

    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let counts = [self.prefill, self.warm, self.measured];
        let prices = [self.min_price, self.max_price].map(i64::cast_unsigned);
        let book = [self.max_id, self.max_live, self.seed];
        let answer = [self.answer.trades, self.answer.quantity, self.answer.hash.0];
        let end = [self.measured_trades, self.final_bids, self.final_asks];
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(RECORD_BYTES as u32).to_le_bytes());
        let words = counts.into_iter().chain(prices).chain(book).chain(answer).chain(end);
        for (field, word) in bytes[16..].chunks_exact_mut(8).zip(words) {
            field.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

impl Op {
    fn from_bytes(bytes: &[u8]) -> anyhow::Result<Op> {
        let mut fields = Fields(bytes);
        let [kind, side, time_in_force, pad] = fields.take()?;
        let kind = Kind::of(kind).with_context(|| format!("kind {kind} is none of 1 to 4"))?;
        let side = Side::of(side).with_context(|| format!("side {side} is neither 0 nor 1"))?;
        let time_in_force = TimeInForce::of(time_in_force)
            .with_context(|| format!("time in force {time_in_force} is neither 0 nor 1"))?;
        ensure!(pad == 0, "the byte after the time in force is {pad}, not 0");
        let (user, id) = (fields.u32()?, fields.u64()?);
        let op = Op { kind, side, time_in_force, user, id, price: fields.i64()?, quantity: fields.u64()? };
        ensure!(op.user > 0, "user is 0");
        ensure!(op.kind == Kind::Cancel || op.quantity > 0, "quantity is 0");
        ensure!(op.quantity <= QUANTITY_MAX, "quantity {} is above {QUANTITY_MAX}", op.quantity);
        Ok(op)
    }

    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..3].copy_from_slice(&[self.kind as u8, self.side as u8, self.time_in_force as u8]);
        bytes[4..8].copy_from_slice(&self.user.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.price.to_le_bytes());
        bytes[24..].copy_from_slice(&self.quantity.to_le_bytes());
        bytes
    }
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        [Kind::Place, Kind::Cancel, Kind::Move, Kind::Reduce].into_iter().find(|&kind| kind as u8 == byte)
    }
}

impl Side {
    fn of(byte: u8) -> Option<Side> {
        [Side::Bid, Side::Ask].into_iter().find(|&side| side as u8 == byte)
    }

    /// The side it trades with.
    pub(crate) fn opposite(self) -> Side {
        match self {
            Side::Bid => Side::Ask,
            Side::Ask => Side::Bid,
        }
    }
}

impl TimeInForce {
    fn of(byte: u8) -> Option<TimeInForce> {
        [TimeInForce::Gtc, TimeInForce::Ioc].into_iter().find(|&force| force as u8 == byte)
    }
}

#[cfg(test)]
#[path = "workload/tests.rs"]
mod tests;
