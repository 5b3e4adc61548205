//! Putting a segment into the archive: what is there, the upload, a look at what arrived, and the hash last.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use object_store::path::Path as ObjectPath;
use object_store::{Error as StoreError, MultipartUpload, ObjectStoreExt, PutMode};
use sha2::{Digest, Sha256};

use super::{Archive, ArchiveError, Archived, file_failed, format_sum, sum_name};
use crate::format::{SEGMENT_HEADER_BYTES, SegmentHeader, parse_segment_name};
use crate::tree::Hash;

/// Bytes of a part, and of what is held in memory. S3 takes 10,000 parts, so the largest segment fits many times.
const PART_BYTES: u64 = 16 * 1024 * 1024;

pub(super) async fn put_segment(archive: &Archive, path: &Path) -> Result<Archived, ArchiveError> {
    let refuse = |reason| ArchiveError::NotSegment { path: path.to_owned(), reason };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| refuse("it has no name"))?;
    let first_seq = parse_segment_name(name).ok_or_else(|| refuse("its name is not that of a segment"))?;
    if read_header(path)?.map(|header| header.first_seq) != Some(first_seq) {
        return Err(refuse("it does not start with the header that its name asks for"));
    }
    let (sum, bytes) = digest_file(path)?;
    let archived = |already| Ok(Archived { first_seq, bytes, already });

    let kept = archive.read_sum(name).await?;
    if kept.is_some_and(|kept| kept != sum) {
        return Err(archive.differs(path, name));
    }
    let arrived = match (kept, archive.size_of(name).await?) {
        (Some(_), Some(size)) if size == bytes => return archived(true),
        (Some(_), Some(_)) => return Err(archive.damaged(name, "it has another size than what was archived")),
        (None, Some(_)) => check_beginning(archive, path, name, bytes).await? == bytes,
        (_, None) => false,
    };
    if !arrived {
        upload(archive, path, name, &sum).await?;
        check_arrived(archive, name, &sum, bytes).await?;
    }
    write_sum(archive, path, name, &sum).await?;
    archived(false)
}

/// Checks that an object without a hash is the beginning of the segment, so that it may be replaced by all of it: what an
/// upload left that broke off. Returns its size.
async fn check_beginning(archive: &Archive, path: &Path, name: &str, bytes: u64) -> Result<u64, ArchiveError> {
    let object = archive.get(name).await?.ok_or_else(|| archive.missing(name))?;
    let file = File::open(path).map_err(file_failed("open", path))?;
    let mut expected = Vec::new();
    let compare = |chunk: &[u8], offset| {
        expected.resize(chunk.len(), 0);
        let within = offset + chunk.len() as u64 <= bytes;
        if within {
            file.read_exact_at(&mut expected, offset).map_err(file_failed("read", path))?;
        }
        if within && expected == chunk { Ok(()) } else { Err(archive.differs(path, name)) }
    };
    Ok(archive.read_through(name, object, compare).await?.1)
}

/// Uploads the file in parts; nothing appears under its name before the last one has arrived.
async fn upload(archive: &Archive, path: &Path, name: &str, sum: &Hash) -> Result<(), ArchiveError> {
    let failed = |error| archive.failed("write", name, error);
    let mut upload = archive.store.put_multipart(&ObjectPath::from(name)).await.map_err(failed)?;
    let sent = send_parts(archive, path, name, sum, upload.as_mut()).await;
    if let Err(error) = sent {
        // What went wrong first is what matters; parts that cannot be removed cost space, not correctness.
        upload.abort().await.ok();
        return Err(error);
    }
    upload.complete().await.map_err(failed)?;
    Ok(())
}

async fn send_parts(
    archive: &Archive,
    path: &Path,
    name: &str,
    sum: &Hash,
    upload: &mut dyn MultipartUpload,
) -> Result<(), ArchiveError> {
    let mut file = File::open(path).map_err(file_failed("open", path))?;
    let mut hash = Sha256::new();
    loop {
        let mut part = Vec::new();
        file.by_ref().take(PART_BYTES).read_to_end(&mut part).map_err(file_failed("read", path))?;
        if part.is_empty() {
            break;
        }
        hash.update(&part);
        upload.put_part(part.into()).await.map_err(|error| archive.failed("write", name, error))?;
    }
    let found: Hash = hash.finalize().into();
    if found == *sum { Ok(()) } else { Err(ArchiveError::Changed { path: path.to_owned() }) }
}

/// Checks the size of what arrived, and all of it where reading costs nothing.
async fn check_arrived(archive: &Archive, name: &str, sum: &Hash, bytes: u64) -> Result<(), ArchiveError> {
    if archive.size_of(name).await? != Some(bytes) {
        return Err(archive.damaged(name, "it has another size than what was uploaded"));
    }
    if archive.local {
        let object = archive.get(name).await?.ok_or_else(|| archive.missing(name))?;
        if archive.read_through(name, object, |_, _| Ok(())).await?.0 != *sum {
            return Err(archive.damaged(name, "it reads back as something else"));
        }
    }
    Ok(())
}

/// Says that the segment is whole. Another archiver that was faster with other bytes is found out here.
async fn write_sum(archive: &Archive, path: &Path, name: &str, sum: &Hash) -> Result<(), ArchiveError> {
    let (object, text) = (sum_name(name), format_sum(sum, name));
    match archive.store.put_opts(&ObjectPath::from(object.as_str()), text.into(), PutMode::Create.into()).await {
        Ok(_) => Ok(()),
        Err(StoreError::AlreadyExists { .. }) if archive.read_sum(name).await? == Some(*sum) => Ok(()),
        Err(StoreError::AlreadyExists { .. }) => Err(archive.differs(path, name)),
        Err(error) => Err(archive.failed("write", &object, error)),
    }
}

fn read_header(path: &Path) -> Result<Option<SegmentHeader>, ArchiveError> {
    let file = File::open(path).map_err(file_failed("open", path))?;
    let mut header = Vec::new();
    file.take(SEGMENT_HEADER_BYTES as u64).read_to_end(&mut header).map_err(file_failed("read", path))?;
    Ok(header.try_into().ok().and_then(|header| SegmentHeader::decode(&header).ok()))
}

/// Hash and size of a file.
pub(super) fn digest_file(path: &Path) -> Result<(Hash, u64), ArchiveError> {
    let mut file = File::open(path).map_err(file_failed("open", path))?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 256 * 1024]);
    loop {
        let count = file.read(&mut buffer).map_err(file_failed("read", path))?;
        if count == 0 {
            return Ok((hash.finalize().into(), bytes));
        }
        hash.update(&buffer[..count]);
        bytes += count as u64;
    }
}
