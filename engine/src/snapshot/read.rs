//! Reading a snapshot.

use super::{CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, Header, MAGIC, Part, ROW_BYTES_MAX, SnapshotError, VERSION, check};
use crate::deadlines::Deadline;
use crate::engine::Capacity;
use crate::flags::Flags;
use crate::ids::{SLOT_BITS, dense_index, slot_of};
use crate::limits::{ACCOUNTS_MAX, INSTRUMENTS_MAX, OPEN_ORDERS_MAX, OPEN_ORDERS_PER_ACCOUNT_MAX, QUANTITY_MAX};
use crate::market::Market;
use crate::orders::{OrderRow, Slot, slot_named};
use crate::provider::Provider;
use crate::spending::{KeySpending, SpendingRow};
use crate::{
    AccountId, Balance, Breaker, Contract, ContractId, Engine, InstrumentId, InstrumentSpec, InstrumentState, KeyId,
    Lock, OrderId, Timer, Timestamp,
};
use bincode::Decode;
use std::io::{ErrorKind, Read};

/// What is wrong with a row.
type Fault = &'static str;

impl Engine {
    /// Reads a snapshot, and not a byte beyond it.
    ///
    /// # Errors
    /// When there is none, or not a whole one, or one of another version. See [`SnapshotError`].
    pub fn read_snapshot(input: &mut impl Read) -> Result<Engine, SnapshotError> {
        Engine::read_snapshot_with(input, Capacity::default())
    }

    /// The same with memory set aside beforehand.
    ///
    /// # Errors
    /// As [`Engine::read_snapshot`].
    pub fn read_snapshot_with(input: &mut impl Read, capacity: Capacity) -> Result<Engine, SnapshotError> {
        let mut chunks = Chunks::begin(input)?;
        let header = chunks.header()?;
        let mut builder = Builder { engine: Engine::with_capacity(capacity), header, booked: Vec::new() };
        while let Some(mut rows) = chunks.next()? {
            let (part, chunk) = (rows.part, rows.chunk);
            let corrupt = |what| SnapshotError::Corrupt { part: part.name(), chunk, what };
            while rows.left > 0 {
                builder.add(&mut rows).map_err(corrupt)?;
            }
            rows.end().map_err(corrupt)?;
        }
        let mut engine = builder.finish();
        let actual = engine.checkpoint();
        if actual != header.state {
            return Err(SnapshotError::StateMismatch { expected: header.state, actual });
        }
        if engine.header() != header {
            return Err(chunks.corrupt("not as many rows as the header says"));
        }
        let forgets_payouts = chunks.version < 3;
        if forgets_payouts && engine.payouts.map().len() as u64 + 1 != header.next_payout {
            return Err(SnapshotError::PayoutsForgotten { found: chunks.version });
        }
        Ok(engine)
    }
}

/// Chunks on their way in.
struct Chunks<'a, R> {
    input: &'a mut R,
    /// Of all bytes read.
    hasher: blake3::Hasher,
    version: u32,
    part: Part,
    chunk: u64,
    bytes: Vec<u8>,
}

impl<'a, R: Read> Chunks<'a, R> {
    /// Reads what stands in front of the chunks.
    fn begin(input: &'a mut R) -> Result<Chunks<'a, R>, SnapshotError> {
        let hasher = blake3::Hasher::new();
        let mut chunks = Chunks { input, hasher, version: VERSION, part: Part::Header, chunk: 0, bytes: Vec::new() };
        let mut magic = [0; MAGIC.len()];
        match chunks.fill(&mut magic) {
            Err(SnapshotError::Io(error)) => return Err(error.into()),
            Ok(()) if magic == MAGIC => {}
            Ok(()) | Err(_) => return Err(SnapshotError::NotASnapshot), // It may be shorter.
        }
        let mut version = [0; 4];
        chunks.fill(&mut version)?;
        match u32::from_le_bytes(version) {
            version @ 1..=VERSION => Ok(Chunks { version, ..chunks }),
            found => Err(SnapshotError::UnknownVersion { found, newest: VERSION }),
        }
    }

    fn corrupt(&self, what: &'static str) -> SnapshotError {
        SnapshotError::Corrupt { part: self.part.name(), chunk: self.chunk, what }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        match self.input.read_exact(bytes) {
            Ok(()) => {
                self.hasher.update(bytes);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.corrupt("it is cut short")),
            Err(error) => Err(error.into()),
        }
    }

    /// The first chunk.
    fn header(&mut self) -> Result<Header, SnapshotError> {
        let missing = "the header is missing";
        let Some(mut rows) = self.next()? else { return Err(self.corrupt(missing)) };
        let header = if rows.part == Part::Header { rows.next() } else { Err(missing) };
        let header = header.and_then(|header| rows.end().map(|()| header));
        header.map_err(|what| self.corrupt(what))
    }

    /// The next chunk, checked; none after the last.
    fn next(&mut self) -> Result<Option<Rows<'_>>, SnapshotError> {
        let mut front = [0; CHUNK_HEADER_BYTES];
        self.fill(&mut front)?;
        let [part, rows @ .., l0, l1, l2, l3] = front;
        let (rows, length) = (u32::from_le_bytes(rows), u32::from_le_bytes([l0, l1, l2, l3]) as usize);
        let part = Part::from_number(part, self.version).filter(|part| *part >= self.part);
        self.part = part.ok_or_else(|| self.corrupt("a part that does not belong here"))?;
        if length > CHUNK_BYTES_MAX {
            return Err(self.corrupt("a chunk that is too long"));
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(length, 0);
        self.fill(&mut bytes)?;
        self.bytes = bytes;
        let (expected, mut found) = (check(&self.hasher), [0; 8]);
        self.fill(&mut found)?;
        if found != expected {
            return Err(self.corrupt("its check does not match"));
        }
        let chunk = self.chunk;
        self.chunk += 1;
        if self.part == Part::End {
            return if (rows, length) == (0, 0) { Ok(None) } else { Err(self.corrupt("the end has rows")) };
        }
        Ok(Some(Rows { part: self.part, chunk, left: rows, bytes: &self.bytes }))
    }
}

/// Rows of a chunk.
struct Rows<'a> {
    part: Part,
    chunk: u64,
    left: u32,
    bytes: &'a [u8],
}

