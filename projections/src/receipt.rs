//! What a contract came to, for good: the fields of a receipt, and the text of them that is signed.
//!
//! ```text
//! gollem receipt v1                     says what this is: no tree head begins so
//! journal gollem/journal                the name under which the journal's tree heads are signed
//! contract ctr_17
//! ...
//! settlement_seq 1240
//! ```
//!
//! After the first line each field is a line: its name, a space, its value; `none` for what is not known. Names and their
//! order are those of [`Receipt::fields`], which the JSON has too. A contract that was drawn on several times has one receipt:
//! units, tokens and money are sums, the delay is the longest that was measured, the throughput the least.
//!
//! Deliberately absent: signatures, which are the journal's (`HeadSigner::sign_statement`), and a typed reading of the text:
//! whoever checks a receipt compares it, word for word, with one made of the journal.

use crate::rows::{ContractRow, ContractStatus, Delivered};
use crate::words::{account_name, credits, credits_per_unit, micros, utc};
use gollem_engine::{AccountId, Amount, ContractId, Expiry, Price, Quantity, Timestamp};
use serde_json::Value;
use std::fmt::Write;

/// The first line of a receipt's text.
const KIND: &str = "gollem receipt v1";

/// An input: its number and its time.
type Input = (u64, Timestamp);

/// A field of a receipt as it was read: name and value.
pub type Said = (String, String);

/// A contract that ended, with all that a receipt says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The name under which the journal's tree heads are signed, where they are.
    pub journal: Option<String>,
    /// Which contract.
    pub contract: ContractId,
    /// Who paid.
    pub buyer: AccountId,
    /// Who delivered.
    pub provider: AccountId,
    /// Of what.
    pub model: String,
    /// Atoms a unit.
    pub price: Price,
    /// Units traded.
    pub contracted: Quantity,
    /// Units delivered.
    pub delivered: Quantity,
    /// What the deliveries come to besides.
    pub sums: Delivered,
    /// Milliseconds to the first token that the ask promised; 0 for no promise.
    pub promised_first_token_ms: u32,
    /// Tokens a second that it promised; 0 for no promise.
    pub promised_throughput_tps: u32,
    /// How the contract ended.
    pub ended: Expiry,
    /// What the buyer paid, fees included, rebates taken off.
    pub paid: Amount,
    /// What the provider earned, rebates taken off.
    pub earned: Amount,
    /// The input that made the contract.
    pub matched: Input,
    /// The input that ended it.
    pub settled: Input,
}

/// A text that is no receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It is something else, or of another version.
    #[error("it does not begin with `{KIND}`")]
    Kind,
    /// It was cut or mangled.
    #[error("line {line} is not a name, a space and a value")]
    Line {
        /// Which, from 1.
        line: usize,
    },
}

impl Receipt {
    /// The receipt of a contract; none while it is open.
    pub fn of(row: &ContractRow, model: &str, journal: Option<&str>) -> Option<Receipt> {
        let ContractStatus::Closed { reason, at, seq } = row.status else { return None };
        Some(Receipt {
            journal: journal.map(str::to_owned),
            contract: row.id,
            buyer: row.buyer,
            provider: row.provider,
            model: model.to_owned(),
            price: row.price,
            contracted: row.quantity,
            delivered: row.delivered,
            sums: row.sums,
            promised_first_token_ms: row.latency_ms,
            promised_throughput_tps: row.throughput_tps,
            ended: reason,
            paid: row.paid,
            earned: row.earned,
            matched: (row.created_seq, row.created_at),
            settled: (seq, at),
        })
    }

