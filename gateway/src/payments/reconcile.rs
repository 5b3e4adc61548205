//! Reconciliation: the processor's books against the ledger's, line by line.
//!
//! Both are lists of movements of money between the exchange and the world. Each line has a name under which the other side
//! must have the same sum: a payment, refund or dispute its reference, a payout its number. What the processor has and the
//! ledger has not is a lost notice, and is looked at first (`settle`); what differs after that is a difference, named for a
//! person. Times differ by what notices and banks take, so lines are matched by name, and belong to the processor's day.

use super::processor::{BookLine, Cause, Cents, Processor};
use super::settle::{self, dispute_reference, refund_reference};
use super::store::{LetterState, Movement, MovementKind, ROWS_MAX, hex, reference_of};
use super::{PaymentError, Payments, cents_of};
use crate::app::App;
use crate::identity::unix_seconds;
use gollem_engine::{Amount, Engine, PayoutId};
use gollem_projections::calendar::date_name;
use gollem_projections::words::account_name;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Seconds of a day.
pub(crate) const DAY_S: i64 = 86_400;
/// Lines that far outside of what is asked for are matched, too: what happened there may have its other side inside.
const MARGIN_S: i64 = 7 * DAY_S;
/// How long after a payout was confirmed its bank is asked whether it came back.
const RETURNS_S: i64 = 10 * DAY_S;
/// How often the books are compared without being asked.
const EVERY: Duration = Duration::from_secs(24 * 3_600);
/// How soon after the start for the first time.
const FIRST: Duration = Duration::from_secs(60);
/// The days that are compared then.
const RECENT_S: i64 = 35 * DAY_S;
/// The pause before it is tried again when the processor does not answer.
const RETRY: Duration = Duration::from_secs(600);
/// How much the processor's clock may differ from ours, with the time that a booking takes.
const CLOCKS_S: i64 = 5;
/// Payments and the like that are looked at again in one reconciliation, at the most.
const LOOKS_MAX: usize = 10_000;

/// Under which name both sides have a sum.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Payment(String),
    Refund(String),
    RefundFailure(String),
    /// Taken, or given back.
    Dispute(String, bool),
    Payout(u64),
}

/// What both sides have under a name.
#[derive(Clone, Debug, Default)]
struct Entry {
    processor: Cents,
    ledger: Cents,
    /// The processor's first line, or else the ledger's: Unix seconds.
    at: i64,
    /// The ledger's last: Unix seconds.
    booked_at: i64,
    on_processor: bool,
    account: Option<String>,
    /// What the processor calls it.
    id: String,
    currency: Option<String>,
    /// The payment that it is about, where the processor says so.
    intent: Option<String>,
}

/// What a reconciliation came to.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// For people and programs; `docs/payments.md` has its fields.
    pub(crate) json: Value,
    pub(crate) differences: u64,
}

