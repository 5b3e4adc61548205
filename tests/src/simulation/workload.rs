//! What clients send: the commands of the engine's comparison with its naive twin, which are every command there is,
//! valid and invalid, around the corners of the rules.

use crate::twin_commands;
use gollem_engine::naive::Twin;
use gollem_engine::{Command, Input, Timestamp};

/// Longest pause between two commands: the node has nothing to do in a longer one but what it does in this.
const PAUSE_MAX_NS: u64 = 60 * 1_000_000_000;

/// A command and how long after the one before it is sent, in nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) after_ns: u64,
    pub(super) command: Command,
}

/// So many commands, each chosen by the state that those before it make. Ticks are the node's own.
pub(super) fn workload(seed: u64, count: usize) -> Vec<Sent> {
    let mut random = twin_commands::Random(seed);
    let mut twin = Twin::new();
    let mut events = Vec::new();
    let mut all = Vec::with_capacity(count);
    for seq in 1.. {
        if all.len() == count {
            break;
        }
        let (elapsed, command) = twin_commands::command(&mut random, &twin);
        let first = all.is_empty();
        let after_ns = if first { 0 } else { elapsed.min(PAUSE_MAX_NS) };
        let at = Timestamp(if first { elapsed } else { twin.now().0 + after_ns });
        events.clear();
        twin.apply(&Input { seq, at, command: command.clone() }, &mut events);
        if command != Command::Tick {
            all.push(Sent { after_ns, command });
        }
    }
    all
}
