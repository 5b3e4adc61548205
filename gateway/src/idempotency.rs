//! `Idempotency-Key`: a request that is sent again with the same key has one effect, and gets the first answer.
//!
//! What must be exactly once rests on the engine: the key of an order is its client order id, the key of a purchase its
//! reference, both remembered across restarts. On top of that, first answers are kept here, in memory: each account's newest
//! [`KEYS_PER_ACCOUNT_MAX`], [`KEYS_MAX`] in all, while the process runs. Failures of ours (5xx) and refusals for now (429)
//! are not kept: trying again is right then. What shows a secret has no place in the list of routes, nor have calls, whose
//! text is nobody's to keep.

use crate::app::App;
use crate::error::ApiError;
use crate::identity::Caller;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gollem_engine::AccountId;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Requests whose first answer is kept. All of them are `POST`.
pub(crate) const ONCE: &[&str] = &[
    "/v1/orders",
    "/v1/quote",
    "/v1/quotes/{lock}/use",
    "/v1/orders/batch",
    "/v1/orders/cancel-after",
    "/v1/purchases",
    "/v1/payouts",
    "/v1/payouts/{payout}/send",
    "/v1/payouts/{payout}/confirm",
    "/v1/payouts/{payout}/fail",
    "/v1/instruments",
    "/v1/admin/guardrails/{account}/reset",
    "/api/provider/status",
];

/// Longest key in bytes.
pub(crate) const KEY_BYTES_MAX: usize = 255;
/// Keys remembered for each account, the newest.
const KEYS_PER_ACCOUNT_MAX: usize = 100;
/// Keys remembered in all: with [`ANSWER_BYTES_MAX`] it bounds the memory, and with the bound before it takes many accounts
/// to make another forget.
const KEYS_MAX: usize = 10_000;
/// Largest answer that is kept: that of the largest batch.
const ANSWER_BYTES_MAX: usize = 128 * 1024;
/// Bytes of answers that are kept in all.
const BYTES_MAX: usize = 64 * 1024 * 1024;

const HEADER: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The request's key, if it has one: 1 to 255 bytes of visible ASCII.
#[derive(Clone, Debug)]
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl IdempotencyKey {
    fn of(headers: &HeaderMap) -> Result<IdempotencyKey, ApiError> {
        let Some(value) = headers.get(HEADER) else {
            return Ok(IdempotencyKey(None));
        };
        let sound =
            |text: &&str| (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        let text = value.to_str().ok().filter(sound).filter(|_| headers.get_all(HEADER).iter().count() == 1);
        let message =
            format!("Idempotency-Key must be given once and have 1 to {KEY_BYTES_MAX} visible ASCII characters");
        let text = text.ok_or_else(|| ApiError::invalid("Idempotency-Key", message))?;
        Ok(IdempotencyKey(Some(text.to_owned())))
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<IdempotencyKey, ApiError> {
        IdempotencyKey::of(&parts.headers)
    }
}

/// 422: the key came before with another request.
pub(crate) fn reused() -> ApiError {
    let message = "this Idempotency-Key came before with another request; use a new key for a new request";
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let error = ApiError::new(status, "idempotency_error", "idempotency_key_reused", message);
    ApiError { param: Some("Idempotency-Key".into()), ..error }
}

fn in_flight() -> ApiError {
    let message = "the first request with this Idempotency-Key is still being answered; retry later";
    let error = ApiError::new(StatusCode::CONFLICT, "idempotency_error", "idempotency_in_flight", message);
    ApiError { param: Some("Idempotency-Key".into()), ..error }
}

/// Whose key: an account's, or the operator's.
type Owner = Option<AccountId>;
type Hash = [u8; 32];

#[derive(Clone, Debug)]
enum Answer {
    Awaited,
    Given { status: StatusCode, kind: Option<HeaderValue>, body: Bytes },
}

#[derive(Debug)]
struct Kept {
    /// Of the request: path and body.
    request: Hash,
    answer: Answer,
}

/// First answers.
#[derive(Debug, Default)]
pub(crate) struct Idempotency(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    kept: HashMap<(Owner, Hash), Kept>,
    /// Given answers, oldest first, of all and of each.
    by_age: VecDeque<(Owner, Hash)>,
    counts: HashMap<Owner, usize>,
    bytes: usize,
}

/// What a key says of a request.
enum Found {
    New,
    Answered(Response),
}

impl Idempotency {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request that comes for the first time, or says what is known of it.
    fn begin(&self, owner: Owner, key: Hash, request: Hash) -> Result<Found, ApiError> {
        let mut memory = self.memory();
        match memory.kept.get(&(owner, key)) {
            None => {
                memory.kept.insert((owner, key), Kept { request, answer: Answer::Awaited });
                Ok(Found::New)
            }
            Some(kept) if kept.request != request => Err(reused()),
            Some(Kept { answer: Answer::Awaited, .. }) => Err(in_flight()),
            Some(Kept { answer: Answer::Given { status, kind, body }, .. }) => {
                let mut response = (*status, body.clone()).into_response();
                if let Some(kind) = kind {
                    response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
                }
                response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                Ok(Found::Answered(response))
            }
        }
    }

    /// Keeps an answer, and forgets the oldest ones beyond the bounds.
    fn keep(&self, owner: Owner, key: Hash, status: StatusCode, kind: Option<HeaderValue>, body: Bytes) {
        let mut memory = self.memory();
        let Some(kept) = memory.kept.get_mut(&(owner, key)) else { return };
        let bytes = body.len();
        kept.answer = Answer::Given { status, kind, body };
        memory.bytes += bytes;
        memory.by_age.push_back((owner, key));
        let count = memory.counts.entry(owner).or_default();
        *count += 1;
        if *count > KEYS_PER_ACCOUNT_MAX
            && let Some(at) = memory.by_age.iter().position(|(of, _)| *of == owner)
        {
            memory.forget(at);
        }
        while memory.by_age.len() > KEYS_MAX || memory.bytes > BYTES_MAX {
            memory.forget(0);
        }
    }

    /// Forgets a request that got no answer worth keeping.
    fn drop_awaited(&self, owner: Owner, key: Hash) {
        let mut memory = self.memory();
        if matches!(memory.kept.get(&(owner, key)), Some(Kept { answer: Answer::Awaited, .. })) {
            memory.kept.remove(&(owner, key));
        }
    }
}

impl Memory {
    /// Forgets the answer at a place of the queue by age.
    fn forget(&mut self, at: usize) {
        let Some((owner, key)) = self.by_age.remove(at) else { return };
        if let Some(Kept { answer: Answer::Given { body, .. }, .. }) = self.kept.remove(&(owner, key)) {
            self.bytes -= body.len();
        }
        if let Some(count) = self.counts.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&owner);
            }
        }
    }
}