/// Compares the books of those Unix seconds.
///
/// # Errors
/// When the processor, the exchange or the store does not answer.
pub(crate) async fn reconcile(app: &App, payments: &Payments, from: i64, to: i64) -> Result<Report, PaymentError> {
    let _one = payments.reconciling.lock().await;
    let asked_at = unix_seconds();
    let lines = payments.processor.books(from - MARGIN_S, to + MARGIN_S).await?;
    let transfers: HashMap<String, PayoutId> = payments.store.transfers().await?.into_iter().collect();
    let looked = look_again(app, payments, &lines).await?;
    caught_up(app, payments).await?;
    let window = from - MARGIN_S..to + MARGIN_S;
    let mut movements = payments.store.movements().await?;
    movements.retain(|movement| window.contains(&movement.at));
    let (entries, fees, others) = joined(&lines, &movements, &transfers, from..to);
    let unbooked = unbooked(&entries);
    let under_way = under_way(app).await?;
    let begun = payments.store.references().await?;
    let due = payments.store.letters(LetterState::Due, ROWS_MAX).await?.into_iter();
    let to_be_refunded: BTreeSet<String> =
        due.filter(|letter| letter.kind == "refund").map(|letter| letter.subject).collect();
    // A development exchange may give credits away; that is no payment.
    let is_grant = |name: &Name, entry: &Entry| {
        app.dev && !entry.on_processor && matches!(name, Name::Payment(reference) if !begun.contains(reference))
    };
    let (mut days, mut differences): (BTreeMap<i64, [Cents; 3]>, Vec<Value>) = Default::default();
    let (mut pending, mut granted) = (0_u64, 0);
    for (name, entry) in entries.iter().filter(|(_, entry)| (from..to).contains(&entry.at)) {
        if entry.ledger == 0 && is_no_business(name, entry, &looked.foreign, &unbooked) {
            continue;
        }
        if is_grant(name, entry) {
            granted += entry.ledger;
            continue;
        }
        let day = days.entry(entry.at.div_euclid(DAY_S) * DAY_S).or_default();
        (day[0], day[1]) = (day[0] + entry.processor, day[1] + entry.ledger);
        let wrong_currency = entry.currency.as_deref().is_some_and(|currency| currency != "usd");
        if entry.processor == entry.ledger && !wrong_currency {
            continue;
        }
        let waits = match name {
            Name::Payout(payout) => under_way.contains(payout),
            Name::Refund(reference) => to_be_refunded.contains(reference),
            _ => false,
        };
        // Booked while the processor's lines were read, or after: the next time they are there.
        let is_newer = entry.booked_at >= asked_at - CLOCKS_S && !(entry.on_processor && entry.ledger == 0);
        if waits || is_newer {
            pending += u64::from(matches!(name, Name::Payout(_)));
            day[2] += entry.processor - entry.ledger;
            continue;
        }
        differences.push(difference(name, entry));
    }
    let json = json!({
        "from": day_name(from), "to": day_name(to), "ok": differences.is_empty(),
        "days": days.iter().map(|(day, [processor, ledger, pending])| json!({
            "day": day_name(*day), "processor_usd": usd(*processor), "ledger_usd": usd(*ledger),
            "under_way_usd": usd(*pending), "difference_usd": usd(processor - ledger - pending),
        })).collect::<Vec<Value>>(),
        "differences": differences, "payouts_under_way": pending, "granted_usd": usd(granted), "looked_at_again": looked.ours,
        "foreign_payments": looked.foreign.len(), "processor_fees_usd": usd(fees), "other_lines": others,
    });
    Ok(Report { differences: json["differences"].as_array().map_or(0, Vec::len) as u64, json })
}

/// What was looked at again.
#[derive(Debug, Default)]
struct Looked {
    /// Payments of which something was not in the ledger.
    ours: BTreeSet<String>,
    /// Payments that are not of this exchange: the processor may be used for more.
    foreign: BTreeSet<String>,
}

/// Notices get lost: what the processor has and the ledger has not is looked at as if one had come.
async fn look_again(app: &App, payments: &Payments, lines: &[BookLine]) -> Result<Looked, PaymentError> {
    let known = payments.store.movements().await?;
    let known: BTreeSet<&str> = known.iter().map(|movement| movement.reference.as_str()).collect();
    let mut looked = Looked::default();
    for line in lines {
        let reference = match &line.cause {
            Cause::Payment { intent } => Some(reference_of("payment", intent)),
            Cause::Refund { id, mark, .. } => Some(refund_reference(id, mark.as_deref())),
            // One half of it may be known and the other not.
            Cause::RefundFailure { .. } | Cause::Dispute { .. } => None,
            Cause::Transfer { .. } | Cause::TransferReversal { .. } | Cause::Other { .. } => continue,
        };
        let is_known = reference.is_some_and(|reference| known.contains(hex(reference).as_str()));
        let Some(intent) = line.cause.intent().filter(|_| !is_known) else { continue };
        let seen = looked.ours.contains(intent) || looked.foreign.contains(intent);
        if seen || looked.ours.len() + looked.foreign.len() >= LOOKS_MAX {
            continue;
        }
        let is_ours = match settle::payment(app, payments, intent).await {
            // What cannot be booked stays a difference.
            Err(error) if error.is_lasting() => {
                tracing::warn!(intent, %error, "a payment cannot be booked");
                true
            }
            looked => looked?,
        };
        if is_ours {
            looked.ours.insert(intent.to_owned())
        } else {
            looked.foreign.insert(intent.to_owned())
        };
    }
    let mut payouts = reversed(payments, lines).await?;
    payouts.extend(under_way(app).await?.into_iter().map(PayoutId));
    payouts.extend(lately_paid(payments, unix_seconds() - RETURNS_S).await?);
    for payout in payouts.into_iter().take(LOOKS_MAX) {
        match settle::payout(app, payments, payout).await {
            Err(error) if error.is_lasting() => tracing::warn!(payout = payout.0, %error, "a payout needs a person"),
            // Of one payout: the others, and the books, are looked at all the same.
            Err(PaymentError::Processor(error)) => tracing::warn!(payout = payout.0, %error, "a payout has to wait"),
            done => done.map(|_| ())?,
        }
    }
    Ok(looked)
}

