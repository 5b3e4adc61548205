//! API keys of the caller's account. Who makes, replaces or revokes a key may do at least what that key may: nobody gains by
//! it more scopes, a longer life, other addresses or a higher limit. [`may_pass_on`] decides it for all of them.

use crate::api::{Segment, account_id, check_name, no_account, parse, parse_id};
use crate::app::App;
use crate::auth::{Presented, SESSION_SCOPES, parse_public_key};
use crate::error::ApiError;
use crate::identity::{Caller, Credential, KeyRecord, NewKey, unix_seconds};
use crate::keys::{ApiKey, Scopes};
use crate::money::parse_credits;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::{Extension, Json};
use gollem_engine::{AccountId, Amount, Command, Engine, KeyId, KeyLimits, KeyStanding};
use gollem_projections::words::{account_name, credits};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use utoipa::ToSchema;

/// Keys of one account, revoked ones included: their numbers are not used again.
const KEYS_MAX: usize = 1_000;
/// Networks a key may be bound to.
const ADDRESSES_MAX: usize = 32;
/// The highest limit a key may be given, in requests a minute.
const PER_MINUTE_MAX: u32 = 1_000_000;
/// How long a replaced secret stays good when nothing else is said, in seconds.
const OVERLAP_S: u32 = 86_400;
/// The longest it may, in seconds.
const OVERLAP_S_MAX: u32 = 7 * 86_400;
const MICROS: i64 = 1_000_000;

/// A key as it is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "trading desk", "scopes": ["read", "trade"], "requests_per_minute": 60 }))]
pub(crate) struct KeyRequest {
    /// 1 to 64 bytes, for people.
    name: String,
    /// What it may do: of `read`, `trade`, `provide`, `withdraw`; no more than the caller may.
    scopes: Vec<String>,
    /// When it ends, in microseconds since the Unix epoch; never unless given.
    expires_at_us: Option<i64>,
    /// Addresses or networks (CIDR) that it may be used from; required with `withdraw`.
    #[serde(default)]
    addresses: Vec<String>,
    /// A limit of its own.
    #[schema(minimum = 1)]
    requests_per_minute: Option<u32>,
    /// The public half of an Ed25519 key in base64: then requests are signed, and there is no secret.
    public_key: Option<String>,
    /// Whose, when an operator makes it.
    account: Option<String>,
}

impl KeyRequest {
    fn read(&self, now: i64) -> Result<NewKey, ApiError> {
        check_name("name", &self.name)?;
        let scopes = parse_scopes(&self.scopes)?;
        let addresses = parse_addresses(&self.addresses)?;
        check_withdraw(scopes, &addresses)?;
        let expires_at = self.expires_at_us.map(|us| us.div_euclid(MICROS));
        if expires_at.is_some_and(|end| end <= now) {
            return Err(ApiError::invalid("expires_at_us", "expires_at_us must be in the future"));
        }
        let requests_per_minute = self.requests_per_minute;
        if requests_per_minute.is_some_and(|rate| !(1..=PER_MINUTE_MAX).contains(&rate)) {
            let message = format!("requests_per_minute must be between 1 and {PER_MINUTE_MAX}");
            return Err(ApiError::invalid("requests_per_minute", message));
        }
        Ok(NewKey { name: self.name.clone(), scopes, expires_at, addresses, requests_per_minute })
    }
}

/// Reads scopes by name.
pub(super) fn parse_scopes(names: &[String]) -> Result<Scopes, ApiError> {
    let message = "scopes must name at least one of read, trade, provide, withdraw and admin";
    let mut scopes = Scopes(0);
    for name in names {
        scopes = scopes.with(Scopes::from_name(name).ok_or_else(|| ApiError::invalid("scopes", message))?);
    }
    if scopes == Scopes(0) { Err(ApiError::invalid("scopes", message)) } else { Ok(scopes) }
}

