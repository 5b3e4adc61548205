//! What is written into the topics: the records' JSON, keys and positions. `docs/schemas/` holds a JSON Schema of each
//! topic's values, generated from the types here.
//!
//! Amounts are whole atoms, prices atoms a unit, times nanoseconds since the Unix epoch. In the topics that are for
//! analysis, ids are as the HTTP API prints them; in `gollem.events` they are numbers, as in the journal.
//!
//! Invariant: the same input gives the same records, in the same order, whenever it is published.

use super::KafkaError;
use super::topics::{DEPTH, EVENTS, LEDGER, PAYOUTS, TRADES, Topic};
use gollem_engine::{
    AccountId, Event, InstrumentId, LedgerAccount, PayoutId, Price, Quantity, Side, Symbol, Timestamp, Trade, Transfer,
    TransferCode,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::io::Write;

/// The version of all records, in the header `schema`.
pub const SCHEMA_VERSION: &str = "1";

/// Where a record belongs in the order of its topic: input, event of that input, leg of a transfer (0 elsewhere).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The input.
    pub seq: u64,
    /// Which of the input's events, from 0.
    pub index: u32,
    /// Which leg of a transfer: 0 debit, 1 credit.
    pub leg: u8,
}

/// A value of `gollem.events`: one event of an input; or, with index 0, events 0 and no event, an input that did nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventRecord {
    /// The input.
    pub seq: u64,
    /// Which of the input's events, from 0.
    pub index: u32,
    /// How many events the input has.
    pub events: u32,
    /// When.
    pub at_ns: u64,
    /// What happened.
    pub event: Option<Event>,
}

/// A value of `gollem.trades`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TradeRecord {
    seq: u64,
    index: u32,
    at_ns: u64,
    instrument: Symbol,
    /// The contract that came of it.
    contract: Id<Contract>,
    /// The buying order.
    bid: Id<Order>,
    /// The selling order.
    ask: Id<Order>,
    /// Who pays.
    buyer: Id<Account>,
    /// Who delivers.
    provider: Id<Account>,
    /// The side that arrived; the other was resting and set the price.
    taker: Side,
    /// Atoms a unit.
    price: Price,
    /// Units.
    quantity: Quantity,
    /// When the contract ends by itself.
    expires_at_ns: u64,
}

/// A value of `gollem.depth`: a price level's new totals.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DepthRecord {
    seq: u64,
    index: u32,
    at_ns: u64,
    instrument: Symbol,
    side: Side,
    /// Atoms a unit.
    price: Price,
    /// Units resting there.
    quantity: Quantity,
    /// Orders resting there; 0: the level is gone.
    orders: u32,
}

/// A value of `gollem.ledger`: one leg of a transfer. The amounts of all legs sum to zero.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LedgerRecord {
    seq: u64,
    index: u32,
    /// 0 for the debit, whose amount is negative; 1 for the credit.
    leg: u8,
    at_ns: u64,
    /// Whose money, `platform` for the platform's own.
    account: Holder,
    /// Which of the holder's ledger accounts.
    ledger: Ledger,
    /// Atoms.
    amount: i64,
    /// Why.
    code: TransferCode,
}

/// A value of `gollem.payouts`: what became of a payout.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PayoutRecord {
    seq: u64,
    index: u32,
    at_ns: u64,
    payout: Id<Payout>,
    /// The provider.
    account: Id<Account>,
    /// Atoms, whole cents.
    amount: i64,
    state: PayoutState,
}

/// What can become of a payout.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PayoutState {
    /// It waits to be sent.
    Requested,
    /// It is on its way.
    Sent,
    /// It arrived.
    Confirmed,
    /// It failed; the money is back.
    Failed,
    /// It had arrived, and came back.
    Returned,
}

/// The kinds of ledger accounts.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ledger {
    /// Free credits.
    Available,
    /// Credits behind open orders.
    Held,
    /// Credits behind open contracts.
    Escrow,
    /// Earnings.
    Earned,
    /// Earnings on their way out.
    PayoutPending,
    /// What a party owes the platform: never above zero.
    Receivable,
    /// What the platform keeps.
    Fees,
    /// The payment processor.
    External,
}