/// Payouts that were confirmed since: a bank may still return them, in an account whose books are not the platform's.
async fn lately_paid(payments: &Payments, since: i64) -> Result<BTreeSet<PayoutId>, PaymentError> {
    let movements = payments.store.movements().await?;
    let paid = movements.iter().filter(|movement| movement.kind == MovementKind::PayoutPaid && movement.at >= since);
    Ok(paid.filter_map(|movement| movement.reference.parse().ok().map(PayoutId)).collect())
}

/// Payouts of which a transfer came back.
async fn reversed(payments: &Payments, lines: &[BookLine]) -> Result<BTreeSet<PayoutId>, PaymentError> {
    let transfers: HashMap<String, PayoutId> = payments.store.transfers().await?.into_iter().collect();
    let reversed = lines.iter().filter_map(|line| match &line.cause {
        Cause::TransferReversal { transfer } => transfers.get(transfer).copied(),
        _ => None,
    });
    Ok(reversed.collect())
}

/// Waits until the outbox has written down what was just booked.
async fn caught_up(app: &App, payments: &Payments) -> Result<(), PaymentError> {
    let wanted = app.status.durable_seq();
    let position = || payments.figures.position.load(Ordering::Acquire);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while position() < wanted {
        if tokio::time::Instant::now() > deadline {
            let message = format!("the outbox is at input {} and must reach {wanted}: try again later", position());
            return Err(PaymentError::Exchange(crate::error::ApiError::unavailable("outbox_behind", message)));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Both books by name; what the processor kept for itself; and lines that are no business of the ledger's.
fn joined(
    lines: &[BookLine],
    movements: &[Movement],
    transfers: &HashMap<String, PayoutId>,
    asked: Range<i64>,
) -> (BTreeMap<Name, Entry>, Cents, usize) {
    let (mut entries, mut fees, mut others): (BTreeMap<Name, Entry>, Cents, usize) = Default::default();
    for line in lines {
        fees += if asked.contains(&line.created) { line.fee } else { 0 };
        let named = match &line.cause {
            Cause::Payment { intent } => Some((Name::Payment(hex(reference_of("payment", intent))), intent.clone())),
            Cause::Refund { id, mark, .. } => {
                Some((Name::Refund(hex(refund_reference(id, mark.as_deref()))), id.clone()))
            }
            Cause::RefundFailure { id, mark, .. } => {
                Some((Name::RefundFailure(hex(refund_reference(id, mark.as_deref()))), id.clone()))
            }
            Cause::Dispute { id, .. } => Some((Name::Dispute(hex(dispute_reference(id)), line.cents > 0), id.clone())),
            Cause::Transfer { payout } => payout.map(|payout| (Name::Payout(payout.0), line.id.clone())),
            Cause::TransferReversal { transfer } => {
                transfers.get(transfer).map(|payout| (Name::Payout(payout.0), transfer.clone()))
            }
            Cause::Other { .. } => None,
        };
        let Some((name, id)) = named else {
            others += 1;
            continue;
        };
        let entry = entries.entry(name).or_default();
        entry.processor += line.cents;
        entry.intent = entry.intent.take().or_else(|| line.cause.intent().map(str::to_owned));
        if !entry.on_processor {
            (entry.at, entry.id, entry.on_processor) = (line.created, id, true);
        }
        if line.currency != "usd" {
            entry.currency = Some(line.currency.clone());
        }
    }
    for movement in movements {
        let reference = movement.reference.clone();
        let name = match movement.kind {
            MovementKind::Purchase => Name::Payment(reference),
            MovementKind::Refund => Name::Refund(reference),
            MovementKind::RefundFailed => Name::RefundFailure(reference),
            MovementKind::DisputeOpened => Name::Dispute(reference, false),
            MovementKind::DisputeWon => Name::Dispute(reference, true),
            MovementKind::PayoutPaid | MovementKind::PayoutReturned => match reference.parse() {
                Ok(payout) => Name::Payout(payout),
                Err(_) => continue,
            },
        };
        let entry = entries.entry(name).or_default();
        entry.ledger += cents_of(Amount(movement.atoms));
        entry.booked_at = entry.booked_at.max(movement.at);
        entry.account = Some(account_name(movement.account));
        if !entry.on_processor && entry.at == 0 {
            entry.at = movement.at;
        }
    }
    (entries, fees, others)
}

/// Payouts that are pending: the processor may have their money, the ledger not yet.
async fn under_way(app: &App) -> Result<BTreeSet<u64>, PaymentError> {
    let pending = |engine: &Engine| engine.payouts().map(|(payout, _)| payout.0).collect();
    Ok(app.inspect(pending).await?.1)
}

/// What the processor has of each payment and the ledger has not, in all: nothing if it was returned to who paid it.
fn unbooked(entries: &BTreeMap<Name, Entry>) -> HashMap<&str, Cents> {
    let mut unbooked = HashMap::new();
    for entry in entries.values().filter(|entry| entry.ledger == 0) {
        if let Some(intent) = &entry.intent {
            *unbooked.entry(intent.as_str()).or_default() += entry.processor;
        }
    }
    unbooked
}

/// Whether what the ledger has not is none of its business: of somebody else, or here and gone again.
fn is_no_business(name: &Name, entry: &Entry, foreign: &BTreeSet<String>, unbooked: &HashMap<&str, Cents>) -> bool {
    match &entry.intent {
        Some(intent) => foreign.contains(intent) || unbooked.get(intent.as_str()) == Some(&0),
        // Everything that this exchange begins has an intent.
        None => !entry.on_processor || !matches!(name, Name::Payout(_)),
    }
}

fn difference(name: &Name, entry: &Entry) -> Value {
    let (kind, reference) = match name {
        Name::Payment(reference) => ("payment", reference.clone()),
        Name::Refund(reference) => ("refund", reference.clone()),
        Name::RefundFailure(reference) => ("refund_failed", reference.clone()),
        Name::Dispute(reference, false) => ("dispute", reference.clone()),
        Name::Dispute(reference, true) => ("dispute_won", reference.clone()),
        Name::Payout(payout) => ("payout", format!("pay_{payout}")),
    };
    let why = match (&entry.currency, entry.on_processor, entry.ledger) {
        (Some(currency), ..) => format!("it is in {currency}, and credits are bought with usd"),
        (None, true, 0) => "the processor has it and the ledger has not".to_owned(),
        (None, false, _) => "the ledger has it and the processor has not".to_owned(),
        _ => "the amounts differ".to_owned(),
    };
    json!({
        "day": day_name(entry.at), "kind": kind, "id": entry.id, "reference": reference, "account": entry.account,
        "processor_usd": usd(entry.processor), "ledger_usd": usd(entry.ledger), "why": why,
    })
}

fn usd(cents: Cents) -> String {
    Decimal::new(cents, 2).to_string()
}

/// A day (UTC), as in `2026-11-22`.
fn day_name(at: i64) -> String {
    date_name(u32::try_from(at.div_euclid(DAY_S)).unwrap_or(0))
}

/// Compares the books of the last weeks every day, as long as there is an exchange.
pub(crate) async fn every_day(app: Weak<App>) {
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(pause).await;
        let Some(app) = app.upgrade() else { return };
        pause = match compare(&app).await {
            Ok(()) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "the books could not be compared; trying again later");
                RETRY
            }
        };
    }
}

async fn compare(app: &Arc<App>) -> Result<(), PaymentError> {
    let Some(payments) = &app.payments else { return Ok(()) };
    let now = unix_seconds();
    let report = reconcile(app, payments, now - RECENT_S, now + DAY_S).await?;
    note(payments, &report);
    Ok(())
}

/// Keeps what a reconciliation came to for the metrics, and logs each difference.
pub(crate) fn note(payments: &Payments, report: &Report) {
    payments.figures.differences.store(report.differences, Ordering::Relaxed);
    payments.figures.reconciled_at.store(unix_seconds().unsigned_abs(), Ordering::Relaxed);
    for difference in report.json["differences"].as_array().into_iter().flatten() {
        tracing::error!(%difference, "the processor's books and the ledger's differ");
    }
}
