//! Reading the views as they are at one position.
//!
//! A [`Reader`] holds one RocksDB snapshot and the watermark in it, so that all that it answers is of the same position and
//! says which. Listings come newest first, a page at a time.

use crate::keys;
use crate::rows::{
    BreakerRow, CandleRow, ContractRow, DeliveryRow, InstrumentRow, LevelRow, LockRow, ModelDayRow, Movement, OrderRow,
    PayoutRow, PoliciesRow, ScorecardRow, TradeRow, TransactionRow, UsageRow,
};
use crate::store::{See, StoreError, Views, decode, family, read_watermark};
use bincode::Decode;
use gollem_engine::limits::GUARD_RAIL_MINUTES;
use gollem_engine::{
    AccountId, Amount, Balance, ClientOrderId, ContractId, InstrumentId, InstrumentSpec, KeyId, KeyLimits, OrderId,
    PayoutId, Price, Side, Timestamp,
};
use rocksdb::{DB, Direction, IteratorMode, ReadOptions, Snapshot};
use std::fmt;

/// The views at one position.
pub struct Reader<'a> {
    views: &'a Views,
    snapshot: Snapshot<'a>,
    seq: u64,
    at: Timestamp,
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("seq", &self.seq).field("at", &self.at).finish()
    }
}

/// What of an account's usage is one row: day since the epoch (UTC), API key, instrument, figures.
pub type Used = (u32, KeyId, InstrumentId, UsageRow);

/// An index price: what a million units cost lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexPrice {
    /// Atoms a million units, rounded down.
    pub million: i128,
    /// Trades of the last hour it is made of; none when it is the price of the last trade before.
    pub trades: u64,
    /// Units of those trades.
    pub units: u128,
}

/// Minutes of trades that an index price is made of.
pub const INDEX_MINUTES: u64 = 60;

/// A page of a listing: at most `limit` rows older than `before`.
#[derive(Clone, Copy, Debug)]
pub struct Page<T> {
    /// Where the page before ended, if there was one.
    pub before: Option<T>,
    /// Most rows.
    pub limit: usize,
}

impl<T> Page<T> {
    /// The newest rows, so many at most.
    pub fn newest(limit: usize) -> Page<T> {
        Page { before: None, limit }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(views: &'a Views, db: &'a DB) -> Result<Reader<'a>, StoreError> {
        let snapshot = db.snapshot();
        let watermark = snapshot.get_cf(views.family(family::META)?, b"watermark")?;
        let (seq, at) = watermark.map_or(Ok((0, Timestamp(0))), |bytes| read_watermark(&bytes))?;
        Ok(Reader { views, snapshot, seq, at })
    }

    /// The last input reflected; 0 before the first.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The time of that input: the views' own now.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// An account's balances; zeros for one without movements.
    ///
    /// # Errors
    /// When the store cannot be read; so of all that follows.
    pub fn balance(&self, account: AccountId) -> Result<Balance, StoreError> {
        Ok(self.get(family::BALANCES, &keys::account(account))?.unwrap_or_default())
    }

    /// An account's ledger lines.
    pub fn transactions(&self, account: AccountId, page: Page<(u64, u32)>) -> Result<Vec<TransactionRow>, StoreError> {
        let end = page.before.map(|(seq, index)| keys::happened(account.0, seq, index));
        let mut rows = Vec::new();
        self.newest(family::TRANSACTIONS, &keys::account(account), end.as_ref(), &mut |key, bytes| {
            let (seq, index) = keys::position(key).ok_or(unreadable(family::TRANSACTIONS))?;
            let Movement { at, transfer } = decode(family::TRANSACTIONS, bytes)?;
            rows.push(TransactionRow { seq, index, at, transfer });
            Ok(rows.len() < page.limit)
        })?;
        Ok(rows)
    }

    /// What an account may spend and how it is paid.
    pub fn policies(&self, account: AccountId) -> Result<PoliciesRow, StoreError> {
        Ok(self.get(family::POLICIES, &keys::account(account))?.unwrap_or_default())
    }

    /// The limits of an account's API keys, by key.
    pub fn key_limits(&self, account: AccountId) -> Result<Vec<(KeyId, KeyLimits)>, StoreError> {
        let mut rows = Vec::new();
        self.scan(family::KEY_LIMITS, &keys::account(account), None, &mut |key, bytes| {
            let InstrumentId(number) = keys::scored(key).ok_or(unreadable(family::KEY_LIMITS))?;
            rows.push((KeyId(number), decode(family::KEY_LIMITS, bytes)?));
            Ok(true)
        })?;
        Ok(rows)
    }

