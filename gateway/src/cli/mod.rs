//! The command line: what can be asked, and the frame every command runs in.

#![expect(clippy::print_stdout, reason = "a command's answer belongs on standard output")]

mod admin;
mod log;
mod settings;
mod syslog;

use admin::Admin;
use anyhow::Context;
use axum::http::HeaderValue;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use gollem_gateway::demo::{self, DemoOptions, Speed};
use gollem_gateway::{
    Exchange, ExchangeOptions, Kafka, LimiterOptions, MailOptions, Recovering, STRIPE_URL, Server, StripeOptions, Tier,
    TreeKey, parse_origin,
};
use gollem_sequencer::Pinning;
use ipnet::IpNet;
use log::{Log, LogArgs};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

/// GoLLeM: an exchange where LLM inference is traded.
#[derive(Debug, Parser)]
#[command(name = "gollem", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the exchange in a data folder until Ctrl-C.
    Serve(Serve),
    /// Open an exchange with real prices behind mock providers and play real requests through it.
    Demo(Demo),
    /// Ask a running exchange as its operator.
    Admin(Admin),
}

#[derive(Debug, Args)]
struct Serve {
    /// Data folder; created when missing.
    #[arg(long, value_name = "DIR", default_value = "gollem-data")]
    data: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Development mode: grant credits without a payment processor, allow providers on private addresses.
    #[arg(long)]
    dev: bool,
    /// Core for the matcher thread: auto, off, or its number.
    #[arg(long, value_name = "CORE", default_value = "auto", value_parser = parse_pinning)]
    pin: Pinning,
    /// Microseconds that the matcher looks for commands before it sleeps: a request saves the 20 to 30 that waking it takes, the
    /// machine loses up to a core.
    #[arg(long, value_name = "US", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    spin_us: u32,
    /// MiB of a journal segment.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=4096))]
    segment_mib: u32,
    /// MiB of journal between two snapshots, at the least; one is taken at the end of a segment.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    snapshot_mib: u32,
    /// File of the key that signs the journal's tree heads, outside the data folder, made when missing; or off
    /// [default: gollem/tree-head.key in the user's configuration folder].
    #[arg(long, value_name = "FILE|off", env = "GOLLEM_TREE_KEY")]
    tree_key: Option<PathBuf>,
    /// Copy closed journal segments to file:///FOLDER or s3://BUCKET/PREFIX (credentials from AWS_* variables).
    #[arg(long, value_name = "URL")]
    archive: Option<String>,
    /// Drop segments that are archived and that neither snapshots nor views need.
    #[arg(long, requires = "archive")]
    drop_archived: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    payments: PaymentArgs,
    #[command(flatten)]
    access: AccessArgs,
    /// Seconds between two signed tree heads, at the least.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    tree_interval: u32,
    /// Seconds that requests in flight get to finish when the exchange is stopped; then they are cut short and settled.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=3_600))]
    drain_s: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// A TOML file of settings, each named like its flag: snapshot-mib = 512. The environment and flags come before it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Args)]
struct AccessArgs {
    /// Tier of accounts that were given none: free, basic, pro, enterprise, or unlimited.
    #[arg(long, value_name = "TIER", default_value = "basic", value_parser = parse_tier)]
    default_tier: Tier,
    /// Requests a second that one address may send and no tier covers; 0 for any number.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    flood_limit: u32,
    /// Networks of proxies that are believed when X-Forwarded-For says where a request comes from; several with commas.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    trusted_proxy: Vec<IpNet>,
    /// Connections that one address may have open; 0 for any number.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    connections_per_address: u32,
    /// Origins, with scheme and port, of web pages that may call from a browser; several with commas.
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',', value_parser = parse_origin)]
    cors_origin: Vec<HeaderValue>,
}

/// Money in and out. Secrets come by the environment: GOLLEM_STRIPE_KEY connects Stripe.
#[derive(Debug, Args)]
struct PaymentArgs {
    /// Where Stripe's API answers.
    #[arg(long, value_name = "URL", default_value = STRIPE_URL, value_parser = parse_url)]
    stripe_url: Url,
    /// Sender of mail to people, as in alerts@example.com; needs GOLLEM_SMTP_URL.
    #[arg(long, value_name = "ADDRESS")]
    mail_from: Option<String>,
    /// Days after which it is forgotten who called from where, for how long and how much; 0: it is not noted.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(0..=3_650))]
    session_days: u32,
}

