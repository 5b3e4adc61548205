//! [`Processor`] by Stripe: payments are PaymentIntents, providers are connected accounts of Connect, a payout is a
//! transfer to such an account and a payout from there to its bank.
//!
//! What belongs to this exchange carries its mark in `metadata`; whatever else the Stripe account is used for is left
//! alone. See <https://docs.stripe.com/api>.

use super::processor::{
    BankPayout, BankState, BookLine, Cause, Cents, Connected, Disputed, Intent, IntentState, NewIntent, Processor,
    ProcessorError, Refunded, Transferred,
};
use super::reconcile::DAY_S;
use crate::identity::unix_seconds;
use gollem_engine::{AccountId, PayoutId};
use gollem_projections::words::account_name;
use std::collections::HashMap;
use std::time::Duration;
use stripe::{Client, ClientBuilder, IdempotencyKey, RequestStrategy, StripeError, StripeRequest};
use stripe_connect::account::{
    CreateAccount, CreateAccountCapabilities, CreateAccountCapabilitiesTransfers, CreateAccountSettings,
    CreateAccountSettingsPayouts, CreateAccountSettingsPayoutsSchedule, CreateAccountSettingsPayoutsScheduleInterval,
    CreateAccountType, RetrieveAccount,
};
use stripe_connect::account_link::{CreateAccountLink, CreateAccountLinkType};
use stripe_connect::transfer::{CreateTransfer, ListTransfer};
use stripe_connect::transfer_reversal::CreateIdTransferReversal;
use stripe_core::balance_transaction::ListBalanceTransaction;
use stripe_core::customer::CreateCustomer;
use stripe_core::dispute::ListDispute;
use stripe_core::payment_intent::{
    CreatePaymentIntent, CreatePaymentIntentAutomaticPaymentMethods,
    CreatePaymentIntentAutomaticPaymentMethodsAllowRedirects, CreatePaymentIntentOffSession, ListPaymentIntent,
    RetrievePaymentIntent,
};
use stripe_core::payout::{CreatePayout, ListPayout};
use stripe_core::refund::{CreateRefund, ListRefund};
use stripe_core::{
    BalanceTransaction, BalanceTransactionSource, BalanceTransactionType, Dispute, DisputeStatus, PaymentIntent,
    PaymentIntentSetupFutureUsage, PaymentIntentStatus, Payout, Refund,
};
use stripe_types::{Currency, List, RangeBoundsTs, RangeQueryTs};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Objects of a list's page; Stripe's own limit.
const PAGE: i64 = 100;
/// Pages of one list at the most: a list that has more is a fault.
const PAGES_MAX: usize = 10_000;

/// What marks an object as this exchange's.
const EXCHANGE: &str = "gollem_exchange";
const ACCOUNT: &str = "gollem_account";
const PAYOUT: &str = "gollem_payout";
const REFUND: &str = "gollem_refund";
const KEY: &str = "gollem_key";

/// A Stripe account, as one exchange uses it.
#[derive(Debug)]
pub(crate) struct Stripe {
    client: Client,
    /// Tells this exchange's objects from another's.
    exchange: String,
}

impl Stripe {
    /// Speaks with the API at `url` with a secret key.
    ///
    /// # Errors
    /// When the key cannot be one.
    pub(crate) fn new(url: &str, secret_key: &str, exchange: String) -> Result<Stripe, ProcessorError> {
        let client = ClientBuilder::new(secret_key).url(url).timeout(PATIENCE).request_strategy(RequestStrategy::Once);
        let client = client.build().map_err(|_| refused("invalid_key", "the secret key is not one"))?;
        Ok(Stripe { client, exchange })
    }

    async fn ask<R>(&self, request: &R) -> Result<R::Output, ProcessorError>
    where
        R: StripeRequest + Sync,
        R::Output: miniserde::Deserialize,
    {
        request.customize().send(&self.client).await.map_err(told)
    }

