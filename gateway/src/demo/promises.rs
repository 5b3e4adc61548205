//! What providers promised and what was measured, as the views have it, with what they gave back for the difference.

use crate::app::App;
use crate::demo::Speed;
use gollem_engine::AccountId;
use gollem_projections::words::{account_name, atoms_in_credits};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Records that are looked at: some for each provider.
const RECORDS_MAX: usize = 1_000;
/// Providers shown to people, those that delivered most.
const SHOWN: usize = 10;

/// One provider over all its models.
#[derive(Clone, Debug, Default)]
struct Kept {
    name: String,
    deliveries: u64,
    failed: u64,
    breaches: u64,
    rebates: i128,
    /// Deliveries whose first token was measured, and the sums of promises and measurements in milliseconds.
    measured: u64,
    promised_ms: u64,
    measured_ms: u64,
}

/// All providers, those that delivered most first.
#[derive(Debug, Default)]
pub(super) struct Promises {
    providers: Vec<Kept>,
    /// How many times faster than promised the mocks are: as the trace is played faster than recorded.
    times: f64,
}

impl Promises {
    pub(super) async fn read(app: &App, speed: Speed) -> anyhow::Result<Promises> {
        let reader = app.reader(0).await.map_err(|error| anyhow::anyhow!(error.message))?;
        let mut kept: BTreeMap<AccountId, Kept> = BTreeMap::new();
        for (provider, _, row) in reader.all_scorecards(RECORDS_MAX)? {
            let all = kept.entry(provider).or_default();
            all.deliveries += row.completed + row.abandoned + row.failed + row.overstated;
            all.failed += row.failed + row.overstated;
            all.breaches += row.breaches;
            all.rebates += row.rebates;
            all.measured += row.latency_ms.deliveries;
            all.promised_ms += row.latency_ms.promised;
            all.measured_ms += row.latency_ms.measured;
        }
        drop(reader);
        let mut providers = Vec::new();
        for (account, mut all) in kept {
            let name = app.identity.name_of(account).await?.unwrap_or_else(|| account_name(account));
            all.name = name.trim_start_matches("demo-").to_owned();
            providers.push(all);
        }
        providers.sort_by_key(|all| std::cmp::Reverse(all.deliveries));
        let times = if let Speed::Times(times) = speed { times } else { 0.0 };
        Ok(Promises { providers, times })
    }

    /// Credits given back in all.
    pub(super) fn rebates(&self) -> String {
        atoms_in_credits(self.providers.iter().map(|all| all.rebates).sum())
    }

    /// A table for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            String::new(),
            "  provider              deliveries  failed   first token, promised   measured   breaches   rebates (credits)"
                .to_owned(),
        ];
        for all in self.providers.iter().take(SHOWN) {
            let ms = |average: Option<u64>| average.map_or("-".to_owned(), |ms| format!("{ms} ms"));
            lines.push(format!(
                "  {:<20} {:>11} {:>7} {:>23} {:>10} {:>10} {:>19}",
                all.name,
                all.deliveries,
                all.failed,
                ms(all.promised_ms.checked_div(all.measured)),
                ms(all.measured_ms.checked_div(all.measured)),
                all.breaches,
                atoms_in_credits(all.rebates)
            ));
        }
        let left = self.providers.len().saturating_sub(SHOWN);
        if left > 0 {
            lines.push(format!("  and {left} more"));
        }
        if self.times > 1.0 {
            lines.push(format!(
                "  (the mocks answer {} times faster than promised, as the trace is played)",
                self.times
            ));
        }
        lines
    }

    /// The same for scripts.
    pub(super) fn json(&self) -> Value {
        let provider = |all: &Kept| {
            json!({
                "name": all.name,
                "deliveries": all.deliveries,
                "failed": all.failed,
                "breaches": all.breaches,
                "rebates_credits": atoms_in_credits(all.rebates),
                "promised_ms": all.promised_ms.checked_div(all.measured),
                "measured_ms": all.measured_ms.checked_div(all.measured),
            })
        };
        self.providers.iter().map(provider).collect()
    }
}
