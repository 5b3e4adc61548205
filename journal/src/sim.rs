//! A simulated disk with faults, for tests.
//!
//! # Fault model
//!
//! - Written bytes, lengths and names are volatile until the file, or the folder for names, is synced. A power cut drops
//!   them; with a seed it keeps a random subset of the unsynced 512-byte sectors and a random prefix of the name changes.
//! - Each changing call has a number, from 0. One [`Fault`] can be planned for one call: an error, a write that stops
//!   half-way, a power cut. Others can come by chance ([`Chances`]).
//! - The disk can be full ([`SimStorage::set_capacity`]): a write that would grow a file beyond what is left writes what
//!   fits, and the next one fails. Names need no space, and a removed file gives its space back at once.
//! - A sync that fails drops what it should have kept, as Linux does: the bytes are still read, and a later sync succeeds
//!   without writing them.
//!
//! It does not reorder calls, delay them, or flip bits by itself: tests change bytes with [`SimStorage::put`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{Storage, StorageFile};

const SECTOR_BYTES: usize = 512;

/// Bytes of a segment that only a simulation may have, so that a short run goes through many. All its groups together
/// with a segment's header must fit one.
pub const SEGMENT_BYTES: u64 = 8 * 1024;

/// What happens at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails with this kind and changes nothing; a sync also loses what was unsynced.
    Error(io::ErrorKind),
    /// A write keeps this many bytes and then fails for lack of space.
    Short(usize),
    /// A write keeps this many bytes, at least one, and says so.
    Partial(usize),
    /// The power goes before the call takes effect (a write reaches the volatile cache); every later call fails.
    PowerCut,
}

/// Faults that come by chance: how many of a thousand calls have each. Together at most 1,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chances {
    /// Any changing call fails.
    pub error: u64,
    /// A write keeps some of its bytes and says so.
    pub partial: u64,
    /// A write is interrupted before it has begun.
    pub interrupted: u64,
}

/// A simulated folder; clones are the same folder.
#[derive(Clone, Debug, Default)]
pub struct SimStorage {
    disk: Arc<Mutex<Disk>>,
}

/// An open file of a [`SimStorage`].
#[derive(Debug)]
pub struct SimFile {
    disk: Arc<Mutex<Disk>>,
    inode: usize,
}

/// The writer's lock of a [`SimStorage`].
#[derive(Debug)]
pub struct SimLock {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Clone, Debug, Default)]
struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// The names after each unsynced change, oldest first.
    pending_names: Vec<BTreeMap<String, usize>>,
    calls: u64,
    syncs: u64,
    plan: Option<(u64, Fault)>,
    chances: Option<(Random, Chances)>,
    /// Bytes of all files together; none is no limit.
    capacity: Option<usize>,
    off: bool,
    locked: bool,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written and not yet synced.
    dirty: BTreeSet<usize>,
}

impl Fault {
    /// What a call says to which this happens.
    fn result(self) -> io::Result<()> {
        match self {
            Self::Error(kind) => Err(kind.into()),
            Self::Short(_) => Err(io::ErrorKind::StorageFull.into()),
            Self::Partial(_) => Ok(()),
            Self::PowerCut => Err(io::Error::other("power cut")),
        }
    }
}

impl SimStorage {
    /// An empty folder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of the disk as it is, as large, unlocked and without faults to come.
    #[must_use]
    pub fn fork(&self) -> Self {
        let disk = Disk { plan: None, chances: None, locked: false, ..self.disk().clone() };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// What a power cut that keeps nothing unsynced would leave: a disk by itself, without faults to come.
    #[must_use]
    pub fn durable(&self) -> Self {
        let disk = self.disk();
        let durable = Self::new();
        for (name, &inode) in &disk.durable_names {
            durable.put(name, &disk.inodes[inode].durable);
        }
        durable
    }

    /// Every file with its bytes as they are read now.
    #[must_use]
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let disk = self.disk();
        disk.names.iter().map(|(name, &inode)| (name.clone(), disk.inodes[inode].bytes.clone())).collect()
    }

