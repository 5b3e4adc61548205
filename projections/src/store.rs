//! The RocksDB store: column families, keys and queries.
//!
//! Keys are big-endian, so that key order is the order people ask for:
//!
//! | family | key | row |
//! |---|---|---|
//! | `meta` | `watermark`, `layout` | u64 or u32, big-endian |
//! | `balances` | account u32 | [`Balance`] |
//! | `transactions` | account u32, seq u64, index u32 | [`TransactionRow`] |
//! | `orders` | order u64 | [`OrderRow`] |
//! | `orders_by_account` | account u32, order u64 | nothing |
//! | `open_orders` | account u32, order u64 | nothing |
//! | `levels` | instrument u32, side u8, price u64 (bids inverted: best first) | [`LevelRow`] |
//! | `instruments` | instrument u32 | [`InstrumentRow`] |

use crate::rows::{InstrumentRow, LAYOUT, LevelRow, OrderRow, TransactionRow};
use bincode::{Decode, Encode};
use gollem_engine::{AccountId, Balance, InstrumentId, OrderId, Price, Side};
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, Options, ReadOptions, WriteBatch};
use std::path::Path;

/// Why a view cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// RocksDB says no: look at the disk, or delete the folder to rebuild it.
    #[error("views: {0}")]
    RocksDb(#[from] rocksdb::Error),
    /// A row cannot be read: delete the folder to rebuild it.
    #[error("views: a row in {family} is unreadable; delete the views' folder and restart to rebuild it")]
    Unreadable {
        /// Which column family.
        family: &'static str,
    },
    /// The old folder of another layout cannot be deleted.
    #[error("views: cannot delete the folder of an older layout: {0}")]
    Delete(#[from] std::io::Error),
}

pub(crate) mod family {
    pub(crate) const META: &str = "meta";
    pub(crate) const BALANCES: &str = "balances";
    pub(crate) const TRANSACTIONS: &str = "transactions";
    pub(crate) const ORDERS: &str = "orders";
    pub(crate) const ORDERS_BY_ACCOUNT: &str = "orders_by_account";
    pub(crate) const OPEN_ORDERS: &str = "open_orders";
    pub(crate) const LEVELS: &str = "levels";
    pub(crate) const INSTRUMENTS: &str = "instruments";
    pub(crate) const ALL: [&str; 8] =
        [META, BALANCES, TRANSACTIONS, ORDERS, ORDERS_BY_ACCOUNT, OPEN_ORDERS, LEVELS, INSTRUMENTS];
}

/// The views, open for reading from any thread.
pub struct Views {
    db: DB,
    /// Holds the files of views in memory, so it goes after the database.
    #[cfg(feature = "sim")]
    _memory: Option<rocksdb::Env>,
}

impl std::fmt::Debug for Views {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Views").field("path", &self.db.path()).finish()
    }
}

impl Views {
    /// Opens the views in `dir`, creating them where they are missing and starting over where another layout
    /// wrote them.
    ///
    /// # Errors
    /// When the folder cannot be opened, or another process has it open.
    pub fn open(dir: &Path) -> Result<Views, StoreError> {
        let views = Views::of(open_db(dir)?);
        match views.meta(b"layout")? {
            Some(layout) if layout == LAYOUT.to_be_bytes() => Ok(views),
            None => views.mark_layout(),
            Some(_) => {
                drop(views);
                std::fs::remove_dir_all(dir)?;
                Views::of(open_db(dir)?).mark_layout()
            }
        }
    }

    fn of(db: DB) -> Views {
        Views {
            db,
            #[cfg(feature = "sim")]
            _memory: None,
        }
    }

    fn mark_layout(self) -> Result<Views, StoreError> {
        self.db.put_cf(self.family(family::META)?, b"layout", LAYOUT.to_be_bytes())?;
        Ok(self)
    }