/// Reads networks: single addresses or CIDR.
pub(super) fn parse_addresses(texts: &[String]) -> Result<Vec<IpNet>, ApiError> {
    if texts.len() > ADDRESSES_MAX {
        return Err(ApiError::invalid("addresses", format!("addresses may have at most {ADDRESSES_MAX} entries")));
    }
    let network = |text: &String| {
        let single = text.parse::<IpAddr>().map(IpNet::from).ok();
        let network = single.or_else(|| text.parse::<IpNet>().ok().map(|network| network.trunc()));
        network.ok_or_else(|| {
            let message = "addresses must be IP addresses or networks such as 192.0.2.0/24";
            ApiError::invalid("addresses", message)
        })
    };
    texts.iter().map(network).collect()
}

/// Money leaves by keys only that work from a few places.
pub(super) fn check_withdraw(scopes: Scopes, addresses: &[IpNet]) -> Result<(), ApiError> {
    if scopes.intersects(Scopes::WITHDRAW) && addresses.is_empty() {
        let message = "a key that may withdraw must be bound to addresses";
        return Err(ApiError { code: "addresses_required", ..ApiError::invalid("addresses", message) });
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    account: Option<String>,
}

/// Whose keys are meant: the caller's, or the operator's; those of `?account=acc_7` when an operator names one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner(Option<AccountId>);

impl<S: Sync> FromRequestParts<S> for Owner {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Owner, ApiError> {
        let unreadable = |_| ApiError::invalid("query", "the query may name an account, as in ?account=acc_7");
        let Query(named) = Query::<Named>::try_from_uri(&parts.uri).map_err(unreadable)?;
        let named = named.account.as_deref().map(account_id).transpose()?;
        let caller = parts.extensions.get::<Caller>();
        let caller = caller.ok_or_else(|| ApiError::internal(&"a route for callers is open to anyone"))?;
        owner_of(caller, named).map(Owner)
    }
}

/// `GET /v1/keys`: the caller's keys, revoked ones, too; an operator's own, or those of `?account=acc_7`.
pub(crate) async fn list(State(app): State<Arc<App>>, Owner(owner): Owner) -> Result<Json<Value>, ApiError> {
    let keys: Vec<Value> = app.identity.keys_of(owner).iter().map(|record| shown(record)).collect();
    Ok(Json(json!({ "account": owner.map(account_name), "keys": keys })))
}

/// `POST /v1/keys`: makes a key that may do no more than the caller's. Its secret is shown here and never again; a key with a
/// `public_key` has none. An operator makes keys of any account.
pub(crate) async fn make(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    presented: Presented,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let request: KeyRequest = parse(&body)?;
    let named = request.account.as_deref().map(account_id).transpose()?;
    let owner = owner_of(&caller, named)?;
    let set = request.read(unix_seconds())?;
    check_kind(owner, set.scopes)?;
    may_pass_on(&app, &presented, &set).await?;
    if let Some(account) = owner.filter(|_| caller.account.is_none())
        && !app.identity.has_account(account).await?
    {
        return Err(no_account());
    }
    store(&app, owner, request.public_key.as_deref(), set).await
}

/// Stores a key that its maker may make.
pub(super) async fn store(
    app: &App,
    owner: Option<AccountId>,
    public_key: Option<&str>,
    set: NewKey,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    if app.identity.keys_of(owner).len() >= KEYS_MAX {
        let message = format!("an account has at most {KEYS_MAX} keys in its life; rotate one instead");
        return Err(ApiError::new(StatusCode::CONFLICT, "invalid_request_error", "too_many_keys", message));
    }
    let key = fresh()?;
    let credential = public_key.map(parse_public_key).transpose()?.unwrap_or_else(|| Credential::of(&key));
    let record = app.identity.add_key(owner, key.public(), credential, set).await?;
    let mut body = shown(&record);
    if public_key.is_none() {
        body["api_key"] = key.reveal().into();
    }
    Ok((StatusCode::CREATED, Json(body)))
}

/// Reads the key that a person asks for with the password, which may withdraw, too.
pub(super) fn for_person(request: &KeyRequest, account: AccountId) -> Result<NewKey, ApiError> {
    let set = request.read(unix_seconds())?;
    if request.account.is_some() {
        return Err(ApiError::invalid("key.account", "the key is one of your own account"));
    }
    check_kind(Some(account), set.scopes).map(|()| set)
}

impl KeyRequest {
    /// The public half of a key that signs.
    pub(super) fn public_key(&self) -> Option<&str> {
        self.public_key.as_deref()
    }
}

/// `DELETE /v1/keys/{key}`: revokes a key at once and for ever.
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    presented: Presented,
    owner: Owner,
    Segment(key): Segment,
) -> Result<Json<Value>, ApiError> {
    let record = governed(&app, &presented, owner, &key).await?;
    app.identity.revoke_key(&record.public).await?;
    Ok(Json(json!({ "id": key, "revoked": true })))
}

