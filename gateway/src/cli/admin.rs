//! `gollem admin`: questions of the operator to a running exchange.

use super::Common;
use super::log::LogArgs;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use gollem_gateway::operator_key;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, header};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use url::Url;

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// `gollem admin`.
#[derive(Debug, Args)]
pub(super) struct Admin {
    #[command(subcommand)]
    question: Question,
    /// Where the exchange answers; GOLLEM_ADMIN_KEY holds the operator's key.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = super::parse_url, global = true)]
    url: Url,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Hold the payment processor's books against the ledger's, day by day. Exit 0: they agree, 1: they differ.
    Reconcile {
        /// First day (UTC), such as 2026-11-01 [default: 30 days ago].
        #[arg(long, value_name = "DAY")]
        from: Option<String>,
        /// Last day (UTC) [default: today].
        #[arg(long, value_name = "DAY")]
        to: Option<String>,
        /// The whole report as JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Admin {
    pub(super) fn log(&self) -> &LogArgs {
        &self.common.log
    }

    pub(super) async fn run(self) -> anyhow::Result<()> {
        match &self.question {
            Question::Reconcile { from, to, json } => {
                let mut asked = json!({});
                for (name, day) in [("from", from), ("to", to)] {
                    if let Some(day) = day {
                        asked[name] = json!(day);
                    }
                }
                let report = self.ask("/v1/admin/reconcile", &asked).await?;
                if *json {
                    println!("{report:#}")
                } else {
                    print!("{}", table(&report))
                }
                if report["ok"] != true {
                    bail!("the books differ");
                }
                Ok(())
            }
        }
    }

    async fn ask(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let key = operator_key()?.context("GOLLEM_ADMIN_KEY is not set: it holds the operator's key")?;
        let url = self.url.join(path)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(url.as_str())
            .header(header::AUTHORIZATION, format!("Bearer {key}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))?;
        let connector =
            hyper_rustls::HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let response = client.request(request).await.with_context(|| format!("{url} does not answer"))?;
        let status = response.status();
        let bytes = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let bytes = bytes.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        let answer: Value = serde_json::from_slice(&bytes).with_context(|| format!("{url} answered no JSON"))?;
        if !status.is_success() {
            bail!("{status}: {}", answer["error"]["message"].as_str().unwrap_or("no reason was given"));
        }
        Ok(answer)
    }
}

/// A reconciliation for people.
fn table(report: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut lines = vec![format!(
        "{:<12}{:>16}{:>16}{:>16}{:>16}",
        "day", "processor $", "ledger $", "under way $", "difference $"
    )];
    for day in report["days"].as_array().into_iter().flatten() {
        lines.push(format!(
            "{:<12}{:>16}{:>16}{:>16}{:>16}",
            text(&day["day"]),
            text(&day["processor_usd"]),
            text(&day["ledger_usd"]),
            text(&day["under_way_usd"]),
            text(&day["difference_usd"])
        ));
    }
    for difference in report["differences"].as_array().into_iter().flatten() {
        lines.push(format!(
            "DIFFERENCE {} {} {} of {}: processor {}, ledger {}: {}",
            text(&difference["day"]),
            text(&difference["kind"]),
            text(&difference["id"]),
            text(&difference["account"]),
            text(&difference["processor_usd"]),
            text(&difference["ledger_usd"]),
            text(&difference["why"])
        ));
    }
    let looked = report["looked_at_again"].as_array().map_or(0, Vec::len);
    lines.push(format!(
        "{} from {} to {}: {looked} missed notices looked at again, {} payouts under way, ${} kept by the processor",
        if report["ok"] == true { "the books agree" } else { "the books DIFFER" },
        text(&report["from"]),
        text(&report["to"]),
        report["payouts_under_way"],
        text(&report["processor_fees_usd"])
    ));
    lines.join("\n") + "\n"
}