    /// Length in minutes, spending and limit of each of an account's windows, which end now. Exact to the minute.
    pub fn spending(&self, account: AccountId) -> Result<Vec<(u16, Amount, Option<Amount>)>, StoreError> {
        let limits = self.policies(account)?.guard_rails;
        let mut minutes: Vec<(u32, i128)> = Vec::new();
        self.scan(family::SPENDING, &keys::account(account), None, &mut |_, bytes| {
            minutes.push(decode(family::SPENDING, bytes)?);
            Ok(true)
        })?;
        let now = crate::fold::minute(self.at);
        let window = |(length, limit): (u16, Option<Amount>)| {
            let since = (now + 1).saturating_sub(u32::from(length));
            let inside = minutes.iter().filter(|(minute, _)| (since..=now).contains(minute));
            let spent: i128 = inside.map(|(_, spent)| spent).sum();
            (length, Amount(i64::try_from(spent).unwrap_or(i64::MAX)), limit)
        };
        Ok(GUARD_RAIL_MINUTES.into_iter().zip(limits).map(window).collect())
    }

    /// A provider's payouts.
    pub fn payouts(&self, account: AccountId, page: Page<PayoutId>) -> Result<Vec<PayoutRow>, StoreError> {
        let end = page.before.map(|id| keys::owned(account, id.0));
        let mut rows = Vec::new();
        self.newest(family::PAYOUTS, &keys::account(account), end.as_ref(), &mut |_, bytes| {
            rows.push(decode(family::PAYOUTS, bytes)?);
            Ok(rows.len() < page.limit)
        })?;
        Ok(rows)
    }

    /// What an account used from day `from` to day `to`, both included: by day, API key and instrument, oldest first.
    pub fn usage(&self, account: AccountId, from: u32, to: u32) -> Result<Vec<Used>, StoreError> {
        let start = keys::usage(account, from, KeyId(0), InstrumentId(0));
        let mut rows = Vec::new();
        self.scan(family::USAGE, &keys::account(account), Some(&start), &mut |key, bytes| {
            let (day, api_key, instrument) = keys::used(key).ok_or(unreadable(family::USAGE))?;
            if day <= to {
                rows.push((day, api_key, instrument, decode(family::USAGE, bytes)?));
            }
            Ok(day <= to)
        })?;
        Ok(rows)
    }

    /// An order.
    pub fn order(&self, id: OrderId) -> Result<Option<OrderRow>, StoreError> {
        self.get(family::ORDERS, &keys::order(id))
    }

    /// The newest order of an account with that client id.
    pub fn order_by_client_id(&self, account: AccountId, id: ClientOrderId) -> Result<Option<OrderRow>, StoreError> {
        let order: Option<u64> = self.get(family::CLIENT_IDS, &keys::client_id(account, id))?;
        order.map_or(Ok(None), |order| self.order(OrderId(order)))
    }

    /// An account's orders; only those that are open when `open_only`.
    pub fn orders(
        &self,
        account: AccountId,
        open_only: bool,
        page: Page<OrderId>,
    ) -> Result<Vec<OrderRow>, StoreError> {
        self.orders_that(account, open_only, page, |_| true)
    }

    /// An account's open bids with what each holds: together what its balance holds.
    pub fn holds(&self, account: AccountId, page: Page<OrderId>) -> Result<Vec<(OrderRow, Amount)>, StoreError> {
        let bids = self.orders_that(account, true, page, |row| row.order.side() == Side::Bid)?;
        bids.into_iter()
            .map(|row| {
                let held = self.held(&row)?;
                Ok((row, held))
            })
            .collect()
    }

    fn orders_that(
        &self,
        account: AccountId,
        open_only: bool,
        page: Page<OrderId>,
        wanted: impl Fn(&OrderRow) -> bool,
    ) -> Result<Vec<OrderRow>, StoreError> {
        let index = if open_only { family::OPEN_ORDERS } else { family::ORDERS_BY_ACCOUNT };
        let end = page.before.map(|id| keys::owned(account, id.0));
        let mut rows = Vec::new();
        self.newest(index, &keys::account(account), end.as_ref(), &mut |key, _| {
            let id = keys::number(key).map(OrderId).ok_or(unreadable(index))?;
            let row = self.order(id)?.ok_or(unreadable(index))?;
            if wanted(&row) {
                rows.push(row);
            }
            Ok(rows.len() < page.limit)
        })?;
        Ok(rows)
    }

