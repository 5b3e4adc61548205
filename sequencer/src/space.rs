//! Room on the disk: the door is shut before there is none, and opens again when there is.
//!
//! The journal's segments are filled ahead, so what was let in can be made durable in the active segment although the
//! disk is full. The door is shut while enough of it is left for everything that was let in already.

use crate::ingress::Door;
use crate::status::{Health, Shared};
use gollem_journal::{Next, Room, Storage, Writer};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of the active segment kept for what was let in before the door was shut: two groups and a full queue of plain
/// commands. Half a segment where segments are small.
const RESERVE_BYTES: u64 = 4 * 1024 * 1024;
/// How often a full disk is tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(100);

/// What the committer knows of the room on its disk.
#[derive(Debug)]
pub(crate) struct Space {
    door: Arc<Door>,
    reserve_bytes: u64,
    room: Room,
    looked: Instant,
    /// How often a full disk is looked at again.
    pub(crate) pace: Duration,
}

impl Space {
    pub(crate) fn new<S: Storage>(writer: &mut Writer<S>, segment_bytes: u64, door: Arc<Door>) -> Space {
        let reserve_bytes = RESERVE_BYTES.min(segment_bytes / 2);
        Space { door, reserve_bytes, room: writer.room(), looked: Instant::now(), pace: RETRY }
    }

    /// Whether the last look found the disk full.
    pub(crate) fn is_full(&self) -> bool {
        self.room.next == Next::Full
    }

    /// After a group of so many bytes.
    pub(crate) fn used<S: Storage>(&mut self, bytes: usize, writer: &mut Writer<S>, shared: &Shared) {
        self.room.bytes = self.room.bytes.saturating_sub(bytes as u64);
        self.look(writer, shared);
    }

    /// Looks again, while the disk is full at its pace, and shuts or opens the door.
    pub(crate) fn look<S: Storage>(&mut self, writer: &mut Writer<S>, shared: &Shared) {
        if !self.is_full() || self.looked.elapsed() >= self.pace {
            self.room = writer.room();
            self.looked = Instant::now();
        }
        let short = self.is_full() && self.room.bytes < self.reserve_bytes;
        self.set(short, shared);
    }

    /// Shuts the door, as a commit found no space.
    pub(crate) fn none_left(&mut self, shared: &Shared) {
        self.room = Room { bytes: 0, next: Next::Full };
        self.set(true, shared);
    }

    fn set(&self, short: bool, shared: &Shared) {
        let (from, to) = if short { (Health::Running, Health::DiskFull) } else { (Health::DiskFull, Health::Running) };
        if shared.health() != from {
            return;
        }
        if short {
            tracing::error!("the disk is full: no command is accepted until there is space");
        } else {
            tracing::info!("there is space again: commands are accepted");
        }
        shared.change_health(from, to);
        self.door.set_open(!short);
    }
}
