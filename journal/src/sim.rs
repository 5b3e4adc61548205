//! A simulated disk with faults, for tests.
//!
//! # Fault model
//!
//! - Written bytes, lengths and names are volatile until the file, or the folder for names, is synced. A power cut drops
//!   them; with a seed it keeps a random subset of the unsynced 512-byte sectors and a random prefix of the name changes.
//! - Each changing call has a number, from 0. One [`Fault`] can be planned for one call: an error, a write that stops
//!   half-way, a power cut.
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

/// What happens at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails with this kind and changes nothing; a sync also loses what was unsynced.
    Error(io::ErrorKind),
    /// A write keeps this many bytes and then fails for lack of space.
    Short(usize),
    /// The power goes before the call takes effect (a write reaches the volatile cache); every later call fails.
    PowerCut,
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

impl SimStorage {
    /// An empty folder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of the disk as it is, unlocked and without a planned fault.
    #[must_use]
    pub fn fork(&self) -> Self {
        let disk = Disk { plan: None, locked: false, ..self.disk().clone() };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Plans a fault at the changing call with this number.
    pub fn plan(&self, call: u64, fault: Fault) {
        self.disk().plan = Some((call, fault));
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

    /// Cuts the power and turns it on again; without a seed everything unsynced is lost.
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
        match self.fault() {
            None => Ok(()),
            Some(Fault::Error(kind)) => Err(kind.into()),
            Some(Fault::Short(_)) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::PowerCut) => Err(io::Error::other("power cut")),
        }
    }

    fn fault(&mut self) -> Option<Fault> {
        if self.off {
            return Some(Fault::PowerCut);
        }
        let call = self.calls;
        self.calls += 1;
        let (_, fault) = self.plan.filter(|&(planned, _)| planned == call)?;
        self.off = fault == Fault::PowerCut;
        Some(fault)
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

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        let was_off = disk.off;
        let fault = disk.fault();
        let kept = match fault {
            None => bytes.len(),
            Some(Fault::PowerCut) if !was_off => bytes.len(),
            Some(Fault::Short(kept)) => kept.min(bytes.len()),
            Some(Fault::Error(_) | Fault::PowerCut) => 0,
        };
        disk.inodes[self.inode].write(&bytes[..kept], index(offset)?);
        match fault {
            None => Ok(()),
            Some(Fault::Error(kind)) => Err(kind.into()),
            Some(Fault::Short(_)) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::PowerCut) => Err(io::Error::other("power cut")),
        }
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
