//! The command line: flags, their limits, and what they become.
//!
//! Nothing here starts anything. The API key is the one setting that is no flag: arguments can be read by everybody on
//! the machine.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use gollem_provider::{
    agent::{AgentOptions, ApiKey, Policy, Price, ProxyOptions},
    mock::{Fault, MockOptions, PPM},
};
use rust_decimal::Decimal;
use tokio::net::TcpListener;

/// Environment variable that holds the API key.
const KEY_VARIABLE: &str = "GOLLEM_API_KEY";

/// The provider's side of GoLLeM.
#[derive(Debug, Parser)]
#[command(name = "gollem-provider", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve an OpenAI-compatible model server that makes up its tokens
    Mock(MockArgs),
    /// Quote a model server on the exchange, keep the quote fresh, withdraw it on stop
    ///
    /// The API key comes from the environment variable GOLLEM_API_KEY or from --key-file.
    Agent(AgentArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MockArgs {
    /// Address to serve on; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9101")]
    pub(crate) listen: SocketAddr,
    /// Name of a model to serve; repeat for more, leave out to serve any
    #[arg(long = "model", value_name = "NAME")]
    models: Vec<String>,
    /// Milliseconds from a request to its first token
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(..=3_600_000))]
    first_token_ms: u32,
    /// Tokens a second and request; 0 for all at once
    #[arg(long, value_name = "N", default_value_t = 60)]
    tokens_per_s: u32,
    #[command(flatten)]
    faults: FaultArgs,
    /// Percent by which the usage claims more tokens than were served
    #[arg(long, value_name = "PCT", default_value_t = 0)]
    overstate_pct: u32,
    /// Decides which requests meet which fault and which words come back
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Tokens of an answer when the request sets no limit
    #[arg(long, value_name = "N", default_value_t = 128)]
    default_tokens: u32,
}

/// Shares of requests that fail on purpose, each 0 to 1, together at most 1.
#[derive(Debug, Args)]
struct FaultArgs {
    /// Share of requests answered 500 before any token, 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    failure_rate: Share,
    /// Share answered 429 with Retry-After before any token
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    refuse_rate: Share,
    /// Share whose connection closes before any byte of the answer
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    drop_rate: Share,
    /// Share cut off in the middle: a stream after some tokens, without [DONE]
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    die_rate: Share,
    /// Share taken and never answered
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    stall_rate: Share,
    /// Share answered 200 with bytes that are neither JSON nor events
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    garbage_rate: Share,
    /// Share answered 200 with one line of 100 MB
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    endless_line_rate: Share,
    /// Share that gets tokens beyond its limit, without end
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    endless_rate: Share,
    /// Share that gets one byte a 100 ms
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    drip_rate: Share,
}

impl FaultArgs {
    fn share(&self, fault: Fault) -> Share {
        match fault {
            Fault::Fail => self.failure_rate,
            Fault::Refuse => self.refuse_rate,
            Fault::Drop => self.drop_rate,
            Fault::Die => self.die_rate,
            Fault::Stall => self.stall_rate,
            Fault::Garbage => self.garbage_rate,
            Fault::EndlessLine => self.endless_line_rate,
            Fault::Endless => self.endless_rate,
            Fault::Drip => self.drip_rate,
        }
    }
}

impl MockArgs {
    pub(crate) fn options(&self) -> anyhow::Result<MockOptions> {
        let options = MockOptions {
            first_token: Duration::from_millis(u64::from(self.first_token_ms)),
            tokens_per_s: self.tokens_per_s,
            overstate_pct: self.overstate_pct,
            seed: self.seed,
            default_tokens: self.default_tokens,
            models: self.models.clone(),
            ..MockOptions::default()
        };
        let shares = Fault::ALL.map(|fault| (fault, self.faults.share(fault).ppm));
        let sum: u64 = shares.iter().map(|(_, ppm)| u64::from(*ppm)).sum();
        anyhow::ensure!(sum <= u64::from(PPM), "the rates of faults must be at most 1 together");
        Ok(shares.into_iter().fold(options, |options, (fault, ppm)| options.with_share(fault, ppm)))
    }
}

/// A share of requests, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    ppm: u32,
}

fn parse_share(text: &str) -> Result<Share, String> {
    let share = Decimal::from_str_exact(text).map_err(|_| "it must be a decimal number, such as 0.01".to_owned())?;
    if share < Decimal::ZERO || share > Decimal::ONE {
        return Err("it must be between 0 and 1".to_owned());
    }
    let ppm = (share * Decimal::from(PPM)).normalize();
    if ppm.scale() > 0 {
        return Err("it must be a whole number of millionths".to_owned());
    }
    u32::try_from(ppm).map(|ppm| Share { ppm }).map_err(|error| error.to_string())
}

