//! Accounts: opening one with its first key, looking at one, what it may ask, and how far it may spend beyond its credits.

use crate::api::keys::{check_withdraw, first_key, parse_addresses, parse_scopes};
use crate::api::queries::whose;
use crate::api::{Segment, account_id, check_name, no_account, parse};
use crate::app::App;
use crate::auth::Presented;
use crate::error::ApiError;
use crate::identity::Caller;
use crate::keys::{ApiKey, Scopes};
use crate::limiter::{Left, Tier};
use crate::money::parse_credits;
use crate::route::Bucket;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use gollem_engine::{AccountId, Command, CreditPolicy, Event};
use gollem_projections::words::{account_name, credits, micros, utc};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use utoipa::ToSchema;

/// An account to be opened.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "ann", "scopes": ["read", "trade"] }))]
pub(crate) struct OpenAccount {
    /// 1 to 64 bytes; no other account has it.
    name: String,
    /// What its key may do: of `read`, `trade`, `provide`; `read` and `trade` unless given.
    #[serde(default)]
    scopes: Option<Vec<String>>,
    /// Addresses or networks (CIDR) that its key may be used from; required with `withdraw`.
    #[serde(default)]
    addresses: Vec<String>,
}

/// `POST /v1/accounts`: opens an account with its first API key, which is shown here and never again. It lives as long as the
/// operator's key, and may be used from where that may, or from some of there.
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    presented: Presented,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let request: OpenAccount = parse(&body)?;
    check_name("name", &request.name)?;
    let scopes = request.scopes.as_deref().map(parse_scopes).transpose()?;
    let scopes = scopes.unwrap_or(Scopes::READ.with(Scopes::TRADE));
    if scopes.intersects(Scopes::ADMIN) {
        return Err(ApiError::invalid("scopes", "scopes may hold read, trade, provide and withdraw"));
    }
    let set = first_key(&presented, scopes, parse_addresses(&request.addresses)?)?;
    check_withdraw(scopes, &set.addresses)?;
    if app.identity.account_named(&request.name).await?.is_some() {
        return Err(name_taken());
    }
    let key = ApiKey::generate().map_err(|error| ApiError::internal(&error))?;
    let account = open_in_engine(&app).await?;
    if let Err(error) = app.identity.add_account(account, &request.name, &key, set).await {
        return Err(not_stored(&app, account, &request.name, error).await);
    }
    let body = json!({
        "account": account_name(account), "name": request.name, "scopes": scopes.names(), "api_key": key.reveal(),
    });
    Ok((StatusCode::CREATED, Json(body)))
}

/// `GET /v1/accounts/{account}`: one's own, or any for the operator.
pub(crate) async fn view(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Segment(account): Segment,
) -> Result<Json<Value>, ApiError> {
    shown(&app, whose(Some(caller), Some(account))?).await
}

async fn shown(app: &App, account: AccountId) -> Result<Json<Value>, ApiError> {
    let name = app.identity.name_of(account).await?.ok_or_else(no_account)?;
    let reader = app.reader(0).await?;
    let (balance, policies) = (reader.balance(account)?, reader.policies(account)?);
    Ok(Json(json!({
        "account": account_name(account),
        "name": name,
        "available": credits(balance.available),
        "owed": credits(balance.owed),
        "credit_policy": {
            "overage_cap": credits(policies.credit.overage_cap), "auto_renew": policies.credit.auto_renew,
        },
        "payout_policy": { "automatic": policies.payout.automatic, "monthly": policies.payout.monthly },
        "endpoint": app.identity.endpoint(account).as_deref(),
        "seq": reader.seq(),
        "at": utc(reader.at()),
        "at_us": micros(reader.at()),
    })))
}

/// How far an account may spend beyond its credits.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreditPolicy, example = json!({ "overage_cap": "100", "auto_renew": false }))]
pub(crate) struct SetCreditPolicy {
    /// Most credits it may owe through orders, from 0.
    overage_cap: String,
    /// Whether credits are bought for it when they run low.
    #[serde(default)]
    auto_renew: bool,
}

/// `PUT /v1/accounts/{account}/credit-policy`.
pub(crate) async fn set_credit_policy(
    State(app): State<Arc<App>>,
    Segment(account): Segment,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let account = account_id(&account)?;
    let request: SetCreditPolicy = parse(&body)?;
    let overage_cap = parse_credits("overage_cap", &request.overage_cap)?;
    let policy = CreditPolicy { overage_cap, auto_renew: request.auto_renew };
    check_account(&app, account).await?;
    let set = app.execute(Command::SetCreditPolicy { account, policy }).await;
    set.map_err(|error| error.renamed("limit", "overage_cap"))?;
    shown(&app, account).await
}

