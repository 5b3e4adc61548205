//! Stripe's own stand-in for its API, which `scripts/stripe-mock.sh fetch` builds: it refuses what Stripe's published
//! description of the API does not allow, answers with samples and remembers nothing.

use crate::support::skipped;
use gollem_tests::real::broker::root;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A running one; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct StripeMock {
    process: Child,
    url: String,
}

impl StripeMock {
    /// Starts one on a free port; where it was not built there is none, and why is said.
    pub(crate) fn start() -> Option<StripeMock> {
        StripeMock::try_start().map_err(|why| skipped(&format!("no stripe-mock: {why}"))).ok()
    }

    fn try_start() -> Result<StripeMock, String> {
        let program = root().join("target/stripe-mock/bin/stripe-mock");
        // With HTTPS, which nobody uses, on a free port too: else it has one that others may have.
        let ports = ["-http-addr", "127.0.0.1:0", "-https-addr", "127.0.0.1:0"];
        let started = Command::new(program).args(ports).stdout(Stdio::piped()).spawn();
        let mut process = started.map_err(|error| format!("{error}: `scripts/stripe-mock.sh fetch` builds it"))?;
        let said = process.stdout.take().ok_or("it has no output")?;
        // Dropped on every way out, so that nothing is left running.
        let mut mock = StripeMock { process, url: String::new() };
        let mut lines = BufReader::new(said).lines();
        for line in &mut lines {
            let line = line.map_err(|error| error.to_string())?;
            if let Some(address) = line.strip_prefix("Listening for HTTP at address: ") {
                mock.url = format!("http://{address}");
                // It goes on talking, and would end if nobody listened.
                std::thread::spawn(move || lines.count());
                return Ok(mock);
            }
        }
        Err("it ended before it listened".to_owned())
    }

    /// Where it listens, without a slash at the end: `http://127.0.0.1:<port>`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for StripeMock {
    fn drop(&mut self) {
        // It may be dead already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::StripeMock;
    use crate::support::http::Api;
    use bytes::Bytes;
    use hyper::Method;

    #[tokio::test(flavor = "multi_thread")]
    async fn two_run_side_by_side_and_check_what_they_are_asked() {
        let (Some(one), Some(other)) = (StripeMock::start(), StripeMock::start()) else { return };
        for (mock, body, status) in [
            (
                &one,
                "amount=1000&currency=usd&automatic_payment_methods[allow_redirects]=never&automatic_payment_methods[enabled]=true",
                200,
            ),
            (&other, "amount=1000&currency=usd&amuont=1", 400),
        ] {
            let api = Api::new(mock.url(), Some("sk_test_123"));
            let form = [("content-type", "application/x-www-form-urlencoded")];
            let reply = api.try_send(Method::POST, "/v1/payment_intents", &form, Bytes::from(body)).await.unwrap();
            assert_eq!(reply.status, status, "{:?}", reply.bytes);
        }
    }
}