#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// Base address of the gateway
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    gateway: String,
    /// File with the API key; wins over GOLLEM_API_KEY
    #[arg(long, value_name = "PATH")]
    key_file: Option<PathBuf>,
    /// Base address of the model server including /v1; without --listen the gateway calls it
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9101/v1")]
    endpoint: String,
    /// File with the model server's own API key
    #[arg(long, value_name = "PATH")]
    upstream_key_file: Option<PathBuf>,
    /// Address to serve the gateway on, in front of the model server; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Base address of the agent including /v1, as the gateway is to call it [default: http://LISTEN/v1]
    #[arg(long, value_name = "URL", requires = "listen")]
    public: Option<String>,
    /// Requests that may run at a time; further ones are answered 429 at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_concurrent: u32,
    /// Name of the model on the exchange
    #[arg(long, value_name = "NAME")]
    model: String,
    /// US dollars per million normalised tokens, such as 1.35
    #[arg(long, value_name = "USD", required_unless_present = "policy")]
    price: Option<Price>,
    /// File with a pricing policy, instead of one price
    #[arg(long, value_name = "PATH", conflicts_with = "price")]
    policy: Option<PathBuf>,
    /// Promised milliseconds to the first token
    #[arg(long, value_name = "MS")]
    latency_ms: u32,
    /// Promised tokens a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    throughput_tps: u32,
    /// Normalised tokens on offer at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    capacity: u64,
    /// GPU class, such as h100
    #[arg(long, value_name = "CLASS")]
    gpu: Option<String>,
    /// Region, such as us
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Seconds between two looks at the quote and the model server
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    refresh_s: u64,
    /// Seconds after which the exchange cancels a silent agent's quote; at least three times --refresh-s
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    deadline_s: u64,
    /// Seconds that withdrawing the quote and ending what runs may take after the stop
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    grace_s: u64,
}

impl AgentArgs {
    /// The options of an agent that listens on `listener`, if at all.
    pub(crate) fn options(self, listener: Option<TcpListener>) -> anyhow::Result<AgentOptions> {
        let key = self.key()?;
        let policy = self.policy()?;
        anyhow::ensure!(
            self.deadline_s >= 3 * self.refresh_s,
            "--deadline-s must be at least three times --refresh-s, or a late sign of life costs the quote"
        );
        let upstream_key = self.upstream_key_file.as_deref().map(key_in).transpose()?;
        let max_concurrent = self.max_concurrent;
        let proxy = match listener {
            Some(listener) => {
                let public = public(self.public, listener.local_addr()?)?;
                Some(ProxyOptions { listener, public, max_concurrent })
            }
            None => None,
        };
        Ok(AgentOptions {
            gateway: self.gateway,
            key,
            endpoint: self.endpoint,
            upstream_key,
            proxy,
            model: self.model,
            policy,
            latency_ms: self.latency_ms,
            throughput_tps: self.throughput_tps,
            capacity: self.capacity,
            gpu: self.gpu,
            region: self.region,
            refresh: Duration::from_secs(self.refresh_s),
            deadline: Duration::from_secs(self.deadline_s),
            stop_grace: Duration::from_secs(self.grace_s),
        })
    }

    fn policy(&self) -> anyhow::Result<Policy> {
        let Some(path) = &self.policy else {
            let price = self.price.context("no price: give --price or --policy")?;
            return Ok(Policy::fixed(price));
        };
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let policy = Policy::parse(&text).with_context(|| format!("the policy in {} is refused", path.display()))?;
        anyhow::ensure!(
            self.listen.is_some() || !policy.follows_load(),
            "the policy has [load], which needs --listen: otherwise the agent does not see the requests"
        );
        Ok(policy)
    }

    fn key(&self) -> anyhow::Result<ApiKey> {
        match &self.key_file {
            Some(path) => key_in(path),
            None => std::env::var(KEY_VARIABLE)
                .ok()
                .and_then(|key| ApiKey::new(&key)) // An empty variable counts as not set.
                .with_context(|| format!("no API key: set {KEY_VARIABLE} or give --key-file")),
        }
    }
}

fn key_in(path: &Path) -> anyhow::Result<ApiKey> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    ApiKey::new(&text).with_context(|| format!("the API key in {} is empty", path.display()))
}

