//! Deliveries: how a contract is drawn down, what each side pays and earns, and how a contract ends.

use crate::contracts::Contract;
use crate::deadlines::Deadline;
use crate::flags::Flags;
use crate::ids::dense_index;
use crate::limits::{ACCOUNT_ATOMS_MAX, PAYOUT_THRESHOLD_ATOMS};
use crate::{
    AccountId, Amount, ContractId, DeliveryReport, Engine, Event, Events, Expiry, InstrumentId, InstrumentSpec,
    LedgerAccount, OrderId, Quantity, RejectReason, Timestamp, Transfer, TransferCode, invariant,
};

/// What a delivery moves, in atoms.
#[derive(Clone, Copy, Debug)]
struct Settlement {
    earned: Amount,
    fee: Amount,
    buyer_fee: Amount,
    rebate: Amount,
}

impl Engine {
    /// Settles a delivery: each side's part leaves the escrow; after the last the rest returns.
    pub(crate) fn report_delivery(
        &mut self,
        report: &DeliveryReport,
        at: Timestamp,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        let contract = *self.contracts.get(report.contract).ok_or(RejectReason::UnknownContract)?;
        if report.quantity > contract.remaining {
            return Err(RejectReason::DeliveryExceedsContract { remaining: contract.remaining });
        }
        let total = invariant(contract.price.notional(report.quantity), "part of what was escrowed");
        if !self.ledger.has_room(contract.provider, total) {
            return Err(RejectReason::BalanceTooLarge { max: Amount(ACCOUNT_ATOMS_MAX) });
        }
        let settlement = settle(&contract, report, total, self.market(contract.instrument).spec());
        events.push(Event::Delivered {
            contract: report.contract,
            quantity: report.quantity,
            earned: settlement.earned,
            fee: settlement.fee,
            buyer_fee: settlement.buyer_fee,
            rebate: settlement.rebate,
            first_token_ms: report.first_token_ms,
            throughput_tps: report.throughput_tps,
            outcome: report.outcome,
            tokens: report.tokens,
        });
        self.pay(&contract, &settlement, events);
        let open = self.contracts.get_mut(report.contract);
        open.remaining.0 -= report.quantity.0;
        let taken = total.0 + settlement.buyer_fee.0;
        open.escrow.0 -= taken;
        self.reserve_for_key(contract.buyer, contract.key, -taken);
        self.spend(&contract, Amount(taken - settlement.rebate.0), at);
        self.learn(contract.provider, contract.instrument, report, at, events);
        if report.last {
            self.close_contract(report.contract, Expiry::Settled, at, events);
        }
        self.pay_out_automatically(contract.provider, events);
        Ok(())
    }

    fn pay(&mut self, contract: &Contract, settlement: &Settlement, events: &mut Events) {
        let (escrow, earned) = (LedgerAccount::Escrow(contract.buyer), LedgerAccount::Earned(contract.provider));
        let transfers = [
            (escrow, earned, settlement.earned, TransferCode::Delivery),
            (escrow, LedgerAccount::Fees, settlement.fee, TransferCode::DeliveryFee),
            (escrow, LedgerAccount::Fees, settlement.buyer_fee, TransferCode::TradeFee),
            (earned, LedgerAccount::Available(contract.buyer), settlement.rebate, TransferCode::Rebate),
        ];
        for (debit, credit, amount, code) in transfers {
            self.ledger.transfer(Transfer { debit, credit, amount, code }, events);
        }
    }

    fn pay_out_automatically(&mut self, provider: AccountId, events: &mut Events) {
        let automatic = self.policies.get(&provider).is_some_and(|policies| policies.payout.automatic);
        let Some(balance) = self.ledger.balance(provider).filter(|_| automatic) else { return };
        if balance.owed.0 == 0 && balance.earned.0 >= PAYOUT_THRESHOLD_ATOMS {
            self.start_payout(provider, balance.earned.whole_cents(), events);
        }
    }

