//! The same as `GET /status` in Prometheus' text format 0.0.4.

use std::fmt::Write;

use super::{
    load::{Ended, Load, Quantiles},
    status::Board,
};

/// The body of `GET /metrics`.
pub(crate) fn page(board: &Board, load: &Load) -> String {
    let mut page = Page(String::with_capacity(4_096));
    let facts = board.facts();
    let model = [("model", board.model())];
    page.head("gollem_agent_quoted", "gauge", "Whether an ask rests on the exchange.");
    page.sample("gollem_agent_quoted", &model, u8::from(facts.quote.is_some()));
    page.head("gollem_agent_price_usd_per_million", "gauge", "Price of the ask that rests.");
    if let Some(quote) = &facts.quote {
        page.sample("gollem_agent_price_usd_per_million", &model, quote.price.usd_per_million());
    }
    page.head("gollem_agent_quotes_total", "counter", "Asks that the exchange accepted.");
    page.sample("gollem_agent_quotes_total", &model, facts.quotes_placed);
    page.head("gollem_agent_reprices_total", "counter", "Times an ask was given another price.");
    page.sample("gollem_agent_reprices_total", &model, facts.reprices);
    page.head("gollem_agent_model_server_up", "gauge", "Whether the model server answered when last asked.");
    page.sample("gollem_agent_model_server_up", &model, u8::from(facts.model_server_up));
    page.head("gollem_agent_running", "gauge", "Requests that run.");
    page.sample("gollem_agent_running", &model, load.running());
    page.head("gollem_agent_max_concurrent", "gauge", "Requests that may run.");
    page.sample("gollem_agent_max_concurrent", &model, load.max());
    page.head("gollem_agent_requests_total", "counter", "Requests by how they ended.");
    for ended in Ended::ALL {
        let labels = [("model", board.model()), ("ended", ended.name())];
        page.sample("gollem_agent_requests_total", &labels, load.counted(ended));
    }
    page.head("gollem_agent_tokens_total", "counter", "Tokens that the model server told of.");
    page.sample("gollem_agent_tokens_total", &model, load.tokens());
    let (first_token_us, tokens_per_s) = load.quantiles();
    page.head("gollem_agent_first_token_seconds", "gauge", "Time to a stream's first byte, last 5 to 10 minutes.");
    page.quantiles("gollem_agent_first_token_seconds", board.model(), first_token_us, |micros| {
        format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    });
    page.head("gollem_agent_tokens_per_second", "gauge", "Rate of streams after the first byte, last 5 to 10 minutes.");
    page.quantiles("gollem_agent_tokens_per_second", board.model(), tokens_per_s, |rate| rate.to_string());
    page.head("gollem_agent_gpu_utilization_percent", "gauge", "Share of time in which the GPU computed.");
    page.head("gollem_agent_gpu_memory_used_bytes", "gauge", "Memory of the GPU that is taken.");
    page.head("gollem_agent_gpu_memory_total_bytes", "gauge", "Memory of the GPU.");
    let gpus = facts.gpus.as_ref().and_then(|gpus| gpus.as_ref().ok());
    for (index, gpu) in gpus.into_iter().flatten().enumerate() {
        let index = index.to_string();
        let labels = [("gpu", index.as_str()), ("name", gpu.name.as_str())];
        page.sample("gollem_agent_gpu_utilization_percent", &labels, gpu.utilization_pct);
        page.sample("gollem_agent_gpu_memory_used_bytes", &labels, gpu.vram_used_bytes);
        page.sample("gollem_agent_gpu_memory_total_bytes", &labels, gpu.vram_total_bytes);
    }
    page.head("gollem_agent_earned_credits", "gauge", "Credits earned and not paid out.");
    page.head("gollem_agent_payout_eligible", "gauge", "Whether they are enough for a payout.");
    if let Some(earnings) = &facts.earnings {
        page.sample("gollem_agent_earned_credits", &[], &earnings.credits);
        page.sample("gollem_agent_payout_eligible", &[], u8::from(earnings.payout_eligible));
    }
    page.0
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escaped(text))).collect();
        match labels.as_slice() {
            [] => self.push(format_args!("{name} {value}\n")),
            labels => self.push(format_args!("{name}{{{}}} {value}\n", labels.join(","))),
        }
    }

    fn quantiles(&mut self, name: &str, model: &str, values: Option<Quantiles>, unit: fn(u64) -> String) {
        for (per_mille, value) in values.into_iter().flatten() {
            let quantile = format!("0.{per_mille}").trim_end_matches('0').to_owned();
            self.sample(name, &[("model", model), ("quantile", &quantile)], unit(value));
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).ok(); // Writing to a string does not fail.
    }
}
