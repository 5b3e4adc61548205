//! The calls to the gateway, and which failures are tried again.
//!
//! | answer | meaning | what happens |
//! |---|---|---|
//! | none, 408, 429, 500, 502, 503, 504 | unavailable, perhaps done | the same call again, after a wait |
//! | 400, 401, 403 | wrong, and stays wrong | [`AgentError::Refused`] |
//! | anything else | for the caller to read | returned |
//!
//! Sending again is safe: `PUT`, `GET` and `DELETE` have one effect however often they arrive, and so have setting a
//! deadline and withdrawing all; an order carries its client order id, under which the gateway gives the first answer
//! again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    AgentOptions,
    backoff::Backoff,
    error::AgentError,
    order::{OrderState, order_id},
    price::Price,
    status::Earnings,
    stop::Stop,
};
use crate::client::{Client, ClientError, Reply};

/// Time limit of one attempt.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);

/// Where the deadline of a silent agent is set.
const CANCEL_AFTER: &str = "/v1/orders/cancel-after";

/// Longest wait between two attempts once the agent has to stop.
const WAIT_WHEN_STOPPING_MAX: Duration = Duration::from_secs(1);

/// What became of an order that was sent.
#[derive(Debug)]
pub(crate) enum Placement {
    /// The exchange took it, under this id.
    Accepted(String),
    /// The exchange refused it for a reason that may pass; its own words.
    NotNow(String),
}

/// The gateway, as the provider's key sees it.
#[derive(Debug)]
pub(crate) struct Gateway {
    client: Client,
    backoff: Backoff,
}

/// One call, so that it can be made again and named in an error.
struct Call<'a> {
    method: Method,
    path: &'a str,
    body: Option<&'a Value>,
}

impl Call<'_> {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

impl Gateway {
    pub(crate) fn new(options: &AgentOptions) -> Result<Self, AgentError> {
        let client = Client::new(&options.gateway, Some(options.key.expose()))?.with_timeout(ATTEMPT_MAX);
        Ok(Gateway { client, backoff: Backoff::new(jitter_seed()) })
    }

    /// Tells the exchange where the model server answers. Tries until it is told; drop the future to give up.
    pub(crate) async fn register(&mut self, endpoint: &str) -> Result<(), AgentError> {
        let body = json!({"endpoint": endpoint});
        let call = Call { method: Method::PUT, path: "/v1/provider", body: Some(&body) };
        let reply = self.call(&call, &mut Stop::never()).await?;
        if reply.status.is_success() { Ok(()) } else { Err(refused(&call, &reply)) }
    }

    /// Sends an order, as often as it takes to learn what became of it.
    pub(crate) async fn place(&mut self, order: &Value, stop: &mut Stop) -> Result<Placement, AgentError> {
        let call = Call { method: Method::POST, path: "/v1/orders", body: Some(order) };
        let reply = self.call(&call, stop).await?;
        match reply.status {
            status if status.is_success() => match order_id(&reply.body) {
                Some(id) => Ok(Placement::Accepted(id)),
                None => Err(malformed(&call, "there is no usable `id`")),
            },
            StatusCode::PAYMENT_REQUIRED | StatusCode::CONFLICT => Ok(Placement::NotNow(reply.error_message())),
            _ => Err(refused(&call, &reply)),
        }
    }

    /// How an order stands; `None` if the gateway does not know it.
    pub(crate) async fn order(&mut self, id: &str, stop: &mut Stop) -> Result<Option<OrderState>, AgentError> {
        let path = format!("/v1/orders/{id}");
        let call = Call { method: Method::GET, path: &path, body: None };
        let reply = self.call(&call, stop).await?;
        match reply.status {
            status if status.is_success() => match OrderState::parse(&reply.body) {
                Some(state) => Ok(Some(state)),
                None => Err(malformed(&call, "there is no usable `status` or `remaining`")),
            },
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            _ => Err(refused(&call, &reply)),
        }
    }

    /// Cancels an order; one that is over already, or unknown, counts as canceled.
    pub(crate) async fn cancel(&mut self, id: &str, stop: &mut Stop) -> Result<(), AgentError> {
        let path = format!("/v1/orders/{id}");
        let call = Call { method: Method::DELETE, path: &path, body: None };
        let reply = self.call(&call, stop).await?;
        canceled(&call, &reply)
    }

    /// As [`cancel`](Self::cancel), with one attempt only.
    pub(crate) async fn cancel_once(&self, id: &str) -> Result<(), AgentError> {
        let path = format!("/v1/orders/{id}");
        let call = Call { method: Method::DELETE, path: &path, body: None };
        let reply = self.once(&call).await?;
        canceled(&call, &reply)
    }

    /// Gives an order another price; `false` if it is over, or unknown.
    pub(crate) async fn reprice(&mut self, id: &str, price: Price, stop: &mut Stop) -> Result<bool, AgentError> {
        let path = format!("/v1/orders/{id}");
        let body = json!({"price": price.to_string()});
        let call = Call { method: Method::PUT, path: &path, body: Some(&body) };
        let reply = self.call(&call, stop).await?;
        match reply.status {
            StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::GONE => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(refused(&call, &reply)),
        }
    }

    /// Tells the exchange to cancel all open orders of the account after this time, unless it is told again.
    pub(crate) async fn arm(&mut self, after: Duration, stop: &mut Stop) -> Result<(), AgentError> {
        let body = cancel_after(Some(after));
        let call = Call { method: Method::POST, path: CANCEL_AFTER, body: Some(&body) };
        let reply = self.call(&call, stop).await?;
        if reply.status.is_success() { Ok(()) } else { Err(refused(&call, &reply)) }
    }