    /// All of a list, newest first, page by page: of the connected account `at`, or of the exchange's own.
    async fn all<R, T>(
        &self,
        at: Option<&str>,
        first: &R,
        next: impl Fn(String) -> R + Send + Sync,
        id: impl Fn(&T) -> String + Send + Sync,
    ) -> Result<Vec<T>, ProcessorError>
    where
        R: StripeRequest<Output = List<T>> + Send + Sync,
        List<T>: miniserde::Deserialize,
        T: Send,
    {
        let mut all = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = match all.last().map(&id) {
                Some(last) => next(last).customize(),
                None => first.customize(),
            };
            let page = match at {
                Some(at) => page.account_id(connected_id(at)?),
                None => page,
            };
            let page = page.send(&self.client).await.map_err(told)?;
            let more = page.has_more && !page.data.is_empty();
            all.extend(page.data);
            if !more {
                return Ok(all);
            }
        }
        Err(ProcessorError::Unknown("a list has no end".into()))
    }

    /// Asks for something that must happen once. The name tells what; the exchange's mark makes it unlike any other's.
    async fn once<R>(&self, name: &str, at: Option<&str>, request: &R) -> Result<R::Output, ProcessorError>
    where
        R: StripeRequest + Sync,
        R::Output: miniserde::Deserialize,
    {
        let key = format!("gollem-{}-{name}", self.exchange);
        let key = IdempotencyKey::new(key).map_err(|_| refused("invalid_key", "an idempotency key is too long"))?;
        let request = request.customize().request_strategy(RequestStrategy::Idempotent(key));
        match at {
            Some(at) => request.account_id(connected_id(at)?).send(&self.client).await,
            None => request.send(&self.client).await,
        }
        .map_err(told)
    }

    fn marks(&self, more: &[(&str, String)]) -> HashMap<String, String> {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        more.chain([(EXCHANGE.to_owned(), self.exchange.clone())]).collect()
    }

    fn is_ours(&self, marks: &HashMap<String, String>) -> bool {
        marks.get(EXCHANGE) == Some(&self.exchange)
    }

    fn account_in(&self, marks: &HashMap<String, String>) -> Option<AccountId> {
        marks.get(ACCOUNT).filter(|_| self.is_ours(marks))?.strip_prefix("acc_")?.parse().ok().map(AccountId)
    }

    fn payout_in(&self, marks: &HashMap<String, String>) -> Option<PayoutId> {
        marks.get(PAYOUT).filter(|_| self.is_ours(marks))?.strip_prefix("pay_")?.parse().ok().map(PayoutId)
    }

    fn group(&self, payout: PayoutId) -> String {
        format!("gollem-{}-{}", self.exchange, payout_name(payout))
    }

    /// The payment that was begun with that key, among the buyer's newest.
    async fn begun(&self, new: &NewIntent<'_>) -> Result<Option<Intent>, ProcessorError> {
        let newest = self.ask(&ListPaymentIntent::new().customer(new.customer).limit(PAGE)).await?.data;
        let is_it =
            |intent: &PaymentIntent| self.is_ours(&intent.metadata) && intent.metadata.get(KEY) == Some(&new.key);
        Ok(newest.into_iter().find(is_it).map(|intent| self.intent_of(intent)))
    }

    fn intent_of(&self, intent: PaymentIntent) -> Intent {
        let kept = intent.setup_future_usage == Some(PaymentIntentSetupFutureUsage::OffSession);
        let state = match intent.status {
            PaymentIntentStatus::Succeeded => IntentState::Succeeded,
            PaymentIntentStatus::Canceled => IntentState::Canceled,
            PaymentIntentStatus::Processing => IntentState::Processing,
            _ => IntentState::Open,
        };
        Intent {
            account: self.account_in(&intent.metadata),
            state,
            cents: intent.amount,
            received: intent.amount_received,
            currency: intent.currency.to_string(),
            client_secret: intent.client_secret,
            saved_method: intent.payment_method.filter(|_| kept).map(|method| method.into_id().to_string()),
            created: intent.created,
            id: intent.id.to_string(),
        }
    }

    fn line_of(&self, line: BalanceTransaction) -> BookLine {
        let source = line.source.and_then(stripe_types::Expandable::into_object);
        let cause = match source {
            // Also what makes it undone, such as a bank's debit that failed.
            Some(BalanceTransactionSource::Charge(charge)) => {
                charge.payment_intent.map(|intent| Cause::Payment { intent: intent.into_id().to_string() })
            }
            Some(BalanceTransactionSource::Refund(refund)) => Some(self.refund_cause(refund, &line.type_)),
            Some(BalanceTransactionSource::Dispute(dispute)) => {
                let intent = dispute.payment_intent.map(|intent| intent.into_id().to_string());
                Some(Cause::Dispute { id: dispute.id.to_string(), intent })
            }
            Some(BalanceTransactionSource::Transfer(transfer)) => {
                Some(Cause::Transfer { payout: self.payout_in(&transfer.metadata) })
            }
            Some(BalanceTransactionSource::TransferReversal(reversal)) => {
                Some(Cause::TransferReversal { transfer: reversal.transfer.into_id().to_string() })
            }
            _ => None,
        };
        BookLine {
            id: line.id.to_string(),
            cents: line.amount,
            fee: line.fee,
            currency: line.currency.to_string(),
            created: line.created,
            cause: cause.unwrap_or_else(|| Cause::Other { kind: line.type_.as_str().to_owned() }),
        }
    }

    fn refund_cause(&self, refund: Refund, kind: &BalanceTransactionType) -> Cause {
        let mark = self.refund_mark(refund.metadata);
        let (id, intent) = (refund.id.to_string(), refund.payment_intent.map(|intent| intent.into_id().to_string()));
        match kind {
            BalanceTransactionType::RefundFailure | BalanceTransactionType::PaymentFailureRefund => {
                Cause::RefundFailure { id, mark, intent }
            }
            _ => Cause::Refund { id, mark, intent },
        }
    }

    fn refund_mark(&self, marks: Option<HashMap<String, String>>) -> Option<String> {
        marks.filter(|marks| self.is_ours(marks)).and_then(|mut marks| marks.remove(REFUND))
    }
}