    /// What an open bid holds: its limit for the units left, and the dearer fee on that. An ask holds nothing.
    pub fn held(&self, row: &OrderRow) -> Result<Amount, StoreError> {
        if !row.is_open() || row.order.side() == Side::Ask {
            return Ok(Amount::ZERO);
        }
        let spec = self.spec(row.order.instrument)?;
        let value = row.order.price.notional(row.order.remaining).ok_or(unreadable(family::ORDERS))?;
        Ok(Amount(value.0 + value.fee(spec.maker_fee_bps.max(spec.taker_fee_bps)).0))
    }

    /// An account's locked quotes, oldest first: few, since the engine bounds them.
    pub fn locks(&self, account: AccountId) -> Result<Vec<LockRow>, StoreError> {
        let mut rows = Vec::new();
        self.scan(family::LOCKS, &keys::account(account), None, &mut |_, bytes| {
            rows.push(decode(family::LOCKS, bytes)?);
            Ok(true)
        })?;
        Ok(rows)
    }

    /// A contract.
    pub fn contract(&self, id: ContractId) -> Result<Option<ContractRow>, StoreError> {
        self.get(family::CONTRACTS, &keys::contract(id))
    }

    /// Contracts that an account is part of, on either side; only those that are open when `open_only`.
    pub fn contracts(
        &self,
        account: AccountId,
        open_only: bool,
        page: Page<ContractId>,
    ) -> Result<Vec<ContractRow>, StoreError> {
        let index = if open_only { family::OPEN_CONTRACTS } else { family::CONTRACTS_BY_ACCOUNT };
        let end = page.before.map(|id| keys::owned(account, id.0));
        let mut rows = Vec::new();
        self.newest(index, &keys::account(account), end.as_ref(), &mut |key, _| {
            let id = keys::number(key).map(ContractId).ok_or(unreadable(index))?;
            rows.push(self.contract(id)?.ok_or(unreadable(index))?);
            Ok(rows.len() < page.limit)
        })?;
        Ok(rows)
    }

    /// Deliveries on contracts that an account is part of, on either side.
    pub fn deliveries(&self, account: AccountId, page: Page<(u64, u32)>) -> Result<Vec<DeliveryRow>, StoreError> {
        let end = page.before.map(|(seq, index)| keys::happened(account.0, seq, index));
        let mut rows = Vec::new();
        self.newest(family::DELIVERIES, &keys::account(account), end.as_ref(), &mut |_, bytes| {
            rows.push(decode(family::DELIVERIES, bytes)?);
            Ok(rows.len() < page.limit)
        })?;
        Ok(rows)
    }

    /// An instrument.
    pub fn instrument(&self, id: InstrumentId) -> Result<Option<InstrumentRow>, StoreError> {
        self.get(family::INSTRUMENTS, &keys::instrument(id))
    }

    /// The instrument of that name.
    pub fn instrument_named(&self, symbol: &str) -> Result<Option<InstrumentRow>, StoreError> {
        let listed: Option<(InstrumentId, Timestamp)> = self.get(family::SYMBOLS, symbol.as_bytes())?;
        listed.map_or(Ok(None), |(id, _)| self.instrument(id))
    }

    /// When the instrument of that name was listed.
    pub(crate) fn listed_at(&self, symbol: &str) -> Result<Timestamp, StoreError> {
        let listed: Option<(InstrumentId, Timestamp)> = self.get(family::SYMBOLS, symbol.as_bytes())?;
        Ok(listed.ok_or(unreadable(family::SYMBOLS))?.1)
    }

    /// What was delivered of a model from day `from` to day `to`, both included, oldest first.
    pub fn model_days(&self, model: InstrumentId, from: u32, to: u32) -> Result<Vec<ModelDayRow>, StoreError> {
        let (start, end) = (keys::model_day(model, from), keys::model_day(model, to));
        let mut rows = Vec::new();
        self.scan(family::MODEL_DAYS, &keys::instrument(model), Some(&start), &mut |key, bytes| {
            let inside = key <= end.as_slice();
            if inside {
                rows.push(decode(family::MODEL_DAYS, bytes)?);
            }
            Ok(inside)
        })?;
        Ok(rows)
    }

    /// All instruments in the order of their ids.
    pub fn instruments(&self) -> Result<Vec<InstrumentRow>, StoreError> {
        let mut rows = Vec::new();
        self.scan(family::INSTRUMENTS, &[], None, &mut |_, bytes| {
            rows.push(decode(family::INSTRUMENTS, bytes)?);
            Ok(true)
        })?;
        Ok(rows)
    }

