//! The postman: deals with letters when their time has come, again and again until they are done. One that cannot be done,
//! or was tried for half a day, waits for a person.

use super::notify::Notice;
use super::settle::{self, Step};
use super::store::{Letter, LetterState, NewLetter};
use super::{PaymentError, Payments, purchase};
use crate::app::App;
use crate::identity::unix_seconds;
use gollem_engine::AccountId;
use gollem_projections::words::account_name;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Letters dealt with in one round.
const ROUND: i64 = 64;
/// Tries of one letter: with the pauses between them, half a day.
const TRIES_MAX: u32 = 30;
/// The pause after the first failure; each one after it is twice as long.
const PAUSE_MIN_MS: i64 = 500;
/// The longest of them, and how often what waits for somebody else is looked at.
const PAUSE_MAX_MS: i64 = 30 * 60_000;
/// How long there is nothing to do at the most.
const REST: Duration = Duration::from_secs(60);
/// How often every watched balance is looked at, moved or not: a month begins for one that cannot move.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// How long it is kept what people were told, in seconds.
const NEWS_KEPT_S: i64 = 7 * 86_400;
/// What one account is told in an hour, at the most: a mail goes to whom it named, not to whom it proved to be.
const NEWS_AN_HOUR: u64 = 4;
/// The rest after the store failed.
const STORE_REST: Duration = Duration::from_secs(1);

/// Letters that are dealt with one after another. What people are told goes its own way: somebody else's mail server or
/// webhook, however slow, holds up no money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Money,
    News,
}

/// Deals with the letters of a lane as long as there is an exchange.
pub(crate) async fn work(app: Weak<App>, lane: Lane) {
    let mut swept: Option<Instant> = None;
    loop {
        let Some(app) = app.upgrade() else { return };
        let Some(payments) = app.payments.clone() else { return };
        if payments.is_closing() {
            return;
        }
        if lane == Lane::Money && swept.is_none_or(|swept| swept.elapsed() >= SWEEP_EVERY) {
            swept = Some(Instant::now());
            payments.look_at_all();
        }
        let rest = match round(&app, &payments, lane).await {
            Ok(rest) => rest,
            Err(error) => {
                tracing::error!(%error, "letters cannot be dealt with");
                STORE_REST
            }
        };
        drop(app);
        // A wake-up that came meanwhile is remembered, so none is missed.
        let _ = tokio::time::timeout(rest, payments.bell(lane).notified()).await;
    }
}

/// Does what is due, and tells how long there is nothing to do.
async fn round(app: &Arc<App>, payments: &Payments, lane: Lane) -> Result<Duration, sqlx::Error> {
    let mut most = REST;
    if lane == Lane::Money {
        for account in payments.take_moved() {
            if let Err(error) = purchase::look(app, payments, account).await {
                tracing::warn!(%error, account = account.0, "a watched balance could not be looked at");
                payments.look_again(account);
                most = STORE_REST;
            }
        }
    } else {
        payments.store.forget_news(unix_seconds() - NEWS_KEPT_S).await?;
    }
    for letter in payments.store.due(now_ms(), lane, ROUND).await? {
        if payments.is_closing() {
            return Ok(Duration::ZERO);
        }
        deal_with(app, payments, &letter).await?;
    }
    let (due, dead) = payments.store.letter_counts().await?;
    payments.figures.letters_due.store(due, Ordering::Relaxed);
    payments.figures.letters_dead.store(dead, Ordering::Relaxed);
    let next = payments.store.next_due(lane).await?.map_or(most, |at| milliseconds(at - now_ms()));
    Ok(next.min(most))
}

async fn deal_with(app: &Arc<App>, payments: &Payments, letter: &Letter) -> Result<(), sqlx::Error> {
    let (id, tries) = (letter.id.as_str(), letter.attempts + 1);
    match attempt(app, payments, letter).await {
        Ok(Step::Done) => payments.store.mark(id, LetterState::Done, letter.attempts, 0, None).await,
        Ok(Step::Waits(why)) => {
            let due = now_ms() + PAUSE_MAX_MS;
            payments.store.put_off(letter, letter.attempts, due, why).await
        }
        Err(error) => {
            let why = error.to_string();
            if error.is_lasting() || tries >= TRIES_MAX {
                tracing::error!(letter = id, tries, error = why, "a letter waits for a person");
                return payments.store.mark(id, LetterState::Dead, tries, 0, Some(&why)).await;
            }
            tracing::warn!(letter = id, tries, error = why, "a letter could not be dealt with; trying again");
            let due = now_ms() + pause_ms(tries);
            payments.store.put_off(letter, tries, due, &why).await
        }
    }
}

