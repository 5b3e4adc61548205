//! What the journal says of one contract: its trade, its deliveries and its end, as a second engine tells them.

use crate::failure::Failure;
use crate::progress::Progress;
use crate::verify::{Refusal, beginning};
use gollem_engine::{Amount, ContractId, Engine, Event, Expiry, Quantity, Timestamp, Trade};
use gollem_journal::{Record, ScanOptions};
use gollem_projections::{Delivered, Receipt};
use std::path::Path;

/// What was seen of a contract so far.
#[derive(Debug, Default)]
struct Contract {
    made: Option<Made>,
    delivered: u64,
    earned: i64,
    sums: Delivered,
    ended: Option<(Expiry, (u64, Timestamp))>,
}

/// How it came to be.
#[derive(Debug)]
struct Made {
    trade: Trade,
    input: (u64, Timestamp),
    model: String,
    promised: (u32, u32),
}

/// The receipt that the journal up to input `until` gives of a contract; none where it has not ended there, or never was.
///
/// # Errors
/// The first thing that is wrong with the journal; that it ends before `until`, or begins after the contract was made.
pub(crate) fn receipt(
    journal: &Path,
    contract: ContractId,
    until: u64,
    origin: Option<&str>,
    progress: &mut Progress,
) -> Result<Option<Receipt>, Failure> {
    let (mut replica, after) = beginning(journal)?;
    if until < after.seq {
        return Err(Failure::TooLate { first: after.seq });
    }
    let (mut seen, mut sound_seq) = (Contract::default(), after.seq);
    let options = ScanOptions { after, until: Some(until), ..ScanOptions::default() };
    let scanned = gollem_journal::scan(journal, options, &mut |record| -> Result<(), Refusal> {
        replica.apply(&record)?;
        for event in replica.events() {
            seen.see(contract, event, &record, replica.engine());
        }
        sound_seq = record.seq;
        progress.advance(record.seq);
        Ok(())
    });
    scanned.map_err(|error| Failure::of_scan(error, journal, sound_seq))?;
    if sound_seq < until {
        return Err(Failure::NotThere { seq: until, last_seq: sound_seq });
    }
    // Begun from a snapshot, an earlier trade was not seen: that says nothing about the contract.
    if seen.made.is_none() && after.seq > 0 {
        return Err(Failure::TooLate { first: after.seq });
    }
    Ok(seen.receipt(origin))
}

impl Contract {
    fn see(&mut self, contract: ContractId, event: &Event, record: &Record<'_>, engine: &Engine) {
        let input = (record.seq, Timestamp(record.time_ns));
        match *event {
            Event::Traded(trade) if trade.contract == contract => {
                let spec = engine.instruments().find(|(id, _)| *id == trade.instrument);
                let model = spec.map(|(_, spec)| spec.symbol.as_str().to_owned()).unwrap_or_default();
                // A contract never ends in the input that made it, so it is there.
                let promised = engine.contract(contract).map_or((0, 0), |made| (made.latency_ms, made.throughput_tps));
                self.made = Some(Made { trade, input, model, promised });
            }
            Event::Delivered { contract: of, quantity, earned, rebate, .. } if of == contract => {
                self.delivered += quantity.0;
                self.earned += earned.0 - rebate.0;
                // What an engine settled can be summed: all of it was in one escrow.
                self.sums.add(event);
            }
            Event::ContractClosed { contract: of, reason, .. } if of == contract => self.ended = Some((reason, input)),
            _ => {}
        }
    }

    fn receipt(self, origin: Option<&str>) -> Option<Receipt> {
        let (Made { trade, input, model, promised }, (ended, settled)) = (self.made?, self.ended?);
        Some(Receipt {
            journal: origin.map(str::to_owned),
            contract: trade.contract,
            buyer: trade.buyer,
            provider: trade.provider,
            model,
            price: trade.price,
            contracted: trade.quantity,
            delivered: Quantity(self.delivered),
            sums: self.sums,
            promised_first_token_ms: promised.0,
            promised_throughput_tps: promised.1,
            ended,
            paid: Amount(self.earned + self.sums.provider_fee.0 + self.sums.buyer_fee.0),
            earned: Amount(self.earned),
            matched: input,
            settled,
        })
    }
}