/// How a key's credential is replaced.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyRotation, example = json!({ "overlap_s": 3_600 }))]
pub(crate) struct Rotation {
    /// Seconds for which the old one stays good.
    #[schema(maximum = 604_800)]
    overlap_s: Option<u32>,
    /// The new public half, of a key that signs.
    public_key: Option<String>,
}

/// `POST /v1/keys/{key}/rotate`: a new secret or public key for the same key; the old one stays good for `overlap_s`
/// seconds, a day unless it is said.
pub(crate) async fn rotate(
    State(app): State<Arc<App>>,
    presented: Presented,
    owner: Owner,
    Segment(key): Segment,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let rotation: Rotation = if body.is_empty() { Rotation::default() } else { parse(&body)? };
    let overlap_s = rotation.overlap_s.unwrap_or(OVERLAP_S);
    if overlap_s > OVERLAP_S_MAX {
        return Err(ApiError::invalid("overlap_s", format!("overlap_s must be between 0 and {OVERLAP_S_MAX}")));
    }
    let record = managed(&app, &presented, owner, &key).await?;
    if record.revoked_at.is_some() {
        let message = "this key was revoked; make another";
        return Err(ApiError::new(StatusCode::CONFLICT, "invalid_request_error", "api_key_revoked", message));
    }
    let signs = matches!(record.credential, Credential::Ed25519(_));
    let renewed = ApiKey::renewed(&record.public).map_err(|error| ApiError::internal(&error))?;
    let credential = match (signs, rotation.public_key.as_deref()) {
        (true, Some(public_key)) => parse_public_key(public_key)?,
        (false, None) => Credential::of(&renewed),
        (true, None) => return Err(ApiError::invalid("public_key", "this key signs: give its next public_key")),
        (false, Some(_)) => return Err(ApiError::invalid("public_key", "this key has a secret and no public_key")),
    };
    let until = unix_seconds() + i64::from(overlap_s);
    let rotated = app.identity.rotate_key(&record.public, record.credential, credential, until).await?;
    let rotated = rotated.ok_or_else(|| {
        let message = "this key was replaced or revoked in the meantime: look at it again";
        ApiError::new(StatusCode::CONFLICT, "invalid_request_error", "key_changed", message)
    })?;
    let mut body = shown(&rotated);
    if !signs {
        body["api_key"] = renewed.reveal().into();
    }
    Ok(Json(body))
}

/// `GET /v1/keys/{key}/limits`: what the key may spend, and what counts against it.
pub(crate) async fn limits(
    State(app): State<Arc<App>>,
    owner: Owner,
    Segment(key): Segment,
) -> Result<Json<Value>, ApiError> {
    let record = find(&app, owner, &key)?;
    let standing = standing(&app, &record).await?.unwrap_or_default();
    Ok(Json(spending(&key, &standing)))
}

/// What a key may spend in credits; no limit where none is given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyLimits, example = json!({ "daily": "100", "hard": "1000" }))]
pub(crate) struct Limits {
    /// In a day (UTC).
    daily: Option<String>,
    /// In a month (UTC).
    monthly: Option<String>,
    /// Ever.
    hard: Option<String>,
}

