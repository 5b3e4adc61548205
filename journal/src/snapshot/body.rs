//! The body of a snapshot as a stream, written and read in large pieces and checked as a whole.
//!
//! Invariant: the last piece is lent only after the checksum of the whole body was found right, so whoever has read all
//! bytes has read the right ones.

use std::fmt;
use std::io::{self, BufRead, Read, Write};

use crate::reader::read_full;
use crate::storage::StorageFile;

/// Bytes written or read at once.
const PIECE_BYTES: usize = 1024 * 1024;

/// Writes a body from an offset of a file on.
pub(super) struct BodyWriter<'a, F> {
    file: &'a F,
    start: u64,
    /// Bytes in the file, and their checksum.
    written: u64,
    crc: u32,
    piece: Vec<u8>,
}

impl<'a, F: StorageFile> BodyWriter<'a, F> {
    pub(super) fn new(file: &'a F, start: u64) -> Self {
        Self { file, start, written: 0, crc: 0, piece: Vec::with_capacity(PIECE_BYTES) }
    }

    /// Length and checksum of what was flushed.
    pub(super) fn written(self) -> (u64, u32) {
        (self.written, self.crc)
    }
}

impl<F: StorageFile> Write for BodyWriter<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() == PIECE_BYTES {
            self.flush()?;
        }
        let count = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.piece, self.start + self.written)?;
        self.crc = crc32c::crc32c_append(self.crc, &self.piece);
        self.written += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }
}

/// The body of a snapshot. Reading its last bytes fails with `InvalidData` if the whole does not match its checksum.
pub struct SnapshotBody<F> {
    file: F,
    /// Where the next piece begins in the file, and how many bytes are there.
    next: u64,
    left: u64,
    crc: u32,
    crc_expected: u32,
    piece: Vec<u8>,
    at: usize,
}

impl<F: StorageFile> SnapshotBody<F> {
    pub(super) fn new(file: F, start: u64, bytes: u64, crc_expected: u32) -> Self {
        Self { file, next: start, left: bytes, crc: 0, crc_expected, piece: Vec::new(), at: 0 }
    }

    fn next_piece(&mut self) -> io::Result<()> {
        let count = usize::try_from(self.left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        self.at = 0;
        self.piece.clear();
        self.piece.resize(count, 0);
        let read = read_full(&self.file, &mut self.piece, self.next).and_then(|filled| {
            self.crc = crc32c::crc32c_append(self.crc, &self.piece);
            let last = count as u64 == self.left;
            if filled < count || (last && self.crc != self.crc_expected) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "snapshot's body does not match its checksum"));
            }
            Ok(())
        });
        if read.is_err() {
            // What is wrong is not lent, now or later.
            self.piece.clear();
            return read;
        }
        self.next += count as u64;
        self.left -= count as u64;
        Ok(())
    }
}

impl<F: StorageFile> BufRead for SnapshotBody<F> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.len() && self.left > 0 {
            self.next_piece()?;
        }
        Ok(&self.piece[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at = self.piece.len().min(self.at + count);
    }
}

impl<F: StorageFile> Read for SnapshotBody<F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let held = self.fill_buf()?;
        let count = held.len().min(bytes.len());
        bytes[..count].copy_from_slice(&held[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<F: fmt::Debug> fmt::Debug for SnapshotBody<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotBody").field("file", &self.file).field("left", &self.left).finish_non_exhaustive()
    }
}
