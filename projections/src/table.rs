//! Rows of one family as the fold changes them: read once, changed in memory, written when they are flushed.
//!
//! Many changes of a row cost one write, changes that cancel out none. Rows stay in memory after they are written, up to
//! a bound; which ones does not show in what is written.

use crate::store::{Pending, StoreError, Views};
use bincode::{Decode, Encode};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Most rows that stay in memory when they are written.
const ROWS_MAX: usize = 1 << 16;

#[derive(Debug)]
struct Cached<V> {
    /// None for no row.
    row: Option<V>,
    /// The row as it is in the store.
    stored: Option<V>,
    changed: bool,
}

/// Rows of a family whose keys have `N` bytes.
#[derive(Debug)]
pub(crate) struct Table<const N: usize, V> {
    family: &'static str,
    rows: HashMap<[u8; N], Cached<V>>,
    changed: Vec<[u8; N]>,
}

impl<const N: usize, V: Encode + Decode<()> + Clone + PartialEq> Table<N, V> {
    pub(crate) fn new(family: &'static str) -> Table<N, V> {
        Table { family, rows: HashMap::new(), changed: Vec::new() }
    }

    /// The row.
    pub(crate) fn get(&mut self, views: &Views, key: [u8; N]) -> Result<Option<&V>, StoreError> {
        Ok(cached(&mut self.rows, self.family, views, key)?.row.as_ref())
    }

    /// A row that must be there: events speak of it.
    pub(crate) fn known(&mut self, views: &Views, key: [u8; N]) -> Result<&V, StoreError> {
        let family = self.family;
        self.get(views, key)?.ok_or(StoreError::Unreadable { family })
    }

    /// The row's place, to be changed.
    pub(crate) fn change(&mut self, views: &Views, key: [u8; N]) -> Result<&mut Option<V>, StoreError> {
        let cached = cached(&mut self.rows, self.family, views, key)?;
        if !std::mem::replace(&mut cached.changed, true) {
            self.changed.push(key);
        }
        Ok(&mut cached.row)
    }

    /// A row that must be there, to be changed.
    pub(crate) fn change_known(&mut self, views: &Views, key: [u8; N]) -> Result<&mut V, StoreError> {
        let family = self.family;
        self.change(views, key)?.as_mut().ok_or(StoreError::Unreadable { family })
    }

    /// A row that was never there before.
    pub(crate) fn add(&mut self, key: [u8; N], row: V) {
        self.rows.insert(key, Cached { row: Some(row), stored: None, changed: true });
        self.changed.push(key);
    }

    /// Rows that changed since they were written.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (&[u8; N], &V)> {
        self.changed.iter().filter_map(|key| Some((key, self.rows.get(key)?.row.as_ref()?)))
    }

    /// Keys of all rows that begin with `prefix`, in order, whether written or not.
    pub(crate) fn keys(&self, views: &Views, prefix: &[u8]) -> Result<Vec<[u8; N]>, StoreError> {
        let mut keys: Vec<[u8; N]> = self.changed.iter().filter(|key| key.starts_with(prefix)).copied().collect();
        views.scan(self.family, prefix, &mut |key, _| {
            keys.extend(<[u8; N]>::try_from(key));
            Ok(true)
        })?;
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| self.rows.get(key).is_none_or(|cached| cached.row.is_some()));
        Ok(keys)
    }

    /// Adds what changed to what will be written. Tells `see` of each row as it was and as it is, which says whether to
    /// keep it in memory.
    pub(crate) fn flush(
        &mut self,
        pending: &mut Pending<'_>,
        mut see: impl FnMut(&mut Pending<'_>, Option<&V>, Option<&V>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        self.changed.sort_unstable();
        for key in self.changed.drain(..) {
            let Some(cached) = self.rows.get_mut(&key) else { continue };
            cached.changed = false;
            if cached.row != cached.stored {
                match &cached.row {
                    Some(row) => pending.put(self.family, &key, row)?,
                    None => pending.delete(self.family, &key)?,
                }
            }
            if see(pending, cached.stored.as_ref(), cached.row.as_ref())? {
                cached.stored.clone_from(&cached.row);
            } else {
                self.rows.remove(&key);
            }
        }
        if self.rows.len() > ROWS_MAX {
            self.rows.clear();
        }
        Ok(())
    }

    /// [`Table::flush`] of rows that others do not depend on.
    pub(crate) fn flush_alone(&mut self, pending: &mut Pending<'_>) -> Result<(), StoreError> {
        self.flush(pending, |_, _, now| Ok(now.is_some()))
    }
}

fn cached<'a, const N: usize, V: Decode<()> + Clone>(
    rows: &'a mut HashMap<[u8; N], Cached<V>>,
    family: &'static str,
    views: &Views,
    key: [u8; N],
) -> Result<&'a mut Cached<V>, StoreError> {
    match rows.entry(key) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => {
            let row: Option<V> = views.get(family, &key)?;
            Ok(entry.insert(Cached { stored: row.clone(), row, changed: false }))
        }
    }
}
