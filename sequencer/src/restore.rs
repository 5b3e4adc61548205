//! A state from the newest snapshot that can be used.
//!
//! Invariant: a state comes from one snapshot alone, whose body proved itself by its checksum, by the engine's own
//! checks and by its state hash; one that does not is passed over and reported, and the next is tried. Without any, the
//! state is that of an empty journal.

use crate::replica::Replica;
use gollem_engine::{Capacity, Engine, SnapshotError};
use gollem_journal::tree::TreeDecodeError;
use gollem_journal::{Checkpoint, Position, Seq, SnapshotStore, Starts, Storage, Tree};
use std::io::{self, Read};

/// A state to go on from.
#[derive(Debug)]
pub struct Restored {
    /// The engine at `position`.
    pub replica: Replica,
    /// The tree over the records up to `position`.
    pub tree: Tree,
    /// Where the journal has to be read on; the start without a snapshot.
    pub position: Position,
    /// Snapshots that could not be used, and why: the disk has lost something, or another version wrote them.
    pub passed_over: Vec<String>,
}

/// Why one snapshot is no state.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Engine(#[from] SnapshotError),
    #[error(transparent)]
    Tree(#[from] TreeDecodeError),
    #[error("cannot read it: {0}")]
    Read(#[from] io::Error),
    #[error("its engine is at input {engine} and its tree at {tree}, its header at {header}")]
    Mixed { engine: Seq, tree: Seq, header: Seq },
    #[error("it has bytes after its end")]
    TooLong,
}

/// The state of the newest usable snapshot at or before input `at_most`.
pub fn restore<S: Storage>(
    store: &SnapshotStore<S>,
    starts: &Starts,
    at_most: Seq,
    capacity: impl Fn() -> Capacity,
) -> Restored {
    let mut passed_over: Vec<String> =
        starts.damaged.iter().map(|slot| format!("{}: {}", slot.path.display(), slot.damage)).collect();
    for checkpoint in starts.candidates.iter().filter(|checkpoint| checkpoint.position.seq <= at_most) {
        match read(store, checkpoint, capacity()) {
            Ok((replica, tree)) => return Restored { replica, tree, position: checkpoint.position, passed_over },
            Err(why) => passed_over.push(format!("snapshot at input {}: {why}", checkpoint.position.seq)),
        }
    }
    let replica = Replica::with_capacity(capacity());
    Restored { replica, tree: Tree::new(), position: Position::START, passed_over }
}

fn read<S: Storage>(
    store: &SnapshotStore<S>,
    checkpoint: &Checkpoint,
    capacity: Capacity,
) -> Result<(Replica, Tree), Unusable> {
    let tree = Tree::decode(&checkpoint.note)?;
    let mut body = store.read(checkpoint)?;
    let engine = Engine::read_snapshot_with(&mut body, capacity)?;
    // The checksum of the whole is compared at its end.
    if body.read(&mut [0])? != 0 {
        return Err(Unusable::TooLong);
    }
    let (engine_seq, tree_seq, header) = (engine.last_seq(), tree.size(), checkpoint.position.seq);
    if engine_seq != header || tree_seq != header {
        return Err(Unusable::Mixed { engine: engine_seq, tree: tree_seq, header });
    }
    Ok((Replica::new(engine), tree))
}
