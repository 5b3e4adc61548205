//! The state hash, kept up to date so cheaply that it can be asked for every few thousand inputs.
//!
//! Every piece of state is a row with one encoding (bincode `legacy()`, as in the journal and the snapshot). The hash of
//! a part is the wrapping sum of its rows' hashes: the order of rows does not matter, so a change costs the hash of the
//! rows that changed. Tables note which rows they touched and hash those when asked; maps hash on every change.
//!
//! It tells accidents apart, not adversaries: who could choose states freely could make two with one sum. What must
//! withstand an adversary is the journal, and it has means of its own.

use bincode::Encode;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use std::collections::BTreeMap;
use std::fmt;

/// Hash of the whole state. Equal states have equal hashes; unequal ones differ but for one chance in 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, bincode::Decode)]
pub struct StateHash(pub(crate) u64);

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// An odd number with well-spread bits: 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Folds bytes into 64 bits: eight at a time, multiplied to 128 bits whose halves are joined.
#[derive(Clone, Copy, Debug)]
struct Mixer {
    hash: u64,
    buffer: u64,
    filled: u32,
}

impl Mixer {
    fn new(section: u8) -> Mixer {
        Mixer { hash: GOLDEN ^ u64::from(section), buffer: 0, filled: 0 }
    }

    #[inline]
    fn word(&mut self, word: u64) {
        let wide = u128::from(self.hash ^ word).wrapping_mul(u128::from(GOLDEN));
        self.hash = (wide as u64 ^ (wide >> 64) as u64).rotate_left(23).wrapping_add(word);
    }

    /// Takes in the next `bits` bits, less than a word, whose others are zero.
    #[inline]
    fn part(&mut self, part: u64, bits: u32) {
        let low = self.buffer | part << self.filled;
        let filled = self.filled + bits;
        if filled < 64 {
            (self.buffer, self.filled) = (low, filled);
            return;
        }
        self.buffer = part >> (64 - self.filled); // Something was there, else a part would not fill a word.
        self.filled = filled - 64;
        self.word(low);
    }

    fn finish(mut self) -> u64 {
        let length = u64::from(self.filled);
        self.word(self.buffer);
        self.word(length ^ GOLDEN);
        self.word(GOLDEN);
        self.hash
    }
}

impl Writer for Mixer {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            let word = u64::from_le_bytes(*word);
            if self.filled == 0 {
                self.word(word);
            } else {
                let low = self.buffer | word << self.filled;
                self.buffer = word >> (64 - self.filled);
                self.word(low);
            }
        }
        if !rest.is_empty() {
            let mut part = [0; 8];
            part[..rest.len()].copy_from_slice(rest);
            self.part(u64::from_le_bytes(part), 8 * rest.len() as u32); // At most 56.
        }
        Ok(())
    }
}

/// Parts of the state; each hashes its rows differently, so that equal bytes in two parts do not cancel out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Section {
    Header = 1,
    Accounts,
    Markets,
    Orders,
    Contracts,
    Payouts,
    Purchases,
    Refunds,
    Disputes,
    Answers,
    Providers,
    Spending,
    Keys,
    Timers,
    Policies,
    Locks,
    FailedRefunds,
}

/// Hash of one row.
#[inline]
pub(crate) fn hash_row(section: Section, row: &impl Encode) -> u64 {
    let mut mixer = Mixer::new(section as u8);
    let written = bincode::encode_into_writer(row, &mut mixer, bincode::config::legacy());
    crate::invariant(written.ok(), "hashing cannot fail");
    mixer.finish()
}

/// Rows of a table that are hashed together: fewer sums to keep for more rows to hash.
const ROWS_PER_CHUNK: usize = 8;

/// The hash of a table whose rows are numbered. Who changes a row marks it.
#[derive(Debug, Default)]
pub(crate) struct TableHash {
    /// Hash of each chunk as of the last refresh.
    sums: Vec<u64>,
    /// Sum of `sums`.
    total: u64,
    /// A byte a chunk, not zero once it changed since: eight times the memory of bits for half the instructions. By eight,
    /// since most are clean.
    dirty: Vec<[u8; 8]>,
}

impl TableHash {
    /// Notes that the row changed or is about to.
    #[inline(always)]
    pub(crate) fn mark(&mut self, row: usize) {
        let chunk = row / ROWS_PER_CHUNK;
        match self.dirty.as_flattened_mut().get_mut(chunk) {
            Some(dirty) => *dirty = 1,
            None => self.grow(chunk),
        }
    }

    #[cold]
    fn grow(&mut self, chunk: usize) {
        self.dirty.resize((chunk / 8 + 1).next_power_of_two(), [0; 8]);
        self.sums.resize(self.dirty.len() * 8, 0);
        self.dirty[chunk / 8][chunk % 8] = 1;
    }

    /// Memory for so many rows, so that marking them allocates nothing.
    pub(crate) fn reserve(&mut self, rows: usize) {
        let eights = rows.div_ceil(ROWS_PER_CHUNK * 8);
        self.dirty.resize(eights.max(self.dirty.len()), [0; 8]);
        self.sums.resize(self.dirty.len() * 8, 0);
    }