/// `PUT /v1/keys/{key}/limits`: credits that the key may spend in a day, in a month (UTC) and ever; no limit where none is
/// given. A key does not change its own.
pub(crate) async fn set_limits(
    State(app): State<Arc<App>>,
    presented: Presented,
    owner: Owner,
    Segment(key): Segment,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let limits: Limits = parse(&body)?;
    let read = |field, text: Option<&String>| text.map(|text| parse_credits(field, text)).transpose();
    let limits = KeyLimits {
        daily: read("daily", limits.daily.as_ref())?,
        monthly: read("monthly", limits.monthly.as_ref())?,
        hard: read("hard", limits.hard.as_ref())?,
    };
    let record = governed(&app, &presented, owner, &key).await?;
    if is(&presented, &record) {
        return Err(beyond("a key does not change its own limits"));
    }
    let account = record.account.ok_or_else(|| ApiError::invalid("key", "an operator's key spends nothing"))?;
    app.execute(Command::SetKeyLimits { account, key: record.number, limits }).await?;
    let standing = standing(&app, &record).await?.unwrap_or_default();
    Ok(Json(spending(&key, &standing)))
}

fn spending(key: &str, standing: &KeyStanding) -> Value {
    let limit = |amount: Option<Amount>| amount.map(credits);
    json!({
        "key": key,
        "daily": limit(standing.limits.daily), "monthly": limit(standing.limits.monthly),
        "hard": limit(standing.limits.hard),
        "reserved": credits(standing.reserved), "spent_in_day": credits(standing.spent_in_day),
        "spent_in_month": credits(standing.spent_in_month), "spent": credits(standing.spent),
    })
}

async fn standing(app: &App, record: &KeyRecord) -> Result<Option<KeyStanding>, ApiError> {
    let Some(account) = record.account else { return Ok(None) };
    let number = record.number;
    Ok(app.ingress.inspect(move |engine: &Engine| engine.key_standing(account, number)).await?)
}

/// The key of that name, if the caller may have it anew: one that it could make, or its own.
async fn managed(app: &App, presented: &Presented, owner: Owner, key: &str) -> Result<Arc<KeyRecord>, ApiError> {
    let record = find(app, owner, key)?;
    if is(presented, &record) {
        check_credential(app, presented)?;
    } else {
        may_pass_on(app, presented, &record.set).await?;
    }
    Ok(record)
}

/// The key of that name, if the caller may end or limit it. The operator may so with any account's: it gains nothing by it.
async fn governed(app: &App, presented: &Presented, owner: Owner, key: &str) -> Result<Arc<KeyRecord>, ApiError> {
    let is_operator = matches!(presented, Presented::Key(own) if own.account.is_none());
    if is_operator && owner.0.is_some() {
        check_credential(app, presented)?;
        return find(app, owner, key);
    }
    managed(app, presented, owner, key).await
}

/// Keys are managed with a credential that lasts: one that was replaced, and is good for a while yet, would last for ever.
fn check_credential(app: &App, presented: &Presented) -> Result<(), ApiError> {
    let Presented::Key(own) = presented else { return Ok(()) };
    let lasts = |record: Arc<KeyRecord>| record.credential == own.credential && record.revoked_at.is_none();
    if app.identity.key(&own.public).is_some_and(lasts) {
        return Ok(());
    }
    let message = "this key's credential was replaced or revoked: manage keys with one that is good";
    Err(ApiError::new(StatusCode::FORBIDDEN, "invalid_request_error", "beyond_own_key", message))
}

fn find(app: &App, Owner(owner): Owner, key: &str) -> Result<Arc<KeyRecord>, ApiError> {
    let number = u32::try_from(parse_id("key", "key_", key)?).map_err(|_| no_key())?;
    let own = app.identity.keys_of(owner);
    own.into_iter().find(|record| record.number == KeyId(number)).ok_or_else(no_key)
}

fn is(presented: &Presented, record: &KeyRecord) -> bool {
    matches!(presented, Presented::Key(own) if own.public == record.public)
}

