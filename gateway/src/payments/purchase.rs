//! A payment is begun: by the buyer, or because the balance went below the buyer's mark.

use super::postman::announce;
use super::processor::{Intent, IntentState, NewIntent, Processor, ProcessorError};
use super::reconcile::DAY_S;
use super::settle::{self, Step};
use super::store::{KeptIntent, Letter, NewLetter, PaymentAccount, Purpose};
use super::{PaymentError, Payments};
use crate::app::App;
use crate::error::ApiError;
use crate::idempotency::reused;
use crate::identity::unix_seconds;
use gollem_engine::{AccountId, Amount, Engine};
use gollem_projections::calendar::month;
use gollem_projections::words::{account_name, credits, digest};
use serde_json::json;

/// What a buyer wishes to pay, and how.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub account: AccountId,
    pub cents: i64,
    /// The caller's `Idempotency-Key`.
    pub key: &'a str,
    /// Whether the way of paying may be kept for later.
    pub save_method: bool,
    /// A kept way of paying.
    pub method: Option<&'a str>,
}

/// Begins a payment, once per account and key: the same key gives the same payment again.
///
/// # Errors
/// When the key was used with another amount, and when the processor refuses or does not answer.
pub(crate) async fn begin(app: &App, payments: &Payments, wish: &Wish<'_>) -> Result<Intent, ApiError> {
    let request = format!("{} {}", account_name(wish.account), wish.key);
    if let Some(known) = payments.store.intent_requested(&request).await? {
        return again(payments, wish, &known).await;
    }
    let customer = customer_of(payments, wish.account).await?;
    let new = NewIntent {
        account: wish.account,
        cents: wish.cents,
        customer: &customer,
        key: format!("intent-{}", named(&request)),
        save_method: wish.save_method,
        method: wish.method,
        off_session: false,
        refusals: 0,
    };
    let intent = payments.processor.create_intent(&new).await.map_err(PaymentError::from)?;
    gollem_journal::crash_point!("payments.begun");
    payments.store.note_intent(&intent, wish.account, Purpose::Purchase, Some(&request)).await?;
    if intent.cents != wish.cents {
        // It was begun before a crash, and found again by its key.
        return Err(reused());
    }
    settle_paid(app, payments, &intent).await?;
    Ok(intent)
}

async fn again(payments: &Payments, wish: &Wish<'_>, known: &KeptIntent) -> Result<Intent, ApiError> {
    if known.cents != wish.cents {
        return Err(reused());
    }
    Ok(payments.processor.intent(&known.id).await.map_err(PaymentError::from)?)
}

/// With a kept way of paying it may be paid at once: there is no need to wait for a notice.
async fn settle_paid(app: &App, payments: &Payments, intent: &Intent) -> Result<(), PaymentError> {
    if intent.state == IntentState::Succeeded {
        settle::payment(app, payments, &intent.id).await?;
    }
    Ok(())
}

/// The processor's number of a buyer, who is made known to it when that is needed first.
pub(crate) async fn customer_of(payments: &Payments, account: AccountId) -> Result<String, PaymentError> {
    if let Some(customer) = payments.store.account(account).await?.customer {
        return Ok(customer);
    }
    let customer = payments.processor.customer(account).await?;
    payments.store.set_customer(account, &customer).await?;
    Ok(customer)
}