    /// Plans a fault at the changing call with this number.
    pub fn plan(&self, call: u64, fault: Fault) {
        self.disk().plan = Some((call, fault));
    }

    /// Lets faults come by chance from now on, the same ones for the same seed and calls.
    pub fn set_chances(&self, seed: u64, chances: Chances) {
        self.disk().chances = Some((Random(seed), chances));
    }

    /// Makes the disk as large as this many bytes; what is on it stays, even if it is more.
    pub fn set_capacity(&self, bytes: usize) {
        self.disk().capacity = Some(bytes);
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn used(&self) -> usize {
        self.disk().used()
    }

    /// Changing calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.disk().calls
    }

    /// Syncs of files tried so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    /// Cuts the power and turns it on again, without faults to come; without a seed everything unsynced is lost.
    pub fn power_cycle(&self, seed: Option<u64>) {
        let mut disk = self.disk();
        let mut random = seed.map(Random);
        for inode in &mut disk.inodes {
            inode.power_cycle(random.as_mut());
        }
        let kept = random.map_or(0, |mut random| random.below(disk.pending_names.len() as u64 + 1));
        let kept = usize::try_from(kept).unwrap_or(0);
        let pending = std::mem::take(&mut disk.pending_names);
        if let Some(names) = pending.into_iter().take(kept).next_back() {
            disk.durable_names = names;
        }
        disk.names = disk.durable_names.clone();
        disk.off = false;
        disk.plan = None;
        disk.chances = None;
    }

    /// The bytes of a file as they are read now.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.names.get(name).map(|&inode| disk.inodes[inode].bytes.clone())
    }

    /// Replaces or creates a file, durably and without a call.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut disk = self.disk();
        let inode = disk.inodes.len();
        disk.inodes.push(Inode { bytes: bytes.to_vec(), durable: bytes.to_vec(), dirty: BTreeSet::new() });
        disk.names.insert(name.to_owned(), inode);
        disk.durable_names.insert(name.to_owned(), inode);
    }

    /// Deletes a file, durably and without a call.
    pub fn delete(&self, name: &str) {
        let mut disk = self.disk();
        disk.names.remove(name);
        disk.durable_names.remove(name);
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }

    fn rename_in(&self, change: impl FnOnce(&mut BTreeMap<String, usize>) -> Option<()>) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call()?;
        let mut names = disk.names.clone();
        change(&mut names).ok_or(io::ErrorKind::NotFound)?;
        disk.names = names.clone();
        disk.pending_names.push(names);
        Ok(())
    }
}

impl Disk {
    /// Counts a changing call and lets the planned fault happen.
    fn call(&mut self) -> io::Result<()> {
        self.fault(0).map_or(Ok(()), Fault::result)
    }

    /// What happens at the next changing call, which writes `bytes`.
    fn fault(&mut self, bytes: usize) -> Option<Fault> {
        if self.off {
            return Some(Fault::PowerCut);
        }
        let call = self.calls;
        self.calls += 1;
        if let Some((_, fault)) = self.plan.filter(|&(planned, _)| planned == call) {
            self.off = fault == Fault::PowerCut;
            return Some(fault);
        }
        self.chance(bytes as u64)
    }

    fn chance(&mut self, bytes: u64) -> Option<Fault> {
        let (random, Chances { error, partial, interrupted }) = self.chances.as_mut()?;
        let drawn = random.below(1_000);
        if drawn < *error {
            Some(Fault::Error(io::ErrorKind::Other))
        } else if bytes > 0 && drawn < *error + *partial {
            Some(Fault::Partial(1 + usize::try_from(random.below(bytes)).unwrap_or(0)))
        } else if bytes > 0 && drawn < *error + *partial + *interrupted {
            Some(Fault::Error(io::ErrorKind::Interrupted))
        } else {
            None
        }
    }

    fn used(&self) -> usize {
        self.names.values().map(|&inode| self.inodes[inode].bytes.len()).sum()
    }