    /// Ends a market's next contract if its time has come, and sets the deadline of the one after it.
    pub(crate) fn expire_contract(
        &mut self,
        instrument: InstrumentId,
        due: Timestamp,
        now: Timestamp,
        events: &mut Events,
    ) {
        if let Some((contract, expires_at)) = self.contracts.first(&self.market(instrument).contracts)
            && expires_at <= due
        {
            self.close_contract(contract, Expiry::Expired, now, events);
        }
        // Only now: a contract made just above must not set the deadline of one that ends before it.
        self.market_mut(instrument).contracts_due = false;
        self.set_contract_deadline(instrument);
    }

    /// Sets the deadline of a market's next contract, unless one is set.
    pub(crate) fn set_contract_deadline(&mut self, instrument: InstrumentId) {
        let market = self.market(instrument);
        if let Some((_, expires_at)) = self.contracts.first(&market.contracts)
            && !market.contracts_due
        {
            self.market_mut(instrument).contracts_due = true;
            self.deadlines.set(expires_at, Deadline::Contracts(instrument));
        }
    }

    fn close_contract(&mut self, id: ContractId, reason: Expiry, at: Timestamp, events: &mut Events) {
        let contract = *invariant(self.contracts.get(id), "only an open contract closes");
        let market = invariant(dense_index(contract.instrument.0), "a contract's instrument is listed");
        self.contracts.close(id, &mut self.markets[market].contracts);
        self.ledger.account_mut(contract.buyer).open_contracts -= 1;
        let (unused, refund) = (contract.remaining, contract.escrow);
        events.push(Event::ContractClosed { contract: id, unused, refund, reason });
        self.return_unused(&contract, at, events);
    }

    /// Returns what a contract that ended did not use: money to the buyer, a probe and units to the provider.
    pub(crate) fn return_unused(&mut self, contract: &Contract, at: Timestamp, events: &mut Events) {
        let transfer = Transfer {
            debit: LedgerAccount::Escrow(contract.buyer),
            credit: LedgerAccount::Available(contract.buyer),
            amount: contract.escrow,
            code: TransferCode::Refund,
        };
        self.ledger.transfer(transfer, events);
        self.reserve_for_key(contract.buyer, contract.key, -contract.escrow.0);
        if contract.probe {
            self.return_probe(contract.provider, contract.instrument, at, events);
        }
        if contract.remaining.0 > 0 {
            self.restore_quote(contract.ask, contract.remaining, at, events);
        }
    }

    /// Returns units of a closed contract to the ask they came from, if it is still open.
    fn restore_quote(&mut self, id: OrderId, units: Quantity, at: Timestamp, events: &mut Events) {
        let Some(slot) = self.orders.find(id) else { return };
        let hot = *self.orders.hot(slot);
        let remaining = hot.remaining + units.0;
        assert!(remaining <= hot.quantity, "a quote never grows beyond what it offered");
        events.push(Event::QuoteRestored { order: id, remaining: Quantity(remaining) });
        self.resize(slot, remaining, events);
        if hot.flags.has(Flags::BOOKED) {
            self.rearrive(slot, true, at, events);
        }
    }
}

/// Each side's part of a delivery worth `total`.
fn settle(contract: &Contract, report: &DeliveryReport, total: Amount, spec: &InstrumentSpec) -> Settlement {
    let fee = total.fee(contract.provider_fee_bps);
    let broken = breaks_promise(contract, report, spec);
    Settlement {
        earned: Amount(total.0 - fee.0),
        fee,
        buyer_fee: total.fee(contract.buyer_fee_bps),
        rebate: if broken { total.fee(spec.rebate_bps) } else { Amount::ZERO },
    }
}

/// Whether a delivery missed what its ask promised by more than the tolerance.
fn breaks_promise(contract: &Contract, report: &DeliveryReport, spec: &InstrumentSpec) -> bool {
    let tolerance = u64::from(spec.tolerance_bps);
    let slow = |measured: u32| u64::from(measured) * 10_000 > u64::from(contract.latency_ms) * (10_000 + tolerance);
    let thin = |measured: u32| {
        u64::from(measured) * 10_000 < u64::from(contract.throughput_tps) * 10_000_u64.saturating_sub(tolerance)
    };
    (contract.latency_ms > 0 && report.first_token_ms.is_some_and(slow))
        || (contract.throughput_tps > 0 && report.throughput_tps.is_some_and(thin))
}