async fn attempt(app: &Arc<App>, payments: &Payments, letter: &Letter) -> Result<Step, PaymentError> {
    match letter.kind.as_str() {
        "payout" => settle::payout(app, payments, settle::payout_id(&letter.subject)?).await,
        "refund" => settle::refund(payments, &letter.subject, letter.cents).await,
        "renewal" => purchase::renew(app, payments, letter).await,
        "mail" | "post" => tell(app, payments, letter).await,
        kind => Err(PaymentError::Unfit(format!("nobody knows what to do with a letter of kind {kind}"))),
    }
}

/// Writes the letters by which an account's owner is told, as it wished: by mail, by a POST, or not at all. The name makes
/// them one each; `news` has `kind`, `title`, `text` and `data`.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn announce(
    payments: &Payments,
    account: AccountId,
    name: &str,
    news: serde_json::Value,
) -> Result<(), PaymentError> {
    let Some(alert) = payments.store.account(account).await?.alert else { return Ok(()) };
    if payments.store.news_since(account, unix_seconds() - 3_600).await? >= NEWS_AN_HOUR {
        tracing::warn!(account = account.0, "an account is told no more in this hour");
        return Ok(());
    }
    let ways = [("mail", alert.mail), ("post", alert.url)];
    for (way, _) in ways.iter().filter(|(_, to)| to.is_some()) {
        let subject = format!("{}-{name}", account_name(account));
        payments.store.write(&NewLetter { kind: way, subject, account, cents: 0, detail: news.clone() }).await?;
    }
    payments.wake();
    Ok(())
}

/// Tells somebody what a letter says, as they wish it now.
async fn tell(app: &App, payments: &Payments, letter: &Letter) -> Result<Step, PaymentError> {
    let Some(alert) = payments.store.account(letter.account).await?.alert else { return Ok(Step::Done) };
    let text = |name: &str| letter.detail[name].as_str().unwrap_or_default().to_owned();
    let notice = Notice {
        kind: text("kind"),
        account: letter.account,
        title: text("title"),
        text: text("text"),
        data: letter.detail["data"].clone(),
        id: letter.subject.clone(),
    };
    match (letter.kind.as_str(), &alert.mail, &alert.url) {
        ("mail", Some(mail), _) => app.notifier.send_mail(mail, &notice).await?,
        ("post", _, Some(url)) => {
            let secret = app.gate.tokens.alert_secret(letter.account)?;
            app.notifier.post(url, &secret, &notice).await?;
        }
        _ => {}
    }
    Ok(Step::Done)
}

/// The pause after so many failures: doubled each time, and up to a quarter longer or shorter, so that letters that failed
/// together are not tried together again.
fn pause_ms(tries: u32) -> i64 {
    let pause = PAUSE_MIN_MS.saturating_mul(1_i64 << tries.saturating_sub(1).min(20)).min(PAUSE_MAX_MS);
    let mut random = [0; 2];
    // Without randomness all are as long as they are: worse, not wrong.
    let _ = getrandom::fill(&mut random);
    let share = i64::from(u16::from_le_bytes(random));
    pause - pause / 4 + pause / 2 * share / i64::from(u16::MAX)
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_an_hour_give_or_take_a_quarter() {
        for (tries, about) in
            [(1, 500), (2, 1_000), (5, 8_000), (13, 1_800_000), (30, 1_800_000), (u32::MAX, 1_800_000)]
        {
            let pause = pause_ms(tries);
            assert!((about - about / 4..=about + about / 4).contains(&pause), "{tries}: {pause}");
        }
        let total: i64 = (1..TRIES_MAX).map(pause_ms).sum();
        assert!((6 * 3_600_000..14 * 3_600_000).contains(&total), "{total} ms");
    }
}
