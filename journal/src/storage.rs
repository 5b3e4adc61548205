//! The calls that the journal makes on a folder of a disk, and the real disk behind them.
//!
//! The trait exists so that a simulated disk can fail at each call (`sim`). It holds no policy: what is synced when is
//! decided by its callers. Files are named relative to the folder. No call here tries a failed one again; a call that a
//! signal interrupted has not failed, and is made again: a write here, a sync in the standard library.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::segment::write_zeros;

/// Name of the file whose lock makes a writer the only one.
const LOCK_NAME: &str = "lock";

/// One folder of a disk.
pub trait Storage: Clone + Send + Sync + 'static {
    /// An open file.
    type File: StorageFile;
    /// Held as long as the writer lives.
    type Lock: Send + std::fmt::Debug;

    /// Creates the folder, and makes each new level durable in its parent.
    ///
    /// # Errors
    ///
    /// A level cannot be created or synced.
    fn create_dir(&self) -> io::Result<()>;

    /// Where `name` lies, for messages.
    fn path(&self, name: &str) -> PathBuf;
    /// Names of all files in the folder, in no order.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens an existing file.
    ///
    /// # Errors
    ///
    /// The file does not exist or cannot be opened.
    fn open(&self, name: &str, write: bool) -> io::Result<Self::File>;
    /// Opens an empty file for reading and writing, replacing one of that name.
    ///
    /// # Errors
    ///
    /// The file cannot be created.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Renames a file, replacing one of the new name; durable after [`sync_dir`](Storage::sync_dir).
    ///
    /// # Errors
    ///
    /// The system refused.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; durable after [`sync_dir`](Storage::sync_dir).
    ///
    /// # Errors
    ///
    /// The system refused.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals in the folder durable.
    ///
    /// # Errors
    ///
    /// They may not be durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Takes the writer's lock; `None` if another writer holds it.
    ///
    /// # Errors
    ///
    /// The lock file cannot be used.
    fn lock(&self) -> io::Result<Option<Self::Lock>>;
}

/// An open file of a [`Storage`].
pub trait StorageFile: Send + std::fmt::Debug + 'static {
    /// Bytes of the file.
    ///
    /// # Errors
    ///
    /// The system refused.
    fn size(&self) -> io::Result<u64>;
    /// Reads at `offset` into `buffer`; 0 means the end of the file.
    ///
    /// # Errors
    ///
    /// The system refused.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of `bytes` at `offset` and says how many.
    ///
    /// # Errors
    ///
    /// [`Interrupted`](io::ErrorKind::Interrupted): nothing was written, by no fault of the disk. Others: the system
    /// refused.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, in as many writes as it takes.
    ///
    /// # Errors
    ///
    /// Some or none of the bytes were written.
    fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = &bytes[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
    /// Gives an empty file that many bytes, all zero, with their space taken, however the file system does that fastest.
    ///
    /// # Errors
    ///
    /// The system refused; the file may have some of the bytes.
    fn allocate(&self, bytes: u64) -> io::Result<()>
    where
        Self: Sized,
    {
        write_zeros(self, 0, bytes)
    }
    /// Cuts or extends the file.
    ///
    /// # Errors
    ///
    /// The system refused.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the bytes durable.
    ///
    /// # Errors
    ///
    /// They may be lost, even if a later sync succeeds.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes the bytes and the file's metadata durable.
    ///
    /// # Errors
    ///
    /// They may be lost, even if a later sync succeeds.
    fn sync_all(&self) -> io::Result<()>;
}

/// Whether the disk, or the quota on it, is full: what failed may work once space is freed.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Removes a file that may not be there.
pub(crate) fn remove_if_there<S: Storage>(storage: &S, name: &str) -> io::Result<()> {
    match storage.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A folder of the file system.
#[derive(Clone, Debug)]
pub struct FileStorage {
    dir: PathBuf,
}

impl FileStorage {
    /// The folder `dir`, which need not exist for reading.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }
}

impl Storage for FileStorage {
    type File = File;
    type Lock = File;

    fn create_dir(&self) -> io::Result<()> {
        let missing = self.dir.ancestors().take_while(|level| !level.as_os_str().is_empty() && !level.exists());
        let mut levels: Vec<&Path> = missing.collect();
        if levels.is_empty() {
            // Whoever made the folder may have been killed before its name was durable.
            levels.push(&self.dir);
        }
        for level in levels.into_iter().rev() {
            match fs::create_dir(level) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let parent = level.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn open(&self, name: &str, write: bool) -> io::Result<File> {
        OpenOptions::new().read(true).write(write).open(self.path(name))
    }

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(self.path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn lock(&self) -> io::Result<Option<File>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.path(LOCK_NAME))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl StorageFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            // A file system that cannot reserve space.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => write_zeros(self, 0, bytes),
            allocated => Ok(allocated?),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }
}
