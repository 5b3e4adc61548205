//! Journals to verify: a small deterministic exchange, and the state that an engine beside the journal reached.

use gollem_engine::*;
use gollem_journal::{Encoder, Group, Opened, Options, SEGMENT_BYTES_MIN, Writer, open};
use std::convert::Infallible;
use std::path::Path;

const ACCOUNTS: u32 = 6;
/// Inputs before the first round.
pub(crate) const SETUP: u64 = 1 + 2 * ACCOUNTS as u64;
/// Inputs that make the journal span at least three of the smallest segments.
pub(crate) const THREE_SEGMENTS: usize = 30_000;

/// An exchange that writes its own journal.
pub(crate) struct Exchange {
    pub(crate) engine: Engine,
    writer: Writer,
    encoder: Encoder,
    group: Group,
}

impl Exchange {
    /// Opens a new journal in `dir`; `prepare_ahead` off makes its files the same each time.
    pub(crate) fn new(dir: &Path) -> Exchange {
        let options = Options { segment_bytes: SEGMENT_BYTES_MIN, prepare_ahead: false };
        let Opened { writer, encoder, .. } = open(dir, &options, 0, &mut |_| Ok::<(), Infallible>(())).unwrap();
        Exchange { engine: Engine::new(), writer, encoder, group: Group::new() }
    }

    /// Journals and applies the commands as one group; returns the last durable sequence.
    pub(crate) fn commit(&mut self, commands: &[Command]) -> u64 {
        for command in commands {
            let seq = self.encoder.next_seq();
            let at = Timestamp(1_700_000_000_000_000_000 + seq * 1_000);
            self.encoder.push(&mut self.group, at.0, |bytes| command.encode(bytes)).unwrap();
            self.engine.apply(&Input { seq, at, command: command.clone() }, &mut Vec::new());
        }
        self.write()
    }

    /// Journals bytes that are no command.
    pub(crate) fn commit_bytes(&mut self, payload: &[u8]) -> u64 {
        self.encoder.push(&mut self.group, u64::MAX, |bytes| bytes.extend_from_slice(payload)).unwrap();
        self.write()
    }

    fn write(&mut self) -> u64 {
        self.encoder.seal(&mut self.group);
        let durable = self.writer.commit(&self.group).unwrap();
        self.group.clear();
        durable.seq()
    }

    /// Stops cleanly and returns the final state.
    pub(crate) fn close(self) -> Engine {
        self.writer.close().unwrap();
        self.engine
    }

    /// Logical bytes of the journal so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.writer.bytes_written()
    }
}

/// A closed journal of `count` inputs in `dir`, and the state they give.
pub(crate) fn build(dir: &Path, count: usize) -> Engine {
    let mut exchange = Exchange::new(dir);
    for group in commands(count).chunks(97) {
        exchange.commit(group);
    }
    exchange.close()
}

/// The first `count` commands of a market with every kind of command and some refusals.
pub(crate) fn commands(count: usize) -> Vec<Command> {
    let spec = InstrumentSpec {
        symbol: Symbol::new("gpt-oss-20b").unwrap(),
        weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
        tick: Price(1_000),
        reference_price: Price(200_000),
        quantity_max: Quantity(1_000_000),
        delivery_fee_bps: 100,
        contract_ttl_ns: 1_000_000,
    };
    let mut commands = vec![Command::ListInstrument(spec)];
    for account in 1..=ACCOUNTS {
        let (account, amount) = (AccountId(account), Amount(100_000 * ATOMS_PER_CENT));
        let reference = Reference([u8::try_from(account.0).unwrap(); 16]);
        commands.extend([Command::OpenAccount, Command::PurchaseCredits { account, amount, reference }]);
    }
    for at in 0.. {
        if commands.len() >= count {
            break;
        }
        round(at, &mut commands);
    }
    commands.truncate(count);
    commands
}

/// One ask, a call that takes part of it, mostly its delivery, and now and then something else.
fn round(at: u64, commands: &mut Vec<Command>) {
    let provider = AccountId(1 + u32::try_from(at % 2).unwrap());
    let buyer = AccountId(3 + u32::try_from(at % 4).unwrap());
    let attributes = Attributes { latency_ms: 100 + u32::try_from(at % 9).unwrap(), ..Attributes::default() };
    let ask = NewOrder {
        account: provider,
        instrument: InstrumentId(1),
        client_id: None,
        limit: Some(Price(100_000 + at % 7 * 1_000)),
        quantity: Quantity(1_000),
        time_in_force: TimeInForce::Gtc,
        terms: Terms::Ask { attributes },
    };
    let call = NewOrder {
        account: buyer,
        client_id: Some(ClientOrderId(u128::from(at).to_le_bytes())),
        limit: None,
        quantity: Quantity(400 + at % 500),
        time_in_force: TimeInForce::Ioc,
        terms: Terms::Bid { constraints: Constraints::default(), single: true },
        ..ask
    };
    commands.extend([Command::PlaceOrder(ask), Command::PlaceOrder(call)]);
    if !at.is_multiple_of(7) {
        commands.push(Command::ReportDelivery(DeliveryReport {
            contract: ContractId(at + 1),
            quantity: Quantity(at % 400),
            first_token_ms: Some(90),
            throughput_tps: None,
            outcome: Outcome::Completed,
            last: true,
        }));
    }
    if at.is_multiple_of(3) {
        let terms = Terms::Bid { constraints: Constraints::default(), single: false };
        let (limit, quantity) = (Some(Price(50_000)), Quantity(1 + at % 50));
        let bid = NewOrder { client_id: None, limit, quantity, time_in_force: TimeInForce::Gtc, terms, ..call };
        commands.push(Command::PlaceOrder(bid));
    }
    match at % 10 {
        2 => commands.push(Command::CancelOrder { account: provider, order: OrderId(at) }),
        5 => commands.push(Command::RequestPayout { account: provider, amount: None }),
        6 => commands.push(Command::ConfirmPayout { payout: PayoutId(at / 10) }),
        7 => commands.push(Command::FailPayout { payout: PayoutId(at / 10 + 1) }),
        8 => commands.push(Command::Tick),
        _ => {}
    }
}