impl PaymentArgs {
    fn stripe(&self) -> anyhow::Result<Option<StripeOptions>> {
        let stripe = StripeOptions::from_environment(self.stripe_url.as_str())?;
        if stripe.as_ref().is_some_and(|stripe| stripe.webhook_secrets.is_empty()) {
            anyhow::bail!("GOLLEM_STRIPE_KEY needs GOLLEM_STRIPE_WEBHOOK_SECRET: without it no notice can be believed");
        }
        Ok(stripe)
    }

    fn mail(&self) -> anyhow::Result<Option<MailOptions>> {
        let mail = self.mail_from.as_deref().map(MailOptions::from_environment).transpose()?.flatten();
        if self.mail_from.is_some() && mail.is_none() {
            anyhow::bail!("--mail-from needs GOLLEM_SMTP_URL, such as smtps://user:password@mail.example.com");
        }
        Ok(mail)
    }
}

#[derive(Debug, Args)]
struct Demo {
    /// Data folder [default: a fresh one under demo-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Play only the first N requests of the trace.
    #[arg(long, value_name = "N")]
    requests: Option<usize>,
    /// How many times faster than recorded to play, or max.
    #[arg(long, value_name = "X|max", default_value = "60", value_parser = parse_speed)]
    speed: Speed,
    /// Exit after the summary instead of serving on.
    #[arg(long)]
    exit: bool,
    /// Write the summary as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Core for the matcher thread: auto, off, or its number.
    #[arg(long, value_name = "CORE", default_value = "auto", value_parser = parse_pinning)]
    pin: Pinning,
    /// Tier of the demo's buyers and providers: free, basic, pro, enterprise, or unlimited.
    #[arg(long, value_name = "TIER", default_value = "unlimited", value_parser = parse_tier)]
    default_tier: Tier,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct KafkaArgs {
    /// Publish everything that happens to the Kafka broker there; several with commas.
    #[arg(long = "kafka", value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Copies of each topic that is created there.
    #[arg(long = "kafka-replication", value_name = "N", default_value_t = 1, requires = "brokers",
          value_parser = clap::value_parser!(i32).range(1..=16))]
    replication: i32,
}

impl KafkaArgs {
    fn into_options(self) -> Option<Kafka> {
        self.brokers.map(|brokers| Kafka { brokers, replication: self.replication })
    }
}

fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err("expected an http or https address".into()) }
}

fn parse_pinning(text: &str) -> Result<Pinning, String> {
    match text {
        "auto" => Ok(Pinning::Auto),
        "off" => Ok(Pinning::Off),
        core => core.parse().map(Pinning::Core).map_err(|_| "expected auto, off or the number of a core".into()),
    }
}

fn parse_tier(text: &str) -> Result<Tier, String> {
    Tier::from_name(text).ok_or_else(|| format!("expected one of {}", Tier::ALL.map(Tier::name).join(", ")))
}

fn parse_speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times = text.parse::<f64>().ok().filter(|times| (0.001..=1e6).contains(times));
    times.map(Speed::Times).ok_or_else(|| "expected max or a number between 0.001 and 1000000".into())
}

impl Cli {
    /// What this process was asked: by its arguments, the environment and a settings file. Ends the process with clap's
    /// words when that cannot be.
    pub(crate) fn of_this_process() -> anyhow::Result<Cli> {
        let command = settings::with_environment(Cli::command());
        let arguments = settings::with_file(&command, std::env::args_os().collect())?;
        Ok(Cli::from_arg_matches(&command.get_matches_from(arguments))?)
    }

    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            match self.command {
                Command::Serve(serve) => serve.run().await,
                Command::Demo(demo) => demo.run().await,
                Command::Admin(admin) => admin.run().await,
            }
        })
    }

    /// Logs as asked until the answer is dropped.
    pub(crate) fn log(&self) -> anyhow::Result<Log> {
        match &self.command {
            Command::Serve(serve) => serve.common.log.start(),
            Command::Demo(demo) => demo.common.log.start(),
            Command::Admin(admin) => admin.log().start(),
        }
    }
}

