//! Snapshots beside the journal: two slots, `snapshot.0` and `snapshot.1`, of which one can always be lost.
//!
//! A snapshot is a body of opaque bytes with the position in the journal that it stands for and a short opaque note. It
//! saves replaying what is before the position.
//!
//! # File
//!
//! All numbers are little-endian, all checksums are CRC32C.
//!
//! | offset | bytes | field | meaning |
//! |---|---|---|---|
//! | 0 | 8 | magic | `GOLLEMS1` |
//! | 8 | 4 | version | 1 |
//! | 12 | 4 | crc | checksum of the other 60 header bytes |
//! | 16 | 8 | seq | the position: sequence of the last record that the body includes |
//! | 24 | 8 | time_ns | its time stamp |
//! | 32 | 4 | chain | its `crc` |
//! | 36 | 4 | note_crc | checksum of the note and its padding |
//! | 40 | 8 | body_bytes | length of the body |
//! | 48 | 4 | body_crc | checksum of the body |
//! | 52 | 2 | note_bytes | length of the note, at most 8,192 |
//! | 54 | 10 | reserved | zero |
//! | 64 | note_bytes | note | |
//! | | 0..=7 | padding | zeros, to a multiple of 8 |
//! | | body_bytes | body | to the end of the file |
//!
//! # Invariants
//!
//! - The whole file is synced before it gets its name, and the name is synced before `write` returns: a slot that is wrong
//!   is never the work of a crash.
//! - A write never touches the newest sound slot.
//! - A sync is never tried again: after one that failed the store writes nothing more.
//!
//! # What it does not do
//!
//! It takes no lock: one thread at most writes snapshots, beside the journal's writer. It does not decide which snapshot
//! to recover from (`recovery` does), and knows nothing of what a body or a note means.

mod body;

use std::io::{self, Write};
use std::path::PathBuf;

use crate::Seq;
use crate::crash_point;
use crate::error::{SnapshotDamage, WriteError};
use crate::format::{padded, split_crc, u16_at, u32_at, u64_at};
use crate::position::Position;
use crate::reader::read_full;
use crate::storage::{FileStorage, Storage, StorageFile};

use body::BodyWriter;
pub use body::SnapshotBody;

/// Names of the slots.
const SLOT_NAMES: [&str; 2] = ["snapshot.0", "snapshot.1"];
/// Name of a snapshot being written.
pub(crate) const SNAPSHOT_TEMP_NAME: &str = "snapshot.tmp";
const MAGIC: [u8; 8] = *b"GOLLEMS1";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
/// Most bytes of a note: a header with its note is read at once, whatever a flipped length says.
pub const NOTE_BYTES_MAX: usize = 8 * 1024;

const _: () = assert!(NOTE_BYTES_MAX <= 0xFFFF && NOTE_BYTES_MAX.is_multiple_of(8));

/// A snapshot whose header is sound. Its body is checked when it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The place in the journal that the body stands for.
    pub position: Position,
    /// What its writer noted beside the body.
    pub note: Vec<u8>,
    /// Length of the body.
    pub body_bytes: u64,
    /// The slot it lies in, 0 or 1.
    pub slot: usize,
    body_crc: u32,
}

/// What one of the two slots holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// No file.
    Empty,
    /// A snapshot with a sound header and note, whose file has the right length.
    Sound(Checkpoint),
    /// Anything else.
    Damaged(DamagedSlot),
}

/// A slot without a usable snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedSlot {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub damage: SnapshotDamage,
}

/// The two slots of a journal's folder.
#[derive(Debug)]
pub struct SnapshotStore<S: Storage = FileStorage> {
    storage: S,
    poisoned: bool,
}

impl<S: Storage> SnapshotStore<S> {
    /// The slots in the journal's own folder.
    pub fn new(storage: S) -> Self {
        Self { storage, poisoned: false }
    }

    /// What the slots hold.
    ///
    /// # Errors
    ///
    /// A file is there and cannot be read.
    pub fn list(&self) -> io::Result<[Slot; 2]> {
        Ok([self.slot(0)?, self.slot(1)?])
    }

    /// The highest sequence that a sound header names; 0 without one.
    pub(crate) fn newest_seq(&self) -> io::Result<Seq> {
        let seqs = self.list()?.map(|slot| slot.checkpoint().map_or(0, |checkpoint| checkpoint.position.seq));
        Ok(seqs[0].max(seqs[1]))
    }