impl Processor for Stripe {
    async fn customer(&self, account: AccountId) -> Result<String, ProcessorError> {
        let name = account_name(account);
        let request = CreateCustomer::new().metadata(self.marks(&[(ACCOUNT, name.clone())]));
        Ok(self.once(&format!("customer-{name}-{}", today()), None, &request).await?.id.to_string())
    }

    async fn create_intent(&self, new: &NewIntent<'_>) -> Result<Intent, ProcessorError> {
        if let Some(known) = self.begun(new).await? {
            return Ok(known);
        }
        let methods = CreatePaymentIntentAutomaticPaymentMethods {
            // Without the buyer there is nobody to be sent to another page.
            allow_redirects: new.method.map(|_| CreatePaymentIntentAutomaticPaymentMethodsAllowRedirects::Never),
            enabled: true,
        };
        let mut request = CreatePaymentIntent::new(new.cents, Currency::USD)
            .customer(new.customer)
            .metadata(self.marks(&[(ACCOUNT, account_name(new.account)), (KEY, new.key.clone())]))
            .automatic_payment_methods(methods);
        if new.save_method {
            request = request.setup_future_usage(PaymentIntentSetupFutureUsage::OffSession);
        }
        if let Some(method) = new.method {
            request = request.payment_method(method).confirm(true);
        }
        if new.off_session {
            request = request.off_session(CreatePaymentIntentOffSession::Bool(true));
        }
        Ok(self.intent_of(self.once(&format!("{}-{}", new.key, new.refusals), None, &request).await?))
    }

    async fn intent(&self, id: &str) -> Result<Intent, ProcessorError> {
        Ok(self.intent_of(self.ask(&RetrievePaymentIntent::new(id)).await?))
    }

    async fn refunds(&self, intent: &str) -> Result<Vec<Refunded>, ProcessorError> {
        let request = ListRefund::new().payment_intent(intent).limit(PAGE);
        let next = |after: String| request.clone().starting_after(after);
        let mut all: Vec<Refund> = self.all(None, &request, next, |refund| refund.id.to_string()).await?;
        all.sort_by_key(|refund| refund.created);
        let told = all.into_iter().map(|refund| Refunded {
            id: refund.id.to_string(),
            cents: refund.amount,
            failed: matches!(refund.status.as_deref(), Some("failed" | "canceled")),
            mark: self.refund_mark(refund.metadata),
        });
        Ok(told.collect())
    }