    /// The last input the views reflect; 0 before the first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn watermark(&self) -> Result<u64, StoreError> {
        let Some(bytes) = self.meta(b"watermark")? else {
            return Ok(0);
        };
        let bytes = bytes.try_into().map_err(|_| StoreError::Unreadable { family: family::META })?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get_cf(self.family(family::META)?, key)?)
    }

    /// An account's balances; zeros for one without movements.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn balance(&self, account: AccountId) -> Result<Balance, StoreError> {
        Ok(self.get(family::BALANCES, &account.0.to_be_bytes())?.unwrap_or_default())
    }

    /// An account's newest transactions, newest first, at most `limit`, older than position `before`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn transactions(
        &self,
        account: AccountId,
        before: Option<(u64, u32)>,
        limit: usize,
    ) -> Result<Vec<TransactionRow>, StoreError> {
        let end = before.map(|(seq, index)| transaction_key(account, seq, index).to_vec());
        self.newest(family::TRANSACTIONS, account, end, limit, |_, row| decode(family::TRANSACTIONS, row))
    }

    /// An order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn order(&self, id: OrderId) -> Result<Option<OrderRow>, StoreError> {
        self.get(family::ORDERS, &id.0.to_be_bytes())
    }

    /// An account's newest orders, newest first, at most `limit`, older than order `before`; only those that
    /// rest when `open_only`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn orders(
        &self,
        account: AccountId,
        open_only: bool,
        before: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<OrderRow>, StoreError> {
        let index = if open_only { family::OPEN_ORDERS } else { family::ORDERS_BY_ACCOUNT };
        let end = before.map(|id| account_order_key(account, id).to_vec());
        let unreadable = || StoreError::Unreadable { family: index };
        let ids = self.newest(index, account, end, limit, |key, _| {
            let id = key.get(4..).and_then(|bytes| bytes.try_into().ok()).ok_or_else(unreadable)?;
            Ok(OrderId(u64::from_be_bytes(id)))
        })?;
        // An order that closes between the two reads is still there, as closed.
        ids.into_iter().map(|id| self.order(id)?.ok_or_else(unreadable)).collect()
    }

    /// The best `limit` levels of a side, best first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn levels(&self, instrument: InstrumentId, side: Side, limit: usize) -> Result<Vec<LevelRow>, StoreError> {
        let [from, to] = [Some(Price(0)), None].map(|low| {
            let mut key = level_key(instrument, side, low.unwrap_or(Price(0)));
            key[5..].fill(if low.is_some() { 0 } else { 0xff });
            key
        });
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound([to.as_slice(), &[0]].concat());
        let mode = IteratorMode::From(&from, Direction::Forward);
        let rows = self.db.iterator_cf_opt(self.family(family::LEVELS)?, options, mode);
        rows.take(limit).map(|row| decode(family::LEVELS, &row?.1)).collect()
    }

    /// An instrument.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn instrument(&self, id: InstrumentId) -> Result<Option<InstrumentRow>, StoreError> {
        self.get(family::INSTRUMENTS, &id.0.to_be_bytes())
    }

    /// All instruments in the order of their ids.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn instruments(&self) -> Result<Vec<InstrumentRow>, StoreError> {
        let rows = self.db.iterator_cf(self.family(family::INSTRUMENTS)?, IteratorMode::Start);
        rows.map(|row| decode(family::INSTRUMENTS, &row?.1)).collect()
    }

    /// Rows of one account from the newest, at most `limit`, with keys below `end`.
    fn newest<T>(
        &self,
        family: &'static str,
        account: AccountId,
        end: Option<Vec<u8>>,
        limit: usize,
        read: impl Fn(&[u8], &[u8]) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let start = account.0.to_be_bytes();
        let end = end.unwrap_or_else(|| [start.as_slice(), &[0xff; 13]].concat());
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(start);
        options.set_iterate_upper_bound(end);
        let rows = self.db.iterator_cf_opt(self.family(family)?, options, IteratorMode::End);
        let mut found = Vec::new();
        for row in rows.take(limit) {
            let (key, value) = row?;
            found.push(read(&key, &value)?);
        }
        Ok(found)
    }

    fn get<T: Decode<()>>(&self, family: &'static str, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.db.get_pinned_cf(self.family(family)?, key)?.map(|row| decode(family, &row)).transpose()
    }

    pub(crate) fn family(&self, name: &'static str) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(name).ok_or(StoreError::Unreadable { family: name })
    }

    /// Writes data and watermark at once.
    pub(crate) fn write(&self, mut batch: WriteBatch, watermark: u64) -> Result<(), StoreError> {
        batch.put_cf(self.family(family::META)?, b"watermark", watermark.to_be_bytes());
        Ok(self.db.write(batch)?)
    }
}