/// Forgets a request whose handler ended without an answer, whatever ended it.
struct Awaited<'a> {
    memory: &'a Idempotency,
    owner: Owner,
    key: Hash,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.memory.drop_awaited(self.owner, self.key);
    }
}

/// Runs a request once for its key. Stands behind admission: the caller is known and the body is read.
pub(crate) async fn once(app: Arc<App>, request: Request, next: Next) -> Result<Response, ApiError> {
    let IdempotencyKey(Some(key)) = IdempotencyKey::of(request.headers())? else {
        return Ok(next.run(request).await);
    };
    let owner = request.extensions().get::<Caller>().and_then(|caller| caller.account);
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|error| ApiError::internal(&error))?;
    let key: Hash = Sha256::digest(&key).into();
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let asked: Hash = Sha256::new().chain_update(path).chain_update([0]).chain_update(&body).finalize().into();
    if let Found::Answered(response) = app.idempotency.begin(owner, key, asked)? {
        return Ok(response);
    }
    let awaited = Awaited { memory: &app.idempotency, owner, key };
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let status = response.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|error| ApiError::internal(&error))?;
    if body.len() <= ANSWER_BYTES_MAX {
        let kind = parts.headers.get(header::CONTENT_TYPE).cloned();
        app.idempotency.keep(owner, key, status, kind, body.clone());
    }
    drop(awaited);
    Ok(Response::from_parts(parts, Body::from(body)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROUTES;

    fn hash(number: usize) -> Hash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        hash
    }

    fn give(memory: &Idempotency, owner: u32, number: usize) {
        let owner = Some(AccountId(owner));
        assert!(matches!(memory.begin(owner, hash(number), hash(0)), Ok(Found::New)));
        memory.keep(owner, hash(number), StatusCode::OK, None, Bytes::from_static(b"{}"));
    }

    fn is_known(memory: &Idempotency, owner: u32, number: usize) -> bool {
        let found = memory.begin(Some(AccountId(owner)), hash(number), hash(0));
        let known = matches!(found, Ok(Found::Answered(_)));
        memory.drop_awaited(Some(AccountId(owner)), hash(number));
        known
    }

    #[test]
    fn every_listed_route_is_a_post() {
        for path in ONCE {
            assert!(ROUTES.iter().any(|route| route.path == *path && route.method == "POST"), "{path}");
        }
    }

    #[test]
    fn an_account_s_newest_keys_are_remembered_and_no_other_account_makes_it_forget() {
        let memory = Idempotency::default();
        give(&memory, 2, 7);
        for number in 0..=KEYS_PER_ACCOUNT_MAX {
            give(&memory, 1, number);
        }
        assert!(!is_known(&memory, 1, 0), "the oldest is forgotten");
        assert!(is_known(&memory, 1, 1) && is_known(&memory, 1, KEYS_PER_ACCOUNT_MAX));
        assert!(is_known(&memory, 2, 7), "another's is its own");
    }

    #[test]
    fn memory_is_bounded_in_keys_and_in_bytes() {
        let memory = Idempotency::default();
        for owner in 0..200 {
            (0..KEYS_PER_ACCOUNT_MAX).for_each(|number| give(&memory, owner, number));
        }
        assert_eq!(memory.memory().kept.len(), KEYS_MAX);
        let large = Bytes::from(vec![0; ANSWER_BYTES_MAX]);
        for owner in 1_000..1_010 {
            for number in 0..KEYS_PER_ACCOUNT_MAX {
                memory.begin(Some(AccountId(owner)), hash(number), hash(0)).ok();
                memory.keep(Some(AccountId(owner)), hash(number), StatusCode::OK, None, large.clone());
            }
        }
        let memory = memory.memory();
        assert!(memory.bytes <= BYTES_MAX && memory.by_age.len() == memory.kept.len());
        assert_eq!(memory.counts.values().sum::<usize>(), memory.kept.len());
    }

    #[test]
    fn one_key_stands_for_one_request() {
        let memory = Idempotency::default();
        let owner = Some(AccountId(1));
        assert!(matches!(memory.begin(owner, hash(1), hash(2)), Ok(Found::New)));
        let code = |request| memory.begin(owner, hash(1), hash(request)).err().map(|error| error.code);
        assert_eq!(code(2), Some("idempotency_in_flight"));
        assert_eq!(code(3), Some("idempotency_key_reused"));
        memory.drop_awaited(owner, hash(1));
        assert_eq!(code(3), None, "what was not answered may be tried again, with another body too");
    }
}