    /// Names and values, in the order of the text.
    pub fn fields(&self) -> Vec<(&'static str, Value)> {
        let Delivered { completed, abandoned, failed, overstated, .. } = self.sums;
        let deliveries: u64 = [completed, abandoned, failed, overstated].into_iter().map(u64::from).sum();
        let promised = |promise: u32| Some(promise).filter(|promise| *promise > 0);
        let ((trade_seq, matched_at), (settlement_seq, settled_at)) = (self.matched, self.settled);
        vec![
            ("journal", self.journal.clone().into()),
            ("contract", format!("ctr_{}", self.contract.0).into()),
            ("buyer", account_name(self.buyer).into()),
            ("provider", account_name(self.provider).into()),
            ("model", self.model.clone().into()),
            ("price", credits_per_unit(self.price).into()),
            ("contracted_units", self.contracted.0.into()),
            ("delivered_units", self.delivered.0.into()),
            ("deliveries", deliveries.into()),
            ("outcome", outcome(&self.sums).into()),
            ("input_tokens", self.sums.input_tokens.into()),
            ("cached_input_tokens", self.sums.cached_input_tokens.into()),
            ("output_tokens", self.sums.output_tokens.into()),
            ("first_token_ms", self.sums.first_token_ms.into()),
            ("promised_first_token_ms", promised(self.promised_first_token_ms).into()),
            ("throughput_tps", self.sums.throughput_tps.into()),
            ("promised_throughput_tps", promised(self.promised_throughput_tps).into()),
            ("paid", credits(self.paid).into()),
            ("rebate", credits(self.sums.rebate).into()),
            ("earned", credits(self.earned).into()),
            ("provider_fee", credits(self.sums.provider_fee).into()),
            ("buyer_fee", credits(self.sums.buyer_fee).into()),
            ("ended", if self.ended == Expiry::Settled { "settled" } else { "expired" }.into()),
            ("matched_at", utc(matched_at).into()),
            ("matched_at_us", micros(matched_at).into()),
            ("settled_at", utc(settled_at).into()),
            ("settled_at_us", micros(settled_at).into()),
            ("trade_seq", trade_seq.into()),
            ("settlement_seq", settlement_seq.into()),
        ]
    }

    /// The text that is signed.
    pub fn text(&self) -> String {
        let mut text = format!("{KIND}\n");
        for (name, value) in self.fields() {
            writeln!(text, "{name} {}", word(&value)).ok(); // Writing to a string cannot fail.
        }
        text
    }

    /// The fields of a text, whatever they are.
    ///
    /// # Errors
    /// When it is not a receipt's text.
    pub fn read(text: &str) -> Result<Vec<Said>, ReceiptError> {
        let body = text.strip_prefix(KIND).and_then(|rest| rest.strip_prefix('\n')).ok_or(ReceiptError::Kind)?;
        let field = |(line, text): (usize, &str)| {
            let (name, value) = text.split_once(' ').ok_or(ReceiptError::Line { line })?;
            Ok((name.to_owned(), value.to_owned()))
        };
        (2..).zip(body.lines()).map(field).collect()
    }
}

