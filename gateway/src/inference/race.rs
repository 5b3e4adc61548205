//! One call, several providers: the next best ask when one fails before it has delivered anything, and beside one that stalls
//! beyond its promise. Who delivers first is taken; the others are told to stop, and paid nothing.
//!
//! | what happens before anything is delivered | the contract | the call |
//! |---|---|---|
//! | refused, unreachable, broken off, no JSON, an error in its stream | failed, nothing paid | next best ask at once |
//! | nothing yet, beyond the promised time and the tolerance | waits on | the next best ask is asked too |
//! | another one was faster | failed if it was beyond its promise, else abandoned; nothing paid | |
//! | the provider says that the request is wrong | abandoned, nothing paid | a second one is asked; told to the caller if that says so too |
//! | the client leaves, its time limit passes, the exchange stops | abandoned, nothing paid | over |

use crate::error::ApiError;
use crate::inference::Call;
use crate::inference::contract::{Bought, Durable};
use crate::inference::provider::{Undelivered, stopping};
use axum::http::StatusCode;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use gollem_engine::{AccountId, Outcome};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Providers that one call may ask.
pub(crate) const TRIES_MAX: usize = 4;
/// Providers whose word is taken for it that the request is wrong: one alone might refuse whatever it is asked.
const OPINIONS: u32 = 2;
/// However little an ask promises to take, so long nobody else is asked.
const HEDGE_AFTER_MIN: Duration = Duration::from_millis(50);

/// How calls went on, since the start.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    /// Providers that failed before they delivered anything, where another one was asked.
    pub(crate) retried: AtomicU64,
    /// Providers that stalled, where another one was asked too.
    pub(crate) hedged: AtomicU64,
    /// Streams that went on at another provider.
    pub(crate) continued: AtomicU64,
}

/// Who delivered.
pub(crate) struct Won<T> {
    pub(crate) bought: Bought,
    pub(crate) durable: Durable,
    /// Providers that were asked.
    pub(crate) tried: Vec<AccountId>,
    pub(crate) value: T,
}

/// A provider that is being asked.
struct Runner {
    bought: Bought,
    durable: Durable,
    /// When it has broken its promise; none if it made none.
    hedge_at: Option<Instant>,
    overdue: bool,
}

struct Race<T> {
    call: Arc<Call>,
    /// By the order in which they were asked; none for those that are over.
    runners: Vec<Option<Runner>>,
    running: FuturesUnordered<BoxFuture<'static, (usize, Result<T, Undelivered>)>>,
    tried: Vec<AccountId>,
    /// Nobody else can be asked.
    exhausted: bool,
    /// Providers that called the request wrong.
    refusals: u32,
    /// What the caller is told if nobody delivers: the words of who called the request wrong, or else the last failure.
    last: Option<Undelivered>,
    /// Contracts that delivered nothing, on their way back.
    settling: Vec<JoinHandle<()>>,
}

/// Asks providers until one delivers. `open` asks one of them; `promised` is what an ask promises to take until then, if it
/// promises anything; `gone` resolves when the client has left.
pub(crate) async fn race<T, Open, Opening>(
    call: &Arc<Call>,
    tried: Vec<AccountId>,
    promised: fn(&Call, &Bought) -> Option<Duration>,
    gone: impl Future<Output = ()>,
    open: Open,
) -> Result<Won<T>, ApiError>
where
    T: Send + 'static,
    Open: Fn(Arc<Call>, Bought) -> Opening,
    Opening: Future<Output = Result<T, Undelivered>> + Send + 'static,
{
    let mut race = Race {
        call: Arc::clone(call),
        runners: Vec::new(),
        running: FuturesUnordered::new(),
        tried,
        exhausted: false,
        refusals: 0,
        last: None,
        settling: Vec::new(),
    };
    race.ask_next(promised, &open).await?;
    race.exhausted |= !call.request.routing.fallbacks && call.request.routing.is_unordered();
    let mut gone = std::pin::pin!(gone);
    let mut cut_short = std::pin::pin!(call.app.calls.are_cut_short());
    let ended = loop {
        let hedge_at = race.hedge_at();
        tokio::select! {
            Some((place, outcome)) = race.running.next() => match outcome {
                Ok(value) => return race.won(place, value),
                Err(failure) => {
                    race.failed(place, failure);
                    let asked = !race.exhausted && race.ask_next(promised, &open).await.is_ok();
                    if asked {
                        call.app.tries.retried.fetch_add(1, Ordering::Relaxed);
                    } else if race.running.is_empty() || race.refusals >= OPINIONS {
                        break race.told();
                    }
                }
            },
            () = sleep_until(hedge_at.unwrap_or_else(Instant::now)), if hedge_at.is_some() => {
                race.note_overdue();
                match race.ask_next(promised, &open).await {
                    Ok(()) => drop(call.app.tries.hedged.fetch_add(1, Ordering::Relaxed)),
                    // What is set aside for the one that stalls may be there once that has failed.
                    Err(_) => race.exhausted = false,
                }
            }
            () = &mut gone => break ApiError::client_left(),
            () = &mut cut_short => break stopping(),
            () = sleep_until(call.over_at) => break over_time(),
        }
    };
    race.abandon();
    // Who is told that nothing came of a call has its credits back.
    for settled in race.settling {
        drop(settled.await);
    }
    Err(ended)
}