    async fn disputes(&self, intent: &str) -> Result<Vec<Disputed>, ProcessorError> {
        let request = ListDispute::new().payment_intent(intent).limit(PAGE);
        let next = |after: String| request.clone().starting_after(after);
        let mut all: Vec<Dispute> = self.all(None, &request, next, |dispute| dispute.id.to_string()).await?;
        all.sort_by_key(|dispute| dispute.created);
        Ok(all.into_iter().filter_map(disputed).collect())
    }

    async fn refund(&self, intent: &str, cents: Cents, mark: &str, refusals: u32) -> Result<(), ProcessorError> {
        if self.refunds(intent).await?.iter().any(|refund| refund.mark.as_deref() == Some(mark)) {
            return Ok(());
        }
        let marks = self.marks(&[(REFUND, mark.to_owned())]);
        let request = CreateRefund::new().payment_intent(intent).amount(cents).metadata(marks);
        self.once(&format!("refund-{mark}-{refusals}"), None, &request).await.map(|_| ())
    }

    async fn connect(&self, account: AccountId) -> Result<Connected, ProcessorError> {
        let name = account_name(account);
        // The exchange says when money goes on to the bank, and for which payout.
        let by_hand = CreateAccountSettingsPayoutsSchedule {
            interval: Some(CreateAccountSettingsPayoutsScheduleInterval::Manual),
            ..CreateAccountSettingsPayoutsSchedule::new()
        };
        let payouts = CreateAccountSettingsPayouts { schedule: Some(by_hand), ..CreateAccountSettingsPayouts::new() };
        let settings = CreateAccountSettings { payouts: Some(payouts), ..CreateAccountSettings::new() };
        let capabilities = CreateAccountCapabilities {
            transfers: Some(CreateAccountCapabilitiesTransfers { requested: Some(true) }),
            ..CreateAccountCapabilities::new()
        };
        let request = CreateAccount::new()
            .type_(CreateAccountType::Express)
            .capabilities(capabilities)
            .settings(settings)
            .metadata(self.marks(&[(ACCOUNT, name.clone())]));
        Ok(connected(&self.once(&format!("connect-{name}-{}", today()), None, &request).await?))
    }

    async fn connected(&self, id: &str) -> Result<Connected, ProcessorError> {
        Ok(connected(&self.ask(&RetrieveAccount::new(id)).await?))
    }

    async fn onboarding(&self, id: &str, back_to: &str) -> Result<String, ProcessorError> {
        let request = CreateAccountLink::new(id, CreateAccountLinkType::AccountOnboarding);
        Ok(self.ask(&request.refresh_url(back_to).return_url(back_to)).await?.url)
    }

    async fn transfer(&self, payout: PayoutId) -> Result<Option<Transferred>, ProcessorError> {
        let list = self.ask(&ListTransfer::new().transfer_group(self.group(payout)).limit(1)).await?;
        Ok(list.data.first().map(transferred))
    }

    async fn create_transfer(
        &self,
        payout: PayoutId,
        cents: Cents,
        to: &str,
        refusals: u32,
    ) -> Result<Transferred, ProcessorError> {
        let request = CreateTransfer::new(Currency::USD, to)
            .amount(cents)
            .transfer_group(self.group(payout))
            .metadata(self.marks(&[(PAYOUT, payout_name(payout))]));
        Ok(transferred(&self.once(&format!("transfer-{}-{refusals}", payout_name(payout)), None, &request).await?))
    }

    async fn reverse_transfer(&self, payout: PayoutId, transfer: &str, refusals: u32) -> Result<(), ProcessorError> {
        let request = CreateIdTransferReversal::new(transfer).metadata(self.marks(&[(PAYOUT, payout_name(payout))]));
        self.once(&format!("reversal-{}-{refusals}", payout_name(payout)), None, &request).await.map(|_| ())
    }

    async fn bank_payout(&self, payout: PayoutId, at: &str) -> Result<Option<BankPayout>, ProcessorError> {
        let request = ListPayout::new().limit(PAGE);
        let next = |after: String| request.clone().starting_after(after);
        let all: Vec<Payout> = self.all(Some(at), &request, next, |payout| payout.id.to_string()).await?;
        let is_it = |known: &&Payout| known.metadata.as_ref().and_then(|marks| self.payout_in(marks)) == Some(payout);
        Ok(all.iter().find(is_it).map(bank_payout))
    }