/// Refuses a caller who would gain by a key like this. Scopes, end and addresses are passed on as they are, or less. What a
/// key has a number of, requests or credits, is not passed on at all: two keys would have twice as many.
async fn may_pass_on(app: &App, presented: &Presented, set: &NewKey) -> Result<(), ApiError> {
    check_credential(app, presented)?;
    let own = match presented {
        Presented::Session(_) if SESSION_SCOPES.contains(set.scopes) => return Ok(()),
        Presented::Session(_) => {
            let message = "a session makes keys that read, trade and provide; POST /api/v1/auth/apikey makes others";
            return Err(beyond(message));
        }
        Presented::Key(own) => own,
    };
    if !set.is_within(&own.set) {
        return Err(beyond("this needs a key with at least its scopes, addresses and time"));
    }
    let spending = standing(app, own).await?.map(|standing| standing.limits).unwrap_or_default();
    if own.set.requests_per_minute.is_some() || spending != KeyLimits::default() {
        return Err(beyond("a key with a limit of its own, of requests or of spending, manages no other keys"));
    }
    Ok(())
}

/// The first key of an account that the operator opens: within the bounds of the operator's own key.
pub(super) fn first_key(presented: &Presented, scopes: Scopes, addresses: Vec<IpNet>) -> Result<NewKey, ApiError> {
    let Presented::Key(own) = presented else { return Err(beyond("accounts are opened with an operator's key")) };
    let addresses = if addresses.is_empty() { own.set.addresses.clone() } else { addresses };
    let set = NewKey { addresses, expires_at: own.set.expires_at, ..NewKey::unbounded("first", scopes) };
    if set.is_within(&own.set) { Ok(set) } else { Err(beyond("this needs a key with at least its addresses")) }
}

fn beyond(message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "invalid_request_error", "beyond_own_key", message)
}

/// The operator's keys run the exchange, those of accounts do not.
fn check_kind(owner: Option<AccountId>, scopes: Scopes) -> Result<(), ApiError> {
    match owner {
        Some(_) if scopes.intersects(Scopes::ADMIN) => {
            Err(ApiError::invalid("scopes", "a key of an account may have read, trade, provide and withdraw"))
        }
        None if scopes != Scopes::ADMIN => {
            Err(ApiError::invalid("scopes", "a key of the operator has the scope admin; name an account for others"))
        }
        _ => Ok(()),
    }
}

/// Whose keys are meant: the caller's own, or those an operator names.
fn owner_of(caller: &Caller, named: Option<AccountId>) -> Result<Option<AccountId>, ApiError> {
    match (caller.account, named) {
        (own, None) => Ok(own),
        (Some(own), Some(named)) if own == named => Ok(Some(own)),
        (None, Some(named)) => Ok(Some(named)),
        (Some(_), Some(_)) => Err(crate::auth::forbidden(Scopes::ADMIN)),
    }
}

fn no_key() -> ApiError {
    ApiError::not_found("key", "key_not_found", "no key of this account has this id")
}

fn fresh() -> Result<ApiKey, ApiError> {
    ApiKey::generate().map_err(|error| ApiError::internal(&error))
}

/// What may be shown of a key.
fn shown(record: &KeyRecord) -> Value {
    let us = |seconds: Option<i64>| seconds.map(|seconds| seconds.saturating_mul(MICROS));
    let addresses: Vec<String> = record.set.addresses.iter().map(IpNet::to_string).collect();
    let kind = if matches!(record.credential, Credential::Ed25519(_)) { "ed25519" } else { "secret" };
    json!({
        "id": format!("key_{}", record.number.0), "name": record.set.name, "prefix": record.prefix(), "kind": kind,
        "scopes": record.set.scopes.names(), "addresses": addresses,
        "requests_per_minute": record.set.requests_per_minute,
        "created_at_us": us(Some(record.created_at)), "expires_at_us": us(record.set.expires_at),
        "last_used_us": us(record.last_used()), "revoked_at_us": us(record.revoked_at),
        "former_until_us": us(record.former.map(|(_, until)| until)),
    })
}
