//! What an account wishes of payments: automatic purchases, alerts, a bank for its earnings.

use super::intents::usd;
use crate::api::parse;
use crate::app::App;
use crate::auth::Account;
use crate::endpoint::check_webhook;
use crate::error::ApiError;
use crate::money::{parse_credits, parse_dollars};
use crate::payments::cards::CardFree;
use crate::payments::processor::Processor;
use crate::payments::store::{Alert, Renewal};
use crate::payments::{PaymentError, atoms, cents_of, notify, payments_of, settle};
use axum::Json;
use axum::extract::State;
use gollem_engine::limits::{PURCHASE_ATOMS_MAX, PURCHASE_ATOMS_MIN};
use gollem_projections::words::{account_name, credits};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use url::Url;
use utoipa::ToSchema;

/// Automatic purchases with the kept way of paying.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "enabled": true, "below": "1000", "amount_usd": "20.00", "monthly_cap_usd": "100.00" }))]
pub(crate) struct AutoRenew {
    /// False ends them.
    enabled: bool,
    /// Credits: one is made when less is available.
    below: Option<String>,
    /// What one comes to, 1.00 to 1000.00.
    amount_usd: Option<String>,
    /// What those of a month (UTC) may come to.
    monthly_cap_usd: Option<String>,
}

/// `PUT /api/payments/auto-renew`.
pub(crate) async fn set_auto_renew(
    State(app): State<Arc<App>>,
    account: Account,
    CardFree(body): CardFree,
) -> Result<Json<Value>, ApiError> {
    let request: AutoRenew = parse(&body)?;
    let payments = payments_of(&app)?;
    let settings = payments.store.account(account.id).await?;
    let renewal = if request.enabled { Some(renewal_of(&request)?) } else { None };
    if renewal.is_some() && settings.method.is_none() {
        let message = "no way of paying is kept: make a purchase with \"save_method\": true first";
        return Err(ApiError::invalid("enabled", message));
    }
    payments.store.set_renewal(account.id, renewal).await?;
    payments.watch(account.id, renewal.is_some() || settings.alert.is_some());
    Ok(Json(json!({ "account": account_name(account.id), "auto_renew": renewal.map(renewal_told) })))
}

fn renewal_of(request: &AutoRenew) -> Result<Renewal, ApiError> {
    let given = |field: &'static str, value: &Option<String>| {
        value
            .clone()
            .ok_or_else(|| ApiError::invalid(field, format!("{field} is needed to enable automatic purchases")))
    };
    let below = parse_credits("below", &given("below", &request.below)?)?;
    let amount = parse_dollars("amount_usd", &given("amount_usd", &request.amount_usd)?)?;
    let cap = parse_dollars("monthly_cap_usd", &given("monthly_cap_usd", &request.monthly_cap_usd)?)?;
    if !(PURCHASE_ATOMS_MIN..=PURCHASE_ATOMS_MAX).contains(&amount.0) {
        return Err(ApiError::invalid("amount_usd", "amount_usd must be between 1.00 and 1000.00"));
    }
    if cap < amount {
        return Err(ApiError::invalid("monthly_cap_usd", "monthly_cap_usd must be at least amount_usd"));
    }
    Ok(Renewal { below, cents: cents_of(amount), monthly_cap: cents_of(cap) })
}

pub(super) fn renewal_told(renewal: Renewal) -> Value {
    json!({
        "below": credits(renewal.below), "amount_usd": usd(renewal.cents),
        "amount": credits(atoms(renewal.cents)), "monthly_cap_usd": usd(renewal.monthly_cap),
    })
}

/// Who is told when few credits are left, once each time that happens.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BalanceAlert,
    example = json!({ "below": "5000", "email": "ann@example.com", "webhook_url": "https://example.com/gollem" }))]
pub(crate) struct SetAlert {
    /// Credits; null ends the alerts.
    below: Option<String>,
    email: Option<String>,
    /// Where a signed JSON object is posted to, as Standard Webhooks has it.
    webhook_url: Option<String>,
}

/// `PUT /api/payments/alerts`.
pub(crate) async fn set_alert(
    State(app): State<Arc<App>>,
    account: Account,
    CardFree(body): CardFree,
) -> Result<Json<Value>, ApiError> {
    let request: SetAlert = parse(&body)?;
    let payments = payments_of(&app)?;
    let alert = match &request.below {
        Some(below) => Some(alert_of(&app, &request, below)?),
        None => None,
    };
    payments.store.set_alert(account.id, alert.as_ref()).await?;
    let renewal = payments.store.account(account.id).await?.renewal;
    payments.watch(account.id, alert.is_some() || renewal.is_some());
    let secret = alert.as_ref().and_then(|alert| alert.url.as_ref()).map(|_| app.gate.tokens.alert_secret(account.id));
    let secret = secret.transpose()?;
    Ok(Json(json!({
        "account": account_name(account.id),
        "below": alert.as_ref().map(|alert| credits(alert.below)),
        "email": alert.as_ref().and_then(|alert| alert.mail.clone()),
        "webhook_url": alert.as_ref().and_then(|alert| alert.url.clone()),
        "webhook_secret": secret,
    })))
}

fn alert_of(app: &App, request: &SetAlert, below: &str) -> Result<Alert, ApiError> {
    let below = parse_credits("below", below)?;
    if request.email.is_none() && request.webhook_url.is_none() {
        return Err(ApiError::invalid("email", "an alert needs an email or a webhook_url to go to"));
    }
    if let Some(email) = &request.email {
        if !notify::is_mail_address(email) {
            return Err(ApiError::invalid("email", "email must be an address such as ann@example.com"));
        }
        if !app.notifier.can_mail() {
            return Err(ApiError::invalid("email", "this exchange sends no mail: give a webhook_url"));
        }
    }
    if let Some(url) = &request.webhook_url {
        check_webhook(url, app.dev).map_err(|message| ApiError::invalid("webhook_url", message))?;
    }
    Ok(Alert { below, mail: request.email.clone(), url: request.webhook_url.clone() })
}

/// Where a provider's browser is sent back to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "return_url": "https://example.com/earnings" }))]
pub(crate) struct Onboard {
    /// A page of the provider's own.
    return_url: String,
}

/// `POST /api/payments/onboarding`: a page of the processor's on which the provider says who it is and where its bank is.
/// Payouts wait for that.
pub(crate) async fn onboard(
    State(app): State<Arc<App>>,
    account: Account,
    CardFree(body): CardFree,
) -> Result<Json<Value>, ApiError> {
    let request: Onboard = parse(&body)?;
    let payments = payments_of(&app)?;
    let url = Url::parse(&request.return_url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| ApiError::invalid("return_url", "return_url must be an http or https address"))?;
    let known = payments.store.account(account.id).await?.connected;
    let id = match known {
        Some(connected) => connected.id,
        None => {
            let connected = payments.processor.connect(account.id).await.map_err(PaymentError::from)?;
            gollem_journal::crash_point!("payments.connected");
            payments.store.set_connected(account.id, &connected).await?;
            connected.id
        }
    };
    let connected = settle::connection(payments, account.id, &id).await?;
    let link = payments.processor.onboarding(&id, url.as_str()).await.map_err(PaymentError::from)?;
    Ok(Json(json!({
        "account": account_name(account.id), "processor": "stripe", "processor_account": id,
        "payable": connected.payable, "url": link,
    })))
}