    fn dirty_chunks(dirty: &[[u8; 8]]) -> impl Iterator<Item = usize> + '_ {
        let eights = dirty.iter().enumerate().filter(|(_, eight)| u64::from_ne_bytes(**eight) != 0);
        eights.flat_map(|(at, eight)| (0..8).filter(|bit| eight[*bit] != 0).map(move |bit| at * 8 + bit))
    }

    /// The table's hash now, given the hash of a row (0 for a free one).
    pub(crate) fn total(&self, hash: impl Fn(usize) -> u64) -> u64 {
        let change = |chunk: usize| chunk_hash(chunk, &hash).wrapping_sub(self.sums[chunk]);
        Self::dirty_chunks(&self.dirty).map(change).fold(self.total, u64::wrapping_add)
    }

    /// The same, and later calls hash only what changes from now on.
    pub(crate) fn refresh(&mut self, hash: impl Fn(usize) -> u64) -> u64 {
        for chunk in Self::dirty_chunks(&self.dirty) {
            let fresh = chunk_hash(chunk, &hash);
            let stored = &mut self.sums[chunk];
            self.total = self.total.wrapping_add(fresh).wrapping_sub(*stored);
            *stored = fresh;
        }
        self.dirty.fill([0; 8]);
        self.total
    }
}

fn chunk_hash(chunk: usize, hash: &impl Fn(usize) -> u64) -> u64 {
    let first = chunk * ROWS_PER_CHUNK;
    (first..first + ROWS_PER_CHUNK).map(hash).fold(0, u64::wrapping_add)
}

/// An ordered map that knows its hash. For state that changes seldom, or grows without bound: it is hashed on every
/// change, so that asking costs nothing.
#[derive(Debug)]
pub(crate) struct TrackedMap<K, V> {
    section: Section,
    map: BTreeMap<K, V>,
    total: u64,
}

impl<K: Ord + Copy + Encode, V: Encode> TrackedMap<K, V> {
    pub(crate) fn new(section: Section) -> Self {
        TrackedMap { section, map: BTreeMap::new(), total: 0 }
    }

    fn row(section: Section, key: &K, value: &V) -> u64 {
        hash_row(section, &(key, value))
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.total = self.total.wrapping_add(Self::row(self.section, &key, &value));
        if let Some(old) = self.map.insert(key, value) {
            self.total = self.total.wrapping_sub(Self::row(self.section, &key, &old));
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let old = self.map.remove(key)?;
        self.total = self.total.wrapping_sub(Self::row(self.section, key, &old));
        Some(old)
    }

    /// Changes the value in place; `None` when there is none.
    pub(crate) fn update<R>(&mut self, key: &K, change: impl FnOnce(&mut V) -> R) -> Option<R> {
        let value = self.map.get_mut(key)?;
        self.total = self.total.wrapping_sub(Self::row(self.section, key, value));
        let result = change(value);
        self.total = self.total.wrapping_add(Self::row(self.section, key, value));
        Some(result)
    }

    /// The same, with a default value if there is none yet.
    pub(crate) fn upsert<R>(&mut self, key: K, change: impl FnOnce(&mut V) -> R) -> R
    where
        V: Default,
    {
        if !self.map.contains_key(&key) {
            self.insert(key, V::default());
        }
        crate::invariant(self.update(&key, change), "it was inserted above")
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    /// The map itself, to read.
    pub(crate) fn map(&self) -> &BTreeMap<K, V> {
        &self.map
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_hash_depends_on_every_byte_and_on_the_section() {
        let base = hash_row(Section::Orders, &(1_u8, 2_u64, 3_u32));
        assert_eq!(base, hash_row(Section::Orders, &(1_u8, 2_u64, 3_u32)));
        for other in [(2_u8, 2_u64, 3_u32), (1, 3, 3), (1, 2, 4), (0, 0, 0)] {
            assert_ne!(base, hash_row(Section::Orders, &other));
        }
        assert_ne!(base, hash_row(Section::Contracts, &(1_u8, 2_u64, 3_u32)));
        assert_ne!(hash_row(Section::Orders, &0_u8), hash_row(Section::Orders, &(0_u8, 0_u8)), "length counts");
    }

    #[test]
    fn splitting_a_write_does_not_change_the_hash() {
        let bytes: [u8; 20] = std::array::from_fn(|at| at as u8 * 11 + 3);
        let mut single = Mixer::new(1);
        bytes.iter().for_each(|byte| single.write(&[*byte]).unwrap());
        for (first, second) in (0..=20).flat_map(|first| (first..=20).map(move |second| (first, second))) {
            let mut split = Mixer::new(1);
            let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            parts.into_iter().for_each(|part| split.write(part).unwrap());
            assert_eq!(split.finish(), single.finish(), "split at {first} and {second}");
        }
    }

    #[test]
    fn a_table_hash_is_that_of_its_rows_whatever_the_way_there() {
        let mut rows = vec![0_u64; 100];
        let hash = |rows: &[u64], row: usize| rows.get(row).map_or(0, |value| value.wrapping_mul(GOLDEN));
        let mut table = TableHash::default();
        for (at, value) in [(3, 5), (90, 7), (3, 9), (4, 1), (90, 0)] {
            rows[at] = value;
            table.mark(at);
            if at == 90 {
                table.refresh(|row| hash(&rows, row));
            }
        }
        let mut fresh = TableHash::default();
        fresh.reserve(99); // The last row is beyond what was asked for.
        (0..100).for_each(|row| fresh.mark(row));
        let expected = fresh.total(|row| hash(&rows, row));
        assert_eq!(table.total(|row| hash(&rows, row)), expected);
        assert_eq!(table.refresh(|row| hash(&rows, row)), expected);
    }

    #[test]
    fn a_tracked_map_forgets_what_it_undid() {
        let mut map = TrackedMap::new(Section::Payouts);
        map.insert(1_u32, 10_u64);
        let one = map.total();
        map.insert(2, 20);
        map.update(&2, |value| *value = 30);
        map.insert(2, 40);
        assert_eq!(map.remove(&2), Some(40));
        assert_eq!(map.total(), one);
        assert_eq!(map.upsert(1, |value| *value), 10);
        assert_eq!(map.total(), one);
    }
}
