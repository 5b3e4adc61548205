//! The outbox: a reader of durable inputs, with a watermark of its own, that turns events into movements and letters.
//! Nothing outside is done here, and nothing of it waits in the matcher.

use super::store::{Movement, MovementKind, NewLetter, hex};
use super::{Payments, cents_of};
use crate::app::App;
use crossbeam_channel::Receiver;
use gollem_engine::{AccountId, Amount, Event, LedgerAccount, Reference, Timestamp};
use gollem_journal::FileStorage;
use gollem_projections::{Inputs, Turn};
use gollem_sequencer::{Released, Status};
use serde_json::json;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long nothing must arrive before the thread looks whether something was dropped.
const QUIET: Duration = Duration::from_millis(100);
/// Inputs without a movement or letter after which the watermark is written all the same: so many are read again, at the
/// most, after a crash.
const IDLE_INPUTS: u64 = 100_000;
/// The pause before the store is tried again.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// The running thread.
#[derive(Debug)]
pub(crate) struct Outbox(JoinHandle<()>);

impl Outbox {
    /// Begins after input `position`.
    ///
    /// # Errors
    /// When the thread cannot start.
    pub(crate) fn start(
        app: &Arc<App>,
        feed: Receiver<Arc<Released>>,
        status: Status,
        journal_dir: &Path,
        position: u64,
    ) -> std::io::Result<Outbox> {
        let inputs = Inputs::new("outbox", feed, status, FileStorage::new(journal_dir), position);
        let (app, runtime) = (Arc::clone(app), Handle::current());
        Builder::new().name("outbox".into()).spawn(move || keep(&app, inputs, &runtime)).map(Outbox)
    }

    /// Waits for its end, which comes when the pipeline has ended.
    pub(crate) fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the outbox panicked");
        }
    }
}

/// What some inputs were the cause of.
#[derive(Debug, Default)]
struct Found {
    movements: Vec<Movement>,
    letters: Vec<NewLetter>,
    /// Refunds by reference: whether they are to be made outside, the store knows.
    refunds: Vec<(Reference, AccountId, Amount)>,
    touched: BTreeSet<AccountId>,
}

fn keep(app: &App, mut inputs: Inputs, runtime: &Handle) {
    let Some(payments) = &app.payments else { return };
    let mut booked = inputs.position();
    let figures = &payments.figures;
    figures.booked.store(booked, Ordering::Relaxed);
    figures.position.store(booked, Ordering::Release);
    loop {
        let mut found = Found::default();
        let turn = inputs.turn(QUIET, &mut |seq, at, events| -> Result<(), Infallible> {
            found.take(seq, at, events);
            Ok(())
        });
        if payments.note_moved(&found.touched) {
            payments.wake();
        }
        let position = inputs.position();
        let ended = !matches!(turn, Ok(Turn::GoesOn));
        if found.holds_any() || position >= booked + IDLE_INPUTS || (ended && position > booked) {
            if !runtime.block_on(write(payments, position, found)) {
                return;
            }
            booked = position;
            figures.booked.store(booked, Ordering::Relaxed);
            payments.wake();
        }
        figures.position.store(position, Ordering::Release);
        match turn {
            Ok(Turn::GoesOn) => {}
            Ok(Turn::Ended) => return,
            Err(error) => {
                figures.outbox_stopped.store(true, Ordering::Relaxed);
                tracing::error!(%error, "the outbox stands still: payouts and refunds wait until a restart");
                return;
            }
        }
    }
}

/// Writes what was found, as often as it takes; false when the exchange closes before that succeeds: the next start reads
/// these inputs again.
async fn write(payments: &Payments, position: u64, mut found: Found) -> bool {
    loop {
        let done = async {
            for &(reference, account, amount) in &found.refunds {
                let mark = hex(reference);
                if payments.store.refund(&mark).await?.is_some() {
                    found.letters.push(letter("refund", mark, account, amount));
                }
            }
            payments.store.book(position, &found.movements, &found.letters).await
        };
        let Err(error) = done.await else { return true };
        tracing::error!(%error, "the outbox cannot be written; trying again");
        if payments.is_closing() {
            return false;
        }
        tokio::time::sleep(STORE_PAUSE).await;
    }
}

impl Found {
    fn holds_any(&self) -> bool {
        !self.movements.is_empty() || !self.letters.is_empty() || !self.refunds.is_empty()
    }

    fn take(&mut self, seq: u64, at: Timestamp, events: &[Event]) {
        for (place, event) in events.iter().enumerate() {
            let moved = match *event {
                Event::CreditsPurchased { account, amount, reference } => {
                    (MovementKind::Purchase, hex(reference), account, amount.0)
                }
                Event::PurchaseRefunded { account, amount, reference } => {
                    self.refunds.push((reference, account, amount));
                    (MovementKind::Refund, hex(reference), account, -amount.0)
                }
                Event::RefundFailed { account, amount, reference } => {
                    (MovementKind::RefundFailed, hex(reference), account, amount.0)
                }
                Event::DisputeOpened { account, amount, reference } => {
                    (MovementKind::DisputeOpened, hex(reference), account, -amount.0)
                }
                Event::DisputeResolved { account, amount, reference, won: true } => {
                    (MovementKind::DisputeWon, hex(reference), account, amount.0)
                }
                Event::PayoutRequested { payout, account, amount } => {
                    self.letters.push(letter("payout", payout.0.to_string(), account, amount));
                    continue;
                }
                Event::PayoutConfirmed { payout, account, amount } => {
                    (MovementKind::PayoutPaid, payout.0.to_string(), account, -amount.0)
                }
                Event::PayoutReturned { payout, account, amount } => {
                    (MovementKind::PayoutReturned, payout.0.to_string(), account, amount.0)
                }
                Event::Transferred(transfer) => {
                    for side in [transfer.debit, transfer.credit] {
                        if let LedgerAccount::Available(account) = side {
                            self.touched.insert(account);
                        }
                    }
                    continue;
                }
                _ => continue,
            };
            let (kind, reference, account, atoms) = moved;
            let (place, at) = (u32::try_from(place).unwrap_or(u32::MAX), unix_s(at));
            self.movements.push(Movement { seq, place, at, kind, reference, account, atoms });
        }
    }
}

fn letter(kind: &'static str, subject: String, account: AccountId, amount: Amount) -> NewLetter {
    NewLetter { kind, subject, account, cents: cents_of(amount), detail: json!({}) }
}

fn unix_s(at: Timestamp) -> i64 {
    i64::try_from(at.0 / 1_000_000_000).unwrap_or(i64::MAX)
}
