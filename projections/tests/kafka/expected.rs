//! What must be in the topics, said once more in the plainest way, from the journal alone.

use super::broker::{Contents, Got};
use gollem_engine::{Event, InstrumentId, LedgerAccount};
use gollem_journal::{FileStorage, ScanOptions, scan_in};
use gollem_projections::kafka::{Position, TOPICS};
use gollem_projections::{ContentHash, Fold, Views};
use gollem_sequencer::Replica;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Every input of a journal with its events.
pub(crate) fn inputs(journal: &Path) -> Vec<(u64, u64, Vec<Event>)> {
    let (mut replica, mut inputs) = (Replica::default(), Vec::new());
    scan_in(&FileStorage::new(journal), ScanOptions::default(), &mut |record| {
        let events = replica.apply(&record)?;
        inputs.push((record.seq, record.time_ns, events.to_vec()));
        Ok::<(), gollem_sequencer::ReplayError>(())
    })
    .unwrap();
    inputs
}

/// The hash of the views at the end of a journal, folded from it in one go.
pub(crate) fn hash(journal: &Path) -> (u64, ContentHash) {
    let dir = tempfile::tempdir().unwrap();
    let views = Views::open(dir.path()).unwrap();
    let mut fold = Fold::new(&views).unwrap();
    for (seq, at_ns, events) in inputs(journal) {
        fold.apply(seq, gollem_engine::Timestamp(at_ns), &events).unwrap();
    }
    fold.flush().unwrap();
    views.content_hash().unwrap()
}

/// What must be in the topics.
pub(crate) fn contents(journal: &Path) -> Contents {
    let mut all = Expected::default();
    for topic in TOPICS {
        for partition in 0..topic.partitions {
            all.contents.insert((topic.name.to_owned(), partition), Vec::new());
        }
    }
    for (seq, at_ns, events) in inputs(journal) {
        if events.is_empty() {
            let value = json!({ "seq": seq, "index": 0, "events": 0, "at_ns": at_ns, "event": null });
            all.push("gollem.events", Position { seq, index: 0, leg: 0 }, "nothing", None, value);
        }
        for (index, event) in (0..).zip(&events) {
            all.event(Position { seq, index, leg: 0 }, at_ns, events.len(), event);
        }
    }
    all.contents
}

#[derive(Default)]
struct Expected {
    contents: Contents,
    symbols: BTreeMap<InstrumentId, String>,
}

impl Expected {
    fn push(&mut self, topic: &str, position: Position, kind: &str, key: Option<String>, value: Value) {
        let layout = TOPICS.iter().find(|found| found.name == topic).unwrap();
        let partition = layout.partition_of(key.as_deref().unwrap_or_default().as_bytes());
        let got = Got { position, kind: kind.to_owned(), key, value };
        self.contents.get_mut(&(topic.to_owned(), partition)).unwrap().push(got);
    }

