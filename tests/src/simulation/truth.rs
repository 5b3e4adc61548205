//! What really happened: the journal's records, each read from the disk once it must be durable, and replayed from the
//! first on. Everything else is compared with it.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use gollem_engine::{
    AccountId, ClientOrderId, CloseReason, Command, Engine, Event, Events, Input, OrderAnswer, OrderId, StateHash,
    TimeInForce, Timestamp,
};
use gollem_journal::sim::SimStorage;
use gollem_journal::{Position, Record, ScanError, Tail, TailStop};

/// One input and what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    pub(super) events: Vec<Event>,
}

/// The replay.
#[derive(Debug)]
pub(super) struct Truth {
    engine: Engine,
    events: Events,
    position: Position,
    told: Vec<Told>,
    /// Commands that this life of the node was given, in order, and that are not in the journal yet.
    submitted: VecDeque<Command>,
    accepted: BTreeMap<(AccountId, ClientOrderId), (u64, OrderId)>,
    good_until: BTreeMap<OrderId, Timestamp>,
    /// The node started from a snapshot once. Deadlines of contracts that were settled are remembered until they pass,
    /// and those that a restored engine sets are not the same: such a tick changes nothing.
    ticks_for_nothing: bool,
}

impl Truth {
    pub(super) fn new() -> Self {
        Self {
            engine: Engine::new(),
            events: Events::new(),
            position: Position::START,
            told: Vec::new(),
            submitted: VecDeque::new(),
            accepted: BTreeMap::new(),
            good_until: BTreeMap::new(),
            ticks_for_nothing: false,
        }
    }

    pub(super) fn seq(&self) -> u64 {
        self.position.seq
    }

    pub(super) fn told(&self) -> &[Told] {
        &self.told
    }

    pub(super) fn state_hash(&mut self) -> StateHash {
        self.engine.checkpoint()
    }

    /// The node was given a command.
    pub(super) fn submitted(&mut self, command: Command) {
        self.submitted.push_back(command);
    }

    /// The node started from a snapshot.
    pub(super) fn restored(&mut self) {
        self.ticks_for_nothing = true;
    }

    /// The node died: what is not in the journal by now will never be.
    pub(super) fn died(&mut self) {
        self.submitted.clear();
    }

    /// Reads on up to `until` on a disk that holds nothing but what is durable.
    pub(super) fn read(&mut self, durable: &SimStorage, until: u64, latest: Timestamp) -> Result<(), String> {
        let mut tail = Tail::new(durable.clone(), self.position);
        loop {
            match tail.read(until, &mut |record| self.apply(&record, latest)) {
                Ok(TailStop::SegmentEnd) => {}
                Ok(TailStop::Reached) => break,
                Err(ScanError::Visit(what)) => return Err(what),
                Err(error) => return Err(format!("input {until} should be durable: {error}")),
            }
        }
        if tail.position().seq > self.position.seq {
            self.position = tail.position();
        }
        if self.engine.ledger_sum() != 0 {
            return Err(format!("money was made or lost up to input {}", self.seq()));
        }
        Ok(())
    }

    fn apply(&mut self, record: &Record<'_>, latest: Timestamp) -> Result<(), String> {
        let (seq, at) = (record.seq, Timestamp(record.time_ns));
        let command = Command::decode(record.payload).map_err(|error| format!("input {seq}: {error}"))?;
        let last = self.told.last().map_or(Timestamp(0), |told| told.at);
        if at < last || at > latest {
            return Err(format!("input {seq} is stamped {}, after {} and at {} at the latest", at.0, last.0, latest.0));
        }
        self.was_submitted(seq, at, &command)?;
        self.events.clear();
        self.engine.apply(&Input { seq, at, command: command.clone() }, &mut self.events);
        let told = Told { seq, at, events: self.events.to_vec() };
        self.once(&command, &told)?;
        self.not_early(&told)?;
        self.told.push(told);
        Ok(())
    }

    /// The journal holds what was submitted, in that order, each once; and ticks that were due.
    fn was_submitted(&mut self, seq: u64, at: Timestamp, command: &Command) -> Result<(), String> {
        if *command == Command::Tick {
            return match self.engine.next_deadline() {
                Some(deadline) if deadline <= at => Ok(()),
                _ if self.ticks_for_nothing => Ok(()),
                next => Err(format!("input {seq} is a tick at {}, and the next deadline is {next:?}", at.0)),
            };
        }
        match self.submitted.pop_front() {
            Some(next) if next == *command => Ok(()),
            next => Err(format!("input {seq} is {command:?}, the next that was submitted is {next:?}")),
        }
    }

    /// A client's number takes effect once.
    fn once(&mut self, command: &Command, told: &Told) -> Result<(), String> {
        let new = match command {
            Command::PlaceOrder(new) => new,
            Command::LockQuote(new) => new.as_ref(),
            _ => return Ok(()),
        };
        let Some(client_id) = new.client_id else { return Ok(()) };
        let first = self.accepted.get(&(new.account, client_id)).copied();
        let accepted = told.events.iter().find_map(|event| match event {
            Event::OrderAccepted(order) if order.client_id == Some(client_id) && order.account == new.account => {
                Some(order.id)
            }
            Event::QuoteLocked { lock, account, .. } if *account == new.account => Some(*lock),
            _ => None,
        });
        let repeated = told.events.iter().find_map(|event| match event {
            Event::OrderRepeated(OrderAnswer { order, seq, .. }) => Some((*seq, *order)),
            _ => None,
        });
        match (first, accepted) {
            (None, Some(order)) => drop(self.accepted.insert((new.account, client_id), (told.seq, order))),
            (Some(_), Some(_)) => return Err(format!("input {} takes effect a second time", told.seq)),
            (Some(_), None) if first != repeated => {
                return Err(format!("resend {} got {repeated:?}, the first answer was {first:?}", told.seq));
            }
            (_, None) => {}
        }
        Ok(())
    }

    /// No order expires before its time.
    fn not_early(&mut self, told: &Told) -> Result<(), String> {
        for event in &told.events {
            match event {
                Event::OrderAccepted(order) => {
                    if let TimeInForce::Gtd(until) = order.time_in_force {
                        self.good_until.insert(order.id, until);
                    }
                }
                Event::OrderClosed { order, reason: CloseReason::Expired, .. }
                    if self.good_until.get(order).is_none_or(|until| *until > told.at) =>
                {
                    return Err(format!("order {} expired early, at input {}", order.0, told.seq));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Compares what somebody was told with what happened; the input must have been read.
    pub(super) fn check(&self, who: &str, heard: &Told) -> Result<(), String> {
        let happened = usize::try_from(heard.seq).ok().and_then(|seq| self.told.get(seq.checked_sub(1)?));
        match happened {
            Some(happened) if happened == heard => Ok(()),
            Some(_) => Err(format!("{who} heard of other events of input {}", heard.seq)),
            None => Err(format!("{who} heard of input {}, which is not there", heard.seq)),
        }
    }
}
