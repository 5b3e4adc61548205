//! Folding events into rows. Changes gather in memory, where many to the same row cost one write, and go to the
//! store in one batch with the watermark.

use crate::rows::{InstrumentRow, LevelRow, OrderRow, OrderStatus, TransactionRow};
use crate::store::{StoreError, Views, account_order_key, encode, family, level_key, transaction_key};
use gollem_engine::{
    AccountId, Amount, Balance, Event, InstrumentId, InstrumentSpec, InstrumentState, LedgerAccount, Order, OrderId,
    Price, Quantity, Side, Timestamp, Trade, Transfer,
};
use rocksdb::WriteBatch;
use std::collections::{BTreeMap, btree_map};

/// Changes not yet written.
#[derive(Debug)]
pub struct Fold<'a> {
    views: &'a Views,
    watermark: u64,
    inputs: usize,
    balances: BTreeMap<AccountId, Balance>,
    orders: BTreeMap<OrderId, OrderRow>,
    levels: BTreeMap<(InstrumentId, Side, Price), LevelRow>,
    transactions: Vec<(AccountId, TransactionRow)>,
    instruments: BTreeMap<InstrumentId, InstrumentRow>,
}

/// Inputs after which gathered changes are worth a write of their own.
const INPUTS_PER_WRITE: usize = 4_096;

