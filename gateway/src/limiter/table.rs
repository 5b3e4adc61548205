//! What is counted, by whom it is counted for: a bounded number of entries in shards, so that callers rarely wait for each
//! other. An entry that is as good as a fresh one may be forgotten.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, PoisonError};

const SHARDS: usize = 64;
/// Entries of a shard: with all of them, 262,144.
const SHARD_ENTRIES_MAX: usize = 4_096;

#[derive(Debug)]
struct Entry<V> {
    value: V,
    quiet_at_us: u64,
}

/// The entries. A panic under a lock leaves counts that are at most one short.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    shards: Vec<Mutex<HashMap<K, Entry<V>>>>,
    hasher: RandomState,
}

impl<K: Copy + Eq + Hash, V: Default> Table<K, V> {
    pub(super) fn new() -> Table<K, V> {
        Table { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    /// Runs `change` on the entry of `key`; it also returns when the entry will be as good as a fresh one.
    pub(super) fn with<R>(&self, key: K, now_us: u64, change: impl FnOnce(&mut V) -> (R, u64)) -> R {
        let place = (self.hasher.hash_one(key) % SHARDS as u64) as usize;
        let mut shard = self.shards[place].lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= SHARD_ENTRIES_MAX && !shard.contains_key(&key) {
            make_room(&mut shard, now_us);
        }
        let entry = shard.entry(key).or_insert_with(|| Entry { value: V::default(), quiet_at_us: 0 });
        let (result, quiet_at_us) = change(&mut entry.value);
        entry.quiet_at_us = quiet_at_us;
        result
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

/// Forgets those that are quiet, or else the quarter that will be first, so that this is not done for every stranger.
fn make_room<K: Copy + Eq + Hash, V>(shard: &mut HashMap<K, Entry<V>>, now_us: u64) {
    shard.retain(|_, entry| entry.quiet_at_us > now_us);
    if shard.len() >= SHARD_ENTRIES_MAX {
        let mut times: Vec<u64> = shard.values().map(|entry| entry.quiet_at_us).collect();
        let quarter = times.len() / 4;
        let (_, soon, _) = times.select_nth_unstable(quarter);
        let soon = *soon;
        shard.retain(|_, entry| entry.quiet_at_us > soon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_strangers_takes_bounded_memory_and_the_most_counted_stay() {
        let table: Table<u64, u64> = Table::new();
        table.with(u64::MAX, 0, |count| (*count += 1, u64::MAX));
        for stranger in 0..2 * (SHARDS * SHARD_ENTRIES_MAX) as u64 {
            table.with(stranger, 10, |count| (*count += 1, 20));
        }
        assert!(table.len() <= SHARDS * SHARD_ENTRIES_MAX);
        assert_eq!(table.with(u64::MAX, 10, |count| (*count, u64::MAX)), 1, "still known");
    }

    #[test]
    fn the_quiet_are_forgotten_first_and_else_the_quarter_that_will_be_next() {
        let full = || {
            let entry = |quiet_at_us| (quiet_at_us, Entry { value: (), quiet_at_us });
            (0..SHARD_ENTRIES_MAX as u64).map(entry).collect::<HashMap<u64, Entry<()>>>()
        };
        let mut some_quiet = full();
        make_room(&mut some_quiet, 99);
        assert_eq!(some_quiet.keys().min(), Some(&100));
        assert_eq!(some_quiet.len(), SHARD_ENTRIES_MAX - 100);
        let mut none_quiet = full();
        none_quiet.values_mut().for_each(|entry| entry.quiet_at_us += 1_000);
        make_room(&mut none_quiet, 99);
        assert_eq!(none_quiet.len(), SHARD_ENTRIES_MAX * 3 / 4 - 1);
        assert_eq!(none_quiet.keys().max(), Some(&(SHARD_ENTRIES_MAX as u64 - 1)), "the most counted stay");
    }
}