    /// The best `limit` levels of a side, best first.
    pub fn levels(&self, instrument: InstrumentId, side: Side, limit: usize) -> Result<Vec<LevelRow>, StoreError> {
        let mut rows = Vec::new();
        self.scan(family::LEVELS, &keys::side(instrument, side), None, &mut |_, bytes| {
            rows.push(decode(family::LEVELS, bytes)?);
            Ok(rows.len() < limit)
        })?;
        Ok(rows)
    }

    /// The first `limit` orders of a side in price-time order.
    pub fn queue(&self, instrument: InstrumentId, side: Side, limit: usize) -> Result<Vec<OrderRow>, StoreError> {
        let mut rows = Vec::new();
        self.scan(family::QUEUES, &keys::side(instrument, side), None, &mut |_, bytes| {
            let id = OrderId(decode(family::QUEUES, bytes)?);
            rows.push(self.order(id)?.ok_or(unreadable(family::QUEUES))?);
            Ok(rows.len() < limit)
        })?;
        Ok(rows)
    }

    /// An instrument's trades.
    pub fn trades(&self, instrument: InstrumentId, page: Page<(u64, u32)>) -> Result<Vec<TradeRow>, StoreError> {
        let end = page.before.map(|(seq, index)| keys::happened(instrument.0, seq, index));
        let mut rows = Vec::new();
        self.newest(family::TRADES, &keys::instrument(instrument), end.as_ref(), &mut |_, bytes| {
            rows.push(decode(family::TRADES, bytes)?);
            Ok(rows.len() < page.limit)
        })?;
        Ok(rows)
    }

    /// An instrument's newest `limit` candles of that length that start from `from_s` on and before `to_s`, oldest first.
    pub fn candles(
        &self,
        instrument: InstrumentId,
        seconds: u32,
        (from_s, to_s): (u64, u64),
        limit: usize,
    ) -> Result<Vec<CandleRow>, StoreError> {
        let prefix = &keys::candle(instrument, seconds, 0)[..8];
        let mut rows: Vec<CandleRow> = Vec::new();
        self.newest(family::CANDLES, prefix, Some(&keys::candle(instrument, seconds, to_s)), &mut |_, bytes| {
            let row: CandleRow = decode(family::CANDLES, bytes)?;
            let inside = row.start_s >= from_s;
            if inside {
                rows.push(row);
            }
            Ok(inside && rows.len() < limit)
        })?;
        rows.reverse();
        Ok(rows)
    }

    /// What a million units of an instrument cost: by volume over the trades of this minute and the 59 before it, by the
    /// views' own time; if there were none the price of the last trade; none if there never was one.
    pub fn index_price(&self, instrument: InstrumentId) -> Result<Option<IndexPrice>, StoreError> {
        let now_s = self.at.0 / 1_000_000_000;
        let next_minute_s = now_s - now_s % 60 + 60;
        let since_s = next_minute_s.saturating_sub(60 * INDEX_MINUTES);
        let candles = self.candles(instrument, 60, (since_s, next_minute_s), usize::MAX)?;
        let units: u128 = candles.iter().map(|candle| candle.units).sum();
        let value: i128 = candles.iter().map(|candle| candle.value).sum();
        let trades = candles.iter().map(|candle| candle.trades).sum();
        if let Ok(divisor @ 1..) = i128::try_from(units) {
            return Ok(Some(IndexPrice { million: value * 1_000_000 / divisor, trades, units }));
        }
        let last = self.trades(instrument, Page::newest(1))?.first().map(|trade| trade.price);
        Ok(last.map(|Price(price)| IndexPrice { million: i128::from(price) * 1_000_000, trades: 0, units: 0 }))
    }

    /// A provider's record on an instrument.
    pub(crate) fn scorecard(
        &self,
        provider: AccountId,
        instrument: InstrumentId,
    ) -> Result<Option<ScorecardRow>, StoreError> {
        self.get(family::SCORECARDS, &keys::scorecard(provider, instrument))
    }

    /// A provider's record on each instrument it delivered.
    pub fn scorecards(&self, provider: AccountId) -> Result<Vec<(InstrumentId, ScorecardRow)>, StoreError> {
        let mut rows = Vec::new();
        self.scan(family::SCORECARDS, &keys::account(provider), None, &mut |key, bytes| {
            let instrument = keys::scored(key).ok_or(unreadable(family::SCORECARDS))?;
            rows.push((instrument, decode(family::SCORECARDS, bytes)?));
            Ok(true)
        })?;
        Ok(rows)
    }

