//! Admission, in this order: who is calling and whether the route is theirs; the body and its size; the signature over it, where
//! the call is signed; what is left of the caller's limits, or of its address's where nobody pays. Only then the
//! handler runs.

mod address;
mod guesses;
mod lasting;
mod passwords;
mod signed;
mod tokens;

pub(crate) use address::{Peer, one_customer};
pub(crate) use lasting::Lasting;
pub(crate) use passwords::Password;
pub(crate) use signed::{HEADERS as SIGNATURE_HEADERS, parse_public_key};
pub(crate) use tokens::SESSION_S;

use crate::app::App;
use crate::error::ApiError;
use crate::identity::{Caller, Credential, KeyRecord, Session, unix_seconds};
use crate::keys::{ApiKey, Scopes};
use crate::limiter::{Payer, put_headers};
use crate::route::{Access, Bucket, Route};
use address::client_address;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gollem_engine::{AccountId, KeyId};
use guesses::Guesses;
use http_body_util::BodyExt;
use ipnet::IpNet;
use passwords::Passwords;
use signed::{Seen, Signed};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokens::Tokens;
use tokio::sync::watch;

/// A body larger than its route allows is read on and thrown away up to this size, so that the client gets to
/// read the refusal instead of a reset connection.
const DISCARD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The same for callers who are refused before their body is of interest: the largest body any route takes.
const REFUSED_DISCARD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The longest a body may take.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// How far ahead of ours the clock of an earlier signature may have been.
const SIGNED_AHEAD_MS: u64 = 1_000;

/// What a person's session may do: all but taking money out and running the exchange.
pub(crate) const SESSION_SCOPES: Scopes = Scopes::READ.with(Scopes::TRADE).with(Scopes::PROVIDE);

/// What admission knows beside the identity store.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Whose word on a client's address is believed.
    trusted_proxies: Vec<IpNet>,
    seen: Seen,
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Passwords,
    /// Failed logins.
    pub(crate) logins: Guesses,
    /// Registrations, each of which counts as a failure of its address.
    pub(crate) registrations: Guesses,
}

