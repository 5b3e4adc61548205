//! The provider's agent: one model server, one fresh ask on the exchange.
//!
//! | what it sees | what it does |
//! |---|---|
//! | start | checks the model server, registers its address, withdraws what an earlier run left, places the ask |
//! | every look | tells the exchange that it lives: a silent agent's ask is cancelled at a sequenced deadline |
//! | another price by the [`Policy`] | gives the ask that price, in one command |
//! | less than half of the capacity left, or the order no longer open | cancels what is left and places a fresh ask |
//! | the model server fails [`HEALTH_FAILURES_MAX`] checks in a row | cancels the ask |
//! | the model server answers again | places a fresh ask |
//! | gateway overloaded or away | tries the same call again, under the same client order id |
//! | gateway refuses (400, 401, 403) | withdraws what it can, and ends with the gateway's message |
//! | stop | cancels the ask, lets nobody in, lets what runs end within the grace, asks for the earnings, ends |
//!
//! Invariants: at most one ask rests at a time, for a fresh one is placed only when the gateway has answered for the
//! old one; a placement that was begun is brought to its end, so no ask is left behind that the agent does not know;
//! the deadline is set before the ask is placed, so there is no moment in which the ask would outlive the agent.
//!
//! The deadline cancels all open orders of the account: an agent has an account of its own, as its address does.
//!
//! What it does not do: it keeps nothing on disk, and the speed it promises is the operator's word, not its measurement.

mod backoff;
mod error;
mod gateway;
mod gpu;
mod health;
mod load;
mod meter;
mod metrics;
mod options;
mod order;
mod policy;
mod price;
mod proxy;
mod status;
mod stop;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::{Instant, timeout_at};

pub use self::{
    error::AgentError,
    health::HEALTH_FAILURES_MAX,
    options::{AgentOptions, ApiKey, ProxyOptions},
    policy::{Conditions, Policy, PolicyError},
    price::{Price, PriceError},
};
use self::{
    gateway::{Gateway, Placement},
    gpu::Gpus,
    health::{Health, ModelServer},
    load::Load,
    order::{OrderState, client_order_id, order_body},
    proxy::Proxy,
    status::{Board, Quote},
    stop::Stop,
};

/// Time between two questions for the earnings.
const EARNINGS_EVERY: Duration = Duration::from_secs(30);

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
    agent.board.facts().model_server_up = true;
    agent.open_proxy().await?;
    match agent.serve().await {
        Ok(()) => agent.close().await,
        Err(error) => {
            agent.withdraw_once().await;
            let grace = agent.options.stop_grace;
            agent.drain(Instant::now() + grace).await;
            Err(error)
        }
    }
}

struct Agent {
    options: AgentOptions,
    gateway: Gateway,
    model_server: ModelServer,
    load: Arc<Load>,
    proxy: Option<Proxy>,
    /// The address that the gateway is to call.
    public: String,
    gpus: Gpus,
    /// What is told to others, the quote that rests included.
    board: Arc<Board>,
    /// When the earnings were asked for.
    earnings_at: Option<Instant>,
    stop: Stop,
}

impl Agent {
    fn new(options: AgentOptions, stop: impl Future<Output = ()> + Send + 'static) -> Result<Self, AgentError> {
        let max_concurrent = options.proxy.as_ref().map_or(1, |proxy| proxy.max_concurrent.max(1));
        Ok(Agent {
            gateway: Gateway::new(&options)?,
            model_server: ModelServer::new(&options.endpoint, options.upstream_key.as_ref())?,
            load: Load::new(max_concurrent),
            proxy: None,
            public: options.public().to_owned(),
            gpus: Gpus::open(),
            board: Arc::new(Board::new(&options.model)),
            earnings_at: None,
            stop: Stop::new(stop, options.stop_grace),
            options,
        })
    }

