//! Folding events into rows. Changes gather in memory, where many to the same row cost one write, and go to the
//! store in one batch with the watermark.
//!
//! Invariant: rows depend on events and their positions only, never on how inputs were batched.
//!
//! | file | views |
//! |---|---|
//! | `orders` | orders and where they queue |
//! | `market` | instruments, depth, trades, candles |
//! | `money` | balances, transactions, policies, spending, payouts |
//! | `contracts` | locked quotes, contracts, deliveries: usage, scorecards |

mod contracts;
mod market;
mod money;
mod orders;

use crate::rows::{
    CandleRow, ContractRow, InstrumentRow, LevelRow, LockRow, ModelDayRow, Movement, OrderRow, PayoutRow, PayoutStatus,
    PoliciesRow, ScorecardRow, UsageRow,
};
use crate::store::{Pending, StoreError, Views, family};
use crate::table::Table;
use gollem_engine::{Balance, Event, KeyLimits, Timestamp};
pub use money::add as add_to_balance;
pub(crate) use money::minute;
use orders::Arrivals;
pub(crate) use orders::effective;
use rocksdb::perf::{PerfStatsLevel, set_perf_stats};

/// Where an event stands.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    seq: u64,
    index: u32,
    at: Timestamp,
}

/// Changes not yet written.
#[derive(Debug)]
pub struct Fold<'a> {
    views: &'a Views,
    pending: Pending<'a>,
    /// Of the last input folded, and of the event being folded.
    now: Position,
    offset: Option<u64>,
    inputs: usize,
    /// Ledger lines, which are written in the order of their keys: neighbours are inserted faster.
    lines: Vec<([u8; 16], Movement)>,
    balances: Table<4, Balance>,
    policies: Table<4, PoliciesRow>,
    key_limits: Table<8, KeyLimits>,
    spending: Table<6, (u32, i128)>,
    payouts: Table<12, PayoutRow>,
    usage: Table<16, UsageRow>,
    orders: Table<8, OrderRow>,
    levels: Table<13, LevelRow>,
    instruments: Table<4, InstrumentRow>,
    contracts: Table<8, ContractRow>,
    locks: Table<12, LockRow>,
    candles: Table<16, CandleRow>,
    scorecards: Table<8, ScorecardRow>,
    model_days: Table<8, ModelDayRow>,
    arrivals: Arrivals,
}

/// Inputs after which gathered changes are worth a write of their own.
const INPUTS_PER_WRITE: usize = 4_096;