impl From<LedgerAccount> for Ledger {
    fn from(account: LedgerAccount) -> Ledger {
        match account {
            LedgerAccount::Available(_) => Ledger::Available,
            LedgerAccount::Held(_) => Ledger::Held,
            LedgerAccount::Escrow(_) => Ledger::Escrow,
            LedgerAccount::Earned(_) => Ledger::Earned,
            LedgerAccount::PayoutPending(_) => Ledger::PayoutPending,
            LedgerAccount::Receivable(_) => Ledger::Receivable,
            LedgerAccount::Fees => Ledger::Fees,
            LedgerAccount::External => Ledger::External,
        }
    }
}

/// What ids look like in the HTTP API.
trait Kind {
    const PREFIX: &'static str;
}

macro_rules! kinds {
    ($($kind:ident = $prefix:literal),*) => {
        $(
            #[derive(Debug)]
            struct $kind;

            impl Kind for $kind {
                const PREFIX: &'static str = $prefix;
            }
        )*
    };
}

kinds!(Account = "acc_", Order = "ord_", Contract = "ctr_", Payout = "pay_");

/// A number as the HTTP API prints it.
#[derive(Debug)]
struct Id<K>(u64, std::marker::PhantomData<K>);

fn id<K>(number: u64) -> Id<K> {
    Id(number, std::marker::PhantomData)
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}{}", K::PREFIX, self.0))
    }
}

impl<K: Kind> JsonSchema for Id<K> {
    fn schema_name() -> Cow<'static, str> {
        K::PREFIX.into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": format!("^{}[0-9]+$", K::PREFIX) })
    }
}

/// Who holds a ledger account.
#[derive(Debug)]
struct Holder(Option<AccountId>);

impl Serialize for Holder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(account) => id::<Account>(account.0.into()).serialize(serializer),
            None => serializer.serialize_str("platform"),
        }
    }
}

impl JsonSchema for Holder {
    fn schema_name() -> Cow<'static, str> {
        "Holder".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(acc_[0-9]+|platform)$" })
    }
}

/// The JSON Schema of each topic's values, by the topic's name.
pub fn schemas() -> [(&'static str, Schema); 5] {
    [
        (EVENTS.name, schemars::schema_for!(EventRecord)),
        (TRADES.name, schemars::schema_for!(TradeRecord)),
        (DEPTH.name, schemars::schema_for!(DepthRecord)),
        (LEDGER.name, schemars::schema_for!(LedgerRecord)),
        (PAYOUTS.name, schemars::schema_for!(PayoutRecord)),
    ]
}

/// A record ready to be sent.
#[derive(Debug)]
pub(super) struct Record<'a> {
    /// Where to.
    pub(super) topic: &'static Topic,
    /// Which of its partitions.
    pub(super) partition: i32,
    /// Its place.
    pub(super) position: Position,
    /// The event's kind.
    pub(super) kind: &'static str,
    /// When the input came.
    pub(super) at: Timestamp,
    /// Its key; empty for none.
    pub(super) key: &'a [u8],
    /// Its JSON.
    pub(super) value: &'a [u8],
}

/// Makes records from inputs. Its memory is used again for each.
#[derive(Debug)]
pub(super) struct Encoder {
    /// Names of instruments, whose numbers are dense from 1.
    symbols: Vec<Symbol>,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Who takes the records.
pub(super) type Send<'a> = dyn FnMut(&Record<'_>) -> Result<(), KafkaError> + 'a;

/// One event with its place.
#[derive(Clone, Copy)]
struct Placed {
    position: Position,
    at: Timestamp,
    kind: &'static str,
}

impl Encoder {
    /// An encoder that knows these instruments, 1, 2, 3 and so on; it learns of later ones from their listing.
    pub(super) fn new(symbols: Vec<Symbol>) -> Encoder {
        Encoder { symbols, key: Vec::new(), value: Vec::new() }
    }

