//! Contracts and deliveries (section 5), measurements and circuit breakers (section 6).

use super::orders::lowest_free;
use super::{Contract, Gauge, Outcome, Place, Twin};
use crate::ids::{slot_of, slotted_id};
use crate::limits::{BREAKER_COOL_DOWN_NS, BREAKER_FAILURES, BREAKER_PROBES};
use crate::{
    AccountId, Amount, Attributes, Breaker, ContractId, DeliveryReport, Event, Expiry, InstrumentId, InstrumentSpec,
    LedgerAccount, Order, Price, Quantity, RejectReason, Side, Terms, Timestamp, Trade, TransferCode, invariant,
};

/// A fill, as the contract that comes of it needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewContract<'a> {
    pub(super) bid: &'a Order,
    pub(super) ask: &'a Order,
    pub(super) taker: Side,
    pub(super) price: Price,
    pub(super) units: Quantity,
}

/// What so many units cost.
fn value(price: Price, units: Quantity) -> Amount {
    invariant(price.notional(units), "it was part of a hold, which fitted")
}

/// Whether a delivery breaks a promise of the ask.
fn is_broken(promised: &Attributes, report: &DeliveryReport, spec: &InstrumentSpec) -> bool {
    let tolerance = u64::from(spec.tolerance_bps);
    let slow = report.first_token_ms.is_some_and(|measured| {
        let promised = u64::from(promised.latency_ms);
        promised > 0 && u64::from(measured) * 10_000 > promised * (10_000 + tolerance)
    });
    let thin = report.throughput_tps.is_some_and(|measured| {
        let promised = u64::from(promised.throughput_tps);
        promised > 0 && u64::from(measured) * 10_000 < promised * 10_000_u64.saturating_sub(tolerance)
    });
    slow || thin
}

impl Gauge {
    /// Takes a sample in; `round_up` says how 1/256 are rounded to whole numbers.
    pub(super) fn sample(&mut self, sample: u32, round_up: bool) {
        let sample = 256 * i64::from(sample);
        let average = match self.average {
            None => sample,
            Some(average) => average + (sample - average) / 8,
        };
        self.average = Some(average);
        let reading = if round_up { (average + 255) / 256 } else { average / 256 };
        let reading = invariant(u32::try_from(reading).ok(), "an average lies between its samples");
        match self.measured {
            Some(old) if u64::from(reading.abs_diff(old)) * 16 <= u64::from(old) => {}
            Some(_) | None => self.measured = Some(reading),
        }
    }
}

/// Contracts.
impl Twin {
    /// Opens the contract of a fill and tells of the trade; returns what it needs in escrow.
    pub(super) fn open_contract(&mut self, new: &NewContract) -> Amount {
        let NewContract { bid, ask, taker, price, units } = *new;
        let spec = &self.market(ask.instrument).spec;
        let (buyer_fee_bps, provider_fee_bps) = match taker {
            Side::Bid => (spec.taker_fee_bps, spec.maker_fee_bps),
            Side::Ask => (spec.maker_fee_bps, spec.taker_fee_bps),
        };
        let expires_at = Timestamp(self.now.0.saturating_add(spec.contract_ttl_ns));
        let cost = value(price, units);
        let escrow = Amount(cost.0 + cost.fee(buyer_fee_bps).0);
        let promised = if let Terms::Ask { attributes } = ask.terms { attributes } else { Attributes::default() };
        let counted = self.find_order(bid.id).is_some_and(|open| open.counted);
        let breaker = self.provider(ask.account, ask.instrument).breaker;
        let slot = lowest_free(self.contracts.iter().map(|contract| slot_of(contract.id.0)).collect());
        self.contracts_made += 1;
        let id = ContractId(slotted_id(self.contracts_made, slot));
        self.contracts.push(Contract {
            id,
            instrument: ask.instrument,
            ask: ask.id,
            buyer: bid.account,
            provider: ask.account,
            price,
            remaining: units,
            escrow,
            promised,
            buyer_fee_bps,
            provider_fee_bps,
            counted_key: counted.then_some(bid.key),
            expires_at,
            probe: matches!(breaker, Breaker::HalfOpen { .. }),
        });
        self.tell(Event::Traded(Trade {
            contract: id,
            instrument: ask.instrument,
            bid: bid.id,
            ask: ask.id,
            buyer: bid.account,
            provider: ask.account,
            taker,
            price,
            quantity: units,
            expires_at,
        }));
        escrow
    }

