//! Copies of closed segments in object storage: a local folder or anything that speaks S3.
//!
//! # Objects
//!
//! | name | content |
//! |---|---|
//! | `{first_seq:020}.log` | the segment, byte for byte, zeros at its end included |
//! | `{first_seq:020}.log.sha256` | its SHA-256 and name, as `sha256sum` writes and checks them |
//!
//! # Invariants
//!
//! - The hash is written last: without it a segment counts as not archived, so an upload that broke off is never taken
//!   for a copy.
//! - A copy is never overwritten with other bytes. Archiving the same segment again does nothing.
//! - What is fetched has its hash checked before it gets its name, and is durable when the call returns.
//!
//! S3 checks each part against the hash that its request is signed with, and the size is asked for afterwards. A copy in a
//! folder is synced and read back. Only one process archives a journal.
//!
//! What is absent: deletion, here or there. Uploads that broke off leave parts behind; a lifecycle rule of the bucket
//! removes them, in a folder they are named `*#1`. All calls block: make them from a plain thread, not from an async task.

mod error;
mod upload;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{Error as StoreError, GetResult, ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};
use tokio::runtime::{Builder, Runtime};
use url::Url;

pub use error::ArchiveError;

use crate::format::{SEGMENT_BYTES_MAX, parse_segment_name, segment_name};
use crate::storage::{FileStorage, Storage, StorageFile};
use crate::tree::Hash;

/// Added to a segment's name for the object with its hash.
const SUM_SUFFIX: &str = ".sha256";
/// Added to a segment's name while it is fetched; such a file is nothing to a journal.
const TEMP_SUFFIX: &str = ".fetch";
/// Most bytes of the object with the hash.
const SUM_BYTES_MAX: u64 = 256;

/// An archive of segments.
pub struct Archive {
    url: String,
    store: Arc<dyn ObjectStore>,
    /// Whether copies are files that can be read back at no cost.
    local: bool,
    runtime: Runtime,
}

/// A segment that was put into an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archived {
    /// Sequence of its first record.
    pub first_seq: u64,
    /// Bytes of the segment.
    pub bytes: u64,
    /// Whether it had been there before, so that nothing was written.
    pub already: bool,
}

/// A segment that is in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchivedSegment {
    /// Sequence of its first record.
    pub first_seq: u64,
    /// Bytes of the segment.
    pub bytes: u64,
}

