//! Exchange-like flow for one instrument, generated beside a scratch engine so that every cancel and delivery names
//! something that exists.
//!
//! The mix, of all commands about: 70% calls and their deliveries (one immediate single bid, one report), 24% quotes
//! and cancels in balance around 1,000 resting orders (half asks above the mid, half bids below it, one in ten crosses
//! it), 2% purchases, 2% payouts, 2% commands that are refused. What came out is counted in [`Mix`].
//!
//! Deliberately absent: several instruments, client order ids, expiring contracts.

use crate::market;
use crate::random::Random;
use gollem_engine::{
    AccountId, Amount, Command, Constraints, Engine, Event, Events, Input, OrderId, PayoutId, Preference, StateHash,
    Terms, Timestamp, Trade,
};
use serde::Serialize;
use std::collections::VecDeque;

/// Resting orders around which quotes and cancels balance.
const RESTING: u64 = 1_000;
/// Time of the first input, and between two.
const START_NS: u64 = 1_700_000_000_000_000_000;
const STEP_NS: u64 = 1_000;
/// $1, the smallest purchase.
const TOP_UP: Amount = Amount(gollem_engine::limits::PURCHASE_ATOMS_MIN);

/// Generated inputs and what they do.
#[derive(Debug)]
pub(crate) struct Workload {
    /// Accounts, funds and a filled book.
    pub(crate) setup: Vec<Input>,
    /// What is measured.
    pub(crate) inputs: Vec<Input>,
    pub(crate) mix: Mix,
    /// The state after the last input.
    pub(crate) state_hash: StateHash,
}

/// How many of the measured commands are of each kind, and how many trades they make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Mix {
    pub(crate) calls: u64,
    pub(crate) deliveries: u64,
    pub(crate) quotes: u64,
    pub(crate) cancels: u64,
    pub(crate) purchases: u64,
    pub(crate) payouts: u64,
    /// Commands that ended in a refusal, whatever their kind.
    pub(crate) refused: u64,
    #[serde(skip)]
    pub(crate) trades: u64,
}

/// Generates `commands` commands after a setup.
///
/// # Errors
/// Never for the constants of this program; see [`market::setup`].
pub(crate) fn generate(seed: u64, commands: usize) -> anyhow::Result<Workload> {
    let mut flow = Flow {
        random: Random::new(seed),
        engine: Engine::new(),
        resting: Vec::new(),
        due: VecDeque::new(),
        payouts: VecDeque::new(),
        purchases: 1_000_000,
        mix: Mix::default(),
        events: Events::new(),
    };
    let mut setup: Vec<Input> = market::setup()?.into_iter().map(|command| flow.apply(command)).collect();
    for _ in 0..RESTING {
        let command = flow.quote();
        setup.push(flow.apply(command));
    }
    flow.mix = Mix::default();
    let inputs = (0..commands).map(|_| {
        let command = flow.command();
        flow.apply(command)
    });
    let inputs = inputs.collect();
    Ok(Workload { setup, inputs, mix: flow.mix, state_hash: flow.engine.state_hash() })
}

/// The generator: what it must remember to name things that exist.
#[derive(Debug)]
struct Flow {
    random: Random,
    engine: Engine,
    /// Orders that rested; some have been filled since.
    resting: Vec<(AccountId, OrderId)>,
    /// Trades whose delivery is to be reported.
    due: VecDeque<Trade>,
    payouts: VecDeque<PayoutId>,
    /// Numbers the purchases, from above those of the setup.
    purchases: u64,
    mix: Mix,
    events: Events,
}

impl Flow {
    /// The next command. A trade's delivery follows it at once, so the shares below are of what is left.
    fn command(&mut self) -> Command {
        if let Some(trade) = self.due.pop_front() {
            self.mix.deliveries += 1;
            let quantity = self.random.between(trade.quantity.0 / 2, trade.quantity.0);
            return market::delivery(trade.contract, quantity);
        }
        match self.random.below(65) {
            0..35 => self.call(),
            35..59 => self.quote_or_cancel(),
            59 | 60 => self.purchase(),
            61 | 62 => self.payout(),
            _ => Command::CancelOrder { account: market::buyer(&mut self.random), order: OrderId(u64::MAX) },
        }
    }

    fn call(&mut self) -> Command {
        self.mix.calls += 1;
        let buyer = market::buyer(&mut self.random);
        let quantity = self.random.between(200, 1_200);
        let max_latency_ms = (self.random.below(2) == 0).then_some(400);
        market::call(buyer, market::MID_TICKS + 40, quantity, max_latency_ms)
    }