    /// Takes the deadline of [`arm`](Self::arm) back, with one attempt only: left standing it does no harm but to orders
    /// that the account places by other means.
    pub(crate) async fn disarm_once(&self) -> Result<(), AgentError> {
        let body = cancel_after(None);
        let call = Call { method: Method::POST, path: CANCEL_AFTER, body: Some(&body) };
        let reply = self.once(&call).await?;
        if reply.status.is_success() { Ok(()) } else { Err(refused(&call, &reply)) }
    }

    /// Withdraws every ask of the account for a model, such as an agent leaves that was killed. Tries until it is done;
    /// drop the future to give up.
    pub(crate) async fn clear(&mut self, model: &str) -> Result<(), AgentError> {
        let body = json!({"model": model, "status": "offline"});
        let call = Call { method: Method::POST, path: "/api/provider/status", body: Some(&body) };
        let reply = self.call(&call, &mut Stop::never()).await?;
        if reply.status.is_success() { Ok(()) } else { Err(refused(&call, &reply)) }
    }

    /// The best ask for a model that is not the order `own`, with one attempt only.
    pub(crate) async fn best_rival_once(&self, model: &str, own: Option<&str>) -> Result<Option<Price>, AgentError> {
        let path = format!("/v1/book/{model}?level=3&limit=2");
        let body = self.read_once(&path).await?;
        let asks = body.get("asks").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let rival = asks.iter().find(|ask| ask.get("order").and_then(Value::as_str) != own);
        Ok(rival.and_then(|ask| Price::from_credits(ask.get("price")?.as_str()?)))
    }

    /// What the provider's account has earned, with one attempt only: nothing depends on it.
    pub(crate) async fn earnings_once(&self) -> Result<Earnings, AgentError> {
        let body = self.read_once("/v1/payouts").await?;
        let text = |name| body.get(name).and_then(Value::as_str).map(str::to_owned);
        match (text("earned"), text("threshold_usd"), body.get("eligible").and_then(Value::as_bool)) {
            (Some(credits), Some(threshold_usd), Some(payout_eligible)) => {
                Ok(Earnings { credits, payout_eligible, threshold_usd })
            }
            _ => {
                let call = Call { method: Method::GET, path: "/v1/payouts", body: None };
                Err(malformed(&call, "there is no usable `earned`, `eligible` or `threshold_usd`"))
            }
        }
    }

    async fn read_once(&self, path: &str) -> Result<Value, AgentError> {
        let call = Call { method: Method::GET, path, body: None };
        let reply = self.once(&call).await?;
        if reply.status.is_success() { Ok(reply.body) } else { Err(refused(&call, &reply)) }
    }

    async fn once(&self, call: &Call<'_>) -> Result<Reply, ClientError> {
        self.client.send(call.method.clone(), call.path, call.body).await
    }

    /// Makes a call until there is an answer that trying again would not change. An attempt is never cut short by the
    /// stop, only the waits are; after the stop the grace period bounds them.
    async fn call(&mut self, call: &Call<'_>, stop: &mut Stop) -> Result<Reply, AgentError> {
        let mut failures = 0;
        loop {
            let (reason, retry_after) = match self.once(call).await {
                Ok(reply) if is_passing(reply.status) => {
                    (format!("{}: {}", reply.status, reply.error_message()), reply.retry_after)
                }
                Ok(reply) if is_final(reply.status) => return Err(refused(call, &reply)),
                Ok(reply) => return Ok(reply),
                Err(error) if error.is_passing() => (error.to_string(), None),
                Err(error) => return Err(AgentError::Client(error)),
            };
            failures += 1;
            let wait = self.backoff.wait(failures, retry_after);
            match stop.deadline() {
                None => {
                    tracing::warn!(
                        call = call.name(),
                        reason,
                        wait_ms = wait.as_millis(),
                        "the gateway is unavailable"
                    );
                    tokio::select! {
                        () = sleep(wait) => {}
                        () = stop.wait() => failures = 0,
                    }
                }
                Some(deadline) => {
                    let wait = wait.min(WAIT_WHEN_STOPPING_MAX);
                    if Instant::now() + wait >= deadline {
                        return Err(AgentError::Unavailable { call: call.name(), reason });
                    }
                    sleep(wait).await;
                }
            }
        }
    }
}

/// Whether the same call may succeed later.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Whether the agent has to end: nothing it sends would be taken.
fn is_final(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn cancel_after(after: Option<Duration>) -> Value {
    json!({"after_ms": after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX))})
}

fn canceled(call: &Call<'_>, reply: &Reply) -> Result<(), AgentError> {
    match reply.status {
        StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::GONE => Ok(()),
        status if status.is_success() => Ok(()),
        _ => Err(refused(call, reply)),
    }
}

fn refused(call: &Call<'_>, reply: &Reply) -> AgentError {
    AgentError::Refused { call: call.name(), status: reply.status, message: reply.error_message() }
}

fn malformed(call: &Call<'_>, reason: &str) -> AgentError {
    AgentError::Malformed { call: call.name(), reason: reason.to_owned() }
}

/// Different for agents that start together, which is all that jitter needs.
fn jitter_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(std::process::id()) ^ u64::from(since.subsec_nanos()).rotate_left(32)
}