    pub(super) fn put_in_escrow(&mut self, buyer: AccountId, amount: Amount) {
        self.transfer(LedgerAccount::Held(buyer), LedgerAccount::Escrow(buyer), amount, TransferCode::Escrow);
    }

    pub(super) fn report_delivery(&mut self, report: &DeliveryReport) -> Outcome {
        let found = self.contracts.iter().find(|contract| contract.id == report.contract);
        let contract = *found.ok_or(RejectReason::UnknownContract)?;
        if report.quantity > contract.remaining {
            return Err(RejectReason::DeliveryExceedsContract { remaining: contract.remaining });
        }
        self.check_room(contract.provider, value(contract.price, report.quantity))?;
        self.settle(&contract, report);
        self.measure(&contract, report);
        self.judge(&contract, report);
        if report.last {
            self.close_contract(contract.id, Expiry::Settled);
        }
        self.automatic_payout(contract.provider);
        Ok(())
    }

    /// Moves the money of a delivery.
    fn settle(&mut self, contract: &Contract, report: &DeliveryReport) {
        let Contract { buyer, provider, .. } = *contract;
        let spec = &self.market(contract.instrument).spec;
        let total = value(contract.price, report.quantity);
        let fee = total.fee(spec.delivery_fee_bps + contract.provider_fee_bps);
        let buyer_fee = total.fee(contract.buyer_fee_bps);
        let broken = is_broken(&contract.promised, report, spec);
        let rebate = if broken { total.fee(spec.rebate_bps) } else { Amount::ZERO };
        let earned = Amount(total.0 - fee.0);
        for open in self.contracts.iter_mut().filter(|open| open.id == contract.id) {
            open.remaining.0 -= report.quantity.0;
            open.escrow.0 -= total.0 + buyer_fee.0;
        }
        self.tell(Event::Delivered {
            contract: contract.id,
            quantity: report.quantity,
            earned,
            fee,
            buyer_fee,
            rebate,
            first_token_ms: report.first_token_ms,
            throughput_tps: report.throughput_tps,
            outcome: report.outcome,
            tokens: report.tokens,
        });
        let escrow = LedgerAccount::Escrow(buyer);
        self.transfer(escrow, LedgerAccount::Earned(provider), earned, TransferCode::Delivery);
        self.transfer(escrow, LedgerAccount::Fees, fee, TransferCode::DeliveryFee);
        self.transfer(escrow, LedgerAccount::Fees, buyer_fee, TransferCode::TradeFee);
        self.transfer(LedgerAccount::Earned(provider), LedgerAccount::Available(buyer), rebate, TransferCode::Rebate);
        self.spend(buyer, contract.counted_key, Amount(total.0 + buyer_fee.0 - rebate.0));
    }

    pub(super) fn close_contract(&mut self, id: ContractId, reason: Expiry) {
        let contract = *invariant(self.contracts.iter().find(|open| open.id == id), "an open contract closes");
        self.contracts.retain(|open| open.id != id);
        let (unused, refund) = (contract.remaining, contract.escrow);
        self.tell(Event::ContractClosed { contract: id, unused, refund, reason });
        self.return_unused(&contract);
    }
}

