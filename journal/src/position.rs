//! Where a reading begins or has come to.
//!
//! A position names a place between two groups by what is before it: the sequence, the time stamp and the checksum of one
//! record. Because each checksum covers the one before, a position that fits a log stands for everything before it.

use std::cmp::Ordering;

use crate::Seq;
use crate::error::Damage;

/// The place right after record `seq`, which is the last of its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Sequence of the record before the place; 0 at the start.
    pub seq: Seq,
    /// Its time stamp, in the unit that the caller gave it.
    pub time_ns: u64,
    /// Its checksum, which the next record repeats: the chain.
    pub chain: u32,
}

impl Position {
    /// Before the first record.
    pub const START: Self = Self { seq: 0, time_ns: 0, chain: 0 };

    /// The sequence of the record that comes next.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.seq.saturating_add(1)
    }

    /// Whether the group that reaches from `before` to `end` comes after this position. A group on the way to it does
    /// not, and one that should end at it must.
    pub(crate) fn is_passed(&self, before: &Self, end: &Self) -> Result<bool, Damage> {
        if before.seq >= self.seq {
            return Ok(true);
        }
        match end.seq.cmp(&self.seq) {
            Ordering::Less => Ok(false),
            Ordering::Equal if end == self => Ok(false),
            Ordering::Equal | Ordering::Greater => Err(Damage::PositionDiffers { seq: self.seq }),
        }
    }
}