/// What a caller is told whose time limit passed.
pub(crate) fn over_time() -> ApiError {
    let message = "the call ran as long as x-timelimit, or a call, may; what was delivered is settled";
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, "server_error", "time_limit", message)
}

impl<T: Send + 'static> Race<T> {
    /// Buys from the next best provider and asks it.
    async fn ask_next<Open, Opening>(
        &mut self,
        promised: fn(&Call, &Bought) -> Option<Duration>,
        open: &Open,
    ) -> Result<(), ApiError>
    where
        Open: Fn(Arc<Call>, Bought) -> Opening,
        Opening: Future<Output = Result<T, Undelivered>> + Send + 'static,
    {
        let bought = self.call.buy(&self.tried).await;
        self.exhausted = bought.is_err();
        let (bought, durable) = bought?;
        self.tried.push(bought.provider);
        self.exhausted = self.tried.len() >= TRIES_MAX;
        let place = self.runners.len();
        let hedge_at = promised(&self.call, &bought).map(|promised| Instant::now() + promised.max(HEDGE_AFTER_MIN));
        self.runners.push(Some(Runner { bought, durable, hedge_at, overdue: false }));
        let opening = open(Arc::clone(&self.call), bought);
        self.running.push(Box::pin(async move { (place, opening.await) }));
        Ok(())
    }

    /// When somebody else is to be asked if nothing has come.
    fn hedge_at(&self) -> Option<Instant> {
        let waiting = self.runners.iter().flatten().filter(|runner| !runner.overdue);
        waiting.filter_map(|runner| runner.hedge_at).min().filter(|_| !self.exhausted)
    }

    fn note_overdue(&mut self) {
        let now = Instant::now();
        for runner in self.runners.iter_mut().flatten() {
            runner.overdue |= runner.hedge_at.is_some_and(|at| at <= now);
        }
    }

    fn failed(&mut self, place: usize, failure: Undelivered) {
        if let Some(runner) = self.runners.get_mut(place).and_then(Option::take) {
            self.settling.push(self.call.settle_nothing(&runner.bought, failure.outcome));
        }
        self.refusals += u32::from(!failure.elsewhere);
        self.exhausted |= self.refusals >= OPINIONS;
        if self.last.as_ref().is_none_or(|last| last.elsewhere) {
            self.last = Some(failure);
        }
    }

    fn won(mut self, place: usize, value: T) -> Result<Won<T>, ApiError> {
        self.note_overdue();
        let winner = self.runners.get_mut(place).and_then(Option::take);
        self.abandon();
        let Some(Runner { bought, durable, .. }) = winner else {
            return Err(ApiError::internal(&"a provider delivered that was not asked"));
        };
        Ok(Won { bought, durable, tried: self.tried, value })
    }

    /// Leaves those that are still being asked: their connections close, nothing is paid.
    fn abandon(&mut self) {
        self.running.clear();
        for runner in self.runners.iter_mut().filter_map(Option::take) {
            let outcome = if runner.overdue { Outcome::Failed } else { Outcome::Abandoned };
            self.settling.push(self.call.settle_nothing(&runner.bought, outcome));
        }
    }

    /// Why nobody delivered.
    fn told(&mut self) -> ApiError {
        match self.last.take() {
            Some(Undelivered { error, elsewhere: true, .. }) if self.tried.len() > 1 => {
                let many = self.tried.len();
                let message = format!("{many} providers were asked and failed; the last: {}", error.message);
                ApiError { message, ..error }
            }
            Some(Undelivered { error, .. }) => error,
            None => ApiError::internal(&"a call ended and nobody had failed"),
        }
    }
}