/// A field's value as the text has it.
pub fn word(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// How all deliveries ended; none where there was none.
fn outcome(sums: &Delivered) -> Option<&'static str> {
    match (sums.completed, sums.abandoned, sums.failed, sums.overstated) {
        (0, 0, 0, 0) => None,
        (_, 0, 0, 0) => Some("completed"),
        (0, _, 0, 0) => Some("abandoned"),
        (0, 0, _, 0) => Some("failed"),
        (0, 0, 0, _) => Some("overstated"),
        _ => Some("mixed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_engine::{Event, Outcome, Tokens};
    use std::collections::BTreeSet;

    fn delivered(outcome: Outcome, first_token_ms: Option<u32>, throughput_tps: Option<u32>) -> Event {
        Event::Delivered {
            contract: ContractId(17),
            quantity: Quantity(100),
            earned: Amount(99),
            fee: Amount(1),
            buyer_fee: Amount(2),
            rebate: Amount(3),
            first_token_ms,
            throughput_tps,
            outcome,
            tokens: Tokens { input: 10, cached_input: 4, output: 20 },
        }
    }

    fn receipt(events: &[Event]) -> Receipt {
        let mut sums = Delivered::default();
        events.iter().for_each(|event| sums.add(event).unwrap());
        Receipt {
            journal: Some("gollem/journal".into()),
            contract: ContractId(17),
            buyer: AccountId(3),
            provider: AccountId(4),
            model: "llama-3.1-8b".into(),
            price: Price(135_000),
            contracted: Quantity(774),
            delivered: Quantity(200),
            sums,
            promised_first_token_ms: 100,
            promised_throughput_tps: 0,
            ended: Expiry::Settled,
            paid: Amount(200_000_000),
            earned: Amount(190_000_000),
            matched: (1_204, Timestamp(1_700_000_000_123_456_789)),
            settled: (1_240, Timestamp(1_700_000_001_000_000_000)),
        }
    }

    #[test]
    fn the_text_is_that_of_version_1() {
        let receipt = receipt(&[
            delivered(Outcome::Completed, Some(50), None),
            delivered(Outcome::Completed, Some(120), Some(80)),
            delivered(Outcome::Completed, None, Some(90)),
        ]);
        let expected = "gollem receipt v1\njournal gollem/journal\ncontract ctr_17\nbuyer acc_3\nprovider acc_4\n\
            model llama-3.1-8b\nprice 0.00135000\ncontracted_units 774\ndelivered_units 200\ndeliveries 3\n\
            outcome completed\ninput_tokens 30\ncached_input_tokens 12\noutput_tokens 60\nfirst_token_ms 120\n\
            promised_first_token_ms 100\nthroughput_tps 80\npromised_throughput_tps none\npaid 2.00000000\n\
            rebate 0.00000009\nearned 1.90000000\nprovider_fee 0.00000003\nbuyer_fee 0.00000006\nended settled\n\
            matched_at 2023-11-14T22:13:20.123456Z\nmatched_at_us 1700000000123456\n\
            settled_at 2023-11-14T22:13:21.000000Z\nsettled_at_us 1700000001000000\ntrade_seq 1204\n\
            settlement_seq 1240\n";
        assert_eq!(receipt.text(), expected);
    }

    #[test]
    fn what_is_read_of_a_text_is_what_was_written() {
        let receipt = receipt(&[]);
        let fields = receipt.fields();
        let written: Vec<Said> = fields.iter().map(|(name, value)| ((*name).to_owned(), word(value))).collect();
        assert_eq!(Receipt::read(&receipt.text()), Ok(written));
        let names: BTreeSet<&str> = fields.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), fields.len(), "a name stands for one field");
    }

    #[test]
    fn what_is_no_receipt_is_not_read() {
        for text in ["", "gollem receipt v2\n", "gollem receipt v1", "gollem/journal\n5\nroot\n"] {
            assert_eq!(Receipt::read(text), Err(ReceiptError::Kind), "{text:?}");
        }
        assert_eq!(Receipt::read("gollem receipt v1\na b\nc\n"), Err(ReceiptError::Line { line: 3 }));
    }

    #[test]
    fn an_outcome_is_that_of_all_deliveries() {
        use Outcome::{Abandoned, Completed, Failed, Overstated};
        let check = |outcomes: &[Outcome], expected: Option<&str>| {
            let events: Vec<Event> = outcomes.iter().map(|outcome| delivered(*outcome, None, None)).collect();
            let receipt = receipt(&events);
            assert_eq!(outcome(&receipt.sums), expected, "{outcomes:?}");
            let deliveries = receipt.fields().into_iter().find(|(name, _)| *name == "deliveries");
            assert_eq!(deliveries.map(|(_, count)| count), Some(outcomes.len().into()), "{outcomes:?}");
        };
        check(&[], None);
        check(&[Completed, Completed], Some("completed"));
        check(&[Abandoned], Some("abandoned"));
        check(&[Failed, Failed], Some("failed"));
        check(&[Overstated], Some("overstated"));
        check(&[Completed, Failed], Some("mixed"));
        check(&[Abandoned, Failed, Completed], Some("mixed"));
    }
}