impl Serve {
    /// Where the key of tree heads is, unless none is wanted or there is no place for one.
    fn tree_key(&self) -> Option<TreeKey> {
        let every = Duration::from_secs(u64::from(self.tree_interval));
        let path = match &self.tree_key {
            Some(path) if path.as_os_str() == "off" => return None,
            Some(path) => path.clone(),
            None => configuration_folder().or_else(|| {
                tracing::warn!("no tree heads are signed: neither --tree-key nor a home folder says where the key is");
                None
            })?,
        };
        Some(TreeKey { path, every })
    }

    async fn run(self) -> anyhow::Result<()> {
        let listener = bind(&self.listen).await?;
        let defaults = ExchangeOptions::new(self.data.clone());
        let journal = gollem_journal::Options { segment_bytes: u64::from(self.segment_mib) << 20, ..defaults.journal };
        let options = ExchangeOptions {
            dev: self.dev,
            pinning: self.pin,
            spin: Duration::from_micros(self.spin_us.into()),
            journal,
            snapshot_every_bytes: u64::from(self.snapshot_mib) << 20,
            tree_key: self.tree_key(),
            archive: self.archive.clone(),
            drop_archived: self.drop_archived,
            kafka: self.kafka.into_options(),
            stripe: self.payments.stripe()?,
            mail: self.payments.mail()?,
            session_days: self.payments.session_days,
            limits: LimiterOptions {
                default_tier: self.access.default_tier,
                flood_per_second: self.access.flood_limit,
            },
            trusted_proxies: self.access.trusted_proxy,
            connections_per_address: self.access.connections_per_address,
            cors_origins: self.access.cors_origin,
            drain_patience: Duration::from_secs(self.drain_s.into()),
            ..defaults
        };
        let recovering = Recovering::start(listener);
        let exchange = Exchange::open(&options).await?;
        // Until here a signal ends the process at once: a recovery changes nothing that the next one would miss.
        let stop = stop_signal()?;
        let found = exchange.found();
        tracing::info!(
            inputs = found.journal.last_seq,
            from_snapshot = found.snapshot_seq,
            torn_bytes = found.journal.torn_bytes,
            clean_stop = found.journal.clean,
            data = %self.data.display(),
            "recovered"
        );
        if let Some(key) = exchange.new_admin_key() {
            println!("admin key (shown once, store it now): {}", key.reveal());
        }
        let server = Server::start(recovering.finish().await?, exchange.app())?;
        println!("listening on http://{}", server.address());
        tokio::select! {
            asked = stop => {
                asked?;
                tracing::info!("stopping: finishing what is in flight");
            }
            () = exchange.broken() => tracing::error!("stopping: a thread of the pipeline panicked"),
        }
        server.stop().await;
        let closed = exchange.close().await?;
        tracing::info!(inputs = closed.inputs, state_hash = %closed.state_hash, "stopped");
        Ok(())
    }
}

impl Demo {
    async fn run(self) -> anyhow::Result<()> {
        let stop = stop_signal()?;
        let listener = bind(&self.listen).await?;
        let options = DemoOptions {
            data: self.data.unwrap_or_else(demo::fresh_folder),
            requests: self.requests,
            speed: self.speed,
            exit: self.exit,
            json: self.json,
            pinning: self.pin,
            kafka: self.kafka.into_options(),
            // Its buyers all come from this machine.
            limits: LimiterOptions { default_tier: self.default_tier, flood_per_second: 0 },
        };
        demo::run(options, listener, stop).await
    }
}

/// Where the key of tree heads is by default.
fn configuration_folder() -> Option<PathBuf> {
    let given = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = given("XDG_CONFIG_HOME").or_else(|| given("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("gollem").join("tree-head.key"))
}

async fn bind(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another with --listen HOST:PORT"))
}

/// Resolves at Ctrl-C or a polite kill, from now on: the signals are caught before this returns.
fn stop_signal() -> anyhow::Result<impl Future<Output = anyhow::Result<()>>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