    /// Writes a snapshot whose body `write` streams, in place of the older one or one that is no good, and makes it
    /// durable. Everything up to `position` must be durable already.
    ///
    /// # Errors
    ///
    /// The snapshot may be there or not; the newest one from before is untouched. After a failed sync every later call
    /// returns [`WriteError::Poisoned`].
    ///
    /// # Panics
    ///
    /// If the note is longer than [`NOTE_BYTES_MAX`].
    pub fn write(
        &mut self,
        position: Position,
        note: &[u8],
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Checkpoint, WriteError> {
        assert!(note.len() <= NOTE_BYTES_MAX, "a note of {} bytes exceeds {NOTE_BYTES_MAX}", note.len());
        if self.poisoned {
            return Err(WriteError::Poisoned);
        }
        let written = self.try_write(position, note, write);
        if written.is_err() {
            // Gives the space back, which the journal may need.
            self.storage.remove(SNAPSHOT_TEMP_NAME).ok();
        }
        written
    }

    /// The body of a snapshot that was listed. An error of kind `InvalidData` means that the file is damaged: when it is
    /// opened if it is not the one listed, or when its last bytes are read if they do not match its checksum.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is another one.
    pub fn read(&self, checkpoint: &Checkpoint) -> io::Result<SnapshotBody<S::File>> {
        let name = SLOT_NAMES[checkpoint.slot];
        let file = self.storage.open(name, false)?;
        match read_header(&file, checkpoint.slot)? {
            Ok(found) if found == *checkpoint => {}
            Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "the slot has been written anew")),
            Err(damage) => return Err(io::Error::new(io::ErrorKind::InvalidData, damage)),
        }
        let start = body_offset(checkpoint.note.len());
        Ok(SnapshotBody::new(file, start, checkpoint.body_bytes, checkpoint.body_crc))
    }

    fn slot(&self, slot: usize) -> io::Result<Slot> {
        let name = SLOT_NAMES[slot];
        let file = match self.storage.open(name, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Slot::Empty),
            Err(error) => return Err(error),
        };
        Ok(match read_header(&file, slot)? {
            Ok(checkpoint) => Slot::Sound(checkpoint),
            Err(damage) => Slot::Damaged(DamagedSlot { path: self.storage.path(name), damage }),
        })
    }

    fn try_write(
        &mut self,
        position: Position,
        note: &[u8],
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Checkpoint, WriteError> {
        let slots = self.list().map_err(self.fail("read the snapshots in", "", 0))?;
        let slot = slot_to_write(&slots);
        // A fresh file, so that nothing of one that failed to be written or synced can matter.
        match self.storage.remove(SNAPSHOT_TEMP_NAME) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.fail("remove", SNAPSHOT_TEMP_NAME, 0)(error));
            }
            _ => {}
        }
        let file = self.storage.create(SNAPSHOT_TEMP_NAME).map_err(self.fail("create", SNAPSHOT_TEMP_NAME, 0))?;
        crash_point!("snapshot.created");
        let mut body = BodyWriter::new(&file, body_offset(note.len()));
        let written = write(&mut body).and_then(|()| body.flush());
        let (body_bytes, body_crc) = body.written();
        written.map_err(self.fail("write", SNAPSHOT_TEMP_NAME, body_bytes))?;
        crash_point!("snapshot.body-written");
        let checkpoint = Checkpoint { position, note: note.to_vec(), body_bytes, slot, body_crc };
        file.write_all_at(&checkpoint.encode(), 0).map_err(self.fail("write", SNAPSHOT_TEMP_NAME, 0))?;
        crash_point!("snapshot.header-written");
        self.sync(file.sync_all(), SNAPSHOT_TEMP_NAME)?;
        crash_point!("snapshot.synced");
        let name = SLOT_NAMES[slot];
        self.storage.rename(SNAPSHOT_TEMP_NAME, name).map_err(self.fail("rename to", name, 0))?;
        crash_point!("snapshot.renamed");
        self.sync(self.storage.sync_dir(), "")?;
        crash_point!("snapshot.folder-synced");
        Ok(checkpoint)
    }

    /// Takes note of a sync that failed.
    fn sync(&mut self, synced: io::Result<()>, name: &str) -> Result<(), WriteError> {
        self.poisoned |= synced.is_err();
        synced.map_err(self.fail("sync", name, 0))
    }

    fn fail(&self, action: &'static str, name: &str, offset: u64) -> impl FnOnce(io::Error) -> WriteError + use<S> {
        let path = self.storage.path(name);
        move |source| WriteError::new(action, path, offset, source)
    }
}