/// Family, key and bytes of a row.
#[cfg(feature = "sim")]
pub type DumpedRow = (&'static str, Vec<u8>, Vec<u8>);

/// For simulation: views in memory, which are seen whole.
#[cfg(feature = "sim")]
impl Views {
    /// Empty views that no disk holds.
    ///
    /// # Errors
    /// When RocksDB refuses.
    pub fn in_memory() -> Result<Views, StoreError> {
        let memory = rocksdb::Env::mem_env()?;
        let mut options = options();
        options.set_env(&memory);
        let db = DB::open_cf(&options, "/views", family::ALL)?;
        Views { db, _memory: Some(memory) }.mark_layout()
    }

    /// Every row, in the order of families and keys.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn dump(&self) -> Result<Vec<DumpedRow>, StoreError> {
        let mut rows = Vec::new();
        for name in family::ALL {
            for row in self.db.iterator_cf(self.family(name)?, IteratorMode::Start) {
                let (key, value) = row?;
                rows.push((name, key.into_vec(), value.into_vec()));
            }
        }
        Ok(rows)
    }

    /// Forgets every row, as if the folder had been deleted.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn clear(&self) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for (name, key, _) in self.dump()? {
            batch.delete_cf(self.family(name)?, key);
        }
        Ok(self.db.write(batch)?)
    }
}

fn open_db(dir: &Path) -> Result<DB, rocksdb::Error> {
    DB::open_cf(&options(), dir, family::ALL)
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Writes are never synced: whatever a power cut takes is folded again from the journal.
    options.set_max_total_wal_size(64 << 20);
    options.set_keep_log_file_num(2);
    options
}

pub(crate) fn encode<T: Encode>(row: &T) -> Vec<u8> {
    // Encoding plain data into memory has no way to fail.
    bincode::encode_to_vec(row, bincode::config::legacy()).unwrap_or_default()
}

fn decode<T: Decode<()>>(family: &'static str, bytes: &[u8]) -> Result<T, StoreError> {
    let decoded = bincode::decode_from_slice(bytes, bincode::config::legacy());
    decoded.map(|(row, _)| row).map_err(|_| StoreError::Unreadable { family })
}

pub(crate) fn transaction_key(account: AccountId, seq: u64, index: u32) -> [u8; 16] {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&account.0.to_be_bytes());
    key[4..12].copy_from_slice(&seq.to_be_bytes());
    key[12..].copy_from_slice(&index.to_be_bytes());
    key
}

pub(crate) fn account_order_key(account: AccountId, order: OrderId) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&account.0.to_be_bytes());
    key[4..].copy_from_slice(&order.0.to_be_bytes());
    key
}

pub(crate) fn level_key(instrument: InstrumentId, side: Side, price: Price) -> [u8; 13] {
    let (tag, price) = match side {
        Side::Bid => (0, u64::MAX - price.0),
        Side::Ask => (1, price.0),
    };
    let mut key = [0; 13];
    key[..4].copy_from_slice(&instrument.0.to_be_bytes());
    key[4] = tag;
    key[5..].copy_from_slice(&price.to_be_bytes());
    key
}
