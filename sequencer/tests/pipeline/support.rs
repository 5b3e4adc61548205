//! Commands to send and pipelines to send them through.

use gollem_engine::{
    AccountId, Amount, Attributes, Command, Constraints, InstrumentId, InstrumentSpec, KeyId, NewOrder, Preference,
    Price, Quantity, Reference, SelfTrade, Symbol, Terms, TimeInForce, TokenWeights,
};
use gollem_sequencer::{Options, Pinning};
use std::path::Path;

/// Small queues and segments, no pinning.
pub(crate) fn options(dir: &Path) -> Options {
    let journal = gollem_journal::Options { segment_bytes: 2 << 20, ..gollem_journal::Options::default() };
    Options { journal, queue_commands_max: 4_096, pinning: Pinning::Off, ..Options::new(dir.join("journal")) }
}

/// A market with a seller and a funded buyer, then `orders` asks and calls in turns.
pub(crate) fn commands(orders: u64) -> Vec<Command> {
    let spec = InstrumentSpec {
        symbol: Symbol::new("gpt-oss-20b").expect("a valid symbol"),
        weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
        tick: Price(1),
        price_max: Price(1_000_000),
        reference_price: Price(1_000),
        band_bps: 0,
        lot: Quantity(1),
        quantity_min: Quantity(1),
        quantity_max: Quantity(1_000_000),
        maker_fee_bps: 0,
        taker_fee_bps: 0,
        delivery_fee_bps: 100,
        tolerance_bps: 1_000,
        rebate_bps: 0,
        contract_ttl_ns: 3_600_000_000_000,
    };
    let amount = Amount(100_000_000_000_000);
    let purchase = Command::PurchaseCredits { account: AccountId(2), amount, reference: Reference([1; 16]) };
    let mut all = vec![Command::ListInstrument(Box::new(spec)), Command::OpenAccount, Command::OpenAccount, purchase];
    all.extend((0..orders).map(order));
    all
}

fn order(turn: u64) -> Command {
    let seller = turn.is_multiple_of(2);
    let (constraints, preference) = (Constraints::default(), Preference::Price);
    Command::PlaceOrder(NewOrder {
        account: AccountId(if seller { 1 } else { 2 }),
        key: KeyId(0),
        instrument: InstrumentId(1),
        client_id: None,
        limit: Some(Price(500 + turn % 7)),
        quantity: Quantity(1 + turn % 5),
        min_quantity: Quantity(0),
        time_in_force: TimeInForce::Gtc,
        post_only: false,
        cancel_on_disconnect: false,
        self_trade: SelfTrade::CancelNewest,
        terms: if seller {
            Terms::Ask { attributes: Attributes::default() }
        } else {
            Terms::Bid { constraints, preference, single: false }
        },
    })
}
