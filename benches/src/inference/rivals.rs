//! Other people's gateways in front of the same model: installed from their registries into `target/rivals` on first use, and
//! run as their documents say, without any of their optional parts (no database, no log of requests, no cache).

use super::load::{Call, Load, Shape};
use super::scene::Server;
use crate::gateway::venue::INSTRUMENT;
use crate::peers::rivals::output_of;
use crate::say;
use anyhow::{Context, bail};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a rival may take to start.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at whether it did.
const PAUSE: Duration = Duration::from_millis(250);
/// Versions that are measured.
const LITELLM: &str = "litellm[proxy]==1.102.0";
const PORTKEY: &str = "@portkey-ai/gateway@1.15.2";

/// One of them, which can be installed and started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    LiteLlm,
    Portkey,
}

/// A rival's program.
#[derive(Debug)]
pub(super) struct Installed {
    maker: Maker,
    program: PathBuf,
}

/// A rival at work.
#[derive(Debug)]
pub(super) struct Rival {
    pub(super) name: &'static str,
    base: String,
    headers: Vec<(&'static str, String)>,
    _server: Server,
}

impl Rival {
    /// Calls through it.
    ///
    /// # Errors
    /// Never for these headers.
    pub(super) fn calls(&self, shape: Shape) -> anyhow::Result<Vec<Arc<Call>>> {
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Ok(vec![Call::new(&self.base, INSTRUMENT, &headers, shape)?])
    }
}

impl Maker {
    const ALL: [Maker; 2] = [Maker::LiteLlm, Maker::Portkey];

    fn name(self) -> &'static str {
        match self {
            Maker::LiteLlm => "litellm",
            Maker::Portkey => "portkey",
        }
    }

    /// Fetches it, unless it is there.
    fn install(self) -> anyhow::Result<PathBuf> {
        let folder = target().join(self.name());
        let program = match self {
            Maker::LiteLlm => folder.join("bin/litellm"),
            Maker::Portkey => folder.join("node_modules/@portkey-ai/gateway/build/start-server.js"),
        };
        if program.exists() {
            return Ok(program);
        }
        say(format_args!("installing {} in {}", self.name(), folder.display()));
        fs::create_dir_all(&folder)?;
        match self {
            Maker::LiteLlm => {
                output_of(Command::new("python3").args(["-m", "venv"]).arg(&folder))
                    .context("no Python 3 with venv")?;
                let mut pip = Command::new(folder.join("bin/pip"));
                output_of(pip.args(["install", "--quiet", "--disable-pip-version-check", LITELLM]))?;
            }
            Maker::Portkey => {
                let mut npm = Command::new("npm");
                npm.args(["install", "--no-audit", "--no-fund", "--silent", "--prefix"]).arg(&folder).arg(PORTKEY);
                output_of(&mut npm).context("no npm, or no network")?;
            }
        }
        Ok(program)
    }
}

/// Where they are installed; not in git.
fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/rivals")
}

/// Installs all of them; notes say which could not be, and why.
pub(super) fn install(notes: &mut Vec<String>) -> Vec<Installed> {
    let mut installed = Vec::new();
    for maker in Maker::ALL {
        match maker.install() {
            Ok(program) => installed.push(Installed { maker, program }),
            Err(error) => notes.push(format!("{} is skipped: {error:#}", maker.name())),
        }
    }
    let versions = format!("rivals: {LITELLM} (PyPI, one worker), {PORTKEY} (npm)");
    notes.extend((!installed.is_empty()).then_some(versions));
    installed
}

/// Starts all of them in front of a model; notes say which did not start, and why.
pub(super) fn start(
    installed: &[Installed],
    model: SocketAddr,
    dir: &Path,
    load: &Load,
    notes: &mut Vec<String>,
) -> Vec<Rival> {
    let mut rivals = Vec::new();
    for rival in installed {
        say(format_args!("starting {}", rival.maker.name()));
        match rival.start(model, dir, load) {
            Ok(rival) => rivals.push(rival),
            Err(error) => notes.push(format!("{} is skipped: {error:#}", rival.maker.name())),
        }
    }
    rivals
}

impl Installed {
    fn start(&self, model: SocketAddr, dir: &Path, load: &Load) -> anyhow::Result<Rival> {
        // Free now; nobody else on a machine that measures will take it.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let model = format!("http://{model}/v1");
        let (mut command, ready, headers) = match self.maker {
            Maker::LiteLlm => {
                let config = dir.join("litellm.yaml");
                fs::write(&config, litellm_config(&model))?;
                let mut command = Command::new(&self.program);
                command.args(["--host", "127.0.0.1", "--port", &port, "--num_workers", "1", "--telemetry", "False"]);
                command.arg("--config").arg(config).env("LITELLM_LOG", "ERROR").env("LITELLM_MODE", "PRODUCTION");
                (command, "/health/liveliness", Vec::new())
            }
            Maker::Portkey => {
                let mut command = Command::new("node");
                command.arg(&self.program).args([&format!("--port={port}"), "--headless"]);
                // It calls no address of this machine unless it is told that it may.
                command.env("TRUSTED_CUSTOM_HOSTS", "127.0.0.1,localhost").env("NODE_ENV", "production");
                let to = [("x-portkey-provider", "openai".to_owned()), ("x-portkey-custom-host", model)];
                (command, "/", to.into_iter().chain([("authorization", "Bearer none".to_owned())]).collect())
            }
        };
        let log = dir.join(format!("{}.log", self.maker.name()));
        let mut server = Server::start(command.stdout(Stdio::null()), &log)?;
        await_ready(&mut server, &format!("http://127.0.0.1:{port}{ready}"), load)
            .with_context(|| fs::read_to_string(&log).unwrap_or_default().chars().take(500).collect::<String>())?;
        let base = format!("http://127.0.0.1:{port}/v1");
        Ok(Rival { name: self.maker.name(), base, headers, _server: server })
    }
}

fn litellm_config(model: &str) -> String {
    format!(
        "model_list:\n  - model_name: {INSTRUMENT}\n    litellm_params:\n      model: openai/{INSTRUMENT}\n      \
         api_base: {model}\n      api_key: none\nlitellm_settings:\n  telemetry: false\n  num_retries: 0\n"
    )
}

fn await_ready(server: &mut Server, uri: &str, load: &Load) -> anyhow::Result<()> {
    let started = Instant::now();
    while load.get(uri).is_err() {
        if server.has_ended() {
            bail!("it ended as soon as it was started");
        }
        if started.elapsed() > PATIENCE {
            bail!("it did not answer in {} s", PATIENCE.as_secs());
        }
        std::thread::park_timeout(PAUSE);
    }
    Ok(())
}
