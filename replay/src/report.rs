//! The answer about a sound journal: an aligned table for people, one JSON object for programs.

use gollem_journal::Recovery;
use gollem_projections::words::utc_exact;
use gollem_sequencer::Replica;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// What a sound journal holds and the state it gives. The names are the keys of the JSON object; amounts are atoms.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    sound: bool,
    /// The input of the snapshot that was begun from; 0 when the whole journal was read.
    from_snapshot: u64,
    inputs: u64,
    last_seq: u64,
    first_time: Option<String>,
    last_time: Option<String>,
    segments: u64,
    journal_bytes: u64,
    torn_bytes: u64,
    clean: bool,
    accounts: usize,
    instruments: usize,
    open_orders: usize,
    open_contracts: usize,
    ledger_sum: i128,
    fees: i128,
    state_hash: String,
    seconds: f64,
    inputs_per_s: u64,
}

impl Report {
    /// The report of a finished verification that took `took`.
    pub(crate) fn new(
        from_snapshot: u64,
        scanned: &Recovery,
        first_time_ns: Option<u64>,
        replica: &Replica,
        took: Duration,
    ) -> Report {
        let engine = replica.engine();
        let last_time_ns = first_time_ns.map(|_| scanned.last_time_ns);
        Report {
            sound: true,
            from_snapshot,
            inputs: scanned.records,
            last_seq: scanned.last_seq,
            first_time: first_time_ns.map(utc_exact),
            last_time: last_time_ns.map(utc_exact),
            segments: scanned.segments,
            journal_bytes: scanned.bytes,
            torn_bytes: scanned.torn_bytes,
            clean: scanned.clean,
            accounts: engine.accounts(),
            instruments: engine.instruments().count(),
            open_orders: engine.open_orders(),
            open_contracts: engine.open_contracts(),
            ledger_sum: engine.ledger_sum(),
            fees: engine.fees(),
            state_hash: engine.state_hash().to_string(),
            seconds: took.as_secs_f64(),
            inputs_per_s: per_second(scanned.records, took),
        }
    }

    /// One JSON object on one line.
    pub(crate) fn json(&self) -> String {
        line(self)
    }

    /// An aligned table.
    pub(crate) fn table(&self, journal: &Path) -> String {
        let time = |time: &Option<String>| time.clone().unwrap_or_else(|| "none".to_owned());
        let rows = [
            ("journal", journal.display().to_string()),
            ("from snapshot at", if self.from_snapshot == 0 { "none".to_owned() } else { grouped(self.from_snapshot) }),
            ("inputs", grouped(self.inputs)),
            ("last seq", grouped(self.last_seq)),
            ("first input", time(&self.first_time)),
            ("last input", time(&self.last_time)),
            ("segments", grouped(self.segments)),
            ("journal bytes", grouped(self.journal_bytes)),
            ("torn tail bytes", grouped(self.torn_bytes)),
            ("clean stop", (if self.clean { "yes" } else { "no (running, or stopped by a crash)" }).to_owned()),
            ("accounts", grouped(self.accounts)),
            ("instruments", grouped(self.instruments)),
            ("open orders", grouped(self.open_orders)),
            ("open contracts", grouped(self.open_contracts)),
            ("ledger sum", format!("{} atoms", grouped(self.ledger_sum))),
            ("fees", format!("{} atoms", grouped(self.fees))),
            ("state hash", self.state_hash.clone()),
            ("time taken", format!("{:.3} s", self.seconds)),
            ("inputs/s", grouped(self.inputs_per_s)),
        ];
        let mut table = "the journal is sound\n".to_owned();
        for (label, value) in rows {
            writeln!(table, "  {label:<16}{value}").ok(); // Writing to a string cannot fail.
        }
        table
    }
}

/// A value as one line of JSON.
pub(crate) fn line(value: &impl Serialize) -> String {
    // Only maps with odd keys and failing `Serialize` implementations can fail, and there are none here.
    serde_json::to_string(value).map_or_else(|error| format!("{{\"error\":\"{error}\"}}\n"), |json| json + "\n")
}

/// Whole items a second.
pub(crate) fn per_second(count: u64, took: Duration) -> u64 {
    let rate = u128::from(count) * 1_000_000_000 / took.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// A whole number with commas between thousands.
pub(crate) fn grouped(number: impl ToString) -> String {
    let text = number.to_string();
    let digits = text.trim_start_matches('-');
    let mut out = text[..text.len() - digits.len()].to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567"), (-12, "-12")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_rate_is_whole_even_for_no_time() {
        assert_eq!(per_second(10, Duration::from_secs(4)), 2);
        assert_eq!(per_second(10, Duration::ZERO), 10_000_000_000);
    }

    #[test]
    fn amounts_beyond_64_bits_are_written_as_numbers() {
        let report = Report {
            fees: i128::MAX,
            ..Report::new(0, &Recovery::default(), None, &Replica::default(), Duration::ZERO)
        };
        assert!(report.json().contains("\"fees\":170141183460469231731687303715884105727,"), "{}", report.json());
    }
}