    /// Listens before anybody is told to come.
    async fn open_proxy(&mut self) -> Result<(), AgentError> {
        let (endpoint, key) = (&self.options.endpoint, self.options.upstream_key.as_ref());
        if let Some(proxy) = self.options.proxy.take() {
            let (load, board) = (Arc::clone(&self.load), Arc::clone(&self.board));
            self.proxy = Some(Proxy::start(proxy.listener, endpoint, key, load, board).await?);
        }
        Ok(())
    }

    /// Registers, quotes, and looks after the quote until the stop.
    async fn serve(&mut self) -> Result<(), AgentError> {
        // Nothing rests yet: the stop may cut this short.
        let introduce = async {
            self.gateway.register(&self.public).await?;
            self.gateway.clear(&self.options.model).await
        };
        tokio::select! {
            introduced = introduce => introduced?,
            () = self.stop.wait() => return Ok(()),
        }
        tracing::info!(endpoint = self.public, "the address is registered");
        loop {
            self.refresh().await?;
            tokio::select! {
                () = self.stop.wait() => return Ok(()),
                () = tokio::time::sleep(self.options.refresh) => {}
            }
        }
    }

    /// One sign of life, one look at the model server, the quote, the GPUs and the earnings.
    async fn refresh(&mut self) -> Result<(), AgentError> {
        self.gateway.arm(self.options.deadline, &mut self.stop).await?;
        let health = self.model_server.check().await;
        self.board.facts().model_server_up = health == Health::Up;
        match health {
            Health::Down => self.withdraw().await?,
            Health::Up if self.stop.is_called() => {}
            Health::Up if self.order().is_none() => self.place().await?,
            Health::Up => self.renew().await?,
            // One failed check is no reason to leave the market, and none to offer more.
            Health::Doubtful => {}
        }
        if self.proxy.is_some() {
            self.observe().await;
        }
        Ok(())
    }

    /// Replaces a quote that is nearly used up or gone, and prices one that is not.
    async fn renew(&mut self) -> Result<(), AgentError> {
        let Some(id) = self.order() else {
            return Ok(());
        };
        match self.gateway.order(&id, &mut self.stop).await? {
            Some(OrderState { open: true, remaining, .. }) if remaining >= self.options.capacity.div_ceil(2) => {
                self.board.facts().quote.iter_mut().for_each(|quote| quote.remaining = remaining);
                return self.reprice(&id).await;
            }
            Some(OrderState { status, remaining, .. }) => {
                tracing::info!(order = id, status, remaining, "the quote is used up");
                self.withdraw().await?;
            }
            None => {
                tracing::warn!(order = id, "the gateway does not know the quote");
                self.board.facts().quote = None;
            }
        }
        if self.stop.is_called() { Ok(()) } else { self.place().await }
    }

    /// Gives the quote the price of this moment, if that is another.
    async fn reprice(&mut self, id: &str) -> Result<(), AgentError> {
        let price = self.price().await;
        let old = self.board.facts().quote.as_ref().map(|quote| quote.price);
        if !old.is_some_and(|old| self.options.policy.is_worth_changing(old, price)) {
            return Ok(());
        }
        // If it is over meanwhile, the next look finds out.
        if self.gateway.reprice(id, price, &mut self.stop).await? {
            tracing::info!(order = id, %price, "priced anew");
            let mut facts = self.board.facts();
            facts.quote.iter_mut().for_each(|quote| quote.price = price);
            facts.reprices += 1;
        }
        Ok(())
    }

    /// What the policy asks for at this moment. A rival that cannot be seen counts as none.
    async fn price(&mut self) -> Price {
        let best_rival = if self.options.policy.undercuts() {
            let own = self.order();
            let seen = self.gateway.best_rival_once(&self.options.model, own.as_deref()).await;
            seen.inspect_err(|error| tracing::warn!(%error, "the book cannot be seen")).unwrap_or_default()
        } else {
            None
        };
        self.options.policy.price(&Conditions { load_pct: self.load.percent(), hour_utc: hour_utc(), best_rival })
    }

