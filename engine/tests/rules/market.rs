//! An engine with a clock.

use gollem_engine::*;

/// An engine driven input by input.
#[derive(Default)]
pub(crate) struct Market {
    pub(crate) engine: Engine,
    pub(crate) now: u64,
}

impl Market {
    /// Applies the next input and returns its events.
    pub(crate) fn send(&mut self, command: Command) -> Vec<Event> {
        let mut events = Events::new();
        let input = Input { seq: self.engine.last_seq() + 1, at: Timestamp(self.now), command };
        self.engine.apply(&input, &mut events);
        events.take()
    }

    /// An account's balances.
    pub(crate) fn balance(&self, account: AccountId) -> Balance {
        *self.engine.balance(account).expect("a known account")
    }
}

/// The market of the stories: prices in single atoms, no fees, no band, contracts of ten minutes.
pub(crate) fn plain(symbol: &str) -> InstrumentSpec {
    InstrumentSpec {
        symbol: Symbol::new(symbol).expect("a valid symbol"),
        weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
        tick: Price(1),
        price_max: Price(1_000_000),
        reference_price: Price(100),
        band_bps: 0,
        lot: Quantity(1),
        quantity_min: Quantity(1),
        quantity_max: Quantity(1_000_000),
        maker_fee_bps: 0,
        taker_fee_bps: 0,
        delivery_fee_bps: 0,
        tolerance_bps: 0,
        rebate_bps: 0,
        contract_ttl_ns: 600_000_000_000,
    }
}
