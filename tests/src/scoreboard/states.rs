//! Row 10: a snapshot taken at a random input, and the tail after it, give what a full replay gives, to the last byte
//! and atom.
//!
//! The commands are those of the engine's comparison with its naive twin: every command there is, valid and invalid,
//! around the corners of the rules.

use crate::twin_commands;
use gollem_engine::naive::Twin;
use gollem_engine::{Command, Engine, Event, Events, Input, Timestamp};
use gollem_journal::sim::Random;

use super::Run;
use super::model::below;
use crate::outcome::Outcome;

const COMMANDS: usize = 400;

pub(crate) fn run(run: &Run) -> Outcome {
    run.each(|seed| compare(seed).map(|()| 1))
}

/// Commands with their times, each chosen by the state that those before it make.
pub(crate) fn commands(seed: u64, count: usize) -> Vec<(Timestamp, Command)> {
    let mut random = twin_commands::Random(seed);
    let mut twin = Twin::new();
    let mut events = Vec::new();
    let mut all = Vec::with_capacity(count);
    for seq in (1..).take(count) {
        let (elapsed, command) = twin_commands::command(&mut random, &twin);
        let at = Timestamp(twin.now().0 + elapsed);
        events.clear();
        twin.apply(&Input { seq, at, command: command.clone() }, &mut events);
        all.push((at, command));
    }
    all
}

/// Applies the inputs after the engine's last one; returns their events.
fn apply(engine: &mut Engine, inputs: &[Input]) -> Vec<Event> {
    let mut events = Events::new();
    let last = engine.last_seq();
    inputs.iter().filter(|input| input.seq > last).for_each(|input| engine.apply(input, &mut events));
    events.to_vec()
}

fn compare(seed: u64) -> Result<(), String> {
    let inputs: Vec<Input> =
        (1..).zip(commands(seed, COMMANDS)).map(|(seq, (at, command))| Input { seq, at, command }).collect();
    let at = below(&mut Random(seed), inputs.len() + 1);
    let context = |what: &str| format!("snapshot after input {at}: {what}");

    let mut full = Engine::new();
    apply(&mut full, &inputs[..at]);
    let mut bytes = Vec::new();
    full.write_snapshot(&mut bytes).map_err(|error| context(&error.to_string()))?;
    let mut restored = Engine::read_snapshot(&mut bytes.as_slice()).map_err(|error| context(&error.to_string()))?;
    if restored.state_hash() != full.state_hash() {
        return Err(context("the state read is not the one written"));
    }
    let (tail, tail_again) = (apply(&mut full, &inputs), apply(&mut restored, &inputs));
    if let Some(differs) = tail.iter().zip(&tail_again).position(|(one, other)| one != other) {
        return Err(context(&format!("event {differs} of the tail differs")));
    }
    if tail.len() != tail_again.len() || restored.state_hash() != full.state_hash() {
        return Err(context("the tail ends in another state"));
    }
    if (full.ledger_sum(), restored.ledger_sum()) != (0, 0) {
        return Err(context("money was made or lost"));
    }
    let mut again = Vec::new();
    restored.write_snapshot(&mut again).map_err(|error| context(&error.to_string()))?;
    let mut from_full = Vec::new();
    full.write_snapshot(&mut from_full).map_err(|error| context(&error.to_string()))?;
    if again == from_full { Ok(()) } else { Err(context("the next snapshots differ in their bytes")) }
}