impl Slot {
    fn checkpoint(&self) -> Option<&Checkpoint> {
        match self {
            Self::Sound(checkpoint) => Some(checkpoint),
            Self::Empty | Self::Damaged(_) => None,
        }
    }
}

impl Checkpoint {
    /// A checkpoint without a body, for tests of who decides about them.
    #[cfg(test)]
    pub(crate) fn at(position: Position) -> Self {
        Self { position, note: Vec::new(), body_bytes: 0, slot: 0, body_crc: 0 }
    }

    /// The header with the note and its padding.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.extend_from_slice(&self.note);
        bytes.resize(HEADER_BYTES + padded(self.note.len()), 0);
        let note_crc = crc32c::crc32c(&bytes[HEADER_BYTES..]);
        let note_bytes = u16::try_from(self.note.len()).unwrap_or(u16::MAX);
        let header = &mut bytes[..HEADER_BYTES];
        header[0..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[16..24].copy_from_slice(&self.position.seq.to_le_bytes());
        header[24..32].copy_from_slice(&self.position.time_ns.to_le_bytes());
        header[32..36].copy_from_slice(&self.position.chain.to_le_bytes());
        header[36..40].copy_from_slice(&note_crc.to_le_bytes());
        header[40..48].copy_from_slice(&self.body_bytes.to_le_bytes());
        header[48..52].copy_from_slice(&self.body_crc.to_le_bytes());
        header[52..54].copy_from_slice(&note_bytes.to_le_bytes());
        let crc = split_crc(header);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote at the start of a file of `file_bytes`.
    fn decode(bytes: &[u8], file_bytes: u64, slot: usize) -> Result<Self, SnapshotDamage> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(SnapshotDamage::HeaderShort)?;
        if header[0..8] != MAGIC {
            return Err(SnapshotDamage::HeaderMagic);
        }
        if u32_at(header, 12) != split_crc(header) {
            return Err(SnapshotDamage::HeaderChecksum);
        }
        if u32_at(header, 8) != VERSION {
            return Err(SnapshotDamage::HeaderVersion { found: u32_at(header, 8) });
        }
        if header[54..].iter().any(|&byte| byte != 0) {
            return Err(SnapshotDamage::HeaderReserved);
        }
        let (note_bytes, body_bytes) = (u16_at(header, 52), u64_at(header, 40));
        let note_len = usize::from(note_bytes);
        if note_len > NOTE_BYTES_MAX {
            return Err(SnapshotDamage::NoteLength { found: note_bytes });
        }
        let note = rest.get(..padded(note_len)).ok_or(SnapshotDamage::HeaderShort)?;
        if u32_at(header, 36) != crc32c::crc32c(note) {
            return Err(SnapshotDamage::NoteChecksum);
        }
        let expected = body_offset(note_len).saturating_add(body_bytes);
        if file_bytes != expected {
            return Err(SnapshotDamage::FileLength { found: file_bytes, expected });
        }
        let position = Position { seq: u64_at(header, 16), time_ns: u64_at(header, 24), chain: u32_at(header, 32) };
        Ok(Self { position, note: note[..note_len].to_vec(), body_bytes, slot, body_crc: u32_at(header, 48) })
    }
}

fn read_header<F: StorageFile>(file: &F, slot: usize) -> io::Result<Result<Checkpoint, SnapshotDamage>> {
    let mut bytes = vec![0; HEADER_BYTES + NOTE_BYTES_MAX];
    let filled = read_full(file, &mut bytes, 0)?;
    Ok(Checkpoint::decode(&bytes[..filled], file.size()?, slot))
}

/// Where the body begins.
fn body_offset(note_bytes: usize) -> u64 {
    (HEADER_BYTES + padded(note_bytes)) as u64
}

/// The slot that can be spared: one without a sound snapshot, else the older one.
fn slot_to_write(slots: &[Slot; 2]) -> usize {
    match (slots[0].checkpoint(), slots[1].checkpoint()) {
        (None, _) => 0,
        (Some(_), None) => 1,
        (Some(first), Some(second)) => usize::from(second.position.seq <= first.position.seq),
    }
}
