//! Quotes locked, contracts drawn down and ended, and what that says of their providers.

use super::{Fold, possible};
use crate::keys;
use crate::rows::{BreakerRow, ContractRow, ContractStatus, Delivered, DeliveryRow, LockRow, UsageRow};
use crate::store::{Pending, StoreError, family};
use gollem_engine::{
    AccountId, Amount, Breaker, ContractId, Event, Expiry, InstrumentId, OrderId, Outcome, Quantity, Side, Terms,
    Timestamp, Trade,
};

impl Fold<'_> {
    /// A [`Event::QuoteLocked`]: its units leave the ask, which keeps its place.
    pub(super) fn lock_quote(&mut self, event: &Event) -> Result<(), StoreError> {
        let Event::QuoteLocked { lock, account, key, provider, instrument, ask, price, quantity, escrow, until } =
            *event
        else {
            return Ok(());
        };
        let row = LockRow {
            id: lock,
            key,
            provider,
            instrument,
            ask,
            price,
            quantity,
            escrow,
            created_at: self.now.at,
            expires_at: until,
        };
        self.locks.add(keys::owned(account, lock.0), row);
        self.shrink(ask, quantity)
    }

    /// A lock was used or released.
    pub(super) fn end_lock(&mut self, account: AccountId, lock: OrderId) -> Result<(), StoreError> {
        *self.locks.change(self.views, keys::owned(account, lock.0))? = None;
        Ok(())
    }

    pub(super) fn open_contract(&mut self, trade: &Trade, value: Amount) -> Result<(), StoreError> {
        let key = self.orders.known(self.views, keys::order(trade.bid))?.order.key;
        let promised = match self.orders.known(self.views, keys::order(trade.ask))?.order.terms {
            Terms::Ask { attributes } => attributes,
            Terms::Bid { .. } => return Err(StoreError::Unreadable { family: family::ORDERS }),
        };
        let spec = &self.instruments.known(self.views, keys::instrument(trade.instrument))?.spec;
        let fee_bps = if trade.taker == Side::Bid { spec.taker_fee_bps } else { spec.maker_fee_bps };
        let row = ContractRow {
            id: trade.contract,
            buyer: trade.buyer,
            key,
            provider: trade.provider,
            instrument: trade.instrument,
            bid: trade.bid,
            ask: trade.ask,
            taker: trade.taker,
            price: trade.price,
            quantity: trade.quantity,
            delivered: Quantity(0),
            sums: Delivered::default(),
            escrow: Amount(possible(value.0.checked_add(value.fee(fee_bps).0))?),
            earned: Amount::ZERO,
            paid: Amount::ZERO,
            latency_ms: promised.latency_ms,
            throughput_tps: promised.throughput_tps,
            created_at: self.now.at,
            created_seq: self.now.seq,
            expires_at: trade.expires_at,
            status: ContractStatus::Open,
        };
        self.contracts.add(keys::contract(trade.contract), row);
        Ok(())
    }

    /// A [`Event::Delivered`].
    pub(super) fn deliver(&mut self, event: &Event) -> Result<(), StoreError> {
        let Event::Delivered {
            contract,
            quantity,
            earned,
            fee,
            buyer_fee,
            rebate,
            tokens,
            first_token_ms,
            throughput_tps,
            outcome,
        } = event
        else {
            return Ok(());
        };
        let row = self.contracts.change_known(self.views, keys::contract(*contract))?;
        let taken = possible(earned.0.checked_add(fee.0).and_then(|sum| sum.checked_add(buyer_fee.0)))?;
        let paid = possible(taken.checked_sub(rebate.0))?;
        row.delivered.0 = possible(row.delivered.0.checked_add(quantity.0))?;
        row.escrow.0 = possible(row.escrow.0.checked_sub(taken))?;
        let kept = earned.0.checked_sub(rebate.0).and_then(|kept| row.earned.0.checked_add(kept));
        row.earned.0 = possible(kept)?;
        row.paid.0 = possible(row.paid.0.checked_add(paid))?;
        possible(row.sums.add(event))?;
        let row = *row;
        let reference = self.instruments.known(self.views, keys::instrument(row.instrument))?.spec.reference_price;
        let used = UsageRow {
            requests: 1,
            input: tokens.input.into(),
            cached_input: tokens.cached_input.into(),
            output: tokens.output.into(),
            units: quantity.0.into(),
            spent: i128::from(paid),
            reference: possible(i128::from(reference.0).checked_mul(i128::from(quantity.0)))?,
        };
        let key = keys::usage(row.buyer, day(self.now.at), row.key, row.instrument);
        let usage = self.usage.change(self.views, key)?.get_or_insert_default();
        possible(usage.reference.checked_add(used.reference))?;
        usage.add(&used);
        let card = self.scorecards.change(self.views, keys::scorecard(row.provider, row.instrument))?;
        let card = card.get_or_insert_default();
        match outcome {
            Outcome::Completed => card.completed += 1,
            Outcome::Abandoned => card.abandoned += 1,
            Outcome::Failed => card.failed += 1,
            Outcome::Overstated => card.overstated += 1,
        }
        card.breaches += u64::from(rebate.0 > 0);
        card.units += u128::from(quantity.0);
        card.earned += i128::from(earned.0);
        card.rebates += i128::from(rebate.0);
        card.fees += i128::from(fee.0);
        card.latency_ms.add(row.latency_ms, *first_token_ms);
        card.throughput_tps.add(row.throughput_tps, *throughput_tps);
        let key = keys::model_day(row.instrument, day(self.now.at));
        let model = self.model_days.change(self.views, key)?.get_or_insert_default();
        model.deliver(*outcome, tokens, *first_token_ms);
        model.units += u128::from(quantity.0);
        model.spent += i128::from(paid);
        let delivery = DeliveryRow {
            seq: self.now.seq,
            index: self.now.index,
            at: self.now.at,
            contract: *contract,
            buyer: row.buyer,
            instrument: row.instrument,
            quantity: *quantity,
            earned: *earned,
            fee: *fee,
            buyer_fee: *buyer_fee,
            rebate: *rebate,
            first_token_ms: *first_token_ms,
            throughput_tps: *throughput_tps,
            outcome: *outcome,
            tokens: *tokens,
        };
        for account in parties(&row) {
            let key = keys::happened(account.0, delivery.seq, delivery.index);
            self.pending.put(family::DELIVERIES, &key, &delivery)?;
        }
        self.spend(row.buyer, Amount(paid))
    }

    pub(super) fn close_contract(&mut self, contract: ContractId, reason: Expiry) -> Result<(), StoreError> {
        let row = self.contracts.change_known(self.views, keys::contract(contract))?;
        row.status = ContractStatus::Closed { reason, at: self.now.at, seq: self.now.seq };
        row.escrow = Amount::ZERO;
        Ok(())
    }

    pub(super) fn measure(
        &mut self,
        provider: AccountId,
        instrument: InstrumentId,
        latency_ms: Option<u32>,
        throughput_tps: Option<u32>,
    ) -> Result<(), StoreError> {
        let card = self.scorecards.change(self.views, keys::scorecard(provider, instrument))?.get_or_insert_default();
        let before = (card.effective_latency_ms, card.effective_throughput_tps);
        (card.effective_latency_ms, card.effective_throughput_tps) = (latency_ms, throughput_tps);
        self.move_asks(provider, instrument, before, (latency_ms, throughput_tps))
    }

    pub(super) fn break_circuit(
        &mut self,
        provider: AccountId,
        instrument: InstrumentId,
        state: Breaker,
    ) -> Result<(), StoreError> {
        let card = self.scorecards.change(self.views, keys::scorecard(provider, instrument))?.get_or_insert_default();
        let before = std::mem::replace(&mut card.breaker, state);
        let row = BreakerRow { seq: self.now.seq, index: self.now.index, at: self.now.at, state };
        let key = keys::breaker(provider, instrument, row.seq, row.index);
        self.pending.put(family::BREAKERS, &key, &row)?;
        match (is_suspended(before), is_suspended(state)) {
            (false, true) => self.park(provider, instrument),
            (true, false) => self.unpark(provider, instrument),
            (false, false) | (true, true) => Ok(()),
        }
    }
}