/// The address that the gateway is to call: as told, or where the agent listens.
fn public(told: Option<String>, listens: SocketAddr) -> anyhow::Result<String> {
    match told {
        Some(url) => Ok(url),
        None if listens.ip().is_unspecified() => {
            anyhow::bail!("--listen {listens} is every address: --public has to say which one the gateway is to call")
        }
        None => Ok(format!("http://{listens}/v1")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command).map_err(|error| error.to_string())
    }

    fn check_refused(line: &str, expected: &str) {
        let error = parse(line).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn mock_flags_become_options() {
        let line = "p mock --listen 127.0.0.1:0 --model a --model b --first-token-ms 5 --tokens-per-s 0 \
                    --failure-rate 0.01 --die-rate 0.2 --overstate-pct 30 --seed 9";
        let Ok(Command::Mock(args)) = parse(line) else { panic!("{line} is refused") };
        let options = args.options().unwrap();
        assert_eq!(options.models, ["a", "b"]);
        assert_eq!(options.first_token, Duration::from_millis(5));
        assert_eq!((options.tokens_per_s, options.overstate_pct, options.seed), (0, 30, 9));
        for fault in Fault::ALL {
            let expected = match fault {
                Fault::Fail => 10_000,
                Fault::Die => 200_000,
                _ => 0,
            };
            assert_eq!(options.share_ppm(fault), expected, "{fault:?}");
        }
    }

    #[test]
    fn rates_of_faults_that_are_more_than_all_are_refused() {
        let Ok(Command::Mock(args)) = parse("p mock --die-rate 0.6 --drip-rate 0.400001") else { panic!("refused") };
        assert!(args.options().unwrap_err().to_string().contains("at most 1 together"));
    }

    #[test]
    fn bad_values_are_refused_with_a_reason() {
        check_refused("p mock --failure-rate 1.01", "between 0 and 1");
        check_refused("p mock --failure-rate=-0.5", "between 0 and 1");
        check_refused("p mock --failure-rate often", "decimal number");
        check_refused("p mock --failure-rate 0.0000001", "millionths");
        check_refused("p mock --listen nowhere", "invalid value");
        let agent = "p agent --model m --latency-ms 400 --throughput-tps 60";
        check_refused(&format!("{agent} --capacity 1 --price free"), "US dollars per million tokens");
        check_refused(&format!("{agent} --capacity 1 --price 0"), "above zero");
        check_refused(&format!("{agent} --capacity 0 --price 1"), "0 is not in");
        check_refused(&format!("{agent} --capacity 1"), "--price");
        check_refused(&format!("{agent} --capacity 1 --price 1 --refresh-s 0"), "0 is not in");
        check_refused(&format!("{agent} --capacity 1 --price 1 --key secret"), "unexpected argument");
    }

    #[test]
    fn settings_that_do_not_fit_together_are_refused_with_a_reason() {
        let mut policy = tempfile::NamedTempFile::new().unwrap();
        write!(policy, "base = 1\nfloor = 1\nceiling = 2\n[load]\nbusy_above_pct = 50\n").unwrap();
        let mut key = tempfile::NamedTempFile::new().unwrap();
        write!(key, "sk-from-file").unwrap();
        let check = |flags: &str, expected: &str| {
            let line = format!(
                "p agent --model m --latency-ms 400 --throughput-tps 60 --capacity 1 --key-file {} {flags}",
                key.path().display()
            );
            let error = match parse(&line) {
                Ok(Command::Agent(args)) => args.options(None).unwrap_err().to_string(),
                Ok(other) => panic!("{other:?}"),
                Err(error) => error,
            };
            assert!(error.contains(expected), "{flags}: {error}");
        };
        let policy = format!("--policy {}", policy.path().display());
        check("", "--price");
        check(&format!("--price 1 {policy}"), "cannot be used with");
        check(&policy, "which needs --listen");
        check("--policy /nowhere", "cannot read /nowhere");
        check("--price 1 --deadline-s 14", "three times --refresh-s");
        check("--price 1 --public http://a/v1", "--listen");
        check("--price 1 --max-concurrent 0", "0 is not in");
        let every = public(None, "0.0.0.0:9102".parse().unwrap()).unwrap_err().to_string();
        assert!(every.contains("--public"), "{every}");
        assert_eq!(public(None, "10.0.0.7:9102".parse().unwrap()).unwrap(), "http://10.0.0.7:9102/v1");
    }

    #[test]
    fn key_comes_from_the_file_if_one_is_named() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let line = format!(
            "p agent --model m --price 1.35 --latency-ms 400 --throughput-tps 60 --capacity 1000 --key-file {}",
            file.path().display()
        );
        let options = || match parse(&line) {
            Ok(Command::Agent(args)) => args.options(None),
            other => panic!("{line}: {other:?}"),
        };
        let error = options().unwrap_err().to_string();
        assert!(error.contains("is empty"), "{error}");
        writeln!(file, "sk-from-file").unwrap();
        let options = options().unwrap();
        assert_eq!(options.key.expose(), "sk-from-file");
        assert_eq!(options.policy, Policy::fixed("1.35".parse().unwrap()));
    }
}