    /// The fewer orders rest, the likelier a quote.
    fn quote_or_cancel(&mut self) -> Command {
        if self.random.below(2 * RESTING) >= self.engine.open_orders() as u64 {
            self.mix.quotes += 1;
            return self.quote();
        }
        self.mix.cancels += 1;
        let (account, order) = self.resting_order();
        Command::CancelOrder { account, order }
    }

    /// An ask above the mid or a bid below it; one in ten reaches up to two ticks across.
    fn quote(&mut self) -> Command {
        let away = if self.random.below(10) == 0 { 0 } else { self.random.between(3, 22) };
        let (random, mid) = (&mut self.random, market::MID_TICKS);
        if random.below(2) == 0 {
            let terms = market::ask(random.between_u32(100, 800), random.between_u32(20, 120));
            market::quote(market::provider(random), mid - 2 + away, random.between(2_000, 50_000), terms)
        } else {
            let terms =
                Terms::Bid { constraints: Constraints::default(), preference: Preference::Price, single: false };
            market::quote(market::buyer(random), mid + 2 - away, random.between(500, 5_000), terms)
        }
    }

    /// Any order that still rests.
    fn resting_order(&mut self) -> (AccountId, OrderId) {
        while !self.resting.is_empty() {
            let at = self.random.below(self.resting.len() as u64) as usize; // An index fits.
            let (account, order) = self.resting.swap_remove(at);
            if self.engine.order(order).is_some() {
                return (account, order);
            }
        }
        (AccountId(1), OrderId(u64::MAX)) // Only in an empty market, and then it is refused.
    }

    fn purchase(&mut self) -> Command {
        self.mix.purchases += 1;
        self.purchases += 1;
        market::purchase(market::buyer(&mut self.random), self.purchases, TOP_UP)
    }

    /// A pending payout is confirmed before the next is requested.
    fn payout(&mut self) -> Command {
        self.mix.payouts += 1;
        match self.payouts.pop_front() {
            Some(payout) => Command::ConfirmPayout { payout },
            None => Command::RequestPayout { account: market::provider(&mut self.random), amount: None },
        }
    }

    /// Applies the command to the scratch engine and remembers what it made.
    fn apply(&mut self, command: Command) -> Input {
        let seq = self.engine.last_seq() + 1;
        let input = Input { seq, at: Timestamp(START_NS + seq * STEP_NS), command };
        self.events.clear();
        self.engine.apply(&input, &mut self.events);
        for event in &self.events {
            match event {
                Event::Rejected(_) => self.mix.refused += 1,
                Event::Traded(trade) => {
                    self.mix.trades += 1;
                    self.due.push_back(*trade);
                }
                Event::OrderRested { order, .. } => {
                    if let Some(resting) = self.engine.order(*order) {
                        self.resting.push((resting.account, *order));
                    }
                }
                Event::PayoutRequested { payout, .. } => self.payouts.push_back(*payout),
                _ => {}
            }
        }
        input
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(workload: &Workload) -> Vec<u8> {
        let mut bytes = Vec::new();
        for input in workload.setup.iter().chain(&workload.inputs) {
            input.command.encode(&mut bytes);
        }
        bytes
    }

    #[test]
    fn a_seed_gives_the_same_commands_and_state_each_time_and_another_seed_others() {
        let [first, again, other] = [7, 7, 8].map(|seed| generate(seed, 5_000).unwrap());
        assert_eq!((bytes(&first), first.mix, first.state_hash), (bytes(&again), again.mix, again.state_hash));
        assert_ne!(bytes(&first), bytes(&other));
        assert_eq!(first.inputs.len(), 5_000);
    }

    #[test]
    fn the_mix_is_as_the_documentation_says() {
        let mix = generate(42, 50_000).unwrap().mix;
        let percent = |count: u64| count * 100 / 50_000;
        assert!((66..=74).contains(&percent(mix.calls + mix.deliveries)), "{mix:?}");
        assert!((20..=28).contains(&percent(mix.quotes + mix.cancels)), "{mix:?}");
        assert!((1..=3).contains(&percent(mix.purchases)), "{mix:?}");
        assert!((1..=3).contains(&percent(mix.payouts)), "{mix:?}");
        assert!((1..=4).contains(&percent(mix.refused)), "{mix:?}");
        assert!(mix.trades >= mix.calls * 95 / 100, "nearly every call trades: {mix:?}");
    }
}
