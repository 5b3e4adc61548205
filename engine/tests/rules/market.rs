//! An engine with a clock and a few words, so that tests read as scenarios.

use gollem_engine::*;

/// An engine driven input by input.
pub(crate) struct Market {
    pub(crate) engine: Engine,
    pub(crate) now: u64,
}

/// One instrument: DESIGN's worked example (weights 1, 0.25, 4; fee 1%), tick 1,000 atoms.
pub(crate) fn spec(symbol: &str) -> InstrumentSpec {
    InstrumentSpec {
        symbol: Symbol::new(symbol).expect("a valid symbol"),
        weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
        tick: Price(1_000),
        reference_price: Price(200_000),
        quantity_max: Quantity(1_000_000_000),
        delivery_fee_bps: 100,
        contract_ttl_ns: 600,
    }
}

impl Market {
    /// Opens `accounts` accounts and one instrument; nobody has credits.
    pub(crate) fn open(accounts: u32) -> Market {
        let mut market = Market { engine: Engine::new(), now: 1_000 };
        market.send(Command::ListInstrument(spec("gpt-oss-20b")));
        for _ in 0..accounts {
            market.send(Command::OpenAccount);
        }
        market
    }

    /// Applies the next input and returns its events.
    pub(crate) fn send(&mut self, command: Command) -> Vec<Event> {
        let mut events = Vec::new();
        let input = Input { seq: self.engine.last_seq() + 1, at: Timestamp(self.now), command };
        self.engine.apply(&input, &mut events);
        assert_eq!(self.engine.ledger_sum(), 0, "money was made or lost by {:?}", input.command);
        events
    }

    /// Buys `dollars` of credits under a reference of its own.
    pub(crate) fn fund(&mut self, account: u32, dollars: i64, reference: u8) -> Vec<Event> {
        self.send(Command::PurchaseCredits {
            account: AccountId(account),
            amount: Amount(dollars * 100 * ATOMS_PER_CENT),
            reference: Reference([reference; 16]),
        })
    }

    /// An account's balances.
    pub(crate) fn balance(&self, account: u32) -> Balance {
        *self.engine.balance(AccountId(account)).expect("a known account")
    }
}

/// A good-till-cancelled ask.
pub(crate) fn ask(account: u32, price: u64, quantity: u64, latency_ms: u32, throughput_tps: u32) -> NewOrder {
    let attributes = Attributes { latency_ms, throughput_tps, ..Attributes::default() };
    NewOrder {
        account: AccountId(account),
        instrument: InstrumentId(1),
        client_id: None,
        limit: Some(Price(price)),
        quantity: Quantity(quantity),
        time_in_force: TimeInForce::Gtc,
        terms: Terms::Ask { attributes },
    }
}

/// An immediate bid for the whole quantity from one ask.
pub(crate) fn call(account: u32, limit: Option<u64>, quantity: u64) -> NewOrder {
    NewOrder {
        limit: limit.map(Price),
        time_in_force: TimeInForce::Ioc,
        terms: Terms::Bid { constraints: Constraints::default(), single: true },
        ..ask(account, 1_000, quantity, 0, 0)
    }
}

/// A good-till-cancelled bid that any number of asks may fill.
pub(crate) fn bid(account: u32, price: u64, quantity: u64) -> NewOrder {
    NewOrder {
        time_in_force: TimeInForce::Gtc,
        terms: Terms::Bid { constraints: Constraints::default(), single: false },
        ..call(account, Some(price), quantity)
    }
}

/// The trades among events.
pub(crate) fn trades(events: &[Event]) -> Vec<Trade> {
    events.iter().filter_map(|event| if let Event::Traded(trade) = event { Some(*trade) } else { None }).collect()
}

/// The only refusal among events.
pub(crate) fn refusal(events: &[Event]) -> RejectReason {
    match events {
        [Event::Rejected(reason)] => *reason,
        other => panic!("expected one refusal, got {other:?}"),
    }
}
