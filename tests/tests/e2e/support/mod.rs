//! What the tests share: a client, an exchange in this process, the real binaries, and waiting.

pub(crate) mod bank;
pub(crate) mod http;
pub(crate) mod market;
#[path = "../../../../gateway/src/identity/tests/postgres.rs"]
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod socket;
pub(crate) mod stripe_mock;
pub(crate) mod tour;
pub(crate) mod traffic;
pub(crate) mod venue;

use gollem_provider::mock::{Mock, MockOptions};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// Far longer than anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Polls until `condition` gives something; panics with `what` if it never does.
pub(crate) async fn eventually<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(DEADLINE, what, condition).await
}

/// [`eventually`] for what may take longer.
pub(crate) async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A listener on a free port of this machine.
pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// A mock model server in this process.
pub(crate) async fn start_mock(options: MockOptions) -> Mock {
    Mock::start(listener().await, options).await
}

/// A mock without any waits.
pub(crate) fn at_once() -> MockOptions {
    MockOptions { first_token: Duration::ZERO, tokens_per_s: 0, ..MockOptions::default() }
}

/// A mock of which a stream takes long: 100 tokens a second.
pub(crate) fn slowly() -> MockOptions {
    MockOptions { first_token: Duration::ZERO, tokens_per_s: 100, ..MockOptions::default() }
}

/// The base address a provider registers for its mock.
pub(crate) fn endpoint(mock: &Mock) -> String {
    format!("http://{}/v1", mock.address())
}

/// Says why a test did not run. Written past the test harness, which hides what a passing test prints.
pub(crate) fn skipped(why: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "skipped: {why}").expect("standard error is open");
}