/// Accounts that the engine opened and the store could not take, for want of space or of the name: empty, nobody's, and
/// given to who asks next, so that however often is asked in vain, no number is lost. A restart forgets them.
#[derive(Debug, Default)]
pub(crate) struct Unclaimed(Mutex<Vec<AccountId>>);

impl Unclaimed {
    fn put(&self, account: AccountId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(account);
    }

    fn take(&self) -> Option<AccountId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// 404 unless the account is somebody's: what is set for one of nobody's would be the next one's who gets it.
pub(super) async fn check_account(app: &App, account: AccountId) -> Result<(), ApiError> {
    if app.identity.has_account(account).await? { Ok(()) } else { Err(no_account()) }
}

/// An account of the engine that belongs to nobody yet.
pub(super) async fn open_in_engine(app: &App) -> Result<AccountId, ApiError> {
    while let Some(account) = app.unclaimed.take() {
        // A database that is lost in the middle may have stored it after all.
        match app.identity.has_account(account).await {
            Ok(true) => {}
            Ok(false) => return Ok(account),
            Err(error) => {
                app.unclaimed.put(account);
                return Err(error.into());
            }
        }
    }
    let ack = app.execute(Command::OpenAccount).await?;
    let opened = ack.events().iter().find_map(|event| match event {
        Event::AccountOpened { account } => Some(*account),
        _ => None,
    });
    opened.ok_or_else(|| ApiError::internal(&"an opened account has no number"))
}

/// Why an account was not stored; the next one gets its number.
pub(super) async fn not_stored(app: &App, account: AccountId, name: &str, error: sqlx::Error) -> ApiError {
    app.unclaimed.put(account);
    let lost_a_race = error.as_database_error().is_some_and(|error| error.is_unique_violation())
        && app.identity.account_named(name).await.is_ok_and(|owner| owner.is_some());
    if lost_a_race { name_taken() } else { error.into() }
}

/// 409 for a name that another account has.
pub(super) fn name_taken() -> ApiError {
    let error =
        ApiError::new(StatusCode::CONFLICT, "invalid_request_error", "name_taken", "another account has this name");
    ApiError { param: Some("name".into()), ..error }
}

/// How much an account may ask.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "tier": "pro" }))]
pub(crate) struct SetTier {
    /// `free`, `basic`, `pro`, `enterprise` or `unlimited`.
    tier: String,
}

/// `PUT /v1/accounts/{account}/tier`: how much an account may ask from now on.
pub(crate) async fn set_tier(
    State(app): State<Arc<App>>,
    Segment(account): Segment,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let request: SetTier = parse(&body)?;
    let names = Tier::ALL.map(Tier::name).join(", ");
    let tier = Tier::from_name(&request.tier);
    let tier = tier.ok_or_else(|| ApiError::invalid("tier", format!("tier must be one of {names}")))?;
    if !app.identity.set_tier(account_id(&account)?, tier).await? {
        return Err(no_account());
    }
    Ok(Json(json!({ "account": account, "tier": tier.name() })))
}

/// `GET /v1/rate-limit`: the caller's tier, its numbers, and what is left of each.
pub(crate) async fn rate_limit(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    presented: Presented,
) -> Json<Value> {
    let tier = caller.account.map_or(Tier::Unlimited, |account| app.limiter.tier(app.identity.tier(account)));
    let left = |left: Left| json!({ "remaining": left.remaining, "reset_ms": left.reset_us.div_ceil(1_000) });
    let of_account = caller.account.zip(tier.allowed()).map(|(account, allowed)| {
        let standing = app.limiter.standing(account, allowed);
        let in_flight = app.calls.in_flight(account);
        let limits = json!({
            "requests_per_minute": allowed.per_minute, "requests_per_hour": allowed.per_hour,
            "requests_per_day": allowed.per_day, "tokens_per_minute": allowed.tokens_per_minute,
            "burst": allowed.burst, "concurrent": allowed.concurrent,
        });
        let standing = json!({
            "requests": left(standing.requests), "hour": left(standing.hour), "day": left(standing.day),
            "tokens": left(standing.tokens), "cancels": left(standing.cancels),
            "concurrent": allowed.concurrent.saturating_sub(in_flight),
        });
        (limits, standing)
    });
    let (limits, standing) = of_account.unzip();
    let own_limit = match &presented {
        Presented::Key(record) => record.set.requests_per_minute,
        Presented::Session(_) => None,
    };
    let key = own_limit.map(|limit| {
        let key = (caller.account, caller.key);
        let requests = app.limiter.left_to_key(key, limit, Bucket::Ordinary);
        let cancels = app.limiter.left_to_key(key, limit, Bucket::Cancel);
        json!({ "requests_per_minute": limit, "requests": left(requests), "cancels": left(cancels) })
    });
    Json(json!({ "tier": tier.name(), "limits": limits, "left": standing, "key": key }))
}