/// Whole days since the epoch.
fn day(at: Timestamp) -> u32 {
    (at.0 / 86_400_000_000_000) as u32 // 64 bits of nanoseconds are 213,504 days.
}

/// Whether a provider's asks are out of the book.
fn is_suspended(breaker: Breaker) -> bool {
    matches!(breaker, Breaker::Open { .. } | Breaker::HalfOpen { probes: 0 })
}

/// Buyer and provider, once where they are one.
fn parties(row: &ContractRow) -> impl Iterator<Item = AccountId> + use<> {
    let other = Some(row.provider).filter(|provider| *provider != row.buyer);
    std::iter::once(row.buyer).chain(other)
}

/// Rows that find a contract by who is part of it.
pub(super) fn index(
    pending: &mut Pending<'_>,
    before: Option<&ContractRow>,
    now: Option<&ContractRow>,
) -> Result<bool, StoreError> {
    let Some(row) = now else { return Ok(false) };
    let is_open = |row: &ContractRow| row.status == ContractStatus::Open;
    let (was, is) = (before.is_some_and(is_open), is_open(row));
    for account in parties(row) {
        let key = keys::owned(account, row.id.0);
        if before.is_none() {
            pending.index(family::CONTRACTS_BY_ACCOUNT, key, true);
        }
        if was != is {
            pending.index(family::OPEN_CONTRACTS, key, is);
        }
    }
    Ok(is)
}