    /// Gives each record of an input to `send`.
    ///
    /// # Errors
    /// When `send` fails, or an event cannot be written as JSON.
    pub(super) fn encode(
        &mut self,
        seq: u64,
        at: Timestamp,
        events: &[Event],
        send: &mut Send<'_>,
    ) -> Result<(), KafkaError> {
        let count = events.len() as u32;
        if events.is_empty() {
            let placed = Placed { position: Position { seq, index: 0, leg: 0 }, at, kind: "nothing" };
            self.key.clear();
            let record = EventRecord { seq, index: 0, events: 0, at_ns: at.0, event: None };
            return self.send(&EVENTS, placed, &record, send);
        }
        for (index, event) in (0..).zip(events) {
            let placed = Placed { position: Position { seq, index, leg: 0 }, at, kind: event.kind() };
            if let Event::InstrumentListed { instrument, spec } = event
                && instrument.0 as usize == self.symbols.len() + 1
            {
                self.symbols.push(spec.symbol);
            }
            self.key_of(event)?;
            let record = EventRecord { seq, index, events: count, at_ns: at.0, event: Some(*event) };
            self.send(&EVENTS, placed, &record, send)?;
            self.details(placed, event, send)?;
        }
        Ok(())
    }

    /// The record of an event in the topics for analysis.
    fn details(&mut self, placed: Placed, event: &Event, send: &mut Send<'_>) -> Result<(), KafkaError> {
        match event {
            Event::Traded(trade) => self.trade(placed, trade, send),
            Event::LevelChanged { instrument, side, price, quantity, orders } => {
                let Position { seq, index, .. } = placed.position;
                let (side, price, quantity, orders) = (*side, *price, *quantity, *orders);
                let instrument = self.symbol(*instrument)?;
                let record = DepthRecord { seq, index, at_ns: placed.at.0, instrument, side, price, quantity, orders };
                self.send(&DEPTH, placed, &record, send)
            }
            Event::Transferred(transfer) => self.transfer(placed, transfer, send),
            Event::PayoutRequested { payout, account, amount } => {
                self.payout(placed, (*payout, *account, amount.0), PayoutState::Requested, send)
            }
            Event::PayoutSent { payout, account, amount } => {
                self.payout(placed, (*payout, *account, amount.0), PayoutState::Sent, send)
            }
            Event::PayoutConfirmed { payout, account, amount } => {
                self.payout(placed, (*payout, *account, amount.0), PayoutState::Confirmed, send)
            }
            Event::PayoutFailed { payout, account, amount } => {
                self.payout(placed, (*payout, *account, amount.0), PayoutState::Failed, send)
            }
            Event::PayoutReturned { payout, account, amount } => {
                self.payout(placed, (*payout, *account, amount.0), PayoutState::Returned, send)
            }
            _ => Ok(()),
        }
    }

    fn trade(&mut self, placed: Placed, trade: &Trade, send: &mut Send<'_>) -> Result<(), KafkaError> {
        let Position { seq, index, .. } = placed.position;
        let record = TradeRecord {
            seq,
            index,
            at_ns: placed.at.0,
            instrument: self.symbol(trade.instrument)?,
            contract: id(trade.contract.0),
            bid: id(trade.bid.0),
            ask: id(trade.ask.0),
            buyer: id(trade.buyer.0.into()),
            provider: id(trade.provider.0.into()),
            taker: trade.taker,
            price: trade.price,
            quantity: trade.quantity,
            expires_at_ns: trade.expires_at.0,
        };
        self.send(&TRADES, placed, &record, send)
    }

    fn transfer(&mut self, placed: Placed, transfer: &Transfer, send: &mut Send<'_>) -> Result<(), KafkaError> {
        let Position { seq, index, .. } = placed.position;
        let legs = [(0, transfer.debit, -transfer.amount.0), (1, transfer.credit, transfer.amount.0)];
        for (leg, ledger, amount) in legs {
            let owner = ledger.owner();
            self.key_is(owner);
            let (at_ns, code) = (placed.at.0, transfer.code);
            let account = Holder(owner);
            let record = LedgerRecord { seq, index, leg, at_ns, account, ledger: ledger.into(), amount, code };
            let placed = Placed { position: Position { seq, index, leg }, ..placed };
            self.send(&LEDGER, placed, &record, send)?;
        }
        Ok(())
    }

    fn payout(
        &mut self,
        placed: Placed,
        (payout, account, amount): (PayoutId, AccountId, i64),
        state: PayoutState,
        send: &mut Send<'_>,
    ) -> Result<(), KafkaError> {
        let Position { seq, index, .. } = placed.position;
        let (payout, account) = (id(payout.0), id(account.0.into()));
        let record = PayoutRecord { seq, index, at_ns: placed.at.0, payout, account, amount, state };
        self.send(&PAYOUTS, placed, &record, send)
    }

