//! The summary: for people on standard output, for scripts as JSON.

#![expect(clippy::print_stdout, reason = "the demo's summary belongs on standard output")]

use crate::app::App;
use crate::demo::bank::Money;
use crate::demo::prices::Prices;
use crate::demo::promises::Promises;
use crate::demo::tally::Tally;
use crate::money::dollars;
use anyhow::Context;
use gollem_engine::{Price, StateHash};
use hdrhistogram::Histogram;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Prints a line for whoever started the demo.
pub(super) fn say(line: &str) {
    println!("{line}");
}

/// What the books say at the end.
pub(super) struct Books {
    pub(super) inputs: u64,
    pub(super) ledger_sum: i128,
    pub(super) state_hash: StateHash,
}

/// Everything worth telling.
pub(super) struct Report {
    tally: Tally,
    elapsed: Duration,
    spent_usd: Decimal,
    dearest_usd: Decimal,
    median_usd: Decimal,
    overhead_us: Histogram<u64>,
    journal_bytes: u64,
    promises: Promises,
    /// What the comparison of the books came to.
    money: Option<Money>,
}

impl Report {
    pub(super) fn new(tally: &Tally, prices: &Prices, elapsed: Duration, app: &App, promises: Promises) -> Report {
        let at = |price: fn(&Prices, &str) -> Option<Price>| {
            let cost = |(model, units): (&String, &u64)| {
                price(prices, model).map_or(0, |price| i128::from(price.0) * i128::from(*units))
            };
            dollars(tally.units.iter().map(cost).sum())
        };
        Report {
            tally: tally.clone(),
            elapsed,
            spent_usd: tally.spent_credits / Decimal::ONE_THOUSAND,
            dearest_usd: at(Prices::dearest),
            median_usd: at(Prices::median),
            overhead_us: app.overhead_us(),
            journal_bytes: app.journal_bytes(),
            promises,
            money: None,
        }
    }

    /// With what the comparison of the processor's books and the ledger came to.
    pub(super) fn with_money(self, money: Option<Money>) -> Report {
        Report { money, ..self }
    }

    /// Prints the summary and writes it as JSON where asked.
    pub(super) fn publish(&self, books: &Books, json: Option<&Path>) -> anyhow::Result<()> {
        println!("{}", self.text(books));
        if let Some(path) = json {
            let text = format!("{:#}\n", self.json(books)?);
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn text(&self, books: &Books) -> String {
        let seconds = self.elapsed.as_secs_f64();
        let units: u64 = self.tally.units.values().sum();
        let mut lines = vec![
            String::new(),
            format!("  requests          {:>12}   in {seconds:.1} s", self.tally.requests),
            format!("  fills             {:>12}   {units} normalised tokens", self.tally.fills),
            format!("  refused           {:>12}", self.tally.refused()),
        ];
        lines.extend(self.tally.refusals.iter().map(|(code, count)| format!("    {code:<24}{count:>4}")));
        let (p50, p99, p999) = self.overhead();
        lines.extend([
            format!("  credits spent     {:>12.2}   ${:.4}", self.tally.spent_credits, self.spent_usd),
            format!(
                "  saving            {:>11}%   against the dearest provider (${:.4})",
                self.saving(self.dearest_usd),
                self.dearest_usd
            ),
            format!(
                "                    {:>11}%   against the median provider (${:.4})",
                self.saving(self.median_usd),
                self.median_usd
            ),
            format!(
                "  rebates           {:>12}   credits, for first tokens later than promised",
                self.promises.rebates()
            ),
            format!("  gateway overhead  {p50:>9} us   p50, {p99} us p99, {p999} us p99.9"),
            format!("  journal           {:>12}   bytes, {} inputs", self.journal_bytes, books.inputs),
            format!("  ledger sum        {:>12}", books.ledger_sum),
            format!("  state hash        {}", books.state_hash),
        ]);
        if let Some(money) = &self.money {
            lines.push(format!("  money             {}", money.line));
        }
        lines.extend(self.promises.lines());
        lines.join("\n")
    }

    fn json(&self, books: &Books) -> anyhow::Result<Value> {
        let (p50, p99, p999) = self.overhead();
        let quantile = |at| self.tally.latency_us.as_ref().map(|histogram| histogram.value_at_quantile(at));
        Ok(json!({
            "requests": self.tally.requests,
            "fills": self.tally.fills,
            "refused": self.tally.refused(),
            "refusals": self.tally.refusals,
            "units": self.tally.units.values().sum::<u64>(),
            "credits_spent": self.tally.spent_credits.to_string(),
            "spent_usd": self.spent_usd.to_string(),
            "saving_dearest_percent": self.saving(self.dearest_usd).to_string(),
            "saving_median_percent": self.saving(self.median_usd).to_string(),
            "rebates_credits": self.promises.rebates(),
            "providers": self.promises.json(),
            "overhead_us": { "p50": p50, "p99": p99, "p999": p999 },
            "latency_us": { "p50": quantile(0.5), "p99": quantile(0.99), "p999": quantile(0.999) },
            "seconds": self.elapsed.as_secs_f64(),
            "reconciliation": self.money.as_ref().map(|money| &money.report),
            "journal_bytes": self.journal_bytes,
            "inputs": books.inputs,
            "ledger_sum": i64::try_from(books.ledger_sum)?,
            "state_hash": books.state_hash.to_string(),
        }))
    }

    fn overhead(&self) -> (u64, u64, u64) {
        let at = |quantile| self.overhead_us.value_at_quantile(quantile);
        (at(0.5), at(0.99), at(0.999))
    }

    /// What the market saved against paying `alternative`, in per cent.
    fn saving(&self, alternative: Decimal) -> Decimal {
        let saved = alternative - self.spent_usd;
        saved.checked_div(alternative).map_or(Decimal::ZERO, |part| (part * Decimal::ONE_HUNDRED).round_dp(1))
    }
}