impl<'a> Fold<'a> {
    /// Continues where the views stand.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(views: &'a Views) -> Result<Fold<'a>, StoreError> {
        // RocksDB counts each comparison of keys, for whoever asks this thread; nobody does, and it is a fifth of a write.
        set_perf_stats(PerfStatsLevel::Disable);
        Ok(Fold {
            views,
            pending: Pending::new(views),
            now: Position { seq: views.watermark()?, ..Position::default() },
            offset: None,
            inputs: 0,
            lines: Vec::new(),
            balances: Table::new(family::BALANCES),
            policies: Table::new(family::POLICIES),
            key_limits: Table::new(family::KEY_LIMITS),
            spending: Table::new(family::SPENDING),
            payouts: Table::new(family::PAYOUTS),
            usage: Table::new(family::USAGE),
            orders: Table::new(family::ORDERS),
            levels: Table::new(family::LEVELS),
            instruments: Table::new(family::INSTRUMENTS),
            contracts: Table::new(family::CONTRACTS),
            locks: Table::new(family::LOCKS),
            candles: Table::new(family::CANDLES),
            scorecards: Table::new(family::SCORECARDS),
            model_days: Table::new(family::MODEL_DAYS),
            arrivals: Arrivals::default(),
        })
    }

    /// The last input folded, written or not.
    pub fn watermark(&self) -> u64 {
        self.now.seq
    }

    /// Folds one input's events; one that was folded before is dropped.
    ///
    /// # Errors
    /// When the store cannot be read or written, or the events are impossible. What was folded since the last write is then
    /// not to be written any more: go on with a new fold.
    ///
    /// # Panics
    /// When an input is missing in between: callers fill gaps first.
    pub fn apply(&mut self, seq: u64, at: Timestamp, events: &[Event]) -> Result<(), StoreError> {
        if seq <= self.now.seq {
            return Ok(());
        }
        assert_eq!(seq, self.now.seq + 1, "a view never skips an input");
        self.arrivals = Arrivals::default();
        for (index, event) in (0..).zip(events) {
            self.now = Position { seq, index, at };
            self.event(event)?;
        }
        self.now = Position { seq, index: 0, at };
        self.inputs += 1;
        if self.inputs >= INPUTS_PER_WRITE { self.flush() } else { Ok(()) }
    }

    /// Notes where in Kafka to go on from after what was folded so far: written with the next flush, in the same batch as
    /// the data. What is folded from elsewhere has none.
    pub fn set_offset(&mut self, offset: u64) {
        self.offset = Some(offset);
    }

    fn event(&mut self, event: &Event) -> Result<(), StoreError> {
        self.follow(event)?;
        match event {
            Event::Transferred(transfer) => self.transfer(transfer),
            Event::InstrumentListed { instrument, spec } => self.list(*instrument, spec),
            Event::InstrumentStateChanged { instrument, state } => self.set_state(*instrument, *state),
            Event::ReferencePriceSet { instrument, price } => self.set_reference_price(*instrument, *price),
            Event::OrderAccepted(order) => self.accept(order),
            Event::Traded(trade) => self.trade(trade),
            Event::OrderRested { order, remaining } | Event::QuoteRestored { order, remaining } => {
                self.resize(*order, *remaining)
            }
            Event::OrderReplaced { order, price, quantity, remaining } => {
                self.replace(*order, *price, *quantity, *remaining)
            }
            Event::OrderClosed { order, remaining, reason } => self.close(*order, *remaining, *reason),
            Event::LevelChanged { instrument, side, price, quantity, orders } => {
                self.level(*instrument, LevelRow { side: *side, price: *price, quantity: *quantity, orders: *orders })
            }
            Event::Delivered { .. } => self.deliver(event),
            Event::ContractClosed { contract, reason, .. } => self.close_contract(*contract, *reason),
            Event::ProviderMeasured { provider, instrument, latency_ms, throughput_tps } => {
                self.measure(*provider, *instrument, *latency_ms, *throughput_tps)
            }
            Event::BreakerChanged { provider, instrument, state } => self.break_circuit(*provider, *instrument, *state),
            Event::PayoutRequested { payout, account, amount } => self.request_payout(*account, *payout, *amount),
            Event::PayoutSent { payout, account, .. } => self.move_payout(*account, *payout, PayoutStatus::Sent),
            Event::PayoutConfirmed { payout, account, .. } => {
                self.move_payout(*account, *payout, PayoutStatus::Confirmed)
            }
            Event::PayoutFailed { payout, account, .. } => self.move_payout(*account, *payout, PayoutStatus::Failed),
            Event::PayoutReturned { payout, account, .. } => {
                self.move_payout(*account, *payout, PayoutStatus::Returned)
            }
            Event::PayoutPolicySet { account, policy } => self.policies_of(*account, |row| row.payout = *policy),
            Event::CreditPolicySet { account, policy } => self.policies_of(*account, |row| row.credit = *policy),
            Event::GuardRailSet { account, window, limit } => self.set_guard_rail(*account, *window, *limit),
            Event::KeyLimitsSet { account, key, limits } => self.set_key_limits(*account, *key, *limits),
            Event::GuardRailsReset { account } => self.reset_spending(*account),
            Event::QuoteLocked { .. } => self.lock_quote(event),
            Event::QuoteReleased { lock, account, .. } => self.end_lock(*account, *lock),
            Event::Rejected(_)
            | Event::AccountOpened { .. }
            | Event::CreditsPurchased { .. }
            | Event::PurchaseRepeated { .. }
            | Event::OrderRepeated(_)
            | Event::OrdersCancelled { .. }
            | Event::TimerSet { .. }
            | Event::TimerFired { .. }
            | Event::PurchaseRefunded { .. }
            | Event::RefundRepeated { .. }
            | Event::RefundFailed { .. }
            | Event::DisputeOpened { .. }
            | Event::DisputeRepeated { .. }
            | Event::DisputeResolved { .. } => Ok(()),
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
        let pending = &mut self.pending;
        self.lines.sort_unstable_by_key(|(key, _)| *key);
        for (key, line) in self.lines.drain(..) {
            pending.put(family::TRANSACTIONS, &key, &line)?;
        }
        self.balances.flush_alone(pending)?;
        self.policies.flush_alone(pending)?;
        self.key_limits.flush_alone(pending)?;
        self.spending.flush_alone(pending)?;
        self.payouts.flush_alone(pending)?;
        self.usage.flush_alone(pending)?;
        self.orders.flush(pending, orders::index)?;
        self.levels.flush_alone(pending)?;
        self.instruments.flush_alone(pending)?;
        self.contracts.flush(pending, contracts::index)?;
        self.locks.flush_alone(pending)?;
        self.candles.flush_alone(pending)?;
        self.scorecards.flush_alone(pending)?;
        self.model_days.flush_alone(pending)?;
        pending.write(self.now.seq, self.now.at, self.offset)?;
        self.inputs = 0;
        Ok(())
    }
}

/// What a sum comes to, unless it is more than there can be.
fn possible<T>(sum: Option<T>) -> Result<T, StoreError> {
    sum.ok_or(StoreError::Impossible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_engine::{AccountId, Amount, LedgerAccount, Transfer, TransferCode};

    /// Found by changing the records in Kafka.
    #[test]
    fn amounts_that_cannot_be_are_an_error_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let views = Views::open(folder.path()).unwrap();
        let (debit, credit) = (LedgerAccount::External, LedgerAccount::Available(AccountId(1)));
        let transferred = |amount| {
            Event::Transferred(Transfer { debit, credit, amount: Amount(amount), code: TransferCode::Purchase })
        };
        for amounts in [vec![i64::MIN], vec![i64::MAX, 1]] {
            let events: Vec<Event> = amounts.iter().map(|amount| transferred(*amount)).collect();
            let folded = Fold::new(&views).unwrap().apply(1, Timestamp(1), &events);
            assert!(matches!(folded, Err(StoreError::Impossible)), "{amounts:?}: {folded:?}");
        }
        Fold::new(&views).unwrap().apply(1, Timestamp(1), &[transferred(i64::MAX)]).unwrap();
    }
}
