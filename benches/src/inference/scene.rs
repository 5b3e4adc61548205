//! The servers of a run, each a process of its own: the mock model, the bare proxy in front of it, and the exchange, on which
//! a provider offers that model and buyers have money.

use super::load::{Call, Shape};
use crate::gateway::venue::{INSTRUMENT, Venue};
use anyhow::{Context, ensure};
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

/// Accounts that buy in turns: each may have about a thousand calls in flight.
const BUYERS: usize = 4;
/// Credits a unit that the provider asks.
const PRICE: &str = "0.0005";
/// Units that it offers: more than any run uses.
const UNITS: u64 = 1_000_000_000;

/// A server that is killed with everything it started when it is dropped.
#[derive(Debug)]
pub(super) struct Server(Child);

impl Server {
    /// Starts a program; what it says goes to the file `log`, unless it is piped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Server> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stderr(File::create(log)?).process_group(0);
        Ok(Server(command.spawn().with_context(|| format!("cannot start {name}"))?))
    }

    /// Starts one of our programs, which prints where it listens.
    fn listening(command: &mut Command, log: &Path) -> anyhow::Result<(Server, SocketAddr)> {
        let mut server = Server::start(command.stdout(Stdio::piped()), log)?;
        let said = server.0.stdout.take().context("the output is a pipe")?;
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("listening on http://")?.parse().ok());
        Ok((server, address.with_context(|| format!("a server did not start: see {}", log.display()))?))
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It keeps nothing that a clean stop would save.
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
        self.0.wait().ok();
    }
}

/// The model, and the bare proxy in front of it.
#[derive(Debug)]
pub(super) struct Models {
    _servers: [Server; 2],
    pub(super) direct: SocketAddr,
    pub(super) pass_through: SocketAddr,
}

impl Models {
    /// Starts both; the model's first token comes after so many milliseconds, and all others with it.
    ///
    /// # Errors
    /// When there is no `gollem-provider` beside this program, or one of them does not start.
    pub(super) fn start(delay_ms: u32, dir: &Path) -> anyhow::Result<Models> {
        let this = std::env::current_exe()?;
        let program = this.with_file_name("gollem-provider");
        ensure!(program.exists(), "{} is not there: build it with `make build`", program.display());
        let mut command = Command::new(program);
        command.args(["mock", "--listen", "127.0.0.1:0", "--tokens-per-s", "0", "--first-token-ms"]);
        command.arg(delay_ms.to_string()).env("GOLLEM_LOG", "warn");
        let (mock, direct) = Server::listening(&mut command, &dir.join("mock.log"))?;
        let mut command = Command::new(this);
        command.args(["pass-through", "--to", &direct.to_string()]);
        let (proxy, pass_through) = Server::listening(&mut command, &dir.join("pass-through.log"))?;
        Ok(Models { _servers: [mock, proxy], direct, pass_through })
    }
}

/// Calls straight to a server that needs no key.
///
/// # Errors
/// Never for an address.
pub(super) fn plain_calls(address: SocketAddr, shape: Shape) -> anyhow::Result<Vec<Arc<Call>>> {
    Ok(vec![Call::new(&format!("http://{address}/v1"), INSTRUMENT, &[], shape)?])
}

/// An exchange where the model is for sale, and calls of buyers who have money.
#[derive(Debug)]
pub(super) struct Market {
    pub(super) venue: Venue,
    pub(super) calls: Vec<Arc<Call>>,
    /// Its data; goes when the exchange is gone.
    _folder: TempDir,
}

impl Market {
    /// Starts a new exchange in a folder of its own in `dir`.
    ///
    /// # Errors
    /// When it does not start, or refuses something.
    pub(super) fn open(model: SocketAddr, shape: Shape, dir: &Path) -> anyhow::Result<Market> {
        let folder = tempfile::tempdir_in(dir)?;
        let venue = Venue::start(folder.path())?;
        let provider = venue.open_empty_account("provider", &["read", "provide"])?;
        venue.send(&provider, "PUT", "/v1/provider", &json!({ "endpoint": format!("http://{model}/v1") }))?;
        let ask = json!({
            "instrument": INSTRUMENT, "side": "ask", "price": PRICE, "quantity": UNITS, "latency_ms": 10_000,
            "throughput_tps": 1,
        });
        venue.send(&provider, "POST", "/v1/orders", &ask)?;
        let base = format!("http://{}/v1", venue.address);
        let call = |number| {
            let key = venue.open_account(&format!("buyer {number}"))?;
            Call::new(&base, INSTRUMENT, &[("authorization", &format!("Bearer {key}"))], shape)
        };
        let calls = (0..BUYERS).map(call).collect::<anyhow::Result<_>>()?;
        Ok(Market { venue, calls, _folder: folder })
    }
}
