//! The provider's agent: one model server, one fresh ask on the exchange.
//!
//! | what it sees | what it does |
//! |---|---|
//! | start | checks the model server, registers its endpoint, places the ask |
//! | less than half of the capacity left, or the order no longer open | cancels what is left and places a fresh ask |
//! | the model server fails [`HEALTH_FAILURES_MAX`] checks in a row | cancels the ask |
//! | the model server answers again | places a fresh ask |
//! | gateway overloaded or away | tries the same call again, under the same client order id |
//! | gateway refuses (400, 401, 403) | withdraws what it can, and ends with the gateway's message |
//! | stop | cancels the ask, asks for the earnings, ends |
//!
//! Invariants: at most one ask rests at a time, for a fresh one is placed only when the gateway has answered for the
//! old one; a placement that was begun is brought to its end, so no ask is left behind that the agent does not know.
//!
//! What it does not do: it does not price, does not measure its own server's speed, and keeps nothing on disk. If it
//! is killed the ask stays until somebody cancels it: each call that meets it fails and costs its buyer nothing.

mod backoff;
mod error;
mod gateway;
mod health;
mod options;
mod order;
mod price;
mod stop;

use serde_json::Value;

pub use self::{
    error::AgentError,
    health::HEALTH_FAILURES_MAX,
    options::{AgentOptions, ApiKey},
    price::{Price, PriceError},
};
use self::{
    gateway::{Gateway, Placement},
    health::{Health, ModelServer},
    order::{OrderState, client_order_id, order_body},
    stop::Stop,
};

/// What an agent did, told at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentReport {
    /// Asks that the exchange accepted.
    pub quotes_placed: u64,
    /// Credits earned by the provider's account up to now, a decimal string; `None` if the gateway did not tell.
    pub earned: Option<String>,
}

/// Keeps the quote until `stop` is ready, then withdraws it.
///
/// # Errors
///
/// If the model server does not answer at the start, if the gateway refuses for good, or if the quote could not be
/// withdrawn within the grace period after the stop. Whatever the error, withdrawing has been tried.
pub async fn run(
    options: AgentOptions,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<AgentReport, AgentError> {
    let mut agent = Agent::new(options, stop)?;
    agent.model_server.require().await?;
    match agent.serve().await {
        Ok(()) => agent.close().await,
        Err(error) => {
            agent.withdraw_once().await;
            Err(error)
        }
    }
}

struct Agent {
    options: AgentOptions,
    gateway: Gateway,
    model_server: ModelServer,
    stop: Stop,
    /// The id of the ask that rests, as far as the agent knows.
    resting: Option<String>,
    quotes_placed: u64,
}

impl Agent {
    fn new(options: AgentOptions, stop: impl Future<Output = ()> + Send + 'static) -> Result<Self, AgentError> {
        Ok(Agent {
            gateway: Gateway::new(&options)?,
            model_server: ModelServer::new(&options.endpoint)?,
            stop: Stop::new(stop, options.stop_grace),
            resting: None,
            quotes_placed: 0,
            options,
        })
    }

    /// Registers, quotes, and looks after the quote until the stop.
    async fn serve(&mut self) -> Result<(), AgentError> {
        // Nothing rests yet: the stop may cut this short.
        tokio::select! {
            registered = self.gateway.register(&self.options.endpoint) => registered?,
            () = self.stop.wait() => return Ok(()),
        }
        tracing::info!(endpoint = self.options.endpoint, "the endpoint is registered");
        self.place().await?;
        loop {
            tokio::select! {
                () = self.stop.wait() => return Ok(()),
                () = tokio::time::sleep(self.options.refresh) => {}
            }
            self.refresh().await?;
        }
    }

    /// One look at the model server and one at the quote.
    async fn refresh(&mut self) -> Result<(), AgentError> {
        match self.model_server.check().await {
            Health::Down => self.withdraw().await,
            Health::Up if self.resting.is_none() => self.place().await,
            Health::Up => self.renew().await,
            // One failed check is no reason to leave the market, and none to offer more.
            Health::Doubtful => Ok(()),
        }
    }

    /// Replaces a quote that is nearly used up or gone.
    async fn renew(&mut self) -> Result<(), AgentError> {
        let Some(id) = &self.resting else {
            return Ok(());
        };
        match self.gateway.order(id, &mut self.stop).await? {
            Some(OrderState { open: true, remaining, .. }) if remaining >= self.options.capacity.div_ceil(2) => {
                return Ok(());
            }
            Some(OrderState { status, remaining, .. }) => {
                tracing::info!(order = id, status, remaining, "the quote is used up");
                self.withdraw().await?;
            }
            None => {
                tracing::warn!(order = id, "the gateway does not know the quote");
                self.resting = None;
            }
        }
        if self.stop.is_called() { Ok(()) } else { self.place().await }
    }

    async fn place(&mut self) -> Result<(), AgentError> {
        let client_order_id = client_order_id();
        let body = order_body(&self.options, &client_order_id);
        let placed = self.gateway.place(&body, &mut self.stop).await.inspect_err(|error| {
            if matches!(error, AgentError::Unavailable { .. }) {
                tracing::error!(client_order_id, "the quote may rest: cancel it by hand");
            }
        })?;
        match placed {
            Placement::Accepted(id) => {
                tracing::info!(order = id, client_order_id, price = %self.options.price, "quoted");
                self.resting = Some(id);
                self.quotes_placed += 1;
            }
            Placement::NotNow(message) => {
                tracing::warn!(client_order_id, message, "the quote is refused for now");
            }
        }
        Ok(())
    }

    /// Cancels the quote, if one rests.
    async fn withdraw(&mut self) -> Result<(), AgentError> {
        if let Some(id) = &self.resting {
            self.gateway.cancel(id, &mut self.stop).await?;
            tracing::info!(order = id, "the quote is withdrawn");
            self.resting = None;
        }
        Ok(())
    }

    /// Cancels the quote on the way out of a failure: one attempt, and the error that is told stays the first.
    async fn withdraw_once(&mut self) {
        if let Some(id) = &self.resting {
            match self.gateway.cancel_once(id).await {
                Ok(()) => tracing::info!(order = id, "the quote is withdrawn"),
                Err(error) => tracing::error!(order = id, %error, "the quote may still rest: cancel it by hand"),
            }
        }
    }

    /// Withdraws and asks what was earned.
    async fn close(mut self) -> Result<AgentReport, AgentError> {
        self.withdraw().await.inspect_err(|_| {
            tracing::error!(order = self.resting, "the quote may still rest: cancel it by hand");
        })?;
        let earned = match self.gateway.balance_once().await {
            Ok(balance) => earned(&balance),
            Err(error) => {
                tracing::warn!(%error, "the gateway does not tell the earnings");
                None
            }
        };
        if let Some(earned) = &earned {
            tracing::info!(earned, quotes = self.quotes_placed, "stopped; earnings are in credits");
        }
        Ok(AgentReport { quotes_placed: self.quotes_placed, earned })
    }
}

fn earned(balance: &Value) -> Option<String> {
    match balance.get("earned")? {
        Value::String(earned) => Some(earned.clone()),
        Value::Number(earned) => Some(earned.to_string()),
        _ => None,
    }
}