impl Archive {
    /// The archive at `url`: `file:///folder`, which must exist, or `s3://bucket/prefix`. Credentials, endpoint and region
    /// of S3 come from the usual environment variables (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`,
    /// `AWS_ENDPOINT_URL`, and `AWS_ALLOW_HTTP=true` for one without TLS). Sends nothing yet.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Url`] if the address or the settings cannot be used.
    pub fn open(url: &str) -> Result<Self, ArchiveError> {
        let refuse = |reason: String| ArchiveError::Url { url: url.to_owned(), reason };
        let parsed = Url::parse(url).map_err(|error| refuse(error.to_string()))?;
        let plain = parsed.username().is_empty() && parsed.password().is_none();
        if !plain || parsed.query().is_some() || parsed.fragment().is_some() {
            // Without the address in the message: it may hold a password.
            let reason = "credentials and options come from the environment".to_owned();
            return Err(ArchiveError::Url { url: format!("{}://…", parsed.scheme()), reason });
        }
        let store = match parsed.scheme() {
            "file" => open_folder(&parsed),
            "s3" => open_s3(&parsed),
            _ => Err("it is neither a folder nor S3".to_owned()),
        };
        let store = store.map_err(refuse)?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| refuse(error.to_string()))?;
        Ok(Self { url: url.to_owned(), store, local: parsed.scheme() == "file", runtime })
    }

    /// Copies a closed segment, the file `path`, into the archive, unless it is there already. A segment that is still
    /// written must not be given: nothing in a file says that it is closed.
    ///
    /// # Errors
    ///
    /// See [`ArchiveError`]. The segment is not archived; the call can be repeated.
    pub fn put_segment(&self, path: &Path) -> Result<Archived, ArchiveError> {
        self.runtime.block_on(upload::put_segment(self, path))
    }

    /// The segments in the archive, in order. Those that broke off while they were archived are not among them.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Store`].
    pub fn list(&self) -> Result<Vec<ArchivedSegment>, ArchiveError> {
        let listed = self.runtime.block_on(self.store.list_with_delimiter(None));
        let objects = listed.map_err(|error| self.failed("list", "objects", error))?.objects;
        let whole: BTreeSet<u64> = objects
            .iter()
            .filter_map(|object| parse_segment_name(object.location.as_ref().strip_suffix(SUM_SUFFIX)?))
            .collect();
        let mut segments: Vec<_> = objects
            .iter()
            .filter_map(|object| Some((parse_segment_name(object.location.as_ref())?, object.size)))
            .filter(|(first_seq, _)| whole.contains(first_seq))
            .map(|(first_seq, bytes)| ArchivedSegment { first_seq, bytes })
            .collect();
        segments.sort_by_key(|segment| segment.first_seq);
        Ok(segments)
    }

    /// Copies a segment back into the folder `to_dir`, which is created if it does not exist, under its own name. Does
    /// nothing if the same bytes are there already.
    ///
    /// # Errors
    ///
    /// See [`ArchiveError`]. No file of that name appears unless it is whole.
    pub fn fetch(&self, first_seq: u64, to_dir: &Path) -> Result<PathBuf, ArchiveError> {
        self.runtime.block_on(self.fetch_one(first_seq, to_dir))
    }

    /// Copies every segment back that the folder `to_dir` has no file for. Returns their first sequences. Files that are
    /// there are left alone, whatever they hold: reading the journal checks them.
    ///
    /// # Errors
    ///
    /// See [`ArchiveError`]. Segments before the one that failed have been fetched.
    pub fn fetch_missing(&self, to_dir: &Path) -> Result<Vec<u64>, ArchiveError> {
        let missing = self.list()?.into_iter().map(|segment| segment.first_seq);
        let missing: Vec<u64> = missing.filter(|&first_seq| !to_dir.join(segment_name(first_seq)).exists()).collect();
        for &first_seq in &missing {
            self.fetch(first_seq, to_dir)?;
        }
        Ok(missing)
    }

    async fn fetch_one(&self, first_seq: u64, to_dir: &Path) -> Result<PathBuf, ArchiveError> {
        let name = segment_name(first_seq);
        let sum = self.read_sum(&name).await?.ok_or_else(|| self.missing(&name))?;
        let (folder, path) = (FileStorage::new(to_dir), to_dir.join(&name));
        folder.create_dir().map_err(file_failed("create", to_dir))?;
        if path.exists() {
            let same = upload::digest_file(&path)?.0 == sum;
            return if same { Ok(path) } else { Err(self.differs(&path, &name)) };
        }
        let temp = name.clone() + TEMP_SUFFIX;
        let temp_path = to_dir.join(&temp);
        let object = self.get(&name).await?.ok_or_else(|| self.missing(&name))?;
        if object.meta.size > SEGMENT_BYTES_MAX {
            return Err(self.damaged(&name, "it is larger than a segment can be"));
        }
        let file = folder.create(&temp).map_err(file_failed("create", &temp_path))?;
        let write = |chunk: &[u8], offset| file.write_all_at(chunk, offset).map_err(file_failed("write", &temp_path));
        if self.read_through(&name, object, write).await?.0 != sum {
            folder.remove(&temp).map_err(file_failed("remove", &temp_path))?;
            return Err(self.damaged(&name, "it does not match its hash"));
        }
        file.sync_all().map_err(file_failed("sync", &temp_path))?;
        folder.rename(&temp, &name).map_err(file_failed("rename", &temp_path))?;
        folder.sync_dir().map_err(file_failed("sync", to_dir))?;
        Ok(path)
    }

    /// An object's content; `None` if there is no such object.
    async fn get(&self, name: &str) -> Result<Option<GetResult>, ArchiveError> {
        match self.store.get(&ObjectPath::from(name)).await {
            Ok(object) => Ok(Some(object)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", name, error)),
        }
    }

    /// An object's size; `None` if there is no such object.
    async fn size_of(&self, name: &str) -> Result<Option<u64>, ArchiveError> {
        match self.store.head(&ObjectPath::from(name)).await {
            Ok(object) => Ok(Some(object.size)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("examine", name, error)),
        }
    }

    /// Gives an object's content to `visit`, piece by piece with its offset, and returns its hash and size.
    async fn read_through(
        &self,
        name: &str,
        object: GetResult,
        mut visit: impl FnMut(&[u8], u64) -> Result<(), ArchiveError>,
    ) -> Result<(Hash, u64), ArchiveError> {
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        let mut chunks = object.into_stream();
        while let Some(chunk) = chunks.try_next().await.map_err(|error| self.failed("read", name, error))? {
            visit(&chunk, bytes)?;
            hash.update(&chunk);
            bytes += chunk.len() as u64;
        }
        Ok((hash.finalize().into(), bytes))
    }

    /// The hash kept with a segment; `None` if the segment was never archived whole.
    async fn read_sum(&self, name: &str) -> Result<Option<Hash>, ArchiveError> {
        let sum_name = sum_name(name);
        let Some(object) = self.get(&sum_name).await? else { return Ok(None) };
        let unreadable = || self.damaged(&sum_name, "it is not the hash of a segment");
        if object.meta.size > SUM_BYTES_MAX {
            return Err(unreadable());
        }
        let text = object.bytes().await.map_err(|error| self.failed("read", &sum_name, error))?;
        let sum = str::from_utf8(&text).ok().and_then(|text| parse_sum(text, name));
        Ok(Some(sum.ok_or_else(unreadable)?))
    }

    fn failed(&self, action: &'static str, object: &str, error: StoreError) -> ArchiveError {
        ArchiveError::Store { action, object: object.to_owned(), archive: self.url.clone(), source: error.into() }
    }

    fn missing(&self, object: &str) -> ArchiveError {
        ArchiveError::Missing { object: object.to_owned(), archive: self.url.clone() }
    }

    fn damaged(&self, object: &str, what: &'static str) -> ArchiveError {
        ArchiveError::Damaged { object: object.to_owned(), archive: self.url.clone(), what }
    }

    fn differs(&self, path: &Path, object: &str) -> ArchiveError {
        ArchiveError::Differs { path: path.to_owned(), object: object.to_owned(), archive: self.url.clone() }
    }
}

