//! The engine: all state, and the one function that changes it.

use crate::book::{Book, Level};
use crate::ids::dense_index;
use crate::ledger::Ledger;
use crate::limits::{ACCOUNT_ATOMS_MAX, ACCOUNTS_MAX, INSTRUMENTS_MAX, PURCHASE_ATOMS_MAX, PURCHASE_ATOMS_MIN};
use crate::trading::Fill;
use crate::{
    AccountId, Amount, Balance, ClientOrderId, Command, Contract, ContractId, Event, Input, InstrumentId,
    InstrumentSpec, LedgerAccount, Order, OrderAnswer, OrderId, Payout, PayoutId, Price, Quantity, Reference,
    RejectReason, Side, Symbol, Timestamp, Transfer, TransferCode, invariant,
};
use bincode::Encode;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A listed instrument and its book.
#[derive(Debug)]
pub(crate) struct Market {
    pub(crate) spec: InstrumentSpec,
    pub(crate) book: Book,
}

/// How much of its limits an account uses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) open_orders: u32,
    pub(crate) open_contracts: u32,
}

/// The exchange's whole state.
#[derive(Debug, Default)]
pub struct Engine {
    pub(crate) last_seq: u64,
    last_at: Timestamp,
    pub(crate) ledger: Ledger,
    pub(crate) markets: Vec<Market>,
    pub(crate) orders: BTreeMap<OrderId, Order>,
    pub(crate) contracts: BTreeMap<ContractId, Contract>,
    pub(crate) payouts: BTreeMap<PayoutId, Payout>,
    purchases: BTreeMap<Reference, (AccountId, Amount)>,
    pub(crate) answers: BTreeMap<(AccountId, ClientOrderId), OrderAnswer>,
    /// Orders, contracts and payouts numbered so far.
    pub(crate) next_order: u64,
    pub(crate) next_contract: u64,
    pub(crate) next_payout: u64,
    // Derived from the above: indexes and scratch space, never part of the state hash.
    symbols: BTreeMap<Symbol, InstrumentId>,
    pub(crate) expiries: BTreeSet<(Timestamp, ContractId)>,
    usage: Vec<Usage>,
    pub(crate) fills: Vec<Fill>,
}

/// What the state hash covers: everything that is not derived, in a canonical order.
#[derive(Encode)]
struct Canonical<'a> {
    last_seq: u64,
    last_at: Timestamp,
    ledger: &'a Ledger,
    specs: Vec<&'a InstrumentSpec>,
    orders: &'a BTreeMap<OrderId, Order>,
    contracts: &'a BTreeMap<ContractId, Contract>,
    payouts: &'a BTreeMap<PayoutId, Payout>,
    purchases: &'a BTreeMap<Reference, (AccountId, Amount)>,
    answers: &'a BTreeMap<(AccountId, ClientOrderId), OrderAnswer>,
    next: (u64, u64, u64),
}