impl Gate {
    /// Opens the gate of an exchange. `founded` says that there was none before: then no signature of an earlier run can come
    /// again, and one may be made at once.
    pub(crate) fn open(session_key: &Path, trusted_proxies: Vec<IpNet>, founded: bool) -> Result<Gate, String> {
        let tokens = Tokens::load_or_create(session_key)
            .map_err(|error| format!("the key of sessions, {}: {error}", session_key.display()))?;
        let not_before_ms = if founded { 0 } else { unix_ms() + SIGNED_AHEAD_MS };
        let passwords = Passwords::new().map_err(|error| error.message)?;
        let (logins, registrations) = (Guesses::default(), Guesses::default());
        Ok(Gate { trusted_proxies, seen: Seen::new(not_before_ms), tokens, passwords, logins, registrations })
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// What a caller has shown to be theirs.
#[derive(Clone, Debug)]
pub(crate) enum Presented {
    /// A key, with the credential that was shown: after a rotation it may be the former one.
    Key(Arc<KeyRecord>),
    /// A session.
    Session(Session),
}

/// What a caller says of itself, proven or still to be.
enum Claim {
    Proven(Presented),
    Signed(Signed),
}

/// Tells a handler that runs to its end whether its client still waits.
#[derive(Clone, Debug)]
pub(crate) struct Presence(watch::Receiver<()>);

impl Presence {
    /// Resolves when the client has left, or has its answer.
    pub(crate) async fn left(mut self) {
        // Nothing is ever sent: the other end goes with the connection's interest.
        while self.0.changed().await.is_ok() {}
    }
}

/// Lets the request through to its handler, or refuses it.
pub(crate) async fn admit(app: Arc<App>, route: &'static Route, request: Request, next: Next) -> Response {
    let address = address_of(&app, &request);
    let mut payer = Payer::Address(address);
    let outcome = pass(&app, route, address, request, next, &mut payer).await;
    let mut response = outcome.unwrap_or_else(IntoResponse::into_response);
    tell(&app, &payer, route.bucket, &mut response);
    response
}

/// Answers a request that no route takes.
pub(crate) async fn turn_away(app: &App, request: Request, error: ApiError) -> Response {
    let address = address_of(app, &request);
    discard(request.into_body()).await;
    let mut response = turned_away(app, address, 1, error).into_response();
    tell(app, &Payer::Address(address), Bucket::Ordinary, &mut response);
    response
}

fn address_of(app: &App, request: &Request) -> IpAddr {
    client_address(request.extensions(), request.headers(), &app.gate.trusted_proxies)
}

fn address_of_parts(app: &App, parts: &Parts) -> IpAddr {
    client_address(&parts.extensions, &parts.headers, &app.gate.trusted_proxies)
}

fn tell(app: &App, payer: &Payer, bucket: Bucket, response: &mut Response) {
    if let Some(allowance) = app.limiter.allowance(payer, bucket) {
        put_headers(&allowance, response.headers_mut());
    }
}

async fn pass(
    app: &App,
    route: &'static Route,
    address: IpAddr,
    request: Request,
    next: Next,
    payer: &mut Payer,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let claimed = match route.access {
        Access::Public => app.limiter.check_flood(address).map(|()| None),
        Access::Scoped(scopes) => claim(app, &parts.headers, scopes, address).map(Some),
    };
    let claim = match claimed {
        Ok(claim) => claim,
        Err(error) => {
            discard(body).await;
            return Err(turned_away(app, address, route.weight, error));
        }
    };
    let body = read_within(body, route.body_bytes_max).await?;
    if let (Access::Scoped(scopes), Some(claim)) = (route.access, claim) {
        let proven = prove(app, claim, &parts, &body, (scopes, address));
        let presented = proven.map_err(|error| turned_away(app, address, route.weight, error))?;
        let caller = presented.caller();
        *payer = payer_of(app, &caller, &presented);
        parts.extensions.insert(caller);
        parts.extensions.insert(presented);
    }
    parts.extensions.insert(ClientAddress(address));
    app.limiter.admit(payer, route)?;
    let safe = parts.method.is_safe();
    let (_here, presence) = watch::channel(());
    parts.extensions.insert(Presence(presence));
    let response = next.run(Request::from_parts(parts, Body::from(body)));
    if safe {
        return Ok(response.await);
    }
    // What changes something runs to its end, even when the client leaves in the middle.
    tokio::spawn(response).await.map_err(|error| ApiError::internal(&error))
}

/// Counts a refused request against its address; what to answer: the refusal, or that there were too many. Who has a good key is
/// never refused for strangers at the same address, which may be a proxy's.
pub(crate) fn turned_away(app: &App, address: IpAddr, weight: u32, error: ApiError) -> ApiError {
    let flooded = app.limiter.check_flood(address).err();
    app.limiter.charge_address(address, weight);
    flooded.unwrap_or(error)
}

fn payer_of(app: &App, caller: &Caller, presented: &Presented) -> Payer {
    let given = caller.account.and_then(|account| app.identity.tier(account));
    let own_limit = match presented {
        Presented::Key(record) => record.set.requests_per_minute,
        Presented::Session(_) => None,
    };
    app.limiter.payer(caller, given, own_limit)
}

/// Reads a refused request's body, within bounds, so that the client gets to read the refusal.
pub(crate) async fn discard(body: Body) {
    let read = read_body(body, 0, REFUSED_DISCARD_BYTES_MAX);
    if tokio::time::timeout(BODY_PATIENCE, read).await.is_err() {
        tracing::debug!("a refused body came too slowly");
    }
}

/// Whose the request says it is. A secret and a session's token are checked here, so that a stranger's body is not read; a
/// signature when the body is there.
fn claim(app: &App, headers: &HeaderMap, scopes: Scopes, address: IpAddr) -> Result<Claim, ApiError> {
    if let Some(prefix) = headers.get(signed::KEY) {
        let public = prefix.to_str().ok().and_then(ApiKey::public_in);
        let record = public.and_then(|public| app.identity.key(public)).ok_or_else(signed::wrong_kind)?;
        return Signed::from_headers(headers, record).map(Claim::Signed);
    }
    let missing = "no API key: send `Authorization: Bearer sk-gollem-…` or `X-API-Key: sk-gollem-…`";
    let text = shown(headers).ok_or_else(|| unauthorized("invalid_api_key", missing))?;
    check(app, text, scopes, address).map(Claim::Proven)
}

/// The key or the session's token in a request's headers.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok()).map(str::trim)
}

/// Whose a key or a session's token is, if it may be used now, from there, for this.
fn check(app: &App, text: &str, scopes: Scopes, address: IpAddr) -> Result<Presented, ApiError> {
    let now = unix_seconds();
    if let Some(hash) = Some(text).filter(|text| text.starts_with("ey")).and_then(|text| app.gate.tokens.read(text)) {
        let session = app.identity.session(&hash).filter(|session| session.expires_at > now);
        let over = "this session is over: log in again";
        let presented = Presented::Session(session.ok_or_else(|| unauthorized("session_over", over))?);
        check_scopes(presented.caller().scopes, scopes)?;
        return Ok(presented);
    }
    let key = ApiKey::parse(text);
    let record = key.as_ref().and_then(|key| app.identity.key(key.public()));
    let known = key.zip(record).filter(|(key, record)| record.has_secret(key, now));
    let known = known.map(|(key, record)| KeyRecord::shown_by(record, Credential::of(&key)));
    let record = known.ok_or_else(|| unauthorized("invalid_api_key", "this API key is not known here"))?;
    usable(&record, scopes, address, now)?;
    Ok(Presented::Key(record))
}

fn prove(
    app: &App,
    claim: Claim,
    parts: &Parts,
    body: &[u8],
    (scopes, address): (Scopes, IpAddr),
) -> Result<Presented, ApiError> {
    // The body may have taken its time, in which a key was revoked or a session ended: all is looked at as it is now.
    match claim {
        Claim::Proven(presented) => {
            still_good(app, &presented, scopes, address)?;
            Ok(presented)
        }
        Claim::Signed(signed) => {
            let credential = signed.verify(parts, body, unix_ms())?;
            let presented = Presented::Key(KeyRecord::shown_by(Arc::clone(&signed.record), credential));
            still_good(app, &presented, scopes, address)?;
            // The last: whose key opens nothing takes up no room.
            signed.once(&app.gate.seen, unix_ms())?;
            Ok(presented)
        }
    }
}

/// Whether what was shown a while ago may still be used, from there, for this.
fn still_good(app: &App, presented: &Presented, scopes: Scopes, address: IpAddr) -> Result<(), ApiError> {
    let now = unix_seconds();
    match presented {
        Presented::Key(shown) => {
            let record = app.identity.key(&shown.public);
            let same = record.filter(|record| record.credentials(now).any(|good| good == shown.credential));
            let gone = || unauthorized("invalid_api_key", "this API key is no longer good");
            let record = same.ok_or_else(gone)?;
            usable(&record, scopes, address, now)
        }
        Presented::Session(session) => {
            let open = app.identity.session(&session.hash).is_some_and(|session| session.expires_at > now);
            if !open {
                return Err(unauthorized("session_over", "this session is over: log in again"));
            }
            check_scopes(presented.caller().scopes, scopes)
        }
    }
}

/// Whether a key, whose holder has proven to have it, may be used now, from there, for this.
fn usable(record: &KeyRecord, scopes: Scopes, address: IpAddr, now: i64) -> Result<(), ApiError> {
    if record.revoked_at.is_some() {
        return Err(unauthorized("api_key_revoked", "this API key was revoked"));
    }
    if record.expired(now) {
        return Err(unauthorized("api_key_expired", "this API key has expired"));
    }
    if !record.allows(address) {
        let message = format!("this API key may not be used from {address}");
        let (status, kind) = (StatusCode::FORBIDDEN, "invalid_request_error");
        return Err(ApiError::new(status, kind, "address_not_allowed", message));
    }
    check_scopes(record.set.scopes, scopes)?;
    record.used(now);
    Ok(())
}

fn check_scopes(has: Scopes, needed: Scopes) -> Result<(), ApiError> {
    if has.intersects(needed) { Ok(()) } else { Err(forbidden(needed)) }
}

fn unauthorized(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "invalid_request_error", code, message)
}

