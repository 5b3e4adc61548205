//! The order to stop, which several places have to notice, and the time that is left after it.

use std::{fmt, pin::Pin, time::Duration};

use tokio::time::Instant;

/// A signal that is noticed once and remembered.
pub(crate) struct Stop {
    signal: Pin<Box<dyn Future<Output = ()> + Send>>,
    grace: Duration,
    /// Set when the signal was noticed: the moment until which the agent may still work.
    deadline: Option<Instant>,
}

impl Stop {
    pub(crate) fn new(signal: impl Future<Output = ()> + Send + 'static, grace: Duration) -> Self {
        Stop { signal: Box::pin(signal), grace, deadline: None }
    }

    /// A stop that is never called.
    pub(crate) fn never() -> Self {
        Stop::new(std::future::pending(), Duration::ZERO)
    }

    /// Returns once the signal has come, at once if it came before. May be dropped and called again.
    pub(crate) async fn wait(&mut self) {
        if self.deadline.is_none() {
            self.signal.as_mut().await;
            self.deadline = Some(Instant::now() + self.grace);
        }
    }

    /// Whether [`wait`](Self::wait) has noticed the signal.
    pub(crate) fn is_called(&self) -> bool {
        self.deadline.is_some()
    }

    /// Until when the agent may still work; `None` while it need not stop.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Stop")
            .field("grace", &self.grace)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
