//! The mark of a clean stop: the file `clean`, which says where the log ends.
//!
//! While it exists the log must end exactly as it says: nothing torn is excused. It is written last when a writer
//! closes, and removed (and the removal synced) before the next writer changes a segment.
//!
//! | offset | bytes | field | meaning |
//! |---|---|---|---|
//! | 0 | 8 | magic | `GOLLEMJC` |
//! | 8 | 4 | version | 1 |
//! | 12 | 4 | crc | checksum of the other 44 bytes |
//! | 16 | 8 | last_seq | last sequence of the log, 0 if it is empty |
//! | 24 | 8 | first_seq | first sequence of the last segment |
//! | 32 | 8 | length | bytes of the last segment |
//! | 40 | 4 | chain | `crc` of the last record |
//! | 44 | 4 | reserved | zero |

use std::io;

use crate::crash_point;
use crate::format::{VERSION, split_crc, u32_at, u64_at};
use crate::storage::{Storage, StorageFile};

/// Name of the mark.
pub(crate) const MARK_NAME: &str = "clean";
/// Name under which it is written first.
pub(crate) const MARK_TEMP_NAME: &str = "clean.tmp";
const MARK_MAGIC: [u8; 8] = *b"GOLLEMJC";
const MARK_BYTES: usize = 48;

/// Where the log ended at the last clean stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) last_seq: u64,
    pub(crate) first_seq: u64,
    pub(crate) length: u64,
    pub(crate) chain: u32,
}

/// What a folder says about its last stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Unclean,
    Clean(Mark),
    Damaged,
}

impl Mark {
    fn encode(self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[0..8].copy_from_slice(&MARK_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.last_seq.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.length.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.chain.to_le_bytes());
        let crc = split_crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let whole = bytes.len() == MARK_BYTES
            && bytes[0..8] == MARK_MAGIC
            && u32_at(bytes, 8) == VERSION
            && u32_at(bytes, 12) == split_crc(bytes)
            && u32_at(bytes, 44) == 0;
        whole.then(|| Self {
            last_seq: u64_at(bytes, 16),
            first_seq: u64_at(bytes, 24),
            length: u64_at(bytes, 32),
            chain: u32_at(bytes, 40),
        })
    }

    /// Makes this mark durable.
    pub(crate) fn write<S: Storage>(self, storage: &S) -> io::Result<()> {
        let file = storage.create(MARK_TEMP_NAME)?;
        crash_point!("mark.created");
        file.write_all_at(&self.encode(), 0)?;
        crash_point!("mark.written");
        file.sync_all()?;
        crash_point!("mark.synced");
        storage.rename(MARK_TEMP_NAME, MARK_NAME)?;
        crash_point!("mark.renamed");
        storage.sync_dir()?;
        crash_point!("mark.folder-synced");
        Ok(())
    }
}

/// Reads the mark, if there is one.
pub(crate) fn read<S: Storage>(storage: &S) -> io::Result<Stop> {
    let file = match storage.open(MARK_NAME, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stop::Unclean),
        Err(error) => return Err(error),
    };
    // One byte more than a mark, so that a longer file is seen.
    let mut bytes = [0; MARK_BYTES + 1];
    let filled = crate::reader::read_full(&file, &mut bytes, 0)?;
    Ok(Mark::decode(&bytes[..filled]).map_or(Stop::Damaged, Stop::Clean))
}