    /// Records of providers on instruments, by provider, at most so many.
    pub fn all_scorecards(&self, limit: usize) -> Result<Vec<(AccountId, InstrumentId, ScorecardRow)>, StoreError> {
        let mut rows = Vec::new();
        self.scan(family::SCORECARDS, &[], None, &mut |key, bytes| {
            let instrument = keys::scored(key).ok_or(unreadable(family::SCORECARDS))?;
            let provider = keys::scored_provider(key).ok_or(unreadable(family::SCORECARDS))?;
            rows.push((provider, instrument, decode(family::SCORECARDS, bytes)?));
            Ok(rows.len() < limit)
        })?;
        Ok(rows)
    }

    /// The sums over all accounts. Reads all of them.
    pub fn totals(&self) -> Result<Totals, StoreError> {
        let mut totals = Totals::default();
        self.scan(family::BALANCES, &[], None, &mut |_, bytes| {
            totals.add(&decode(family::BALANCES, bytes)?);
            Ok(true)
        })?;
        Ok(totals)
    }

    /// Changes of a provider's breaker on an instrument.
    pub fn breakers(
        &self,
        provider: AccountId,
        instrument: InstrumentId,
        page: Page<(u64, u32)>,
    ) -> Result<Vec<BreakerRow>, StoreError> {
        let end = page.before.map(|(seq, index)| keys::breaker(provider, instrument, seq, index));
        let mut rows = Vec::new();
        self.newest(family::BREAKERS, &keys::scorecard(provider, instrument), end.as_ref(), &mut |_, bytes| {
            rows.push(decode(family::BREAKERS, bytes)?);
            Ok(rows.len() < page.limit)
        })?;
        Ok(rows)
    }

    /// The contract specification of an instrument that rows speak of.
    pub(crate) fn spec(&self, id: InstrumentId) -> Result<InstrumentSpec, StoreError> {
        Ok(self.instrument(id)?.ok_or(unreadable(family::INSTRUMENTS))?.spec)
    }

    fn get<T: Decode<()>>(&self, family: &'static str, key: &[u8]) -> Result<Option<T>, StoreError> {
        let row = self.snapshot.get_pinned_cf(self.views.family(family)?, key)?;
        row.map(|row| decode(family, &row)).transpose()
    }

    /// Shows rows whose key begins with `prefix` in order, from key `start` on, as long as `see` says to go on.
    fn scan(&self, family: &'static str, prefix: &[u8], start: Option<&[u8]>, see: See<'_>) -> Result<(), StoreError> {
        let mode = IteratorMode::From(start.unwrap_or(prefix), Direction::Forward);
        self.walk(family, bounds(prefix, keys::end(prefix)), mode, see)
    }

    /// Shows rows whose key begins with `prefix` and is below `end`, the last first, as long as `see` says to go on.
    fn newest<const N: usize>(
        &self,
        family: &'static str,
        prefix: &[u8],
        end: Option<&[u8; N]>,
        see: See<'_>,
    ) -> Result<(), StoreError> {
        let end = end.map_or_else(|| keys::end(prefix), |end| Some(end.to_vec()));
        self.walk(family, bounds(prefix, end), IteratorMode::End, see)
    }

    fn walk(
        &self,
        family: &'static str,
        options: ReadOptions,
        mode: IteratorMode<'_>,
        see: See<'_>,
    ) -> Result<(), StoreError> {
        for row in self.snapshot.iterator_cf_opt(self.views.family(family)?, options, mode) {
            let (key, bytes) = row?;
            if !see(&key, &bytes)? {
                break;
            }
        }
        Ok(())
    }
}

/// Sums over all accounts, in atoms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Accounts that something ever moved in.
    pub accounts: u64,
    /// Free to spend.
    pub available: i128,
    /// Reserved by open orders.
    pub held: i128,
    /// Reserved by open contracts.
    pub escrow: i128,
    /// Earned, not yet paid out.
    pub earned: i128,
    /// On its way out.
    pub payout_pending: i128,
    /// Owed to the platform.
    pub owed: i128,
}

impl Totals {
    fn add(&mut self, balance: &Balance) {
        self.accounts += 1;
        self.available += i128::from(balance.available.0);
        self.held += i128::from(balance.held.0);
        self.escrow += i128::from(balance.escrow.0);
        self.earned += i128::from(balance.earned.0);
        self.payout_pending += i128::from(balance.payout_pending.0);
        self.owed += i128::from(balance.owed.0);
    }
}

fn bounds(prefix: &[u8], end: Option<Vec<u8>>) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(prefix);
    if let Some(end) = end {
        options.set_iterate_upper_bound(end);
    }
    options
}

fn unreadable(family: &'static str) -> StoreError {
    StoreError::Unreadable { family }
}