impl<'a> Fold<'a> {
    /// Continues where the views stand.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(views: &'a Views) -> Result<Fold<'a>, StoreError> {
        Ok(Fold {
            views,
            watermark: views.watermark()?,
            inputs: 0,
            balances: BTreeMap::new(),
            orders: BTreeMap::new(),
            levels: BTreeMap::new(),
            transactions: Vec::new(),
            instruments: BTreeMap::new(),
        })
    }

    /// The last input folded, written or not.
    pub fn watermark(&self) -> u64 {
        self.watermark
    }

    /// Folds one input's events; one that was folded before is dropped.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    ///
    /// # Panics
    /// When an input is missing in between: callers fill gaps first.
    pub fn apply(&mut self, seq: u64, at: Timestamp, events: &[Event]) -> Result<(), StoreError> {
        if seq <= self.watermark {
            return Ok(());
        }
        assert_eq!(seq, self.watermark + 1, "a view never skips an input");
        for (index, event) in (0..).zip(events) {
            self.event(seq, index, at, event)?;
        }
        self.watermark = seq;
        self.inputs += 1;
        if self.inputs >= INPUTS_PER_WRITE { self.flush() } else { Ok(()) }
    }

    fn event(&mut self, seq: u64, index: u32, at: Timestamp, event: &Event) -> Result<(), StoreError> {
        match event {
            Event::Transferred(transfer) => self.transfer(seq, index, at, transfer),
            Event::InstrumentListed { instrument, spec } => {
                self.list(*instrument, spec);
                Ok(())
            }
            Event::InstrumentStateChanged { instrument, state } => {
                self.instrument(*instrument)?.state = *state;
                Ok(())
            }
            Event::ReferencePriceSet { instrument, price } => {
                self.instrument(*instrument)?.spec.reference_price = *price;
                Ok(())
            }
            Event::OrderAccepted(order) => {
                self.accept(order, at);
                Ok(())
            }
            Event::Traded(trade) => self.trade(trade, at),
            Event::OrderRested { order, remaining } | Event::QuoteRestored { order, remaining } => {
                let row = self.order(*order)?;
                row.order.remaining = *remaining;
                row.updated_at = at;
                Ok(())
            }
            Event::OrderReplaced { order, price, quantity, remaining } => {
                let row = self.order(*order)?;
                (row.order.price, row.order.quantity, row.order.remaining) = (*price, *quantity, *remaining);
                row.updated_at = at;
                Ok(())
            }
            Event::OrderClosed { order, remaining, reason } => {
                let row = self.order(*order)?;
                row.order.remaining = *remaining;
                row.status = OrderStatus::Closed(*reason);
                row.updated_at = at;
                Ok(())
            }
            Event::LevelChanged { instrument, side, price, quantity, orders } => {
                let row = LevelRow { side: *side, price: *price, quantity: *quantity, orders: *orders };
                self.levels.insert((*instrument, *side, *price), row);
                Ok(())
            }
            Event::Rejected(_)
            | Event::AccountOpened { .. }
            | Event::CreditsPurchased { .. }
            | Event::PurchaseRepeated { .. }
            | Event::OrderRepeated(_)
            | Event::Delivered { .. }
            | Event::ContractClosed { .. }
            | Event::PayoutRequested { .. }
            | Event::PayoutConfirmed { .. }
            | Event::PayoutFailed { .. }
            | Event::OrdersCancelled { .. }
            | Event::ProviderMeasured { .. }
            | Event::BreakerChanged { .. }
            | Event::TimerSet { .. }
            | Event::TimerFired { .. }
            | Event::PurchaseRefunded { .. }
            | Event::RefundRepeated { .. }
            | Event::DisputeOpened { .. }
            | Event::DisputeRepeated { .. }
            | Event::DisputeResolved { .. }
            | Event::PayoutPolicySet { .. }
            | Event::CreditPolicySet { .. }
            | Event::KeyLimitsSet { .. }
            | Event::GuardRailSet { .. }
            | Event::GuardRailsReset { .. } => Ok(()),
        }
    }

    fn list(&mut self, id: InstrumentId, spec: &InstrumentSpec) {
        let row = InstrumentRow { id, spec: *spec, state: InstrumentState::Open };
        self.instruments.insert(id, row);
    }

    fn accept(&mut self, order: &Order, at: Timestamp) {
        let row = OrderRow {
            order: *order,
            status: OrderStatus::Open,
            filled: Quantity(0),
            value: Amount::ZERO,
            created_at: at,
            updated_at: at,
        };
        self.orders.insert(order.id, row);
    }

    fn trade(&mut self, trade: &Trade, at: Timestamp) -> Result<(), StoreError> {
        for order in [trade.bid, trade.ask] {
            let row = self.order(order)?;
            row.filled.0 += trade.quantity.0;
            row.order.remaining.0 = row.order.remaining.0.saturating_sub(trade.quantity.0);
            let value = trade.price.notional(trade.quantity).unwrap_or_default();
            row.value.0 = row.value.0.saturating_add(value.0);
            row.updated_at = at;
        }
        Ok(())
    }

    fn transfer(&mut self, seq: u64, index: u32, at: Timestamp, transfer: &Transfer) -> Result<(), StoreError> {
        self.add(transfer.debit, -transfer.amount.0)?;
        self.add(transfer.credit, transfer.amount.0)?;
        let row = TransactionRow { seq, index, at, transfer: *transfer };
        let (debited, credited) = (transfer.debit.owner(), transfer.credit.owner());
        let second = credited.filter(|_| credited != debited);
        self.transactions.extend(debited.into_iter().chain(second).map(|account| (account, row)));
        Ok(())
    }

    fn add(&mut self, account: LedgerAccount, atoms: i64) -> Result<(), StoreError> {
        let Some(owner) = account.owner() else { return Ok(()) };
        if let btree_map::Entry::Vacant(entry) = self.balances.entry(owner) {
            entry.insert(self.views.balance(owner)?);
        }
        let Some(balance) = self.balances.get_mut(&owner) else {
            return Ok(());
        };
        match account {
            LedgerAccount::Available(_) => balance.available.0 += atoms,
            LedgerAccount::Held(_) => balance.held.0 += atoms,
            LedgerAccount::Escrow(_) => balance.escrow.0 += atoms,
            LedgerAccount::Earned(_) => balance.earned.0 += atoms,
            LedgerAccount::PayoutPending(_) => balance.payout_pending.0 += atoms,
            // What a party owes is the other side of what the platform is owed.
            LedgerAccount::Receivable(_) => balance.owed.0 -= atoms,
            LedgerAccount::Fees | LedgerAccount::External => {}
        }
        Ok(())
    }

    fn order(&mut self, id: OrderId) -> Result<&mut OrderRow, StoreError> {
        match self.orders.entry(id) {
            btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            btree_map::Entry::Vacant(entry) => {
                let row = self.views.order(id)?.ok_or(StoreError::Unreadable { family: family::ORDERS })?;
                Ok(entry.insert(row))
            }
        }
    }

    fn instrument(&mut self, id: InstrumentId) -> Result<&mut InstrumentRow, StoreError> {
        match self.instruments.entry(id) {
            btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            btree_map::Entry::Vacant(entry) => {
                let row = self.views.instrument(id)?;
                Ok(entry.insert(row.ok_or(StoreError::Unreadable { family: family::INSTRUMENTS })?))
            }
        }
    }

    /// Writes what gathered.
    ///
    /// # Errors
    /// When the store cannot be written; nothing of the batch is then visible.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        if self.inputs == 0 {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        let balances = self.views.family(family::BALANCES)?;
        for (account, balance) in std::mem::take(&mut self.balances) {
            batch.put_cf(balances, account.0.to_be_bytes(), encode(&balance));
        }
        let transactions = self.views.family(family::TRANSACTIONS)?;
        for (account, row) in self.transactions.drain(..) {
            batch.put_cf(transactions, transaction_key(account, row.seq, row.index), encode(&row));
        }
        let instruments = self.views.family(family::INSTRUMENTS)?;
        for (id, row) in std::mem::take(&mut self.instruments) {
            batch.put_cf(instruments, id.0.to_be_bytes(), encode(&row));
        }
        let levels = self.views.family(family::LEVELS)?;
        for ((instrument, side, price), row) in std::mem::take(&mut self.levels) {
            let key = level_key(instrument, side, price);
            match row.orders {
                0 => batch.delete_cf(levels, key),
                _ => batch.put_cf(levels, key, encode(&row)),
            }
        }
        self.flush_orders(&mut batch)?;
        self.views.write(batch, self.watermark)?;
        self.inputs = 0;
        Ok(())
    }

    fn flush_orders(&mut self, batch: &mut WriteBatch) -> Result<(), StoreError> {
        let orders = self.views.family(family::ORDERS)?;
        let by_account = self.views.family(family::ORDERS_BY_ACCOUNT)?;
        let open_orders = self.views.family(family::OPEN_ORDERS)?;
        for (id, row) in std::mem::take(&mut self.orders) {
            let key = account_order_key(row.order.account, id);
            batch.put_cf(orders, id.0.to_be_bytes(), encode(&row));
            batch.put_cf(by_account, key, []);
            match row.status {
                OrderStatus::Open => batch.put_cf(open_orders, key, []),
                OrderStatus::Closed(_) => batch.delete_cf(open_orders, key),
            }
        }
        Ok(())
    }
}
