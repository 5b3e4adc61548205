//! The directory: one byte per block and code of `a`, side by side, so that one search reads one row. (Segments have one
//! too, in which what is said of a block here is true of a segment.)
//!
//! Invariants: cell `(code, block)` is the least code of `b` among the block's entries whose `a` has at most that code;
//! cells past the last block are 255.
//!
//! Deliberately absent: the blocks.

use super::codes::{A_CODES, LANES, Mask, at_most, first_lanes};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    /// Cells of a row: blocks, rounded up.
    stride: usize,
    blocks: usize,
    cells: Vec<u8>,
}

/// One block's cells.
#[derive(Debug)]
pub(super) struct Column<'a> {
    directory: &'a mut Directory,
    block: usize,
}

impl Column<'_> {
    pub(super) fn get(&self, code: usize) -> u8 {
        self.directory.get(code, self.block)
    }

    pub(super) fn set(&mut self, code: usize, cell: u8) {
        self.directory.cells[code * self.directory.stride + self.block] = cell;
    }

    /// Lowers a cell if it is greater.
    pub(super) fn lower(&mut self, code: usize, cell: u8) {
        self.set(code, self.get(code).min(cell));
    }
}

impl Directory {
    pub(super) fn column(&mut self, block: usize) -> Column<'_> {
        assert!(block < self.blocks, "a block has its column");
        Column { directory: self, block }
    }

    /// Adds a column of 255 before block `at`.
    pub(super) fn open(&mut self, at: usize) {
        if self.blocks == self.stride {
            self.widen();
        }
        let end = self.blocks;
        for row in self.cells.chunks_exact_mut(self.stride) {
            row.copy_within(at..end, at + 1);
            row[at] = u8::MAX;
        }
        self.blocks += 1;
    }

    /// Takes out a column.
    pub(super) fn close(&mut self, at: usize) {
        let end = self.blocks;
        for row in self.cells.chunks_exact_mut(self.stride) {
            row.copy_within(at + 1..end, at);
            row[end - 1] = u8::MAX;
        }
        self.blocks -= 1;
    }

    /// Takes out a column and puts the last in its place.
    pub(super) fn close_unordered(&mut self, at: usize) {
        self.blocks -= 1;
        let last = self.blocks;
        for row in self.cells.chunks_exact_mut(self.stride) {
            row[at] = row[last];
            row[last] = u8::MAX;
        }
    }

    /// A cell.
    pub(super) fn get(&self, code: usize, block: usize) -> u8 {
        self.cells[code * self.stride + block]
    }

    /// The least cell of a row.
    pub(super) fn least(&self, code: usize) -> u8 {
        let row = self.cells.get(code * self.stride..).and_then(|row| row.get(..self.blocks));
        row.map_or(u8::MAX, |row| row.iter().fold(u8::MAX, |least, &cell| least.min(cell)))
    }

    fn widen(&mut self) {
        let stride = (2 * self.stride).max(LANES);
        let mut cells = vec![u8::MAX; stride * A_CODES];
        for code in 0..if self.stride == 0 { 0 } else { A_CODES } {
            let row = &self.cells[code * self.stride..][..self.stride];
            cells[code * stride..][..self.stride].copy_from_slice(row);
        }
        self.cells = cells;
        self.stride = stride;
    }

    /// Of the 64 blocks of this word: those with an entry of at most these codes, and those whose entry is surely
    /// strictly better in both codes. `None` past the last block.
    pub(super) fn word(&self, word: usize, a_code: usize, b_code: u8) -> Option<(Mask, Mask)> {
        let start = word * LANES;
        if start >= self.blocks {
            return None;
        }
        let last = self.blocks - start;
        if last == 1 {
            return Some(self.one(start, a_code, b_code));
        }
        let row = |code: usize| self.cells[code * self.stride + start..].first_chunk::<LANES>();
        let within = first_lanes(last);
        let maybe = row(a_code).map_or(0, |row| at_most(row, b_code)) & within;
        if maybe == 0 || a_code == 0 || b_code == 0 {
            return Some((maybe, 0));
        }
        Some((maybe, row(a_code - 1).map_or(0, |row| at_most(row, b_code - 1)) & within))
    }

    fn one(&self, at: usize, a_code: usize, b_code: u8) -> (Mask, Mask) {
        let maybe = self.cells[a_code * self.stride + at] <= b_code;
        let sure = a_code > 0 && self.cells[(a_code - 1) * self.stride + at] < b_code;
        (Mask::from(maybe), Mask::from(sure))
    }
}

#[cfg(test)]
impl Directory {
    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.cells.capacity()
    }
}