impl fmt::Debug for Archive {
    /// The address alone: what the store knows includes credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("url", &self.url).finish_non_exhaustive()
    }
}

fn open_folder(url: &Url) -> Result<Arc<dyn ObjectStore>, String> {
    let folder = url.to_file_path().map_err(|()| "it names no folder of this machine".to_owned())?;
    // A folder that is missing may be a disk that is not mounted, so it is not created.
    if !folder.is_dir() {
        return Err("the folder does not exist: create it".to_owned());
    }
    let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| error.to_string())?;
    Ok(Arc::new(store.with_fsync(true)))
}

fn open_s3(url: &Url) -> Result<Arc<dyn ObjectStore>, String> {
    let bucket = url.host_str().filter(|bucket| !bucket.is_empty()).ok_or("it names no bucket")?;
    let prefix = ObjectPath::from_url_path(url.path()).map_err(|error| error.to_string())?;
    let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build().map_err(|error| error.to_string())?;
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}

fn sum_name(name: &str) -> String {
    name.to_owned() + SUM_SUFFIX
}

/// The line that `sha256sum` writes.
fn format_sum(sum: &Hash, name: &str) -> String {
    let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}  {name}\n")
}

fn parse_sum(text: &str, name: &str) -> Option<Hash> {
    let hex = text.split_once(' ')?.0;
    let mut sum = Hash::default();
    for (at, byte) in sum.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    // Compared as it is written: no other case, sign, length or name.
    (text == format_sum(&sum, name)).then_some(sum)
}

fn file_failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArchiveError + use<> {
    let path = path.to_owned();
    move |source| ArchiveError::File { action, path, source }
}