/// Measurements.
impl Twin {
    fn measure(&mut self, contract: &Contract, report: &DeliveryReport) {
        let (account, instrument) = (contract.provider, contract.instrument);
        let asks = self.asks(account, instrument, Place::Book);
        let before: Vec<Attributes> = asks.iter().map(|ask| self.effective(ask)).collect();
        let old = self.provider(account, instrument);
        let mut new = old;
        if let Some(latency_ms) = report.first_token_ms {
            new.latency.sample(latency_ms, true);
        }
        if let Some(throughput_tps) = report.throughput_tps {
            new.throughput.sample(throughput_tps, false);
        }
        self.set_provider(new);
        let (latency_ms, throughput_tps) = (new.latency.measured, new.throughput.measured);
        if (latency_ms, throughput_tps) == (old.latency.measured, old.throughput.measured) {
            return;
        }
        self.tell(Event::ProviderMeasured { provider: account, instrument, latency_ms, throughput_tps });
        for (ask, before) in asks.iter().zip(before) {
            let in_book = self.find_order(ask.id).is_some_and(|open| open.place == Place::Book);
            if in_book && self.effective(ask) != before {
                self.join_back(ask.id);
                self.rearrive(ask.id);
            }
        }
    }
}

/// Circuit breakers.
impl Twin {
    fn set_breaker(&mut self, account: AccountId, instrument: InstrumentId, state: Breaker) {
        let mut provider = self.provider(account, instrument);
        provider.breaker = state;
        provider.failures = 0;
        self.set_provider(provider);
        self.tell(Event::BreakerChanged { provider: account, instrument, state });
    }

    /// What a delivery's outcome does to the provider's breaker.
    fn judge(&mut self, contract: &Contract, report: &DeliveryReport) {
        use crate::Outcome::{Abandoned, Completed, Failed, Overstated};
        let (account, instrument) = (contract.provider, contract.instrument);
        let mut provider = self.provider(account, instrument);
        match (provider.breaker, report.outcome) {
            (Breaker::Closed, Completed) => {
                provider.failures = 0;
                self.set_provider(provider);
            }
            (Breaker::Closed, Failed | Overstated) if provider.failures + 1 < BREAKER_FAILURES => {
                provider.failures += 1;
                self.set_provider(provider);
            }
            (Breaker::Closed | Breaker::HalfOpen { .. }, Failed | Overstated) => {
                let until = Timestamp(self.now.0.saturating_add(BREAKER_COOL_DOWN_NS));
                self.set_breaker(account, instrument, Breaker::Open { until });
                self.park_asks(account, instrument);
            }
            (Breaker::HalfOpen { .. }, Completed) => {
                self.set_breaker(account, instrument, Breaker::Closed);
                self.return_asks(account, instrument);
            }
            (Breaker::Open { .. }, Completed | Failed | Overstated) | (_, Abandoned) => {}
        }
    }

    pub(super) fn half_open_breaker(&mut self, account: AccountId, instrument: InstrumentId) {
        self.set_breaker(account, instrument, Breaker::HalfOpen { probes: BREAKER_PROBES });
        self.return_asks(account, instrument);
    }

    /// A fill of a provider whose breaker is half-open.
    pub(super) fn use_probe(&mut self, account: AccountId, instrument: InstrumentId) {
        if let Breaker::HalfOpen { probes } = self.provider(account, instrument).breaker {
            self.set_breaker(account, instrument, Breaker::HalfOpen { probes: probes - 1 });
            if probes == 1 {
                self.park_asks(account, instrument);
            }
        }
    }

    /// The contract of a probe closed.
    pub(super) fn return_probe(&mut self, account: AccountId, instrument: InstrumentId) {
        match self.provider(account, instrument).breaker {
            Breaker::HalfOpen { probes } if probes < BREAKER_PROBES => {
                self.set_breaker(account, instrument, Breaker::HalfOpen { probes: probes + 1 });
                if probes == 0 {
                    self.return_asks(account, instrument);
                }
            }
            Breaker::HalfOpen { .. } | Breaker::Closed | Breaker::Open { .. } => {}
        }
    }
}
