//! A folder that is only read and whose bytes the test changes in place: millions of damaged journals cost no copy.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use gollem_journal::sim::SimStorage;
use gollem_journal::{Storage, StorageFile};

use super::disk::lock;

/// The files by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The folder; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct FixedDisk(Arc<Mutex<Files>>);

/// An open file of it.
#[derive(Debug)]
pub(crate) struct FixedFile {
    disk: FixedDisk,
    name: String,
}

impl FixedDisk {
    pub(crate) fn new(files: Files) -> Self {
        Self(Arc::new(Mutex::new(files)))
    }

    pub(crate) fn files(&self) -> MutexGuard<'_, Files> {
        lock(&self.0)
    }
}

/// The files of a simulated disk as they are read now.
pub(crate) fn files_of(disk: &SimStorage) -> Files {
    let names = disk.list().unwrap_or_default();
    names.into_iter().filter_map(|name| Some((name.clone(), disk.get(&name)?))).collect()
}

/// A simulated disk with these files.
pub(crate) fn disk_of(files: &Files) -> SimStorage {
    let disk = SimStorage::new();
    files.iter().for_each(|(name, bytes)| disk.put(name, bytes));
    disk
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Storage for FixedDisk {
    type File = FixedFile;
    type Lock = ();

    fn create_dir(&self) -> io::Result<()> {
        read_only()
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("fixed").join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn open(&self, name: &str, _write: bool) -> io::Result<FixedFile> {
        if self.files().contains_key(name) {
            Ok(FixedFile { disk: self.clone(), name: name.to_owned() })
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn create(&self, _name: &str) -> io::Result<FixedFile> {
        read_only()
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        read_only()
    }

    fn sync_dir(&self) -> io::Result<()> {
        read_only()
    }

    fn lock(&self) -> io::Result<Option<()>> {
        read_only()
    }
}

impl StorageFile for FixedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.files().get(&self.name).map_or(0, Vec::len) as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let files = self.disk.files();
        let bytes = files.get(&self.name).map_or(&[][..], Vec::as_slice);
        let start = usize::try_from(offset).map_or(bytes.len(), |offset| offset.min(bytes.len()));
        let count = buffer.len().min(bytes.len() - start);
        buffer[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<usize> {
        read_only()
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        read_only()
    }

    fn sync_data(&self) -> io::Result<()> {
        read_only()
    }

    fn sync_all(&self) -> io::Result<()> {
        read_only()
    }
}