impl Rows<'_> {
    fn next<T: Decode<()>>(&mut self) -> Result<T, Fault> {
        self.left = self.left.checked_sub(1).ok_or("a row is missing")?;
        let config = bincode::config::legacy().with_limit::<ROW_BYTES_MAX>();
        let (row, read) = bincode::decode_from_slice(self.bytes, config).map_err(|_| "not a row of this version")?;
        self.bytes = &self.bytes[read..];
        Ok(row)
    }

    fn end(&self) -> Result<(), Fault> {
        if self.left == 0 && self.bytes.is_empty() { Ok(()) } else { Err("bytes that are no row") }
    }
}

/// Whether an id can be that of one of so many that were made: a slot is new only when those before it are taken.
fn is_one_of(made: u64, id: u64) -> bool {
    (1..=made).contains(&(id >> SLOT_BITS)) && (slot_of(id) as u64) < made
}

/// An engine on its way back. Rows are looked at only as far as wrong ones could stop the process; whether they are the
/// right ones, the state hash says.
struct Builder {
    engine: Engine,
    header: Header,
    /// Orders to go into their books, once all are known.
    booked: Vec<(InstrumentId, u64, Slot)>,
}

impl Builder {
    /// Takes a row.
    fn add(&mut self, rows: &mut Rows<'_>) -> Result<(), Fault> {
        let engine = &mut self.engine;
        match rows.part {
            Part::Accounts => self.account(rows.next()?)?,
            Part::Markets => self.market(rows.next()?)?,
            Part::Waiting => {
                let (market, order) = rows.next()?;
                self.known_market(market)?.waiting.push(order);
            }
            Part::Orders => self.order(&rows.next()?)?,
            Part::Contracts => self.contract(rows.next()?)?,
            Part::Payouts => {
                let (id, payout) = rows.next()?;
                engine.payouts.insert(id, payout);
            }
            Part::Purchases => {
                let (reference, purchase) = rows.next()?;
                engine.purchases.insert(reference, purchase);
            }
            Part::Refunds => {
                let (reference, refund) = rows.next()?;
                engine.refunds.insert(reference, refund);
            }
            Part::Disputes => {
                let (reference, dispute) = rows.next()?;
                engine.disputes.insert(reference, dispute);
            }
            Part::Answers => {
                let (account, id, answer) = rows.next()?;
                if engine.answers.get(account, id).is_some() {
                    return Err("an answer comes twice");
                }
                engine.answers.remember(account, id, answer);
            }
            Part::Providers => self.provider(rows.next()?)?,
            Part::Policies => {
                let (account, policies) = rows.next()?;
                engine.policies.insert(account, policies);
            }
            Part::Spending => self.spending(&rows.next()?)?,
            Part::Keys => {
                let ((account, id), key): ((AccountId, KeyId), KeySpending) = rows.next()?;
                engine.keys.insert((account, id), key);
                engine.ledger.set_limited(account);
            }
            Part::Timers => {
                let ((account, timer), at): ((AccountId, Timer), Timestamp) = rows.next()?;
                engine.timers.insert((account, timer), at);
                engine.deadlines.set(at, Deadline::Timer(account, timer));
            }
            Part::Locks => self.lock(rows.next()?)?,
            Part::FailedRefunds => {
                let (reference, ()) = rows.next()?;
                engine.failed_refunds.insert(reference, ());
            }
            Part::Header | Part::End => return Err("a second header"),
        }
        Ok(())
    }