    async fn place(&mut self) -> Result<(), AgentError> {
        let price = self.price().await;
        let client_order_id = client_order_id();
        let body = order_body(&self.options, price, &client_order_id);
        let placed = self.gateway.place(&body, &mut self.stop).await.inspect_err(|error| {
            if matches!(error, AgentError::Unavailable { .. }) {
                tracing::error!(client_order_id, "the quote may rest until its deadline");
            }
        })?;
        match placed {
            Placement::Accepted(order) => {
                tracing::info!(order, client_order_id, %price, "quoted");
                let mut facts = self.board.facts();
                facts.quote = Some(Quote { order, price, remaining: self.options.capacity });
                facts.quotes_placed += 1;
            }
            Placement::NotNow(message) => {
                tracing::warn!(client_order_id, message, "the quote is refused for now");
            }
        }
        Ok(())
    }

    /// The id of the ask that rests, as far as the agent knows.
    fn order(&self) -> Option<String> {
        self.board.facts().quote.as_ref().map(|quote| quote.order.clone())
    }

    /// Cancels the quote, if one rests.
    async fn withdraw(&mut self) -> Result<(), AgentError> {
        if let Some(id) = self.order() {
            self.gateway.cancel(&id, &mut self.stop).await?;
            tracing::info!(order = id, "the quote is withdrawn");
            self.board.facts().quote = None;
        }
        Ok(())
    }

    /// Cancels the quote on the way out of a failure: one attempt, and the error that is told stays the first.
    async fn withdraw_once(&mut self) {
        if let Some(id) = self.order() {
            match self.gateway.cancel_once(&id).await {
                Ok(()) => tracing::info!(order = id, "the quote is withdrawn"),
                Err(error) => tracing::error!(order = id, %error, "the quote rests until its deadline"),
            }
        }
    }

    /// Reads what others may want to know.
    async fn observe(&mut self) {
        let gpus = self.gpus.clone();
        if let Ok(gpus) = tokio::task::spawn_blocking(move || gpus.read()).await {
            self.board.facts().gpus = Some(gpus);
        }
        if self.earnings_at.is_none_or(|at| at.elapsed() >= EARNINGS_EVERY) {
            self.earnings_at = Some(Instant::now());
            match self.gateway.earnings_once().await {
                Ok(earnings) => self.board.facts().earnings = Some(earnings),
                Err(error) => tracing::warn!(%error, "the gateway does not tell the earnings"),
            }
        }
    }

    /// Lets nobody in any more, and what runs end until the deadline.
    async fn drain(&mut self, deadline: Instant) {
        let Some(proxy) = self.proxy.take() else { return };
        self.load.drain();
        tracing::info!(running = self.load.running(), "draining");
        if timeout_at(deadline, self.load.idle()).await.is_err() {
            tracing::warn!(running = self.load.running(), "the grace is over: what still runs is cut");
        }
        // What is answered to the end may still be on its way out.
        proxy.stop(deadline.saturating_duration_since(Instant::now())).await;
    }

    /// Withdraws, drains, and asks what was earned.
    async fn close(mut self) -> Result<AgentReport, AgentError> {
        let withdrawn = self.withdraw().await;
        if let Err(error) = &withdrawn {
            tracing::error!(order = self.order(), %error, "the quote rests until its deadline");
        }
        let deadline = self.stop.deadline().unwrap_or_else(Instant::now);
        self.drain(deadline).await;
        withdrawn?;
        if let Err(error) = self.gateway.disarm_once().await {
            tracing::warn!(%error, "the deadline stands: it cancels what this account places until then");
        }
        let earned = match self.gateway.earnings_once().await {
            Ok(earnings) => Some(earnings.credits),
            Err(error) => {
                tracing::warn!(%error, "the gateway does not tell the earnings");
                None
            }
        };
        let quotes_placed = self.board.facts().quotes_placed;
        if let Some(earned) = &earned {
            tracing::info!(earned, quotes = quotes_placed, "stopped; earnings are in credits");
        }
        Ok(AgentReport { quotes_placed, earned })
    }
}

/// The hour of the day, UTC.
fn hour_utc() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() / 3_600 % 24).unwrap_or_default()
}