    fn event(&mut self, position: Position, at_ns: u64, events: usize, event: &Event) {
        if let Event::InstrumentListed { instrument, spec } = event {
            self.symbols.insert(*instrument, spec.symbol.as_str().to_owned());
        }
        let json = serde_json::to_value(event).unwrap();
        let kind = json["kind"].as_str().unwrap().to_owned();
        let key = self.key(event, &json["data"]);
        let Position { seq, index, .. } = position;
        let value = json!({ "seq": seq, "index": index, "events": events, "at_ns": at_ns, "event": json });
        self.push("gollem.events", position, &kind, key, value);
        let mut flat = json!({ "seq": seq, "index": index, "at_ns": at_ns });
        match event {
            Event::Traded(trade) => {
                let symbol = self.symbols[&trade.instrument].clone();
                let more = json!({
                    "instrument": symbol, "contract": format!("ctr_{}", trade.contract.0),
                    "bid": format!("ord_{}", trade.bid.0), "ask": format!("ord_{}", trade.ask.0),
                    "buyer": format!("acc_{}", trade.buyer.0), "provider": format!("acc_{}", trade.provider.0),
                    "taker": json["data"]["taker"], "price": trade.price.0, "quantity": trade.quantity.0,
                    "expires_at_ns": trade.expires_at.0,
                });
                add(&mut flat, more);
                self.push("gollem.trades", position, &kind, Some(symbol), flat);
            }
            Event::LevelChanged { instrument, price, quantity, orders, .. } => {
                let symbol = self.symbols[instrument].clone();
                let more = json!({
                    "instrument": symbol, "side": json["data"]["side"], "price": price.0, "quantity": quantity.0,
                    "orders": orders,
                });
                add(&mut flat, more);
                self.push("gollem.depth", position, &kind, Some(symbol), flat);
            }
            Event::Transferred(transfer) => {
                let legs = [(0, transfer.debit, -transfer.amount.0), (1, transfer.credit, transfer.amount.0)];
                for (leg, ledger, amount) in legs {
                    let (account, ledger) = holder(ledger);
                    let code = &json["data"]["code"];
                    let more = json!({
                        "leg": leg, "account": account, "ledger": ledger, "amount": amount, "code": code,
                    });
                    let mut value = flat.clone();
                    add(&mut value, more);
                    self.push("gollem.ledger", Position { leg, ..position }, &kind, Some(account), value);
                }
            }
            Event::PayoutRequested { payout, account, amount }
            | Event::PayoutSent { payout, account, amount }
            | Event::PayoutConfirmed { payout, account, amount }
            | Event::PayoutFailed { payout, account, amount }
            | Event::PayoutReturned { payout, account, amount } => {
                let account = format!("acc_{}", account.0);
                let state = kind.strip_prefix("payout_").unwrap();
                let more = json!({
                    "payout": format!("pay_{}", payout.0), "account": account, "amount": amount.0, "state": state,
                });
                add(&mut flat, more);
                self.push("gollem.payouts", position, &kind, Some(account), flat);
            }
            _ => {}
        }
    }

    /// The instrument's symbol, else the account, wherever the event names one.
    fn key(&self, event: &Event, data: &Value) -> Option<String> {
        if let Event::Transferred(transfer) = event {
            return [transfer.debit, transfer.credit]
                .map(holder)
                .into_iter()
                .map(|(account, _)| account)
                .find(|account| account != "platform");
        }
        if let Some(instrument) = data.get("instrument").and_then(Value::as_u64) {
            return Some(self.symbols[&InstrumentId(instrument as u32)].clone());
        }
        data.get("account").and_then(Value::as_u64).map(|account| format!("acc_{account}"))
    }
}

fn add(value: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!() };
    value.as_object_mut().unwrap().extend(more);
}

fn holder(ledger: LedgerAccount) -> (String, &'static str) {
    let party = |account: gollem_engine::AccountId| format!("acc_{}", account.0);
    match ledger {
        LedgerAccount::Available(account) => (party(account), "available"),
        LedgerAccount::Held(account) => (party(account), "held"),
        LedgerAccount::Escrow(account) => (party(account), "escrow"),
        LedgerAccount::Earned(account) => (party(account), "earned"),
        LedgerAccount::PayoutPending(account) => (party(account), "payout_pending"),
        LedgerAccount::Receivable(account) => (party(account), "receivable"),
        LedgerAccount::Fees => ("platform".to_owned(), "fees"),
        LedgerAccount::External => ("platform".to_owned(), "external"),
    }
}

/// Compares what is there with what must be, one partition after the other.
pub(crate) fn check(brokers: &str, journal: &Path) -> Contents {
    let (found, expected) = (super::broker::contents(brokers), contents(journal));
    for (partition, expected) in &expected {
        let found = &found[partition];
        let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
        if let Some(at) = differs {
            panic!("{partition:?}, record {at}: {:#?} instead of {:#?}", found[at], expected[at]);
        }
        assert_eq!(found.len(), expected.len(), "{partition:?}");
    }
    found
}