    fn send(
        &mut self,
        topic: &'static Topic,
        placed: Placed,
        record: &impl Serialize,
        send: &mut Send<'_>,
    ) -> Result<(), KafkaError> {
        self.value.clear();
        serde_json::to_writer(&mut self.value, record)
            .map_err(|source| KafkaError::Json { topic: topic.name, source })?;
        let Placed { position, at, kind } = placed;
        let partition = topic.partition_of(&self.key);
        send(&Record { topic, partition, position, kind, at, key: &self.key, value: &self.value })
    }

    fn symbol(&self, instrument: InstrumentId) -> Result<Symbol, KafkaError> {
        let place = (instrument.0 as usize).checked_sub(1);
        place.and_then(|place| self.symbols.get(place)).copied().ok_or(KafkaError::UnknownInstrument(instrument.0))
    }

    /// Sets the key to an account's, or the platform's.
    fn key_is(&mut self, owner: Option<AccountId>) {
        self.key.clear();
        // Writing to memory cannot fail, here and below.
        match owner {
            Some(account) => write!(self.key, "acc_{}", account.0).ok(),
            None => write!(self.key, "platform").ok(),
        };
    }

    /// Sets the key to an event's in `gollem.events`: its instrument if it names one, else its account, else none.
    fn key_of(&mut self, event: &Event) -> Result<(), KafkaError> {
        self.key.clear();
        match subject(event) {
            Subject::Instrument(instrument) => {
                let symbol = self.symbol(instrument)?;
                self.key.extend_from_slice(symbol.as_str().as_bytes());
            }
            Subject::Account(account) => self.key_is(Some(account)),
            Subject::None => {}
        }
        Ok(())
    }
}

/// What an event is about.
enum Subject {
    Instrument(InstrumentId),
    Account(AccountId),
    None,
}

fn subject(event: &Event) -> Subject {
    match event {
        Event::OrderAccepted(order) => Subject::Instrument(order.instrument),
        Event::Traded(trade) => Subject::Instrument(trade.instrument),
        Event::InstrumentListed { instrument, .. }
        | Event::LevelChanged { instrument, .. }
        | Event::ProviderMeasured { instrument, .. }
        | Event::BreakerChanged { instrument, .. }
        | Event::InstrumentStateChanged { instrument, .. }
        | Event::ReferencePriceSet { instrument, .. }
        | Event::QuoteLocked { instrument, .. } => Subject::Instrument(*instrument),
        Event::AccountOpened { account }
        | Event::CreditsPurchased { account, .. }
        | Event::OrdersCancelled { account, .. }
        | Event::PayoutRequested { account, .. }
        | Event::PayoutSent { account, .. }
        | Event::PayoutConfirmed { account, .. }
        | Event::PayoutFailed { account, .. }
        | Event::PayoutReturned { account, .. }
        | Event::TimerSet { account, .. }
        | Event::TimerFired { account, .. }
        | Event::PurchaseRefunded { account, .. }
        | Event::RefundFailed { account, .. }
        | Event::DisputeOpened { account, .. }
        | Event::DisputeResolved { account, .. }
        | Event::PayoutPolicySet { account, .. }
        | Event::CreditPolicySet { account, .. }
        | Event::KeyLimitsSet { account, .. }
        | Event::GuardRailSet { account, .. }
        | Event::GuardRailsReset { account }
        | Event::QuoteReleased { account, .. } => Subject::Account(*account),
        Event::Transferred(transfer) => {
            transfer.debit.owner().or(transfer.credit.owner()).map_or(Subject::None, Subject::Account)
        }
        Event::Rejected(_)
        | Event::PurchaseRepeated { .. }
        | Event::OrderRepeated(_)
        | Event::OrderRested { .. }
        | Event::OrderClosed { .. }
        | Event::OrderReplaced { .. }
        | Event::QuoteRestored { .. }
        | Event::Delivered { .. }
        | Event::ContractClosed { .. }
        | Event::RefundRepeated { .. }
        | Event::DisputeRepeated { .. } => Subject::None,
    }
}