    fn known_account(&self, account: AccountId) -> Result<(), Fault> {
        self.engine.known_account(account).map_err(|_| "an account that is not known")
    }

    fn known_market(&mut self, id: InstrumentId) -> Result<&mut Market, Fault> {
        self.engine.known_market_mut(id).map_err(|_| "a market that is not known")
    }

    fn account(&mut self, balance: Balance) -> Result<(), Fault> {
        if self.engine.ledger.len() >= ACCOUNTS_MAX {
            return Err("too many accounts");
        }
        self.engine.ledger.restore(balance);
        Ok(())
    }

    fn market(&mut self, (spec, state): (InstrumentSpec, InstrumentState)) -> Result<(), Fault> {
        spec.check().map_err(|_| "a specification out of its bounds")?;
        if self.engine.markets.len() >= INSTRUMENTS_MAX {
            return Err("too many markets");
        }
        let id = InstrumentId(self.engine.markets.len() as u32 + 1); // INSTRUMENTS_MAX fits.
        if self.engine.symbols.insert(spec.symbol, id).is_some() {
            return Err("a symbol that is taken");
        }
        let mut market = Market::new(spec);
        market.state = state;
        self.engine.markets.push(market);
        Ok(())
    }

    fn order(&mut self, row: &OrderRow) -> Result<(), Fault> {
        self.known_account(row.account)?;
        let made = self.header.order_serial;
        let spec = self.known_market(row.instrument)?.spec();
        let slot = slot_named(row.id);
        let sound = is_one_of(made, row.id)
            && slot <= OPEN_ORDERS_MAX
            && u64::from(row.ticks) <= spec.price_max.0 / spec.tick.0
            && row.remaining <= row.quantity
            && row.quantity <= QUANTITY_MAX;
        if !sound || self.engine.orders.row(slot).is_some() {
            return Err("an order that cannot be");
        }
        let list = &mut self.engine.ledger.account_mut(row.account).orders;
        if list.len >= OPEN_ORDERS_PER_ACCOUNT_MAX {
            return Err("too many orders of an account");
        }
        let slot = self.engine.orders.restore(row, list);
        if row.expires_at.0 != 0 {
            self.engine.deadlines.set(row.expires_at, Deadline::Order(OrderId(row.id)));
        }
        if !row.flags.has(Flags::PARKED) {
            self.booked.push((row.instrument, row.time, slot));
        }
        Ok(())
    }

    fn contract(&mut self, (id, contract): (ContractId, Contract)) -> Result<(), Fault> {
        self.known_account(contract.buyer)?;
        self.known_account(contract.provider)?;
        self.known_market(contract.instrument)?;
        if !is_one_of(self.header.contract_serial, id.0) || !self.engine.contracts.is_free(id) {
            return Err("a contract that cannot be");
        }
        let market = dense_index(contract.instrument.0).ok_or("a market that is not known")?;
        self.engine.contracts.restore(id, contract, &mut self.engine.markets[market].contracts);
        self.engine.ledger.account_mut(contract.buyer).open_contracts += 1;
        Ok(())
    }

    fn lock(&mut self, lock: Lock) -> Result<(), Fault> {
        self.known_account(lock.order.account)?;
        self.known_market(lock.order.instrument)?;
        self.engine.insert_lock(lock);
        Ok(())
    }

    fn provider(&mut self, (key, record): ((InstrumentId, AccountId), Provider)) -> Result<(), Fault> {
        self.known_market(key.0)?.has_records = true;
        if let Breaker::Open { until } = record.breaker {
            self.engine.deadlines.set(until, Deadline::Breaker(key.0, key.1));
        }
        self.engine.providers.insert(key, record);
        Ok(())
    }

    fn spending(&mut self, row: &SpendingRow) -> Result<(), Fault> {
        if !row.is_sound() {
            return Err("spending that cannot be");
        }
        self.engine.spending.restore(row);
        if row.is_limited() {
            self.engine.ledger.set_limited(row.account);
        }
        Ok(())
    }

    /// Everything that follows from the rows.
    fn finish(self) -> Engine {
        let Builder { mut engine, header, mut booked } = self;
        (engine.last_seq, engine.last_at) = (header.last_seq, header.last_at);
        (engine.orders.serial, engine.orders.clock) = (header.order_serial, header.order_clock);
        (engine.contracts.serial, engine.next_payout) = (header.contract_serial, header.next_payout);
        engine.ledger.restore_platform(header.fees, header.external);
        engine.sweep_at = header.sweep_at;
        if let Some(at) = header.sweep_at {
            engine.deadlines.set(at, Deadline::Sweep);
        }
        booked.sort_unstable();
        for (instrument, _, slot) in booked {
            let (market, orders) = engine.market_and_orders(instrument);
            market.book.link(orders, slot);
        }
        for id in 1..=engine.markets.len() as u32 {
            engine.set_contract_deadline(InstrumentId(id));
        }
        engine
    }
}