/// A key of the processor's from a text of any length, which may be personal.
fn named(text: &str) -> String {
    digest(b"gollem processor key", text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Looks at a watched balance: writes the letters that tell of it, and that buy more.
///
/// # Errors
/// When the exchange or the store does not answer.
pub(crate) async fn look(app: &App, payments: &Payments, account: AccountId) -> Result<(), PaymentError> {
    let (seq, available) =
        app.inspect(move |engine: &Engine| engine.balance(account).map(|balance| balance.available)).await?;
    let Some(available) = available else { return Ok(()) };
    let settings = payments.store.account(account).await?;
    renew_if_low(payments, account, seq, available, &settings).await?;
    alert_if_low(payments, account, seq, available, &settings).await
}

async fn renew_if_low(
    payments: &Payments,
    account: AccountId,
    seq: u64,
    available: Amount,
    settings: &PaymentAccount,
) -> Result<(), PaymentError> {
    let Some(renewal) = settings.renewal.filter(|renewal| available < renewal.below) else { return Ok(()) };
    let (spent, under_way) = payments.store.renewals(account, month_began(unix_seconds())).await?;
    let capped = spent + renewal.cents > renewal.monthly_cap;
    if under_way > 0 || capped || payments.store.is_renewing(account).await? {
        return Ok(());
    }
    let subject = format!("{}-{seq}", account_name(account));
    let letter = NewLetter { kind: "renewal", subject, account, cents: renewal.cents, detail: json!({}) };
    payments.store.write(&letter).await?;
    Ok(())
}

async fn alert_if_low(
    payments: &Payments,
    account: AccountId,
    seq: u64,
    available: Amount,
    settings: &PaymentAccount,
) -> Result<(), PaymentError> {
    let Some(alert) = &settings.alert else { return Ok(()) };
    let low = available < alert.below;
    if low == settings.alerted {
        return Ok(());
    }
    if low {
        let text = format!(
            "{} credits are available in {}: less than the {} at which you wished to be told.",
            credits(available),
            account_name(account),
            credits(alert.below)
        );
        let news = json!({
            "kind": "low_balance", "title": "Your GoLLeM credits run low", "text": text,
            "data": { "available": credits(available), "below": credits(alert.below), "seq": seq },
        });
        announce(payments, account, &format!("low-{seq}"), news).await?;
    }
    payments.store.set_alerted(account, low).await?;
    Ok(())
}

/// Makes an automatic purchase. One that is refused ends them, so that a card is not tried for ever.
///
/// # Errors
/// When the processor, the exchange or the store does not answer.
pub(crate) async fn renew(app: &App, payments: &Payments, letter: &Letter) -> Result<Step, PaymentError> {
    let settings = payments.store.account(letter.account).await?;
    let (Some(_), Some(customer), Some(method)) = (settings.renewal, &settings.customer, &settings.method) else {
        return Ok(Step::Done);
    };
    let new = NewIntent {
        account: letter.account,
        cents: letter.cents,
        customer,
        key: format!("renewal-{}", letter.subject),
        save_method: false,
        method: Some(method),
        off_session: true,
        refusals: payments.store.refusals(&letter.id).await?,
    };
    let made = payments.processor.create_intent(&new).await;
    let refused = match settle::counted(payments, &letter.id, made).await {
        Ok(intent) => {
            gollem_journal::crash_point!("payments.renewed");
            payments.store.note_intent(&intent, letter.account, Purpose::Renewal, None).await?;
            settle_paid(app, payments, &intent).await?;
            match intent.state {
                IntentState::Succeeded | IntentState::Processing => return Ok(Step::Done),
                IntentState::Open | IntentState::Canceled => "it needs you to confirm it".to_owned(),
            }
        }
        Err(PaymentError::Processor(ProcessorError::Refused { code, .. })) => code,
        Err(error) => return Err(error),
    };
    payments.store.set_renewal(letter.account, None).await?;
    payments.watch(letter.account, settings.alert.is_some());
    let text =
        format!("An automatic purchase was refused ({refused}). There will be no more until you set them again.");
    let news = json!({
        "kind": "renewal_failed", "title": "An automatic purchase of GoLLeM credits failed", "text": text,
        "data": { "reason": refused },
    });
    announce(payments, letter.account, &letter.subject, news).await?;
    Err(PaymentError::Unfit(text))
}

/// When the month (UTC) of a time in Unix seconds began.
fn month_began(now: i64) -> i64 {
    let day = u32::try_from(now.div_euclid(DAY_S)).unwrap_or(0);
    i64::from(month(day).0) * DAY_S
}