/// BLAKE3 of the canonical encoding of the state. Equal hashes mean equal states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateHash([u8; 32]);

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Engine {
    /// An exchange with no accounts and no instruments.
    pub fn new() -> Engine {
        Engine { next_order: 1, next_contract: 1, next_payout: 1, ..Engine::default() }
    }

    /// Applies the next input and appends what it did to `events`. Total: every command has an answer.
    ///
    /// # Panics
    /// When the input is not the next one or its time goes back, or when an invariant of the engine is
    /// broken. All are bugs, and going on would spread them.
    pub fn apply(&mut self, input: &Input, events: &mut Vec<Event>) {
        assert_eq!(input.seq, self.last_seq + 1, "inputs are applied in order, without gaps");
        assert!(input.at >= self.last_at, "the sequencer's stamp never goes back");
        self.last_seq = input.seq;
        self.last_at = input.at;
        let before = events.len();
        if let Err(reason) = self.dispatch(&input.command, input.at, events) {
            assert_eq!(events.len(), before, "a refused command changes nothing");
            events.push(Event::Rejected(reason));
        }
    }

    fn dispatch(&mut self, command: &Command, at: Timestamp, events: &mut Vec<Event>) -> Result<(), RejectReason> {
        match command {
            Command::OpenAccount => self.open_account(events),
            Command::ListInstrument(spec) => self.list_instrument(spec, events),
            Command::PurchaseCredits { account, amount, reference } => {
                self.purchase(*account, *amount, *reference, events)
            }
            Command::PlaceOrder(new) => self.place_order(new, at, events),
            Command::CancelOrder { account, order } => self.cancel_order(*account, *order, events),
            Command::ReportDelivery(report) => self.report_delivery(report, at, events),
            Command::RequestPayout { account, amount } => self.request_payout(*account, *amount, events),
            Command::ConfirmPayout { payout } => self.end_payout(*payout, true, events),
            Command::FailPayout { payout } => self.end_payout(*payout, false, events),
            Command::Tick => {
                self.expire_contracts(at, events);
                Ok(())
            }
        }
    }

    fn open_account(&mut self, events: &mut Vec<Event>) -> Result<(), RejectReason> {
        if self.ledger.len() >= ACCOUNTS_MAX {
            return Err(RejectReason::TooManyAccounts { max: ACCOUNTS_MAX as u32 });
        }
        let account = self.ledger.open();
        self.usage.push(Usage::default());
        events.push(Event::AccountOpened { account });
        Ok(())
    }

    fn list_instrument(&mut self, spec: &InstrumentSpec, events: &mut Vec<Event>) -> Result<(), RejectReason> {
        spec.check()?;
        if self.symbols.contains_key(&spec.symbol) {
            return Err(RejectReason::SymbolTaken);
        }
        if self.markets.len() >= INSTRUMENTS_MAX {
            return Err(RejectReason::TooManyInstruments { max: INSTRUMENTS_MAX as u32 });
        }
        self.markets.push(Market { spec: spec.clone(), book: Book::default() });
        let instrument = InstrumentId(self.markets.len() as u32); // INSTRUMENTS_MAX fits.
        self.symbols.insert(spec.symbol.clone(), instrument);
        events.push(Event::InstrumentListed { instrument, spec: spec.clone() });
        Ok(())
    }

    fn purchase(
        &mut self,
        account: AccountId,
        amount: Amount,
        reference: Reference,
        events: &mut Vec<Event>,
    ) -> Result<(), RejectReason> {
        if self.ledger.balance(account).is_none() {
            return Err(RejectReason::UnknownAccount);
        }
        if amount.0 < PURCHASE_ATOMS_MIN || amount.0 > PURCHASE_ATOMS_MAX {
            let (min, max) = (Amount(PURCHASE_ATOMS_MIN), Amount(PURCHASE_ATOMS_MAX));
            return Err(RejectReason::PurchaseOutOfRange { min, max });
        }
        if let Some(first) = self.purchases.get(&reference) {
            if *first != (account, amount) {
                return Err(RejectReason::ReferenceConflict);
            }
            events.push(Event::PurchaseRepeated { reference });
            return Ok(());
        }
        if !self.ledger.has_room(account, amount) {
            return Err(RejectReason::BalanceTooLarge { max: Amount(ACCOUNT_ATOMS_MAX) });
        }
        self.purchases.insert(reference, (account, amount));
        events.push(Event::CreditsPurchased { account, amount, reference });
        let transfer = Transfer {
            debit: LedgerAccount::External,
            credit: LedgerAccount::Available(account),
            amount,
            code: TransferCode::Purchase,
        };
        self.ledger.transfer(transfer, events);
        Ok(())
    }

    pub(crate) fn market(&self, id: InstrumentId) -> Option<&Market> {
        self.markets.get(dense_index(id.0)?)
    }

    pub(crate) fn usage(&self, account: AccountId) -> Usage {
        let usage = dense_index(account.0).and_then(|index| self.usage.get(index));
        *invariant(usage, "every account's usage is counted")
    }

    pub(crate) fn usage_mut(&mut self, account: AccountId) -> &mut Usage {
        let usage = dense_index(account.0).and_then(|index| self.usage.get_mut(index));
        invariant(usage, "every account's usage is counted")
    }
}

/// Read-only views of the state.
impl Engine {
    /// Sequence number of the last input applied; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// When the next deadline is due, if any is set: a [`Command::Tick`] at or after it takes effect.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// An account's balances.
    pub fn balance(&self, account: AccountId) -> Option<&Balance> {
        self.ledger.balance(account)
    }

    /// How many accounts there are; their ids are 1 to this.
    pub fn accounts(&self) -> usize {
        self.ledger.len()
    }

    /// The sum over all ledger accounts in atoms: zero, or money was made or lost.
    pub fn ledger_sum(&self) -> i128 {
        self.ledger.sum()
    }

    /// What the platform kept, in atoms.
    pub fn fees(&self) -> i128 {
        self.ledger.fees()
    }

    /// Open orders by id.
    pub fn orders(&self) -> &BTreeMap<OrderId, Order> {
        &self.orders
    }

    /// Open contracts by id.
    pub fn contracts(&self) -> &BTreeMap<ContractId, Contract> {
        &self.contracts
    }

    /// Pending payouts by id.
    pub fn payouts(&self) -> &BTreeMap<PayoutId, Payout> {
        &self.payouts
    }

    /// Listed instruments in the order of their ids.
    pub fn instruments(&self) -> impl Iterator<Item = (InstrumentId, &InstrumentSpec)> {
        (1..).map(InstrumentId).zip(self.markets.iter().map(|market| &market.spec))
    }

    /// Price levels of one side, best first: (price, units, orders).
    pub fn levels(&self, instrument: InstrumentId, side: Side) -> Vec<(Price, Quantity, u32)> {
        let Some(market) = self.market(instrument) else {
            return Vec::new();
        };
        let totals = |(price, level): (&Price, &Level)| (*price, level.quantity, level.orders);
        let levels = market.book.levels(side).iter();
        match side {
            Side::Bid => levels.rev().map(totals).collect(),
            Side::Ask => levels.map(totals).collect(),
        }
    }

    /// The hash of the whole state: equal between a live run, its recovery and its replay.
    pub fn state_hash(&self) -> StateHash {
        let canonical = Canonical {
            last_seq: self.last_seq,
            last_at: self.last_at,
            ledger: &self.ledger,
            specs: self.markets.iter().map(|market| &market.spec).collect(),
            orders: &self.orders,
            contracts: &self.contracts,
            payouts: &self.payouts,
            purchases: &self.purchases,
            answers: &self.answers,
            next: (self.next_order, self.next_contract, self.next_payout),
        };
        let mut hasher = blake3::Hasher::new();
        let written = bincode::encode_into_std_write(canonical, &mut hasher, bincode::config::legacy());
        invariant(written.ok(), "hashing cannot fail");
        StateHash(*hasher.finalize().as_bytes())
    }
}
