//! The command line: flags, their limits, and what they become.
//!
//! Nothing here starts anything. The API key is the one setting that is no flag: arguments can be read by everybody on
//! the machine.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use gollem_provider::{
    agent::{AgentOptions, ApiKey, Price},
    mock::MockOptions,
};
use rust_decimal::Decimal;

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
    /// Share of requests to answer with an error, 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_failure_rate)]
    failure_rate: FailureRate,
    /// Decides which requests fail and which words come back
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Tokens of an answer when the request sets no limit
    #[arg(long, value_name = "N", default_value_t = 128)]
    default_tokens: u32,
}

impl MockArgs {
    pub(crate) fn options(&self) -> MockOptions {
        MockOptions {
            first_token: Duration::from_millis(u64::from(self.first_token_ms)),
            tokens_per_s: self.tokens_per_s,
            failure_rate_ppm: self.failure_rate.ppm,
            seed: self.seed,
            default_tokens: self.default_tokens,
            models: self.models.clone(),
        }
    }
}

/// A share of requests, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FailureRate {
    ppm: u32,
}

fn parse_failure_rate(text: &str) -> Result<FailureRate, String> {
    let share = Decimal::from_str_exact(text).map_err(|_| "it must be a decimal number, such as 0.01".to_owned())?;
    if share < Decimal::ZERO || share > Decimal::ONE {
        return Err("it must be between 0 and 1".to_owned());
    }
    let ppm = (share * Decimal::from(1_000_000)).normalize();
    if ppm.scale() > 0 {
        return Err("it must be a whole number of millionths".to_owned());
    }
    u32::try_from(ppm).map(|ppm| FailureRate { ppm }).map_err(|error| error.to_string())
}

#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// Base address of the gateway
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    gateway: String,
    /// File with the API key; wins over GOLLEM_API_KEY
    #[arg(long, value_name = "PATH")]
    key_file: Option<PathBuf>,
    /// Base address of the model server including /v1, as the gateway is to call it
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9101/v1")]
    endpoint: String,
    /// Name of the model on the exchange
    #[arg(long, value_name = "NAME")]
    model: String,
    /// US dollars per million normalised tokens, such as 1.35
    #[arg(long, value_name = "USD")]
    price: Price,
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
}

impl AgentArgs {
    pub(crate) fn options(self) -> anyhow::Result<AgentOptions> {
        let key = self.key()?;
        Ok(AgentOptions {
            gateway: self.gateway,
            key,
            endpoint: self.endpoint,
            model: self.model,
            price: self.price,
            latency_ms: self.latency_ms,
            throughput_tps: self.throughput_tps,
            capacity: self.capacity,
            gpu: self.gpu,
            region: self.region,
            refresh: Duration::from_secs(self.refresh_s),
            stop_grace: AgentOptions::STOP_GRACE_DEFAULT,
        })
    }

    fn key(&self) -> anyhow::Result<ApiKey> {
        let (text, source) = match &self.key_file {
            Some(path) => {
                let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                (text, path.display().to_string())
            }
            None => {
                let text = std::env::var(KEY_VARIABLE)
                    .with_context(|| format!("no API key: set {KEY_VARIABLE} or give --key-file"))?;
                (text, KEY_VARIABLE.to_owned())
            }
        };
        ApiKey::new(&text).with_context(|| format!("the API key in {source} is empty"))
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
                    --failure-rate 0.01 --seed 9";
        let Ok(Command::Mock(args)) = parse(line) else { panic!("{line} is refused") };
        let options = args.options();
        assert_eq!(options.models, ["a", "b"]);
        assert_eq!(options.first_token, Duration::from_millis(5));
        assert_eq!((options.tokens_per_s, options.failure_rate_ppm, options.seed), (0, 10_000, 9));
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
    fn key_comes_from_the_file_if_one_is_named() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let line = format!(
            "p agent --model m --price 1.35 --latency-ms 400 --throughput-tps 60 --capacity 1000 --key-file {}",
            file.path().display()
        );
        let options = || match parse(&line) {
            Ok(Command::Agent(args)) => args.options(),
            other => panic!("{line}: {other:?}"),
        };
        let error = options().unwrap_err().to_string();
        assert!(error.contains("is empty"), "{error}");
        writeln!(file, "sk-from-file").unwrap();
        let options = options().unwrap();
        assert_eq!(options.key.expose(), "sk-from-file");
        assert_eq!(options.price.to_string(), "0.00135000");
    }
}