    async fn create_bank_payout(
        &self,
        payout: PayoutId,
        cents: Cents,
        at: &str,
        refusals: u32,
    ) -> Result<BankPayout, ProcessorError> {
        let marks = self.marks(&[(PAYOUT, payout_name(payout))]);
        let request = CreatePayout::new(cents, Currency::USD).metadata(marks);
        Ok(bank_payout(&self.once(&format!("bank-{}-{refusals}", payout_name(payout)), Some(at), &request).await?))
    }

    async fn books(&self, from: i64, to: i64) -> Result<Vec<BookLine>, ProcessorError> {
        let expand = vec!["data.source".to_owned()];
        let request = ListBalanceTransaction::new().created(between(from, to)).expand(expand).limit(PAGE);
        let next = |after: String| request.clone().starting_after(after);
        let mut all: Vec<BalanceTransaction> = self.all(None, &request, next, |line| line.id.to_string()).await?;
        all.reverse();
        Ok(all.into_iter().map(|line| self.line_of(line)).collect())
    }
}

/// A payout as callers and Stripe's metadata read it.
fn payout_name(payout: PayoutId) -> String {
    format!("pay_{}", payout.0)
}

/// An inquiry takes no money; neither does a dispute that was prevented.
fn disputed(dispute: Dispute) -> Option<Disputed> {
    let won = match dispute.status {
        DisputeStatus::NeedsResponse | DisputeStatus::UnderReview => None,
        DisputeStatus::Won => Some(true),
        DisputeStatus::Lost => Some(false),
        _ => return None,
    };
    Some(Disputed { id: dispute.id.to_string(), cents: dispute.amount, won })
}

fn connected(account: &stripe_connect::Account) -> Connected {
    Connected { id: account.id.to_string(), payable: account.payouts_enabled == Some(true) }
}

fn connected_id(id: &str) -> Result<stripe::AccountId, ProcessorError> {
    id.parse().map_err(|_| refused("invalid_account", "no connected account has such an id"))
}

fn transferred(transfer: &stripe_connect::Transfer) -> Transferred {
    Transferred { id: transfer.id.to_string(), cents: transfer.amount, reversed: transfer.amount_reversed }
}

fn bank_payout(payout: &Payout) -> BankPayout {
    let state = match payout.status.as_str() {
        "paid" => BankState::Paid,
        "failed" | "canceled" => BankState::Failed,
        _ => BankState::Pending,
    };
    BankPayout { id: payout.id.to_string(), state }
}

/// A part of keys of which one that broke must not stand in the way for ever; a second object would only be of no use.
fn today() -> i64 {
    unix_seconds().div_euclid(DAY_S)
}

fn between(from: i64, to: i64) -> RangeQueryTs {
    RangeQueryTs::Bounds(RangeBoundsTs { gte: Some(from), lt: Some(to), ..RangeBoundsTs::default() })
}

fn refused(code: &str, message: &str) -> ProcessorError {
    ProcessorError::Refused { code: code.to_owned(), message: message.to_owned() }
}

/// What Stripe said, without what it added of the payment: that holds a secret.
fn told(error: StripeError) -> ProcessorError {
    match error {
        StripeError::Stripe(error, status) => {
            let code = error.decline_code.clone().or_else(|| error.code.as_ref().map(|code| code.as_str().to_owned()));
            let code = code.unwrap_or_else(|| error.type_.as_str().to_owned());
            let message = error.message.clone().unwrap_or_else(|| "no reason was given".to_owned());
            match status {
                429 => ProcessorError::NotNow(format!("too many requests: {message}")),
                401 | 403 => ProcessorError::NotNow(format!("the key was refused: {message}")),
                // An earlier call with the same key is still at work.
                409 => ProcessorError::Unknown(message),
                400..=499 if code == "balance_insufficient" => ProcessorError::Short(message),
                400..=499 => ProcessorError::Refused { code, message },
                _ => ProcessorError::Broken(format!("{status}: {message}")),
            }
        }
        StripeError::Timeout => ProcessorError::Unknown(format!("no answer in {} s", PATIENCE.as_secs())),
        StripeError::ConfigError(message) => refused("invalid_request", &message),
        StripeError::JSONDeserialize(message) | StripeError::ClientError(message) => ProcessorError::Unknown(message),
    }
}
