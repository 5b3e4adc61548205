//! Contracts: what a trade obliges. A contract is drawn down by deliveries and ends when the last one
//! is reported or its time runs out; what it did not use returns to the buyer, and its units to the
//! ask if that still rests.

use crate::{
    AccountId, Amount, ContractId, DeliveryReport, Engine, Event, Expiry, InstrumentId, LedgerAccount, OrderId, Price,
    Quantity, RejectReason, Timestamp, Trade, Transfer, TransferCode, invariant,
};
use bincode::{Decode, Encode};

/// An open contract. Its escrow is always `price` times `remaining`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Contract {
    /// Who pays.
    pub buyer: AccountId,
    /// Who delivers.
    pub provider: AccountId,
    /// Of what.
    pub instrument: InstrumentId,
    /// The quote it came from.
    pub ask: OrderId,
    /// Atoms a unit.
    pub price: Price,
    /// Units traded.
    pub quantity: Quantity,
    /// Units not yet delivered.
    pub remaining: Quantity,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

impl Engine {
    /// Records the contract of a trade; the escrow has moved.
    pub(crate) fn open_contract(&mut self, trade: &Trade) {
        let contract = Contract {
            buyer: trade.buyer,
            provider: trade.provider,
            instrument: trade.instrument,
            ask: trade.ask,
            price: trade.price,
            quantity: trade.quantity,
            remaining: trade.quantity,
            expires_at: trade.expires_at,
        };
        self.contracts.insert(trade.contract, contract);
        self.expiries.insert((trade.expires_at, trade.contract));
        self.usage_mut(trade.buyer).open_contracts += 1;
    }

    /// Settles a delivery: the provider's part and the fee leave the escrow; after the last delivery
    /// the rest returns.
    pub(crate) fn report_delivery(
        &mut self,
        report: &DeliveryReport,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), RejectReason> {
        let contract = *self.contracts.get(&report.contract).ok_or(RejectReason::UnknownContract)?;
        if report.quantity > contract.remaining {
            return Err(RejectReason::DeliveryExceedsContract { remaining: contract.remaining });
        }
        let total = value(contract.price, report.quantity);
        if !self.ledger.has_room(contract.provider, total) {
            let max = Amount(crate::limits::ACCOUNT_ATOMS_MAX);
            return Err(RejectReason::BalanceTooLarge { max });
        }
        let spec = &invariant(self.market(contract.instrument), "a contract's instrument is listed").spec;
        let fee = total.fee(spec.delivery_fee_bps);
        let earned = Amount(total.0 - fee.0);
        events.push(Event::Delivered {
            contract: report.contract,
            quantity: report.quantity,
            earned,
            fee,
            first_token_ms: report.first_token_ms,
            throughput_tps: report.throughput_tps,
            outcome: report.outcome,
        });
        let debit = LedgerAccount::Escrow(contract.buyer);
        let credit = LedgerAccount::Earned(contract.provider);
        let delivery = Transfer { debit, credit, amount: earned, code: TransferCode::Delivery };
        self.ledger.transfer(delivery, events);
        let delivery_fee =
            Transfer { debit, credit: LedgerAccount::Fees, amount: fee, code: TransferCode::DeliveryFee };
        self.ledger.transfer(delivery_fee, events);
        let open = invariant(self.contracts.get_mut(&report.contract), "the contract was open above");
        open.remaining.0 -= report.quantity.0;
        if report.last {
            self.close_contract(report.contract, Expiry::Settled, at, events);
        }
        Ok(())
    }

    /// Ends every contract whose time is up, earliest first.
    pub(crate) fn expire_contracts(&mut self, now: Timestamp, events: &mut Vec<Event>) {
        while let Some(&(expires_at, contract)) = self.expiries.first()
            && expires_at <= now
        {
            self.close_contract(contract, Expiry::Expired, now, events);
        }
    }

    fn close_contract(&mut self, id: ContractId, reason: Expiry, at: Timestamp, events: &mut Vec<Event>) {
        let contract = invariant(self.contracts.remove(&id), "only an open contract closes");
        let indexed = self.expiries.remove(&(contract.expires_at, id));
        assert!(indexed, "every open contract has a deadline");
        self.usage_mut(contract.buyer).open_contracts -= 1;
        let refund = value(contract.price, contract.remaining);
        events.push(Event::ContractClosed { contract: id, unused: contract.remaining, refund, reason });
        let transfer = Transfer {
            debit: LedgerAccount::Escrow(contract.buyer),
            credit: LedgerAccount::Available(contract.buyer),
            amount: refund,
            code: TransferCode::Refund,
        };
        self.ledger.transfer(transfer, events);
        if contract.remaining.0 > 0 {
            self.restore_quote(contract.ask, contract.remaining, at, events);
        }
    }
}

/// What `quantity` of a contract is worth: part of an escrow that existed, so it cannot overflow.
fn value(price: Price, quantity: Quantity) -> Amount {
    invariant(price.notional(quantity), "a contract's escrow fitted when it was made")
}
