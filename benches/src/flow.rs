//! The order flow that the engine is measured with, as commands for the whole pipeline.
//!
//! An engine applies each command while the flow is made, since later ones name the orders that it numbered: the
//! pipeline's engine, which gets the same commands in the same order, gives the same numbers.

use crate::generate::{self, Shape, Volume};
use crate::gollem::{Driver, Exchange};
use crate::measure::Subject;
use anyhow::Context;
use gollem_engine::{Capacity, Command, Engine, Events, Input};

/// Commands in order.
#[derive(Debug)]
pub(crate) struct Flow {
    /// Opens accounts, lists the instrument and fills the book.
    pub(crate) setup: Vec<Command>,
    /// What is measured.
    pub(crate) commands: Vec<Command>,
}

impl Flow {
    /// So many commands of that shape and seed.
    ///
    /// # Errors
    /// When the flow cannot be made.
    pub(crate) fn new(shape: Shape, seed: u64, count: usize) -> anyhow::Result<Flow> {
        let measured = u32::try_from(count).context("too many commands")?;
        let work = generate::work(shape, seed, Volume { warm: 0, measured })?;
        let mut driver = Driver::<Recorder>::fresh(&work.header)?;
        for op in &work.ops {
            driver.apply(op, &mut |_| {});
        }
        let mut setup = driver.into_engine().commands;
        let commands = setup.split_off(setup.len() - count);
        Ok(Flow { setup, commands })
    }
}

/// An engine that remembers what it was sent.
#[derive(Debug)]
struct Recorder {
    engine: Engine,
    commands: Vec<Command>,
}

impl Exchange for Recorder {
    const NAME: &'static str = "recorder";
    const PURCHASES: u32 = 20;

    fn with_capacity(capacity: Capacity) -> Recorder {
        Recorder { engine: Engine::with_capacity(capacity), commands: Vec::new() }
    }

    fn apply(&mut self, input: &Input, events: &mut Events) {
        self.commands.push(input.command.clone());
        self.engine.apply(input, events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flow_holds_what_was_asked_for_after_its_setup() {
        let flow = Flow::new(Shape::Exchange, 7, 5_000).unwrap();
        assert_eq!(flow.commands.len(), 5_000);
        assert!(matches!(flow.setup[0], Command::ListInstrument(_)));
        assert!(flow.commands.iter().any(|command| matches!(command, Command::ReplaceOrder(_))));
    }
}
