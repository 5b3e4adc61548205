//! Reads a segment through a window of memory, and looks for what is left after its last group.
//!
//! Invariant: memory is bounded by the window, whatever a damaged file says. The file may grow, be cut or be written
//! by another process meanwhile; callers that must not see a half-written moment read again with [`Fresh::Yes`].

use std::io;

use crate::decode::{Decoded, decode_group, is_zero, self_valid_record};
use crate::format::{GROUP_BYTES_MAX, RECORD_BYTES_MAX, SEGMENT_HEADER_BYTES};
use crate::position::Position;
use crate::storage::StorageFile;

/// Bytes read at once: a few of the largest groups, so that little is read twice.
const WINDOW_BYTES: usize = 4 * GROUP_BYTES_MAX;
/// Bytes read first: a window grows with its file, up to its size.
const FIRST_BYTES: usize = 64 * 1024;
/// Zeros are skipped in blocks of this size; a record header that starts in zeros lies within its last bytes.
const ZERO_BLOCK: [u8; 4096] = [0; 4096];
const ZERO_BLOCK_STEP: usize = ZERO_BLOCK.len() - 32;

const _: () = assert!(GROUP_BYTES_MAX >= 2 * RECORD_BYTES_MAX, "a window of a group makes progress in a search");
const _: () = assert!(RECORD_BYTES_MAX.is_multiple_of(8) && ZERO_BLOCK_STEP.is_multiple_of(8));

/// Whether bytes already in the window may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fresh {
    Yes,
    No,
}

/// What lies after the last complete group of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remains {
    pub(crate) first_nonzero: Option<u64>,
    /// Offset after the last nonzero byte.
    pub(crate) nonzero_end: u64,
    /// Sequence of a valid record of another group than the one that should follow; ends the search.
    pub(crate) foreign_seq: Option<u64>,
}

/// A part of a file in memory.
#[derive(Debug)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    bytes_max: usize,
    start: u64,
    filled: usize,
    /// Whether it reaches to the end of the file, as that was when it was read.
    at_end: bool,
}

impl Window {
    /// An empty window for at most so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), bytes_max, start: 0, filled: 0, at_end: false }
    }

    /// Forgets what it holds, of whatever file.
    pub(crate) fn clear(&mut self) {
        self.filled = 0;
        self.at_end = false;
    }

    /// Reads `count` bytes of `file` from `offset`, or as many as there are and fit.
    pub(crate) fn fill<F: StorageFile>(&mut self, file: &F, offset: u64, count: usize) -> io::Result<()> {
        self.clear();
        let count = count.min(self.bytes_max);
        self.start = offset;
        let mut filled = 0;
        loop {
            let wanted = self.bytes.len().max(2 * filled).max(FIRST_BYTES).min(count);
            if self.bytes.len() < wanted {
                self.bytes.resize(wanted, 0);
            }
            filled += read_full(file, &mut self.bytes[filled..wanted], offset + filled as u64)?;
            if filled < wanted || wanted == count {
                break;
            }
        }
        (self.filled, self.at_end) = (filled, filled < count);
        Ok(())
    }

    /// What it holds from `offset` of the file on; nothing if that lies outside.
    pub(crate) fn from(&self, offset: u64) -> &[u8] {
        let at = offset.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.bytes[..self.filled].get(at..)).unwrap_or(&[])
    }

    /// Looks through the rest of `file` from `offset`; records of the group that starts at `group_seq` may be there, any
    /// other is foreign.
    pub(crate) fn remains<F: StorageFile>(&mut self, file: &F, offset: u64, group_seq: u64) -> io::Result<Remains> {
        let mut remains = Remains { nonzero_end: offset, ..Remains::default() };
        let mut base = offset;
        loop {
            self.fill(file, base, usize::MAX)?;
            // A record that may reach beyond the window is looked at in the next one.
            let stop = if self.at_end { self.filled } else { self.filled - RECORD_BYTES_MAX };
            look(&self.bytes[..self.filled], stop, base, group_seq, &mut remains);
            if self.at_end || remains.foreign_seq.is_some() {
                return Ok(remains);
            }
            base += stop as u64;
        }
    }
}

/// A segment being read.
#[derive(Debug)]
pub(crate) struct SegmentReader<F> {
    file: F,
    window: Window,
}

impl<F: StorageFile> SegmentReader<F> {
    pub(crate) fn new(file: F) -> Self {
        Self { file, window: Window::new(WINDOW_BYTES) }
    }

    pub(crate) fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    /// The segment header, or less at the end of the file.
    pub(crate) fn header(&mut self) -> io::Result<&[u8]> {
        self.fill(0)?;
        let bytes = self.window.from(0);
        Ok(&bytes[..bytes.len().min(SEGMENT_HEADER_BYTES)])
    }

    /// Decodes the group at `offset` and lends its bytes if it is whole.
    pub(crate) fn group(&mut self, offset: u64, before: &Position, fresh: Fresh) -> io::Result<(Decoded, &[u8])> {
        // All that a group can need: the largest one, or the end of the file.
        let held = self.window.from(offset).len();
        let enough = held >= GROUP_BYTES_MAX || (self.window.at_end && held > 0);
        if fresh == Fresh::Yes || !enough {
            self.fill(offset)?;
        }
        let bytes = self.window.from(offset);
        let decoded = decode_group(bytes, before);
        let whole = if let Decoded::Whole { bytes, .. } = decoded { bytes } else { 0 };
        Ok((decoded, &bytes[..whole]))
    }

    /// See [`Window::remains`].
    pub(crate) fn remains(&mut self, offset: u64, group_seq: u64) -> io::Result<Remains> {
        self.window.remains(&self.file, offset, group_seq)
    }

    fn fill(&mut self, offset: u64) -> io::Result<()> {
        self.window.fill(&self.file, offset, usize::MAX)
    }
}

/// Searches `bytes[..stop]`, which lie at `base` in the file, in steps of 8.
fn look(bytes: &[u8], stop: usize, base: u64, group_seq: u64, remains: &mut Remains) {
    let mut at = 0;
    while at < stop {
        let word = &bytes[at..bytes.len().min(at + 8)];
        if is_zero(word) {
            if bytes.len() - at >= ZERO_BLOCK.len() && bytes[at..at + ZERO_BLOCK.len()] == ZERO_BLOCK {
                at += ZERO_BLOCK_STEP;
                continue;
            }
        } else {
            let nonzero = |&(_, &byte): &(usize, &u8)| byte != 0;
            let first = word.iter().enumerate().find(nonzero).map_or(0, |(index, _)| index);
            let last = word.iter().enumerate().rfind(nonzero).map_or(0, |(index, _)| index);
            remains.first_nonzero.get_or_insert(base + (at + first) as u64);
            remains.nonzero_end = base + (at + last) as u64 + 1;
        }
        if let Some(header) = self_valid_record(&bytes[at..])
            && header.seq.checked_sub(u64::from(header.index)) != Some(group_seq)
        {
            remains.foreign_seq = Some(header.seq);
            return;
        }
        at += 8;
    }
}

/// Reads until `buffer` is full or the file ends; a signal does not end it.
pub(crate) fn read_full<F: StorageFile>(file: &F, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
