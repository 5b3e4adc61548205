//! Ask, call, delivery, without end: each ask is filled at once by one call, which is then delivered.
//!
//! The book never grows, so the cost of a command does not depend on how long the run is, and the contract's number is
//! known before the trade, so nothing has to be waited for.

use crate::market;
use crate::random::Random;
use gollem_engine::{AccountId, Command, ContractId};

/// The endless stream of commands; those of [`market::setup`] come before it.
#[derive(Debug)]
pub(crate) struct Cycle {
    random: Random,
    step: Step,
    contract: u64,
    price_ticks: u64,
    quantity: u64,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask,
    Call,
    Delivery,
}

impl Cycle {
    /// The stream of that seed.
    pub(crate) fn new(seed: u64) -> Cycle {
        Cycle { random: Random::new(seed), step: Step::Ask, contract: 0, price_ticks: 0, quantity: 0 }
    }

    /// The next `count` commands.
    pub(crate) fn take(&mut self, count: usize) -> Vec<Command> {
        (0..count).map(|_| self.command()).collect()
    }

    fn command(&mut self) -> Command {
        match self.step {
            Step::Ask => {
                self.step = Step::Call;
                self.price_ticks = self.random.between(market::MID_TICKS - 20, market::MID_TICKS + 20);
                self.quantity = self.random.between(200, 1_200);
                let terms = market::ask(self.random.between_u32(100, 800), self.random.between_u32(20, 120));
                let provider: AccountId = market::provider(&mut self.random);
                market::quote(provider, self.price_ticks, self.quantity, terms)
            }
            Step::Call => {
                self.step = Step::Delivery;
                self.contract += 1;
                market::call(market::buyer(&mut self.random), self.price_ticks, self.quantity, None)
            }
            Step::Delivery => {
                self.step = Step::Ask;
                let delivered = self.random.between(self.quantity / 2, self.quantity);
                market::delivery(ContractId(self.contract << 22), delivered)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_engine::{Engine, Event, Events, Input, Timestamp};

    #[test]
    fn a_seed_gives_the_same_commands_however_they_are_taken() {
        let whole = Cycle::new(3).take(3_001);
        let mut cycle = Cycle::new(3);
        let parts = [cycle.take(1), cycle.take(1_000), cycle.take(2_000)].concat();
        assert_eq!(whole, parts);
        assert_ne!(whole, Cycle::new(4).take(3_001));
    }

    #[test]
    fn nothing_is_refused_and_the_book_stays_empty() {
        let (mut engine, mut events) = (Engine::new(), Events::new());
        let commands = [market::setup().unwrap(), Cycle::new(1).take(9_000)].concat();
        for (command, seq) in commands.into_iter().zip(1..) {
            engine.apply(&Input { seq, at: Timestamp(seq), command }, &mut events);
        }
        assert!(!events.iter().any(|event| matches!(event, Event::Rejected(_))));
        assert_eq!(events.iter().filter(|event| matches!(event, Event::Traded(_))).count(), 3_000);
        assert_eq!((engine.open_orders(), engine.open_contracts(), engine.ledger_sum()), (0, 0, 0));
    }
}