/// 403: the key lacks every one of these scopes.
pub(crate) fn forbidden(scopes: Scopes) -> ApiError {
    let message = format!("this API key needs the scope {}", scopes.names().join(" or "));
    ApiError::new(StatusCode::FORBIDDEN, "invalid_request_error", "insufficient_scope", message)
}

fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

async fn read_within(body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let read = tokio::time::timeout(BODY_PATIENCE, read_body(body, bytes_max, DISCARD_BYTES_MAX)).await;
    read.map_err(|_| {
        let message = "the body came too slowly";
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", "body_timeout", message)
    })?
}

async fn read_body(mut body: Body, bytes_max: usize, discard_max: usize) -> Result<Bytes, ApiError> {
    let hint = body.size_hint();
    let mut kept = Vec::with_capacity(usize::try_from(hint.lower()).unwrap_or(bytes_max).min(bytes_max));
    let mut seen = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::invalid("body", "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        seen += data.len();
        if seen <= bytes_max {
            kept.extend_from_slice(&data);
        } else if seen > discard_max {
            break;
        }
    }
    if seen > bytes_max {
        let message = format!("the body may have at most {bytes_max} bytes");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        let error = ApiError::new(status, "invalid_request_error", "body_too_large", message);
        return Err(ApiError { param: Some("body".into()), ..error });
    }
    Ok(kept.into())
}

impl Presented {
    /// Whom it speaks for.
    pub(crate) fn caller(&self) -> Caller {
        match self {
            Presented::Key(record) => Caller { account: record.account, key: record.number, scopes: record.set.scopes },
            Presented::Session(session) => {
                Caller { account: Some(session.account), key: KeyId(0), scopes: SESSION_SCOPES }
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Presented {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Presented, ApiError> {
        let presented = parts.extensions.get::<Presented>().cloned();
        presented.ok_or_else(|| ApiError::internal(&"a route for callers is open to anyone"))
    }
}

/// The caller's account, for routes that act on one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) id: AccountId,
    /// The key's number, for what it may spend.
    pub(crate) key: KeyId,
    pub(crate) scopes: Scopes,
}

impl<S: Sync> FromRequestParts<S> for Account {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Account, ApiError> {
        parts.extensions.get::<Caller>().map_or_else(|| Err(no_account()), Account::of)
    }
}

impl Account {
    /// The caller's account, if it has one.
    pub(crate) fn of(caller: &Caller) -> Result<Account, ApiError> {
        let id = caller.account.ok_or_else(no_account)?;
        Ok(Account { id, key: caller.key, scopes: caller.scopes })
    }
}

fn no_account() -> ApiError {
    let message = "this API key belongs to no account: use a key made by POST /v1/accounts";
    ApiError::new(StatusCode::FORBIDDEN, "invalid_request_error", "no_account", message)
}
