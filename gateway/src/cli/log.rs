//! Where the log goes, and in which form. A line is given to a thread of its own that writes it: a slow disk or collector
//! never holds up the exchange. What its queue has no room for is dropped, and counted in the log itself when there is
//! room again.

use super::syslog::{Syslog, SyslogTarget};
use anyhow::Context;
use clap::{Args, ValueEnum};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written.
const LINES_WAITING_MAX: usize = 10_000;

/// What is logged, in which form, and where to.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// What is logged: a level (error, warn, info, debug, trace), or levels by module such as info,gollem_gateway=debug.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "GOLLEM_LOG")]
    log: String,
    /// Where to: stderr, stdout, file:PATH, or a syslog collector: syslog+udp://HOST:PORT, syslog+tcp://HOST:PORT,
    /// syslog+unix:PATH.
    #[arg(long, value_name = "WHERE", default_value = "stderr")]
    log_to: Destination,
    /// Lines for people, or one JSON object a line.
    #[arg(long, value_name = "text|json", value_enum, default_value_t = Format::Text)]
    log_format: Format,
    /// Debug mode: log every request with its route, status, time and id. Neither headers nor bodies are ever logged.
    #[arg(long)]
    debug: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Where the log goes.
#[derive(Clone, Debug, PartialEq)]
enum Destination {
    Stderr,
    Stdout,
    File(PathBuf),
    Syslog(SyslogTarget),
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Destination, String> {
        match text.split_once(':') {
            _ if text == "stderr" => Ok(Destination::Stderr),
            _ if text == "stdout" => Ok(Destination::Stdout),
            Some(("file", path)) if !path.is_empty() => Ok(Destination::File(path.into())),
            Some(("syslog+unix", path)) if !path.is_empty() => Ok(Destination::Syslog(SyslogTarget::Unix(path.into()))),
            Some(("syslog+udp", address)) => authority(address).map(SyslogTarget::Udp).map(Destination::Syslog),
            Some(("syslog+tcp", address)) => authority(address).map(SyslogTarget::Tcp).map(Destination::Syslog),
            _ => Err(EXPECTED.into()),
        }
    }
}

const EXPECTED: &str =
    "expected stderr, stdout, file:PATH, syslog+udp://HOST:PORT, syslog+tcp://HOST:PORT or syslog+unix:PATH";

/// `//HOST:PORT` without the slashes.
fn authority(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("//").ok_or(EXPECTED)?;
    let port = address.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then_some(port));
    match port.map(u16::from_str) {
        Some(Ok(_)) => Ok(address.to_owned()),
        _ => Err(EXPECTED.into()),
    }
}

/// Writes what still waits when it is dropped.
#[must_use]
pub(crate) struct Log(#[expect(dead_code, reason = "it is there to be dropped")] Option<WorkerGuard>);

impl LogArgs {
    /// Logs like this from here on, in the whole process.
    ///
    /// # Errors
    /// When the filter is none, or the file cannot be opened.
    pub(super) fn start(&self) -> anyhow::Result<Log> {
        let debug = if self.debug { ",gollem_gateway=debug" } else { "" };
        // A WebSocket's messages may hold a key, and its library traces them.
        let filter = EnvFilter::try_new(format!("{}{debug},tungstenite=info,tokio_tungstenite=info", self.log))
            .with_context(|| format!("--log {}", self.log))?;
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_WAITING_MAX);
        let guard = match &self.log_to {
            // By itself, at once: a terminal wants to see what happened before a crash.
            Destination::Stderr => {
                self.write_to(filter, std::io::stderr, std::io::stderr().is_terminal());
                None
            }
            Destination::Stdout => {
                self.write_to(filter, std::io::stdout, std::io::stdout().is_terminal());
                None
            }
            Destination::File(path) => {
                let (writer, guard) = builder.finish(open(path)?);
                self.write_to(filter, writer, false);
                Some(guard)
            }
            Destination::Syslog(target) => {
                let (writer, guard): (NonBlocking, _) = builder.finish(target.connect());
                self.write_to(filter, Syslog::new(writer), false);
                Some(guard)
            }
        };
        Ok(Log(guard))
    }

    fn write_to<W>(&self, filter: EnvFilter, writer: W, ansi: bool)
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(ansi);
        match self.log_format {
            Format::Text if self.has_own_head() => log.without_time().with_level(false).init(),
            Format::Text => log.init(),
            Format::Json => log.json().flatten_event(true).init(),
        }
    }

    /// Whether time and level stand in front of each line anyway.
    fn has_own_head(&self) -> bool {
        matches!(self.log_to, Destination::Syslog(_))
    }
}

fn open(path: &Path) -> anyhow::Result<std::fs::File> {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("--log-to: cannot open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_one_form_and_anything_else_is_refused_with_all_of_them() {
        let good = [
            ("stderr", Destination::Stderr),
            ("stdout", Destination::Stdout),
            ("file:/var/log/gollem.log", Destination::File("/var/log/gollem.log".into())),
            ("syslog+udp://127.0.0.1:514", Destination::Syslog(SyslogTarget::Udp("127.0.0.1:514".into()))),
            ("syslog+tcp://logs.example:6514", Destination::Syslog(SyslogTarget::Tcp("logs.example:6514".into()))),
            ("syslog+unix:/dev/log", Destination::Syslog(SyslogTarget::Unix("/dev/log".into()))),
        ];
        for (text, destination) in good {
            assert_eq!(text.parse::<Destination>().unwrap(), destination);
        }
        for bad in [
            "",
            "file:",
            "file",
            "syslog",
            "syslog+udp:host:1",
            "syslog+udp://host",
            "syslog+tcp://:1",
            "syslog+tcp://h:99999",
        ] {
            assert_eq!(bad.parse::<Destination>().unwrap_err(), EXPECTED, "{bad}");
        }
    }
}