    /// How many bytes can be written at `offset` of a file before the disk is full.
    fn room(&self, inode: usize, offset: usize) -> usize {
        let free = self.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(self.used()));
        self.inodes[inode].bytes.len().saturating_add(free).saturating_sub(offset)
    }

    fn sync(&mut self, inode: usize) -> io::Result<()> {
        self.syncs += 1;
        let result = self.call();
        let off = self.off;
        let inode = &mut self.inodes[inode];
        match result {
            Ok(()) => {
                inode.durable.resize(inode.bytes.len(), 0);
                for sector in std::mem::take(&mut inode.dirty) {
                    copy_sector(&inode.bytes, &mut inode.durable, sector);
                }
                Ok(())
            }
            Err(error) => {
                if !off {
                    inode.dirty.clear();
                }
                Err(error)
            }
        }
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    fn power_cycle(&mut self, random: Option<&mut Random>) {
        if let Some(random) = random {
            if random.below(2) == 1 {
                self.durable.resize(self.bytes.len(), 0);
            }
            for &sector in &self.dirty {
                if random.below(2) == 1 {
                    copy_sector(&self.bytes, &mut self.durable, sector);
                }
            }
        }
        self.dirty.clear();
        self.bytes.clone_from(&self.durable);
    }
}

/// Copies what both have of a sector.
fn copy_sector(from: &[u8], to: &mut [u8], sector: usize) {
    let start = sector * SECTOR_BYTES;
    let end = (start + SECTOR_BYTES).min(from.len()).min(to.len());
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

/// A small generator (splitmix64), so that a seed gives the same faults everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Storage for SimStorage {
    type File = SimFile;
    type Lock = SimLock;

    fn create_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("sim").join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk().names.keys().cloned().collect())
    }

    fn open(&self, name: &str, _write: bool) -> io::Result<SimFile> {
        let inode = *self.disk().names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(SimFile { disk: Arc::clone(&self.disk), inode })
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let inode = {
            let mut disk = self.disk();
            disk.inodes.push(Inode::default());
            disk.inodes.len() - 1
        };
        self.rename_in(|names| {
            names.insert(name.to_owned(), inode);
            Some(())
        })?;
        Ok(SimFile { disk: Arc::clone(&self.disk), inode })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.rename_in(|names| {
            let inode = names.remove(from)?;
            names.insert(to.to_owned(), inode);
            Some(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.rename_in(|names| names.remove(name).map(|_| ()))
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call()?;
        disk.durable_names = disk.names.clone();
        disk.pending_names.clear();
        Ok(())
    }

    fn lock(&self) -> io::Result<Option<SimLock>> {
        let mut disk = self.disk();
        let free = !std::mem::replace(&mut disk.locked, true);
        Ok(free.then(|| SimLock { disk: Arc::clone(&self.disk) }))
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        lock(&self.disk).locked = false;
    }
}

impl StorageFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(lock(&self.disk).inodes[self.inode].bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = lock(&self.disk);
        let bytes = &disk.inodes[self.inode].bytes;
        let start = index(offset)?.min(bytes.len());
        let count = buffer.len().min(bytes.len() - start);
        buffer[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut disk = lock(&self.disk);
        let offset = index(offset)?;
        let was_off = disk.off;
        let fault = disk.fault(bytes.len());
        let kept = match fault {
            None => bytes.len(),
            Some(Fault::PowerCut) if !was_off => bytes.len(),
            Some(Fault::Short(kept)) => kept.min(bytes.len()),
            Some(Fault::Partial(kept)) => kept.max(1).min(bytes.len()),
            Some(Fault::Error(_) | Fault::PowerCut) => 0,
        };
        let fits = kept.min(disk.room(self.inode, offset));
        disk.inodes[self.inode].write(&bytes[..fits], offset);
        fault.map_or(Ok(()), Fault::result)?;
        if fits == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(fits) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.call()?;
        disk.inodes[self.inode].bytes.resize(index(len)?, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        lock(&self.disk).sync(self.inode)
    }

    fn sync_all(&self) -> io::Result<()> {
        lock(&self.disk).sync(self.inode)
    }
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}
